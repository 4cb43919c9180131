"""
What signals do to the process of a node.

SIGTERM and SIGINT stop it in good order, which is Twisted's own doing; the second one stops it at
once, and a third kills it, whatever it is busy with. SIGHUP reads the configuration again. SIGUSR2
lets the nodes below it move to other upstreams; it stays.

The handlers are set twice: before the node starts, because whoever sees it run may send a signal,
and when the reactor runs, because it sets its own at that moment. What somebody else has set, or
ignores, stays as it is. What has come before is done then (`atbus.cli.early_signals`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from twisted.logger import Logger

from atbus.cli import early_signals

STOPS: Final = (signal.SIGTERM, signal.SIGINT)
"""The signals that stop a process in good order."""

_UNSET: Final = (signal.SIG_DFL, signal.default_int_handler)


class Signals:
    """
    The signal handlers of a process.

    :param reactor: In whose thread everything is called.
    """

    _log = Logger(namespace="atbus.cli")

    def __init__(self, reactor: Any) -> None:
        self.on_second_stop: Callable[[], object] = _nothing
        self.on_hangup: Callable[[], object] = _nothing
        self.on_drain: Callable[[], object] = _nothing
        self._reactor = reactor
        self._first = {signal.SIGTERM: reactor.sigTerm, signal.SIGINT: reactor.sigInt}
        self._stops = 0

    def install(self) -> None:
        """Set the handlers, as far as nobody else has; a second time does no harm."""
        for number, stop in self._first.items():
            if signal.getsignal(number) in (*_UNSET, stop):
                signal.signal(number, self._stop)
        for number, tell in ((signal.SIGHUP, self._hangup), (signal.SIGUSR2, self._drain)):
            if signal.getsignal(number) in (signal.SIG_DFL, early_signals.keep):
                signal.signal(number, tell)
            if early_signals.take(number):
                tell(number, None)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1
        if self._stops == 1:
            self._first[signal.Signals(number)](number, frame)
            return
        for other in STOPS:
            if signal.getsignal(other) == self._stop:
                signal.signal(other, signal.SIG_DFL)
        self._log.warn("stopping at once; once more, and the process is killed")
        self._reactor.callFromThread(self.on_second_stop)

    def _hangup(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.on_hangup)

    def _drain(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.on_drain)


def _nothing() -> None:
    """Nobody wants to know."""
