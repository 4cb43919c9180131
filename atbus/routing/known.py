"""
The best that is known of each node, over all feeds.

Of what the feeds say about a node the largest stamp is *best*; only feeds that say exactly that
*carry* the node. A feed that says something older justifies neither a route nor telling others.

A record that was made for a node (seq 0) is the same stamp wherever the node hangs. Among such the
last word is best, for the node has moved there; but one that says where it hangs is better than one
that does not.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from atbus.routing.feed import Feed
from atbus.routing.record import Record
from atbus.routing.table import Position


def is_same(one: Record | None, other: Record | None) -> bool:
    """
    Tell whether two records of a node say the same.

    :param one: A record, or None for nothing.
    :param other: Another one.
    :returns: Whether they do. A stamp that its node has made settles it; a record that was made for
        a node (seq 0) may differ from another one under the same stamp.
    """
    if one is None or other is None:
        return one is other
    if one.stamp != other.stamp:
        return False
    return bool(one.stamp.seq) or one is other or one == other


def _is_news(record: Record, best: Record) -> bool:
    """Tell whether what a feed says now is to replace the best that is known."""
    if record.stamp != best.stamp:
        return record.stamp > best.stamp
    if record.stamp.seq or record == best:
        return False
    return bool(record.upstream_id) or not best.upstream_id


@attrs.define(eq=False)
class Known:
    """Which record of each node is best, and who carries it; our own record is not in here."""

    best: dict[int, Record] = attrs.field(factory=dict, init=False, repr=False)
    carriers: dict[int, tuple[Feed, ...]] = attrs.field(factory=dict, init=False, repr=False)
    feeds: dict[Feed, tuple[Feed]] = attrs.field(factory=dict, init=False, repr=False)
    #: Grows when a best record, or who carries one, may be another.
    edition: int = attrs.field(default=0, init=False)

    def __len__(self) -> int:
        return len(self.best)

    def get(self, bus_id: int) -> Record | None:
        """
        Look a node up.

        :param bus_id: Any id but our own.
        :returns: The best record of it, or None.
        """
        return self.best.get(bus_id)

    def records(self) -> Iterator[Record]:
        """
        Go through the table.

        :returns: The best record of each node, in the order of their ids.
        """
        for bus_id in sorted(self.best):
            yield self.best[bus_id]

    def tellers(self, bus_id: int) -> tuple[int, ...]:
        """
        Say who carries a node.

        :param bus_id: Any id.
        :returns: The neighbors that do; nobody when it is known from a lost upstream only.
        """
        carriers = self.carriers.get(bus_id, ())
        return tuple(feed.bus_id for feed in carriers if not feed.is_stale)

    def add(self, feed: Feed) -> None:
        """
        Listen to one more feed.

        :param feed: An empty one.
        """
        # One tuple for all nodes that it alone carries, for those are nearly all.
        self.feeds[feed] = (feed,)

    def remove(self, feed: Feed) -> None:
        """
        Listen to a feed no more; what it carried is to be looked at again.

        :param feed: Which one.
        """
        self.feeds.pop(feed, None)

    def believe(self, feed: Feed, record: Record) -> None:
        """
        Take in what a feed says now.

        :param feed: Who says it.
        :param record: What it says, and is believed.
        """
        bus_id = record.bus_id
        self.edition += 1
        best = self.best.get(bus_id)
        if best is None or _is_news(record, best):
            self.best[bus_id] = record
            self.carriers[bus_id] = self.feeds[feed]
            return
        carriers = self.carriers[bus_id]
        if is_same(record, best):
            if feed not in carriers:
                self.carriers[bus_id] = (*carriers, feed)
        elif feed in carriers:
            self.look_again(bus_id)

    def doubt(self, feed: Feed, bus_id: int) -> None:
        """
        Note that a feed does not say anything about a node any more, or is not believed.

        :param feed: Which one.
        :param bus_id: The node.
        """
        carriers = self.carriers.get(bus_id, ())
        if feed not in carriers:
            return
        self.edition += 1
        if len(carriers) > 1 and self.best[bus_id].stamp.seq:
            self.carriers[bus_id] = tuple(each for each in carriers if each is not feed)
        else:
            self.look_again(bus_id)

    def look_again(self, bus_id: int) -> None:
        """
        Find out from all feeds what is best.

        :param bus_id: Of which node.
        """
        self.edition += 1
        said = [(feed, record) for feed in self.feeds if (record := feed.believed(bus_id))]
        if not said:
            self.best.pop(bus_id, None)
            self.carriers.pop(bus_id, None)
            return
        former = self.best.get(bus_id)
        best = max(
            (record for _, record in said),
            key=lambda record: (record.stamp, bool(record.upstream_id), is_same(record, former)),
        )
        carriers = tuple(feed for feed, record in said if is_same(record, best))
        self.best[bus_id] = best
        self.carriers[bus_id] = carriers if len(carriers) > 1 else self.feeds[carriers[0]]

    def is_below(self, bus_id: int) -> bool:
        """
        Tell whether a node is in our subtree.

        :param bus_id: Any id but our own.
        :returns: Whether a downstream carries it.
        """
        carriers = self.carriers.get(bus_id)
        if not carriers:
            return False
        if len(carriers) == 1:
            return carriers[0].kind is Position.DOWNSTREAM
        return any(feed.kind is Position.DOWNSTREAM for feed in carriers)

    def is_carried_by(self, feed: Feed, bus_id: int) -> bool:
        """
        Tell whether a feed says the best that is known.

        :param feed: The feed.
        :param bus_id: Of which node.
        :returns: Whether it does.
        """
        return feed in self.carriers.get(bus_id, ())

    def below(self) -> Iterator[Record]:
        """
        Go through our subtree.

        :returns: The records that a downstream carries, each at least once.
        """
        for feed in self.feeds:
            if feed.kind is Position.DOWNSTREAM:
                for bus_id in feed.heard:
                    if feed in self.carriers.get(bus_id, ()):
                        yield self.best[bus_id]
