"""A frame that is cut says the same as before, in shorter frames."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import MalformedFrame
from atbus.wire import codec
from atbus.wire.cutting import begins_message, chunks, cut
from atbus.wire.head import HEAD_SIZE, peek
from atbus.wire.messages import Data, Extra, Flush, Fragment, MessageType, StreamData

SMALLEST = 4_096
_LENGTHS = st.one_of(st.integers(0, 300), st.integers(3_000, 9_000))
_EXTRAS = st.lists(st.binary(max_size=40).map(lambda value: Extra(0x7FFF, value)), max_size=3)


def joined(frames: list[bytes]) -> dict[int, tuple[int, bytes]]:
    """Put together what frames carry: kind and payload by sequence."""
    found: dict[int, tuple[int, bytes]] = {}
    for frame in frames:
        message = codec.decode(frame)
        if isinstance(message, Data):
            for place, pair in enumerate(message.messages):
                assert message.sequence + place not in found
                found[message.sequence + place] = pair
            continue
        assert isinstance(message, Fragment)
        kind, before = found.get(message.sequence, (message.kind, b""))
        assert (kind, len(before)) == (message.kind, message.offset)
        found[message.sequence] = (kind, before + message.payload)
    return found


class CuttingTests(SynchronousTestCase):
    """Runs and fragments that are too long."""

    def test_a_short_frame_stays_as_it_is(self) -> None:
        """What is short enough is not touched."""
        frame = codec.encode(Data(messages=((1, bytes(4_000)),)), frame=7, ack=9)
        self.assertEqual(cut(frame, SMALLEST), [frame])

    @settings(deadline=None, max_examples=60)
    @given(st.lists(_LENGTHS, min_size=1, max_size=12), _EXTRAS)
    def test_runs(self, lengths: list[int], extras: list[Extra]) -> None:
        """All messages of a run come out, with their sequences, kinds, flags and extras."""
        messages = tuple((n - 5, bytes([n]) * length) for n, length in enumerate(lengths))
        run = Data(
            source=2, destination=3, sequence=50, epoch=4, hop_limit=6, flags=1,
            messages=messages, extras=tuple(extras),
        )  # fmt: skip
        frames = cut(codec.encode(run), SMALLEST)
        self.assertEqual(joined(frames), {50 + n: pair for n, pair in enumerate(messages)})
        for frame in frames:
            self.assertTrue(len(frame) <= SMALLEST)
            part = codec.decode(frame)
            self.assertEqual(part.extras, run.extras)
            own = (part.source, part.destination, part.epoch, part.hop_limit, part.flags)
            self.assertEqual(own, (2, 3, 4, 6, 1))

    def test_fragments(self) -> None:
        """A fragment becomes shorter ones that say where in the message they are."""
        payload = bytes(place & 255 for place in range(20_000))
        whole = Fragment(
            sequence=9, offset=1_000, total=30_000, kind=-3, payload=payload, flags=8,
            extras=(Extra(1, bytes(16)),),
        )  # fmt: skip
        frames = cut(codec.encode(whole), SMALLEST)
        parts = [codec.decode(frame) for frame in frames]
        self.assertTrue(len(parts) > 4)
        offset = 1_000
        for frame, part in zip(frames, parts, strict=True):
            assert isinstance(part, Fragment)
            self.assertTrue(len(frame) <= SMALLEST)
            self.assertEqual((part.offset, part.total, part.kind), (offset, 30_000, -3))
            self.assertEqual((part.sequence, part.flags, part.extras), (9, 8, whole.extras))
            offset += len(part.payload)
        self.assertEqual(offset, 21_000)

    def test_data_of_a_stream(self) -> None:
        """Each part says where in the stream it belongs; all else is as it was."""
        data = bytes(range(250)) * 80
        whole = StreamData(
            source=2, destination=3, sequence=(1 << 64) - 5, epoch=4, hop_limit=6,
            extras=(Extra(0x7FFF, b"kept"),), stream_id=9, from_opener=True, offset=1_000,
            data=data,
        )  # fmt: skip
        frames = cut(codec.encode(whole), SMALLEST)
        parts = [codec.decode(frame) for frame in frames]
        self.assertTrue(len(parts) > 4)
        found = b""
        for frame, part in zip(frames, parts, strict=True):
            assert isinstance(part, StreamData)
            self.assertTrue(len(frame) <= SMALLEST)
            self.assertEqual(part, attrs.evolve(whole, offset=1_000 + len(found), data=part.data))
            found += part.data
        self.assertEqual(found, data)

    def test_data_of_a_stream_that_is_none(self) -> None:
        """Extras that leave no room for a body make no frame."""
        frame = bytearray(codec.encode(Data(messages=((0, bytes(SMALLEST)),))))
        frame[4] = MessageType.STREAM_DATA
        frame[42:44] = (len(frame) - 48).to_bytes(2, "little")
        with self.assertRaises(MalformedFrame):
            cut(bytes(frame), SMALLEST)

    def test_unknown_extras_are_passed_on(self) -> None:
        """Who cuts need not understand: an extra that the destination must know goes along."""
        known = Extra(0x7FFF, b"?")
        frame = bytearray(codec.encode(Data(messages=((0, bytes(9_000)),), extras=(known,))))
        frame[49] = 0xFF  # Now its type is mandatory and unknown.
        for part in cut(bytes(frame), SMALLEST):
            self.assertEqual(part[48:53], frame[48:53])

    def test_first_fragments_are_known(self) -> None:
        """The fragment that begins a message can be told from the others by a glance."""
        for offset, first in ((0, True), (1, False), (256, False)):
            extras = (Extra(1, b"ab"),)
            fragment = Fragment(offset=offset, total=999, kind=0, payload=b"x", extras=extras)
            frame = codec.encode(fragment)
            self.assertEqual(begins_message(frame, peek(frame)), first)

    def test_what_cannot_be_cut(self) -> None:
        """Other frames, and such as are not what they say, are refused."""
        flush = bytearray(codec.encode(Flush(token=1)) + bytes(SMALLEST))
        flush[0:4] = len(flush).to_bytes(4, "little")
        broken = bytearray(codec.encode(Data(messages=((0, bytes(9_000)),))))
        broken[48] ^= 1
        beyond = bytearray(
            codec.encode(Fragment(offset=0, total=2**32 - 1, kind=0, payload=bytes(9_000)))
        )
        # Its second part would be where no number tells.
        beyond[HEAD_SIZE : HEAD_SIZE + 4] = (2**32 - 4_000).to_bytes(4, "little")
        for frame in (flush, broken, beyond):
            with self.assertRaises(MalformedFrame):
                cut(bytes(frame), SMALLEST)

    def test_chunks(self) -> None:
        """Messages share a run while they fit; one that fits none is alone."""
        self.assertEqual(chunks([10, 10, 10], 36), [(0, 2), (2, 1)])
        self.assertEqual(chunks([100], 36), [(0, 1)])
        self.assertEqual(chunks([10, 100, 10, 10], 36), [(0, 1), (1, 1), (2, 2)])
