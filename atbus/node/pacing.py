"""Looking at every link now and then: does its other side take what it is sent?"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from atbus import limits
from atbus.errors import Status
from atbus.node import bounds
from atbus.routing.pace import Verdict

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.pulse import Pulse
    from atbus.node.registrar import Registrar


_STUCK: Final = f"not one byte was taken for {limits.WRITE_DEADLINE_SECONDS:.0f} s"


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
        # Set by the node, which wires its parts.
        self.pulse: Pulse

    def sweep(self) -> None:
        """Look at every link."""
        now = self._context.now
        held_up = self.pulse.lag_seconds > limits.LAG_SECONDS
        debtors: dict[Connection, int] = {}
        total = 0
        for connection in list(self._connections):
            link = connection.link
            if link is None or connection.closed is not None:
                continue
            if held_up:
                link.pace.forgive()
            sight = link.sight
            verdict = link.pace.look(sight, now)
            total += sight.open_frames
            if link.pace.silent or sight.open_frames > limits.UNACKNOWLEDGED_FRAMES_MAX:
                debtors[connection] = sight.open_frames
            if verdict is Verdict.SLOW:
                link.name_slow(link.queued_bytes)
            elif verdict is Verdict.STUCK:
                debtors.pop(connection, None)
                self._cut(connection)
        if total > bounds.UNACKNOWLEDGED_ALL_MAX:
            self._cut_debtors(debtors, total)

    def _cut_debtors(self, debtors: dict[Connection, int], total: int) -> None:
        """
        End links until what all owe together is not too much, those that owe most first.

        Who acknowledges something now and then and keeps to his window is slow, and stays.
        """
        for connection, count in sorted(debtors.items(), key=lambda each: -each[1]):
            if total <= bounds.UNACKNOWLEDGED_ALL_MAX:
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
