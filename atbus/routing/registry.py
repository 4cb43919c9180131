"""
All records that a node knows, whoever brought them.

For those who bring records:

1. Each `Feeder` claims and withdraws for itself. What one withdraws stays as long as another claims
   it; nobody can touch another's claims. Within one feeder the last word counts, even when its
   stamp is smaller than that of the word before: what stamps its words have is between feeders.
2. *Content* comes from the claim with the largest stamp, whoever brought it; among equal stamps the
   first in the order of `Feeder` wins, and about itself nobody knows better than the node
   (`Feeder.OWN`).
3. *Reachability* is that of the first feeder in the order of `Feeder` that claims the node: what is
   registered here comes before what neighbors tell, and that before what a directory says.
4. A registration alone does not say where a peer stands. Such a claim (`Feeder.LIVE`, or
   `Feeder.SYNC` where a neighbor tells of a registration; without an upstream, sequence 0) takes no
   part when the upstream is determined.
5. A place that would make a node stand above itself is refused: the record counts, its node stays
   where it was, and is moved as soon as that is possible.
6. Every input returns the changes in order: at most one per node and input, none when nothing that
   can be seen has changed. `version` grows by at least one when there are changes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import attrs

from atbus import limits
from atbus.busid import format_bus_id
from atbus.errors import Status
from atbus.routing.record import Record
from atbus.routing.relation import Tree


class Feeder(enum.IntEnum):
    """Who brings records, the nearest to the node first; the order is that of reachability."""

    #: The node, about itself.
    OWN = 0
    #: A registration here.
    LIVE = 1
    #: The route tables of neighbors.
    SYNC = 2
    ETCD = 3
    ZOOKEEPER = 4
    #: The node's configuration.
    STATIC = 5

    @property
    def travels(self) -> bool:
        """Whether its records are told to neighbors; a directory's and a file's are not."""
        return self <= Feeder.SYNC

    def __str__(self) -> str:
        return self.name.lower()


@attrs.frozen
class NodeUp:
    """
    A node has become known.

    :param record: What is known of it.
    :param feeder: How it is reachable.
    """

    record: Record
    feeder: Feeder


@attrs.frozen
class NodeChanged:
    """
    Something else is known of a node now, or it is reachable another way.

    :param record: What is known of it.
    :param feeder: How it is reachable.
    :param former: What was known before.
    """

    record: Record
    feeder: Feeder
    former: Record


@attrs.frozen
class NodeDown:
    """
    A node is not known any more.

    :param record: What was known last.
    """

    record: Record


@attrs.frozen
class RecordRefused:
    """
    A claim does not count, or not as it is.

    :param record: What was claimed.
    :param feeder: Who claimed it.
    :param status: `LOOP`: the record counts, its place does not (rule 5). `BUFFER_LIMIT`: there
        is no room for another node; the claim is not kept.
    :param detail: Why, in words.
    """

    record: Record
    feeder: Feeder
    status: Status
    detail: str


Change: TypeAlias = NodeUp | NodeChanged | NodeDown | RecordRefused

_FEEDERS: Final = tuple(Feeder)


class Registry:
    """
    The records of all nodes that one node knows (see the rules at the top of this file).

    :param records_max: How many nodes may be known.
    """

    def __init__(self, records_max: int = limits.RECORDS_MAX) -> None:
        self.version = 0
        #: Where they stand; only to be read.
        self.tree = Tree()
        self._records_max = records_max
        self._claims: dict[Feeder, dict[int, Record]] = {feeder: {} for feeder in _FEEDERS}
        self._known: dict[int, tuple[Record, Feeder]] = {}
        # Nodes that cannot stand where their record says.
        self._misplaced: dict[int, None] = {}

    # What is known.

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, bus_id: int) -> bool:
        return bus_id in self._known

    def __iter__(self) -> Iterator[Record]:
        """Give the record of every known node, in no particular order."""
        return (record for record, _ in self._known.values())

    def get(self, bus_id: int) -> Record | None:
        """
        Look a node up.

        :param bus_id: Any id.
        :returns: What is known of it, or None.
        """
        known = self._known.get(bus_id)
        return None if known is None else known[0]

    def feeder_of(self, bus_id: int) -> Feeder | None:
        """
        Say how a node is reachable.

        :param bus_id: Any id.
        :returns: The first of those who claim it (rule 3), or None when nobody does.
        """
        known = self._known.get(bus_id)
        return None if known is None else known[1]

    def claims_on(self, bus_id: int) -> dict[Feeder, Record]:
        """
        List what each feeder says of a node.

        :param bus_id: Any id.
        :returns: Its claims, in the order of feeders.
        """
        return {
            feeder: claims[bus_id] for feeder, claims in self._claims.items() if bus_id in claims
        }

    def claimed_by(self, feeder: Feeder) -> tuple[Record, ...]:
        """
        List what one feeder claims.

        :param feeder: Who.
        :returns: Its claims, in the order in which it made them.
        """
        return tuple(self._claims[feeder].values())

    # What is brought.

    def claim(self, feeder: Feeder, records: Iterable[Record]) -> list[Change]:
        """
        Take records of a feeder, each in place of what it said of the same node before.

        :param feeder: Who brings them.
        :param records: In order; of several about one node the last counts.
        :returns: What has changed.
        """
        claims = self._claims[feeder]
        changes: list[Change] = []
        touched: dict[int, None] = {}
        room = self._records_max - len(self._known)
        for record in records:
            bus_id = record.bus_id
            if bus_id not in self._known and bus_id not in touched:
                if not room:
                    detail = f"{self._records_max} nodes are known, the limit"
                    changes.append(RecordRefused(record, feeder, Status.BUFFER_LIMIT, detail))
                    continue
                room -= 1
            claims[bus_id] = record
            touched[bus_id] = None
        return self._settle(touched, changes)

    def withdraw(self, feeder: Feeder, bus_ids: Iterable[int]) -> list[Change]:
        """
        Take claims of a feeder back.

        :param feeder: Who withdraws.
        :param bus_ids: About whom; those that it does not claim are ignored.
        :returns: What has changed.
        """
        claims = self._claims[feeder]
        touched = {bus_id: None for bus_id in bus_ids if claims.pop(bus_id, None) is not None}
        return self._settle(touched, [])

    def replace(self, feeder: Feeder, records: Iterable[Record]) -> list[Change]:
        """
        Take all that a feeder says from now on; what it does not repeat is withdrawn.

        :param feeder: Who brings them.
        :param records: In order; of several about one node the last counts.
        :returns: What has changed.
        """
        kept = tuple(records)
        ids = {record.bus_id for record in kept}
        changes = self.withdraw(feeder, [gone for gone in self._claims[feeder] if gone not in ids])
        return changes + self.claim(feeder, kept)

    def _settle(self, touched: Iterable[int], changes: list[Change]) -> list[Change]:
        """Work out anew what is known of some nodes."""
        before = self.tree.version
        for bus_id in touched:
            self._settle_one(bus_id, changes)
        if self._misplaced and self.tree.version != before:
            self._place_misplaced()
        if changes or self.tree.version != before:
            self.version += 1
        return changes

    def _settle_one(self, bus_id: int, changes: list[Change]) -> None:
        former = self._known.get(bus_id)
        best: Record | None = None
        placing: Record | None = None
        nearest: Feeder | None = None
        for feeder, claims in self._claims.items():
            record = claims.get(bus_id)
            if record is None:
                continue
            if nearest is None:
                nearest = feeder
            if best is None or (record.stamp > best.stamp and nearest is not Feeder.OWN):
                best = record
            if _says_where(feeder, record) and (
                placing is None or (record.stamp > placing.stamp and nearest is not Feeder.OWN)
            ):
                placing = record
        if best is None or nearest is None:
            self._forget(bus_id, changes)
            return
        upstream_id = 0 if placing is None else placing.upstream_id
        if best.upstream_id != upstream_id:
            best = attrs.evolve(best, upstream_id=upstream_id)
        self._place(bus_id, None if placing is None else upstream_id, best, nearest, changes)
        self._known[bus_id] = (best, nearest)
        if former is None:
            changes.append(NodeUp(best, nearest))
        elif former[1] is not nearest or former[0] != best:
            changes.append(NodeChanged(best, nearest, former[0]))

    def _place(
        self,
        bus_id: int,
        upstream_id: int | None,
        record: Record,
        feeder: Feeder,
        changes: list[Change],
    ) -> None:
        if upstream_id is None:
            self._misplaced.pop(bus_id, None)
            self.tree.remove(bus_id)
        elif self.tree.place(bus_id, upstream_id):
            self._misplaced.pop(bus_id, None)
        else:
            self._misplaced[bus_id] = None
            name, above = format_bus_id(bus_id), format_bus_id(upstream_id)
            detail = f"{name} below {above} would stand above itself, or too deep"
            changes.append(RecordRefused(record, feeder, Status.LOOP, detail))

    def _place_misplaced(self) -> None:
        """Try again what could not stand where it says; one move can make room for another."""
        moved = True
        while moved and self._misplaced:
            moved = False
            for bus_id in tuple(self._misplaced):
                if self.tree.place(bus_id, self._known[bus_id][0].upstream_id):
                    del self._misplaced[bus_id]
                    moved = True

    def _forget(self, bus_id: int, changes: list[Change]) -> None:
        former = self._known.pop(bus_id, None)
        self._misplaced.pop(bus_id, None)
        self.tree.remove(bus_id)
        if former is not None:
            changes.append(NodeDown(former[0]))


def _says_where(feeder: Feeder, record: Record) -> bool:
    """Tell whether a claim knows where its node stands (rule 4)."""
    is_told = feeder not in (Feeder.LIVE, Feeder.SYNC)
    return is_told or bool(record.upstream_id) or bool(record.stamp.seq)
