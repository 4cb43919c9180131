"""How the table about clients of NATS is checked."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.node import reading_nats
from atbus.node.config import NodeConfig
from atbus.node.toml import dump, parse_config

LISTEN = {"listen": "127.0.0.1:4222"}


class NatsTests(SynchronousTestCase):
    """The table ``nats``."""

    def test_a_listener_is_enough(self) -> None:
        """One line, or one argument without quotes, makes a gateway."""
        config = parse_config("", ["id=1", "nats.listen=127.0.0.1:4222"])
        self.assertEqual(dict(config.nats), LISTEN)
        self.assertEqual(NodeConfig(id=1, nats=LISTEN).nats, config.nats)

    def test_secrets_are_not_shown(self) -> None:
        """Neither a configuration nor the file made of it shows passwords or tokens."""
        users = [{"user": "anna", "password": "geheim"}]
        config = NodeConfig(id=1, nats={**LISTEN, "token": "geheim", "users": users})
        self.assertNotIn("geheim", repr(config))
        self.assertNotIn("geheim", dump(config))

    def test_what_is_wrong_is_told(self) -> None:
        """Each fault names its place; all of them are told at once."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"lisen": 1}, "nats.lisen: unknown"),
            ({"listen": 5}, "nats.listen: expected an address"),
            ({"listen": "4222"}, "nats.listen: expected an address"),
            ({"listen": "0.0.0.0:4222"}, "nats.listen: not on loopback"),
            ({"monitor": "10.0.0.1:1"}, "nats.monitor: not on loopback"),
            ({"user": "anna"}, "nats.password: user and password go together"),
            ({"users": [{"user": "anna"}]}, "nats.users[0].password: expected a text"),
            ({"users": [{"user": "a", "password": "b", "x": 1}]}, "nats.users[0].x: unknown"),
            ({"users": "anna"}, "nats.users: expected a list"),
            ({"users": [5]}, "nats.users[0]: expected a table"),
            ({"nkeys": [{}]}, "nats.nkeys[0].nkey: expected a text"),
            ({"permissions": {"publish": "a"}}, "nats.permissions.publish: expected a list"),
            ({"permissions": {"publish": ["a..b"]}}, "nats.permissions.publish: "),
            ({"permissions": {"publish": ["a b c"]}}, "nats.permissions.publish: "),
            ({"permissions": {"publish": {"no": []}}}, "nats.permissions.publish.no: unknown"),
            ({"permissions": {"read": []}}, "nats.permissions.read: unknown"),
            ({"permissions": 5}, "nats.permissions: expected a table"),
            ({"permissions": {"responses": "x"}}, "nats.permissions.responses: expected a number"),
            ({"no_auth_user": "anna"}, "nats.no_auth_user: there is no user"),
            ({"accounts": ["x"]}, "nats.accounts: there is no operator"),
            ({"separate_accounts": True}, "nats.separate_accounts: there is no operator"),
            ({"account": "a.b"}, "nats.account: expected a text that is one token"),
            ({"account": ""}, "nats.account: expected a text that is one token"),
            ({"users": [{"user": "a", "password": "b", "account": ">"}]}, "nats.users[0].account"),
            ({"certificate_file": "x"}, "nats.key_file: certificate_file and key_file"),
            ({"tls_first": True}, "nats.tls_first: there is no TLS"),
            ({"tls_first": "yes"}, "nats.tls_first: expected true, false"),
            ({"tls_first": "1ns"}, "nats.tls_first: must be 1ms to 60s, not 1ns"),
            ({"tls_verify": True}, "nats.tls_verify: there is no TLS"),
            ({"tls_verify": 1}, "nats.tls_verify: expected true or false"),
            ({"advertise": "x"}, "nats.advertise: expected a list"),
            ({"token": 5}, "nats.token: expected a text"),
            ({"pings_max": 0}, "nats.pings_max: must be 1 to 100"),
            ({"pings_max": 1.5}, "nats.pings_max: expected an integer"),
            ({"ping_seconds": "x"}, "nats.ping_seconds: expected a number"),
            ({"ping_seconds": 0}, "nats.ping_seconds: must be 0.01 to"),
        ]
        for wrong, fault in cases:
            with self.assertRaises(ConfigurationError, msg=str(wrong)) as caught:
                NodeConfig(id=1, nats={**LISTEN, **wrong})
            self.assertTrue(
                any(each.startswith(fault) for each in caught.exception.faults),
                (fault, caught.exception.faults),
            )

    def test_hashes_are_no_passwords(self) -> None:
        """A hash that cannot be compared is told, with the user's name, and is not shown."""
        self.patch(reading_nats, "find_spec", lambda _: None)
        hash_ = "$2a$11$W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI/sSOT.xtiHyG"
        bob = {"user": "bob", "password": hash_}
        users = [{"user": "anna", "password": "x"}, bob]
        cases: list[tuple[dict[str, Any], str]] = [
            (bob, "nats.password: that of 'bob' is a hash (bcrypt)"),
            ({"users": users}, "nats.users[1].password: that of 'bob' is a hash"),
            ({"leaf_users": users}, "nats.leaf_users[1].password: that of 'bob' is a hash"),
            (
                {"leaf_user": "bob", "leaf_password": hash_},
                "nats.leaf_password: that of 'bob' is a hash",
            ),
            ({"token": hash_}, "nats.token: it is a hash"),
            ({"cluster": bob}, "nats.cluster.password: that of 'bob' is a hash"),
            ({"token": "$2b$04$x"}, "nats.token: it is a hash"),
            ({"token": "$2y$10$"}, "nats.token: it is a hash"),
        ]
        self.check_hashes(cases)
        for good in ("$2a", "x$2a$11$", "2a$11$"):
            NodeConfig(id=1, nats={**LISTEN, "token": good})

    def test_hashes_of_clients(self) -> None:
        """With bcrypt they are taken where clients show something, if they are whole and cheap."""
        self.patch(reading_nats, "find_spec", lambda _: True)
        whole = "W2zko751KUvVy59mUTWmpOdWjpEm5qhcCZRd05GjI/sSOT.xtiHyG"
        for letter, cost in (*((each, 11) for each in ("", "a", "b", "y")), ("a", 4), ("a", 15)):
            hashed = f"$2{letter}${cost:02}${whole}"
            users = [{"user": "anna", "password": hashed}]
            NodeConfig(id=1, nats={**LISTEN, "users": users})
            NodeConfig(id=1, nats={**LISTEN, **users[0]})
            NodeConfig(id=1, nats={**LISTEN, "token": hashed})
        bob = {"user": "bob", "password": f"$2a$11${whole}"}
        it_is = "nats.token: it is a hash (bcrypt), "
        self.check_hashes([
            *(({"token": f"$2a$11${text}"}, f"{it_is}and not a whole one")
              for text in ("", whole[1:], whole + "x", whole[1:] + "!", whole + "\n")),
            *(({"token": f"$2a${cost}${whole}"}, f"{it_is}whose cost must be 4 to 15")
              for cost in ("03", "16", "31")),
            ({"leaf_users": [bob]}, "nats.leaf_users[0].password: that of 'bob' is a hash"),
            ({"cluster": bob}, "nats.cluster.password: that of 'bob' is a hash"),
            (
                {"leaf_user": "bob", "leaf_password": bob["password"]},
                "nats.leaf_password: that of 'bob' is a hash",
            ),
        ])

    def check_hashes(self, cases: list[tuple[dict[str, Any], str]]) -> None:
        """Of each fault is told once, and no hash."""
        for wrong, fault in cases:
            with self.assertRaises(ConfigurationError, msg=str(wrong)) as caught:
                NodeConfig(id=1, nats={**LISTEN, **wrong})
            told = [each for each in caught.exception.faults if each.startswith(fault)]
            self.assertEqual(len(told), 1, (fault, caught.exception.faults))
            self.assertNotIn("2zko751", str(caught.exception))

    def test_somewhere_to_come_in(self) -> None:
        """Monitors alone make no gateway; WebSocket alone does."""
        with self.assertRaises(ConfigurationError):
            NodeConfig(id=1, nats={"monitor": "127.0.0.1:8222"})
        self.assertIn("websocket", NodeConfig(id=1, nats={"websocket": "localhost:0"}).nats)

    def test_who_says_so_may_be_insecure(self) -> None:
        """Off loopback there is TLS, or somebody who has said that there need not be."""
        open_ = {"listen": "0.0.0.0:4222", "allow_insecure": True}
        self.assertEqual(dict(NodeConfig(id=1, nats=open_).nats), open_)
        tls = {"listen": "0.0.0.0:4222", "certificate_file": "a", "key_file": "b"}
        self.assertEqual(dict(NodeConfig(id=1, nats=tls).nats), tls)
        with self.assertRaises(ConfigurationError):
            NodeConfig(id=1, nats={**tls, "tls_optional": True})
