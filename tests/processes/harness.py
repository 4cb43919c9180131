"""
Start real nodes, wait for what they say, and leave nothing behind.

Nothing here waits for time to pass: a test goes on when a process has written the line that it
waits for, or when it has ended. The time limits are there for the case that it never does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from atbus.cli.foreground import twistd
from atbus.testing.checker import Verdict, check_folder
from tests.standstill import freeze, thaw

ROOT = Path(__file__).parents[2]

PATIENCE_SECONDS = 180.0
"""How long a loaded machine may take for anything that a test waits for."""

SHOWN_LETTERS = 5_000
"""How much of what a process wrote is shown when a test fails."""

UP = r"is running"
"""What a node writes when it is up."""


class _Wait:
    """One test that waits for one line, or for something else that can be seen in what was said."""

    def __init__(self, pattern: str, look: Callable[[str, int], re.Match[str] | None]) -> None:
        self.pattern = pattern
        self.look = look
        self.result: Deferred[re.Match[str]] = Deferred()
        self.timeout: IDelayedCall | None = None


class NodeProcess(ProcessProtocol):
    """
    One run of ``twistd -n atbus``.

    :param reactor: Twisted's.
    :param name: For people.
    """

    transport: Any

    def __init__(self, reactor: Any, name: str) -> None:
        self.name = name
        self.output = ""
        self.code: int | None = None
        """The exit code; of a process that a signal ended, the signal's number, negative."""
        self._reactor = reactor
        self._mark = 0
        self._waits: list[_Wait] = []
        self._ended: list[Deferred[int]] = []

    @property
    def pid(self) -> int:
        """The process's id."""
        return int(self.transport.pid)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.code is None

    async def says(self, pattern: str) -> re.Match[str]:
        """
        Wait until the process has written something, after what was waited for before.

        :param pattern: A regular expression.
        :returns: The match.
        :raises AssertionError: When the process ends without having written it, or takes too long.
        """
        found, start = re.compile(pattern), self._mark
        wait = _Wait(pattern, lambda output, end: found.search(output, start, end))
        match = await self._wait(wait)
        self._mark = max(self._mark, match.end())
        return match

    def forget(self) -> None:
        """Let `says` look only at what is written from now on."""
        self._mark = len(self.output)

    async def has_said_last(self, one: str, other: str) -> None:
        """
        Wait until of two things the process has said the one last: it is in that state now.

        :param one: A regular expression.
        :param other: Another one.
        :raises AssertionError: When the process ends without that, or takes too long.
        """
        either = re.compile(f"(?P<one>{one})|{other}")

        def look(output: str, end: int) -> re.Match[str] | None:
            *_, last = (None, *either.finditer(output, 0, end))
            return last if last is not None and last["one"] is not None else None

        await self._wait(_Wait(f"{one}, and not {other} after it", look))

    async def _wait(self, wait: _Wait) -> re.Match[str]:
        self._waits.append(wait)
        wait.timeout = self._reactor.callLater(PATIENCE_SECONDS, self._give_up, wait)
        self._look()
        return await wait.result

    def _look(self) -> None:
        # What of a line is here may end in the middle of a number.
        end = self.output.rfind("\n") + 1
        for wait in list(self._waits):
            match = wait.look(self.output, end)
            if match is not None:
                self._finish(wait)
                wait.result.callback(match)

    def _finish(self, wait: _Wait) -> None:
        self._waits.remove(wait)
        if wait.timeout is not None and wait.timeout.active():
            wait.timeout.cancel()

    def _give_up(self, wait: _Wait) -> None:
        self._finish(wait)
        wait.result.errback(AssertionError(self._complaint(wait.pattern)))

    def _complaint(self, wanted: str) -> str:
        state = "running" if self.running else f"ended with {self.code}"
        return f"{self.name} ({state}) did not write {wanted!r}:\n{self.output[-SHOWN_LETTERS:]}"

    async def ends(self) -> int:
        """
        Wait until the process has ended.

        :returns: Its `code`.
        :raises AssertionError: When it takes too long.
        """
        if self.code is not None:
            return self.code
        ended: Deferred[int] = Deferred()
        self._ended.append(ended)
        ended.addTimeout(PATIENCE_SECONDS, self._reactor, self._still_running)
        return await ended

    def _still_running(self, _: object, seconds: float) -> None:
        raise AssertionError(f"{self.name} did not end in {seconds} s:\n{self.output}")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, unless the process has ended."""
        try:
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            return

    def freeze(self) -> None:
        """Let it stand still; when this returns, it does nothing any more."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let it go on."""
        thaw(self.pid)

    async def stops(self, number: int = signal.SIGTERM) -> int:
        """
        Send a signal and wait for the end.

        :param number: The signal.
        :returns: Its `code`.
        """
        self.kill(number)
        return await self.ends()

    # What Twisted reports.

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803 - Twisted's
        self.output += data.decode("utf-8", "replace")
        self._look()

    def processEnded(self, reason: Failure) -> None:
        error: Any = reason.value
        self.code = error.exitCode if error.signal is None else -error.signal
        for wait in list(self._waits):
            self._give_up(wait)
        ended, self._ended = self._ended, []
        for waiting in ended:
            waiting.callback(self.code)


