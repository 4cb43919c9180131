"""One table of users and permissions at real nats-servers and at a gateway: the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred

from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.nats.sockets import SocketCase

#: What each user may do, as both call it; everybody's password is his name.
USERS: Final[dict[str, dict[str, Any]]] = {
    "lists": {
        "publish": {"allow": ["foo.*", "bar.>"], "deny": ["foo.secret"]},
        "subscribe": {
            "allow": ["foo.>", "_INBOX.>", "q.a grp", "q.b grp.*", "w.* >"],
            "deny": ["foo.no", "foo.no.>", "foo.queue bad"],
        },
    },
    "answers": {"subscribe": {"allow": ["svc"]}, "publish": {"deny": [">"]}},
    "free": {},
    "deaf": {"subscribe": {"deny": [">"]}},
    "middle": {"publish": {"allow": ["x.*.y"]}, "subscribe": {"allow": ["x.*.y", "z.*"]}},
    "denied": {"publish": {"deny": ["no.*", "no.>", "on.>"]}},
    "all": {"publish": {"allow": [">"]}},
    "holes": {"subscribe": {"deny": ["a.x.*", "c.*.d", "*.e", "f.>", "g"]}},
    "words": {"publish": {"allow": ["no", "x.no", "no.x", "w.*"]}},
}


def publishes(*subjects: bytes) -> bytes:
    """Write publications of nothing, each perhaps with a reply subject behind a blank."""
    return b"".join(b"PUB %b 0\r\n\r\n" % subject for subject in subjects)


def subscribes(*patterns: bytes) -> bytes:
    """Write subscriptions, each perhaps with a queue group behind a blank."""
    return b"".join(b"SUB %b %d\r\n" % each for each in zip(patterns, range(1, 99), strict=False))


#: Letters that are written in another way where they are named in quotes.
ODD: Final = (
    *(b"a%cb" % control for control in (1, 7, 8, 0x0B, 0x0C, 0x1B, 0x7F, 0x22, 0x27, 0x5C)),
    *(b"\xff", b"a\xed\xa0\x80", b"\xc3", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xef\xbf\xbd"),
    *(f"a{letter}b".encode() for letter in "\xe4\x85\xa0\xad\u0301\u200b\u2028\ufeff\ue000"),
    *(letter.encode() for letter in "\U0001f68c\U000e0001\U00012000\uffff\u0378\u4e00"),
)

#: Who says what.
CASES: Final = (
    ("lists", publishes(b"foo.secret", b"foo.ok", b"baz", b"bar", b"bar.x.y")),
    ("lists", subscribes(b"_INBOX.1") + publishes(b"foo.secret _INBOX.1", b"foo.ok _INBOX.1")),
    ("lists", publishes(b"foo.*", b"bar.>", b"foo.>")),
    ("lists", publishes(b"foo.", b"foo..x", b"bar.", b"bar..x", b".foo", b"bar.x.", b".", b"..")),
    ("lists", subscribes(b"_INBOX.1") + publishes(b"foo. _INBOX.1")),
    ("lists", subscribes(b"foo.no", b"foo.no.x", b"foo.no.>")),
    ("lists", subscribes(b"foo.*") + publishes(b"foo.no", b"foo.yes")),
    ("lists", subscribes(b">", b"*", b"*.x", b"foo.>")),
    ("lists", subscribes(b"q.a grp", b"q.a other", b"q.a")),
    ("lists", subscribes(b"q.b grp.x", b"q.b grp", b"q.b grp.x.y")),
    ("lists", subscribes(b"w.a any.thing", b"w.a", b"w.* g")),
    ("lists", subscribes(b"foo.queue bad", b"foo.queue good", b"foo.queue")),
    # What is published on foo.queue the older server delivers, and the newer one does not.
    ("lists", subscribes(b"foo.* bad") + publishes(b"foo.x")),
    ("lists", publishes(b"foo.secret _GR_.x", b"_GR_.x", b"foo.ok _R_.x")),
    ("middle", subscribes(b"x.>", b"x.*.*", b"*.*.y", b"x.a.*")),
    ("middle", subscribes(b"z.*", b"z.a", b"z")),
    ("lists", publishes(*ODD) + subscribes(*ODD)),
    ("lists", subscribes(*(b"a " + each for each in ODD))),
    ("free", publishes(*(b"a _GR_." + each for each in ODD))),
    ("middle", publishes(b"x.a.y", b"x.a.z", b"x.*.y", b"x..y")),
    ("deaf", subscribes(b"a", b"_INBOX.x")),
    ("answers", subscribes(b"svc") + publishes(b"svc r", b"a.", b"_R_.x")),
    ("denied", publishes(b"no.", b"no..b", b"no.x.", b"no..", b"on.", b".a", b"no.a", b"on.a.b")),
    ("all", publishes(b"no.", b"no..b", b".a", b".", b"..", b"a")),
    ("holes", subscribes(b"a.x.>", b"a.*.*", b"a.x.*", b"a.>", b"a.x.b", b"a.x", b"*.x.*")),
    ("holes", subscribes(b"c.*.d", b"c.>", b"c.x.d", b"c.*.*", b"c.*.e", b"*.>", b"*.e", b"*.*")),
    ("holes", subscribes(b"f.>", b"f.*", b"f.*.>", b"f", b"*", b">", b"g", b"f.a q", b"f.> q")),
    ("holes", subscribes(b">") + publishes(b"a.x.b", b"a.x", b"c.x.d", b"h.e", b"f.a", b"g", b"h")),
    ("words", publishes(b"no.", b"x.no", b"xno", b"no.*", b"no.>", b"no.x", b"w.*", b"w.>.x")),
    ("free", subscribes(b">") + publishes(b"_GR_.x", b"_GR_", b"_GR_.x _GR_.y", b"_R_.x", b"_R_")),
    ("free", subscribes(b">") + publishes(b"a _GR_.x", b"a _GR_", b"a _R_.x", b"a _R_.", b"a _R_")),
    ("free", subscribes(b">") + publishes(b"a $JS.ACK.x", b"$JS.ACK.x", b"a $GNR.x", b"_GR_.*")),
    ("free", subscribes(b"_GR_.>", b"_R_.x") + publishes(b"_R_.x") + 3 * publishes(b"_GR_.x")),
)


class PermissionTests(SocketCase):
    """What clients may do."""

    def serves(self, binary: str | None) -> int:
        """Start a server; gives its port."""
        require_nats_server(binary)
        config = Path(self.mktemp())
        users = [
            {"user": name, "password": name, "permissions": self.as_there(name, permissions)}
            for name, permissions in USERS.items()
        ]
        # What is JSON is a configuration as well.
        config.write_text(json.dumps({"authorization": {"users": users}}))
        server = NatsServer("-c", str(config), binary=binary)
        server.start()
        self.addCleanup(server.stop)
        return server.port

    def as_there(self, name: str, permissions: dict[str, Any]) -> dict[str, Any]:
        """Write them as a server has them."""
        return permissions | ({"allow_responses": {"max": 1}} if name == "answers" else {})

    def as_here(self, name: str, permissions: dict[str, Any]) -> dict[str, Any]:
        """Write them as a gateway has them."""
        return permissions | ({"responses": 1} if name == "answers" else {})

    def test_permissions(self) -> Deferred[None]:
        """Each line is allowed or refused as at both servers, in the same words and order."""
        return Deferred.fromCoroutine(self.compare())

    async def compare(self) -> None:
        users = [
            {"user": name, "password": name, "permissions": self.as_here(name, permissions)}
            for name, permissions in USERS.items()
        ]
        address = (await self.gateway(users=users)).address()
        assert address is not None
        older, newer = self.serves(BINARY), self.serves(NEWER_BINARY)
        for user, says in CASES:
            for options in (b'"verbose":false,"pedantic":false', b'"verbose":true,"pedantic":true'):
                wanted = await self.answer(older, user, options, says)
                self.assertEqual(await self.answer(newer, user, options, says), wanted, says)
                heard = await self.answer(address[1], user, options, says)
                self.assertEqual(heard, wanted, (user, says))

    async def answer(self, port: int, user: str, options: bytes, says: bytes) -> bytes:
        """Say something as a user; gives all that is answered, but for INFO."""
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        login = b'CONNECT {%b,"user":"%b","pass":"%b"}\r\n' % (options, *2 * (user.encode(),))
        talker.says(login + says + b"PING\r\n")
        heard = await talker.hears(b"PONG\r\n")
        talker.transport.abortConnection()
        return heard
