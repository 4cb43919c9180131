"""
Timers that do not care what the wall clock does.

Twisted's reactors schedule by `time.time`. When that clock is set forward everything fires at once,
when it is set back nothing fires until it has caught up; a bus whose heartbeats run on it would
declare everybody dead, or nobody, because of a correction by NTP.

`MonotonicTimers` is a clock (`IReactorTime`) for one node, by the best means there is:

- The reactor's own calls, when its clock is not the wall clock: a program has made it monotonic,
  or it is a `twisted.internet.task.Clock` in a test.
- A timerfd of the kernel on CLOCK_MONOTONIC, read by the reactor. What is due at once is a call of
  the reactor instead, at a tenth of the cost; the timerfd comes within a second and makes good for
  it.
- Without a timerfd: a call of the reactor, at most a second ahead, that looks at the monotonic
  clock when it comes. Early wakes harm nobody then; late ones are made good by
  `MonotonicTimers.check`, which whoever hears from the network may call.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol
from weakref import WeakSet

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
)
from twisted.logger import Logger
from twisted.python import runtime
from twisted.python.failure import Failure
from zope.interface import implementer

#: Without a timerfd: how long a wall clock that was set back can be believed.
_LOOK_SECONDS: Final = 1.0

#: Added to a wait, so that what floats round off does not make it end just before the moment.
_ROUNDING_SECONDS: Final = 1e-6

#: Cancelled calls are thrown out when they are so many, and half of the heap.
_CANCELLED_MAX: Final = 64

# linux/time.h and linux/timerfd.h
_CLOCK_MONOTONIC: Final = 1
_TFD_TIMER_ABSTIME: Final = 1
_NANOSECONDS: Final = 1_000_000_000


class _Timers(Protocol):
    """What `MonotonicTimers` is in one of its two forms."""

    seconds: Callable[[], float]

    def call(self, delay: float, method: Callable[[], object]) -> IDelayedCall: ...

    def calls(self) -> list[IDelayedCall]: ...

    def check(self) -> None: ...

    def stop(self) -> None: ...


class _Alarm(Protocol):
    """
    Wakes a heap once, at a time of the monotonic clock.

    :param is_reliable: Whether it comes whatever happens to the wall clock.
    :param when: That time; None while it is not set.
    """

    is_reliable: bool

    @property
    def when(self) -> float | None: ...

    def set(self, when: float | None) -> None: ...

    def close(self) -> None: ...


@implementer(IReactorTime)
class MonotonicTimers:
    """
    The timers of one node.

    :param reactor: Where to wake up.
    :param wall_clock: Whether the reactor's clock may be set; `None` to find out.
    :param monotonic: The clock used instead of a wall clock.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        wall_clock: bool | None = None,
        monotonic: Callable[[], float] = time.monotonic,  # noqa: TID251 - read here only
    ) -> None:
        if wall_clock is None:
            wall_clock = reactor.seconds is runtime.seconds
        self._timers: _Timers = (
            _HeapTimers(reactor, monotonic) if wall_clock else _HostTimers(reactor)
        )
        #: Gives seconds since some moment in the past; never set back. It is the clock itself,
        #: because each frame looks at it.
        self.seconds: Callable[[], float] = self._timers.seconds

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],
        *args: object,
        **kwargs: object,
    ) -> IDelayedCall:
        """
        Call something once, later; never before this returns.

        After `stop` a call is accepted and never made: what is being shut down may still ask.

        :param delay: In how many seconds.
        :param callable: What to call.
        :param args: Its positional arguments.
        :param kwargs: Its keyword arguments.
        :returns: To cancel or to move the call.
        """
        if args or kwargs:
            callable = partial(callable, *args, **kwargs)
        return self._timers.call(delay, callable)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """
        List what is still to be called.

        :returns: In no order.
        """
        return self._timers.calls()

    def check(self) -> None:
        """Call what is due by now: worth a call now and then where there is no timerfd."""
        self._timers.check()

    def stop(self) -> None:
        """Cancel all calls and give back what the reactor was lent; twice does no harm."""
        self._timers.stop()


