"""Who is let in at a gateway, on a node of a virtual network."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from atbus.nats.faults import Reason
from atbus.nats.gateway import Gateway
from atbus.nats.nkeys import Kind
from tests.nats.harbor import Caller, HarborTests
from tests.nats.signing import UNLIMITED_ACCOUNT, Key
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF


class LoginTests(HarborTests):
    """Who may come in."""

    def enters(self, gateway: Gateway, options: dict[str, Any]) -> bool:
        """Log in; say whether that was possible."""
        caller = self.caller(gateway)
        caller.says(b"CONNECT " + json.dumps({"verbose": False, **options}).encode() + b"\r\n")
        caller.says(b"PING\r\n")
        self.network.settle(0.1)
        heard = caller.hears()
        self.assertIn(heard, (b"PONG\r\n", b"-ERR 'Authorization Violation'\r\n" + EOF))
        caller.hangs_up()
        return heard == b"PONG\r\n"

    def test_users(self) -> None:
        """Users with passwords, one of them at the top of the table."""
        users = [{"user": "otto", "password": "x"}]
        gateway = self.alone(user="anna", password="geheim", users=users)
        self.assertTrue(self.enters(gateway, {"user": "anna", "pass": "geheim"}))
        self.assertTrue(self.enters(gateway, {"user": "otto", "pass": "x"}))
        self.assertFalse(self.enters(gateway, {"user": "otto", "pass": "geheim"}))
        self.assertFalse(self.enters(gateway, {}))

    def test_a_token(self) -> None:
        """One token for all."""
        gateway = self.alone(token="geheim")
        self.assertTrue(self.enters(gateway, {"auth_token": "geheim"}))
        self.assertFalse(self.enters(gateway, {"auth_token": "x"}))

    def signs(self, gateway: Gateway, key: Key, **options: Any) -> Caller:
        """Log in by signing what the gateway asks for."""
        caller = self.caller(gateway, greeted=False)
        info = info_of(caller.hears())
        self.assertEqual((info["auth_required"], len(info["nonce"])), (True, 15))
        said = {"verbose": False, "sig": key.sign(info["nonce"]), **options}
        caller.says(b"CONNECT " + json.dumps(said).encode() + b"\r\nPING\r\n")
        self.network.settle(0.1)
        return caller

    def test_keys(self) -> None:
        """A user signs what was drawn for this connection."""
        key, other = Key(Kind.USER), Key(Kind.USER)
        gateway = self.alone(nkeys=[{"nkey": key.text}])
        self.assertEqual(self.signs(gateway, key, nkey=key.text).hears(), b"PONG\r\n")
        self.assertIn(b"-ERR", self.signs(gateway, other, nkey=key.text).hears())

    def test_tokens_of_an_operator(self) -> None:
        """A user for whom an account vouches comes in, with the rights of its token."""
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        accounts = [operator.token(account, "account")]
        gateway = self.alone(operator=operator.token(operator, "operator"), accounts=accounts)
        token = account.token(user, "user", pub={"allow": ["a"]}, exp=1_700_000_100)
        caller = self.signs(gateway, user, jwt=token)
        self.assertEqual(caller.hears(), b"PONG\r\n")
        caller.says(b"PUB b 0\r\n\r\n")
        self.assertIn(b"Permissions Violation for Publish", caller.hears())
        for _ in range(11):
            self.network.settle(10.0)
        self.assertIn(b"User Authentication Expired", caller.hears())

    def test_connections_of_an_account(self) -> None:
        """Of an account come as many as it may have; who goes makes room, and who has no token."""
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        limits = {**UNLIMITED_ACCOUNT, "conn": 2}
        gateway = self.alone(
            operator=operator.token(operator, "operator"),
            accounts=[operator.token(account, "account", limits=limits)],
        )
        token = account.token(user, "user")
        first, second, third = (self.signs(gateway, user, jwt=token) for _ in range(3))
        told = b"-ERR 'maximum account active connections exceeded'\r\n" + EOF
        self.assertEqual(
            [each.hears() for each in (first, second, third)], [b"PONG\r\n"] * 2 + [told]
        )
        reason = gateway.closed[-1].reason
        self.assertIs(reason, Reason.ACCOUNT_CONNECTIONS_MAX)
        first.hangs_up()
        self.assertEqual(self.signs(gateway, user, jwt=token).hears(), b"PONG\r\n")

    def test_why_a_token_does_not_open(self) -> None:
        """The log says it, now and then, and has nothing of the token in it."""
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        accounts = [operator.token(account, "account")]
        gateway = self.alone(operator=operator.token(operator, "operator"), accounts=accounts)
        token = account.token(user, "user", name="anna", src=["192.168.0.0/16"])
        with capturedLogs() as seen:
            for _ in range(3):
                heard = self.signs(gateway, user, jwt=token).hears()
                self.assertEqual(heard, b"-ERR 'Authorization Violation'\r\n" + EOF)
        said = [text for event in seen if "is not let in" in (text := formatEvent(event))]
        self.assertEqual(len(said), 1)
        self.assertRegex(said[0], r"user 'anna': [\d.]+ is not among the addresses")
        self.assertNotIn(token[:20], said[0])

    def test_kinds_of_connections(self) -> None:
        """Who may come by WebSocket only does not come without."""
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        accounts = [operator.token(account, "account")]
        gateway = self.alone(operator=operator.token(operator, "operator"), accounts=accounts)
        for types, good in ((["WEBSOCKET"], False), (["STANDARD"], True)):
            token = account.token(user, "user", allowed_connection_types=types)
            heard = self.signs(gateway, user, jwt=token).hears()
            self.assertEqual(heard == b"PONG\r\n", good, types)

    def test_a_guest(self) -> None:
        """Who says nothing is let in as the user who is named for that, with its rights only."""
        users = [{"user": "guest", "password": "x", "permissions": {"publish": ["a"]}}]
        gateway = self.alone(users=users, no_auth_user="guest")
        caller = self.caller(gateway)
        caller.says(b"PUB b 0\r\n\r\nPUB a 0\r\n\r\n")
        self.assertEqual(
            caller.hears(), b"-ERR 'Permissions Violation for Publish to \"b\"'\r\n+OK\r\n"
        )
