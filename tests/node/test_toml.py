"""A configuration stands in a file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.node.option import OPTIONS
from atbus.node.toml import KEYS, TABLES, dump, dump_default, load_config, parse_config
from tests.node.test_config import full

NEWCOMER = """\
id = "0x12340001"
listen = ["ipv4://127.0.0.1:0", "unix:///run/service.sock"]
upstream = "ipv4://10.0.0.1:7000"
subnets = ["0/8"]
"""

# For each option one line of a file that gives it another value than its default.
LINES = {
    "id": 'id = "0x12345678"',
    "mask": 'mask = "16.16"',
    "name": 'name = "front"',
    "hostname": 'hostname = "mac"',
    "labels": 'labels.region = "eu"',
    "proxy": "proxy = true",
    "listen": 'listen = ["mem://auto"]',
    "upstream": 'upstream = "unix:///run/up.sock"',
    "upstreams": 'upstreams = ["unix:///run/up.sock"]',
    "upstream_labels": 'upstream_labels.role = "proxy"',
    "peer_labels": 'peer_labels.role = "proxy"',
    "upstream_return_seconds": "upstream_return_seconds = 60",
    "topology": 'topology = "records"',
    "subnets": 'subnets = [[0, 16], "0x5500/8"]',
    "accept_subnets": 'accept_subnets = ["0x5500/8"]',
    "reserved_subnets": 'reserved_subnets = ["0x5510/4"]',
    "access_tokens": 'access_tokens = ["geheim"]',
    "allow_insecure": "allow_insecure = true",
    "overwrite_listen_path": "overwrite_listen_path = true",
    "direct_notice": "direct_notice = false",
    "tls_certificate": 'tls.certificate = "node.pem"',
    "tls_key": 'tls.key = "node.key"',
    "tls_authorities": 'tls.authorities = "ca.pem"',
    "tls_revoked": 'tls.revoked = "crl.pem"',
    "tls_realm": 'tls.realm = "shop"',
    "tls_allow_1_2": "tls.allow_1_2 = true",
    "tls_close_on_expiry": "tls.close_on_expiry = false",
    "accept_notices": "accept_notices = false",
    "direct_connections": "direct_connections = true",
    "policy": 'policy = [{ action = "deny", labels = { region = ["us", "as"] } }]',
    "records": 'records = [{ id = "0x5", upstream = "0x6", addresses = ["unix:///x"] }]',
    "route_table": 'route_table = "upstream"',
    "queue_policy": 'subjects.queue_policy = "nearest"',
    "rights": 'rights = [{ action = "allow", register = ["peer"], labels = { tier = "a" } }]',
    "denied": 'denied = ["0x66", "0x7700/8"]',
    "denied_file": 'denied_file = "denied"',
    "compression": 'compression.algorithms = ["deflate"]',
    "compression_least_bytes": "compression.least_bytes = 5000",
    "compression_except_kinds": "compression.except_kinds = [7, -8]",
    "require_upstream_within_seconds": "require_upstream_within_seconds = 30",
    "linger_seconds": "linger_seconds = 1.5",
    "drain_seconds": "drain_seconds = 5",
    "record_events": 'record_events = "front.events"',
    "message_bytes_max": "limits.message_bytes_max = 1000",
    "frame_bytes_max": "limits.frame_bytes_max = 8192",
    "hops": "limits.hops = 4",
    "endpoints_max": "limits.endpoints_max = 10",
    "handshake_seconds": "limits.handshake_seconds = 1",
    "pending_handshakes": "limits.pending_handshakes = 8",
    "queued_bytes_soft": "limits.queued_bytes_soft = 1000",
    "shm_lanes_max": "shm.lanes_max = 3",
    "shm_lane_bytes": "shm.lane_bytes = 65_536",
    "shm_bytes_max": "shm.bytes_max = 8_388_608",
    "shm_weak_memory": "shm.weak_memory = true",
    "queued_bytes_hard": "limits.queued_bytes_hard = 3_000_000",
    "queued_bytes_node": "limits.queued_bytes_node = 30_000_000",
    "interest_bytes": "limits.interest_bytes = 10_000_000",
    "window_bytes": "limits.window_bytes = 1_000_000",
    "window_count": "limits.window_count = 100",
    "profile": 'heartbeat.profile = "fast"',
    "heartbeat_seconds": "heartbeat.seconds = 2",
    "heartbeat_tolerance": "heartbeat.tolerance = 5",
    "retry_initial_seconds": "retry.initial_seconds = 0.1",
    "retry_factor": "retry.factor = 2",
    "retry_seconds_max": "retry.seconds_max = 5",
    "pending_bytes_max": "pending.bytes_max = 100",
    "pending_count_max": "pending.count_max = 3",
    "pending_seconds": "pending.seconds = 1",
    "pending_policy": 'pending.policy = "fail"',
    "static": 'discovery.static.addresses = ["ipv4://10.0.0.9:7000"]',
    "dns": 'discovery.dns = { name = "_atbus._tcp.example" }',
    "etcd": 'discovery.etcd.endpoints = ["http://127.0.0.1:2379"]',
    "zookeeper": 'discovery.zookeeper.servers = ["127.0.0.1:2181"]',
    "nats": 'nats.listen = "127.0.0.1:4222"',
    "service": 'service.type = "battle"',
    "application": 'application.callable = "shop.front:Front"',
    "application_settings": "application.settings.stock = [1, 2]",
}

# What an option needs beside it to make sense.
NEEDS = {
    "tls_certificate": ['tls.key = "node.key"', 'tls.authorities = "ca.pem"'],
    "tls_key": ['tls.certificate = "node.pem"', 'tls.authorities = "ca.pem"'],
    "tls_authorities": ['tls.certificate = "node.pem"', 'tls.key = "node.key"'],
    "tls_revoked": [
        'tls.certificate = "node.pem"',
        'tls.key = "node.key"',
        'tls.authorities = "ca.pem"',
    ],
    "listen": ['id = "0x12345678"'],
    "subnets": ['id = "0x12345678"'],
    "application_settings": ['application.callable = "shop.front:Front"'],
}


class FileTests(SynchronousTestCase):
    """What stands in a file arrives."""

    def test_four_lines_make_a_node(self) -> None:
        """A newcomer's file says who, where, to whom, and which ids."""
        self.assertEqual(
            parse_config(NEWCOMER),
            NodeConfig(
                id=0x12340001,
                listen=["ipv4://127.0.0.1:0", "unix:///run/service.sock"],
                upstream="ipv4://10.0.0.1:7000",
                subnets=[(0, 8)],
            ),
        )

    def test_each_option_can_be_set_in_a_file(self) -> None:
        """Every option of the class has its place in a file, and its value arrives."""
        self.assertEqual(set(LINES), set(OPTIONS))
        defaults = NodeConfig().given()
        for name, line in LINES.items():
            lines = [*NEEDS.get(name, []), line]
            given_values = parse_config("\n".join(lines)).given()
            changed = {key for key, value in given_values.items() if value != defaults[key]}
            beside = {KEYS[needed.partition(" ")[0]] for needed in NEEDS.get(name, [])}
            self.assertEqual(changed, {name} | beside)

    def test_each_option_can_be_set_on_the_command_line(self) -> None:
        """The same lines override an empty file."""
        for name, line in LINES.items():
            lines = [*NEEDS.get(name, []), line]
            self.assertEqual(parse_config("", lines), parse_config("\n".join(lines)))

    def test_an_empty_file_is_a_configuration(self) -> None:
        """Nothing said is everything at its default."""
        self.assertEqual(parse_config(""), NodeConfig())

    def test_a_file_is_read_from_where_it_is(self) -> None:
        """The file is read as UTF-8, with or without a byte order mark."""
        path = Path(self.mktemp())
        for mark in ("", "\ufeff"):
            path.write_text(mark + 'name = "Zürich"', encoding="utf-8")
            self.assertEqual(load_config(path).name, "Zürich")
            self.assertEqual(load_config(str(path), ['name="Bern"']).name, "Bern")


