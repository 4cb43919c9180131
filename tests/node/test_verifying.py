"""Frames that are brought before it is known that they may be, and are no messages."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.events import Fate
from atbus.node.node import Node
from atbus.routing import bounds
from atbus.testing.channel import VirtualChannel
from atbus.wire import codec
from atbus.wire.messages import (
    CommandRequest,
    CommandResponse,
    Data,
    DataResponse,
    Flush,
    FlushAck,
    MessageType,
    Publish,
)
from tests.node.test_drain import NORTH, ONE, SOUTH, TWO, DrainBus

NEWS_SECONDS = bounds.UNVERIFIED_NEWS_SECONDS
THREE = 0x103
_SOON = 0.05


class LateRecordBus(DrainBus):
    """The record of a leaf is stuck between its proxy and the one above."""

    stuck: VirtualChannel

    def late(self) -> tuple[Node, Node, Node, Node]:
        """
        Start the proxies, a leaf of NORTH, and one of SOUTH whose record nobody else gets.

        :returns: TOP, SOUTH, the leaves.
        """
        top, _, south = self.region()
        leaf = self.leaf_of(ONE, NORTH)
        self.network.settle(1)
        self.stuck = self.control_channel(south, top)
        self.stuck.stall()
        return top, south, leaf, self.leaf_of(TWO, SOUTH)


class NewsTests(LateRecordBus):
    """Answers of a node of which nobody has heard yet."""

    def asked(self, top: Node, leaf: Node) -> tuple[Deferred[Fate], DataResponse]:
        """Let the leaf wait for the fate of a message, and make news of that in TWO's name."""
        frozen = self.leaf_of(THREE, NORTH)
        self.network.freeze(frozen)
        waiting = leaf.deliver(THREE, b"x", timeout=100)
        sequence = leaf._parts.sender._flow(THREE).next_sequence - 1
        news = DataResponse(
            source=TWO,
            destination=ONE,
            target=THREE,
            first_sequence=sequence,
            origin_epoch=leaf.epoch,
            status=Status.NO_ROUTE,
            gave_up_at=TWO,
        )
        self.network.settle(_SOON)
        return waiting, news

    def test_news_wait_for_the_record(self) -> None:
        """They are not lost, although nobody could be told that they were."""
        top, south, leaf, _ = self.late()
        waiting, news = self.asked(top, leaf)
        self.say(south, top, news, settle_seconds=NEWS_SECONDS - 0.5)
        self.assertNoResult(waiting)
        self.stuck.resume()
        self.network.settle(_SOON)
        error = self.failureResultOf(waiting, Undeliverable).value
        self.assertEqual((error.status, error.gave_up_at), (Status.NO_ROUTE, TWO))
        self.assertEqual(top.statistics.refused[Status.SOURCE_REFUSED], 0)
        self.assertEqual(top.statistics.responses_dropped, 0)

    def test_news_of_nobody_are_dropped(self) -> None:
        """When there is no record after five seconds that is counted."""
        top, south, leaf, _ = self.late()
        waiting, news = self.asked(top, leaf)
        self.say(south, top, news, settle_seconds=NEWS_SECONDS - 0.1)
        self.assertEqual(top.statistics.responses_dropped, 0)
        self.network.settle(0.2)
        self.assertNoResult(waiting)
        self.assertEqual(top.statistics.refused[Status.SOURCE_REFUSED], 1)
        self.assertEqual(top.statistics.responses_dropped, 1)
        self.assertEqual(top._parts.traffic.verifier.waiting, 0)

    def test_who_stops_waits_for_the_record(self) -> None:
        """While news wait a node is not done with what it has sent, and does not take leave."""
        top, south, leaf, _ = self.late()
        waiting, news = self.asked(top, leaf)
        self.assertFalse(top._parts.leaving._busy())
        self.say(south, top, news, settle_seconds=_SOON)
        self.assertTrue(top._parts.leaving._busy())
        self.stuck.resume()
        self.network.settle(_SOON)
        self.assertFalse(top._parts.leaving._busy())
        self.failureResultOf(waiting, Undeliverable)

    def test_every_kind_of_news(self) -> None:
        """Answers to commands and to flushes wait as well, and come in their order."""
        top, south, leaf, _ = self.late()
        said = (
            CommandResponse(source=TWO, destination=ONE, sequence=7, lines=(b"1",)),
            FlushAck(source=TWO, destination=ONE, token=7),
            CommandResponse(source=TWO, destination=ONE, sequence=8, lines=(b"2",)),
        )
        self.say(south, top, *said, settle_seconds=1.0)
        north = self.nodes[1]
        channel = self.control_channel(north, leaf)
        kinds = (MessageType.COMMAND_RESPONSE, MessageType.FLUSH_ACK)
        self.assertEqual(self.frames(channel, *kinds), [])
        self.stuck.resume()
        self.network.settle(_SOON)
        got = self.frames(channel, *kinds)
        self.assertEqual([type(each) for each in got], [type(each) for each in said])
        self.assertEqual((got[0].sequence, got[2].sequence), (7, 8))

    def test_nobody_keeps_more_than_may_wait(self) -> None:
        """What is beyond the bound of one neighbor is dropped at once."""
        top, south, _, _ = self.late()
        each_bytes = len(codec.encode(FlushAck(source=TWO, destination=ONE, token=0)))
        most = bounds.UNVERIFIED_SHARE_BYTES // (each_bytes + limits.WAITING_FRAME_BYTES)
        acks = [FlushAck(source=TWO, destination=ONE, token=each) for each in range(most + 3)]
        self.say(south, top, *acks, settle_seconds=0.000_1)
        self.network.settle(_SOON)
        self.assertEqual(top.statistics.responses_dropped, 3)

    def test_a_neighbor_that_goes_takes_its_news_along(self) -> None:
        """They are its own to bring another way, as nobody has acknowledged them."""
        top, south, _, _ = self.late()
        self.say(south, top, FlushAck(source=TWO, destination=ONE, token=1), settle_seconds=_SOON)
        self.assertGreater(top._parts.traffic.verifier.waiting, 0)
        self.kill(south)
        self.network.settle(_SOON)
        self.assertEqual(top._parts.traffic.verifier.waiting, 0)


