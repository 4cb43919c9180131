"""
Interest over links: what neighbors are told of who wants what, and what they tell (7.18, 7.19).

`atbus.subjects.interest` decides; this tells it who comes and goes, and brings its messages to the
control connections.

1. A neighbor takes part from the moment its control connection is registered until it leaves or is
   gone. Over a new control connection of the same life everything is told anew, and what was heard
   stays until the other side's replay is complete.
2. What changes in one turn leaves together, and no more than a link can write soon: the rest waits
   here, in order, so that a large replay does not hold up the pings. That somebody wants something,
   or nobody any more, is told at once; how many members a group has, now and then.
3. A ping's digest is compared only when everything has left that the neighbor was to be told.
4. A question is passed on with what it is about as this node has told it, so whoever has missed
   just that learns of it with the question.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from atbus import limits
from atbus.busid import format_bus_id
from atbus.errors import RemoteProtocolError, Status, SubscriptionRefused, Undeliverable
from atbus.node.context import Alarm
from atbus.node.losses import Losses
from atbus.node.outbox import Notice
from atbus.routing.table import Position
from atbus.subjects import bounds
from atbus.subjects.barrier import Answer, Ask, Barriers, Effect, Known
from atbus.subjects.interest import Interests, Row, Side, Wanted
from atbus.subjects.pattern import parse_pattern
from atbus.wire.extras import read_refused, refused_extra
from atbus.wire.messages import Capability, Interest, InterestAck, InterestRefusal, Mode

if TYPE_CHECKING:
    from atbus.node.beyond import Foreign
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.gates import Gates
    from atbus.node.link import Link
    from atbus.wire.head import Head

_SIDES = {
    Position.UPSTREAM: Side.ABOVE,
    Position.PEER: Side.BESIDE,
    Position.DOWNSTREAM: Side.BELOW,
}
#: Nodes with the same value of this label are near each other.
ZONE_LABEL: Final = "zone"
# Of an entry its weight and the lengths of two texts.
_ENTRY_BYTES = 8


@attrs.define(eq=False)
class _Talk:
    """What is said to one neighbor, over which connection, under which epoch of it."""

    control: Connection
    epoch: int
    #: None while everything is said.
    unsent: deque[Interest | InterestAck] | None = None


class InterestTalk:
    """
    Tell and hear interest.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    :param changed: Called when who gets what may be another now.
    """

    def __init__(
        self,
        context: Context,
        endpoints: dict[int, Endpoint],
        interests: Interests,
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._endpoints = endpoints
        self._interests = interests
        self._changed = changed
        self._barriers = Barriers()
        self._talks: dict[int, _Talk] = {}
        # Set by the node, which wires its parts.
        self.gates: Gates
        #: Neighbors that are no nodes; shared with `atbus.node.beyond`.
        self.foreign: dict[int, Foreign] = {}
        # Who waits here, and for what in particular.
        self._waiting: dict[int, tuple[Deferred[None], Wanted | None]] = {}
        # Those that wait for all the bus, not for what can be reached of it.
        self._whole: set[int] = set()
        # Whether the upstream is gone, and the rest of the bus with it.
        self._is_cut_off = False
        self._resuming: Deferred[None] | None = None
        self._tickets = 0
        self._flush_asked = False
        self._losses = Losses(context, self.flush_soon)
        self._sizes_wait = False
        self._sizes_alarm = Alarm(context.timers, self._tell_sizes)
        self._is_open = False

    @property
    def capability(self) -> Capability:
        """What this node can do, to be said in HELLO."""
        if self._context.mode is Mode.TEMPORARY:
            return Capability(0)
        return Capability.SUBJECTS | Capability.GATES | Capability.ZONES | Capability.TALLIES

    # Who takes part.

    @property
    def sides(self) -> dict[int, Side]:
        """Those who take part, and where they stand."""
        return self._interests.neighbors

    def wanted_by(self, bus_id: int) -> dict[Row, int]:
        """Give what a neighbor wants, for itself and for those behind it; only to be read."""
        return self._interests.wanted_by(bus_id)

    def control_up(self, endpoint: Endpoint) -> None:
        """Begin to talk with a neighbor, or go on over another control connection."""
        control = endpoint.control
        if control is None or not endpoint.peer.capabilities & Capability.SUBJECTS:
            return
        bus_id = endpoint.bus_id
        talk = self._talks.get(bus_id)
        if talk is not None and talk.control is control:
            return
        if talk is not None and talk.epoch == endpoint.peer.epoch:
            self._interests.move(bus_id, _SIDES[endpoint.position])
            messages = self._interests.replay(bus_id)
        else:
            self.gates.begin(endpoint)
            side, zone = _SIDES[endpoint.position], _zone_of(endpoint)
            messages = self._interests.open(bus_id, side, zone=zone)
            self._changed()
        self._talks[bus_id] = _Talk(control, endpoint.peer.epoch, deque(messages))
        self._feed(bus_id)
        # What it was asked over the connection before may be lost.
        self._perform(self._barriers.again(bus_id))
        self.flush_soon()
        self._is_upstream_back()

    def moved(self, endpoint: Endpoint) -> None:
        """Take note that a neighbor is above us, or beside us, that was not so before."""
        self._interests.move(endpoint.bus_id, _SIDES[endpoint.position])
        self._changed()
        self.flush_soon()
        self._is_upstream_back()

    def lost(self, endpoint: Endpoint) -> None:
        """Forget a neighbor that leaves, is left, or is gone, and with it who is behind it."""
        if self._talks.pop(endpoint.bus_id, None) is None:
            return
        was_above = self._has_upstream
        self.gates.lost(endpoint.bus_id)
        self._interests.close(endpoint.bus_id)
        self._is_cut_off = self._is_cut_off or (was_above and not self._has_upstream)
        self._changed()
        self._losses.lost()
        self._perform(self._barriers.lost(endpoint.bus_id))

    # What is told.

    def flush_soon(self) -> None:
        """Tell what has changed, at the end of this turn."""
        if not self._flush_asked and (self._talks or self.foreign):
            self._flush_asked = True
            self._context.turn.at_end(self._flush)

    def flush(self) -> None:
        """Tell at once what has changed in this turn: a question that leaves next may need it."""
        if self._flush_asked:
            self._flush()

    def _flush(self) -> None:
        self._flush_asked = False
        self.gates.check()
        for bus_id, message in self._interests.changes(sizes=False):
            self._tell(bus_id, message)
        if not self._sizes_wait and self._interests.has_resized:
            self._sizes_wait = True
            self._sizes_alarm.set(self._context.now + bounds.SIZES_SECONDS)
        for bus_id in self._interests.with_room():
            self._tell(bus_id, InterestAck(digest=self._interests.digest_of(bus_id)))

    def _tell_sizes(self) -> None:
        self._sizes_wait = False
        for bus_id, message in self._interests.changes():
            self._tell(bus_id, message)

    def _tell(self, bus_id: int, message: Interest | InterestAck) -> None:
        foreign = self.foreign.get(bus_id)
        if foreign is not None and isinstance(message, Interest):
            foreign.told(message)
        talk = self._talks.get(bus_id)
        if talk is not None:
            talk.unsent = talk.unsent or deque()
            talk.unsent.append(message)
            if len(talk.unsent) == 1:
                self._feed(bus_id)

    def _feed(self, bus_id: int) -> None:
        """Let so much leave as the link can write soon."""
        talk = self._talks.get(bus_id)
        endpoint = self._endpoints.get(bus_id)
        link = None if endpoint is None else endpoint.control_link
        if talk is None or link is None or talk.unsent is None:
            return
        link.measure()
        has_moved = False
        while talk.unsent and link.queued_bytes <= limits.CONTROL_QUEUED_BYTES:
            has_moved = True
            message = talk.unsent.popleft()
            if isinstance(message, Interest):
                self._context.statistics.interest_sent += max(1, len(message.entries))
            stamped = attrs.evolve(message, source=self._context.bus_id)
            link.put(Notice(stamped, _size_bytes(message)))
        if not talk.unsent:
            talk.unsent = None
        elif has_moved:
            # Otherwise `sweep` looks again: the other side does not read.
            self._context.timers.callLater(0, self._feed, bus_id)

    def sweep(self) -> None:
        """Let more be told to neighbors whose links have room again."""
        for bus_id, talk in list(self._talks.items()):
            if talk.unsent:
                self._feed(bus_id)

    # What is heard.

    def interest_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take what a neighbor wants."""
        message = link.read(frame, head)
        bus_id = self._talking(link)
        if not isinstance(message, Interest) or not bus_id:
            return
        statistics = self._context.statistics
        statistics.interest_received += max(1, len(message.entries))
        self.gates.look(bus_id, message)
        try:
            faults = self._interests.heard(bus_id, message)
        except RemoteProtocolError as error:
            link.unreadable(head, error)
            return
        if faults:
            statistics.interest_ignored += faults
            self.name_full(bus_id, format_bus_id(bus_id))
        if message.entries or message.last:
            self._changed()
            self.flush_soon()
        if message.barrier:
            self._asked(bus_id, message)

    def _asked(self, bus_id: int, question: Interest) -> None:
        # Links keep their order: this is what the neighbor has told before it asked.
        digest = self._interests.digest_of(bus_id)
        refusal = self._refusal(bus_id, question)
        wanted = tuple(Wanted(entry.subject, entry.queue) for entry in question.entries)
        others = len(self._interests.neighbors) - 1
        if refusal is None and not self._barriers.may_ask(bus_id, wanted, others):
            detail = f"{format_bus_id(bus_id)} asks of too much at once"
            refusal = InterestRefusal(Status.BACKPRESSURE, self._context.bus_id, detail)
        answer = Answer(bus_id, question.barrier, question.generation, digest, refusal)
        self._flush()
        self._perform(self._barriers.asked(answer, self._interests.neighbors, wanted))

    def _refusal(self, bus_id: int, question: Interest) -> InterestRefusal | None:
        """Say why something of what a neighbor asks of does not come to it from here."""
        here, rights = self._context.bus_id, self._context.rights
        name = format_bus_id(bus_id)
        status = self._interests.missed(bus_id, question)
        if status is not None:
            detail = f"{name} wants more subjects than may be kept"
            if status is not Status.BUFFER_LIMIT:
                detail = f"{name} wants what is no pattern here"
            return InterestRefusal(status, here, detail)
        if rights is None:
            return None
        for entry in question.entries:
            refusal = rights.refuses_subscription(rights.who(bus_id), parse_pattern(entry.subject))
            if refusal is not None:
                return InterestRefusal(Status.NO_RIGHT, here, refusal)
        return None

    def name_full(self, place: int, name: str) -> None:
        """Say so when somebody wants more than there is memory for, once until there is again."""
        if self._interests.names_full(place):
            detail = f"{name} wants more subjects than may be kept, and does not get all of them"
            self._context.events.on_error(Status.BUFFER_LIMIT, detail)

    def answer_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the answer to a barrier."""
        message = link.read(frame, head)
        bus_id = self._talking(link)
        if not isinstance(message, InterestAck) or not bus_id:
            return
        try:
            refusal = read_refused(message.extras)
        except RemoteProtocolError as error:
            link.unreadable(head, error)
            return
        has_missed = self._interests.answered(bus_id, message)
        if has_missed:
            self._repair(bus_id)
        if refusal is not None or not has_missed:
            self._perform(self._barriers.answered(bus_id, message.barrier, refusal))
        if has_missed:
            # What it answers counts when it has been told what it has missed.
            self._perform(self._barriers.again(bus_id))

    def _talking(self, link: Link) -> int:
        """Give the neighbor at the other end, 0 if what it says does not count any more."""
        endpoint = link.connection.endpoint
        if endpoint is None or endpoint.temporary:
            return 0
        talk = self._talks.get(endpoint.bus_id)
        if talk is None or talk.control is not link.connection:
            self._context.statistics.late_frames += 1
            return 0
        return endpoint.bus_id

    # Neighbors that are no nodes.

    def foreign_answered(self, place: int, barrier: int) -> None:
        """Take note that a neighbor that is no node knows what it was told before a barrier."""
        self._perform(self._barriers.answered(place, barrier))

    def foreign_lost(self, place: int) -> None:
        """Wait no longer for a neighbor that is no node."""
        self._perform(self._barriers.lost(place))

    # Digests.

    def digest_of(self, bus_id: int) -> int:
        """Give the digest of what a neighbor has told, for a PING or PONG to it."""
        return self._interests.digest_of(bus_id)

    def compare(self, bus_id: int, digest: int) -> None:
        """Take the digest out of a neighbor's PING or PONG, and tell everything anew on doubt."""
        talk = self._talks.get(bus_id)
        if talk is None or talk.unsent or not self._interests.heard_digest(bus_id, digest):
            return
        self._repair(bus_id)

    def _repair(self, bus_id: int) -> None:
        self._context.statistics.interest_repairs += 1
        for message in self._interests.replay(bus_id):
            self._tell(bus_id, message)
        self._perform(self._barriers.check(bus_id))

    # The whole bus.

    def everywhere(
        self, wanted: Wanted | None = None, *, within_reach: bool = False
    ) -> Deferred[None]:
        """
        Wait until the whole bus has heard of all interest of this node.

        :param wanted: What everybody is to keep, of that; None: whether anything is kept is no
            matter.
        :param within_reach: Whether that is what can be reached at this moment; otherwise an
            upstream that is away is waited for.
        :returns: Fires then; fails with `SubscriptionRefused` when a node does not keep *wanted*,
            or gives not all of it to its neighbor, and with `Undeliverable` when one is asked of
            too much at once, or this one stops.
        """
        if not self._is_open:
            return fail(Undeliverable(Status.NOT_STARTED, 0, 0, self._context.bus_id))
        self._tickets += 1
        ticket = self._tickets
        waiting: Deferred[None] = Deferred(lambda _: self._give_up(ticket))
        self._waiting[ticket] = waiting, wanted
        if not within_reach:
            self._whole.add(ticket)
        self._ask(ticket)
        return waiting

    def _ask(self, ticket: int) -> None:
        if ticket in self._whole and self._is_cut_off:
            return
        _, wanted = self._waiting[ticket]
        self._flush()
        question = () if wanted is None else (wanted,)
        self._perform(self._barriers.ask(ticket, self._interests.neighbors, question))

    def _give_up(self, ticket: int) -> None:
        self._waiting.pop(ticket, None)
        self._whole.discard(ticket)
        self._barriers.forget(ticket)

    @property
    def _has_upstream(self) -> bool:
        return self._interests.above is not None

    def _is_upstream_back(self) -> None:
        """Ask all the bus what was asked while it was out of reach, if it is in reach again."""
        if not (self._is_cut_off and self._has_upstream):
            return
        self._is_cut_off = False
        for ticket in sorted(self._whole):
            # It may have been asked before, of those who were left.
            self._barriers.forget(ticket)
            self._ask(ticket)
        if self._resuming is None:
            self._resuming = self.everywhere()
            self._resuming.addCallbacks(self._resumed, self._not_resumed)

    def _resumed(self, _: None) -> None:
        self._resuming = None
        self._context.events.on_resumed()

    def _not_resumed(self, _: Failure) -> None:
        """The node has stopped before, or not everybody could be asked."""
        self._resuming = None

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Ask(neighbor=neighbor, barrier=barrier) if neighbor not in self._talks:
                    # One that is no node has been told all that it can be told.
                    self._tell(neighbor, Interest(barrier=barrier))
                case Ask(neighbor=neighbor, barrier=barrier, wanted=wanted):
                    self._tell(neighbor, self._interests.question(neighbor, barrier, wanted))
                case Answer(neighbor=neighbor):
                    self._tell(neighbor, _written(effect))
                case Known(ticket=ticket, refusal=refusal):
                    self._known(ticket, refusal)

    def _known(self, ticket: int, refusal: InterestRefusal | None) -> None:
        if refusal is None and ticket in self._whole and self._is_cut_off:
            # Known to those who are left; it is asked again.
            return
        self._whole.discard(ticket)
        waiting, wanted = self._waiting.pop(ticket, (None, None))
        if waiting is None:
            return
        if refusal is None:
            waiting.callback(None)
            return
        why = (refusal.status, 0, 0, refusal.node, refusal.detail)
        waiting.errback(
            Undeliverable(*why) if wanted is None else SubscriptionRefused(*why, *wanted)
        )

    def reconfigure(self) -> None:
        """Keep as much of what neighbors want as the configuration allows now."""
        self._interests.room.bytes_max = self._context.config.interest_bytes
        self.flush_soon()

    def open(self) -> None:
        """Begin, with the node."""
        self._is_open = True

    def close(self) -> None:
        """End all waiting: the node has stopped."""
        self._is_open = self._is_cut_off = False
        self._sizes_wait = False
        self._sizes_alarm.set(None)
        self._losses.close()
        self._whole.clear()
        waiting, self._waiting = self._waiting, {}
        for ticket, (each, _) in waiting.items():
            self._barriers.forget(ticket)
            each.errback(Undeliverable(Status.CLOSING, 0, 0, self._context.bus_id))


def _zone_of(endpoint: Endpoint) -> str | None:
    """Say in which zone everybody behind a neighbor is; None if it tells that itself."""
    if endpoint.peer.capabilities & Capability.ZONES:
        return None
    return dict(endpoint.peer.request.labels).get(ZONE_LABEL, "")


def _written(answer: Answer) -> InterestAck:
    refusal = answer.refusal
    return InterestAck(
        generation=answer.generation,
        barrier=answer.barrier,
        digest=answer.digest,
        extras=() if refusal is None else (refused_extra(refusal),),
    )


def _size_bytes(message: Interest | InterestAck) -> int:
    size_bytes = 2 * limits.FRAME_HEAD_BYTES + sum(len(extra.value) for extra in message.extras)
    if isinstance(message, InterestAck):
        return size_bytes
    texts = sum(len(entry.subject) + len(entry.queue) + _ENTRY_BYTES for entry in message.entries)
    return size_bytes + texts
