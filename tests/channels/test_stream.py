"""A stream's channel, byte by byte and moment by moment, over a transport of the test's own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.address import Address, Scheme
from atbus.channels.interfaces import ChannelOptions, IChannel, IChannelReceiver
from atbus.channels.stream import (
    READ_BYTES,
    READ_BYTES_FIRST,
    READ_BYTES_LEAST,
    READ_SECONDS,
    StreamFactory,
    StreamProtocol,
)
from atbus.errors import ChannelClosed, RemoteProtocolError, Status
from atbus.testing.recording import RecordingReceiver, frame_of
from atbus.wire.head import HEAD_SIZE


@implementer(IHalfCloseableDescriptor)
class Transport(StringTransport):
    """Keeps what is written and what is asked of it."""

    half_closed = False
    aborted = False
    bufferSize = 0  # noqa: N815 - Twisted's name

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def readConnectionLost(self, reason: Failure) -> None:
        """Only the reactor calls this."""

    def writeConnectionLost(self, reason: Failure) -> None:
        """Only the reactor calls this."""

    def abortConnection(self) -> None:
        self.aborted = True

    def drain(self) -> None:
        """Tell the producer that everything has been written out."""
        if self.producer is not None:
            self.producer.resumeProducing()


class Connection:
    """A protocol and everything around it."""

    def __init__(
        self, receiver: IChannelReceiver | None, options: ChannelOptions | None = None
    ) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.factory = StreamFactory(
            Address(Scheme.UNIX, "/x"),
            lambda _peer: receiver,
            greet=lambda _transport: "somebody",
            dialled=False,
            options=options or ChannelOptions(frame_limit=10_000),
            timers=self.clock,
        )
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        self.protocol: StreamProtocol = protocol

    def open(self) -> StreamProtocol:
        Protocol.makeConnection(self.protocol, self.transport)
        return self.protocol

    def lose(self, error: Exception) -> None:
        self.protocol.connectionLost(Failure(error))


class StreamTests(SynchronousTestCase):
    """One channel."""

    def setUp(self) -> None:
        self.receiver = RecordingReceiver()
        self.connection = Connection(self.receiver)
        self.transport = self.connection.transport
        self.clock = self.connection.clock
        self.channel = self.connection.open()

    # Frames in

    def test_one_byte_at_a_time(self) -> None:
        """
        A frame that comes byte by byte is delivered once, whole, with its last byte.

        Scenario: D12
        """
        frame = frame_of(20)
        for number, octet in enumerate(frame):
            self.assertEqual(self.receiver.frames, [], f"after {number} bytes")
            self.channel.dataReceived(bytes([octet]))
        self.assertEqual(self.receiver.frames, [frame])

    def test_several_frames_in_one_read(self) -> None:
        """
        Three frames and a half in one read are delivered in one call, the rest with the next.

        Scenario: D12
        """
        frames = [frame_of(size, size) for size in (1, 2, 3, 4)]
        stream = b"".join(frames)
        self.channel.dataReceived(stream[:-30])
        self.assertEqual(self.receiver.frames, frames[:3])
        self.channel.dataReceived(stream[-30:])
        self.assertEqual(self.receiver.frames, frames)
        self.assertEqual(self.receiver.calls.count("frames_received"), 2)

    @settings(deadline=None, max_examples=50)
    @given(
        st.lists(st.integers(0, 300), min_size=1, max_size=8),
        st.lists(st.integers(1, 400), min_size=1, max_size=20),
    )
    def test_cut_anywhere(self, sizes: list[int], cuts: list[int]) -> None:
        """Wherever a stream is cut, the same frames are delivered."""
        receiver = RecordingReceiver()
        channel = Connection(receiver).open()
        frames = [frame_of(size, size) for size in sizes]
        stream = b"".join(frames)
        for cut in cuts:
            channel.dataReceived(stream[:cut])
            stream = stream[cut:]
        channel.dataReceived(stream)
        self.assertEqual(receiver.frames, frames)

    def test_a_long_frame_is_read_alone(self) -> None:
        """What a long frame lacks is read next, and nothing more; then as much as another has."""
        self.channel.frame_limit = 200_000
        frame = frame_of(150_000)
        self.channel.dataReceived(frame[:100_000])
        self.assertEqual(self.transport.bufferSize, len(frame) - 100_000)
        self.channel.dataReceived(frame[100_000:])
        self.assertEqual(self.transport.bufferSize, len(frame))
        self.channel.dataReceived(frame_of(20))
        self.assertLess(self.transport.bufferSize, len(frame))

    # How much is read at once

    def read(self, seconds: float) -> int:
        """Have a read of full size, which takes so long; give its size."""
        size: int = self.transport.bufferSize
        self.patch(self.receiver, "frames_received", lambda _: self.clock.advance(seconds))
        self.channel.dataReceived(frame_of(64 - HEAD_SIZE) * (size // 64))
        return size

    def test_reads_that_take_no_time(self) -> None:
        """Who sends much that costs little is read in ever larger pieces, up to a bound."""
        self.channel.frame_limit = READ_BYTES
        sizes = [self.read(READ_SECONDS / 5) for _ in range(10)]
        self.assertEqual(sizes[:3], [READ_BYTES_FIRST, READ_BYTES_FIRST * 2, READ_BYTES_FIRST * 4])
        self.assertEqual(sizes[-2:], [READ_BYTES, READ_BYTES])

    def test_reads_that_take_long(self) -> None:
        """
        Who says in few bytes what costs much is read in so small pieces that others need not wait,
        at once, but not byte by byte.
        """
        self.channel.frame_limit = READ_BYTES
        for _ in range(10):
            self.read(0.0)
        size = self.read(READ_SECONDS * 8)
        self.assertLessEqual(self.transport.bufferSize, size // 8)
        self.read(1.0)
        self.assertLess(self.transport.bufferSize, 2 * READ_BYTES_LEAST)
        self.channel.dataReceived(frame_of(READ_BYTES_FIRST))
        self.assertEqual(self.transport.bufferSize, READ_BYTES_LEAST)

    def test_reads_that_say_nothing_of_the_pace(self) -> None:
        """A read that was not full, and one that took its time, change nothing."""
        self.channel.dataReceived(frame_of(READ_BYTES_FIRST // 2))
        self.assertEqual(self.transport.bufferSize, READ_BYTES_FIRST)
        self.read(READ_SECONDS / 2)
        self.assertEqual(self.transport.bufferSize, READ_BYTES_FIRST)

    # Faults

    def test_bytes_that_are_no_frames(self) -> None:
        """
        What is not ours is reported once, by name; nothing is delivered after it, and the receiver
        can send a last frame before the channel ends with the same name.
        """
        last = frame_of(3)

        class Polite(RecordingReceiver):
            def channel_fault(self, error: RemoteProtocolError) -> None:
                self.channel.send([last])
                super().channel_fault(error)

        receiver = Polite()
        connection = Connection(receiver)
        channel = connection.open()
        channel.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        channel.dataReceived(frame_of(1))
        self.assertEqual([fault.status for fault in receiver.faults], [Status.NOT_ATBUS])
        self.assertEqual(receiver.frames, [])
        self.assertEqual(connection.transport.value(), last)
        self.assertFalse(connection.transport.half_closed)
        connection.transport.drain()
        self.assertTrue(connection.transport.half_closed)
        self.assertRaises(ChannelClosed, channel.send, [last])
        channel.readConnectionLost()
        connection.lose(ConnectionDone())
        self.assertEqual([status for status, _ in receiver.ends], [Status.NOT_ATBUS])

    def test_frames_before_a_fault(self) -> None:
        """The good frames of a read are delivered before its bad one is reported."""
        self.channel.dataReceived(frame_of(1) + (7).to_bytes(4, "little"))
        self.assertEqual(
            self.receiver.calls, ["channel_opened", "frames_received", "channel_fault"]
        )
        self.assertEqual(self.receiver.frames, [frame_of(1)])
        self.assertEqual(self.receiver.faults[0].status, Status.MALFORMED_FRAME)

    def test_a_frame_that_is_too_long(self) -> None:
        """
        A length above the limit is reported before its bytes have come; the limit itself is not.

        Scenario: D7
        """
        self.channel.dataReceived(frame_of(10_000 - 48))
        self.assertEqual(len(self.receiver.frames), 1)
        self.channel.dataReceived((10_001).to_bytes(4, "little"))
        self.assertEqual(self.receiver.faults[0].status, Status.FRAME_TOO_LARGE)

    def test_a_limit_raised_in_time(self) -> None:
        """
        When a delivered frame makes the receiver raise the limit, a longer frame in the same read
        is judged by the new limit.
        """
        for pieces in (1, 2):
            receiver = Raising(20_000)
            channel = Connection(receiver).open()
            stream = frame_of(5) + frame_of(15_000) + frame_of(6)
            if pieces == 2:
                channel.dataReceived(stream[:20])
                stream = stream[20:]
            channel.dataReceived(stream)
            self.assertEqual(receiver.frames, [frame_of(5), frame_of(15_000), frame_of(6)])
            self.assertEqual(receiver.faults, [])
            self.assertEqual(channel.frame_limit, 20_000)

    def test_a_limit_not_raised_enough(self) -> None:
        """A frame beyond the new limit as well is a fault like any other."""
        receiver = Raising(12_000)
        Connection(receiver).open().dataReceived(frame_of(5) + frame_of(15_000))
        self.assertEqual(receiver.frames, [frame_of(5)])
        self.assertEqual([fault.status for fault in receiver.faults], [Status.FRAME_TOO_LARGE])

    def test_a_receiver_that_ends_the_channel_before_the_fault(self) -> None:
        """A fault behind the frame that made the receiver abort is not reported."""

        class Aborting(RecordingReceiver):
            def frames_received(self, frames: list[bytes]) -> None:
                super().frames_received(frames)
                self.channel.abort("seen enough")

        receiver = Aborting()
        Connection(receiver).open().dataReceived(frame_of(1) + b"\0\0\0\0")
        self.assertEqual(receiver.calls, ["channel_opened", "frames_received"])

    # Ends

    def test_the_other_side_ends(self) -> None:
        """The other side's end is reported at once; the rest goes out before the socket closes."""
        self.channel.send([frame_of(1)])
        self.channel.readConnectionLost()
        self.assertEqual([status for status, _ in self.receiver.ends], [Status.LINK_LOST])
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNotNone(self.transport.producer)
        self.transport.drain()
        self.assertIsNone(self.transport.producer)
        self.connection.lose(ConnectionDone())
        self.assertEqual(len(self.receiver.ends), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_other_side_ends_and_takes_nothing(self) -> None:
        """What is queued when the other side ends does not keep the socket for ever."""
        self.channel.send([bytes(200_000)])
        self.channel.readConnectionLost()
        self.assertFalse(self.transport.aborted)
        self.clock.advance(self.connection.factory.options.write_deadline_seconds)
        self.assertTrue(self.transport.aborted)
        self.connection.lose(ConnectionLost())
        self.assertEqual(len(self.receiver.ends), 1)

    def test_a_broken_connection(self) -> None:
        """A connection that breaks is reported as lost."""
        self.connection.lose(ConnectionLost())
        self.assertEqual(self.receiver.ends, [(Status.LINK_LOST, "the connection was lost")])

    def test_a_connection_that_breaks_while_closing(self) -> None:
        """When bytes were still to be written, closing has not worked, and that is said."""
        self.channel.send([frame_of(52)])
        self.channel.close(Status.GOODBYE)
        self.connection.lose(ConnectionLost())
        [(status, detail)] = self.receiver.ends
        self.assertEqual(status, Status.LINK_LOST)
        self.assertIn("100 bytes", detail)

    def test_a_reset_after_everything_was_written(self) -> None:
        """Who had written everything has closed as it wanted, also when the other side resets."""
        self.channel.close(Status.GOODBYE, "done")
        self.connection.lose(ConnectionLost())
        self.assertEqual(self.receiver.ends, [(Status.GOODBYE, "done")])

    def test_another_side_that_never_ends(self) -> None:
        """A channel that has written everything waits a bounded time for the other side's end."""
        options = self.connection.factory.options
        self.channel.close(Status.GOODBYE, "done")
        self.assertTrue(self.transport.half_closed)
        self.clock.advance(options.linger_seconds * 0.9)
        self.channel.dataReceived(frame_of(1))
        self.clock.advance(options.linger_seconds * 0.9)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(options.linger_seconds)
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)
        self.connection.lose(ConnectionDone())
        self.assertEqual(self.receiver.ends, [(Status.GOODBYE, "done")])
        self.assertEqual(self.receiver.frames, [frame_of(1)])

    def test_another_side_that_takes_nothing(self) -> None:
        """A closing channel that gets rid of no byte for too long gives up and says so."""
        options = self.connection.factory.options
        self.channel.send([bytes(200_000)])
        self.channel.close(Status.GOODBYE)
        self.clock.advance(options.write_deadline_seconds - 1)
        self.transport.drain()
        self.clock.advance(options.write_deadline_seconds - 1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(options.write_deadline_seconds)
        self.assertTrue(self.transport.aborted)
        self.connection.lose(ConnectionLost())
        self.assertEqual(self.receiver.ends[0][0], Status.LINK_LOST)
        self.assertIn("could not be written", self.receiver.ends[0][1])

    def test_closing_reads_again(self) -> None:
        """A channel whose reading was paused reads to the other side's end when it is closed."""
        self.channel.pause_reading()
        self.assertEqual(self.transport.producerState, "paused")
        self.channel.close()
        self.assertEqual(self.transport.producerState, "producing")

    # Strangers

    def test_nobody_to_talk_to(self) -> None:
        """When the socket shows that nobody is to be talked to, no receiver is asked for."""

        def refuse(_transport: object) -> str:
            raise PermissionError("not one of us")

        connection = Connection(self.receiver)
        connection.factory.greet = refuse
        protocol = connection.open()
        self.assertEqual(protocol.refusal, "not one of us")
        self.assertTrue(connection.transport.aborted)
        protocol.dataReceived(frame_of(1))
        connection.lose(ConnectionLost())
        self.assertEqual(self.receiver.calls, ["channel_opened"])
        self.assertRaises(ChannelClosed, protocol.send, [b""])

    def test_what_it_says_about_itself(self) -> None:
        """A channel knows its address and its peer, and counts from 0."""
        self.assertEqual(str(self.channel.address), "unix:///x")
        self.assertEqual(self.channel.peer, "somebody")
        self.assertEqual((self.channel.queued_bytes, self.channel.written_bytes), (0, 0))


class Raising(RecordingReceiver):
    """Raises the limit upon the first frame."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def frames_received(self, frames: list[bytes]) -> None:
        channel: IChannel = self.channel
        channel.frame_limit = self.limit
        super().frames_received(frames)
