"""Processes that go over to a direct way and back while they talk."""

from __future__ import annotations

from tests.chaos.case import ChaosCase, node_file, speech
from tests.extent import extent

RELAY, ONE, TWO = 0x20100, 0x20101, 0x20102

SIZES = (20, 100, 1000, 20, 100, 1000, 100000)
# One that leaves says no to what is still to come, and then there is no way to it.
ORDERLY = {"CLOSING", "NO_ROUTE"}


class PathTests(ChaosCase):
    """A relay and two nodes below it, which also have a way of their own, now and then."""

    async def test_changes_of_path(self) -> None:
        """
        From the relay to a direct way and back: no order broken, nothing lost, nothing doubled.

        Scenario: K4, K22
        """
        peer = f'peer = {TWO}, peer_address = "unix://{{folder}}/two.sock"'
        two_file = node_file(
            "two",
            TWO,
            ["relay"],
            settings=speech(ONE, rate=200, sizes=SIZES),
            listens=True,
            more="subnets = []",
        )
        switching = speech(TWO, rate=200, sizes=SIZES, more=peer)
        no_notice = "direct_notice = false"
        relay, two, one = await self.bring_up(
            ("relay", node_file("relay", RELAY, listens=True, more=no_notice)),
            ("two", two_file),
            ("one", node_file("one", ONE, ["relay"], program="switch", settings=switching)),
        )
        await one.says(f"changed {extent(30, 1000)} times")
        await self.stop_all(one, two, relay)
        self.check_order()
        self.check_questions("one", "two", at_least=1)

    def check_order(self) -> None:
        """
        Look that nothing was lost or doubled, and the order kept.

        A flush that takes longer than a second gives the order up and says so, which is all that is
        promised then; the rest holds all the same. It happens when the machine has too much to do,
        so it must not happen at every other change.
        """
        notes = [note for name in ("one", "two") for note in self.notes(name, "statistics")]
        given_up = sum(note["order_given_up"] for note in notes)
        if not given_up:
            verdict = self.check()
            self.assertEqual((verdict.uncertain, verdict.unfinished), (0, ()), str(verdict))
            self.assertEqual(verdict.refused.keys() - ORDERLY, set(), str(verdict))
            return
        self.assertLess(given_up, extent(30, 1000) / 2)
        # A flush passes all three of them.
        busy = [note for name in ("one", "two", "relay") for note in self.notes(name, "late")]
        self.assertTrue(busy)
        verdict = self.judge()
        offenses = (verdict.lost, verdict.duplicated, verdict.corrupted, verdict.contradictions)
        self.assertEqual(offenses, (0, 0, 0, 0), str(verdict))
