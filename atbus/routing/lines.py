"""
The answer to a command: lines, cut into parts that fit a frame, and put together again.

A line may be longer than a part; then its rest begins the next part. Parts have numbers, because
each travels alone: when a link dies under one it is sent again, comes late, or comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from atbus import limits

# The lines of one part with their lengths; fits the smallest frames that two nodes can settle on.
_PART_BYTES = 3_072
_LENGTH_BYTES = 4


@attrs.frozen
class Part:
    """
    Some lines of an answer.

    :param lines: Whole ones, but perhaps the first and the last.
    :param continues: Whether the first is the rest of the last one of the part before.
    :param last: Whether no more parts follow.
    """

    lines: tuple[bytes, ...]
    continues: bool
    last: bool


def cut_lines(lines: Sequence[bytes]) -> Iterator[Part]:
    """
    Cut an answer into parts.

    :param lines: All of it.
    :returns: The parts in order, at least one.
    """
    part: list[bytes] = []
    room = _PART_BYTES
    continues = False
    for line in lines:
        rest = line
        while True:
            if part and (
                room < _LENGTH_BYTES + min(len(rest), 1) or len(part) >= limits.COMMAND_LINES_MAX
            ):
                yield Part(tuple(part), continues, last=False)
                part, room = [], _PART_BYTES
                continues = rest is not line
            piece = rest[: room - _LENGTH_BYTES]
            part.append(piece)
            room -= _LENGTH_BYTES + len(piece)
            if len(piece) == len(rest):
                break
            rest = rest[len(piece) :]
    yield Part(tuple(part), continues, last=True)


@attrs.define(eq=False)
class AnswerParts:
    """
    The parts of one answer, in whatever order they come.

    :param bytes_max: How long the answer may be; each line counts four bytes more than it has.
    """

    bytes_max: int
    _parts: dict[int, Part] = attrs.field(factory=dict, init=False, repr=False)
    _size_bytes: int = attrs.field(default=0, init=False, repr=False)
    _count: int | None = attrs.field(default=None, init=False, repr=False)

    def add(self, place: int, lines: Sequence[bytes], continues: bool, last: bool) -> bool:
        """
        Take in a part; one that has come before changes nothing.

        :param place: Which part, from 0.
        :param lines: Its lines.
        :param continues: Whether the first one is the rest of the last line before.
        :param last: Whether it is the last part.
        :returns: Whether the answer is short enough so far.
        """
        if place in self._parts:
            return True
        self._parts[place] = Part(tuple(lines), continues, last)
        if last:
            self._count = place + 1
        # Even an empty part costs something, or they could come for ever.
        self._size_bytes += _LENGTH_BYTES + sum(_LENGTH_BYTES + len(line) for line in lines)
        return self._size_bytes <= self.bytes_max

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self._count is not None and len(self._parts) == self._count

    def lines(self) -> list[bytes]:
        """
        Put the answer together.

        :returns: All lines in order.
        """
        found: list[bytes] = []
        for _, part in sorted(self._parts.items()):
            lines = list(part.lines)
            if part.continues and found and lines:
                found[-1] += lines.pop(0)
            found += lines
        return found
