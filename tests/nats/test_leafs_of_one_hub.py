"""Gateways of one bus that are told of the same server, when the bus is cut and joined again."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import Any

from atbus.nats import bounds
from tests.nats.crossing import cross
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.transcripts import QUIET
from tests.node.bus import CHILD, SIBLING

HUB, PORT = 0x20001, 7422


class CutTests(HarborTests):
    """A root, two gateways below it, and a server of which both could be the leaf."""

    def begin(self, network: Any) -> None:
        super().begin(network)
        self.top = self.root()
        hub = self.node(HUB, nats={**DOOR, "leaf_listen": f"127.0.0.1:{PORT}"})
        nats = {**DOOR, "leaf_remotes": [{"urls": [f"127.0.0.1:{PORT}"]}]}
        self.sides = [hub, self.child(CHILD, nats=nats), self.child(SIBLING, nats=nats)]
        for node in self.sides:
            self.gateway(node)
        [door] = [
            each
            for each in self.quays[hub].ports
            if each.getHost().port == PORT  # type: ignore[attr-defined]  # of an address on TCP
        ]
        for node in self.sides[1:]:
            self.quays[node].dial = partial(cross, network.clock, door.factory)
        network.start(self.top, *self.sides)
        self.heard: list[Counter[bytes]] = []
        self.clients: list[Caller] = []
        self.said = 0

    @property
    def serving(self) -> list[int]:
        """Which gateways serve."""
        gateways = [self.gateways[node] for node in self.sides[1:]]
        return [
            gateway.node.bus_id
            for gateway in gateways
            if any(link.takes_part for link in gateway.leafs.links)
        ]

    def open(self) -> None:
        """Connect one client to each side; each hears everything."""
        self.until(lambda: self.serving == [CHILD])
        for node in self.sides:
            client = self.caller(self.gateways[node])
            client.says(QUIET + b"SUB said 1\r\n")
            self.clients.append(client)
            self.heard.append(Counter())
        self.network.settle()

    def say(self) -> None:
        """Let each of them say something that nobody has said before."""
        for client in self.clients:
            self.said += 1
            client.says(b"PUB said 6\r\n%06d\r\n" % self.said)

    def listen(self) -> None:
        """Note what each of them hears."""
        self.network.settle()
        for client, heard in zip(self.clients, self.heard, strict=True):
            heard.update(re.findall(rb"MSG said 1 6\r\n(\d{6})", client.hears()))

    def test_a_bus_that_is_cut_and_joined(self) -> None:
        """While it is cut both halves are served, and are one over the server; then one serves."""
        self.open()
        self.say()
        self.listen()
        self.network.split(self.top, self.sides[2])
        self.until(lambda: self.serving == [CHILD, SIBLING], 200.0)
        self.network.settle()
        self.say()
        self.listen()
        self.assertEqual([sorted(heard.values()) for heard in self.heard], [[1] * 6] * 3)
        self.network.heal(self.top, self.sides[2])
        while self.serving != [CHILD]:
            self.assertIn(CHILD, self.serving)
            self.say()
            self.network.settle(0.01)
        changed = self.said
        for _ in range(100):
            self.say()
            self.network.settle(0.01)
            self.assertEqual(self.serving, [CHILD])
        self.listen()
        for heard in self.heard:
            wrong = {number for number in range(1, self.said + 1) if heard[b"%06d" % number] != 1}
            # Only what was said in the moment of the change may be lost, or come twice.
            self.assertTrue(wrong <= set(range(changed - 5, changed + 1)), wrong)

    def test_a_loop_that_stays(self) -> None:
        """What another gateway may be the reason of is borne for a moment, no longer."""
        self.open()
        hub, child, _ = (self.gateways[node] for node in self.sides)
        self.network.settle()
        loop = self.top.subscribe(hub.leafs._loop_subject, lambda _: None)
        self.network.settle(bounds.LEAF_RIVAL_SECONDS - 0.1)
        self.assertEqual(self.serving, [CHILD])
        self.until(lambda: self.serving == [], 0.2)
        loop.unsubscribe()
        # Somebody else could have been in the way, so it is tried again soon.
        self.until(lambda: self.serving == [CHILD], 2 * bounds.LEAF_RETRY_SECONDS)
        again = self.top.subscribe(hub.leafs._loop_subject, lambda _: None)
        self.network.settle(bounds.LEAF_RIVAL_SECONDS / 2)
        again.unsubscribe()
        self.network.settle(5.0)
        self.assertEqual(self.serving, [CHILD])
        self.network.result_of(self.gateways[self.sides[2]].stopService())
        self.network.settle()
        self.top.subscribe(hub.leafs._loop_subject, lambda _: None)
        self.until(lambda: self.serving == [], 0.2)
        self.network.settle(bounds.LEAF_LASTING_SECONDS - 1)
        self.assertEqual(child.leafs.links, [])
        self.until(lambda: child.leafs.links != [], bounds.LEAF_LASTING_SECONDS / 10 + 1)
