"""
Telling the other side of a link which of its frames are discharged (wire protocol, section 4.2).

The word rides on anything that goes back. When nothing does, and for frames that were discharged
before an older one, a LINK_ACK says it: after `limits.ACK_DELAY_SECONDS`, or at once for
`limits.ACK_FRAMES_MAX` frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from atbus import limits

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.routing.custody import IncomingLedger, Range

Ranges = tuple["Range", ...]


class Acking:
    """
    The acknowledgements of one link.

    :param incoming: Knows what is discharged, and what of it was told.
    :param tell: Says one word: what is discharged up to now, and some ranges besides.
    """

    __slots__ = ("_call", "_context", "_incoming", "_tell")

    def __init__(
        self, context: Context, incoming: IncomingLedger, tell: Callable[[Ranges], None]
    ) -> None:
        self._context = context
        self._incoming = incoming
        self._tell = tell
        self._call: IDelayedCall | None = None

    @property
    def waits(self) -> bool:
        """Whether the other side is going to be told of what is discharged when a time is over."""
        return self._call is not None

    def soon(
        self,
        rides: bool,
        frames_max: int = limits.ACK_FRAMES_MAX,
        at_once: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """
        See to it that the other side is told in time.

        :param rides: Whether something is about to go back that says it besides.
        :param frames_max: For how many it is told at once.
        :param at_once: Called with what tells it, to do that when nothing else is waited for.
        """
        incoming = self._incoming
        due = incoming.early if rides else incoming.early + incoming.untold
        if not due:
            return
        if due >= frames_max:
            if at_once is None:
                self._now()
            else:
                at_once(self._now)
        elif self._call is None:
            self._call = self._context.timers.callLater(limits.ACK_DELAY_SECONDS, self._now)

    def _now(self) -> None:
        self.stop()
        self.say()

    def say(self) -> None:
        """Say what the other side does not know, in as many words as it takes."""
        early = self._incoming.tell_early()
        for start in range(0, len(early), limits.ACK_RANGES_MAX):
            self._tell(tuple(early[start : start + limits.ACK_RANGES_MAX]))
        if self._incoming.untold and not early:
            self._tell(())

    def stop(self) -> None:
        """Wait for nothing more."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
