"""What clients are told when something is wrong, to the letter, and whether that is the end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from atbus.limits import SUBJECT_BYTES
from atbus.nats.nkeys import Kind
from atbus.node.reload import reconfigure
from tests.nats.signing import UNLIMITED_ACCOUNT, Key
from tests.nats.sockets import SocketCase, Talker
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF, QUIET, STRICT

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "nats.rst"
ANNA: Final = {"user": "anna", "password": "geheim"}
LOGIN: Final = QUIET.replace(b"{", b'{"user":"anna","pass":"geheim",')
TLS_HELLO: Final = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"


class Case(NamedTuple):
    """Something wrong: what a client says behind INFO, and what it is told."""

    cause: str
    text: str
    closes: bool
    says: bytes
    nats: dict[str, Any] = {}  # noqa: RUF012  # only read


def _only(**rights: Any) -> dict[str, Any]:
    return {**ANNA, "permissions": rights}


UNKNOWN: Final = "Unknown Protocol Operation"
REFUSED: Final = "Authorization Violation"
LONG: Final = "r" * (SUBJECT_BYTES + 1)

CASES: Final = (
    Case("an unknown verb", UNKNOWN, True, QUIET + b"FOO\r\n"),
    Case("a verb of routes", UNKNOWN, True, QUIET + b"RS+ $G a\r\n"),
    Case("a verb of servers", UNKNOWN, True, QUIET + b"MSG a 1 2\r\nhi\r\n"),
    Case("a payload that is longer", UNKNOWN, True, QUIET + b"PUB a 2\r\nhiX\r\n"),
    Case("HTTP", UNKNOWN, True, b"GET / HTTP/1.1\r\n\r\n"),
    Case("TLS, where there is none", UNKNOWN, True, TLS_HELLO),
    Case("no size", "", True, QUIET + b"PUB a\r\n"),
    Case("a size that is none", "", True, QUIET + b"PUB a x\r\n"),
    Case("a size with a sign", "", True, QUIET + b"PUB a -1\r\n"),
    Case("a size of ten digits", "", True, QUIET + b"PUB a 1234567890\r\n"),
    Case("PUB of too many words", "", True, QUIET + b"PUB a b c 2\r\nhi\r\n"),
    Case("SUB of too many words", "", True, QUIET + b"SUB a b 1 2\r\n"),
    Case("UNSUB of too many words", "", True, QUIET + b"UNSUB 1 2 3\r\n"),
    Case("more headers than all", "", True, QUIET + b"HPUB a 15 14\r\n"),
    Case(
        "headers of who knows none",
        "",
        True,
        b'CONNECT {"verbose":false}\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n',
    ),
    Case("CONNECT that is no JSON", "", True, b"CONNECT {bad\r\n"),
    Case("an error of the client", "", True, QUIET + b"-ERR 'x'\r\n"),
    Case(
        "a line that is too long",
        "maximum control line exceeded",
        True,
        QUIET + b"SUB " + b"a" * 5_000 + b" 1\r\n",
    ),
    Case(
        "a payload that is too large",
        "Maximum Payload Violation",
        True,
        QUIET + b"PUB a 1048577\r\n",
    ),
    Case(
        "a protocol of the future",
        "invalid client protocol",
        True,
        b'CONNECT {"verbose":false,"protocol":2}\r\n',
    ),
    Case(
        "no_responders without headers",
        "no responders requires headers support",
        True,
        b'CONNECT {"verbose":false,"no_responders":true}\r\n',
    ),
    Case("a wrong password", REFUSED, True, LOGIN.replace(b"geheim", b"falsch"), ANNA),
    Case("no credentials", REFUSED, True, QUIET, ANNA),
    Case("something before CONNECT", REFUSED, True, b"PUB a 0\r\n\r\n", ANNA),
    Case("an account in CONNECT", REFUSED, True, QUIET.replace(b"{", b'{"account":"b",')),
    Case("a new account in CONNECT", REFUSED, True, QUIET.replace(b"{", b'{"new_account":true,')),
    Case(
        "nothing in time",
        "Authentication Timeout",
        True,
        b"",
        {**ANNA, "authentication_seconds": 0.05},
    ),
    Case(
        "no PONG in time",
        "Stale Connection",
        True,
        QUIET,
        {"ping_seconds": 0.02, "pings_max": 1},
    ),
    Case(
        "too much waits",
        "",
        True,
        QUIET + b"SUB a 1\r\nPUB a 2000\r\n%2000d\r\n" % 0,
        {"pending_bytes_max": 1_024},
    ),
    Case(
        "a publication that is not allowed",
        'Permissions Violation for Publish to "b"',
        False,
        LOGIN + b"SUB b 1\r\nPUB b 2\r\nhi\r\n",
        _only(publish=["a"]),
    ),
    Case(
        "a reply subject that is too long",
        f'Permissions Violation for Publish with Reply of "{LONG}"',
        False,
        QUIET + b"PUB a %s 2\r\nhi\r\n" % LONG.encode(),
    ),
    Case(
        "a subscription that is not allowed",
        'Permissions Violation for Subscription to "b"',
        False,
        LOGIN + b"SUB b 1\r\nPUB b 2\r\nhi\r\n",
        _only(subscribe=["a"]),
    ),
    Case(
        "a member that is not allowed",
        'Permissions Violation for Subscription to "b" using queue "q"',
        False,
        LOGIN + b"SUB b q 1\r\nPUB b 2\r\nhi\r\n",
        _only(subscribe=["a"]),
    ),
    Case(
        "one subscription more",
        "maximum subscriptions exceeded",
        False,
        QUIET + b"SUB a 1\r\nSUB b 2\r\nPUB b 2\r\nhi\r\n",
        {"subscriptions_max": 1},
    ),
    Case(
        "a subscription to what is no subject",
        "Invalid Subject",
        False,
        QUIET + b"SUB a..b 1\r\nPUB a..b 2\r\nhi\r\n",
    ),
    Case(
        "a wildcard, published by who is pedantic",
        "Invalid Publish Subject",
        False,
        STRICT.replace(b"true", b"false", 1) + b"PUB a.* 0\r\n\r\n",
    ),
    Case("what only servers say", "", False, QUIET + b"+OK\r\nPONG\r\nINFO {}\r\n"),
)

#: What takes more than one connection to come about.
OTHERS: Final = (
    ("maximum connections exceeded", True),
    ("User Authentication Expired", True),
    ("maximum account active connections exceeded", True),
    ("User Authentication Revoked", True),
)


def told(text: str) -> bytes:
    """Write the line that a client is told something with; nothing for nothing."""
    return f"-ERR '{text}'\r\n".encode() if text else b""


class FaultTests(SocketCase):
    """Real sockets, because to be closed is to hear the end."""

    async def caller(self, **nats: Any) -> Talker:
        """Start a gateway, and connect to it."""
        address = (await self.gateway(**nats)).address()
        assert address is not None
        return await self.talker(address[1])

    def test_each_of_them(self) -> Deferred[None]:
        """Each fault is told in NATS's words, and ends the connection or leaves it as it was."""
        return Deferred.fromCoroutine(self.each_of_them())

    async def each_of_them(self) -> None:
        for case in CASES:
            talker = await self.caller(**case.nats)
            await talker.hears(b" \r\n")
            talker.says(case.says)
            if case.closes:
                heard = await talker.hears(EOF)
                self.assertEqual(heard, told(case.text) + EOF, case.cause)
            else:
                talker.says(b"PING\r\n")
                heard = await talker.hears(b"PONG\r\n")
                self.assertEqual(heard, told(case.text) + b"PONG\r\n", case.cause)

    def test_one_more_than_may_be(self) -> Deferred[None]:
        """Who comes when there are enough hears INFO, why not, and the end."""
        return Deferred.fromCoroutine(self.one_more_than_may_be())

    async def one_more_than_may_be(self) -> None:
        gateway = await self.gateway(connections_max=1)
        address = gateway.address()
        assert address is not None
        first = await self.talker(address[1])
        await first.hears(b" \r\n")
        heard = await (await self.talker(address[1])).hears(EOF)
        self.assertTrue(heard.startswith(b"INFO {"))
        self.assertEqual(heard.partition(b" \r\n")[2], told(OTHERS[0][0]) + EOF)
        first.says(QUIET + b"PING\r\n")
        self.assertEqual(await first.hears(b"PONG\r\n"), b"PONG\r\n")

    def test_rights_that_end(self) -> Deferred[None]:
        """Whose token runs out while he is connected is told so, and closed."""
        return Deferred.fromCoroutine(self.rights_that_end())

    async def rights_that_end(self) -> None:
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        # However long it takes until the token is shown, a moment of it is left then.
        talker = await self.caller(
            wall=lambda: 0.0,
            operator=operator.token(operator, "operator"),
            accounts=[operator.token(account, "account")],
        )
        nonce = info_of(await talker.hears(b" \r\n"))["nonce"]
        token = account.token(user, "user", exp=0.2)
        options = {"verbose": False, "jwt": token, "sig": user.sign(nonce)}
        talker.says(b"CONNECT %s\r\nPING\r\n" % json.dumps(options).encode())
        self.assertEqual(await talker.hears(EOF), b"PONG\r\n" + told(OTHERS[1][0]) + EOF)

    def test_one_more_than_an_account_may_have(self) -> Deferred[None]:
        """Whose account has as many connections as it may have is told so, and closed."""
        return Deferred.fromCoroutine(self.one_more_than_an_account_may_have())

    async def one_more_than_an_account_may_have(self) -> None:
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        limits = {**UNLIMITED_ACCOUNT, "conn": 0}
        talker = await self.caller(
            operator=operator.token(operator, "operator"),
            accounts=[operator.token(account, "account", limits=limits)],
        )
        nonce = info_of(await talker.hears(b" \r\n"))["nonce"]
        options = {"jwt": account.token(user, "user"), "sig": user.sign(nonce)}
        talker.says(b"CONNECT %s\r\n" % json.dumps(options).encode())
        self.assertEqual(await talker.hears(EOF), told(OTHERS[2][0]) + EOF)

    def test_a_token_that_is_taken_back(self) -> Deferred[None]:
        """Whose token is revoked while he is connected is told so, and closed."""
        return Deferred.fromCoroutine(self.a_token_that_is_taken_back())

    async def a_token_that_is_taken_back(self) -> None:
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        nats: dict[str, Any] = {"operator": operator.token(operator, "operator")}
        gateway = await self.gateway(**nats, accounts=[operator.token(account, "account")])
        address = gateway.address()
        assert address is not None
        talker = await self.talker(address[1])
        nonce = info_of(await talker.hears(b" \r\n"))["nonce"]
        token = account.token(user, "user", iat=100)
        options = {"verbose": False, "jwt": token, "sig": user.sign(nonce)}
        talker.says(b"CONNECT %s\r\nPING\r\n" % json.dumps(options).encode())
        self.assertEqual(await talker.hears(b"PONG\r\n"), b"PONG\r\n")
        revoked = operator.token(account, "account", revocations={user.text: 200})
        nats |= {"listen": "127.0.0.1:0", "accounts": [revoked]}
        reconfigure(gateway.node, gateway.node.config.replace(nats=nats))
        self.assertEqual(await talker.hears(EOF), told(OTHERS[3][0]) + EOF)

    def test_a_gateway_that_stops(self) -> Deferred[None]:
        """Whose gateway stops hears the end, and no reason."""
        return Deferred.fromCoroutine(self.a_gateway_that_stops())

    async def a_gateway_that_stops(self) -> None:
        gateway = await self.gateway()
        address = gateway.address()
        assert address is not None
        talker = await self.talker(address[1])
        talker.says(QUIET + b"PING\r\n")
        await talker.hears(b"PONG\r\n")
        await gateway.stopService()
        self.assertEqual(await talker.hears(EOF), EOF)

    def test_the_reference_has_all_of_them(self) -> None:
        """The table in the reference and these tests know the same texts, and the same ends."""
        table = PAGE.read_text().partition("What a client is told")[2].partition("Accounts\n---")[0]
        rows = re.findall(r"^``(.+)`` +(\S.*)$", table, re.MULTILINE)
        written = {(text, end == "it is closed") for text, end in rows}
        known = {(re.sub(r'".*', '"..."', case.text), case.closes) for case in CASES if case.text}
        self.assertEqual(written, known | set(OTHERS))
