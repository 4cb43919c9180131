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
from atbus.node.config import NodeConfig
from atbus.node.events import NodeEvents
from atbus.node.statistics import Statistics
from atbus.routing.budget import Budget
from atbus.routing.table import Table
from atbus.wire.messages import Mode

if TYPE_CHECKING:
    from atbus.node.identity import Identity
    from atbus.node.observing import MessageObserver


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
    """

    _log = Logger()

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._calls: deque[Callable[[], None]] = deque()
        self._arriving = False
        self._scheduled = False
        self._ended_at = 0.0

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
        if not self._calls:
            return
        now = self._timers.seconds()
        if now - self._ended_at < limits.GATHER_SECONDS:
            self._schedule()
            return
        self._ended_at = now
        try:
            self._run()
        except Exception:  # noqa: BLE001 - as the reactor does; the connection is not to suffer
            self._log.failure("the end of a turn failed")

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._timers.callLater(0, self._later)

    def _later(self) -> None:
        self._scheduled = False
        self._run()

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

    :param ring: Called at the deadline; it sets the next one if there is one.
    """

    def __init__(self, timers: Timers, ring: Callable[[], None]) -> None:
        self._timers = timers
        self._ring = ring
        self._call: IDelayedCall | None = None
        self._at: float | None = None

    def set(self, deadline: float | None) -> None:
        """Ring at *deadline* (seconds on the node's clock), or not at all if it is None."""
        if deadline == self._at and self._call is not None:
            return
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._at = deadline
        if deadline is not None:
            delay = max(0.0, deadline - self._timers.seconds())
            self._call = self._timers.callLater(delay, self._fire)

    def _fire(self) -> None:
        self._call = None
        self._at = None
        self._ring()


@attrs.define(eq=False, kw_only=True)
class Context:
    """
    Values and services of one node.

    :param bus_id: Our id; 0 while temporary, or automatic and not assigned.
    :param epoch: Ours; raised when a neighbor knows a higher one for our id.
    :param announced_epoch: The last one that a neighbor registered us with; 0 before the first.
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
    calling: int = 0
    observer: MessageObserver | None = None
    #: The bytes that all queues may hold.
    budget: Budget = attrs.field(init=False)
    #: Called when a queue that was long is so no more.
    on_relief: Callable[[], None] = attrs.field(default=lambda: None, init=False)

    def __attrs_post_init__(self) -> None:
        self.first_epoch = self.epoch
        self.budget = Budget(self.config.queued_bytes_node)

    @property
    def now(self) -> float:
        """The time on the node's clock, seconds."""
        return self.timers.seconds()

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

    def is_own_epoch(self, epoch: int) -> bool:
        """Tell whether messages of this epoch are of this life of the node."""
        return self.first_epoch <= epoch <= self.epoch
