"""
How long to wait before dialling again.

The ceiling grows by a factor with each failure, up to a cap; the wait itself is drawn evenly
between nothing and the ceiling (full jitter), so that a thousand nodes that lost the same
upstream at the same moment do not return at the same moment.
"""

from __future__ import annotations

import attrs

from atbus.limits import (
    RECONNECT_FACTOR,
    RECONNECT_SECONDS,
    RECONNECT_SECONDS_MAX,
    REFUSED_SECONDS,
)


@attrs.define(eq=False)
class Backoff:
    """
    The waits between attempts to reach one address.

    :param initial: The first ceiling, seconds.
    :param factor: By how much the ceiling grows with each failure, at least 1.
    :param cap: The largest ceiling, seconds.
    :param refused_seconds: The wait after an explicit refusal.
    """

    initial: float = attrs.field(default=RECONNECT_SECONDS, validator=attrs.validators.gt(0))
    factor: float = attrs.field(default=RECONNECT_FACTOR, validator=attrs.validators.ge(1))
    cap: float = attrs.field(default=RECONNECT_SECONDS_MAX, validator=attrs.validators.gt(0))
    refused_seconds: float = attrs.field(default=REFUSED_SECONDS, validator=attrs.validators.gt(0))
    #: The ceiling of the next wait, seconds.
    ceiling: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def next(self, random: float) -> float:
        """
        Wait after an attempt that failed.

        :param random: A number drawn evenly between 0 and 1.
        :returns: How long to wait, seconds.
        """
        seconds = self.ceiling * random
        self.ceiling = min(self.cap, self.ceiling * self.factor)
        return seconds

    def refused(self) -> float:
        """
        Wait after the other side refused us: asking again soon will not change its mind.

        Without jitter: those who are refused dialled at different moments already. The waits
        after this one have the cap for their ceiling.

        :returns: How long to wait, seconds.
        """
        self.ceiling = self.cap
        return self.refused_seconds

    def reset(self) -> None:
        """Begin anew, after a registration that succeeded."""
        self.ceiling = min(self.cap, self.initial)
