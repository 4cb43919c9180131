"""What a gateway is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.nats import bounds
from atbus.nats.faults import Fault
from atbus.nats.nkeys import Kind
from atbus.nats.settings import GatewaySettings, read_gateway
from atbus.node import reading_nats
from atbus.node.config import NodeConfig
from tests.nats.signing import Key

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "nats.rst"


def read(**nats: Any) -> GatewaySettings:
    """Read the settings of a node."""
    settings = read_gateway(NodeConfig(id=1, nats={"listen": "127.0.0.1:4222", **nats}))
    assert settings is not None
    return settings


class SettingsTests(SynchronousTestCase):
    def test_no_table_no_gateway(self) -> None:
        """A node that is told of no clients lets none in."""
        self.assertIsNone(read_gateway(NodeConfig(id=1)))

    def test_what_is_left_out(self) -> None:
        """A listener alone is an open gateway with the limits of NATS."""
        settings = read()
        self.assertTrue(settings.authentication.is_open)
        self.assertEqual(settings, GatewaySettings(listen="127.0.0.1:4222"))

    def test_permissions(self) -> None:
        """Who has none of its own has those of the table."""
        both = read(
            user="anna",
            password="x",
            users=[{"user": "otto", "password": "y", "permissions": {"publish": {"deny": ["a"]}}}],
            permissions={"publish": ["b"], "responses": -1},
        ).authentication.users
        self.assertFalse(both["anna"].permissions.may_publish("a"))
        self.assertEqual(both["anna"].permissions.responses, -1)
        self.assertFalse(both["otto"].permissions.may_publish("a"))
        self.assertTrue(both["otto"].permissions.may_publish("c"))

    def test_keys_and_tokens_that_are_none(self) -> None:
        """A configuration with them cannot be used."""
        for wrong in ({"nkeys": [{"nkey": "UABC"}]}, {"operator": "x"}):
            self.assertRaises(ConfigurationError, read, **wrong)

    def test_tls(self) -> None:
        """Files and how strict we are; TLS first may be left to clients."""
        for given, first in ((True, "yes"), (False, "no"), ("auto", "auto")):
            tls = read(certificate_file="a", key_file="b", tls_first=given).tls
            assert tls is not None
            self.assertEqual((tls.first, tls.first_seconds), (first, None))

    def test_how_long_a_login_takes(self) -> None:
        """Where TLS comes before it, it has a second beyond that, unless it is said how long."""
        tls = {"certificate_file": "a", "key_file": "b"}
        behind = bounds.LOGIN_BEHIND_TLS_SECONDS
        for table, seconds in (
            ({}, bounds.AUTHENTICATION_SECONDS),
            ({"tls_seconds": 5.0}, bounds.AUTHENTICATION_SECONDS),
            (tls, bounds.TLS_SECONDS + behind),
            ({**tls, "tls_seconds": 5.0}, 5.0 + behind),
            ({**tls, "authentication_seconds": 0.5}, 0.5),
        ):
            self.assertEqual(read(**table).authentication_seconds, seconds, table)

    def test_how_long_tls_may_come_first(self) -> None:
        """A duration is written as for nats-server."""
        for given, seconds in (
            *(("250ms", 0.25), ("1s", 1.0), ("1.5s", 1.5), (".5s", 0.5), ("1.s", 1.0)),
            *(("1s500ms", 1.5), ("1500us", 0.0015), ("1500\u00b5s", 0.0015), ("1m", 60.0)),
            ("1000000ns", 0.001),
        ):
            tls = read(certificate_file="a", key_file="b", tls_first=given).tls
            assert tls is not None
            self.assertEqual((tls.first, tls.first_seconds), ("auto", seconds))
        wrong_ones = ("250", "ms", "1 s", "-1s", "1S", "0s", "61s", "1h", "999us", "", "on", 5)
        for wrong in wrong_ones:
            with self.assertRaises(ConfigurationError, msg=str(wrong)) as caught:
                read(certificate_file="a", key_file="b", tls_first=wrong)
            self.assertIn("nats.tls_first: ", str(caught.exception))


class ReferenceTests(SynchronousTestCase):
    """docs/reference/nats.rst."""

    def setUp(self) -> None:
        self.text = REFERENCE.read_text(encoding="utf-8")

    def test_every_key_is_explained(self) -> None:
        """The keys of the table are in the reference, and no others."""
        part = self.text.partition("What stands in the table")[2]
        part = part.partition("What clients can rely on")[0]
        heads = [line for line in part.splitlines() if re.match("``[a-z]", line)]
        named = {name for line in heads for name in re.findall(r"``(\w+)``", line)}
        self.assertEqual(named, set(reading_nats._KEYS))

    def test_every_fault_is_told(self) -> None:
        """What a client may be told before it is closed is in the reference, word for word."""
        missing = [fault.text for fault in Fault if f"``{fault.text}``" not in self.text]
        self.assertEqual([text for text in missing if text], [])


class ClusterTests(SynchronousTestCase):
    """What is said of a cluster that the node joins."""

    def faults(self, **cluster: Any) -> list[str]:
        """Check a table."""
        return list(reading_nats.nats_faults({"cluster": cluster}))

    def test_it_is_read(self) -> None:
        """A gateway may be there for a cluster alone, and its password is not shown."""
        entry = {
            "name": "C1",
            "listen": "127.0.0.1:6222",
            "routes": ["127.0.0.1:6223"],
            "user": "bus",
            "password": "secret",
        }
        self.assertEqual(self.faults(**entry), [])
        cluster = read(cluster=entry).cluster
        assert cluster is not None
        self.assertEqual((cluster.name, cluster.routes), ("C1", ("127.0.0.1:6223",)))
        self.assertNotIn("secret", repr(cluster))

    def test_each_fault_has_its_place(self) -> None:
        """What is wrong is said with its key."""
        place = "expected an address such as 10.0.0.1:6222"
        good = {"name": "C1", "listen": "127.0.0.1:6222"}
        for entry, fault in (
            ({"name": "C 1"}, ".name: expected the name of the cluster, without blanks"),
            ({"listen": "here"}, f".listen: {place}, not 'here'"),
            ({"advertise": "here"}, f".advertise: {place}"),
            (
                {"routes": "127.0.0.1:1"},
                ".routes: expected a list of addresses such as 10.0.0.1:6222",
            ),
            ({"routes": [5]}, f".routes: {place}, not 5"),
            ({"user": "bus"}, ".password: user and password go together"),
            ({"certificate_file": "a"}, ".key_file: certificate_file and key_file go together"),
            ({"certificate_file": 5, "key_file": "a"}, ".certificate_file: expected a text"),
            (
                {"ca_file": "a"},
                ".ca_file: members show each other certificates, so certificate_file is needed",
            ),
            ({"color": "red"}, ".color: unknown"),
        ):
            self.assertEqual(self.faults(**good | entry), [f".cluster{fault}"])
        self.assertEqual(
            list(reading_nats.nats_faults({"cluster": 5})), [".cluster: expected a table"]
        )

    def test_in_the_clear_only_when_allowed(self) -> None:
        """Off loopback it has to be allowed that others can read what passes, or there is TLS."""
        entry = {"name": "C1", "listen": "10.0.0.1:6222", "routes": ["10.0.0.2:6222"]}
        self.assertEqual(len(self.faults(**entry)), 2)
        self.assertEqual(self.faults(**entry, certificate_file="a", key_file="b"), [])
        allowed = {"cluster": entry, "allow_insecure": True}
        self.assertEqual(list(reading_nats.nats_faults(allowed)), [])


class LeafTests(SynchronousTestCase):
    """What is said of leafs."""

    def faults(self, **nats: Any) -> list[str]:
        """Check a table."""
        return list(reading_nats.nats_faults({"listen": "127.0.0.1:4222", **nats}))

    def test_remotes_are_read(self) -> None:
        """A remote has its places and its credentials, and its password is not shown."""
        entry = {"urls": ["127.0.0.1:7422"], "user": "bus", "password": "secret"}
        (remote,) = read(leaf_remotes=[entry]).leafs.remotes
        self.assertEqual((remote.places, remote.user), (("127.0.0.1:7422",), "bus"))
        self.assertNotIn("secret", repr(remote))

    def test_each_fault_has_its_place(self) -> None:
        """What is wrong with a remote is said with its number and its key."""
        for entry, fault in (
            ({}, ".leaf_remotes[0].urls: expected a list of addresses such as 10.0.0.1:7422"),
            ({"urls": ["127.0.0.1:1"], "color": 1}, ".leaf_remotes[0].color: unknown"),
            (
                {"urls": ["nats://x"]},
                ".leaf_remotes[0].urls: expected an address such as 10.0.0.1:7422, not 'nats://x'",
            ),
            (
                {"urls": ["127.0.0.1:1"], "user": "bus"},
                ".leaf_remotes[0].password: user and password go together",
            ),
            (
                {"urls": ["127.0.0.1:1"], "nkey_file": "a", "token": "b"},
                ".leaf_remotes[0].nkey_file: token is there already, and one is enough",
            ),
        ):
            self.assertEqual(self.faults(leaf_remotes=[entry]), [fault])

    def test_users(self) -> None:
        """Leafs may be several users, each with rights of its own; what is wrong has its place."""
        key = Key(Kind.USER).text
        leafs = read(
            leaf_user="one",
            leaf_password="x",
            leaf_users=[{"user": "two", "password": "y", "permissions": {"publish": ["a"]}}],
            leaf_nkeys=[{"nkey": key, "permissions": {"subscribe": ["b"]}}],
        ).leafs.authentication
        self.assertEqual((*leafs.users, *leafs.keys), ("one", "two", key))
        self.assertTrue(leafs.users["one"].permissions.may_publish("b"))
        self.assertFalse(leafs.users["two"].permissions.may_publish("b"))
        self.assertFalse(leafs.keys[key].permissions.may_subscribe("a"))
        for wrong, fault in (
            ({"leaf_users": [{"user": "a"}]}, ".leaf_users[0].password: expected a text"),
            ({"leaf_nkeys": [{"nkey": "x", "account": "a"}]}, ".leaf_nkeys[0].account: unknown"),
            (
                {"leaf_nkeys": [{"nkey": key, "permissions": {"responses": 1}}]},
                ".leaf_nkeys[0].permissions.responses: a leaf answers where it may publish",
            ),
            ({"leaf_users": {}}, ".leaf_users: expected a list of tables"),
        ):
            self.assertEqual(self.faults(**wrong), [fault])
        self.assertRaises(ConfigurationError, read, leaf_nkeys=[{"nkey": "x"}])

    def test_in_the_clear_only_when_allowed(self) -> None:
        """Off loopback there is TLS, or it is allowed that there is none."""
        entry = {"urls": ["10.0.0.1:7422"]}
        self.assertEqual(len(self.faults(leaf_remotes=[entry])), 1)
        self.assertEqual(self.faults(leaf_remotes=[{**entry, "tls": True}]), [])
        self.assertEqual(len(self.faults(leaf_listen="10.0.0.1:7422")), 1)
