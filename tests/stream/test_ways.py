"""Streams whose way changes, and many of them in bad weather."""

from __future__ import annotations

from random import Random
from typing import Any

from atbus.node.node import Node
from atbus.stream import BusClientEndpoint, BusServerEndpoint
from atbus.testing.virtual_bus import VirtualBus
from tests.node.test_path_change import ONE, TWO, TWO_ADDRESS
from tests.stream.case import Diaries, Diary, StreamTests


class WayTests(StreamTests):
    """Two leaves below one proxy."""

    def test_the_way_changes(self) -> None:
        """From the way over the proxy to the direct one and back: every byte, in order, once."""
        self.proxies(direct_notice=False)
        one, two = self.leaf(ONE), self.leaf(TWO, listens=True)
        served = Diaries()
        self.serve(two, served)
        client = self.open(one, TWO)
        expected = b""

        def write(turns: int) -> None:
            nonlocal expected
            for _ in range(turns):
                piece = b"%d;" % len(expected) * 100
                expected += piece
                client.transport.write(piece)
                self.network.settle(0.0007)

        write(20)
        connecting = one.connect(TWO_ADDRESS)
        write(100)
        self.successResultOf(connecting)
        self.assertEqual(one.next_hop(TWO).id, TWO)
        leaving = one.disconnect(TWO)
        write(100)
        self.network.settle(3)
        self.successResultOf(leaving)
        self.assertNotEqual(one.next_hop(TWO).id, TWO)
        write(20)
        client.transport.loseConnection()
        self.network.settle(1)
        self.assertEqual(client.end, "ConnectionDone")
        self.assertEqual(served.made[0].data, expected)


class Talker:
    """
    The program of a node: offers a service, and has streams to those of others.

    A byte's place in a stream says what it is, so that every reader can check what came.
    """

    def __init__(self, node: Node, random: Random, others: list[int]) -> None:
        self.node = node
        self.random = random
        self.others = others
        self.served = Diaries()
        self.clients: list[tuple[Diary, int]] = []
        self.refused: list[Any] = []
        BusServerEndpoint(node, "talk").listen(self.served)

    def begin(self) -> None:
        """Open a stream, write, and leave."""
        target = self.random.choice(self.others)
        opening = BusClientEndpoint(self.node, target, "talk").connect(Diaries())
        opening.addCallbacks(self._opened, self.refused.append)

    def _opened(self, client: Diary) -> None:
        size = self.random.choice((10, 5_000, 300_000))
        self.clients.append((client, size))
        client.transport.write(text(size))
        client.transport.loseConnection()


def text(size: int) -> bytes:
    """Give the first bytes of what everybody writes."""
    return b"".join(b"%08d" % number for number in range(size // 8 + 1))[:size]


class WeatherTests(StreamTests):
    """What must hold whatever happens."""

    def storm(self, seed: int) -> tuple[int, int, int]:
        """Let streams be opened in bad weather; how many ended well, badly, and never began."""
        talkers: list[Talker] = []
        ids = [0x10101, 0x10102, 0x10201, 0x10202]
        with VirtualBus(seed) as bus:

            def program(node: Node) -> None:
                others = [each for each in ids if each != node.config.id]
                talkers.append(Talker(node, bus.random, others))

            root = bus.node(0x10000, listen=["ipv4://10.0.0.1:1"], subnets=[(0, 16)])
            proxies = [
                bus.node(
                    bus_id,
                    listen=[f"ipv4://10.0.{bus_id >> 8 & 255}.0:1"],
                    upstream="ipv4://10.0.0.1:1",
                    subnets=[(0, 8)],
                )
                for bus_id in (0x10100, 0x10200)
            ]
            leaves = [
                bus.node(
                    bus_id,
                    upstream=f"ipv4://10.0.{bus_id >> 8 & 255}.0:1",
                    program=program,
                )
                for bus_id in ids
            ]
            bus.start(root, *proxies, *leaves)
            bus.weather(seconds=20, faults=8)
            for number in range(60):
                seconds = number / 3
                talker = bus.random.choice(ids)
                bus.later(seconds, talker, lambda node: self.have_begun(talkers, node))
            bus.run(30)
            bus.wait_for_calm()
            # The longest that an end is kept which nobody answers.
            bus.run(150)
            self.check(talkers, [bus[bus_id] for bus_id in ids])
        streams = [client for talker in talkers for client, _ in talker.clients]
        well = sum(client.end == "ConnectionDone" for client in streams)
        return well, len(streams) - well, sum(len(talker.refused) for talker in talkers)

    @staticmethod
    def have_begun(talkers: list[Talker], node: Node) -> None:
        """Let the program of the present life of a node open a stream."""
        next(talker for talker in talkers if talker.node is node).begin()

    def check(self, talkers: list[Talker], living: list[Node]) -> None:
        """Every byte is in its place; what ended well was read; the living have no stream left."""
        whole = text(300_000)
        alive = [talker for talker in talkers if talker.node in living]
        for talker in talkers:
            for server in talker.served.made:
                self.assertEqual(server.data, whole[: len(server.data)])
        for talker in alive:
            self.assertEqual(len(self.station(talker.node)), 0)
            for end in [*talker.served.made, *(client for client, _ in talker.clients)]:
                self.assertNotEqual(end.end, "")
        # Who was told of a good end had a reader that got all of it.
        got = [len(server.data) for talker in talkers for server in talker.served.made]
        for talker in talkers:
            for client, size in talker.clients:
                if client.end == "ConnectionDone":
                    self.assertIn(size, got)
                    got.remove(size)

    def test_bad_weather(self) -> None:
        """Processes die, links break and stand still: nothing is wrong, lost in silence or left."""
        well = badly = 0
        for seed in range(3):
            ended = self.storm(seed)
            well, badly = well + ended[0], badly + ended[1]
        self.assertGreater(well, 40)
        self.assertGreater(badly, 0)
