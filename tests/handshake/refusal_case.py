"""What the tests of failed registrations share."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.handshake.effects import Close, Effect, Refused
from atbus.handshake.terms import LocalTerms
from atbus.testing.conversation import HandshakeEnd, HandshakePair
from atbus.wire.messages import (
    RegisterResponse,
)

TOKEN = b"a token"


def ending(status: Status, *, by_peer: bool, detail: str) -> list[Effect]:
    """Say how every registration that fails ends."""
    return [Refused(status, detail, by_peer=by_peer), Close(status, detail)]


class RefusalCase(SynchronousTestCase):
    """What the tests below ask again and again."""

    def assert_refused(self, end: HandshakeEnd, status: Status, *, by_peer: bool) -> None:
        """Check that one side ends as every failed registration does."""
        assert end.refused is not None
        assert end.closed is not None
        self.assertEqual((end.refused.status, end.refused.by_peer), (status, by_peer))
        self.assertEqual(end.effects[-2:], [end.refused, end.closed])
        self.assertEqual(end.closed, Close(status, end.refused.detail))
        self.assertIsNone(end.registered)
        self.assertTrue(end.machine.finished)
        self.assertIsNone(end.machine.deadline)

    def assert_told(self, end: HandshakeEnd, status: Status, detail: str) -> None:
        """Check that one side said why before it closed."""
        told = end.sent[-1]
        assert isinstance(told, RegisterResponse)
        self.assertEqual((told.status, told.detail), (status, detail))
        self.assertEqual((told.assigned_id, told.known_epoch), (0, 0))

    def run_pair(
        self,
        dialler: LocalTerms,
        listener: LocalTerms,
        status: Status,
        *,
        found_by_dialler: bool = False,
    ) -> HandshakePair:
        """Run two machines into a refusal that one of them finds and the other is told."""
        pair = HandshakePair(dialler, listener)
        pair.run()
        finder, other = (
            (pair.dialler, pair.listener) if found_by_dialler else (pair.listener, pair.dialler)
        )
        self.assert_refused(finder, status, by_peer=False)
        self.assert_refused(other, status, by_peer=True)
        return pair
