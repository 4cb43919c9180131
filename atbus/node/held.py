"""Frames that wait until the program takes messages again, in the order in which it gets them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from atbus import limits

if TYPE_CHECKING:
    from atbus.node.link import Link
    from atbus.node.outbox import Custody
    from atbus.routing.window import Window
    from atbus.wire.head import Head
    from atbus.wire.loose import Frame


class HeldFrame(NamedTuple):
    """
    A frame of which the program has not got all messages.

    :param start: How many of them it has got.
    :param custody: Who answers for the frame, when that has been asked before.
    """

    link: Link
    frame: Frame
    head: Head
    start: int = 0
    custody: Custody | None = None


class HeldFrames:
    """Those of one node."""

    def __init__(self) -> None:
        #: They, the next one first; only to be read.
        self.frames: deque[HeldFrame] = deque()
        self._size_bytes = 0

    def has_room(self, size_bytes: int, window: Window) -> bool:
        """Tell whether one more may wait: a node that sends on although it is asked to pause."""
        factor = limits.WINDOW_HARD_FACTOR
        is_short = self._size_bytes + size_bytes <= window.bytes_max * factor
        return is_short and len(self.frames) < window.count_max * factor

    def add(self, held: HeldFrame) -> None:
        """Let one wait behind all others."""
        self.frames.append(held)
        self._size_bytes += len(held.frame)

    def put_back(self, held: HeldFrame) -> None:
        """Let the rest of one wait before all others; there is always room for that."""
        self.frames.appendleft(held)
        self._size_bytes += len(held.frame)

    def take(self) -> HeldFrame:
        """Give the next one."""
        held = self.frames.popleft()
        self._size_bytes -= len(held.frame)
        return held

    def has_from(self, source: int) -> bool:
        """Tell whether something of a node waits."""
        return any(held.head[5] == source for held in self.frames)
