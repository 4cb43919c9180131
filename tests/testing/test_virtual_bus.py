"""A bus in memory, for tests of programs on atbus."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.errors import Undeliverable
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.node_record import NodeRecord
from atbus.testing.virtual_bus import VirtualBus
from tests.documents import captioned_blocks, commands
from tests.simulation.case import seeds

ROOT, PROXIES = 0x10000, (0x10100, 0x10200)
LEAVES = tuple(proxy + number for proxy in PROXIES for number in (1, 2, 3))


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.0.{bus_id >> 8 & 255}.{bus_id & 255}:1"


@implementer(IMessageReceiver)
class Counter:
    """A service that counts what it is sent, and answers with the number."""

    def __init__(self, node: Node) -> None:
        self.count = 0
        node.receiver = self
        node.on_request(self.answer)

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Count one message."""
        self.count += 1

    def answer(self, source: int, payload: bytes) -> bytes:
        """Say how many there were."""
        return b"%d" % self.count


class VirtualBusTests(SynchronousTestCase):
    """Services on a bus that exists for the length of a test."""

    def tree(self, bus: VirtualBus, *, listening: bool = False, **options: Any) -> None:
        """Start a root, two proxies and six leaves, each of which counts and perhaps listens."""
        tree = {"listen": [address_of(ROOT)], "subnets": [(0, 16)]}
        bus.start(bus.node(ROOT, program=Counter, **tree, **options))
        for proxy in PROXIES:
            tree = {"listen": [address_of(proxy)], "subnets": [(0, 8)]}
            upstream = address_of(ROOT)
            bus.start(bus.node(proxy, program=Counter, upstream=upstream, **tree, **options))
        for leaf in LEAVES:
            upstream = address_of(leaf & ~0xFF)
            listen = [address_of(leaf)] if listening else []
            bus.start(
                bus.node(leaf, program=Counter, upstream=upstream, listen=listen, **options)
            )
        bus.run(1)

    def chatter(self, bus: VirtualBus, seconds: float) -> None:
        """Have random nodes send to random nodes."""
        ids = (ROOT, *PROXIES, *LEAVES)

        def send(node: Node) -> None:
            target = bus.random.choice([each for each in ids if each != node.bus_id])
            try:
                node.send(target, b"x" * bus.random.choice((0, 10, 1_000, 70_000)))
            except Undeliverable:
                return

        at = 0.0
        while at < seconds:
            at += bus.random.expovariate(40)
            bus.later(at, bus.random.choice(ids), send)

    def test_fine_weather(self) -> None:
        """Without faults every message arrives, and what services answer is right."""
        with VirtualBus(seed=3) as bus:
            self.tree(bus)
            self.chatter(bus, seconds=3)
            bus.run(5)
            count = bus.result_of(bus[LEAVES[0]].request(LEAVES[5], b"how many?"))
            verdict = bus.finish()
        self.assertEqual((verdict.delivered, verdict.lost), (verdict.sent, 0))
        self.assertGreater(int(count), 0)

    def test_bad_weather(self) -> None:
        """
        Whatever breaks, every message arrives once and in order, or its sender is told of it; in
        the end everybody is back.
        """
        for seed in seeds(1, 5):
            with VirtualBus(seed) as bus:
                self.tree(bus)
                bus.weather(seconds=20, faults=8)
                self.chatter(bus, seconds=20)
                verdict = bus.finish()
            self.assertGreater(verdict.delivered, 100)

    def test_who_leaves_comes_back(self) -> None:
        """What a node has taken before it leaves arrives; its next life is another one."""
        with VirtualBus(seed=5) as bus:
            self.tree(bus)
            first = bus[PROXIES[0]]
            bus.leave(first, 0.5)
            self.chatter(bus, seconds=1)
            verdict = bus.finish()
        second = bus[PROXIES[0]]
        self.assertIsNot(first, second)
        self.assertGreater(second.epoch, first.epoch)
        self.assertEqual((verdict.lost, verdict.uncertain), (0, 0))
        self.assertIn(f"leave {PROXIES[0]:#x} for 0.500 s", bus.story())

    def test_who_dies_while_it_leaves_is_restarted_once(self) -> None:
        """It is not begun twice; nor is one that is asked to leave and is not up."""
        with VirtualBus(seed=6) as bus:
            self.tree(bus)
            node = bus[PROXIES[0]]
            bus.leave(node, 0.5)
            bus.kill(node)
            bus.leave(node, 0.5)
            bus.run(3)
            second = bus.restart(PROXIES[0])
            bus.run(10)
            self.assertIs(bus[PROXIES[0]], second)
            self.assertEqual(second.state, "running")

    def test_a_seed_is_always_the_same_story(self) -> None:
        """What happened under a seed happens again under it."""
        stories = []
        for _ in range(2):
            with VirtualBus(seed=5) as bus:
                self.tree(bus)
                bus.weather(seconds=10, faults=8)
                self.chatter(bus, seconds=10)
                verdict = bus.finish()
            stories.append((bus.log, verdict.sent, verdict.delivered))
        self.assertEqual(stories[0], stories[1])

    def test_a_failure_names_its_seed(self) -> None:
        """Whatever a test finds wrong, the seed and what was done stand beside it."""
        with self.assertRaises(ValueError) as raised, VirtualBus(seed=11) as bus:
            self.tree(bus)
            bus.cut(bus[ROOT], bus[PROXIES[0]])
            raise ValueError("the service is wrong")
        (note,) = raised.exception.__notes__
        self.assertIn("seed 11", note)
        self.assertIn("cut 0x10000 0x10100", note)

    def test_who_does_not_come_back_is_a_failure(self) -> None:
        """A node that is not up when the weather has cleared is named."""
        with self.assertRaises(AssertionError) as raised, VirtualBus(seed=1) as bus:
            lonely = bus.node(0x20000, upstream="ipv4://10.9.9.9:1")
            lonely.start().addErrback(lambda _: None)
        self.assertIn("0x20000 is starting", str(raised.exception))

    def overtake(self, bus: VirtualBus) -> None:
        """Let a message overtake another one that is stuck, when its node gives up the order."""
        self.tree(bus, listening=True)
        near, far, proxy = bus[LEAVES[0]], bus[LEAVES[1]], bus[PROXIES[0]]
        bus.clog(proxy, far, 4.0)
        near.send(LEAVES[1], b"stuck")
        bus.run(0.2)
        near.connect(address_of(LEAVES[1]))
        bus.run(0.2)
        near.send(LEAVES[1], b"later")

    def test_an_order_that_was_given_up(self) -> None:
        """A message may overtake another one where a node has given up the order to its target."""
        with VirtualBus(seed=1) as bus:
            self.overtake(bus)
            verdict = bus.finish()
        self.assertEqual((verdict.reordered, verdict.unordered, verdict.lost), (1, 1, 0))
        # Each of the two has given up the order to the other one.
        self.assertEqual(bus.orders_given_up, 2)

    def test_the_order_to_somebody_else(self) -> None:
        """That an order was given up excuses only what is for the same target."""
        recorded = NodeRecord.order_given_up
        self.patch(
            NodeRecord, "order_given_up", lambda record, target: recorded(record, target + 0x100)
        )
        with self.assertRaises(AssertionError) as raised, VirtualBus(seed=1) as bus:
            self.overtake(bus)
        self.assertIn("reordered 1", str(raised.exception))

    def test_an_unknown_fault(self) -> None:
        """A kind of weather that does not exist is a mistake of the test."""
        with self.assertRaises(ValueError), VirtualBus(seed=1) as bus:
            self.tree(bus)
            bus.weather(1, 1, ["hail"])
            bus.run(2)


class HowToTests(SynchronousTestCase):
    """The program and the test of the how-to."""

    def test_the_how_to(self) -> None:
        """What the how-to shows is a test that passes."""
        folder = Path(tempfile.mkdtemp(prefix="atbus-docs-"))
        self.addCleanup(shutil.rmtree, folder)
        page = "howto/test-with-a-virtual-bus.rst"
        for name in ("shop.py", "test_shop.py"):
            (folder / name).write_text(captioned_blocks(page)[name], encoding="utf-8")
        self.assertEqual(commands(page), ["trial test_shop"])
        done = subprocess.run(
            [sys.executable, "-m", "twisted.trial", "test_shop"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
