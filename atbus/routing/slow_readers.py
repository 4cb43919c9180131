"""
Who was cut because it did not read.

A process that was stopped, or whose machine was, is cut like any other, and may come back in the
moment in which it runs again. Who is cut once more soon after that makes its neighbors hold what is
for it again and again, so it is kept out for a while.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from atbus import limits
from atbus.routing import bounds


@attrs.define(eq=False)
class SlowReaders:
    """
    Remember who was cut, by id; who was cut longest ago is forgotten first.

    :param again_seconds: How long after a cut the next one keeps somebody out.
    :param out_seconds: For how long.
    """

    again_seconds: float = bounds.SLOW_AGAIN_SECONDS
    out_seconds: float = bounds.SLOW_OUT_SECONDS
    # When it was cut, and until when it is kept out.
    _cut: OrderedDict[int, tuple[float, float]] = attrs.field(factory=OrderedDict, init=False)

    def cut(self, bus_id: int, now: float) -> bool:
        """
        Note that somebody is cut.

        :param bus_id: Who.
        :param now: The time, seconds.
        :returns: Whether it is kept out from now on.
        """
        before = self._cut.pop(bus_id, None)
        is_kept_out = before is not None and now - before[0] < self.again_seconds
        self._cut[bus_id] = (now, now + self.out_seconds if is_kept_out else now)
        if len(self._cut) > limits.ENDPOINTS_MAX:
            self._cut.popitem(last=False)
        return is_kept_out

    def seconds_left(self, bus_id: int, now: float) -> float:
        """
        Tell how long somebody is still kept out.

        :param bus_id: Who.
        :param now: The time, seconds.
        :returns: Seconds, 0 for who may come.
        """
        _, until = self._cut.get(bus_id, (0.0, 0.0))
        return max(0.0, until - now)
