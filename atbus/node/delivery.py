"""
Messages that are for this node: to the program, in order, each exactly once.

A receiver's callback never runs inside another one. What the node sends to itself waits until the
callback on the stack has returned; outside callbacks it is delivered before ``send`` returns.

While the program has more messages than it has dealt with (`atbus.routing.window`), or wants none
for the moment, those who feed this node are asked to pause. What was on its way is delivered all
the same in the first case, and held here in the second; beyond a bound it is refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from atbus import limits
from atbus.errors import MalformedFrame, RemoteProtocolError, Status, UnknownMandatory
from atbus.node.answering import Answering, Special
from atbus.node.context import Alarm
from atbus.node.current import Delivery
from atbus.node.held import HeldFrame, HeldFrames
from atbus.node.outbox import Custody, Routed
from atbus.node.squeezing import Restorer
from atbus.routing.fragments import Lost, Outcome, Reassembly, Whole
from atbus.wire import codec
from atbus.wire.extras import read_number, read_trace, unpack_extras
from atbus.wire.head import HEAD_SIZE, Head, body_start, peek
from atbus.wire.loose import Frame, is_first_part, joined, messages_of, part_of
from atbus.wire.messages import Extra, ExtraType, Flags, Flush, FlushAck, MessageType

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.fates import Fates
    from atbus.node.interfaces import IMessageReceiver
    from atbus.node.link import Link
    from atbus.node.readers import FrameReader
    from atbus.node.traffic import Traffic

_FLUSH = int(MessageType.FLUSH)
_FRAGMENT = int(MessageType.FRAGMENT)
_COMPRESSED = int(Flags.COMPRESSED)
_NOTHING: Iterator[object] = iter(())
_SPECIAL = int(Flags.ANSWER | Flags.REQUEST | Flags.REPLY)


class Inbox:
    """
    Deliver messages to the program.

    :param fates: Told of replies.
    """

    def __init__(self, context: Context, fates: Fates) -> None:
        self.answering = Answering(context, fates)
        self.window = self.answering.window
        self.traffic: Traffic
        self.stream_received: FrameReader
        self._context = context
        # Frames that wait for `resume`.
        self._held = HeldFrames()
        self._releasing = False
        # What the program is to get of the frame that is being delivered, and what it does not get
        # because it has paused.
        self._rest = _NOTHING
        self._left = 0
        self._is_stopped = False
        self._to_self: deque[Special] = deque()
        self._frame: Frame = b""
        self._head: Head | None = None
        self._neighbor = 0
        self._restorer = Restorer(context)
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
        config = self._context.config
        self._reassembly.resize(config.message_bytes_max, config.queued_bytes_node)
        self.window.bytes_max = config.window_bytes
        self.window.count_max = config.window_count

    @property
    def current(self) -> Delivery | None:
        """The message that is being delivered; None outside callbacks."""
        head = self._head
        if head is None:
            return None
        path: tuple[int, ...] = ()
        if head[2] & Flags.TRACE:
            relays = read_trace(self._extras(self._frame, head)) if self._frame else ()
            path = (head[5], *relays)
        return Delivery(
            source=head[5],
            epoch=head[8],
            sequence=head[7],
            hops=self._hops_of(head),
            path=path,
            neighbor=self._neighbor,
        )

    def _hops_of(self, head: Head) -> int:
        return max(0, self._context.config.hops - head[3])

    # From a link.

    def data_received(self, link: Link, frame: Frame, head: Head) -> None:
        """
        Deliver a run, a fragment or a flush that is addressed to us, and discharge its frame.

        A flush is answered also while messages are held: they keep their order here.

        :raises RemoteProtocolError: The frame's inside makes no sense; nothing was delivered.
        """
        if head[1] > _FRAGMENT:
            if head[1] == _FLUSH:
                self._flushed(joined(frame), head)
                link.discharge(head[9])
            else:
                self.stream_received(link, joined(frame), head)
            return
        if head[2] & _COMPRESSED:
            frame = self._restorer.restore(link, joined(frame))
            head = peek(frame)
        if self.window.closed or self._held.frames:
            self._receive_too_much(link, frame, head)
        elif self._is_special(head):
            self._receive(HeldFrame(link, frame, head))
        else:
            kinds, payloads = messages_of(frame)
            if self._run(kinds, payloads, link, frame, head):
                link.discharge(head[9])

    def _is_special(self, head: Head) -> bool:
        """Tell whether there is more to do with a frame than to deliver a run, as with most."""
        return bool(
            head[2] & _SPECIAL
            or head[11]
            or head[1] == _FRAGMENT
            or head[0] > self._reassembly.message_bytes_max
            or self._reassembly
            or self.answering.receiver is None
        )

    def _receive(self, held: HeldFrame) -> None:
        """Deliver what the program has not got of a frame."""
        link, frame, head, start, custody = held
        if custody is None:
            custody = Custody(link, head[9])
            held = held._replace(custody=custody)
        if head[1] == _FRAGMENT:
            for outcome in self._reassemble(frame, head):
                self._reassembled(outcome, held)
        else:
            if head[11]:
                self._understand(self._extras(frame, head))
            kinds, payloads = messages_of(frame)
            if self._reassembly:
                # Between the fragments of a message nothing of its flow may come.
                for lost in self._reassembly.interrupt((head[5], head[6], head[8])):
                    self._reassembled(lost, held)
            if head[0] > self._reassembly.message_bytes_max:
                self._run_checked(kinds[start:], payloads[start:], held)
            else:
                self._run(kinds[start:], payloads[start:], *held)
        custody.discharge()

    # While the program wants nothing.

    def pause(self) -> None:
        """Give the program nothing until `resume`, nor what is left of the frame on the stack."""
        self.window.shut = self._is_stopped = True
        self._left += sum(1 for _ in self._rest)

    def resume(self) -> None:
        """Give the program what was held, at the end of this turn, and let others go on."""
        if self.window.shut:
            self.window.shut = False
            self._context.turn.at_end(self._release)

    @property
    def held(self) -> int:
        """How many frames wait for the program."""
        return len(self._held.frames)

    def _may_overtake(self, head: Head) -> bool:
        """Tell whether a frame is a reply that overtakes nothing of the same sender."""
        if not head[2] & Flags.REPLY:
            return False
        return not self._held.has_from(head[5])

    def _receive_too_much(self, link: Link, frame: Frame, head: Head) -> None:
        """Take what was on its way when its senders were asked to pause, or ask them now."""
        if self.window.shut or self._held.frames:
            if self._may_overtake(head):
                self._receive(HeldFrame(link, frame, head))
            elif self._held.has_room(len(frame), self.window):
                self._held.add(HeldFrame(link, frame, head))
            else:
                self.traffic.refuse(link, head, Status.BUFFER_LIMIT)
        elif self.window.is_full and self._is_refusable(frame, head):
            self.traffic.refuse(link, head, Status.BUFFER_LIMIT)
        else:
            self._receive(HeldFrame(link, frame, head))
        self.traffic.pressure.fed(link)

    @staticmethod
    def _is_refusable(frame: Frame, head: Head) -> bool:
        """Tell whether messages begin in a frame, and are not replies that somebody waits for."""
        if head[2] & Flags.REPLY:
            return False
        return head[1] != _FRAGMENT or is_first_part(frame, head)

    def _release(self) -> None:
        """Deliver what was held, in order, until the program pauses again."""
        if self._releasing:
            return
        self._releasing = True
        try:
            while self._held.frames and not self.window.shut:
                self._receive_late(self._held.take())
        finally:
            self._releasing = False
        if not self.window.shut:
            self.run_self_soon()
        if not self.window.closed:
            self.answering.on_window_opened()

    def _receive_late(self, held: HeldFrame) -> None:
        link, _, head, *_ = held
        try:
            self._receive(held)
        except RemoteProtocolError as error:
            try:
                self.traffic.refuse_unreadable(link, head, error)
            except RemoteProtocolError as breach:
                link.connection.breach(breach)

    @staticmethod
    def _extras(frame: Frame, head: Head) -> tuple[Extra, ...]:
        if isinstance(frame, bytes):
            return unpack_extras(frame[HEAD_SIZE : body_start(frame, head)])
        return unpack_extras(frame.extras)

    @staticmethod
    def _understand(extras: tuple[Extra, ...]) -> None:
        """
        Refuse what must be understood and is not.

        :raises UnknownMandatory: It says how payloads are compressed that are not.
        """
        if any(extra.type == ExtraType.COMPRESSION for extra in extras):
            raise UnknownMandatory("a word about compression, and nothing is compressed")

    def _in_reply_to(self, frame: Frame, head: Head) -> int:
        number = read_number(self._extras(frame, head), ExtraType.IN_REPLY_TO)
        if number is None:
            raise MalformedFrame("a reply that does not say to what")
        return number

    def _run_checked(
        self, kinds: Sequence[int], payloads: Sequence[bytes], held: HeldFrame
    ) -> None:
        """Deliver a run in which messages may be longer than we take; those are refused."""
        limit = self._reassembly.message_bytes_max
        self._is_stopped = False
        for place, (kind, payload) in enumerate(zip(kinds, payloads, strict=True)):
            one = held._replace(start=held.start + place)
            if self._is_stopped:
                self._put_back(one)
                return
            if len(payload) > limit:
                self._refuse_run(one, 1, Status.MESSAGE_TOO_LARGE)
            else:
                self._run((kind,), (payload,), *one)

    def _put_back(self, held: HeldFrame) -> None:
        """Keep what the program has not got of a frame; the frame is not discharged before that."""
        custody = held.custody
        shared = Custody(held.link, held.head[9]) if custody is None else custody.share()
        self._held.put_back(held._replace(custody=shared))

    def _run(
        self,
        kinds: Sequence[int],
        payloads: Sequence[bytes],
        link: Link,
        frame: Frame,
        head: Head,
        start: int = 0,
        custody: Custody | None = None,
    ) -> bool:
        """
        Deliver a run; without a custody it must be one that somebody takes.

        :param start: Where it begins in its frame.
        :returns: Whether the program has got all of it; what is left is held.
        """
        context = self._context
        seconds = context.timers.seconds
        started = seconds()
        receiver = self.answering.receiver
        flags = head[2]
        if receiver is None and custody is not None and not flags & _SPECIAL:
            held = HeldFrame(link, frame, head, start, custody)
            self._refuse_run(held, len(payloads), Status.NO_RESPONDERS)
            return True
        own = (*head[:7], head[7] + start, *head[8:]) if start else head
        self._frame, self._head = frame, own
        self._neighbor = link.connection.bus_id
        context.calling += 1
        try:
            if flags & _SPECIAL:
                self._run_special(kinds, payloads, frame, own, custody)
            elif receiver is not None:
                self._run_plain(receiver, kinds, payloads, own)
        finally:
            context.calling -= 1
            self._head, self._rest = None, _NOTHING
            left, self._left = self._left, 0
        if left:
            payloads = payloads[:-left]
            self._put_back(HeldFrame(link, frame, head, start + len(payloads), custody))
        context.statistics.received_messages += len(payloads)
        context.statistics.received_bytes += sum(map(len, payloads))
        spent = seconds() - started
        if spent > limits.LAG_SECONDS:
            context.events.on_lag(spent, f"{receiver!r}.message_received")
        if self._to_self and not context.calling:
            self.run_self_soon()
        return not left

    def _run_plain(
        self,
        receiver: IMessageReceiver,
        kinds: Sequence[int],
        payloads: Sequence[bytes],
        head: Head,
    ) -> None:
        """Deliver a run about which nobody wants to know anything."""
        receive = receiver.message_received
        sequence = head[7]
        source = head[5]
        sequences = range(sequence, sequence + len(payloads))
        # `pause` takes the rest.
        self._rest = rest = zip(sequences, kinds, payloads, strict=True)
        for sequence, kind, payload in rest:
            try:
                result = receive(source, kind, sequence, payload)
                if result is not None:
                    self.answering.watch(result, source, sequence, len(payload))
            except Exception:  # noqa: BLE001 - the program's
                self.answering.failed(Failure(), source, sequence)
        observer = self._context.observer
        if observer is not None:
            messages = list(zip(kinds, payloads, strict=True))
            got = messages[: len(messages) - self._left]
            observer.received(source, head[8], head[7], got, self._hops_of(head))

    def _run_special(
        self,
        kinds: Sequence[int],
        payloads: Sequence[bytes],
        frame: Frame,
        head: Head,
        custody: Custody | None,
    ) -> None:
        """Deliver a run about which somebody wants to know something."""
        in_reply_to = self._in_reply_to(frame, head) if head[2] & Flags.REPLY else 0
        self._rest = rest = enumerate(zip(kinds, payloads, strict=True))
        for place, (kind, payload) in rest:
            self.answering.take(
                Special(
                    source=head[5],
                    kind=kind,
                    sequence=head[7] + place,
                    payload=payload,
                    flags=head[2],
                    epoch=head[8],
                    hops=self._hops_of(head),
                    in_reply_to=in_reply_to,
                    custody=custody,
                )
            )

    def _refuse_run(self, held: HeldFrame, count: int, status: Status) -> None:
        """Answer messages that nobody here takes, all at once; there is a custody."""
        head, shared = held.head, held.custody and held.custody.share()
        self._context.statistics.refused[status] += count
        first = head[7] + held.start
        self.traffic.respond(shared, head[5], head[6], first, count, head[8], status)

    # Fragments and flushes.

    def _reassemble(self, frame: Frame, head: Head) -> list[Outcome]:
        offset, total, kind, payload = part_of(frame, head)
        if head[11]:
            self._understand(self._extras(frame, head))
        outcomes = self._reassembly.add(
            (head[5], head[6], head[8]),
            head[7],
            offset=offset,
            total=total,
            kind=kind,
            payload=payload,
            now=self._context.now,
        )
        self._alarm.set(self._reassembly.deadline)
        return outcomes

    def _reassembled(self, outcome: Outcome, held: HeldFrame) -> None:
        match outcome:
            case Whole(kind=kind, payload=payload):
                self._run((kind,), (payload,), *held)
            case Lost():
                self._lost(outcome)

    def _lost(self, lost: Lost) -> None:
        source, target, epoch = lost.flow
        self._context.statistics.refused[lost.status] += 1
        self.traffic.respond(None, source, target, lost.sequence, 1, epoch, lost.status)

    def _expire(self) -> None:
        for lost in self._reassembly.expire(self._context.now):
            if isinstance(lost, Lost):
                self._lost(lost)
        self._alarm.set(self._reassembly.deadline)

    def _flushed(self, frame: bytes, head: Head) -> None:
        message = codec.decode(frame)
        if not isinstance(message, Flush):
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

    def to_self(self, message: Special) -> None:
        """Queue for this node; `run_self_soon` delivers."""
        self._to_self.append(message)

    def run_self_soon(self) -> None:
        """Deliver what is queued to ourselves: now, or after the callback on the stack."""
        if self._to_self and not self._context.calling and not self.window.shut:
            self.run_self()

    def run_self(self) -> None:
        """Deliver what this node sent to itself; a bounded number in one turn."""
        for _ in range(limits.SELF_MESSAGES_PER_TURN):
            if not self._to_self or self.window.shut:
                return
            message = self._to_self.popleft()
            self._deliver_self(message)
        if self._to_self:
            self._context.turn.at_end(self.run_self)

    def _deliver_self(self, message: Special) -> None:
        context = self._context
        me = context.bus_id
        self._frame, self._neighbor = b"", me
        place = (0, int(MessageType.DATA), message.flags, context.config.hops, 0, me, me)
        self._head = (*place, message.sequence, message.epoch, 0, 1, 0, 0)
        context.calling += 1
        try:
            self.answering.take(message)
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
