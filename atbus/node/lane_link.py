"""
A lane of a node, and its link: acknowledged over the stream, and given no more than the lane takes.

Nothing goes back on a lane (wire protocol, section 4.5). Frames are made only when there is room
for them, so that what a dead reader leaves unread is all that is uncertain: what waits is a message
still, and can take another way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from atbus import limits
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.errors import Status
from atbus.node import bounds
from atbus.node.acking import Ranges
from atbus.node.link import Link
from atbus.node.outbox import Notice
from atbus.wire.messages import LaneRetire, LinkAck

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.endpoint import Endpoint
    from atbus.node.ring import RingConnection

#: Takes what a lane has discharged: up to a number, and the ranges beyond it.
TellAck = Callable[[int, Ranges], None]

# Earlier releases count from 1 and take any number they know for a lane that they read.
_NUMBERS_BEGIN: Final = 0x8000_0000


def number_of(count: int, reader: int, writer: int) -> int:
    """
    Number a lane so that no lane of the other direction has the same number.

    :param count: How many lanes the reader has offered with this one, to anybody.
    :param reader: The bus id of who reads it.
    :param writer: The bus id of who writes it.
    :returns: An odd number from the smaller id, an even one from the larger (wire protocol, 7.12).
    """
    return _NUMBERS_BEGIN | (2 * count + (reader < writer)) & (_NUMBERS_BEGIN - 1)


@attrs.define(eq=False)
class Lane:
    """
    A lane of this node, seen from its end.

    :param number: The reader's for it: no other lane of *stream* has it, in either direction.
    :param stream: Over which it was offered.
    :param endpoint: At its other end.
    :param channel: Our end of it.
    :param since: When it was offered, seconds.
    :param ring: The connection that it carries, once it is attached.
    """

    number: int
    stream: Connection
    endpoint: Endpoint
    channel: IncomingLane | OutgoingLane
    since: float
    ring: RingConnection | None = None
    moved_bytes: int = 0
    moved_at: float = 0.0
    retiring: bool = False
    retired: bool = False

    @property
    def is_read(self) -> bool:
        """Whether we read it."""
        return isinstance(self.channel, IncomingLane)

    def teller(self, source: int) -> TellAck:
        """
        Make what acknowledges frames of it, over the stream.

        :param source: Our bus id.
        """

        def tell(ack: int, early: Ranges) -> None:
            if self.stream.link is not None:
                said = LinkAck(source=source, lane=self.number, early=early)
                self.stream.link.put(Notice(said, ack=ack))

        return tell

    def last_word(self, source: int, status: Status) -> LaneRetire:
        """
        Make the word that ends it.

        :param source: Our bus id.
        :param status: Why it ends.
        """
        return LaneRetire(
            source=source, destination=self.endpoint.bus_id, lane=self.number, status=status
        )


class LaneLink(Link):
    """Numbering, custody and the outgoing queue of one lane."""

    __slots__ = ("_look_at", "_told_bytes", "tell_ack")

    #: Set by who attaches a lane that is read here.
    tell_ack: TellAck

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # What had been read when an acknowledgement was told last, and the frame with which it may
        # be time for one, if it is not told before.
        self._told_bytes = self._look_at = 0

    @property
    def is_heard_out(self) -> bool:
        """Whether the reader has read everything: acknowledgements come late, over the stream."""
        channel = self.connection.channel
        return not isinstance(channel, OutgoingLane) or channel.is_heard_out

    def flush(self) -> None:
        """Make frames of what may leave and has room in the lane as it is now."""
        if self._items:
            self._look_for_room()
            super().flush()

    def feed(self) -> None:
        """Let more of what waits here go to the lane, as much as has room in it now."""
        self._look_for_room()
        super().feed()

    def _look_for_room(self) -> None:
        channel = self.connection.channel
        if isinstance(channel, OutgoingLane):
            # At least one frame goes there, whose departure tells that there is room again. Behind
            # one that waits nothing can leave: what is sent meanwhile costs a full lane nothing.
            self.sluice.channel_bytes_max = channel.queued_bytes or channel.room_bytes or 1

    def acknowledged(self, ack: int, early: Ranges) -> None:
        """
        Let go what the reader has discharged.

        :param ack: All frames up to this one.
        :param early: Ranges of frames behind one that is stuck.
        :raises RemoteProtocolError: One of them was never sent.
        """
        self._acknowledged(ack)
        if early:
            self.acknowledged_early(early)

    def tell_room(self) -> None:
        """Tell the writer, which waits for it, that there is room: the word for that is any."""
        self._tell_acks(())

    def _acknowledge_soon(self) -> None:
        """
        Have it told in time what is discharged here.

        The word takes another channel than what is acknowledged, and nothing that could carry it
        goes there: together it costs both sides as much as an answer does. So it comes less often
        while it is about little, and behind the answer to what was read.
        """
        incoming = self._incoming
        if incoming.arrived < self._look_at and self._acking.waits:
            # As is mostly so: there are not that many yet, and they will be told in time.
            return
        if self.closed or self.muted:
            return
        most = limits.ACK_FRAMES_MAX
        self._look_at = incoming.arrived + most - (incoming.early + incoming.untold) % most
        if self._read_bytes - self._told_bytes < bounds.LANE_ACK_BYTES:
            most = bounds.LANE_ACK_FRAMES_MAX
        self._acking.soon(False, most, self._behind_the_answer)

    @property
    def _read_bytes(self) -> int:
        # Any: only channels that are read have it, and such a one this is.
        channel: Any = self.connection.channel
        return 0 if channel is None else int(channel.read_bytes)

    def _behind_the_answer(self, say: Callable[[], None]) -> None:
        def unless_closed() -> None:
            if not self.closed and not self.muted:
                say()

        self._turn.at_end(unless_closed)

    def _tell_acks(self, early: Ranges) -> None:
        self._told_bytes = self._read_bytes
        self.tell_ack(self._incoming.tell(), early)