class _HostTimers:
    """The calls of a reactor whose clock can be relied on."""

    def __init__(self, reactor: Any) -> None:
        self.seconds: Callable[[], float] = reactor.seconds
        self._reactor = reactor
        # Weak, so that nothing has to be done here when one is called or cancelled.
        self._calls: WeakSet[IDelayedCall] = WeakSet()
        self._stopped = False

    def call(self, delay: float, method: Callable[[], object]) -> IDelayedCall:
        if self._stopped:
            return _never(delay, method, self.seconds)
        call: IDelayedCall = self._reactor.callLater(delay, method)
        self._calls.add(call)
        return call

    def calls(self) -> list[IDelayedCall]:
        return [call for call in self._calls if call.active()]

    def check(self) -> None:
        """The reactor does it."""

    def stop(self) -> None:
        self._stopped = True
        for call in self.calls():
            call.cancel()


class _HeapTimers:
    """
    Calls in a heap of our own, woken by an alarm.

    A callback that raises is logged, and the others are called all the same. Calls are made in the
    order in which they become due, ties in the order of `call`.
    """

    _log = Logger()

    def __init__(self, reactor: Any, clock: Callable[[], float]) -> None:
        self.seconds = clock
        self._heap: list[tuple[float, int, DelayedCall]] = []
        self._numbers = itertools.count()
        self._active_count = 0
        self._cancelled_count = 0
        self._stopped = False
        self._reactor = reactor
        self._nudge: IDelayedCall | None = None
        descriptor = open_timerfd() if IReactorFDSet.providedBy(reactor) else None
        self._alarm: _Alarm = (
            _ReactorAlarm(reactor, self.check, clock)
            if descriptor is None
            else _TimerfdAlarm(reactor, self.check, descriptor)
        )

    def call(self, delay: float, method: Callable[[], object]) -> IDelayedCall:
        if self._stopped:
            return _never(delay, method, self.seconds)
        call = DelayedCall(
            self.seconds() + delay,
            method,
            (),
            {},
            self._note_cancelled,
            self._note_sooner,
            self.seconds,
        )
        self._active_count += 1
        if delay <= 0 and self._alarm.is_reliable:
            if not self._is_woken_soon(call.time):
                self._alarm.set(call.time + _LOOK_SECONDS)
            self._put(call)
            if self._nudge is None:
                self._nudge = self._reactor.callLater(0, self._nudged)
        else:
            self._push(call)
        return call

    def _is_woken_soon(self, now: float) -> bool:
        when = self._alarm.when
        return when is not None and when <= now + _LOOK_SECONDS

    def _nudged(self) -> None:
        self._nudge = None
        self.check()

    def _end_nudge(self) -> None:
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None

    def calls(self) -> list[IDelayedCall]:
        return [call for when, _, call in self._heap if call.active() and call.time == when]

    def check(self) -> None:
        self._end_nudge()
        due = []
        now = self.seconds()
        while self._heap and self._heap[0][0] <= now:
            when, _, call = heapq.heappop(self._heap)
            if call.active() and not self._is_postponed(call) and call.time == when:
                due.append(call)
        for call in due:
            self._perform(call)
        self._set_alarm()

    def stop(self) -> None:
        self._stopped = True
        self._alarm.close()
        self._end_nudge()
        for call in self.calls():
            call.cancel()
        self._heap.clear()

    def _perform(self, call: DelayedCall) -> None:
        # A call made before it may have cancelled or postponed it, or stopped everything.
        if self._stopped or not call.active() or self._is_postponed(call):
            return
        call.called = 1
        self._active_count -= 1
        try:
            call.func()
        except Exception:  # noqa: BLE001 - as a reactor does: the other calls are not to suffer
            self._log.failure("a delayed call failed")

    def _is_postponed(self, call: DelayedCall) -> bool:
        if not call.delayed_time:
            return False
        call.activate_delay()
        self._put(call)
        return True

    def _push(self, call: DelayedCall) -> None:
        self._put(call)
        if self._heap[0][2] is call:
            self._set_alarm()

    def _put(self, call: DelayedCall) -> None:
        heapq.heappush(self._heap, (call.time, next(self._numbers), call))

    def _note_sooner(self, call: DelayedCall) -> None:
        # The old entry stays; it is passed over because its time is not the call's any more.
        self._push(call)

    def _note_cancelled(self, call: DelayedCall) -> None:
        self._active_count -= 1
        self._cancelled_count += 1
        if not self._active_count:
            self._heap.clear()
            self._cancelled_count = 0
            self._set_alarm()
        elif self._cancelled_count > max(_CANCELLED_MAX, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].active()]
            heapq.heapify(self._heap)
            self._cancelled_count = 0

    def _set_alarm(self) -> None:
        if self._stopped:
            return
        while self._heap and not self._heap[0][2].active():
            heapq.heappop(self._heap)
        when = self._heap[0][0] if self._heap else None
        set_to = self._alarm.when
        # Each setting is a call to the kernel. An alarm that comes too early is left: it is set
        # when it comes. So is one that comes too late while a nudge is under way, which sets it.
        if when is None or set_to is None or (when < set_to and self._nudge is None):
            self._alarm.set(when)


