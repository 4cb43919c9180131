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


class ReloadTests(PeerCase):
    """Each test is named for the option that changes."""

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
