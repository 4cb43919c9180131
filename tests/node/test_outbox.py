"""What leaves on a connection, and what it stands for."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from twisted.trial.unittest import SynchronousTestCase

from atbus.node.fitting import fit
from atbus.node.outbox import (
    Custody,
    Item,
    Kept,
    Notice,
    Relayed,
    Routed,
    Run,
    Spread,
    frames_in_pieces,
)
from atbus.wire import codec
from atbus.wire.extras import number_extra
from atbus.wire.loose import LooseFragment, LoosePublication, LooseRun
from atbus.wire.messages import (
    CommandRequest,
    Data,
    ExtraType,
    Flags,
    Fragment,
    LinkAck,
    MessageType,
    Publish,
)


class Recorder:
    """A link that is told of discharges."""

    def __init__(self) -> None:
        self.discharged: list[int] = []

    def discharge(self, number: int) -> None:
        """Note one."""
        self.discharged.append(number)


def custody(number: int = 7) -> tuple[Custody, Recorder]:
    """Make a custody, and what is told when it ends."""
    link = Recorder()
    return Custody(link, number), link  # type: ignore[arg-type]  # enough of a link


def run(*payloads: bytes | memoryview, **options: object) -> Run:
    """Make a run of own messages."""
    values: dict[str, object] = {
        "source": 1,
        "target": 2,
        "first_sequence": 10,
        "epoch": 3,
        "hop_limit": 16,
        "kinds": list(range(len(payloads))),
        "payloads": list(payloads),
        "size_bytes": sum(len(payload) + 8 for payload in payloads),
        "count": len(payloads),
    }
    return Run(**{**values, **options})  # type: ignore[arg-type]  # mixed values


def relayed(message: Data | Fragment) -> tuple[Relayed, Recorder]:
    """Make a frame that passes through."""
    held, link = custody()
    frame = codec.encode(message)
    head = codec.peek(frame)
    item = Relayed(
        frame=frame,
        source=message.source,
        target=message.destination,
        first_sequence=message.sequence,
        epoch=message.epoch,
        count=head[10],
        hop_limit=9,
        custody=held,
        type=head[1],
        size_bytes=len(frame),
    )
    return item, link


class PiecesTests(SynchronousTestCase):
    """Frames of which the long payloads are not copied."""

    def test_a_long_payload_is_not_copied(self) -> None:
        """In pieces a run and a fragment are the frames that they are in one, uncopied."""
        long, piece = bytes(range(256)) * 40, memoryview(bytes(50_000))[100:9_000]
        ack = number_extra(ExtraType.DEADLINE, 5)
        makers: list[Callable[[], Run]] = [
            lambda: run(long, b"short", long, extras=(ack,)),
            lambda: run(long),
            lambda: run(piece, fragment=(100, 50_000)),
        ]
        for made in makers:
            item, payloads = made(), made().payloads
            self.assertEqual(item.is_bulky, len(payloads) < 3)
            front, *rest = item.build_in_pieces(4, 2)
            self.assertEqual(b"".join((front, *rest)), made().build(4, 2))
            self.assertTrue(all(a is b for a, b in zip(rest, payloads, strict=True)))
            self.assertEqual((item.payloads, item.kinds), ((), ()))

    def test_only_long_ones_come_in_pieces(self) -> None:
        """Short payloads, notices and what is a frame already leave whole, all in their order."""
        packed = run(bytes(9_000))
        packed.pack()
        self.assertFalse(packed.is_bulky)
        passing, _ = relayed(Data(source=4, destination=2, messages=((0, bytes(9_000)),)))
        items: list[Item] = [
            run(b"a"), run(bytes(9_000)), packed, Notice(LinkAck(source=1)), passing
        ]  # fmt: skip
        kept: list[Kept] = []

        def record(item: Kept) -> int:
            kept.append(item)
            return len(kept)

        pieces = list(chain.from_iterable(frames_in_pieces(items, record, 3)))
        self.assertEqual([len(piece) for piece in pieces[:4]], [57, 56, 9_000, 9_056])
        self.assertEqual(kept, [item for item in items if not isinstance(item, Notice)])
        numbers = [codec.peek(bytes(pieces[place]))[9] for place in (0, 1, 3, 4, 5)]
        self.assertEqual(numbers, [1, 2, 3, 0, 4])

    def test_a_run_that_is_handed_over(self) -> None:
        """A run within a process keeps its payloads, and is the frame that it would have been."""
        extra = number_extra(ExtraType.IN_REPLY_TO, 4)
        for item, same in [
            (run(b"a", b"bb", b""), run(b"a", b"bb", b"")),
            (run(b"x", flags=Flags.REPLY, extras=(extra,)),
             run(b"x", flags=Flags.REPLY, extras=(extra,))),
        ]:  # fmt: skip
            payloads, frame = item.payloads, same.build(4, 2)
            loose = item.loosen(4, 2)
            assert isinstance(loose, LooseRun)
            self.assertIs(loose.payloads, payloads)
            self.assertEqual(loose.head, codec.peek(frame))
            self.assertEqual(loose.join(), frame)
            self.assertEqual((item.payloads, item.kinds), ((), ()))

    def test_a_part_that_is_handed_over(self) -> None:
        """A part of a message stays a view of it, and is the frame that it would have been."""
        piece, extra = memoryview(b"a part of it")[2:6], number_extra(ExtraType.DEADLINE, 4)
        for extras in ((), (extra,)):
            item = run(piece, fragment=(2, 12), extras=extras, kinds=[-5])
            frame = run(piece, fragment=(2, 12), extras=extras, kinds=[-5]).build(4, 2)
            loose = item.loosen(4, 2)
            assert isinstance(loose, LooseFragment)
            self.assertIs(loose.piece, piece)
            self.assertEqual(loose.head, codec.peek(frame))
            self.assertEqual((len(loose), loose.join()), (len(frame), frame))
            self.assertEqual((item.payloads, item.kinds), ((), ()))

    def test_a_publication_that_is_handed_over(self) -> None:
        """It stays what it is for memory, each time with its number, and is a frame for others."""
        message = Publish(source=1, subject="a", messages=((0, b"x"),), hop_limit=9)
        shared = LoosePublication.of(message)
        for number in (4, 5):
            item = Spread(shared, 9, size_bytes=len(shared))
            loose = item.loosen(number, 2)
            assert isinstance(loose, LoosePublication)
            self.assertIs(loose.message, message)
            frame = codec.encode(message, number, 2)
            self.assertEqual(loose.head, codec.peek(frame))
            self.assertEqual(Spread(shared, 9, size_bytes=len(shared)).build(number, 2), frame)
            made = Spread(codec.encode(message), 9, size_bytes=len(shared))
            self.assertEqual(made.loosen(number, 2), frame)

    def test_what_is_handed_over_as_a_frame(self) -> None:
        """What is compressed, and what is a frame already, go as frames."""
        packed = run(b"a")
        packed.pack()
        for item, same in [
            (packed, run(b"a")),
            (run(b"small", flags=Flags.COMPRESSED), run(b"small", flags=Flags.COMPRESSED)),
        ]:
            self.assertEqual(item.loosen(4, 2), same.build(4, 2))


class ItemTests(SynchronousTestCase):
    """Items become frames."""

    def test_a_run(self) -> None:
        """A run becomes one DATA frame and lets its payloads go."""
        item = run(b"a", b"", b"ccc")
        frame = item.build(5, 6)
        message = codec.decode(frame)
        assert isinstance(message, Data)
        self.assertEqual(message.messages, ((0, b"a"), (1, b""), (2, b"ccc")))
        self.assertEqual((message.source, message.destination, message.sequence), (1, 2, 10))
        self.assertEqual((codec.peek(frame)[9], codec.peek(frame)[12]), (5, 6))
        self.assertEqual((item.payloads, item.kinds, item.count), ((), (), 3))

    def test_a_fragment(self) -> None:
        """A part of a message becomes a FRAGMENT frame."""
        extra = number_extra(ExtraType.IN_REPLY_TO, 4)
        item = run(b"part", fragment=(8, 20), flags=Flags.REPLY, extras=(extra,))
        message = codec.decode(item.build(5, 6))
        assert isinstance(message, Fragment)
        self.assertEqual((message.offset, message.total, message.payload), (8, 20, b"part"))
        self.assertEqual((message.flags, message.extras), (Flags.REPLY, (extra,)))

    def test_what_passes_through(self) -> None:
        """Of a relayed frame three fields change, and the frame is let go."""
        data = Data(source=1, destination=2, sequence=4, messages=((0, b"x"),))
        item, _ = relayed(data)
        before = item.frame
        frame = item.build(5, 6)
        self.assertEqual(frame[48:], before[48:])
        head = codec.peek(frame)
        self.assertEqual((head[3], head[9], head[12]), (9, 5, 6))
        self.assertEqual(item.frame, b"")

    def test_what_is_kept_can_be_sent_again(self) -> None:
        """A command or a response is kept whole, and written again with other link fields."""
        item = Routed.of(CommandRequest(source=1, destination=2, sequence=3, arguments=(b"x",)))
        first, second = item.build(5, 6), item.build(7, 8)
        self.assertEqual(codec.decode(first), codec.decode(second))
        self.assertEqual((codec.peek(first)[9], codec.peek(second)[9]), (5, 7))
        self.assertEqual((item.type, item.sequence), (MessageType.COMMAND_REQUEST, 3))
        self.assertEqual(item.size_bytes, len(first))

    def test_frames_of_the_link(self) -> None:
        """A notice has no number."""
        head = codec.peek(Notice(LinkAck(source=1)).build(0, 6))
        self.assertEqual((head[9], head[12]), (0, 6))


class CustodyTests(SynchronousTestCase):
    """Custody ends with the last who shares it."""

    def test_alone(self) -> None:
        """Custody that nobody shares ends at once."""
        held, link = custody()
        held.discharge()
        self.assertEqual(link.discharged, [7])

    def test_shared(self) -> None:
        """Shared custody ends when all have let go, in whatever order."""
        held, link = custody()
        other = held.share()
        held.discharge()
        self.assertEqual(link.discharged, [])
        other.discharge()
        self.assertEqual(link.discharged, [7])


class FitTests(SynchronousTestCase):
    """Items are cut to the length of a link's frames."""

    def test_what_fits_stays_whole(self) -> None:
        """What is short enough is not touched."""
        item = run(bytes(4_000))
        self.assertEqual(fit(item, 4_096), [item])
        passing, _ = relayed(Data(messages=((0, bytes(4_000)),)))
        self.assertEqual(fit(passing, 4_096), [passing])

    def test_an_own_run(self) -> None:
        """A run is cut between messages; one that fits nowhere becomes fragments."""
        payloads = [bytes([n]) * size for n, size in enumerate((10, 3_000, 3_000, 9_000, 10))]
        parts = fit(run(*payloads), 4_096)
        found: dict[int, bytes] = {}
        for part in parts:
            assert isinstance(part, Run)
            self.assertEqual(part.size_bytes, sum(len(p) + 8 for p in part.payloads))
            self.assertEqual(part.count, len(part.payloads))
            for place, payload in enumerate(part.payloads):
                sequence = part.first_sequence + place
                found[sequence] = found.get(sequence, b"") + payload
            self.assertTrue(len(part.build(1, 1)) <= 4_096)
        self.assertEqual(found, {10 + n: payload for n, payload in enumerate(payloads)})

    def test_an_own_fragment(self) -> None:
        """A fragment is cut into shorter ones at the right places."""
        parts = fit(run(bytes(9_000), fragment=(500, 20_000)), 4_096)
        at = 500
        for part in parts:
            assert isinstance(part, Run)
            self.assertEqual(part.fragment, (at, 20_000))
            at += len(part.payloads[0])
            self.assertTrue(len(part.build(1, 1)) <= 4_096)
        self.assertEqual(at, 9_500)

    def test_what_passes_through_shares_its_custody(self) -> None:
        """The parts of somebody else's frame end its custody together."""
        passing, link = relayed(
            Data(source=1, destination=2, sequence=50, messages=((0, bytes(3_000)),) * 4)
        )
        parts = fit(passing, 4_096)
        sequences = [part.first_sequence for part in parts if isinstance(part, Relayed)]
        self.assertEqual(sequences, [50, 51, 52, 53])
        for part in parts:
            assert isinstance(part, Relayed)
            self.assertEqual(link.discharged, [])
            self.assertEqual((part.count, part.hop_limit), (1, 9))
            part.custody.discharge()
        self.assertEqual(link.discharged, [7])
