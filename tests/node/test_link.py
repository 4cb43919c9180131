"""What one registered connection numbers, keeps, gathers and refuses."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.errors import ChannelClosed, Status
from atbus.node.link import Link
from atbus.node.node import Node
from atbus.node.outbox import Notice
from atbus.wire import codec
from atbus.wire.head import peek
from atbus.wire.messages import (
    AddressUpdate,
    Data,
    DataResponse,
    Goodbye,
    LinkAck,
    Message,
    MessageType,
    Ping,
)
from tests.node.bus import CHILD
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests


class LinkTests(MailTests):
    """A link between a root and a child."""

    def link(self, node: Node, target: int, *, control: bool = False) -> Link:
        """Give a node's link to another one."""
        endpoint = node.endpoints[target]
        link = endpoint.control_link if control else endpoint.data_link
        assert link is not None
        return link

    def data(self, node: Node, *payloads: bytes, sequence: int = 1) -> Data:
        """Make a run that a node could send to the root."""
        return Data(
            source=node.bus_id,
            destination=ROOT,
            sequence=sequence,
            epoch=node.epoch,
            messages=tuple((0, payload) for payload in payloads),
        )

    def raw(self, node: Node, other: Node, *frames: bytes) -> None:
        """Write frames to a data connection at once, as they are."""
        self.data_channel(node, other).send(frames)
        self.network.settle(0.1)

    def goodbyes(self, channel: Any) -> list[Status]:
        """Give what was said at the end of a connection."""
        return [message.status for message in self.frames(channel, MessageType.GOODBYE)]


class NumberTests(LinkTests):
    """Frame numbers and acknowledgements."""

    def test_frames_are_numbered_from_one(self) -> None:
        """Each direction counts its own frames; frames of the link itself are not counted."""
        root, child = self.pair()
        for _ in range(3):
            child.send(ROOT, b"x")
            self.network.settle(0.1)
        root.send(CHILD, b"y")
        self.network.settle()
        numbers = [
            [(peek(frame)[1], peek(frame)[9]) for frame in channel.sent]
            for channel in (self.data_channel(child, root), self.data_channel(root, child))
        ]
        data = [[n for kind, n in each if kind == MessageType.DATA] for each in numbers]
        self.assertEqual(data, [[1, 2, 3], [1]])
        others = {n for each in numbers for kind, n in each if kind != MessageType.DATA}
        self.assertEqual(others, {0})

    def test_a_number_out_of_turn_ends_the_link(self) -> None:
        """A frame that is not the next one ends the connection, by name on both sides."""
        root, child = self.pair()
        frame = codec.encode(self.data(child, b"x"), frame=5)
        channel = self.data_channel(root, child)
        self.raw(child, root, frame)
        self.assertEqual(self.goodbyes(channel), [Status.OUT_OF_TURN])
        self.assertEqual(self.mail[root].letters, [])
        self.assertIn("OUT_OF_TURN", self.diaries[root].errors())

    def test_the_word_about_a_lane_is_none_about_the_link(self) -> None:
        """
        What goes back only to acknowledge a lane says nothing of the link's own frames: those are
        acknowledged in their time all the same.
        """
        root, child = self.pair()
        child.send(ROOT, b"x")
        self.network.settle(0.01)
        self.assertFalse(self.link(child, ROOT).idle)
        about_a_lane = Notice(LinkAck(source=ROOT, lane=7), ack=9)
        self.link(root, CHILD).put(about_a_lane)
        self.network.settle(limits.ACK_DELAY_SECONDS * 2)
        self.assertTrue(self.link(child, ROOT).idle)

    def test_an_acknowledgement_of_nothing_ends_the_link(self) -> None:
        """Who acknowledges what was never sent is not believed in anything else."""
        root, child = self.pair()
        channel = self.data_channel(root, child)
        self.raw(child, root, codec.encode(LinkAck(source=CHILD), ack=3))
        self.assertEqual(self.goodbyes(channel), [Status.OUT_OF_TURN])

    def test_an_old_acknowledgement_is_no_breach(self) -> None:
        """An acknowledgement that another frame has overtaken says nothing new."""
        root, child = self.pair()
        for _ in range(3):
            root.send(CHILD, b"x")
            self.network.settle(0.1)
        self.raw(child, root, codec.encode(LinkAck(source=CHILD), ack=1))
        self.assertEqual(self.goodbyes(self.data_channel(root, child)), [])
        self.assertEqual(child.state, "running")

    def test_frames_behind_the_offending_one_are_not_looked_at(self) -> None:
        """After a breach nothing of the connection counts, in the same read or in later ones."""
        root, child = self.pair()
        good = codec.encode(self.data(child, b"good"), frame=1)
        bad = codec.encode(self.data(child, b"bad", sequence=2), frame=9)
        behind = codec.encode(self.data(child, b"behind", sequence=3), frame=2)
        self.data_channel(child, root).send([good, bad, behind])
        self.data_channel(child, root).send([behind])
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"good"])
        breaches = [each for each in self.diaries[root].errors() if each == "OUT_OF_TURN"]
        self.assertEqual(len(breaches), 1)

    def test_other_connections_live(self) -> None:
        """
        A breach on the data connection costs that connection; it is made anew and used.

        Scenario: J9
        """
        root, child = self.pair()
        self.raw(child, root, codec.encode(self.data(child, b"x"), frame=5))
        self.network.settle(5)
        self.assertEqual((self.diaries[root].removed(), child.state), ([], "running"))
        child.send(ROOT, b"again")
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [b"again"])


