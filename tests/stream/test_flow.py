"""How much waits where, and for whom nothing waits."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from atbus.errors import Status
from atbus.node.node import Node
from atbus.stream import bounds
from tests.node.mail import NORTH, SOUTH_ADDRESS
from tests.node.mail import ROOT as TREE_ROOT
from tests.stream.case import ONE, OTHER, Diaries, StreamTests

MIB = 1 << 20


@implementer(IPushProducer)
class Push:
    """Writes a chunk at a time, until it is paused or has written all."""

    def __init__(self, transport: Any, chunks: int, chunk: bytes = bytes(10_000)) -> None:
        self.transport = transport
        self.left = chunks
        self.chunk = chunk
        self.paused = False
        self.pauses = 0
        self.stopped = False
        transport.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        """Write nothing."""
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        """Write."""
        self.paused = False
        while self.left and not self.paused:
            self.left -= 1
            self.transport.write(self.chunk)
        if not self.left:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Give up."""
        self.stopped = True


@implementer(IPullProducer)
class Pull:
    """Writes a chunk when it is asked."""

    def __init__(self, transport: Any, chunks: int) -> None:
        self.transport = transport
        self.left = chunks
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write one."""
        self.left -= 1
        self.transport.write(bytes(1000))
        if not self.left:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Give up."""


