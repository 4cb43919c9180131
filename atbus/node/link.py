"""
A registered connection: numbers frames, keeps what is not acknowledged, gathers what leaves.

Rules (wire protocol, section 4):

1. Frames leave in the order of their items, joined once per reactor turn.
2. A numbered frame is kept - as what it stands for, without its payload - until the other side
   acknowledges it. What is left when the link dies is handed to the node, in order, once.
3. A frame that arrived is acknowledged when this node answers for it no longer, never earlier.
   The acknowledgement rides on anything that goes back; when nothing does, a LINK_ACK follows
   after `limits.ACK_DELAY_SECONDS` or `limits.ACK_FRAMES_MAX` frames. What overtakes a frame
   that is stuck is acknowledged there as well, or one slow destination would close the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from atbus import limits
from atbus.errors import OutOfTurn, RemoteProtocolError, UnknownMandatory
from atbus.node.outbox import Item, Kept, Notice, Routed, Run
from atbus.routing.custody import IncomingLedger, OutgoingLedger
from atbus.wire import codec
from atbus.wire.head import Head, peek
from atbus.wire.messages import IGNORABLE_BIT, ROUTED_BIT, LinkAck, Message, MessageType

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.sending import Flow

_TRAFFIC = (int(MessageType.DATA), int(MessageType.FRAGMENT))
_UNREADABLE_MAX = 3
# What a frame may have besides its head and what an item's size counts.
_BESIDES_BYTES = limits.EXTRAS_BYTES
_KNOWN = frozenset(int(kind) for kind in MessageType)

FrameReader = Callable[["Link", bytes, Head], None]


class Link:
    """
    Numbering, custody and the outgoing queue of one registered connection.

    :param connection: Its owner, which also knows the remote node.
    :param frame_bytes_max: The longest frame the other side takes.
    :param queued_bytes_max: Beyond this many bytes nothing more is accepted.
    :param data_reader: Takes DATA and FRAGMENT frames.
    :param readers: Take the other frames, by type.
    :param pass_on: Takes routed frames of other types, whomever they are for.
    """

    def __init__(
        self,
        context: Context,
        connection: Connection,
        *,
        frame_bytes_max: int,
        queued_bytes_max: int,
        data_reader: FrameReader,
        readers: dict[int, FrameReader],
        pass_on: FrameReader,
    ) -> None:
        self.connection = connection
        self.frame_bytes_max = frame_bytes_max
        self.run_bytes_max = frame_bytes_max - limits.FRAME_HEAD_BYTES
        # An item of this size needs no cutting, whatever it is and whatever goes with it.
        self.whole_bytes_max = self.run_bytes_max - _BESIDES_BYTES
        self.room = queued_bytes_max
        # What `room` was reckoned from: it, and the bytes that were queued here, at that time.
        self._room_measured = queued_bytes_max
        self._bytes_measured = 0
        self.closed = False
        self.muted = False
        self.finished = False
        self._context = context
        self._queued_bytes_max = queued_bytes_max
        self._data_reader = data_reader
        self._readers = readers
        self._pass_on = pass_on
        self._outgoing: OutgoingLedger[Kept] = OutgoingLedger(limits.UNACKNOWLEDGED_FRAMES_MAX)
        self._incoming = IncomingLedger()
        self._items: list[Item] = []
        self._runs: dict[int, Run] = {}
        self._ack_heard = 0
        self._ack_call: IDelayedCall | None = None
        self._unreadable = 0
        self._slow = False
        self._reading = False

    def reconfigure(self) -> None:
        """Queue as many bytes as the configuration allows now."""
        self._queued_bytes_max = self._context.config.queued_bytes_hard
        self.measure()

    # Outgoing.

    def append(self, flow: Flow, kind: int, payload: bytes, size_bytes: int) -> None:
        """
        Queue one message; it joins the flow's run of this turn when there is one with room.

        Order within a flow is the order of calls. The payload is kept until the turn's end.
        """
        run = self._runs.get(flow.target)
        cost = size_bytes + 8
        if (
            run is None
            or run.size_bytes + cost > self.run_bytes_max
            or run.count >= limits.RUN_COUNT_MAX
        ):
            run = self._begin(flow)
        run.kinds.append(kind)
        run.payloads.append(payload)
        run.count += 1
        run.size_bytes += cost
        self.room -= cost

    def _begin(self, flow: Flow) -> Run:
        run = Run(
            source=self._context.bus_id,
            target=flow.target,
            first_sequence=flow.next_sequence,
            epoch=self._context.epoch,
            hop_limit=self._context.config.hops,
        )
        self._enqueue(run)
        self._runs[flow.target] = run
        return run

    def put(self, item: Item) -> None:
        """
        Queue one item behind everything that is queued.

        A later message of the same flow starts a run of its own behind it, so that nothing
        overtakes the item.
        """
        match item:
            case Run(target=target):
                self._runs.pop(target, None)
            case Routed():
                self._runs.clear()
            case _:
                pass
        self.room -= item.size_bytes
        self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        if not self._items:
            self._context.turn.at_end(self.flush)
        self._items.append(item)

    def flush(self) -> None:
        """Make frames of everything queued and hand them to the channel in one call."""
        channel = self.connection.channel
        if not self._items or self.closed or self.muted or channel is None:
            return
        items, self._items = self._items, []
        self._runs = {}
        ack = self._incoming.tell()
        record = self._outgoing.record
        self._count(items)
        frames = [
            item.build(0 if isinstance(item, Notice) else record(item), ack) for item in items
        ]
        channel.send(frames)
        self.measure()

    def _count(self, items: list[Item]) -> None:
        statistics = self._context.statistics
        for item in items:
            if isinstance(item, Run):
                if item.fragment is None or not item.fragment[0]:
                    statistics.sent_messages += item.count
                statistics.sent_bytes += item.size_bytes - 8 * item.count

    def measure(self) -> None:
        """Compute anew how many bytes may still be queued."""
        self._bytes_measured = self._bytes_here
        channel = self.connection.channel
        queued = self._bytes_measured + (0 if channel is None else channel.queued_bytes)
        self.room = 0 if self._outgoing.full else self._queued_bytes_max - queued
        self._room_measured = self.room
        self._judge_pace(queued)

    def has_room(self, size_bytes: int) -> bool:
        """
        Look again whether something can be queued, the kernel having taken what it could.

        What is longer than the whole queue may be is taken by an empty one.
        """
        self.measure()
        return size_bytes <= self.room or self.room == self._queued_bytes_max

    def has_room_for_answer(self, size_bytes: int) -> bool:
        """Tell whether an answer can be queued: it may go past the window of frames."""
        self.measure()
        channel = self.connection.channel
        queued = self._bytes_measured + (0 if channel is None else channel.queued_bytes)
        return queued + size_bytes <= self._queued_bytes_max or not queued

    @property
    def _bytes_here(self) -> int:
        """What is queued here and not in the channel; appending need not count it."""
        return self._bytes_measured + self._room_measured - self.room if self._items else 0

    def _judge_pace(self, queued_bytes: int) -> None:
        """Name an endpoint whose queue has passed the soft limit, once until it is low again."""
        config = self._context.config
        if queued_bytes < config.queued_bytes_soft // 2:
            self._slow = False
        elif queued_bytes > config.queued_bytes_soft and not self._slow:
            self._slow = True
            endpoint = self.connection.endpoint
            if endpoint is not None:
                self._context.events.on_slow_endpoint(endpoint, queued_bytes)

    @property
    def queued_bytes(self) -> int:
        """Bytes accepted and not yet given to the kernel."""
        return self._queued_bytes_max - self.room

    @property
    def idle(self) -> bool:
        """Tell whether nothing is queued, unacknowledged, or arrived and not yet discharged."""
        return not self._items and not self._outgoing and not self._incoming.outstanding

    # Incoming.

    def receive(self, frames: Sequence[bytes]) -> None:
        """
        Take whole frames in the order of arrival.

        :raises RemoteProtocolError: The other side broke the protocol beyond repair; frames
            behind the offending one are not looked at.
        """
        received = self._incoming.received
        self._reading = True
        try:
            for frame in frames:
                head = peek(frame)
                ack = head[12]
                if ack != self._ack_heard:
                    self._acknowledged(ack)
                number = head[9]
                if number:
                    received(number)
                kind = head[1]
                if kind in _TRAFFIC:
                    self._data_reader(self, frame, head)
                else:
                    self._dispatch(frame, head)
                if self.closed or self.finished:
                    break
        finally:
            self._reading = False
        self._acknowledge_soon()

    def _dispatch(self, frame: bytes, head: Head) -> None:
        reader = self._readers.get(head[1])
        if reader is not None:
            reader(self, frame, head)
            return
        kind = head[1]
        if kind == MessageType.LINK_ACK:
            self._acknowledged_early(frame, head)
            return
        if kind & ROUTED_BIT and not (kind & IGNORABLE_BIT and head[6] == self._context.bus_id):
            # Of a routed frame that we do not understand the neighbor is not guilty.
            self._pass_on(self, frame, head)
        elif kind & IGNORABLE_BIT:
            self._context.statistics.ignored_frames += 1
            self.discharge(head[9])
        elif kind in _KNOWN:
            raise OutOfTurn(f"{MessageType(kind).name} after the registration")
        else:
            raise UnknownMandatory(f"frame of type {kind}")

    def read(self, frame: bytes, head: Head) -> Message | None:
        """
        Decode a frame that is for this node, unless its inside makes no sense.

        :returns: The message; None for one that is dropped, counted and discharged.
        :raises RemoteProtocolError: It was the neighbor's own, and its third.
        """
        try:
            return codec.decode(frame)
        except RemoteProtocolError as error:
            self.discharge(head[9])
            self.unreadable(head, error)
            return None

    def unreadable(self, head: Head, error: RemoteProtocolError) -> None:
        """
        Count a frame whose inside makes no sense; the neighbor's own third one ends the link.

        :raises RemoteProtocolError: It was the third.
        """
        self._context.statistics.undecodable_frames += 1
        if head[1] & ROUTED_BIT and head[5] != self.connection.bus_id:
            # Bodies pass relays unread: only the origin itself is to blame.
            return
        self._unreadable += 1
        if self._unreadable >= _UNREADABLE_MAX:
            raise error

    def _acknowledged(self, ack: int) -> None:
        self._ack_heard = ack
        self._let_go(self._outgoing.acknowledge(ack))

    def _acknowledged_early(self, frame: bytes, head: Head) -> None:
        """Take the word about frames behind one that is stuck."""
        message = self.read(frame, head)
        if isinstance(message, LinkAck) and message.early and not message.lane:
            self._let_go(self._outgoing.acknowledge_early(message.early))

    def _let_go(self, items: list[Kept]) -> None:
        was_full = self.room <= 0
        for item in items:
            custody = getattr(item, "custody", None)
            if custody is not None:
                custody.discharge()
        if was_full:
            self.measure()

    def discharge(self, number: int) -> None:
        """
        Answer for an arrived frame no longer.

        :param number: Its frame number; 0, an unnumbered frame, changes nothing.
        """
        if number and not self.closed:
            self._incoming.discharge(number)
            if not self._reading:
                self._acknowledge_soon()

    def _acknowledge_soon(self) -> None:
        due = self._incoming.early
        if not self._items:
            due += self._incoming.untold
        if not due or self.closed or self.muted:
            return
        if due >= limits.ACK_FRAMES_MAX:
            self._acknowledge_now()
        elif self._ack_call is None:
            self._ack_call = self._context.timers.callLater(
                limits.ACK_DELAY_SECONDS, self._acknowledge_now
            )

    def _acknowledge_now(self) -> None:
        call, self._ack_call = self._ack_call, None
        if call is not None and call.active():
            call.cancel()
        if not self.closed and not self.muted:
            self._put_acks()

    def _put_acks(self) -> None:
        """Queue what the other side does not know of what we have discharged."""
        source = self._context.bus_id
        early = self._incoming.tell_early()
        for start in range(0, len(early), limits.ACK_RANGES_MAX):
            ranges = tuple(early[start : start + limits.ACK_RANGES_MAX])
            self.put(Notice(LinkAck(source=source, early=ranges)))
        if self._incoming.untold and not early:
            self.put(Notice(LinkAck(source=source)))

    def say_last(self) -> None:
        """
        Write what is queued and all that can be acknowledged; nothing is written after this.

        What is put here from now on counts as never written.
        """
        if not self.muted:
            self._put_acks()
        self.flush()
        self.muted = True

    def end(self) -> tuple[list[Kept], list[Kept]]:
        """
        Stop for good.

        :returns: What was on the wire and not acknowledged, and what was never written; both in
            order. The caller reports them.
        """
        self.closed = True
        if self._ack_call is not None:
            self._ack_call.cancel()
            self._ack_call = None
        items, self._items = self._items, []
        self._runs = {}
        return self._outgoing.abandon(), [i for i in items if not isinstance(i, Notice)]
