"""Other settings for a gateway that runs: who stays as he is, who is told something, who goes."""

from __future__ import annotations

import json
from typing import Any

from atbus.errors import ConfigurationError
from atbus.nats.faults import Reason
from atbus.nats.gateway import Gateway
from atbus.nats.nkeys import Kind
from atbus.node.reload import Reload, reconfigure
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.signing import UNLIMITED_ACCOUNT, Key
from tests.nats.test_gateway import info_of
from tests.nats.transcripts import EOF

NOT_ALLOWED = b"-ERR 'Authorization Violation'\r\n" + EOF
ANNA = {"user": "anna", "password": "a"}
OTTO = {"user": "otto", "password": "o"}


class RenewalCase(HarborTests):
    """One gateway, and what is told to it."""

    def change(self, gateway: Gateway, **nats: Any) -> Reload:
        """Give its node another table, as SIGHUP does."""
        node = gateway.node
        told = reconfigure(node, node.config.replace(nats={**DOOR, **nats}))
        self.network.settle(0.1)
        return told

    def enters(self, gateway: Gateway, says: bytes = b"", **options: Any) -> Caller:
        """Connect somebody who is let in."""
        caller = self.caller(gateway)
        caller.says(self.login(**options) + says + b"PING\r\n")
        self.assertTrue(caller.hears().endswith(b"PONG\r\n"))
        return caller

    @staticmethod
    def login(**options: Any) -> bytes:
        """Write CONNECT."""
        said = {"verbose": False, "protocol": 1, "headers": True, **options}
        return b"CONNECT " + json.dumps(said).encode() + b"\r\n"

    def anna(self, gateway: Gateway, says: bytes = b"") -> Caller:
        """Connect one user."""
        return self.enters(gateway, says, user="anna", **{"pass": "a"})

    def otto(self, gateway: Gateway, says: bytes = b"") -> Caller:
        """Connect the other one."""
        return self.enters(gateway, says, user="otto", **{"pass": "o"})

    def says(self, caller: Caller, data: bytes) -> bytes:
        """Say something, and hear what comes of it."""
        caller.says(data)
        self.network.settle(0.1)
        return caller.hears()


