"""
What one node of a virtual network runs in: a process that can be stopped, continued and killed.

A real process that does not run misses nothing and does nothing: its kernel goes on taking bytes
and connections for it, its timers become due. When it continues it finds both, the timers first,
because that is the order of a reactor's turn. `VirtualProcess` keeps exactly this, so that a test
can see what a node makes of its own lag.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

if TYPE_CHECKING:
    from atbus.testing.channel import VirtualChannel
    from atbus.testing.clock import HeapClock


@implementer(IDelayedCall)
class ProcessCall:
    """A delayed call of one process; while the process is frozen it is due, but not made."""

    __slots__ = ("_args", "_callable", "_called", "_cancelled", "_kwargs", "_process", "_timer")

    def __init__(
        self,
        process: VirtualProcess,
        delay: float,
        callable: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        clock: HeapClock,
    ) -> None:
        self._process = process
        self._callable = callable
        self._args = args
        self._kwargs = kwargs
        self._cancelled = False
        self._called = False
        self._timer = clock.callLater(delay, self._due)

    def _due(self) -> None:
        if self._process.frozen:
            self._process.late.append(self)
        else:
            self.run()

    def run(self) -> None:
        """Make the call, unless it was cancelled."""
        if self.active():
            self._called = True
            self._process.calls.discard(self)
            self._callable(*self._args, **self._kwargs)

    def getTime(self) -> float:  # Twisted's name
        """Say when it is, or was, due."""
        return float(self._timer.getTime())

    def active(self) -> bool:
        """Tell whether it can still be made."""
        return not self._cancelled and not self._called

    def _check(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self._called:
            raise AlreadyCalled

    def cancel(self) -> None:
        """
        Make sure that it is not made.

        :raises AlreadyCalled: It was made.
        :raises AlreadyCancelled: It was cancelled.
        """
        self._check()
        self._cancelled = True
        self._process.calls.discard(self)
        if self._timer.active():
            self._timer.cancel()

    def delay(self, seconds: float) -> None:
        """Make it later than it was to be."""
        self._check()
        self._timer.delay(seconds)

    def reset(self, seconds: float) -> None:
        """Make it so many seconds from now."""
        self._check()
        self._timer.reset(seconds)


class VirtualProcess:
    """
    The clock of one node, and what happens to the node from outside.

    :param clock: The time of the whole network.
    :param name: For people who read a failure.
    """

    def __init__(self, clock: HeapClock, name: str = "") -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.channels: set[VirtualChannel] = set()
        self.calls: set[ProcessCall] = set()
        self.late: list[ProcessCall] = []
        self._clock = clock
        self._arrived: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        return f"<VirtualProcess {self.name}>"

    def seconds(self) -> float:
        """Give the time, seconds."""
        return self._clock.seconds()

    def callLater(  # Twisted's name
        self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object
    ) -> ProcessCall:
        """Call *callable* when *delay* seconds have passed and the process runs."""
        call = ProcessCall(self, delay, callable, args, kwargs, self._clock)
        self.calls.add(call)
        return call

    def arrive(self, call: Callable[[], object]) -> None:
        """Let something come from outside; a frozen process takes it when it runs again."""
        if self.dead:
            return
        if self.frozen:
            self._arrived.append(call)
        else:
            call()

    def freeze(self) -> None:
        """Stop it, as SIGSTOP or something that blocks the reactor would."""
        self.frozen = True

    def thaw(self) -> None:
        """Let it run again: first the timers that have become due, then what has arrived."""
        self.frozen = False
        late, self.late = self.late, []
        for call in late:
            call.run()
        arrived, self._arrived = self._arrived, []
        for arrival in arrived:
            self.arrive(arrival)

    def end(self) -> None:
        """Kill it: nothing of it runs any more."""
        self.dead = True
        for call in list(self.calls):
            call.cancel()
        self.late.clear()
        self._arrived.clear()
