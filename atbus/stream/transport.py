"""
A stream as Twisted's protocols know it.

What TCP has and a stream has not (no delay, keepalive) does nothing here: a stream always has the
one, and a keepalive of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.errors import Status
from atbus.stream import bounds
from atbus.stream.address import BusAddress
from atbus.stream.effects import Key
from atbus.stream.faults import StreamLost

if TYPE_CHECKING:
    from atbus.stream.station import Station


@implementer(ITransport, IConsumer, IPushProducer)
class StreamTransport:
    """
    Carry one protocol over one stream.

    :param station: Has the stream.
    :param key: Which one.
    :param protocol: Whose transport it is.
    :param service: What its service is called.
    """

    def __init__(self, station: Station, key: Key, protocol: IProtocol, service: str) -> None:
        self.protocol = protocol
        self.disconnecting = False
        self.connected = True
        self._station = station
        self._key = key
        self._service = service
        self._producer: IPushProducer | IPullProducer | None = None
        self._streaming = False
        self._producer_paused = False
        self._pulling = False
        self._write_closed = False
        self._aborted = False

    def __repr__(self) -> str:
        return f"<StreamTransport {self.getPeer()}>"

    # From the station.

    def connect(self) -> None:
        """Let the protocol begin."""
        self._call(self.protocol.makeConnection, self)

    def received(self, data: bytes) -> None:
        """Give the protocol what came."""
        if not self.disconnecting:
            self._call(self.protocol.dataReceived, data)

    def finished(self) -> None:
        """Tell the protocol that nothing more comes; one that cannot go on alone is closed."""
        protocol = self.protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            self._call(protocol.readConnectionLost)
        else:
            self.loseConnection()

    def said(self) -> None:
        """Tell the protocol that all it has written is on its way, and the end of it."""
        protocol = self.protocol
        if not self.disconnecting and IHalfCloseableProtocol.providedBy(protocol):
            self._call(protocol.writeConnectionLost)

    def drained(self) -> None:
        """Let the producer go on."""
        if self._producer is None or not self.connected:
            return
        if not self._streaming:
            self._pull_soon()
        elif self._producer_paused:
            self._producer_paused = False
            self._call(self._producer.resumeProducing)

    def ended(self, status: Status, detail: str) -> None:
        """Tell the protocol that there is no stream any more."""
        self.connected = False
        self.disconnecting = True
        producer, self._producer = self._producer, None
        if producer is not None:
            self._call(producer.stopProducing)
        if status is Status.OK:
            reason = Failure(ConnectionDone())
        elif self._aborted:
            reason = Failure(ConnectionAborted())
        else:
            reason = Failure(StreamLost(status, detail))
        self._call(self.protocol.connectionLost, reason)

    def _call(self, call: Callable[..., object], *arguments: object) -> None:
        """Call the program; one that raises has no stream any more."""
        try:
            call(*arguments)
        except Exception:  # noqa: BLE001 - the program's
            self._station.failed(self._key, Failure())

    # ITransport and what TCP has besides, with Twisted's names.

    def write(self, data: bytes) -> None:
        """
        Send bytes; after `loseConnection` and its like nothing is sent.

        :raises TypeError: It is text.
        """
        if isinstance(data, str):
            raise TypeError("a transport takes bytes, not text")
        if not data or not self.connected or self._write_closed:
            return
        if self.disconnecting and self._producer is None:
            return
        self._station.write(self._key, bytes(data))
        self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send bytes that are in pieces."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Send what was written, and end; a producer is waited for."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        if self._producer is None:
            self._station.leave(self._key)
        else:
            self._station.pause(self._key)

    def loseWriteConnection(self) -> None:
        """Send what was written and nothing more; what comes is still received."""
        if not self.connected or self._write_closed:
            return
        self._write_closed = True
        if self._producer is None:
            self._station.finish(self._key)

    def abortConnection(self) -> None:
        """End at once; what was not sent or read is lost."""
        if self.connected:
            self._aborted = True
            self.disconnecting = True
            self._station.abort(self._key)

    def getPeer(self) -> BusAddress:
        """Tell who is at the other end."""
        return BusAddress(self._key.peer, self._service)

    def getHost(self) -> BusAddress:
        """Tell who is at this end."""
        return BusAddress(self._station.bus_id, self._service)

    def getTcpNoDelay(self) -> bool:
        """Tell that nothing waits for more."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Change nothing."""

    def getTcpKeepAlive(self) -> bool:
        """Tell that both ends look whether the other one is there."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Change nothing."""

    # IPushProducer: what comes.

    def pauseProducing(self) -> None:
        """Give the protocol nothing until `resumeProducing`; the other end may send a window."""
        self._station.pause(self._key)

    def resumeProducing(self) -> None:
        """Give the protocol what has come, and what comes."""
        if self.connected and not self.disconnecting:
            self._station.resume(self._key)

    def stopProducing(self) -> None:
        """End, as Twisted's transports do."""
        self.loseConnection()

    # IConsumer: what leaves.

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Let a producer write as fast as the other end reads.

        :param producer: An `IPushProducer` if *streaming*, else an `IPullProducer`.
        :raises RuntimeError: There is one.
        """
        if self._producer is not None:
            raise RuntimeError(f"{producer} is the second producer, behind {self._producer}")
        if not self.connected or self.disconnecting:
            producer.stopProducing()
            return
        self._producer = producer  # type: ignore[assignment]  # which of the two is said beside it
        self._streaming = streaming
        self._producer_paused = False
        if streaming:
            self._pause_producer()
        else:
            self._pull_soon()

    def unregisterProducer(self) -> None:
        """Take note that the producer writes nothing more; end, if that was asked for."""
        self._producer = None
        if not self.connected:
            return
        if self.disconnecting:
            self._station.leave(self._key)
        elif self._write_closed:
            self._station.finish(self._key)

    def _pause_producer(self) -> None:
        producer = self._producer
        if producer is None or not self._streaming or self._producer_paused:
            return
        if self._station.unsent_bytes(self._key) > bounds.UNSENT_BYTES:
            self._producer_paused = True
            producer.pauseProducing()  # type: ignore[union-attr]  # it is a push producer

    def _pull_soon(self) -> None:
        if not self._pulling:
            self._pulling = True
            self._station.at_end(self._pull)

    def _pull(self) -> None:
        self._pulling = False
        producer = self._producer
        if producer is None or self._streaming or not self.connected:
            return
        if self._station.unsent_bytes(self._key) <= bounds.UNSENT_BYTES:
            self._call(producer.resumeProducing)
