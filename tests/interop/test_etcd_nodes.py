"""Nodes that find each other with nothing but etcd configured."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from atbus.cli.foreground import twistd
from atbus.discovery.etcd import packer
from atbus.errors import RegistrationRefused, Status, Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.node.topology import NodeNews
from atbus.routing.record import Stamp
from atbus.routing.registry import NodeDown, NodeUp
from atbus.routing.services import Filter, Service
from tests.interop.etcd_server import EtcdCase
from tests.interop.waiting import Changes

ROOT = Path(__file__).resolve().parents[2]


@implementer(IMessageReceiver)
class Inbox:
    """Keeps what it receives."""

    def __init__(self, changes: Changes) -> None:
        self.payloads: list[bytes] = []
        self._changes = changes

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Keep one message."""
        self.payloads.append(payload)
        self._changes.note()


class NodeCase(EtcdCase):
    """Nodes on unix sockets, in one etcd; they are stopped whatever happens."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.changes = Changes(self.reactor)

    def node(self, bus_id: int, *, etcd: dict[str, Any] | None = None, **options: Any) -> Node:
        """Make a node that knows nothing but where etcd is."""
        registry = {"endpoints": self.urls, "prefix": self.prefix().decode(), "lease_seconds": 60}
        path = self.folder / f"{bus_id:x}-{len(list(self.folder.iterdir()))}"
        given: dict[str, Any] = {
            "id": bus_id,
            "name": f"node-{bus_id:x}",
            "listen": [f"unix://{path}"],
            "topology": "records",
            "direct_connections": True,
            "etcd": registry | (etcd or {}),
        }
        made = Node(NodeConfig(**(given | options)), self.reactor, random=Random(bus_id))
        self.addCleanup(made.stop)
        made.events.on_discovery.observe(self.changes.note)
        made.events.on_service_found.observe(self.changes.note)
        made.events.on_service_gone.observe(self.changes.note)
        made.events.on_error.observe(self.changes.note)
        made.watch_nodes(self.changes.note)
        return made

    def news(self, node: Node) -> list[tuple[type[object], int]]:
        """Write down what a node tells of others from now on."""
        news: list[tuple[type[object], int]] = []

        def note(told: NodeNews) -> None:
            news.append((type(told), told.record.bus_id))
            self.changes.note()

        node.watch_nodes(note)
        return news

    def knows(self, node: Node, *others: int) -> bool:
        """Tell whether a node knows others, and what they offer."""
        known = {record.bus_id for record in node.records()}
        return known >= set(others) and all(node.services.get(other) for other in others)

    def stamp(self, node: Node, other: int) -> Stamp | None:
        """Tell what a node knows: the stamp of another's record, None if there is none."""
        return next((each.stamp for each in node.records() if each.bus_id == other), None)

    async def refusal(self, starting: Deferred[None]) -> RegistrationRefused:
        """Wait for a start that fails."""
        try:
            await starting
        except RegistrationRefused as refused:
            return refused
        raise AssertionError("it has started")


