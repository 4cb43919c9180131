"""
Messages larger than a frame: cut up at the origin, put together at the destination.

A message travels as FRAGMENTs of its flow, in order and on one channel. So at most one message of
a flow is under way at a time, each fragment begins where the last one ended, and whatever does not
fit means that something between them was lost: the message is given up, once, with its name.
Whatever still comes of a message that has ended, whole or lost, is ignored.

1. Nothing is allocated on the word of a length: bytes are kept as they arrive. But the *room* is
   reserved by the total that the first fragment announces, so that a message once begun is never
   given up for want of room.
2. Room is bounded per source and in all, and so is the number of messages under way.
3. A message without progress is given up after a while: its origin or a relay may be gone.
4. A fragment that contradicts itself was never made by a node that keeps the protocol: that is a
   breach, not a loss.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

import attrs

from atbus import limits
from atbus.errors import LocalProtocolError, MalformedFrame, Status

#: What tells flows apart: source, destination, epoch of the source.
FlowKey: TypeAlias = tuple[int, int, int]


@attrs.frozen
class Whole:
    """
    A message that is complete.

    :param flow: Its flow.
    :param sequence: Its sequence in the flow.
    :param kind: The application's number.
    :param payload: All of it.
    """

    flow: FlowKey
    sequence: int
    kind: int
    payload: bytes = attrs.field(repr=False)


@attrs.frozen
class Lost:
    """
    A message that will never be complete; answer it with this status.

    :param flow: Its flow.
    :param sequence: Its sequence in the flow.
    :param status: Why: `Status.FRAGMENT_LOST`, `Status.MESSAGE_TOO_LARGE`, `Status.BUFFER_LIMIT`
        or `Status.TIMEOUT`.
    """

    flow: FlowKey
    sequence: int
    status: Status


Outcome: TypeAlias = Whole | Lost


# Whoever sends byte by byte must not make us keep an object for every byte.
_PIECES_KEPT = 64
_PIECE_BYTES = 1024


@attrs.define(eq=False)
class _Partial:
    """A message under way: its pieces, which are joined once."""

    sequence: int
    total: int
    kind: int
    deadline: float
    received_bytes: int = 0
    pieces: list[bytes | memoryview] = attrs.field(factory=list, repr=False)

    def take(self, piece: bytes | memoryview) -> None:
        """Add the next piece."""
        self.pieces.append(piece)
        self.received_bytes += len(piece)
        if len(self.pieces) > _PIECES_KEPT + self.received_bytes // _PIECE_BYTES:
            self.pieces = [b"".join(self.pieces)]

    def whole(self) -> bytes:
        """Join the pieces; where all are views of one object, cut in this process, it is that."""
        source = getattr(self.pieces[0], "obj", None)
        if (
            type(source) is bytes
            and len(source) == self.total
            and all(getattr(piece, "obj", None) is source for piece in self.pieces)
        ):
            return source
        return b"".join(self.pieces)


def split(payload: bytes | memoryview, room: int) -> list[tuple[int, memoryview]]:
    """
    Cut a payload into pieces that fit into frames.

    :param payload: What to cut.
    :param room: How many bytes of it one frame takes.
    :returns: Offsets and pieces, in order; one empty piece for an empty payload. A piece is a view
        of the payload: its bytes are copied when it becomes a frame, and only then.
    :raises LocalProtocolError: if there is no room at all.
    """
    if room < 1:
        raise LocalProtocolError(f"a fragment needs room for at least one byte, not {room}")
    whole = memoryview(payload)
    return [(at, whole[at : at + room]) for at in range(0, max(1, len(payload)), room)]


def room_bytes(message_bytes_max: int, queued_bytes_max: int) -> int:
    """
    Tell how much memory messages in fragments have, those of one kind together.

    :param message_bytes_max: How large a message may be, bytes. One of them fits in any case.
    :param queued_bytes_max: What the node may queue, bytes: all together have half of it.
    :returns: Bytes.
    """
    return max(min(limits.REASSEMBLY_BYTES_MAX, queued_bytes_max // 2), message_bytes_max)


@attrs.define(eq=False)
class Reassembly:
    """
    The messages under way to this node.

    :param bytes_max: How many bytes all of them together may need.
    :param source_bytes_max: How many bytes those of one source may need.
    :param message_bytes_max: How large a message may be.
    :param count_max: How many messages may be under way. Of as many flows it is remembered which
        message ended last.
    :param seconds: How long one may make no progress.
    """

    bytes_max: int
    source_bytes_max: int = attrs.field(kw_only=True)
    message_bytes_max: int = attrs.field(kw_only=True)
    count_max: int = attrs.field(kw_only=True)
    seconds: float = attrs.field(kw_only=True)
    #: How many bytes the messages under way need when they are complete.
    reserved_bytes: int = attrs.field(default=0, init=False)
    # Least recent progress first, so that the first one is the first to expire.
    _partials: OrderedDict[FlowKey, _Partial] = attrs.field(
        factory=OrderedDict, init=False, repr=False
    )
    _reserved_by_source: dict[int, int] = attrs.field(factory=dict, init=False, repr=False)
    # Flow -> the message that ended last, whole or lost; least recent first.
    _ended: OrderedDict[FlowKey, int] = attrs.field(factory=OrderedDict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._partials)

    def resize(self, message_bytes_max: int, queued_bytes_max: int) -> None:
        """
        Have as much room as a node has that may queue so much; what is under way stays.

        :param message_bytes_max: How large a message may be. One of them fits in any case.
        :param queued_bytes_max: What the node may queue, bytes: all together have half of it.
        """
        self.bytes_max = room_bytes(message_bytes_max, queued_bytes_max)
        shared_bytes = room_bytes(0, queued_bytes_max)
        source_bytes = min(limits.REASSEMBLY_SOURCE_BYTES_MAX, shared_bytes // 4)
        self.message_bytes_max = message_bytes_max
        self.source_bytes_max = max(source_bytes, message_bytes_max)

    @property
    def deadline(self) -> float | None:
        """When to call `expire` next, seconds; None when nothing is under way."""
        for partial in self._partials.values():
            return partial.deadline
        return None

    def add(
        self,
        flow: FlowKey,
        sequence: int,
        *,
        offset: int,
        total: int,
        kind: int,
        payload: bytes | memoryview,
        now: float,
    ) -> list[Outcome]:
        """
        Take in a fragment.

        :param flow: Its flow.
        :param sequence: The sequence of the message it belongs to.
        :param offset: Where in the message it begins, bytes.
        :param total: How long the message is, bytes.
        :param kind: The application's number.
        :param payload: The bytes of the fragment; kept until the message is whole.
        :param now: The time, seconds.
        :returns: What became of messages by this: usually nothing. An older message that this
            one shows to be lost comes before the newer one's outcome.
        :raises MalformedFrame: if the fragment reaches beyond its message or brings nothing.
        """
        end = offset + len(payload)
        if end > total or (total and not payload):
            raise MalformedFrame(f"a fragment of bytes {offset} to {end} of {total}")
        partial = self._partials.get(flow)
        if partial is None or partial.sequence != sequence:
            outcomes = self.interrupt(flow)
            if self._ended.get(flow) == sequence:
                return outcomes
            status = self._begin(flow, _Partial(sequence, total, kind, now), offset)
            if status is not None:
                return [*outcomes, self._give_up(flow, sequence, status)]
        else:
            outcomes = []
            if (offset, total, kind) != (partial.received_bytes, partial.total, partial.kind):
                return self.interrupt(flow)
        outcomes.extend(self._extend(flow, payload, now))
        return outcomes

    def interrupt(self, flow: FlowKey) -> list[Outcome]:
        """
        Give up the message of a flow that is under way, because something else of the flow came.

        :param flow: The flow.
        :returns: The loss, if a message was under way.
        """
        partial = self._remove(flow)
        if partial is None:
            return []
        return [self._give_up(flow, partial.sequence, Status.FRAGMENT_LOST)]

    def expire(self, now: float) -> list[Outcome]:
        """
        Give up the messages that made no progress for too long.

        :param now: The time, seconds.
        :returns: The losses, the longest waiting first.
        """
        late: list[tuple[FlowKey, int]] = []
        for flow, partial in self._partials.items():
            if partial.deadline > now:
                break
            late.append((flow, partial.sequence))
        for flow, _ in late:
            self._remove(flow)
        return [self._give_up(flow, sequence, Status.TIMEOUT) for flow, sequence in late]

    def forget(self, source: int) -> list[tuple[FlowKey, int]]:
        """
        Drop everything of a source that is gone, or that begins anew with another epoch.

        :param source: The bus id.
        :returns: Flow and sequence of each message abandoned.
        """
        abandoned = [
            (flow, partial.sequence)
            for flow, partial in self._partials.items()
            if flow[0] == source
        ]
        for flow, _ in abandoned:
            self._remove(flow)
        for flow in [flow for flow in self._ended if flow[0] == source]:
            del self._ended[flow]
        return abandoned

    def _begin(self, flow: FlowKey, partial: _Partial, offset: int) -> Status | None:
        """Reserve room for a message, or say why it cannot be taken."""
        total = partial.total
        reserved_by_source = self._reserved_by_source.get(flow[0], 0) + total
        if offset:
            return Status.FRAGMENT_LOST
        if total > self.message_bytes_max:
            return Status.MESSAGE_TOO_LARGE
        if (
            reserved_by_source > self.source_bytes_max
            or self.reserved_bytes + total > self.bytes_max
            or len(self._partials) >= self.count_max
        ):
            return Status.BUFFER_LIMIT
        self.reserved_bytes += total
        self._reserved_by_source[flow[0]] = reserved_by_source
        self._partials[flow] = partial
        return None

    def _extend(self, flow: FlowKey, payload: bytes | memoryview, now: float) -> list[Outcome]:
        partial = self._partials[flow]
        partial.take(payload)
        if partial.received_bytes < partial.total:
            partial.deadline = now + self.seconds
            self._partials.move_to_end(flow)
            return []
        self._remove(flow)
        self._remember(flow, partial.sequence)
        return [Whole(flow, partial.sequence, partial.kind, partial.whole())]

    def _remove(self, flow: FlowKey) -> _Partial | None:
        partial = self._partials.pop(flow, None)
        if partial is not None:
            self.reserved_bytes -= partial.total
            left = self._reserved_by_source[flow[0]] - partial.total
            if left:
                self._reserved_by_source[flow[0]] = left
            else:
                del self._reserved_by_source[flow[0]]
        return partial

    def _give_up(self, flow: FlowKey, sequence: int, status: Status) -> Lost:
        self._remember(flow, sequence)
        return Lost(flow, sequence, status)

    def _remember(self, flow: FlowKey, sequence: int) -> None:
        """Note that a message has ended, so that whatever else comes of it is ignored."""
        self._ended[flow] = sequence
        self._ended.move_to_end(flow)
        if len(self._ended) > self.count_max:
            self._ended.popitem(last=False)
