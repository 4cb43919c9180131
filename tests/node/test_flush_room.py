"""A direct way that is opened while there is no room for the FLUSH on the old one."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atbus.errors import Undeliverable
from atbus.node.endpoint import Endpoint
from atbus.node.node import Node
from atbus.testing.channel import VirtualChannel
from tests.node.bus import Keeper
from tests.node.garden import LEFT, LEFT_LEAF, RIGHT, RIGHT_LEAF, TOP, GardenTests, address_of

_ROOM = 10


class FlushRoomTests(GardenTests):
    """A leaf that connects to a proxy and then to a leaf of it, while all is stuck there."""

    def setUp(self) -> None:
        super().setUp()
        self.errors: list[str] = []

    def stuck(self) -> tuple[Node, Node, Node, VirtualChannel, Deferred[Endpoint]]:
        """Plant them, and connect to the proxy; the answer to the FLUSH for that is stuck."""
        options = {"topology": "records", "route_table": "full", "subnets": []}
        top, _, right, one, far = self.plant(
            *(TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF), pending_count_max=_ROOM, **options
        )
        one.events.on_error.observe(
            lambda status, detail: self.errors.append(f"{status.name} {detail}")
        )
        (_, stuck) = self.network.between(top, right)
        stuck.stall()
        proxy = one.connect(address_of(RIGHT))
        self.settle(0.1)
        self.assertEqual(one.endpoints[RIGHT].gate.value, "flushing")
        return right, one, far, stuck, proxy

    def fill(self, one: Node, target: int) -> None:
        """Send as much as can wait for the proxy."""
        for number in range(_ROOM):
            one.send(target, b"%d" % number)
            self.settle(0.001)
        self.assertRaises(Undeliverable, one.send, target, b"no room")

    def connected(
        self, one: Node, stuck: VirtualChannel, *waiting: Deferred[Endpoint]
    ) -> None:
        """Let all go on; both ways are open in the end."""
        stuck.resume()
        for each in waiting:
            self.network.result_of(each)
        self.settle()
        gates = {bus_id: each.gate.value for bus_id, each in one.endpoints.items()}
        self.assertEqual(gates, {LEFT: "open", RIGHT: "open", RIGHT_LEAF: "open"})

    def test_a_way_on_which_nothing_more_can_wait(self) -> None:
        """
        The order to the leaf is given up; the way to the proxy opens all the same.

        It was taken for broken, nothing went there any more, and it was never dialled again.
        """
        right, one, _, stuck, proxy = self.stuck()
        keeper = right.receiver = Keeper()
        self.fill(one, RIGHT)
        leaf = one.connect(address_of(RIGHT_LEAF))
        self.settle(0.1)
        self.assertEqual(self.errors, [f"LINK_LOST order towards {RIGHT_LEAF:#x} was given up"])
        self.connected(one, stuck, proxy, leaf)
        self.assertEqual(keeper.payloads, [b"%d" % number for number in range(_ROOM)])

    def test_what_waits_for_the_leaf(self) -> None:
        """What has not left yet goes the direct way as soon as there is one; no FLUSH is needed."""
        _, one, far, stuck, proxy = self.stuck()
        keeper = far.receiver = Keeper()
        self.fill(one, RIGHT_LEAF)
        leaf = one.connect(address_of(RIGHT_LEAF))
        self.settle(0.1)
        self.assertEqual(keeper.payloads, [b"%d" % number for number in range(_ROOM)])
        self.connected(one, stuck, proxy, leaf)
        self.assertEqual(self.errors, [])
