"""
Who answers for a frame: the two ledgers of a link (wire protocol, section 4).

Each direction of a link numbers its frames 1, 2, 3 ... 2**32 - 1 and then 1 again; 0 is never
given, it marks a frame outside the numbering. The sender keeps what it sent in an
`OutgoingLedger` until the receiver says that it is *discharged*: delivered to the application,
acknowledged by the next hop, or answered with a failure. The receiver keeps count in an
`IncomingLedger`.

1. Frames of one link arrive strictly in order, for a link is a stream. A number out of turn is a
   breach.
2. They are discharged in any order, but the acknowledgement is one number: all frames up to it
   are discharged. A frame that waits for a slow next hop therefore holds back the word about the
   ones behind it, never the frames themselves.
3. At most a window of frames should be unacknowledged. `OutgoingLedger.full` says so, `record`
   does not refuse: what answers a frame must be allowed past the window, or two full links that
   owe each other answers would wait for ever.
4. When the link dies, what was not acknowledged may or may not have been discharged: `abandon`
   hands it back, to be reported as uncertain, once.

A relay joins two links: what it records for a frame that it passes on names the link and the number
under which the frame came, so that the next hop's acknowledgement discharges it there.

This runs once per frame, so the usual cases - in order, all at once - are plain arithmetic.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import attrs

from atbus.errors import LocalProtocolError, OutOfTurn

T = TypeVar("T")

#: How many frame numbers there are, and the largest of them; the one after it is 1.
FRAME_NUMBERS = 2**32 - 1

# Further than this ahead is behind (RFC 1982, with 0 left out of the circle).
_HALF = FRAME_NUMBERS // 2


def number_after(frame: int) -> int:
    """
    Give the frame number that follows another.

    :param frame: A frame number, or 0 for the beginning.
    :returns: The next one, never 0.
    """
    return frame % FRAME_NUMBERS + 1


@attrs.define(eq=False)
class OutgoingLedger(Generic[T]):
    """
    The frames that we sent over a link and that the other side has not acknowledged.

    :param window: How many of them there should be at most, 1 to 2**31 - 1.
    """

    window: int = attrs.field(validator=[attrs.validators.ge(1), attrs.validators.le(_HALF)])
    #: The number of the frame sent last; 0 before the first.
    sent: int = attrs.field(default=0, init=False)
    #: The highest number that the other side acknowledged; 0 before the first.
    acknowledged: int = attrs.field(default=0, init=False)
    _items: deque[T] = attrs.field(factory=deque, init=False, repr=False)
    # Grows without wrapping: tells a late acknowledgement from one that was never due.
    _acknowledged_count: int = attrs.field(default=0, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether a window of frames is unacknowledged: send nothing but answers now."""
        return len(self._items) >= self.window

    def record(self, item: T) -> int:
        """
        Number a frame and remember what it carries.

        :param item: What `acknowledge` or `abandon` gives back.
        :returns: The frame number to send it under.
        """
        self._items.append(item)
        self.sent = number = self.sent % FRAME_NUMBERS + 1
        return number

    def acknowledge(self, ack: int) -> list[T]:
        """
        Take the other side's word for all frames up to a number.

        An acknowledgement that says no more than an earlier one is without effect, for it may
        have waited in another frame.

        :param ack: The number; 0 when the other side has discharged nothing yet.
        :returns: What the frames carried that are discharged by this, oldest first.
        :raises OutOfTurn: if no such frame was ever sent.
        """
        if ack == self.acknowledged or not ack:
            return []
        items = self._items
        count = (ack - self.acknowledged) % FRAME_NUMBERS
        if not 0 < count <= len(items):
            return self._judge_stale(ack)
        self.acknowledged = ack
        self._acknowledged_count += count
        if count == len(items):
            discharged = list(items)
            items.clear()
            return discharged
        return [items.popleft() for _ in range(count)]

    def abandon(self) -> list[T]:
        """
        Give up on the link: nobody will acknowledge anything any more.

        :returns: What was not acknowledged, oldest first; a second call returns nothing.
        """
        uncertain = list(self._items)
        self._items.clear()
        return uncertain

    def _judge_stale(self, ack: int) -> list[T]:
        """Ignore a number that was acknowledged before; refuse one that was never sent."""
        behind = (self.acknowledged - ack) % FRAME_NUMBERS
        if behind < min(self._acknowledged_count, _HALF):
            return []
        raise OutOfTurn(f"frame {ack} acknowledged, but {self.sent} was the last one sent")


@attrs.define(eq=False)
class IncomingLedger:
    """The frames that reached us over a link, and which of them we have discharged."""

    #: What to write as ack: all frames up to this number are discharged; 0 when none is.
    acknowledged: int = attrs.field(default=0, init=False)
    #: The number of the frame that arrived last; 0 before the first.
    arrived: int = attrs.field(default=0, init=False)
    #: The last number that `tell` gave out.
    told: int = attrs.field(default=0, init=False)
    # Discharged before an older one; never more than `outstanding`.
    _early: set[int] = attrs.field(factory=set, init=False, repr=False)

    @property
    def outstanding(self) -> int:
        """How many frames arrived and cannot be acknowledged yet."""
        return (self.arrived - self.acknowledged) % FRAME_NUMBERS

    @property
    def untold(self) -> int:
        """How many frames could be acknowledged that the other side does not know of."""
        return (self.acknowledged - self.told) % FRAME_NUMBERS

    def received(self, frame: int) -> None:
        """
        Count a numbered frame in.

        :param frame: The number it came with.
        :raises OutOfTurn: if it is not the one that had to come next.
        """
        if frame != self.arrived % FRAME_NUMBERS + 1:
            raise OutOfTurn(f"frame {frame} came, {number_after(self.arrived)} had to come")
        self.arrived = frame

    def discharge(self, frame: int) -> bool:
        """
        Say that a frame needs us no longer.

        :param frame: A frame that was received and not discharged before.
        :returns: Whether `acknowledged` moved, so that the other side can be told.
        :raises LocalProtocolError: if the frame never came or was discharged already.
        """
        acknowledged = self.acknowledged
        if frame != acknowledged % FRAME_NUMBERS + 1 or acknowledged == self.arrived:
            return self._discharge_early(frame)
        early = self._early
        while early:
            following = frame % FRAME_NUMBERS + 1
            if following not in early:
                break
            early.remove(following)
            frame = following
        self.acknowledged = frame
        return True

    def tell(self) -> int:
        """
        Give the number to write into a frame that goes back, and remember that it was told.

        :returns: `acknowledged`.
        """
        self.told = self.acknowledged
        return self.told

    def _discharge_early(self, frame: int) -> bool:
        """Keep a frame's discharge until those before it are discharged too."""
        ahead = (frame - self.acknowledged) % FRAME_NUMBERS
        if not 0 < ahead <= self.outstanding or frame in self._early:
            detail = f"frame {frame} discharged, but it never came or was discharged before"
            raise LocalProtocolError(detail)
        self._early.add(frame)
        return False