class WhoTests(RenewalCase):
    """Who may still be here."""

    def test_whom_it_does_not_concern(self) -> None:
        """He keeps his connection and hears nothing but what is published for him, in order."""
        gateway = self.alone(users=[ANNA, OTTO])
        anna, otto = self.anna(gateway, b"SUB a.* 1\r\n"), self.otto(gateway)
        otto.says(b"PUB a.1 1\r\n1\r\n")
        self.change(gateway, users=[ANNA])
        self.assertEqual(anna.hears(), b"MSG a.1 1 1\r\n1\r\n")
        self.assertEqual(otto.hears(), EOF)
        self.assertEqual(self.says(anna, b"PUB a.2 1\r\n2\r\n"), b"MSG a.2 1 1\r\n2\r\n")
        self.assertIn(b"Authorization Violation", self.tries(gateway, user="otto", **{"pass": "o"}))
        self.assertEqual(gateway.closed[0].reason, Reason.CLIENT_CLOSED)

    def tries(self, gateway: Gateway, **options: Any) -> bytes:
        """Log in, whatever comes of it."""
        return self.says(self.caller(gateway), self.login(**options) + b"PING\r\n")

    def test_another_password(self) -> None:
        """Who has shown the old one is told so, and closed; the new one lets in."""
        gateway = self.alone(users=[ANNA, OTTO])
        anna, otto = self.anna(gateway), self.otto(gateway)
        self.change(gateway, users=[ANNA, {**OTTO, "password": "p"}])
        self.assertEqual((anna.hears(), otto.hears()), (b"", NOT_ALLOWED))
        self.assertEqual(gateway.closed[0].reason, Reason.AUTHENTICATION_VIOLATION)
        self.assertEqual(self.tries(gateway, user="otto", **{"pass": "p"}), b"PONG\r\n")

    def test_another_token(self) -> None:
        """Likewise; and when nobody has to show one any more, everybody stays."""
        gateway = self.alone(token="one")
        caller = self.enters(gateway, auth_token="one")
        self.change(gateway, token="two")
        self.assertEqual(caller.hears(), NOT_ALLOWED)
        caller = self.enters(gateway, auth_token="two")
        self.change(gateway)
        self.assertNotIn(EOF, caller.hears())
        self.assertEqual(self.says(caller, b"PING\r\n"), b"PONG\r\n")

    def test_where_nobody_had_to_log_in(self) -> None:
        """Who has come in so is closed, whether he has said CONNECT or not."""
        gateway = self.alone()
        named, silent = self.enters(gateway, b"SUB a 1\r\n"), self.caller(gateway)
        self.change(gateway, **ANNA)
        self.assertTrue(named.hears().endswith(NOT_ALLOWED))
        self.assertTrue(silent.hears().endswith(NOT_ALLOWED))
        self.assertTrue(info_of(self.caller(gateway, greeted=False).hears())["auth_required"])

    def test_who_has_not_logged_in_yet(self) -> None:
        """He does so as anybody who comes now; or need not, where that is so now."""
        gateway = self.alone(**ANNA)
        caller, other = self.caller(gateway), self.caller(gateway)
        self.change(gateway, **OTTO)
        self.assertEqual(caller.hears() + other.hears(), b"")
        login = self.login(user="otto", **{"pass": "o"}) + b"PING\r\n"
        self.assertEqual(self.says(caller, login), b"PONG\r\n")
        self.change(gateway)
        other.hears()
        self.assertEqual(self.says(other, b"PUB a 0\r\n\r\n"), b"+OK\r\n")
        self.network.settle(gateway.settings.authentication_seconds)
        self.assertFalse(other.is_gone)

    def test_keys(self) -> None:
        """Who has signed with a key that is no user's any more is closed."""
        one, two = Key(Kind.USER), Key(Kind.USER)
        gateway = self.alone(nkeys=[{"nkey": one.text}, {"nkey": two.text}])
        callers = []
        for key in (one, two):
            caller = self.caller(gateway, greeted=False)
            nonce = info_of(caller.hears())["nonce"]
            self.assertEqual(
                self.says(
                    caller, self.login(nkey=key.text, sig=key.sign(nonce)) + b"PING\r\n"
                ),
                b"PONG\r\n",
            )
            callers.append(caller)
        self.change(gateway, nkeys=[{"nkey": one.text}])
        self.assertEqual([caller.hears() for caller in callers], [b"", EOF])

    def test_another_account(self) -> None:
        """Whose subjects are others now has to come again; so has who becomes somebody else."""
        gateway = self.alone(users=[{**ANNA, "account": "x"}, OTTO], no_auth_user="otto")
        anna, otto = self.anna(gateway), self.otto(gateway)
        silent, named = self.caller(gateway), self.enters(gateway)
        users = [{**ANNA, "account": "y"}, OTTO]
        self.change(gateway, users=users, no_auth_user="anna")
        heard = [caller.hears() for caller in (anna, otto, silent, named)]
        self.assertEqual(heard, [EOF, b"", EOF, EOF])
        self.change(gateway, users=users)
        self.assertEqual(gateway.clients.keys(), {otto.protocol._client.number})

    def test_tokens(self) -> None:
        """Of an operator's users go those whose token is taken back, and those of an account."""
        operator, users = Key(Kind.OPERATOR), [Key(Kind.USER) for _ in range(3)]
        one, two = Key(Kind.ACCOUNT), Key(Kind.ACCOUNT)
        chain = operator.token(operator, "operator")

        def accounts(*keys: Key, **claims: Any) -> list[str]:
            return [operator.token(key, "account", **claims) for key in keys]

        gateway = self.alone(operator=chain, accounts=accounts(one, two))
        callers = []
        for user, account in zip(users, (one, one, two), strict=True):
            caller = self.caller(gateway, greeted=False)
            nonce = info_of(caller.hears())["nonce"]
            login = self.login(jwt=account.token(user, "user", iat=100), sig=user.sign(nonce))
            self.assertEqual(self.says(caller, login + b"PING\r\n"), b"PONG\r\n")
            callers.append(caller)
        revoked = {"revocations": {users[0].text: 200}}
        self.change(gateway, operator=chain, accounts=accounts(one, two, **revoked))
        told = b"-ERR 'User Authentication Revoked'\r\n" + EOF
        self.assertEqual([caller.hears() for caller in callers], [told, b"", b""])
        self.assertEqual(gateway.closed[0].reason, Reason.REVOKED)
        self.change(gateway, operator=chain, accounts=accounts(one, **revoked))
        self.assertEqual([caller.hears() for caller in callers], [b"", b"", NOT_ALLOWED])
        limits = {"limits": {**UNLIMITED_ACCOUNT, "conn": 0}}
        self.change(gateway, operator=chain, accounts=accounts(one, **limits))
        [_, heard, _] = [caller.hears() for caller in callers]
        self.assertIn(b"maximum account active connections exceeded", heard)
        self.assertEqual(gateway.logins._counts, {})

    def test_too_many_of_an_account(self) -> None:
        """The newest go; who goes for another reason makes room first."""
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        other = Key(Kind.USER)
        chain = operator.token(operator, "operator")
        gateway = self.alone(operator=chain, accounts=[operator.token(account, "account")])
        callers = []
        for each in (other, user, user, user):
            caller = self.caller(gateway, greeted=False)
            nonce = info_of(caller.hears())["nonce"]
            token = account.token(each, "user", iat=100)
            self.says(caller, self.login(jwt=token, sig=each.sign(nonce)))
            callers.append(caller)
        claims: dict[str, Any] = {
            "limits": {**UNLIMITED_ACCOUNT, "conn": 2},
            "revocations": {other.text: 200},
        }
        self.change(
            gateway, operator=chain, accounts=[operator.token(account, "account", **claims)]
        )
        self.assertEqual([caller.is_gone for caller in callers], [True, False, False, True])


