"""
Links that join two halves of a bus which have another way to each other (`atbus.subjects.gate`).

A link to the upstream or to a downstream is looked at when it has just been made: if there are
gateways to one server on both sides it is shut, at both ends, before anything is honoured. The
gateway on this side says when to hold and when to open. When one of the gateways is gone, or in
time, it opens by itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from atbus.errors import AtbusError, Status
from atbus.node.context import Alarm
from atbus.node.subscription import Subscription
from atbus.routing.table import Position
from atbus.subjects import bounds
from atbus.subjects.gate import BRIDGES, GATES, Gate, Sides, State, Verdict, sides_of
from atbus.subjects.interest import Wanted
from atbus.subjects.pattern import OWN_SUBJECTS
from atbus.wire.messages import Capability, Interest

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.interest_talk import InterestTalk
    from atbus.node.publication import Passing, Publication
    from atbus.node.publishing import Publishing
    from atbus.node.subscribers import Subscribers
    from atbus.subjects.interest import Interests

#: What a gate is asked for, and what it answers.
HOLD, GROUPS, OPEN, DONE, NO = b"hold", b"groups", b"open", b"done", b"no"


def open_words(rows: list[tuple[int, int, int, int]]) -> bytes:
    """Write what opens a gate: with the numbers of what was sent by the server."""
    return OPEN + json.dumps([[f"{number:x}" for number in row] for row in rows]).encode()


def read_rows(words: bytes) -> list[tuple[int, int, int, int]]:
    """
    Read what `open_words` has written.

    :raises ValueError: It is not readable.
    """
    try:
        found: Any = json.loads(words[len(OPEN) :])
        rows: list[tuple[int, int, int, int]] = []
        for row in found:
            source, epoch, newest, seen = (int(number, 16) for number in row)
            rows.append((source, epoch, newest, seen))
    except (TypeError, RecursionError) as error:
        raise ValueError("no rows") from error
    return rows


class _End:
    """Our end of one link: it stands in the way of what would cross."""

    def __init__(self, gates: Gates, bus_id: int, sides: Sides) -> None:
        self._gates = gates
        self.bus_id = bus_id
        self.sides = sides
        self.near = f"{BRIDGES}.{sides.key}.{sides.near:016x}"
        self.far = f"{BRIDGES}.{sides.key}.{sides.far:016x}"
        self.gate: Gate[tuple[Publication, Passing]] = Gate(gates.context.now)
        self.alarm = Alarm(gates.context.timers, gates.late, self)
        self.subscription: Subscription | None = None

    def told(self, message: Interest) -> None:
        """It is told what is wanted by the link itself."""

    def report(self) -> None:
        """It is listed as any link."""

    def may_have(self, subject: str) -> bool:
        """Tell whether the other side may get what is published on a subject."""
        return self._gates.publishing.spreading.allows(self.bus_id, tuple(subject.split(".")))

    def take(self, publication: Publication, passing: Passing) -> None:
        """Let a publication cross, or hold it."""
        verdict = Verdict.CROSSES
        if not publication.subject.startswith(OWN_SUBJECTS):
            verdict = self.gate.take(
                publication.source,
                passing.epoch,
                publication.sequence,
                (publication, passing),
                size_bytes=publication.size_bytes,
                is_shared=bool(passing.queues),
            )
        self.go_on(publication, passing, verdict)

    def go_on(self, publication: Publication, passing: Passing, verdict: Verdict) -> None:
        """Do what has been decided."""
        publishing = self._gates.publishing
        if verdict is Verdict.GROUPS_ONLY:
            passing = passing.for_groups_only()
        if verdict in (Verdict.CROSSES, Verdict.GROUPS_ONLY):
            publishing.spreading.pass_on(publication, passing, self.bus_id)
        elif verdict is Verdict.GIVEN_UP:
            publishing.dropped(Status.NOT_CONNECTED)

    def asked(self, question: Publication) -> bytes | Deferred[bytes]:
        """The gateway on this side asks to hold, or to open."""
        return self._gates.asked(self, question.payload)


class Gates:
    """The gates of one node."""

    def __init__(
        self,
        context: Context,
        interests: Interests,
        subscribers: Subscribers,
        publishing: Publishing,
    ) -> None:
        # Set by the node, which wires its parts.
        self.talk: InterestTalk
        self.context = context
        self.publishing = publishing
        self._interests = interests
        self._subscribers = subscribers
        # Links that have just been made, of which not everything has been heard yet.
        self._new: set[int] = set()
        self._ends: dict[int, _End] = {}

    # Which links.

    def begin(self, endpoint: Endpoint) -> None:
        """Look at what comes over a link that has just been made."""
        self.lost(endpoint.bus_id)
        if endpoint.peer.capabilities & Capability.GATES and endpoint.position is not Position.PEER:
            self._new.add(endpoint.bus_id)

    def look(self, bus_id: int, message: Interest) -> None:
        """Shut a link, if that has to be, before what comes over it is honoured."""
        if bus_id not in self._new:
            return
        if message.last:
            self._new.discard(bus_id)
        found = [entry.subject for entry in message.entries if entry.subject.startswith(BRIDGES)]
        sides = sides_of(self._interests.wanted_beside(bus_id, BRIDGES), found) if found else None
        if sides is not None and bus_id not in self._ends:
            self._shut(bus_id, sides)

    def _shut(self, bus_id: int, sides: Sides) -> None:
        end = _End(self, bus_id, sides)
        subject = ".".join(
            (
                f"{GATES}.{sides.key}",
                *(f"{each:016x}" for each in (sides.near, sides.far)),
                *(f"{each:x}" for each in (int(self.context.bus_id), bus_id)),
            )
        )
        end.subscription = Subscription(
            self._subscribers,
            subject,
            end.asked,
            queue="",
            waiting_count_max=bounds.WAITING_COUNT_MAX,
            waiting_bytes_max=bounds.WAITING_BYTES_MAX,
            accepts=None,
            everywhere=False,
            name=subject,
        )
        try:
            self._subscribers.add(end.subscription)
        except AtbusError as refused:
            self.context.log.warn("a link stays open: {why}", why=str(refused))
            return
        self._interests.honour(bus_id, plain=False, groups=False)
        self._ends[bus_id] = end
        self.publishing.spreading.foreign[bus_id] = end
        end.alarm.set(end.gate.deadline)
        self._changed()

    def check(self) -> None:
        """Open where one of the gateways is gone; called whenever any interest has changed."""
        for end in tuple(self._ends.values()):
            is_far = Wanted(end.far) in self._interests.wanted_by(end.bus_id)
            if is_far and self._interests.is_wanted_beside(end.bus_id, end.near):
                continue
            if end.gate.state is State.OPEN:
                self._end(end)
            elif end.gate.state is not State.LATE:
                self._give_up(end)
                end.alarm.set(end.gate.deadline)
                self._changed()

    def _give_up(self, end: _End) -> None:
        self.publishing.dropped(Status.NOT_CONNECTED, end.gate.give_up(self.context.now))
        self._interests.honour(end.bus_id, plain=True, groups=True)

    def late(self, end: _End) -> None:
        """Open, for nobody else has done it in time."""
        if end.gate.state in (State.SHUT, State.HOLDING):
            self.context.log.warn(
                "a link to {bus_id:#x} that joins two halves opens by itself", bus_id=end.bus_id
            )
            # The gateways learn of it before anything crosses.
            self._give_up(end)
            end.alarm.set(end.gate.deadline)
            self._unsubscribe(end)
        else:
            self._end(end)
        self.talk.flush_soon()

    def lost(self, bus_id: int) -> None:
        """Forget a neighbor."""
        self._new.discard(bus_id)
        end = self._ends.get(bus_id)
        if end is not None:
            self._end(end)

    def close(self) -> None:
        """End all waiting: the node has stopped."""
        for end in tuple(self._ends.values()):
            self._end(end)

    def _end(self, end: _End) -> None:
        del self._ends[end.bus_id]
        del self.publishing.spreading.foreign[end.bus_id]
        end.alarm.set(None)
        self._give_up(end)
        self._unsubscribe(end)

    def _unsubscribe(self, end: _End) -> None:
        subscription, end.subscription = end.subscription, None
        if subscription is not None:
            subscription.unsubscribe()
        self._changed()

    def _changed(self) -> None:
        self._subscribers.changed()
        self.talk.flush_soon()

    # What the gateway on this side says.

    def asked(self, end: _End, words: bytes) -> bytes | Deferred[bytes]:
        """Hold, and answer when that is known everywhere on this side; or open."""
        gate, now = end.gate, self.context.now
        if words == HOLD and gate.state is State.SHUT:
            gate.hold(now)
            end.alarm.set(gate.deadline)
            self._interests.honour(end.bus_id, plain=True, groups=False)
            self._changed()
            return self.talk.everywhere(within_reach=True).addCallback(lambda _: DONE)
        if words == GROUPS and gate.state is State.HOLDING:
            self._interests.honour(end.bus_id, plain=True, groups=True)
            self._changed()
            return DONE
        if words.startswith(OPEN) and gate.state is State.HOLDING:
            try:
                rows = read_rows(words)
            except ValueError:
                return NO
            for (publication, passing), verdict in gate.open(rows, now):
                end.go_on(publication, passing, verdict)
            self._interests.honour(end.bus_id, plain=True, groups=True)
            end.alarm.set(gate.deadline)
            self._changed()
            return DONE
        return NO
