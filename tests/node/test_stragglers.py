"""What is on its way to a node that moves, and comes late to where it was."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred

from atbus.errors import Status
from atbus.node.events import Fate
from atbus.node.node import Node
from atbus.routing import bounds
from atbus.wire import codec
from atbus.wire.head import peek
from atbus.wire.messages import Capability, Data, DataResponse, Message, MessageType
from tests.node.test_drain import NORTH, ONE, SOUTH, TOP, TWO, DrainBus, address_of

EAST, FAR = 0x13, 0x103
# Longer than a node that has moved stays connected to its former upstream.
GONE_SECONDS = 2.5


class MovingBus(DrainBus):
    """A leaf TWO below NORTH, which goes to SOUTH when that is there, or when NORTH drains."""

    def moving(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start all but SOUTH; the top, NORTH and the leaf that will move."""
        top, north = self.proxy(TOP, **options), self.proxy(NORTH, **options)
        self.network.start(top, north)
        two = self.leaf_of(TWO, SOUTH, NORTH, upstream_return_seconds=0.2)
        self.network.settle(0.3)
        self.assertEqual(self.ids(two), [NORTH])
        return top, north, two

    def move(self, two: Node) -> Node:
        """Start SOUTH, and wait until the leaf is there and nowhere else."""
        south = self.proxy(SOUTH)
        self.network.start(south)
        self.network.settle(GONE_SECONDS)
        self.assertEqual(self.ids(two), [SOUTH])
        return south

    def returned(self, node: Node, neighbor: int, frame: Message) -> bool:
        """Ask whether a node has given a frame to a neighbor."""
        stragglers = node._parts.traffic.stragglers
        return stragglers.is_returned(node.endpoints[neighbor], peek(codec.encode(frame)))

    def assert_arrived(self, waiting: Deferred[Fate]) -> None:
        """Wait for the word of the target that it has something."""
        self.assertIs(self.ended(waiting).status, Status.OK)

    def assert_kept(self, source: Node, two: Node, payloads: list[bytes]) -> None:
        """Assert that all came, in order and once, and that nobody was refused anything."""
        self.assertEqual(self.mail[two].payloads_from(source.bus_id), payloads)
        self.assertLessEqual(set(self.mail[source].statuses()), {"OK"})
        refused = [sum(node.statistics.refused.values()) for node in self.mail]
        self.assertEqual(sum(refused), 0, refused)
        self.assertEqual(sum(node.statistics.order_given_up for node in self.mail), 0)


class AnswerTests(MovingBus):
    """The answer to a message of a node that has moved comes to where it was."""

    def answer(self, two: Node) -> DataResponse:
        """Make word of the top that it has refused a message of the leaf."""
        return DataResponse(
            source=TOP,
            destination=TWO,
            target=TOP,
            first_sequence=two.send(TOP, b"x"),
            origin_epoch=two.epoch,
            status=Status.NO_ROUTE,
            gave_up_at=TOP,
        )

    def test_it_goes_back_and_arrives(self) -> None:
        """
        In the name of who sends it back, who is believed by the one that has brought it.

        Its hops go on being counted, so that it cannot go to and fro for ever.
        """
        top, north, two = self.moving()
        self.move(two)
        answer = self.answer(two)
        self.say(top, north, answer, data=False)
        (fate,) = self.mail[two].fates
        self.assertEqual((fate.status, fate.gave_up_at), (Status.NO_ROUTE, TOP))
        self.assertEqual(north.statistics.responses_dropped, 0)
        channel = self.control_channel(north, top)
        (back,) = self.frames(channel, MessageType.DATA_RESPONSE)
        self.assertEqual((back.source, back.hop_limit), (NORTH, answer.hop_limit - 1))


