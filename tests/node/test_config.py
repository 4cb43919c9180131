"""A configuration is read, checked once, and never changes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.address import parse_address
from atbus.busid import Subnet
from atbus.errors import ConfigurationError
from atbus.node.config import PROFILES, RELOADABLE, NodeConfig, difference
from atbus.node.option import OPTIONS
from atbus.wire.messages import Mode

SHARED_MEMORY = {
    "shm_lanes_max": 3,
    "shm_lane_bytes": 65_536,
    "shm_bytes_max": 262_144,
    "shm_weak_memory": True,
}

REGISTRIES: dict[str, Any] = {
    "static": {"addresses": ["ipv4://10.0.0.9:7000"], "use": "peers"},
    "dns": {"name": "bus.example", "port": 7000},
    "etcd": {"endpoints": ["http://127.0.0.1:2379"], "user": "u", "password": "geheim"},
    "zookeeper": {"servers": ["127.0.0.1:2181"], "user": "u", "password": "geheim"},
    "service": {"type": "battle", "labels": {"zone": "a"}},
    "nats": {"listen": "127.0.0.1:4222", "pings_max": 3},
}

OTHERS: dict[str, Any] = {
    "reserved_subnets": ["0x12345600/8"],
    "upstream_labels": {"role": "proxy"},
    "upstream_return_seconds": 60,
    "peer_labels": {"role": "peer"},
}

PERMITS: dict[str, Any] = {
    "rights": [{"action": "deny", "ids": ["0x5"], "send": ["*"], "publish": ["a.>"]}],
    "denied": ["0x66", "0x7700/8"],
    "denied_file": Path("/tmp/denied"),
    "compression": ["deflate"],
    "compression_least_bytes": 2000,
    "compression_except_kinds": [7, -8],
}

# Made once: what a strategy can give is found out by its first draw, and takes long.
_SOME_NAMES = st.sets(st.sampled_from([*OPTIONS]), min_size=1, max_size=4)
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.lists(st.one_of(st.integers(), st.text(max_size=8), st.tuples(st.integers()))),
    st.dictionaries(st.integers() | st.text(max_size=3), st.integers() | st.text()),
)


def full(**changes: Any) -> NodeConfig:
    """Make a configuration in which each option that can be set easily is."""
    options: dict[str, Any] = {
        "id": "0x12345678",
        "mask": "16.16.16.16",
        "name": "front",
        "hostname": "rack-7",
        "labels": {"region": "eu"},
        "proxy": True,
        "listen": ["ipv4://0.0.0.0:0", "unix:///run/x.sock", "shm://auto", "mem://auto"],
        "upstreams": ["ipv4://10.0.0.1:7000", "ipv4://10.0.0.2:7000"],
        **OTHERS,
        "topology": "records",
        "subnets": [(0, 16)],
        "accept_subnets": ["0x12340000/16"],
        "access_tokens": ["new secret", b"old secret"],
        "allow_insecure": True,
        "overwrite_listen_path": True,
        "direct_notice": True,
        "accept_notices": False,
        "direct_connections": True,
        "policy": [{"action": "allow", "same_labels": ["region"]}, {"action": "deny"}],
        "route_table": "full",
        "queue_policy": "local",
        "records": [{"id": "0x9", "upstream": 8, "addresses": ["unix:///x"], "proxy": True}],
        "tls_certificate": "/tmp/node.pem",
        "tls_key": Path("/tmp/node.key"),
        "tls_authorities": "/tmp/ca.pem",
        "tls_revoked": "/tmp/crl.pem",
        "tls_realm": "shop",
        "tls_allow_1_2": True,
        "tls_close_on_expiry": False,
        "require_upstream_within_seconds": 30,
        "linger_seconds": 1,
        "drain_seconds": 10,
        "record_events": Path("/tmp/front.events"),
        "message_bytes_max": 1000,
        "frame_bytes_max": 8192,
        "hops": 4,
        "endpoints_max": 10,
        "handshake_seconds": 1,
        "pending_handshakes": 8,
        "queued_bytes_soft": 1000,
        "queued_bytes_hard": 2000,
        "queued_bytes_node": 20_000,
        "interest_bytes": 30_000, "window_bytes": 3000,
        "window_count": 30,
        "profile": "fast",
        "heartbeat_seconds": 2,
        "heartbeat_tolerance": 5,
        "retry_initial_seconds": 0.1,
        "retry_factor": 2,
        "retry_seconds_max": 5,
        "pending_bytes_max": 100,
        "pending_count_max": 3,
        "pending_seconds": 1,
        "pending_policy": "drop",
        "application": "shop.front:Front",
        "application_settings": {"stock": [1, {"two": 2}]},
    }
    return NodeConfig(**(options | SHARED_MEMORY | REGISTRIES | PERMITS | changes))


class FaultCase(SynchronousTestCase):
    """Asks for the faults of a configuration."""

    def faults(self, **options: Any) -> list[str]:
        error: ConfigurationError = self.assertRaises(ConfigurationError, NodeConfig, **options)
        return error.faults


class ReadingTests(FaultCase):
    """What people write, and what is made of it."""

    def test_a_configuration_as_people_write_it(self) -> None:
        """Texts, numbers and pairs become addresses, ids and subnets."""
        config = NodeConfig(
            id="0x12345678",
            listen=["ipv4://127.0.0.1:0", "mem://auto"],
            upstream="ipv4://10.0.0.1:7000",
            subnets=[(0, 16), "0x55000000/8"],
            labels={"region": "eu"},
            access_tokens=["geheim"],
        )
        self.assertEqual((config.id, config.mode), (0x12345678, Mode.NODE))
        self.assertEqual(
            config.listen, (parse_address("ipv4://127.0.0.1:0"), parse_address("mem://auto"))
        )
        self.assertEqual(config.upstreams, (parse_address("ipv4://10.0.0.1:7000"),))
        self.assertEqual(config.upstream, config.upstreams[0])
        self.assertEqual(config.subnets, (Subnet(0x12340000, 16), Subnet(0x55000000, 8)))
        self.assertEqual(dict(config.labels), {"region": "eu"})
        self.assertEqual(config.access_tokens, (b"geheim",))

    def test_nothing_is_a_configuration(self) -> None:
        """
        Without any option there is a temporary node with the defaults.

        Scenario: A23
        """
        config = NodeConfig()
        self.assertEqual((config.id, config.mode), (0, Mode.TEMPORARY))
        self.assertEqual((config.listen, config.upstreams, config.subnets), ((), (), ()))
        self.assertIsNone(config.upstream)
        self.assertEqual(config.hops, limits.HOPS)

    def test_an_id_is_written_in_many_ways(self) -> None:
        """Hexadecimal, decimal, dotted by the mask, or a plain number: the same id."""
        for text in ("0x01020304", "16909060", "1.2.3.4", 0x01020304):
            self.assertEqual(NodeConfig(id=text).id, 0x01020304)
        self.assertEqual(NodeConfig(id="1.2", mask="8.24").id, 0x01000002)

    def test_an_automatic_id_is_still_unknown(self) -> None:
        """A node that asks its upstream for an id has none yet, and is no temporary node."""
        config = NodeConfig(id="auto", upstream="unix:///run/up.sock", subnets=["0/8"])
        self.assertEqual((config.id, config.mode, config.subnets), (0, Mode.AUTO, ()))
        self.assertEqual(config.subnets_of(0x1234), (Subnet(0x1200, 8),))

    def test_a_node_belongs_to_itself(self) -> None:
        """A node whose ranges do not contain its own id gets a range of one for it."""
        config = NodeConfig(id=0x1234, subnets=["0x5500/8"])
        self.assertEqual(config.subnets, (Subnet(0x1234, 0), Subnet(0x5500, 8)))
        self.assertEqual(NodeConfig(id=0x1234).subnets, (Subnet(0x1234, 0),))

    def test_the_lowest_range_is_not_the_nodes_own(self) -> None:
        """A range that begins at 0 stays there, although 0 as a prefix means the own id."""
        config = NodeConfig(id=0x12340001, subnets=[Subnet(5, 8)], accept_subnets=["5/8"])
        self.assertEqual(config.subnets, (Subnet(5, 8), Subnet(0x12340001, 0)))
        self.assertEqual(config.accept_subnets, (Subnet(5, 8),))

    def test_the_profile_sets_the_heartbeat(self) -> None:
        """The fast profile pings every second; a heartbeat that is given wins."""
        self.assertEqual(PROFILES, {"default": (8.0, 2), "fast": (1.0, 3)})
        fast = NodeConfig(profile="fast")
        self.assertEqual((fast.heartbeat_seconds, fast.heartbeat_tolerance), (1.0, 3))
        mixed = NodeConfig(profile="fast", heartbeat_seconds=2)
        self.assertEqual((mixed.heartbeat_seconds, mixed.heartbeat_tolerance), (2.0, 3))

    def test_secrets_are_not_shown(self) -> None:
        """Neither access tokens nor the application's settings appear when it is printed."""
        config = full(application_settings={"password": "very secret"})
        for text in (repr(config), str(config), repr(difference(NodeConfig(), config))):
            self.assertNotIn("secret", text)
            self.assertNotIn("geheim", text)
        self.assertIn("access_tokens=<2>", repr(config))
        self.assertIn("id=0x12345678", repr(config))

    def test_the_caller_keeps_what_it_gave(self) -> None:
        """Changing a list or table afterwards changes no configuration."""
        labels, listen, stock = {"a": "b"}, ["mem://x"], [1]
        config = NodeConfig(
            id=1,
            labels=labels,
            listen=listen,
            application="a:b",
            application_settings={"stock": stock},
        )
        labels["a"], stock[0] = "c", 2
        listen.clear()
        self.assertEqual(dict(config.labels), {"a": "b"})
        self.assertEqual(len(config.listen), 1)
        self.assertEqual(config.application_settings["stock"], (1,))

    def test_every_option_is_described(self) -> None:
        """What the class takes and what the description of options lists is the same."""
        taken = {field.alias for field in attrs.fields(NodeConfig) if field.init}
        self.assertEqual(taken - set(OPTIONS), {"mode"})
        self.assertEqual(set(OPTIONS) - taken, set())
        self.assertEqual([name for name in OPTIONS if not hasattr(NodeConfig(), name)], [])

    def test_the_defaults_are_within_their_bounds(self) -> None:
        """No default would be refused if somebody wrote it down."""
        config = NodeConfig()
        faults = [option.fault_in(getattr(config, name)) for name, option in OPTIONS.items()]
        self.assertEqual(set(faults), {None})


