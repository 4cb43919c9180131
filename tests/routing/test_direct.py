"""Whom a node connects to, so that messages need not go through the tree."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.address import parse_address
from atbus.busid import BusId
from atbus.routing.direct import Choice, Dial, Stay, choose
from atbus.routing.policy import Action, Rule
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder
from atbus.routing.table import Neighbor, Position, Table
from atbus.wire.messages import NodeFlag

UP, ME, PROXY, LEAF = 1, 2, 3, 4
PROXY_ADDRESS, LEAF_ADDRESS = "ipv4://10.0.0.3:1", "ipv4://10.0.0.4:1"
OWN = Record(bus_id=ME, upstream_id=UP, labels={"region": "eu"}, host="h", stamp=Stamp(1, 1))


class ChoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Table(ME)
        self.table.add(Neighbor(BusId(UP), (), Position.UPSTREAM))
        self.table.registry.claim(Feeder.OWN, [OWN])
        self.known(UP)
        self.known(PROXY, UP, addresses=(PROXY_ADDRESS,), node_flags=NodeFlag.PROXY)
        self.known(LEAF, PROXY, addresses=(LEAF_ADDRESS,), labels={"region": "eu"})

    def known(self, bus_id: int, upstream_id: int = 0, **parts: Any) -> None:
        """Say something of a node."""
        record = Record(bus_id=bus_id, upstream_id=upstream_id, stamp=Stamp(1, 1), **parts)
        self.table.registry.claim(Feeder.SYNC, [record])

    def choice(self, target: int = LEAF, *policy: Rule, relayed: bool = False) -> Choice:
        """Decide on a connection."""
        return choose(self.table, policy, OWN, target, relayed=relayed)

    def assert_dials(self, choice: Choice, bus_id: int, address: str) -> None:
        """Assert that somebody is dialled."""
        assert isinstance(choice, Dial), choice
        self.assertEqual((choice.bus_id, choice.address), (bus_id, parse_address(address)))

    def assert_stays(self, choice: Choice, reason: str) -> None:
        """Assert that nobody is dialled, for a reason."""
        assert isinstance(choice, Stay), choice
        self.assertIn(reason, choice.reason)

    def test_the_target_itself(self) -> None:
        """A target that says where it listens is connected to."""
        self.assert_dials(self.choice(), LEAF, LEAF_ADDRESS)
        self.assertEqual(str(self.choice()), f"0x4 at {LEAF_ADDRESS}: no rule of the policy")

    def test_the_proxy_above_it(self) -> None:
        """
        A target that the policy keeps apart is served by the proxy above it, if that is allowed.

        Scenario: X8
        """
        deny = Rule(action=Action.DENY, proxy=False)
        self.assert_dials(self.choice(LEAF, deny), PROXY, PROXY_ADDRESS)
        nobody = self.choice(LEAF, Rule(action=Action.DENY))
        self.assert_stays(nobody, "0x4: policy[0] denies it")
        assert isinstance(nobody, Stay)
        self.assertTrue(nobody.denied)

    def test_conditions(self) -> None:
        """
        Labels, host, process and upstream decide whether a connection is made.

        Scenario: X8
        """
        deny = Rule(action=Action.DENY)
        for rule, allowed in (
            (Rule(action=Action.ALLOW, labels={"region": ["eu"]}), True),
            (Rule(action=Action.ALLOW, labels={"region": ["us"]}), False),
            (Rule(action=Action.ALLOW, same_host=True), False),
            (Rule(action=Action.ALLOW, same_process=True), False),
            (Rule(action=Action.ALLOW, same_upstream=True, proxy=False), False),
        ):
            self.assertIs(isinstance(self.choice(LEAF, rule, deny), Dial), allowed, rule)
        self.known(5, UP, addresses=("ipv4://10.0.0.5:1",))
        siblings = Rule(action=Action.ALLOW, same_upstream=True)
        self.assert_dials(self.choice(5, siblings, deny), 5, "ipv4://10.0.0.5:1")

    def test_relays_connect_to_relays(self) -> None:
        """What others send makes a proxy connect to the target's proxy, and to no leaf."""
        self.assert_dials(self.choice(relayed=True), PROXY, PROXY_ADDRESS)
        self.known(PROXY, UP, addresses=(PROXY_ADDRESS,))
        self.assert_dials(self.choice(relayed=True), PROXY, PROXY_ADDRESS)
        self.known(5, UP, addresses=("ipv4://10.0.0.5:1",))
        self.assert_stays(self.choice(5, relayed=True), "0x5 is no proxy")

    def test_connected_already(self) -> None:
        """Below a connected proxy nobody else is needed who may not be connected to."""
        self.table.add(Neighbor(BusId(PROXY), (), Position.PEER))
        self.assert_stays(self.choice(relayed=True), "no proxy")
        self.assert_stays(self.choice(PROXY), "0x3 is connected")

    def test_the_way_of_the_tree(self) -> None:
        """What is above us or below us is reached through the tree."""
        self.known(6, ME, addresses=("ipv4://10.0.0.6:1",))
        self.known(7, 6)
        self.known(UP, 8)
        self.known(8, addresses=("ipv4://10.0.0.8:1",))
        self.assert_stays(self.choice(6), "leads down")
        self.assert_stays(self.choice(7), "leads down")
        self.assert_stays(self.choice(8), "leads through 0x8")
        self.assert_stays(self.choice(UP), "leads through 0x1")
        self.assert_stays(self.choice(ME), "leads through 0x2")

    def test_unknown(self) -> None:
        """Of whom nothing is known, nobody can say where it listens."""
        self.assert_stays(self.choice(0x99), "nothing is known of 0x99")

    def test_addresses(self) -> None:
        """An address is used from where it reaches, and one that is not understood is skipped."""
        for addresses, host, expected in (
            (("unix:///x", LEAF_ADDRESS), "h", "unix:///x"),
            (("unix:///x", LEAF_ADDRESS), "i", LEAF_ADDRESS),
            (("telepathy://x", LEAF_ADDRESS), "i", LEAF_ADDRESS),
            (("mem://x", LEAF_ADDRESS), "h", LEAF_ADDRESS),
            (("ipv4://0.0.0.0:5",), "h", "ipv4://127.0.0.1:5"),
        ):
            self.known(5, UP, addresses=addresses, host=host)
            self.assert_dials(self.choice(5), 5, expected)
        self.known(5, UP, addresses=("unix:///x",), host="i")
        nobody = self.choice(5)
        self.assert_stays(nobody, "no address where it can be reached")
        assert isinstance(nobody, Stay)
        self.assertFalse(nobody.denied)

    def test_tls(self) -> None:
        """Where TLS is required, an address without it is not used."""
        rule = Rule(action=Action.REQUIRE_TLS)
        self.assert_stays(self.choice(LEAF, rule), "wants TLS")
        self.known(LEAF, PROXY, addresses=(LEAF_ADDRESS, "tls+ipv4://10.0.0.4:2"))
        self.assert_dials(self.choice(LEAF, rule), LEAF, "tls+ipv4://10.0.0.4:2")
