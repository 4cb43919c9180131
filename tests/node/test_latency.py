"""How long messages take while somebody else does not read."""

from __future__ import annotations

from atbus.testing.network import VirtualNetwork
from tests.node.flow_case import SMALL, FlowCase
from tests.node.mail import NORTH, SOUTH, Receiving

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
