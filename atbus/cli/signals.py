"""
What signals do to the process of a node.

SIGTERM and SIGINT stop it in good order, which is Twisted's own doing; the second one stops it at
once, and a third kills it, whatever it is busy with. SIGHUP reads the configuration again. Twisted
sets its handlers when the reactor starts and never takes them back, so these are set after that and
call them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from twisted.logger import Logger

STOPS: Final = (signal.SIGTERM, signal.SIGINT)
"""The signals that stop a process in good order."""


class Signals:
    """
    The signal handlers of a process.

    :param reactor: In whose thread everything is called.
    """

    _log = Logger(namespace="atbus.cli")

    def __init__(self, reactor: Any) -> None:
        self.on_second_stop: Callable[[], object] = _nothing
        self.on_hangup: Callable[[], object] = _nothing
        self._reactor = reactor
        self._stops = 0
        self._before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Set the handlers; the reactor has set its own by now. What is ignored stays so."""
        for number in STOPS:
            if callable(signal.getsignal(number)):
                self._before[number] = signal.signal(number, self._stop)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hangup)

    def restore(self) -> None:
        """Set the handlers that were there before; twice does no harm."""
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1
        if self._stops == 1:
            self._before[signal.Signals(number)](number, frame)
            return
        for other in STOPS:
            if other in self._before:
                signal.signal(other, signal.SIG_DFL)
        self._log.warn("stopping at once; once more, and the process is killed")
        self._reactor.callFromThread(self.on_second_stop)

    def _hangup(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.on_hangup)


def _nothing() -> None:
    """Nobody wants to know."""
