"""
The NATS gateway: clients of NATS, in any language, as members of the bus.

* `grammar` turns bytes into operations, `connect_options` the options of a CONNECT into values;
  `faults` says what a client is told and what becomes of its connection;
* `session` is one client's side of the protocol. It takes bytes and gives `effects`, and knows
  neither sockets nor clocks;
* `permissions`, `nkeys`, `tokens` (JWT), the `grants` in them and `authentication` say who may do
  what, `logins` who is let in;
* `client` is one client that is connected, over `tcp` or `websocket`; `gateway` is the service with
  all of them on one node, and `siblings` what it knows of the others on the bus;
* `settings` is what it is told, `info` what it tells of itself, and `monitor` answers over HTTP,
  not to each browser (`browsers`).
"""
