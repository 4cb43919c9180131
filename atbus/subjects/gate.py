"""
One end of a link that joins two halves of a bus which have another way to each other.

That way leads over a server to which a gateway in each half is connected. While both are, what is
published in one half comes to the other one over the server, and must not cross the link as well.
When the one gateway hands its part over, each end changes at one point of what comes to it:

1. *Shut*: from the first word over the link on. What the other side wants is heard, and not
   honoured (`Interests.honour`). So each half goes on as it was.
2. *Holding*: it is honoured, but for groups, and what would cross is held. When the whole half
   knows of that, its gateway decides at one moment what it still sends by the server, and tells the
   numbers of that. Groups are honoured from then on: what is for them goes one way, as a whole.
3. *Open*: what is held crosses, and all that comes, but for those numbers. Plain subscribers on the
   other side have these; a queue group may still be served there.
4. *Late*: when a gateway has gone before that nothing crosses for a moment, for what comes may have
   gone by the server: interest is faster than what is published.

What belongs to the bus itself always crosses. Nothing is held longer, or more of it, than there are
bounds for; what is given up then may have come over the server, so it does not come twice.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from atbus.subjects import bounds
from atbus.subjects.duplicates import Duplicates
from atbus.subjects.pattern import OWN_SUBJECTS

#: Who can hand over what a gateway does for a half is known by the interest in this, the key of the
#: server, and its id.
BRIDGES: Final = f"{OWN_SUBJECTS}.nats.joins"
#: A gate is known by the interest in this, the key, the id of the gateway on its side and of the
#: one on the other side, and the ids of the nodes at this end of the link and at the other one.
GATES: Final = f"{OWN_SUBJECTS}.nats.gates"

T = TypeVar("T")


class Verdict(enum.Enum):
    """What becomes of a publication at a gate."""

    CROSSES = "crosses"
    #: Only its queue groups are to be served on the other side.
    GROUPS_ONLY = "groups only"
    WAITS = "waits"
    #: It has come to the other side in another way.
    HAS_CROSSED = "has crossed"
    #: It is counted.
    GIVEN_UP = "given up"


class State(enum.Enum):
    """How far a gate is."""

    SHUT = "shut"
    HOLDING = "holding"
    OPEN = "open"
    LATE = "late"


class Sides(NamedTuple):
    """A server that both sides of a link are connected to, and by which gateways."""

    key: str
    near: int
    far: int


def sides_of(near: Iterable[str], far: Iterable[str]) -> Sides | None:
    """
    Find out whether the two sides of a link have another way to each other.

    :param near: The subjects of gateways that are known on this side,
    :param far: and on the other side.
    :returns: None if they have not, or more than one.
    """
    ids = [_ids(each) for each in (near, far)]
    both = ids[0].keys() & ids[1].keys()
    if len(both) != 1:
        return None
    [key] = both
    if ids[0][key] & ids[1][key]:
        # Somebody is known on both sides, so there is another way without a server.
        return None
    return Sides(key, min(ids[0][key]), min(ids[1][key]))


def _ids(subjects: Iterable[str]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for subject in subjects:
        key, _, bus_id = subject[len(BRIDGES) + 1 :].partition(".")
        try:
            number = int(bus_id, 16)
        except ValueError:
            continue
        found.setdefault(key, set()).add(number)
    return found


class Gate(Generic[T]):
    """
    One end of one link.

    :param now: The time, seconds.
    """

    def __init__(self, now: float) -> None:
        self.state = State.SHUT
        #: When it opens by itself, or is needed no more.
        self.deadline = now + bounds.GATE_SHUT_SECONDS
        #: What waits costs so many bytes.
        self.held_bytes = 0
        self._held: list[tuple[int, int, int, bool, T]] = []
        self._sent = Duplicates()

    def hold(self, now: float) -> None:
        """Hold what would cross from now on."""
        if self.state is State.SHUT:
            self.state = State.HOLDING
            self.deadline = now + bounds.GATE_HELD_SECONDS

    def open(
        self, rows: Iterable[tuple[int, int, int, int]], now: float
    ) -> list[tuple[T, Verdict]]:
        """
        Let cross what was held, and all that comes.

        :param rows: What was sent by the server: `Duplicates.rows`.
        :returns: What was held, in order, and what becomes of each of it.
        """
        held, self._held, self.held_bytes = self._held, [], 0
        self.state = State.OPEN
        self.deadline = now + bounds.GATE_OPEN_SECONDS
        self._sent = Duplicates.of(rows)
        return [
            (what, self._verdict(source, epoch, sequence, is_shared))
            for source, epoch, sequence, is_shared, what in held
        ]

    def give_up(self, now: float) -> int:
        """Let nothing cross for a moment, for a gateway is gone; tell how many were held."""
        held, self._held, self.held_bytes = self._held, [], 0
        self.state = State.LATE
        self.deadline = now + bounds.GATE_LATE_SECONDS
        return len(held)

    def take(
        self,
        source: int,
        epoch: int,
        sequence: int,
        what: T,
        *,
        size_bytes: int,
        is_shared: bool,
    ) -> Verdict:
        """
        Decide what becomes of a publication that is wanted on the other side.

        :param source: Who has published it, in which
        :param epoch: of his incarnations, and its
        :param sequence: number.
        :param what: It, to be given back by `open`.
        :param is_shared: Whether it is for queue groups as well.
        """
        if self.state is State.OPEN:
            return self._verdict(source, epoch, sequence, is_shared)
        size_bytes += bounds.GATE_HELD_COST_BYTES
        has_room = self.held_bytes + size_bytes <= bounds.GATE_HELD_BYTES
        if self.state is not State.HOLDING or not has_room:
            return Verdict.GIVEN_UP
        self.held_bytes += size_bytes
        self._held.append((source, epoch, sequence, is_shared, what))
        return Verdict.WAITS

    def _verdict(self, source: int, epoch: int, sequence: int, is_shared: bool) -> Verdict:
        if not self._sent.may_know(source, epoch, sequence):
            return Verdict.CROSSES
        return Verdict.GROUPS_ONLY if is_shared else Verdict.HAS_CROSSED
