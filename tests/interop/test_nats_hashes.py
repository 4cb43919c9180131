"""Users with hashed passwords at real nats-servers and at a gateway: the same are let in."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from unittest import skipUnless

from twisted.internet.defer import Deferred

from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.nats.sockets import SocketCase
from tests.nats.test_hashes import HASH_A, HASH_LONG
from tests.nats.transcripts import EOF

USERS: Final = [
    {"user": "anna", "password": HASH_A},
    {"user": "long", "password": HASH_LONG},
    {"user": "plain", "password": "a"},
    *(
        {"user": f"anna-{letter}", "password": HASH_A.replace("$2a$", f"$2{letter}$")}
        for letter in "bxy"
    ),
]
LONG: Final = "l" * 72
#: Who shows what.
LOGINS: Final = (
    *(("anna", shown) for shown in ("a", "b", "", "A", "a\0", HASH_A, "\ud800", "\xe4" * 99)),
    *(("long", shown) for shown in (LONG, LONG[1:], LONG + "x", LONG + "\0", "\0" + LONG)),
    *((f"anna-{letter}", shown) for letter in "bxy" for shown in ("a", "b")),
    *(("plain", shown) for shown in ("a", "b")),
    ("nobody", "a"),
)


def login(**options: Any) -> bytes:
    """Write CONNECT."""
    return b"CONNECT " + json.dumps({"verbose": False, **options}).encode() + b"\r\n"


@skipUnless(find_spec("bcrypt"), "bcrypt is not installed")
class HashTests(SocketCase):
    """Who comes in."""

    def serves(self, binary: str | None, authorization: dict[str, Any]) -> int:
        """Start a server; gives its port."""
        require_nats_server(binary)
        config = Path(self.mktemp())
        config.write_text(json.dumps({"authorization": authorization}))
        server = NatsServer("-c", str(config), binary=binary)
        server.start()
        self.addCleanup(server.stop)
        return server.port

    async def places(self, authorization: dict[str, Any]) -> list[int]:
        """Start both servers, and a gateway with the same table; gives their ports."""
        address = (await self.gateway(**authorization)).address()
        assert address is not None
        servers = [self.serves(each, authorization) for each in (BINARY, NEWER_BINARY)]
        return [*servers, address[1]]

    async def hears(self, port: int, says: bytes) -> bytes:
        """
        Say something in one write; give all that is answered but INFO.

        It is over with the answer to the last PING, or, where something else is said last, with the
        connection.
        """
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        talker.says(says)
        ends = EOF if not says.endswith(b"PING\r\n") else b"PONG\r\n"
        heard = await talker.hears(ends)
        while talker.ended_well is None and heard.count(b"PONG\r\n") < says.count(b"PING\r\n"):
            heard += await talker.hears(ends)
        if talker.ended_well is False:
            # Who closes before it has read everything cuts off its own last words.
            heard = b"-ERR 'Authorization Violation'\r\n" + EOF
        talker.transport.abortConnection()
        return heard

    def test_users(self) -> Deferred[None]:
        """Whatever is shown is right or wrong at all three; what is said behind it comes after."""
        return Deferred.fromCoroutine(self.compare_users())

    async def compare_users(self) -> None:
        ports = await self.places({"users": USERS})
        behind = b"SUB a 1\r\nPUB a 1\r\n1\r\nPING\r\n"
        for user, shown in LOGINS:
            said = login(user=user, **{"pass": shown}) + behind
            wanted, newer, heard = [await self.hears(port, said) for port in ports]
            self.assertEqual((newer, heard), (wanted, wanted), (user, shown))
        again = b"".join(login(user=who, **{"pass": "a"}) + behind for who in ("anna", "plain"))
        wrong = login(user="anna", **{"pass": "b"})
        for said in (again, again + wrong, login(user="plain", **{"pass": "a"}) + wrong):
            wanted, newer, heard = [await self.hears(port, said) for port in ports]
            self.assertEqual((newer, heard), (wanted, wanted), said)

    def test_a_token(self) -> Deferred[None]:
        """So it is with a token."""
        return Deferred.fromCoroutine(self.compare_tokens())

    async def compare_tokens(self) -> None:
        ports = await self.places({"token": HASH_A})
        for shown in ("a", "b", "", HASH_A):
            said = login(auth_token=shown) + b"PING\r\n"
            wanted, newer, heard = [await self.hears(port, said) for port in ports]
            self.assertEqual((newer, heard), (wanted, wanted), shown)
