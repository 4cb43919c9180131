"""
Two regions of two proxies each under one cross-region proxy, and a service below each proxy.

Who is below whom is in records, not in the ids. A policy lets proxies of one region connect to each
other and keeps all others apart; nobody is told to connect. Each service sends to each other one
twice: the first time everything takes the tree, the second time what stays within a region takes
the connection that its proxies have made meanwhile. The channels are real unix sockets in a
temporary folder; only the processes are missing.
"""

import tempfile

from twisted.internet import defer, task

from atbus import Node, NodeConfig

CROSS = 0x1
PROXIES = {0x11: "eu", 0x12: "eu", 0x21: "us", 0x22: "us"}
SERVICES = {0x111: 0x11, 0x112: 0x12, 0x121: 0x21, 0x122: 0x22}
UPSTREAMS = {**dict.fromkeys(PROXIES, CROSS), **SERVICES}
REGIONS = {**PROXIES, **{service: PROXIES[proxy] for service, proxy in SERVICES.items()}}

POLICY = [
    {"name": "home", "action": "allow", "own_proxy": True, "same_labels": ["region"]},
    {"name": "abroad", "action": "deny"},
]


class Listener:
    """Prints each message with the way it took, and tells when all have come."""

    def __init__(self, node):
        self.node = node
        self.expect(0)

    def expect(self, count):
        self.count = count
        self.done = defer.Deferred()
        return self.done

    def message_received(self, source, kind, sequence, payload):
        way = " > ".join(hex(bus_id) for bus_id in (*self.node.current.path, self.node.bus_id))
        print(f"{payload.decode():25} {way}")
        self.count -= 1
        if not self.count:
            self.done.callback(None)


def knows(node, other):
    endpoint = node.endpoints.get(other)
    return endpoint is not None and endpoint.available


async def main(reactor, folder):
    def address(bus_id):
        return f"unix://{folder}/{bus_id:x}.sock"

    def record(bus_id):
        table = {"id": bus_id, "addresses": [address(bus_id)], "hostname": "this one"}
        if bus_id in REGIONS:
            table |= {"upstream": UPSTREAMS[bus_id], "labels": {"region": REGIONS[bus_id]}}
        return table | {"proxy": bus_id not in SERVICES}

    everybody = [CROSS, *PROXIES, *SERVICES]
    nodes = {}
    for bus_id in everybody:
        upstream = UPSTREAMS.get(bus_id)
        config = NodeConfig(
            id=bus_id,
            hostname="this one",  # unix sockets are for nodes that say the same
            listen=[address(bus_id)],
            upstream=None if upstream is None else address(upstream),
            topology="records",
            records=[record(other) for other in everybody if other != bus_id],
            labels={"region": REGIONS[bus_id]} if bus_id in REGIONS else {},
            proxy=bus_id not in SERVICES,
            direct_connections=True,
            policy=POLICY,
        )
        node = nodes[bus_id] = Node(config, reactor)
        await node.start()

    listeners = {}
    for bus_id in SERVICES:
        listeners[bus_id] = nodes[bus_id].receiver = Listener(nodes[bus_id])

    async def everybody_to_everybody(what):
        arrivals = [listener.expect(len(SERVICES) - 1) for listener in listeners.values()]
        for source in SERVICES:
            for target in SERVICES:
                if source != target:
                    payload = f"{what} {source:#x} to {target:#x}".encode()
                    nodes[source].send(target, payload, trace=True)
        await defer.gatherResults(arrivals)

    await everybody_to_everybody("1st")
    # Each of two has to know the other; what is sent then waits until the old way is empty.
    pairs = ((0x11, 0x12), (0x12, 0x11), (0x21, 0x22), (0x22, 0x21))
    while not all(knows(nodes[one], other) for one, other in pairs):
        await task.deferLater(reactor, 0.01)
    await everybody_to_everybody("2nd")
    for bus_id in reversed(everybody):
        await nodes[bus_id].stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="atbus-example-") as here:
        task.react(lambda reactor: defer.Deferred.fromCoroutine(main(reactor, here)))
