"""How the options about sources of addresses are read."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.node.reading_sources import (
    DnsSettings,
    StaticSettings,
    Use,
    finds_upstreams,
    read_dns,
    read_static,
)
from atbus.node.toml import dump, parse_config

ONE = "ipv4://10.0.0.1:7000"


class ReadingTests(SynchronousTestCase):
    """The tables ``discovery.dns`` and ``discovery.static``."""

    def test_nothing_means_no_source(self) -> None:
        """A node that is told of no source has none."""
        config = NodeConfig()
        self.assertIsNone(read_dns(config.dns))
        self.assertIsNone(read_static(config.static))
        self.assertFalse(finds_upstreams(config.dns))
        self.assertFalse(config.has_upstream)

    def test_what_is_given_is_used(self) -> None:
        """Everything that can be said of a source is known afterwards, the rest has defaults."""
        text = """
            id = "auto"
            [discovery.dns]
            name = "proxies.example"
            port = 7000
            tls = true
            servers = ["10.0.0.53", "[fd00::53]:5353", "fd00::53"]
            refresh_seconds = 5
            [discovery.static]
            addresses = ["ipv4://10.0.0.1:7000"]
            file = "/etc/atbus/peers"
            use = "peers"
        """
        config = parse_config(text)
        servers = (("10.0.0.53", 53), ("fd00::53", 5353), ("fd00::53", 53))
        expected = DnsSettings(
            name="proxies.example", port=7000, tls=True, servers=servers, refresh_seconds=5.0
        )
        self.assertEqual(read_dns(config.dns), expected)
        self.assertEqual(
            read_static(config.static),
            StaticSettings(addresses=(ONE,), file="/etc/atbus/peers", use=Use.PEERS),
        )
        self.assertTrue(config.has_upstream)
        self.assertEqual(parse_config(dump(config)), config)

    def test_peers_are_no_upstreams(self) -> None:
        """A node that only finds peers is a root, and cannot be given an id."""
        static = {"addresses": [ONE], "use": "peers"}
        self.assertFalse(NodeConfig(id=1, static=static).has_upstream)
        self.assertRaises(ConfigurationError, NodeConfig, id="auto", static=static)
        self.assertTrue(NodeConfig(id="auto", static={"file": "x"}).has_upstream)

    def test_what_is_wrong_is_told(self) -> None:
        """Each fault names its place."""
        name = {"name": "a.example", "port": 1}
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("dns", {"name": "a.example"}, "dns.port: missing"),
            ("dns", {"port": 1}, "dns.name: expected"),
            ("dns", {"name": "_a._tcp.example", "port": 1}, "dns.port: the services"),
            ("dns", {**name, "port": 70_000}, "dns.port: expected 1"),
            ("dns", {**name, "tls": 1}, "dns.tls: expected"),
            ("dns", {**name, "servers": "10.0.0.1"}, "dns.servers: expected a list"),
            ("dns", {**name, "servers": ["ns.example"]}, "dns.servers[0]: 'ns.example' is not"),
            ("dns", {**name, "servers": ["10.0.0.1:x"]}, "dns.servers[0]: '10.0.0.1:x': a port"),
            ("dns", {**name, "refresh_seconds": 0}, "dns.refresh_seconds: must be"),
            ("dns", {**name, "refresh_seconds": "1"}, "dns.refresh_seconds: expected a number"),
            ("dns", {**name, "use": "friends"}, "dns.use: must be one of upstreams, peers"),
            ("dns", {**name, "server": 1}, "dns.server: unknown"),
            ("static", {"use": "peers"}, "static.addresses: give some"),
            ("static", {"addresses": ["a"]}, "static.addresses[0]: "),
            ("static", {"addresses": [ONE] * 257}, "static.addresses: 257 are more"),
            ("static", {"file": 1, "addresses": [ONE]}, "static.file: expected a path"),
        ]
        for option, wrong, fault in cases:
            with self.assertRaises(ConfigurationError, msg=str(wrong)) as caught:
                NodeConfig().replace(**{option: wrong})
            (told,) = caught.exception.faults
            self.assertTrue(told.startswith(fault), told)
