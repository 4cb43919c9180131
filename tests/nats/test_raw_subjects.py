"""Subjects that are bytes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.raw_subjects import is_answer_of_servers, is_of_servers


class ServersTests(SynchronousTestCase):
    """Subjects that servers keep for themselves."""

    def test_to_publish(self) -> None:
        """Only what is behind the prefix of answers between clusters is one."""
        self.assertTrue(is_of_servers(b"_GR_.x"))
        for other in (b"_GR_", b"_GR_.", b"_GR_x.y", b"_R_.x", b"$JS.ACK.x", b"x._GR_.x"):
            self.assertFalse(is_of_servers(other), other)

    def test_to_answer(self) -> None:
        """So it is of replies, with more prefixes; that of services is one alone as well."""
        for reply in (b"_GR_.x", b"_R_.", b"_R_.x", b"$JS.ACK.x", b"_GR_._R_."):
            self.assertTrue(is_answer_of_servers(reply), reply)
        for other in (b"", b"_GR_", b"_GR_.", b"_R_", b"$JS.ACK.", b"$JS.ACK", b"_INBOX.x"):
            self.assertFalse(is_answer_of_servers(other), other)
