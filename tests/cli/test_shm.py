"""``shm list`` and ``shm show``, as real processes."""

from __future__ import annotations

import platform

from twisted.internet.task import deferLater

from atbus import limits
from atbus.busid import BusId
from atbus.cli.outcome import ExitCode
from atbus.node import lanes as lanes_module
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
        shown = await self.atbus("shm", "show", "0x10001", "-o", "json")
        self.assertEqual((shown.code, shown.json, shown.err), (ExitCode.DONE, [], ""))

    async def test_a_lane(self) -> None:
        """
        Both ends of a lane are listed and shown, as JSON as a list of one: who is there, which way
        data goes, how large it is and how much is in it; of a neighbor without one there is
        nothing.
        """
        # However long the commands take, the lane stays.
        self.patch(lanes_module, "LANE_IDLE_SECONDS", 3600.0)
        self.patch(lanes_module, "LANE_OFFER_SECONDS", 3600.0)
        path = self.address(0x10000)
        root = await self.start_node(0x10000, listen=[path, "shm://auto"], subnets=[(0, 16)])
        child = await self.start_node(0x10001, listen=["shm://auto"], upstream=path)
        lanes = root._parts.lanes
        while not list(lanes):
            await deferLater(self.reactor, 0.01)
            if BusId(0x10001) in root.endpoints:
                # Without the traffic that would deserve it.
                lanes._offer(root.endpoints[BusId(0x10001)])
        while str(child.next_hop(0x10000).address).partition(":")[0] != "shm":
            await deferLater(self.reactor, 0.01)
        for target, peer, direction in (
            ("0x10000", "0x10001", "reading"),
            ("0x10001", "0x10000", "writing"),
        ):
            [row] = (await self.atbus("shm", "list", target, "-o", "json")).json
            self.assertEqual(
                (row["id"], row["direction"], row["state"], row["size_bytes"]),
                (peer, direction, "attached", limits.LANE_BYTES),
            )
            shown = await self.atbus("shm", "show", peer, target)
            self.assertEqual(shown.code, ExitCode.DONE)
            for word in (direction, "attached", "4 MiB", "pid="):
                self.assertIn(word, shown.out)
            [known] = (await self.atbus("shm", "show", peer, target, "-o", "json")).json
            self.assertEqual((known["id"], known["direction"]), (peer, direction))
        shown = await self.atbus("shm", "show", "0x10777")
        self.assertEqual((shown.code, shown.out), (ExitCode.DONE, ""))

    async def test_why_there_are_none(self) -> None:
        """
        A node that was asked to share memory where it cannot be had runs, and its status and the
        list of its lanes say why there are none.
        """
        self.patch(platform, "machine", lambda: "aarch64")
        await self.start_node(0x10000, listen=[self.address(0x10000), "shm://auto"])
        for words in (("list",), ("show", "0x10001")):
            listed = await self.atbus("shm", *words)
            self.assertEqual(listed.code, ExitCode.DONE)
            self.assertIn("shared memory: off: a processor of type aarch64", listed.err)
            self.assertIn("shm.weak_memory = true", listed.err)
        listed = await self.atbus("shm", "list", "-o", "json")
        self.assertEqual((listed.json, listed.err), ([], ""))
        status = (await self.atbus("status", "-o", "json")).json
        self.assertIn("shm.weak_memory = true", status["shared_memory"])
