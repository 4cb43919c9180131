"""All streams of one node, without a node: conversations, bounds, and what is wrong."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.stream import bounds
from atbus.stream.effects import (
    Drained,
    Due,
    Effect,
    Ended,
    Finished,
    Key,
    Offered,
    Opened,
    Received,
    Said,
    Send,
)
from atbus.stream.exchange import Exchange
from atbus.wire.bounds import STREAM_SEQUENCES
from atbus.wire.messages import (
    Message,
    Ping,
    StreamClose,
    StreamCredit,
    StreamData,
    StreamHalfClose,
    StreamOpen,
    StreamReset,
)

PEER = 0x20
W = bounds.WINDOW_BYTES


class ExchangeTests(SynchronousTestCase):
    """One exchange, and what another node says to it."""

    def setUp(self) -> None:
        self.exchange = Exchange(epoch=7)
        self.now = 100.0

    def hear(self, message: type[Message], epoch: int = 3, **fields: Any) -> list[Effect]:
        """Let the other node say something."""
        made: Any = message
        return self.exchange.receive(made(source=PEER, epoch=epoch, **fields), self.now)

    def told(self, key: Key, message: type[Message], epoch: int = 3, **fields: Any) -> list[Effect]:
        """Let the other node say something about a stream."""
        return self.hear(
            message, epoch, stream_id=key.stream_id, from_opener=not key.ours, **fields
        )

    def opened(self, limit: int = W) -> Key:
        """Open a stream that is accepted."""
        key, _ = self.exchange.open(PEER, "web", self.now)
        self.told(key, StreamCredit, limit=limit)
        self.exchange.go_on(key, self.now)
        return key

    def offered(self, stream_id: int = 5, epoch: int = 3, credit: int = W) -> Key:
        """Accept a stream of the other node."""
        self.hear(StreamOpen, epoch, stream_id=stream_id, service="web", credit=credit)
        key = Key(PEER, ours=False, stream_id=stream_id)
        self.exchange.accept(key, self.now)
        self.exchange.go_on(key, self.now)
        return key

    def written(self, key: Key, data: bytes) -> list[Effect]:
        """Write, and let the turn end."""
        self.assertEqual(self.exchange.write(key, data, self.now), [Due(key)])
        return self.exchange.go_on(key, self.now)

    def said(self, effects: list[Effect]) -> list[Message]:
        """Give what is sent."""
        return [effect.message for effect in effects if isinstance(effect, Send)]

    def assert_reset(self, effects: list[Effect], status: Status, words: str) -> None:
        """Assert that a stream ended for both."""
        (message,) = self.said(effects)
        assert isinstance(message, StreamReset)
        self.assertIs(message.status, status)
        self.assertIn(words, message.detail)
        self.assertEqual([e.status for e in effects if isinstance(e, Ended)], [status])
        self.assertEqual(len(self.exchange), 0)


class ConversationTests(ExchangeTests):
    """What is said in good order."""

    def test_opening(self) -> None:
        """An opening gives a window; the first credit accepts, and what waits is sent."""
        key, effects = self.exchange.open(PEER, "web", self.now)
        (message,) = self.said(effects)
        self.assertEqual(
            message,
            StreamOpen(
                destination=PEER,
                sequence=STREAM_SEQUENCES + key.stream_id * 2 + 1,
                stream_id=key.stream_id,
                service="web",
                credit=W,
            ),
        )
        self.assertLess(message.sequence, 1 << 64)
        self.assertEqual(Key.of(PEER, message.sequence), key)
        self.assertEqual(self.told(key, StreamCredit, limit=10), [Opened(key), Due(key)])
        self.assertEqual(self.exchange.go_on(key, self.now), [])
        effects = self.written(key, b"0123456789ab")
        (data,) = self.said(effects)
        assert isinstance(data, StreamData)
        self.assertEqual((data.offset, data.data), (0, b"0123456789"))
        self.assertIn(Drained(key), effects)
        self.assertEqual(self.told(key, StreamCredit, limit=12), [Due(key)])
        (rest,) = self.said(self.exchange.go_on(key, self.now))
        assert isinstance(rest, StreamData)
        self.assertEqual((rest.offset, rest.data), (10, b"ab"))

    def test_chunks(self) -> None:
        """No frame is longer than a chunk, and no turn sends more than a window."""
        key = self.opened(limit=100 * W)
        effects = self.written(key, bytes(W + 1))
        sizes = [len(m.data) for m in self.said(effects) if isinstance(m, StreamData)]
        self.assertEqual(set(sizes), {bounds.CHUNK_BYTES})
        self.assertEqual(sum(sizes), W)
        self.assertIn(Due(key), effects)

    def test_credit_is_given_when_half_a_window_is_read(self) -> None:
        """Not for every frame, and not at all while the program reads nothing."""
        key = self.offered()
        half = W // 2
        self.assertEqual(
            self.told(key, StreamData, offset=0, data=bytes(half - 1)),
            [Received(key, bytes(half - 1))],
        )
        effects = self.told(key, StreamData, offset=half - 1, data=b"x")
        self.assertEqual(effects[0], Received(key, b"x"))
        (credit,) = self.said(effects)
        assert isinstance(credit, StreamCredit)
        self.assertEqual(credit.limit, half + W)
        self.exchange.pause(key)
        self.assertEqual(self.told(key, StreamData, offset=half, data=bytes(W)), [])
        self.assertEqual(self.exchange.held_bytes, W)
        effects = self.exchange.resume(key, self.now)
        self.assertEqual(effects[0], Received(key, bytes(W)))
        self.assertEqual(len(self.said(effects)), 1)

    def test_both_ends_close(self) -> None:
        """Half-close both ways, close both ways; then nothing is left."""
        key = self.offered()
        self.told(key, StreamData, offset=0, data=b"question")
        effects = self.told(key, StreamHalfClose, final_offset=8)
        self.assertEqual(effects[-1], Finished(key))
        (credit,) = self.said(effects)
        self.assertEqual(credit, attrs_of(credit, StreamCredit, limit=8 + W))
        self.written(key, b"answer")
        self.exchange.finish(key, self.now)
        effects = self.exchange.go_on(key, self.now)
        self.assertEqual([type(m) for m in self.said(effects)], [StreamHalfClose, StreamClose])
        self.assertIn(Said(key), effects)
        self.assertEqual([e for e in effects if isinstance(e, Ended)], [])
        self.assertEqual(self.told(key, StreamClose), [Ended(key, Status.OK)])
        self.assertEqual(len(self.exchange), 0)

    def test_no_number_comes_twice(self) -> None:
        """Streams of two lives of a node have numbers far from each other."""
        first = {self.exchange.open(PEER, "web", 0.0)[0].stream_id for _ in range(100)}
        later = {Exchange(8).open(PEER, "web", 0.0)[0].stream_id}
        self.assertEqual(len(first), 100)
        self.assertGreater(min(abs(a - b) for a in first for b in later), 1_000_000)
        self.assertTrue(all(0 < each <= bounds.STREAM_ID_MAX for each in first | later))


class WrongTests(ExchangeTests):
    """What the other node may not say."""

    def test_a_gap(self) -> None:
        """Bytes that are missing end the stream: it never goes on without them."""
        key = self.offered()
        effects = self.told(key, StreamData, offset=1, data=b"x")
        self.assert_reset(effects, Status.UNCERTAIN, "1 bytes are missing")
        key = self.offered(6)
        effects = self.told(key, StreamHalfClose, final_offset=9)
        self.assert_reset(effects, Status.UNCERTAIN, "9 bytes are missing")

    def test_what_is_out_of_turn(self) -> None:
        """Each breach has its words, and ends one stream."""
        cases: list[tuple[str, list[tuple[type[Message], dict[str, Any]]]]] = [
            ("the limit is", [(StreamData, {"offset": 0, "data": bytes(W + 1)})]),
            (
                "offset 0 after 1",
                [(StreamData, {"offset": 0, "data": each}) for each in (b"x", b"y")],
            ),
            (
                "data after the end",
                [(StreamHalfClose, {"final_offset": 0}), (StreamData, {"offset": 0, "data": b"y"})],
            ),
            (
                "a second end",
                [(StreamHalfClose, {"final_offset": 0}), (StreamHalfClose, {"final_offset": 0})],
            ),
            ("a limit of 5 after one of", [(StreamCredit, {"limit": 5})]),
            ("closed before", [(StreamClose, {})]),
        ]
        for number, (words, messages) in enumerate(cases, 5):
            key = self.offered(number)
            for message, fields in messages:
                effects = self.told(key, message, **fields)
            self.assert_reset(effects, Status.OUT_OF_TURN, words)

    def test_opened_twice(self) -> None:
        """A number that lives is not used again."""
        self.offered()
        effects = self.hear(StreamOpen, stream_id=5, service="web", credit=W)
        self.assert_reset(effects, Status.OUT_OF_TURN, "opened twice")

    def test_data_before_the_stream_is_accepted(self) -> None:
        """Neither by who opens nor by who is asked."""
        key, _ = self.exchange.open(PEER, "web", self.now)
        effects = self.told(key, StreamData, offset=0, data=b"x")
        self.assert_reset(effects, Status.OUT_OF_TURN, "before the stream is accepted")
        self.hear(StreamOpen, stream_id=5, service="web", credit=W)
        effects = self.told(Key(PEER, False, 5), StreamData, offset=0, data=b"x")
        self.assert_reset(effects, Status.OUT_OF_TURN, "the limit is 0")

    def test_openings_that_make_no_sense(self) -> None:
        """Numbers and names have bounds."""
        name = "x" * bounds.SERVICE_BYTES
        bad = [(0, "web"), (bounds.STREAM_ID_MAX + 1, "web"), (5, ""), (5, name + "x")]
        for stream_id, service in bad:
            effects = self.hear(StreamOpen, stream_id=stream_id, service=service, credit=W)
            (message,) = self.said(effects)
            assert isinstance(message, StreamReset)
            self.assertIs(message.status, Status.MALFORMED_FRAME)
            self.assertLess(message.sequence, 1 << 64)
        good = self.hear(StreamOpen, stream_id=bounds.STREAM_ID_MAX, service=name, credit=W)
        self.assertEqual(good, [Offered(Key(PEER, False, bounds.STREAM_ID_MAX), name)])

    def test_streams_that_are_not_there(self) -> None:
        """They are answered, but not twice, and answers are not answered."""
        key = Key(PEER, False, 9)
        (message,) = self.said(self.told(key, StreamData, offset=0, data=b"x"))
        self.assertEqual(
            message,
            StreamReset(
                destination=PEER,
                sequence=STREAM_SEQUENCES + 18,
                stream_id=9,
                from_opener=False,
                status=Status.UNKNOWN_ENDPOINT,
                detail="no such stream",
            ),
        )
        for said in (StreamReset, StreamClose):
            fields = {"status": Status.OK} if said is StreamReset else {}
            self.assertEqual(self.told(key, said, **fields), [])
        self.assertEqual(self.hear(Ping), [])

    def test_late_frames(self) -> None:
        """What was on its way when a stream was reset is not answered, for many streams."""
        first = self.offered(1)
        self.exchange.refuse(first, Status.DISCONNECTED, "", self.now)
        self.assertEqual(self.told(first, StreamData, offset=0, data=b"x"), [])
        for number in range(2, bounds.ENDED_MAX + 2):
            self.exchange.refuse(self.offered(number), Status.DISCONNECTED, "", self.now)
        self.assertEqual(len(self.said(self.told(first, StreamData, offset=0, data=b"x"))), 1)


class BoundTests(ExchangeTests):
    """How many there may be, and how long something may take."""

    def test_streams_of_a_node(self) -> None:
        """Beyond the bound openings are refused, ours and those of others."""
        peers = bounds.STREAMS_MAX // bounds.STREAMS_PER_PEER_MAX
        for peer in range(1, peers + 1):
            for _ in range(bounds.STREAMS_PER_PEER_MAX):
                self.exchange.open(peer, "web", self.now)
        self.assertEqual(len(self.exchange), bounds.STREAMS_MAX)
        key, effects = self.exchange.open(PEER, "web", self.now)
        (ended,) = effects
        assert isinstance(ended, Ended)
        self.assertEqual((ended.key, ended.status), (key, Status.OVERLOADED))
        self.assertIn("of one node", ended.detail)
        (message,) = self.said(self.hear(StreamOpen, stream_id=5, service="web", credit=W))
        assert isinstance(message, StreamReset)
        self.assertIs(message.status, Status.OVERLOADED)

    def test_streams_between_two_nodes(self) -> None:
        """Both sides' count together, and each that ends makes room."""
        for number in range(bounds.STREAMS_PER_PEER_MAX):
            self.offered(number + 1)
        _, (ended,) = self.exchange.open(PEER, "web", self.now)
        assert isinstance(ended, Ended)
        self.assertIn("between two nodes", ended.detail)
        self.exchange.refuse(Key(PEER, False, 1), Status.DISCONNECTED, "", self.now)
        _, effects = self.exchange.open(PEER, "web", self.now)
        self.assertEqual(len(self.said(effects)), 1)

    def test_unsent(self) -> None:
        """More than may wait resets the stream."""
        key = self.opened(limit=0)
        self.exchange.write(key, bytes(bounds.UNSENT_BYTES_MAX), self.now)
        effects = self.exchange.write(key, b"x", self.now)
        self.assert_reset(effects, Status.BUFFER_LIMIT, "more is written")

    def test_nobody_answers(self) -> None:
        """An opening ends when its time is over, and so does an offer that nobody takes."""
        self.exchange.open(PEER, "web", self.now)
        self.assertEqual(self.exchange.deadline, self.now + bounds.LOOK_SECONDS)
        self.assertEqual(self.exchange.tick(self.now + bounds.OPEN_SECONDS - 1), [])
        self.assert_reset(
            self.exchange.tick(self.now + bounds.OPEN_SECONDS), Status.TIMEOUT, "not accepted"
        )
        self.assertIsNone(self.exchange.deadline)
        self.hear(StreamOpen, stream_id=5, service="web", credit=W)
        self.assert_reset(
            self.exchange.tick(self.now + bounds.OPEN_SECONDS), Status.TIMEOUT, "not accepted"
        )

    def test_silence(self) -> None:
        """Who says nothing says now and then that he is there; who hears nothing gives up."""
        key = self.opened()
        self.assertEqual(self.exchange.tick(self.now + bounds.PROBE_SECONDS - 1), [])
        (probe,) = self.said(self.exchange.tick(self.now + bounds.PROBE_SECONDS))
        self.assertEqual(probe, attrs_of(probe, StreamCredit, limit=W))
        self.now += bounds.SILENCE_SECONDS - 1
        self.told(key, StreamCredit, limit=W)
        self.now += 2
        self.assertEqual(len(self.said(self.exchange.tick(self.now))), 1)
        self.now += bounds.SILENCE_SECONDS
        self.assert_reset(self.exchange.tick(self.now), Status.TIMEOUT, "nothing was heard")

    def test_who_has_left_waits_for_a_while(self) -> None:
        """The other end has read everything and does not close: it is reset."""
        key = self.offered()
        self.exchange.leave(key, self.now)
        effects = self.exchange.go_on(key, self.now)
        self.assertEqual(effects[-1], Ended(key, Status.OK))
        self.assertEqual(self.exchange.tick(self.now + bounds.LINGER_SECONDS - 1), [])
        (reset,) = self.said(self.exchange.tick(self.now + bounds.LINGER_SECONDS))
        self.assertIsInstance(reset, StreamReset)
        self.assertEqual(len(self.exchange), 0)


