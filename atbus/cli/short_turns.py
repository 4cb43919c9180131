"""
What one turn of the reactor costs a process that is there for nodes: less than Twisted's own.

A node that is sent one message at a time has a turn for each. Twisted's epoll reactor makes a
context for the log around each read, which says in a line of `twisted.python.log` on whose behalf
it was written; lines of `twisted.logger`, which nodes write, say that themselves. Without it a lone
message costs a tenth less.
"""

from __future__ import annotations

from select import EPOLLIN
from typing import Any, Final

from twisted.internet.epollreactor import EPollReactor
from twisted.python import log

# What is used of the reactor besides its interfaces.
_NEEDED: Final = ("_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable")
_call: Any = log.callWithLogger


class ShortTurns(EPollReactor):
    """
    Twisted's reactor, which gives what a socket has to read to its reader without such a context.

    Everything but a plain read - writing, the end of a connection, timers - is as it was.
    """

    def doPoll(self, timeout: float | None) -> None:
        """
        Wait until something can be read or written, and let it be.

        :param timeout: For how long, in seconds; without end if it is None.
        """
        selectables: Any = self._selectables
        ready = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
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


def shorten_turns(reactor: Any) -> bool:
    """
    Let a reactor take shorter turns, if it is Twisted's own on epoll.

    Only for who owns the process.

    :param reactor: The process's reactor, running or not.
    :returns: Whether its turns are shorter now.
    """
    if type(reactor) is not EPollReactor or not all(hasattr(reactor, name) for name in _NEEDED):
        return False
    reactor.__class__ = ShortTurns
    return True
