"""
ZooKeeper, spoken by kazoo in threads of its own.

- `atbus.discovery.zookeeper.options`: which servers, in whose name, and for whom (pure);
- `atbus.discovery.zookeeper.faults`: what can go wrong, and whose fault it is (pure);
- `atbus.discovery.zookeeper.crossing`: the one way from kazoo's threads to the reactor;
- `atbus.discovery.zookeeper.client`: kazoo, and nobody else imports it;
- `atbus.discovery.zookeeper.session`: one session after the other, and what is asked in them;
- `atbus.discovery.zookeeper.ephemeral`: one node that lives as long as we do.

On top of them `atbus.discovery.zookeeper.announcer` and `atbus.discovery.zookeeper.records` speak
of nodes of a bus. What ZooKeeper calls a node is called a *place* here.
"""
