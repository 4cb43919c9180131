"""Extras: what travels beside a message."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import LocalProtocolError, MalformedFrame, Status, UnknownMandatory
from atbus.testing.strategies import extras as any_extras
from atbus.testing.strategies import texts
from atbus.wire import codec, schema
from atbus.wire.bounds import COUNTED_SIBLINGS_MAX
from atbus.wire.extras import (
    append_trace,
    counted_extra,
    find_extra,
    header_size_extra,
    number_extra,
    pack_extras,
    piece_extra,
    read_counted,
    read_header_size,
    read_number,
    read_piece,
    read_refused,
    read_tally,
    read_trace,
    read_zone,
    refused_extra,
    tally_extra,
    trace_extra,
    unpack_extras,
    zone_extra,
)
from atbus.wire.messages import (
    MANDATORY_EXTRA_BIT,
    Data,
    Extra,
    ExtraType,
    Flags,
    InterestRefusal,
    Ping,
    Tally,
)


def traced(*ids: int) -> bytes:
    """
    Make a DATA frame with a trace between two other extras.

    :param ids: What is in the trace.
    :returns: The frame.
    """
    return codec.encode(
        Data(
            flags=Flags.TRACE,
            extras=(Extra(ExtraType.TRACEPARENT, b"00-x"), trace_extra(ids), Extra(9, b"after")),
            messages=((1, b"payload"), (2, b"")),
        ),
        5,
        6,
    )


class AreaTests(SynchronousTestCase):
    """The area between head and body."""

    @settings(deadline=None, max_examples=100)
    @given(any_extras)
    def test_round_trip(self, extras: tuple[Extra, ...]) -> None:
        """Extras come out as they went in, unknown ignorable ones too, in their order."""
        self.assertEqual(unpack_extras(pack_extras(extras)), extras)

    def test_half_an_extra(self) -> None:
        """An area that ends inside an entry is malformed, wherever it ends."""
        area = pack_extras([Extra(1, b"abcd"), Extra(2, b"")])
        ends = {0, 8, len(area)}
        for size in set(range(len(area))) - ends:
            self.assertRaises(MalformedFrame, unpack_extras, area[:size])
        for size in ends:
            unpack_extras(area[:size])

    def test_too_much(self) -> None:
        """All extras of a frame together are bounded, in both directions."""
        fits = [Extra(1, bytes(limits.EXTRAS_BYTES - 4))]
        self.assertEqual(unpack_extras(pack_extras(fits)), tuple(fits))
        self.assertRaises(LocalProtocolError, pack_extras, [*fits, Extra(2, b"")])
        self.assertRaises(MalformedFrame, unpack_extras, pack_extras(fits) + bytes(4))
        message = Ping(extras=(*fits, Extra(2, b"")))
        self.assertRaises(LocalProtocolError, schema.build, message)
        self.assertRaises(LocalProtocolError, codec.encode, message)

    def test_numbers_that_do_not_fit(self) -> None:
        """A type or value that an entry cannot hold is not written."""
        self.assertRaises(LocalProtocolError, pack_extras, [Extra(1 << 16, b"")])
        self.assertRaises(LocalProtocolError, pack_extras, [Extra(1, bytes(1 << 16))])
        self.assertRaises(LocalProtocolError, schema.build, Ping(extras=(Extra(1 << 16, b""),)))

    def test_unknown_mandatory(self) -> None:
        """One extra that must be understood and is not makes the whole frame unreadable."""
        area = pack_extras([Extra(1, b""), Extra(0x8FFF, b"")])
        self.assertRaises(UnknownMandatory, unpack_extras, area)


class NumberTests(SynchronousTestCase):
    """Extras that hold one number."""

    def test_round_trip(self) -> None:
        """A reply names its request by an unsigned 64-bit number."""
        for number in (0, 1, 2**64 - 1):
            extras = (Extra(9, b"x"), number_extra(ExtraType.IN_REPLY_TO, number))
            self.assertEqual(read_number(extras, ExtraType.IN_REPLY_TO), number)
            self.assertIs(read_number(extras, ExtraType.DEADLINE), None)

    def test_wrong_sizes(self) -> None:
        """A number has eight bytes, no more and no fewer."""
        for size in (0, 7, 9):
            extras = (Extra(ExtraType.DEADLINE, bytes(size)),)
            self.assertRaises(MalformedFrame, read_number, extras, ExtraType.DEADLINE)
        self.assertRaises(LocalProtocolError, number_extra, ExtraType.DEADLINE, -1)

    def test_the_first_one_counts(self) -> None:
        """Where a type may come once only and comes twice, the second is not looked at."""
        extras = (Extra(3, b"first"), Extra(3, b"second"))
        self.assertEqual(find_extra(extras, 3), b"first")


class TraceTests(SynchronousTestCase):
    """The path of a message, written down on the way."""

    def test_relays_append_themselves(self) -> None:
        """A traced message arrives with every relay in order, and otherwise as it was sent."""
        frame = traced()
        for relay in (0x10, 0x20, 2**64 - 1):
            frame = append_trace(frame, relay)
        message = codec.decode(frame)
        self.assertEqual(read_trace(message.extras), (0x10, 0x20, 2**64 - 1))
        self.assertEqual(frame, traced(0x10, 0x20, 2**64 - 1))

    def test_without_a_trace_nothing_changes(self) -> None:
        """A flag without the extra is no reason to touch the frame."""
        frame = codec.encode(Data(flags=Flags.TRACE, messages=((1, b""),)))
        self.assertEqual(append_trace(frame, 1), frame)
        self.assertEqual(read_trace(()), ())

    def test_a_full_trace_costs_no_message(self) -> None:
        """When extras or frame would become too long the message goes on without the entry."""
        room = (limits.EXTRAS_BYTES - 4) // 8
        full = codec.encode(Data(extras=(trace_extra(range(room)),), messages=((1, b""),)))
        self.assertEqual(append_trace(full, 1), full)
        frame = traced()
        self.assertEqual(append_trace(frame, 1, len(frame) + 7), frame)
        self.assertEqual(len(append_trace(frame, 1, len(frame) + 8)), len(frame) + 8)

    def test_a_trace_that_is_none(self) -> None:
        """A trace is a list of ids; anything else is malformed where it is read."""
        self.assertRaises(MalformedFrame, read_trace, (Extra(ExtraType.TRACE, bytes(7)),))
        self.assertRaises(LocalProtocolError, trace_extra, [1 << 64])

    def test_a_lying_entry_is_not_followed(self) -> None:
        """A relay that looks for the trace does not leave the extras."""
        frame = bytearray(traced())
        frame[50:52] = b"\xff\xff"
        self.assertRaises(MalformedFrame, append_trace, bytes(frame), 1)
        self.assertRaises(MalformedFrame, codec.decode, bytes(frame))


class PublicationTests(SynchronousTestCase):
    """Extras of publications."""

    def test_the_size_of_headers(self) -> None:
        """How long the headers are is read as it was written; 0 where nothing is said."""
        self.assertEqual(read_header_size((header_size_extra(70_000),)), 70_000)
        self.assertEqual(read_header_size(()), 0)
        broken = (Extra(ExtraType.HEADER_SIZE, bytes(3)),)
        self.assertRaises(MalformedFrame, read_header_size, broken)

    def test_a_piece(self) -> None:
        """Where a piece begins, and how long the whole is."""
        self.assertEqual(read_piece((piece_extra(5, 2**32 - 1),)), (5, 2**32 - 1))
        self.assertIs(read_piece(()), None)
        self.assertRaises(MalformedFrame, read_piece, (Extra(ExtraType.PIECE, bytes(4)),))

    def test_a_tally(self) -> None:
        """Who counts is read as it was written, and must be known to who reads the frame."""
        tally = Tally(2**64 - 1, 2**32 - 1, 1 << 63)
        self.assertEqual(read_tally((tally_extra(tally),)), tally)
        self.assertIs(read_tally(()), None)
        self.assertTrue(ExtraType.TALLY & MANDATORY_EXTRA_BIT)
        for size in (0, 19, 21):
            broken = (Extra(ExtraType.TALLY, bytes(size)),)
            self.assertRaises(MalformedFrame, read_tally, broken)


class RefusalTests(SynchronousTestCase):
    """Why not everybody knows what is wanted."""

    def test_round_trip(self) -> None:
        """Status, node and words come out as they went in; of many words the beginning does."""
        for detail in ("", "no room für more"):
            refusal = InterestRefusal(Status.BUFFER_LIMIT, 2**64 - 1, detail)
            self.assertEqual(read_refused((refused_extra(refusal),)), refusal)
        long = InterestRefusal(Status.NO_RIGHT, 1, "ü" * limits.DETAIL_BYTES)
        found = read_refused((refused_extra(long),))
        assert found is not None
        self.assertEqual(found.detail, "ü" * (limits.DETAIL_BYTES // 2))
        self.assertIs(read_refused(()), None)

    def test_a_status_of_later_releases(self) -> None:
        """A status that is not known yet keeps its kind."""
        value = struct.pack("<HQ", 90, 5)
        found = read_refused((Extra(ExtraType.REFUSED, value),))
        self.assertEqual(found, InterestRefusal(Status.NO_ROUTE, 5))

    def test_what_is_none(self) -> None:
        """Too few bytes, success, words that are no text, and a node that has no id."""
        for value in (bytes(9), bytes(10), struct.pack("<HQ", 38, 5) + b"\xff"):
            self.assertRaises(MalformedFrame, read_refused, (Extra(ExtraType.REFUSED, value),))
        nobody = InterestRefusal(Status.NO_RIGHT, 2**64)
        self.assertRaises(LocalProtocolError, refused_extra, nobody)


class ZoneTests(SynchronousTestCase):
    """In which zone members are."""

    @settings(deadline=None, max_examples=100)
    @given(texts(limits.LABELS_BYTES).filter(bool))
    def test_round_trip(self, zone: str) -> None:
        """Each label is read as it was written; without the extra there is none."""
        self.assertEqual(read_zone((Extra(9, b"x"), zone_extra(zone))), zone)
        self.assertEqual(read_zone(()), "")

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=4) | st.binary(min_size=limits.LABELS_BYTES - 1, max_size=600))
    def test_any_bytes(self, value: bytes) -> None:
        """Any bytes are a label or a breach."""
        try:
            zone = read_zone((Extra(ExtraType.ZONE, value),))
        except MalformedFrame:
            zone = ""
        self.assertIn(zone.encode(), (value, b""))

    def test_what_is_none(self) -> None:
        """An empty label, one longer than labels may be, and one that is no text are breaches."""
        most = limits.LABELS_BYTES
        for value in (b"", b"x" * (most + 1), b"\xff"):
            self.assertRaises(MalformedFrame, read_zone, (Extra(ExtraType.ZONE, value),))
        self.assertEqual(read_zone((Extra(ExtraType.ZONE, b"x" * most),)), "x" * most)


class CountedTests(SynchronousTestCase):
    """At which siblings members are counted."""

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=COUNTED_SIBLINGS_MAX))
    def test_round_trip(self, ids: list[int]) -> None:
        """All are read as they were written; without the extra there are none."""
        self.assertEqual(read_counted((Extra(9, b"x"), counted_extra(ids))), tuple(ids))
        self.assertEqual(read_counted(()), ())

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=40) | st.binary(min_size=8 * COUNTED_SIBLINGS_MAX - 1, max_size=600))
    def test_any_bytes(self, value: bytes) -> None:
        """Any bytes are a list of ids or a breach."""
        try:
            ids = read_counted((Extra(ExtraType.COUNTED, value),))
        except MalformedFrame:
            ids = ()
        self.assertIn(struct.pack(f"<{len(ids)}Q", *ids), (value, b""))

    def test_what_is_none(self) -> None:
        """None at all, half an id, and more than may be named are breaches."""
        for size in (0, 7, 12, 8 * COUNTED_SIBLINGS_MAX + 8):
            with self.assertRaises(MalformedFrame):
                read_counted((Extra(ExtraType.COUNTED, bytes(size)),))
        most = (Extra(ExtraType.COUNTED, bytes(8 * COUNTED_SIBLINGS_MAX)),)
        self.assertEqual(len(read_counted(most)), COUNTED_SIBLINGS_MAX)

    def test_who_does_not_know_it(self) -> None:
        """Nodes of earlier releases may ignore it."""
        self.assertFalse(ExtraType.COUNTED & MANDATORY_EXTRA_BIT)


class BufferTests(SynchronousTestCase):
    """Numbers in buffers. Ours have a fixed size each: no number is shorter or longer."""

    def test_numbers_at_their_bounds(self) -> None:
        """
        Every number reads back equal, from 0 to the largest, and takes the same 8 bytes.

        Scenario: C1
        """
        for value in (0, 127, 128, 2_080_160, 2**32 - 1, 2**64 - 1):
            extra = number_extra(ExtraType.DEADLINE, value)
            self.assertEqual(len(extra.value), 8)
            again = unpack_extras(pack_extras([extra]))
            self.assertEqual(read_number(again, ExtraType.DEADLINE), value)

    def test_too_few_bytes(self) -> None:
        """
        A number of which a part is missing is an error, as is a buffer in which there is none.

        Scenario: C2
        """
        packed = pack_extras([number_extra(ExtraType.DEADLINE, 2_080_160)])
        for size in range(1, len(packed)):
            self.assertRaises(MalformedFrame, unpack_extras, packed[:size])
        for size in (0, 7, 9):
            short = (Extra(ExtraType.DEADLINE, bytes(size)),)
            self.assertRaises(MalformedFrame, read_number, short, ExtraType.DEADLINE)
        self.assertEqual(unpack_extras(b""), ())

    def test_only_its_own_bytes(self) -> None:
        """
        Of what follows a number nothing is taken for a part of it, and an unfinished one behind it
        is an error.

        Scenario: C3
        """
        one, two = number_extra(ExtraType.DEADLINE, 1), number_extra(ExtraType.IN_REPLY_TO, 2)
        packed = pack_extras([one, two])
        self.assertEqual(unpack_extras(packed), (one, two))
        alone = len(pack_extras([one]))
        self.assertEqual(unpack_extras(packed[:alone]), (one,))
        for size in range(alone + 1, len(packed)):
            self.assertRaises(MalformedFrame, unpack_extras, packed[:size])
