"""Processes that start, find each other, go and come back."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

from tests.processes.harness import UP, ProcessCase

ROOT = """
id = "0x10000"
name = "root"
subnets = ["0/16"]
listen = ["unix://{folder}/root.sock"]
record_events = "root.events"
"""

CHILD = """
id = "0x10001"
upstream = "unix://{folder}/root.sock"
record_events = "child.events"
[retry]
initial_seconds = 0.02
seconds_max = 0.05
[application]
callable = "tests.processes.witness:count"
"""

TELLER = """
id = "0x10002"
upstream = "unix://{folder}/root.sock"
record_events = "teller.events"
[application]
callable = "tests.processes.witness:tell"
settings = { target = 0x10001 }
"""


class LifeTests(ProcessCase):
    """A root and its children, each a process."""

    async def test_a_message_between_processes(self) -> None:
        """
        Two children of a root reach each other; each says who it is, where, and what changes.

        When all have stopped in good order nothing but their files is left.
        """
        root = self.start("root", ROOT)
        await root.says(r"0x10000 \(root\) is starting\n")
        await root.says(r"0x10000 \(root\) is running\n")
        await root.says(rf"listens on unix://{self.folder}/root.sock; upstream none\n")
        child = self.start("child", CHILD)
        await child.says(rf"0x10001 listens on nothing; upstream unix://{self.folder}/root.sock\n")
        await child.says("0x10001 is registered with its upstream 0x10000\n")
        teller = self.start("teller", TELLER)
        await child.says("got hello")
        await teller.says("delivered: Fate")
        self.assertEqual(await teller.stops(signal.SIGINT), -signal.SIGINT)
        await root.says("has lost 0x10002: GOODBYE")
        self.assertEqual(await child.stops(), -signal.SIGTERM)
        await child.says("went down: STOPPED")
        self.assertEqual(await root.stops(), -signal.SIGTERM)
        left = sorted(path.name for path in self.folder.iterdir())
        names = ("child", "root", "teller")
        self.assertEqual(left, sorted(f"{n}.{e}" for n in names for e in ("events", "toml")))
        verdict = self.judge()
        self.assertTrue(verdict.ok, str(verdict))
        self.assertEqual((verdict.sent, verdict.delivered, verdict.unfinished), (1, 1, ()))

    async def test_the_root_is_killed_and_comes_back(self) -> None:
        """
        A child outlives its upstream, keeps trying, and is registered again when it is back.

        Scenario: I1, I2
        """
        root = self.start("root", ROOT)
        await root.says(UP)
        child = self.start("child", CHILD)
        await child.says("came up, time 1\n")
        await child.says("is registered with its upstream 0x10000")
        self.assertEqual(await root.stops(signal.SIGKILL), -signal.SIGKILL)
        await child.says("has lost its upstream and looks for one")
        # Running only before the child has seen that its control connection has ended, too.
        await child.says(r"failed 16 times: \{('lost_upstream'|'running'|, )+\}\n")
        root = self.start("root")
        await root.says("knows 0x10001 as downstream")
        await child.says("knows 0x10000 as upstream")
        await child.says(UP)
        self.assertTrue(root.running and child.running)
        teller = self.start("teller", TELLER)
        await child.says("got hello")
        for process in (teller, child, root):
            await process.stops()
        self.assertNotIn("came up, time 2", child.output)
        self.assertEqual(child.output.count("went down"), 1)

    async def test_a_child_starts_before_its_root(self) -> None:
        """
        A child whose upstream is not there yet waits for it, and registers when it comes.

        Scenario: I3
        """
        child = self.start("child", CHILD)
        await child.says("failed 3 times: {'starting'}\n")
        root = self.start("root", ROOT)
        await child.says(UP)
        await root.says("knows 0x10001 as downstream")

    async def test_everybody_is_killed(self) -> None:
        """What killed processes leave behind does not stop those that come after them."""
        for _ in range(2):
            root = self.start("root", ROOT)
            await root.says(UP)
            child = self.start("child", CHILD)
            await child.says(UP)
            for process in (root, child):
                process.kill()
            for process in (root, child):
                self.assertEqual(await process.ends(), -signal.SIGKILL)
        self.assertTrue((self.folder / "root.sock").exists())
        root = self.start("root", ROOT)
        await root.says(UP)
        await root.stops()
        self.assertFalse((self.folder / "root.sock").exists())

    async def test_a_frozen_process(self) -> None:
        """A process that stands still is missed, and comes back when it goes on."""
        heartbeat = "[heartbeat]\nseconds = 0.5\ntolerance = 2\n"
        root = self.start("root", ROOT + heartbeat)
        await root.says(UP)
        child = self.start("child", CHILD)
        await root.says("knows 0x10001 as downstream")
        await child.says(UP)
        child.freeze()
        await root.says("has lost 0x10001: HEARTBEAT_LOST")
        child.thaw()
        await child.says("has lost its upstream and looks for one")
        await root.says("knows 0x10001 as downstream")
        await child.says(UP)

    async def test_the_clock(self) -> None:
        """The timers of the process run on a clock that nobody can set."""
        process = self.start(
            "clock",
            'id = 1\n[application]\ncallable = "CLOCK"\n'.replace(
                "CLOCK", "tests.processes.witness:clock"
            ),
        )
        await process.says("the reactor counts the seconds since the machine started: True")
        # But the log has the time of day.
        written = datetime.strptime(process.output.split()[0], "%Y-%m-%dT%H:%M:%S%z")
        self.assertLess(abs(datetime.now(tz=UTC) - written), timedelta(hours=1))

    async def test_stopped_before_it_was_up(self) -> None:
        """A node that still waits for its upstream stops when it is told to, without an error."""
        child = self.start("child", CHILD)
        await child.says("failed 1 times")
        self.assertEqual(await child.stops(), -signal.SIGTERM)
        self.assertNotIn("#error", child.output)
        self.assertNotIn("Traceback", child.output)


class DaemonTests(ProcessCase):
    """Processes in the background."""

    def daemon(self, name: str) -> list[str]:
        return [f"--pidfile={name}.pid", f"--logfile={name}.log"]

    async def test_in_the_background(self) -> None:
        """A daemon is another process than the one that started it, and its node knows that."""
        self.write("root.toml", ROOT)
        front = self.run_twistd("front", *self.daemon("root"), "atbus", "--config", "root.toml")
        self.assertEqual(await front.ends(), 0)
        pid = int((self.folder / "root.pid").read_text())
        self.watch(pid)
        child = self.start("child", CHILD)
        await child.says(UP)
        os.kill(pid, signal.SIGTERM)
        await child.says("has lost 0x10000: GOODBYE")

    async def test_a_daemon_that_cannot_listen(self) -> None:
        """
        Whoever starts a daemon that cannot listen is told so at once, by its exit code.

        What it had listened on before is free again.
        """
        await self.start("root", ROOT).says(UP)
        paths = [f"unix://{self.folder}/{name}.sock" for name in ("free", "root")]
        words = ["atbus", "--id", "1", "--listen", paths[0], "--listen", paths[1]]
        front = self.run_twistd("front", *self.daemon("other"), *words)
        self.assertEqual(await front.ends(), 1)
        self.assertIn("cannot listen on unix://", front.output)
        await self.daemon_has_ended("other.pid")
        self.assertEqual([path.name for path in self.folder.glob("free*")], [])
        log = (self.folder / "other.log").read_text()
        self.assertNotIn("Traceback", log)
        self.assertFalse((self.folder / "other.pid").exists())
