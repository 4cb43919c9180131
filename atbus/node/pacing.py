"""
Looking at every link now and then: does its other side take what it is sent?

What is not acknowledged is kept, so there is a bound for that of all links together. As long as
little is, each link has its whole window; then as much as is left for all others, so that many that
are slow share it, and none is ended for being slow. Answers go past a window and have a budget of
their own (`atbus.node.owed`). While much of either is used, who acknowledges nothing and has more
than an equal part of that is cut off: who has less would not be missed, and may just not be heard.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.node import bounds
from atbus.routing.pace import Verdict

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.link import Link
    from atbus.node.registrar import Registrar


# What passes between two looks counts up to this much. A node looks four times in a second; while
# its loop is held up it writes to nobody and reads from nobody, and a look comes before it does.
# Not all of that is forgiven, or who keeps a node busy would never be cut off.
_LOOK_SECONDS_MAX: Final = 1.0
_STUCK: Final = f"not one byte was taken for {limits.WRITE_DEADLINE_SECONDS:.0f} s"
# What is kept back of all unacknowledged frames for links that have few, and the fewest that it is
# divided by; as in `atbus.routing.budget`.
_LEAST_PART: Final = 8
# While no more of what may be owed is, nobody has to go for it.
_LITTLE_PART: Final = 8


@attrs.define
class _Debts:
    """
    What has been seen in one look.

    :param links: All links.
    :param debtors: Who may be cut off, and how many frames each has not acknowledged.
    :param frames: How many frames are not acknowledged in all, and
    :param owing: on how many links.
    """

    links: list[Link] = attrs.field(factory=list)
    debtors: dict[Connection, int] = attrs.field(factory=dict)
    frames: int = 0
    owing: int = 0


class Pacing:
    """
    Name endpoints that are slow, and end links that are stuck.

    :param connections: All connections of the node.
    :param registrar: Removes who is cut again and again, and keeps it out.
    """

    def __init__(
        self, context: Context, connections: Collection[Connection], registrar: Registrar
    ) -> None:
        self._context = context
        self._connections = connections
        self._registrar = registrar
        self._window = limits.UNACKNOWLEDGED_FRAMES_MAX
        self._looked_at = context.now
        # The time that others had to show that they read.
        self._seconds = 0.0

    def sweep(self) -> None:
        """Look at every link."""
        now = self._context.now
        self._seconds += min(now - self._looked_at, _LOOK_SECONDS_MAX)
        self._looked_at = now
        debts = _Debts()
        for connection in list(self._connections):
            link = connection.link
            if link is None or connection.closed is not None:
                continue
            sight = link.sight
            verdict = link.pace.look(sight, self._seconds)
            debts.links.append(link)
            debts.frames += sight.open_frames
            debts.owing += sight.open_frames > 0
            if link.pace.silent or sight.open_frames > limits.UNACKNOWLEDGED_FRAMES_MAX:
                debts.debtors[connection] = sight.open_frames
            if verdict is Verdict.SLOW:
                link.name_slow(link.queued_bytes)
            elif verdict is Verdict.STUCK:
                debts.debtors.pop(connection, None)
                self._cut(connection)
        self._share(debts)
        if debts.frames > bounds.UNACKNOWLEDGED_ALL_MAX // 2:
            self._cut_debtors(debts)
        if self._context.owed.used_bytes > bounds.OWED_BYTES_MAX // _LITTLE_PART:
            self._cut_silent(debts)

    def _share(self, debts: _Debts) -> None:
        """Let each link have as many frames on their way as are left for the others."""
        most, links = bounds.UNACKNOWLEDGED_ALL_MAX, debts.links
        least = most // _LEAST_PART // max(len(links), _LEAST_PART)
        left = max(most - most // _LEAST_PART - debts.frames, least, 1)
        window = min(left, limits.UNACKNOWLEDGED_FRAMES_MAX)
        if window < limits.UNACKNOWLEDGED_FRAMES_MAX or window != self._window:
            for link in links:
                link.narrow(window)
        self._window = window

    def _cut_silent(self, debts: _Debts) -> None:
        """End links on which answers are not acknowledged, those that owe most first."""
        most = bounds.OWED_BYTES_MAX // _LITTLE_PART
        owing = sum(link.owed.held_bytes > 0 for link in debts.links)
        held = {each: each.link.owed.held_bytes for each in debts.debtors if each.link is not None}
        for connection, held_bytes in sorted(held.items(), key=lambda each: -each[1]):
            if self._context.owed.used_bytes <= most or held_bytes * owing <= most:
                break
            self._cut(connection, f"{held_bytes} bytes of answers are not acknowledged")

    def _cut_debtors(self, debts: _Debts) -> None:
        """
        End links until all owe together half of what they may, those that owe most first.

        Who acknowledges something now and then and keeps to his window is slow, and stays.
        """
        most, total = bounds.UNACKNOWLEDGED_ALL_MAX // 2, debts.frames
        for connection, count in sorted(debts.debtors.items(), key=lambda each: -each[1]):
            if total <= most or count * debts.owing <= most:
                break
            total -= count
            self._cut(connection, f"{count} frames are not acknowledged")

    def _cut(self, connection: Connection, why: str = _STUCK) -> None:
        """End a link that is stuck, and all others with somebody who is kept out from now on."""
        endpoint = connection.endpoint
        is_kept_out = (
            endpoint is not None
            and not endpoint.temporary
            # Whom we have dialed we would dial again.
            and endpoint.control is not None
            and not endpoint.control.dialled
            and self._registrar.slow_readers.cut(endpoint.bus_id, self._context.now)
        )
        connection.abort(Status.SLOW_CONSUMER, why)
        if endpoint is not None and is_kept_out:
            self._registrar.remove(endpoint, Status.SLOW_CONSUMER)