class TwoNodesTests(NodeCase):
    """What nodes know of each other."""

    async def test_nodes_find_and_reach_each_other(self) -> None:
        """
        Two nodes that know only the registry know each other's record and service, and can talk.

        Scenario: U1, U4, U5, U9
        """
        first = self.node(0x11, service={"type": "battle", "labels": {"zone": "a"}})
        second = self.node(0x12, labels={"region": "eu"}, service={"type": "chat"})
        inbox = second.receiver = Inbox(self.changes)
        await first.start()
        await second.start()
        await self.changes.until(lambda: self.knows(first, 0x11, 0x12), "they know each other")
        await self.changes.until(lambda: first.discovery_in_sync == {"etcd"})
        record = next(record for record in first.records() if record.bus_id == 0x12)
        self.assertEqual(record.label("region"), "eu")
        self.assertEqual(record.addresses, tuple(map(str, second.addresses)))
        first.send(0x12, b"hello")
        target, _ = first.send_by(Filter(type="chat"), b"again")
        self.assertEqual(target, 0x12)
        await self.changes.until(lambda: len(inbox.payloads) == 2)
        self.assertEqual(inbox.payloads, [b"hello", b"again"])

    async def test_one_of_several_is_chosen(self) -> None:
        """A program chooses by rounds, by key or by lot; where nobody fits it is told so."""
        nodes = [self.node(number, service={"type": "battle"}) for number in (0x21, 0x22)]
        for node in nodes:
            await node.start()
        first = nodes[0]
        await self.changes.until(lambda: self.knows(first, 0x21, 0x22))
        where = Filter(type="battle")
        rounds = [chosen.bus_id for _ in range(4) if (chosen := first.select(where))]
        self.assertEqual(rounds, [0x21, 0x22] * 2)
        self.assertIs(first.select(where, key="player 7"), first.select(where, key="player 7"))
        self.assertIsNotNone(first.select(where, at_random=True))
        self.assertIsNone(first.select(Filter(type="chat")))
        refused = self.assertRaises(Undeliverable, first.send_by, Filter(type="chat"), b"x")
        self.assertIs(refused.status, Status.NO_RESPONDERS)

    async def test_who_stops_is_gone_at_once(self) -> None:
        """
        A node that stops takes its lease along, and others are told without waiting for its end.

        Scenario: U7, U10
        """
        watching, leaving = self.node(0x31), self.node(0x32)
        await watching.start()
        await leaving.start()
        await self.changes.until(lambda: self.knows(watching, 0x32))
        news = self.news(watching)
        await leaving.stop()
        await self.changes.until(lambda: (NodeDown, 0x32) in news)
        self.assertIsNone(watching.services.get(0x32))

    async def test_observers_are_told_in_order(self) -> None:
        """
        Who wants to know is told with the right content, in order; who does not any more is not.

        Scenario: U6, U8
        """
        first, second = self.node(0x81), self.node(0x82, service={"data": "hello"})
        await first.start()
        found: list[Service] = []
        gone: list[Service] = []
        told: list[str] = []
        events = first.events

        def keep(service: Service) -> None:
            found.append(service)
            self.changes.note()

        def tell(name: str, service: Service) -> None:
            # This node's own comes as well, sooner or later.
            if service.bus_id == 0x82:
                told.append(name)

        events.on_service_found.observe(lambda service: told.append("never")).cancel()
        events.on_service_found.observe(partial(tell, "one"))
        events.on_service_found.observe(partial(tell, "two"))
        events.on_service_found.observe(keep)
        events.on_service_gone.observe(gone.append)
        events.on_service_gone.observe(self.changes.note)
        first.watch_nodes(lambda news: told.append("never")).cancel()
        news = self.news(first)
        await second.start()
        await self.changes.until(lambda: bool(found) and found[-1].bus_id == 0x82)
        self.assertEqual(found[-1], first.services.get(0x82))
        self.assertEqual((found[-1].bus_id, found[-1].data), (0x82, "hello"))
        self.assertEqual(told, ["one", "two"])
        self.assertIn((NodeUp, 0x82), news)
        await second.stop()
        await self.changes.until(lambda: (NodeDown, 0x82) in news)
        await self.changes.until(lambda: gone == found[-1:])

    async def test_an_offer_can_change(self) -> None:
        """
        What a node offers may change while it runs; others learn of it.

        Scenario: U12, U13
        """
        first, second = self.node(0x41), self.node(0x42, service={"data": "old"})
        await first.start()
        await second.start()
        await self.changes.until(lambda: self.knows(first, 0x42))
        second.offer(Service(name="node-42", kind="new", data="new"))

        def is_new() -> bool:
            service = first.services.get(0x42)
            return service is not None and service.data == "new"

        await self.changes.until(is_new)
        second.offer(None)
        await self.changes.until(lambda: not is_new())

    async def test_a_node_may_only_watch_or_only_tell(self) -> None:
        """
        Who only watches is not seen, and who only tells does not see.

        Scenario: U30
        """
        watching = self.node(0x51, etcd={"announce": False})
        telling = self.node(0x52, etcd={"watch": False})
        await watching.start()
        await telling.start()
        await self.changes.until(lambda: self.knows(watching, 0x52))
        self.assertEqual([record.bus_id for record in telling.records()], [0x52])
        self.assertIsNone(watching.services.get(0x51))

    async def test_one_id_is_one_node(self) -> None:
        """
        A second node with an id that is taken does not start, and is told whose it is.

        Scenario: R9, U25
        """
        first = self.node(0x61)
        await first.start()
        second = self.node(0x61, name="other")
        refused = await self.refusal(second.start())
        self.assertIs(refused.status, Status.ID_CONFLICT)
        self.assertIn("node-61@", str(refused))
        self.assertEqual(second.state, "stopped")
        # The same name makes it no better: the first is alive.
        twin = self.node(0x61)
        self.assertIs((await self.refusal(twin.start())).status, Status.ID_CONFLICT)
        await first.stop()
        await self.node(0x61, name="other").start()

    async def test_what_others_do_to_our_key_is_undone(self) -> None:
        """A record that somebody deletes by hand is there again at once."""
        first, second = self.node(0x71), self.node(0x72)
        await first.start()
        await second.start()
        await self.changes.until(lambda: self.knows(first, 0x72))
        news = self.news(first)
        (directory,) = second._parts.discovering._directories
        key = self.prefix("topology/0x72")
        await directory._cluster.call("/v3/kv/deleterange", {"key": packer.encode(key)})
        await self.changes.until(
            lambda: (NodeDown, 0x72) in news and news[-1] == (NodeUp, 0x72)
        )


