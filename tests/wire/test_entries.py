"""Frames that are full of the least entries: what it takes to read or refuse them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import MalformedFrame
from atbus.wire import bounds, codec, schema
from atbus.wire.messages import (
    Interest,
    InterestEntry,
    Message,
    RouteBatch,
    RouteRecord,
    ServiceBatch,
    ServiceEntry,
)

#: Calls of functions, ours and those of libraries, for one entry.
CALLS_MAX = 25


def calls_of(run: Callable[[], object]) -> int:
    """Count the calls of functions that something takes."""
    counted: Counter[str] = Counter()
    before = sys.getprofile()
    sys.setprofile(lambda _frame, event, _argument: counted.update([event]))
    try:
        run()
    finally:
        sys.setprofile(before)
    return counted["call"] + counted["c_call"]


class CostTests(SynchronousTestCase):
    """As many entries as there may be."""

    def reads(self, message: Message, count: int) -> None:
        """Have a full message read, in a few calls for each entry."""
        frame = codec.encode(message)
        read: list[Message] = []
        calls = calls_of(lambda: read.append(codec.decode(frame)))
        self.assertEqual(read, [message])
        self.assertTrue(calls <= CALLS_MAX * count, calls / count)

    def test_interests(self) -> None:
        """A full INTEREST of the shortest subjects is read without the schema."""
        count = limits.INTEREST_ENTRIES_MAX
        self.reads(Interest(entries=(InterestEntry(subject="a"),) * count), count)

    def test_services(self) -> None:
        """A full SERVICE_BATCH of documents that are withdrawn is read without the schema."""
        count = bounds.SERVICE_ENTRIES_MAX
        self.reads(ServiceBatch(services=(ServiceEntry(bus_id=5, key="a"),) * count), count)

    def test_a_record_with_too_much(self) -> None:
        """A record that says it has thousands of subnets is refused before the first is read."""
        batch = RouteBatch(records=(RouteRecord(bus_id=5, epoch=1, seq=1),))
        whole = codec.encode(batch)
        for place, size in ((-10, 9), (-8, 4), (-6, 2)):
            count = 60_000 // size
            frame = bytearray(whole + bytes(size * count))
            frame[:4] = len(frame).to_bytes(4, "little")
            at = len(whole) + place
            frame[at : at + 2] = count.to_bytes(2, "little")
            record_at = len(whole) - 43
            frame[record_at : record_at + 2] = (43 + size * count).to_bytes(2, "little")
            refused: list[MalformedFrame] = []

            def read(said: bytes = bytes(frame), found: list[MalformedFrame] = refused) -> None:
                found.append(self.assertRaises(MalformedFrame, codec.decode, said))

            self.assertTrue(calls_of(read) < 200, place)
            self.assertIn(f"{count} items", str(refused[0]))
            self.assertRaises(MalformedFrame, schema.parse, bytes(frame))

    def test_entries_beyond_the_frame(self) -> None:
        """An entry whose text or document ends behind the frame is a breach, the last one too."""
        for message in (
            Interest(entries=(InterestEntry(subject="abc", queue="de"),) * 2),
            ServiceBatch(services=(ServiceEntry(bus_id=5, key="abc", value=b"de"),) * 2),
        ):
            whole = codec.encode(message)
            for left in range(len(whole) - 30, len(whole)):
                frame = left.to_bytes(4, "little") + whole[4:left]
                for read in (codec.decode, schema.parse):
                    self.assertRaises(MalformedFrame, read, frame)
