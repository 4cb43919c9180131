"""What a measurement says of the messages that came."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.bench.arrivals import Arrivals, Messages, Times

SIZE = 300


class ArrivalTests(SynchronousTestCase):
    """Each message is looked at."""

    def setUp(self) -> None:
        self.messages = Messages(SIZE)
        self.arrivals = Arrivals(self.messages, 10)

    def take(self, *numbers: int) -> None:
        """Let messages arrive."""
        for number in numbers:
            self.arrivals.take(self.messages.make(number, 0))

    def offenses(self) -> tuple[int, int, int]:
        """Say what was wrong: doubled, out of order, damaged."""
        arrivals = self.arrivals
        return arrivals.duplicated, arrivals.reordered, arrivals.damaged

    def test_all_is_well(self) -> None:
        """Messages in order are counted and timed."""
        self.take(0, 1, 2)
        self.assertEqual((self.arrivals.received, self.offenses()), (3, (0, 0, 0)))
        self.assertEqual(self.arrivals.times.counts.total(), 3)
        self.assertGreater(self.arrivals.last_ns, 0)

    def test_a_message_is_missing(self) -> None:
        """What does not come is not counted; what comes after it is."""
        self.take(0, 3, 4)
        self.assertEqual((self.arrivals.received, self.offenses()), (3, (0, 0, 0)))

    def test_a_message_is_overtaken(self) -> None:
        """What comes late has come, but out of order."""
        self.take(0, 2, 1, 3)
        self.assertEqual((self.arrivals.received, self.offenses()), (4, (0, 1, 0)))

    def test_a_message_comes_twice(self) -> None:
        """The second is not counted among those that came."""
        self.take(0, 1, 1, 3, 2, 2)
        self.assertEqual((self.arrivals.received, self.offenses()), (4, (2, 1, 0)))

    def test_a_message_is_damaged(self) -> None:
        """A message is compared to its last byte, and with its length."""
        whole = self.messages.make(0, 0)
        for payload in (whole[:-1], whole + b"x", whole[:-1] + b"x", b""):
            self.arrivals.take(payload)
        self.assertEqual((self.arrivals.received, self.offenses()), (0, (0, 0, 4)))

    def test_the_smallest(self) -> None:
        """A message that is only its head can be checked as well."""
        messages = Messages(16)
        arrivals = Arrivals(messages, 1)
        arrivals.take(messages.make(0, 0))
        self.assertEqual((len(messages.make(0, 0)), arrivals.received), (16, 1))

    def test_of_many_some_are_timed(self) -> None:
        """Of very many messages only a part is timed, and all are checked."""
        arrivals = Arrivals(self.messages, 500_000)
        for number in range(40):
            arrivals.take(self.messages.make(number, 0))
        self.assertEqual((arrivals.received, arrivals.times.counts.total()), (40, 4))


class TimeTests(SynchronousTestCase):
    """Quantiles."""

    def test_quantiles(self) -> None:
        """Half of the times are not above the median, 99 of 100 not above p99."""
        times = Times()
        for microseconds in range(1, 1001):
            times.add(microseconds * 1000 + 999)
        found = [times.quantile_seconds(part) for part in (0.5, 0.99, 0.999, 1.0)]
        self.assertEqual(found, [500e-6, 990e-6, 999e-6, 1000e-6])

    def test_nothing_was_timed(self) -> None:
        """Without a time there is none."""
        self.assertIsNone(Times().quantile_seconds(0.5))

    def test_those_of_several_processes(self) -> None:
        """Times of several targets are looked at together."""
        times = Times()
        times.merge({"1": 2, "7": 1})
        times.merge({"1": 1})
        self.assertEqual(times.counts, {1: 3, 7: 1})
