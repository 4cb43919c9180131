"""
What one turn of the reactor costs a process that is there for nodes: less than Twisted's own.

A node that is sent one message at a time has a turn for each. Twisted's epoll reactor makes a
context for the log around each read, which says in a line of `twisted.python.log` on whose behalf
it was written; lines of `twisted.logger`, which nodes write, say that themselves. Without it a lone
message costs a tenth less.

Nodes also need no timer for the end of a turn: the reactor makes what they ask for before it asks
the kernel, and before it sleeps what they have put off (`atbus.channels.turn_ends`).
"""

from __future__ import annotations

from collections.abc import Callable
from select import EPOLLIN
from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.python import log

from atbus.channels.turn_ends import TurnEnds

# What is used of the reactor besides its interfaces.
_NEEDED: Final = (
    "_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable", "_started",
    "_justStopped",
)  # fmt: skip
_call: Any = log.callWithLogger


class ShortTurns(EPollReactor):
    """
    Twisted's reactor, which gives what a socket has to read to its reader without such a context.

    Everything but a plain read - writing, the end of a connection, timers - is as it was.
    """

    turn_ends: TurnEnds

    def doPoll(self, timeout: float | None) -> None:
        """
        Wait until something can be read or written, and let it be.

        :param timeout: For how long, in seconds; without end if it is None.
        """
        selectables: Any = self._selectables
        ends, poll, most = self.turn_ends, self._poller.poll, len(self._selectables)
        ready: list[tuple[int, int]] = []
        if ends.calls or ends.deferring:
            timeout = self._end_turn(ends.come, timeout)
            if timeout != 0 and ends.deferring:
                ready = poll(0, most)
                if not ready:
                    timeout = self._end_turn(ends.before_sleep, timeout)
                    if ends.deferring:
                        # What was done had something put off that was not before.
                        timeout = 0
        if not ready:
            ready = poll(-1 if timeout is None else timeout, most)
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

    doIteration = doPoll

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
    reactor.turn_ends = TurnEnds()  # type: ignore[attr-defined]  # of the class that it gets
    reactor.__class__ = ShortTurns
    return True
