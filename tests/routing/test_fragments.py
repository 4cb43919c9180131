"""Messages larger than a frame."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, MalformedFrame, Status
from atbus.routing.fragments import FlowKey, Lost, Outcome, Reassembly, Whole, split

A: FlowKey = (0x101, 0x900, 1)
B: FlowKey = (0x202, 0x900, 1)
SECONDS = 5.0


def reassembly(
    bytes_max: int = 1000,
    source_bytes_max: int = 1000,
    message_bytes_max: int = 1000,
    count_max: int = 100,
) -> Reassembly:
    return Reassembly(
        bytes_max,
        source_bytes_max=source_bytes_max,
        message_bytes_max=message_bytes_max,
        count_max=count_max,
        seconds=SECONDS,
    )


def add(
    room: Reassembly,
    flow: FlowKey,
    sequence: int,
    offset: int,
    payload: bytes,
    total: int = 10,
    kind: int = 7,
    now: float = 0.0,
) -> list[Outcome]:
    return room.add(flow, sequence, offset=offset, total=total, kind=kind, payload=payload, now=now)


def pieces(payload: bytes, room: int) -> list[tuple[int, bytes]]:
    """Cut a payload, as `split` does, into bytes of their own."""
    return [(offset, bytes(piece)) for offset, piece in split(payload, room)]


def put_together(parts: Sequence[tuple[int, bytes | memoryview]], total: int) -> bytes:
    """Give the message that fragments make."""
    room, outcomes = reassembly(), []
    for offset, piece in parts:
        outcomes += room.add(A, 1, offset=offset, total=total, kind=7, payload=piece, now=0.0)
    [whole] = outcomes
    assert isinstance(whole, Whole)
    return whole.payload


class SplitTests(SynchronousTestCase):
    def test_cuts_at_the_room_of_a_frame(self) -> None:
        """Each piece but the last fills its frame, and the offsets say where it belongs."""
        self.assertEqual(split(b"abcdefg", 3), [(0, b"abc"), (3, b"def"), (6, b"g")])
        self.assertEqual(split(b"abcdef", 3), [(0, b"abc"), (3, b"def")])
        self.assertEqual(split(b"ab", 3), [(0, b"ab")])

    def test_an_empty_message_is_one_piece(self) -> None:
        """A message without a byte still arrives."""
        self.assertEqual(split(b"", 3), [(0, b"")])

    def test_frames_without_room_are_refused(self) -> None:
        """To cut into pieces of nothing is a fault of our own."""
        self.assertRaises(LocalProtocolError, split, b"abc", 0)


class ReassemblyTests(SynchronousTestCase):
    def test_puts_a_message_together(self) -> None:
        """A message that was cut up arrives whole, with its sequence and its kind."""
        room = reassembly()
        self.assertEqual(add(room, A, 5, 0, b"0123"), [])
        self.assertEqual(add(room, A, 5, 4, b"4567"), [])
        self.assertEqual((len(room), room.reserved_bytes), (1, 10))
        self.assertEqual(add(room, A, 5, 8, b"89"), [Whole(A, 5, 7, b"0123456789")])
        self.assertEqual((len(room), room.reserved_bytes, room.deadline), (0, 0, None))

    def test_a_single_fragment_is_whole(self) -> None:
        """A message that fits one frame after all is complete at once, the empty one too."""
        room = reassembly()
        self.assertEqual(add(room, A, 1, 0, b"x", total=1), [Whole(A, 1, 7, b"x")])
        self.assertEqual(add(room, A, 2, 0, b"", total=0), [Whole(A, 2, 7, b"")])
        self.assertEqual(room.reserved_bytes, 0)

    def test_a_message_that_was_cut_here_is_what_it_was(self) -> None:
        """Views of one object, all of it, are that object; of a part of it, or of two, a copy."""
        message, other = bytes(range(200)), bytes(range(1, 201))
        views = split(message, 60)
        self.assertIs(put_together(views, 200), message)
        mixed = [*views[:2], *split(other, 60)[2:]]
        self.assertEqual(put_together(mixed, 200), message[:120] + other[120:])
        self.assertEqual(put_together(split(memoryview(message)[:20], 15), 20), message[:20])
        self.assertEqual(put_together(split(memoryview(bytearray(message)), 60), 200), message)

    def test_flows_arrive_between_each_other(self) -> None:
        """Fragments of several flows may alternate, also those of two targets of one source."""
        room = reassembly()
        other: FlowKey = (A[0], 0x901, 1)
        for flow in (A, B, other):
            add(room, flow, 1, 0, b"01234")
        for flow in (B, other, A):
            self.assertEqual(add(room, flow, 1, 5, b"56789"), [Whole(flow, 1, 7, b"0123456789")])

    def test_the_rest_of_a_lost_message_is_ignored(self) -> None:
        """A message that lost a part is reported once, however much of it still comes."""
        room = reassembly()
        add(room, A, 1, 0, b"01")
        self.assertEqual(add(room, A, 1, 4, b"45"), [Lost(A, 1, Status.FRAGMENT_LOST)])
        for offset in (2, 6, 8, 0):
            self.assertEqual(add(room, A, 1, offset, b"xx"), [])
        self.assertEqual((len(room), room.reserved_bytes), (0, 0))
        self.assertEqual(add(room, A, 2, 0, b"0123456789"), [Whole(A, 2, 7, b"0123456789")])

    def test_whatever_does_not_fit_is_a_loss(self) -> None:
        """A gap, an overlap, a repetition, another total or another kind end the message."""
        for offset, total, kind in ((5, 10, 7), (3, 10, 7), (0, 10, 7), (4, 11, 7), (4, 10, 8)):
            room = reassembly()
            add(room, A, 1, 0, b"0123")
            outcome = add(room, A, 1, offset, b"xy", total=total, kind=kind)
            self.assertEqual(outcome, [Lost(A, 1, Status.FRAGMENT_LOST)])
            self.assertEqual((len(room), room.reserved_bytes), (0, 0))

    def test_a_message_arrives_once(self) -> None:
        """Fragments of a message that is complete already are ignored, from wherever they come."""
        room = reassembly()
        add(room, A, 1, 0, b"0123456789")
        for offset, payload in ((0, b"0123456789"), (0, b"01"), (8, b"89")):
            self.assertEqual(add(room, A, 1, offset, payload), [])
        self.assertEqual(len(room), 0)

    def test_a_message_without_its_beginning_is_lost(self) -> None:
        """A message whose first fragment never came is reported once."""
        room = reassembly()
        self.assertEqual(add(room, A, 1, 4, b"45"), [Lost(A, 1, Status.FRAGMENT_LOST)])
        self.assertEqual(add(room, A, 1, 6, b"67"), [])

    def test_the_next_message_shows_the_loss_of_the_one_before(self) -> None:
        """A flow sends one message after the other, so a new one ends an unfinished one."""
        room = reassembly()
        add(room, A, 1, 0, b"01")
        outcomes = add(room, A, 2, 0, b"x", total=1)
        self.assertEqual(outcomes, [Lost(A, 1, Status.FRAGMENT_LOST), Whole(A, 2, 7, b"x")])
        add(room, A, 3, 0, b"01")
        outcomes = add(room, A, 4, 2, b"23")
        lost = [Lost(A, sequence, Status.FRAGMENT_LOST) for sequence in (3, 4)]
        self.assertEqual(outcomes, lost)

    def test_a_message_in_one_piece_shows_it_too(self) -> None:
        """When something else of the flow comes, the unfinished message is given up."""
        room = reassembly()
        self.assertEqual(room.interrupt(A), [])
        add(room, A, 1, 0, b"01")
        self.assertEqual(room.interrupt(B), [])
        self.assertEqual(room.interrupt(A), [Lost(A, 1, Status.FRAGMENT_LOST)])
        self.assertEqual((room.interrupt(A), add(room, A, 1, 2, b"23")), ([], []))

    def test_a_fragment_that_contradicts_itself_is_a_breach(self) -> None:
        """A fragment beyond the end of its message, or without a byte, was made in bad faith."""
        room = reassembly()
        add(room, A, 1, 0, b"01")
        for offset, payload in ((9, b"xx"), (11, b""), (2, b""), (2**32 - 1, b"x")):
            self.assertRaises(MalformedFrame, add, room, A, 1, offset, payload)
        self.assertRaises(MalformedFrame, add, room, B, 1, 0, b"x", 0)
        self.assertEqual(add(room, A, 1, 2, b"23456789"), [Whole(A, 1, 7, b"0123456789")])


class BoundTests(SynchronousTestCase):
    def test_a_message_may_be_as_large_as_the_limit(self) -> None:
        """One byte more than the largest message is refused at its first fragment, once."""
        room = reassembly(message_bytes_max=10)
        self.assertEqual(add(room, A, 1, 0, b"x", total=10), [])
        outcome = add(room, B, 1, 0, b"x", total=11)
        self.assertEqual(outcome, [Lost(B, 1, Status.MESSAGE_TOO_LARGE)])
        self.assertEqual(add(room, B, 1, 1, b"x", total=11), [])

    def test_one_source_cannot_take_all_the_room(self) -> None:
        """A source has its share; what goes beyond is refused, other sources are served."""
        room = reassembly(bytes_max=30, source_bytes_max=20)
        for target in (1, 2):
            self.assertEqual(add(room, (A[0], target, 1), 1, 0, b"x"), [])
        outcome = add(room, (A[0], 3, 1), 1, 0, b"x")
        self.assertEqual(outcome, [Lost((A[0], 3, 1), 1, Status.BUFFER_LIMIT)])
        self.assertEqual(add(room, B, 1, 0, b"x"), [])
        outcome = add(room, (0x303, 1, 1), 1, 0, b"x")
        self.assertEqual(outcome, [Lost((0x303, 1, 1), 1, Status.BUFFER_LIMIT)])
        self.assertEqual(room.reserved_bytes, 30)

    def test_room_comes_back(self) -> None:
        """Messages that are complete, lost, or forgotten leave their room to others."""
        room = reassembly(bytes_max=10)
        add(room, A, 1, 0, b"01")
        add(room, A, 1, 2, b"23456789")
        add(room, A, 2, 0, b"01")
        add(room, A, 2, 9, b"9")
        add(room, B, 1, 0, b"01")
        room.forget(B[0])
        self.assertEqual(add(room, A, 3, 0, b"01"), [])

    def test_a_message_once_begun_finds_its_room(self) -> None:
        """Room is reserved at the beginning, so nothing that comes later takes it away."""
        room = reassembly(bytes_max=15)
        add(room, A, 1, 0, b"0")
        self.assertEqual(add(room, B, 1, 0, b"0"), [Lost(B, 1, Status.BUFFER_LIMIT)])
        self.assertEqual(add(room, A, 1, 1, b"123456789"), [Whole(A, 1, 7, b"0123456789")])

    def test_a_lying_total_allocates_nothing(self) -> None:
        """Memory grows with what arrives, not with what is announced."""
        room = reassembly(2**32, 2**32, 2**32)
        add(room, A, 1, 0, b"x", total=2**32 - 1)
        self.assertEqual(room._partials[A].received_bytes, 1)

    def test_a_message_in_tiny_pieces(self) -> None:
        """Whoever sends byte by byte does not make us keep an object for every byte."""
        room = reassembly(10_000, 10_000, 10_000)
        for at in range(5_000):
            add(room, A, 1, at, b"x", total=5_001)
            self.assertLess(len(room._partials[A].pieces), 100)
        self.assertEqual(add(room, A, 1, 5_000, b"y", 5_001), [Whole(A, 1, 7, b"x" * 5_000 + b"y")])

    def test_the_number_of_messages_is_bounded(self) -> None:
        """However small they are, only so many messages are under way, or remembered as lost."""
        room = reassembly(count_max=2)
        for source in (1, 2):
            add(room, (source, 9, 1), 1, 0, b"x", total=2)
        outcome = add(room, (3, 9, 1), 1, 0, b"x", total=2)
        self.assertEqual(outcome, [Lost((3, 9, 1), 1, Status.BUFFER_LIMIT)])
        for source in range(4, 50):
            add(room, (source, 9, 1), 1, 1, b"x", total=2)
        self.assertEqual(len(room._ended), 2)

    def test_the_flow_that_is_quiet_longest_is_forgotten_first(self) -> None:
        """What is still coming of a lost message is ignored while its flow is a busy one."""
        room = reassembly(count_max=2)
        for flow, sequence in ((A, 1), (B, 1), (A, 2), ((0x303, 9, 1), 1)):
            self.assertEqual(len(add(room, flow, sequence, 1, b"x")), 1)
        self.assertEqual(add(room, A, 2, 2, b"x"), [])


class EndTests(SynchronousTestCase):
    def test_a_message_without_progress_expires(self) -> None:
        """A message whose rest does not come is given up; progress gives it new time."""
        room = reassembly()
        add(room, A, 1, 0, b"01", now=1.0)
        add(room, B, 1, 0, b"01", now=2.0)
        add(room, A, 1, 2, b"23", now=3.0)
        self.assertEqual(room.deadline, 7.0)
        self.assertEqual(room.expire(6.9), [])
        self.assertEqual(room.expire(7.0), [Lost(B, 1, Status.TIMEOUT)])
        self.assertEqual((room.deadline, room.reserved_bytes), (8.0, 10))
        self.assertEqual(add(room, B, 1, 2, b"23"), [])
        self.assertEqual(room.expire(8.0), [Lost(A, 1, Status.TIMEOUT)])

    def test_a_source_that_is_gone(self) -> None:
        """Everything of a source is forgotten with it, and nothing of the others."""
        room = reassembly()
        other: FlowKey = (A[0], 0x901, 1)
        for flow in (A, B, other):
            add(room, flow, 3, 0, b"01")
        self.assertEqual(room.forget(A[0]), [(A, 3), (other, 3)])
        self.assertEqual((room.forget(A[0]), len(room), room.reserved_bytes), ([], 1, 10))

    def test_a_source_that_returns_begins_anew(self) -> None:
        """What a source lost in an earlier life is not held against its new messages."""
        room = reassembly()
        add(room, A, 1, 4, b"45")
        room.forget(A[0])
        self.assertEqual(add(room, A, 1, 0, b"0123456789"), [Whole(A, 1, 7, b"0123456789")])


Piece = tuple[FlowKey, int, int, int, bytes]


def pieces_of(flow: FlowKey, payloads: list[bytes], room: int) -> list[Piece]:
    return [
        (flow, sequence, offset, len(payload), piece)
        for sequence, payload in enumerate(payloads, 1)
        for offset, piece in pieces(payload, room)
    ]


def interleave(data: st.DataObject, queues: list[list[Piece]]) -> list[Piece]:
    """Draw an order of arrival that keeps each flow's own order."""
    waiting = [list(queue) for queue in queues if queue]
    order: list[Piece] = []
    while waiting:
        queue = data.draw(st.sampled_from(waiting))
        order.append(queue.pop(0))
        waiting = [queue for queue in waiting if queue]
    return order


