"""
What a node says of itself on its bus; see `atbus.discovery.keeping`.

A document goes with the links over which others know its node, so there is one tenure: the life of
the node. It begins when all neighbors have told what they know, for before that nobody can say
whose a key is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from atbus import limits
from atbus.discovery.announcing import Announcer
from atbus.discovery.bus.board import PREFIX, Board
from atbus.discovery.documents import Author, Kind, read_key
from atbus.discovery.keeping import KeptValue
from atbus.errors import DiscoveryError
from atbus.wire.bounds import SERVICE_VALUE_BYTES

# The place of a life among all of them, in a fence.
_EPOCH_SHIFT: Final = 32


class BusValue(KeptValue):
    """
    One document.

    :param board: Where.
    :param key: The key.
    :param value: The document.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    :param private: Whether no other node is told.
    :param more: See `KeptValue`.
    """

    registry = "the bus"

    def __init__(
        self,
        board: Board,
        key: bytes,
        value: bytes,
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        private: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(key, value, timers, random, **more)
        self._board = board
        self._place = key.decode()
        self._bus_id = read_key(PREFIX, key).bus_id
        self._private = private
        self._fence = 0

    @property
    def fence(self) -> int:
        """The life of the node, and when in it the document came into being."""
        return self._fence

    @property
    def tenure(self) -> int:
        """The life of the node, when its neighbors have told everything, or had once."""
        is_there = self._board.is_complete or self._written_in
        return 1 if is_there and not self._board.is_closed else 0

    @property
    def tenure_seconds(self) -> float:
        """How long what we said stays without us."""
        return limits.CHILD_GRACE_SECONDS

    @property
    def is_closed(self) -> bool:
        """Whether the node has stopped."""
        return self._board.is_closed

    def watch_tenure(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have something called when all neighbors have told everything, or not any more."""
        return self._board.completed.add(changed)

    async def store(self, tenure: int, value: bytes) -> None:
        """Look, if one has to, and write; see `KeptValue.store`."""
        if len(value) > SERVICE_VALUE_BYTES:
            fault = f"{len(value)} bytes, {SERVICE_VALUE_BYTES} are allowed on a bus"
            raise DiscoveryError(fault)
        there = self._board.get(self._place)
        is_as_written = self.is_held and there is not None and there.value == self._stored
        if not is_as_written and there is not None and there.value is not None:
            # Also when ours is there: another has written over it, who may be our successor.
            self.judge(there.value)
        self._board.put(self._bus_id, self._place, value, private=self._private)
        written = self._board.get(self._place)
        if written is not None:
            self._fence = (self._board.epoch << _EPOCH_SHIFT) + written.version.created
        self.note(tenure, value)

    async def erase(self) -> None:
        """Take our document back; another's stays."""
        self._board.remove(self._place)


class BusAnnouncer(Announcer):
    """
    Announces one node; see `IAnnouncer`.

    :param board: Where.
    :param author: The node.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    :param is_alive: See `Announcer`.
    :param tells_record: Whether others are told the record; a node with a route table tells it
        there.
    """

    registry = "the bus"

    def __init__(
        self,
        board: Board,
        author: Author,
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        is_alive: Callable[[str], bool] = lambda _: False,
        tells_record: bool = True,
    ) -> None:
        super().__init__(PREFIX, author, is_alive)
        self._board = board
        self._timers = timers
        self._random = random
        self._tells_record = tells_record

    def keep(self, key: bytes, value: bytes, after: KeptValue | None) -> KeptValue:
        """Keep one document on the board."""
        is_record = read_key(PREFIX, key).kind is Kind.TOPOLOGY
        return BusValue(
            self._board,
            key,
            value,
            self._timers,
            self._random,
            is_ours=self.is_ours,
            owner_of=self.owner_of,
            after=after,
            private=is_record and not self._tells_record,
        )