class OverrideTests(SynchronousTestCase):
    """``--set`` is stronger than the file."""

    def test_overrides_win_in_order(self) -> None:
        """The last word counts, and what is not mentioned stays."""
        config = parse_config("limits.hops = 4\nname = 'a'", ["limits.hops=5", "limits.hops = 6"])
        self.assertEqual((config.hops, config.name), (6, "a"))

    def test_an_override_reaches_into_a_table(self) -> None:
        """One label is set, the others stay."""
        config = parse_config("[labels]\na = 'x'\nb = 'y'", ['labels.b="z"'])
        self.assertEqual(dict(config.labels), {"a": "x", "b": "z"})

    def test_one_upstream_replaces_several(self) -> None:
        """Whichever way the file names its upstreams, an override replaces them."""
        config = parse_config('upstreams = ["unix:///a"]', ['upstream="unix:///b"'])
        self.assertEqual([str(each) for each in config.upstreams], ["unix:///b"])
        config = parse_config('upstream = "unix:///a"', ['upstreams=["unix:///b"]'])
        self.assertEqual([str(each) for each in config.upstreams], ["unix:///b"])

    def test_a_wrong_override_is_a_fault(self) -> None:
        """What is no key with a value of TOML is named, without the value."""
        overrides = ["hops", "name=geheim", "=1", 'name="a"\nlimits.hops=1']
        error = self.assertRaises(ConfigurationError, parse_config, "", overrides)
        self.assertEqual(len(error.faults), 4)
        self.assertIn("--set hops: expected key=value", error.faults)
        self.assertIn("texts stand in quotes", error.faults[1])
        self.assertNotIn("geheim", str(error))


