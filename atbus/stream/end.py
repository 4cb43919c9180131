"""
One end of a stream: what may be sent, what has come, and how it ends.

A stream is two directions. Each is counted from its first byte; what comes has to follow what came
before, or bytes are missing and the stream is reset: it never goes on as if nothing had happened.

    opening --accepted--> open --both closed, everything read--> ended
    offered --accept----> open --reset by either end, or lost--> ended

1. Nobody sends beyond the *limit* that the other end has given. That moves on as its program takes
   what came: a program that takes nothing stops one stream and nothing else.
2. To *finish* is to send nothing more; the other direction goes on. To *leave* is to finish, and
   to want nothing more: what still comes is let go.
3. The program hears of a good end when the other one has read everything that it was sent, not
   when it was sent.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from atbus.errors import Status
from atbus.stream import bounds
from atbus.stream.effects import (
    Drained,
    Due,
    Effect,
    Ended,
    Finished,
    Key,
    Offered,
    Opened,
    Received,
    Said,
    Send,
)
from atbus.wire.messages import (
    Message,
    StreamClose,
    StreamCredit,
    StreamData,
    StreamHalfClose,
    StreamOpen,
    StreamReset,
)


class State(enum.Enum):
    """Where one end is in its life."""

    OPENING = "opening"
    OFFERED = "offered"
    OPEN = "open"
    ENDED = "ended"


class StreamEnd:
    """
    One end of one stream; inputs are its methods, each returns what is to be done.

    :param key: Its name.
    :param now: Seconds.
    :param seconds: How long it may take until it is accepted.
    """

    __slots__ = (
        "_close_sent", "_consumed", "_first_limit", "_given", "_is_due", "_leaves", "_limit",
        "_linger_until", "_open_until", "_peer_closed", "_peer_final", "_reading", "_received",
        "_said_end", "_sent", "_told", "_told_finished", "_unread", "_unsent", "_wants_end",
        "epoch", "heard_at", "held", "key", "said_at", "service", "state",
    )  # fmt: skip

    def __init__(self, key: Key, now: float, seconds: float = bounds.OPEN_SECONDS) -> None:
        self.key = key
        self.state = State.OPENING if key.ours else State.OFFERED
        self.service = ""
        #: The other node's incarnation; None until it has said something.
        self.epoch: int | None = None
        self.heard_at = self.said_at = now
        #: Whether the way to the other node takes nothing at the moment.
        self.held = False
        self._open_until = now + seconds
        self._linger_until: float | None = None
        # What we send.
        self._unsent = bytearray()
        self._sent = self._limit = self._first_limit = 0
        self._wants_end = self._said_end = self._leaves = False
        # What comes.
        self._unread = bytearray()
        self._received = self._consumed = self._given = 0
        self._peer_final: int | None = None
        self._reading = True
        self._told_finished = False
        # How it ends.
        self._close_sent = self._peer_closed = self._told = False
        self._is_due = False

    @property
    def unsent_bytes(self) -> int:
        """What the program has written and the other end has not asked for yet."""
        return len(self._unsent)

    @property
    def unread_bytes(self) -> int:
        """What has come and the program does not want yet."""
        return len(self._unread)

    def _say(self, message: Callable[..., Message], **fields: Any) -> Send:
        key = self.key
        return Send(
            key,
            message(
                destination=key.peer,
                sequence=key.sequence,
                stream_id=key.stream_id,
                from_opener=key.ours,
                **fields,
            ),
        )

    # What the program does.

    def open(self, service: str) -> list[Effect]:
        """Ask the other node for a stream to one of its services."""
        key = self.key
        self.service = service
        self._given = bounds.WINDOW_BYTES
        opening = StreamOpen(
            destination=key.peer,
            sequence=key.sequence,
            stream_id=key.stream_id,
            service=service,
            credit=self._given,
        )
        return [Send(key, opening)]

    def accept(self) -> list[Effect]:
        """Take a stream that was offered."""
        if self.state is not State.OFFERED:
            return []
        self.state = State.OPEN
        self._given = bounds.WINDOW_BYTES
        return [self._say(StreamCredit, limit=self._given), *self._due()]

    def write(self, data: bytes) -> list[Effect]:
        """Send bytes, as far as the other end lets us; nothing is sent after `finish`."""
        if self._wants_end or self.state is State.ENDED or not data:
            return []
        self._unsent += data
        if len(self._unsent) > bounds.UNSENT_BYTES_MAX:
            return self.fail(Status.BUFFER_LIMIT, "more is written than may wait")
        return self._due()

    def finish(self) -> list[Effect]:
        """Send nothing more than what was written."""
        self._wants_end = True
        return self._due()

    def leave(self) -> list[Effect]:
        """Send what was written, want nothing more, and end."""
        self._wants_end = self._leaves = True
        self._consumed = self._received
        self._unread.clear()
        return self._due()

    def pause(self) -> None:
        """Keep what comes, until `resume`."""
        self._reading = False

    def resume(self) -> list[Effect]:
        """Give the program what was kept, and what comes."""
        self._reading = True
        if self._leaves:
            return []
        effects: list[Effect] = []
        if self._unread:
            data = bytes(self._unread)
            self._unread.clear()
            effects += [Received(self.key, data), *self._consume(len(data))]
        if self._peer_final is not None:
            # The program may pause again before it hears that there is no more.
            effects += self._due()
        return effects

    def fail(self, status: Status, detail: str = "") -> list[Effect]:
        """End at once, at both ends."""
        if self.state is State.ENDED:
            return []
        return [self._say(StreamReset, status=status, detail=detail), *self._end(status, detail)]

    def _due(self) -> list[Effect]:
        if self._is_due or self.state is State.ENDED:
            return []
        self._is_due = True
        return [Due(self.key)]

    # What is due at the end of a turn.

    def go_on(self, now: float) -> list[Effect]:
        """Send what may be sent, and say what may be said."""
        self._is_due = False
        if self.state is not State.OPEN:
            return []
        effects: list[Effect] = []
        if not self.held:
            effects += self._send_data()
            if self._wants_end and not self._unsent and not self._said_end:
                self._said_end = True
                effects.append(self._say(StreamHalfClose, final_offset=self._sent))
                effects.append(Said(self.key))
        effects += self._tell_finished()
        return effects + self._look_for_the_end(now)

    def _send_data(self) -> list[Effect]:
        effects: list[Effect] = []
        unsent = self._unsent
        was = len(unsent)
        # A limit that is far away must not let one stream fill all queues in one turn.
        room = min(self._limit - self._sent, bounds.WINDOW_BYTES)
        while unsent and room > 0:
            data = bytes(unsent[: min(room, bounds.CHUNK_BYTES)])
            del unsent[: len(data)]
            effects.append(self._say(StreamData, offset=self._sent, data=data))
            self._sent += len(data)
            room -= len(data)
        if unsent and self._sent < self._limit:
            effects += self._due()
        if was > len(unsent) <= bounds.UNSENT_BYTES // 2:
            effects.append(Drained(self.key))
        return effects

    def _tell_finished(self) -> list[Effect]:
        if self._peer_final is None or self._told_finished or self._leaves:
            return []
        if self._unread or not self._reading or self.state is not State.OPEN:
            return []
        self._told_finished = True
        # That everything was read is told now, not when the window is half used.
        return [*self._give(self._consumed + bounds.WINDOW_BYTES), Finished(self.key)]

    @property
    def _is_all_read(self) -> bool:
        """Whether the other end's program has taken everything that was sent."""
        return self._peer_closed or self._limit - self._first_limit >= self._sent

    def _look_for_the_end(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if not self._said_end:
            return effects
        is_read = self._leaves or self._told_finished
        if self._peer_final is not None and is_read and not self._close_sent:
            self._close_sent = True
            effects.append(self._say(StreamClose))
        if not self._told and self._is_all_read and (self._leaves or self._close_sent):
            self._told = True
            effects.append(Ended(self.key, Status.OK))
        if self._close_sent and self._peer_closed:
            self.state = State.ENDED
        elif self._told and self._linger_until is None:
            self._linger_until = now + bounds.LINGER_SECONDS
        return effects

    # What the other end does.

    def receive(self, message: Message, now: float) -> list[Effect]:
        """
        Take a message about this stream from the other end.

        :param message: Not an opening.
        :param now: Seconds.
        """
        self.heard_at = now
        match message:
            case StreamReset():
                return self._end(message.status, message.detail)
            case StreamCredit():
                effects = self._credited(message.limit)
            case _ if self.state is State.OPENING:
                effects = self._breach("before the stream is accepted")
            case StreamData():
                effects = self._data(message.offset, message.data)
            case StreamHalfClose():
                effects = self._finished(message.final_offset)
            case StreamClose():
                effects = self._closed()
            case _:
                effects = self._breach("a stream is opened twice")
        return effects + (self._look_for_the_end(now) if self.state is State.OPEN else [])

    def offered(self, service: str, credit: int) -> list[Effect]:
        """Take the word that the other end opens this stream."""
        self.service = service
        self._limit = self._first_limit = credit
        return [Offered(self.key, service)]

    def _credited(self, limit: int) -> list[Effect]:
        if self.state is State.OPENING:
            self.state = State.OPEN
            self._limit = self._first_limit = limit
            return [Opened(self.key), *self._due()]
        if limit < self._limit:
            return self._breach(f"a limit of {limit} after one of {self._limit}")
        self._limit = limit
        return self._due() if self._unsent else []

    def _data(self, offset: int, data: bytes) -> list[Effect]:
        if self._peer_final is not None:
            return self._breach("data after the end")
        if offset != self._received:
            return self._gap(offset)
        if offset + len(data) > self._given:
            return self._breach(f"{offset + len(data)} bytes, the limit is {self._given}")
        self._received += len(data)
        if self._leaves:
            # Nobody wants it. What was on its way is let go, more is not asked for.
            if self._received == self._given:
                return self.fail(Status.DISCONNECTED, "the other end has left")
            return []
        if not self._reading or self._unread:
            self._unread += data
            return []
        return [Received(self.key, data), *self._consume(len(data))]

    def _consume(self, size_bytes: int) -> list[Effect]:
        self._consumed += size_bytes
        limit = self._consumed + bounds.WINDOW_BYTES
        return self._give(limit) if limit - self._given >= bounds.WINDOW_BYTES // 2 else []

    def _give(self, limit: int) -> list[Effect]:
        if limit <= self._given:
            return []
        self._given = limit
        return [self._say(StreamCredit, limit=limit)]

    def _finished(self, final_offset: int) -> list[Effect]:
        if self._peer_final is not None:
            return self._breach("a second end")
        if final_offset != self._received:
            return self._gap(final_offset)
        self._peer_final = final_offset
        return self._tell_finished()

    def _closed(self) -> list[Effect]:
        if self._peer_final is None or not self._said_end:
            return self._breach("closed before both directions are")
        self._peer_closed = True
        return []

    def _gap(self, offset: int) -> list[Effect]:
        if offset < self._received:
            return self._breach(f"offset {offset} after {self._received}")
        return self.fail(Status.UNCERTAIN, f"{offset - self._received} bytes are missing")

    def _breach(self, detail: str) -> list[Effect]:
        return self.fail(Status.OUT_OF_TURN, detail)

    # What happens to it.

    def tick(self, now: float) -> list[Effect]:
        """Look at the time."""
        if self.state in (State.OPENING, State.OFFERED):
            if now >= self._open_until:
                return self.fail(Status.TIMEOUT, "the stream was not accepted in time")
            return []
        if self._linger_until is not None and now >= self._linger_until:
            return self.fail(Status.DISCONNECTED, "the other end has left")
        if now - self.heard_at >= bounds.SILENCE_SECONDS:
            return self.fail(Status.TIMEOUT, "nothing was heard of the other end")
        if now - self.said_at >= bounds.PROBE_SECONDS:
            return self.probe()
        return []

    def probe(self) -> list[Effect]:
        """Say that this end is there: what becomes of the word tells whether the other one is."""
        if self.state is not State.OPEN:
            return []
        return [self._say(StreamCredit, limit=self._given)]

    def _end(self, status: Status, detail: str) -> list[Effect]:
        self.state = State.ENDED
        self._unsent.clear()
        self._unread.clear()
        if self._told:
            return []
        self._told = True
        return [Ended(self.key, status, detail)]
