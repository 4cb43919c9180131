"""
Who answers for a frame: the two ledgers of a link (wire protocol, section 4).

Each direction of a link numbers its frames 1, 2, 3 ... 2**32 - 1 and then 1 again; 0 is never
given, it marks a frame outside the numbering. The sender keeps what it sent in an
`OutgoingLedger` until the receiver says that it is *discharged*: delivered to the application,
acknowledged by the next hop, or answered with a failure. The receiver keeps count in an
`IncomingLedger`.

1. Frames of one link arrive strictly in order, for a link is a stream. A number out of turn is a
   breach.
2. They are discharged in any order. The acknowledgement in every head is one number: all frames up
   to it are discharged. A frame that waits for a slow next hop would hold back the word about all
   that are behind it, and with it the window; so what is discharged *early*, before an older
   frame, is told beside that number, in ranges, each frame once.
3. At most a window of frames should be unacknowledged. `OutgoingLedger.full` says so, `record`
   does not refuse: what answers a frame must be allowed past the window, or two full links that
   owe each other answers would wait for ever.
4. When the link dies, what was not acknowledged may or may not have been discharged: `abandon`
   hands it back, to be reported as uncertain, once.

A relay joins two links: what it records for a frame that it passes on names the link and the number
under which the frame came, so that the next hop's acknowledgement discharges it there.

This runs once per frame, so the usual cases - in order, all at once - are plain arithmetic. Both
ledgers keep what is outstanding and nothing else, however far apart the oldest and the newest are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar

import attrs

from atbus.errors import LocalProtocolError, OutOfTurn

T = TypeVar("T")

Range = tuple[int, int]
"""The first and the last of consecutive frame numbers."""

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


# The window is checked when it is made; checking at each assignment would cost every frame twice.
@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class OutgoingLedger(Generic[T]):
    """
    The frames that we sent over a link and that the other side has not acknowledged.

    :param window: How many of them there should be at most, 1 to 2**31 - 1.
    """

    window: int = attrs.field(validator=[attrs.validators.ge(1), attrs.validators.le(_HALF)])
    #: The number of the frame sent last; 0 before the first.
    sent: int = attrs.field(default=0, init=False)
    #: All frames up to this number are acknowledged; 0 before the first.
    acknowledged: int = attrs.field(default=0, init=False)
    # The frames sent last, without gaps; a list, for an empty one costs an idle peer little, ...
    _items: list[T] = attrs.field(factory=list, init=False, repr=False)
    # ... and by number those of older ones that are left among frames acknowledged early; None
    # while no other is.
    _left: OrderedDict[int, T] | None = attrs.field(default=None, init=False, repr=False)
    #: How many frames were acknowledged early; with `acknowledged` it tells of every progress.
    early: int = attrs.field(default=0, init=False)
    # Grows without wrapping: tells a late acknowledgement from one that was never due.
    _acknowledged_count: int = attrs.field(default=0, init=False, repr=False)

    @property
    def discharged(self) -> int:
        """Grows with every frame that is acknowledged, early or not."""
        return self._acknowledged_count + self.early

    def __len__(self) -> int:
        return len(self._items) + (len(self._left) if self._left else 0)

    def __iter__(self) -> Iterator[T]:
        """Give what is not acknowledged, oldest first."""
        return chain(self._left.values() if self._left else (), self._items)

    @property
    def full(self) -> bool:
        """Whether a window of frames is unacknowledged: send nothing but answers now."""
        left = self._left
        return len(self._items) + (len(left) if left else 0) >= self.window

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
        acknowledged = self.acknowledged
        if ack == acknowledged or not ack:
            return []
        items = self._items
        span = (self.sent - acknowledged) % FRAME_NUMBERS
        count = (ack - acknowledged) % FRAME_NUMBERS
        if not 0 < count <= span:
            return self._judge_stale(ack)
        self.acknowledged = ack
        self._acknowledged_count += count
        if span != len(items):
            return self._take_up_to(acknowledged, count, span - len(items))
        discharged = items[:count]
        del items[:count]
        return discharged

    def _take_up_to(self, acknowledged: int, count: int, sparse: int) -> list[T]:
        """Take the next *count* frames, some of the first *sparse* of which are gone already."""
        left = self._left
        taken = []
        while left and (next(iter(left)) - acknowledged) % FRAME_NUMBERS <= count:
            taken.append(left.popitem(last=False)[1])
        self._left = left or None
        count = max(0, count - sparse)
        taken += self._items[:count]
        del self._items[:count]
        return taken

    def acknowledge_early(self, ranges: Iterable[Range]) -> list[T]:
        """
        Take the other side's word for frames of which older ones are not discharged.

        Frames that are acknowledged already are left out, for the word may have been overtaken.

        :param ranges: The first and the last of consecutive numbers each.
        :returns: What the frames carried that are discharged by this, in the order of the ranges.
        :raises OutOfTurn: if the end of a range was never sent.
        """
        taken: list[T] = []
        for first, last in ranges:
            span = (self.sent - self.acknowledged) % FRAME_NUMBERS
            until = (last - self.acknowledged) % FRAME_NUMBERS
            if not 0 < until <= span:
                self._judge_stale(last)
                continue
            since = (first - self.acknowledged) % FRAME_NUMBERS
            if not 0 < since <= until:
                since = 1
            taken += self._take_between(since, until, span - len(self._items))
        self.early += len(taken)
        return taken

    def _take_between(self, since: int, until: int, sparse: int) -> list[T]:
        """Take the frames from *since* to *until*, counted from the last acknowledged one."""
        left, start = self._left or OrderedDict(), self.acknowledged
        end = min(until, sparse)
        if end - since < len(left):
            numbers = [_ahead(start, n) for n in range(since, end + 1)]
        else:
            numbers = [n for n in left if since <= (n - start) % FRAME_NUMBERS <= end]
        taken = [left.pop(number) for number in numbers if number in left]
        for place, item in enumerate(self._items[: max(0, until - sparse)], sparse + 1):
            if place < since:
                left[_ahead(start, place)] = item
            else:
                taken.append(item)
        del self._items[: max(0, until - sparse)]
        self._left = left or None
        return taken

    def abandon(self) -> list[T]:
        """
        Give up on the link: nobody will acknowledge anything any more.

        :returns: What was not acknowledged, oldest first; a second call returns nothing.
        """
        uncertain = list(self)
        self._left = None
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
    # The highest number that is discharged, while that is above `acknowledged`, ...
    _reach: int = attrs.field(default=0, init=False, repr=False)
    # ... and those between the two that are not, in order; None when there is no such gap.
    _gaps: OrderedDict[int, None] | None = attrs.field(default=None, init=False, repr=False)
    # Discharged before an older one, and not told yet.
    _early: list[int] | None = attrs.field(default=None, init=False, repr=False)

    @property
    def outstanding(self) -> int:
        """How many frames arrived and are not discharged."""
        if not self._gaps:
            return (self.arrived - self.acknowledged) % FRAME_NUMBERS
        return (self.arrived - self._reach) % FRAME_NUMBERS + len(self._gaps)

    @property
    def untold(self) -> int:
        """How many frames could be acknowledged that the other side does not know of."""
        return (self.acknowledged - self.told) % FRAME_NUMBERS

    @property
    def early(self) -> int:
        """How many frames were discharged before an older one and not told of yet."""
        return len(self._early) if self._early else 0

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
        gaps = self._gaps
        if gaps:
            del gaps[frame]
            # Up to the next gap everything is discharged; without one, up to the reach.
            frame = (next(iter(gaps)) - 2) % FRAME_NUMBERS + 1 if gaps else self._reach
            self._gaps = gaps or None
        self.acknowledged = frame
        return True

    def tell(self) -> int:
        """
        Give the number to write into a frame that goes back, and remember that it was told.

        :returns: `acknowledged`.
        """
        self.told = self.acknowledged
        return self.told

    def tell_early(self) -> list[Range]:
        """
        Give the frames that were discharged before an older one, each once.

        :returns: Ranges of numbers, ascending; those that `acknowledged` covers by now are left
            out.
        """
        start = self.acknowledged
        reach = (self._reach - start) % FRAME_NUMBERS if self._gaps else 0
        early, self._early = self._early, None
        places = sorted((number - start) % FRAME_NUMBERS for number in early or ())
        ranges: list[list[int]] = []
        for place in places:
            if not 0 < place <= reach:
                continue
            if ranges and ranges[-1][1] == place - 1:
                ranges[-1][1] = place
            else:
                ranges.append([place, place])
        return [(_ahead(start, first), _ahead(start, last)) for first, last in ranges]

    def _discharge_early(self, frame: int) -> bool:
        """Note a discharge that comes before that of an older frame."""
        gaps, start = self._gaps or OrderedDict(), self.acknowledged
        ahead = (frame - start) % FRAME_NUMBERS
        reach = (self._reach - start) % FRAME_NUMBERS if gaps else 0
        if reach < ahead <= (self.arrived - start) % FRAME_NUMBERS:
            for place in range(reach + 1, ahead):
                gaps[_ahead(start, place)] = None
            self._reach = frame
            self._gaps = gaps or None
        elif frame in gaps:
            del gaps[frame]
            self._gaps = gaps or None
        else:
            detail = f"frame {frame} discharged, but it never came or was discharged before"
            raise LocalProtocolError(detail)
        if self._early is None:
            self._early = []
        self._early.append(frame)
        return False


def _ahead(start: int, count: int) -> int:
    """Give the number that is *count* frames behind *start* on the wire."""
    return (start + count - 1) % FRAME_NUMBERS + 1
