"""
What one neighbor has said about nodes: its feed.

A link keeps the order of what is told on it, so within a feed the last word on a node is what
counts, also when its stamp is the smaller one; stamps decide between feeds only. All that was heard
is kept, because the neighbor counts on it and will only tell what changes; what of it is not
believed is *barred*, with the reason.
"""

from __future__ import annotations

import enum
from itertools import islice

import attrs

from atbus.routing.record import Record
from atbus.routing.table import Position
from atbus.wire.digests import DIGEST_MODULUS, stamp_digest


class Bar(enum.Enum):
    """Why something that was heard is not believed."""

    #: A larger stamp of the node is known to be dead.
    DEAD = "dead"
    #: Nobody has said yet that the node is below the neighbor that tells of it.
    UNVOUCHED = "unvouched"
    #: The certificate of the neighbor that tells of it does not name it.
    UNCERTIFIED = "uncertified"
    #: It is about ourselves.
    OWN = "own"


#: Reasons for which the neighbor may not say that the node is gone, either.
NOT_ITS_OWN = frozenset({Bar.UNVOUCHED, Bar.UNCERTIFIED})


@attrs.define(eq=False)
class Feed:
    """
    The last words of one neighbor.

    :param bus_id: The neighbor.
    :param kind: On which side of us it is, by what is known now.
    """

    bus_id: int
    kind: Position
    heard: dict[int, Record] = attrs.field(factory=dict, init=False, repr=False)
    barred: dict[int, Bar] = attrs.field(factory=dict, init=False, repr=False)
    #: The neighbor's own record was made from its registration, not told by it.
    made_up: bool = attrs.field(default=False, init=False)
    #: It is that of a lost upstream, kept for a while.
    is_stale: bool = attrs.field(default=False, init=False)
    #: Something was told for which there was no room.
    overflowed: bool = attrs.field(default=False, init=False)
    #: Number for all that was told (wire protocol, section 7.17).
    digest: int = attrs.field(default=0, init=False)
    #: What a snapshot has not repeated and nobody has forgotten yet; None when there is nothing.
    surplus: set[int] | None = attrs.field(default=None, init=False, repr=False)
    # Who waits for a word about which node, to be believed.
    _waiting: dict[int, set[int]] = attrs.field(factory=dict, init=False, repr=False)

    def believed(self, bus_id: int) -> Record | None:
        """
        Look up what is believed.

        :param bus_id: Any id.
        :returns: The record, or None when nothing was told, or nothing that is believed.
        """
        return None if bus_id in self.barred else self.heard.get(bus_id)

    def told(self) -> set[int]:
        """
        Say of whom the neighbor has told.

        :returns: Their ids; not its own, if that record was made up.
        """
        heard = set(self.heard)
        return heard - {self.bus_id} if self.made_up else heard

    def hear(self, record: Record) -> None:
        """
        Take the neighbor's newest word on a node; whether it is believed is decided afterwards.

        :param record: What was told.
        """
        self.forget(record.bus_id)
        self.heard[record.bus_id] = record
        self._count(record, 1)

    def make_up(self, record: Record) -> None:
        """
        Enter the neighbor's own record in its stead.

        :param record: What is known from its registration.
        """
        self.heard[self.bus_id] = record
        self.made_up = True

    def forget(self, bus_id: int) -> Record | None:
        """
        Drop the last word on a node.

        :param bus_id: Any id.
        :returns: What it was.
        """
        record = self.heard.pop(bus_id, None)
        if record is None:
            return None
        if self.surplus is not None:
            self.surplus.discard(bus_id)
        if self.made_up and bus_id == self.bus_id:
            self.made_up = False
        else:
            self._count(record, -1)
        if self.barred and self.barred.pop(bus_id, None) is Bar.UNVOUCHED:
            waiting = self._waiting.get(record.upstream_id, set())
            waiting.discard(bus_id)
            if not waiting:
                self._waiting.pop(record.upstream_id, None)
        return record

    def bar(self, bus_id: int, reason: Bar) -> None:
        """
        Believe a word no more; one that was heard before.

        :param bus_id: Whom it is about.
        :param reason: Why.
        """
        self.barred[bus_id] = reason
        if reason is Bar.UNVOUCHED:
            self._waiting.setdefault(self.heard[bus_id].upstream_id, set()).add(bus_id)

    def is_awaited(self, bus_id: int) -> bool:
        """
        Tell whether somebody waits for a word about a node, to be believed.

        :param bus_id: The node.
        :returns: Whether somebody does.
        """
        return bus_id in self._waiting

    def vouched_by(self, bus_id: int, most: int) -> list[int]:
        """
        Take out some of those who waited for a word about their upstream.

        :param bus_id: The upstream.
        :param most: How many at most.
        :returns: Their ids; what was told of them is believed again.
        """
        waiting = self._waiting.get(bus_id, set())
        found = sorted(waiting) if len(waiting) <= most else list(islice(waiting, most))
        waiting.difference_update(found)
        if not waiting:
            self._waiting.pop(bus_id, None)
        for each in found:
            del self.barred[each]
        return found

    def may_announce(self, record: Record) -> bool:
        """
        Tell whether a record is about a node below this neighbor, or about itself.

        :param record: What it tells.
        :returns: Whether the way from that node up leads to this neighbor by what it has told, or
            the id lies in its ranges.
        """
        if self.bus_id in (record.bus_id, record.upstream_id):
            return True
        above = record.upstream_id
        if above in self.heard and self.barred.get(above) not in NOT_ITS_OWN:
            return True
        mine = self.heard.get(self.bus_id)
        return mine is not None and any(subnet.contains(record.bus_id) for subnet in mine.subnets)

    def absorb(self, other: Feed) -> None:
        """
        Take over what another feed has told and this one has not.

        :param other: It is not used any more.
        """
        for bus_id, record in other.heard.items():
            if bus_id not in self.heard:
                self.heard[bus_id] = record
                if bus_id in other.barred:
                    self.bar(bus_id, other.barred[bus_id])

    def _count(self, record: Record, sign: int) -> None:
        number = stamp_digest(record.bus_id, *record.stamp)
        self.digest = (self.digest + sign * number) % DIGEST_MODULUS
