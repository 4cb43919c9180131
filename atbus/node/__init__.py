"""
The bus node: owns endpoints, connections and the router, and does what the core decides.

Nothing is imported here, so that ``atbus.node.config`` and ``atbus.node.toml`` can be used by
programs that never start a node.
"""
