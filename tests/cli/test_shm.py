"""``shm list`` and ``shm show``, as real processes."""

from __future__ import annotations

from atbus.cli.outcome import ExitCode
from tests.cli.bus_case import BusTestCase


class ShmTests(BusTestCase):
    """The lanes of a node."""

    async def test_no_lanes(self) -> None:
        """
        Nodes that share no memory have no lanes to list or to show.

        Scenario: E3
        """
        await self.start_bus()
        listed = await self.atbus("shm", "list", "-o", "json")
        self.assertEqual((listed.code, listed.json), (ExitCode.DONE, []))
        shown = await self.atbus("shm", "show", "0x10001")
        self.assertEqual((shown.code, shown.out), (ExitCode.DONE, ""))
