"""``atbus bench`` itself, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from atbus.cli.bench.task import CHANNELS
from atbus.cli.outcome import ExitCode
from tests.cli.bus_case import ROOT, BusTestCase

WORKS = ("send", "deliver", "request", "relay")


class BenchTests(BusTestCase):
    """Small measurements, whose messages are all there."""

    def assert_clean(self, found: dict[str, object], count: int) -> None:
        """See that everything was sent and came once, in order."""
        counted = [found[name] for name in ("sent", "received")]
        self.assertEqual(counted, [count, count])
        offenses = ("lost", "duplicated", "reordered", "damaged")
        self.assertEqual([found[name] for name in offenses], [0, 0, 0, 0])
        self.assertEqual(found["failed"], {})

    async def test_every_work(self) -> None:
        """Each command counts every message at two targets and says how long they took."""
        for work in WORKS:
            ended = await self.atbus("bench", work, "--count", "200", "--targets", "2", "-ojson")
            self.assertEqual((ended.code, ended.err), (ExitCode.DONE, ""), work)
            self.assert_clean(ended.json, 200)
            for name in ("messages_per_second", "p50_seconds", "p99_seconds", "p999_seconds"):
                self.assertGreater(ended.json[name], 0, name)
            received = [party["received"] for party in ended.json["parties"]]
            self.assertEqual(received[-2:], [100, 100])

    async def test_every_channel(self) -> None:
        """Over each channel every message is counted, one way and with an answer."""
        for channel in CHANNELS:
            for work in ("relay", "request"):
                words = ("--channel", channel, "--count", "100", "--targets", "2", "-ojson")
                ended = await self.atbus("bench", work, *words)
                self.assertEqual((ended.code, ended.err), (ExitCode.DONE, ""), (channel, work))
                self.assert_clean(ended.json, 100)
                forwarded = [party["forwarded"] for party in ended.json["parties"]]
                if work == "relay":
                    self.assertEqual(forwarded, [None, 100, None, None])
                processes = {party["process"] for party in ended.json["parties"]}
                self.assertEqual(len(processes) == 1, channel == "mem")

    async def test_large_messages_over_tcp(self) -> None:
        """Messages that travel in pieces are checked to the last byte."""
        words = ("--channel", "tcp", "--size", "2000000", "--count", "20")
        ended = await self.atbus("bench", "send", *words, "-o", "json")
        self.assertEqual(ended.code, ExitCode.DONE, ended.out)
        self.assert_clean(ended.json, 20)

    async def test_a_rate_is_kept(self) -> None:
        """With a rate the sender takes its time."""
        ended = await self.atbus("bench", "send", "--rate", "200", "--count", "100", "-ojson")
        self.assert_clean(ended.json, 100)
        self.assertGreater(ended.json["took_seconds"], 0.45)

    async def test_a_line_for_each_process(self) -> None:
        """For people it is a table, and a summary below it."""
        ended = await self.atbus("bench", "request", "--count", "50", "--window", "10")
        lines = ended.out.splitlines()
        firsts = [line.partition(" ")[0] for line in lines[:3]]
        self.assertEqual((ended.code, firsts), (ExitCode.DONE, ["PARTY", "sender", "target"]))
        self.assertRegex(ended.out, r"(?m)^lost +0$")

    async def test_a_message_too_small(self) -> None:
        """A message that could not carry its number is not sent."""
        ended = await self.atbus("bench", "send", "--size", "15", "-o", "json")
        self.assertEqual((ended.code, ended.json["error"]["error"]), (ExitCode.USAGE, "USAGE"))


class InterruptTests(TestCase):
    """Ended from outside."""

    timeout = 900

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)

    async def end_with(self, number: signal.Signals) -> int | None:
        """End a measurement that would take hours; wait for all its processes; give the code."""
        from twisted.internet import reactor  # noqa: TID251  # for real processes

        words = [sys.executable, "-m", "atbus", "bench", "send", "--count", "1000000000"]
        bench = Watched()
        spawn: Any = reactor
        env = {**os.environ, "TMPDIR": str(self.folder)}
        spawn.spawnProcess(bench, words[0], words, env=env, path=str(ROOT))
        while len(parties := children_of(bench.transport.pid)) < 2:
            await deferLater(spawn, 0.01)
        bench.transport.signalProcess(number)
        code = await bench.ended
        while any(map(is_running, parties)):
            await deferLater(spawn, 0.01)
        return code

    async def test_nothing_is_left(self) -> None:
        """An interrupted measurement leaves no process and no file."""
        code = await self.end_with(signal.SIGTERM)
        self.assertEqual((code, list(self.folder.iterdir())), (ExitCode.INTERRUPTED, []))

    async def test_killed(self) -> None:
        """A measurement that is killed leaves no process."""
        self.assertIsNone(await self.end_with(signal.SIGKILL))


class Watched(ProcessProtocol):
    """A command whose end is waited for."""

    transport: Any

    def __init__(self) -> None:
        self.ended: Deferred[int | None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        error: Any = reason.value
        self.ended.callback(error.exitCode)


def children_of(pid: int) -> list[str]:
    """List the processes that a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


def is_running(pid: str) -> bool:
    """Tell whether there is more of a process than its record."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] not in ("Z", "X")
