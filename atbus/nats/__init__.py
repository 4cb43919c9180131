"""
The NATS gateway: clients of NATS, in any language, as members of the bus.

* `grammar` turns bytes into operations, `connect_options` the options of a CONNECT into values;
  `faults` says what a client is told and what becomes of its connection;
* `session` is one client's side of the protocol. It takes bytes and gives `effects`, and knows
  neither sockets nor clocks;
* `permissions`, `nkeys`, `tokens` (JWT) and `authentication` say who may do what;
* ``connection`` is one client on a socket, ``gateway`` the service with all of them on one node;
  ``websocket`` carries the same bytes in frames, and ``monitor`` answers over HTTP.
"""
