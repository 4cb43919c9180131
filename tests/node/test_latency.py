"""How long others take while somebody does not read, or says nothing."""

from __future__ import annotations

import itertools

from atbus import limits
from atbus.address import parse_address
from atbus.node import doorway
from atbus.testing.network import VirtualNetwork
from tests.node.bus import CHILD, ROOT_ADDRESS, BusTests
from tests.node.flow_case import SMALL, FlowCase
from tests.node.mail import NORTH, SOUTH, Receiving
from tests.node.stranger import Stranger

STUCK, LIVELY = SOUTH + 1, SOUTH + 2
COUNT = 300


class LatencyTests(FlowCase):
    """A leaf that sends to two others, which are behind the same three nodes."""

    def latencies(self, *, stuck: bool) -> list[float]:
        """Send to both as much as is accepted; gives how long each message to the lively took."""
        self.begin(VirtualNetwork())
        _, _, south, (two, lively) = self.chain(2)
        one = self.leaf(NORTH + 1, **SMALL)
        took: list[float] = []

        def take(_source: int, payload: bytes) -> None:
            took.append(self.network.clock.seconds() - float(payload.decode().strip()))

        lively.receiver = Receiving(take)
        if stuck:
            self.data_channel(south, two).stall()
        for _ in range(COUNT):
            accepted = sum(self.offer(one, STUCK, bytes(5_000)) for _ in range(5))
            now = self.network.clock.seconds()
            self.assertTrue(self.offer(one, LIVELY, f"{now!r:>500}".encode()))
            self.network.settle(0.01)
        self.assertEqual(accepted, 0 if stuck else 5)
        self.end()
        return took

    def test_one_that_is_stuck_delays_nobody(self) -> None:
        """
        While one takes nothing, and all queues towards it are full, 99 in 100 messages to another
        take at most twice as long as before.
        """
        calm, stuck = (sorted(self.latencies(stuck=each)) for each in (False, True))
        self.assertEqual((len(calm), len(stuck)), (COUNT, COUNT))
        place = COUNT * 99 // 100
        self.assertLessEqual(stuck[place], 2 * calm[place])


class CrowdTests(BusTests):
    """A node whose port is full of people who say nothing."""

    def test_a_thousand_silent_connections(self) -> None:
        """While a thousand come, and keep all places, 99 of 100 nodes register within a second."""
        numbers = itertools.count()
        # Whoever comes over the virtual network comes from another host.
        self.patch(doorway, "origin_of", lambda _peer: f"192.0.2.{next(numbers)}")
        root = self.root()
        self.network.start(root)
        address, took = parse_address(ROOT_ADDRESS), list[float]()
        silent = [Stranger(self.network) for _ in range(1_000)]
        for number in range(100):
            for each in silent[number * 10 :][:10]:
                self.network.connect(address, each)
            began = self.network.clock.seconds()
            child = self.child(CHILD + number)
            self.network.result_of(child.start())
            took.append(self.network.clock.seconds() - began)
            self.network.stop(child)
            self.network.settle(max(0, 0.04 * number - self.network.clock.seconds()))
        full = limits.PENDING_HANDSHAKES_MAX
        self.assertIn(len([each for each in silent if each.ended is None]), (full - 1, full))
        self.network.settle(limits.HANDSHAKE_SECONDS)
        self.assertLessEqual(sorted(took)[98], 1.0)
        self.assertEqual([each for each in silent if each.ended is None], [])
