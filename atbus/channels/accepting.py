"""
What a listening port says when the process has no descriptor left.

Twisted accepts and closes whoever comes then, which is right, and writes a line about each of them,
which is not: whoever dials without end fills a disk.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger
from zope.interface import implementer

from atbus import limits


@implementer(ILogObserver)
class SeldomObserver:
    """
    Let one event pass in `limits.LOG_INTERVAL_SECONDS`; the next one says how many were left out.

    :param timers: Tell the time.
    :param observer: Sees what passes.
    """

    def __init__(self, timers: IReactorTime, observer: ILogObserver) -> None:
        self._timers = timers
        self._observer = observer
        self._quiet_until = 0.0
        self._left_out = 0

    def __call__(self, event: LogEvent) -> None:
        """Take an event."""
        now = self._timers.seconds()
        if now < self._quiet_until:
            self._left_out += 1
            return
        self._quiet_until = now + limits.LOG_INTERVAL_SECONDS
        left_out, self._left_out = self._left_out, 0
        if left_out:
            text = f"{event['log_format']} ({{left_out}} lines before this were left out)"
            event = {**event, "log_format": text, "left_out": left_out}
        self._observer(event)


def say_seldom(port: Any, timers: IReactorTime) -> None:
    """
    Hold down what a port writes about connections that it cannot accept.

    :param port: One of Twisted's.
    :param timers: Tell the time.
    """
    loud: Logger = port._logger  # noqa: SLF001  # there is no other way to it
    port._logger = Logger(  # noqa: SLF001
        namespace=loud.namespace, observer=SeldomObserver(timers, loud.observer)
    )
