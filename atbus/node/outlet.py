"""
Stream to a node: a Twisted consumer whose writes are messages.

A push producer that is registered here is paused when its target takes no more, and resumed when it
does; a pull producer is asked for more as long as it does. A consumer must take what it is given,
so what is refused meanwhile is kept, in order, and sent first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPullProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.errors import LocalProtocolError, Status, Undeliverable

if TYPE_CHECKING:
    from atbus.node.sending import Sender
    from atbus.node.writers import Writers


@implementer(IConsumer)
class Outlet:
    """
    Send what a producer writes; made by `Node.outlet`.

    :param target: Bus id of the destination.
    :param kind: Of every message.
    :param kept_bytes_max: How many bytes it keeps of a producer that does not pause.
    """

    def __init__(
        self, sender: Sender, writers: Writers, target: int, kind: int, kept_bytes_max: int
    ) -> None:
        #: Fires when the producer is done and all is sent; fails with `Undeliverable`.
        self.done: Deferred[None] = Deferred(lambda _: self._stop())
        self._sender = sender
        self._writers = writers
        self._target = target
        self._kind = kind
        self._kept_bytes_max = kept_bytes_max
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._producer: IPushProducer | IPullProducer | None = None
        self._streaming = False
        self._waiting: Deferred[None] | None = None
        self._ended = False

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # Twisted's name
        """
        Let a producer write.

        :param producer: An `IPushProducer` if *streaming*, else an `IPullProducer`.
        :raises LocalProtocolError: There is one, or the outlet has ended.
        """
        if self._producer is not None or self._ended:
            raise LocalProtocolError("an outlet has one producer, once")
        self._producer = producer  # type: ignore[assignment]  # which of the two is said beside it
        self._streaming = streaming
        if not streaming:
            self._go_on()

    def unregisterProducer(self) -> None:  # Twisted's name
        """Take note that the producer writes nothing more."""
        self._producer = None
        self._finish()

    def write(self, data: bytes) -> None:
        """
        Send one message, or keep it until the target takes messages again.

        :param data: The payload.
        :raises Undeliverable: It can neither be sent nor kept; the outlet has ended.
        """
        if self._ended:
            raise Undeliverable(Status.CLOSING, self._target)
        if not self._kept and self._try(data):
            if not self._writers.may_write(self._target):
                self._pause()
            return
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > self._kept_bytes_max:
            error = Undeliverable(Status.BUFFER_LIMIT, self._target, detail="it does not pause")
            self._fail(Failure(error))
            raise error
        self._pause()

    def _try(self, data: bytes) -> bool:
        try:
            self._sender.send(self._target, data, self._kind)
        except Undeliverable as error:
            if error.status is Status.BACKPRESSURE:
                return False
            self._fail(Failure(error))
            raise
        return True

    def _pause(self) -> None:
        if self._waiting is not None:
            return
        self._waiting = self._writers.wait(self._target)
        if self._streaming and self._producer is not None:
            self._producer.pauseProducing()  # type: ignore[union-attr]  # it is a push producer
        self._waiting.addCallbacks(self._writable, self._fail)

    def _writable(self, _: object) -> None:
        self._waiting = None
        while self._kept:
            try:
                if not self._try(self._kept[0]):
                    self._pause()
                    return
            except Undeliverable:
                # The outlet has ended, and has said so.
                return
            self._kept_bytes -= len(self._kept.popleft())
        if self._producer is not None and self._streaming:
            self._producer.resumeProducing()
        self._go_on()
        self._finish()

    def _go_on(self) -> None:
        """Ask a pull producer for more, as long as it gives some and the target takes it."""
        while self._producer is not None and not self._streaming and self._waiting is None:
            self._producer.resumeProducing()

    def _finish(self) -> None:
        if self._producer is None and not self._kept and not self._ended:
            self._ended = True
            self.done.callback(None)

    def _fail(self, failure: Failure) -> None:
        if not self._ended:
            self._stop()
            self.done.errback(failure)

    def _stop(self) -> None:
        """Send nothing more: what is kept is let go, and the producer told to stop."""
        self._ended = True
        self._kept.clear()
        waiting, self._waiting = self._waiting, None
        producer, self._producer = self._producer, None
        if waiting is not None and not waiting.called:
            waiting.addErrback(lambda _: None)
            waiting.cancel()
        if producer is not None:
            producer.stopProducing()
