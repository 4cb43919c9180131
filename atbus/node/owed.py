"""
What a node keeps of answers and commands until their next hop has acknowledged them.

Of data only what they stand for is kept, of these the whole frame: it may have to go another way. A
neighbor that asks without end and acknowledges nothing, or late, would have a node keep whatever it
says. So all that is queued and not acknowledged is counted, frame by frame, and all links share one
budget: each may have as much as is left for the others (`atbus.routing.budget`).

What others answer the neighbors of a relay is kept by whoever answers as well, for all of them on
one link: when that is full nobody behind the relay is answered any more. So what they ask and are
answered has a bound here (`Passing`), for each and for all, well below what one link may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized

from atbus import limits
from atbus.node import bounds
from atbus.node.outbox import Kept, Routed
from atbus.routing.budget import Account, Budget

# What a frame costs besides its bytes.
_BESIDES_BYTES = limits.WAITING_FRAME_BYTES
# The part of what may be owed that neighbors share for what passes. Where that comes from one link
# has nearly half of it.
_SHARED_PART = 4
# The part that is kept for those that find less left, in equal parts, and the fewest of these.
_LEAST_PART = 16
_LEAST_NEIGHBORS = 15
# The part of `bounds.OWED_WORDS_BYTES` for refusing what is to pass: all may have it at once.
_WORDS_PART = 4


class Passing:
    """
    What a node keeps because its neighbors ask others: commands on their way, and answers.

    One neighbor may have as much as is left for the others. But of many that owe, one after the
    other, each leaves half of that, and soon nothing is left: so each that is registered may have
    an equal part of something more, however many owe, and since when.

    :param owed_bytes_max: What may be owed in all.
    """

    def __init__(self, owed_bytes_max: int) -> None:
        #: What is kept now.
        self.used_bytes = 0
        #: Who is registered; set by the node, which wires its parts.
        self.neighbors: Sized = ()
        self._shared_bytes = owed_bytes_max // _SHARED_PART
        self._least_bytes = owed_bytes_max // _LEAST_PART

    @property
    def allowed_bytes(self) -> int:
        """How many bytes may be kept for one neighbor."""
        least_bytes = self._least_bytes // max(len(self.neighbors), _LEAST_NEIGHBORS)
        return max(self._shared_bytes - self.used_bytes, least_bytes)


class Owed:
    """
    The part of one link.

    :param budget: The node's, for all its links.
    :param passing: The node's, for what its neighbors ask others.
    """

    __slots__ = (
        "_account", "_budget", "_closed", "_passing", "_was_full", "_was_full_of_passing",
        "held_bytes", "named", "passing_bytes",
    )  # fmt: skip

    def __init__(self, budget: Budget, passing: Passing) -> None:
        #: What is kept now, and
        self.held_bytes = 0
        #: what is because the neighbor asks others, here and on other links.
        self.passing_bytes = 0
        #: Whether it was said that too much is.
        self.named = False
        self._budget, self._passing = budget, passing
        # Most links never need one: data goes over others.
        self._account: Account | None = None
        self._closed = self._was_full = self._was_full_of_passing = False

    @property
    def is_full(self) -> bool:
        """
        Whether nothing that can be refused should be done for the other side.

        An answer that was too long is not made again before half of what may be kept is free.
        """
        held_bytes = self.held_bytes * (2 if self._was_full else 1)
        self._was_full = held_bytes >= self._budget.allowed_bytes
        return self._was_full

    @property
    def is_full_of_passing(self) -> bool:
        """Whether nothing should be asked of others for the other side; until half is free."""
        if self._was_full_of_passing:
            self._was_full_of_passing = self.passing_bytes * 2 >= self._passing.allowed_bytes
        return self._was_full_of_passing

    def takes(self, items: Iterable[Routed]) -> bool:
        """Tell whether an answer may be kept, or has to be refused."""
        size_bytes = sum(each.size_bytes + _BESIDES_BYTES for each in items)
        self._was_full = self.held_bytes + size_bytes > self._budget.allowed_bytes
        return not self._was_full

    def has_room_for_word(self, size_bytes: int) -> bool:
        """Tell whether a frame may be kept at all: words of refusal may when answers may not."""
        allowed_bytes = self._budget.allowed_bytes + bounds.OWED_WORDS_BYTES
        return self.held_bytes + size_bytes + _BESIDES_BYTES <= allowed_bytes

    def has_room_to_pass(self, item: Routed) -> bool:
        """Tell whether a frame may be kept, on any link, because the neighbor asks others."""
        owing_bytes = self.passing_bytes + item.size_bytes + _BESIDES_BYTES
        allowed_bytes = self._passing.allowed_bytes
        if item.refuses_passing:
            return owing_bytes <= allowed_bytes + bounds.OWED_WORDS_BYTES // _WORDS_PART
        self._was_full_of_passing = self._was_full_of_passing or owing_bytes > allowed_bytes
        return owing_bytes <= allowed_bytes

    def keep(self, item: Routed) -> None:
        """Count a frame that is queued."""
        if self._account is None:
            self._account = self._budget.open()
            if self._closed:
                self._account.close()
        cost_bytes = item.size_bytes + _BESIDES_BYTES
        self.held_bytes += cost_bytes
        self._account.hold(self.held_bytes)
        if item.debtor is not None:
            item.debtor.owe(cost_bytes)

    def let_go(self, items: Iterable[Kept]) -> None:
        """Count no longer those of some frames that were counted; they are acknowledged."""
        for item in items:
            if isinstance(item, Routed):
                cost_bytes = item.size_bytes + _BESIDES_BYTES
                self.held_bytes -= cost_bytes
                if item.debtor is not None:
                    item.debtor.owe(-cost_bytes)
                    item.debtor = None
        if self._account is not None:
            self._account.hold(self.held_bytes)
        if not self.held_bytes:
            self.named = False

    def owe(self, cost_bytes: int) -> None:
        """Count so many bytes more, or less, that some link keeps because of the neighbor."""
        self.passing_bytes += cost_bytes
        if not self._closed:
            self._passing.used_bytes += cost_bytes

    def close(self, items: Iterable[Kept] = ()) -> None:
        """
        Keep nothing any more: the link has ended.

        :param items: What is left there, and goes another way.
        """
        self.let_go(items)
        if not self._closed:
            self._passing.used_bytes -= self.passing_bytes
        self._closed = True
        if self._account is not None:
            self._account.close()
