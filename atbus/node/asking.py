"""Messages whose sender waits: for the destination's word, or for a reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail

from atbus.errors import Status, Undeliverable
from atbus.routing.answers import check_seconds
from atbus.wire.messages import Flags

if TYPE_CHECKING:
    from atbus.node.delivery import Inbox
    from atbus.node.events import Fate
    from atbus.node.fates import Fates
    from atbus.node.sending import Sender


class Asking:
    """Send and wait."""

    def __init__(self, sender: Sender, fates: Fates, inbox: Inbox) -> None:
        self._sender = sender
        self._fates = fates
        self._inbox = inbox

    def deliver(
        self, target: int, payload: bytes, kind: int, timeout: float, hop_limit: int | None
    ) -> Deferred[Fate]:
        """Send and wait for the destination's answer."""
        check_seconds(timeout)
        if self._fates.full:
            return fail(self._sender.refused(Status.BUFFER_LIMIT, target))
        try:
            sequence = self._sender.send_with(
                target, payload, kind, flags=Flags.ANSWER, hop_limit=hop_limit, later=True
            )
        except Undeliverable:
            return fail()
        waiting = self._fates.expect_fate(target, sequence, timeout)
        self._inbox.run_self_soon()
        return waiting

    def request(self, target: int, payload: bytes, kind: int, timeout: float) -> Deferred[bytes]:
        """Send and wait for the reply."""
        check_seconds(timeout)
        if self._fates.full:
            return fail(self._sender.refused(Status.BUFFER_LIMIT, target))
        try:
            sequence = self._sender.send_with(
                target, payload, kind, flags=Flags.REQUEST, later=True
            )
        except Undeliverable:
            return fail()
        waiting = self._fates.expect_reply(target, sequence, timeout)
        self._inbox.run_self_soon()
        return waiting
