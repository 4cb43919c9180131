"""
How fast a program may publish: as fast as the neighbors take it.

A publication for which a neighbor's queue has no room is missed there. Who publishes much, and
awaits its turn, is held back before that: while any queue has passed its soft limit, but never
longer than `bounds.PACE_SECONDS`, so that one neighbor that is stuck does not stop all publishing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from atbus.node.context import Alarm
from atbus.subjects import bounds

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint


class PublishPace:
    """
    Those who wait until they may publish.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    """

    def __init__(self, context: Context, endpoints: Mapping[int, Endpoint]) -> None:
        self._context = context
        self._endpoints = endpoints
        self._waiting: dict[Deferred[None], float] = {}
        self._alarm = Alarm(context.timers, self._look)

    def wait(self) -> Deferred[None]:
        """Wait for room; see `Node.publishable`."""
        if not self._is_over():
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget)
        now = self._context.now
        self._waiting[waiting] = now + bounds.PACE_SECONDS
        self._alarm.set(now + bounds.PACE_POLL_SECONDS)
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting.pop(waiting, None)

    def _is_over(self) -> bool:
        """Tell whether more is queued for a neighbor than there should be."""
        return any(endpoint.is_over for endpoint in self._endpoints.values() if endpoint.open_link)

    def _look(self) -> None:
        now = self._context.now
        is_over = self._is_over()
        for waiting, deadline in list(self._waiting.items()):
            if not is_over or now >= deadline:
                del self._waiting[waiting]
                waiting.callback(None)
                # It has published, perhaps.
                is_over = is_over or self._is_over()
        self._alarm.set(now + bounds.PACE_POLL_SECONDS if self._waiting else None)

    def close(self) -> None:
        """Hold nobody back any more: the node has stopped."""
        self._alarm.set(None)
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            each.callback(None)