class FaultTests(FaultCase):
    """What is wrong is said, all of it at once."""

    def test_all_faults_are_told_at_once(self) -> None:
        """Each option, and each item of a list, that is wrong has its line."""
        faults = self.faults(
            id="zz",
            listen=["foo", "mem://ok", 7, "ipv4://0.0.0.0:1"],
            subnets=["1/99", "8", (1, 2, 3), 5],
            labels={"a": 1, "b": "ok"},
            access_tokens=["", 5],
            hops=0,
            frame_bytes_max=True,
            heartbeat_seconds=float("nan"),
            direct_notice="yes",
            application="no colon",
            application_settings=3,
            queued_bytes_soft=2000,
            queued_bytes_hard=1000,
        )
        places = [fault.partition(":")[0] for fault in faults]
        expected = ["id", "listen[0]", "listen[2]", "listen[3]", "subnets[0]", "subnets[1]"]
        expected += ["subnets[2]", "subnets[3]", "labels.a", "access_tokens[0]", "hops"]
        expected += ["access_tokens[1]", "frame_bytes_max", "heartbeat_seconds", "direct_notice"]
        expected += ["application", "application_settings", "queued_bytes_soft"]
        self.assertEqual(sorted(places), sorted(expected))

    def test_a_wrong_type_is_named(self) -> None:
        """The fault says what was expected and what came instead."""
        for option, value, fault in (
            ("hops", "16", "hops: expected an integer, got a text"),
            ("hops", 1.5, "hops: expected an integer, got a number with a fraction"),
            ("linger_seconds", True, "linger_seconds: expected a number, got a boolean"),
            ("linger_seconds", None, "linger_seconds: expected a number, got nothing"),
            (
                "drain_seconds",
                10**400,
                "drain_seconds: expected a finite number, got an integer beyond all bounds",
            ),
            ("direct_notice", 1, "direct_notice: expected a boolean, got an integer"),
            ("name", 5, "name: expected a text, got an integer"),
            ("name", "a\nb", "name: 'a\\nb' has letters that cannot be printed"),
            ("listen", "mem://x", "listen: expected a list, got a text"),
            ("upstream", ["mem://x"], "upstream: expected an address, got a list"),
            ("labels", ["x"], "labels: expected a table of texts, got a list"),
            ("id", None, "id: expected an integer or a text, got nothing"),
            ("id", True, "id: expected an integer or a text, got a boolean"),
            ("record_events", "", "record_events: the path of a file is empty; leave it out"),
            ("access_tokens", "geheim", "access_tokens: expected a list, got a text"),
            ("application", b"x", "application: expected a text, got bytes"),
            ("mode", 7, "mode: expected a Mode, got an integer"),
        ):
            self.assertEqual(self.faults(**{option: value}), [fault])

    def test_bounds_are_exact(self) -> None:
        """The least and the greatest number are allowed, the next ones are not."""
        for name, option in OPTIONS.items():
            if option.kind not in {"integer", "number"}:
                continue
            assert option.least is not None
            assert option.most is not None
            step = 1 if option.kind == "integer" else 0.0001
            for number in (option.least - step, option.most + step):
                faults = self.faults(**{name: number})
                self.assertIn(f"{name}: must be at ", faults[0])
            for number in (option.least, option.most):
                self.assertIsNone(option.fault_in(number))

    def test_too_many_of_something(self) -> None:
        """
        More tokens, addresses, ranges or labels than a registration can carry are refused.

        libatbus quietly uses the first of too many tokens; here somebody is told.

        Scenario: G8
        """
        tokens = [f"token {number}" for number in range(limits.ACCESS_TOKENS_MAX + 1)]
        self.assertEqual(self.faults(access_tokens=tokens), ["access_tokens: 6 are more than 5"])
        self.assertEqual(len(NodeConfig(access_tokens=tokens[1:]).access_tokens), 5)
        names = [f"mem://{number}" for number in range(limits.ADDRESSES_MAX + 1)]
        self.assertEqual(self.faults(id=1, listen=names), ["listen: 9 are more than 8"])
        ranges = [(number << 32, 8) for number in range(1, limits.SUBNETS_MAX + 1)]
        self.assertEqual(self.faults(id=1, subnets=ranges), ["subnets: 17 are more than 16"])
        self.assertEqual(
            self.faults(id="auto", upstream="unix:///x", subnets=ranges),
            ["subnets: 16 and the assigned id are more than 16"],
        )
        labels = {str(number): "" for number in range(limits.LABELS_MAX + 1)}
        self.assertEqual(self.faults(labels=labels), ["labels: 17 are more than 16"])
        self.assertEqual(
            self.faults(labels={"a": "ä" * 255, "b": "x"}), ["labels: 513 bytes are more than 512"]
        )

    def test_a_token_in_a_fault_stays_secret(self) -> None:
        """Whatever is wrong with tokens, no line shows one."""
        faults = self.faults(access_tokens=["geheim" * 200, {"geheim": "geheim"}, "geheim"])
        self.assertEqual(len(faults), 2)
        self.assertNotIn("geheim", str(faults))

    def test_a_listener_open_to_the_network(self) -> None:
        """A listener without TLS that others can reach needs a word that it is meant."""
        for address in ("ipv4://0.0.0.0:1", "ipv6://:::1", "dns://localhost:1"):
            (fault,) = self.faults(id=1, listen=[address])
            self.assertIn("allow_insecure", fault)
            NodeConfig(id=1, listen=[address], allow_insecure=True)
        files: dict[str, Any] = {"tls_certificate": "a", "tls_key": "b", "tls_authorities": "c"}
        NodeConfig(
            id=1, listen=["ipv4://127.0.0.1:1", "tls+ipv4://0.0.0.0:1", "unix:///x"], **files
        )

    def test_tls_needs_all_its_files(self) -> None:
        """A certificate without key or authorities, or an address without them, is a fault."""
        self.assertEqual(
            self.faults(tls_certificate="a"),
            ["tls_key: missing; TLS needs it", "tls_authorities: missing; TLS needs it"],
        )
        self.assertEqual(len(self.faults(tls_revoked="a")), 3)
        address = "tls+ipv4://127.0.0.1:1"
        for name in ("listen", "upstreams"):
            (fault,) = self.faults(id=1, **{name: [address]})
            self.assertEqual(fault, f"{name}[0]: {address} needs tls_certificate")

    def test_an_upstream_that_cannot_be_dialed(self) -> None:
        """An upstream is one that answers the same way, under an address that names a port."""
        self.assertIn("upstream: shm goes one way", self.faults(upstream="shm://x")[0])
        self.assertIn("upstreams[1]: ", self.faults(upstreams=["unix:///x", "ipv4://1.2.3.4"])[0])
        both = self.faults(upstream="unix:///x", upstreams=["unix:///y"])
        self.assertEqual(both, ["upstream: give either upstream or upstreams"])

    def test_what_does_not_go_together(self) -> None:
        """Options that make no sense beside each other are faults of the configuration."""
        self.assertIn("needs an upstream", self.faults(id="auto")[0])
        lowest = self.faults(id="auto", upstream="unix:///x", subnets=["0/8", "5/8"])
        fault = "subnets: a range from 0 on would mean one around the assigned id"
        self.assertEqual(lowest, [fault])
        self.assertIn("temporary", self.faults(listen=["mem://auto"])[0])
        self.assertIn("temporary", self.faults(subnets=["0x1200/8"])[0])
        self.assertIn("has none yet", self.faults(accept_subnets=["0/8"])[0])
        self.assertIn("no application", self.faults(application_settings={"a": 1})[0])
        self.assertIn("retry_initial_seconds: ", self.faults(retry_seconds_max=0.1)[0])
        self.assertIn("one of default, fast", self.faults(profile="slow")[0])
        self.assertIn("hostname: ", self.faults(hostname="")[0])
        self.assertIn("mask: ", self.faults(mask="8.x", id="1.2")[0])

    def test_an_unknown_option(self) -> None:
        """An option that does not exist is an ordinary mistake in a call."""
        self.assertRaises(TypeError, NodeConfig, lisen=[])

    @settings(deadline=None, max_examples=200)
    @given(st.data())
    def test_whatever_comes_it_is_a_configuration_or_a_list_of_faults(
        self, data: st.DataObject
    ) -> None:
        """No value, however odd, gets another exception out of a configuration."""
        names = data.draw(_SOME_NAMES)
        options = {name: data.draw(_ODD) for name in sorted(names)}
        try:
            config = NodeConfig(**options)
        except ConfigurationError as error:
            heads = {fault.partition(":")[0].partition("[")[0] for fault in error.faults}
            self.assertTrue({head.partition(".")[0] for head in heads} <= set(OPTIONS), heads)
        else:
            self.assertEqual(config.replace(), config)


