"""Streams between nodes, as programs see them."""

from __future__ import annotations

from atbus.errors import Status
from atbus.stream import BusAddress
from tests.stream.case import ONE, OTHER, Diaries, HalfDiary, StreamTests, counted


class ThreeHopTests(StreamTests):
    """One leaf, two proxies, a root between: three hops."""

    def test_both_ways(self) -> None:
        """What one end writes the other one reads, with addresses that say who is there."""
        one, other = self.leaves()
        served = Diaries(answers=b"welcome")
        self.serve(other, served)
        client = self.open(one, OTHER)
        client.transport.write(b"hello, ")
        client.transport.writeSequence([b"wor", b"ld"])
        self.network.settle(1)
        server = served.made[0]
        self.assertEqual((client.data, server.data), (b"welcome", b"hello, world"))
        self.assertEqual(served.peers, [BusAddress(ONE, "web")])
        self.assertEqual(client.transport.getPeer(), BusAddress(OTHER, "web"))
        self.assertEqual(server.transport.getHost(), BusAddress(OTHER, "web"))
        self.assertEqual(str(client.transport.getPeer()), "atbus:0x10201:web")
        self.assertEqual(counted(one), (1, 0, {}, {}))
        self.assertEqual(counted(other), (0, 1, {}, {}))
        self.assertEqual(one.statistics.stream_bytes_sent, 12)
        self.assertEqual(one.statistics.stream_bytes_received, 7)
        # They are no messages.
        self.assertEqual((one.statistics.sent_messages, one.statistics.sent_bytes), (0, 0))
        client.transport.loseConnection()
        self.network.settle(1)
        self.assertEqual((client.end, server.end), ("ConnectionDone", "ConnectionDone"))
        self.assertEqual((len(self.station(one)), len(self.station(other))), (0, 0))

    def test_no_such_service(self) -> None:
        """A wrong name is answered at once, and says what is wrong."""
        one, other = self.leaves()
        self.serve(other, Diaries())
        error = self.refusal(self.opening(one, OTHER, Diaries(), "wbe"))
        self.assertIs(error.status, Status.UNKNOWN_ENDPOINT)
        self.assertIn("no service 'wbe'", str(error))
        self.assertEqual(counted(one), (0, 0, {Status.UNKNOWN_ENDPOINT: 1}, {}))

    def test_a_node_without_streams(self) -> None:
        """A node that takes none says so at once, as one does that knows nothing of them."""
        one, _ = self.leaves()
        error = self.refusal(self.opening(one, OTHER, Diaries()))
        self.assertIs(error.status, Status.UNKNOWN_MANDATORY)

    def test_half_close(self) -> None:
        """Each direction ends for itself."""
        one, other = self.leaves()
        served = Diaries(HalfDiary)
        self.serve(other, served)
        client = self.open(one, OTHER, kind=HalfDiary)
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.network.settle(1)
        (server,) = served.made
        assert isinstance(server, HalfDiary)
        self.assertEqual((server.data, server.closed), (b"question", ["read"]))
        self.assertEqual(client.closed, ["write"])
        server.transport.write(b"answer")
        server.transport.loseWriteConnection()
        self.network.settle(1)
        self.assertEqual((client.data, client.closed), (b"answer", ["write", "read"]))
        self.assertEqual((client.end, server.end), ("ConnectionDone", "ConnectionDone"))
