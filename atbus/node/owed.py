"""
What a node keeps of answers and commands until their next hop has acknowledged them.

Of data only what they stand for is kept, of these the whole frame: it may have to go another way. A
neighbor that asks without end and acknowledges nothing, or late, would have a node keep whatever it
says. So all that is queued and not acknowledged is counted, frame by frame, and all links share one
budget: each may have as much as is left for the others (`atbus.routing.budget`).
"""

from __future__ import annotations

from collections.abc import Iterable

from atbus import limits
from atbus.node import bounds
from atbus.node.outbox import Kept, Routed
from atbus.routing.budget import Account, Budget

# What a frame costs besides its bytes.
_BESIDES_BYTES = limits.WAITING_FRAME_BYTES


class Owed:
    """
    The part of one link.

    :param budget: The node's, for all its links.
    """

    __slots__ = ("_account", "_budget", "_closed", "_was_full", "held_bytes", "named")

    def __init__(self, budget: Budget) -> None:
        #: What is kept now.
        self.held_bytes = 0
        #: Whether it was said that too much is.
        self.named = False
        self._budget = budget
        # Most links never need one: data goes over others.
        self._account: Account | None = None
        self._closed = self._was_full = False

    @property
    def is_full(self) -> bool:
        """
        Whether nothing that can be refused should be done for the other side.

        An answer that was too long is not made again before half of what may be kept is free.
        """
        held_bytes = self.held_bytes * (2 if self._was_full else 1)
        self._was_full = held_bytes >= self._budget.allowed_bytes
        return self._was_full

    def takes(self, items: Iterable[Routed]) -> bool:
        """Tell whether an answer may be kept, or has to be refused."""
        size_bytes = sum(each.size_bytes + _BESIDES_BYTES for each in items)
        self._was_full = self.held_bytes + size_bytes > self._budget.allowed_bytes
        return not self._was_full

    def has_room_for_word(self, size_bytes: int, part: int = 1) -> bool:
        """
        Tell whether a frame may be kept at all: words of refusal may when answers may not.

        :param part: By how much less may be kept of what is like it.
        """
        allowed_bytes = self._budget.allowed_bytes // part + bounds.OWED_WORDS_BYTES
        return self.held_bytes + size_bytes + _BESIDES_BYTES <= allowed_bytes

    def keep(self, item: Routed) -> None:
        """Count a frame that is queued."""
        if self._account is None:
            self._account = self._budget.open()
            if self._closed:
                self._account.close()
        self.held_bytes += item.size_bytes + _BESIDES_BYTES
        self._account.hold(self.held_bytes)

    def let_go(self, items: Iterable[Kept]) -> None:
        """Count no longer those of some frames that were counted; they are acknowledged."""
        for item in items:
            if isinstance(item, Routed):
                self.held_bytes -= item.size_bytes + _BESIDES_BYTES
        if self._account is not None:
            self._account.hold(self.held_bytes)
        if not self.held_bytes:
            self.named = False

    def close(self) -> None:
        """Keep nothing any more: the link has ended, and what is left goes another way."""
        self._closed = True
        if self._account is not None:
            self._account.close()
