"""
Where streams join the node.

What streams are, and what becomes of their bytes, is decided above (`atbus.stream`). Here their
frames are put on their way in order with the messages to the same node, and handed over when they
have arrived. A node without anything above it takes no streams, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from atbus.errors import RemoteProtocolError, Status, Undeliverable
from atbus.node.context import Alarm
from atbus.node.statistics import Statistics
from atbus.node.stream_run import StreamRun
from atbus.wire import codec
from atbus.wire.head import Head
from atbus.wire.messages import Message, MessageType, StreamOpen

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.events import Fate
    from atbus.node.link import Link
    from atbus.node.sending import Sender
    from atbus.node.traffic import Traffic
    from atbus.node.writers import Writers
    from atbus.rights import Rights

_OPEN = int(MessageType.STREAM_OPEN)


class StreamReceiver(Protocol):
    """What is above the port."""

    def message_received(self, message: Message) -> None:
        """Take a message about a stream that has its other end at another node."""

    def told(self, target: int, sequence: int, status: Status, detail: str) -> None:
        """Learn that a frame did not arrive, or perhaps did not."""

    def rights_changed(self) -> None:
        """Look again at who may have which stream."""

    def close(self) -> None:
        """End all streams: the node stops."""


class StreamPort:
    """
    Send and receive the frames of streams.

    :param sender: Puts frames on their way.
    :param traffic: Refuses those of others.
    :param writers: Know who takes more.
    """

    def __init__(
        self, context: Context, sender: Sender, traffic: Traffic, writers: Writers
    ) -> None:
        #: Takes what arrives; None while this node takes no streams.
        self.receiver: StreamReceiver | None = None
        self._context = context
        self._sender = sender
        self._traffic = traffic
        self._writers = writers

    # What is above asks for.

    @property
    def now(self) -> float:
        """The time on the node's clock, seconds."""
        return self._context.now

    @property
    def bus_id(self) -> int:
        """The node's id; 0 while it has none."""
        return self._context.bus_id

    @property
    def epoch(self) -> int:
        """The node's incarnation."""
        return self._context.epoch

    @property
    def statistics(self) -> Statistics:
        """What the node has counted."""
        return self._context.statistics

    @property
    def log(self) -> Logger:
        """The node's."""
        return self._context.log

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """Make a call that comes when it is set to come."""
        return Alarm(self._context.timers, ring)

    def at_end(self, call: Callable[[], None]) -> None:
        """Call *call* at the end of this turn."""
        self._context.turn.at_end(call)

    def refuses(self, source: int, service: str) -> str | None:
        """Say which rule here forbids a node a stream to a service; None when none does."""
        rights = self._context.rights
        return None if rights is None else rights.refuses_stream(rights.who(source), service)

    def send(self, message: Message) -> None:
        """
        Put a message about a stream on its way, behind everything that was sent to its target.

        :param message: Without source, epoch and hop limit, which are the node's.
        :raises Undeliverable: It was not accepted; `Status.BACKPRESSURE`: not now.
        """
        context = self._context
        ours = attrs.evolve(
            message, source=context.bus_id, epoch=context.epoch, hop_limit=context.config.hops
        )
        if not context.bus_id:
            raise Undeliverable(
                Status.NOT_REGISTERED, message.destination, detail="without an id no streams"
            )
        if message.destination == context.bus_id:
            self._context.turn.at_end(lambda: self._take(ours))
            return
        self._sender.send_frame(StreamRun.of(ours))

    def _take(self, message: Message) -> None:
        if self.receiver is not None:
            self.receiver.message_received(message)

    def may_write(self, target: int) -> bool:
        """Tell whether a node takes more for now."""
        return target == self._context.bus_id or self._writers.may_write(target)

    def writable(self, target: int) -> Deferred[None]:
        """Wait until a node takes more; see `Node.writable`."""
        return self._writers.wait(target)

    # What the node says.

    def frame_received(self, link: Link, frame: bytes, head: Head) -> None:
        """
        Hand over a frame for this node; its source is believed, and has the right.

        :raises RemoteProtocolError: It makes no sense.
        """
        if self.receiver is None:
            self._traffic.refuse(link, head, Status.UNKNOWN_MANDATORY, "it takes no streams")
            return
        message = codec.decode(frame)
        link.discharge(head[9])
        self.receiver.message_received(message)

    def told(self, fate: Fate) -> None:
        """Take the news about a frame of ours."""
        if self.receiver is not None:
            self.receiver.told(fate.target, fate.first_sequence, fate.status, fate.detail)

    def rights_changed(self) -> None:
        """Let it be looked again at who may have which stream."""
        if self.receiver is not None:
            self.receiver.rights_changed()

    def close(self) -> None:
        """End all streams while that can still be said."""
        if self.receiver is not None:
            self.receiver.close()


def refuses_frame(rights: Rights, frame: bytes, head: Head) -> str | None:
    """
    Say why a frame of a stream may not come here, or pass; None when it may.

    Who may open a stream may have it: of what follows only the source is looked at.

    :param frame: Of any source that is believed.
    """
    who = rights.who(head[5])
    if head[1] != _OPEN:
        return rights.refuses_all(who)
    try:
        opening = codec.decode(frame)
    except RemoteProtocolError:
        # It is the destination's to refuse; who may open no stream at all is stopped here.
        return rights.refuses_passing(_OPEN, head[5])
    assert isinstance(opening, StreamOpen)
    return rights.refuses_stream(who, opening.service)
