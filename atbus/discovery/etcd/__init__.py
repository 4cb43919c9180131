"""
etcd, spoken over its JSON gateway: no gRPC, only HTTP.

Each of these can be used alone:

- `atbus.discovery.etcd.packer`: what is said, as values (pure);
- `atbus.discovery.etcd.faults`: what can go wrong, and whose fault it is (pure);
- `atbus.discovery.etcd.gateway`: one request to one server;
- `atbus.discovery.etcd.cluster`: several servers, one lease, one token;
- `atbus.discovery.etcd.keepalive`: one key that lives as long as we do;
- `atbus.discovery.etcd.watcher`: all keys with one prefix, and every change of them.

On top of them `atbus.discovery.etcd.announcer` and `atbus.discovery.etcd.records` speak of nodes.
"""
