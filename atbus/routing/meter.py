"""
What somebody has made us spend, against what he may.
"""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class Meter:
    """
    Count what one neighbor costs. It may spend *burst* in one go; that comes back with time.

    :param burst: What it may spend, in any unit.
    :param rate: How much comes back in a second.
    """

    burst: float = attrs.field(validator=attrs.validators.gt(0))
    rate: float = attrs.field(validator=attrs.validators.gt(0))
    # When everything has come back, seconds.
    _paid_at: float = attrs.field(default=float("-inf"), init=False)

    def spend(self, cost: float, now: float) -> float:
        """
        Spend something, though it be more than there is.

        :param cost: How much.
        :param now: The time, seconds.
        :returns: How long until the debt is paid, seconds; 0 or less when there is none.
        """
        self._paid_at = max(self._paid_at, now) + cost / self.rate
        return self._paid_at - now - self.burst / self.rate

    def is_full(self, now: float) -> bool:
        """
        Tell whether everything has come back.

        :param now: The time, seconds.
        """
        return now >= self._paid_at
