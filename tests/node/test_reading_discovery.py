"""How the options about registries are read."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery import bounds
from atbus.discovery.etcd.options import WatcherOptions
from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.node.reading_discovery import read_service
from atbus.node.reading_etcd import read_etcd
from atbus.node.toml import dump, parse_config

ENDPOINTS = ["http://10.0.0.1:2379", "https://etcd.example:2379/"]


class EtcdTests(SynchronousTestCase):
    """The table ``discovery.etcd``."""

    def test_nothing_means_no_etcd(self) -> None:
        """A node that is told of no etcd uses none."""
        self.assertEqual(read_etcd(NodeConfig().etcd), ())

    def test_what_is_given_is_used(self) -> None:
        """Everything that can be said of an etcd is known afterwards; the rest has defaults."""
        text = """
            [discovery.etcd]
            endpoints = ["http://10.0.0.1:2379"]
            prefix = "game"
            user = "root"
            password = "geheim"
            ca_file = "/ca.pem"
            certificate_file = "/node.pem"
            announce = false
            required = true
            lease_seconds = 4
        """
        (settings,) = read_etcd(parse_config(text).etcd)
        self.assertEqual(settings.prefix, "game/")
        self.assertEqual((settings.announce, settings.watch), (False, True))
        self.assertTrue(settings.required)
        cluster = settings.cluster
        self.assertEqual(cluster.endpoints, ("http://10.0.0.1:2379",))
        self.assertEqual((cluster.user, cluster.password), ("root", "geheim"))
        self.assertEqual((cluster.tls.ca_file, cluster.tls.key_file), ("/ca.pem", ""))
        self.assertEqual(cluster.lease_seconds, 4)
        self.assertLess(cluster.renewal_seconds * 3, 4)

    def test_how_often_a_lease_is_renewed(self) -> None:
        """Three times in a short lease; in a longer one as often as the bound says."""
        for lease, renewal in ((4, 1.2), (60, bounds.LEASE_RENEWAL_SECONDS)):
            table = {"endpoints": ENDPOINTS, "lease_seconds": lease}
            (settings,) = read_etcd(NodeConfig(etcd=table).etcd)
            self.assertAlmostEqual(settings.cluster.renewal_seconds, renewal)

    def test_how_a_place_is_watched(self) -> None:
        """
        Each time of a watcher has a default and can be given, to the millisecond.

        Scenario: S7
        """
        (usual,) = read_etcd(NodeConfig(etcd={"endpoints": ENDPOINTS}).etcd)
        self.assertEqual(usual.watching, WatcherOptions())
        self.assertEqual(usual.watching.watch_seconds, 3_600)
        self.assertEqual(usual.watching.startup_seconds, (0, 0))
        self.assertEqual((usual.cluster.request_seconds, usual.watching.silence_seconds), (3, 15))
        text = """
            [discovery.etcd]
            endpoints = ["http://10.0.0.1:2379"]
            request_seconds = 1.234
            watch_seconds = 600.5
            silence_seconds = 4.125
            spread_seconds = 2.001
        """
        (given,) = read_etcd(parse_config(text).etcd)
        watching = given.watching
        self.assertEqual((watching.watch_seconds, watching.silence_seconds), (600.5, 4.125))
        self.assertEqual(watching.startup_seconds, (0, 2.001))
        self.assertEqual(given.cluster.request_seconds, 1.234)

    def test_further_places(self) -> None:
        """What a further place does not say of itself is as in the first; each has a name."""
        text = """
            [discovery.etcd]
            endpoints = ["http://10.0.0.1:2379"]
            prefix = "/one/"
            lease_seconds = 7
            required = true
            [[discovery.etcd.contexts]]
            prefix = "/two"
            announce = false
            [[discovery.etcd.contexts]]
            endpoints = ["http://10.9.0.1:2379"]
            required = false
        """
        first, second, third = read_etcd(parse_config(text).etcd)
        names = [place.name for place in (first, second, third)]
        self.assertEqual(names, ["etcd", "etcd /two/", "etcd http://10.9.0.1:2379/one/"])
        self.assertEqual((first.announce, second.announce, third.announce), (True, False, True))
        self.assertEqual((second.required, third.required), (True, False))
        self.assertEqual(second.cluster, first.cluster)
        self.assertEqual(third.cluster.endpoints, ("http://10.9.0.1:2379",))
        self.assertEqual(third.cluster.lease_seconds, 7)

    def test_what_is_wrong_with_further_places(self) -> None:
        """A fault in a further place names it; two places are not one."""
        cases: list[tuple[Any, str]] = [
            ({"prefix": "/b/"}, "etcd.contexts: expected a list of tables"),
            ([5], "etcd.contexts[0]: expected a table"),
            ([{"prefix": "/b/"}, {"prefix": 5}], "etcd.contexts[1].prefix: expected a text"),
            ([{"prefix": "/b/", "contexts": []}], "etcd.contexts[0].contexts: unknown"),
            ([{"prefix": "/atbus"}], "etcd.contexts[0].prefix: this place is there already"),
            ([{"prefix": "/b/"}, {"prefix": "/b"}], "etcd.contexts[1].prefix: this place"),
            ([{"prefix": f"/{number}/"} for number in range(17)], "etcd.contexts: 17 are more"),
        ]
        for wrong, fault in cases:
            with self.assertRaises(ConfigurationError, msg=str(wrong)) as caught:
                NodeConfig(etcd={"endpoints": ENDPOINTS, "contexts": wrong})
            (told,) = caught.exception.faults
            self.assertTrue(told.startswith(fault), told)

    def test_a_password_is_not_shown(self) -> None:
        """Neither a configuration nor the file made of it shows a password."""
        config = NodeConfig(etcd={"endpoints": ENDPOINTS, "user": "root", "password": "geheim"})
        self.assertNotIn("geheim", repr(config))
        self.assertNotIn("geheim", dump(config))
        self.assertNotIn("geheim", repr(read_etcd(config.etcd)))

    def test_what_is_wrong_is_told(self) -> None:
        """Each fault names its place; all of them are told at once."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"endpoint": 1}, "etcd.endpoint: unknown"),
            ({"endpoints": []}, "etcd.endpoints: at least one"),
            ({"endpoints": "http://a:1"}, "etcd.endpoints: expected a list"),
            ({"endpoints": ["a:1", 5]}, "etcd.endpoints[1]"),
            ({"prefix": "/"}, "etcd.prefix: "),
            ({"prefix": 5}, "etcd.prefix: expected a text"),
            ({"user": "a\nb", "password": "x"}, "etcd.user: expected a text"),
            ({"password": "x"}, "etcd.password: it is nobody's"),
            ({"key_file": "/k"}, "etcd.key_file: "),
            ({"watch": "yes"}, "etcd.watch: expected true or false"),
            ({"lease_seconds": 1}, "etcd.lease_seconds: must be 2 to 3600"),
            ({"start_seconds": "5"}, "etcd.start_seconds: expected a number"),
        ]
        for wrong, fault in cases:
            with self.assertRaises(ConfigurationError, msg=str(wrong)) as caught:
                NodeConfig(etcd={"endpoints": ENDPOINTS} | wrong)
            self.assertTrue(
                any(each.startswith(fault) for each in caught.exception.faults),
                caught.exception.faults,
            )

    def test_faults_have_the_names_of_the_file(self) -> None:
        """A fault in a file is told with the name that it has there."""
        with self.assertRaises(ConfigurationError) as caught:
            parse_config("discovery.etcd.endpoints = []\ndiscovery.etc = 5")
        self.assertEqual(
            sorted(caught.exception.faults),
            [
                "discovery.etc: unknown; did you mean discovery.etcd?",
                "discovery.etcd.endpoints: at least one is needed",
            ],
        )


