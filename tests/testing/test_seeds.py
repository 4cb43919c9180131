"""Which seeds a storm runs, and what it says of those that failed."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing import bus_storm, route_storm
from atbus.testing.bus_model import BusModel
from atbus.testing.seeds import parse_seeds, run_seeds


class ChoiceTests(SynchronousTestCase):
    """A number of seeds, or a range."""

    def test_a_number(self) -> None:
        """A number of seeds begins with the first."""
        self.assertEqual(parse_seeds("500"), range(1, 501))

    def test_a_range(self) -> None:
        """A range has both its ends in it."""
        self.assertEqual(list(parse_seeds("1000-1002")), [1000, 1001, 1002])
        self.assertEqual(list(parse_seeds("7-7")), [7])

    def test_nonsense(self) -> None:
        """Anything else is refused."""
        for text in ("", "many", "1-", "-5", "1-2-3"):
            self.assertRaises(ValueError, parse_seeds, text)


class OutcomeTests(SynchronousTestCase):
    """What is printed, and the exit code."""

    def run_them(self, *failing: int) -> tuple[int, str]:
        """Run seeds 5 to 8, of which some fail."""

        def tell(seed: int) -> str:
            return f"{seed} is bad" if seed in failing else ""

        with redirect_stdout(io.StringIO()) as told:
            code = run_seeds(
                "storm",
                lambda seed: f"{seed} is bad" if seed in failing else "",
                ["--seeds", "5-8"],
            )
        return code, told.getvalue()

    def test_all_is_well(self) -> None:
        """Without failures there is one line, and 0."""
        self.assertEqual(self.run_them(), (0, "storm: 4 seeds, 0 failed\n"))

    def test_failures(self) -> None:
        """What each failed seed tells is printed, and the exit code is 1."""
        code, told = self.run_them(6, 8)
        self.assertEqual(code, 1)
        self.assertEqual(told, "6 is bad\n\n8 is bad\n\nstorm: 4 seeds, 2 failed\n")

    def test_a_failed_seed_can_be_had_again(self) -> None:
        """A seed that failed is told with its story and the command that repeats it."""
        self.patch(bus_storm, "QUIET_SECONDS", 1.0)
        self.patch(BusModel, "faults", lambda _: ["something is wrong"])
        told = bus_storm.tell(3).splitlines()
        self.assertEqual(told[0], "something is wrong")
        self.assertIn("seed 3", told)
        self.assertEqual(told[-1], "python -m atbus.testing.bus_storm --seeds 3-3")
        self.patch(route_storm, "faults", lambda _: ["something is wrong"])
        told = route_storm.tell(3).splitlines()
        self.assertEqual(told[-1], "python -m atbus.testing.route_storm --seeds 3-3")
