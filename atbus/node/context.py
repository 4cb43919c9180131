"""
What the parts of one node share: values and services, no decisions.

Several nodes live in one process, so nothing here is global: clock, randomness, counters and log
belong to the node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from atbus import limits
from atbus.node import bounds
from atbus.node.config import NodeConfig
from atbus.node.events import NodeEvents
from atbus.node.outbox import Kept, is_rest
from atbus.node.owed import Passing
from atbus.node.statistics import Statistics
from atbus.rights import Rights
from atbus.routing import bounds as routing
from atbus.routing.budget import Account, Budget
from atbus.routing.change import Portion
from atbus.routing.former_places import FormerPlaces
from atbus.routing.table import Table
from atbus.routing.ways import Ways
from atbus.wire.messages import Mode, NodeFlag

if TYPE_CHECKING:
    from atbus.channels.turn_ends import TurnEnds
    from atbus.node.growth import Growth
    from atbus.node.identity import Identity
    from atbus.node.observing import MessageObserver
    from atbus.node.sending import Flow


class Timers(Protocol):
    """The clock of a node: monotonic seconds and delayed calls."""

    def seconds(self) -> float:
        """Give the time, in seconds since nothing in particular."""

    def callLater(  # Twisted's name
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """Call *callable* after *delay* seconds."""


class Turn:
    """
    Run things once, at the end of this reactor turn, in the order of asking.

    The end of what arrived on one connection is such an end too, if there was none a moment ago:
    a lone message is answered at once, and what many messages bring about leaves together.

    A busy node may put off what it has to write, from turn to turn as long as there is more of it
    each time, so that one write carries what several turns brought about.

    :param ends: Where the reactor tells its turns' ends: they need no timer, and what the program
        puts off of its own accord is looked at there.
    """

    _log = Logger()

    def __init__(self, timers: Timers, ends: TurnEnds | None = None) -> None:
        # Grows with everything that is queued on any connection; added to with every message.
        self.queued_bytes = 0
        # Of the message before this one.
        self.last_flow: Flow | None = None
        # To be settled for `queued_bytes` to be exact, when that is looked at.
        self.unsettled: set[Growth] = set()
        #: Whether this is the end of a turn in which the program did something of its own accord,
        #: and no answer waited, and what is put off is written before the process sleeps: then it
        #: may be put off even from who has nothing else to do, for the program goes on at once or
        #: the process sleeps.
        self.is_own_end = False
        #: Whether something is put off.
        self.is_gathering = False
        self._timers = timers
        self._ends = ends
        self._calls: deque[Callable[[], None]] = deque()
        self._arriving = False
        self._scheduled = False
        # Whether what arrived has something to be done at the end of this turn.
        self._answers = False
        self._ended_at = 0.0
        self._busy = False
        self._writes = 0
        self._writes_since = 0.0
        self._gathered: list[Callable[[], None]] = []
        # Who looks at it: the ends of turns, or a timer, which may outlive what it was set for.
        self._ends_look = self._timer_looks = False
        self._gathering_since = 0.0
        self._queued_before = 0
        self._queued_at_last = 0

    def at_end(self, call: Callable[[], None]) -> None:
        """Call *call* when the present callbacks have returned to the reactor."""
        self._calls.append(call)
        if not self._arriving:
            self._schedule()

    def arrival_begins(self) -> None:
        """Note that a connection begins to hand over what arrived; `arrival_ends` follows."""
        self._arriving = True

    def arrival_ends(self) -> None:
        """Note that everything has been dealt with that one connection handed over."""
        self._arriving = False
        calls = self._calls
        if not calls:
            return
        now = self._timers.seconds()
        if now - self._ended_at < limits.GATHER_SECONDS:
            self._answers = True
            self._schedule()
            return
        self._ended_at = now
        try:
            if len(calls) == 1:
                calls.popleft()()
            else:
                self._run()
        except Exception:  # noqa: BLE001 - as the reactor does; the connection is not to suffer
            self._log.failure("the end of a turn failed")

    def writes(self) -> bool:
        """
        Note that a connection is about to write.

        :returns: Whether the node is busy, so that `gather` would do it good.
        """
        self._writes += 1
        if self._writes >= limits.BUSY_WRITES:
            now = self._timers.seconds()
            self._busy = now - self._writes_since < limits.BUSY_SECONDS
            self._writes, self._writes_since = 0, now
        return self._busy

    def gather(self, write: Callable[[], None]) -> None:
        """
        Put off a write.

        :param write: Called soon: after the first look that finds nothing more queued, or enough,
            or after `limits.GATHER_SECONDS_MAX`; and before the process sleeps, if that is
            told and the program has put something off of its own accord.
        """
        if not self.is_gathering:
            self.is_gathering = True
            self._settle()
            self._gathering_since = self._timers.seconds()
            self._queued_before = self._queued_at_last = self.queued_bytes
        # What is put off in this turn has the whole next one to grow.
        if self.is_own_end and self._ends is not None:
            self._ends_look = True
            self._ends.deferring[self] = None
        elif not (self._ends_look or self._timer_looks):
            # What arrives brings more soon, for which the process sleeps meanwhile.
            self._timer_looks = True
            self._timers.callLater(0, self._gather_on)
        self._gathered.append(write)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            if self._ends is not None:
                self._ends.calls.append(self._later)
            else:
                self._timers.callLater(0, self._later)

    def _later(self) -> None:
        self._scheduled = False
        self.is_own_end = self._ends is not None and not self._answers
        self._answers = False
        try:
            self._run()
        finally:
            self.is_own_end = False

    def _gather_on(self) -> None:
        """Look at what is gathered, unless that is done at the ends of turns by now."""
        self._timer_looks = False
        if not self.is_gathering or self._ends_look:
            return
        if self._grows_on():
            # A timer in each turn costs as much as a message does.
            most = limits.GATHER_BYTES * len(self._gathered)
            is_little = self._queued_at_last - self._queued_before < most // 2
            pause = limits.GATHER_LOOK_SECONDS if is_little else 0
            self._timer_looks = True
            self._timers.callLater(pause, self._gather_on)
        else:
            # What it brings about may be put off in turn, with a look of its own.
            self.do_now()

    def look(self) -> None:
        """Let what is gathered grow for some turns more, or write it."""
        if not self._grows_on():
            self.do_now()

    def _grows_on(self) -> bool:
        """Tell whether what is gathered has grown, is still little, and has not waited long."""
        if self.unsettled:
            self._settle()
        queued, before = self.queued_bytes, self._queued_at_last
        self._queued_at_last = queued
        return (
            queued != before
            and queued - self._queued_before < limits.GATHER_BYTES * len(self._gathered)
            and self._timers.seconds() - self._gathering_since < limits.GATHER_SECONDS_MAX
        )

    def do_now(self) -> None:
        """Write what is gathered."""
        if self._ends is not None:
            self._ends.deferring.pop(self, None)
        self.is_gathering = self._ends_look = False
        gathered, self._gathered = self._gathered, []
        self._calls.extend(gathered)
        self._run()

    def _settle(self) -> None:
        """Let what is queued be counted exactly."""
        for growth in list(self.unsettled):
            growth.settle()

    def _run(self) -> None:
        calls, self._calls = self._calls, deque()
        try:
            while calls:
                calls.popleft()()
        finally:
            # One that raises is the reactor's to report, and nobody else's loss.
            for call in calls:
                self.at_end(call)


class Alarm:
    """
    One delayed call that can be moved: the reactor's side of a machine's ``deadline``.

    A deadline that is put off, as most are with every frame, costs nothing: the call comes at the
    old one and is made anew then.

    A call that comes late, because this process was held up, lets the reactor read first: what has
    arrived meanwhile is in time, and may put the deadline off.

    :param ring: Called at the deadline; it sets the next one if there is one.
    :param what: What it is called with.
    """

    __slots__ = ("_at", "_call", "_deadline", "_excused", "_ring", "_timers", "_what")

    def __init__(self, timers: Timers, ring: Callable[..., None], *what: object) -> None:
        self._timers = timers
        self._ring = ring
        self._what = what
        self._call: IDelayedCall | None = None
        # When the call comes, and when it is to ring.
        self._at = 0.0
        self._deadline: float | None = None
        self._excused = False

    def set(self, deadline: float | None) -> None:
        """Ring at *deadline* (seconds on the node's clock), or not at all if it is None."""
        self._deadline = deadline
        if self._call is not None:
            if deadline is not None and deadline >= self._at:
                return
            self._call.cancel()
            self._call = None
        if deadline is not None:
            self._arm(deadline, self._timers.seconds())

    def _arm(self, deadline: float, now: float) -> None:
        self._at = deadline
        self._call = self._timers.callLater(max(0.0, deadline - now), self._fire)

    def _fire(self) -> None:
        self._call = None
        deadline, now = self._deadline, self._timers.seconds()
        if deadline is not None and now < deadline:
            self._excused = False
            self._arm(deadline, now)
        elif now - self._at > bounds.LATE_SECONDS and not self._excused:
            self._excused = True
            self._arm(now, now)
        else:
            self._excused = False
            self._deadline = None
            self._ring(*self._what)


@attrs.define(eq=False, kw_only=True)
class Context:
    """
    Values and services of one node.

    :param bus_id: Our id; 0 while temporary, or automatic and not assigned.
    :param epoch: Ours; raised when a neighbor knows a higher one for our id.
    :param announced_epoch: The last one that a neighbor registered us with; 0 before the first.
    :param draining: Whether nobody new is to register here, or to go through here.
    :param calling: How many application callbacks are on the stack.
    :param observer: Sees every message, if there is one.
    """

    config: NodeConfig
    timers: Timers
    turn: Turn
    events: NodeEvents
    statistics: Statistics
    table: Table
    random: Random
    log: Logger
    identity: Identity
    bus_id: int
    mode: Mode
    epoch: int
    #: The first epoch under which messages were sent: those of an earlier one are another life's.
    first_epoch: int = attrs.field(init=False)
    announced_epoch: int = 0
    draining: bool = False
    calling: int = 0
    observer: MessageObserver | None = None
    #: What others may do here; None while everything is allowed.
    rights: Rights | None = None
    #: The bytes that all queues may hold.
    budget: Budget = attrs.field(init=False)
    #: The bytes of answers and commands that may wait for their acknowledgement.
    owed: Budget = attrs.field(init=False)
    #: How many of them may be what others say to neighbors.
    passing: Passing = attrs.field(init=False)
    #: Which neighbor takes what goes where, and what waits while that changes.
    ways: Ways[Kept] = attrs.field(init=False)
    #: What waits there.
    ways_account: Account = attrs.field(init=False)
    #: Below whom nodes were that have moved.
    former_places: FormerPlaces = attrs.field(init=False)
    #: By target the flows whose next message may join a run at once, without any question.
    open_flows: dict[int, Flow] = attrs.field(factory=dict, init=False)
    #: Called when a queue that was long is so no more.
    on_relief: Callable[[], None] = attrs.field(default=lambda: None, init=False)

    def __attrs_post_init__(self) -> None:
        self.first_epoch = self.epoch
        self.budget = Budget(self.config.queued_bytes_node)
        self.owed = Budget(bounds.OWED_BYTES_MAX)
        self.passing = Passing(bounds.OWED_BYTES_MAX)
        self.ways = Ways(
            bytes_max=self.config.pending_bytes_max,
            count_max=self.config.pending_count_max,
            seconds=limits.FLUSH_SECONDS,
            known_max=routing.WAYS_MAX,
            portion=Portion(routing.PORTION_BYTES, routing.PORTION_COUNT, is_rest),
        )
        self.ways_account = self.budget.open()
        self.former_places = FormerPlaces(
            routing.FORMER_PLACE_SECONDS, routing.FORMER_PLACES_MAX, routing.FORMER_PLACES_EACH
        )

    @property
    def now(self) -> float:
        """The time on the node's clock, seconds."""
        return self.timers.seconds()

    @property
    def node_flags(self) -> int:
        """What this node says of itself besides its labels, see `NodeFlag`."""
        flags = NodeFlag.PROXY if self.config.proxy else NodeFlag(0)
        return int(flags | NodeFlag.DRAINING if self.draining else flags)

    def registered_with(self, known_epoch: int) -> None:
        """
        Continue above what a neighbor knows of our id, unless it knows that from us.

        :param known_epoch: The highest epoch that the neighbor knew before it registered us.
        """
        is_ours = known_epoch == self.epoch == self.announced_epoch
        if known_epoch >= self.epoch and not is_ours:
            self.epoch = known_epoch + 1
            if not self.statistics.sent_messages:
                self.first_epoch = self.epoch
        self.announced_epoch = self.epoch

    def outlives(self, known_epoch: int) -> bool:
        """
        Continue above what a registry knows of a former life of our id.

        Once a neighbor has registered us it is too late: our epoch is known.

        :param known_epoch: The epoch of that life.
        :returns: Whether we have another epoch now.
        """
        if known_epoch < self.epoch or self.announced_epoch:
            return False
        self.epoch = known_epoch + 1
        if not self.statistics.sent_messages:
            self.first_epoch = self.epoch
        return True

    def ways_changed(self) -> None:
        """Note that nodes have come, gone or changed: who may do what may be another now."""
        if self.rights is not None:
            self.rights.changed()

    def is_own_epoch(self, epoch: int) -> bool:
        """Tell whether messages of this epoch are of this life of the node."""
        return self.first_epoch <= epoch <= self.epoch
