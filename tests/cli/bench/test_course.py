"""How a measurement goes, and what it comes to."""

from __future__ import annotations

import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.bench.course import PartyProcess, is_clean, summary
from atbus.cli.bench.task import Task, Wishes, tasks
from atbus.cli.outcome import CommandFailed


def report(**values: Any) -> dict[str, Any]:
    """Say what a process says."""
    usual = {"process": 1, "forwarded": 0, "cpu_seconds": 0.5, "peak_bytes": 1024, "times": {}}
    return usual | values


def sent(count: int, **values: Any) -> dict[str, Any]:
    """Say what a sender says that has sent so many to its only target."""
    usual = {"sent": {"65792": count}, "failed": {}, "began_ns": 0, "ended_ns": 10**9}
    return report(**usual | values)


def came(count: int, **values: Any) -> dict[str, Any]:
    """Say what a target says that got so many."""
    usual = {"received": count, "duplicated": 0, "reordered": 0, "damaged": 0}
    return report(**usual | {"last_ns": 2 * 10**9} | values)


class SummaryTests(SynchronousTestCase):
    """What the command prints."""

    def summary(self, work: str, *reports: dict[str, Any]) -> dict[str, Any]:
        """Add up what the processes said, the sender first."""
        wishes = Wishes(work=work, channel="unix", size=1024, count=10, targets=1)
        party = sorted(tasks(wishes, "/tmp"), key=lambda task: task.role != "sender")
        return summary(wishes, list(zip(party, reports, strict=True)))

    def test_pushed(self) -> None:
        """Messages that nobody answers are timed where they arrive."""
        found = self.summary("send", sent(10), came(10, times={"5": 9, "70": 1}))
        self.assertEqual((found["messages_per_second"], found["took_seconds"]), (5.0, 2.0))
        self.assertEqual((found["p50_seconds"], found["p99_seconds"]), (5e-6, 70e-6))
        self.assertTrue(is_clean(found))

    def test_answered(self) -> None:
        """Messages with an answer are timed where the answer comes."""
        found = self.summary("request", sent(10, times={"5": 10}), came(10))
        self.assertEqual((found["messages_per_second"], found["p999_seconds"]), (10.0, 5e-6))

    def test_one_line_for_each_process(self) -> None:
        """Each process says what went through it, and what that cost."""
        found = self.summary("relay", sent(10), report(forwarded=10), came(10))
        lines = [(p["party"], p["sent"], p["forwarded"], p["received"]) for p in found["parties"]]
        nothing = None
        self.assertEqual(
            lines,
            [
                ("sender", 10, nothing, nothing),
                ("relay", nothing, 10, nothing),
                ("target", nothing, nothing, 10),
            ],
        )
        costs = [party["cpu_per_message_seconds"] for party in found["parties"]]
        self.assertEqual(costs, [0.05, 0.05, 0.05])

    def test_lost(self) -> None:
        """What was sent and did not come is lost, and the command fails."""
        found = self.summary("send", sent(10), came(7))
        self.assertEqual((found["lost"], found["parties"][1]["lost"]), (3, 3))
        self.assertFalse(is_clean(found))

    def test_every_offense_counts(self) -> None:
        """A message doubled, out of order or damaged is a failure too, as is one not sent."""
        for offense in ("duplicated", "reordered", "damaged"):
            found = self.summary("send", sent(10), came(10, **{offense: 1}))
            self.assertFalse(is_clean(found), offense)
        self.assertFalse(is_clean(self.summary("send", sent(9), came(9))))
        refused = sent(10, failed={"TIMEOUT": 1})
        self.assertFalse(is_clean(self.summary("deliver", refused, came(10))))

    def test_nothing_came(self) -> None:
        """Where nothing comes there is no rate and no time."""
        found = self.summary("send", sent(0, began_ns=5), came(0, last_ns=0))
        self.assertEqual((found["messages_per_second"], found["p50_seconds"]), (0.0, None))


class ProcessTests(SynchronousTestCase):
    """One process."""

    def test_it_ends_too_early(self) -> None:
        """A process that cannot start is named, with what it said last."""
        wishes = Wishes(work="send", channel="unix", size=128, count=1, targets=1)
        listen = "unix:///dev/null/socket"
        process = PartyProcess(
            Task(role="sender", name="x", bus_id=1, listen=listen, wishes=wishes)
        )
        failed = self.assertRaises(CommandFailed, process.hear, 60.0)
        self.assertIn("x: ", failed.message)
        self.assertIn("/dev/null", failed.message)
        process.end()

    def test_it_says_what_is_no_report(self) -> None:
        """A process that prints something else ends the measurement, with its name."""
        wishes = Wishes(work="send", channel="unix", size=128, count=1, targets=1)
        self.patch(sys, "executable", "/bin/echo")
        process = PartyProcess(Task(role="sender", name="x", bus_id=1, wishes=wishes))
        failed = self.assertRaises(CommandFailed, process.hear, 180.0)
        self.assertEqual(failed.message, "x: it says what is no report")
        process.end()
