"""Looking at every link now and then: does its other side take what it is sent?"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from atbus import limits
from atbus.errors import Status
from atbus.routing.pace import Verdict

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.pulse import Pulse


class Pacing:
    """
    Name endpoints that are slow, and end links that are stuck.

    :param connections: All connections of the node.
    """

    def __init__(self, context: Context, connections: Collection[Connection]) -> None:
        self._context = context
        self._connections = connections
        # Set by the node, which wires its parts.
        self.pulse: Pulse

    def sweep(self) -> None:
        """Look at every link."""
        now = self._context.now
        held_up = self.pulse.lag_seconds > limits.LAG_SECONDS
        for connection in list(self._connections):
            link = connection.link
            if link is None or connection.closed is not None:
                continue
            if held_up:
                link.pace.forgive()
            verdict = link.pace.look(link.sight, now)
            if verdict is Verdict.SLOW:
                link.name_slow(link.queued_bytes)
            elif verdict is Verdict.STUCK:
                seconds = limits.WRITE_DEADLINE_SECONDS
                connection.abort(
                    Status.SLOW_CONSUMER, f"not one byte was taken for {seconds:.0f} s"
                )
