"""The benchmarks run, and what they write down is what they measured."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import aims, measure, plan, report
from benchmarks.others import Others
from benchmarks.plan import ATBUS, Comparison
from benchmarks.ratios import spread
from benchmarks.report import Outcome
from benchmarks.runner import Runner
from benchmarks.scaling import Cost


class MeasureTests(SynchronousTestCase):
    """One measurement of atbus itself, in real processes."""

    def test_each_workload_runs(self) -> None:
        """Every message of every workload arrives, and the measuring process says how fast."""
        for workload in (plan.ONE_WAY, plan.RELAY, plan.ROUND_TRIP):
            figures = measure.measure(ATBUS, "unix", workload, 128, 200)
            for name in (*workload.figures, "peak_bytes", "cpu_us"):
                self.assertGreater(figures[name], 0, workload.name)

    def test_memory_is_measured(self) -> None:
        """What is measured over lanes and in one process took them: everything arrives there."""
        for channel, workload in (("shm", plan.ROUND_TRIP), ("mem", plan.HERE)):
            figures = measure.measure(ATBUS, channel, workload, 128, 200)
            for name in (*workload.figures, "cpu_us"):
                self.assertGreater(figures[name], 0, (channel, workload.name))

    def test_what_starts_its_own_processes(self) -> None:
        """A pipe and a queue of multiprocessing carry what they are asked to."""
        for system, workload in ((plan.PIPE, plan.ROUND_TRIP), (plan.QUEUE, plan.ONE_WAY)):
            figures = measure.measure(system, "unix", workload, 128, 400)
            for name in workload.figures:
                self.assertGreater(figures[name], 0, (system.name, workload.name))

    def test_over_tls(self) -> None:
        """With and without TLS the same messages arrive; each side takes its own channel."""
        for system in (ATBUS, plan.ATBUS_TCP, plan.BARE_SSL):
            figures = measure.measure(system, "tls", plan.ONE_WAY, 1024, 200)
            self.assertGreater(figures["value"], 0, system.name)
        aims = {c.size: c.at_least["value"] for c in plan.comparisons() if c.target == "T9"}
        self.assertEqual(aims, {1024: 0.4, 16_384: 0.5})

    def test_what_is_missing_is_named(self) -> None:
        """A peer that is not installed is absent, with the reason."""
        absent = plan.System(name="nothing", module="nothing", needs="no_such_package")
        self.assertIn("no_such_package", measure.absence(absent))
        self.assertEqual(measure.absence(ATBUS), "")

    def test_a_process_that_fails_is_a_failure(self) -> None:
        """A measurement whose process ends early is no figure, and says what the process said."""
        broken = plan.System(name="broken", module="no_such_system", needs="atbus")
        failed = self.assertRaises(
            measure.Failed, measure.measure, broken, "unix", plan.ONE_WAY, 128, 200
        )
        self.assertIn("no_such_system", str(failed))


class SpreadTests(SynchronousTestCase):
    """How sure a median is."""

    def test_the_interval_is_the_order_statistics(self) -> None:
        """Of ten figures the second and the ninth hold the median in 97.9 of 100 cases."""
        found = spread([float(n) for n in range(10, 0, -1)])
        self.assertEqual((found.median, found.low, found.high), (5.5, 2.0, 9.0))
        self.assertAlmostEqual(found.confidence, 1 - 22 / 1024)

    def test_few_figures_have_a_wide_interval(self) -> None:
        """Of two figures nothing can be left out."""
        found = spread([3.0, 1.0])
        self.assertEqual((found.low, found.high, found.confidence), (1.0, 3.0, 0.5))


class ReportTests(SynchronousTestCase):
    """What a run leaves behind."""

    def test_everything_is_written_down(self) -> None:
        """The list has each figure with its spread, the ratio, the cost, and who was absent."""
        compared: Comparison = plan.comparisons()[0]
        outcome = Outcome(compared)
        for ours in (200.0, 300.0):
            theirs = {"value": 100.0, "peak_bytes": 1.0, "cpu_us": 4.0}
            outcome.add({"value": ours, "peak_bytes": 2.0, "cpu_us": 2.0}, theirs)
        cost = Cost(known=1, links=1, median_us=2.0, low_us=1.0, high_us=3.0)
        folder = Path(self.mktemp())
        with redirect_stdout(StringIO()):
            report.write(folder, [outcome], {"gone": "not installed"}, [cost], Others())
        entries = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
        wanted = {"system", "channel", "workload", "payload", "value", "unit", "spread"}
        self.assertEqual([entry for entry in entries if not wanted <= entry.keys()], [])
        ratio = next(entry for entry in entries if entry["unit"] == "times better")
        self.assertEqual((ratio["value"], ratio["spread"]), (2.5, [2.0, 3.0]))
        self.assertEqual(entries[-1]["unit"], "absent: not installed")
        ET.parse(folder / "bench.svg")
        text = (folder / "bench.txt").read_text(encoding="utf-8")
        self.assertIn("2.50 (2.00-3.00)", text)
        self.assertIn("2.00 (2.00-2.00)", text)

    def test_two_channels_beside_each_other(self) -> None:
        """Where atbus takes another channel than its peer, each figure has its own."""
        compared = next(c for c in plan.comparisons() if c.peer is plan.OVER_UNIX)
        outcome = Outcome(compared)
        for name in ("ours", "theirs"):
            getattr(outcome, name).append({"value": 1.0, "peak_bytes": 1.0, "cpu_us": 1.0})
        folder = Path(self.mktemp())
        with redirect_stdout(StringIO()):
            report.write(folder, [outcome], {}, [], Others())
        entries = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
        where = {(entry["system"], entry["channel"]) for entry in entries}
        self.assertLessEqual({("atbus", "shm"), ("atbus, unix", "unix")}, where)
        text = (folder / "bench.txt").read_text(encoding="utf-8")
        self.assertIn("shm beside unix", text)
        self.assertIn("T5: one way", text)

    def test_aims_beside_our_own_figures(self) -> None:
        """The relay is held against the direct rate, memory and large buses against bounds."""
        outcomes = []
        for workload, value in ((plan.RELAY, 60.0), (plan.ONE_WAY, 100.0)):
            outcome = Outcome(
                next(
                    each
                    for each in plan.comparisons()
                    if (each.workload, each.size, each.channel) == (workload, 128, "unix")
                )
            )
            for _ in range(6):
                run = {"value": value, "peak_bytes": 50.0}
                outcome.add(run, {"value": 1.0, "peak_bytes": 20.0})
            outcomes.append(outcome)
        sizes = ((1, 1.0, 1.2), (1_000, 1.1, 1.3), (10_000, 1.5, 1.8))
        costs = [
            Cost(known=known, links=1, median_us=low, low_us=low, high_us=high)
            for known, low, high in sizes
        ]
        found = aims.findings(outcomes, costs, 25)
        self.assertEqual([finding.title[:2] for finding in found], ["T3", "T7", "T8", "T8"])
        self.assertEqual([finding.is_met for finding in found], [True, True, True, False])
        self.assertEqual([round(finding.ratio.median, 2) for finding in found[:2]], [0.6, 1.1])
        self.assertGreater(aims.import_bytes(), 0)

    def test_memory_is_held_against_pyzmq(self) -> None:
        """
        On every channel that sends one way the receiver's memory is held against pyzmq's and that
        of nobody else, whoever else is measured there: over lanes against its unix socket.
        """
        compared = [c for c in plan.comparisons() if (c.workload, c.size) == (plan.ONE_WAY, 128)]
        outcomes = [Outcome(each) for each in compared]
        for outcome in outcomes:
            is_pyzmq = outcome.comparison.peer is plan.PYZMQ
            for _ in range(6):
                peak_bytes = 20.0 if is_pyzmq else 2.0
                outcome.add(
                    {"value": 1.0, "peak_bytes": 50.0}, {"value": 1.0, "peak_bytes": peak_bytes}
                )
        found = [each for each in aims.findings(outcomes, [], 25) if each.title[:2] == "T7"]
        self.assertEqual(sorted(each.channel for each in found), ["shm", "tcp", "unix"])
        self.assertEqual({round(each.ratio.median, 2) for each in found}, {1.1})
        # Others are measured beside lanes, too.
        beside = {each.comparison.peer.name for each in outcomes}
        self.assertLessEqual({"pyzmq", "iceoryx2", "atbus, unix"}, beside)

    def test_a_system_that_fails_stops_nobody(self) -> None:
        """What fails is named, the others are measured, and the run does not end well."""
        broken = plan.System(name="broken", module="no_such_system", needs="atbus")
        compared = [
            attrs.evolve(plan.comparisons()[0], peer=peer, count=64) for peer in (broken, ATBUS)
        ]
        runner = Runner(scale=1.0, seconds_max=3600.0)
        told = StringIO()
        with redirect_stdout(StringIO()), redirect_stderr(told):
            runner.run(compared, 1, 1)
        pairs = [len(runner.outcomes[one].ours) for one in compared]
        self.assertEqual(pairs, [0, 1])
        self.assertIn("failed: broken, unix, one way, 16 B", told.getvalue())
