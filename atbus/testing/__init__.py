"""
What tests of atbus use, and tests of programs on atbus may use too.

* `strategies`: hypothesis strategies, one for every message of the wire protocol.
* `virtual_bus`: a bus of real nodes in memory, in bad weather, to test services on.
* `route_storm`: the same for route tables alone; ``python -m atbus.testing.route_storm``.
* `toxic`: a relay between two sockets that delays, slices, holds and breaks.
* `namespace`, `tun_link`, `weather`: hosts of their own, joined by networks as bad as one likes.
* `memory_group`, `small_disk`, `wall_clock`: little memory, a full disk, another time of day.
* `fuzz`: hostile bytes against everything that reads what others send;
  ``python -m atbus.testing.fuzz``.

Nothing is imported here: hypothesis is an extra (``atbus[testing]``), and not everything needs it.
"""
