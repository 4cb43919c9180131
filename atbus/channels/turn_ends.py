"""
The end of a turn of the reactor, for who has something to do then and needs no timer for it.

A call of Twisted's reactor that is due at once costs as much as a short message does, and comes
only after the kernel was asked for events in between. A reactor that knows these ends makes such
calls right before it asks. What somebody puts off for longer than a turn is looked at there as
well, time and again, and is done at the latest before the process goes to sleep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

# What is put off is looked at so often, in seconds, and not in each turn, which may be shorter.
_LOOK_SECONDS: Final = 100e-6


class Deferring(Protocol):
    """Who has put something off, and takes itself out of `TurnEnds.deferring` when it is done."""

    def look(self) -> None:
        """Decide at the end of a turn, though not of each short one, whether it is time."""

    def do_now(self) -> None:
        """Do it: nothing happens in this process for a while."""


class TurnEnds:
    """The ends of the turns of one reactor."""

    _log = Logger()

    def __init__(self) -> None:
        #: What is called once, at the end of this turn; what is added meanwhile, at the next one.
        self.calls: list[Callable[[], None]] = []
        #: Who has put something off: as keys, for in a process with many nodes many may.
        self.deferring: dict[Deferring, None] = {}
        self._looked_at = float("-inf")

    def are_to_look(self, now: float) -> bool:
        """
        Tell whether it is time to look at what is put off, if anything is.

        :param now: Seconds on the reactor's clock, which may have been set back.
        """
        return not 0 <= now - self._looked_at < _LOOK_SECONDS

    def come(self, now: float) -> None:
        """
        End a turn. What raises is logged, and nobody else's loss.

        :param now: Seconds on the reactor's clock.
        """
        if self.deferring and self.are_to_look(now):
            self._looked_at = now
            for each in tuple(self.deferring):
                self._call(each.look)
        calls, self.calls = self.calls, []
        for call in calls:
            self._call(call)

    def before_sleep(self) -> None:
        """Have everything done that is put off."""
        for each in tuple(self.deferring):
            self._call(each.do_now)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException:  # noqa: BLE001 - as the reactor does with what it calls
            self._log.failure("the end of a turn failed")


def turn_ends_of(reactor: Any) -> TurnEnds | None:
    """
    Find the ends of a reactor's turns.

    :param reactor: Any.
    :returns: Them; None if it tells nobody.
    """
    ends = getattr(reactor, "turn_ends", None)
    return ends if isinstance(ends, TurnEnds) else None
