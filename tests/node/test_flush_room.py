"""A direct way that is opened while there is no room for the FLUSH on the old one."""

from __future__ import annotations

from atbus.errors import Undeliverable
from tests.node.bus import Keeper
from tests.node.garden import LEFT, LEFT_LEAF, RIGHT, RIGHT_LEAF, TOP, GardenTests, address_of

_ROOM = 10


class FlushRoomTests(GardenTests):
    """A leaf that connects to a proxy and then to a leaf of it, while all is stuck there."""

    def test_a_way_on_which_nothing_more_can_wait(self) -> None:
        """
        The order to the leaf is given up; the way to the proxy, on which what is for the leaf waits
        for a FLUSH of its own, opens all the same.

        It was taken for broken, nothing went there any more, and it was never dialled again.
        """
        options = {"topology": "records", "route_table": "full", "subnets": []}
        top, _, right, one, far = self.plant(
            *(TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF), pending_count_max=_ROOM, **options
        )
        keeper = far.receiver = Keeper()
        errors: list[str] = []
        one.events.on_error.observe(lambda status, detail: errors.append(f"{status.name} {detail}"))
        (_, stuck) = self.network.between(top, right)
        stuck.stall()
        proxy = one.connect(address_of(RIGHT))
        self.settle(0.1)
        self.assertEqual(one.endpoints[RIGHT].gate.value, "flushing")
        for number in range(_ROOM):
            one.send(RIGHT_LEAF, b"%d" % number)
            self.settle(0.001)
        self.assertRaises(Undeliverable, one.send, RIGHT_LEAF, b"no room")
        leaf = one.connect(address_of(RIGHT_LEAF))
        self.settle(0.1)
        self.assertEqual(errors, [f"LINK_LOST order towards {RIGHT_LEAF:#x} was given up"])
        stuck.resume()
        self.network.result_of(proxy)
        self.network.result_of(leaf)
        self.settle()
        self.assertEqual(keeper.payloads, [b"%d" % number for number in range(_ROOM)])
        gates = {bus_id: each.gate.value for bus_id, each in one.endpoints.items()}
        self.assertEqual(gates, {LEFT: "open", RIGHT: "open", RIGHT_LEAF: "open"})
