"""Nodes that move as planned, on a bus with slow connections, under load."""

from __future__ import annotations

from collections import Counter
from random import Random

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.testing.network import VirtualChannel
from tests.node.mail import MailTests
from tests.simulation.case import seeds

TOP = 0x1
PROXIES = (0x11, 0x12, 0x13)
LEAVES = tuple(range(0x101, 0x109))


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.0.{bus_id >> 8}.{bus_id & 255}:1"


class MoveTests(MailTests):
    """
    Three proxies under a fourth, and leaves that are below the first one of them that is there.

    One proxy after the other drains, leaves and comes back, and so everybody below it moves twice.
    Meanwhile connections that carry data stand still now and then, one way, while those that carry
    the word of the moves do not.
    """

    def setUp(self) -> None:
        super().setUp()
        self.log: list[str] = []

    def again(self) -> None:
        """End this story, and begin another one."""
        self.end()
        self.setUp()

    def bring_up(self, seed: int) -> None:
        """Start everybody."""
        self.lot = Random(seed)
        self.sent: Counter[tuple[int, int]] = Counter()
        self.members: dict[int, Node] = {}
        self.start(TOP, listen=[address_of(TOP)], proxy=True)
        for each in PROXIES:
            self.start_proxy(each)
        for each in LEAVES:
            order = self.lot.sample(PROXIES, len(PROXIES))
            self.start(
                each,
                upstreams=[address_of(proxy) for proxy in order],
                upstream_return_seconds=self.lot.choice((0.1, 1.0)),
                direct_connections=self.lot.random() < 0.3,
                listen=[address_of(each)],
            )
        self.network.settle(2)

    def start(self, bus_id: int, **options: object) -> None:
        """Start a node."""
        node = self.members[bus_id] = self.node(bus_id, topology="records", **options)
        self.network.start(node)

    def start_proxy(self, bus_id: int) -> None:
        """Start a proxy."""
        self.start(bus_id, listen=[address_of(bus_id)], upstream=address_of(TOP), proxy=True)

    def talk(self, seconds: float, stall_seconds: float) -> None:
        """Send from random leaves to others, and let connections stand still now and then."""
        until = self.network.clock.seconds() + seconds
        while self.network.clock.seconds() < until:
            source, target = self.lot.sample(LEAVES, 2)
            size = self.lot.choice((8, 8, 8, 100_000))
            for _ in range(self.lot.choice((1, 3))):
                self.send(source, target, size)
            if self.lot.random() < 0.05:
                self.stall_one(self.lot.uniform(0, stall_seconds))
            self.network.settle(self.lot.uniform(0.001, 0.03))

    def send(self, source: int, target: int, size: int) -> None:
        """Send the next message of a flow, if it is not paused."""
        try:
            self.members[source].send(target, b"%08d" % self.sent[source, target] + bytes(size))
        except Undeliverable as error:
            self.assertIs(error.status, Status.BACKPRESSURE, "\n".join([*self.log, str(error)]))
        else:
            self.sent[source, target] += 1

    def stall_one(self, seconds: float) -> None:
        """Let one data connection carry nothing for a while, one way."""
        one = self.members[self.lot.choice((TOP, *PROXIES))]
        others = [each for each in one.endpoints.values() if each.data_link is not None]
        if not others:
            return
        other = self.lot.choice(others)
        channel = other.data_link and other.data_link.connection.channel
        assert isinstance(channel, VirtualChannel)
        channel = self.lot.choice((channel, channel.other))
        if not channel.stalled:
            now = self.network.clock.seconds()
            self.log.append(f"{now:.3f} {one.bus_id:x} - {other.bus_id:x} for {seconds:.3f} s")
            channel.stall()
            self.network.clock.callLater(seconds, channel.resume)

    def replace(self, proxy: int, stall_seconds: float) -> None:
        """Let a proxy drain, go, and come back; messages are sent all the time."""
        node = self.members[proxy]
        self.log.append(f"{self.network.clock.seconds():.3f} {proxy:x} drains")
        results: list[object] = []
        node.drain().addBoth(results.append)
        while not results:
            self.talk(0.1, stall_seconds)
        self.log.append(f"{self.network.clock.seconds():.3f} {proxy:x} stops: {results}")
        results.clear()
        node.stop().addBoth(results.append)
        while not results:
            self.talk(0.1, stall_seconds)
        self.talk(self.lot.uniform(0, 1), stall_seconds)
        self.log.append(f"{self.network.clock.seconds():.3f} {proxy:x} comes back")
        self.start_proxy(proxy)
        self.talk(self.lot.uniform(0, 4), stall_seconds)

    def ride_out(self, seed: int, stall_seconds: float) -> Counter[str]:
        """Let one seed happen; what became of messages that did not arrive."""
        self.log.append(f"seed {seed}")
        self.bring_up(seed)
        for _ in range(3):
            self.replace(self.lot.choice(PROXIES), stall_seconds)
        self.network.settle(8)
        story = "\n".join(self.log)
        told: Counter[str] = Counter()
        for source in LEAVES:
            told.update(self.mail[self.members[source]].statuses())
        missing = 0
        for (source, target), count in self.sent.items():
            got = self.mail[self.members[target]].payloads_from(source)
            numbers = [int(payload[:8]) for payload in got]
            name = f"{source:x} to {target:x}\n{story}"
            self.assertEqual(len(set(numbers)), len(numbers), name)
            if not self.given_up():
                self.assertEqual(numbers, sorted(numbers), name)
            missing += count - len(numbers)
        self.assertLessEqual(missing, told.total(), story)
        return told

    def given_up(self) -> int:
        """Say how often anybody gave up the order of messages."""
        return sum(node.statistics.order_given_up for node in self.mail)

    def test_nothing_is_refused(self) -> None:
        """Everything arrives once and in order; nobody is told that anything does not."""
        for seed in seeds(1, 8):
            told = self.ride_out(seed, 0.9)
            self.assertEqual((told, self.given_up()), ({}, 0), "\n".join(self.log))
            self.again()

    def test_longer_than_they_stay(self) -> None:
        """
        Nothing is refused if connections stand still for longer than who has moved stays.

        But the order may be given up then, which is told. A proxy that has to go when its own
        connections stand still gives up what it holds, and what is on one of them is uncertain.
        """
        for seed in seeds(1, 8):
            told = self.ride_out(seed, 4.0)
            self.assertLessEqual(
                set(told), {"UNCERTAIN", "CLOSING"}, "\n".join([str(told), *self.log])
            )
            self.again()
