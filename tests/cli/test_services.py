"""``discovery services``, as a real process."""

from __future__ import annotations

import itertools
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.outcome import ExitCode
from atbus.cli.services import differences
from atbus.node.node import Node
from atbus.routing.services import Service
from tests.cli.bus_case import BusTestCase

VIA = ("--timeout", "60")
LIST = ("discovery", "services", *VIA)


class ServiceTests(BusTestCase):
    """What a node has heard of services; there is no registry."""

    async def start_bus(self) -> None:
        """Start the four nodes, and one that offers something."""
        await super().start_bus()
        options: dict[str, Any] = {
            "name": "battle-1",
            "service": {"type": "battle", "version": "3", "labels": {"map": "ice"}},
            "upstream": self.address(0x10100),
        }
        await self.start_node(0x10102, **options)

    async def heard(self, node: Node, wanted: Service) -> None:
        """Wait until a node knows this of a service."""
        heard: Deferred[None] = Deferred()

        def look(_service: Service | None = None) -> None:
            if wanted in node.services.in_order() and not heard.called:
                heard.callback(None)

        node.events.on_service_found.observe(look)
        look()
        await heard

    async def battle_is_known(self) -> Service:
        """Wait until the leaf below the root knows what the leaf below the proxy offers."""
        service = self.nodes[4].services.get(0x10102)
        assert service is not None
        await self.heard(self.nodes[3], service)
        return service

    async def test_what_is_offered_is_listed(self) -> None:
        """A node lists what others offer, also when it is asked through another node."""
        await self.start_bus()
        await self.battle_is_known()
        ended = await self.atbus(*LIST, "-o", "json", via=0x10001)
        self.assertEqual((ended.code, ended.err), (ExitCode.DONE, ""))
        (row,) = ended.json
        self.assertEqual(
            [row[key] for key in ("id", "name", "type", "version", "labels")],
            ["0x10102", "battle-1", "battle", "3", {"map": "ice"}],
        )
        ended = await self.atbus(*LIST, "0x10001", via=0x10101)
        rows = [line.split()[:4] for line in ended.out.splitlines()]
        wanted = [["ID", "NAME", "TYPE", "VERSION"], ["0x10102", "battle-1", "battle", "3"]]
        self.assertEqual(rows, wanted)

    async def test_many_are_listed_page_by_page(self) -> None:
        """No service is left out or told twice, however many there are and however long."""
        await self.start_bus()
        known = self.nodes[0]._parts.discovering.services
        for place in range(450):
            known.add(Service(bus_id=0x500 + place, name=f"n{place}", data="d" * 4_000))
        known.add(Service(name="only a name"))
        ended = await self.atbus(*LIST, "-o", "json")
        found = [(int(row["id"], 16), row["name"]) for row in ended.json]
        self.assertEqual(found, sorted(found))
        self.assertEqual(found[0], (0, "only a name"))
        self.assertEqual({(0x500 + place, f"n{place}") for place in range(450)} - set(found), set())
        self.assertEqual(len(found), len(set(found)))

    async def test_changes_are_shown(self) -> None:
        """``--watch`` shows what there is, then what changes, and ends after so many lines."""
        await self.start_bus()
        known = self.nodes[0]._parts.discovering.services
        await self.heard(self.nodes[0], await self.battle_is_known())
        ticks = itertools.count()

        def tick() -> None:
            version = str(next(ticks))
            known.add(Service(bus_id=0x10102, name="battle-1", type="lobby", version=version))

        changing = LoopingCall(tick)
        changing.clock = self.reactor
        changing.start(0.1)
        try:
            ended = await self.atbus(*LIST, "--watch", "--count", "3", "-o", "json")
        finally:
            changing.stop()
        self.assertEqual(ended.code, ExitCode.DONE)
        lines = [json.loads(line) for line in ended.out.splitlines()]
        self.assertEqual([line["event"] for line in lines], ["is", "changed", "changed"])
        self.assertEqual({line["id"] for line in lines}, {"0x10102"})

    async def test_who_has_a_registry_passes_on_what_is_told_over_the_bus(self) -> None:
        """A node with a registry knows nothing of services on the bus; those behind it do."""
        await self.start_bus()
        # Nobody is there, which makes no difference to this.
        etcd = {"endpoints": ["http://127.0.0.1:9"], "start_seconds": 0}
        place = {"subnets": [(0, 8)], "upstream": self.address(0x10000)}
        proxy = await self.start_node(0x10200, etcd=etcd, **place)
        lobby = {"name": "lobby-1", "service": {"type": "lobby"}}
        leaf = await self.start_node(0x10201, upstream=self.address(0x10200), **lobby)
        await self.heard(self.nodes[3], leaf.services.in_order()[0])
        await self.heard(leaf, await self.battle_is_known())
        self.assertEqual(proxy.services.in_order(), ())
        ended = await self.atbus(*LIST, "0x10200", "-o", "json")
        self.assertEqual((ended.code, ended.json), (ExitCode.DONE, []))

    async def test_a_count_is_for_a_watch(self) -> None:
        """A list has an end of its own."""
        ended = await self.atbus(*LIST, "--count", "2")
        self.assertEqual(ended.code, ExitCode.USAGE)


class DifferenceTests(SynchronousTestCase):
    """What a watch tells of two looks."""

    def test_each_change_has_its_word(self) -> None:
        """What went is gone, what came is found, what is another is changed, the rest is silent."""
        before = {("0x1", "a"): {"type": "x"}, ("0x2", ""): {}, ("0x3", ""): {"type": "y"}}
        now = {("0x2", ""): {}, ("0x3", ""): {"type": "z"}, ("0x4", ""): {"type": "w"}}
        self.assertEqual(
            differences(before, now),
            [("gone", {"type": "x"}), ("changed", {"type": "z"}), ("found", {"type": "w"})],
        )
