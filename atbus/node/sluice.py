"""
What of a link's items leaves now, and what waits.

The channel is given no more than it can write soon; the rest waits by destination
(`atbus.routing.backlog`), because what is in the channel cannot be sorted any more. What belongs to
the link itself never waits, nor do responses. A reply to a request is not paused with its
destination - there somebody waits for it, perhaps in order to take messages again - unless it would
overtake a message of the same sender.

A FLUSH is in order with what is for its destination and with publications, which may be for those
behind it, so it waits behind these and behind nothing else: one destination that is stuck would
keep the way to every other one shut. The neighbor's own is about all that has taken this channel,
and waits for all of it; so does the last word.
"""

from __future__ import annotations

from collections.abc import Sequence

from atbus import limits
from atbus.node.outbox import Item, Notice, Relayed, Routed, Run, Spread
from atbus.routing.backlog import Backlog
from atbus.wire.messages import DrainAck, Flags, MessageType

_FLAGS_AT = 5
# What publications wait as, which have no destination.
_EVERYBODY = 0
_FLUSH = int(MessageType.FLUSH)


class Sluice:
    """
    The way from a link's items to its channel.

    :param neighbor: The bus id of the other side.
    :param takes_runs: Whether messages go through the channel as they are, and wait so.
    """

    __slots__ = (
        "_neighbor", "_uncounted", "backlog", "channel_bytes_max", "takes_runs", "uncounted_bytes",
    )  # fmt: skip

    def __init__(self, neighbor: int, *, takes_runs: bool = False) -> None:
        self._neighbor = neighbor
        self.takes_runs = takes_runs
        self.backlog: Backlog[Item] = Backlog()
        self.channel_bytes_max = limits.CHANNEL_BYTES
        #: How many of the bytes that wait take no room from others.
        self.uncounted_bytes = 0
        # The same by destination.
        self._uncounted: dict[int, int] = {}

    def take_turns(self, target: int, size_bytes: int) -> None:
        """
        Let others have room beside something that there was no room for.

        That is a message longer than the queue may be, which an empty queue accepts, or what was on
        its way here when its feeder was told to pause. It would keep everybody else out until most
        of it has left. Of what waits of it no more is counted than has its turn soon.

        :param target: Its destination.
        :param size_bytes: Its size.
        """
        self._uncounted[target] = self._uncounted.get(target, 0) + size_bytes
        self.uncounted_bytes += size_bytes

    def uncounted_of(self, target: int) -> int:
        """Give how many of the bytes that wait for a destination take no room from others."""
        return self._uncounted.get(target, 0)

    def count_less(self, counted_bytes: int) -> int:
        """
        Say how many of the bytes that wait take no room from others.

        :param counted_bytes: What is counted of each destination that there was no room for.
        """
        for target, size_bytes in list(self._uncounted.items()):
            beyond = self.backlog.bytes_of(target) - counted_bytes
            # Never more than before: what comes behind it is counted.
            if beyond <= 0:
                del self._uncounted[target]
            elif beyond < size_bytes:
                self._uncounted[target] = beyond
        self.uncounted_bytes = sum(self._uncounted.values())
        return self.uncounted_bytes

    def let_through(self, items: Sequence[Item], room_bytes: int) -> list[Item]:
        """
        Sort new items into those that leave and those that wait.

        :param room_bytes: What the channel may still be given.
        :returns: What leaves now, in order, of these and of what has waited.
        """
        backlog = self.backlog
        through: list[Item] = []
        # Nothing that is new goes before what may leave and has waited.
        queues = backlog.ready
        for item in items:
            if not isinstance(item, Run | Relayed | Spread) or _flushed(item) is not None:
                self._let_through_special(item, through)
            elif not queues and room_bytes > 0 and backlog.is_free(item.target):
                room_bytes -= item.size_bytes
                through.append(item)
            elif self._may_overtake(item):
                through.append(item)
            else:
                backlog.push(item.target, item, item.size_bytes + limits.WAITING_FRAME_BYTES)
        if room_bytes > 0:
            through += backlog.take(room_bytes)
        if self.takes_runs:
            return through
        left = set(map(id, through))
        for item in items:
            if isinstance(item, Run) and id(item) not in left and not item.is_bulky:
                item.pack()
        return through

    def _let_through_special(self, item: Item, through: list[Item]) -> None:
        """Pass on what does not wait, or waits for everything before it."""
        backlog = self.backlog
        flushed = _flushed(item)
        is_last = isinstance(item, Notice) and isinstance(item.message, DrainAck)
        if backlog and (is_last or flushed == self._neighbor):
            backlog.push_barrier(item, item.size_bytes)
        elif flushed is not None and backlog.bytes_of(_EVERYBODY):
            backlog.push_barrier(item, item.size_bytes, (flushed, _EVERYBODY))
        elif flushed is not None and backlog.bytes_of(flushed):
            backlog.push(flushed, item, item.size_bytes + limits.WAITING_FRAME_BYTES)
        else:
            through.append(item)

    def _may_overtake(self, item: Run | Relayed | Spread) -> bool:
        """Tell whether something is a reply that waits for nothing but the pause."""
        if isinstance(item, Spread):
            return False
        flags = item.flags if isinstance(item, Run) else item.frame[_FLAGS_AT]
        if not flags & Flags.REPLY or not self.backlog.is_paused(item.target):
            return False
        waiting = self.backlog.waiting_for(item.target)
        return not any(isinstance(w, Run | Relayed) and w.source == item.source for w in waiting)


def _flushed(item: Item) -> int | None:
    """Say whose way an item flushes; None for anything but a FLUSH."""
    if not isinstance(item, Relayed | Routed) or item.type != _FLUSH:
        return None
    return item.target if isinstance(item, Relayed) else item.destination
