"""
A planned change of path keeps the order of what is on its way.

The old way and the new one differ in length, so a message sent on the new one could arrive before
its predecessor. Therefore, per destination:

1. FLUSH goes down the old way, behind everything that was sent there. Until its answer is back
   nothing is sent to the destination: messages wait, in order, bounded.
2. The destination's FLUSH_ACK, wherever it comes along, says that all has arrived: the new way
   opens and what waited goes first.
3. If the answer takes longer than a second the new way opens all the same, and the order is given
   up. So it is when the old way breaks: what was on it is uncertain anyway, and its link says so.
4. If the new way breaks first, the old one opens again: nothing has left it, so order holds.
5. A better way found meanwhile takes the place of the new one; the FLUSH under way serves it too.
6. Nobody on the new way knows how much has waited, here and at others who change as well, and it
   has said nothing yet of what it can take. So no more than a portion goes at once, with a FLUSH
   behind it; when that is answered twice as much, until nothing waits any more. So TCP begins
   (RFC 5681, section 3.1); and it halves what it sends when it is told that this was too much
   (RFC 3168). Nothing is overtaken meanwhile, so no time is set: a FLUSH arrives, or its link ends.

Whoever holds a gate asks it for every message to the destination: `is_changing`, then `push`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import attrs

from atbus.errors import LocalProtocolError, Status
from atbus.routing.pending import PendingQueue

P = TypeVar("P")
T = TypeVar("T")


@attrs.frozen
class Portion(Generic[T]):
    """
    What goes first of all that has waited.

    :param size_bytes: How many bytes.
    :param count: How many messages.
    :param is_rest: Tells of one whether it is a part of the one before it, and goes with that.
    """

    size_bytes: int
    count: int
    is_rest: Callable[[T], bool] = lambda _: False


@attrs.frozen
class SendFlush(Generic[P]):
    """
    Send FLUSH behind everything that went to the destination before.

    :param destination: Whom it is for.
    :param path: The old way.
    :param token: What the answer repeats.
    """

    destination: int
    path: P
    token: int


@attrs.frozen
class OpenPath(Generic[P, T]):
    """
    Send what waited, then use this way.

    :param destination: Whose way it is.
    :param path: The way that is open from now on.
    :param held: What waited, in order.
    :param status: `Status.OK` when the order is kept. Otherwise it is given up, which is to be
        told: `Status.TIMEOUT` when no answer came, `Status.LINK_LOST` when the old way broke.
    :param is_whole: Whether nothing waits any more. Otherwise this is a portion, and what comes
        later waits behind the rest of it.
    """

    destination: int
    path: P
    held: tuple[T, ...] = attrs.field(repr=False)
    status: Status
    is_whole: bool = True

    @property
    def order_kept(self) -> bool:
        """Whether nothing can overtake what was sent on the old way."""
        return self.status is Status.OK


Effect: TypeAlias = SendFlush[P] | OpenPath[P, T]


@attrs.define(eq=False)
class _Change(Generic[P, T]):
    """
    One destination between two ways, or on its new one while something still waits.

    :param is_opening: Whether a portion has taken the way *old*, and the FLUSH is behind it.
    :param times: How many times the first portion the next one is.
    """

    old: P
    new: P
    token: int
    deadline: float
    held: PendingQueue[T]
    is_opening: bool = False
    times: int = 1

    @property
    def goes_on(self) -> bool:
        """Whether what waits goes the way that has taken the last portion."""
        return self.is_opening and self.old == self.new


@attrs.define(eq=False)
class PathChanges(Generic[P, T]):
    """
    The gates of all destinations whose path is being changed.

    :param bytes_max: How many bytes may wait for one destination.
    :param count_max: How many messages may wait for one destination.
    :param seconds: How long the answer to FLUSH is awaited.
    :param portion: What goes first on a new way; without it all that has waited. With it, `go_on`
        is to be called whenever something still waits.
    """

    bytes_max: int
    count_max: int
    seconds: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    portion: Portion[T] | None = None
    #: How many bytes wait for all destinations together.
    held_bytes: int = attrs.field(default=0, init=False)
    # In the order of their deadlines, for all wait equally long.
    _changes: dict[int, _Change[P, T]] = attrs.field(factory=dict, init=False, repr=False)
    _last_token: int = attrs.field(default=0, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def deadline(self) -> float | None:
        """When to tick next, seconds; None when no path is being changed."""
        for change in self._changes.values():
            if change.deadline < math.inf:
                return change.deadline
        return None

    def is_changing(self, destination: int) -> bool:
        """
        Tell whether messages to a destination must wait.

        :param destination: The bus id.
        :returns: Whether its gate is closed.
        """
        return destination in self._changes

    def begin(self, destination: int, old: P, new: P, now: float) -> list[Effect[P, T]]:
        """
        Change the way to a destination.

        :param destination: The bus id.
        :param old: The way used until now; ignored when the destination is changing already.
        :param new: The way to use.
        :param now: The time, seconds.
        :returns: The FLUSH to send; nothing when one is under way; the old way again when the
            change is called off by asking for that.
        """
        change = self._changes.get(destination)
        if change is not None:
            change.new = new
            if change.is_opening:
                if new != change.old:
                    self._set_deadline(destination, now)
                return []
            return [self._open(destination, new, Status.OK)] if new == change.old else []
        if old == new:
            return []
        self._last_token += 1
        held: PendingQueue[T] = PendingQueue(self.bytes_max, self.count_max, self.seconds)
        deadline = now + self.seconds
        self._changes[destination] = _Change(old, new, self._last_token, deadline, held)
        return [SendFlush(destination, old, self._last_token)]

    def go_on(self, destination: int) -> list[Effect[P, T]]:
        """
        Send FLUSH behind a portion.

        :param destination: The bus id.
        :returns: The FLUSH.
        """
        self._last_token += 1
        change = self._changes[destination]
        change.token = self._last_token
        return [SendFlush(destination, change.old, change.token)]

    def goes_on(self, destination: int) -> bool:
        """
        Tell whether the next portion goes the way of the last one.

        :param destination: The bus id.
        """
        change = self._changes.get(destination)
        return change is not None and change.goes_on

    def awaits(self, destination: int, token: int) -> bool:
        """
        Tell whether the answer to a FLUSH is awaited.

        :param destination: The bus id.
        :param token: Its token.
        """
        change = self._changes.get(destination)
        return change is not None and change.token == token

    def slow_down(self, destination: int) -> None:
        """
        Learn that a way takes no more for the moment: the next portion is half of the last one.

        :param destination: The bus id.
        """
        change = self._changes.get(destination)
        if change is not None:
            # It was to be twice the last one.
            change.times = max(1, change.times // 4)

    def push(
        self, destination: int, item: T, size_bytes: int, now: float, *, behind_bytes: int = 0
    ) -> Status | None:
        """
        Let a message wait for the new way.

        :param destination: A bus id whose path is being changed.
        :param item: The message.
        :param size_bytes: What it counts.
        :param now: The time, seconds.
        :param behind_bytes: As in `PendingQueue.push`.
        :returns: None when it waits, `Status.BUFFER_LIMIT` when there is no room for it.
        :raises LocalProtocolError: if nothing has to wait for this destination.
        """
        change = self._changes.get(destination)
        if change is None:
            raise LocalProtocolError(f"the way to {destination:#x} is not being changed")
        status = change.held.push(item, size_bytes, now, behind_bytes=behind_bytes)
        if status is None:
            self.held_bytes += size_bytes
        return status

    def has_room(self, destination: int, size_bytes: int, count: int) -> bool:
        """
        Tell whether several messages would be taken.

        :param destination: A bus id.
        :param size_bytes: What they count together.
        :param count: How many they are.
        :returns: Whether `push` takes all of them.
        """
        change = self._changes.get(destination)
        return change is not None and change.held.has_room(size_bytes, count)

    def held_bytes_of(self, destination: int) -> int:
        """
        Say how much waits for one destination.

        :param destination: A bus id.
        :returns: Bytes.
        """
        change = self._changes.get(destination)
        return 0 if change is None else change.held.queued_bytes

    def is_long(self, destination: int) -> bool:
        """
        Tell whether more waits for a destination than should for long: half of what may.

        :param destination: The bus id.
        """
        change = self._changes.get(destination)
        return change is not None and change.held.is_long

    def acknowledged(self, destination: int, token: int) -> list[Effect[P, T]]:
        """
        Receive FLUSH_ACK.

        :param destination: Who sent it.
        :param token: What it repeats.
        :returns: The new way to open; nothing for an answer that nobody waits for any more.
        """
        change = self._changes.get(destination)
        if change is None or change.token != token:
            return []
        return [self._open(destination, change.new, Status.OK)]

    def lost(self, path: P) -> list[Effect[P, T]]:
        """
        Learn that a way broke.

        :param path: The way.
        :returns: The ways to open now, for each destination that was to leave it or to take it.
        """
        effects: list[Effect[P, T]] = []
        for destination, change in list(self._changes.items()):
            if change.old == path and change.goes_on:
                # Nobody knows yet where the rest goes.
                effects.append(self._open_wholly(destination, path, Status.OK))
            elif change.old == path:
                effects.append(self._open(destination, change.new, Status.LINK_LOST))
            elif change.new == path and change.is_opening:
                change.new, change.deadline = change.old, math.inf
            elif change.new == path:
                effects.append(self._open(destination, change.old, Status.OK))
        return effects

    def broken(self, destination: int) -> list[Effect[P, T]]:
        """
        Learn that a FLUSH cannot be sent: the old way takes nothing any more.

        :param destination: The bus id.
        :returns: The new way to open, with the order given up.
        """
        change = self._changes.get(destination)
        if change is None:
            return []
        status = Status.OK if change.goes_on else Status.LINK_LOST
        return [self._open_wholly(destination, change.new, status)]

    def tick(self, now: float) -> list[Effect[P, T]]:
        """
        Stop waiting for answers that are overdue.

        :param now: The time, seconds.
        :returns: The new ways to open, with the order given up.
        """
        due = [
            (destination, change.new)
            for destination, change in self._changes.items()
            if change.deadline <= now
        ]
        return [self._open(destination, new, Status.TIMEOUT) for destination, new in due]

    def forget(self, destination: int) -> list[T]:
        """
        Give up on a destination: it has no way any more, or the node is closing.

        :param destination: The bus id.
        :returns: What waited, in order, each to be answered.
        """
        change = self._changes.pop(destination, None)
        if change is None:
            return []
        self.held_bytes -= change.held.queued_bytes
        return change.held.take()

    def _set_deadline(self, destination: int, now: float) -> None:
        """Await an answer from now on, behind those whose deadline is earlier."""
        change = self._changes[destination]
        if change.deadline == math.inf:
            change.deadline = now + self.seconds
            self._changes[destination] = self._changes.pop(destination)

    def _open(self, destination: int, path: P, status: Status) -> OpenPath[P, T]:
        """Open a way for what waits, or for as much of it as may go there now."""
        change = self._changes[destination]
        held, first = change.held, self.portion
        times = change.times if path == change.old else 1
        if first is None or not held.is_more_than(first.size_bytes * times, first.count * times):
            return self._open_wholly(destination, path, status)
        self.held_bytes -= held.queued_bytes
        taken = tuple(
            held.take_portion(first.size_bytes * times, first.count * times, first.is_rest)
        )
        if not held:
            return self._open_wholly(destination, path, status, taken)
        self.held_bytes += held.queued_bytes
        change.is_opening, change.times = True, times * 2
        change.old = change.new = path
        # No answer is awaited until `go_on`.
        change.token, change.deadline = 0, math.inf
        return OpenPath(destination, path, taken, status, is_whole=False)

    def _open_wholly(
        self, destination: int, path: P, status: Status, taken: tuple[T, ...] = ()
    ) -> OpenPath[P, T]:
        return OpenPath(destination, path, (*taken, *self.forget(destination)), status)
