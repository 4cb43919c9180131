"""
Messages that are for this node: to the program, in order, each exactly once.

A receiver's callback never runs inside another one. What the node sends to itself waits until the
callback on the stack has returned; outside callbacks it is delivered before ``send`` returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from atbus import limits
from atbus.errors import MalformedFrame, Status
from atbus.node.context import Alarm
from atbus.node.outbox import Routed
from atbus.routing.fragments import Lost, Outcome, Reassembly, Whole
from atbus.wire import codec
from atbus.wire.extras import read_number, read_trace, unpack_extras
from atbus.wire.head import HEAD_SIZE, Head, body_start
from atbus.wire.messages import Extra, ExtraType, Flags, Flush, FlushAck, Fragment, MessageType
from atbus.wire.runs import iter_run

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.fates import Fates
    from atbus.node.interfaces import IMessageReceiver
    from atbus.node.link import Link
    from atbus.node.traffic import Traffic

_FRAGMENT = int(MessageType.FRAGMENT)
_SPECIAL = int(Flags.ANSWER | Flags.REQUEST | Flags.REPLY)

Responder = Callable[[int, bytes], object]


@attrs.frozen(kw_only=True)
class Delivery:
    """
    What is known of the message that is being delivered.

    :param source: Bus id of the sender.
    :param epoch: The sender's incarnation.
    :param hops: How many nodes passed it on, as far as this can be told from the hop limit.
    :param path: Sender and relays in order, when the sender asked for a trace; else empty.
    :param neighbor: Bus id of the node that it came from; our own id for a message to ourselves.
    """

    source: int
    epoch: int
    hops: int
    path: tuple[int, ...]
    neighbor: int


@attrs.define(eq=False)
class _ToSelf:
    sequence: int
    kind: int
    payload: bytes
    flags: int
    in_reply_to: int


class Inbox:
    """
    Deliver messages to the program.

    :param fates: Told of replies.
    """

    def __init__(self, context: Context, fates: Fates) -> None:
        self.receiver: IMessageReceiver | None = None
        self.responder: Responder | None = None
        self.reply: Callable[[int, int, bytes], object] | None = None
        self.traffic: Traffic | None = None
        self.unfinished = 0
        self._context = context
        self._fates = fates
        self._to_self: deque[_ToSelf] = deque()
        self._frame: bytes = b""
        self._head: Head | None = None
        self._neighbor = 0
        self._reassembly = Reassembly(
            0,
            source_bytes_max=0,
            message_bytes_max=0,
            count_max=limits.REASSEMBLY_COUNT_MAX,
            seconds=limits.REASSEMBLY_SECONDS,
        )
        self._alarm = Alarm(context.timers, self._expire)
        self.reconfigure()

    def reconfigure(self) -> None:
        """Take messages as long as the configuration allows now."""
        message_bytes_max = self._context.config.message_bytes_max
        self._reassembly.message_bytes_max = message_bytes_max
        self._reassembly.bytes_max = max(limits.REASSEMBLY_BYTES_MAX, message_bytes_max)
        self._reassembly.source_bytes_max = max(
            limits.REASSEMBLY_SOURCE_BYTES_MAX, message_bytes_max
        )

    @property
    def current(self) -> Delivery | None:
        """The message that is being delivered; None outside callbacks."""
        head = self._head
        if head is None:
            return None
        path: tuple[int, ...] = ()
        if head[2] & Flags.TRACE:
            path = read_trace(self._extras(self._frame, head))
        return Delivery(
            source=head[5],
            epoch=head[8],
            hops=max(0, self._context.config.hops - head[3]),
            path=path,
            neighbor=self._neighbor,
        )

    # From a link.

    def data_received(self, link: Link, frame: bytes, head: Head) -> None:
        """
        Deliver a run, a fragment or a flush that is addressed to us, and discharge its frame.

        :raises RemoteProtocolError: The frame's inside makes no sense; nothing was delivered.
        """
        neighbor = link.connection.bus_id
        if head[1] == _FRAGMENT:
            outcomes = self._reassemble(frame, head)
            link.discharge(head[9])
            for outcome in outcomes:
                self._reassembled(outcome, frame, head, neighbor)
            return
        if head[1] == MessageType.FLUSH:
            self._flushed(frame, head)
            link.discharge(head[9])
            return
        if head[11]:
            self._extras(frame, head)  # Refuses what we would have to understand and do not.
        self._run(iter_run(frame), frame, head, neighbor)
        link.discharge(head[9])

    @staticmethod
    def _extras(frame: bytes, head: Head) -> tuple[Extra, ...]:
        return unpack_extras(frame[HEAD_SIZE : body_start(frame, head)])

    def _in_reply_to(self, frame: bytes, head: Head) -> int:
        number = read_number(self._extras(frame, head), ExtraType.IN_REPLY_TO)
        if number is None:
            raise MalformedFrame("a reply that does not say to what")
        return number

    def _run(
        self, messages: list[tuple[int, bytes]], frame: bytes, head: Head, neighbor: int
    ) -> None:
        context = self._context
        started = context.now
        receiver = self.receiver
        special = head[2] & _SPECIAL
        sequence = head[7]
        source = head[5]
        size = 0
        self._frame, self._head, self._neighbor = frame, head, neighbor
        context.calling += 1
        try:
            if special or receiver is None:
                in_reply_to = self._in_reply_to(frame, head) if special & Flags.REPLY else 0
                for kind, payload in messages:
                    size += len(payload)
                    self._one(source, kind, sequence, payload, head[2], in_reply_to, head[8])
                    sequence += 1
            else:
                receive = receiver.message_received
                for kind, payload in messages:
                    size += len(payload)
                    try:
                        result = receive(source, kind, sequence, payload)
                        if result is not None:
                            self._watch(result, source, sequence, head[8], 0)
                    except Exception:  # noqa: BLE001 - the program's
                        self._failed(Failure(), source, sequence)
                    sequence += 1
                self._given(head[7], messages)
        finally:
            context.calling -= 1
            self._head = None
        context.statistics.received_messages += len(messages)
        context.statistics.received_bytes += size
        spent = context.now - started
        if spent > limits.LAG_SECONDS:
            context.events.on_lag(spent, f"{receiver!r}.message_received")
        if self._to_self and not context.calling:
            self.run_self()

    def _one(
        self,
        source: int,
        kind: int,
        sequence: int,
        payload: bytes,
        flags: int,
        in_reply_to: int,
        epoch: int,
    ) -> None:
        """Deliver a message about which somebody wants to know something."""
        if flags & Flags.REPLY:
            if self._fates.replied(source, in_reply_to, payload):
                self._given(sequence, ((kind, payload),))
            else:
                self._context.statistics.late_frames += 1
                self._dropped(source, epoch, sequence, Status.TIMEOUT)
            return
        if flags & Flags.REQUEST:
            self._request(source, kind, sequence, payload, epoch)
            return
        receiver = self.receiver
        if receiver is None:
            self._answer(source, sequence, epoch, flags, Status.NO_RESPONDERS)
            return
        self._given(sequence, ((kind, payload),))
        try:
            result = receiver.message_received(source, kind, sequence, payload)
        except Exception:  # noqa: BLE001 - the program's
            self._failed(Failure(), source, sequence)
            self._answer(source, sequence, epoch, flags, Status.HANDLER_FAILED)
            return
        if result is None:
            self._answer(source, sequence, epoch, flags, Status.OK)
        else:
            self._watch(result, source, sequence, epoch, flags)

    def _given(self, first_sequence: int, messages: Sequence[tuple[int, bytes]]) -> None:
        """Show what the program is given to who looks on."""
        observer, head = self._context.observer, self._head
        if observer is not None and head is not None:
            hops = max(0, self._context.config.hops - head[3])
            observer.received(head[5], head[8], first_sequence, messages, hops)

    def _dropped(self, source: int, epoch: int, sequence: int, status: Status) -> None:
        """Show a message that nobody takes, and of which nobody is told, to who looks on."""
        context = self._context
        if context.observer is not None:
            context.observer.dropped(source, epoch, context.bus_id, sequence, 1, status)

    def _request(self, source: int, kind: int, sequence: int, payload: bytes, epoch: int) -> None:
        responder = self.responder
        if responder is None:
            self._answer(source, sequence, epoch, Flags.ANSWER, Status.NO_RESPONDERS)
            return
        self._given(sequence, ((kind, payload),))
        try:
            result = _deferred(responder(source, payload))
        except Exception:  # noqa: BLE001 - the program's
            self._failed(Failure(), source, sequence)
            self._answer(source, sequence, epoch, Flags.ANSWER, Status.HANDLER_FAILED)
            return
        self.unfinished += 1

        def finished(value: object) -> None:
            self.unfinished -= 1
            if not isinstance(value, bytes):
                kind = type(value).__name__
                raise TypeError(f"a request's answer must be bytes, not {kind}")
            if self.reply is not None:
                self.reply(source, sequence, value)

        def failed(failure: Failure) -> None:
            self._failed(failure, source, sequence)
            self._answer(source, sequence, epoch, Flags.ANSWER, Status.HANDLER_FAILED)

        def cancelled(failure: Failure) -> Failure:
            self.unfinished -= 1
            return failure

        result.addCallbacks(finished, cancelled)
        result.addErrback(failed)

    def _watch(self, result: object, source: int, sequence: int, epoch: int, flags: int) -> None:
        """Wait for a callback's Deferred before answering."""
        waiting = _deferred(result)
        self.unfinished += 1

        def finished(_: object) -> None:
            self.unfinished -= 1
            self._answer(source, sequence, epoch, flags, Status.OK)

        def failed(failure: Failure) -> None:
            self.unfinished -= 1
            self._failed(failure, source, sequence)
            self._answer(source, sequence, epoch, flags, Status.HANDLER_FAILED)

        waiting.addCallbacks(finished, failed)

    def _answer(self, source: int, sequence: int, epoch: int, flags: int, status: Status) -> None:
        """Answer one message if that was asked for; a missing receiver is told in any case."""
        if status is Status.NO_RESPONDERS:
            self._context.statistics.refused[status] += 1
        elif not flags & Flags.ANSWER:
            return
        if self.traffic is not None:
            self.traffic.respond(None, source, self._context.bus_id, sequence, 1, epoch, status)

    def _failed(self, failure: Failure, source: int, sequence: int) -> None:
        self._context.statistics.callback_failures += 1
        self._context.log.failure(
            "receiver failed on message {sequence} from {source:#x}",
            failure=failure,
            sequence=sequence,
            source=source,
        )

    # Fragments and flushes.

    def _reassemble(self, frame: bytes, head: Head) -> list[Outcome]:
        message = codec.decode(frame)
        if not isinstance(message, Fragment):
            raise MalformedFrame("not a fragment")
        outcomes = self._reassembly.add(
            (message.source, message.destination, message.epoch),
            message.sequence,
            offset=message.offset,
            total=message.total,
            kind=message.kind,
            payload=message.payload,
            now=self._context.now,
        )
        self._alarm.set(self._reassembly.deadline)
        return outcomes

    def _reassembled(self, outcome: Outcome, frame: bytes, head: Head, neighbor: int) -> None:
        match outcome:
            case Whole(kind=kind, payload=payload):
                self._run([(kind, payload)], frame, head, neighbor)
            case Lost():
                self._lost(outcome)

    def _lost(self, lost: Lost) -> None:
        source, target, epoch = lost.flow
        self._context.statistics.refused[lost.status] += 1
        if self.traffic is not None:
            self.traffic.respond(None, source, target, lost.sequence, 1, epoch, lost.status)

    def _expire(self) -> None:
        for lost in self._reassembly.expire(self._context.now):
            if isinstance(lost, Lost):
                self._lost(lost)
        self._alarm.set(self._reassembly.deadline)

    def _flushed(self, frame: bytes, head: Head) -> None:
        message = codec.decode(frame)
        if not isinstance(message, Flush) or self.traffic is None:
            raise MalformedFrame("not a flush")
        answer = FlushAck(
            source=self._context.bus_id,
            destination=message.source,
            epoch=self._context.epoch,
            hop_limit=self._context.config.hops,
            token=message.token,
        )
        self.traffic.courier.route(Routed.of(answer))

    # From ourselves.

    def to_self(
        self, sequence: int, kind: int, payload: bytes, flags: int, in_reply_to: int
    ) -> None:
        """Queue for this node; `run_self_soon` delivers."""
        self._to_self.append(_ToSelf(sequence, kind, payload, flags, in_reply_to))

    def run_self_soon(self) -> None:
        """Deliver what is queued to ourselves: now, or after the callback on the stack."""
        if self._to_self and not self._context.calling:
            self.run_self()

    def run_self(self) -> None:
        """Deliver what this node sent to itself; a bounded number in one turn."""
        for _ in range(limits.SELF_MESSAGES_PER_TURN):
            if not self._to_self:
                return
            message = self._to_self.popleft()
            self._deliver_self(message)
        if self._to_self:
            self._context.turn.at_end(self.run_self)

    def _deliver_self(self, message: _ToSelf) -> None:
        context = self._context
        me = context.bus_id
        self._frame, self._neighbor = b"", me
        flags = message.flags & ~Flags.TRACE
        place = (0, int(MessageType.DATA), flags, context.config.hops, 0, me, me)
        self._head = (*place, message.sequence, context.epoch, 0, 1, 0, 0)
        context.calling += 1
        try:
            self._one(
                me,
                message.kind,
                message.sequence,
                message.payload,
                message.flags,
                message.in_reply_to,
                context.epoch,
            )
        finally:
            context.calling -= 1
            self._head = None
        context.statistics.received_messages += 1
        context.statistics.received_bytes += len(message.payload)

    def close(self) -> None:
        """Deliver what is queued to ourselves, then let go of half-received messages."""
        while self._to_self and not self._context.calling:
            self._deliver_self(self._to_self.popleft())
        self._alarm.set(None)

    def forget(self, source: int) -> None:
        """Drop half-received messages of a node that is gone."""
        self._reassembly.forget(source)


def _deferred(result: object) -> Deferred[Any]:
    if isinstance(result, Deferred):
        return result
    if isinstance(result, Coroutine):
        return Deferred.fromCoroutine(result)
    waiting: Deferred[Any] = Deferred()
    waiting.callback(result)
    return waiting