class FaultTests(SynchronousTestCase):
    """What is wrong in a file is told all at once, under the names that it has there."""

    def faults(self, text: str) -> list[str]:
        error: ConfigurationError = self.assertRaises(ConfigurationError, parse_config, text)
        return error.faults

    def test_all_faults_of_a_file(self) -> None:
        """Unknown keys, wrong types and wrong values come together, with their path."""
        faults = self.faults(
            """
            id = 0
            hops = 3
            lisen = ["x"]
            listen = ["mem://x", "nonsense"]
            retry = 3
            colour = "red"
            [limits]
            frame_bytes_max = 1
            hop = 3
            [heartbeat]
            seconds = "8"
            [limit]
            [labels]
            zone = 7
            """
        )
        self.assertEqual(
            faults,
            [
                "hops: unknown; did you mean limits.hops?",
                "lisen: unknown; did you mean listen?",
                "retry: expected a table",
                "colour: unknown",
                "limits.hop: unknown; did you mean limits.hops?",
                "limit: unknown; did you mean [limits]?",
                "labels.zone: expected a text, got an integer",
                "listen[1]: 'nonsense' is not an address: no scheme://",
                "limits.frame_bytes_max: must be at least 4096 bytes, not 1",
                "heartbeat.seconds: expected a number, got a text",
                "listen: a temporary node (id 0) has none; give it an id",
            ],
        )

    def test_the_names_of_the_class_lead_to_those_of_the_file(self) -> None:
        """Who writes an option as in a program is told where it stands in a file."""
        for name in OPTIONS:
            key = OPTIONS[name].key
            if key is not None and name not in TABLES:
                self.assertEqual(
                    self.faults(f"{name} = 1"), [f"{name}: unknown; did you mean {key}?"]
                )

    def test_an_unknown_key_alone_is_a_fault(self) -> None:
        """A file whose values are all good is refused for one key that nobody knows."""
        self.assertEqual(self.faults("upstreem = 'unix:///x'")[0][:17], "upstreem: unknown")

    def test_a_syntax_error_has_its_line(self) -> None:
        """What is not TOML is told with the file, the line and the column."""
        path = Path(self.mktemp())
        path.write_text("id = 1\nlisten = [\n= 3\n", encoding="utf-8")
        (fault,) = self.assertRaises(ConfigurationError, load_config, path).faults
        self.assertIn(str(path), fault)
        self.assertIn("line 3", fault)

    def test_a_file_that_cannot_be_read(self) -> None:
        """A missing file, or one that is no text, is a fault of the configuration."""
        path = Path(self.mktemp())
        (fault,) = self.assertRaises(ConfigurationError, load_config, path).faults
        self.assertEqual(fault, f"{path}: No such file or directory")
        path.write_bytes(b"name = '\xff'")
        (fault,) = self.assertRaises(ConfigurationError, load_config, path).faults
        self.assertIn("not in UTF-8", fault)


