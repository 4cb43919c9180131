"""
What every kind of channel has to do, as tests.

Mix `ChannelContract` into a `twisted.trial.unittest.TestCase`, say how a scheme is made and where
it listens, and what `atbus.channels.interfaces` promises is tested. The tests wait for events,
never for time, so they run on any reactor.
"""

# ruff: noqa: PT009, PT027 - trial, not pytest.

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from atbus.address import Address
from atbus.channels.interfaces import (
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelScheme,
    IPieceChannel,
)
from atbus.errors import ChannelClosed, ConnectFailed, ListenFailed, Status
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Tests
else:
    _Tests = object


class ChannelContract(_Tests):
    """
    The contract of channels and their schemes.

    A subclass gives the two methods that raise `NotImplementedError` here.
    """

    timeout = 120

    #: Enough that no kernel takes it all.
    many_frames = 400
    long_payload_bytes = 60_000

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        """
        Make the scheme under test.

        :param options: What it has to obey.
        :returns: The scheme.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def make_address(self) -> Address:
        """
        Name a place to listen at, another one at each call; for TCP port 0 will do.

        :returns: An address of the scheme.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        super().setUp()
        # Patience for a machine that is busy with other things.
        self.scheme = self.make_scheme(
            ChannelOptions(
                frame_limit=1 << 20,
                allow_insecure=True,
                connect_timeout_seconds=self.timeout,
                write_deadline_seconds=self.timeout,
                linger_seconds=self.timeout,
            )
        )
        self._opened: list[RecordingReceiver] = []
        self.addCleanup(lambda: Deferred.fromCoroutine(self._end_all()))

    async def _end_all(self) -> None:
        for receiver in self._opened:
            if not receiver.ends:
                receiver.channel.abort("the test is over")
        for receiver in self._opened:
            await receiver.end()

    async def listening(
        self, accept: Reception, address: Address | None = None
    ) -> IChannelListener:
        """
        Listen until the test is over.

        :param accept: Where connections come in.
        :param address: Where; `None` for a place of its own.
        :returns: The listener.
        """
        listener = await self.scheme.listen(address or self.make_address(), accept)
        self.addCleanup(listener.stop)
        return listener

    async def dialled(
        self, address: Address, receiver: RecordingReceiver | None = None
    ) -> RecordingReceiver:
        """
        Dial, and end the channel when the test is over.

        :param address: Where to.
        :param receiver: `None` for a new one.
        :returns: The receiver of the open channel.
        """
        receiver = receiver or RecordingReceiver()
        channel = await self.scheme.connect(address, receiver)
        self._opened.append(receiver)
        self.assertIs(channel, receiver.channel)
        return receiver

    async def pair(self) -> tuple[RecordingReceiver, RecordingReceiver]:
        """
        Make one channel.

        :returns: The dialling and the accepting end.
        """
        reception = Reception()
        listener = await self.listening(reception)
        dialler = await self.dialled(listener.address)
        [guest] = await reception.guests(1)
        self._opened.append(guest)
        return dialler, guest

    def fill(self, sender: RecordingReceiver) -> list[bytes]:
        """
        Send more than the kernel takes while nobody reads.

        :param sender: The sending end.
        :returns: What was sent.
        """
        frames = [frame_of(self.long_payload_bytes, seed) for seed in range(self.many_frames)]
        for frame in frames:
            sender.channel.send([frame])
        self.assertGreater(sender.channel.queued_bytes, 0)
        return frames

    # Opening

    async def test_both_ends_know_each_other(self) -> None:
        """A channel opens once on both sides; each knows the address and who dialed."""
        reception = Reception()
        listener = await self.listening(reception)
        dialler = await self.dialled(listener.address)
        [guest] = await reception.guests(1)
        verifyObject(IChannelScheme, self.scheme)
        verifyObject(IChannelListener, listener)
        for end, dialled in ((dialler, True), (guest, False)):
            verifyObject(IChannel, end.channel)
            self.assertEqual(end.calls, ["channel_opened"])
            self.assertEqual(end.channel.address, listener.address)
            self.assertEqual(end.channel.dialled, dialled)
            self.assertNotEqual(end.channel.peer, "")
        self.assertEqual(reception.peers, [guest.channel.peer])

    async def test_frames_can_be_sent_while_opening(self) -> None:
        """A receiver may send from within channel_opened."""

        class Eager(RecordingReceiver):
            def channel_opened(self, channel: IChannel) -> None:
                channel.send([frame_of(5)])
                super().channel_opened(channel)

        reception = Reception()
        listener = await self.listening(reception)
        await self.dialled(listener.address, Eager())
        [guest] = await reception.guests(1)
        self.assertEqual(await guest.received(1), [frame_of(5)])

    async def test_a_place_where_nobody_listens(self) -> None:
        """
        Dialing a place that nobody listens at fails with its name, and no channel was opened.

        Scenario: D8
        """
        listener = await self.scheme.listen(self.make_address(), Reception())
        await listener.stop()
        receiver = RecordingReceiver()
        error = await error_of(self.scheme.connect(listener.address, receiver), ConnectFailed)
        self.assertEqual(error.address, listener.address)
        self.assertNotEqual(error.detail, "")
        self.assertEqual(receiver.calls, [])

    async def test_a_place_that_is_taken(self) -> None:
        """Where somebody listens nobody else can, and is told so."""
        listener = await self.listening(Reception())
        error = await error_of(self.scheme.listen(listener.address, Reception()), ListenFailed)
        self.assertEqual(error.address, listener.address)
        self.assertNotEqual(error.detail, "")

    async def test_a_place_that_is_free_again(self) -> None:
        """
        A stopped listener takes nobody in, leaves open channels alone and frees its place.

        Scenario: D16
        """
        reception = Reception()
        listener = await self.scheme.listen(self.make_address(), reception)
        dialler = await self.dialled(listener.address)
        [guest] = await reception.guests(1)
        await listener.stop()
        await listener.stop()
        await error_of(self.scheme.connect(listener.address, RecordingReceiver()), ConnectFailed)
        guest.channel.send([frame_of(1)])
        self.assertEqual(await dialler.received(1), [frame_of(1)])
        again = Reception()
        await self.listening(again, listener.address)
        await self.dialled(listener.address)
        await again.guests(1)

    async def test_a_dial_that_is_cancelled(self) -> None:
        """A cancelled dial opens no channel here, and none stays on the other side."""
        reception = Reception()
        listener = await self.listening(reception)
        receiver = RecordingReceiver()
        dialling = self.scheme.connect(listener.address, receiver)
        dialling.cancel()
        await error_of(dialling, CancelledError)
        # Whoever comes after it shows that it was dealt with.
        survivor = await self.dialled(listener.address)
        survivor.channel.send([frame_of(9)])
        await reception.until(lambda: any(guest.frames for guest in reception.receivers))
        for guest in reception.receivers:
            if not guest.frames:
                await guest.end()
        self.assertEqual(receiver.calls, [])

    async def test_nobody_is_taken_in(self) -> None:
        """A connection that is not accepted is ended, whether by choice or by mistake."""
        for make in (lambda: None, _fail):
            listener = await self.listening(Reception(make))
            dialler = await self.dialled(listener.address)
            self.assertEqual((await dialler.end())[0], Status.LINK_LOST)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    # Frames

    async def test_frames_of_all_sizes(self) -> None:
        """
        Small and large frames arrive whole, once and in order, also one without a payload.

        Scenario: D2, D14
        """
        dialler, guest = await self.pair()
        sent = [frame_of(size, size) for size in (0, 13, 28, 100, 56 * 1024 + 3)]
        dialler.channel.send(sent)
        self.assertEqual(await guest.received(len(sent)), sent)

    async def test_frames_in_pieces(self) -> None:
        """A channel that takes pieces makes the same frames of them, in order with whole ones."""
        dialler, guest = await self.pair()
        channel = dialler.channel
        sent = [frame_of(size, size) for size in (40_000, 5, 56_000)]
        if IPieceChannel.providedBy(channel):
            channel.send_pieces([sent[0][:60], memoryview(sent[0])[60:], sent[1]])
            channel.send_pieces([sent[2][:48], memoryview(sent[2])[48:300], sent[2][300:]])
        else:
            channel.send(sent)
        self.assertEqual(await guest.received(len(sent)), sent)
        self.assertEqual(channel.written_bytes, sum(map(len, sent)))

    async def test_what_was_written_is_counted(self) -> None:
        """
        Three frames have been written when the count says so, and the other side has all of them.

        There is no callback for each write: `IChannel.written_bytes` tells, and
        ``channel_drained`` when something had to wait.

        Scenario: D10
        """
        dialler, guest = await self.pair()
        sent = [frame_of(size, size) for size in (64, 256, 1024)]
        for frame in sent:
            dialler.channel.send([frame])
        self.assertEqual(await guest.received(3), sent)
        self.assertEqual(dialler.channel.written_bytes, sum(map(len, sent)))
        self.assertEqual(dialler.channel.queued_bytes, 0)

    async def test_each_channel_has_its_receiver(self) -> None:
        """
        What comes over a channel is told to its own receiver and to nobody else: whoever listens
        chooses one for each connection, and there is no other to be told.

        Scenario: D22
        """
        first, second = RecordingReceiver(), RecordingReceiver()
        choices = iter((first, second))
        reception = Reception(lambda: next(choices))
        listener = await self.listening(reception)
        diallers = [await self.dialled(listener.address) for _ in range(2)]
        await reception.guests(2)
        self._opened += [first, second]
        for number, dialler in enumerate(diallers):
            dialler.channel.send([frame_of(10 + number)])
        self.assertEqual(await first.received(1), [frame_of(10)])
        self.assertEqual(await second.received(1), [frame_of(11)])
        diallers[0].channel.abort("enough")
        await first.end()
        self.assertEqual(second.ends, [])

    async def test_a_channel_tells_of_itself(self) -> None:
        """
        Where a channel leads, who is there and what it has written can be asked at any time, also
        when both ends are gone.

        Scenario: D4
        """
        dialler, guest = await self.pair()
        dialler.channel.send([frame_of(7)])
        await guest.received(1)

        def told(channel: IChannel) -> list[object]:
            return [channel.address, channel.peer, channel.dialled, channel.written_bytes]

        ends = (dialler, guest)
        before = [told(end.channel) for end in ends]
        self.assertEqual([one[3] for one in before], [len(frame_of(7)), 0])
        for end in ends:
            end.channel.close()
        for end in ends:
            await end.end()
        self.assertEqual([told(end.channel) for end in ends], before)
        self.assertEqual([end.channel.queued_bytes for end in ends], [0, 0])

    async def test_many_frames_from_the_listening_side(self) -> None:
        """
        Frames of growing sizes sent by the listening side arrive byte for byte in order.

        Scenario: D3
        """
        dialler, guest = await self.pair()
        sent = [frame_of(20_480 + 67 * index, index) for index in range(153)]
        for frame in sent:
            guest.channel.send([frame])
        self.assertEqual(await dialler.received(len(sent)), sent)

    async def test_channels_do_not_disturb_each_other(self) -> None:
        """
        Several channels carry traffic both ways at once; the end of one is nothing to the others.

        Scenario: D5, D20
        """
        reception = Reception()
        listener = await self.listening(reception)
        diallers = [await self.dialled(listener.address) for _ in range(4)]
        # They are accepted in the order in which they were dialed.
        guests = await reception.guests(4)
        sent = [frame_of(1000, seed) for seed in range(60)]
        for end in (*diallers, *guests):
            end.channel.send(sent[:30])
        diallers[0].channel.abort("enough")
        for end in (*diallers[1:], *guests[1:]):
            end.channel.send(sent[30:])
        for end in (*diallers[1:], *guests[1:]):
            self.assertEqual(await end.received(60), sent)
        await guests[0].end()
        self.assertEqual([len(guest.ends) for guest in guests], [1, 0, 0, 0])
        await self.dialled(listener.address)
        await reception.guests(5)

    # Pressure

    async def test_a_reader_that_stops(self) -> None:
        """
        While the other side does not read, exactly what it was not sent yet is counted; nothing of
        what was sent before is lost when it reads again, and the sender is told once.

        Scenario: D19
        """
        dialler, guest = await self.pair()
        guest.channel.pause_reading()
        sent = self.fill(dialler)
        full_bytes = dialler.channel.queued_bytes
        for _ in range(10):
            sent.append(frame_of(1000, len(sent)))
            dialler.channel.send([sent[-1]])
        self.assertEqual(dialler.channel.queued_bytes, full_bytes + 10 * len(sent[-1]))
        total_bytes = sum(map(len, sent))
        self.assertEqual(dialler.channel.written_bytes + dialler.channel.queued_bytes, total_bytes)
        self.assertNotIn("channel_drained", dialler.calls)
        guest.channel.resume_reading()
        self.assertEqual(await guest.received(len(sent)), sent)
        await dialler.until(lambda: "channel_drained" in dialler.calls)
        self.assertEqual(dialler.calls, ["channel_opened", "channel_drained"])
        self.assertEqual(dialler.channel.queued_bytes, 0)
        self.assertEqual(dialler.channel.written_bytes, total_bytes)

    # Ending

    async def test_closing_loses_nothing(self) -> None:
        """Everything queued arrives before the channel ends, also when both sides close at once."""
        dialler, guest = await self.pair()
        guest.channel.pause_reading()
        sent = self.fill(dialler)
        back = self.fill(guest)
        dialler.channel.close(Status.GOODBYE, "bye")
        self.assertEqual(dialler.ends, [])
        guest.channel.close(Status.STOPPED, "stop")
        self.assertEqual(await dialler.end(), (Status.GOODBYE, "bye"))
        self.assertEqual(await guest.end(), (Status.STOPPED, "stop"))
        self.assertEqual(guest.frames, sent)
        self.assertEqual(dialler.frames, back)
        self.assertEqual(dialler.channel.queued_bytes, 0)

    async def test_closing_reads_to_the_end(self) -> None:
        """Frames that are on their way when a channel is closed are still delivered."""
        dialler, guest = await self.pair()
        guest.channel.send([frame_of(7, seed) for seed in range(20)])
        dialler.channel.close()
        self.assertEqual(await dialler.end(), (Status.DISCONNECTED, ""))
        self.assertEqual(len(dialler.frames), 20)
        self.assertEqual((await guest.end())[0], Status.LINK_LOST)

    async def test_aborting(self) -> None:
        """
        An aborted channel ends with what its owner said, soon but not before abort returns; the
        other side is told, too. Each side is told once, whatever is called afterwards.

        Scenario: D6, D16
        """
        dialler, guest = await self.pair()
        dialler.channel.abort("broken", Status.HEARTBEAT_LOST)
        self.assertEqual(dialler.ends, [])
        self.assertEqual(await dialler.end(), (Status.HEARTBEAT_LOST, "broken"))
        self.assertEqual((await guest.end())[0], Status.LINK_LOST)
        for end in (dialler, guest):
            end.channel.close()
            end.channel.abort("again")
            end.channel.pause_reading()
            end.channel.resume_reading()
            self.assertRaises(ChannelClosed, end.channel.send, [frame_of(1)])
            self.assertEqual(end.calls, ["channel_opened", "channel_closed"])

    async def test_sending_after_closing(self) -> None:
        """
        What is sent after close or abort is refused, and the first close counts.

        Scenario: D16
        """
        dialler, guest = await self.pair()
        dialler.channel.close(Status.GOODBYE, "first")
        dialler.channel.close(Status.STOPPED, "second")
        self.assertRaises(ChannelClosed, dialler.channel.send, [frame_of(1)])
        guest.channel.abort("no")
        self.assertRaises(ChannelClosed, guest.channel.send, [frame_of(1)])
        self.assertEqual(await dialler.end(), (Status.GOODBYE, "first"))

    async def test_aborting_overrules_closing(self) -> None:
        """
        A channel that cannot get rid of its bytes can be aborted while it closes; how many were
        lost can still be told.

        Scenario: D18
        """
        dialler, guest = await self.pair()
        guest.channel.pause_reading()
        self.fill(dialler)
        dialler.channel.close()
        dialler.channel.abort("no more time")
        self.assertEqual(await dialler.end(), (Status.LINK_LOST, "no more time"))
        self.assertGreater(dialler.channel.queued_bytes, 0)
        guest.channel.resume_reading()
        await guest.end()
        self.assertLess(len(guest.frames), self.many_frames)

    async def test_a_receiver_that_fails(self) -> None:
        """A receiver that raises loses its channel, is named in the log, and hurts nobody else."""
        reception = Reception()
        listener = await self.listening(reception)
        bystander = await self.dialled(listener.address)
        # The other side of one that fails while it opens need never have seen it: it comes last.
        calls = ("frames_received", "channel_drained", "channel_closed", "channel_opened")
        for count, call in enumerate(calls, start=2):
            clumsy = await self.dialled(listener.address, RecordingReceiver(failing=call))
            guest = (await reception.guests(min(count, len(calls))))[-1]
            if call == "frames_received":
                guest.channel.send([frame_of(1)])
            elif call == "channel_drained":
                self.fill(clumsy)
            elif call == "channel_closed":
                guest.channel.abort("go")
            await clumsy.end()
            bystander.channel.send([frame_of(count)])
            await reception.receivers[0].received(count - 1)
            self.assertEqual(len(clumsy.ends), 1)
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


def _fail() -> NoReturn:
    raise RuntimeError("the test wants it")