class ServiceTests(SynchronousTestCase):
    """The table ``service``."""

    def test_what_is_given_is_offered(self) -> None:
        """What stands in the table is what others find."""
        text = 'service = { type = "battle", gateways = ["wss://x"], labels = { a = "b" } }'
        service = read_service(parse_config(text).service, 5, "five")
        self.assertEqual((service.bus_id, service.name, service.type), (5, "five", "battle"))
        self.assertEqual((service.gateways, service.labels), (("wss://x",), (("a", "b"),)))

    def test_what_is_wrong_is_told(self) -> None:
        """Each fault names its place."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"name": "x"}, "service.name: unknown"),
            ({"type": 5}, "service.type: expected a text"),
            ({"labels": {"a": 1}}, "service.labels: expected a table of texts"),
            ({"gateways": "x"}, "service.gateways: expected a list of texts"),
            ({"pod_index": True}, "service.pod_index: expected an integer"),
            ({"pod_index": -1}, "service.pod_index: "),
            ({"data": "x" * 100_000}, "service.data: "),
        ]
        for wrong, fault in cases:
            with self.assertRaises(ConfigurationError, msg=str(wrong)[:50]) as caught:
                NodeConfig(service=wrong)
            self.assertEqual(len(caught.exception.faults), 1)
            self.assertTrue(caught.exception.faults[0].startswith(fault))
