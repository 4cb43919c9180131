"""The same changes of a configuration to real servers and to a gateway: clients hear the same."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from atbus.nats.gateway import Gateway
from atbus.nats.nkeys import Kind
from atbus.node.reload import reconfigure
from tests.interop.nats_beside import ServerCase
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.nats.signing import UNLIMITED_ACCOUNT, Key
from tests.nats.sockets import Talker
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF

_GROUP: Final = re.compile(rb' using queue "\w+" \(sid')
_INFO: Final = re.compile(rb"INFO \{.*\} \r\n")


class Rights(NamedTuple):
    """What a user may do: to publish, and to subscribe to, what is allowed and what is denied."""

    publish: tuple[list[str] | None, list[str]] = (None, [])
    subscribe: tuple[list[str] | None, list[str]] = (None, [])


class Entry(NamedTuple):
    """A user in the configuration."""

    name: str
    password: str = "p"
    rights: Rights = Rights()
    account: str = ""


def for_server(users: list[Entry], more: str = "") -> str:
    """Write a configuration of nats-server."""
    names = sorted({entry.account for entry in users if entry.account} | {"one"})
    accounts = []
    for name in names:
        listed = []
        for entry in users:
            if (entry.account or "one") == name:
                sides = {
                    side: {"allow": allow, "deny": deny} if allow is not None else {"deny": deny}
                    for side, (allow, deny) in entry.rights._asdict().items()
                    if allow is not None or deny
                }
                listed.append(
                    {"user": entry.name, "password": entry.password, "permissions": sides}
                )
        accounts.append(f"{name}: {{ users: {json.dumps(listed)} }}")
    return f"accounts {{ {', '.join(accounts)} }}\n{more}"


def for_gateway(users: list[Entry]) -> dict[str, Any]:
    """Make the table of a gateway."""
    entries: list[dict[str, Any]] = []
    for user in users:
        entry: dict[str, Any] = {"user": user.name, "password": user.password}
        entry["permissions"] = {
            side: {"deny": deny} if allow is None else {"allow": allow, "deny": deny}
            for side, (allow, deny) in user.rights._asdict().items()
        }
        entries.append(entry | ({"account": user.account} if user.account else {}))
    return {"users": entries, "account": "one"}


BEFORE: Final = [
    *(Entry("stays"), Entry("goes"), Entry("changes", "p"), Entry("moves", account="two")),
    *(Entry("narrow"), Entry("free", rights=Rights(publish=(["x"], [])))),
]
AFTER: Final = [
    *(Entry("stays"), Entry("changes", "q"), Entry("moves", account="six")),
    Entry("narrow", rights=Rights(subscribe=(["x.>", "mark"], ["x.2"]), publish=(None, ["z"]))),
    Entry("free"),
]
SUBS: Final = b"SUB x.1 1\r\nSUB y.1 2\r\nSUB y.2 q 3\r\nSUB x.> 4\r\nSUB mark 99\r\n"
TRIES: Final = b"PUB z 1\r\n1\r\nPUB w 1\r\n1\r\nSUB y.3 8\r\nPING\r\n"


class ReloadTests(ServerCase):
    """A server and a gateway with the same users, which are others then."""

    def serve(self, text: str) -> NatsServer:
        """Start a server with a configuration."""
        self.path = Path(self.mktemp())
        self.path.write_text(text)
        server = NatsServer("-c", str(self.path), binary=self.binary)
        server.start()
        self.addCleanup(server.stop)
        return server

    async def reload_server(self, server: NatsServer, text: str) -> None:
        """Have a server read another configuration, and wait until it has."""
        self.path.write_text(text)
        os.kill(server.pid, signal.SIGHUP)
        await self.met(lambda: server.has_said(b"Reloaded server configuration"))

    def reload_gateway(self, gateway: Gateway, **nats: Any) -> None:
        """Have a gateway do so."""
        table = {"listen": "127.0.0.1:0", **nats}
        reconfigure(gateway.node, gateway.node.config.replace(nats=table))

    async def enters(self, port: int, says: bytes, **options: Any) -> Talker:
        """Connect a client; it has said what it had to say."""
        talker = await self.talker(port)
        info = info_of(await talker.hears(b" \r\n"))
        if "key" in options:
            options["sig"] = options.pop("key").sign(info["nonce"])
        said = {"verbose": False, "headers": True, "protocol": 0, **options}
        talker.says(b"CONNECT " + json.dumps(said).encode() + b"\r\n" + says + b"PING\r\n")
        await talker.hears(b"PONG\r\n")
        return talker

    async def everybody(self, port: int) -> dict[str, Talker]:
        """Connect all users."""
        return {
            entry.name: await self.enters(port, SUBS, user=entry.name, **{"pass": entry.password})
            for entry in BEFORE
        }

    async def heard_by(self, clients: Mapping[str, Talker]) -> dict[str, bytes]:
        """Say what each has heard of the change, of a publication then, and of what it does."""
        heard = {}
        clients["stays"].says(b"PUB mark 2\r\nhi\r\nPING\r\n")
        first = await clients["stays"].hears(b"PONG\r\n")
        for name, client in clients.items():
            client.says(TRIES)
            text = await client.hears(b"PONG\r\n")
            heard[name] = b"".join(sorted(_plain(text).splitlines(keepends=True)))
        heard["first"] = first
        return heard

    async def at_server(self) -> dict[str, bytes]:
        """Change a server."""
        server = self.serve(for_server(BEFORE))
        clients = await self.everybody(server.port)
        await self.reload_server(server, for_server(AFTER))
        return await self.heard_by(clients)

    async def at_gateway(self) -> dict[str, bytes]:
        """Change a gateway."""
        gateway = await self.gateway(**for_gateway(BEFORE))
        address = gateway.address()
        assert address is not None
        clients = await self.everybody(address[1])
        self.reload_gateway(gateway, **for_gateway(AFTER))
        return await self.heard_by(clients)

    def test_users(self) -> Deferred[None]:
        """Who stays, who goes with which word, and who may do what then."""
        return Deferred.fromCoroutine(self.users())

    async def users(self) -> None:
        theirs, ours = await self.at_server(), await self.at_gateway()
        self.assertEqual(ours, theirs)
        self.assertIn(b"Authorization Violation", theirs["changes"])
        self.assertEqual((theirs["goes"], theirs["moves"]), (EOF, EOF))
        self.assertEqual(theirs["narrow"].count(b"(sid "), 2)

    def test_tokens(self) -> Deferred[None]:
        """A token that is taken back, and an account that is gone."""
        return Deferred.fromCoroutine(self.tokens())

    async def tokens(self) -> None:
        operator, users = Key(Kind.OPERATOR), [Key(Kind.USER) for _ in range(3)]
        one, two = Key(Kind.ACCOUNT), Key(Kind.ACCOUNT)
        chain = operator.token(operator, "operator")
        revoked: dict[str, Any] = {"revocations": {users[0].text: 200}}
        before = {key: operator.token(key, "account", iat=10) for key in (one, two)}
        narrow: dict[str, Any] = {"default_permissions": {"sub": {"deny": ["y.>"]}}}
        claims: dict[str, Any] = {"limits": {**UNLIMITED_ACCOUNT}, **revoked, **narrow}
        after = {one: operator.token(one, "account", bare=True, iat=20, **claims)}

        def text(accounts: dict[Key, str]) -> str:
            listed = ", ".join(f"{key.text}: {token}" for key, token in accounts.items())
            return f"operator: {chain}\nresolver: MEMORY\nresolver_preload: {{ {listed} }}\n"

        server = self.serve(text(before))
        gateway = await self.gateway(operator=chain, accounts=list(before.values()))
        address = gateway.address()
        assert address is not None
        signed = [
            (user, account.token(user, "user", iat=100))
            for user, account in zip(users, (one, one, two), strict=True)
        ]
        both = [
            [await self.enters(port, SUBS, jwt=token, key=user) for user, token in signed]
            for port in (server.port, address[1])
        ]
        await self.reload_server(server, text(after))
        self.reload_gateway(gateway, operator=chain, accounts=list(after.values()))
        heard = []
        for clients in both:
            clients[1].says(TRIES)
            ends = (EOF, b"PONG\r\n", EOF)
            texts = [
                await client.hears(end) for client, end in zip(clients, ends, strict=True)
            ]
            # Newer servers may also end subscriptions of who goes anyway.
            texts[0] = texts[0][texts[0].rindex(b"-ERR") :]
            heard.append([sorted(_plain(text).splitlines()) for text in texts])
        self.assertEqual(heard[1], heard[0])
        self.assertIn(b"-ERR 'User Authentication Revoked'", heard[0][0])
        self.assertIn(b"-ERR 'Authorization Violation'", heard[0][2])

    def test_too_many(self) -> Deferred[None]:
        """With fewer connections so many are closed as are too many."""
        return Deferred.fromCoroutine(self.too_many())

    async def too_many(self) -> None:
        server = self.serve("max_connections: 10\n")
        gateway = await self.gateway(connections_max=10)
        address = gateway.address()
        assert address is not None
        both = [
            [await self.enters(port, b"") for _ in range(6)] for port in (server.port, address[1])
        ]
        await self.reload_server(server, "max_connections: 4\n")
        self.reload_gateway(gateway, connections_max=4)
        for clients in both:
            await self.met(lambda clients=clients: sum(EOF in each.heard for each in clients) >= 2)
            told = b"-ERR 'maximum connections exceeded'\r\n" + EOF
            heard = sorted(each.heard for each in clients)
            self.assertEqual(heard, [*4 * [b""], told, told])


class NewerReloadTests(ReloadTests):
    """The same with the newer server."""

    binary = NEWER_BINARY


def _plain(text: bytes) -> bytes:
    """Leave out what 2.9 does not say, and what only newer servers do."""
    return _INFO.sub(b"", _GROUP.sub(b" (sid", text))