@implementer(IReadDescriptor)
class _EndOfDaemon:
    """Reads the descriptor of a process, which becomes readable when it has ended."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self.ended: Deferred[None] = Deferred()
        self._reactor = reactor
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        self._reactor.removeReader(self)
        os.close(self._descriptor)
        self.ended.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """It is not a connection."""

    def logPrefix(self) -> str:
        return "daemon"


class ProcessCase(TestCase):
    """A test with real processes in a folder of its own; whatever happens, they are ended."""

    timeout = 900

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # the processes are trial's children

        self.reactor: Any = reactor
        # Not trial's own folder: the path of a unix socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.environment: dict[str, str] = {}
        self.processes: list[NodeProcess] = []
        self.addCleanup(self._end_all)

    async def _end_all(self) -> None:
        for process in self.processes:
            await process.stops(signal.SIGKILL)

    def write(self, name: str, text: str) -> Path:
        """
        Write a file into the test's folder.

        :param name: Its name.
        :param text: Its content; ``{folder}`` stands for the folder.
        :returns: Its path.
        """
        path = self.folder / name
        path.write_text(text.replace("{folder}", str(self.folder)), encoding="utf-8")
        return path

    def start(self, name: str, config: str | None = None, *arguments: str) -> NodeProcess:
        """
        Start a process; its configuration is the file ``<name>.toml``.

        :param name: The node's name.
        :param config: What to write into the file before; None: the file is there.
        :param arguments: Further arguments of ``twistd atbus``.
        :returns: The process.
        """
        if config is not None:
            self.write(f"{name}.toml", config)
        return self.run_atbus(name, "--config", f"{name}.toml", *arguments)

    def run_atbus(self, name: str, *arguments: str) -> NodeProcess:
        """
        Start a process.

        :param name: For people.
        :param arguments: All arguments of ``twistd atbus``.
        :returns: The process.
        """
        return self.run_twistd(name, "-n", "--pidfile=", "atbus", *arguments)

    def run_twistd(self, name: str, *arguments: str) -> NodeProcess:
        """
        Start a process.

        :param name: For people.
        :param arguments: All arguments of ``twistd``.
        :returns: The process.
        """
        return self.run_program(name, *twistd(), *arguments)

    def run_program(self, name: str, *words: str) -> NodeProcess:
        """
        Start a process, in the test's folder and with what `environment` adds.

        :param name: For people.
        :param words: The whole command.
        :returns: The process.
        """
        process = NodeProcess(self.reactor, name)
        places = (str(ROOT), str(self.folder), os.environ.get("PYTHONPATH"))
        path = os.pathsep.join(filter(None, places))
        self.reactor.spawnProcess(
            process,
            words[0],
            words,
            env={**os.environ, "PYTHONPATH": path, **self.environment},
            path=str(self.folder),
        )
        self.processes.append(process)
        return process

    def watch(self, pid: int) -> None:
        """
        End a daemon with the test, and wait for its end: it is nobody's child.

        :param pid: Its process id.
        """
        descriptor = os.pidfd_open(pid)

        def end() -> Deferred[None]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            reader = _EndOfDaemon(self.reactor, descriptor)
            self.reactor.addReader(reader)
            return reader.ended

        self.addCleanup(end)

    async def daemon_has_ended(self, pidfile: str) -> None:
        """
        Wait for the end of a daemon that has said why it cannot start: it cleans up after that.

        :param pidfile: The file with its process id; it may be gone already.
        """
        try:
            descriptor = os.pidfd_open(int((self.folder / pidfile).read_text()))
        except (FileNotFoundError, ProcessLookupError):
            return
        reader = _EndOfDaemon(self.reactor, descriptor)
        self.reactor.addReader(reader)
        await reader.ended.addTimeout(PATIENCE_SECONDS, self.reactor)

    def judge(self, *killed: int) -> Verdict:
        """
        Judge what the nodes of this test wrote down.

        :param killed: The nodes that the test has killed.
        :returns: The verdict.
        """
        return check_folder(self.folder, killed)
