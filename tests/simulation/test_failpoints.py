"""Nodes that die, and connections that break, at each step of the protocol."""

from __future__ import annotations

from collections import Counter

from atbus.wire.messages import MessageType
from tests.extent import extent
from tests.simulation.case import SimulationTests
from tests.simulation.failpoints import Failpoint
from tests.simulation.world import World

# All that are sent in the stories below.
STEPS = (
    MessageType.HELLO,
    MessageType.REGISTER_REQUEST,
    MessageType.REGISTER_RESPONSE,
    MessageType.PING,
    MessageType.PONG,
    MessageType.GOODBYE,
    MessageType.GOODBYE_ACK,
    MessageType.SUBSCRIBE_REQUEST,
    MessageType.SUBSCRIBE_RESPONSE,
    MessageType.ROUTE_BATCH,
    MessageType.INTEREST,
    MessageType.CONNECT_NOTICE,
    MessageType.FLUSH,
    MessageType.FLUSH_ACK,
    MessageType.FLOW,
    MessageType.FRAGMENT,
    MessageType.DATA,
    MessageType.DATA_RESPONSE,
    MessageType.DRAIN,
    MessageType.DRAIN_ACK,
)


class FailpointTests(SimulationTests):
    """A tree under load, with direct ways and slow programs, whose nodes leave and come back."""

    def story(self, point: Failpoint, seed: int) -> None:
        """Let something happen at one moment, and have everything judged."""
        world = World(seed, direct=True, tight=True)
        with point.armed(world):
            world.start()
            world.traffic(seconds=2.0, bursts_per_second=30)
            world.faults(seconds=2.0, number=6, kinds=["disconnect", "stop", "pause", "hiccup"])
            found = world.finish()
        if found:
            self.fail("\n".join([f"{point}, seed {seed}", *found[:10], *world.log]))

    def test_each_step(self) -> None:
        """
        Before and after each step a node is killed, or its connection breaks: each message has one
        fate, nobody waits for ever, and everybody comes back.
        """
        happened: Counter[MessageType] = Counter()
        for turn in range(extent(1, 40)):
            for place, step in enumerate(STEPS):
                # All four of before and after, killed and cut, in turn.
                way = place + turn
                point = Failpoint(step, 1 + (place + turn) % 5, bool(way & 1), bool(way & 2))
                self.story(point, 5_000 + turn // 4)
                happened[step] += point.has_happened
        self.assertEqual([step.name for step in STEPS if not happened[step]], [])
