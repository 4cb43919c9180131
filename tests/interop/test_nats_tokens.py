"""The same tokens to real servers and to a gateway: what their users may do is the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from atbus.nats.nkeys import Kind
from tests.interop.nats_beside import ServerCase
from tests.interop.nats_server import BINARY, NEWER_BINARY
from tests.nats.signing import UNLIMITED, UNLIMITED_ACCOUNT, Key
from tests.nats.sockets import Talker
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF

SERVER: Final = """
operator: {operator}
resolver: MEMORY
resolver_preload: {{ {accounts} }}
"""
#: What everybody tries; who may do it all hears both.
SAYS: Final = (
    b"SUB ok.x 1\r\nSUB secret.x 2\r\nPUB ok.x 2\r\nhi\r\nPUB secret.x 2\r\nhi\r\nPING\r\n"
)
EVERYTHING: Final = {"MSG ok.x", "MSG secret.x"}


def only(*subjects: str) -> dict[str, Any]:
    """Allow some subjects, on both sides."""
    return {"pub": {"allow": list(subjects)}, "sub": {"allow": list(subjects)}}


def hours_from_midnight(hour: int) -> str:
    """Name a time zone in which it is that hour now."""
    ahead = (hour - datetime.now(UTC).hour) % 24
    ahead -= 24 if ahead > 14 else 0
    # Their names have the sign the other way round.
    return f"Etc/GMT{-ahead:+d}"


class Case(NamedTuple):
    """
    One user.

    :param user: What its token says.
    :param account: What its account's says.
    :param template: That of the key that has signed it; None for a key without one.
    :param before: How many of its account are connected already.
    :param is_free: Whether it may do everything.
    :param is_foreign: Whether another one shows its token.
    :param is_stricter: Whether a gateway allows less, as the reference says: than the older
        server, or than both.
    :param older_refuses: Whether the older server knows no better than to let nobody in.
    """

    user: dict[str, Any] = {}  # noqa: RUF012  # only read, as all of these
    account: dict[str, Any] = {}  # noqa: RUF012
    template: dict[str, Any] | None = None
    before: int = 0
    is_free: bool = False
    is_foreign: bool = False
    is_stricter: str = ""
    older_refuses: bool = False


def _limits(**limits: Any) -> dict[str, Any]:
    return {"limits": {**UNLIMITED_ACCOUNT, **limits}}


def _times(begin: str, end: str, hour: int) -> dict[str, Any]:
    zone = hours_from_midnight(hour)
    return {"times": [{"start": begin, "end": end}], "times_location": zone}


def own_cases() -> dict[str, Case]:
    """Give those whose tokens say themselves what counts; some depend on what time it is."""
    ok = only("ok.>")
    return {
        "nothing is said": Case(is_free=True),
        "permissions": Case(user=ok),
        "only to publish": Case(user={"pub": {"deny": ["secret.>"]}}),
        "an empty list": Case(user={"pub": {"allow": [], "deny": ["other"]}}),
        "answers alone": Case(user={"resp": {"max": 1, "ttl": 10**9}}),
        "answers of any number": Case(user={"resp": {}}),
        "a publication to a group": Case(user={"pub": {"allow": ["ok.> q"]}}),
        "permissions of the account": Case(account={"default_permissions": ok}),
        "permissions of its own": Case(user=only("secret.>"), account={"default_permissions": ok}),
        "answers, and an account": Case(user={"resp": {}}, account={"default_permissions": ok}),
        "from elsewhere": Case(user={"src": ["10.0.0.0/8"]}),
        "from here": Case(user={"src": "10.0.0.0/8, 127.0.0.0/8"}, is_free=True),
        "from nowhere": Case(user={"src": ["127.0.0.1"]}),
        "in capitals": Case(user={"SRC": ["10.0.0.0/8"]}),
        "at another time": Case(user=_times("03:00:00", "04:00:00", 1)),
        "at this time": Case(user=_times("00:00:00", "10:00:00", 1), is_free=True),
        "before midnight": Case(user=_times("21:00:00", "06:00:00", 22), is_free=True),
        "after midnight": Case(
            user=_times("21:00:00", "06:00:00", 1), is_free=True, older_refuses=True
        ),
        "in no time zone": Case(user={"times_location": "Nowhere/At_all"}),
        "by WebSocket": Case(user={"allowed_connection_types": ["WEBSOCKET"]}),
        "as it is": Case(user={"allowed_connection_types": ["standard", "ODD"]}, is_free=True),
        "by nothing known": Case(user={"allowed_connection_types": ["ODD"]}),
        "a bearer": Case(user={"bearer_token": True}, is_foreign=True, is_free=True),
        "no bearer": Case(is_foreign=True),
        "bearers are not wanted": Case(
            user={"bearer_token": True}, account=_limits(disallow_bearer=True)
        ),
        "one subscription": Case(user={"subs": 1}),
        "one subscription of the account": Case(account=_limits(subs=1)),
        "a short payload": Case(user={"payload": 1}),
        "a short payload of the account": Case(user={"payload": 9}, account=_limits(payload=1)),
        "no data": Case(user={"data": 0}, is_free=True),
        "a half": Case(user={"subs": 1.5}),
        "no connections": Case(account=_limits(conn=0)),
        "one connection": Case(account=_limits(conn=1), before=1),
        "two connections": Case(account=_limits(conn=2), before=1, is_free=True),
        "no number of connections": Case(account={"limits": UNLIMITED}),
        "a newer version": Case(user={"version": 3}),
        "taken back": Case(account={"revocations": {"*": 10}}),
    }


def template_cases() -> dict[str, Case]:
    """Give those whose tokens are signed by keys with templates."""
    ok = only("ok.>")
    tags = {"name": "ok", "tags": ["team:ok", "team:other", "kind:x", "wild:*"]}
    return {
        "a template": Case(template=ok),
        "a template without anything": Case(template={}, is_free=True),
        "a template, and an account": Case(template={}, account={"default_permissions": ok}),
        "a template, and more": Case(template=ok, user={"subs": -1}),
        "a template, and an empty list": Case(template=ok, user={"sub": {"allow": []}}),
        "a template, and answers": Case(template=ok, user={"resp": {}}),
        "a template of elsewhere": Case(template={"src": ["10.0.0.0/8"]}),
        "a template of another time": Case(template=_times("03:00:00", "04:00:00", 1)),
        "a template of limits": Case(template={"payload": 1}),
        "a template for bearers": Case(template={**ok, "bearer_token": True}, is_foreign=True),
        "a template for WebSocket": Case(
            template={"allowed_connection_types": ["WEBSOCKET"]}, is_stricter="older"
        ),
        "a name": Case(template=only("{{name()}}.>"), user=tags),
        "a tag": Case(template=only("{{tag(team)}}.{{tag(kind)}}"), user=tags),
        "no tag": Case(template=only("{{tag(none)}}.>"), user=tags),
        "a tag of the account": Case(template=only("{{account-tag(site)}}.>")),
        "no tag to deny": Case(template={"pub": {"deny": ["{{tag(none)}}.>"]}}, user=tags),
        "a group in a template": Case(template=only("{{name()}}.>"), user={"name": "ok.x"}),
        "what nobody knows": Case(template=only("{{moon()}}.>", "ok.x"), is_stricter="older"),
        "a wildcard": Case(template=only("{{tag(wild)}}.x"), user=tags, is_stricter="both"),
    }


class Vouched:
    """
    A case, with keys and tokens.

    :param case: It.
    :param operator: Who vouches for its account.
    """

    def __init__(self, case: Case, operator: Key) -> None:
        self.case = case
        self.account, self.user, signer = Key(Kind.ACCOUNT), Key(Kind.USER), Key(Kind.ACCOUNT)
        claims = {"tags": ["site:ok"], **case.account}
        if case.template is None:
            self.token = self.account.token(self.user, "user", iat=5, **case.user)
        else:
            template = {"kind": "user_scope", "key": signer.text, "template": case.template}
            claims["signing_keys"] = [template]
            self.token = signer.token(
                self.user, "user", bare=True, issuer_account=self.account.text, **case.user
            )
        self.account_token = operator.token(self.account, "account", **claims)
        self.shown_by = Key(Kind.USER) if case.is_foreign else self.user


class DebianTests(ServerCase):
    """nats-server 2.9, and a gateway."""

    binary = BINARY
    version = "older"

    def test_what_users_may_do(self) -> Deferred[None]:
        """Each user may do the same at both, or at the gateway what is said of it."""
        return Deferred.fromCoroutine(self.what_users_may_do())

    async def what_users_may_do(self) -> None:
        operator = Key(Kind.OPERATOR)
        cases = own_cases() | template_cases()
        vouched = {name: Vouched(case, operator) for name, case in cases.items()}
        voucher = operator.token(operator, "operator")
        preload = [f"{each.account.text}: {each.account_token}" for each in vouched.values()]
        server = self.server(SERVER, operator=voucher, accounts="\n".join(preload))
        gateway = await self.gateway(
            operator=voucher,
            accounts=[each.account_token for each in vouched.values()],
            separate_accounts=True,
        )
        address = gateway.address()
        assert address is not None
        for name, each in vouched.items():
            theirs, ours = [await self.rights(port, each) for port in (server.port, address[1])]
            if each.case.is_stricter in (self.version, "both"):
                self.assertLess(ours & EVERYTHING, theirs & EVERYTHING, name)
            elif each.case.older_refuses and self.version == "older":
                self.assertEqual(theirs & EVERYTHING, set(), name)
            else:
                self.assertEqual(ours, theirs, name)
            self.assertEqual(ours == EVERYTHING, each.case.is_free, name)

    async def rights(self, port: int, vouched: Vouched) -> set[str]:
        """Find out what a user hears, and what it is told, when it tries everything."""
        count = vouched.case.before + 1
        *others, (talker, heard) = [await self.entered(port, vouched) for _ in range(count)]
        talker.says(SAYS)
        heard += (await talker.hears(b"PONG\r\n")).decode()
        for each in (talker, *(other for other, _ in others)):
            each.transport.abortConnection()
            await each.hears(EOF)
        return {
            *re.findall(r"^MSG \S+", heard, re.MULTILINE),
            *re.findall(r"^-ERR .*", heard, re.MULTILINE),
        }

    async def entered(self, port: int, vouched: Vouched) -> tuple[Talker, str]:
        """Connect somebody, who may be let in or not, and give what it is told."""
        talker = await self.talker(port)
        nonce = info_of(await talker.hears(b" \r\n"))["nonce"]
        signature = vouched.shown_by.sign(nonce)
        said = {"verbose": False, "pedantic": False, "jwt": vouched.token, "sig": signature}
        talker.says(b"CONNECT %b\r\nPING\r\n" % json.dumps(said).encode())
        return talker, (await talker.hears(b"PONG\r\n")).decode()


class NewerTests(DebianTests):
    """The newest nats-server, and a gateway."""

    binary = NEWER_BINARY
    version = "newer"
