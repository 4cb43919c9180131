"""Policies: which nodes may be connected directly."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from atbus.address import parse_address
from atbus.routing.policy import Action, Rule, Verdict, verdict_on
from atbus.routing.record import Record
from atbus.wire.messages import NodeFlag

OWN = Record(
    bus_id=1,
    upstream_id=9,
    labels={"region": "eu", "tier": "game"},
    host="h",
    process="h/1",
    node_flags=NodeFlag.PROXY,
)
ALLOW, DENY = Action.ALLOW, Action.DENY


def other(**parts: object) -> Record:
    """Make the record of another node."""
    return Record(bus_id=2, **parts)  # type: ignore[arg-type]  # whatever a test wants to say


class RuleTests(SynchronousTestCase):
    def matches(self, node: Record, **conditions: object) -> bool:
        """Tell whether a rule of these conditions is about a connection from `OWN` to a node."""
        return Rule(action=DENY, **conditions).matches(OWN, node)  # type: ignore[arg-type]

    def test_host_and_process(self) -> None:
        """
        A rule can ask for the same host, the same process, both or neither, and for others.

        Scenario: N7
        """
        nodes = {
            (True, True): other(host="h", process="h/1"),
            (True, False): other(host="h", process="h/2"),
            (False, False): other(host="i", process="h/1"),
        }
        wants = (None, True, False)
        for ((host, process), node), same_host, same_process in product(
            nodes.items(), wants, wants
        ):
            expected = same_host in (None, host) and same_process in (None, process)
            self.assertIs(
                self.matches(node, same_host=same_host, same_process=same_process), expected
            )

    def test_what_is_unknown_is_not_shared(self) -> None:
        """A node that does not say where it is shares neither host nor process with anybody."""
        self.assertFalse(self.matches(other(), same_host=True))
        self.assertTrue(self.matches(other(), same_host=False, same_process=False))

    def test_labels_of_the_other(self) -> None:
        """
        A label has one of several values; one that is missing, or has another value, fails.

        Scenario: N7
        """
        wanted = {"region": ["eu", "us"]}
        for labels, expected in (
            ({"region": "eu"}, True),
            ({"region": "us", "x": "y"}, True),
            ({"region": "as"}, False),
            ({"regio": "eu"}, False),
            ({}, False),
        ):
            self.assertIs(self.matches(other(labels=labels), labels=wanted), expected)
        both = {"region": ["eu"], "tier": ["game"]}
        self.assertFalse(self.matches(other(labels={"region": "eu"}), labels=both))

    def test_own_labels(self) -> None:
        """A rule can be about some nodes only, in a file that all nodes share."""
        self.assertTrue(self.matches(other(), own_labels={"tier": ["game"]}))
        self.assertFalse(self.matches(other(), own_labels={"tier": ["db"]}))

    def test_same_labels(self) -> None:
        """Two nodes share a label when both have it with the same value."""
        for region, expected in (("eu", True), ("us", False)):
            node = other(labels={"region": region})
            self.assertIs(self.matches(node, same_labels=("region",)), expected)
        self.assertFalse(self.matches(other(), same_labels=("zone",)))

    def test_same_upstream(self) -> None:
        """Two nodes share an upstream when both have one; two roots do not."""
        self.assertTrue(self.matches(other(upstream_id=9), same_upstream=True))
        self.assertFalse(self.matches(other(upstream_id=8), same_upstream=True))
        root = Record(bus_id=1)
        self.assertFalse(Rule(action=DENY, same_upstream=True).matches(root, other()))

    def test_proxies(self) -> None:
        """A rule can be about proxies, on either side."""
        self.assertTrue(self.matches(other(), own_proxy=True, proxy=False))
        self.assertTrue(self.matches(other(node_flags=NodeFlag.PROXY), proxy=True))
        self.assertFalse(self.matches(other(), own_proxy=False))

    def test_without_conditions(self) -> None:
        """A rule without conditions is about everybody."""
        self.assertTrue(self.matches(other()))


class PolicyTests(SynchronousTestCase):
    def test_first_match(self) -> None:
        """The first rule that matches decides, and is named."""
        rules = [
            Rule(action=ALLOW, name="home", same_labels=("region",)),
            Rule(action=DENY),
            Rule(action=ALLOW),
        ]
        home = verdict_on(rules, OWN, other(labels={"region": "eu"}))
        self.assertEqual(home, Verdict(ALLOW, "policy[0] (home)"))
        self.assertEqual(verdict_on(rules, OWN, other()), Verdict(DENY, "policy[1]"))

    def test_no_match(self) -> None:
        """What no rule is about is allowed."""
        self.assertIs(verdict_on([], OWN, other()).action, ALLOW)
        rules = [Rule(action=DENY, same_host=True)]
        self.assertIs(verdict_on(rules, OWN, other()).action, ALLOW)

    def test_addresses(self) -> None:
        """Whoever wants TLS takes TLS, and what does not leave the host."""
        secure = Verdict(Action.REQUIRE_TLS, "policy[0]")
        for text, permitted in (
            ("tls+ipv4://10.0.0.1:1", True),
            ("ipv4://10.0.0.1:1", False),
            ("ipv4://127.0.0.1:1", True),
            ("unix:///run/x", True),
            ("mem://x", True),
            ("dns://localhost:1", False),
        ):
            address = parse_address(text)
            self.assertIs(secure.permits(address), permitted, text)
            self.assertTrue(Verdict(ALLOW, "").permits(address))
            self.assertFalse(Verdict(DENY, "").permits(address))

    def test_reasons(self) -> None:
        """The reason of a refusal names the rule, and the address where that is the matter."""
        address = parse_address("ipv4://10.0.0.1:1")
        self.assertEqual(Verdict(DENY, "policy[3]").refusal(address), "policy[3] denies it")
        self.assertEqual(
            Verdict(Action.REQUIRE_TLS, "policy[0] (tls)").refusal(address),
            "policy[0] (tls) wants TLS, ipv4://10.0.0.1:1 has none",
        )
