"""Real sockets whose other end does as it likes: no node, no channel, only bytes."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from atbus.address import Address, Scheme
from atbus.channels.interfaces import ChannelOptions, IChannelListener
from atbus.channels.schemes import Channels
from atbus.errors import Status
from atbus.testing.recording import Reception, RecordingReceiver, Watched, frame_of
from tests.channels.sockets import SocketTests


@implementer(IHalfCloseableProtocol)
class Raw(Protocol, Watched):
    """Keeps the bytes that come and how they end."""

    transport: Any

    def __init__(self) -> None:
        Watched.__init__(self)
        self.received = bytearray()
        self.other_side_ended = False
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.changed()

    def readConnectionLost(self) -> None:
        self.other_side_ended = True
        self.changed()

    def writeConnectionLost(self) -> None:
        """We wanted it."""

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True
        self.changed()


class RawPeerTests(SocketTests):
    """Over TCP."""

    timeout = 120

    def make_address(self) -> Address:
        return Address(Scheme.IPV4, "127.0.0.1", 0)

    def endpoint(self, address: Address) -> Any:
        return TCP4ClientEndpoint(self.reactor, address.host, address.port or 0)

    async def meet(self, options: ChannelOptions | None = None) -> tuple[Raw, RecordingReceiver]:
        """Connect bytes on one side with a channel on the other."""
        reception = Reception()
        scheme = Channels(self.reactor, options or ChannelOptions(frame_limit=1 << 20), self.timers)
        listener: IChannelListener = await scheme.listen(self.make_address(), reception)
        self.addCleanup(listener.stop)
        raw = await self.endpoint(listener.address).connect(Factory.forProtocol(Raw))
        [guest] = await reception.guests(1)
        self.addCleanup(guest.end)
        self.addCleanup(guest.channel.abort, "the test is over")
        self.addCleanup(raw.until, lambda: raw.lost)
        self.addCleanup(raw.transport.abortConnection)
        return raw, guest

    async def test_pieces_of_frames(self) -> None:
        """
        Frames that come byte by byte, three at once, and one and a half at a time are delivered
        whole and in order.

        Scenario: D12
        """
        raw, guest = await self.meet()
        frames = [frame_of(size, size) for size in range(7)]
        for octet in frames[0]:
            raw.transport.write(bytes([octet]))
            await deferLater(self.reactor, 0)
        await guest.received(1)
        raw.transport.write(b"".join(frames[1:4]))
        await guest.received(4)
        rest = b"".join(frames[4:])
        raw.transport.write(rest[:75])
        await guest.received(5)
        raw.transport.write(rest[75:])
        self.assertEqual(await guest.received(7), frames)

    async def test_another_protocol(self) -> None:
        """
        A web browser gets the receiver's last frame and an end, not a reset, and is reported by
        name; what it had sent behind is thrown away.
        """
        raw, guest = await self.meet()
        raw.transport.write(b"GET / HTTP/1.1\r\n\r\n" * 1000)
        await raw.until(lambda: raw.other_side_ended)
        raw.transport.loseConnection()
        self.assertEqual((await guest.end())[0], Status.NOT_ATBUS)
        self.assertEqual(len(guest.faults), 1)
        self.assertEqual(guest.frames, [])

    async def test_another_side_that_ends_first(self) -> None:
        """
        One that says its last and reads on still gets everything that was queued for it, though
        its end is reported at once.
        """
        raw, guest = await self.meet()
        raw.transport.pauseProducing()
        frames = [frame_of(60_000, seed) for seed in range(300)]
        guest.channel.send(frames)
        self.assertGreater(guest.channel.queued_bytes, 0)
        raw.transport.loseWriteConnection()
        self.assertEqual((await guest.end())[0], Status.LINK_LOST)
        self.assertGreater(guest.channel.queued_bytes, 0)
        raw.transport.resumeProducing()
        await raw.until(lambda: raw.other_side_ended)
        self.assertEqual(raw.received, b"".join(frames))

    async def test_another_side_that_is_killed(self) -> None:
        """A reset is reported at once, as a lost link."""
        raw, guest = await self.meet()
        raw.transport.abortConnection()
        self.assertEqual((await guest.end())[0], Status.LINK_LOST)

    async def test_another_side_that_stays(self) -> None:
        """One that never ends its own direction cannot hold a closed channel for ever."""
        raw, guest = await self.meet(ChannelOptions(frame_limit=1 << 20, linger_seconds=0.05))
        guest.channel.send([frame_of(5)])
        guest.channel.close(Status.GOODBYE, "leaving")
        self.assertEqual(await guest.end(), (Status.GOODBYE, "leaving"))
        await raw.until(lambda: raw.other_side_ended)
        self.assertEqual(raw.received, frame_of(5))

    async def test_another_side_that_never_reads(self) -> None:
        """A channel closed towards one that takes nothing any more gives up and says so."""
        raw, guest = await self.meet(
            ChannelOptions(frame_limit=1 << 20, write_deadline_seconds=0.05)
        )
        raw.transport.pauseProducing()
        guest.channel.send([frame_of(60_000, seed) for seed in range(300)])
        guest.channel.close(Status.GOODBYE, "leaving")
        status, detail = await guest.end()
        self.assertEqual(status, Status.LINK_LOST)
        self.assertIn(f"{guest.channel.queued_bytes} bytes could not be written", detail)


class UnixRawPeerTests(RawPeerTests):
    """
    The same over unix sockets.

    Scenario: D9
    """

    def make_address(self) -> Address:
        return self.unix_address()

    def endpoint(self, address: Address) -> Any:
        return UNIXClientEndpoint(self.reactor, address.host)
