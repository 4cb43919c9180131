"""
A peer of a version that does not exist yet.

It speaks as our protocol allows it to: everything it adds is marked for those who do not know it.
"""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import MalformedFrame, Status, UnknownMandatory
from atbus.testing.strategies import extras as any_extras
from atbus.testing.strategies import of_type
from atbus.wire import codec, schema
from atbus.wire.extras import pack_extras
from atbus.wire.framing import FrameBuffer
from atbus.wire.messages import (
    IGNORABLE_BIT,
    Capability,
    Data,
    Extra,
    Flags,
    Goodbye,
    Hello,
    Interest,
    InterestEntry,
    Message,
    MessageType,
    Ping,
    RegisterRequest,
    RouteBatch,
    RouteRecord,
    Unknown,
)
from tests.wire import document, unchecked

UNKNOWN_TYPES = sorted(set(range(256)) - set(map(int, MessageType)))
CLOSED = (
    MessageType.DATA,
    MessageType.FRAGMENT,
    MessageType.PUBLISH,
    MessageType.STREAM_DATA,
)


class TypeTests(SynchronousTestCase):
    """Types that we do not know."""

    def test_ignorable_types_are_skipped(self) -> None:
        """A frame of an ignorable type is read as Unknown, whatever is inside."""
        for number in UNKNOWN_TYPES:
            if number & IGNORABLE_BIT:
                for read in (codec.decode, schema.parse):
                    frame = unchecked.wrap(number, b"something new", frame=7)
                    expected = Unknown(
                        type_number=number, source=1, destination=2, body=b"something new"
                    )
                    self.assertEqual(read(frame), expected)

    def test_nothing_inside_an_ignorable_frame_is_looked_at(self) -> None:
        """Its extras may be mandatory, or of a form that we cannot read."""
        for extras in (pack_extras([Extra(0xFFF0, b"x")]), b"\xff\xff\xff"):
            frame = unchecked.wrap(0xFE, b"body", extras=extras)
            for read in (codec.decode, schema.parse):
                message = read(frame)
                self.assertEqual(
                    message, Unknown(type_number=0xFE, source=1, destination=2, body=b"body")
                )

    def test_mandatory_types_are_refused(self) -> None:
        """A frame that may not be ignored is a breach with a name, not a guess."""
        for number in UNKNOWN_TYPES:
            if not number & IGNORABLE_BIT:
                for read in (codec.decode, schema.parse):
                    error = self.assertRaises(UnknownMandatory, read, unchecked.wrap(number))
                    self.assertIs(error.status, Status.UNKNOWN_MANDATORY)
                    self.assertIn(f"{number:#04x}", error.detail)

    def test_unknown_frames_do_not_disturb_the_stream(self) -> None:
        """What comes behind a frame that we do not know is read as always."""
        ping = Ping(source=1, sequence=9)
        stream = unchecked.wrap(0xFE, bytes(300)) + codec.encode(ping)
        frames = FrameBuffer(65536).feed(stream)
        self.assertEqual(codec.decode(frames[1]), ping)

    def test_unknown_frames_are_passed_on_as_they_are(self) -> None:
        """A relay changes what belongs to the link, and needs to know nothing else."""
        frame = unchecked.wrap(0x7E, b"for somebody else", extras=b"any")
        patched = codec.patch(frame, hop_limit=15, frame_number=1, ack=2)
        self.assertEqual(patched[codec.HEAD_SIZE :], frame[codec.HEAD_SIZE :])


class ExtraTests(SynchronousTestCase):
    """Extras that we do not know."""

    @settings(deadline=None, max_examples=60)
    @given(any_extras, st.integers(0x0100, 0x7FFF), st.binary(max_size=30))
    def test_ignorable_extras(self, extras: tuple[Extra, ...], number: int, value: bytes) -> None:
        """An extra without the mandatory bit is kept and hurts nobody."""
        message = Data(extras=(*extras, Extra(number, value)), messages=((1, b"x"),))
        self.assertEqual(codec.decode(codec.encode(message)), message)

    def test_mandatory_extras(self) -> None:
        """An extra that must be understood makes any frame one that we refuse."""
        area = pack_extras([Extra(0x8F00, b"new")])
        for section in document.sections():
            raw = section.vectors[0].raw
            head = codec.peek(raw)
            body = raw[codec.HEAD_SIZE + head[11] :]
            frame = unchecked.wrap(head[1], body, extras=area, count=head[10])
            self.assertRaises(UnknownMandatory, codec.decode, frame)
            self.assertRaises(UnknownMandatory, schema.parse, frame)


