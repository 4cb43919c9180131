"""One measurement: its processes, from the first to the one that has the figures."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import attrs

from atbus.cli.bench.certificates import write_certificates
from benchmarks.job import Job
from benchmarks.plan import System, Workload

ROOT = Path(__file__).resolve().parent.parent
_READY_SECONDS = 300.0
_RESULT_SECONDS = 600.0


class Failed(Exception):
    """A measurement without a figure; says why."""


def absence(system: System) -> str:
    """Say what of a system is not on this machine; nothing when all of it is."""
    if find_spec(system.needs) is None:
        return f"the Python package with {system.needs} is not installed"
    if system.server and _server(system) is None:
        return f"{system.server} is not installed"
    return ""


def _server(system: System) -> str | None:
    return shutil.which(system.server, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def measure(
    system: System, channel: str, workload: Workload, size: int, count: int
) -> Mapping[str, float]:
    """
    Run the processes of one measurement.

    :param size: Bytes of a message.
    :param count: Messages or round trips; a system that is known to be slow gets fewer.
    :returns: The figures of the process that has them, and its peak memory.
    :raises Failed: There are none, and why.
    """
    with tempfile.TemporaryDirectory(prefix="atbus-bench-") as folder:
        port = _free_port(workload.targets)
        channel = system.always or channel
        if channel == "tls":
            write_certificates(Path(folder))
        count = max(workload.senders * 16, int(count * system.share))
        job = Job(
            role="",
            channel=channel,
            path=f"{folder}/a",
            path_2=f"{folder}/b",
            port=port,
            port_2=_free_port(1),
            count=count - count % workload.senders,
            size=size,
            senders=workload.senders,
            burst=workload.burst,
            targets=workload.targets,
            relayed="relay" in workload.roles,
        )
        with _server_running(system, job, folder):
            return _run(system, workload, job)


def _run(system: System, workload: Workload, job: Job) -> Mapping[str, float]:
    children: list[Child] = []
    try:
        roles = list(workload.roles)
        if system.sender_listens and workload.targets > 1:
            roles.reverse()
        for role in roles:
            for index in range(workload.senders if role.startswith("send") else 1):
                name = system.roles.get(role, role)
                children.append(Child(system, attrs.evolve(job, role=name, index=index)))
                children[-1].expect_ready()
        before = sum(child.used_seconds() for child in children)
        for child in children:
            child.go()
        measuring = children[[role in workload.measured for role in roles].index(True)]
        figures = dict(measuring.result())
        used = sum(child.used_seconds() for child in children) - before
        figures["cpu_us"] = used / job.count * 1e6
        return figures
    except Failed as failed:
        # Who misses a message is often not the one who knows what became of it.
        words = [child.words() for child in children]
        raise Failed("; ".join([str(failed), *filter(None, words)])) from None
    finally:
        for child in children:
            child.end()


class Child:
    """One process, and what it says."""

    def __init__(self, system: System, job: Job) -> None:
        command = [sys.executable, "-m", "benchmarks.child"]
        self._process = subprocess.Popen(
            [*command, system.module, json.dumps(attrs.asdict(job))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._name = f"{system.name}, {job.role}"

    def expect_ready(self) -> None:
        """Wait until the process can be reached."""
        if self._line(_READY_SECONDS) != "ready\n":
            raise Failed(f"{self._name}: {self._last_words()}")

    def go(self) -> None:
        """Let a process begin that waits for it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self._name}: {self._last_words()}") from None

    def result(self) -> Mapping[str, float]:
        """Wait for the figures."""
        line = self._line(_RESULT_SECONDS)
        if not line.startswith("{"):
            raise Failed(f"{self._name}: {self._last_words()}")
        figures: dict[str, float] = json.loads(line)
        return figures

    def used_seconds(self) -> float:
        """Give the processor time that the threads of the process have had."""
        used = 0
        for path in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
            try:
                used += int(path.read_text(encoding="ascii").split()[0])
            except (FileNotFoundError, ProcessLookupError):
                # It has just ended.
                continue
        return used / 1e9

    def words(self) -> str:
        """Give the last that a process said which has failed and was not asked yet."""
        if self._process.returncode is not None or not self._process.poll():
            return ""
        return f"{self._name}: {self._last_words()}"

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()

    def _line(self, seconds: float) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return ""
        return self._process.stdout.readline()

    def _last_words(self) -> str:
        self._process.kill()
        _, errors = self._process.communicate()
        return errors.strip().rpartition("\n")[2] or "nothing more was heard"


@contextmanager
def _server_running(system: System, job: Job, folder: str) -> Iterator[None]:
    program = _server(system) if system.server else None
    if program is None:
        yield
        return
    config = Path(folder, "server.conf")
    # The limit is there for clients that do not read; ours do, and must lose nothing.
    config.write_text(f"listen: 127.0.0.1:{job.port}\nmax_pending: 1GB\n", encoding="ascii")
    process = subprocess.Popen(
        [program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await_port(job.port)
        yield
    finally:
        process.kill()
        process.wait()


def _await_port(port: int) -> None:
    limit = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > limit:
                raise Failed(f"nothing listens at port {port}") from None
            time.sleep(0.02)
        else:
            return


def _free_port(count: int) -> int:
    """Find ports in a row that nobody has now."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
        if all(_is_free(first + place) for place in range(count)):
            return first
    raise Failed("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
