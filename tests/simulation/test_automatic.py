"""
Trees whose leaves, and some of whose proxies, have their ids assigned, in bad weather.

``ATBUS_SEEDS=7`` runs seed 7 only, ``ATBUS_SEEDS=1-500`` many.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.errors import Undeliverable
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.virtual_bus import VirtualBus
from tests.simulation.case import seeds

ROOT: Final = 0x10000
#: The numbers under which the bus knows nodes that get their ids; those of proxies follow later.
_LEAVES, _PROXIES = 0x800, 0x900
_SECONDS: Final = 6.0
_QUIET_SECONDS: Final = 45.0
_BURSTS: Final = 100


def address_of(number: int) -> str:
    """Say where the root, or a proxy, listens."""
    return f"ipv4://10.0.{number >> 8 & 255}.{number & 255}:1"


@implementer(IMessageReceiver)
class _Echo:
    """A program that takes every message, and answers questions with its id."""

    def __init__(self, node: Node) -> None:
        node.receiver = self
        node.on_request(lambda source, payload: b"%x" % node.bus_id)

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message."""


class _Tree:
    """One bus: a root, up to three proxies, and leaves below the proxies, or below the root."""

    def __init__(self, bus: VirtualBus, lot: Random) -> None:
        self.bus = bus
        self.lot = lot
        self.numbers: list[int] = []
        fixed = [ROOT + 0x100 * place for place in (1, 2, 3)]
        reserved = [f"{bus_id:#x}/8" for bus_id in fixed]
        above = {"upstream": address_of(ROOT)}
        self._add(ROOT, listen=[address_of(ROOT)], subnets=[(0, 16)], reserved_subnets=reserved)
        proxies = fixed[: lot.choice((1, 2, 3))]
        for place, bus_id in enumerate(proxies):
            listen = [address_of(bus_id)]
            if lot.random() < 0.5:
                self._add(_PROXIES + place, id="auto", listen=listen, subnets=["0/6"], **above)
            else:
                self._add(bus_id, listen=listen, subnets=[(0, 8)], **above)
        for place in range(lot.choice((4, 10))):
            count = min(len(proxies), lot.choice((1, 2, 3)))
            upstreams = lot.sample(proxies, count) if lot.random() < 0.8 else [ROOT]
            addresses = [address_of(each) for each in upstreams]
            self._add(_LEAVES + place, id="auto", upstreams=addresses)

    def _add(self, number: int, **options: Any) -> None:
        self.numbers.append(number)
        times = {"retry_seconds_max": 2.0, "upstream_return_seconds": 2.0, "heartbeat_seconds": 1.0}
        self.bus.node(number, program=_Echo, **times, **options)

    @property
    def nodes(self) -> list[Node]:
        """The present life of every node."""
        return [self.bus[number] for number in self.numbers]

    def rage(self) -> None:
        """Start everybody, and let things happen while they talk."""
        for node in self.nodes:
            node.start().addErrback(lambda _: None)
            self.bus.run(0.1)
        self.bus.run(2)
        for _ in range(_BURSTS):
            self.bus.later(self.lot.uniform(0, _SECONDS), self.lot.choice(self.numbers), self._talk)
        self.bus.weather(_SECONDS, self.lot.choice((0, 5, 10)), durations=(0.05, 0.5, 2.0, 6.0))
        self.bus.run(_SECONDS)
        self.bus.wait_for_calm()
        self.bus.run(_QUIET_SECONDS)

    def _talk(self, node: Node) -> None:
        others = [each.bus_id for each in self.nodes if each is not node and each.bus_id]
        for _ in range(self.lot.choice((1, 3)) if others and node.bus_id else 0):
            try:
                node.send(self.lot.choice(others), bytes(self.lot.choice((0, 10, 1_000))))
            except Undeliverable:
                return

    def rest(self) -> list[str]:
        """Everybody has an id of its own, and reaches each other one under it."""
        ids = Counter(node.bus_id for node in self.nodes)
        found = [f"{bus_id:#x} are {count}" for bus_id, count in ids.items() if count > 1]
        found += ["somebody has no id"] * bool(ids[0])
        asked = [
            (node, other, self._ask(node, other))
            for node in self.nodes
            for other in self.nodes
            if node is not other and not found
        ]
        self.bus.run(6)
        for node, other, answers in asked:
            if answers != [b"%x" % other.bus_id]:
                found.append(f"{node.bus_id:#x} asks {other.bus_id:#x}: {answers}")
        return found

    def _ask(self, node: Node, other: Node) -> list[object]:
        answers: list[object] = []
        waiting: Deferred[bytes] = node.request(other.bus_id, b"who are you?", timeout=5)

        def ended(result: bytes | Failure) -> None:
            answers.append(repr(result.value) if isinstance(result, Failure) else result)

        waiting.addBoth(ended)
        return answers


class AutomaticTests(SynchronousTestCase):
    """Nodes that are given ids, lose them, and get others."""

    def test_storms(self) -> None:
        """
        In the end everybody has an id that nobody else has, and is reached under it; each message
        was delivered once, in order, or its sender was told why not.
        """
        for seed in seeds(1, 20):
            with self.subTest(seed), VirtualBus(seed) as bus:
                tree = _Tree(bus, Random(seed))
                tree.rage()
                self.assertEqual(tree.rest(), [])
                bus.finish(calm_seconds=1.0)
