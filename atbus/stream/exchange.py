"""
All streams of one node: who has how many, which frame is about which, and what ends them.

Nothing is believed for good. A stream ends, at both ends and with the reason, when one of its
frames was refused or may be lost, when the other node is another incarnation than the one that it
began with, and when nothing is heard any more. To hear something, each end says now and then that
it is there.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from atbus.errors import Status
from atbus.stream import bounds
from atbus.stream.effects import Effect, Ended, Key, Send
from atbus.stream.end import State, StreamEnd
from atbus.wire.messages import (
    Message,
    StreamClose,
    StreamCredit,
    StreamData,
    StreamHalfClose,
    StreamOpen,
    StreamReset,
)

# Numbers of streams of two lives of a node are far from each other.
_SPREAD: Final = 0x9E3779B1

_ABOUT_ONE: Final = (StreamData, StreamCredit, StreamHalfClose, StreamClose, StreamReset)


class Exchange:
    """
    The ends of streams that are at one node.

    Inputs are its methods; each returns what is to be done, in order. `deadline` says when `tick`
    is to be called.

    :param epoch: The node's incarnation: its streams are numbered from another place in each.
    """

    def __init__(self, epoch: int) -> None:
        self._next_id = (epoch * _SPREAD) % bounds.STREAM_ID_MAX
        self._ends: dict[Key, StreamEnd] = {}
        self._per_peer: Counter[int] = Counter()
        self._held: set[int] = set()
        # Streams that have ended here; the other end may not have heard of it yet.
        self._ended: OrderedDict[Key, None] = OrderedDict()
        self._look_at: float | None = None

    def __len__(self) -> int:
        return len(self._ends)

    def __contains__(self, key: object) -> bool:
        return key in self._ends

    @property
    def held_bytes(self) -> int:
        """What waits at the ends, to be sent or to be read."""
        return sum(end.unsent_bytes + end.unread_bytes for end in self._ends.values())

    @property
    def deadline(self) -> float | None:
        """When to call `tick`; None while there is no stream."""
        return self._look_at if self._ends else None

    # What programs do.

    def open(
        self, peer: int, service: str, now: float, seconds: float = bounds.OPEN_SECONDS
    ) -> tuple[Key, list[Effect]]:
        """
        Open a stream.

        :param peer: Bus id of the node.
        :param service: What its service is called.
        :param seconds: How long it may take until it is accepted.
        :returns: Its name; an `Ended` among the effects says that it cannot be opened.
        """
        key = self._new_key(peer)
        full = self._fullness(peer)
        if full:
            return key, [Ended(key, Status.OVERLOADED, full)]
        end = self._add(StreamEnd(key, now, seconds), now)
        return key, self._after(end, end.open(service), now)

    def _new_key(self, peer: int) -> Key:
        while True:
            self._next_id = self._next_id % bounds.STREAM_ID_MAX + 1
            key = Key(peer, ours=True, stream_id=self._next_id)
            if key not in self._ends and key not in self._ended:
                return key

    def _fullness(self, peer: int) -> str:
        if self._per_peer[peer] >= bounds.STREAMS_PER_PEER_MAX:
            return f"{bounds.STREAMS_PER_PEER_MAX} streams between two nodes"
        if len(self._ends) >= bounds.STREAMS_MAX:
            return f"{bounds.STREAMS_MAX} streams of one node"
        return ""

    def accept(self, key: Key, now: float) -> list[Effect]:
        """Take a stream that was offered."""
        return self._do(key, now, StreamEnd.accept)

    def refuse(self, key: Key, status: Status, detail: str, now: float) -> list[Effect]:
        """End a stream at once, at both ends: offered, opening or open."""
        return self._do(key, now, lambda end: end.fail(status, detail))

    def write(self, key: Key, data: bytes, now: float) -> list[Effect]:
        """Send bytes."""
        return self._do(key, now, lambda end: end.write(data))

    def finish(self, key: Key, now: float) -> list[Effect]:
        """Send nothing more than what was written."""
        return self._do(key, now, StreamEnd.finish)

    def leave(self, key: Key, now: float) -> list[Effect]:
        """Send what was written, want nothing more, and end."""
        return self._do(key, now, StreamEnd.leave)

    def pause(self, key: Key) -> None:
        """Keep what comes, until `resume`."""
        end = self._ends.get(key)
        if end is not None:
            end.pause()

    def resume(self, key: Key, now: float) -> list[Effect]:
        """Give the program what was kept, and what comes."""
        return self._do(key, now, StreamEnd.resume)

    def go_on(self, key: Key, now: float) -> list[Effect]:
        """Do what a `Due` has asked for."""
        return self._do(key, now, lambda end: end.go_on(now))

    def unsent_bytes(self, key: Key) -> int:
        """Tell what a program has written and the other end has not asked for yet."""
        end = self._ends.get(key)
        return 0 if end is None else end.unsent_bytes

    def service_of(self, key: Key) -> str:
        """Tell what the service of a stream is called; nothing when there is no such stream."""
        end = self._ends.get(key)
        return "" if end is None else end.service

    @property
    def open_keys(self) -> tuple[Key, ...]:
        """The names of all streams."""
        return tuple(self._ends)

    # What comes from the bus.

    def receive(self, message: Message, now: float) -> list[Effect]:
        """
        Take a message of another node about one of the streams between it and this one.

        :param message: As it came; its source is believed.
        :param now: Seconds.
        """
        if isinstance(message, StreamOpen):
            return self._opened(message, now)
        if not isinstance(message, _ABOUT_ONE):
            return []
        key = Key(message.source, not message.from_opener, message.stream_id)
        end = self._ends.get(key)
        if end is None:
            return self._about_nothing(key, message)
        if end.epoch is None:
            end.epoch = message.epoch
        if message.epoch != end.epoch:
            if message.epoch < end.epoch:
                # Of an earlier life, and late.
                return []
            effects = self._after(end, _restarted(end), now)
            return effects + self._about_nothing(key, message)
        return self._after(end, end.receive(message, now), now)

    def _about_nothing(self, key: Key, message: Message) -> list[Effect]:
        """Answer a message about a stream that is not here, unless that is known over there."""
        if isinstance(message, StreamReset | StreamClose) or key in self._ended:
            return []
        return [_reset(key, Status.UNKNOWN_ENDPOINT, "no such stream")]

    def _opened(self, message: StreamOpen, now: float) -> list[Effect]:
        key = Key(message.source, ours=False, stream_id=message.stream_id)
        effects: list[Effect] = []
        for other in self._with(key.peer):
            if other.epoch is not None and other.epoch < message.epoch:
                effects += self._after(other, _restarted(other), now)
        known = self._ends.get(key)
        if known is not None:
            return effects + self._after(known, known.receive(message, now), now)
        fault = _fault_of(message)
        if fault:
            return [*effects, _reset(key, Status.MALFORMED_FRAME, fault)]
        full = self._fullness(key.peer)
        if full:
            return [*effects, _reset(key, Status.OVERLOADED, full)]
        self._ended.pop(key, None)
        end = self._add(StreamEnd(key, now), now)
        end.epoch = message.epoch
        return effects + end.offered(message.service, message.credit)

    def told(
        self, peer: int, sequence: int, status: Status, detail: str, now: float
    ) -> list[Effect]:
        """
        Learn that a frame of one of the streams did not arrive, or perhaps did not.

        :param peer: Whom it was sent to.
        :param sequence: What stood in its head.
        :param status: Why.
        :param detail: The same in words.
        """
        key = Key.of(peer, sequence)
        return self._do(key, now, lambda end: end.fail(status, detail))

    def lost(self, peer: int, status: Status, detail: str, now: float) -> list[Effect]:
        """End all streams with a node."""
        effects: list[Effect] = []
        for end in self._with(peer):
            effects += self._after(end, end.fail(status, detail), now)
        return effects

    def probe(self, peer: int, now: float) -> list[Effect]:
        """Ask a node at once whether it still knows the streams with it."""
        return [
            effect for end in self._with(peer) for effect in self._after(end, end.probe(), now)
        ]

    def hold(self, peer: int) -> None:
        """Send no bytes to a node until `release`."""
        self._held.add(peer)
        for end in self._with(peer):
            end.held = True

    def release(self, peer: int, now: float) -> list[Effect]:
        """Send bytes to a node again."""
        self._held.discard(peer)
        effects: list[Effect] = []
        for end in self._with(peer):
            end.held = False
            effects += self._after(end, end.go_on(now), now)
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Look at the time."""
        effects: list[Effect] = []
        for end in list(self._ends.values()):
            effects += self._after(end, end.tick(now), now)
        self._look_at = now + bounds.LOOK_SECONDS
        return effects

    def close(self, status: Status, detail: str, now: float) -> list[Effect]:
        """End all streams: the node stops."""
        effects: list[Effect] = []
        for end in list(self._ends.values()):
            effects += self._after(end, end.fail(status, detail), now)
        self._ended.clear()
        return effects

    # Inside.

    def _with(self, peer: int) -> list[StreamEnd]:
        if not self._per_peer[peer]:
            return []
        return [end for end in self._ends.values() if end.key.peer == peer]

    def _add(self, end: StreamEnd, now: float) -> StreamEnd:
        if not self._ends:
            self._look_at = now + bounds.LOOK_SECONDS
        end.held = end.key.peer in self._held
        self._ends[end.key] = end
        self._per_peer[end.key.peer] += 1
        return end

    def _do(
        self, key: Key, now: float, act: Callable[[StreamEnd], list[Effect]]
    ) -> list[Effect]:
        end = self._ends.get(key)
        return [] if end is None else self._after(end, act(end), now)

    def _after(self, end: StreamEnd, effects: list[Effect], now: float) -> list[Effect]:
        """Note what an end has said, and whether it is one no longer."""
        if _has_said(effects):
            end.said_at = now
        if end.state is State.ENDED and self._ends.pop(end.key, None) is not None:
            peer = end.key.peer
            self._per_peer[peer] -= 1
            if not self._per_peer[peer]:
                del self._per_peer[peer]
                self._held.discard(peer)
            self._ended[end.key] = None
            if len(self._ended) > bounds.ENDED_MAX:
                self._ended.popitem(last=False)
        return effects


def _has_said(effects: Iterable[Effect]) -> bool:
    return any(isinstance(effect, Send) for effect in effects)


def _restarted(end: StreamEnd) -> list[Effect]:
    """End a stream whose other end was in another life of its node; that knows nothing of it."""
    said = end.fail(Status.UNCERTAIN, "the other node has started again")
    return [effect for effect in said if not isinstance(effect, Send)]


def _reset(key: Key, status: Status, detail: str) -> Send:
    return Send(
        key,
        StreamReset(
            destination=key.peer,
            sequence=key.sequence,
            stream_id=key.stream_id,
            from_opener=key.ours,
            status=status,
            detail=detail,
        ),
    )


def _fault_of(message: StreamOpen) -> str:
    if not 0 < message.stream_id <= bounds.STREAM_ID_MAX:
        return f"a stream with the number {message.stream_id}"
    size = len(message.service.encode())
    if not 0 < size <= bounds.SERVICE_BYTES:
        return f"a service with a name of {size} bytes"
    return ""
