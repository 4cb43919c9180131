"""
What is known of one node: the record that topology is made of.

For those who bring records (registration, route table sync, discovery, configuration) and those who
read them:

1. A `Record` is a value and never changes; a change is another record with a larger `Stamp`. Two
   records of a node with equal stamps are the same record, whoever brought them.
2. Only the node itself makes stamps of its record. Whoever makes a record for it out of other
   knowledge, as a configuration does, leaves the stamp at `UNSTAMPED`, which is smaller than any
   that a node makes: an epoch is never 0.
3. `Record.from_entry` and `Record.to_entry` lead from and to the wire (wire protocol, section
   7.17). The bounds of a record are those of the wire, and on top of them it is about somebody, and
   nobody is its own upstream. Whoever reads records from elsewhere calls `Record` itself:
   `RecordError` names the part, its place and the value.
4. Addresses are texts here: one of a kind that we do not know yet is passed on untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

import attrs

from atbus import limits
from atbus.busid import ID_MAX, Subnet
from atbus.errors import RecordError
from atbus.wire.messages import NodeFlag, RouteOperation, RouteRecord

EPOCH_MAX: Final = 2**32 - 1
SEQ_MAX: Final = 2**64 - 1
NODE_FLAGS_MAX: Final = 2**16 - 1

# Enough of a wrong text to recognize it.
_QUOTED_LETTERS: Final = 40


class Stamp(NamedTuple):
    """
    The age of a record; of two stamps of one node the larger is news.

    Stamps of different nodes say nothing about each other.

    :param epoch: The node's incarnation, 1 to 2**32 - 1; 0 only in `UNSTAMPED`.
    :param seq: Counts the changes of the record within the epoch, to 2**64 - 1; 0 when the record
        was made for the node from its registration, before it has told its own.
    """

    epoch: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"


#: Of a record that the node it is about has not made.
UNSTAMPED: Final = Stamp()


def _in_order(labels: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Give labels the one form in which they travel."""
    return tuple(sorted(labels.items() if isinstance(labels, Mapping) else labels))


