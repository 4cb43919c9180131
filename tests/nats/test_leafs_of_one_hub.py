"""Leafs of servers: gateways that are told of the same one, and one that is told of several."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import Any

from twisted.internet.error import ConnectError
from twisted.python.failure import Failure

from atbus.nats import bounds
from tests.nats.crossing import End, cross
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.transcripts import QUIET
from tests.node.bus import CHILD, SIBLING

HUB, PORT = 0x20001, 7422
REMOTE = {**DOOR, "leaf_remotes": [{"urls": [f"127.0.0.1:{PORT}"]}]}


class CutTests(HarborTests):
    """A root, two gateways below it, and a server of which both could be the leaf."""

    def begin(self, network: Any) -> None:
        super().begin(network)
        self.top = self.root()
        hub = self.node(HUB, nats={**DOOR, "leaf_listen": f"127.0.0.1:{PORT}"})
        self.sides = [hub, self.child(CHILD, nats=REMOTE), self.child(SIBLING, nats=REMOTE)]
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


class SeveralTests(HarborTests):
    """A gateway below a root, and two servers of which either will do."""

    def begin(self, network: Any) -> None:
        super().begin(network)
        self.hubs = [
            self.node(HUB + place, nats={**DOOR, "leaf_listen": f"127.0.0.1:{PORT + place}"})
            for place in range(2)
        ]
        urls = [f"127.0.0.1:{PORT + place}" for place in range(2)]
        self.leaf = self.node(CHILD, nats={**DOOR, "leaf_remotes": [{"urls": urls}]})
        for node in (*self.hubs, self.leaf):
            self.gateway(node)
        # Who takes connections, and who hangs up behind them.
        self.there, self.rude = {PORT, PORT + 1}, set[int]()
        self.ends: list[End] = []
        self.quays[self.leaf].dial = self.dial
        network.start(*self.hubs, self.leaf)
        self.until(lambda: self.ports == [PORT])
        # It has been a leaf for a while.
        network.settle(2 * bounds.LEAF_RETRY_SECONDS)

    @property
    def ports(self) -> list[int]:
        """Where it has dialed."""
        return [port for _, port in self.quays[self.leaf].dialed]

    def dial(self, port: int, factory: Any) -> Any:
        """Connect the leaf."""
        clock = self.network.clock
        if port not in self.there:
            end = End(clock)
            clock.callLater(0, factory.clientConnectionFailed, end, Failure(ConnectError()))
            return end
        [door] = [
            each
            for node in self.hubs
            for each in self.quays[node].ports
            if each.getHost().port == port  # type: ignore[attr-defined]  # of an address on TCP
        ]
        self.ends.append(cross(clock, door.factory, port, factory))
        if port in self.rude:
            self.ends[-1].other.loseConnection()
        return self.ends[-1]

    def lose(self) -> None:
        """The server that it is a leaf of goes."""
        self.there.discard(self.ports[-1])
        self.ends[-1].other.loseConnection()

    def test_the_next_one_is_dialed_at_once(self) -> None:
        """When its server goes the next one is dialed at once, and a second is waited after all."""
        self.lose()
        self.network.settle(0.1)
        self.assertEqual(self.ports, [PORT, PORT + 1])
        self.assertTrue(any(link.takes_part for link in self.gateways[self.leaf].leafs.links))
        self.network.settle(2 * bounds.LEAF_RETRY_SECONDS)
        self.lose()
        self.network.settle(0.9 * bounds.LEAF_RETRY_SECONDS)
        self.assertEqual(self.ports[2:], [PORT])
        self.network.settle(bounds.LEAF_RETRY_SECONDS)
        self.assertEqual(self.ports[3:], [PORT + 1, PORT])

    def test_servers_that_hang_up(self) -> None:
        """Servers that hang up as soon as they are dialed are not dialed without a pause."""
        self.rude = {PORT, PORT + 1}
        before = len(self.ports)
        self.ends[-1].other.loseConnection()
        self.network.settle(10 * bounds.LEAF_RETRY_SECONDS)
        self.assertIn(len(self.ports) - before, range(18, 23))
