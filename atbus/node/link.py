"""
A registered connection: numbers frames, keeps what is not acknowledged, gathers what leaves.

Rules (wire protocol, section 4):

1. Frames leave once per turn, or several turns of a busy node, joined, in the order of their items;
   only what waits - channel full, destination paused - lets others go first (`atbus.node.sluice`).
2. A numbered frame is kept - as what it stands for, without its payload - until the other side
   acknowledges it. What is left when the link dies is handed to the node, in order, once.
3. A frame that arrived is acknowledged when this node answers for it no longer, never earlier.
   The acknowledgement rides on anything that goes back; when nothing does, a LINK_ACK follows
   (`atbus.node.acking`). What overtakes a frame that is stuck is acknowledged there as well, or
   one slow destination would close the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from atbus import limits
from atbus.channels.interfaces import IChannel, IRunChannel
from atbus.errors import OutOfTurn, RemoteProtocolError, UnknownMandatory
from atbus.node.acking import Acking, Ranges
from atbus.node.growth import Growth
from atbus.node.outbox import Item, Kept, Notice, Routed, Run, carries_ack, hand_over, hand_over_one
from atbus.node.owed import Owed
from atbus.node.readers import DataReader, FrameReader
from atbus.node.sluice import Sluice
from atbus.routing.custody import IncomingLedger, OutgoingLedger
from atbus.routing.flow_control import Load
from atbus.routing.pace import AT_REST, Pace, Sight
from atbus.wire import codec
from atbus.wire.head import Head, peek
from atbus.wire.loose import Frame, joined
from atbus.wire.messages import IGNORABLE_BIT, ROUTED_BIT, LinkAck, Message, MessageType

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context

_TRAFFIC = (int(MessageType.DATA), int(MessageType.FRAGMENT))
_UNREADABLE_MAX = 3
# What a frame may have besides its head and what an item's size counts.
_BESIDES_BYTES = limits.EXTRAS_BYTES
# A run that is shorter is not bulky.
_LITTLE_BYTES = 8 * 1024
_LINK_ACK, _PUBLISH = int(MessageType.LINK_ACK), int(MessageType.PUBLISH)
_OWN = bytes(4)  # the lane of a LINK_ACK that is about no lane
_KNOWN = frozenset(int(kind) for kind in MessageType)


class Link(Growth):
    """
    Numbering, custody and the outgoing queue of one registered connection.

    :param connection: Its owner, which also knows the remote node.
    :param frame_bytes_max: The longest frame the other side takes.
    :param data_reader: Takes DATA and FRAGMENT frames.
    :param publication_reader: Takes PUBLISH frames.
    :param readers: Take the other frames, by type.
    :param pass_on: Takes routed frames of other types, whomever they are for.
    """

    __slots__ = (
        "_account", "_ack_heard", "_acking", "_bytes_measured", "_data_reader", "_incoming",
        "_pass_on", "_publication_reader", "_queued_bytes_max",
        "_queued_measured", "_readers", "_reading", "_room_measured", "_spare_bytes", "_unreadable",
        "closed", "connection", "finished", "frame_bytes_max", "is_long", "muted", "outgoing",
        "owed", "pace", "sluice", "soft_bytes", "whole_bytes_max",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        connection: Connection,
        *,
        frame_bytes_max: int,
        data_reader: DataReader,
        publication_reader: DataReader,
        readers: dict[int, FrameReader],
        pass_on: FrameReader,
    ) -> None:
        super().__init__(context, frame_bytes_max - limits.FRAME_HEAD_BYTES)
        self.connection = connection
        self.frame_bytes_max = frame_bytes_max
        # An item of this size needs no cutting, whatever it is and whatever goes with it.
        self.whole_bytes_max = self.run_bytes_max - _BESIDES_BYTES
        takes_runs = IRunChannel.providedBy(connection.channel)
        self.sluice, self.pace = Sluice(connection.bus_id, takes_runs=takes_runs), Pace()
        # What `room` was reckoned from: it, the bytes that were queued here and those that were
        # queued in all, and what could be queued besides, at that time.
        self._room_measured = self._bytes_measured = self._queued_measured = self._spare_bytes = 0
        self.is_long = self.closed = self.muted = self.finished = False
        self._account, self.owed = context.budget.open(), Owed(context.owed, context.passing)
        self._data_reader, self._publication_reader = data_reader, publication_reader
        self._readers, self._pass_on = readers, pass_on
        #: Only to be read: what the other side answers for.
        self.outgoing: OutgoingLedger[Kept] = OutgoingLedger(limits.UNACKNOWLEDGED_FRAMES_MAX)
        self._incoming, self._ack_heard = IncomingLedger(), 0
        self._acking = Acking(context, self._incoming, self._tell_acks)
        self._unreadable, self._reading = 0, False
        self.reconfigure()

    def reconfigure(self) -> None:
        """Queue as many bytes as the configuration allows now."""
        config = self._context.config
        self._queued_bytes_max, self.soft_bytes = config.queued_bytes_hard, config.queued_bytes_soft
        share = min(limits.CHANNEL_BYTES, config.queued_bytes_soft // 2)
        self.sluice.channel_bytes_max = max(share, self.frame_bytes_max)
        self.measure()

    # Outgoing.

    def put(self, item: Item) -> None:
        """
        Queue one item behind everything that is queued.

        A later message of the same flow starts a run of its own behind it, so that nothing
        overtakes the item.
        """
        match item:
            case Run(target=target):
                flow = self._growing.get(target)
                if flow is not None:
                    flow.close()
            case Routed():
                self._close_runs()
                self.owed.keep(item)
        self.room -= item.size_bytes
        self._turn.queued_bytes += item.size_bytes
        self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        if not self._items:
            self._turn.at_end(self._flush_or_gather)
        self._items.append(item)

    def _flush_or_gather(self) -> None:
        """Write, unless it is little, the node busy, and the other side does not wait for it."""
        if self._granted:
            self.settle()
        puts_off = self._turn.writes() and (self._turn.is_own_end or not self.is_heard_out)
        if puts_off and self._bytes_here < limits.GATHER_BYTES:
            self._turn.gather(self.flush)
        else:
            self.flush()

    @property
    def is_heard_out(self) -> bool:
        """Whether the other side has nothing of ours that it has not dealt with, as far as seen."""
        return self.outgoing.sent == self._ack_heard

    def flush(self) -> None:
        """Make frames of what is queued and may leave, and hand them to the channel in one call."""
        channel = self.connection.channel
        if not self._items or self.closed or self.muted or channel is None:
            return
        self._close_runs()
        here = self._bytes_here
        items, self._items = self._items, []
        room = self.sluice.channel_bytes_max - channel.queued_bytes
        if here > room or self.sluice.backlog.busy:
            items = self.sluice.let_through(items, room)
        self._write(channel, items)

    def feed(self) -> None:
        """Let more of what waits here go to the channel, as much as that can write soon."""
        channel = self.connection.channel
        if self.closed or self.muted or channel is None or self.outgoing.full:
            return
        room = self.sluice.channel_bytes_max - channel.queued_bytes
        if room > 0:
            self._write(channel, self.sluice.backlog.take(room))

    def drained(self) -> None:
        """Go on: the channel has written everything that it was given."""
        self.feed()
        self.measure()

    def write_all(self) -> None:
        """Hand everything that is queued or waits to the channel, whatever was asked for."""
        self.flush()
        channel = self.connection.channel
        if channel is not None and not (self.closed or self.muted):
            self._write(channel, self.sluice.backlog.take_all())

    def _write(self, channel: IChannel, items: list[Item]) -> None:
        statistics, takes_runs = self._context.statistics, self.sluice.takes_runs
        if len(items) == 1 and type(items[0]) is Run and items[0].size_bytes < _LITTLE_BYTES:
            run, ack = items[0], self._incoming.tell()
            hand_over_one(channel, run, self.outgoing.record(run), ack, statistics, takes_runs)
        elif items:
            ack = self._incoming.tell() if any(map(carries_ack, items)) else 0
            hand_over(channel, items, self.outgoing.record, ack, statistics, takes_runs)
        self.measure()
        backlog = self.sluice.backlog
        if backlog.busy and backlog.ready and not channel.queued_bytes:
            # The kernel has taken everything; nobody will say so.
            self._context.turn.at_end(self.feed)

    def measure(self) -> None:
        """Compute anew how many bytes may still be queued."""
        if self._granted:
            self.settle()
        here = self._bytes_measured = self._bytes_here if self._items else 0
        channel = self.connection.channel
        in_channel = 0 if channel is None else channel.queued_bytes
        queued = here + self.sluice.backlog.queued_bytes + in_channel
        budget = self._context.budget
        if queued != self._account.held_bytes:
            self._account.hold(queued)
        if self.sluice.uncounted_bytes:
            queued -= self.sluice.count_less(self._context.config.queued_bytes_soft // 4)
        allowance = min(self._queued_bytes_max, budget.allowed_bytes)
        spare = self._spare_bytes = 0 if self.outgoing.full else allowance - queued
        self.room = self._room_measured = min(spare, budget.grant_bytes)
        if queued or self._queued_measured:
            self._queued_measured = queued
            self._judge(queued, allowance)

    def _judge(self, queued: int, allowance: int) -> None:
        """Hold the queue against its marks."""
        soft_bytes = self._context.config.queued_bytes_soft
        self.soft_bytes = soft_bytes * allowance // self._queued_bytes_max
        was_long, self.is_long = self.is_long, queued * 2 > self.soft_bytes
        if was_long is not self.is_long:
            if self.connection.endpoint is not None:
                self.connection.endpoint.judge_queue()
            if was_long:
                self._context.on_relief()
        if self.pace.judge_queue(queued, soft_bytes):
            self.name_slow(queued)

    def has_room(self, size_bytes: int) -> bool:
        """
        Look again whether something can be queued, the kernel having taken what it could.

        Whatever its length it is taken while the queue is not long, that is writable: who waits
        for an empty one, waits for ever beside others that send a little all the time.
        """
        self.measure()
        if size_bytes <= self._spare_bytes:
            if self._items:
                self._widen()
            return True
        takes_more = self._spare_bytes > 0 and not self.is_long
        return takes_more and self._account.has_room(size_bytes)

    def _widen(self) -> None:
        # What is queued grows in this turn: what is held ahead is given back when it is written.
        room = min(self._spare_bytes, self._room_measured + self._account.hold_ahead())
        self.room += room - self._room_measured
        self._room_measured = room

    def has_room_for_answer(self, size_bytes: int) -> bool:
        """Tell whether an answer can be queued: it may go past the window and the node's budget."""
        self.measure()
        return self._queued_measured + size_bytes <= self._queued_bytes_max or not self.is_long

    def has_share(self, target: int, size_bytes: int) -> bool:
        """
        Tell whether a destination behind the neighbor may have more of what waits here.

        The neighbor itself may have all of it: when that is stuck, so is everything behind it.
        """
        if target == self.connection.bus_id or not self.sluice.backlog.busy:
            return True
        if self._granted:
            self.settle()
        spare = self._spare_bytes - (self._room_measured - self.room)
        return self.sluice.backlog.has_share(target, size_bytes, spare)

    def has_room_behind(self, size_bytes: int) -> bool:
        """Tell whether what passes can be taken although there is no room: it was on its way."""
        if self.outgoing.full or size_bytes > self._context.budget.free_bytes:
            return False
        most = self._queued_bytes_max * limits.QUEUED_BEHIND_FACTOR
        return self.sluice.uncounted_bytes + size_bytes <= most

    def load(self, destination: int, frames: int) -> Load:
        """Describe what a destination asks of this link."""
        backlog, channel = self.sluice.backlog, self.connection.channel
        sharers = max(1, backlog.destinations)
        shared_bytes = 0 if channel is None else channel.queued_bytes
        return Load(
            frames=frames,
            own_bytes=backlog.bytes_of(destination) + shared_bytes // sharers,
            queued_bytes=self.queued_bytes + self.sluice.uncounted_of(destination),
            sharers=sharers,
        )

    def narrow(self, frames: int) -> None:
        """Have so many frames on their way at most, but for answers, from now on."""
        self.outgoing.window = frames
        self._let_go([])

    @property
    def window_free(self) -> int:
        """How many frames the other side may still send before its window is full."""
        return limits.UNACKNOWLEDGED_FRAMES_MAX - self._incoming.outstanding

    @property
    def _bytes_here(self) -> int:
        """What is queued for this turn; appending need not count it."""
        return self._bytes_measured + self._room_measured - self.room if self._items else 0

    @property
    def sight(self) -> Sight:
        """What is seen of the pace of the other side."""
        channel, open_frames = self.connection.channel, len(self.outgoing)
        queued_bytes = 0 if channel is None else channel.queued_bytes
        if not (queued_bytes or open_frames):
            return AT_REST
        return Sight(
            channel_bytes=queued_bytes,
            written_bytes=0 if channel is None else channel.written_bytes,
            open_frames=open_frames,
            acknowledged=self.outgoing.discharged,
            excused=bool(self.sluice.backlog.paused),
        )

    def name_slow(self, queued_bytes: int) -> None:
        """Say that the other side does not take what it is sent."""
        endpoint = self.connection.endpoint
        if endpoint is not None:
            self._context.statistics.slow_endpoints += 1
            self._context.events.on_slow_endpoint(endpoint, queued_bytes)

    @property
    def queued_bytes(self) -> int:
        """Bytes accepted and not yet given to the kernel."""
        if self._granted:
            self.settle()
        return self._queued_measured + self._room_measured - self.room

    @property
    def idle(self) -> bool:
        """Tell whether nothing is queued, unacknowledged, or arrived and not yet discharged."""
        outgoing, incoming = self.outgoing, self._incoming.outstanding
        return not (self._items or self.sluice.backlog or outgoing or incoming)

    def owes(self, target: int) -> bool:
        """Tell whether anything for a destination is queued here, or not acknowledged."""
        queued = [*self.outgoing, *self._items]
        waits = self.sluice.backlog.bytes_of(target)
        return bool(waits) or any(getattr(each, "target", 0) == target for each in queued)

    # Incoming.

    def receive(self, frames: Sequence[Frame]) -> None:
        """
        Take whole frames in the order of arrival.

        :raises RemoteProtocolError: The other side broke the protocol beyond repair; frames
            behind the offending one are not looked at.
        """
        received = self._incoming.received
        self._reading = True
        try:
            for frame in frames:
                head = peek(frame) if isinstance(frame, bytes) else frame.head
                ack, kind = head[12], head[1]
                if ack != self._ack_heard and (kind != _LINK_ACK or joined(frame)[48:52] == _OWN):
                    self._acknowledged(ack)
                number = head[9]
                if number:
                    received(number)
                if kind in _TRAFFIC:
                    self._data_reader(self, frame, head)
                elif kind == _PUBLISH:
                    self._publication_reader(self, frame, head)
                else:
                    self._dispatch(joined(frame), head)
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
        if kind == _LINK_ACK:
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
        self._let_go(self.outgoing.acknowledge(ack))

    def acknowledged_early(self, ranges: Ranges) -> None:
        """Let go frames behind one that is stuck."""
        self._let_go(self.outgoing.acknowledge_early(ranges))

    def own_frame(self, message: Message) -> bytes:
        """Make a frame of the link itself, to be sent at once."""
        return codec.encode(message, ack=self._incoming.tell())

    def _let_go(self, items: list[Kept]) -> None:
        was_full = self.room <= 0
        if self.owed.held_bytes:
            self.owed.let_go(items)
        for item in items:
            if (custody := getattr(item, "custody", None)) is not None:
                custody.discharge()
        if was_full:
            self.measure()
            if self.sluice.backlog.ready:
                self._context.turn.at_end(self.feed)

    def discharge(self, number: int) -> None:
        """
        Answer for an arrived frame no longer.

        :param number: Its frame number; 0, an unnumbered frame, changes nothing.
        """
        if number and not self.closed:
            self._incoming.discharge(number)
            if not self._reading:
                self._acknowledge_soon()

    def _tell_acks(self, early: Ranges) -> None:
        """Acknowledge what is discharged, and some frames before their turn."""
        self.put(Notice(LinkAck(source=self._context.bus_id, early=early)))

    def _acknowledge_soon(self) -> None:
        if not self.closed and not self.muted:
            items = self._items
            rides = bool(items) and (type(items[0]) is Run or any(map(carries_ack, items)))
            self._acking.soon(rides)

    def say_last(self) -> None:
        """
        Write what is queued and all that can be acknowledged; nothing is written after this.

        What is put here from now on counts as never written.
        """
        if not self.muted:
            self._acking.say()
            self.write_all()
        self.muted = True
        self._acking.stop()

    def end(self) -> tuple[list[Kept], list[Kept]]:
        """
        Stop for good.

        :returns: What was on the wire and not acknowledged, and what was never written; both in
            order. The caller reports them.
        """
        self.closed = True
        self._close_runs()
        self._acking.stop()
        items, self._items = [*self.sluice.backlog.take_all(), *self._items], []
        sent, unsent = self.outgoing.abandon(), [i for i in items if not isinstance(i, Notice)]
        self._account.close()
        self.owed.close([*sent, *unsent])
        return sent, unsent
