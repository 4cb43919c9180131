"""What the bus cannot carry is told to who has published it."""

from __future__ import annotations

from atbus import limits
from tests.nats.harbor import Caller, HarborTests
from tests.nats.transcripts import QUIET

DEEP = b".".join([b"t"] * (limits.SUBJECT_TOKENS_MAX + 1))
LONG = b"s" * (limits.SUBJECT_BYTES + 1)
NOBODY = b"HMSG r.%b 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"


def refused(subject: bytes, what: bytes = b"") -> bytes:
    """Write what a client is told."""
    return b"-ERR 'Permissions Violation for Publish %b \"%b\"'\r\n" % (what or b"to", subject)


class UnpublishedTests(HarborTests):
    """One client, which gets everything that it publishes."""

    def enters(self, login: bytes = QUIET, subject: bytes = b">", **nats: object) -> Caller:
        """Let it in."""
        caller = self.caller(self.alone(**nats))
        caller.says(login + b"SUB %b 9\r\nPING\r\n" % subject)
        self.assertEqual(caller.hears(), b"PONG\r\n")
        return caller

    def hears(self, caller: Caller, said: bytes) -> bytes:
        """Say something, and hear all that comes of it; the connection stays."""
        caller.says(said + b"PING\r\n")
        self.network.settle(0.1)
        heard = caller.hears()
        self.assertIn(b"PONG\r\n", heard)
        return heard.replace(b"PONG\r\n", b"")

    def test_subjects(self) -> None:
        """One that is too long, too deep or no text is named, for each publication."""
        caller = self.enters()
        self.assertEqual(self.hears(caller, b"PUB %b 0\r\n\r\n" % LONG), refused(LONG))
        for again in (1, 3):
            heard = self.hears(caller, again * (b"PUB %b 0\r\n\r\n" % DEEP))
            self.assertEqual(heard, again * refused(DEEP))
        heard = self.hears(caller, b"PUB \xff 0\r\n\r\n")
        self.assertEqual(heard, refused("\ufffd".encode()))
        self.assertEqual(self.hears(caller, b"PUB a 0\r\n\r\n"), b"MSG a 9 0\r\n\r\n")

    def test_what_nobody_could_get(self) -> None:
        """Of an empty token nothing is said, as by nats-server."""
        said = b"PUB a..b 0\r\n\r\nPUB .a 0\r\n\r\n"
        self.assertEqual(self.hears(self.enters(), said), b"")

    def test_reply_subjects(self) -> None:
        """The reply subject is named where it is what is wrong, and nobody gets the question."""
        caller = self.enters(subject=b"a")
        for reply in (LONG, DEEP, b"r..x", b"$ATBUS.x"):
            heard = self.hears(caller, b"PUB a %b 0\r\n\r\n" % reply)
            self.assertEqual(heard, refused(reply, b"with Reply of"))

    def test_who_waits_for_an_answer(self) -> None:
        """Whoever wants to know that there are no responders is told at once."""
        caller = self.enters(subject=b"r.>")
        heard = self.hears(caller, b"PUB %b r.1 0\r\n\r\n" % DEEP)
        self.assertEqual(heard, refused(DEEP) + NOBODY % b"1")
        heard = self.hears(caller, b"PUB a r.%b 0\r\n\r\n" % DEEP)
        self.assertEqual(heard, refused(b"r.%b" % DEEP, b"with Reply of") + NOBODY % DEEP)

    def test_names_of_accounts(self) -> None:
        """A subject that is too deep only by the name of its account is one as well."""
        login = b'CONNECT {"verbose":false,"user":"u","pass":"p"}\r\n'
        caller = self.enters(login, user="u", password="p", account="x")
        subject = b".".join([b"t"] * (limits.SUBJECT_TOKENS_MAX - 1))
        self.assertEqual(self.hears(caller, b"PUB %b 0\r\n\r\n" % subject), refused(subject))
