"""
Messages that want an answer: deliveries to be confirmed, requests, and the replies to ours.

An answer that is ready at once goes out before the frame of its message is discharged, and shares
its custody: until the answer is in somebody else's hands, the link that the message came on knows
that this node owes something. An answer that takes its time does not hold back the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.routing.window import Window
from atbus.wire.messages import Flags

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.fates import Fates
    from atbus.node.interfaces import IMessageReceiver
    from atbus.node.outbox import Custody
    from atbus.node.traffic import Traffic

Responder = Callable[[int, bytes], object]

LATER: Final = object()
"""What a responder returns when the program will call `Node.reply` itself."""


@attrs.define(eq=False, kw_only=True)
class Special:
    """
    A message about which somebody wants to know something, or that we sent to ourselves.

    :param hops: How many nodes passed it on.
    :param in_reply_to: Sequence of the request that it answers.
    :param custody: Of its frame, while that is being delivered.
    """

    source: int
    kind: int
    sequence: int
    payload: bytes
    flags: int
    epoch: int
    hops: int = 0
    in_reply_to: int = 0
    custody: Custody | None = None


class Answering:
    """
    Deliver special messages, and answer them.

    :param fates: Told of replies.
    """

    def __init__(self, context: Context, fates: Fates) -> None:
        self.receiver: IMessageReceiver | None = None
        self.responder: Responder | None = None
        self.reply: Callable[[int, int, bytes], object] | None = None
        self.traffic: Traffic | None = None
        config = context.config
        self.window = Window(config.window_bytes, config.window_count)
        self.on_window_opened: Callable[[], object] = lambda: None
        self._context = context
        self._fates = fates

    @property
    def unfinished(self) -> int:
        """Count the messages that the program has not dealt with."""
        return self.window.count

    def _dealt_with(self, size_bytes: int) -> None:
        if self.window.leave(size_bytes):
            self.on_window_opened()

    def take(self, message: Special) -> None:
        """Deliver one message."""
        flags = message.flags
        if flags & Flags.REPLY:
            if self._fates.replied(message.source, message.in_reply_to, message.payload):
                self._given(message)
            else:
                self._context.statistics.late_frames += 1
                self._dropped(message, Status.TIMEOUT)
        elif flags & Flags.REQUEST:
            self._request(message)
        elif self.receiver is None:
            self.answer(message, Status.NO_RESPONDERS)
        else:
            self._deliver(message, self.receiver)

    def _deliver(self, message: Special, receiver: IMessageReceiver) -> None:
        self._given(message)
        try:
            result = receiver.message_received(
                message.source, message.kind, message.sequence, message.payload
            )
        except Exception:  # noqa: BLE001 - the program's
            self.failed(Failure(), message.source, message.sequence)
            self.answer(message, Status.HANDLER_FAILED)
            return
        if result is None:
            self.answer(message, Status.OK)
        else:
            size_bytes = len(message.payload)
            self.watch(result, message.source, message.sequence, size_bytes, message)

    def _request(self, message: Special) -> None:
        responder = self.responder
        if responder is None:
            self.answer(message, Status.NO_RESPONDERS)
            return
        self._given(message)
        try:
            result = as_deferred(responder(message.source, message.payload))
        except Exception:  # noqa: BLE001 - the program's
            self.failed(Failure(), message.source, message.sequence)
            self.answer(message, Status.HANDLER_FAILED, always=True)
            return
        size_bytes = len(message.payload)
        self.window.enter(size_bytes)

        def ended(value: object) -> object:
            self._dealt_with(size_bytes)
            return value

        def failed(failure: Failure) -> None:
            self.failed(failure, message.source, message.sequence)
            self.answer(message, Status.HANDLER_FAILED, always=True)

        result.addBoth(ended)
        result.addCallback(self._reply, message)
        result.addErrback(failed)
        message.custody = None

    def _reply(self, value: object, message: Special) -> None:
        """
        Send what a responder has returned; when it is not accepted, answer why.

        :raises TypeError: It is no reply.
        """
        if value is LATER:
            return
        if not isinstance(value, bytes):
            kind = type(value).__name__
            raise TypeError(f"a request's answer must be bytes, not {kind}")
        if self.reply is None:
            return
        try:
            self.reply(message.source, message.sequence, value)
        except Undeliverable as error:
            # Of the request this would be a lie: it has arrived, and was dealt with.
            detail = f"the reply was not accepted: {error.status.name}"
            self.answer(message, Status.HANDLER_FAILED, always=True, detail=detail)

    def watch(
        self,
        result: object,
        source: int,
        sequence: int,
        size_bytes: int,
        message: Special | None = None,
    ) -> None:
        """
        Wait for what a receiver has returned, then answer; the message is open meanwhile.

        :param size_bytes: The message's payload.
        :param message: What to answer; None when nobody wants to know.
        """
        waiting = as_deferred(result)
        self.window.enter(size_bytes)

        def finished(_: object) -> None:
            self._dealt_with(size_bytes)
            if message is not None:
                self.answer(message, Status.OK)

        def failed(failure: Failure) -> None:
            self._dealt_with(size_bytes)
            self.failed(failure, source, sequence)
            if message is not None:
                self.answer(message, Status.HANDLER_FAILED)

        waiting.addCallbacks(finished, failed)
        if message is not None:
            message.custody = None

    def answer(
        self, message: Special, status: Status, *, always: bool = False, detail: str = ""
    ) -> None:
        """
        Answer one message if that was asked for; a missing receiver is told in any case.

        :param always: Whether to answer although no confirmation was asked for.
        :param detail: A few words for people.
        """
        if status is Status.NO_RESPONDERS:
            self._context.statistics.refused[status] += 1
        elif not always and not message.flags & Flags.ANSWER:
            return
        if self.traffic is None:
            return
        custody = None if message.custody is None else message.custody.share()
        me = self._context.bus_id
        self.traffic.respond(
            custody, message.source, me, message.sequence, 1, message.epoch, status, detail
        )

    def failed(self, failure: Failure, source: int, sequence: int) -> None:
        """Log and count that the program failed on a message."""
        self._context.statistics.callback_failures += 1
        self._context.log.failure(
            "receiver failed on message {sequence} from {source:#x}",
            failure=failure,
            sequence=sequence,
            source=source,
        )

    # Who looks on.

    def _given(self, message: Special) -> None:
        observer = self._context.observer
        if observer is not None:
            run = ((message.kind, message.payload),)
            observer.received(message.source, message.epoch, message.sequence, run, message.hops)

    def _dropped(self, message: Special, status: Status) -> None:
        context = self._context
        if context.observer is not None:
            context.observer.dropped(
                message.source, message.epoch, context.bus_id, message.sequence, 1, status
            )


def check_callable(callback: object) -> None:
    """
    Refuse what could not be called when it is too late to say so.

    :param callback: What a program gave as one.
    :raises LocalProtocolError: It cannot be called.
    """
    if not callable(callback):
        raise LocalProtocolError(f"{callback!r:.60} cannot be called")


def as_deferred(result: object) -> Deferred[Any]:
    """Make a Deferred of what a program's callback has returned."""
    if isinstance(result, Deferred):
        return result
    if isinstance(result, Coroutine):
        return Deferred.fromCoroutine(result)
    waiting: Deferred[Any] = Deferred()
    waiting.callback(result)
    return waiting
