"""The pages about topologies and policies: their files are configurations that do what they say."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.address import parse_address
from atbus.node.config import NodeConfig
from atbus.node.toml import parse_config
from atbus.routing.policy import verdict_on
from atbus.routing.record import Record
from atbus.testing.virtual_bus import VirtualBus
from atbus.wire.messages import NodeFlag
from tests.documents import captioned_blocks

NETWORK = parse_address("ipv4://10.0.0.1:1")
SECURE = parse_address("tls+ipv4://10.0.0.1:1")


def config_of(page: str, caption: str) -> NodeConfig:
    """Read one of the files of a page."""
    return parse_config(captioned_blocks(page)[caption])


class TopologyPageTests(SynchronousTestCase):
    """docs/howto/design-a-topology.rst."""

    def test_every_file_is_a_configuration(self) -> None:
        """Each file of the page can be used as it is."""
        page = "howto/design-a-topology.rst"
        files = [name for name in captioned_blocks(page) if name.endswith(".toml")]
        self.assertEqual(files, ["service.toml", "spread.toml", "proxy.toml"])
        for name in files:
            self.assertEqual(config_of(page, name).topology, "records", name)


    def test_the_lines_in_a_program(self) -> None:
        """They print who is there, who comes and who goes, until the watch is cancelled."""
        blocks = captioned_blocks("howto/design-a-topology.rst")
        watch, cancel = blocks["who comes and goes"].split("...\n")
        address = "ipv4://10.0.0.1:1"
        with VirtualBus(1) as bus, redirect_stdout(StringIO()) as printed:
            node = bus.node(0x1, listen=[address], topology="records")
            bus.start(node)

            def add(bus_id: int, role: str) -> None:
                options: dict[str, Any] = {"topology": "records", "labels": {"role": role}}
                bus.start(bus.node(bus_id, upstream=address, **options))
                bus.run(1)

            add(0x101, "game")
            names: dict[str, Any] = {"node": node}
            exec(watch, names)
            add(0x102, "store")
            add(0x103, "lobby")
            exec(cancel, names)
            add(0x104, "game")
            bus[0x101].send(0x103, b"hello")
        told = printed.getvalue().splitlines()
        self.assertEqual(told[0], "NodeUp 0x101 {'role': 'game'}")
        self.assertIn("NodeUp 0x103 {'role': 'lobby'}", told)
        self.assertEqual({line.split()[1] for line in told}, {"0x101", "0x103"})


class PolicyPageTests(SynchronousTestCase):
    """docs/howto/write-a-policy.rst."""

    PAGE = "howto/write-a-policy.rst"

    def permits(self, caption: str, own: Record, other: Record) -> tuple[bool, bool]:
        """Tell whether a connection may be made without TLS, and with it."""
        verdict = verdict_on(config_of(self.PAGE, caption).policy, own, other)
        return verdict.permits(NETWORK), verdict.permits(SECURE)

    def test_regions(self) -> None:
        """Proxies of one region may, nobody else may."""
        proxy = Record(bus_id=1, labels={"region": "eu"}, node_flags=NodeFlag.PROXY)
        for own, region, allowed in (
            (proxy, "eu", True),
            (proxy, "us", False),
            (Record(bus_id=1, labels={"region": "eu"}), "eu", False),
        ):
            other = Record(bus_id=2, labels={"region": region})
            self.assertEqual(self.permits("region.toml", own, other), (allowed, allowed))

    def test_hosts_and_tls(self) -> None:
        """On one host anything goes, to the database only TLS, and nothing else."""
        own = Record(bus_id=1, host="h")
        for other, allowed in (
            (Record(bus_id=2, host="h"), (True, True)),
            (Record(bus_id=2, host="i", labels={"role": "archive"}), (False, True)),
            (Record(bus_id=2, host="i"), (False, False)),
        ):
            self.assertEqual(self.permits("host.toml", own, other), allowed)
