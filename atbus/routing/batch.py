"""
What neighbors tell each other of nodes, as values: words, and batches of them.

A word is a `Record`, which says what a node is like now, or a `Removal`. The wire's form of a batch
is ROUTE_BATCH (wire protocol, section 7.17); `to_message` and `from_message` lead there and back.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import attrs

from atbus.errors import RecordError
from atbus.routing.record import Record, Stamp
from atbus.wire.messages import RouteBatch, RouteOperation, RouteRecord

# A record without subnets and texts, and what each of those costs besides its letters: a text its
# length in the table, a label and an address the numbers that point there.
_RECORD_BYTES: Final = 45
_SUBNET_BYTES: Final = 9
_TEXT_BYTES: Final = 2
_POINTER_BYTES: Final = 2

# A record in memory, and what each of its texts and ranges costs there.
_KEPT_BYTES: Final = 400
_KEPT_TEXT_BYTES: Final = 150
_KEPT_SUBNET_BYTES: Final = 80

#: What a batch has in front of its records.
BATCH_HEAD_BYTES: Final = 14


@attrs.frozen
class Removal:
    """
    A node is not to be reached from the teller any more.

    :param bus_id: The node.
    :param stamp: Which record is withdrawn; with *dead* every record up to this one.
    :param dead: Whether the node is known to be dead, for everybody. Otherwise only the teller
        does not carry it any more.
    """

    bus_id: int
    stamp: Stamp
    dead: bool


Word: TypeAlias = Record | Removal


@attrs.frozen(kw_only=True)
class Batch:
    """
    A part of a snapshot, or changes after it.

    :param words: To be taken in this order.
    :param snapshot_id: Which snapshot this is a part of; 0 for changes.
    :param index: Place among the batches of the snapshot, from 0.
    :param last: Whether the snapshot is complete with this batch.
    :param continues: Whether this is more of the batch before it, which was too long for one turn;
        that is never so on the wire.
    :param faults: How many records were left out of it, because they made no sense.
    """

    words: tuple[Word, ...]
    snapshot_id: int = 0
    index: int = 0
    last: bool = False
    continues: bool = False
    faults: int = 0

    @property
    def is_snapshot(self) -> bool:
        """Whether this is a part of a snapshot."""
        return self.snapshot_id != 0


def word_bytes(word: Word) -> int:
    """
    Say how long a word is on the wire at most; texts that repeat in a batch cost less.

    :param word: The word.
    :returns: Bytes.
    """
    if isinstance(word, Removal):
        return _RECORD_BYTES
    texts = [word.host, word.process, *word.addresses]
    for pair in word.labels:
        texts += pair
    letters = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    pointers = len(texts) - 2
    return (
        _RECORD_BYTES
        + _SUBNET_BYTES * len(word.subnets)
        + _TEXT_BYTES * len(texts)
        + _POINTER_BYTES * pointers
        + letters
    )


def kept_bytes(word: Word | RouteRecord) -> int:
    """
    Say how much memory a word takes, about; a third more where it shares no text with others.

    :param word: The word, or what it is on the wire.
    :returns: Bytes.
    """
    if isinstance(word, Removal):
        return _KEPT_BYTES
    texts = len(word.labels) + len(word.addresses)
    return _KEPT_BYTES + _KEPT_TEXT_BYTES * texts + _KEPT_SUBNET_BYTES * len(word.subnets)


def to_message(batch: Batch, source: int) -> RouteBatch:
    """
    Write a batch for the wire.

    :param batch: The batch.
    :param source: Who tells it.
    :returns: The message.
    """
    return RouteBatch(
        source=source,
        snapshot_id=batch.snapshot_id,
        index=batch.index,
        last=batch.last,
        dump=batch.is_snapshot,
        records=tuple(_to_entry(word) for word in batch.words),
    )


def from_message(message: RouteBatch) -> tuple[Batch, list[RecordError]]:
    """
    Take a batch from the wire.

    :param message: The message.
    :returns: The batch, and what was wrong with records that are left out of it.
    """
    words: list[Word] = []
    faults: list[RecordError] = []
    for entry in message.records:
        try:
            words.append(_from_entry(entry))
        except RecordError as fault:
            faults.append(fault)
    batch = Batch(
        words=tuple(words),
        snapshot_id=message.snapshot_id if message.dump else 0,
        index=message.index,
        last=message.last,
    )
    return batch, faults


def _to_entry(word: Word) -> RouteRecord:
    if isinstance(word, Record):
        return word.to_entry()
    operation = RouteOperation.REMOVE_DEAD if word.dead else RouteOperation.REMOVE_GONE
    return RouteRecord(
        operation=operation, bus_id=word.bus_id, epoch=word.stamp.epoch, seq=word.stamp.seq
    )


def _from_entry(entry: RouteRecord) -> Word:
    if entry.operation is RouteOperation.ADD:
        return Record.from_entry(entry)
    stamp = Stamp(entry.epoch, entry.seq)
    return Removal(entry.bus_id, stamp, entry.operation is RouteOperation.REMOVE_DEAD)
