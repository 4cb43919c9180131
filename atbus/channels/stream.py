"""
Frames over a byte stream: what every scheme with a socket has in common.

The life of a `StreamProtocol`::

    connectionMade            OPEN     greeted (who is there?), and given a receiver; else ENDED
    OPEN --close()----------> CLOSING  write everything, end our direction, read to the other's end
    OPEN --fault------------> CLOSING  the same, with the fault's status; input is thrown away
    OPEN --other side's end-> ENDED    reported at once; what is queued is still written
    any  --abort()----------> ENDED    the transport drops everything
    any  --connectionLost---> ENDED    reported, unless it was before

Closing reads on, because a socket closed with unread input resets the connection, and that
destroys what the other side has not read yet (RFC 1122, section 4.2.2.13).
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IFileDescriptorReceiver,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.address import Address
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelReceiver,
    IDescriptorChannel,
    IPieceChannel,
)
from atbus.channels.outgoing import OutgoingBytes
from atbus.errors import ChannelClosed, ConnectFailed, FrameTooLarge, RemoteProtocolError, Status
from atbus.handshake.certificate import CertificateIdentity
from atbus.wire.framing import FrameBuffer

#: One read at most: large enough that reading bulk costs few turns.
READ_BYTES: Final = 256 * 1024

#: What is read at first: of the shortest frames there are 16 in it. Bulk has reads of full size
#: after eight of them.
READ_BYTES_FIRST: Final = 1024

#: What is read at least: about one of the shortest frames, for what each of two hundred neighbors
#: has to be asked takes 5 ms.
READ_BYTES_LEAST: Final = 64

#: A read that takes longer is smaller the next time, for everybody else waits meanwhile: of four
#: hundred connections that ask for all that they can get, a turn takes a second. Bytes say little
#: about time: what has a thousand short frames takes a hundred times as long as one long frame.
READ_SECONDS: Final = 0.002

# A read that has taken less may be twice as large the next time.
_SHORT_SECONDS: Final = READ_SECONDS / 4
#: The longest record of TLS, which gives no more at once, however much was read.
RECORD_BYTES: Final = 16 * 1024

#: Descriptors of one connection that no offer has claimed yet: those of two offers.
DESCRIPTORS_MAX: Final = 4

_ENDED_BY_PEER = "the other side ended the connection"


class _Phase(enum.Enum):
    OPEN = enum.auto()
    CLOSING = enum.auto()
    ENDED = enum.auto()


@implementer(IDescriptorChannel, IPieceChannel, IHalfCloseableProtocol, IFileDescriptorReceiver)
class StreamProtocol(Protocol):
    """
    One connection and its channel.

    :param factory: What all connections of one listener, or one dial, have in common.
    """

    _log = Logger()

    def __init__(self, factory: StreamFactory) -> None:
        self._factory = factory
        self.address = factory.address
        self.dialled = factory.dialled
        self.peer = ""
        self.identity: CertificateIdentity | None = None
        self.exporter = b""
        self.refusal = ""
        self._phase = _Phase.ENDED
        self._receiver: IChannelReceiver | None = None
        self._outgoing: OutgoingBytes | None = None
        self._frame_limit = factory.options.frame_limit
        # None once nothing more is to be delivered.
        self._incoming: FrameBuffer | None = FrameBuffer(self._frame_limit)
        self._verdict = (Status.LINK_LOST, _ENDED_BY_PEER)
        self.takes_descriptors = False
        self._descriptors: tuple[int, ...] = ()
        self._read_bytes = 0
        self._usual_bytes = READ_BYTES_FIRST
        self._patience: IDelayedCall | None = None

    # What a channel offers

    @property
    def queued_bytes(self) -> int:
        return self._outgoing.queued_bytes if self._outgoing else 0

    @property
    def written_bytes(self) -> int:
        return self._outgoing.written_bytes if self._outgoing else 0

    @property
    def frame_limit(self) -> int:
        return self._frame_limit

    @frame_limit.setter
    def frame_limit(self, limit: int) -> None:
        self._frame_limit = limit
        if self._incoming is not None:
            self._incoming.limit = limit

    def send_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        if self._phase is not _Phase.OPEN or self._outgoing is None:
            raise ChannelClosed(f"{self.address} to {self.peer}")
        self._outgoing.put(pieces)

    # Whole frames are pieces too.
    send = send_pieces

    @property
    def carries_descriptors(self) -> bool:
        return IUNIXTransport.providedBy(self.transport)

    @property
    def read_bytes(self) -> int:
        return self._read_bytes

    def send_with(self, frame: bytes, descriptors: Sequence[int]) -> None:
        if self._phase is not _Phase.OPEN or self._outgoing is None:
            raise ChannelClosed(f"{self.address} to {self.peer}")
        self._outgoing.put_with(frame, descriptors)

    def take_descriptors(self, count: int) -> list[int]:
        if len(self._descriptors) < count:
            return []
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return list(taken)

    def close(self, status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        if self._phase is not _Phase.OPEN:
            return
        self._phase = _Phase.CLOSING
        self._verdict = (status, detail)
        self._await_progress()
        self._transport.resumeProducing()
        if not self.queued_bytes:
            self._end_writing()

    def abort(self, detail: str, status: Status = Status.LINK_LOST) -> None:
        if self._phase is _Phase.ENDED:
            return
        self._phase = _Phase.ENDED
        self._verdict = (status, detail)
        self._incoming = None
        self._transport.abortConnection()

    def pause_reading(self) -> None:
        if self._phase is _Phase.OPEN:
            self._transport.pauseProducing()

    def resume_reading(self) -> None:
        if self._phase is _Phase.OPEN:
            self._transport.resumeProducing()

    def when_open(self) -> Deferred[Any]:
        """Fire when it is settled whether the channel opens; here it is as soon as there is one."""
        return succeed(self)

    # What the transport tells

    def connectionMade(self) -> None:
        """Find out who is there and open the channel, or end the connection."""
        transport = self._transport
        transport.bufferSize = READ_BYTES_FIRST
        if isinstance(transport, Connection):
            # An endpoint's stand-in, which has done its work, would pass on each read.
            transport.protocol = self
        try:
            self.peer = self._factory.greet(transport)
        except OSError as error:
            self.refusal = str(error)
            self._log.info(
                "connection at {address} not used: {refusal}",
                address=str(self.address),
                refusal=self.refusal,
            )
        else:
            self._receiver = self._ask_for_receiver()
        if self._receiver is None:
            transport.abortConnection()
            return
        self._phase = _Phase.OPEN
        self._outgoing = OutgoingBytes(transport, self._emptied)
        self._tell("channel_opened", self._receiver.channel_opened, self)

    def dataReceived(self, data: bytes) -> None:
        """Cut bytes into frames and deliver them."""
        incoming = self._incoming
        if incoming is None or self._receiver is None:
            return
        size = len(data)
        self._read_bytes += size
        kept_bytes, limit = incoming.pending_bytes, incoming.limit
        try:
            frames = incoming.feed(data)
        except RemoteProtocolError as error:
            self._fault(error)
            return
        self._transport.bufferSize = incoming.next_read(self._usual_bytes)
        # A short read costs nobody anything, unless there was more that was not read.
        is_short = size < READ_BYTES_FIRST and size < self._usual_bytes
        began = None if is_short else self._factory.timers.seconds()
        if frames:
            try:
                self._receiver.frames_received(frames)
            except Exception:  # noqa: BLE001 - whatever it is, only this channel suffers
                self._receiver_failed("frames_received")
            if incoming.fault is not None and self._incoming is not None:
                cut_bytes = sum(map(len, frames)) - kept_bytes
                self._judge_again(incoming.fault, limit, data[cut_bytes:])
        if began is not None:
            self._read_took(size, self._factory.timers.seconds() - began)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Keep a descriptor for the frame that tells what it is; what nobody awaits is closed."""
        wanted = self.takes_descriptors and self._phase is _Phase.OPEN
        if wanted and len(self._descriptors) < DESCRIPTORS_MAX:
            self._descriptors += (descriptor,)
        else:
            os.close(descriptor)

    def readConnectionLost(self) -> None:
        """Take note that the other side has said its last."""
        if self._phase is _Phase.OPEN:
            self._phase = _Phase.ENDED
            self._await_progress()
            self._report(Status.LINK_LOST, _ENDED_BY_PEER)
        if not self.queued_bytes:
            self._end_writing()
        # With a producer this waits until everything is written.
        self._transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our direction has been ended, as we wanted: nothing to do."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report the end, if it is not known yet."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()
        self._stop_waiting()
        status, detail = self._verdict
        if self._phase is _Phase.CLOSING and self.queued_bytes:
            status = Status.LINK_LOST
            detail = f"closed, but {self.queued_bytes} bytes could not be written"
        elif self._phase is _Phase.OPEN and not isinstance(reason.value, ConnectionDone):
            status, detail = self._lost_by(reason)
        self._phase = _Phase.ENDED
        self._incoming = None
        self._report(status, detail)

    # What follows

    @property
    def _transport(self) -> Any:
        # Any: abortConnection and bufferSize are of no interface that all transports provide.
        return self.transport

    def _lost_by(self, _reason: Failure) -> tuple[Status, str]:
        """Say how the channel ended, when neither side has ended it in good order."""
        return Status.LINK_LOST, "the connection was lost"

    def _ask_for_receiver(self) -> IChannelReceiver | None:
        try:
            return self._factory.accept(self.peer)
        except Exception:  # noqa: BLE001 - nobody is accepted then, and nothing else suffers
            self._log.failure(
                "accepting {peer} at {address} failed", peer=self.peer, address=str(self.address)
            )
            return None

    def _emptied(self) -> None:
        if self._phase is not _Phase.OPEN:
            self._await_progress()
            self._end_writing()
        elif self._receiver is not None:
            self._tell("channel_drained", self._receiver.channel_drained)

    def _end_writing(self) -> None:
        if self._outgoing is not None:
            self._outgoing.finish()
        if IHalfCloseableDescriptor.providedBy(self.transport):
            self._transport.loseWriteConnection()
        else:
            self._transport.loseConnection()

    def _read_took(self, size: int, seconds: float) -> None:
        """
        Read less the next time if this took long, more if there may be more and it did not.

        :param size: Bytes that were read.
        :param seconds: How long it took to deal with them.
        """
        usual = self._usual_bytes
        if seconds > READ_SECONDS:
            fair = int(size * READ_SECONDS / seconds)
            usual = max(READ_BYTES_LEAST, min(usual // 2, fair))
        elif seconds < _SHORT_SECONDS and size >= min(usual, RECORD_BYTES):
            usual = min(usual * 2, READ_BYTES)
        if usual != self._usual_bytes and self._incoming is not None:
            self._usual_bytes = usual
            self._read_next(self._incoming.next_read(usual))

    def _read_next(self, size: int) -> None:
        """Have so much read the next time."""
        self._transport.bufferSize = size

    def _judge_again(self, fault: RemoteProtocolError, limit: int, rest: bytes) -> None:
        """
        Judge a bad frame once those before it have been delivered, by the limit that counts now.

        The last frame of a handshake, upon which the receiver raises the limit, and the first
        long frame may arrive in one read.

        :param fault: What was found.
        :param limit: The limit by which it was found.
        :param rest: The bytes from the bad frame on.
        """
        if isinstance(fault, FrameTooLarge) and self._frame_limit > limit:
            self._incoming = FrameBuffer(self._frame_limit)
            self.dataReceived(rest)
        else:
            self._fault(fault)

    def _fault(self, error: RemoteProtocolError) -> None:
        self._incoming = None
        if self._receiver is not None:
            self._tell("channel_fault", self._receiver.channel_fault, error)
        self.close(error.status, error.detail)

    def _await_progress(self) -> None:
        self._stop_waiting()
        options = self._factory.options
        seconds = options.write_deadline_seconds if self.queued_bytes else options.linger_seconds
        self._patience = self._factory.timers.callLater(
            seconds, self._lose_patience, self.written_bytes + self._read_bytes
        )

    def _stop_waiting(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def _lose_patience(self, moved_bytes: int) -> None:
        if self.written_bytes + self._read_bytes > moved_bytes:
            self._await_progress()
        elif self.queued_bytes:
            self._transport.abortConnection()
        else:
            # Everything is with the kernel, which goes on delivering it.
            self._transport.loseConnection()

    def _tell(self, call: str, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:  # noqa: BLE001 - whatever it is, only this channel suffers
            self._receiver_failed(call)

    def _receiver_failed(self, call: str) -> None:
        self._log.failure(
            "{call} failed for the channel to {peer} at {address}",
            call=call,
            peer=self.peer,
            address=str(self.address),
        )
        self.abort(f"{call} failed on this side")

    def _report(self, status: Status, detail: str) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self._tell("channel_closed", receiver.channel_closed, status, detail)


class StreamFactory(Factory):
    """
    What the connections of one listener, or of one dial, have in common.

    :param address: The address dialled or listened on.
    :param accept: Gives each connection its receiver.
    :param greet: Called with each new transport: sets its socket up and tells who is there; raises
        `OSError` when that is nobody to talk to.
    :param dialled: Whether this side dials.
    :param options: The node's options.
    :param timers: For the patience of a closing channel.
    :param name: Says who has come by the other side's address alone.
    """

    noisy = False

    def __init__(
        self,
        address: Address,
        accept: Accept,
        *,
        greet: Callable[[ITransport], str],
        dialled: bool,
        options: ChannelOptions,
        timers: IReactorTime,
        name: Callable[[Any], str] = lambda _address: "",
    ) -> None:
        self.address = address
        self.accept = accept
        self.greet = greet
        self.name = name
        self.dialled = dialled
        self.options = options
        self.timers = timers

    def buildProtocol(self, addr: IAddress | None) -> StreamProtocol | None:
        """
        Make the protocol of one connection.

        :param addr: The other side's address; a channel asks its transport instead.
        :returns: A protocol that is not connected yet; None to have the socket closed at once.
        """
        if not self.dialled and self.options.turns_away(self.address, self.name(addr)):
            return None
        return StreamProtocol(self)


def dial(
    endpoint: IStreamClientEndpoint, factory: StreamFactory, timeout_seconds: float
) -> Deferred[IChannel]:
    """
    Connect an endpoint and give its channel.

    :param endpoint: Where to.
    :param factory: Makes the protocol.
    :param timeout_seconds: How long to try.
    :returns: As `IChannelScheme.connect` promises.
    """

    def give_up(result: Deferred[IChannel]) -> None:
        result.errback(CancelledError())
        attempt.cancel()

    def out_of_time(_failure: object, seconds: float) -> NoReturn:
        raise ConnectFailed(factory.address, f"no answer within {seconds:g} s")

    def connected(protocol: StreamProtocol) -> None:
        if result.called:
            protocol.abort("cancelled")
        elif protocol.refusal:
            result.errback(ConnectFailed(factory.address, protocol.refusal))
        else:
            result.callback(protocol)

    def failed(failure: Failure) -> None:
        if result.called:
            return
        error = failure.value
        if not isinstance(error, ConnectFailed):
            error = ConnectFailed(factory.address, failure.getErrorMessage())
            error.__cause__ = failure.value
        result.errback(error)

    result: Deferred[IChannel] = Deferred(give_up)
    attempt: Deferred[Any] = endpoint.connect(factory)
    _ = attempt.addCallback(lambda protocol: protocol.when_open())
    _ = attempt.addTimeout(timeout_seconds, factory.timers, out_of_time)
    _ = attempt.addCallbacks(connected, failed)
    return result
