"""What the bus cannot carry is told to who has published it, or has asked for it."""

from __future__ import annotations

from atbus import limits
from tests.nats.harbor import Caller, HarborTests
from tests.nats.transcripts import QUIET

DEEP = b".".join([b"t"] * (limits.SUBJECT_TOKENS_MAX + 1))
LONG = b"s" * (limits.SUBJECT_BYTES + 1)
#: What a server carries, and the bus does not; and how it is named, as servers name it.
KINDS = {
    DEEP: DEEP,
    LONG: LONG,
    b"\xff": rb"\xff",
    b"a\xed\xa0\x80": rb"a\xed\xa0\x80",
    b'"\xff\\': rb"\"\xff\\",
    **{
        b"a%cb" % control: rb"a%bb" % named
        for control, named in (
            *((0, rb"\x00"), (1, rb"\x01"), (7, rb"\a"), (8, rb"\b"), (0x0B, rb"\v")),
            *((0x0C, rb"\f"), (0x0E, rb"\x0e"), (0x1C, rb"\x1c"), (0x1F, rb"\x1f")),
            (0x7F, rb"\x7f"),
        )
    },
    **{
        f"a{blank}b".encode(): rb"a\u%04xb" % ord(blank)
        for blank in "\x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"
    },
    "\xe4\u200b\U0001f68c\U000e0001\0".encode(): (
        "\xe4\\u200b\U0001f68c\\U000e0001\\x00".encode()
    ),
}
#: What it does carry, though it looks alike.
OTHERS = (
    b".".join([b"t"] * limits.SUBJECT_TOKENS_MAX),
    b"s" * limits.SUBJECT_BYTES,
    *(f"a{letter}b".encode() for letter in "\x80\x9f\xad\u200b\u2060\ufeff\ufffd\U0001f68c"),
)
NOBODY = b"HMSG r.%b 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"


def refused(subject: bytes, what: bytes = b"") -> bytes:
    """Write what a client is told."""
    return b"-ERR 'Permissions Violation for Publish %b \"%b\"'\r\n" % (what or b"to", subject)


def not_subscribed(subject: bytes, queue: bytes = b"") -> bytes:
    """Write what a client is told."""
    group = b' using queue "%b"' % queue if queue else b""
    return b"-ERR 'Permissions Violation for Subscription to \"%b\"%b'\r\n" % (subject, group)


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
        return heard.replace(b"PONG\r\n", b"").replace(b"PING\r\n", b"")

    def test_subjects(self) -> None:
        """One that is too long, too deep or no text is named, for each publication."""
        caller = self.enters()
        self.assertEqual(self.hears(caller, b"PUB %b 0\r\n\r\n" % LONG), refused(LONG))
        for again in (1, 3):
            heard = self.hears(caller, again * (b"PUB %b 0\r\n\r\n" % DEEP))
            self.assertEqual(heard, again * refused(DEEP))
        heard = self.hears(caller, b"PUB \xff 0\r\n\r\n")
        self.assertEqual(heard, refused(rb"\xff"))
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

    def test_each_kind(self) -> None:
        """Whatever there is no room for, each use of it is named, and the client stays."""
        caller = self.enters()
        for kind, named in KINDS.items():
            heard = self.hears(caller, b"PUB %b 0\r\n\r\n" % kind)
            self.assertEqual(heard, refused(named), kind)
            heard = self.hears(caller, b"PUB a %b 0\r\n\r\n" % kind)
            self.assertEqual(heard.partition(b"HMSG")[0], refused(named, b"with Reply of"), kind)
            heard = self.hears(caller, b"SUB %b 1\r\n" % kind)
            self.assertEqual(heard, not_subscribed(named), kind)
        self.assertEqual(self.hears(caller, b"PUB a 0\r\n\r\n"), b"MSG a 9 0\r\n\r\n")

    def test_queue_groups(self) -> None:
        """The name of a group has the same letters and bytes; tokens are not counted in it."""
        caller = self.enters()
        for kind, named in list(KINDS.items())[1:]:
            heard = self.hears(caller, b"SUB a %b 1\r\n" % kind)
            self.assertEqual(heard, not_subscribed(b"a", named), kind)
        for sid, name in enumerate((DEEP, *OTHERS, b"a..b", b">", b"*", b"."), 1):
            self.assertEqual(self.hears(caller, b"SUB q %b %d\r\n" % (name, sid)), b"", name)

    def test_what_is_no_pattern_anywhere(self) -> None:
        """That is called so, as by nats-server, also when it is too long besides."""
        caller = self.enters()
        for wrong in (b"a..b", b".", b">.a", b"%b." % DEEP, b"a.>.%b" % LONG):
            heard = self.hears(caller, b"SUB %b 1\r\n" % wrong)
            self.assertEqual(heard, b"-ERR 'Invalid Subject'\r\n", wrong)

    def test_what_is_carried(self) -> None:
        """As much as there is room for, and every other letter, visible or not."""
        for kind in OTHERS:
            caller = self.enters(subject=kind)
            heard = self.hears(caller, b"PUB %b 0\r\n\r\n" % kind)
            self.assertEqual(heard, b"MSG %b 9 0\r\n\r\n" % kind, kind)