class RightsTests(RenewalCase):
    """What somebody may do now."""

    def test_subscriptions(self) -> None:
        """Those that are not allowed any more end, each with a word; the others go on."""
        gateway = self.alone(users=[ANNA, OTTO])
        subs = b"SUB x.1 1\r\nSUB y.1 2\r\nSUB y.2 q 3\r\nSUB x.> 4\r\nUNSUB 1 3\r\n"
        anna, otto = self.anna(gateway, subs), self.otto(gateway)
        rights = {"subscribe": {"allow": ["x.>"], "deny": ["x.2"]}, "publish": ["x.>"]}
        self.change(gateway, users=[{**ANNA, "permissions": rights}, OTTO])
        told = b"-ERR 'Permissions Violation for Subscription to "
        self.assertEqual(
            anna.hears(),
            told + b'"y.1" (sid "2")\'\r\n' + told + b'"y.2" using queue "q" (sid "3")\'\r\n',
        )
        otto.says(b"PUB y.1 0\r\n\r\nPUB y.2 0\r\n\r\nPUB x.2 0\r\n\r\nPUB x.1 0\r\n\r\n")
        self.network.settle(0.1)
        heard = anna.hears()
        self.assertEqual(sorted(heard.split(b"\r\n\r\n")), [b"", b"MSG x.1 1 0", b"MSG x.1 4 0"])
        denied = self.says(anna, b"PUB y 0\r\n\r\nSUB y.1 2\r\n")
        self.assertIn(b'for Publish to "y"', denied)
        self.assertIn(b'for Subscription to "y.1"\'', denied)
        # The limit of the first one counts from its begin.
        self.assertEqual(self.says(otto, 3 * b"PUB x.1 0\r\n\r\n"), b"")
        heard = anna.hears()
        self.assertEqual((heard.count(b"x.1 1 "), heard.count(b"x.1 4 ")), (2, 3))

    def test_more_rights(self) -> None:
        """What was not allowed before is, at once."""
        narrow = {"publish": ["x"], "subscribe": ["x"]}
        gateway = self.alone(users=[{**ANNA, "permissions": narrow}])
        anna = self.anna(gateway)
        self.change(gateway, users=[ANNA])
        self.assertEqual(self.says(anna, b"SUB y 1\r\nPUB y 0\r\n\r\n"), b"MSG y 1 0\r\n\r\n")

    def test_answers_that_are_owed(self) -> None:
        """Whose rights stay as they were may still answer what it was asked before."""
        rights = {"publish": [], "subscribe": [">"], "responses": 1}
        users = [{**ANNA, "permissions": rights}, OTTO]
        gateway = self.alone(users=users)
        anna, otto = self.anna(gateway, b"SUB ask 1\r\n"), self.otto(gateway, b"SUB in.* 1\r\n")
        otto.says(b"PUB ask in.1 0\r\n\r\nPUB ask in.2 0\r\n\r\n")
        self.change(gateway, users=[users[0], {**OTTO, "permissions": {"publish": ["z"]}}])
        self.assertIn(b"in.2", anna.hears())
        self.assertEqual(self.says(anna, b"PUB in.1 0\r\n\r\n"), b"")
        self.assertEqual(otto.hears(), b"MSG in.1 1 0\r\n\r\n")
        self.change(gateway, users=[{**ANNA, "permissions": {**rights, "responses": 2}}, OTTO])
        self.assertIn(b"Violation", self.says(anna, b"PUB in.2 0\r\n\r\n"))

    def test_limits_of_a_token(self) -> None:
        """Who has more subscriptions than he may have now is told so, and closed."""
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        chain = operator.token(operator, "operator")
        gateway = self.alone(operator=chain, accounts=[operator.token(account, "account")])
        caller = self.caller(gateway, greeted=False)
        nonce = info_of(caller.hears())["nonce"]
        login = self.login(jwt=account.token(user, "user"), sig=user.sign(nonce))
        self.says(caller, login + b"SUB a 1\r\nSUB b 2\r\n")
        for most, heard in ((2, b""), (1, b"-ERR 'maximum subscriptions exceeded'\r\n" + EOF)):
            limits = {**UNLIMITED_ACCOUNT, "subs": most, "payload": 1}
            token = operator.token(account, "account", limits=limits)
            self.change(gateway, operator=chain, accounts=[token])
            self.assertEqual(caller.hears(), heard)
            if not heard:
                self.assertIn(
                    b"maximum subscriptions exceeded", self.says(caller, b"SUB c 3\r\n")
                )


