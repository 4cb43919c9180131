"""
The one way from kazoo's threads to the reactor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

from twisted.internet.interfaces import IReactorFromThreads

from atbus.discovery.zookeeper.bounds import ARRIVALS_PER_TURN


class Crossing:
    """
    Calls that other threads want to be made in the reactor's, in the order in which they came.

    The reactor is woken once for all that is there, and a turn of it makes a bounded number of
    them. How many may wait is a matter of those who ask: an answer or a notice comes once for each
    thing that was asked for.

    :param reactor: Is woken.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._lock = Lock()
        self._calls: deque[Callable[[], object]] = deque()
        self._is_woken = False

    def put(self, call: Callable[[], object]) -> None:
        """
        Have something called in the reactor's thread; the only method for others.

        :param call: That; it does not raise.
        """
        with self._lock:
            self._calls.append(call)
            wakes, self._is_woken = not self._is_woken, True
        if wakes:
            self._reactor.callFromThread(self._make_calls)

    def _make_calls(self) -> None:
        for _ in range(ARRIVALS_PER_TURN):
            with self._lock:
                if not self._calls:
                    self._is_woken = False
                    return
                call = self._calls.popleft()
            call()
        self._reactor.callFromThread(self._make_calls)