class OtherFrameTests(LateRecordBus):
    """Commands and publications of such a node."""

    def test_a_command(self) -> None:
        """It waits for the record, and is executed."""
        top, south, leaf, _ = self.late()
        got: list[tuple[bytes, ...]] = []

        def execute(_: int, words: Sequence[bytes]) -> list[bytes]:
            got.append(tuple(words))
            return [b"done"]

        leaf.on_command(execute)
        asking = CommandRequest(source=TWO, destination=ONE, sequence=1, arguments=(b"go",))
        self.say(south, top, asking, settle_seconds=_SOON)
        self.assertEqual(got, [])
        self.stuck.resume()
        self.network.settle(_SOON)
        self.assertEqual(got, [(b"go",)])

    def test_a_command_of_nobody(self) -> None:
        """It is refused after a fifth of a second, and who has brought it is told."""
        top, south, leaf, _ = self.late()
        leaf.on_command(lambda source, words: self.fail(f"{source}: {words}"))
        asking = CommandRequest(source=TWO, destination=ONE, sequence=1, arguments=(b"go",))
        self.say(south, top, asking, settle_seconds=_SOON)
        told = self.control_channel(top, south)
        self.assertEqual(self.frames(told, MessageType.COMMAND_RESPONSE), [])
        self.network.settle(limits.UNVERIFIED_SECONDS)
        (answer,) = self.frames(told, MessageType.COMMAND_RESPONSE)
        self.assertIs(answer.status, Status.SOURCE_REFUSED)

    def test_publications(self) -> None:
        """A newcomer's publications reach those who want them, in order."""
        top, _, leaf, two = self.late()
        got: list[bytes] = []
        leaf.subscribe("news", lambda each: got.append(each.payload))
        self.network.settle(_SOON)
        # Of what is wanted SOUTH has heard: the word comes down, the record does not go up.
        two.publish("news", b"1")
        two.publish("news", b"2")
        self.network.settle(_SOON)
        self.assertEqual(got, [])
        self.stuck.resume()
        self.network.settle(_SOON)
        self.assertEqual(got, [b"1", b"2"])
        self.assertEqual(top.statistics.publications_dropped, {})

    def test_a_flush_behind_a_publication(self) -> None:
        """It waits behind those that wait, whomever they are for."""
        top, south, _, _ = self.late()
        self.say(
            south,
            top,
            Publish(source=TWO, sequence=1, subject="news", messages=((0, b"x"),)),
            Flush(source=SOUTH, destination=ONE, token=5),
            settle_seconds=_SOON,
        )
        channel = self.data_channel(top, self.nodes[1])
        self.assertEqual(self.frames(channel, MessageType.FLUSH), [])
        self.network.settle(limits.UNVERIFIED_SECONDS)
        self.assertEqual([each.token for each in self.frames(channel, MessageType.FLUSH)], [5])
        self.assertEqual(top.statistics.publications_dropped, {Status.SOURCE_REFUSED: 1})

    def test_data_is_no_different(self) -> None:
        """What waits of one source leaves in the order in which it came."""
        top, south, leaf, _ = self.late()
        for number in (b"1", b"2"):
            message = Data(source=TWO, destination=ONE, sequence=5, messages=((0, number),))
            self.say(south, top, message, settle_seconds=_SOON)
        self.stuck.resume()
        self.network.settle(_SOON)
        self.assertEqual(self.mail[leaf].payloads, [b"1", b"2"])

