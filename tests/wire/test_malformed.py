"""Hostile bytes: whatever arrives, nothing but a named breach comes of it, soon and cheaply."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import RemoteProtocolError, Status
from atbus.testing.strategies import any_message
from atbus.wire import codec, schema
from atbus.wire.extras import append_trace
from atbus.wire.messages import Message, MessageType
from tests.wire import document, unchecked


def outcome(frame: bytes) -> Message | Status:
    """
    Read a frame both ways.

    :param frame: Any bytes.
    :returns: The message, or the breach it is.
    :raises AssertionError: When codec and schema do not agree.
    """
    results: list[Message | Status] = []
    for read in (codec.decode, schema.parse):
        try:
            results.append(read(frame))
        except RemoteProtocolError as error:
            results.append(error.status)
    fast, normative = results
    if fast != normative:
        raise AssertionError(f"{fast!r} by codec, {normative!r} by schema: {frame.hex()}")
    return fast


def fix_length(frame: bytearray) -> bytes:
    """
    Make a damaged frame's length right, so that the damage is looked at.

    :param frame: At least a head.
    :returns: The frame.
    """
    frame[:4] = len(frame).to_bytes(4, "little")
    return bytes(frame)


class DamageTests(SynchronousTestCase):
    """Frames that were whole once."""

    def test_truncated_anywhere(self) -> None:
        """A frame cut short is a breach or, where the rest may be absent, an older message."""
        for section in document.sections():
            for vector in section.vectors:
                for size in range(len(vector.raw)):
                    self.assertIs(outcome(vector.raw[:size]), Status.MALFORMED_FRAME)
                    if size >= codec.HEAD_SIZE:
                        outcome(fix_length(bytearray(vector.raw[:size])))

    def test_every_bit_flipped(self) -> None:
        """One wrong bit gives another message or a breach, and both readers say the same."""
        for section in document.sections():
            raw = section.vectors[-1].raw
            for place in range(8 * len(raw)):
                damaged = bytearray(raw)
                damaged[place // 8] ^= 1 << place % 8
                outcome(bytes(damaged))

    def test_every_length_is_a_lie(self) -> None:
        """
        Any two or four bytes replaced by the largest numbers: bounded, and a breach or a message.

        These are all lengths and counts there are, wherever they stand.
        """
        for section in document.sections():
            raw = section.vectors[0].raw
            for place in range(4, len(raw)):
                for lie in (b"\xff\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0"):
                    outcome(fix_length(bytearray(raw[:place] + lie + raw[place + len(lie) :])))

    @settings(deadline=None, max_examples=300)
    @given(any_message(), st.data())
    def test_random_damage(self, message: Message, data: st.DataObject) -> None:
        """Pieces cut out, put in and overwritten at random places."""
        frame = bytearray(codec.encode(message))
        for _ in range(data.draw(st.integers(1, 3))):
            start = data.draw(st.integers(0, len(frame)))
            stop = data.draw(st.integers(start, min(len(frame), start + 8)))
            frame[start:stop] = data.draw(st.binary(max_size=8))
        outcome(bytes(frame))
        if len(frame) >= codec.HEAD_SIZE:
            outcome(fix_length(frame))

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(MessageType), st.binary(max_size=120), st.integers(0, 3))
    def test_noise_under_a_good_head(
        self, message_type: MessageType, noise: bytes, count: int
    ) -> None:
        """A body of noise is read as something or is a breach."""
        outcome(unchecked.wrap(message_type, noise, count=count))
        outcome(unchecked.wrap(message_type, extras=noise, count=count))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=120))
    def test_noise(self, noise: bytes) -> None:
        """No bytes at all make a reader do anything but read or refuse."""
        outcome(noise)
        for read in (codec.peek, codec.iter_run, lambda frame: append_trace(frame, 1)):
            try:
                read(noise)
            except RemoteProtocolError as error:
                self.assertIs(error.status, Status.MALFORMED_FRAME)


class CostTests(SynchronousTestCase):
    """What hostile bytes may cost."""

    def _peak(self, frame: bytes) -> int:
        tracemalloc.start()
        try:
            outcome(frame)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_memory(self) -> None:
        """The worst frame of each type makes no more than a small multiple of itself."""
        room = limits.FRAME_BYTES - codec.HEAD_SIZE
        for message_type in MessageType:
            for byte in (b"\0", b"\1", b"\xff", b"\x20"):
                for count in (1, 4096, 65535):
                    frame = unchecked.wrap(message_type, byte * room, count=count)
                    peak = self._peak(frame)
                    self.assertTrue(peak < 48 * len(frame), f"{message_type.name} {byte!r}: {peak}")

    def test_counts_without_substance(self) -> None:
        """A small frame that announces 65,535 of something allocates next to nothing."""
        for section in document.sections():
            raw = section.vectors[0].raw
            for place in range(codec.HEAD_SIZE, len(raw) - 1):
                lie = fix_length(bytearray(raw[:place] + b"\xff\xff" + raw[place + 2 :]))
                self.assertTrue(self._peak(lie) < 64 * 1024, section.name)
