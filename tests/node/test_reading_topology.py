"""Records and policies as they are written in a configuration."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.node.reading_topology import plain_record, plain_rule
from atbus.node.toml import dump, parse_config
from atbus.routing.policy import Action, Rule
from atbus.routing.record import Record
from atbus.wire.messages import NodeFlag

FILE = """
id = "0x10001"

[[records]]
id = "0x20000"
upstream = 1
subnets = ["0x20000/16"]
labels = { region = "us" }
addresses = ["ipv4://10.0.0.9:7000"]
hostname = "rack-9"
proxy = true

[[records]]
id = "0.3.0.0"

[[policy]]
action = "require_tls"
name = "abroad"
labels = { region = ["us", "as"], tier = "game" }
own_labels = { region = "eu" }
same_labels = ["realm"]
same_host = false
proxy = true

[[policy]]
action = "deny"
"""


class TopologyReadingTests(SynchronousTestCase):
    def faults(self, **options: Any) -> list[str]:
        error: ConfigurationError = self.assertRaises(ConfigurationError, NodeConfig, **options)
        return error.faults

    def test_a_file(self) -> None:
        """Tables of a file become records and rules, in their order."""
        config = parse_config(FILE)
        self.assertEqual(
            config.records,
            (
                Record(
                    bus_id=0x20000,
                    upstream_id=1,
                    subnets=(Subnet(0x20000, 16),),
                    labels={"region": "us"},
                    addresses=("ipv4://10.0.0.9:7000",),
                    node_flags=NodeFlag.PROXY,
                    host="rack-9",
                ),
                Record(bus_id=0x30000),
            ),
        )
        first, second = config.policy
        self.assertEqual(
            first,
            Rule(
                action=Action.REQUIRE_TLS,
                name="abroad",
                labels={"region": ["us", "as"], "tier": ["game"]},
                own_labels={"region": ["eu"]},
                same_labels=("realm",),
                same_host=False,
                proxy=True,
            ),
        )
        self.assertEqual(second, Rule(action=Action.DENY))

    def test_written_again(self) -> None:
        """What is written out is read as the same."""
        config = parse_config(FILE)
        self.assertEqual(parse_config(dump(config)), config)
        again = NodeConfig(
            records=[plain_record(record) for record in config.records],
            policy=[plain_rule(rule) for rule in config.policy],
        )
        self.assertEqual((again.records, again.policy), (config.records, config.policy))

    def test_values_are_taken_as_they_are(self) -> None:
        """A program can give records and rules themselves."""
        record, rule = Record(bus_id=5), Rule(action=Action.ALLOW)
        config = NodeConfig(records=[record], policy=[rule])
        self.assertEqual((config.records, config.policy), ((record,), (rule,)))

    def test_faults_in_a_policy(self) -> None:
        """A rule that is misspelled is no rule; the fault says where it is."""
        for rule, fault in (
            ({}, "policy[0]: action is missing"),
            ({"action": "forbid"}, "policy[0].action: must be one of allow, deny, require_tls"),
            ({"action": "deny", "label": {}}, "policy[0].label: unknown"),
            ({"action": "deny", "labels": "eu"}, "policy[0].labels: expected a table"),
            ({"action": "deny", "labels": {"a": []}}, "policy[0].labels.a: expected a text, or"),
            ({"action": "deny", "labels": {"a": [1]}}, "policy[0].labels.a[0]: expected a text"),
            ({"action": "deny", "same_labels": "a"}, "policy[0].same_labels: expected a list"),
            ({"action": "deny", "same_host": 1}, "policy[0].same_host: expected true or false"),
            ({"action": "deny", "name": True}, "policy[0].name: expected a text"),
            ("deny", "policy[0]: expected a table"),
        ):
            (told,) = self.faults(policy=[rule])
            self.assertTrue(told.startswith(fault), told)
        self.assertEqual(self.faults(policy="deny"), ["policy: expected a list of tables"])

    def test_faults_in_records(self) -> None:
        """A record that cannot be one is named by its place, and all of them are."""
        faults = self.faults(
            records=[
                {"id": 5},
                {"upstream": 5},
                {"id": 6, "upstream": 6},
                {"id": 7, "addresses": ["ipv4://10.0.0.1"]},
                {"id": 8, "labels": {"a": 1}},
                {"id": 9, "subnets": ["x"]},
                {"id": True},
            ]
        )
        self.assertEqual(
            [fault.partition(":")[0] for fault in faults],
            [
                "records[1]",
                "records[2]",
                "records[3].addresses",
                "records[4].labels.a",
                "records[5]",
                "records[6].id",
            ],
        )

    def test_one_record_for_each_node(self) -> None:
        """Two records of one node, or one of the node itself, are a mistake."""
        faults = self.faults(id=5, records=[{"id": 5}, {"id": 6}, {"id": 6}])
        self.assertEqual(
            faults,
            [
                "records[0]: 0x5 is this node",
                "records[2]: 0x6 is a node that is there already",
            ],
        )

    def test_choices(self) -> None:
        """An option that is a choice takes one of its words."""
        self.assertIn("one of subnets, records", self.faults(topology="tree")[0])
        self.assertIn("one of hold, fail, drop", self.faults(pending_policy="keep")[0])

    def test_notices_follow_the_topology(self) -> None:
        """
        Siblings are told of each other unless the topology is one of records; either can be said.

        Scenario: CC4
        """
        self.assertTrue(NodeConfig().direct_notice)
        self.assertFalse(NodeConfig(topology="records").direct_notice)
        self.assertTrue(NodeConfig(topology="records", direct_notice=True).direct_notice)
        self.assertFalse(NodeConfig(direct_notice=False).direct_notice)
        self.assertFalse(NodeConfig().replace(topology="records").direct_notice)
