"""What a run writes down of the NATS gateway and of subjects."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import nats_gateway, others, report, subjects
from benchmarks.nats_gateway import Figures
from benchmarks.others import Others
from tests.interop.nats_server import require_nats_server


def _figures(size: int, aim: float, *pairs: tuple[float, float], is_trip: bool = False) -> Figures:
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    spent_us = [2.0] * len(pairs)
    return Figures(
        size=size, aim=aim, is_trip=is_trip, ours=ours, theirs=theirs, spent_us=spent_us
    )


class OthersTests(SynchronousTestCase):
    def written(self, found: Others) -> tuple[str, list[dict[str, object]]]:
        """Write it down; give the tables and the list."""
        folder = Path(self.mktemp())
        with redirect_stdout(StringIO()):
            report.write(folder, [], {}, [], found)
        entries = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
        return (folder / "bench.txt").read_text(encoding="utf-8"), entries

    def test_aims_are_met_or_open(self) -> None:
        """A rate is to be so many times nats-server's, a round trip at most half as long again."""
        found = Others(
            nats_server="2.9.10",
            gateway=[
                _figures(16, 0.1, *[(20.0, 100.0)] * 6),
                _figures(1_024, 0.0, *[(1.0, 2.0)] * 6),
                _figures(16_384, 1.0, *[(99.0, 100.0)] * 6),
                _figures(16, 1 / 1.5, *[(120.0, 100.0)] * 6, is_trip=True),
                _figures(16, 1 / 1.5, *[(160.0, 100.0)] * 6, is_trip=True),
            ]
        )
        rows = found.gateway_rows()[1:]
        self.assertEqual([row[6] for row in rows], ["met", "", "open", "met", "open"])
        self.assertEqual(rows[3][2:6], ("120 us", "100 us", "0.83 (0.83-0.83)", "0.67"))
        text, entries = self.written(found)
        self.assertIn("What is aimed at for clients of NATS, 6 pairs each", text)
        self.assertIn("nats-server 2.9.10", text)
        self.assertEqual({entry["nats_server"] for entry in entries}, {"2.9.10"})
        ratios = [entry for entry in entries if entry["unit"] == "times better"]
        self.assertEqual([entry["at_least"] for entry in ratios], [0.1, None, 1.0, *[1 / 1.5] * 2])

    def test_too_few_pairs(self) -> None:
        """Of five pairs nothing is said."""
        found = Others(gateway=[_figures(16, 0.1, *[(20.0, 100.0)] * 5)])
        self.assertEqual(found.gateway_rows()[1][6], "too few pairs")

    def test_what_is_wanted(self) -> None:
        """A tenth at 16 bytes, level from 16 KiB on."""
        self.assertEqual(nats_gateway.SHARES, {16: 0.1, 16_384: 1.0, 65_536: 1.0})
        self.assertEqual(round(1 / nats_gateway.TRIP_SHARE, 9), 1.5)

    def test_sizes(self) -> None:
        """Small and large messages are measured, those of the aims among them."""
        self.assertEqual([*nats_gateway.COUNTS], [16, 1_024, 16_384, 65_536])
        self.assertLessEqual(set(nats_gateway.SHARES), set(nats_gateway.COUNTS))

    def test_the_version(self) -> None:
        """The server that is measured says which one it is; without one there is no version."""
        require_nats_server(nats_gateway._BINARY)
        self.assertRegex(nats_gateway.version(), r"^\d+\.\d+\.\d+$")
        self.patch(nats_gateway, "_BINARY", None)
        self.assertEqual(nats_gateway.version(), "")

    def test_what_subjects_cost(self) -> None:
        """For each number of subscriptions there is a line, also at a hundred thousand."""
        self.assertEqual(subjects.COUNTS, (10, 1_000, 100_000))
        self.patch(subjects, "COUNTS", (10, 20))
        found, _ = others.measure(1, quick=True, only="subjects")
        text, entries = self.written(found)
        self.assertIn("by the number of subscriptions", text)
        self.assertEqual([row[0] for row in found.cost_rows()[1:]], ["10", "20"])
        self.assertIn("forward, 20 subscriptions", {entry["workload"] for entry in entries})

    def test_without_a_server(self) -> None:
        """That there is none to compare with is said."""
        self.patch(nats_gateway, "_BINARY", None)
        found, absent = others.measure(1, quick=True, only="NATS gateway")
        self.assertEqual(found, Others())
        self.assertEqual([*absent], ["the NATS gateway beside nats-server"])
