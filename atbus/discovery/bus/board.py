"""
The documents that one node knows from its bus, and who wants to hear of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from atbus.discovery.waiting import Listeners
from atbus.routing.offers import Offers, Posted
from atbus.routing.table import Position
from atbus.wire.messages import ServiceBatch

PREFIX = "bus/"
"""What all keys on a bus begin with."""


class Board:
    """
    Between `Offers` and those who announce and watch.

    :param epoch: Of this life of the node.
    :param may_speak: Tells whether a neighbor may speak for a node.
    :param flush: Called when neighbors may have to be told something; see `changes`.
    """

    def __init__(
        self, epoch: int, may_speak: Callable[[int, int], bool], flush: Callable[[], None]
    ) -> None:
        #: Told what stands otherwise now.
        self.posted: Listeners[[Sequence[Posted]]] = Listeners()
        #: Told when `is_complete` may be another.
        self.completed: Listeners[[]] = Listeners()
        #: Whether the node has stopped.
        self.is_closed = False
        self.epoch = epoch
        self._flush = flush
        self._offers = Offers(epoch, may_speak)
        self._was_complete = True

    @property
    def is_complete(self) -> bool:
        """Whether every neighbor is there and has told everything that it knows."""
        return not self.is_closed and self._offers.is_complete

    @property
    def ignored(self) -> int:
        """How many words of neighbors were left out."""
        return self._offers.ignored

    @property
    def deadline(self) -> float | None:
        """When to `tick` next, seconds; None for never."""
        return self._offers.deadline

    def get(self, key: str) -> Posted | None:
        """
        Look a key up.

        :param key: The key.
        :returns: How it stands, or None.
        """
        return self._offers.get(key)

    def everything(self) -> list[Posted]:
        """
        List what is known.

        :returns: In the order in which it was written.
        """
        return self._offers.posted()

    def put(self, bus_id: int, key: str, value: bytes, *, private: bool = False) -> None:
        """
        Write a document of this node; see `Offers.put`.

        :param bus_id: The node.
        :param key: Where.
        :param value: The document.
        :param private: Whether nobody is told.
        """
        self._offers.put(bus_id, key, value, private=private)
        self._tell()

    def remove(self, key: str) -> None:
        """
        Take a document of this node back.

        :param key: Where.
        """
        self._offers.remove(key)
        self._tell()

    def open(self, bus_id: int, position: Position, frame_bytes_max: int) -> list[ServiceBatch]:
        """
        Begin to talk with a neighbor; see `Offers.open`.

        :param bus_id: The neighbor.
        :param position: Where it stands.
        :param frame_bytes_max: The longest frame that it takes.
        :returns: What it has to be told.
        """
        batches = self._offers.open(bus_id, position, frame_bytes_max)
        self._tell()
        return batches

    def move(self, bus_id: int, position: Position) -> None:
        """
        Take note of where a neighbor stands now; see `Offers.move`.

        :param bus_id: The neighbor.
        :param position: Where.
        """
        self._offers.move(bus_id, position)
        self._tell()

    def lost(self, bus_id: int, now: float, *, in_order: bool = False) -> None:
        """
        Take note that a neighbor is not connected any more; see `Offers.lost`.

        :param bus_id: The neighbor.
        :param now: The time, seconds.
        :param in_order: Whether it has left in good order.
        """
        self._offers.lost(bus_id, now, in_order=in_order)
        self._tell()

    def heard(self, bus_id: int, message: ServiceBatch) -> None:
        """
        Take what a neighbor tells; see `Offers.heard`.

        :param bus_id: The neighbor.
        :param message: What has arrived.
        """
        self._offers.heard(bus_id, message)
        self._tell()

    def tick(self, now: float) -> None:
        """
        Give up what is due, and believe what may be believed by now.

        :param now: The time, seconds.
        """
        if self._offers.is_settled:
            return
        self._offers.tick(now)
        self._offers.recheck()
        self._tell()

    def changes(self) -> Iterator[tuple[int, ServiceBatch]]:
        """
        Say what neighbors have to be told now.

        :returns: Pairs of neighbor and message.
        """
        return self._offers.changes()

    def close(self) -> None:
        """Let nobody write any more: the node has stopped."""
        self.is_closed = True
        self._tell()

    def _tell(self) -> None:
        news = self._offers.news()
        if news:
            self.posted.tell(news)
        if self.is_complete != self._was_complete:
            self._was_complete = self.is_complete
            self.completed.tell()
        if self._offers.has_changes:
            self._flush()
