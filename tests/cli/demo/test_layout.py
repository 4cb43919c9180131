"""The bus of the demo."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.demo.layout import (
    ADDED,
    DRAINED,
    FIRST,
    MEMBERS,
    NAMES,
    PAIRS,
    PICTURE,
    RELATIONS,
    SERVICES,
    TARGETS,
    VICTIM,
    Member,
    Plan,
    Ports,
    relation,
)
from atbus.node.toml import load_config


class LayoutTests(SynchronousTestCase):
    """Who there is and who talks to whom."""

    def test_every_relation_occurs(self) -> None:
        """Each service sends to itself, in its region, above it, and to the other region."""
        for service in SERVICES:
            kinds = {relation(service, target) for target in TARGETS}
            self.assertEqual(kinds, set(RELATIONS), service.name)
        self.assertEqual((len(SERVICES), len(PAIRS), len(NAMES)), (6, 42, len(MEMBERS)))

    def test_nobody_is_left_alone(self) -> None:
        """Whoever leaves, dies or comes late, each service still has a proxy of its region."""
        self.assertNotIn(ADDED, FIRST)
        self.assertEqual(len({ADDED, DRAINED, VICTIM}), 3)
        for service in SERVICES:
            proxies = [MEMBERS[name] for name in service.upstreams]
            self.assertEqual({proxy.region for proxy in proxies}, {service.region})
            for away in ({ADDED}, {DRAINED}, {VICTIM}):
                self.assertTrue(set(proxies) - away)
        # The one that is added is somebody's first choice, and those that go are, too.
        first = {MEMBERS[service.upstreams[0]] for service in SERVICES}
        self.assertLessEqual({ADDED, DRAINED, VICTIM}, first)

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
            for upstream, parent in zip(member.upstreams, config.upstreams, strict=True):
                its = load_config(self.plan.config_path(MEMBERS[upstream]))
                self.assertIn(parent, its.listen)
            self.assertEqual([str(rule.name) for rule in config.policy], self.rules(member))

    def rules(self, member: Member) -> list[str]:
        """Name the rules of a member's policy."""
        return [] if member.is_service else ["home", "abroad"]

    def test_both_channels_are_seen(self) -> None:
        """In each region somebody reaches the proxies over unix sockets, and somebody over TCP."""
        for region in ("eu", "us"):
            schemes = set()
            for member in SERVICES:
                if member.region == region:
                    upstreams = load_config(self.plan.config_path(member)).upstreams
                    schemes |= {str(upstream).partition(":")[0] for upstream in upstreams}
            self.assertEqual(schemes, {"unix", "ipv4"})

    def test_ports_stay_free(self) -> None:
        """A port is the same each time, nobody else gets it, and its owner can listen on it."""
        port = self.ports.of("cross")
        self.assertEqual(self.ports.of("cross"), port)
        self.assertNotEqual(self.ports.of("eu-proxy-1"), port)
        with socket.socket() as other:
            self.assertRaises(OSError, other.bind, ("127.0.0.1", port))
        for _ in range(2):
            with socket.socket() as owner:
                owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                owner.bind(("127.0.0.1", port))
                owner.listen()