class GrowthTests(SynchronousTestCase):
    """Fields behind those that we know."""

    def test_open_bodies_may_grow(self) -> None:
        """A control message that is longer than we know is read as the one we know."""
        for section in document.sections():
            message_type = MessageType[section.name]
            for vector in section.vectors:
                grown = bytearray(vector.raw + b"new fields")
                grown[:4] = len(grown).to_bytes(4, "little")
                if message_type in CLOSED:
                    continue
                self.assertEqual(codec.decode(bytes(grown)), vector.message)
                self.assertEqual(schema.parse(bytes(grown)), vector.message)

    @settings(deadline=None, max_examples=50)
    @given(of_type(MessageType.HELLO), st.binary(max_size=50))
    def test_hello_may_grow(self, hello: Hello, tail: bytes) -> None:
        """HELLO is read by all versions, whatever later ones add to it."""
        grown = bytearray(codec.encode(hello) + tail)
        grown[:4] = len(grown).to_bytes(4, "little")
        self.assertEqual(codec.decode(bytes(grown)), hello)

    def test_records_may_grow(self) -> None:
        """A route record has a length of its own: what it has more is skipped, the next is read."""
        records = tuple(RouteRecord(bus_id=n, epoch=1, seq=n) for n in (1, 2))
        frame = codec.encode(RouteBatch(records=records))
        first = len(frame) - 2 * 43
        grown = bytearray(frame[: first + 43] + b"new" + frame[first + 43 :])
        grown[first : first + 2] = (46).to_bytes(2, "little")
        grown[:4] = len(grown).to_bytes(4, "little")
        for read in (codec.decode, schema.parse):
            self.assertEqual(read(bytes(grown)), RouteBatch(records=records))


class NumberTests(SynchronousTestCase):
    """Numbers and bits that we do not know."""

    def test_capabilities_and_versions(self) -> None:
        """A HELLO with higher versions and unknown capabilities is read, and nothing is lost."""
        hello = Hello(
            version_min=1,
            version_max=9,
            capabilities=Capability.SUBJECTS | 1 << 40 | 1 << 63,
            nonce=bytes(16),
            frame_max=2**31,
        )
        read = codec.decode(codec.encode(hello))
        assert isinstance(read, Hello)
        self.assertEqual(read, hello)
        self.assertTrue(read.capabilities & Capability.SUBJECTS)
        self.assertEqual(read.capabilities >> 63, 1)

    def test_node_flags(self) -> None:
        """A node says something of itself that we do not know: kept, to be passed on."""
        request = RegisterRequest(node_flags=0x8002)
        self.assertEqual(codec.decode(codec.encode(request)), request)

    def test_flags(self) -> None:
        """A flag without a meaning does not change how a message is read."""
        message: Message = Interest(flags=0xFF, entries=(InterestEntry(subject="a"),))
        self.assertEqual(codec.decode(codec.encode(message)), message)
        data = Data(flags=Flags.TRACE | 0x80, messages=((1, b"x"),))
        self.assertEqual(codec.decode(codec.encode(data)), data)

    def test_statuses_keep_their_kind(self) -> None:
        """A reason that we do not know is read as the most general one of its range."""
        for number, expected in (
            (31, Status.NOT_ADMITTED),
            (95, Status.NO_ROUTE),
            (127, Status.MALFORMED_FRAME),
            (191, Status.LINK_LOST),
            (65535, Status.LINK_LOST),
        ):
            body = number.to_bytes(2, "little") + b"\x03\x00new"
            message = codec.decode(unchecked.wrap(MessageType.GOODBYE, body))
            self.assertEqual(
                attrs.evolve(message, source=0, destination=0),
                Goodbye(status=expected, detail="new"),
            )

    def test_members_are_not_guessed(self) -> None:
        """A role, mode or action that we do not know is a breach: it changes what is meant."""
        hello = Hello(version_min=1, version_max=1, nonce=bytes(16), frame_max=65536)
        frame = bytearray(codec.encode(hello))
        frame[codec.HEAD_SIZE + 12] = 3
        for read in (codec.decode, schema.parse):
            error = self.assertRaises(MalformedFrame, read, bytes(frame))
            self.assertIs(error.status, Status.MALFORMED_FRAME)