class CopyTests(SynchronousTestCase):
    """A copy is the same, but for what is changed."""

    def test_a_copy_keeps_everything(self) -> None:
        """
        However a configuration is copied, no option is lost.

        Scenario: A23
        """
        config = full()
        unset = {name for name, value in config.given().items() if value == default(name)}
        self.assertEqual(unset, {"upstream"})
        copies = [copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))]
        for other in [
            *copies,
            config.replace(),
            attrs.evolve(config),
            NodeConfig(**config.given()),
        ]:
            self.assertEqual(other, config)
            self.assertEqual(hash(other), hash(config))
            self.assertEqual(other.given(), config.given())

    def test_a_copy_of_an_automatic_id_stays_automatic(self) -> None:
        """The wish for an assigned id survives copying, and ends with an id of one's own."""
        config = NodeConfig(id="auto", upstream="unix:///x", subnets=["0/8"])
        for other in (config.replace(name="x"), attrs.evolve(config, name="x")):
            self.assertEqual(other.mode, Mode.AUTO)
        self.assertEqual(config.replace(id=5).mode, Mode.NODE)
        self.assertEqual(config.replace(id=0, subnets=[]).mode, Mode.TEMPORARY)

    def test_what_follows_from_a_change_follows(self) -> None:
        """A new id takes the ranges along, a new profile the heartbeat."""
        config = full(heartbeat_seconds=None, heartbeat_tolerance=None)
        moved = config.replace(id=0x55550001, profile="default")
        self.assertEqual(moved.subnets, (Subnet(0x55550000, 16),))
        self.assertEqual((moved.heartbeat_seconds, moved.heartbeat_tolerance), (8.0, 2))

    def test_one_way_to_name_upstreams_replaces_the_other(self) -> None:
        """A copy with an upstream forgets the list that was there, and the reverse."""
        config = full().replace(upstream="unix:///x")
        self.assertEqual(config.upstreams, (parse_address("unix:///x"),))
        config = config.replace(upstreams=["unix:///y"])
        self.assertEqual(config.upstreams, (parse_address("unix:///y"),))

    def test_a_copy_is_checked(self) -> None:
        """A change that is wrong is refused like anything else."""
        self.assertRaises(ConfigurationError, full().replace, hops=0)

    def test_a_configuration_does_not_change(self) -> None:
        """Setting an attribute is an error."""
        self.assertRaises(AttributeError, setattr, full(), "hops", 3)


