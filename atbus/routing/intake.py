"""
How fast what one neighbor tells of nodes is read.

1. Each word costs a token, a message without words costs one too. A message is read while there is
   one; what it costs beyond that is paid before the next one. Tokens come back with time.
2. What is not read yet waits, in order. It is read later, and nothing is lost by it. A batch that
   is longer than what is read in one turn is read in parts; its records are looked into when they
   are read. What cannot be read as records has ended the connection before.
3. When more waits than a full table has, all of it is thrown away, and whatever comes then. When
   all tokens are back, the neighbor is asked for everything anew: how things are at that moment.
4. What waits of all neighbors shares its memory (`Shelf`): each may have as much as is left for all
   others. Who has half of that is to be read less often, before anything has to be thrown away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import attrs

from atbus.routing import bounds
from atbus.routing.batch import Batch, from_message, kept_bytes
from atbus.routing.bounds import ROUTE_WORDS_IN_TURN
from atbus.routing.turn import Turn
from atbus.wire.messages import RouteBatch, SubscribeResponse

Told: TypeAlias = SubscribeResponse | Batch | RouteBatch


@attrs.frozen
class _Unread:
    """
    Records that nobody has looked into.

    :param message: Those that are read together.
    :param continues: Whether this is more of the batch before it.
    """

    message: RouteBatch
    continues: bool

    def read(self) -> Batch:
        """Look into the records."""
        batch, faults = from_message(self.message)
        return attrs.evolve(batch, continues=self.continues, faults=len(faults))


@attrs.define(eq=False)
class Shelf:
    """
    The memory for what waits of all neighbors.

    :param bytes_max: How much that is.
    """

    bytes_max: int = bounds.ROUTE_WAITING_BYTES
    held_bytes: int = attrs.field(default=0, init=False)

    @property
    def allowed_bytes(self) -> int:
        """How much one neighbor may have."""
        return max(self.bytes_max - self.held_bytes, bounds.ROUTE_WAITING_BYTES_LEAST)


@attrs.define(eq=False)
class Intake:
    """
    What one neighbor has told and nobody has read.

    :param burst: Tokens, when all are there.
    :param rate: Tokens that come back in a second.
    :param waiting_max: Words that may wait.
    :param shelf: Shared with all neighbors of a node.
    """

    burst: int = attrs.field(default=bounds.ROUTE_WORDS_BURST, validator=attrs.validators.ge(1))
    rate: float = attrs.field(
        default=bounds.ROUTE_WORDS_PER_SECOND, validator=attrs.validators.gt(0)
    )
    waiting_max: int = bounds.ROUTE_WORDS_WAITING_MAX
    shelf: Shelf = attrs.field(factory=Shelf)
    #: Whether too much came, so that everything is to be asked for anew at `deadline`.
    flooded: bool = attrs.field(default=False, init=False)
    #: Whether the neighbor has been named, and has not had all its tokens back since.
    _named: bool = attrs.field(default=False, init=False)
    # When all tokens are back.
    _paid_at: float = attrs.field(default=float("-inf"), init=False)
    # None while nothing does: an empty deque would be a good part of what an idle neighbor costs.
    _waiting: deque[SubscribeResponse | Batch | _Unread] | None = attrs.field(
        default=None, init=False, repr=False
    )
    _waiting_cost: int = attrs.field(default=0, init=False)
    _waiting_bytes: int = attrs.field(default=0, init=False)

    @property
    def waits(self) -> bool:
        """Whether something was told that has not been read, or was thrown away."""
        return self.flooded or bool(self._waiting)

    @property
    def deadline(self) -> float | None:
        """When more can be read, seconds; None when nothing waits."""
        if self.flooded:
            return self._paid_at
        return self._readable_at if self._waiting else None

    def is_late(self, now: float) -> bool:
        """
        Tell whether what waits has come faster than it may.

        :param now: The time, seconds.
        :returns: False also for what waits for the next turn only.
        """
        return self.flooded or (self._waiting is not None and now < self._readable_at)

    @property
    def is_long(self) -> bool:
        """Whether so much waits that the neighbor had better tell no more for a while."""
        return self.flooded or self._waiting_bytes * 2 > self.shelf.allowed_bytes

    @property
    def _readable_at(self) -> float:
        return self._paid_at - (self.burst - 1) / self.rate

    def put(self, message: Told) -> int:
        """
        Take what has arrived; `read` gives it out.

        :param message: What was told.
        :returns: How many words were thrown away, for they are too many.
        """
        if not self.flooded:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.extend(_parts(message))
            self._waiting_cost += _cost(message)
            self._hold(_size_bytes(message))
            fits = self._waiting_cost <= self.waiting_max or len(self._waiting) == 1
            if fits and self._waiting_bytes <= self.shelf.allowed_bytes:
                return 0
            self.flooded = True
            return self._drop()
        return _cost(message)

    def read(self, now: float, turn: Turn) -> Iterator[SubscribeResponse | Batch]:
        """
        Give out what may be read now, in order.

        :param now: The time, seconds.
        :param turn: How much may be read in it, by all.
        :returns: The messages.
        """
        while self._waiting and not turn.is_over and now >= self._readable_at:
            message = self._waiting.popleft()
            self._waiting = self._waiting or None
            told = message.message if isinstance(message, _Unread) else message
            cost = _cost(told)
            self._waiting_cost -= cost
            self._hold(-_size_bytes(told))
            turn.spend(cost)
            if now >= self._paid_at:
                self._named = False
            self._paid_at = max(self._paid_at, now) + cost / self.rate
            yield message.read() if isinstance(message, _Unread) else message

    def name(self) -> bool:
        """
        Note that something had to wait.

        :returns: Whether the neighbor is to be named now.
        """
        was_named, self._named = self._named, True
        return not was_named

    def begins_anew(self, now: float) -> bool:
        """
        Tell once, when all tokens are back after too much came.

        :param now: The time, seconds.
        :returns: Whether the neighbor is to be asked for everything now.
        """
        if not self.flooded or now < self._paid_at:
            return False
        self.begin()
        return True

    def begin(self) -> None:
        """Forget what waits: everything is told anew."""
        self._drop()
        self.flooded = False

    def _drop(self) -> int:
        cost, self._waiting_cost = self._waiting_cost, 0
        self._hold(-self._waiting_bytes)
        self._waiting = None
        return cost

    def _hold(self, size_bytes: int) -> None:
        self._waiting_bytes += size_bytes
        self.shelf.held_bytes += size_bytes


def _parts(message: Told) -> Iterator[SubscribeResponse | Batch | _Unread]:
    """Split a batch that is too much for one turn."""
    size = ROUTE_WORDS_IN_TURN
    if isinstance(message, RouteBatch):
        for at in range(0, len(message.records) or 1, size):
            is_last = message.last and at + size >= len(message.records)
            records = message.records[at : at + size]
            yield _Unread(attrs.evolve(message, records=records, last=is_last), at > 0)
    elif isinstance(message, Batch) and len(message.words) > size:
        words = message.words
        for at in range(0, len(words), size):
            is_last = message.last and at + size >= len(words)
            part = words[at : at + size]
            yield attrs.evolve(message, words=part, last=is_last, continues=at > 0)
    else:
        yield message


def _size_bytes(message: Told) -> int:
    match message:
        case RouteBatch(records=records):
            return sum(map(kept_bytes, records))
        case Batch(words=words):
            return sum(map(kept_bytes, words))
    return 0


def _cost(message: Told) -> int:
    match message:
        case RouteBatch(records=records):
            return max(1, len(records))
        case Batch(words=words):
            return max(1, len(words))
    return 1
