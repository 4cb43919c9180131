"""Route batches: a thousand records in a frame."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import LocalProtocolError, MalformedFrame
from atbus.wire import codec, schema
from atbus.wire.messages import RouteBatch, RouteOperation, RouteRecord


def record(number: int) -> RouteRecord:
    """
    Make a record as most are: a node, its upstream, one range.

    :param number: Makes it different from others.
    :returns: The record.
    """
    return RouteRecord(
        bus_id=number << 16,
        epoch=1,
        seq=number,
        upstream_id=1,
        subnets=(Subnet(number << 16, 16),),
    )


class BatchTests(SynchronousTestCase):
    """What fits, and how."""

    def test_a_thousand_plain_records_fit_a_frame(self) -> None:
        """A full batch of plain records is one frame of ordinary size."""
        batch = RouteBatch(dump=True, records=tuple(map(record, range(1000))))
        frame = codec.encode(batch)
        self.assertTrue(len(frame) <= limits.FRAME_BYTES, len(frame))
        self.assertEqual(codec.decode(frame), batch)

    def test_a_batch_of_none(self) -> None:
        """A snapshot of nothing is one empty batch, and it is the last."""
        batch = RouteBatch(snapshot_id=1, last=True, dump=True)
        self.assertEqual(codec.decode(codec.encode(batch)), batch)

    def test_more_than_a_thousand(self) -> None:
        """A batch with one record too many is neither written nor read."""
        records = tuple(map(record, range(1001)))
        self.assertRaises(LocalProtocolError, codec.encode, RouteBatch(records=records))
        self.assertRaises(LocalProtocolError, schema.build, RouteBatch(records=records))
        frame = bytearray(codec.encode(RouteBatch(records=records[:1000])))
        frame += frame[-52:]
        frame[:4] = len(frame).to_bytes(4, "little")
        frame[60:62] = (1001).to_bytes(2, "little")
        self.assertRaises(MalformedFrame, codec.decode, bytes(frame))
        self.assertRaises(MalformedFrame, schema.parse, bytes(frame))

    def test_texts_stand_once(self) -> None:
        """What many records have in common is on the wire once, and once in memory."""
        records = tuple(
            RouteRecord(bus_id=n, epoch=1, seq=1, host="the same host", labels={"region": "eu"})
            for n in range(1, 51)
        )
        frame = codec.encode(RouteBatch(records=records))
        self.assertEqual(frame.count(b"the same host"), 1)
        read = codec.decode(frame)
        assert isinstance(read, RouteBatch)
        self.assertEqual(len({id(one.host) for one in read.records}), 1)

    def test_removals_are_small(self) -> None:
        """A removal needs the stamp only."""
        removal = RouteRecord(operation=RouteOperation.REMOVE_GONE, bus_id=7, epoch=2, seq=3)
        frame = codec.encode(RouteBatch(records=(removal,)))
        self.assertEqual(len(frame), 48 + 14 + 43)
        self.assertEqual(codec.decode(frame), RouteBatch(records=(removal,)))


class HostileBatchTests(SynchronousTestCase):
    """Batches that lie."""

    def setUp(self) -> None:
        """Make a batch of one record with one text."""
        self.frame = codec.encode(
            RouteBatch(records=(RouteRecord(bus_id=1, epoch=1, seq=1, host="h"),))
        )

    def _refused(self, at: int, wrong: bytes) -> None:
        frame = self.frame[:at] + wrong + self.frame[at + len(wrong) :]
        self.assertRaises(MalformedFrame, codec.decode, frame)
        self.assertRaises(MalformedFrame, schema.parse, frame)

    def test_references_that_lead_nowhere(self) -> None:
        """A record may only name texts that are in the batch."""
        self._refused(len(self.frame) - 4, b"\x02\x00")
        self._refused(len(self.frame) - 2, b"\xff\xff")

    def test_counts_that_do_not_fit(self) -> None:
        """Numbers of texts, of records and of a record's parts that the frame has no room for."""
        for at in (58, 60, len(self.frame) - 10, len(self.frame) - 8, len(self.frame) - 6):
            self._refused(at, b"\xff\xff")

    def test_lengths_of_records(self) -> None:
        """A record shorter than its fields, or longer than the frame."""
        at = len(self.frame) - 43
        for length in (0, 2, 42, 44, 65535):
            self._refused(at, length.to_bytes(2, "little"))

    def test_operations_and_truths(self) -> None:
        """An operation nobody knows, and a truth that is neither true nor false."""
        self._refused(len(self.frame) - 41, b"\x09")
        self._refused(56, b"\x02")
        self._refused(57, b"\xff")

    def test_texts_that_are_none(self) -> None:
        """Bytes that are no UTF-8 are no text."""
        self._refused(64, b"\xff")
