"""
How sequences of discovery wait: for time, for news, for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

_LOG: Final = Logger(namespace="atbus.discovery")

P = ParamSpec("P")
T = TypeVar("T")


def pause(timers: IReactorTime, seconds: float) -> Deferred[None]:
    """
    Wait for time to pass.

    :param timers: The clock.
    :param seconds: How long.
    :returns: Fires then; can be cancelled.
    """
    done: Deferred[None] = Deferred(lambda _: call.cancel())
    call = timers.callLater(seconds, done.callback, None)
    return done


class Routine:
    """
    One sequence that goes on until it is stopped: from outside, or by what it calls itself.

    A coroutine that is cancelled while it runs does not notice; so it is given a way to ask.
    """

    def __init__(self) -> None:
        self.is_running = False
        self._number = 0
        self._work: Deferred[None] | None = None

    def start(self, run: Callable[[Callable[[], bool]], Coroutine[Any, Any, None]]) -> None:
        """
        Begin; what ran before is stopped.

        :param run: The sequence; it is given what says whether it is to go on, and asks that after
            each call of something that may stop it.
        """
        self.stop()
        number = self._number
        self.is_running = True
        work = Deferred.fromCoroutine(run(lambda: self._number == number))
        if self._number == number:
            self._work = work
        else:
            work.cancel()
        work.addErrback(_stopped)

    def stop(self) -> None:
        """End it; twice does no harm."""
        self._number += 1
        self.is_running = False
        work, self._work = self._work, None
        if work is not None:
            work.cancel()


def _stopped(failure: Failure) -> None:
    """Take the end of a sequence that was stopped; anything else is a bug."""
    if not failure.check(CancelledError):
        _LOG.failure("a sequence of discovery has ended", failure)


class Listeners(Generic[P]):
    """Those who want to be told of something, in the order in which they came."""

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[P, None]] = {}

    def add(self, callback: Callable[P, None]) -> Callable[[], None]:
        """
        Tell somebody from now on; in a round that is under way, not yet.

        :param callback: Called with the news; one that raises is logged, and stops nothing.
        :returns: Ends it; in a round that is under way, not yet. Twice does no harm.
        """
        place = object()
        self._callbacks[place] = callback

        def remove() -> None:
            self._callbacks.pop(place, None)

        return remove

    def tell(self, *news: P.args, **more: P.kwargs) -> None:
        """Tell all of them."""
        for callback in list(self._callbacks.values()):
            try:
                callback(*news, **more)
            except Exception:  # noqa: BLE001 - somebody else's; the others are told all the same
                _LOG.failure("a callback of discovery failed")


class Bell:
    """
    News for one sequence: rung by anybody, any number of times, heard once.

    :param timers: The clock of waits that have an end.
    """

    def __init__(self, timers: IReactorTime) -> None:
        self._timers = timers
        self._rung = False
        self._waiting: Deferred[bool] | None = None
        self._call: IDelayedCall | None = None

    def ring(self) -> None:
        """Let the one who waits go on, or the next one who would wait not wait."""
        waiting = self._stop_waiting()
        if waiting is None:
            self._rung = True
        else:
            waiting.callback(True)

    def wait(self, seconds: float | None = None) -> Deferred[bool]:
        """
        Wait for the bell; one sequence at a time.

        :param seconds: How long at most; None for as long as it takes.
        :returns: Fires with whether it was rung; can be cancelled.
        """
        waiting: Deferred[bool] = Deferred(self._cancelled)
        if self._rung:
            self._rung = False
            waiting.callback(True)
            return waiting
        self._waiting = waiting
        if seconds is not None:
            self._call = self._timers.callLater(seconds, self._out_of_time)
        return waiting

    def _cancelled(self, _: Deferred[bool]) -> None:
        self._stop_waiting()

    def _out_of_time(self) -> None:
        self._call = None
        waiting = self._stop_waiting()
        if waiting is not None:
            waiting.callback(False)

    def _stop_waiting(self) -> Deferred[bool] | None:
        waiting, self._waiting = self._waiting, None
        if self._call is not None:
            self._call.cancel()
            self._call = None
        return waiting


class Joined(Generic[T]):
    """Something that many want at once and that is done once for all of them."""

    def __init__(self) -> None:
        self._work: Deferred[None] | None = None
        self._waiting: list[Deferred[T]] = []

    def join(self, begin: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """
        Wait for the work that is under way, or begin it.

        :param begin: Begins the work.
        :returns: Fires or fails with its outcome; to cancel it harms no other one who waits.
        """
        result: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(result)
        if self._work is None:
            self._work = Deferred()
            Deferred.fromCoroutine(begin()).addCallbacks(self._done, self._failed)
        return result

    def _done(self, value: T) -> None:
        for waiting in self._end():
            waiting.callback(value)

    def _failed(self, failure: Failure) -> None:
        for waiting in self._end():
            waiting.errback(failure)

    def _end(self) -> list[Deferred[T]]:
        self._work = None
        waiting, self._waiting = self._waiting[:], []
        return waiting
