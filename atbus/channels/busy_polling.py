"""
What a process does when it has nothing to do: look for a moment longer, then sleep.

A processor that sleeps has to be woken, and who sends the message that wakes it pays for a part of
that: tens of microseconds in a virtual machine, more than all of a node's own work for the message.
So a process that was busy until now looks for work again and again before it asks the kernel to let
it sleep, as long as that has been worth it lately. Between two looks it gives way to whoever waits
for the same processor. Lanes are looked at as well: one that is awake need not be rung.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, Protocol

# After looking in vain a process goes to sleep 1, 3, 7 ... times without looking, at most so often:
# what comes once in a millisecond then costs a look in six hundredths of a second.
_SKIPPED_MAX: Final = 63

# A look at a lane costs less than one at the sockets, but each look is at all of them.
_WATCHED_MAX: Final = 8


class Wakeful(Protocol):
    """What can stay awake instead of being woken; neither method raises."""

    def look_awake(self) -> bool:
        """
        Do what there is to do.

        :returns: Whether there was anything.
        """

    def fall_asleep(self) -> bool:
        """
        See to it that whoever brings something wakes the process.

        :returns: False when there is something to do at once; it will be done in the reactor's
            next turn.
        """


class BusyPoller:
    """
    An epoll object that looks for a while before it sleeps.

    A look that has found something is worth the next one. After one in vain the process sleeps
    without looking, each time more often, until a sleep was so short that a look would have found
    what ended it. Where it gives way and does not get the processor back in time, others want it
    more: who looks then comes last, and who sleeps is woken before them.

    :param poller: The epoll object; all but `poll` is its own.
    :param seconds: How long a look takes at most.
    :param clock: Seconds, ascending.
    :param give_way: Called between two looks; lets others have the processor.
    """

    def __init__(
        self,
        poller: Any,
        seconds: float,
        clock: Callable[[], float],
        give_way: Callable[[], object] = os.sched_yield,
    ) -> None:
        self._ask: Callable[[float, int], list[tuple[int, int]]] = poller.poll
        self._seconds = seconds
        self._clock = clock
        self._give_way = give_way
        # Made anew at each change: whoever is looked at may come to its end meanwhile, and others.
        self._watched: tuple[Wakeful, ...] = ()
        self._skipped = 0
        self._to_skip = 0
        self._crowded = False
        # Any: what the reactor calls on its poller, it calls here.
        self.register: Any = poller.register
        self.modify: Any = poller.modify
        self.unregister: Any = poller.unregister
        self.fileno: Any = poller.fileno
        self.close: Any = poller.close

    def watch(self, wakeful: Wakeful) -> bool:
        """
        Look at something until the process goes to sleep.

        :param wakeful: What has nothing to do now.
        :returns: Whether it is looked at; who is not, falls asleep by itself.
        """
        if wakeful in self._watched:
            return True
        if self._to_skip or len(self._watched) >= _WATCHED_MAX:
            return False
        self._watched += (wakeful,)
        return True

    def forget(self, wakeful: Wakeful) -> None:
        """
        Look at something no more.

        :param wakeful: What has come to its end.
        """
        self._watched = tuple(each for each in self._watched if each is not wakeful)

    def poll(self, timeout: float = -1, maxevents: int = -1) -> list[tuple[int, int]]:
        """
        Wait for events as `select.epoll.poll` does.

        Once anything that is watched has done something this returns, for it may have set timers.

        :param timeout: Seconds; none, or a negative number: for ever.
        :param maxevents: The most that are returned.
        :returns: Descriptors and what is with them.
        """
        ask = self._ask
        if not timeout:
            if self._watched:
                self._look()
            return ask(0, maxevents)
        if self._to_skip:
            self._to_skip -= 1
            return self._sleep(timeout, maxevents)
        clock, give_way = self._clock, self._give_way
        seconds = self._seconds if timeout < 0 else min(timeout, self._seconds)
        began = now = clock()
        crowded = False
        # In each call the sockets are asked and the lanes looked at, whichever is busier.
        events = ask(0, maxevents)
        while True:
            if (self._watched and self._look()) or events:
                self._skipped = 0
                return events
            if now - began >= seconds:
                break
            before = now
            give_way()
            now = clock()
            crowded = now - before >= self._seconds
            # Who has brought something meanwhile was mostly the one who had the processor.
            if self._watched and self._look():
                self._skipped = 0
                return []
            if crowded:
                break
            events = ask(0, maxevents)
        if 0 < timeout <= now - began or (self._watched and not self._all_sleep()):
            return ask(0, maxevents)
        self._crowded = crowded
        self._skipped = _SKIPPED_MAX if crowded else min(_SKIPPED_MAX, 2 * self._skipped + 1)
        self._to_skip = self._skipped
        return self._sleep(timeout - (now - began) if timeout > 0 else timeout, maxevents)

    def _look(self) -> bool:
        worked = False
        for wakeful in self._watched:
            if wakeful.look_awake():
                worked = True
        return worked

    def _all_sleep(self) -> bool:
        # Who looks again from now on, and does not sleep, is told to sleep by itself.
        watched, self._watched = self._watched, ()
        asleep = [wakeful.fall_asleep() for wakeful in watched]
        return all(asleep)

    def _sleep(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        began = self._clock()
        events = self._ask(timeout, maxevents)
        # Waking takes about as long as a look.
        if events and not self._crowded and self._clock() - began < 2 * self._seconds:
            self._skipped = self._to_skip = 0
        return events


def busy_poller_of(reactor: Any) -> BusyPoller | None:
    """
    Find what looks before a reactor sleeps.

    :param reactor: Any.
    :returns: It, if anything does.
    """
    poller = getattr(reactor, "_poller", None)
    return poller if isinstance(poller, BusyPoller) else None
