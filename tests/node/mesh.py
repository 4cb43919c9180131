"""Buses in which records say who is below whom: two regions under one cross-region proxy."""

from __future__ import annotations

from typing import Any

from atbus.node.node import Node
from tests.node.mail import MailTests

CROSS = 0x1
EU1, EU2, US1, US2 = 0x11, 0x12, 0x21, 0x22
EU_LEAF, EU_OTHER = 0x111, 0x112

#: Proxies of one region are connected to each other, those of two regions never.
POLICY = [
    {"name": "one region", "action": "allow", "own_proxy": True, "same_labels": ["region"]},
    {"name": "cross-region", "action": "deny"},
]


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.0.{bus_id >> 8}.{bus_id & 255}:1"


def region_of(bus_id: int) -> str:
    """Say in which region a proxy or a leaf is."""
    return {1: "eu", 2: "us"}.get((bus_id & 0xFF) >> 4, "cross")


def upstream_of(bus_id: int) -> int:
    """Say who is above a node: leaf 0xL11 is below proxy 0x11, and that is below 0x1."""
    if bus_id == CROSS:
        return 0
    return bus_id & 0xFF if bus_id > 0xFF else CROSS


def table_of(bus_id: int) -> dict[str, Any]:
    """Say of a node what a configuration can know."""
    table: dict[str, Any] = {
        "id": bus_id,
        "addresses": [address_of(bus_id)],
        "labels": {"region": region_of(bus_id)},
        "proxy": bus_id <= 0xFF,
    }
    if upstream_of(bus_id):
        table["upstream"] = upstream_of(bus_id)
    return table


class MeshTests(MailTests):
    """
    Two regions of two proxies each, under one proxy::

        CROSS 1 --+-- EU1 11 -- leaf 111, 211 ...
                  +-- EU2 12 -- leaf 112 ...
                  +-- US1 21 -- leaf 121 ...
                  `-- US2 22 -- leaf 122 ...

    Their ids fit into no subnets; each node is told of all the others.
    """

    #: Two nodes that are below nobody.
    ONE, TWO = 0x31, 0x32

    def mesh_node(self, bus_id: int, known: list[int], **options: Any) -> Node:
        """Make one node of the mesh."""
        chosen: dict[str, Any] = {
            "listen": [address_of(bus_id)],
            "topology": "records",
            "labels": {"region": region_of(bus_id)},
            "proxy": bus_id <= 0xFF,
            "direct_connections": True,
            "policy": POLICY,
            "records": [table_of(other) for other in known if other != bus_id],
        }
        if upstream_of(bus_id):
            chosen["upstream"] = address_of(upstream_of(bus_id))
        return self.node(bus_id, **(chosen | options))

    def mesh(self, *bus_ids: int, **options: Any) -> dict[int, Node]:
        """Start nodes that know of each other, in this order."""
        known = list(bus_ids)
        made = {bus_id: self.mesh_node(bus_id, known, **options) for bus_id in bus_ids}
        self.network.start(*made.values())
        self.network.settle()
        return made

    def lone_pair(self, **options: Any) -> tuple[Node, Node]:
        """Make two nodes of which the first knows the second, and start the first."""
        chosen = {"topology": "records", "direct_connections": True} | options
        one = self.node(
            self.ONE, records=[{"id": self.TWO, "addresses": [address_of(self.TWO)]}], **chosen
        )
        two = self.node(self.TWO, listen=[address_of(self.TWO)], topology="records")
        self.network.start(one)
        return one, two

    def two_proxies(self, **options: Any) -> dict[int, Node]:
        """Start two proxies that are not connected, and a leaf below each."""
        known = (EU1, EU2, EU_LEAF, EU_OTHER)
        tables = {each: table_of(each) for each in known}
        del tables[EU1]["upstream"], tables[EU2]["upstream"]
        nodes = {}
        for bus_id in known:
            records = [tables[each] for each in known if each != bus_id]
            chosen = {"records": records, **options}
            if bus_id in (EU1, EU2):
                chosen["upstream"] = None
            nodes[bus_id] = self.mesh_node(bus_id, [], **chosen)
        self.network.start(*nodes.values())
        self.network.settle()
        return nodes
