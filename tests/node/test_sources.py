"""Nodes that learn addresses while they run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from atbus import limits
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests

SPARE_ADDRESS = "ipv4://10.0.0.9:1"


class UpstreamTests(BusTests):
    """Upstreams that are found."""

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.mkdtemp(prefix="atbus-")
        self.addCleanup(shutil.rmtree, folder)
        self.file = Path(folder) / "upstreams"

    def test_an_upstream_is_found_in_a_list(self) -> None:
        """A node that is given addresses registers with the first one that answers."""
        root = self.root()
        static = {"addresses": [SPARE_ADDRESS, ROOT_ADDRESS]}
        child = self.node(CHILD, static=static)
        self.network.start(root, child)
        self.assertEqual(self.ids(child), [ROOT])

    def test_a_file_may_come_later(self) -> None:
        """A node waits for the file that names its upstream, and registers as soon as it does."""
        root = self.root()
        self.network.start(root)
        child = self.node("auto", static={"file": str(self.file)})
        started = child.start()
        self.network.settle(60)
        self.assertFalse(started.called)
        self.file.write_text(f"{ROOT_ADDRESS}  # the only one\n", encoding="utf-8")
        # Not after the longest pause between two attempts: when the file has been looked at.
        self.network.result_of(started, 2.5)
        self.assertEqual(self.ids(child), [ROOT])

    def test_another_upstream_takes_over(self) -> None:
        """When an upstream is lost, the one that the file names by now is tried."""
        self.file.write_text(ROOT_ADDRESS, encoding="utf-8")
        root, spare = self.root(), self.node(ROOT, listen=[SPARE_ADDRESS], subnets=[(0, 16)])
        child = self.node(CHILD, static={"file": str(self.file)})
        self.network.start(root, child)
        self.file.write_text(SPARE_ADDRESS, encoding="utf-8")
        self.network.settle(2.5)
        self.kill(root)
        self.network.start(spare)
        self.network.settle(limits.RECONNECT_SECONDS_MAX)
        self.assertEqual(self.ids(spare), [CHILD])

    def test_the_configuration_comes_first(self) -> None:
        """Upstreams of the configuration are tried before those that are found."""
        root, spare = self.root(), self.node(ROOT, listen=[SPARE_ADDRESS], subnets=[(0, 16)])
        child = self.child(static={"addresses": [SPARE_ADDRESS]})
        self.network.start(root, spare, child)
        self.assertEqual((self.ids(root), self.ids(spare)), ([CHILD], []))


class PeerCase(BusTests):
    """Proxies that are told where others are."""

    def place(self, number: int) -> str:
        """Say where a proxy listens."""
        return f"ipv4://10.0.0.{number}:7000"

    def proxy(self, number: int, *known: int, **options: Any) -> Node:
        """Make a proxy that is told where others are, itself perhaps among them."""
        static = {"addresses": [self.place(each) for each in known], "use": "peers"}
        given = {"listen": [self.place(number)], "static": static, "proxy": True}
        return self.node(number << 16, **(given | options))


class PeerTests(PeerCase):
    """Peers that are found."""

    def test_all_of_them_connect(self) -> None:
        """Nodes with one list, in which each of them stands, connect each to each other, once."""
        proxies = [self.proxy(number, 1, 2, 3) for number in (1, 2, 3)]
        self.network.start(*proxies)
        self.network.settle(10)
        ids = {proxy.bus_id for proxy in proxies}
        for proxy in proxies:
            self.assertEqual(set(proxy.endpoints), ids - {proxy.bus_id})
        # Nobody dials again what is connected, whoever has dialled it.
        dialled = [len(self.network.channels), sum(map(self.dials, proxies))]
        self.network.settle(120)
        self.assertEqual([len(self.network.channels), sum(map(self.dials, proxies))], dialled)

    def dials(self, node: Node) -> int:
        """Count the registrations of a node."""
        return len(self.diaries[node].registrations())

    def test_who_comes_back_is_dialled_again(self) -> None:
        """A peer that was away is connected again when it is back; nobody else has to do it."""
        first, second = self.proxy(1, 2), self.proxy(2)
        self.network.start(first)
        self.network.settle(60)
        self.network.start(second)
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 1)
        self.assertEqual(self.ids(first), [second.bus_id])
        self.network.result_of(second.stop())
        self.network.settle(10)
        self.assertEqual(self.ids(first), [])
        self.network.start(second)
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 1)
        self.assertEqual(self.ids(first), [second.bus_id])

    def test_an_address_of_ours_is_left_alone(self) -> None:
        """Who dials himself, as through a name that he does not know, does that once."""
        first = self.proxy(1, 1, listen=[])
        self.network.start(first)
        self.network.settle(5)
        self.network.result_of(first.listen(self.place(1)))
        self.network.settle(120)
        statuses = [status for _, _, status in self.diaries[first].registrations()]
        self.assertEqual(statuses.count("SELF_CONNECT"), 2)


class MeshTests(BusTests):
    """Peers that are known by their labels."""

    def proxy(self, number: int, **options: Any) -> Node:
        """Make a proxy that knows where three are, and is to be connected to those of its group."""
        records = [
            {"id": each << 16, "labels": {"group": "a" if each < 3 else "b"}, "addresses": [place]}
            for each in (1, 2, 3)
            if each != number and (place := f"ipv4://10.0.0.{each}:7000")
        ]
        given = {
            "listen": [f"ipv4://10.0.0.{number}:7000"],
            "topology": "records",
            "proxy": True,
            "records": records,
            "peer_labels": {"group": "a"},
        }
        return self.node(number << 16, **(given | options))

    def test_a_group_is_connected(self) -> None:
        """Proxies stay connected to those with the labels of their group, and to nobody else."""
        first, second = self.proxy(1), self.proxy(2)
        other = self.proxy(3, peer_labels={})
        self.network.start(first, second, other)
        self.network.settle(10)
        self.assertEqual((self.ids(first), self.ids(second)), ([2 << 16], [1 << 16]))
        self.assertEqual(self.ids(other), [])
        # One of them has dialled, and each has registered the other once for each of two streams.
        self.assertEqual(len(self.diaries[first].registrations()), 2)
        self.network.result_of(second.stop())
        self.network.settle(5)
        self.assertEqual(self.ids(first), [])
        self.network.start(second)
        self.network.settle(limits.RECONNECT_SECONDS_MAX)
        self.assertEqual(self.ids(first), [2 << 16])

    def test_the_policy_counts(self) -> None:
        """A node that the policy does not allow is not dialled."""
        policy = [{"action": "deny", "labels": {"group": ["a"]}}]
        first, second = self.proxy(1, policy=policy), self.proxy(2, policy=policy)
        self.network.start(first, second)
        self.network.settle(60)
        self.assertEqual(self.diaries[first].registrations(), [])

    def test_who_cannot_be_dialled_dials(self) -> None:
        """When the one who should dial cannot, the other one does."""
        first, second = self.proxy(1), self.proxy(2, listen=[])
        self.network.start(first, second)
        self.network.settle(10)
        self.assertEqual((self.ids(first), self.ids(second)), ([2 << 16], [1 << 16]))


class GossipTests(BusTests):
    """Peers that nobody was told of: what is known of them has come over the tree."""

    def member(self, number: int, group: str = "a", **options: Any) -> Node:
        """Make a proxy below the root that is to be connected to those of its group."""
        labels = {"group": group}
        return self.child(
            ROOT + (number << 8),
            listen=[f"ipv4://10.0.1.{number}:7000"],
            subnets=[(0, 8)],
            **{"labels": labels, "peer_labels": labels, "proxy": True, **options},
        )

    def test_a_newcomer_is_connected_to_all(self) -> None:
        """It is told of all of its group, and they of it; those of other groups stay apart."""
        members = [self.member(number) for number in (1, 2, 3)]
        stranger, newcomer = self.member(4, "b"), self.member(5)
        self.network.start(self.root(), *members, stranger)
        self.network.settle(10)
        for member in members:
            others = [each.bus_id for each in members if each is not member]
            self.assertEqual(self.ids(member), [ROOT, *others])
        self.network.start(newcomer)
        self.network.settle(10)
        group = [*members, newcomer]
        for member in group:
            others = [each.bus_id for each in group if each is not member]
            self.assertEqual(self.ids(member), [ROOT, *others])
        self.assertEqual(self.ids(stranger), [ROOT])

    def test_who_is_told_later_whom_to_look_for(self) -> None:
        """With labels of its own a proxy asks who has them, though it is there for a while."""
        members = [self.member(number) for number in (1, 2)]
        late = self.member(3, "b", peer_labels={})
        self.network.start(self.root(), *members, late)
        self.network.settle(10)
        others = [each.bus_id for each in members]
        self.assertEqual([each.bus_id for each in late.records()], [ROOT, late.bus_id])
        reconfigure(late, late.config.replace(peer_labels={"group": "a"}))
        self.network.settle(10)
        self.assertEqual(self.ids(late), [ROOT, *others])


class ReloadTests(PeerCase):
    """Each test is named for the option that changes."""

    def test_peer_labels(self) -> None:
        """Nodes with other labels are connected to at once, whoever they are."""
        record = {"id": 2 << 16, "labels": {"group": "b"}, "addresses": [self.place(2)]}
        first = self.proxy(1, records=[record], peer_labels={"group": "a"})
        second = self.proxy(2)
        self.network.start(first, second)
        self.network.settle(5)
        self.assertEqual(self.ids(first), [])
        change = reconfigure(first, first.config.replace(peer_labels={"group": "b"}))
        self.assertEqual(change.applied, {"peer_labels"})
        self.network.settle(5)
        self.assertEqual(self.ids(first), [second.bus_id])

    def test_static(self) -> None:
        """A list that is given anew is used at once; connections that are there stay."""
        first, second, third = self.proxy(1, 2), self.proxy(2), self.proxy(3)
        self.network.start(first, second, third)
        self.network.settle(5)
        self.assertEqual(self.ids(first), [second.bus_id])
        static = {"addresses": [self.place(3)], "use": "peers"}
        change = reconfigure(first, first.config.replace(static=static))
        self.assertEqual(change.applied, {"static"})
        self.network.settle(5)
        self.assertEqual(self.ids(first), [second.bus_id, third.bus_id])
