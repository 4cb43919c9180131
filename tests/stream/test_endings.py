"""How streams end, and what the two ends are told."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted

from atbus.errors import Status
from atbus.stream import bounds
from atbus.stream.endpoints import BusClientEndpoint
from tests.node.bus import CHILD, ROOT
from tests.node.mail import ROOT as TREE_ROOT
from tests.stream.case import OTHER, Diaries, HalfDiary, StreamTests, counted


class EndTests(StreamTests):
    """Two leaves, three hops from each other, with one stream."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.leaves()
        self.served = Diaries()
        self.port = self.serve(self.other, self.served)
        self.client = self.open(self.one, OTHER)
        self.network.settle(0.2)
        (self.server,) = self.served.made

    def ends(self) -> tuple[str, str]:
        """Say how it ended for both."""
        return self.client.end, self.server.end

    def test_abort(self) -> None:
        """Who aborts is told so, the other one that the stream was reset."""
        self.client.transport.abortConnection()
        self.assertTrue(self.client.lost.check(ConnectionAborted))
        self.network.settle(1)
        self.assertEqual(self.server.end, "DISCONNECTED")
        self.assertEqual(counted(self.other)[3], {Status.DISCONNECTED: 1})

    def test_what_was_written_arrives_before_the_end(self) -> None:
        """To leave loses nothing, however much waits, and is over when it was read."""
        self.server.transport.pauseProducing()
        size = bounds.WINDOW_BYTES * 3 + 5
        self.client.transport.write(b"x" * size)
        self.client.transport.loseConnection()
        self.client.transport.write(b"too late")
        self.network.settle(200)
        self.assertEqual((self.ends(), self.server.data), (("", ""), b""))
        self.server.transport.resumeProducing()
        self.network.settle(1)
        self.assertEqual(self.server.data, b"x" * size)
        self.assertEqual(self.ends(), ("ConnectionDone", "ConnectionDone"))

    def test_the_other_end_goes_on_alone(self) -> None:
        """Who has left waits half a minute for the other end, when that has read everything."""
        served = Diaries(HalfDiary)
        self.serve(self.other, served, "half")
        client = self.open(self.one, OTHER, "half")
        client.transport.write(b"all")
        client.transport.loseConnection()
        self.network.settle(1)
        (server,) = served.made
        self.assertEqual((client.end, server.end, server.data), ("ConnectionDone", "", b"all"))
        server.transport.write(b"nobody reads this")
        self.network.settle(bounds.LINGER_SECONDS - 2)
        self.assertEqual(server.end, "")
        self.network.settle(4)
        self.assertEqual(server.end, "DISCONNECTED")

    def test_more_than_who_has_left_lets_go(self) -> None:
        """Who has left lets go what was on its way; more resets the stream."""
        served = Diaries(HalfDiary)
        self.serve(self.other, served, "half")
        client = self.open(self.one, OTHER, "half")
        client.transport.loseConnection()
        self.network.settle(1)
        (server,) = served.made
        server.transport.write(bytes(bounds.WINDOW_BYTES - 1))
        self.network.settle(1)
        self.assertEqual((client.end, server.end), ("ConnectionDone", ""))
        server.transport.write(b"xy")
        self.network.settle(1)
        self.assertEqual(server.end, "DISCONNECTED")

    def test_the_other_node_dies(self) -> None:
        """A dead node is found by what is sent to it, and the reason is told."""
        self.network.settle(1)
        self.kill(self.other)
        self.client.transport.write(b"is anybody there?")
        self.network.settle(5)
        self.assertIn(self.client.end, ("UNCERTAIN", "NO_ROUTE", "NOT_CONNECTED"))
        self.assertEqual(len(self.station(self.one)), 0)

    def test_an_idle_stream_to_a_node_that_dies(self) -> None:
        """Nothing has to be written for it: a node that is gone is asked at once."""
        self.network.settle(1)
        self.kill(self.other)
        self.network.settle(bounds.PROBE_SECONDS + 10)
        self.assertIn(self.client.end, ("UNCERTAIN", "NO_ROUTE", "NOT_CONNECTED"))

    def test_the_other_node_starts_again(self) -> None:
        """A new life of a node knows nothing of the streams of the old one; they are reset."""
        self.network.settle(1)
        self.kill(self.other)
        again = self.leaf(OTHER, epoch=self.other.epoch + 5)
        served = Diaries()
        self.serve(again, served)
        self.client.transport.write(b"go on")
        self.network.settle(2)
        self.assertEqual(self.client.end, "UNCERTAIN")
        self.assertEqual(served.made, [])

    def test_nobody_on_the_way(self) -> None:
        """When the only way breaks with something on it both ends are told, not only one."""
        root = next(node for node in self.nodes if node.bus_id == TREE_ROOT)
        self.network.settle(1)
        self.kill(root)
        self.client.transport.write(b"lost")
        self.network.settle(bounds.SILENCE_SECONDS + 60)
        self.assertNotIn("", self.ends())
        self.assertNotIn("ConnectionDone", self.ends())

    def test_the_node_stops(self) -> None:
        """A node that stops says so to both ends of its streams."""
        self.network.result_of(self.other.stop())
        self.network.settle(1)
        self.assertEqual(self.ends(), ("CLOSING", "CLOSING"))

    def test_a_protocol_that_raises(self) -> None:
        """It loses its stream, as with any transport, and nobody else does."""

        def fail(data: bytes) -> None:
            raise ValueError(data)

        second = self.open(self.one, OTHER)
        self.server.dataReceived = fail  # type: ignore[method-assign]
        self.client.transport.write(b"x")
        self.network.settle(1)
        self.assertEqual(self.ends(), ("HANDLER_FAILED", "HANDLER_FAILED"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        second.transport.write(b"y")
        self.network.settle(1)
        self.assertEqual(self.served.made[1].data, b"y")

    def test_the_service_is_withdrawn(self) -> None:
        """Streams go on; new ones are refused."""
        self.port.stopListening()
        self.client.transport.write(b"still here")
        self.network.settle(1)
        self.assertEqual(self.server.data, b"still here")
        error = self.refusal(self.opening(self.one, OTHER, Diaries()))
        self.assertIs(error.status, Status.UNKNOWN_ENDPOINT)

    def test_a_program_that_waits_no_longer(self) -> None:
        """Who cancels an opening has no stream, and neither has the service."""
        waiting = self.opening(self.one, OTHER, Diaries())
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        self.network.settle(1)
        self.assertEqual(len(self.station(self.one)), 1)
        self.assertEqual(len(self.station(self.other)), 1)

    def test_nobody_answers(self) -> None:
        """An opening ends after its time."""
        self.network.freeze(self.other)
        error = self.refusal(self.opening(self.one, OTHER, Diaries(), timeout=5))
        self.assertIs(error.status, Status.TIMEOUT)
        self.network.thaw(self.other)
        self.network.settle(1)


class SelfTests(StreamTests):
    """A node and its own services."""

    def test_a_stream_to_oneself(self) -> None:
        """It goes as any other one does, without a link."""
        root, _ = self.pair()
        served = Diaries(answers=b"welcome")
        self.serve(root, served)
        client = self.open(root, ROOT)
        client.transport.write(b"x" * 300_000)
        self.network.settle(1)
        self.assertEqual((client.data, len(served.made[0].data)), (b"welcome", 300_000))
        client.transport.loseConnection()
        self.network.settle(1)
        self.assertEqual((client.end, served.made[0].end), ("ConnectionDone", "ConnectionDone"))

    def test_a_node_without_an_id(self) -> None:
        """A temporary node cannot be answered, and has no streams."""
        self.pair()
        tool = self.node(0, upstream="ipv4://10.0.0.1:1")
        self.network.start(tool)
        error = self.refusal(self.opening(tool, CHILD, Diaries()))
        self.assertIs(error.status, Status.NOT_REGISTERED)

    def test_a_node_that_does_not_run(self) -> None:
        """It says so."""
        node = self.node(ROOT)
        waiting = BusClientEndpoint(node, CHILD, "web").connect(Diaries())
        self.assertIs(self.refusal(waiting).status, Status.NOT_STARTED)
