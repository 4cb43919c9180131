"""Servers of NATS on the meadow: a mesh of its own, by the rules of routes and nothing else."""

from __future__ import annotations

from collections import Counter

from atbus.subjects.distribution import Branch
from atbus.subjects.interest import Side, Wanted
from atbus.subjects.pattern import matches, parse_pattern, parse_subject
from atbus.wire.messages import Interest, InterestEntry
from tests.subjects.meadow import Letter, Meadow, Parcel


class Server:
    """
    One server: its clients' subscriptions, and what each other member of the mesh has told.

    It gives what it gets to all plain subscribers, also when only groups are named, as servers do.
    """

    def __init__(self, meadow: Meadow, number: int) -> None:
        self.number = number
        self.wanted: Counter[Wanted] = Counter()
        self.heard: dict[int, dict[Wanted, int]] = {}
        self.plain: list[tuple[int, int]] = []
        self.queued: list[tuple[int, int, str]] = []
        self.published = 0
        self._meadow = meadow
        meadow.others[number] = self

    def subscribe(self, pattern: str, queue: str = "") -> None:
        """Let a client subscribe."""
        self._count(Wanted(pattern, queue), 1)

    def unsubscribe(self, pattern: str, queue: str = "") -> None:
        """Let a client unsubscribe."""
        self._count(Wanted(pattern, queue), -1)

    def _count(self, wanted: Wanted, more: int) -> None:
        self.wanted[wanted] += more
        for neighbor in self.heard:
            self._tell(neighbor, [wanted], replay=False)

    def _tell(self, neighbor: int, changed: list[Wanted], *, replay: bool) -> None:
        entries = tuple(
            InterestEntry(
                subject=each.pattern,
                queue=each.queue,
                weight=self.wanted[each] if each.queue else min(1, self.wanted[each]),
            )
            for each in changed
        )
        message = Interest(generation=1, replay=replay, last=replay, entries=entries)
        self._meadow.send(self.number, neighbor, message)

    def publish(self, subject: str) -> tuple[int, int]:
        """Let a client publish; gives what the diaries will show."""
        self.published += 1
        what = self.number, self.published
        places: dict[int, list[str]] = {
            neighbor: [] for neighbor, wanted in self.heard.items() if _plain(wanted, subject)
        }
        groups = {
            queue
            for wanted in (self.wanted, *self.heard.values())
            for queue in _groups(wanted, subject)
        }
        for queue in sorted(groups):
            tables = {self.number: self.wanted, **self.heard}
            members = {place: _groups(table, subject)[queue] for place, table in tables.items()}
            [place] = self._meadow.random.choices([*members], [*members.values()])
            if place == self.number:
                self.queued.append((*what, queue))
            else:
                places.setdefault(place, []).append(queue)
        if _plain(self.wanted, subject):
            self.plain.append(what)
        for place, queues in places.items():
            branch = Branch(neighbor=place, queues=tuple(queues))
            self._meadow.send(self.number, place, Letter(*what, subject, branch, what))
        return what

    def take(self, came_from: int, parcel: Parcel) -> None:
        """Take what another member of the mesh sent."""
        if isinstance(parcel, Interest):
            for entry in parcel.entries:
                self.heard[came_from][Wanted(entry.subject, entry.queue)] = entry.weight
            assert not parcel.barrier
        elif isinstance(parcel, Letter) and not parcel.handed_back:
            if _plain(self.wanted, parcel.subject):
                self.plain.append(parcel.what)
            members = _groups(self.wanted, parcel.subject)
            self.queued += [(*parcel.what, each) for each in parcel.branch.queues if members[each]]

    def connected(self, neighbor: int, side: Side) -> None:
        """Tell a new member of the mesh everything."""
        assert side is Side.OUTSIDE
        self.heard[neighbor] = {}
        self._tell(neighbor, [each for each, count in self.wanted.items() if count], replay=True)

    def disconnected(self, neighbor: int) -> None:
        """Forget a member."""
        del self.heard[neighbor]


def _fits(wanted: Wanted, subject: str) -> bool:
    return matches(parse_pattern(wanted.pattern), parse_subject(subject))


def _plain(table: dict[Wanted, int], subject: str) -> bool:
    return any(
        weight and not wanted.queue and _fits(wanted, subject) for wanted, weight in table.items()
    )


def _groups(table: dict[Wanted, int], subject: str) -> Counter[str]:
    """Count the members of each group."""
    found: Counter[str] = Counter()
    for wanted, weight in table.items():
        if weight and wanted.queue and _fits(wanted, subject):
            found[wanted.queue] += weight
    return found