class DumpTests(SynchronousTestCase):
    """A configuration is written as a file."""

    def test_the_default_file_loads_to_the_defaults(self) -> None:
        """As it is, and with the comment signs taken from its options."""
        text = dump_default()
        self.assertEqual(parse_config(text), NodeConfig())
        self.assertEqual(set(tomllib.loads(text)), set(TABLES))
        self.assertEqual(parse_config(uncomment(text)), NodeConfig())

    def test_the_default_file_shows_every_option(self) -> None:
        """Each option is in it, with what it means."""
        text = dump_default()
        self.assertEqual(len(re.findall(r"(?m)^#\w+ =", text)), len(OPTIONS))
        flat = " ".join(text.replace("\n#", "").split())
        for option in OPTIONS.values():
            self.assertIn(" ".join(option.meaning.split()), flat)

    def test_a_dumped_configuration_loads_again(self) -> None:
        """What was set comes back, but for the access tokens."""
        for config in (
            full(),
            parse_config(NEWCOMER),
            NodeConfig(id="auto", upstream="unix:///x", accept_subnets=["5/8"]),
            NodeConfig(id=2**64 - 1, labels={"a b": 'q"\\ü', "c": "\U0001f600"}),
        ):
            again = parse_config(dump(config))
            written = {
                name: {key: value for key, value in table.items() if key != "password"}
                for name, table in (("etcd", config.etcd), ("zookeeper", config.zookeeper))
            }
            self.assertEqual(again, config.replace(access_tokens=[], **written))
            self.assertEqual(again.subnets_of(0x77), config.subnets_of(0x77))

    def test_secrets_are_left_out(self) -> None:
        """Neither tokens nor settings that are called secrets are written."""
        config = full(
            application_settings={
                "api_key": "geheim",
                "stock": [{"password": "geheim", "size": 3}],
            }
        )
        text = dump(config)
        self.assertNotIn("secret", text.replace("Secrets", ""))
        self.assertNotIn("geheim", text)
        self.assertIn("2, not shown", text)
        self.assertIn("size = 3", text)

    @settings(deadline=None, max_examples=100)
    @given(
        st.recursive(
            st.booleans()
            | st.integers(min_value=-(2**63), max_value=2**63 - 1)
            | st.floats(allow_nan=False)
            | st.text(st.characters(codec="utf-8"))
            | st.datetimes()
            | st.dates()
            | st.times(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.from_regex("[a-j. \"']{0,5}", fullmatch=True), inner, max_size=3
                )
            ),
            max_leaves=6,
        )
    )
    def test_settings_of_any_kind_come_back(self, value: object) -> None:
        """Whatever TOML can say in the settings of an application survives being written."""
        config = NodeConfig(application="a:b", application_settings={"value": value})
        self.assertEqual(parse_config(dump(config)), config)


def uncomment(text: str) -> str:
    """Take the comment signs from all options that show a value."""
    return re.sub(r"(?m)^#(\w+ = .)", r"\1", text)
