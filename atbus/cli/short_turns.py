"""
What one turn of the reactor costs a process that is there for nodes: less than Twisted's own.

A node that is sent one message at a time has a turn for each. Twisted's epoll reactor makes a
context for the log around each read, which says in a line of `twisted.python.log` on whose behalf
it was written; lines of `twisted.logger`, which nodes write, say that themselves. Without it a lone
message costs a tenth less.

Nodes also need no timer for the end of a turn: the reactor makes what they ask for before it asks
the kernel, and before it sleeps what they have put off (`atbus.channels.turn_ends`).

A call that is due at once, as a program makes one for its next turn, never enters the heap of the
timers, among which Twisted would look for its place by comparing them in Python; and a program that
has such a call in each turn has the kernel asked for events once in 20 microseconds, after it was
asked some times in vain: such a turn takes 1.5 microseconds instead of 4.3. Whenever there is
anything else to do, from a timer that is due to a call from a thread, Twisted's own
`runUntilCurrent` does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappush
from operator import attrgetter
from select import EPOLLIN
from typing import Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python import log

from atbus.channels.turn_ends import TurnEnds

# What is used of the reactor besides its interfaces.
_NEEDED: Final = (
    "_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable", "_started",
    "_justStopped", "_newTimedCalls", "_pendingTimedCalls", "_cancellations", "_cancelCallLater",
    "_moveCallLaterSooner", "threadCallQueue", "running",
)  # fmt: skip
# With more cancelled calls than that among its timers, and more than half of them, the reactor
# takes them out.
_CANCELLED_MAX: Final = 50
# When the kernel was asked for events in so many turns in a row and had none, while a call was due
# in each, it is asked so often, in seconds: to ask costs a fifth of such a turn.
_VAIN_POLLS: Final = 16
_POLL_SECONDS: Final = 20e-6
_call: Any = log.callWithLogger
_time_of = attrgetter("time")


class ShortTurns(EPollReactor):
    """
    Twisted's reactor, which gives what a socket has to read to its reader without such a context.

    Everything but a plain read and a call that is due at once - writing, the end of a connection,
    timers - is as it was.
    """

    _log = Logger()

    turn_ends: TurnEnds
    # Being made in this turn, the next one last.
    _due: list[DelayedCall]

    def mainLoop(self) -> None:
        """Take turns until the reactor is stopped."""
        while self._started:
            try:
                self._take_turns()
            except BaseException:  # noqa: BLE001 - as the reactor does: it goes on
                self._log.failure("a turn of the reactor failed")
        # It has nothing left to do but to say that it has ended.
        super().mainLoop()

    def runUntilCurrent(self) -> None:
        """Make all calls that are due, those of a turn as well in which this is called."""
        while self._due:
            heappush(self._pendingTimedCalls, self._due.pop())
        super().runUntilCurrent()

    def _take_turns(self: Any) -> None:
        # Each name here is looked up for each message of a program that sends one in a turn.
        seconds, selectables, ends = self.seconds, self._selectables, self.turn_ends
        polled_at, in_vain = float("-inf"), 0
        while self._started:
            timed, new, cancelled = (
                self._pendingTimedCalls, self._newTimedCalls, self._cancellations,
            )  # fmt: skip
            now = seconds()
            if (
                (timed and timed[0].time <= now)
                or self.threadCallQueue
                or (cancelled > _CANCELLED_MAX and cancelled > len(timed) >> 1)
            ):
                self.runUntilCurrent()
            elif new and (len(new) > 1 or not self._make_one(new[0], now)):
                self._make_due(new, now)
            if self._justStopped:
                # By one of these, or by what was read: it ends before it waits again.
                self.runUntilCurrent()
            new = self._newTimedCalls
            if not self.running:
                self.doPoll(0)
            elif not new or new[0].time > seconds():
                in_vain = 0
                self.doPoll(self.timeout())
            elif ends.calls or (ends.deferring and ends.are_to_look(now)):
                self.doPoll(0)
            elif in_vain < _VAIN_POLLS or not 0 <= now - polled_at < _POLL_SECONDS:
                polled_at = now
                ready = self._poller.poll(0, len(selectables))
                if ready:
                    in_vain = 0
                    self._read(ready)
                else:
                    in_vain += 1

    def _make_one(self: Any, call: DelayedCall, now: float) -> bool:
        """
        Make a call that is due and was the only one asked for in the last turn: the usual case.

        :param now: Seconds on the reactor's clock.
        :returns: Whether it was due, and not taken back.
        """
        if call.cancelled or call.time > now or call.delayed_time:
            return False
        self._newTimedCalls = []
        call.called = 1
        try:
            call.func(*call.args, **call.kw)
        except BaseException:  # noqa: BLE001 - as the reactor does: the others are made
            self._tell_failed(call)
        return True

    def _make_due(self: Any, new: list[DelayedCall], now: float) -> None:
        """
        Make those calls that are due of what was asked for in the last turn; nothing older is due.

        :param new: All of them, cancelled ones too.
        :param now: Seconds on the reactor's clock.
        """
        self._newTimedCalls = []
        due = self._due
        for call in new:
            if call.cancelled:
                self._cancellations -= 1
            elif call.time <= now:
                due.append(call)
            else:
                call.activate_delay()
                heappush(self._pendingTimedCalls, call)
        if len(due) > 1:
            due.sort(key=_time_of)
            due.reverse()
        while due:
            call = due.pop()
            if call.cancelled:
                self._cancellations -= 1
            elif call.delayed_time > 0:
                # Put off since, maybe by one that came before it.
                call.activate_delay()
                heappush(self._pendingTimedCalls, call)
            else:
                call.called = 1
                try:
                    call.func(*call.args, **call.kw)
                except BaseException:  # noqa: BLE001 - as the reactor does: the others are made
                    self._tell_failed(call)

    def _tell_failed(self, call: DelayedCall) -> None:
        asked = "".join(call.creator or ())
        self._log.failure("a timed call failed {asked}", asked=asked)

    def callLater(
        self: Any, delay: float, callable: Callable[..., Any], *args: object, **kw: object
    ) -> DelayedCall:
        """
        Have something called, as any reactor does.

        :param delay: In so many seconds.
        """
        assert delay >= 0, f"{delay} is not greater than or equal to 0 seconds"
        seconds = self.seconds
        call = DelayedCall(
            seconds() + delay, callable, args, kw, self._cancel, self._sooner, seconds
        )
        self._newTimedCalls.append(call)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """Give the calls that are still to be made."""
        return [
            *(call for call in reversed(self._due) if not call.cancelled),
            *super().getDelayedCalls(),
        ]

    def doPoll(self, timeout: float | None) -> None:
        """
        Wait until something can be read or written, and let it be.

        :param timeout: For how long, in seconds; without end if it is None.
        """
        ends, poll, most = self.turn_ends, self._poller.poll, len(self._selectables)
        ready: list[tuple[int, int]] = []
        if ends.calls or ends.deferring:
            timeout = self._end_turn(partial(ends.come, self.seconds()), timeout)
            if timeout != 0 and ends.deferring:
                ready = poll(0, most)
                if not ready:
                    timeout = self._end_turn(ends.before_sleep, timeout)
                    if ends.deferring:
                        # What was done had something put off that was not before.
                        timeout = 0
        if not ready:
            ready = poll(-1 if timeout is None else timeout, most)
        self._read(ready)

    doIteration = doPoll

    def _read(self, ready: list[tuple[int, int]]) -> None:
        """
        Have read what can be.

        :param ready: Descriptors, and what the kernel says of them.
        """
        selectables: Any = self._selectables
        for descriptor, event in ready:
            selectable = selectables.get(descriptor)
            if selectable is None:
                # What came before it in this turn has ended it.
                continue
            if event != EPOLLIN:
                _call(selectable, self._doReadOrWrite, selectable, descriptor, event)
                continue
            try:
                reason = selectable.doRead()
            except BaseException as error:  # noqa: BLE001 - as the reactor does: it ends this one
                _call(selectable, log.err)
                reason = error
            if reason:
                disconnect: Any = self._disconnectSelectable
                disconnect(selectable, reason, True)

    def _end_turn(self, end: Callable[[], None], timeout: float | None) -> float | None:
        """
        End a turn, and say how long may be waited after that.

        :param timeout: How long before it, in seconds.
        :returns: The same, or less: what was called may have set timers, or stopped the reactor.
        """
        reactor: Any = self
        started = reactor._started  # noqa: SLF001 - as all of this class
        end()
        if timeout == 0:
            return 0
        ends_now = reactor._justStopped or reactor._started is not started  # noqa: SLF001
        if ends_now or self.turn_ends.calls:
            return 0
        left = self.timeout()
        if left is None or timeout is None:
            return timeout if left is None else left
        return min(timeout, left)


def shorten_turns(reactor: Any) -> bool:
    """
    Let a reactor take shorter turns, if it is Twisted's own on epoll.

    Only for who owns the process.

    :param reactor: The process's reactor, running or not.
    :returns: Whether its turns are shorter now.
    """
    if type(reactor) is not EPollReactor or not all(hasattr(reactor, name) for name in _NEEDED):
        return False
    new: Any = reactor
    new.turn_ends, new._due = TurnEnds(), []  # noqa: SLF001 - of the class that it gets
    new._cancel, new._sooner = new._cancelCallLater, new._moveCallLaterSooner  # noqa: SLF001
    new.__class__ = ShortTurns
    return True
