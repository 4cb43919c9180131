"""Attacks by whoever can write what a node knows of others: registries, files, route tables."""

from __future__ import annotations

from typing import Any

from atbus.discovery import documents
from atbus.discovery.interfaces import RecordFound
from atbus.errors import Status
from atbus.node.node import Node
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder
from atbus.routing.services import Version
from atbus.wire.messages import ConnectNotice
from tests.node.mail import NORTH, NORTH_ADDRESS, MailTests

NODE, PROXY, EVIL = 0x31, 0x41, 0x55
NODE_ADDRESS = "ipv4://10.0.0.31:1"
PROXY_ADDRESS, EVIL_ADDRESS = "ipv4://10.0.0.41:1", "ipv4://10.0.0.55:1"
LABELS = {"role": "proxy"}
REGISTRIES = (Feeder.ETCD, Feeder.ZOOKEEPER)


def record_at(address: str, seq: int = 1, bus_id: int = PROXY) -> Record:
    """Say of a proxy that it listens somewhere."""
    return Record(bus_id=bus_id, labels=LABELS, addresses=(address,), stamp=Stamp(5, seq))


class PoisonTests(MailTests):
    """Records with the id of one node, and the address of another that waits there."""

    def listener(self, bus_id: int, address: str, **options: Any) -> Node:
        """Start a node that listens."""
        node = self.node(bus_id, listen=[address], topology="records", **options)
        self.network.start(node)
        return node

    def victim(self, **options: Any) -> Node:
        """Make a node that goes by records."""
        return self.node(
            NODE, listen=[NODE_ADDRESS], topology="records", direct_connections=True, **options
        )

    def write(self, node: Node, feeder: Feeder, *records: Record) -> None:
        """Have a source tell a node of records; that of a registry are read as they stand in it."""
        if feeder not in REGISTRIES:
            node._parts.topology.claim(feeder, records)
            return
        found = []
        for record in records:
            value = documents.write_record(record, documents.Author("somebody"))
            key = documents.read_key("/", documents.topology_key("/", record.bus_id))
            found.append(RecordFound(documents.read_record(key, value), Version(record.stamp.seq)))
        node._parts.discovering._receiver(feeder, f"of {feeder}").discovered(found)

    def mismatches(self, node: Node) -> int:
        """Count the registrations of a node that have met another than was expected."""
        met = [told[2] for told in self.diaries[node].registrations()]
        return met.count(Status.BUS_ID_MISMATCH.name)

    def test_security_discovery_takeover(self) -> None:
        """
        What records say of an upstream is a hint, whoever brings them: another node at its address,
        or the node itself, is refused, which ends nothing, and the next one has its turn. So is
        the right one, if it says itself that it has not the labels for which it was chosen.
        """
        evil = self.listener(EVIL, EVIL_ADDRESS, labels=LABELS)
        for feeder in (Feeder.SYNC, *REGISTRIES, Feeder.STATIC):
            node = self.victim(upstream_labels=LABELS)
            started = node.start()
            self.write(node, feeder, record_at(NODE_ADDRESS))
            self.network.settle(10)
            self.write(node, feeder, record_at(EVIL_ADDRESS, 2))
            self.network.settle(10)
            self.assertEqual((node.state, self.ids(node), self.ids(evil)), ("starting", [], []))
            self.assertGreater(self.mismatches(node), 0)
            other = self.listener(PROXY, PROXY_ADDRESS, labels={"role": "leaf"})
            self.write(node, feeder, record_at(PROXY_ADDRESS, 3))
            self.network.settle(20)
            self.assertEqual((node.state, self.ids(node), self.ids(other)), ("starting", [], []))
            self.network.stop(other)
            proxy = self.listener(PROXY, PROXY_ADDRESS, labels=LABELS)
            self.network.result_of(started)
            self.assertEqual((self.ids(node), self.ids(proxy)), ([PROXY], [NODE]))
            self.network.stop(node, proxy)
        self.assertEqual(self.ids(evil), [])

    def test_security_poisoned_peer(self) -> None:
        """Another than the peer that a record speaks of is no peer, where there are labels."""
        evil = self.listener(EVIL, EVIL_ADDRESS, labels=LABELS)
        node = self.victim(peer_labels=LABELS)
        self.network.start(node)
        self.write(node, Feeder.ETCD, record_at(EVIL_ADDRESS))
        self.network.settle(20)
        self.assertEqual((self.ids(node), self.ids(evil)), ([], []))
        self.assertGreater(self.mismatches(node), 0)

    def test_security_poisoned_direct(self) -> None:
        """A message gets to nobody else than its target, and nobody else becomes a neighbor."""
        evil = self.listener(EVIL, EVIL_ADDRESS)
        node = self.victim()
        self.network.start(node)
        self.write(node, Feeder.ETCD, record_at(EVIL_ADDRESS))
        node.send(PROXY, b"for the proxy")
        self.network.settle(60)
        self.assertEqual((self.diaries[node].added(), self.diaries[evil].added()), ([], []))
        self.assertGreater(self.mismatches(node), 0)
        self.assertEqual(self.mail[evil].payloads, [])
        self.assertEqual([each.count for each in self.mail[node].fates], [1])

    def test_security_poisoned_notice(self) -> None:
        """Where an upstream says that a sibling listens, nobody else is registered with."""
        evil = self.listener(EVIL, EVIL_ADDRESS)
        _, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2, listens=True)
        for address in (EVIL_ADDRESS, NORTH_ADDRESS):
            notice = ConnectNotice(
                source=NORTH, destination=one.bus_id, target=two.bus_id, addresses=(address,)
            )
            self.say(north, one, notice, data=False)
            self.network.settle(5)
            self.assertEqual((self.ids(one), self.ids(evil)), ([NORTH], []))
        self.assertEqual(self.mismatches(one), 2)
