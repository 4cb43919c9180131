"""A program that answers a request when it pleases."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from atbus.errors import Status
from tests.node.mail import NORTH, SOUTH, MailTests


class LateReplyTests(MailTests):
    """Two leaves, with three nodes between them."""

    def test_the_program_replies_later(self) -> None:
        """What is given to reply later ends the request; in any order."""
        self.proxies()
        asker, answerer = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        asked: list[tuple[int, int]] = []

        def note(source: int, _: bytes) -> object:
            assert answerer.current is not None
            asked.append((source, answerer.current.sequence))
            return answerer.LATER

        answerer.on_request(note)
        replies: list[Deferred[bytes]] = [asker.request(SOUTH + 1, b"?") for _ in range(2)]
        self.network.settle()
        self.assertEqual([source for source, _ in asked], [NORTH + 1, NORTH + 1])
        for number, (source, sequence) in reversed(list(enumerate(asked))):
            answerer.reply(source, sequence, b"%d" % number)
        self.assertEqual([self.ended(reply) for reply in replies], [b"0", b"1"])

    def test_nobody_replies(self) -> None:
        """A request that is never answered ends in a time-out."""
        self.proxies()
        asker, answerer = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        answerer.on_request(lambda _source, _payload: answerer.LATER)
        self.assertIs(self.ended(asker.request(SOUTH + 1, b"?", timeout=2)), Status.TIMEOUT)
