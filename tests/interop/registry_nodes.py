"""Nodes that find each other with nothing but a registry configured, whatever registry it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred
from zope.interface import implementer

from atbus.discovery.documents import (
    Author,
    service_key,
    topology_key,
    write_record,
    write_service,
)
from atbus.errors import RegistrationRefused, Status, Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.node.topology import NodeNews
from atbus.routing.record import Stamp
from atbus.routing.registry import NodeDown, NodeUp
from atbus.routing.services import Filter, Service
from tests.interop.waiting import Changes

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Tests
else:
    _Tests = object

_Half: TypeAlias = tuple[bytes, bytes]
"""A key and its value."""


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


class RegistryNodes(_Tests):
    """
    Nodes on unix sockets, in one registry; they are stopped whatever happens.

    Mixed into a case with a server of that registry.
    """

    reactor: Any
    #: The option that says where the registry is, which is also its name.
    registry: str

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.changes = Changes(self.reactor)
        #: How many nodes were made.
        self.lives = 0

    def where(self) -> dict[str, Any]:
        """
        Say where the registry is.

        :returns: The value of the option.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def node(self, bus_id: int, **options: Any) -> Node:
        """Make a node that knows nothing but where the registry is."""
        path = self.folder / f"{bus_id:x}-{len(list(self.folder.iterdir()))}"
        given: dict[str, Any] = {
            "id": bus_id,
            "name": f"node-{bus_id:x}",
            "listen": [f"unix://{path}"],
            "topology": "records",
            "direct_connections": True,
            self.registry: self.where() | options.pop(self.registry, {}),
            **options,
        }
        # Two lives of a node within one second of the calendar would have the same epoch.
        self.lives += 1
        made = Node(
            NodeConfig(**given), self.reactor, random=Random(bus_id), epoch=self.lives
        )
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

    def services_gone(self, node: Node) -> list[int]:
        """Write down whose services a node can choose no more from now on."""
        gone: list[int] = []
        node.events.on_service_gone.observe(lambda service: gone.append(service.bus_id))
        return gone

    def knows(self, node: Node, *others: int) -> bool:
        """Tell whether a node knows others, and what they offer."""
        known = {record.bus_id for record in node.records()}
        return known >= set(others) and all(node.services.get(other) for other in others)

    def is_later(self, node: Node, bus_id: int, former: Stamp) -> bool:
        """Tell whether a node knows of another a later life than one that it had."""
        now = self.stamp(node, bus_id)
        return now is not None and now.epoch > former.epoch

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


class NodesContract(RegistryNodes):
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
        await self.changes.until(lambda: first.discovery_in_sync == {self.registry})
        record = next(record for record in first.records() if record.bus_id == 0x12)
        self.assertEqual(record.label("region"), "eu")
        self.assertEqual(record.addresses, tuple(map(str, second.addresses)))
        first.send(0x12, b"hello")
        target, _ = first.send_by(Filter(type="chat"), b"again")
        self.assertEqual(target, 0x12)
        await self.changes.until(lambda: len(inbox.payloads) == 2)
        self.assertEqual(inbox.payloads, [b"hello", b"again"])

    async def test_one_of_several_is_chosen(self) -> None:
        """
        A program chooses by rounds, by key or by lot; where nobody fits it is told so.

        Scenario: V8
        """
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
        ways: list[dict[str, Any]] = [{}, {"key": "player 7"}, {"at_random": True}]
        for way in ways:
            target, _ = first.send_by(where, b"x", **way)
            self.assertIn(target, (0x21, 0x22))
            nobody = Filter(type="chat")
            refused = self.assertRaises(Undeliverable, first.send_by, nobody, b"x", **way)
            self.assertIs(refused.status, Status.NO_RESPONDERS)

    async def test_a_node_can_send_to_itself(self) -> None:
        """
        What is sent to the own id, the own name, or to the own offer arrives, in order.

        Scenario: V2
        """
        node = self.node(0x91, service={"type": "battle"})
        inbox = node.receiver = Inbox(self.changes)
        await node.start()
        await self.changes.until(lambda: self.knows(node, 0x91))
        named = node.services.named("node-91")
        assert named is not None
        for number in range(3):
            node.send(node.bus_id, b"%d by id" % number)
            node.send(named.bus_id, b"%d by name" % number)
            node.send_by(Filter(type="battle"), b"%d by offer" % number)
        await self.changes.until(lambda: len(inbox.payloads) == 9)
        ways = (b"id", b"name", b"offer")
        expected = [b"%d by %b" % (number, way) for number in range(3) for way in ways]
        self.assertEqual(inbox.payloads, expected)

    async def test_who_stops_is_gone_at_once(self) -> None:
        """
        A node that stops takes what it wrote along, and others are told without waiting.

        Scenario: U7, U10
        """
        watching, leaving = self.node(0x31), self.node(0x32)
        await watching.start()
        await leaving.start()
        await self.changes.until(lambda: self.knows(watching, 0x32))
        news = self.news(watching)
        await leaving.stop()
        await self.changes.until(lambda: (NodeDown, 0x32) in news)
        await self.changes.until(lambda: watching.services.get(0x32) is None)

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
        await self.changes.until(lambda: (NodeUp, 0x82) in news)
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
        watching = self.node(0x51, **{self.registry: {"announce": False}})
        telling = self.node(0x52, **{self.registry: {"watch": False}})
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


