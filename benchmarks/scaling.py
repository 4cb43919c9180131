"""
What a message costs in a small bus and in a large one: nodes in one process, over the public face.

The network is the one in memory, so that a thousand links cost no sockets; its own cost is in each
figure, and the same in all.
"""

from __future__ import annotations

import gc
from statistics import median
from time import process_time

import attrs
from zope.interface import implementer

from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.network import VirtualNetwork

_ABOVE = 0x1000_0000
_SENDER = 0x1001_0000
_BURST = 200
_DELAY_SECONDS = 1e-6
_REPEATS = 7


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
    shapes = [(1, 1), *more_known, *more_links]
    return [_cost(known, links, 20_000 // part) for known, links in shapes]


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


def _cost(known: int, links: int, count: int) -> Cost:
    # So little time passes that no node has anything else to do: a thousand nodes with their timers
    # would be in other processes.
    network = VirtualNetwork(delay_seconds=_DELAY_SECONDS)
    above = network.node(id=_ABOVE, listen=["unix:///above"], subnets=[(0, 32)])
    sender = network.node(
        id=_SENDER, listen=["unix:///sender"], upstream="unix:///above", subnets=[(0, 16)]
    )
    below = [network.node(id=_SENDER + 1 + n, upstream="unix:///sender") for n in range(links)]
    taking = _Taking()
    below[0].receiver = taking
    network.start(above, sender, *below)
    _make_known(network, sender, known)
    # Nor is this process's collector to walk through them.
    gc.collect()
    gc.freeze()
    try:
        target = below[0].bus_id
        figures = [_time(network, sender, target, taking, count) for _ in range(_REPEATS)]
    finally:
        gc.unfreeze()
    return Cost(
        known=known,
        links=links,
        median_us=median(figures),
        low_us=min(figures),
        high_us=max(figures),
    )


def _make_known(network: VirtualNetwork, node: Node, known: int) -> None:
    """Send one message to each of many targets, which all lie above: a flow is kept for each."""
    for n in range(1, known):
        node.send(_ABOVE + n, b"")
        if not n % _BURST:
            network.settle(0.01)
    network.settle(1)


def _time(
    network: VirtualNetwork, sender: Node, target: int, taking: _Taking, count: int
) -> float:
    payload = bytes(128)
    expected = taking.count + count
    began = process_time()
    for _ in range(count // _BURST):
        for _ in range(_BURST):
            sender.send(target, payload)
        network.settle(_DELAY_SECONDS * 5)
    seconds = process_time() - began
    assert taking.count == expected, (taking.count, expected)
    return seconds / count * 1e6
