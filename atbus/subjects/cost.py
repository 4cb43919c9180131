"""What it costs to know what somebody wants."""

from __future__ import annotations

from typing import Final

# Measured, of a pattern that has all its tokens alone: itself, each token, and each letter, which
# stands in the pattern, in its tokens, and in what is told.
_PATTERN_BYTES: Final = 640
_TOKEN_BYTES: Final = 70
_LETTER_BYTES: Final = 3
# A text has four bytes for each letter where one needs as many.
_WIDE_LETTER_BYTES: Final = 12


def cost_of(pattern: str, queue: str = "", zone: str = "") -> int:
    """
    Say how much memory it takes to know of one pattern or group, at most.

    :param pattern: It.
    :param queue: The group; empty for none.
    :param zone: Of which zone it is known; empty for no particular one.
    :returns: Bytes: less when it shares its first tokens with others. Each further neighbor that is
        told of it costs a hundred more, which are not counted.
    """
    letter_bytes = _LETTER_BYTES if pattern.isascii() else _WIDE_LETTER_BYTES
    size_bytes = _PATTERN_BYTES + len(pattern) * letter_bytes
    size_bytes += (pattern.count(".") + 1) * _TOKEN_BYTES
    return size_bytes + (len(queue) + len(zone)) * _WIDE_LETTER_BYTES
