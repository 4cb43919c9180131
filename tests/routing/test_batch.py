"""Batches, to the wire and back."""

from __future__ import annotations

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import Subnet
from atbus.routing.batch import (
    BATCH_HEAD_BYTES,
    Batch,
    Removal,
    from_message,
    to_message,
    word_bytes,
)
from atbus.routing.record import Record, Stamp
from atbus.testing.strategies import route_records
from atbus.wire import codec
from atbus.wire.messages import RouteBatch, RouteOperation, RouteRecord

RICH = Record(
    bus_id=7,
    stamp=Stamp(3, 4),
    upstream_id=1,
    subnets=(Subnet(0x100, 8), Subnet(0x400, 4)),
    labels=(("region", "eu"), ("zone", "a")),
    addresses=("ipv4://10.0.0.1:7", "unix:///run/é.sock"),
    node_flags=2,
    host="host",
    process="host/1",
)


class BatchTests(SynchronousTestCase):
    """What is told, as bytes."""

    def test_there_and_back(self) -> None:
        """A batch that has been on the wire is the one that was sent."""
        words = (RICH, Removal(8, Stamp(1, 2), dead=True), Removal(9, Stamp(1, 2), dead=False))
        for batch in (
            Batch(words=words),
            Batch(words=words, snapshot_id=3, index=2, last=True),
            Batch(words=(), snapshot_id=1, last=True),
        ):
            message = codec.decode(codec.encode(to_message(batch, source=5)))
            assert isinstance(message, RouteBatch)
            self.assertEqual((message.source, from_message(message)), (5, (batch, [])))

    def test_a_bad_record_spoils_only_itself(self) -> None:
        """A record about nobody is left out and reported; the others of its batch count."""
        good = RICH.to_entry()
        bad = RouteRecord(operation=RouteOperation.ADD, bus_id=0, epoch=1, seq=1)
        batch, faults = from_message(RouteBatch(records=(bad, good)))
        self.assertEqual((batch.words, len(faults)), ((RICH,), 1))

    @given(route_records)
    @settings(deadline=None)
    def test_a_word_is_not_longer_than_it_says(self, entry: RouteRecord) -> None:
        """What is reckoned for a record is never less than what it takes on the wire."""
        batch, _ = from_message(RouteBatch(records=(entry,)))
        room = limits.FRAME_HEAD_BYTES + BATCH_HEAD_BYTES + sum(map(word_bytes, batch.words))
        self.assertLessEqual(len(codec.encode(to_message(batch, source=1))), room)

    def test_the_longest_record_fits_the_smallest_frame(self) -> None:
        """No record is so long that it could not be told at all."""
        letters = "x" * limits.ADDRESS_BYTES
        labels = {f"{place:x}": "y" * 31 for place in range(limits.LABELS_MAX)}
        longest = Record(
            bus_id=7,
            subnets=tuple(Subnet(each << 8, 8) for each in range(1, limits.SUBNETS_MAX + 1)),
            labels=tuple(labels.items()),
            addresses=tuple(f"{each}{letters[1:]}" for each in range(limits.ADDRESSES_MAX)),
            host="h" * limits.HOST_BYTES,
            process="p" * limits.PROCESS_BYTES,
        )
        size = limits.FRAME_HEAD_BYTES + BATCH_HEAD_BYTES + word_bytes(longest)
        self.assertLessEqual(size, limits.FRAME_BYTES_MIN)