class DifferenceTests(SynchronousTestCase):
    """What a running node would have to change."""

    def test_the_same_makes_no_difference(self) -> None:
        """However it was written, the same configuration is no change."""
        self.assertEqual(difference(full(), full(id=0x12345678)), (frozenset(), frozenset()))

    def test_what_can_change_is_told_from_what_cannot(self) -> None:
        """New tokens take effect in a running node, a new id needs a new one."""
        new = full(access_tokens=["x"], hops=5, id="0x12345679", upstreams=["unix:///x"])
        self.assertEqual(
            difference(full(), new),
            (frozenset({"access_tokens", "hops"}), frozenset({"id", "upstreams"})),
        )

    def test_a_profile_changes_what_follows_from_it(self) -> None:
        """The heartbeat that a profile brings is a change of the heartbeat as well."""
        changed, others = difference(NodeConfig(), NodeConfig(profile="fast"))
        self.assertEqual(changed, {"profile", "heartbeat_seconds", "heartbeat_tolerance"})
        self.assertEqual(others, frozenset())

    def test_no_id_and_an_assigned_id_differ(self) -> None:
        """A temporary node does not become one with an automatic id while it runs."""
        old = NodeConfig(upstream="unix:///x")
        self.assertEqual(difference(old, old.replace(id="auto"))[1], frozenset({"id"}))

    def test_who_a_node_is_cannot_be_reloaded(self) -> None:
        """What others have been told at registration is not among what can change."""
        told = {"id", "mask", "hostname", "subnets", "labels", "listen", "frame_bytes_max"}
        self.assertEqual(RELOADABLE & told, frozenset())


def default(name: str) -> object:
    """Give the default of an option."""
    return NodeConfig().given()[name]