class OvertakenTests(MovingBus):
    """The word of the move overtakes the message."""

    def late(self, payload: bytes) -> tuple[Node, Node, Deferred[Fate]]:
        """Send something that is between SOUTH and the top when its target comes to SOUTH."""
        top, north, south = self.region()
        one, two = self.leaf_of(ONE, SOUTH, NORTH), self.leaf_of(TWO, NORTH, SOUTH)
        one.send(TWO, b"before")
        self.network.settle()
        stuck = self.data_channel(south, top)
        stuck.stall()
        waiting = one.deliver(TWO, payload)
        self.network.settle(0.05)
        north.drain()
        self.network.settle(0.1)
        self.assertEqual(self.ids(south), [TOP, ONE, TWO])
        self.assertIn(TWO, self.ids(north))
        self.assertEqual(top.next_hop(TWO).id, SOUTH)
        one.send(TWO, b"after")
        self.network.settle(0.05)
        stuck.resume()
        return one, two, waiting

    def test_it_goes_where_its_target_was(self) -> None:
        """
        What comes from where its target is by now goes behind what was sent before it.
        """
        one, two, waiting = self.late(b"late")
        self.assert_arrived(waiting)
        self.network.settle(3)
        self.assert_kept(one, two, [b"before", b"late", b"after"])

    def test_in_pieces(self) -> None:
        """A message in fragments is whole."""
        payload = bytes(range(256)) * 2_000
        one, two, waiting = self.late(payload)
        self.assert_arrived(waiting)
        self.network.settle(3)
        self.assert_kept(one, two, [b"before", payload, b"after"])

    def test_while_others_wait_for_the_new_way(self) -> None:
        """It is not held with what is for the same target and waits for its flush."""
        top, north, south = self.region()
        one, two = self.leaf_of(ONE, SOUTH, NORTH), self.leaf_of(TWO, NORTH, SOUTH)
        one.send(TWO, b"1")
        top.send(TWO, b"a")
        self.network.settle()
        slow, stuck = self.data_channel(south, top), self.data_channel(north, two)
        slow.stall()
        stuck.stall()
        one.send(TWO, b"2")
        top.send(TWO, b"b")
        self.network.settle(0.05)
        north.drain()
        self.network.settle(0.1)
        top.send(TWO, b"c")
        self.assertIn(TWO, top._parts.context.ways.held)
        slow.resume()
        self.network.settle(0.2)
        stuck.resume()
        self.network.settle(3)
        self.assert_kept(one, two, [b"1", b"2"])
        self.assert_kept(top, two, [b"a", b"b", b"c"])

    def test_a_request(self) -> None:
        """A question is answered, by the node that has moved as well."""
        top, north, south = self.region()
        one, two = self.leaf_of(ONE, SOUTH, NORTH), self.leaf_of(TWO, NORTH, SOUTH)
        stuck = self.data_channel(south, top)
        stuck.stall()
        two.on_request(lambda source, payload: payload + b"!")
        waiting = one.request(TWO, b"who")
        self.network.settle(0.05)
        north.drain()
        self.network.settle(0.1)
        stuck.resume()
        self.assertEqual(self.ended(waiting), b"who!")


