"""Rights and denied ids as they are written in a configuration."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.node.reading_rights import plain_right, read_rights
from atbus.node.toml import dump, parse_config
from atbus.rights import ALL_IDS, RightsRule
from atbus.routing.table import Position

FILE = """
id = "0x10001"
denied = ["0x66", "0.0.119.0/8"]

[[rights]]
name = "guests"
action = "deny"
ids = ["0x1200/8", "0x5"]
labels = { tier = ["guest", "trial"] }
register = ["peer", "downstream"]
send = ["*"]
publish = ["orders.*.new"]
subscribe = [">"]
commands = ["atbus.*"]
streams = ["ssh"]

[[rights]]
action = "allow"
temporary = true
commands = ["status"]
"""


class RightsReadingTests(SynchronousTestCase):
    def faults(self, **options: Any) -> list[str]:
        error: ConfigurationError = self.assertRaises(ConfigurationError, NodeConfig, **options)
        return error.faults

    def test_a_file(self) -> None:
        """Tables of a file become rules, in their order; ids are written as anywhere."""
        config = parse_config(FILE)
        first, second = config.rights
        self.assertEqual(
            first,
            RightsRule(
                allows=False,
                name="guests",
                ids=(Subnet(0x1200, 8), Subnet(5, 0)),
                labels={"tier": ("guest", "trial")},
                register=(Position.PEER, Position.DOWNSTREAM),
                send=ALL_IDS,
                publish=(("orders", "*", "new"),),
                subscribe=((">",),),
                commands=("atbus.*",),
                streams=("ssh",),
            ),
        )
        self.assertEqual(second, RightsRule(allows=True, temporary=True, commands=("status",)))
        self.assertEqual(config.denied, (Subnet(0x66, 0), Subnet(0x7700, 8)))

    def test_written_and_read_again(self) -> None:
        """What is written of a configuration says the same."""
        config = parse_config(FILE)
        self.assertEqual(parse_config(dump(config)), config)
        self.assertEqual(read_rights([plain_right(rule) for rule in config.rights]), config.rights)

    def test_faults(self) -> None:
        """Each fault of a rule has its place, and a rule that says nothing is one."""
        faults = self.faults(
            rights=[
                {"action": "allow", "sent": ["*"]},
                {"action": "forbid", "send": ["*"]},
                {"action": "deny", "ids": ["0x5"]},
                {"action": "deny", "send": []},
                {"action": "deny", "send": ["0x5", "x"]},
                {"action": "deny", "register": ["upstream"]},
                {"action": "deny", "publish": ["a..b"]},
                {"action": "deny", "commands": [5]},
                {"action": "deny", "commands": ["x"], "temporary": "yes"},
                {"action": "deny", "commands": ["x"], "labels": {"tier": 5}},
                {"action": "deny", "commands": ["x"], "labels": "tier"},
                "deny",
            ]
        )
        for place, (fault, text) in enumerate(
            zip(
                faults,
                (
                    ".sent: unknown; one of action, commands",
                    ".action: must be one of allow, deny, not 'forbid'",
                    ": it says nothing; give one of register, send",
                    ".send: expected a list with something in it",
                    ".send[1]: 'x' is not a bus id",
                    ".register[0]: must be one of downstream, peer, not 'upstream'",
                    ".publish[0]: 'a..b' cannot be used",
                    ".commands[0]: expected a text",
                    ".temporary: expected true or false",
                    ".labels.tier: expected a text, or a list of texts",
                    ".labels: expected a table",
                    ": expected a table",
                ),
                strict=True,
            )
        ):
            self.assertTrue(fault.startswith(f"rights[{place}]{text}"), fault)

    def test_denied_ids(self) -> None:
        """What is neither an id nor a range is a fault."""
        faults = self.faults(denied=["0x5", "x", 7])
        self.assertEqual(len(faults), 2)
        self.assertTrue(faults[0].startswith("denied[1]: 'x' is not a bus id"), faults)
        self.assertTrue(faults[1].startswith("denied[2]: expected a text"), faults)
        self.assertEqual(self.faults(denied="0x5"), ["denied: expected a list of ids and ranges"])