class FlowTests(StreamTests):
    """Two leaves, three hops from each other."""

    def begin_stream(self, **options: Any) -> None:
        """Start them, with one stream."""
        self.one, self.other = self.leaves(**options)
        self.served = Diaries()
        self.serve(self.other, self.served)
        self.client = self.open(self.one, OTHER)
        self.network.settle(0.2)
        (self.server,) = self.served.made

    def queued(self, *nodes: Node) -> int:
        """Count the bytes that wait in nodes."""
        return sum(node._parts.context.budget.used_bytes for node in nodes)

    def test_a_slow_reader_costs_a_window(self) -> None:
        """A producer of 4 MB is paused; nothing waits but a window there, and little here."""
        self.begin_stream()
        self.server.transport.pauseProducing()
        producer = Push(self.client.transport, 400)
        self.client.transport.loseConnection()
        self.network.settle(1)
        self.assertTrue(producer.paused)
        self.assertEqual(self.station(self.other).held_bytes, bounds.WINDOW_BYTES)
        self.assertLess(self.station(self.one).held_bytes, bounds.UNSENT_BYTES + 10_001)
        self.assertLess(self.queued(*self.nodes), 100)
        self.assertLess(self.server.chunks, 1)
        while not self.client.end:
            before = len(self.server.data)
            self.server.transport.resumeProducing()
            self.network.settle(0.1)
            self.server.transport.pauseProducing()
            self.assertLessEqual(self.station(self.other).held_bytes, bounds.WINDOW_BYTES)
            self.assertGreater(len(self.server.data), before)
        self.assertEqual(len(self.server.data), 4_000_000)
        self.assertGreater(producer.pauses, 10)
        self.server.transport.resumeProducing()
        self.network.settle(1)
        self.assertEqual((self.client.end, self.server.end), ("ConnectionDone",) * 2)

    def test_others_do_not_wait(self) -> None:
        """A stalled stream holds up neither another one nor messages, between the same nodes."""
        self.begin_stream()
        second = self.open(self.one, OTHER)
        self.network.settle(0.2)
        self.server.transport.pauseProducing()
        self.client.transport.write(bytes(MIB))
        second.transport.write(bytes(MIB))
        self.send_all(self.one, OTHER, [b"%d" % n for n in range(100)])
        self.network.settle(2)
        self.assertEqual(len(self.served.made[1].data), MIB)
        self.assertEqual(len(self.mail[self.other].payloads), 100)
        self.assertEqual(self.server.data, b"")

    def test_pull_producer(self) -> None:
        """A producer that wants to be asked is asked, as long as the other end reads."""
        self.begin_stream()
        producer = Pull(self.client.transport, 1_000)
        self.client.transport.loseConnection()
        self.network.settle(3)
        self.assertEqual((producer.left, len(self.server.data)), (0, MIB - 48_576))
        self.assertEqual(self.client.end, "ConnectionDone")

    def test_a_producer_is_stopped(self) -> None:
        """When the stream ends; and one that comes later is stopped at once."""
        self.begin_stream()
        producer = Push(self.client.transport, 2_000)
        self.server.transport.abortConnection()
        self.network.settle(1)
        self.assertTrue(producer.stopped)
        late = Push(self.client.transport, 2)
        self.assertTrue(late.stopped)
        self.assertEqual(self.client.end, "DISCONNECTED")

    def test_two_producers(self) -> None:
        """There is one at a time."""
        self.begin_stream()
        Push(self.client.transport, 2_000)
        with self.assertRaises(RuntimeError):
            self.client.transport.registerProducer(object(), True)

    def test_too_much_is_written_without_a_producer(self) -> None:
        """A program that writes without end loses its stream, and both ends are told why."""
        self.begin_stream()
        self.server.transport.pauseProducing()
        piece = bytes(16 * MIB)
        for _ in range(bounds.UNSENT_BYTES_MAX // len(piece)):
            self.client.transport.write(piece)
        self.network.settle(1)
        self.assertEqual(self.client.end, "")
        self.client.transport.write(bytes(bounds.WINDOW_BYTES))
        self.client.transport.write(b"x")
        self.network.settle(1)
        self.assertEqual((self.client.end, self.server.end), ("BUFFER_LIMIT", "BUFFER_LIMIT"))

    def test_a_clogged_way(self) -> None:
        """
        Many streams fill a way that takes nothing: what is refused waits, nothing is lost, and
        all goes on when it is free.
        """
        small = {"queued_bytes_soft": 100_000, "queued_bytes_hard": 400_000}
        self.begin_stream(**small)
        one = next(node for node in self.nodes if node.bus_id == ONE)
        clients = [self.open(one, OTHER) for _ in range(12)]
        self.network.settle(1)
        north = next(node for node in self.nodes if node.bus_id == NORTH)
        for channel in self.network.between(one, north):
            channel.stall()
        for client in clients:
            client.transport.write(bytes(3 * bounds.WINDOW_BYTES))
            client.transport.loseConnection()
        self.network.settle(3)
        for channel in self.network.between(one, north):
            channel.resume()
        self.network.settle(20)
        self.assertEqual({client.end for client in clients}, {"ConnectionDone"})
        sizes = [len(server.data) for server in self.served.made[1:]]
        self.assertEqual(sizes, [3 * bounds.WINDOW_BYTES] * 12)

    def test_a_clogged_way_far_away(self) -> None:
        """The same two hops further on, where the way is asked to pause."""
        small = {"queued_bytes_soft": 200_000, "queued_bytes_hard": 1_000_000}
        self.begin_stream(**small)
        clients = [self.open(self.one, OTHER) for _ in range(20)]
        self.network.settle(1)
        root = next(node for node in self.nodes if node.bus_id == TREE_ROOT)
        south = next(node for node in self.nodes if node.bus_id == 0x10200)
        for channel in self.network.between(root, south):
            channel.stall()
        for client in clients:
            client.transport.write(bytes(3 * bounds.WINDOW_BYTES))
            client.transport.loseConnection()
        self.network.settle(3)
        for channel in self.network.between(root, south):
            channel.resume()
        self.network.settle(30)
        self.assertEqual({client.end for client in clients}, {"ConnectionDone"})
        self.assertEqual(
            [len(server.data) for server in self.served.made[1:]], [3 * bounds.WINDOW_BYTES] * 20
        )
        self.assertGreater(self.one.statistics.pauses_received, 0)

    def test_short_frames_on_the_way(self) -> None:
        """A link whose frames are shorter than what comes gets it in parts."""
        root = self.root()
        north = self.node(
            NORTH, listen=["ipv4://10.0.1.0:1"], upstream="ipv4://10.0.0.1:1", subnets=[(0, 8)]
        )
        south = self.node(
            0x10200,
            listen=[SOUTH_ADDRESS],
            upstream="ipv4://10.0.0.1:1",
            subnets=[(0, 8)],
            frame_bytes_max=4096,
        )
        self.network.start(root, north, south)
        one, other = self.leaf(ONE), self.leaf(OTHER)
        self.network.settle(1)
        served = Diaries()
        self.serve(other, served)
        client = self.open(one, OTHER)
        text = bytes(range(256)) * 1_000
        client.transport.write(text)
        client.transport.loseConnection()
        self.network.settle(2)
        self.assertEqual(client.end, "ConnectionDone")
        self.assertEqual(served.made[0].data, text)
        self.assertGreater(served.made[0].chunks, len(text) // 4096)

    def test_too_many_streams(self) -> None:
        """Two nodes have a number of streams and no more; the next one is refused by name."""
        self.begin_stream()
        clients = [self.open(self.one, OTHER) for _ in range(bounds.STREAMS_PER_PEER_MAX - 1)]
        error = self.refusal(self.opening(self.one, OTHER, Diaries()))
        self.assertIs(error.status, Status.OVERLOADED)
        clients[0].transport.loseConnection()
        self.network.settle(1)
        self.open(self.one, OTHER)