class NumberTests(RenewalCase):
    """Sizes, counts and times."""

    def test_sizes(self) -> None:
        """They hold for who is there, who is told of it in INFO."""
        gateway = self.alone()
        caller, other = self.enters(gateway), self.enters(gateway)
        self.change(gateway, payload_bytes_max=5, line_bytes_max=256)
        for each in (caller, other):
            self.assertEqual(info_of(each.hears())["max_payload"], 5)
        self.assertIn(b"Maximum Payload Violation", self.says(caller, b"PUB a 6\r\n123456\r\n"))
        long = b"SUB " + b"a" * 300 + b" 1\r\n"
        self.assertIn(b"maximum control line exceeded", self.says(other, long))

    def test_too_many(self) -> None:
        """The newest go, and no more of them than have to."""
        gateway = self.alone()
        callers = [self.enters(gateway) for _ in range(5)]
        self.change(gateway, connections_max=3)
        told = b"-ERR 'maximum connections exceeded'\r\n" + EOF
        self.assertEqual([each.hears() for each in callers], [b"", b"", b"", told, told])

    def test_subscriptions(self) -> None:
        """None ends; there are no more of them."""
        gateway = self.alone()
        caller = self.enters(gateway, b"SUB a 1\r\nSUB b 2\r\n")
        self.change(gateway, subscriptions_max=1)
        self.assertEqual(caller.hears(), b"")
        self.assertIn(b"maximum subscriptions exceeded", self.says(caller, b"SUB c 3\r\n"))
        self.assertEqual(self.says(caller, b"PUB a 0\r\n\r\n"), b"MSG a 1 0\r\n\r\n")

    def test_pings(self) -> None:
        """A shorter time between them counts at once."""
        gateway = self.alone(ping_seconds=1000)
        caller = self.enters(gateway)
        self.network.settle(3.0)
        self.assertEqual(self.says(caller, b"PONG\r\n"), b"PING\r\n")
        self.change(gateway, ping_seconds=10)
        self.network.settle(11.0)
        self.assertEqual(caller.hears(), b"PING\r\n")

    def test_who_takes_nothing(self) -> None:
        """The time for which that is borne is another one for who is there, too."""
        gateway = self.alone(write_seconds=1000)
        caller = self.enters(gateway)
        self.change(gateway, write_seconds=5)
        caller.is_deaf = True
        caller.says(b"PING\r\n")
        self.network.settle(8.0)
        self.assertTrue(caller.is_gone)

    def test_where_to_come_in(self) -> None:
        """Another address is told of to clients, and to other gateways."""
        gateway = self.alone(advertise=["one:1"])
        gateway.siblings._others["X"] = gateway.siblings.own, 0.0  # type: ignore[assignment]
        caller = self.enters(gateway)
        self.change(gateway, advertise=["two:2"])
        self.assertEqual(info_of(caller.hears())["connect_urls"][0], "two:2")
        assert gateway.siblings.own is not None
        self.assertEqual(gateway.siblings.own.urls, ("two:2",))

    def test_it_is_told_when(self) -> None:
        """Monitors hear when the configuration was read, and the numbers in it."""
        gateway = self.alone()
        before = gateway.configured_at
        self.network.settle(50.0)
        self.change(gateway, pings_max=7)
        self.assertGreater(gateway.configured_at, before + 40)


