"""How the options about ZooKeeper are read."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.zookeeper.options import Access, Login
from atbus.errors import ConfigurationError
from atbus.node import reading_zookeeper
from atbus.node.config import NodeConfig
from atbus.node.reading_zookeeper import read_zookeeper
from atbus.node.toml import dump, parse_config

SERVERS = ["10.0.0.1", "zoo.example:2182"]


class ZooKeeperTests(SynchronousTestCase):
    """The table ``discovery.zookeeper``."""

    def faults(self, **table: Any) -> list[str]:
        """Give what is wrong with a table."""
        with self.assertRaises(ConfigurationError, msg=str(table)) as caught:
            NodeConfig(zookeeper={"servers": SERVERS, **table})
        faults: list[str] = caught.exception.faults
        return faults

    def test_nothing_means_no_zookeeper(self) -> None:
        """A node that is told of no ZooKeeper uses none."""
        self.assertEqual(read_zookeeper(NodeConfig().zookeeper), ())

    def test_what_is_given_is_used(self) -> None:
        """Everything that can be said of a ZooKeeper is known afterwards; the rest has defaults."""
        text = """
            [discovery.zookeeper]
            servers = ["10.0.0.1", "zoo.example:2182"]
            prefix = "game/one"
            user = "node"
            password = "geheim"
            login = "sasl"
            ca_file = "/ca.pem"
            certificate_file = "/node.pem"
            watch = false
            required = true
            session_seconds = 4
            start_seconds = 1.5
        """
        (settings,) = read_zookeeper(parse_config(text).zookeeper)
        self.assertEqual((settings.name, settings.prefix), ("zookeeper", "/game/one/"))
        self.assertEqual((settings.announce, settings.watch), (True, False))
        self.assertEqual((settings.required, settings.start_seconds), (True, 1.5))
        session = settings.session
        self.assertEqual(session.servers, ("10.0.0.1:2181", "zoo.example:2182"))
        self.assertEqual((session.user, session.password), ("node", "geheim"))
        self.assertEqual((session.login, session.access), (Login.SASL, Access.READ))
        self.assertEqual((session.tls.ca_file, session.tls.key_file), ("/ca.pem", ""))
        self.assertEqual(session.session_seconds, 4)

    def test_without_a_user_everything_is_open(self) -> None:
        """Who has no name cannot keep others from what he writes; who has one can."""
        (nobody,) = read_zookeeper({"servers": SERVERS})
        self.assertIs(nobody.session.access, Access.OPEN)
        (somebody,) = read_zookeeper({"servers": SERVERS, "user": "a", "access": "private"})
        self.assertIs(somebody.session.access, Access.PRIVATE)

    def test_a_password_is_not_shown(self) -> None:
        """Neither a configuration nor the file made of it shows a password."""
        config = NodeConfig(zookeeper={"servers": SERVERS, "user": "a", "password": "geheim"})
        self.assertNotIn("geheim", repr(config))
        self.assertNotIn("geheim", dump(config))
        self.assertNotIn("geheim", repr(read_zookeeper(config.zookeeper)))

    def test_what_is_wrong_is_told(self) -> None:
        """Each fault names its place; all of them are told at once."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"server": 1}, "zookeeper.server: unknown"),
            ({"servers": "10.0.0.1"}, "zookeeper.servers: expected a list"),
            ({"servers": []}, "zookeeper.servers: 1 to 32 are needed, not 0"),
            ({"servers": ["a"] * 33}, "zookeeper.servers: 1 to 32 are needed, not 33"),
            ({"servers": ["a", "b:0"]}, "zookeeper.servers[1]: the port"),
            ({"servers": [5]}, "zookeeper.servers[0]: expected host:port"),
            ({"prefix": "/"}, "zookeeper.prefix: expected a place of its own"),
            ({"prefix": "/a//b"}, "zookeeper.prefix: expected a place of its own"),
            ({"prefix": "/a/../b"}, "zookeeper.prefix: expected a place of its own"),
            ({"prefix": "/zookeeper/a"}, "zookeeper.prefix: expected a place of its own"),
            ({"prefix": "/a\n"}, "zookeeper.prefix: expected a text that can be printed"),
            ({"login": "none", "user": "a"}, "zookeeper.login: expected one of digest, sasl"),
            ({"access": "all"}, "zookeeper.access: expected one of open, read, private"),
            ({"access": "read"}, "zookeeper.access: it means nothing without a user"),
            ({"login": "sasl"}, "zookeeper.login: it means nothing without a user"),
            ({"user": "a:b"}, "zookeeper.user: a colon ends a name"),
            ({"password": "x"}, "zookeeper.password: it is nobody's"),
            ({"certificate_file": "a"}, "zookeeper.certificate_file: there is no TLS"),
            ({"key_file": "a"}, "zookeeper.key_file: without certificate_file"),
            ({"watch": 1}, "zookeeper.watch: expected true or false"),
            ({"session_seconds": 0.5}, "zookeeper.session_seconds: must be 1 to"),
        ]
        for table, fault in cases:
            (told,) = self.faults(**table)
            self.assertTrue(told.startswith(fault), told)
        self.assertEqual(len(self.faults(server=1, prefix="/", user="a:b")), 3)

    def test_without_kazoo_it_is_a_fault(self) -> None:
        """Where kazoo is not installed a configuration with ZooKeeper says what to install."""
        self.patch(reading_zookeeper, "find_spec", lambda name: None)
        (told,) = self.faults()
        self.assertIn("pip install atbus[zookeeper]", told)
