"""
Seven nodes in one process: a root, two proxies, and two services below each.

Every service sends a message to every other one and asks which way it came. The channels are real
unix sockets in a temporary folder; only the processes are missing.
"""

import tempfile

from twisted.internet import defer, task

from atbus import Node, NodeConfig

ROOT, EAST, WEST = 0x10000, 0x10100, 0x10200
SERVICES = {0x10101: EAST, 0x10102: EAST, 0x10201: WEST, 0x10202: WEST}


class Listener:
    """Prints each message with the way it took, and tells when all have come."""

    def __init__(self, node, count, done):
        self.node = node
        self.count = count
        self.done = done

    def message_received(self, source, kind, sequence, payload):
        passed = dict.fromkeys((*self.node.current.path, self.node.bus_id))  # each once, in order
        way = " > ".join(hex(bus_id) for bus_id in passed)
        print(f"{payload.decode():20} {way}")
        self.count -= 1
        if not self.count:
            self.done.callback(None)


async def main(reactor, folder):
    def address(bus_id):
        return f"unix://{folder}/{bus_id:x}.sock"

    nodes = {}
    arrivals = [defer.Deferred() for _ in SERVICES]

    async def start(bus_id, upstream=None, mask_bits=0):
        config = NodeConfig(
            id=bus_id,
            listen=[address(bus_id)],
            upstream=None if upstream is None else address(upstream),
            subnets=[(0, mask_bits)],
            direct_notice=False,  # siblings keep talking through their proxy
        )
        node = nodes[bus_id] = Node(config, reactor)
        await node.start()

    await start(ROOT, mask_bits=16)
    await start(EAST, ROOT, mask_bits=8)
    await start(WEST, ROOT, mask_bits=8)
    for bus_id, proxy in SERVICES.items():
        await start(bus_id, proxy)

    for arrived, bus_id in zip(arrivals, SERVICES, strict=True):
        nodes[bus_id].receiver = Listener(nodes[bus_id], len(SERVICES), arrived)

    for source in SERVICES:
        for target in SERVICES:
            nodes[source].send(target, f"{source:#x} to {target:#x}".encode(), trace=True)

    await defer.gatherResults(arrivals)
    for bus_id in sorted(nodes, reverse=True):
        await nodes[bus_id].stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="atbus-example-") as here:
        task.react(lambda reactor: defer.Deferred.fromCoroutine(main(reactor, here)))
