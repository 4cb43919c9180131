"""Two nodes whose streams come, break and are stuck at any time: what they say stays in order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from atbus.errors import Status
from atbus.testing.network import VirtualChannel, VirtualNetwork
from tests.extent import extent
from tests.node.bus import ROOT_ADDRESS, Keeper
from tests.node.test_better_stream import BetterStreamCase

ACTIONS = 60


class ChannelStormTests(BetterStreamCase):
    """A root that listens at TCP, and at a unix socket that is now there and now not."""

    def test_storms(self) -> None:
        """
        Streams break and are stuck at random, also in the middle of changes, while both sides send.
        What arrives is in order, but for what is told to be uncertain, and not doubled; each
        message has one fate, and that is true; when it is quiet again data takes the best channel.
        """
        for seed in range(extent(6, 300)):
            with self.subTest(seed=seed):
                self.end()
                self.begin(VirtualNetwork(seed=seed, jitter_seconds=(0, 0.002, 0.02)[seed % 3]))
                self.story(Random(seed))

    def story(self, random: Random) -> None:
        """Let one bus live through a storm."""
        self.sent, self.told = 0, {}
        root, child = self.root(listen=[ROOT_ADDRESS]), self.child()
        self.root_node, self.child_node = root, child
        self.network.start(root, child)
        self.network.settle()
        root.receiver, child.receiver = Keeper(), Keeper()
        self.announce()
        unix = self.unix
        self.stuck: list[VirtualChannel] = []
        actions: list[Callable[[], Any]] = [
            lambda: self.network.unreachable.add(unix),
            self.network.unreachable.clear,
            lambda: self.break_one(random),
            lambda: self.stick(random),
            self.flow,
            lambda: self.talk(random.randrange(1, 30), random.choice((0, 0.0003, 0.003))),
            lambda: self.talk(random.randrange(1, 30), random.choice((0, 0.0003, 0.003))),
            lambda: self.network.settle(random.choice((0.001, 0.01, 0.3, 2, 7))),
        ]
        for _ in range(ACTIONS):
            random.choice(actions)()
        self.flow()
        self.network.unreachable.clear()
        self.network.settle(150)
        self.assertEqual([self.used(node) for node in (root, child)], ["unix"] * 2)
        self.talk(10)
        self.network.settle(20)
        for node in (root, child):
            self.assertEqual(self.received(node)[-10:], list(range(self.sent))[-10:])
        # Nobody waits for a stream that is stuck for ever; what it never took was not sent.
        self.assert_known(Status.TIMEOUT, Status.NOT_CONNECTED)

    def stick(self, random: Random) -> None:
        """Let some data stream take nothing more from one side, for a while."""
        streams = [*self.streams(self.root_node), *self.streams(self.child_node)]
        for stream in random.sample(streams, min(1, len(streams))):
            if isinstance(stream.channel, VirtualChannel):
                stream.channel.stall()
                self.stuck.append(stream.channel)

    def flow(self) -> None:
        """Let all streams take more."""
        stuck, self.stuck = self.stuck, []
        for channel in stuck:
            channel.resume()

    def break_one(self, random: Random) -> None:
        """Break a data stream: one side ends it, or the network does."""
        streams = [*self.streams(self.root_node), *self.streams(self.child_node)]
        if not streams:
            return
        stream = random.choice(streams)
        channel = stream.channel
        if random.random() < 0.5 or not isinstance(channel, VirtualChannel):
            stream.abort(Status.LINK_LOST, "broken")
        else:
            channel.carry(channel.other.hang_up)
            channel.hang_up()
