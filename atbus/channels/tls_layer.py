"""
Twisted's TLS between a socket and a channel.

`TlsLayer` changes four things about `TLSMemoryBIOProtocol`:

1. The queue of outgoing bytes asks the *socket* for room (`atbus.channels.outgoing`).
2. What is encrypted leaves OpenSSL once for each piece of that queue, and goes to the socket at
   once if nothing waits there. Each copy of a byte costs a quarter of its encryption.
3. Either direction can end while the other goes on, as TLS 1.3 has it, so that closing loses
   nothing.
4. The end of the other side's direction is told as that of a plain socket is.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
from OpenSSL import SSL
from twisted.internet.interfaces import IHalfCloseableDescriptor, IPullProducer
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.channels.outgoing import IThroughTransport
from atbus.channels.tls_fault import TlsRefused

#: What one record of TLS holds: OpenSSL gives no more at once.
_RECORD_BYTES: Final = 16 * 1024

#: One look at what OpenSSL has to say: a piece of the queue, encrypted.
_ENCRYPTED_BYTES: Final = 66 * 1024


@implementer(IPullProducer)
@attrs.frozen(eq=False)
class _RoomBelow:
    """
    Tells the layer, then the queue above it, that the socket's transport holds nothing.

    :param layer: Encrypts.
    :param queue: Has more to write.
    """

    layer: TlsLayer
    queue: IPullProducer

    def resumeProducing(self) -> None:
        self.layer.note_room()
        self.queue.resumeProducing()

    def stopProducing(self) -> None:
        self.queue.stopProducing()


@implementer(IHalfCloseableDescriptor, IThroughTransport)
class TlsLayer(TLSMemoryBIOProtocol):
    """Twisted's TLS, with directions that end one by one."""

    _said_last = False
    _heard_last = False
    _ends = False
    _has_producer = False
    # What is encrypted stays with OpenSSL until all of a piece is.
    _gathers = False
    # The socket's transport may have bytes that come before ours.
    _waits_below = True
    transport: Any
    #: What was wrong with the other side's certificate.
    certificate_fault: TlsRefused | None = None

    @property
    def _stream(self) -> Any:
        return self.wrappedProtocol

    @property
    def _untyped(self) -> Any:
        # Twisted's own methods have no types.
        return self

    def flush(self) -> None:
        """Give the socket what OpenSSL has to say."""
        encrypted = self._take_encrypted()
        if encrypted:
            self._waits_below = True
            self.transport.write(encrypted)

    def write_through(self, data: bytes) -> bool:
        """
        Encrypt a piece, and give it to the kernel.

        :param data: At most one piece of the queue.
        :returns: Whether the kernel has taken all of it; if not, the transport has the rest, and
            the producer is asked for more when that is gone.
        """
        self._gathers = True
        try:
            self._untyped.write(data)
        finally:
            self._gathers = False
        encrypted = self._take_encrypted()
        if not self._waits_below and not self._lostTLSConnection:
            try:
                taken = self.transport.getHandle().send(encrypted)
            except OSError:
                # Full, or broken: the transport, which gets the rest, finds out which.
                taken = 0
            if taken == len(encrypted):
                return True
            encrypted = encrypted[taken:]
        self._waits_below = True
        self.transport.write(encrypted)
        return False

    def note_room(self) -> None:
        """Take note that the socket's transport holds nothing."""
        self._waits_below = False

    def _write(self, data: bytes) -> None:
        """Encrypt bytes in one call; OpenSSL cuts them into records."""
        # To write nothing is an error to OpenSSL.
        if self._lostTLSConnection or not data:
            return
        try:
            self._tlsConnection.send(data)
        except SSL.WantReadError:
            # The handshake is not done.
            self._untyped._bufferedWrite(data)  # noqa: SLF001  # Twisted's, which is ours as well
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        else:
            self._flushSendBIO()

    def _take_encrypted(self) -> bytes:
        parts: list[bytes] = []
        size = _ENCRYPTED_BYTES
        try:
            # What is less than could be is all there is.
            while size == _ENCRYPTED_BYTES:
                parts.append(self._tlsConnection.bio_read(_ENCRYPTED_BYTES))
                size = len(parts[-1])
        except SSL.WantReadError:
            pass
        return b"".join(parts)

    def _flushSendBIO(self) -> None:  # noqa: N802  # Twisted's name
        if not self._gathers:
            self.flush()

    def registerProducer(self, producer: IPullProducer, streaming: bool) -> None:
        """Have the socket ask for more: what is encrypted is in its hands at once."""
        assert not streaming
        self._has_producer = True
        self.transport.registerProducer(_RoomBelow(self, producer), streaming)
        # That asks for more at once, whatever is left of the handshake.
        self._waits_below = True

    def unregisterProducer(self) -> None:
        """Ask no more; what was to end after the last byte ends."""
        if self._has_producer:
            self._has_producer = False
            self.transport.unregisterProducer()
        if self._ends:
            self._end()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:  # noqa: N802  # Twisted's name
        """End, now: a socket that still asks for more would never."""
        self._ends = False
        self.unregisterProducer()
        super()._tlsShutdownFinished(reason)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def loseWriteConnection(self) -> None:
        """Say that nothing more comes from here, and read on."""
        if not self._said_last and self._handshakeDone and not self._lostTLSConnection:
            self._said_last = True
            try:
                self._tlsConnection.shutdown()
            except SSL.Error:
                # The other side is gone; the socket will tell.
                return
            self.flush()

    def loseConnection(self) -> None:
        """End, after everything has been written."""
        if not self._handshakeDone:
            self._untyped.abortConnection()
        elif self._has_producer:
            self._ends = True
        else:
            self._end()

    def _end(self) -> None:
        self.loseWriteConnection()
        self.transport.loseConnection()

    def _flushReceiveBIO(self) -> None:
        """Hand over what was decrypted, and the end of the other side's direction."""
        while not self._lostTLSConnection and not self._heard_last:
            try:
                data = self._tlsConnection.recv(_RECORD_BYTES)
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self._heard_last = True
                if not self._aborted:
                    self._stream.readConnectionLost()
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    self._stream.dataReceived(data)
        self.flush()
