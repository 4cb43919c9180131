"""The bus of the demo."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.demo.layout import (
    MEMBERS,
    PAIRS,
    PICTURE,
    RELATIONS,
    SERVICES,
    Plan,
    Ports,
    relation,
    targets_of,
)
from atbus.node.toml import load_config


class LayoutTests(SynchronousTestCase):
    """Who there is and who talks to whom."""

    def test_every_relation_occurs(self) -> None:
        """Each service sends to somebody in every relation that the tree has."""
        for service in SERVICES:
            kinds = {relation(service, target) for target in targets_of(service)}
            self.assertEqual(kinds, set(RELATIONS), service.name)
        self.assertEqual((len(SERVICES), len(PAIRS)), (6, 48))

    def test_the_picture_shows_everybody(self) -> None:
        """The tree that is printed has the names and ids that are used."""
        for member in MEMBERS.values():
            self.assertIn(member.name, PICTURE)
            self.assertIn(f"{member.bus_id:#x}", PICTURE)
        self.assertLessEqual(max(map(len, PICTURE.splitlines())), 80)


class PlanTests(SynchronousTestCase):
    """What the processes are told."""

    def setUp(self) -> None:
        self.ports = Ports()
        self.addCleanup(self.ports.close)
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        self.plan = Plan(folder=folder, ports=self.ports, token="a secret", rate=10)
        self.plan.write()

    def test_everybody_gets_a_valid_configuration(self) -> None:
        """Each file can be used, fits the tree, and is for its owner's eyes only."""
        for member in MEMBERS.values():
            path = self.plan.config_path(member)
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            config = load_config(path)
            self.assertEqual((config.id, config.name), (member.bus_id, member.name))
            self.assertEqual(len(config.listen), len(member.channels))
            if member.parent:
                parent = load_config(self.plan.config_path(MEMBERS[member.parent]))
                self.assertIn(config.upstream, parent.listen)
                self.assertTrue(any(s.contains(member.bus_id) for s in parent.subnets))

    def test_both_channels_are_seen(self) -> None:
        """In each region somebody reaches the proxy over a unix socket, and somebody over TCP."""
        for proxy in ("eu-proxy", "us-proxy"):
            schemes = set()
            for member in SERVICES:
                if member.parent == proxy:
                    upstream = load_config(self.plan.config_path(member)).upstream
                    schemes.add(str(upstream).partition(":")[0])
            self.assertEqual(schemes, {"unix", "ipv4"})

    def test_ports_stay_free(self) -> None:
        """A port is the same each time, nobody else gets it, and its owner can listen on it."""
        port = self.ports.of("root")
        self.assertEqual(self.ports.of("root"), port)
        self.assertNotEqual(self.ports.of("eu-proxy"), port)
        with socket.socket() as other:
            self.assertRaises(OSError, other.bind, ("127.0.0.1", port))
        for _ in range(2):
            with socket.socket() as owner:
                owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                owner.bind(("127.0.0.1", port))
                owner.listen()
