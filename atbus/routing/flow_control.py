"""
Who pauses whom: the decisions of flow control (wire protocol, section 6.4).

A node that cannot pass a destination on as fast as it comes tells the neighbors that feed it to
pause that destination, and later to resume it. They do the same with those who feed *them*, so
the word reaches the origins over any number of hops. What a node needs for that:

1. *Heard*: which neighbor asked us to pause which destination. It counts for what goes through
   that neighbor only, and ends with the connection over which it came.
2. *Told*: whom we asked. A neighbor is asked when it feeds a destination that is congested here:
   one that our next hop has paused, or of which more waits here than its share. So nobody is asked
   who has nothing to do with it, and everybody who feeds it is, however late they begin.
3. Congested begins at one mark and ends at a lower one (`Marks`), or the words would flutter.
4. Pausing is advice. Whoever does not follow it meets the hard limit, which is not decided here.

Nothing here knows of bytes or frames; `Load` holds them against the marks.
"""

from __future__ import annotations

import attrs

from atbus import limits
from atbus.routing.bounds import PAUSES_HEARD_MAX


@attrs.frozen
class Tell:
    """
    Ask a neighbor to pause a destination, or to go on with it.

    :param neighbor: Whom to ask.
    :param destination: What is to be paused or resumed.
    :param pause: Which of the two.
    """

    neighbor: int
    destination: int
    pause: bool


@attrs.frozen
class Marks:
    """
    Where congestion begins.

    :param queued_bytes: Of the queue towards one next hop.
    :param frames: Of one destination, in the custody of this node.
    """

    queued_bytes: int
    frames: int = limits.DESTINATION_FRAMES_SOFT


@attrs.frozen
class Load:
    """
    What one destination asks of this node at some moment.

    :param frames: Those of it that this node answers for.
    :param own_bytes: What waits for it towards its next hop.
    :param queued_bytes: What is queued towards that next hop in all.
    :param sharers: How many destinations have part in that.
    """

    frames: int
    own_bytes: int
    queued_bytes: int
    sharers: int = 1

    def is_over(self, marks: Marks) -> bool:
        """
        Tell whether a destination is congested that was not.

        The queue of the next hop is too long and this destination has its full part in it, or too
        many frames are on their way: on the link that they came over all of them are open.
        """
        if self.frames >= marks.frames:
            return True
        is_long = self.queued_bytes > marks.queued_bytes
        return is_long and self.own_bytes * self.sharers * 2 >= marks.queued_bytes

    def is_low(self, marks: Marks) -> bool:
        """Tell whether a destination is congested no longer."""
        if self.frames * 2 > marks.frames:
            return False
        is_short = self.queued_bytes * 2 <= marks.queued_bytes
        return is_short or self.own_bytes * self.sharers * 4 <= marks.queued_bytes


def frames_mark(window_free: int) -> int:
    """
    Say how many frames of one destination a neighbor may have open here.

    All destinations share the window of the link that they come over. Each may have a part of
    what is left of it: one that is stuck has its full measure, fifty that are get less each.

    :param window_free: What is left of that window.
    :returns: `Marks.frames` towards that neighbor.
    """
    part = window_free // limits.DESTINATION_WINDOW_PARTS
    return max(1, min(limits.DESTINATION_FRAMES_SOFT, part))


