"""
What a process does when it has nothing to do: look for a moment longer, then sleep.

A processor that sleeps has to be woken, and who sends the message that wakes it pays for a part of
that: tens of microseconds in a virtual machine, more than all of a node's own work for the message.
So a process that was busy until now looks for work again and again before it asks the kernel to let
it sleep, as long as that has been worth it lately. Between two looks it gives way to whoever waits
for the same processor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Final

#: So long, unless said otherwise; an answer within a host takes half of it.
BUSY_POLL_SECONDS: Final = 100e-6

# After looking in vain a process goes to sleep 1, 3, 7 ... times without looking, at most so often:
# what comes once in a millisecond then costs a look in six hundredths of a second.
_SKIPPED_MAX: Final = 63


def poll_before_sleep(reactor: Any, seconds: float = BUSY_POLL_SECONDS) -> bool:
    """
    Let a reactor look for work for a while before it sleeps.

    Only for who owns the process. Nothing is done where that cannot be worth it: on a single
    processor, and with a reactor that does not wait with epoll.

    :param reactor: The process's reactor, Twisted's on epoll.
    :param seconds: How long at most, each time; 0: not at all.
    :returns: Whether it does now.
    """
    poller = getattr(reactor, "_poller", None)
    if seconds <= 0 or not hasattr(poller, "poll") or len(os.sched_getaffinity(0)) < 2:
        return False
    reactor._poller = BusyPoller(poller, seconds)  # noqa: SLF001 - it offers no other way
    return True


class BusyPoller:
    """
    An epoll object that looks for a while before it sleeps.

    A look that has found something is worth the next one. After one in vain the process sleeps
    without looking, each time more often, until a sleep was so short that a look would have found
    what ended it.

    :param poller: The epoll object; all but `poll` is its own.
    :param seconds: How long a look takes at most.
    :param clock: Seconds, ascending.
    :param give_way: Called between two looks; lets others have the processor.
    """

    def __init__(
        self,
        poller: Any,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        give_way: Callable[[], object] = os.sched_yield,
    ) -> None:
        self._ask: Callable[[float, int], list[tuple[int, int]]] = poller.poll
        self._seconds = seconds
        self._clock = clock
        self._give_way = give_way
        self._skipped = 0
        self._to_skip = 0
        # Any: what the reactor calls on its poller, it calls here.
        self.register: Any = poller.register
        self.modify: Any = poller.modify
        self.unregister: Any = poller.unregister
        self.fileno: Any = poller.fileno
        self.close: Any = poller.close

    def poll(self, timeout: float = -1, maxevents: int = -1) -> list[tuple[int, int]]:
        """
        Wait for events as `select.epoll.poll` does.

        :param timeout: Seconds; none, or a negative number: for ever.
        :param maxevents: The most that are returned.
        :returns: Descriptors and what is with them.
        """
        ask = self._ask
        if not timeout:
            return ask(0, maxevents)
        if self._to_skip:
            self._to_skip -= 1
            return self._sleep(timeout, maxevents)
        clock, give_way = self._clock, self._give_way
        seconds = self._seconds if timeout < 0 else min(timeout, self._seconds)
        end = clock() + seconds
        while True:
            if events := ask(0, maxevents):
                self._skipped = 0
                return events
            if clock() >= end:
                break
            give_way()
        self._to_skip = self._skipped = min(_SKIPPED_MAX, 2 * self._skipped + 1)
        if seconds == timeout:
            return events
        return self._sleep(timeout - seconds if timeout > 0 else timeout, maxevents)

    def _sleep(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        began = self._clock()
        events = self._ask(timeout, maxevents)
        # Waking takes about as long as a look.
        if events and self._clock() - began < 2 * self._seconds:
            self._skipped = self._to_skip = 0
        return events
