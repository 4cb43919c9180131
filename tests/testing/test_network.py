"""The network in memory keeps what a real one promises, and breaks what a real one breaks."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from atbus import limits
from atbus.address import parse_address
from atbus.channels.interfaces import IChannel, IChannelListener, IChannelReceiver, IChannelScheme
from atbus.errors import ChannelClosed, ConnectFailed, FrameTooLarge, ListenFailed, Status
from atbus.testing.channel import AHEAD_BYTES, VirtualChannel
from atbus.testing.network import VirtualNetwork
from atbus.testing.process import VirtualProcess
from atbus.testing.recording import RecordingReceiver, frame_of

ADDRESS = parse_address("ipv4://10.0.0.1:1")
FRAMES = [frame_of(size, size) for size in (0, 1, 100, 1000)]


class NetworkTests(SynchronousTestCase):
    """Two processes with a channel between them."""

    def setUp(self) -> None:
        self.network = VirtualNetwork()
        self.here = VirtualProcess(self.network.clock, "here")
        self.there = VirtualProcess(self.network.clock, "there")
        self.accepted: list[RecordingReceiver] = []

    def accept(self, peer: str) -> IChannelReceiver:
        """Take a connection in."""
        self.accepted.append(RecordingReceiver())
        return self.accepted[-1]

    def met(self) -> tuple[RecordingReceiver, RecordingReceiver]:
        """Connect the two; give both receivers."""
        self.network.result_of(self.network.listen(ADDRESS, self.accept, self.there))
        near = RecordingReceiver()
        self.network.result_of(self.network.connect(ADDRESS, near, None, self.here))
        return near, self.accepted[-1]

    def ends_of(self, receiver: RecordingReceiver) -> list[Status]:
        """Say why a channel has ended, if it has."""
        return [status for status, _ in receiver.ends]


class ChannelTests(NetworkTests):
    """Channels."""

    def test_interfaces(self) -> None:
        """The parts provide what real channels provide."""
        near, _ = self.met()
        self.assertTrue(verifyObject(IChannel, near.channel))
        self.assertTrue(verifyObject(IChannelScheme, self.network))
        self.assertTrue(verifyObject(IChannelListener, self.network.listeners[ADDRESS]))

    def test_frames_arrive_later_whole_and_in_order(self) -> None:
        """Nothing arrives at once; under jitter nothing overtakes."""
        self.network = VirtualNetwork(0.001, 3, jitter_seconds=0.1)
        self.here = VirtualProcess(self.network.clock)
        self.there = VirtualProcess(self.network.clock)
        near, far = self.met()
        for frame in FRAMES * 10:
            near.channel.send([frame])
        self.assertEqual(far.frames, [])
        self.network.settle()
        self.assertEqual(far.frames, FRAMES * 10)

    def slow(self, bytes_per_second: float) -> tuple[RecordingReceiver, RecordingReceiver]:
        """Connect the two over a link with a rate."""
        self.network = VirtualNetwork(bytes_per_second=bytes_per_second)
        self.here = VirtualProcess(self.network.clock)
        self.there = VirtualProcess(self.network.clock)
        near, far = self.met()
        far.channel.frame_limit = AHEAD_BYTES
        return near, far

    def test_a_link_with_a_rate(self) -> None:
        """Frames leave one after the other; the rest waits, and is told when it does no more."""
        near, far = self.slow(100_000)
        frames = [frame_of(20_000, number) for number in range(10)]
        length = len(frames[0])
        near.channel.send(frames)
        waiting = near.channel.queued_bytes
        self.assertEqual(waiting, 10 * length - -(-AHEAD_BYTES // length) * length)
        self.network.settle(0.002)
        for count in range(1, 11):
            self.network.settle(length / 100_000 - 0.01)
            self.assertEqual(len(far.frames), count - 1)
            self.network.settle(0.01)
            self.assertEqual(len(far.frames), count)
            is_drained = not near.channel.queued_bytes
            self.assertEqual(near.calls.count("channel_drained"), int(is_drained))
        self.assertEqual(far.frames, frames)
        near.channel.send(frames[:1])
        self.network.settle(length / 100_000 + 0.002)
        self.assertEqual(len(far.frames), 11)

    def test_a_link_with_a_rate_ends(self) -> None:
        """One that is closed writes everything first; one that is aborted does not."""
        near, far = self.slow(100_000)
        frames = [frame_of(20_000, number) for number in range(10)]
        near.channel.send(frames)
        near.channel.close(Status.GOODBYE)
        self.network.settle(1.5)
        self.assertEqual(near.ends, [])
        self.network.settle(1.0)
        self.assertEqual((far.frames, self.ends_of(near)), (frames, [Status.GOODBYE]))
        near, far = self.slow(100_000)
        near.channel.send(frames)
        near.channel.abort("enough")
        self.network.settle(5)
        self.assertLess(len(far.frames), 5)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_a_link_with_a_rate_is_stuck(self) -> None:
        """What waits goes on when the link does."""
        near, far = self.slow(100_000)
        channel = near.channel
        assert isinstance(channel, VirtualChannel)
        channel.send([frame_of(20_000, number) for number in range(10)])
        channel.stall()
        self.network.settle(5)
        self.assertEqual(len(far.frames), -(-AHEAD_BYTES // 20_000))
        channel.resume()
        self.network.settle(5)
        self.assertEqual(len(far.frames), 10)

    def test_closing_writes_everything_and_reads_on(self) -> None:
        """What was sent before the end arrives, in both directions, and then both are told."""
        near, far = self.met()
        near.channel.send(FRAMES)
        near.channel.close(Status.GOODBYE, "bye")
        far.channel.send(FRAMES)
        self.assertRaises(ChannelClosed, near.channel.send, FRAMES)
        self.network.settle(0.1)
        self.assertEqual(far.frames, FRAMES)
        self.assertEqual(near.frames, FRAMES)
        self.assertEqual(self.ends_of(near), [Status.GOODBYE])
        self.assertEqual(self.ends_of(far), [Status.LINK_LOST])
        self.assertEqual(near.calls[-1], "channel_closed")

    def test_both_close(self) -> None:
        """Each side reports its own reason."""
        near, far = self.met()
        near.channel.close(Status.STOPPED)
        far.channel.close(Status.DISCONNECTED)
        self.network.settle(0.1)
        self.assertEqual(self.ends_of(near), [Status.STOPPED])
        self.assertEqual(self.ends_of(far), [Status.DISCONNECTED])

    def test_closing_does_not_wait_for_ever(self) -> None:
        """A side that hangs does not keep the other one."""
        near, _ = self.met()
        self.there.freeze()
        near.channel.close()
        self.network.settle(limits.LINGER_SECONDS + 0.1)
        self.assertEqual(self.ends_of(near), [Status.DISCONNECTED])

    def test_aborting_is_told_soon_and_not_at_once(self) -> None:
        """The own side hears in its next turn, the other one later; no frame comes after it."""
        near, far = self.met()
        far.channel.send(FRAMES)
        near.channel.abort("enough", Status.STOPPED)
        self.assertEqual(near.ends, [])
        self.network.settle(0)
        self.assertEqual(near.ends, [(Status.STOPPED, "enough")])
        self.network.settle(0.1)
        self.assertEqual(near.frames, [])
        self.assertEqual(self.ends_of(far), [Status.LINK_LOST])

    def test_a_stalled_channel(self) -> None:
        """What the kernel does not take is counted; when it does the sender is told."""
        near, far = self.met()
        channel = near.channel
        assert isinstance(channel, VirtualChannel)
        channel.stall()
        channel.send(FRAMES)
        self.network.settle(0.1)
        self.assertEqual(channel.queued_bytes, sum(map(len, FRAMES)))
        self.assertEqual(far.frames, [])
        channel.resume()
        self.network.settle(0.1)
        self.assertEqual(channel.queued_bytes, 0)
        self.assertEqual(far.frames, FRAMES)
        self.assertEqual(near.calls[-1], "channel_drained")

    def test_closing_a_channel_that_stays_stalled(self) -> None:
        """After the write deadline the bytes that could not be written are a loss."""
        near, far = self.met()
        channel = near.channel
        assert isinstance(channel, VirtualChannel)
        channel.stall()
        channel.send(FRAMES)
        channel.close(Status.GOODBYE)
        self.network.settle(limits.WRITE_DEADLINE_SECONDS + 0.1)
        self.assertEqual(self.ends_of(near), [Status.LINK_LOST])
        self.assertEqual(self.ends_of(far), [Status.LINK_LOST])

    def test_reading_can_be_paused(self) -> None:
        """Frames wait while reading is paused, and come in order."""
        near, far = self.met()
        far.channel.pause_reading()
        near.channel.send(FRAMES[:2])
        self.network.settle(0.1)
        self.assertEqual(far.frames, [])
        near.channel.send(FRAMES[2:])
        far.channel.resume_reading()
        self.assertEqual(far.frames, [])
        self.network.settle(0.1)
        self.assertEqual(far.frames, FRAMES)

    def test_frames_that_are_too_long(self) -> None:
        """The frames before are delivered; the fault is told once; nothing comes after it."""
        near, far = self.met()
        far.channel.frame_limit = 500
        near.channel.send([*FRAMES, *FRAMES])
        self.network.settle(0.1)
        self.assertEqual(far.frames, FRAMES[:3])
        self.assertEqual([type(fault) for fault in far.faults], [FrameTooLarge])
        self.assertEqual(self.ends_of(far), [Status.FRAME_TOO_LARGE])


class DialTests(NetworkTests):
    """Listening and dialling."""

    def test_nobody_there(self) -> None:
        """A dial without a listener fails after a round trip."""
        dialling = self.network.connect(ADDRESS, RecordingReceiver())
        self.assertRaises(ConnectFailed, self.network.result_of, dialling)
        self.assertAlmostEqual(self.network.clock.seconds(), 0.002)

    def test_nobody_takes_it(self) -> None:
        """A connection that the listener does not want is connected, and ended at once."""
        self.network.result_of(self.network.listen(ADDRESS, lambda peer: None, self.there))
        near = RecordingReceiver()
        self.network.result_of(self.network.connect(ADDRESS, near))
        self.network.settle(0.1)
        self.assertEqual(self.ends_of(near), [Status.LINK_LOST])

    def test_an_address_has_one_listener(self) -> None:
        """Until it has stopped."""
        listener = self.network.result_of(self.network.listen(ADDRESS, self.accept))
        again = self.network.listen(ADDRESS, self.accept)
        self.assertRaises(ListenFailed, self.network.result_of, again)
        self.network.result_of(listener.stop())
        self.network.result_of(self.network.listen(ADDRESS, self.accept))

    def test_cancelling_a_dial(self) -> None:
        """Who cancels has no channel, at any moment, and the other side is told."""
        self.network.result_of(self.network.listen(ADDRESS, self.accept, self.there))
        for step in range(4):
            near = RecordingReceiver()
            dialling = self.network.connect(ADDRESS, near, None, self.here)
            self.network.settle(step * 0.0006)
            dialling.cancel()
            self.assertRaises(CancelledError, self.network.result_of, dialling)
            self.network.settle(0.1)
            self.assertEqual(near.calls, [])
            self.assertEqual(self.network.channels, set())
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_a_split_network(self) -> None:
        """Frames wait until it heals, and dials fail after a while."""
        one = self.network.node(id=1, listen=["unix:///one"], subnets=[(0, 4)])
        two = self.network.node(id=2, upstream="unix:///one")
        self.network.start(one, two)
        self.network.split(one, two)
        waiting = two.request(1, b"?", timeout=20)
        self.network.settle(5)
        self.assertFalse(waiting.called)
        dialling = two.connect("unix:///one")
        begun = self.network.clock.seconds()
        self.assertRaises(ConnectFailed, self.network.result_of, dialling)
        self.assertAlmostEqual(self.network.clock.seconds() - begun, limits.CONNECT_SECONDS)
        one.on_request(lambda source, payload: b"!")
        self.network.heal(one, two)
        self.assertEqual(self.network.result_of(waiting), b"!")
        self.network.stop(two, one)


class ProcessTests(NetworkTests):
    """Processes."""

    def test_a_frozen_process(self) -> None:
        """Its timers and what arrives wait; then the timers come first, each kind in order."""
        near, far = self.met()
        order: list[str] = []
        far.channel.pause_reading()
        self.there.freeze()
        self.there.callLater(0.5, order.append, "first")
        self.there.callLater(0.6, order.append, "second")
        self.there.arrive(lambda: order.append("third"))
        near.channel.send(FRAMES)
        self.network.settle(1)
        self.assertEqual(order, [])
        self.there.thaw()
        self.assertEqual(order, ["first", "second", "third"])

    def test_a_late_timer_can_be_cancelled(self) -> None:
        """By a timer that is made before it."""
        made: list[str] = []
        late = self.here.callLater(2, made.append, "late")
        self.here.callLater(1, late.cancel)
        self.here.freeze()
        self.network.settle(3)
        self.assertTrue(late.active())
        self.here.thaw()
        self.assertEqual(made, [])
        self.assertRaises(AlreadyCancelled, late.cancel)

    def test_timers_can_be_moved(self) -> None:
        """As Twisted's can."""
        made: list[str] = []
        one, two = (self.here.callLater(1, made.append, name) for name in ("one", "two"))
        one.delay(1)
        two.reset(0.5)
        self.network.settle(0.6)
        self.assertEqual(made, ["two"])
        self.assertRaises(AlreadyCalled, two.cancel)
        self.network.settle(2)
        self.assertEqual(made, ["two", "one"])

    def test_kernels_connect_for_frozen_processes(self) -> None:
        """A dial succeeds, and the process sees it when it runs again."""
        self.network.result_of(self.network.listen(ADDRESS, self.accept, self.there))
        self.there.freeze()
        near = RecordingReceiver()
        self.network.result_of(self.network.connect(ADDRESS, near, None, self.here))
        near.channel.send(FRAMES)
        self.network.settle(1)
        self.assertEqual(self.accepted, [])
        self.there.thaw()
        self.assertEqual(self.accepted[0].frames, FRAMES)

    def test_killed_and_without_power(self) -> None:
        """The kernel of a killed process tells the others; a host without power tells nobody."""
        ends: list[Deferred[None]] = []
        for is_killed in (True, False):
            one = self.network.node(id=1, listen=["unix:///one"], subnets=[(0, 4)])
            two = self.network.node(id=2, upstream="unix:///one")
            self.network.start(one, two)
            self.network.settle()
            (self.network.kill if is_killed else self.network.power_off)(two)
            self.network.settle(1)
            self.assertEqual(list(one.endpoints), [] if is_killed else [2])
            self.assertEqual(self.network.process_of(two).calls, set())
            ends.append(one.stop())
            self.network.result_of(ends[-1])
        self.network.settle(0.1)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])
