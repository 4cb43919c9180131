"""The end of the demo, in words and numbers."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.demo.verdict import Ending, orders_given_up
from atbus.errors import Status
from atbus.testing.checker import check_folder
from atbus.testing.record import EventRecorder


class EndingTests(SynchronousTestCase):
    """What is said about what the checker found."""

    def ending(self, *, lose: bool = False, troubles: tuple[str, ...] = ()) -> Ending:
        folder = Path(self.mktemp())
        folder.mkdir()
        with (
            EventRecorder(folder / "a.events", 0xA, 7) as a,
            EventRecorder(folder / "b.events", 0xB, 7) as b,
        ):
            for sequence in range(1, 11):
                a.send(0xB, sequence, 0, b"x")
                if sequence < 7:
                    b.receive(0xA, 7, sequence, 0, b"x")
            a.fate(0xB, 7, 3, Status.NO_ROUTE)
            if not lose:
                a.fate(0xB, 10, 1, Status.UNCERTAIN)
            a.refuse(0xB, Status.NOT_CONNECTED)
            a.stop()
            b.stop()
        return Ending(verdict=check_folder(folder), troubles=troubles)

    def test_good(self) -> None:
        """Every message is in exactly one line, the reasons beside it, and the verdict is good."""
        ending = self.ending()
        words = ending.words()
        self.assertTrue(ending.ok)
        for line in (
            r"^11 messages were sent:$",
            r"^ +6 delivered",
            r"^ +4 refused.*\(NOT_CONNECTED 1, NO_ROUTE 3\)$",
            r"^ +1 uncertain",
            r"^ +0 lost$",
            r"^Verdict: good\.",
        ):
            self.assertRegex(words, f"(?m){line}")

    def test_lost(self) -> None:
        """One message that is missing makes the verdict bad, and is named."""
        ending = self.ending(lose=True)
        self.assertFalse(ending.ok)
        self.assertRegex(ending.words(), r"(?m)^ +1 lost$")
        self.assertIn("0xa (epoch 7) -> 0xb #10", ending.words())
        self.assertRegex(ending.words(), r"(?m)^Verdict: NOT good")

    def test_trouble(self) -> None:
        """A process that did not do as it should makes the verdict bad as well."""
        ending = self.ending(troubles=("root ended with code 1",))
        self.assertFalse(ending.ok)
        self.assertIn("root ended with code 1", ending.words())

    def test_numbers(self) -> None:
        """The object for programs has the same numbers, and they add up."""
        values = json.loads(json.dumps(self.ending().values()))
        self.assertEqual((values["ok"], values["lost"]), (True, 0))
        fates = ("delivered", "refused", "uncertain", "dropped", "orphaned", "lost")
        self.assertEqual(sum(values[fate] for fate in fates), values["sent"])
        self.assertEqual(values["refused_reasons"], {"NO_ROUTE": 3, "NOT_CONNECTED": 1})


class OrderTests(SynchronousTestCase):
    """What is said about messages out of order."""

    def test_who_has_given_it_up(self) -> None:
        """The nodes that waited in vain for what went another way are named, each once."""
        said = "0x13 (eu-proxy-3) TIMEOUT: order towards 0x102 was given up"
        log = (
            "2026-11-28T10:19:43+0000 [atbus.node#info] 0x13 (eu-proxy-3) knows 0x11 as peer\n"
            f"2026-11-28T10:19:43+0000 [atbus.node#warn] {said}\n"
            f"2026-11-28T10:19:53+0000 [atbus.node#warn] {said} (once more in 10 s)\n"
        )
        self.assertEqual(orders_given_up(log), [said])