class NonsenseTests(LinkTests):
    """Frames whose inside makes no sense."""

    def broken(self, message: Message) -> bytes:
        """Make a frame whose body is cut off."""
        frame = bytearray(codec.encode(message)[:-1])
        frame[0:4] = len(frame).to_bytes(4, "little")
        return bytes(frame)

    def test_two_are_dropped_and_the_third_ends_the_link(self) -> None:
        """
        A neighbor's malformed frames are counted; the third one ends its connection.

        Scenario: J9
        """
        root, child = self.pair()
        channel = self.control_channel(root, child)
        update = self.broken(AddressUpdate(source=CHILD, addresses=("ipv4://10.0.0.9:1",)))
        ping = self.broken(Ping(source=CHILD, sequence=1))
        for count, frame in enumerate((update, ping), 1):
            self.control_channel(child, root).send([frame])
            self.network.settle(0.1)
            self.assertEqual(root.statistics.undecodable_frames, count)
            self.assertEqual(self.goodbyes(channel), [])
        self.control_channel(child, root).send([update])
        self.network.settle(0.1)
        self.assertEqual(self.goodbyes(channel), [Status.MALFORMED_FRAME])

    def test_malformed_news_are_answered_for(self) -> None:
        """A malformed response is dropped and acknowledged, so that nobody sends it again."""
        root, child = self.pair()
        response = DataResponse(source=CHILD, destination=ROOT, target=5, first_sequence=1)
        self.say_raw(child, root, self.broken(response), data=False)
        self.network.settle()
        self.assertTrue(self.link(child, ROOT, control=True).idle)
        self.assertEqual(root.statistics.undecodable_frames, 1)
        self.assertEqual(self.mail[root].fates, [])

    def test_the_neighbor_is_not_blamed_for_what_it_passes_on(self) -> None:
        """Any number of malformed frames from further away leaves the link as it is."""
        root, north, _ = self.proxies()
        leaf = self.leaf(NORTH + 1)
        response = DataResponse(source=NORTH + 1, destination=ROOT, target=5, first_sequence=1)
        for _ in range(5):
            self.say_raw(leaf, north, self.broken(response), data=False)
        self.assertEqual(root.statistics.undecodable_frames, 5)
        self.assertIn(NORTH, root.endpoints)
        self.assertEqual(self.diaries[root].errors(), [])

    def test_unknown_routed_frames(self) -> None:
        """
        A routed frame of a type nobody knows is passed on; who cannot, or must understand it,
        tells its source.
        """
        root, north, south = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        for target in (SOUTH + 1, SOUTH + 9):
            self.pretend_sent(one, target)
            frame = bytearray(codec.encode(self.data(one, b"x", sequence=target)))
            frame[4] = 0x7E
            frame[16:24] = target.to_bytes(8, "little")
            self.say_raw(one, north, bytes(frame))
        self.network.settle()
        told = [(fate.target, fate.status.name, fate.gave_up_at) for fate in self.mail[one].fates]
        unknown = (SOUTH + 1, "UNKNOWN_MANDATORY", SOUTH + 1)
        self.assertEqual(sorted(told), [unknown, (SOUTH + 9, "NO_ROUTE", SOUTH)])
        self.assert_quiet(root, north, south, one, two)


