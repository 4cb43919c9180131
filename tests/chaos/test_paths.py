"""Processes that go over to a direct way and back while they talk."""

from __future__ import annotations

from tests.chaos.case import ChaosCase, node_file, speech
from tests.extent import extent

RELAY, ONE, TWO = 0x20100, 0x20101, 0x20102

SIZES = (20, 100, 1000, 20, 100, 1000, 100000)


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
        # When it is given up all that is on its way has arrived, whatever the machine does.
        self.environment["ATBUS_CHAOS_FLUSH_SECONDS"] = "30"
        relay, two, one = await self.bring_up(
            ("relay", node_file("relay", RELAY, listens=True, more=no_notice)),
            ("two", two_file),
            ("one", node_file("one", ONE, ["relay"], program="switch", settings=switching)),
        )
        for count in range(10, extent(30, 1000) + 10, 10):
            await one.says(f"changed {count} times")
        await self.stop_all(one, two, relay)
        verdict = self.check()
        self.assertEqual((verdict.uncertain, verdict.unfinished), (0, ()), str(verdict))
        notes = [note for name in ("one", "two") for note in self.notes(name, "statistics")]
        # A flush may die with the connection that it takes; that is seldom.
        self.assertLess(sum(note["order_given_up"] for note in notes), extent(30, 1000) / 10)
        self.check_questions("one", "two", at_least=1)
