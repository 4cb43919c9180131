"""Trees and meshes of nodes that publish and subscribe."""

from __future__ import annotations

from typing import Any

from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.node.subscription import Subscription
from atbus.testing.network import VirtualChannel, VirtualNetwork
from atbus.wire.head import peek
from atbus.wire.messages import MessageType
from tests.node.bus import BusTests

TOP, LEFT, RIGHT = 0x10000, 0x10100, 0x10200
LEFT_LEAF, RIGHT_LEAF, OTHER_LEAF = 0x10101, 0x10201, 0x10202


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.{bus_id >> 16}.{bus_id >> 8 & 255}.{bus_id & 255}:1"


class GardenTests(BusTests):
    """
    Nodes and their subscribers::

        TOP --+-- LEFT  --- LEFT_LEAF
              `-- RIGHT --- RIGHT_LEAF, OTHER_LEAF
    """

    def setUp(self) -> None:
        super().setUp()
        self.got: dict[int, list[bytes]] = {}
        self.publications: list[Publication] = []

    def plant(self, *bus_ids: int, **options: Any) -> list[Node]:
        """Start nodes of the tree, each below the one it belongs below."""
        planted = []
        for bus_id in bus_ids:
            chosen: dict[str, Any] = {"listen": [address_of(bus_id)], "direct_notice": False}
            if bus_id == TOP:
                chosen["subnets"] = [(0, 16)]
            elif bus_id in (LEFT, RIGHT):
                chosen |= {"subnets": [(0, 8)], "upstream": address_of(TOP)}
            else:
                chosen["upstream"] = address_of(LEFT if bus_id < RIGHT else RIGHT)
            planted.append(self.node(bus_id, **(chosen | options)))
        self.network.start(*planted)
        self.network.settle()
        return planted

    def listen(self, node: Node, pattern: str, queue: str = "") -> Subscription:
        """Subscribe; what comes is noted under the node's id."""
        got = self.got.setdefault(node.config.id, [])

        def take(publication: Publication) -> None:
            got.append(publication.payload)
            self.publications.append(publication)

        return node.subscribe(pattern, take, queue=queue)

    def settle(self, seconds: float = 1.0) -> None:
        """Let everything arrive."""
        self.network.settle(seconds)

    def watch(self, one: Node, other: Node) -> list[tuple[int, bytes]]:
        """Note the PUBLISH frames between two nodes from now on: who sent it, and the frame."""
        return watch(self.network, one, other)


def watch(network: VirtualNetwork, one: Node, other: Node) -> list[tuple[int, bytes]]:
    """Note the PUBLISH frames between two nodes from now on: who sent it, and the frame."""
    crossings: list[tuple[int, bytes]] = []
    for near in network.between(one, other):
        for channel, sender in ((near, one), (near.other, other)):
            _spy(channel, sender.bus_id, crossings)
    return crossings


def _spy(channel: VirtualChannel, sender: int, crossings: list[tuple[int, bytes]]) -> None:
    send = channel.send

    def spying(frames: Any) -> Any:
        crossings.extend(
            (sender, frame) for frame in frames if peek(frame)[1] == MessageType.PUBLISH
        )
        return send(frames)

    channel.send = spying  # type: ignore[method-assign]  # to look on