class FlowControl:
    """
    The words of one node, heard and told.

    :param count_max: Pauses that one neighbor may have asked us for, and that we ask for in all.
    :param heard_max: Pauses that all neighbors may have asked us for.
    """

    def __init__(
        self, count_max: int = limits.PAUSES_MAX, heard_max: int = PAUSES_HEARD_MAX
    ) -> None:
        self._count_max = count_max
        self._heard_max = heard_max
        self._heard: dict[int, set[int]] = {}
        self._heard_count = 0
        # Neighbors that take nothing at all from us for the moment.
        self._shut: set[int] = set()
        self._told: dict[int, set[int]] = {}
        self._told_count = 0

    # Heard.

    def pause(self, neighbor: int, destination: int) -> bool:
        """
        Hear that a neighbor wants a destination paused.

        :param destination: The neighbor's own id pauses what is for it, not what passes it.
        :returns: Whether that is new. More than there may be is not listened to.
        """
        heard = self._heard.setdefault(neighbor, set())
        most = min(self._count_max, self._heard_max - self._heard_count)
        if destination in heard or len(heard) >= most:
            return False
        heard.add(destination)
        self._heard_count += 1
        return True

    def resume(self, neighbor: int, destination: int) -> bool:
        """
        Hear that a neighbor takes a destination again.

        :returns: Whether it had been paused.
        """
        heard = self._heard.get(neighbor)
        if heard is None or destination not in heard:
            return False
        heard.discard(destination)
        self._heard_count -= 1
        return True

    def shut(self, neighbor: int) -> bool:
        """Hear that a neighbor takes nothing through it at all; tell whether that is new."""
        is_new = neighbor not in self._shut
        self._shut.add(neighbor)
        return is_new

    def open(self, neighbor: int) -> bool:
        """Hear that a neighbor takes everything again; tell whether it did not."""
        was_shut = neighbor in self._shut
        self._shut.discard(neighbor)
        return was_shut

    def is_shut(self, neighbor: int) -> bool:
        """Tell whether a neighbor takes nothing at all."""
        return neighbor in self._shut

    def is_paused(self, next_hop: int, destination: int) -> bool:
        """Tell whether what goes to a destination through a neighbor has to wait."""
        return next_hop in self._shut or destination in self._heard.get(next_hop, ())

    def paused_by(self, neighbor: int) -> frozenset[int]:
        """Give the destinations that a neighbor wants paused."""
        return frozenset(self._heard.get(neighbor, ()))

    # Told.

    def congested(self, destination: int, feeder: int) -> list[Tell]:
        """
        Learn that a neighbor feeds a destination that is congested.

        :returns: What to tell it: nothing, if it knows.
        """
        told = self._told.get(destination)
        if told is not None and feeder in told:
            return []
        if self._told_count >= self._count_max:
            return []
        self._told.setdefault(destination, set()).add(feeder)
        self._told_count += 1
        return [Tell(feeder, destination, pause=True)]

    def relieved(self, destination: int) -> list[Tell]:
        """
        Learn that a destination is congested no longer.

        :returns: What to tell those who were asked to pause it.
        """
        told = self._told.pop(destination, ())
        self._told_count -= len(told)
        return [Tell(neighbor, destination, pause=False) for neighbor in sorted(told)]

    def is_told(self, destination: int) -> bool:
        """Tell whether anybody was asked to pause a destination."""
        return destination in self._told

    @property
    def told(self) -> tuple[int, ...]:
        """The destinations that somebody was asked to pause."""
        return tuple(self._told)

    # Connections end and begin.

    def lost(self, neighbor: int) -> frozenset[int]:
        """
        Learn that the control connection to a neighbor has ended: what it had asked for is over.

        :returns: The destinations that it had paused.
        """
        self._shut.discard(neighbor)
        heard = frozenset(self._heard.pop(neighbor, ()))
        self._heard_count -= len(heard)
        return heard

    def gone(self, neighbor: int) -> None:
        """Learn that a neighbor is gone: nothing is to be told to it any more."""
        for destination in [d for d, told in self._told.items() if neighbor in told]:
            told = self._told[destination]
            told.discard(neighbor)
            self._told_count -= 1
            if not told:
                del self._told[destination]

    def renewed(self, neighbor: int) -> list[Tell]:
        """
        Learn that a neighbor has a new control connection: it has forgotten what we asked for.

        :returns: What to tell it again.
        """
        paused = sorted(d for d, told in self._told.items() if neighbor in told)
        return [Tell(neighbor, destination, pause=True) for destination in paused]
