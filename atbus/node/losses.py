"""
How often neighbors are told that others are gone.

When a process or a host ends, hundreds of neighbors may, one after the other as the system tells of
them. Each loss alone changes what all others are to know, and they are about to end as well: so the
first one is told at once, and those that follow soon are told together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from atbus.node.context import Alarm
from atbus.subjects import bounds

if TYPE_CHECKING:
    from atbus.node.context import Context


class Losses:
    """
    Gather losses.

    :param tell: Tells at the end of this turn what has changed.
    """

    def __init__(self, context: Context, tell: Callable[[], None]) -> None:
        self._context = context
        self._tell = tell
        self._told_at = float("-inf")
        self._alarm = Alarm(context.timers, self._tell_now)

    def lost(self) -> None:
        """Have it told that a neighbor is gone, now or soon."""
        at = self._told_at + bounds.LOSSES_SECONDS
        if self._context.now >= at:
            self._tell_now()
        else:
            self._alarm.set(at)

    def _tell_now(self) -> None:
        self._told_at = self._context.now
        self._tell()

    def close(self) -> None:
        """Tell nothing more: the node stops."""
        self._alarm.set(None)