payloads = st.lists(st.binary(max_size=12), max_size=4)


class PropertyTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.data(), st.lists(payloads, min_size=1, max_size=3), st.integers(1, 5))
    def test_every_message_comes_back(
        self, data: st.DataObject, flows: list[list[bytes]], room: int
    ) -> None:
        """However flows are interleaved and cut, each delivers its messages, in order."""
        table = reassembly()
        queues = [pieces_of((n, 9, 1), sent, room) for n, sent in enumerate(flows)]
        received: dict[int, list[bytes]] = {n: [] for n in range(len(flows))}
        for flow, sequence, offset, total, piece in interleave(data, queues):
            for outcome in add(table, flow, sequence, offset, piece, total):
                assert isinstance(outcome, Whole)
                received[flow[0]].append(outcome.payload)
        self.assertEqual(list(received.values()), flows)
        self.assertEqual((len(table), table.reserved_bytes), (0, 0))

    @settings(deadline=None)
    @given(st.data(), payloads, st.integers(1, 5))
    def test_agrees_with_a_list_of_what_arrived(
        self, data: st.DataObject, sent: list[bytes], room: int
    ) -> None:
        """
        Whatever is lost or repeated on the way, a message is whole exactly when all of it came,
        once and in order, and has exactly one outcome if any of it came at all.
        """
        arrived: list[Piece] = []
        for piece in pieces_of(A, sent, room):
            arrived += [piece] * data.draw(st.sampled_from([0, 1, 1, 1, 1, 2]))
        table = reassembly()
        outcomes: list[Outcome] = []
        for flow, sequence, offset, total, piece_bytes in arrived:
            outcomes += add(table, flow, sequence, offset, piece_bytes, total)
        outcomes += table.interrupt(A)
        for sequence, payload in enumerate(sent, 1):
            came = [(at, piece) for _, n, at, _, piece in arrived if n == sequence]
            got = [outcome for outcome in outcomes if outcome.sequence == sequence]
            intact = came[: len(pieces(payload, room))] == pieces(payload, room)
            if intact:
                self.assertEqual(got, [Whole(A, sequence, 7, payload)])
            else:
                self.assertEqual(got, [Lost(A, sequence, Status.FRAGMENT_LOST)] * bool(came))

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.integers(1, 3),
                st.integers(1, 3),
                st.integers(0, 8),
                st.integers(0, 9),
                st.binary(max_size=4),
                st.integers(0, 1),
            ),
            max_size=40,
        )
    )
    def test_hostile_fragments_break_no_bound(
        self, fragments: list[tuple[int, int, int, int, bytes, int]]
    ) -> None:
        """Whatever fragments are sent, nothing but a breach is raised and every bound holds."""
        table = reassembly(20, 12, 8, 3)
        for now, (source, sequence, offset, total, payload, kind) in enumerate(fragments):
            flow = (source, 9, 1)
            try:
                outcomes = add(table, flow, sequence, offset, payload, total, kind, float(now))
            except MalformedFrame:
                outcomes = []
            outcomes += table.expire(float(now))
            for outcome in outcomes:
                if isinstance(outcome, Whole):
                    self.assertLessEqual(len(outcome.payload), 8)
            partials = table._partials.values()
            self.assertEqual(table.reserved_bytes, sum(p.total for p in partials))
            self.assertEqual(sum(table._reserved_by_source.values()), table.reserved_bytes)
            self.assertLessEqual(table.reserved_bytes, 20)
            self.assertTrue(all(p.received_bytes < p.total for p in partials))
            self.assertLessEqual(max(table._reserved_by_source.values(), default=0), 12)
        for source in (1, 2, 3):
            table.forget(source)
        self.assertEqual((table.reserved_bytes, table._reserved_by_source), (0, {}))
