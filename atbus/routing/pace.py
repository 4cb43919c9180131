"""
Whether the other side of a link takes what is sent to it.

1. An endpoint is *slow* when its queue passes the soft limit, or when nothing of what it was sent
   has been acknowledged for `limits.SLOW_SECONDS`. It is named once, until it has caught up.
2. It is *stuck* when its queue has not moved by one byte for `limits.WRITE_DEADLINE_SECONDS`.
3. A node whose own loop is held up looks at nobody meanwhile: of that time only a part counts, so
   nobody is accused for it, and nobody gains by keeping the node busy.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from atbus import limits


class Verdict(enum.Enum):
    """Say what a look at a link has found."""

    FINE = "fine"
    SLOW = "slow"
    STUCK = "stuck"


@attrs.frozen
class Sight:
    """
    What is seen of one link.

    :param channel_bytes: What the channel could write if the other side read.
    :param written_bytes: Written since the channel was opened.
    :param open_frames: Sent and not acknowledged.
    :param acknowledged: How many frames were acknowledged, or anything else that moves with them.
    :param excused: Whether the other side has said itself that frames will wait.
    """

    channel_bytes: int
    written_bytes: int
    open_frames: int
    acknowledged: int
    excused: bool = False


#: What is seen of a link with nothing on its way, whatever it has carried: most have that, mostly.
AT_REST: Final = Sight(channel_bytes=0, written_bytes=0, open_frames=0, acknowledged=0)


@attrs.define(eq=False)
class Pace:
    """The pace of one link's other side."""

    #: Whether it has been named and has not caught up yet.
    slow: bool = attrs.field(default=False, init=False)
    #: Whether it has acknowledged nothing for a long time, without having said that it would not.
    silent: bool = attrs.field(default=False, init=False)
    _written: tuple[float, int] | None = attrs.field(default=None, init=False)
    _answered: tuple[float, int] | None = attrs.field(default=None, init=False)

    def judge_queue(self, queued_bytes: int, soft_bytes: int) -> bool:
        """
        Hold the queue against the soft limit.

        :returns: Whether the endpoint is to be named now.
        """
        if queued_bytes > soft_bytes and not self.slow:
            self.slow = True
            return True
        if queued_bytes * 2 < soft_bytes and not self.silent:
            self.slow = False
        return False

    def look(self, sight: Sight, now: float) -> Verdict:
        """
        Look whether anything has moved since the last time.

        :param sight: What is seen now.
        :param now: The time that the other side had for it, seconds.
        :returns: `Verdict.SLOW` once, when the endpoint is to be named; `Verdict.STUCK` when the
            link is to be closed.
        """
        if sight is AT_REST:
            self._written = self._answered = None
            self.silent = False
            return Verdict.FINE
        waits = sight.channel_bytes > 0
        self._written = _since(self._written, waits, sight.written_bytes, now)
        waits = sight.open_frames > 0 and not sight.excused
        self._answered = _since(self._answered, waits, sight.acknowledged, now)
        if self._written and now - self._written[0] >= limits.WRITE_DEADLINE_SECONDS:
            return Verdict.STUCK
        self.silent = bool(self._answered and now - self._answered[0] >= limits.SLOW_SECONDS)
        if self.silent and not self.slow:
            self.slow = True
            return Verdict.SLOW
        return Verdict.FINE


def _since(
    known: tuple[float, int] | None, waits: bool, moved: int, now: float
) -> tuple[float, int] | None:
    """Give since when something waits without having moved, and what it had moved by then."""
    if not waits:
        return None
    return (now, moved) if known is None or known[1] != moved else known
