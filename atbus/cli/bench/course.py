"""
The course of a measurement: start everybody, let the sender go, ask what came, add it up.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import attrs

from atbus.cli.bench.arrivals import Times
from atbus.cli.bench.certificates import write_certificates
from atbus.cli.bench.task import Task, Wishes, read_line, tasks
from atbus.cli.outcome import CommandFailed, ExitCode

_START_SECONDS: Final = 180.0
# The sender goes on as long as it gets on, and says so when it does not.
_PATIENCE_SECONDS: Final = 24 * 3_600.0
# Besides the time that a target waits for what is missing.
_REPORT_SECONDS: Final = 180.0
_LEAVE_SECONDS: Final = 5.0


def measure(wishes: Wishes) -> dict[str, Any]:
    """
    Run the processes of one measurement; none is left when this ends, in whatever way.

    :param wishes: What to measure.
    :returns: What it came to, see `summary`.
    :raises CommandFailed: A process did not come up, or ended before its time.
    :raises KeyboardInterrupt: The user, or who looks after the machine, interrupted it.
    """
    processes: list[PartyProcess] = []
    with _interruptible(), tempfile.TemporaryDirectory(prefix="atbus-bench-") as folder:
        try:
            if wishes.channel == "tls":
                write_certificates(Path(folder))
            reports = _run(tasks(wishes, folder), processes)
        finally:
            for process in processes:
                process.leave()
            for process in processes:
                process.end()
    return summary(wishes, reports)


def _run(
    party: Sequence[Task], processes: list[PartyProcess]
) -> list[tuple[Task, Mapping[str, Any]]]:
    members = _started(party, processes)
    (sender,) = [member for member in members if member.task.role == "sender"]
    sender.say({})
    sent = sender.hear(_PATIENCE_SECONDS)
    targets = [member for member in members if member.task.role == "target"]
    for member in targets:
        member.say({"sent": sent["sent"][str(member.task.bus_id)]})
    came = [(member.task, member.hear(_REPORT_SECONDS)) for member in targets]
    # A relay is asked last: it has passed on everything then.
    passed = []
    for member in members:
        if member.task.role == "relay":
            member.say({})
            passed.append((member.task, member.hear(_REPORT_SECONDS)))
    return [(sender.task, sent), *passed, *came]


def _started(party: Sequence[Task], processes: list[PartyProcess]) -> list[Member]:
    """Start everybody, each in a process, or all in one where they share its memory."""
    if party[0].wishes.channel == "mem":
        # It is a socket, whose name is known before.
        above = party[0].listen
        told = [party[0], *(attrs.evolve(task, upstream=above) for task in party[1:])]
        processes.append(PartyProcess(*told))
        members = [Member(processes[0], place) for place in range(len(told))]
        for member in members:
            member.hear(_START_SECONDS)
        return members
    address = ""
    for task in party:
        processes.append(PartyProcess(attrs.evolve(task, upstream=address)))
        if not address:
            # The others have to know where it listens.
            (address,) = processes[0].hear(_START_SECONDS)["addresses"]
    for process in processes[1:]:
        process.hear(_START_SECONDS)
    return [Member(process, 0) for process in processes]


@attrs.frozen(eq=False)
class Member:
    """
    One of those who take part, and how to speak with it.

    :param process: In which it is.
    :param place: Which one it is there.
    """

    process: PartyProcess
    place: int

    @property
    def task(self) -> Task:
        """What it does."""
        return self.process.tasks[self.place]

    def say(self, values: Mapping[str, Any]) -> None:
        """
        Tell it something.

        :param values: What.
        :raises CommandFailed: It has ended.
        """
        self.process.say({"place": self.place, **values})

    def hear(self, seconds: float) -> dict[str, Any]:
        """
        Wait for what it says.

        :param seconds: How long, from what another one in its process says on.
        :returns: It.
        :raises CommandFailed: It has ended, or says nothing, or what is no report.
        """
        return self.process.hear(seconds, self.place)


class PartyProcess:
    """
    One process, and how to speak with it.

    :param tasks: What it does; several who share its memory.
    """

    def __init__(self, *tasks: Task) -> None:
        self.tasks = tasks
        # What was said by others than who was listened to, by their places.
        self._heard: dict[int, deque[dict[str, Any]]] = defaultdict(deque)
        self._said = b""
        self._process = subprocess.Popen(  # noqa: S603  # a list of words, no shell
            [sys.executable, "-m", "atbus.cli.bench.party", *(task.to_json() for task in tasks)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def say(self, values: Mapping[str, Any]) -> None:
        """
        Tell it something.

        :param values: What.
        :raises CommandFailed: It has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{json.dumps(values)}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def hear(self, seconds: float, place: int = 0) -> dict[str, Any]:
        """
        Wait for what it says.

        :param seconds: How long.
        :param place: Who of those in it is listened to.
        :returns: It.
        :raises CommandFailed: It has ended, or says nothing, or what is no report.
        """
        while not self._heard[place]:
            values = self._read(seconds)
            self._heard[values.get("place", 0)].append(values)
        return self._heard[place].popleft()

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._said:
                # Not through the pipe's buffer, in which a second line is there unseen.
                is_there = selector.select(seconds)
                said = os.read(self._process.stdout.fileno(), 65_536) if is_there else b""
                if not said:
                    raise self._ended()
                self._said += said
        line, _, self._said = self._said.partition(b"\n")
        try:
            return read_line(line)
        except ValueError:
            raise self._ended("it says what is no report") from None

    def leave(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            # It was faster.
            return

    def end(self) -> None:
        """See to it that it has ended."""
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.stdin = None
        self._process.communicate()

    def _ended(self, otherwise: str = "it says nothing") -> CommandFailed:
        self._process.kill()
        self._process.stdin = None
        _, errors = self._process.communicate()
        why = errors.strip().rpartition("\n")[2] or otherwise
        return CommandFailed(ExitCode.FAILED, "FAILED", f"{self.tasks[0].name}: {why}")


def summary(wishes: Wishes, reports: Sequence[tuple[Task, Mapping[str, Any]]]) -> dict[str, Any]:
    """
    Add up.

    :param wishes: What was measured.
    :param reports: What each process said, the sender first.
    :returns: What the command prints as JSON.
    """
    sender = reports[0][1]
    answered = wishes.work in ("deliver", "request")
    times = Times()
    ended_ns = sender["ended_ns"] if answered else sender["began_ns"]
    for task, report in reports:
        if (task.role == "sender") == answered:
            times.merge(report.get("times", {}))
        if task.role == "target" and not answered:
            ended_ns = max(ended_ns, report["last_ns"])
    rows = [_row(task, report, sender) for task, report in reports]
    received = sum(row["received"] or 0 for row in rows)
    sent = sum(sender["sent"].values())
    seconds = (ended_ns - sender["began_ns"]) / 1e9
    rate = received / seconds if seconds > 0 else 0.0
    return {
        **attrs.asdict(wishes),
        "sent": sent,
        "received": received,
        "lost": sum(row["lost"] or 0 for row in rows),
        **{
            name: sum(report.get(name, 0) for _, report in reports)
            for name in ("duplicated", "reordered", "damaged")
        },
        "failed": sender["failed"],
        "took_seconds": seconds,
        "messages_per_second": round(rate, 1),
        "mebibytes_per_second": round(rate * wishes.size / 2**20, 3),
        "p50_seconds": times.quantile_seconds(0.5),
        "p99_seconds": times.quantile_seconds(0.99),
        "p999_seconds": times.quantile_seconds(0.999),
        "parties": rows,
    }


def _row(task: Task, report: Mapping[str, Any], sender: Mapping[str, Any]) -> dict[str, Any]:
    """Make the line of one process."""
    row: dict[str, Any] = dict.fromkeys(("sent", "forwarded", "received", "lost"))
    if task.role == "sender":
        moved = row["sent"] = sum(report["sent"].values())
    elif task.role == "relay":
        moved = row["forwarded"] = report["forwarded"]
    else:
        moved = row["received"] = report["received"]
        row["lost"] = sender["sent"][str(task.bus_id)] - moved
    return {
        "party": task.name,
        "id": f"{task.bus_id:#x}",
        "process": report["process"],
        **row,
        "cpu_seconds": report["cpu_seconds"],
        "cpu_per_message_seconds": report["cpu_seconds"] / moved if moved else None,
        "peak_bytes": report["peak_bytes"],
    }


def is_clean(found: Mapping[str, Any]) -> bool:
    """
    Tell whether every message that was wanted was sent and came, once, in order, as it was.

    :param found: What `measure` returned.
    :returns: Whether the command ends well.
    """
    offenses = ("lost", "duplicated", "reordered", "damaged")
    return (
        found["sent"] == found["count"]
        and not found["failed"]
        and not any(found[name] for name in offenses)
    )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Be interrupted by what would end this process and leave its folder behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
