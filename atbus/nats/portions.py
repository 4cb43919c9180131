"""
What was read of a connection, dealt with in portions.

A sentence of the protocol has a few bytes at least and costs as much as a long one, so a read may
hold very many: others wait for all of them, if they are dealt with in one turn.
"""

from __future__ import annotations

from atbus.nats import bounds

_LINE_END = b"\n"


class Portions:
    """What was read and is not dealt with yet, in order."""

    __slots__ = ("_place", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._place = 0

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self._rest)

    def add(self, data: bytes) -> None:
        """Put what was read behind the rest; a copy is made only if there is one."""
        self._rest = self._rest[self._place :] + data if self._rest else data
        self._place = 0

    def take(self) -> bytes:
        """
        Take the next portion, cut anywhere: grammars keep what is not complete.

        :returns: All there is, or a part of it that ends at most `bounds.PORTION_LINES` lines;
            nothing when there is nothing.
        """
        rest, place = self._rest, self._place
        size = len(rest) - place
        while size > 1 and rest.count(_LINE_END, place, place + size) > bounds.PORTION_LINES:
            size //= 2
        self._place = place + size
        if self._place == len(rest):
            self.clear()
        # A slice of all of it is the object itself.
        return rest[place : place + size]

    def clear(self) -> None:
        """Forget what is left."""
        self._rest, self._place = b"", 0