def _never(delay: float, method: Callable[[], object], clock: Callable[[], float]) -> IDelayedCall:
    def ignore(_call: DelayedCall) -> None:
        """Nobody looks at it."""

    return DelayedCall(clock() + delay, method, (), {}, ignore, ignore, clock)


class _ReactorAlarm:
    """Wakes up by a call of the reactor: too early, or too late, when its clock is set."""

    is_reliable = False

    def __init__(self, reactor: Any, wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._reactor = reactor
        self._wake = wake
        self._clock = clock
        self._call: IDelayedCall | None = None

    @property
    def when(self) -> float | None:
        return None

    def set(self, when: float | None) -> None:
        self.close()
        if when is not None:
            delay = min(max(0.0, when - self._clock()) + _ROUNDING_SECONDS, _LOOK_SECONDS)
            self._call = self._reactor.callLater(delay, self._wake)

    def close(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None


@implementer(IReadDescriptor)
class _TimerfdAlarm:
    """
    Wakes up by a timer of the kernel, which becomes readable.

    The reactor knows it only while it is set, so that who has stopped leaves nothing there.
    """

    is_reliable = True

    def __init__(self, reactor: Any, wake: Callable[[], None], descriptor: int) -> None:
        self._reactor = reactor
        self._wake = wake
        self._descriptor = descriptor
        self._when: float | None = None
        self._is_read = False

    def __del__(self) -> None:
        self.close()

    @property
    def when(self) -> float | None:
        return self._when

    def set(self, when: float | None) -> None:
        if self._descriptor < 0:
            return
        if when != self._when:
            self._when = when
            set_timerfd(self._descriptor, when)
        self._read(when is not None)

    def _read(self, wanted: bool) -> None:
        if wanted == self._is_read:
            return
        self._is_read = wanted
        if wanted:
            self._reactor.addReader(self)
        else:
            self._reactor.removeReader(self)

    def close(self) -> None:
        if self._descriptor >= 0:
            self._read(False)
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            # Set anew since the reactor found it readable.
            return
        self._when = None
        self._wake()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def logPrefix(self) -> str:
        return "timers"


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def open_timerfd() -> int | None:
    """
    Make a timer of the kernel on the monotonic clock.

    :returns: Its descriptor, not inherited and not blocking; `None` where there is no such thing.
    """
    create = getattr(_LIBC, "timerfd_create", None)
    if create is None:
        return None
    descriptor: int = create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    return descriptor if descriptor >= 0 else None


def set_timerfd(descriptor: int, when: float | None) -> None:
    """
    Set a timer, or disarm it.

    :param descriptor: From `open_timerfd`.
    :param when: In seconds on the monotonic clock; `None` disarms it.
    :raises OSError: When the kernel does not accept it.
    """
    # Rounded up, so that it is not early; and not to 0, which would disarm it.
    nanoseconds = 0 if when is None else max(1, math.ceil(when * _NANOSECONDS))
    setting = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, _NANOSECONDS)))
    if _LIBC.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(setting), None) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