class ReloadTests(RenewalCase):
    """What a node is told of it; what cannot be done is not done in part."""

    def test_nats(self) -> None:
        """A table with other users takes effect at once."""
        gateway = self.alone(users=[ANNA])
        told = self.change(gateway, users=[OTTO])
        self.assertEqual((told.applied, told.waiting), ({"nats"}, frozenset()))
        self.otto(gateway)

    def test_faults(self) -> None:
        """Who is refused is told of each fault, and nothing has changed."""
        gateway = self.alone(users=[ANNA, OTTO])
        otto, before = self.otto(gateway), gateway.node.config
        for nats, fault in (
            ({**ANNA, "listen": "127.0.0.1:9"}, "nats.listen: cannot change from"),
            ({**ANNA, "certificate_file": "/no/c", "key_file": "/no/k"}, "/no/c: No such file"),
            ({**ANNA, "nkeys": [{"nkey": "U"}]}, "nats: "),
            (
                {**ANNA, "leaf_remotes": [{"urls": ["127.0.0.1:7"], "nkey_file": "/no/seed"}]},
                "/no/seed: No such file",
            ),
        ):
            config = before.replace(nats={**DOOR, **nats}, heartbeat_seconds=3)
            caught = self.assertRaises(ConfigurationError, reconfigure, gateway.node, config)
            self.assertIn(fault, str(caught))
            self.assertIs(gateway.node.config, before)
        caught = self.assertRaises(
            ConfigurationError, reconfigure, gateway.node, before.replace(nats={})
        )
        self.assertIn("nats: ", str(caught))
        self.assertEqual(self.says(otto, b"PING\r\n"), b"PONG\r\n")

    def test_without_a_gateway(self) -> None:
        """A node that has none must be made anew to have one."""
        node = self.node()
        self.network.start(node)
        told = reconfigure(node, node.config.replace(nats=DOOR))
        self.assertEqual((told.applied, told.waiting), (frozenset(), {"nats"}))

    def test_nothing_new(self) -> None:
        """The same table changes nothing for anybody."""
        gateway = self.alone(users=[ANNA])
        anna = self.anna(gateway)
        told = self.change(gateway, users=[ANNA])
        self.assertEqual((told.applied, anna.hears()), (frozenset(), b""))

    def test_the_order_of_many(self) -> None:
        """Clients are looked at in several turns; after a change meanwhile all of them are."""
        gateway = self.alone(users=[ANNA, OTTO])
        callers = [self.otto(gateway) for _ in range(6)]
        clock = gateway.timers.seconds
        # Each look at the clock takes as long as a turn may.
        passed = iter(range(1_000_000))
        self.patch(gateway, "seconds", lambda: clock() + next(passed))
        node = gateway.node
        reconfigure(node, node.config.replace(nats={**DOOR, "users": [ANNA]}))
        self.assertEqual([each.session.closed for each in gateway.clients.values()].count(True), 1)
        reconfigure(node, node.config.replace(nats={**DOOR, "users": [ANNA], "pings_max": 9}))
        self.until(lambda: all(caller.is_gone for caller in callers))
