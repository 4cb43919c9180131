"""
What one neighbor is told is what most others of its side are told: it is found out once.

A *finding* for one neighbor holds for another one on the same side (above or below; wire protocol,
section 6.6) when

1. about the nodes that it concerns, the same is known as then, from the same neighbors;
2. the other one tells of none of those nodes itself, and neither did the first one;
3. it was told the same of them before.

All of that is looked at before a finding is used, by comparing whole lists: that costs a fiftieth
of what it costs to find it out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

import attrs

from atbus.limits import ROUTE_BATCH_RECORDS_MAX
from atbus.routing.batch import Batch
from atbus.routing.bounds import ROUTE_FINDINGS_MAX
from atbus.routing.courses import top_down, whole_courses
from atbus.routing.feed import Feed
from atbus.routing.known import Known
from atbus.routing.own_record import OwnRecord
from atbus.routing.publication import Course, Portion, Publication
from atbus.routing.record import Record
from atbus.routing.route_link import RouteLink
from atbus.routing.table import Position
from atbus.routing.turn import Turn

T = TypeVar("T")

# So many ids that are compared as lists cost what one does that is said.
_COMPARED_AS_ONE = 16
# The same of ids that are looked up one by one, ...
_LOOKED_UP_AS_ONE = 4
# ... and of those of a whole table that are put in order.
_ORDERED_AS_ONE = 8
# All is put in order anew when more have moved than this, and than this part of all.
_MOVED_MAX = 100
_MOVED_PART = 8


@attrs.define(eq=False)
class _Finding:
    """
    Something that was found out for one neighbor.

    :param anchor: What else has to be the same.
    :param ids: About whom.
    :param told: What the neighbor was told of each before.
    :param records: The best records of them, and who carries those.
    :param feeds: Those who carry one of them, if that matters.
    :param own: Our own record.
    :param sides: Our count of sides.
    :param edition: When all that was last so.
    """

    anchor: object
    ids: Sequence[int]
    result: object
    told: list[Record | None]
    records: list[Record | None]
    carriers: list[tuple[Feed, ...] | None]
    feeds: frozenset[Feed]
    own: Record
    sides: int
    edition: int


@attrs.define(eq=False)
class _Whole:
    """
    All that neighbors on one side should know, in order.

    :param moved: Who has come, gone or moved since.
    :param newest: Those of them that are not in the courses, as of a structure.
    """

    courses: list[Course]
    count: int
    moved: set[int] = attrs.field(factory=set)
    newest: Course | None = None


@attrs.define(eq=False)
class Sharing:
    """
    Find out what neighbors are to be told, once for those that are told the same.

    :param turn: What it costs is taken from this.
    """

    own: OwnRecord
    known: Known
    turn: Turn
    #: Grows when the order of nodes may be another: with those that come, go or move.
    structure: int = attrs.field(default=0, init=False)
    #: Grows when those who tell of nodes are on another side.
    sides: int = attrs.field(default=0, init=False)
    # By what was asked, the newest last.
    _findings: dict[Hashable, _Finding] = attrs.field(factory=dict, init=False, repr=False)
    # Of each side all nodes in order.
    _wholes: dict[bool, _Whole] = attrs.field(factory=dict, init=False, repr=False)

    def moved(self, bus_id: int) -> None:
        """
        Take note that a node has come, gone or moved, or is told by others.

        :param bus_id: The node.
        """
        self.structure += 1
        for whole in self._wholes.values():
            whole.moved.add(bus_id)

    def everything(self, link: RouteLink) -> list[Course]:
        """
        Give the order in which a neighbor is told everything.

        What was put in order for others is used again, with what has come since behind it.

        :param link: Its link.
        :returns: Whom it should know, and whom it tells of itself.
        """
        is_below = _is_below(link)
        whole = self._wholes.get(is_below)
        if whole is None or len(whole.moved) > _MOVED_MAX + whole.count // _MOVED_PART:
            whole = self._wholes[is_below] = self._order(is_below=is_below)
        if not whole.moved:
            return whole.courses
        if whole.newest is None or whole.newest.structure != self.structure:
            new = whole.moved.difference(*(course.ids for course in whole.courses))
            look_up = partial(self._should_know, is_below)
            records = top_down([each for each in map(look_up, new) if each is not None], look_up)
            whole.newest = Course(tuple(each.bus_id for each in records), self.structure)
            self.turn.spend(whole.count // _COMPARED_AS_ONE + len(records))
        return [*whole.courses, whole.newest] if whole.newest.ids else whole.courses

    def _should_know(self, is_below: bool, bus_id: int) -> Record | None:
        """Say what those on a side should know of a node that do not tell of it themselves."""
        own = self.own.record
        if bus_id == own.bus_id:
            return own
        return self.known.best.get(bus_id) if is_below or self.known.is_below(bus_id) else None

    def _order(self, *, is_below: bool) -> _Whole:
        """Put all in order that those on a side should know."""
        own, known = self.own.record, self.known
        if is_below:
            records = {own.bus_id: own, **known.best}
        else:
            records = {record.bus_id: record for record in known.below()}
            records[own.bus_id] = own
        self.turn.spend(len(records) // _ORDERED_AS_ONE)
        # What downstreams tell is not told to all of them: it spoils the batches that it is in.
        least = ROUTE_BATCH_RECORDS_MAX // 2 if is_below else len(records)
        parts = whole_courses(records, known.is_below, least)
        courses = [Course(each, self.structure) for each in parts]
        return _Whole(courses, len(records))

    def differing(self, link: RouteLink, bus_ids: tuple[int, ...]) -> Sequence[int]:
        """
        Find the nodes of which a neighbor was told something else than it should know.

        :param link: Its link.
        :param bus_ids: Any ids.
        :returns: Those of them of which there is something to tell.
        """
        key = ("differing", _is_below(link))
        finding = self._find(key, link, bus_ids)
        if finding is not None:
            return finding.result  # type: ignore[return-value]
        found = _publication_of(link).differing(bus_ids)
        self.turn.spend(1 + len(bus_ids) // _LOOKED_UP_AS_ONE)
        self._keep(key, link, bus_ids, bus_ids, found)
        return found

    def next_batch(self, link: RouteLink) -> Batch | None:
        """
        Tell a neighbor the next words; its publication has said that there may be some.

        :param link: Its link.
        :returns: What to send, or None when nothing is different any more.
        """
        publication = _publication_of(link)
        if publication.course is None:
            publication.follow(self._changes(link, publication))
            if publication.course is None:
                return None
        return publication.tell(self._portion(link, publication, publication.course))

    def _changes(self, link: RouteLink, publication: Publication) -> Course:
        """Put in order in what the neighbor is behind."""
        backlog = publication.backlog
        key = ("changes", _is_below(link), len(backlog))
        finding = self._find(key, link, backlog)
        if finding is not None:
            return finding.result  # type: ignore[return-value]
        course = Course(publication.changes(), self.structure)
        self.turn.spend(1 + len(backlog) // _LOOKED_UP_AS_ONE)
        self._keep(key, link, set(backlog), tuple(backlog), course)
        return course

    def _portion(self, link: RouteLink, publication: Publication, course: Course) -> Portion:
        """Find out what the next part of its course is, in words."""
        key = (id(course), publication.place, publication.batch_bytes_max, _is_below(link))
        finding = self._find(key, link, course)
        if finding is not None:
            found: Portion = finding.result  # type: ignore[assignment]
            if found.deaths == [publication.dead_stamp(each) for each in found.gone]:
                return found
        portion = publication.portion(is_ordered=course.structure == self.structure)
        self.turn.spend(1 + len(portion.ids))
        self._keep(key, link, course, portion.ids, portion)
        return portion

    def _find(self, key: Hashable, link: RouteLink, anchor: object) -> _Finding | None:
        """Give what was found out for another neighbor, if it holds for this one."""
        finding = self._findings.get(key)
        if finding is None or not (finding.anchor is anchor or finding.anchor == anchor):
            return None
        self.turn.spend(1 + len(finding.ids) // _COMPARED_AS_ONE)
        if not self._is_current(finding) or link.feed in finding.feeds:
            return None
        told = _publication_of(link).told
        return finding if list(map(told.get, finding.ids)) == finding.told else None

    def _is_current(self, finding: _Finding) -> bool:
        """Tell whether the same is known as when something was found out."""
        if finding.own is not self.own.record or finding.sides != self.sides:
            return False
        known = self.known
        if finding.edition == known.edition:
            return True
        ids = finding.ids
        if list(map(known.best.get, ids)) != finding.records:
            return False
        if list(map(known.carriers.get, ids)) != finding.carriers:
            return False
        finding.edition = known.edition
        return True

    def _keep(
        self, key: Hashable, link: RouteLink, anchor: object, ids: Sequence[int], result: object
    ) -> None:
        """Keep what was found out for one neighbor, if it may hold for others."""
        known = self.known
        carriers = list(map(known.carriers.get, ids))
        feeds: frozenset[Feed] = frozenset()
        if _is_below(link):
            feeds = frozenset(chain.from_iterable(filter(None, set(carriers))))
            if link.feed in feeds:
                return
        self._findings.pop(key, None)
        self._findings[key] = _Finding(
            anchor=anchor,
            ids=ids,
            result=result,
            told=list(map(_publication_of(link).told.get, ids)),
            records=list(map(known.best.get, ids)),
            carriers=carriers,
            feeds=feeds,
            own=self.own.record,
            sides=self.sides,
            edition=known.edition,
        )
        while len(self._findings) > ROUTE_FINDINGS_MAX:
            del self._findings[next(iter(self._findings))]


def _is_below(link: RouteLink) -> bool:
    return link.feed.kind is Position.DOWNSTREAM


def _publication_of(link: RouteLink) -> Publication:
    publication = link.publication
    assert publication is not None
    return publication
