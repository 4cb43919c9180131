"""``status``, ``nodes``, ``links`` and ``routes``, as real processes."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atbus.cli.outcome import ExitCode
from atbus.nats.gateway import Gateway
from atbus.nats.monitor import Monitor
from atbus.nats.settings import read_gateway
from atbus.routing.record import Record
from atbus.routing.registry import Feeder
from tests.cli.bus_case import BusTestCase
from tests.nats.test_route_rows import SAME
from tests.nats.told import told


class InspectTests(BusTestCase):
    """What a node knows."""

    async def test_status(self) -> None:
        """A node says who it is and what it has counted, a line for each number."""
        await self.start_bus()
        ended = await self.atbus("status")
        self.assertEqual((ended.code, ended.err), (ExitCode.DONE, ""))
        self.assertRegex(ended.out, r"(?m)^id +0x10000$")
        self.assertRegex(ended.out, r"(?m)^statistics\.sent_messages +0$")

    async def test_status_of_another_node(self) -> None:
        """Any node of the bus can be asked through any other."""
        await self.start_bus()
        ended = await self.atbus("status", "0x10101", "-o", "json", via=0x10001)
        self.assertEqual(ended.code, ExitCode.DONE)
        self.assertEqual((ended.json["id"], ended.json["labels"]), ("0x10101", {"region": "eu"}))

    async def test_nodes(self) -> None:
        """The table has a line for each registered node; JSON has the same and more."""
        await self.start_bus()
        ended = await self.atbus("nodes")
        rows = [line.split()[:3] for line in ended.out.splitlines()]
        self.assertEqual(
            rows,
            [
                ["ID", "RELATION", "STATE"],
                ["0x10001", "ImmediateDownstream", "open"],
                ["0x10100", "ImmediateDownstream", "open"],
            ],
        )
        ended = await self.atbus("nodes", "0x10100", "-o", "json")
        found = {row["id"]: row["relation"] for row in ended.json}
        self.assertEqual(found, {"0x10000": "ImmediateUpstream", "0x10101": "ImmediateDownstream"})

    async def test_links(self) -> None:
        """Each node has a control and a data connection; the one that asks shows up as 0x0."""
        await self.start_bus()
        ended = await self.atbus("links", "-o", "json", via=0x10101)
        self.assertEqual(
            [(row["id"], row["role"], row["channel"]) for row in ended.json],
            [
                ("0x0", "control", "unix"),
                ("0x10100", "control", "unix"),
                ("0x10100", "data", "unix"),
            ],
        )

    async def test_routes(self) -> None:
        """A node lists its own range, its neighbors' ranges, and the way for all others."""
        await self.start_bus()
        ended = await self.atbus("routes", via=0x10100)
        rows = [line.split(maxsplit=2) for line in ended.out.splitlines()]
        self.assertIn(["0x10101/0", "0x10101", "downstream"], rows)
        self.assertIn(["*", "0x10000", "default route"], rows)

    async def test_peer_links(self) -> None:
        """``--peers`` lists the links as nats-server does its routes, and goes without ``--to``."""
        await self.start_bus()
        ended = await self.atbus("routes", "--peers", "-o", "json", via=0x10100)
        self.assertEqual(
            [(row["id"], row["dialled"], row["configured"]) for row in ended.json],
            [("0x10000", True, True), ("0x10101", False, False)],
        )
        ended = await self.atbus("routes", "--peers", via=0x10100)
        self.assertEqual(ended.out.split()[:4], ["ID", "HOSTNAME", "IP", "PORT"])
        ended = await self.atbus("routes", "--peers", "--to", "0x10101")
        self.assertEqual(ended.code, ExitCode.USAGE)

    async def test_peer_links_are_routes(self) -> None:
        """``--peers`` prints what ``/routez`` of the same node has, under the names of the bus."""
        await self.start_bus()
        node = self.nodes[1]
        settings = read_gateway(node.config.replace(nats={"listen": "127.0.0.1:0"}))
        assert settings is not None
        gateway = Gateway(node, settings, self.reactor)
        gateway.startService()
        self.addCleanup(gateway.stopService)
        node.subscribe("up", lambda _: None)
        heard: Deferred[object] = Deferred()
        subscription = self.nodes[2].subscribe("down.*", heard.callback)
        await subscription.within_reach()
        node.publish("down.a", b"some")
        await heard
        ended = await self.atbus("routes", "--peers", "-o", "json", via=0x10100)
        shown = told(Monitor(gateway).routez({}))["routes"]
        self.assertEqual([row["out_msgs"] for row in shown], [0, 1])
        self.assertEqual(
            [{name: row[name] for name in SAME} for row in ended.json],
            [{name: row[same] for name, same in SAME.items()} for row in shown],
        )

    async def test_one_route(self) -> None:
        """``--to`` tells the next hop and the rule; a refusal is told and is the exit code."""
        await self.start_bus()
        ended = await self.atbus("routes", "--to", "0x10101", "-o", "json")
        self.assertEqual((ended.code, ended.json["id"]), (ExitCode.DONE, "0x10100"))
        ended = await self.atbus("routes", "--to", "0x99999")
        self.assertEqual(ended.code, ExitCode.NOBODY)
        self.assertRegex(ended.out, r"(?m)^refused +NO_ROUTE$")

    async def test_known_nodes(self) -> None:
        """``--known`` lists every node that there is a record of, page by page, and how it is
        known."""
        await self.start_bus()
        root = self.nodes[0]
        many = [Record(bus_id=0x500 + place, upstream_id=0x10100) for place in range(450)]
        # The leaf is known of sooner or later in any case; here it is from the start.
        leaf = Record(bus_id=0x10101, upstream_id=0x10100)
        root._parts.topology.claim(Feeder.ETCD, [*many, leaf])
        ended = await self.atbus("nodes", "--known", "-o", "json")
        found = {row["id"]: row for row in ended.json}
        self.assertEqual(len(found), 450 + 4)
        self.assertEqual(list(found), sorted(found, key=lambda text: int(text, 16)))
        self.assertEqual(found["0x10000"]["known_by"], "own")
        self.assertEqual(
            [found["0x10100"][key] for key in ("known_by", "upstream", "relation")],
            ["live", "0x10000", "ImmediateDownstream"],
        )
        self.assertEqual(
            [found["0x500"][key] for key in ("known_by", "upstream", "stamp")],
            ["etcd", "0x10100", "0.0"],
        )
        ended = await self.atbus("nodes", "--known", "0x10101")
        rows = [line.split()[:4] for line in ended.out.splitlines()]
        self.assertEqual(rows[0], ["ID", "UPSTREAM", "RELATION", "KNOWN"])
        self.assertIn(["0x10101", "0x10100", "Self", "own"], rows)

    async def test_explain(self) -> None:
        """A node tells where a message would go, by which rule, and what it knows of the target;
        a refusal is told and is the exit code."""
        await self.start_bus()
        root = self.nodes[0]
        # The leaf is known of sooner or later in any case; here it is from the start.
        leaf = Record(bus_id=0x10101, upstream_id=0x10100)
        below = Record(bus_id=0x777, upstream_id=0x10101)
        root._parts.topology.claim(Feeder.ETCD, [leaf, below])
        ended = await self.atbus("route", "explain", "0x10000", "0x777", "-o", "json", via=0x10001)
        self.assertEqual(ended.code, ExitCode.DONE)
        self.assertEqual(
            ended.json,
            {
                "id": "0x10000",
                "target": "0x777",
                "next_hop": "0x10100",
                "refused": "",
                "relation": "TransitiveDownstream",
                "rule": "record: child 0x10100 on the way down",
                "known_by": "etcd",
                "chain": ["0x10101", "0x10100", "0x10000"],
                "direct": "direct connections are switched off",
            },
        )
        ended = await self.atbus("route", "explain", "0x10000", "0x99999")
        self.assertEqual(ended.code, ExitCode.NOBODY)
        self.assertRegex(ended.out, r"(?m)^refused +NO_ROUTE$")
        self.assertRegex(ended.out, r"(?m)^rule +no upstream$")
