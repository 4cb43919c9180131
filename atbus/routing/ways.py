"""
Which neighbor messages to a destination took last, so that another one does not overtake them.

A node whose record has moved, and every node behind an upstream that is replaced, is reached
through another neighbor from one message to the next. What is still on its way through the first
one must not be overtaken:

1. Whoever looks up where messages go says so here (`Ways.take`). The first way to a destination,
   and one that was used last, costs nothing.
2. When it is another neighbor, and something went through the last one that is not discharged yet,
   the way is changed as `atbus.routing.change` says: a FLUSH goes through the last one, addressed
   to the destination, and everything for the destination is held until it is answered.
3. When nothing is on its way there, the new one is taken at once.
4. When the new way opens, what was held takes it by portions, and what comes meanwhile is held
   behind it.
5. Before a neighbor is left, all ways through it are looked at (`Ways.through`): once it has been
   told that nothing more comes, no FLUSH can follow.

What passes through this node and what begins here share one way per destination. Of destinations
that nobody has asked for in a long time the way is forgotten, the oldest first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeAlias, TypeVar

from atbus.errors import Status
from atbus.routing.change import Effect, OpenPath, PathChanges, Portion

T = TypeVar("T")

#: What is to be done; a path is the id of a neighbor.
WayEffect: TypeAlias = Effect[int, T]


class Ways(Generic[T]):
    """
    The ways of all destinations, and what is held while one of them changes.

    :param bytes_max: How many bytes may be held for one destination.
    :param count_max: How many items may be held for one destination.
    :param seconds: How long the answer to a FLUSH is awaited.
    :param known_max: Of how many destinations the way is remembered.
    :param portion: What takes a new way first of all that was held.
    """

    def __init__(
        self,
        *,
        bytes_max: int,
        count_max: int,
        seconds: float,
        known_max: int,
        portion: Portion[T] | None = None,
    ) -> None:
        #: The destinations for which everything is held; only to be read.
        self.held: set[int] = set()
        self._changes: PathChanges[int, T] = PathChanges(
            bytes_max, count_max, seconds, portion
        )
        self._last: OrderedDict[int, int] = OrderedDict()
        # The same by neighbor: one that is lost is to cost what has gone through it.
        self._through: dict[int, dict[int, None]] = {}
        self._known_max = known_max

    @property
    def deadline(self) -> float | None:
        """When to tick next, seconds; None for never."""
        return self._changes.deadline

    @property
    def held_bytes(self) -> int:
        """How many bytes are held."""
        return self._changes.held_bytes

    def last(self, destination: int) -> int | None:
        """
        Say where messages to a destination go.

        :param destination: The bus id.
        :returns: The neighbor that took the last of them; None when there were none.
        """
        return self._last.get(destination)

    @property
    def destinations(self) -> list[int]:
        """All of which the way is remembered, and is not being changed."""
        return [each for each in self._last if each not in self.held]

    def through(self, neighbor: int) -> list[int]:
        """
        List the destinations whose messages go through a neighbor.

        :param neighbor: Its id.
        :returns: They, the one asked for longest ago first; not those that are changing already.
        """
        return [each for each in self._through.get(neighbor, ()) if each not in self.held]

    def is_leaving(self, neighbor: int) -> bool:
        """
        Tell whether a FLUSH through a neighbor is not answered yet.

        :param neighbor: Its id.
        :returns: Whether the way of any destination is being changed away from it.
        """
        return any(self._last.get(destination) == neighbor for destination in self.held)

    def is_new(self, destination: int, neighbor: int) -> bool:
        """
        Tell whether `take` would be news.

        :param destination: The bus id.
        :param neighbor: Where its messages are about to go.
        :returns: Whether the last of them went elsewhere, or will.
        """
        return self._last.get(destination) != neighbor or destination in self.held

    def take(
        self, destination: int, neighbor: int, now: float, *, owed: bool
    ) -> list[WayEffect[T]]:
        """
        Note that messages to a destination go through a neighbor from now on.

        :param destination: The bus id.
        :param neighbor: Where they go.
        :param now: The time, seconds.
        :param owed: Whether anything that went through the last neighbor is not discharged.
        :returns: What is to be done; as long as the destination is in `held`, nothing is sent.
        """
        last = self._last.get(destination)
        if destination in self.held:
            return self._opened(self._changes.begin(destination, neighbor, neighbor, now))
        if last is not None and last != neighbor and owed:
            self.held.add(destination)
            return self._changes.begin(destination, last, neighbor, now)
        self._remember(destination, neighbor)
        return []

    def _remember(self, destination: int, neighbor: int) -> None:
        self._forget(destination)
        self._last[destination] = neighbor
        self._through.setdefault(neighbor, {})[destination] = None
        if len(self._last) > self._known_max:
            oldest = next((each for each in self._last if each not in self.held), None)
            if oldest is not None:
                self._forget(oldest)

    def _forget(self, destination: int) -> None:
        neighbor = self._last.pop(destination, None)
        if neighbor is not None:
            through = self._through[neighbor]
            del through[destination]
            if not through:
                del self._through[neighbor]

    def hold(
        self, destination: int, item: T, size_bytes: int, now: float, *, behind_bytes: int = 0
    ) -> Status | None:
        """
        Let an item wait for the new way.

        :param destination: One of `held`.
        :param item: What waits.
        :param size_bytes: What it counts.
        :param now: The time, seconds.
        :param behind_bytes: How much room there is for it besides: it was on its way when its
            feeder was told to pause.
        :returns: None when it waits, `Status.BUFFER_LIMIT` when there is no room for it.
        """
        return self._changes.push(destination, item, size_bytes, now, behind_bytes=behind_bytes)

    def has_room(self, destination: int, size_bytes: int, count: int) -> bool:
        """
        Tell whether several items could wait.

        :param destination: One of `held`.
        :param size_bytes: What they count together.
        :param count: How many they are.
        :returns: Whether `hold` takes all of them.
        """
        return self._changes.has_room(destination, size_bytes, count)

    def held_bytes_of(self, destination: int) -> int:
        """
        Say how much waits for one destination.

        :param destination: The bus id.
        :returns: Bytes.
        """
        return self._changes.held_bytes_of(destination)

    def goes_on(self, destination: int) -> bool:
        """
        Tell whether a new way is open, and what still waits takes it by portions.

        :param destination: The bus id.
        """
        return self._changes.goes_on(destination)

    def awaits(self, destination: int, token: int) -> bool:
        """
        Tell whether the answer to a FLUSH is awaited.

        :param destination: The bus id.
        :param token: Its token.
        """
        return self._changes.awaits(destination, token)

    def slow_down(self, destination: int) -> None:
        """
        Learn that a way takes no more for the moment: the next portion is half of the last one.

        :param destination: The bus id.
        """
        self._changes.slow_down(destination)

    def is_long(self, destination: int) -> bool:
        """
        Tell whether more waits for one destination than should for long: half of what may.

        :param destination: The bus id.
        """
        return self._changes.is_long(destination)

    def acknowledged(self, destination: int, token: int) -> list[WayEffect[T]]:
        """
        Receive the answer to a FLUSH.

        :param destination: Who sent it.
        :param token: What it repeats.
        :returns: The way to open; nothing for an answer that nobody waits for any more.
        """
        return self._opened(self._changes.acknowledged(destination, token))

    def broken(self, destination: int) -> list[WayEffect[T]]:
        """
        Learn that a FLUSH, or a portion, cannot be sent.

        :param destination: Whose way is being changed.
        :returns: The new way to open, with the order given up.
        """
        return self._opened(self._changes.broken(destination))

    def lost(self, neighbor: int) -> list[WayEffect[T]]:
        """
        Learn that a neighbor is gone; what went through it is discharged or uncertain.

        :param neighbor: Its id.
        :returns: The ways to open now.
        """
        effects = self._opened(self._changes.lost(neighbor))
        for destination in self.through(neighbor):
            self._forget(destination)
        return effects

    def tick(self, now: float) -> list[WayEffect[T]]:
        """
        Stop waiting for answers that are overdue.

        :param now: The time, seconds.
        :returns: The ways to open, with the order given up.
        """
        return self._opened(self._changes.tick(now))

    def give_up(self) -> list[T]:
        """
        Hold nothing any more.

        :returns: What was held, in order for each destination.
        """
        held = [item for each in sorted(self.held) for item in self._changes.forget(each)]
        self.held.clear()
        return held

    def forget(self, destination: int) -> None:
        """
        Forget the way of a destination whose messages have been flushed otherwise.

        :param destination: The bus id; nothing is changed about one whose way is changing.
        """
        if destination not in self.held:
            self._forget(destination)

    def settle(self, destination: int, neighbor: int) -> None:
        """
        Take the word that nothing for a destination can be overtaken any more.

        :param destination: The bus id; nothing is changed about one whose way is changing.
        :param neighbor: Where its messages go.
        """
        if destination not in self.held:
            self._remember(destination, neighbor)

    def _opened(self, effects: list[WayEffect[T]]) -> list[WayEffect[T]]:
        """Remember the ways that open, and let a FLUSH follow each portion."""
        together: list[WayEffect[T]] = []
        for effect in effects:
            together.append(effect)
            if isinstance(effect, OpenPath):
                self._remember(effect.destination, effect.path)
                if effect.is_whole:
                    self.held.discard(effect.destination)
                else:
                    together += self._changes.go_on(effect.destination)
        return together