class HalvesContract(RegistryNodes):
    """A node of which one half has arrived, and the other has not."""

    def write(self, node: Node, key: bytes, value: bytes) -> Awaitable[object]:
        """
        Write something into the registry, past all announcers.

        :param node: Whose connection to use.
        :param key: Where.
        :param value: What.
        :returns: When it is there.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def halves(self, node: Node, name: str) -> tuple[_Half, _Half]:
        """Give what a node would write, and does not: its record and its service."""
        record = node._parts.topology.own
        assert record is not None
        prefix, author = self.where()["prefix"], Author(name, name)
        service = Service(bus_id=node.bus_id, name=name, type=name)
        return (
            (topology_key(prefix, node.bus_id), write_record(record, author)),
            (service_key(prefix, node.bus_id, name), write_service(service, author)),
        )

    async def pair(self) -> tuple[Node, Node, Inbox]:
        """Start a node that watches, and another one that does not know of the registry."""
        watching = self.node(0x91)
        silent = self.node(0x92, **{self.registry: {"announce": False, "watch": False}})
        inbox = silent.receiver = Inbox(self.changes)
        await watching.start()
        await silent.start()
        await self.changes.until(lambda: watching.discovery_in_sync == {self.registry})
        return watching, silent, inbox

    async def test_the_service_comes_first(self) -> None:
        """A message to a node that was chosen by its service waits for its record, and arrives."""
        watching, silent, inbox = await self.pair()
        record, service = self.halves(silent, "chat")
        await self.write(watching, *service)
        await self.changes.until(lambda: watching.select(Filter(type="chat")) is not None)
        sending = watching.deliver(0x92, b"early")
        target, _ = watching.send_by(Filter(type="chat"), b"chosen")
        self.assertEqual(target, 0x92)
        self.assertFalse(sending.called)
        await self.write(watching, *record)
        await sending
        await self.changes.until(lambda: len(inbox.payloads) == 2)
        self.assertEqual(inbox.payloads, [b"early", b"chosen"])

    async def test_the_record_comes_first(self) -> None:
        """A node of which only the record is there is reached by its id; chosen it is later."""
        watching, silent, inbox = await self.pair()
        record, service = self.halves(silent, "battle")
        await self.write(watching, *record)
        await self.changes.until(lambda: self.stamp(watching, 0x92) is not None)
        self.assertIsNone(watching.select(Filter(type="battle")))
        await watching.deliver(0x92, b"early")
        await self.write(watching, *service)
        await self.changes.until(lambda: watching.select(Filter(type="battle")) is not None)
        watching.send_by(Filter(type="battle"), b"chosen")
        await self.changes.until(lambda: len(inbox.payloads) == 2)
        self.assertEqual(inbox.payloads, [b"early", b"chosen"])