@attrs.frozen(kw_only=True)
class Record:
    """
    What a node says of itself, or others of it.

    :param bus_id: The node it is about, never 0.
    :param stamp: How old it is.
    :param upstream_id: The node's upstream; 0 for none.
    :param subnets: The ranges it answers for, besides its own id.
    :param labels: Pairs of key and value, each key once; a mapping is put in order.
    :param addresses: Where it listens, in its order of preference.
    :param node_flags: See `NodeFlag`; unknown bits are kept.
    :param host: Identity of the host; empty when it is not known.
    :param process: Identity of the process, that of the host included; empty when not known.
    :raises RecordError: When a part is outside its bounds; names the first one that is.
    """

    bus_id: int
    stamp: Stamp = UNSTAMPED
    upstream_id: int = 0
    subnets: tuple[Subnet, ...] = ()
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_in_order)
    addresses: tuple[str, ...] = ()
    node_flags: int = 0
    host: str = ""
    process: str = ""

    def __attrs_post_init__(self) -> None:
        self._check_number("bus_id", self.bus_id, 1, ID_MAX)
        self._check_number("stamp.epoch", self.stamp.epoch, 0, EPOCH_MAX)
        self._check_number("stamp.seq", self.stamp.seq, 0, SEQ_MAX)
        self._check_number("upstream_id", self.upstream_id, 0, ID_MAX)
        self._check_number("node_flags", self.node_flags, 0, NODE_FLAGS_MAX)
        if self.upstream_id == self.bus_id:
            self._fail("upstream_id", "the node itself")
        self._check_count("subnets", self.subnets, limits.SUBNETS_MAX)
        self._check_count("addresses", self.addresses, limits.ADDRESSES_MAX)
        for place, address in enumerate(self.addresses):
            self._check_text(f"addresses[{place}]", address, limits.ADDRESS_BYTES)
        self._check_text("host", self.host, limits.HOST_BYTES)
        self._check_text("process", self.process, limits.PROCESS_BYTES)
        if self.labels:
            self._check_labels()

    @classmethod
    def from_entry(cls, entry: RouteRecord) -> Record:
        """
        Take a record from the wire.

        :param entry: What a ROUTE_BATCH carried; its operation is for the caller to obey.
        :returns: The record.
        :raises RecordError: It is about nobody, names its node as its own upstream, or is out of
            bounds.
        """
        return cls(
            bus_id=entry.bus_id,
            stamp=Stamp(entry.epoch, entry.seq),
            upstream_id=entry.upstream_id,
            subnets=entry.subnets,
            labels=entry.labels,
            addresses=entry.addresses,
            node_flags=entry.node_flags,
            host=entry.host,
            process=entry.process,
        )

    def to_entry(self) -> RouteRecord:
        """
        Write the record for the wire.

        :returns: The entry of a ROUTE_BATCH that adds it.
        """
        return RouteRecord(
            operation=RouteOperation.ADD,
            bus_id=self.bus_id,
            epoch=self.stamp.epoch,
            seq=self.stamp.seq,
            upstream_id=self.upstream_id,
            node_flags=self.node_flags,
            subnets=self.subnets,
            labels=self.labels,
            addresses=self.addresses,
            host=self.host,
            process=self.process,
        )

    @property
    def is_draining(self) -> bool:
        """Whether the node is leaving: nothing new is to go through it."""
        return bool(self.node_flags & NodeFlag.DRAINING)

    @property
    def is_proxy(self) -> bool:
        """Whether the node is there to pass on what others send."""
        return bool(self.node_flags & NodeFlag.PROXY)

    def label(self, key: str) -> str | None:
        """
        Look a label up.

        :param key: Its key.
        :returns: Its value, or None when the node has no such label.
        """
        for name, value in self.labels:
            if name == key:
                return value
        return None

    def shares_host(self, other: Record) -> bool:
        """
        Tell whether two nodes are on one host.

        :param other: The other node.
        :returns: Whether they are; never when the host of either is not known.
        """
        return bool(self.host) and self.host == other.host

    def shares_process(self, other: Record) -> bool:
        """
        Tell whether two nodes are in one process.

        :param other: The other node.
        :returns: Whether they are; never when the host or the process of either is not known.
        """
        return self.shares_host(other) and bool(self.process) and self.process == other.process

    def _check_labels(self) -> None:
        self._check_count("labels", self.labels, limits.LABELS_MAX)
        size = 0
        earlier = None
        for key, value in self.labels:
            if key == earlier:
                self._fail("labels", f"{key!r} twice")
            earlier = key
            place = f"labels[{key!r}]"
            size += self._size_of(place, key) + self._size_of(place, value)
        if size > limits.LABELS_BYTES:
            self._fail("labels", f"{size} bytes, {limits.LABELS_BYTES} are allowed")

    def _check_number(self, place: str, number: int, least: int, most: int) -> None:
        if not least <= number <= most:
            self._fail(place, f"{number:#x} is outside {least}..{most:#x}")

    def _check_count(self, place: str, items: Sequence[object], count_max: int) -> None:
        if len(items) > count_max:
            self._fail(place, f"{len(items)} of them, {count_max} are allowed")

    def _check_text(self, place: str, text: str, bytes_max: int) -> None:
        size = len(text) if text.isascii() else self._size_of(place, text)
        if size > bytes_max:
            beginning = text[:_QUOTED_LETTERS]
            self._fail(place, f"{beginning!r}... has {size} bytes, {bytes_max} are allowed")

    def _size_of(self, place: str, text: str) -> int:
        try:
            return len(text.encode())
        except UnicodeEncodeError:
            self._fail(place, f"{text[:_QUOTED_LETTERS]!r} has a letter that UTF-8 has not")

    def _fail(self, place: str, fault: str) -> NoReturn:
        raise RecordError(self.bus_id, place, fault)
