"""
What a message costs in a small bus and in a large one: nodes in one process, over the public face.

The network is the one in memory, so that a thousand links cost no sockets; its own cost is in each
figure, and the same in all.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from statistics import median
from time import process_time

import attrs
from zope.interface import implementer

from atbus.node.interfaces import IMessageReceiver
from atbus.testing.network import VirtualNetwork

_ABOVE = 0x1000_0000
_SENDER = 0x1001_0000
_BURST = 200
_DELAY_SECONDS = 1e-6
_REPEATS = 11


@attrs.frozen(kw_only=True)
class Cost:
    """
    Processor time per message, sending and receiving together.

    :param known: Targets that the sender has sent to before.
    :param links: Nodes that are registered with the sender.
    """

    known: int
    links: int
    median_us: float
    low_us: float
    high_us: float


def measure(*, quick: bool) -> list[Cost]:
    """
    Measure small and large buses.

    :param quick: With a tenth of the nodes and messages.
    :returns: First the smallest, then those with more known targets, then those with more links.
    """
    part = 10 if quick else 1
    more_known = [(1_000 // part, 1), (10_000 // part, 1)]
    more_links = [(1, 100 // part), (1, 1_000 // part)]
    buses = [_Bus(known, links) for known, links in [(1, 1), *more_known, *more_links]]
    # This process's collector is not to walk through them.
    gc.collect()
    gc.freeze()
    try:
        # In turn, for the speed of a machine drifts.
        rounds = [[bus.time(20_000 // part) for bus in buses] for _ in range(_REPEATS)]
    finally:
        gc.unfreeze()
    return [bus.cost([each[place] for each in rounds]) for place, bus in enumerate(buses)]


@implementer(IMessageReceiver)
class _Taking:
    """Count what arrives and look at its order."""

    def __init__(self) -> None:
        self.count = 0
        self._last = 0

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        assert not self._last or sequence == self._last + 1
        self._last = sequence
        self.count += 1


class _Bus:
    """
    A sender with a node above it and some below, the first of which it talks to.

    :param known: Targets that the sender has sent to before.
    :param links: How many nodes are below it.
    """

    def __init__(self, known: int, links: int) -> None:
        self._known, self._links = known, links
        # So little time passes that no node has anything else to do: a thousand nodes with their
        # timers would be in other processes.
        self._network = VirtualNetwork(delay_seconds=_DELAY_SECONDS)
        above = self._network.node(id=_ABOVE, listen=["unix:///above"], subnets=[(0, 32)])
        self._sender = self._network.node(
            id=_SENDER, listen=["unix:///sender"], upstream="unix:///above", subnets=[(0, 16)]
        )
        below = [
            self._network.node(id=_SENDER + 1 + n, upstream="unix:///sender") for n in range(links)
        ]
        self._target = below[0].bus_id
        self._taking = _Taking()
        below[0].receiver = self._taking
        self._network.start(above, self._sender, *below)
        self._make_known()

    def _make_known(self) -> None:
        """Send one message to each of many targets, all above: a flow is kept for each."""
        for n in range(1, self._known):
            self._sender.send(_ABOVE + n, b"")
            if not n % _BURST:
                self._network.settle(0.01)
        self._network.settle(1)

    def time(self, count: int) -> float:
        """
        Send a number of messages.

        :returns: Processor time for each, microseconds.
        """
        send, target, payload = self._sender.send, self._target, bytes(128)
        expected = self._taking.count + count
        began = process_time()
        for _ in range(count // _BURST):
            for _ in range(_BURST):
                send(target, payload)
            self._network.settle(_DELAY_SECONDS * 5)
        seconds = process_time() - began
        assert self._taking.count == expected, (self._taking.count, expected)
        return seconds / count * 1e6

    def cost(self, figures: Sequence[float]) -> Cost:
        """Sum up what was measured."""
        return Cost(
            known=self._known,
            links=self._links,
            median_us=median(figures),
            low_us=min(figures),
            high_us=max(figures),
        )
