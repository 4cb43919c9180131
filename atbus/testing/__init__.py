"""
What tests of atbus use, and tests of programs on atbus may use too.

* `strategies`: hypothesis strategies, one for every message of the wire protocol.
* `virtual_bus`: a bus of real nodes in memory, in bad weather, to test services on.
* `route_storm`: the same for route tables alone; ``python -m atbus.testing.route_storm``.
* `fuzz`: hostile bytes against everything that reads frames; ``python -m atbus.testing.fuzz``.

Nothing is imported here: hypothesis is an extra (``atbus[testing]``), and not everything needs it.
"""
