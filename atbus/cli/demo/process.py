"""
The processes of the demo: started, killed, stopped, and never left behind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from atbus.cli.demo.layout import Member, Plan
from atbus.cli.foreground import twistd

_LOG_LINES_SHOWN = 8


class MemberProcess(ProcessProtocol):
    """
    One run of one member's process: ``twistd -n atbus``.

    Its stdin is a pipe that we never write to. When this process ends, in whatever way, the pipe
    ends, and the member with it.

    :param reactor: Twisted's.
    :param plan: Where its configuration and its log are.
    :param member: Who.
    :param ended: Called with this when it ends without having been asked to.
    """

    transport: IProcessTransport

    def __init__(
        self,
        reactor: Any,
        plan: Plan,
        member: Member,
        ended: Callable[[MemberProcess], None],
    ) -> None:
        self.member = member
        self.exit_text: str | None = None
        self.graceful = False
        self._plan = plan
        self._ended = ended
        self._expected = False
        self._waiting: list[Deferred[None]] = []
        log = os.open(plan.log_path(member), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        words = [*twistd(), "--nodaemon", "--pidfile=", "atbus"]
        words += ["--config", str(plan.config_path(member))]
        try:
            reactor.spawnProcess(
                self,
                words[0],
                words,
                env=os.environ,
                path=str(plan.folder),
                childFDs={0: "w", 1: log, 2: log},
            )
        finally:
            os.close(log)

    @property
    def pid(self) -> int:
        """The process's id."""
        return int(self.transport.pid or 0)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.exit_text is None

    def kill(self) -> Deferred[None]:
        """
        End it with SIGKILL, which it cannot notice.

        :returns: Fires when it is gone.
        """
        return self._signal(signal.SIGKILL)

    def terminate(self) -> Deferred[None]:
        """
        Ask it with SIGTERM to stop in good order.

        :returns: Fires when it is gone.
        """
        return self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> Deferred[None]:
        self._expected = True
        gone: Deferred[None] = Deferred()
        if not self.running:
            gone.callback(None)
            return gone
        self._waiting.append(gone)
        # If it has just ended, processEnded is about to tell it.
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)
        return gone

    def processEnded(self, reason: Failure) -> None:  # Twisted's name
        """Note how it ended, and tell who waits for it."""
        error: Any = reason.value
        self.graceful = reason.check(ProcessDone) is not None or error.signal == signal.SIGTERM
        self.exit_text = (
            f"ended with code {error.exitCode}"
            if error.signal is None
            else f"ended by {signal.Signals(error.signal).name}"
        )
        waiting, self._waiting = self._waiting, []
        for gone in waiting:
            gone.callback(None)
        if not self._expected:
            self._ended(self)

    def last_words(self) -> str:
        """
        Read the end of its log.

        :returns: A few lines.
        """
        text = self._plan.log_path(self.member).read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-_LOG_LINES_SHOWN:])