class GivenBackTests(MovingBus):
    """The target has left when the message comes."""

    def test_to_who_sent_it(self) -> None:
        """
        The former upstream gives it back, and it takes the new way before what is sent later.
        """
        top, north, two = self.moving()
        top.send(TWO, b"1")
        self.network.settle()
        stuck = self.data_channel(top, north)
        stuck.stall()
        late = [b"%d" % number for number in range(2, 50)]
        waiting = [top.deliver(TWO, each) for each in late]
        self.move(two)
        top.send(TWO, b"after")
        self.assertIn(TWO, top._parts.context.ways.held)
        stuck.resume()
        for each in waiting:
            self.assert_arrived(each)
        self.network.settle(3)
        self.assert_kept(top, two, [b"1", *late, b"after"])

    def test_through_a_relay(self) -> None:
        """So it is with what others sent, whose names the former upstream may not speak in."""
        top, north, two = self.moving()
        self.network.start(self.proxy(EAST))
        far = self.leaf_of(FAR, EAST)
        far.send(TWO, b"1")
        self.network.settle()
        stuck = self.data_channel(top, north)
        stuck.stall()
        waiting = [far.deliver(TWO, each) for each in (b"2", b"3")]
        far.send(TWO, b"4" * 200_000)
        self.move(two)
        far.send(TWO, b"5")
        stuck.resume()
        for each in waiting:
            self.assert_arrived(each)
        self.network.settle(3)
        self.assert_kept(far, two, [b"1", b"2", b"3", b"4" * 200_000, b"5"])

    def test_to_where_it_came_from(self) -> None:
        """
        What comes back to where its sender is takes the last step to its target from there.

        It is overtaken first, and comes late nevertheless.
        """
        top, north = self.proxy(TOP), self.proxy(NORTH)
        self.network.start(top, north)
        two = self.leaf_of(TWO, SOUTH, NORTH, upstream_return_seconds=1)
        south = self.proxy(SOUTH)
        self.network.start(south)
        one = self.leaf_of(ONE, SOUTH)
        slow = self.data_channel(top, north)
        slow.stall()
        waiting = one.deliver(TWO, b"late")
        self.network.settle(0.1)
        self.assertEqual(self.ids(two), [NORTH])
        self.network.settle(1 + GONE_SECONDS)
        self.assertEqual(self.ids(two), [SOUTH])
        slow.resume()
        self.assert_arrived(waiting)
        self.network.settle(1)
        self.assert_kept(one, two, [b"late"])

    def test_its_target_takes_leave(self) -> None:
        """So it is when the target has said that it takes nothing more, and is there still."""
        top, north, two = self.moving()
        top.send(TWO, b"1")
        self.network.settle()
        stuck = self.data_channel(top, north)
        stuck.stall()
        waiting = top.deliver(TWO, b"2")
        self.network.start(self.proxy(SOUTH))
        for _ in range(300):
            self.network.settle(0.01)
            endpoint = north.endpoints.get(TWO)
            if endpoint is None or endpoint.gate.value == "draining":
                break
        stuck.resume()
        self.assert_arrived(waiting)
        self.network.settle(3)
        self.assert_kept(top, two, [b"1", b"2"])

    def test_a_neighbor_that_does_not_take_it(self) -> None:
        """Who cannot take a frame back is told of it as ever."""
        top, north, two = self.moving()
        stuck = self.data_channel(top, north)
        stuck.stall()
        waiting = top.deliver(TWO, b"late")
        self.move(two)
        endpoint = north.endpoints[TOP]
        able = endpoint.peer.capabilities
        self.assertTrue(able & Capability.RETURNS)
        endpoint.peer = attrs.evolve(endpoint.peer, capabilities=able & ~Capability.RETURNS)
        stuck.resume()
        self.assertIs(self.ended(waiting), Status.LOOP)

    def test_not_to_the_upstream_if_it_may_not_go_there(self) -> None:
        """What no node may pass on to its upstream is not given back to one."""
        top, north, two = self.moving()
        stuck = self.data_channel(top, north)
        stuck.stall()
        top.send(TWO, b"late", no_upstream=True)
        self.move(two)
        stuck.resume()
        self.network.settle(1)
        self.assertEqual(self.mail[top].statuses(), ["NO_ROUTE"])

    def test_of_a_subtree(self) -> None:
        """When a proxy moves, what is for those below it comes to them."""
        top, north = self.proxy(TOP), self.proxy(NORTH)
        addresses = [address_of(each) for each in (SOUTH, NORTH)]
        options: dict[str, Any] = {"upstream_return_seconds": 0.5, "topology": "records"}
        middle = self.node(
            EAST, listen=[address_of(EAST)], upstreams=addresses, proxy=True, **options
        )
        self.network.start(top, north, middle)
        two = self.leaf_of(TWO, EAST)
        top.send(TWO, b"1")
        self.network.settle()
        stuck = self.data_channel(top, north)
        stuck.stall()
        waiting = top.deliver(TWO, b"2")
        self.network.start(self.proxy(SOUTH))
        self.network.settle(0.5 + GONE_SECONDS)
        self.assertEqual(self.ids(middle), [SOUTH, TWO])
        top.send(TWO, b"3")
        stuck.resume()
        self.assert_arrived(waiting)
        self.network.settle(1)
        self.assert_kept(top, two, [b"1", b"2", b"3"])

    def test_among_so_many(self) -> None:
        """It is looked for among the oldest of those that the neighbor answers for."""
        top, north, _ = self.moving()
        self.data_channel(top, north).stall()
        for number in range(bounds.RETURNED_LOOK_FRAMES + 1):
            # Each is a frame of its own.
            sequence = top.send(TWO, b"%d" % number)
            self.network.settle(0.001)
        link = top.endpoints[NORTH].data_link
        assert link is not None
        self.assertEqual(len(link.outgoing), bounds.RETURNED_LOOK_FRAMES + 1)
        epoch = top._parts.context.epoch
        for given, expected in ((sequence - 1, True), (sequence, False)):
            frame = Data(
                source=TOP, destination=TWO, sequence=given, epoch=epoch, messages=((0, b"x"),)
            )
            self.assertIs(self.returned(top, NORTH, frame), expected)


class NewcomerTests(MovingBus):
    """What comes from a node sooner than the word that it is where it comes from."""

    def test_many_that_send_all_the_time(self) -> None:
        """
        Nothing is refused when a proxy drains that has many below it who send all the time.

        Those that follow the first one within 50 ms are not known yet above the next proxy, which
        gathers what it tells.
        """
        _, north, south = self.region()
        self.network.start(self.proxy(EAST))
        far = self.leaf_of(FAR, EAST)
        leaves = [self.leaf_of(0x200 + number, NORTH, SOUTH) for number in range(8)]
        self.network.jitter_seconds = 0.01
        for turn in range(400):
            if turn == 50:
                north.drain()
            for leaf in leaves:
                leaf.send(FAR, b"%d" % turn)
            self.network.settle(0.001)
        self.network.settle(3)
        self.assertEqual(len(self.ids(south)), 1 + len(leaves))
        for leaf in leaves:
            self.assert_kept(leaf, far, [b"%d" % turn for turn in range(400)])
