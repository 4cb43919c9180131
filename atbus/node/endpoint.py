"""
A registered remote node and its connections.

The way to it has six conditions, and only in `Gate.OPEN` does data flow:

* ``CLOSED``: no data connection is registered; messages wait.
* ``FLUSHING``: it is, but messages still travel the old way; messages wait until the FLUSH that
  went down the old way is acknowledged, so that none of them is overtaken.
* ``OPEN``.
* ``CHANGING``: data is to take another channel to it; messages wait until the FLUSH that went down
  the one used until now is acknowledged.
* ``RETURNING``: one of the two nodes is leaving, and there is another way; messages wait until the
  FLUSH that went down the direct way is acknowledged, then they go the other way.
* ``DRAINING``: one of the two nodes is leaving; nothing new is given to it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import RemoteProtocolError, Status
from atbus.node.fitting import fit
from atbus.node.outbox import Kept, Relayed, Routed, Run, Spread
from atbus.node.squeezing import suit
from atbus.routing.flow_control import Load
from atbus.routing.liveness import Heartbeat
from atbus.routing.pending import PendingQueue
from atbus.routing.table import Position
from atbus.wire.messages import Flags, MessageType, Mode

if TYPE_CHECKING:
    from atbus.handshake.terms import PeerTerms
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.link import Link
    from atbus.node.ring import RingConnection

_COMPRESSED = int(Flags.COMPRESSED)


class Gate(enum.Enum):
    """Say whether data may flow to an endpoint."""

    CLOSED = "closed"
    FLUSHING = "flushing"
    OPEN = "open"
    CHANGING = "changing"
    RETURNING = "returning"
    DRAINING = "draining"


class Endpoint:
    """
    One remote node as this node knows it; harmless to keep after its removal.

    :param peer: What was agreed when it registered.
    :param position: Above, below or beside us.
    """

    # More attributes than instances share the names of: a dict of its own would be 1.5 KiB.
    __slots__ = (
        "__weakref__", "_account", "_commands_only", "_context", "_held", "added_at", "bus_id",
        "control", "data", "data_attempts", "data_dialled_at", "data_dialling",
        "data_missing_since", "gate", "heartbeat", "in_publication_bytes", "in_publications",
        "is_long", "last_pong_at", "out_publication_bytes", "out_publications", "peer",
        "pending", "position", "removed", "ring", "rings", "rtt_seconds", "stream", "temporary",
        "vouched", "was_upstream", "came_from",
    )  # fmt: skip

    def __init__(self, context: Context, peer: PeerTerms, position: Position) -> None:
        config = context.config
        self.bus_id = peer.bus_id
        self.peer = peer
        self.position = position
        self.temporary = peer.mode is Mode.TEMPORARY
        self.control: Connection | None = None
        self.data: list[Connection] = []
        self.rings: list[RingConnection] = []
        self.ring: RingConnection | None = None
        # The data stream that we use, or would without the ring.
        self.stream: Connection | None = None
        self.gate = Gate.CLOSED
        self.is_long = False
        self.removed: Status | None = None
        self.was_upstream = False
        # Whom its record said that it was below when it registered.
        self.came_from = 0
        self.added_at = context.now
        self.vouched: dict[int, None] = {}
        self.pending: PendingQueue[Kept] = PendingQueue(
            bytes_max=config.pending_bytes_max,
            count_max=config.pending_count_max,
            seconds=config.pending_seconds,
        )
        self.heartbeat = Heartbeat(
            interval_seconds=config.heartbeat_seconds, tolerance=config.heartbeat_tolerance
        )
        self.data_dialling = False
        self.data_dialled_at = 0.0
        self.data_attempts = 0
        self.data_missing_since: float | None = None
        self.last_pong_at: float | None = None
        self.rtt_seconds: float | None = None
        # Publications from it and to it, and the bytes of their frames.
        self.in_publications = self.out_publications = 0
        self.in_publication_bytes = self.out_publication_bytes = 0
        self._account = context.budget.open()
        self._commands_only = self.temporary or context.mode is Mode.TEMPORARY
        self._context = context
        self._held = context.ways.held

    def __repr__(self) -> str:
        return f"<Endpoint 0x{self.bus_id:x} {self.position.name.lower()} {self.gate.value}>"

    def reconfigure(self) -> None:
        """Take the configuration's bounds for what waits, and its heartbeat from the next ping."""
        config = self._context.config
        self.pending.bytes_max = config.pending_bytes_max
        self.pending.count_max = config.pending_count_max
        self.pending.seconds = config.pending_seconds
        self.heartbeat.interval_seconds = config.heartbeat_seconds
        self.heartbeat.tolerance = config.heartbeat_tolerance

    @property
    def frame_bytes_max(self) -> int:
        """The longest frame to make for it: of its data link, if it has one now."""
        link = self.data_link
        if link is not None:
            return link.frame_bytes_max
        return min(self.peer.frame_max, self._context.config.frame_bytes_far)

    @property
    def certified(self) -> Subnet | None:
        """The ids that its certificate names; None without one."""
        channel = None if self.control is None else self.control.channel
        identity = None if channel is None else channel.identity
        return None if identity is None else identity.subnet

    @property
    def connections(self) -> list[Connection]:
        """Every connection, control first."""
        control = [] if self.control is None else [self.control]
        return [*control, *self.data, *self.rings]

    @property
    def carriers(self) -> list[Connection]:
        """Every connection that data may travel."""
        return [*self.data, *self.rings]

    @property
    def data_link(self) -> Link | None:
        """The link that data travels, a ring's or the stream's, whether the gate is open or not."""
        if self.ring is not None and self.ring.usable:
            return self.ring.link
        return self.stream_link

    @property
    def stream_link(self) -> Link | None:
        """The link of the data stream, also while data travels another one."""
        stream = self.stream
        # Asked for each message, so the usual case is decided here.
        if stream is None or stream.link is None or stream.leaving or stream.closed is not None:
            stream = self.best_stream
        return None if stream is None else stream.link

    @property
    def channel(self) -> Connection | None:
        """The ring or the stream that data travels, whether the gate is open or not."""
        link = self.data_link
        return None if link is None else link.connection

    @property
    def best_stream(self) -> Connection | None:
        """The data stream to use: the best one, and of equals the one that is in use."""
        usable = filter(self.takes_data, self.data)
        return min(usable, key=lambda s: (self._demerit(s), s is not self.stream), default=None)

    @property
    def has_stream(self) -> bool:
        """Tell whether there is a data stream on which both sides send."""
        return any(self.takes_data(s) and not s.is_left_by_peer for s in self.data)

    def worse_streams(self) -> list[Connection]:
        """List the data streams beside a better one that carry nothing of ours any more."""
        best, used = self.best_stream, self.channel
        if best is None or len(self.data) < 2:
            return []
        least = self._demerit(best)
        others = (s for s in self.data if s is not used and self.takes_data(s))
        return [stream for stream in others if self._demerit(stream) > least]

    @staticmethod
    def takes_data(stream: Connection) -> bool:
        """Tell whether we may send data on a stream."""
        return stream.registered and not (stream.leaving or stream.is_left)

    def _demerit(self, stream: Connection) -> tuple[bool, bool, int]:
        """Reckon why not to use a stream; what a certificate has proven comes before all."""
        proven = self.control is not None and self.control.address.is_tls
        unproven = proven and not stream.address.is_tls
        return unproven, stream.is_left_by_peer, stream.address.rank

    @property
    def control_link(self) -> Link | None:
        """The link that pings, responses and commands travel."""
        if self.control is None or self.control.leaving:
            return None
        return self.control.link

    @property
    def is_next_upstream(self) -> bool:
        """Tell whether we have dialled it as our upstream while another one still is that."""
        control = self.control
        return self.position is Position.PEER and control is not None and control.upstream

    @property
    def available(self) -> bool:
        """Tell whether control and data are both registered; temporary nodes have no data."""
        return self.control_link is not None and (self._commands_only or self.data_link is not None)

    def submit(self, item: Kept, *, follows: bool = False) -> Status | None:
        """
        Give one item to this endpoint: queue it on its link, or let it wait.

        :param follows: Whether it goes behind what has come this way, and waits for no flush.
        :returns: None when it was taken, else why not. Items are sent in the order of calls.
        """
        if self._held and not follows and self._is_held(item):
            return self._hold(item)
        if self.removed is not None:
            return Status.NOT_CONNECTED
        if self.gate is Gate.DRAINING:
            return Status.CLOSING
        if item.flags & _COMPRESSED and isinstance(item, Run | Relayed):
            status = suit(item, self.peer.capabilities)
            if status is not None:
                return status
        link = self.open_link
        if link is None:
            return self._without_way(item)
        size_bytes = item.size_bytes
        has_room = size_bytes <= link.room or link.has_room(size_bytes)
        if isinstance(item, Relayed) and not (
            has_room and link.has_share(item.target, size_bytes)
        ):
            return self._take_behind(link, item)
        if isinstance(item, Spread):
            has_room = has_room and link.has_share(item.target, size_bytes)
        return self.put(link, item) if has_room else Status.BUFFER_LIMIT

    def insist(self, item: Run | Relayed, *, follows: bool = False) -> Status | None:
        """
        Give one item that has waited to this endpoint, whatever waits there.

        :param follows: As in `submit`.
        :returns: As `submit`.
        """
        link = self.open_link
        is_held = item.target in self._held and not follows
        if link is None or self.removed is not None or is_held:
            return self.submit(item, follows=follows)
        if item.flags & _COMPRESSED:
            status = suit(item, self.peer.capabilities)
            if status is not None:
                return status
        return self.put(link, item)

    def _is_held(self, item: Kept) -> TypeGuard[Run | Relayed]:
        return isinstance(item, Run | Relayed) and item.target in self._held

    def _hold(self, item: Run | Relayed) -> Status | None:
        """Let an item wait until what went to its destination through another node has arrived."""
        context = self._context
        size_bytes = item.size_bytes
        if size_bytes > context.budget.free_bytes:
            return Status.BUFFER_LIMIT
        status = context.ways.hold(
            item.target, item, size_bytes, context.now, behind_bytes=self._behind_bytes(item)
        )
        context.ways_account.hold(context.ways.held_bytes)
        return status

    def _hold_all(self, items: Sequence[Run], size_bytes: int) -> Status | None:
        """Let the fragments of a message wait like that, all or none."""
        context, target = self._context, items[0].target
        has_room = context.ways.has_room(target, size_bytes, len(items))
        if not has_room or size_bytes > context.budget.free_bytes:
            return Status.BUFFER_LIMIT
        for item in items:
            # The budget is asked for all of them before: each that waits leaves less of it.
            context.ways.hold(target, item, item.size_bytes, context.now)
        context.ways_account.hold(context.ways.held_bytes)
        return None

    def _behind_bytes(self, item: Kept) -> int:
        """Say how much room an item has besides if it was on its way when its feeder was told."""
        config = self._context.config
        is_passing = isinstance(item, Relayed)
        return config.queued_bytes_hard * limits.QUEUED_BEHIND_FACTOR if is_passing else 0

    def _take_behind(self, link: Link, item: Relayed) -> Status | None:
        """Take what was on its way before its feeder heard that it should pause."""
        size_bytes = item.size_bytes
        if not link.has_room_behind(size_bytes):
            return Status.BUFFER_LIMIT
        status = self.put(link, item)
        if status is None:
            link.sluice.take_turns(item.target, size_bytes + limits.WAITING_FRAME_BYTES)
            # What the channel does not take now begins to wait by destination.
            link.flush()
        return status

    def submit_all(self, items: Sequence[Run | Spread]) -> Status | None:
        """
        Give several items to this endpoint, all or none.

        :returns: As `submit`.
        """
        if len(items) == 1 or self.removed is not None or self.gate is Gate.DRAINING:
            return self.submit(items[0])
        for item in items:
            if item.flags & _COMPRESSED and isinstance(item, Run):
                suit(item, self.peer.capabilities)
        size_bytes = sum(item.size_bytes for item in items)
        if isinstance(items[0], Run) and items[0].target in self._held:
            return self._hold_all([each for each in items if isinstance(each, Run)], size_bytes)
        link = self.open_link
        if link is None:
            return self._all_without_way(items, size_bytes)
        if size_bytes > link.room and not link.has_room(size_bytes):
            return Status.BUFFER_LIMIT
        for item in items:
            self.put(link, item)
        if size_bytes > self._context.config.queued_bytes_hard:
            link.sluice.take_turns(items[0].target, size_bytes)
            # What the channel does not take now begins to wait by destination.
            link.flush()
        return None

    def _all_without_way(self, items: Sequence[Run | Spread], size_bytes: int) -> Status | None:
        """Do with the fragments of a message what is done with one that is whole."""
        if not self._holds:
            # All are of one message: when one is refused, the first is.
            return next((s for s in map(self._without_way, items) if s is not None), None)
        has_room = self.pending.has_room(size_bytes, len(items))
        if not has_room or size_bytes > self._room_for_pending():
            return Status.BUFFER_LIMIT
        for item in items:
            # The budget is asked for all of them before: each that waits leaves less of it.
            self.pending.push(item, item.size_bytes, self._context.now)
        self.reckon()
        return None

    def _let_wait(self, item: Kept) -> Status | None:
        if item.size_bytes > self._room_for_pending():
            return Status.BUFFER_LIMIT
        return self.pending.push(
            item, item.size_bytes, self._context.now, behind_bytes=self._behind_bytes(item)
        )

    def _room_for_pending(self) -> int:
        """Give how many bytes more may wait, as far as the node is concerned."""
        self.reckon()
        return self._context.budget.allowed_bytes - self._account.held_bytes

    def reckon(self) -> None:
        """Say how many bytes wait for a way to this endpoint."""
        self._account.hold(self.pending.queued_bytes)
        self.judge_queue()

    def forget_account(self) -> None:
        """Hold nothing of the node's budget any more."""
        self._account.close()

    # Whether it takes what is sent to it.

    @property
    def open_link(self) -> Link | None:
        """The link that data may take now."""
        return self.data_link if self.gate is Gate.OPEN else None

    def judge_queue(self) -> None:
        """Look whether more is queued for this endpoint than there should be for long."""
        link = self.open_link
        self.is_long = self.pending.is_long if link is None else link.is_long

    @property
    def is_over(self) -> bool:
        """Tell whether a program should pause: the queue has passed the soft limit."""
        link = self.open_link
        if link is None:
            self.judge_queue()
            return self.is_long
        link.measure()
        return link.queued_bytes > link.soft_bytes or link.room <= 0

    @property
    def takes_more(self) -> bool:
        """Tell whether a program that had to pause may go on."""
        link = self.open_link
        if link is not None:
            link.measure()
        self.judge_queue()
        return not self.is_long and (link is None or link.room > 0)

    def soft_bytes_of(self, destination: int) -> int:
        """Say how much may be queued this way before those who feed a destination are to pause."""
        link = self.open_link
        if link is None or destination in self._held:
            return self.pending.bytes_max // 2
        return link.soft_bytes

    @property
    def takes_portions(self) -> bool:
        """Tell whether what has waited for the way to somebody can begin to leave."""
        return self.open_link is not None and self.removed is None

    def load(self, destination: int, frames: int) -> Load:
        """Describe what a destination asks of the way through this endpoint."""
        if destination in self._held:
            held = self._context.ways.held_bytes_of(destination)
            return Load(frames=frames, own_bytes=held, queued_bytes=held)
        link = self.open_link
        if link is not None:
            return link.load(destination, frames)
        queued = self.pending.queued_bytes
        return Load(frames=frames, own_bytes=queued, queued_bytes=queued)

    @property
    def _holds(self) -> bool:
        """Tell whether messages wait; in a planned change of path they do, to stay in order."""
        return self._context.config.pending_policy == "hold" or self.gate is not Gate.CLOSED

    def _without_way(self, item: Kept) -> Status | None:
        """Let an item wait for a data connection, or do what the configuration says instead."""
        is_flush = isinstance(item, Relayed) and item.type == MessageType.FLUSH
        if self._holds or isinstance(item, Routed) or is_flush:
            return self._let_wait(item)
        policy = self._context.config.pending_policy
        if policy == "fail" or isinstance(item, Spread) or item.wants_answer:
            return Status.NOT_CONNECTED
        self._drop(item)
        return None

    def _drop(self, item: Run | Relayed) -> None:
        """Let go of messages that nobody wants to hear of; they are counted."""
        context = self._context
        if item.begins_messages:
            context.statistics.dropped_messages += item.count
            if context.observer is not None:
                context.observer.dropped(
                    item.source,
                    item.epoch,
                    item.target,
                    item.first_sequence,
                    item.count,
                    Status.NOT_CONNECTED,
                )
        if isinstance(item, Relayed):
            item.custody.discharge()

    @staticmethod
    def put(link: Link, item: Kept) -> Status | None:
        """
        Queue an item on a link whatever waits there, cut to the length of its frames.

        :returns: None, or why it cannot be cut.
        """
        if isinstance(item, Routed | Spread) or item.size_bytes <= link.whole_bytes_max:
            link.put(item)
            return None
        try:
            parts = fit(item, link.frame_bytes_max)
        except RemoteProtocolError as error:
            return error.status
        for part in parts:
            link.put(part)
        return None