class OutageTests(NodeCase):
    """An etcd that is not there."""

    async def test_traffic_does_not_notice(self) -> None:
        """
        While etcd is frozen, and while it is dead, nodes talk as before; then all is there again.

        Scenario: Q12
        """
        first, second = self.node(0x11), self.node(0x12)
        inbox = second.receiver = Inbox(self.changes)
        await first.start()
        await second.start()
        await self.changes.until(lambda: self.knows(first, 0x12))
        await first.deliver(0x12, b"before")
        server = self.servers[0]
        server.freeze()
        for number in range(50):
            await first.deliver(0x12, b"%d" % number)
        server.thaw()
        server.kill()
        await self.changes.until(lambda: not first.discovery_in_sync)
        for number in range(50):
            await first.deliver(0x12, b"%d" % number)
        self.assertEqual(len(inbox.payloads), 101)
        self.assertTrue(self.knows(first, 0x12))
        server.start()
        third = self.node(0x13)
        await third.start()
        await self.changes.until(lambda: self.knows(third, 0x11, 0x12), "announced again")
        self.assertEqual(len(third.records()), 3)

    async def test_a_start_does_not_wait_for_ever(self) -> None:
        """
        A node starts without its registry, and is announced later; unless it needs it to start.

        Scenario: U25
        """
        server = self.servers[0]
        server.kill()
        waiting = self.node(0x21, etcd={"start_seconds": 0.2})
        await waiting.start()
        needing = self.node(0x22, etcd={"start_seconds": 0.2, "required": True})
        refused = await self.refusal(needing.start())
        self.assertIs(refused.status, Status.TIMEOUT)
        server.start()
        self.assertTrue(server.wait())
        watching = self.node(0x23)
        await watching.start()
        await self.changes.until(lambda: self.knows(watching, 0x21))

    async def test_a_stop_does_not_wait_for_it_either(self) -> None:
        """A node stops though its registry is frozen, and stays so."""
        node = self.node(0x31)
        await node.start()
        server = self.servers[0]
        server.freeze()
        try:
            await node.stop()
        finally:
            server.thaw()


class KilledTests(NodeCase):
    """A node whose process is killed."""

    async def test_who_was_killed_is_gone_with_its_lease(self) -> None:
        """A killed node's record goes with its lease, others are told, and its next life is in."""
        watching = self.node(0x11)
        await watching.start()
        config = self.folder / "killed.toml"
        config.write_text(
            f'id = "0x12"\nname = "killed"\n[discovery.etcd]\nendpoints = ["{self.urls[0]}"]\n'
            f'prefix = "{self.prefix().decode()}"\nlease_seconds = 2\n',
            encoding="utf-8",
        )
        command = [*twistd(), "-n", "--pidfile=", "atbus", "--config", str(config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def launch() -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL
            )
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            return process

        process = launch()
        await self.changes.until(lambda: self.knows(watching, 0x12))
        former = self.stamp(watching, 0x12)
        process.kill()
        process.wait()
        again = launch()
        await self.changes.until(lambda: self.stamp(watching, 0x12) not in (None, former))
        news = self.news(watching)
        again.kill()
        again.wait()
        await self.changes.until(
            lambda: (NodeDown, 0x12) in news and not watching.services.get(0x12)
        )
