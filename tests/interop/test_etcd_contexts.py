"""Nodes that use several places in etcd."""

from __future__ import annotations

from typing import Any

from atbus.node.directory import EtcdPlaces
from atbus.node.node import Node
from atbus.routing.registry import Feeder, NodeDown, NodeUp
from tests.interop.test_etcd_nodes import NodeCase


class ContextTests(NodeCase):
    """Two prefixes of one etcd."""

    def at(self, *places: str, **more: Any) -> dict[str, Any]:
        """Name places of this test: the first one, and those beside it."""
        first, *further = (self.prefix(place).decode() for place in places)
        contexts = [{"prefix": prefix, **more} for prefix in further]
        return {"prefix": first, "contexts": contexts}

    def label(self, node: Node, other: int) -> str | None:
        """Look up what a node knows of another one."""
        found = [record for record in node.records() if record.bus_id == other]
        return found[0].label("who") if found else None

    async def test_a_node_that_moves_is_gone_and_back(self) -> None:
        """
        A node that leaves one place and comes back in another is told as gone, and as back.

        Scenario: U14
        """
        watching = self.node(0x11, etcd=self.at("a/", "b/"))
        await watching.start()
        news = self.news(watching)
        first = self.node(0x12, etcd=self.at("a/"), labels={"who": "a"})
        await first.start()
        await self.changes.until(lambda: self.knows(watching, 0x12))
        await first.stop()
        await self.changes.until(lambda: (NodeDown, 0x12) in news)
        await self.changes.until(lambda: not watching.services.get(0x12))
        again = self.node(0x12, etcd=self.at("b/"), labels={"who": "b"})
        await again.start()
        await self.changes.until(lambda: self.knows(watching, 0x12))
        self.assertEqual(self.label(watching, 0x12), "b")
        self.assertEqual(news, [(NodeUp, 0x12), (NodeDown, 0x12), (NodeUp, 0x12)])
        # Nothing of the first place is left behind.
        discovering = watching._parts.discovering
        self.assertEqual(discovering._records[Feeder.ETCD].keys_of("etcd"), [])
        self.assertEqual(
            discovering.in_sync, {"etcd", f"etcd {self.prefix('b/').decode()}"}
        )

    async def test_the_first_owner_of_an_id_stays(self) -> None:
        """
        Of two nodes with one id in two places the first counts, and the other when that has gone.

        Scenario: U15
        """
        watching = self.node(0x21, etcd=self.at("a/", "b/"))
        await watching.start()
        first = self.node(0x22, name="first", etcd=self.at("b/"), labels={"who": "first"})
        await first.start()
        await self.changes.until(lambda: self.knows(watching, 0x22))
        second = self.node(0x22, name="second", etcd=self.at("a/"), labels={"who": "second"})
        await second.start()
        # Somebody who came after the second one is known: what the second has said was heard.
        third = self.node(0x23, etcd=self.at("a/"))
        await third.start()
        await self.changes.until(lambda: self.knows(watching, 0x23))
        self.assertEqual(self.label(watching, 0x22), "first")
        await first.stop()
        await self.changes.until(lambda: self.label(watching, 0x22) == "second")

        def is_second() -> bool:
            service = watching.services.get(0x22)
            return service is not None and service.name == "second"

        await self.changes.until(is_second)

    async def test_reading_and_writing_are_switched_for_each_place(self) -> None:
        """
        Who announces itself where it looks finds itself and the other; crossed over, the other.

        Scenario: U16
        """
        for number in (0x31, 0x32):
            await self.node(number, etcd=self.at("both/", "more/")).start()
        mutual = self.node(0x33, etcd=self.at("both/"))
        await mutual.start()
        await self.changes.until(lambda: self.knows(mutual, 0x31, 0x32, 0x33))
        here = self.at("here/", "there/", watch=False)
        there = self.at("there/", "here/", watch=False)
        here["announce"] = there["announce"] = False
        for place in (*here["contexts"], *there["contexts"]):
            place["announce"] = True
        one, other = self.node(0x34, etcd=here), self.node(0x35, etcd=there)
        await one.start()
        await other.start()
        await self.changes.until(lambda: self.knows(one, 0x35) and self.knows(other, 0x34))
        self.assertIsNone(one.services.get(0x34))
        self.assertIsNone(other.services.get(0x35))

    async def test_one_cluster_is_one_lease(self) -> None:
        """Places of one etcd share its connections and its lease."""
        node = self.node(0x41, etcd=self.at("a/", "b/"))
        await node.start()
        (directory,) = node._parts.discovering._directories
        assert isinstance(directory, EtcdPlaces)
        self.assertEqual(directory._cluster.lease.granted, 1)
        self.assertEqual(len(directory.announcers), 2)
        self.assertTrue(all(each.is_announced for each in directory.announcers.values()))
