"""The table of the demo."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.demo.board import TITLES, Board, quantile
from atbus.cli.demo.layout import MEMBERS, PAIRS, RELATIONS
from atbus.cli.demo.service import bucket_of
from atbus.cli.demo.watch import Flow, Pair


def flows(received: int, **more: int) -> dict[Pair, Flow]:
    """Everybody got so many messages of everybody, within a millisecond, over a unix socket."""
    return {
        pair: Flow(
            accepted=received,
            received=received,
            hops=1,
            channel="unix",
            latencies=Counter({bucket_of(1000): received}),
            refused=Counter(more),
        )
        for pair in PAIRS
    }


class BoardTests(SynchronousTestCase):
    """Lines made of flows."""

    def row(self, board: Board, known: dict[Pair, Flow], now: float, *key: str) -> dict[str, str]:
        rows = [dict(zip(TITLES, row, strict=True)) for row in board.rows(known, now)]
        (found,) = [row for row in rows if (row["from"], row["to"]) == key]
        return found

    def test_regions(self) -> None:
        """There is a line for each region and relation, whoever has talked so far."""
        rows = Board(pairs=False).rows({}, 1.0)
        self.assertEqual([row[2] for row in rows], [*RELATIONS, *RELATIONS])
        self.assertEqual(len(set(rows)), len(rows))

    def test_pairs(self) -> None:
        """On demand there is a line for each pair of nodes."""
        rows = Board(pairs=True).rows({}, 1.0)
        self.assertEqual(len(rows), len(PAIRS))
        self.assertIn(("eu-login", "us-chat", "abroad"), [row[:3] for row in rows])

    def test_rates_are_those_since_the_last_table(self) -> None:
        """A rate is of the time between two tables, for all pairs of the line together."""
        board = Board(pairs=False)
        board.rows(flows(100), 10.0)
        row = self.row(board, flows(110), 12.0, "eu-*", "cross")
        self.assertEqual((row["msg/s"], row["hops"], row["channel"]), ("15", "1", "unix"))
        self.assertEqual(row["median"], "1.02 ms")
        row = self.row(board, flows(110), 13.0, "eu-*", "cross")
        self.assertEqual((row["msg/s"], row["hops"], row["channel"]), ("0", "-", "-"))
        self.assertEqual(row["median"], "-")

    def test_failures_are_those_since_the_beginning(self) -> None:
        """What came to nothing stays in the table."""
        board = Board(pairs=False)
        known = flows(5, NO_ROUTE=2, UNCERTAIN=1)
        for now in (1.0, 2.0):
            row = self.row(board, known, now, "us-*", "eu-*")
            self.assertEqual((row["refused"], row["uncertain"]), ("18", "9"))

    def test_a_table_fits(self) -> None:
        """No line is longer than a terminal is wide."""
        board = Board(pairs=False)
        rows = [TITLES, *board.rows(flows(99_999, NO_ROUTE=99_999, UNCERTAIN=99_999), 100.0)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self.assertLessEqual(sum(widths) + len(widths), 80)


class LatencyTests(SynchronousTestCase):
    """Buckets of latencies."""

    def test_quantiles(self) -> None:
        """A latency is read back as exactly as a bucket is wide."""
        latencies: Counter[int] = Counter(bucket_of(us) for us in range(1, 10_001))
        for part, exact in ((0.1, 1_000), (0.5, 5_000), (0.99, 9_900)):
            text = quantile(latencies, part)
            read = float(text.split()[0]) * 1000
            self.assertApproximates(read / exact, 1, 0.15, text)

    def test_nothing(self) -> None:
        """Of no messages there is no latency."""
        self.assertEqual(quantile(Counter(), 0.5), "-")

    def test_no_time_at_all(self) -> None:
        """A clock that does not move between sending and receiving is no trouble."""
        self.assertEqual(bucket_of(0.0), bucket_of(1.0))


class FlowTests(SynchronousTestCase):
    """The lives of a process."""

    def test_lives_add_up(self) -> None:
        """What a process counted before it was killed is not forgotten when it comes back."""
        pair = (MEMBERS["eu-login"].bus_id, MEMBERS["cross"].bus_id)
        flow = flows(3, TIMEOUT=1)[pair]
        flow.add(Flow(received=2, hops=0, channel="ipv4", latencies=Counter({1: 2})))
        self.assertEqual((flow.accepted, flow.received), (3, 5))
        self.assertEqual((flow.hops, flow.channel), (0, "ipv4"))
        flow.add(Flow())
        self.assertEqual((flow.hops, flow.channel), (0, "ipv4"))