class EndTests(LinkTests):
    """What is queued when a connection ends."""

    def test_nothing_is_written_to_a_closing_channel(self) -> None:
        """What is queued on a connection that is being closed counts as never written."""
        root, child = self.pair()
        link = self.link(child, ROOT)
        connection = link.connection
        child.send(ROOT, b"before")
        connection.close(Status.DISCONNECTED)
        with self.assertRaises(ChannelClosed):
            assert connection.channel is not None
            connection.channel.send([])
        sequence = child.send(ROOT, b"after")
        self.network.settle(5)
        arrived = self.mail[root].payloads
        told = {s: status for _, s, _, status in self.mail[child].news}
        self.assertEqual(arrived[0], b"before")
        self.assertTrue(b"after" in arrived or told.get(sequence) == "NOT_CONNECTED")

    def test_one_link_that_fails_costs_no_other_its_turn(self) -> None:
        """When writing to one connection fails, the others' frames of that turn are written."""
        root, child = self.pair()
        other = self.child(0x10009)
        self.network.start(other)
        self.network.settle()
        channel = self.data_channel(root, child)

        def fail(frames: Any) -> None:
            raise ZeroDivisionError("a defect")

        channel.send = fail  # type: ignore[method-assign]  # what the test is about
        root.send(CHILD, b"x")
        root.send(0x10009, b"y")
        with self.assertRaises(ZeroDivisionError):
            self.network.settle(0)
        self.network.settle()
        self.assertEqual(self.mail[other].payloads, [b"y"])
        del channel.send

    def test_the_last_word_acknowledges(self) -> None:
        """When a connection ends in good order, what has arrived is acknowledged before."""
        root, child = self.pair()
        child.send(ROOT, b"x")
        self.network.settle(0.002)
        root.endpoints[CHILD].data[0].say_goodbye(Status.GOODBYE)
        self.network.settle(5)
        self.assertEqual(self.mail[root].payloads, [b"x"])
        self.assertEqual(self.mail[child].fates, [])

    def test_what_arrives_behind_a_goodbye_is_acknowledged(self) -> None:
        """A message that crossed our goodbye is delivered, and its sender knows that it was."""
        root, child = self.pair()
        root.endpoints[CHILD].data[0].say_goodbye(Status.GOODBYE)
        child.send(ROOT, b"crossing")
        self.network.settle(5)
        self.assertEqual(self.mail[root].payloads, [b"crossing"])
        self.assertEqual(self.mail[child].fates, [])

    def test_what_is_answered_for_too_late(self) -> None:
        """A frame whose link is closing when its next hop has it is a matter for nobody."""
        _, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        self.network.freeze(two)
        sequence = one.send(NORTH + 2, b"x")
        self.network.settle(0.1)
        self.network.freeze(one)
        north.endpoints[NORTH + 1].data[0].close(Status.DISCONNECTED)
        self.network.thaw(two)
        self.network.settle(0.2)
        self.network.thaw(one)
        self.network.settle(3)
        self.assertEqual(self.mail[two].payloads, [b"x"])
        self.assertEqual(self.mail[one].news, [(NORTH + 2, sequence, 1, "UNCERTAIN")])

    def test_goodbye_is_answered_after_what_is_queued(self) -> None:
        """Who reads GOODBYE writes what it has, then its answer, and nothing after that."""
        root, child = self.pair()
        channel = self.data_channel(root, child)
        root.send(CHILD, b"last")
        goodbye = codec.encode(Goodbye(source=CHILD, status=Status.GOODBYE))
        self.data_channel(child, root).send([goodbye])
        self.network.settle(0.01)
        root.send(CHILD, b"another way")
        self.network.settle(0.01)
        kinds = [peek(frame)[1] for frame in channel.sent]
        self.assertEqual(kinds[-1], MessageType.GOODBYE_ACK)
        self.assertEqual(kinds.count(MessageType.DATA), 1)
        self.network.settle(5)
        self.assertEqual(self.mail[child].payloads, [b"last", b"another way"])
