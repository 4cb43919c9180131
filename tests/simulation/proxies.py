"""
Proxies that come and go under load, judged by the checker.

::

    CROSS 1 --+-- PROXY 11, 12, 13, 14
              `-- each of them with leaves 101, 102 ... below it, whose first choices differ
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from zope.interface import implementer

from atbus.errors import Undeliverable
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.virtual_bus import VirtualBus

CROSS = 0x1
PROXIES = (0x11, 0x12, 0x13, 0x14)
LEAVES = (0x101, 0x102, 0x103, 0x104, 0x105, 0x106)


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.0.{bus_id >> 8}.{bus_id & 255}:1"


@implementer(IMessageReceiver)
class Sink:
    """A program that takes every message."""

    def __init__(self, node: Node) -> None:
        node.receiver = self

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message."""


class ProxyBus:
    """
    A bus of proxies and leaves, and the traffic between the leaves.

    :param bus: Where it is made; its seed decides everything.
    :param mesh: Whether the proxies are connected to each other.
    :param options: Of every node, besides.
    """

    def __init__(self, bus: VirtualBus, *, mesh: bool = False, **options: Any) -> None:
        self.bus = bus
        #: Messages that were not accepted, with the reason.
        self.refused: list[str] = []
        self._mesh = mesh
        self._options = {
            "program": Sink,
            "topology": "records",
            "direct_connections": False,
            "upstream_return_seconds": 2.0,
            **options,
        }

    def start(self, proxies: Sequence[int] = PROXIES, leaves: Sequence[int] = LEAVES) -> None:
        """Start the cross-region proxy, some proxies and all leaves."""
        bus = self.bus
        listen = [address_of(CROSS)]
        bus.start(bus.node(CROSS, listen=listen, proxy=True, **self._options))
        for proxy in proxies:
            self.add(proxy)
        for place, leaf in enumerate(leaves):
            first = place % len(PROXIES)
            candidates = [*PROXIES[first:], *PROXIES[:first]]
            upstreams = [address_of(each) for each in candidates]
            bus.start(bus.node(leaf, upstreams=upstreams, **self._options))
        bus.run(1)

    def add(self, proxy: int) -> None:
        """Start one more proxy."""
        bus, listen = self.bus, [address_of(proxy)]
        upstream = address_of(CROSS)
        bus.start(bus.node(proxy, listen=listen, upstream=upstream, proxy=True, **self._options))
        self.join(proxy)

    def join(self, proxy: int) -> None:
        """Connect a proxy that is up with the others, in a mesh."""
        if self._mesh:
            others = [each for each in PROXIES if each != proxy and self.is_up(each)]
            for other in others:
                self.bus.result_of(self.bus[proxy].connect(address_of(other)))

    def is_up(self, bus_id: int) -> bool:
        """Tell whether there is such a node now, that takes registrations."""
        try:
            node = self.bus[bus_id]
        except KeyError:
            return False
        return node.state == "running" and not node.draining

    def late_words(self, proxy: int, seconds: float) -> None:
        """Let a proxy's words to the one above it, but not its data, be late again and again."""
        bus, at = self.bus, 0.0
        while at < seconds:
            lasts_seconds = bus.random.uniform(0.05, 0.17)
            bus.later(at, proxy, partial(self._delay_words, seconds=lasts_seconds))
            at += lasts_seconds + bus.random.uniform(0.01, 0.1)

    def _delay_words(self, node: Node, seconds: float) -> None:
        control = self.bus.network.between(node, self.bus[CROSS])[0]
        control.stall()
        self.bus.network.clock.callLater(seconds, control.resume)

    def talk(self, seconds: float, pause_seconds: float = 0.02) -> None:
        """Let every leaf send to all others, a burst at a time, from now on."""
        lot = self.bus.random
        for leaf in LEAVES:
            at = lot.random() * pause_seconds
            while at < seconds:
                self.bus.later(at, leaf, self._burst)
                at += pause_seconds * (0.5 + lot.random())

    def _burst(self, node: Node) -> None:
        lot = self.bus.random
        for _ in range(lot.randrange(1, 6)):
            target = lot.choice([leaf for leaf in LEAVES if leaf != node.bus_id])
            try:
                node.send(target, bytes(lot.choice((0, 10, 300))))
            except Undeliverable as error:
                self.refused.append(error.status.name)

    def upstream_of(self, leaf: int) -> int:
        """Say which proxy a leaf is below."""
        (upstream,) = (
            bus_id
            for bus_id, endpoint in self.bus[leaf].endpoints.items()
            if endpoint.position.value == "upstream"
        )
        return upstream
