"""Loops over servers of NATS that a node finds which is a leaf of one of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from atbus.nats import bounds
from tests.nats.crossing import cross
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.transcripts import QUIET
from tests.node.bus import CHILD, SIBLING

HUBS, PORT = (0x20000, 0x20001), 7422
ELSEWHERE = "ipv4://10.0.0.9:1"


class LoopTests(HarborTests):
    """A root and two gateways below it; each is the leaf of another node of a second bus."""

    def begin(self, network: Any) -> None:
        super().begin(network)
        self.top = self.root()
        above: dict[str, Any] = {"listen": [ELSEWHERE], "subnets": [(0, 16)]}
        hubs, self.leafs = [], []
        for place, hub in enumerate(HUBS):
            there = f"127.0.0.1:{PORT + place}"
            options = {"upstream": ELSEWHERE} if place else above
            hubs.append(self.node(hub, nats={**DOOR, "leaf_listen": there}, **options))
            remotes = {**DOOR, "leaf_remotes": [{"urls": [there]}]}
            self.leafs.append(self.child((CHILD, SIBLING)[place], nats=remotes))
        for node in (*hubs, *self.leafs):
            self.gateway(node)
        for place, (hub_node, leaf) in enumerate(zip(hubs, self.leafs, strict=True)):
            [door] = [
                each
                for each in self.quays[hub_node].ports
                if each.getHost().port == PORT + place  # type: ignore[attr-defined]  # on TCP
            ]
            self.quays[leaf].dial = partial(cross, network.clock, door.factory)
        self.hubs = hubs
        network.start(self.top, *hubs, *self.leafs)

    @property
    def serving(self) -> list[int]:
        """Which gateways are leafs."""
        return [
            gateway.node.bus_id
            for gateway in (self.gateways[node] for node in self.leafs)
            if any(link.takes_part for link in gateway.leafs.links)
        ]

    def test_the_lower_id_stays(self) -> None:
        """The one with the higher id hangs up at once, tries in vain, and serves in the end."""
        tries = self.quays[self.leafs[1]].dialed
        self.until(lambda: len(tries) == 1)
        self.until(lambda: self.serving == [CHILD], 0.5)
        self.network.settle(bounds.LEAF_LASTING_SECONDS - 1)
        self.assertEqual(len(tries), 1)
        clients: list[Caller] = []
        for node in (*self.hubs, *self.leafs):
            clients.append(self.caller(self.gateways[node]))
            clients[-1].says(QUIET + b"SUB said 1\r\n")
        self.network.settle(bounds.LEAF_LASTING_SECONDS / 10 + 2)
        self.assertEqual(len(tries), 2)
        self.assertEqual(self.serving, [CHILD])
        for client in clients:
            client.says(b"PUB said 2\r\nhi\r\n")
        self.network.settle()
        for client in clients:
            self.assertEqual(client.hears().count(b"MSG said"), len(clients))
        self.network.result_of(self.gateways[self.leafs[0]].leafs.stop())
        self.until(lambda: self.serving == [SIBLING], bounds.LEAF_LASTING_SECONDS * 1.1 + 1)

    def test_a_loop_without_another_gateway(self) -> None:
        """Who hears of nobody that would hang up waits a moment, and hangs up itself."""
        self.network.result_of(self.gateways[self.leafs[1]].stopService())
        self.until(lambda: self.serving == [CHILD])
        [link] = self.gateways[self.leafs[0]].leafs.links
        self.network.settle()
        loop = self.top.subscribe(link.session.loop_subject, lambda _: None)
        self.network.settle(bounds.LEAF_RIVAL_SECONDS / 2)
        loop.unsubscribe()
        self.network.settle(bounds.LEAF_RIVAL_SECONDS * 2)
        self.assertEqual(self.serving, [CHILD])
        self.top.subscribe(link.session.loop_subject, lambda _: None)
        self.network.settle(bounds.LEAF_RIVAL_SECONDS - 0.1)
        self.assertEqual(self.serving, [CHILD])
        self.until(lambda: self.serving == [], 0.2)