class LifeTests(ExchangeTests):
    """Other lives of the other node, and what the bus tells."""

    def test_another_life(self) -> None:
        """What the new one says is not taken for what the old one would have said."""
        key = self.offered()
        effects = self.told(key, StreamData, epoch=4, offset=0, data=b"x")
        why = "the other node has started again"
        self.assertEqual(effects, [Ended(key, Status.UNCERTAIN, why)])

    def test_an_earlier_life(self) -> None:
        """What it has said comes late and is not looked at."""
        key = self.offered(epoch=4)
        self.assertEqual(self.told(key, StreamReset, epoch=3, status=Status.CLOSING), [])
        self.assertIn(key, self.exchange)

    def test_an_opening_of_another_life(self) -> None:
        """It ends all streams of the earlier one, also one of the same number."""
        ours, theirs = self.opened(), self.offered()
        effects = self.hear(StreamOpen, 4, stream_id=5, service="web", credit=W)
        self.assertEqual(
            [(e.key, e.status) for e in effects if isinstance(e, Ended)],
            [(ours, Status.UNCERTAIN), (theirs, Status.UNCERTAIN)],
        )
        self.assertEqual(effects[-1], Offered(theirs, "web"))

    def test_a_frame_that_did_not_arrive(self) -> None:
        """The bus says so by the sequence; both ends are told the reason."""
        key = self.opened()
        effects = self.exchange.told(PEER, key.sequence, Status.UNCERTAIN, "link", self.now)
        self.assert_reset(effects, Status.UNCERTAIN, "link")
        self.assertEqual(self.exchange.told(PEER, key.sequence, Status.NO_ROUTE, "", self.now), [])

    def test_a_node_that_takes_nothing(self) -> None:
        """Bytes wait, words do not; when it is over, they go."""
        key = self.opened()
        self.exchange.hold(PEER)
        self.assertEqual(self.written(key, b"x"), [])
        self.assertEqual(len(self.said(self.exchange.probe(PEER, self.now))), 1)
        (data,) = self.said(self.exchange.release(PEER, self.now))
        self.assertIsInstance(data, StreamData)

    def test_the_node_stops(self) -> None:
        """All streams end, with a word to each other end."""
        self.opened()
        self.offered()
        effects = self.exchange.close(Status.CLOSING, "", self.now)
        self.assertEqual(len(self.said(effects)), 2)
        self.assertEqual(len(self.exchange), 0)


def attrs_of(message: Message, kind: type[Message], **fields: Any) -> Message:
    """Make a message with the same envelope and stream."""
    made: Any = kind
    stream: Any = message
    return made(  # type: ignore[no-any-return]
        destination=message.destination,
        sequence=message.sequence,
        stream_id=stream.stream_id,
        from_opener=stream.from_opener,
        **fields,
    )
