"""A clock that tests move: cheap with any number of timers, exact in their order."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
class HeapClock:
    """
    Time that passes only in `advance` and `run_until`.

    Calls are made in the order of their times, and of being asked for where those are equal.
    Twisted's own test clock sorts all of its calls at each new one; this keeps a heap, so that a
    simulation may have tens of thousands of them.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._numbers = itertools.count()

    def seconds(self) -> float:
        """Give the time, in seconds since the clock was made."""
        return self._now

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        """Call *callable* when *delay* seconds have passed."""
        call = DelayedCall(
            self._now + delay, callable, args, kw, lambda _: None, self._moved, self.seconds
        )
        self._push(call)
        return call

    def _moved(self, call: DelayedCall) -> None:
        self._push(call)

    def _push(self, call: DelayedCall) -> None:
        heapq.heappush(self._heap, (call.getTime(), next(self._numbers), call))

    def getDelayedCalls(self) -> list[DelayedCall]:
        """Give the calls that have not been made or cancelled."""
        pending = {id(call): call for _, _, call in self._heap if call.active()}
        return list(pending.values())

    @property
    def next_at(self) -> float | None:
        """When the next call is due, seconds; None when there is none."""
        while self._heap:
            at, _, call = self._heap[0]
            if call.active() and call.getTime() <= at:
                return at
            heapq.heappop(self._heap)
            if call.active() and call.getTime() > at:
                # It was delayed: it has, or gets, a place of its own further back.
                self._push(call)
        return None

    def advance(self, seconds: float) -> None:
        """
        Let time pass; make every call that becomes due, also those that are asked for meanwhile.

        :param seconds: How much.
        """
        end = self._now + seconds
        while (at := self.next_at) is not None and at <= end:
            self._make_next(at)
        self._now = end

    def _make_next(self, at: float) -> None:
        _, _, call = heapq.heappop(self._heap)
        self._now = max(self._now, at)
        call.called = 1
        func, args, kw = call.func, call.args, call.kw
        # Like one that is cancelled: what it calls mostly holds it, and would live as long.
        del call.func, call.args, call.kw
        func(*args, **kw)

    def run_until(self, done: Callable[[], bool], seconds_max: float = 60.0) -> bool:
        """
        Let time pass until something is so.

        :param done: Asked after each call.
        :param seconds_max: How long at most, on this clock.
        :returns: Whether it came to be so.
        """
        end = self._now + seconds_max
        while not done():
            at = self.next_at
            if at is None or at > end:
                self._now = end
                return done()
            self._make_next(at)
        return True
