"""What nodes offer, and how one of them is chosen."""

from __future__ import annotations

from itertools import islice
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import RecordError
from atbus.routing import bounds
from atbus.routing.ring import Search
from atbus.routing.services import Filter, Service, ServiceSet, Version


def node(number: int, **more: Any) -> Service:
    """Make a service with a telling name."""
    return Service(bus_id=number, name=f"node-{number}", **more)


def set_of(*services: Service) -> ServiceSet:
    """Make a set."""
    made = ServiceSet()
    for service in services:
        made.add(service)
    return made


class ServiceTests(SynchronousTestCase):
    """One service."""

    def test_parts_have_bounds(self) -> None:
        """What is too long, too much or nobody's is refused by the name of its part."""
        long = "x" * (bounds.SERVICE_TEXT_BYTES + 1)
        cases: list[tuple[str, dict[str, Any]]] = [
            ("bus_id", {"bus_id": 2**64}),
            ("name", {"bus_id": 0}),
            ("type", {"bus_id": 1, "type": long}),
            ("type", {"bus_id": 1, "type": "\ud800"}),
            ("data", {"bus_id": 1, "data": "x" * (bounds.SERVICE_DATA_BYTES + 1)}),
            ("labels", {"bus_id": 1, "labels": {"a": long}}),
            ("labels", {"bus_id": 1, "labels": (("a", "1"), ("a", "2"))}),
            ("labels", {"bus_id": 1, "labels": {str(n): "" for n in range(1_000)}}),
            ("gateways", {"bus_id": 1, "gateways": ("x",) * 1_000}),
            ("gateways", {"bus_id": 1, "gateways": ("x" * 10_000,)}),
            ("pod_index", {"bus_id": 1, "pod_index": -1}),
        ]
        for place, parts in cases:
            with self.assertRaises(RecordError, msg=place) as caught:
                Service(**parts)
            self.assertEqual(caught.exception.place, place)

    def test_ways_in_take_turns(self) -> None:
        """
        Clients are led to the gateways in turn, and to the addresses where there are none.

        Scenario: T12
        """
        with_gateways = node(1, gateways=("a", "b", "c"), addresses=("x",))
        self.assertEqual(list(islice(with_gateways.ways_in(), 6)), ["a", "b", "c"] * 2)
        self.assertEqual(list(islice(node(1, addresses=("x",)).ways_in(), 2)), ["x", "x"])
        self.assertEqual(list(node(1).ways_in()), [])


class FilterTests(SynchronousTestCase):
    """Which services are meant."""

    def test_what_is_empty_does_not_matter(self) -> None:
        """
        An empty rule fits all; each word has to be the same, each label as well unless it is empty.

        Scenario: T1
        """
        words = ("type", "namespace", "api_version", "kind", "group", "service_subset")
        service = node(1, labels={"color": "red"}, **dict.fromkeys(words, "right"))
        self.assertTrue(Filter().matches(service))
        right: dict[str, Any] = dict.fromkeys(words, "right")
        self.assertTrue(Filter(**right).matches(service))
        for word in words:
            wrong: dict[str, Any] = {word: "wrong"}
            self.assertFalse(Filter(**wrong).matches(service), word)
        self.assertTrue(Filter(labels={"color": "red"}).matches(service))
        self.assertTrue(Filter(labels={"color": "", "size": ""}).matches(service))
        self.assertFalse(Filter(labels={"color": "blue"}).matches(service))
        self.assertFalse(Filter(labels={"size": "7"}).matches(service))


class SetTests(SynchronousTestCase):
    """What comes and goes."""

    def test_labels_tell_services_apart(self) -> None:
        """
        An index is made when it is asked for, and given up when nothing is left in it.

        Scenario: T2
        """
        three = node(3, labels={"color": "red"})
        services = set_of(node(1), node(2, labels={"color": "blue"}), three)
        where = Filter(labels={"color": "red"})
        self.assertEqual(services.index_count, 0)
        self.assertEqual(services.in_order(where), (three,))
        self.assertEqual(services.index_count, 1)
        for chosen in (
            services.by_hash("k", where),
            services.at_random(0.99, where),
            services.round_robin(where),
        ):
            self.assertIs(chosen, three)
        services.remove_id(2)
        self.assertEqual(services.index_count, 1)
        services.remove(three)
        self.assertEqual(services.index_count, 0)
        self.assertIsNone(services.by_hash("k", where))
        self.assertIsNone(services.round_robin(where))

    def test_an_index_follows_what_comes(self) -> None:
        """Who is asked about again sees also those who came later."""
        services = set_of(node(1, type="a"))
        where = Filter(type="a")
        self.assertEqual(len(services.in_order(where)), 1)
        services.by_hash("k", where)
        services.add(node(2, type="a"))
        services.add(node(1, type="b"))
        self.assertEqual([one.bus_id for one in services.in_order(where)], [2])
        self.assertEqual(services.search("k", 9, Search.UNIQUE, where)[0].member.bus_id, 2)

    def test_id_and_name_lead_to_the_same(self) -> None:
        """
        A service is found by its id and by its name; one that has only one of them by that.

        Scenario: T3, T15
        """
        only_name, only_id = Service(name="only name"), Service(bus_id=9)
        services = set_of(node(1), only_name, only_id)
        self.assertIs(services.get(1), services.named("node-1"))
        self.assertIs(services.named("only name"), only_name)
        self.assertIs(services.get(9), only_id)
        self.assertEqual(services.by_hash(123), services.by_hash(123 + 2**64))
        self.assertEqual([one.title for one in services], ["only name", "node-1", "0x9"])

    def test_rounds_go_in_order(self) -> None:
        """
        In two rounds over 32 nodes each comes twice, in the same order.

        Scenario: T4
        """
        services = set_of(*(node(number) for number in range(1, 33)))
        rounds = [services.round_robin() for _ in range(64)]
        self.assertEqual(rounds[:32], rounds[32:])
        self.assertEqual(rounds[:32], list(services.in_order()))

    def test_the_order_is_that_of_pods(self) -> None:
        """
        Sorted is by the index of the pod, then by id.

        Scenario: T18
        """
        services = set_of(node(1, pod_index=2), node(2, pod_index=1), node(3, pod_index=1))
        self.assertEqual([one.bus_id for one in services], [2, 3, 1])

    def test_what_is_newer_counts(self) -> None:
        """
        A newer service replaces the one of its id; an older one changes nothing.

        Scenario: T9, T10
        """
        services = ServiceSet()
        self.assertTrue(services.add(node(1, data="a"), Version(5)))
        self.assertTrue(services.add(node(1, data="b"), Version(6)))
        self.assertFalse(services.add(node(1, data="old"), Version(5)))
        there = services.get(1)
        assert there is not None
        self.assertEqual(there.data, "b")
        self.assertFalse(services.add(node(1, data="b"), Version(8)))
        self.assertEqual(services.version_of(there), Version(8))
        self.assertFalse(services.add(node(1, data="c"), Version(7)))

    def test_a_new_name_takes_the_place_of_the_old_one(self) -> None:
        """A node that has another name now is not found by the old one, and the other way round."""
        services = set_of(node(1), node(2))
        services.add(Service(bus_id=1, name="node-2"))
        self.assertEqual(len(services), 1)
        self.assertIsNone(services.named("node-1"))
        self.assertIsNone(services.get(2))

    def test_only_the_same_is_removed(self) -> None:
        """
        Who removes a service that was replaced meanwhile removes nothing.

        Scenario: T13
        """
        old = node(1, data="a")
        services = set_of(old)
        services.add(node(1, data="b"))
        self.assertFalse(services.remove(old))
        self.assertIsNotNone(services.remove_name("node-1"))
        self.assertIsNone(services.remove_name("node-1"))
        self.assertIsNone(services.remove_id(1))
        self.assertEqual(services.in_order(), ())
        self.assertIsNone(services.at_random(0.5))
        self.assertIsNone(services.round_robin())
        self.assertEqual(services.search("k", 5), [])

    def test_survivors_are_found(self) -> None:
        """
        After half of 200 nodes have gone, every key belongs to one of those that are left.

        Scenario: T11
        """
        services = set_of(*(node(number) for number in range(1, 201)))
        services.by_hash("k")
        for number in range(1, 201, 2):
            services.remove_id(number)
        self.assertEqual(len(services), 100)
        for key in range(100):
            found = services.by_hash(key)
            assert found is not None
            self.assertEqual(found.bus_id % 2, 0)
        self.assertIsNone(services.get(1))
        self.assertIsNotNone(services.get(2))

    def test_what_was_listed_stays_as_it_was(self) -> None:
        """
        A list that somebody holds does not change while services come and go; versions only grow.

        Scenario: U26
        """
        known = set_of(*(node(number, type="battle") for number in range(1, 6)))
        where = Filter(type="battle")
        listed, version = known.in_order(where), known.version
        seen = []
        for service in listed:
            # Who goes through the list meets each of them once, although all of them go.
            self.assertTrue(known.remove(service))
            known.add(node(service.bus_id + 10, type="battle"))
            seen.append(service.bus_id)
            self.assertGreater(known.version, version)
            version = known.version
        self.assertEqual(seen, [1, 2, 3, 4, 5])
        self.assertEqual([each.bus_id for each in known.in_order(where)], [11, 12, 13, 14, 15])
        known.add(node(11, type="battle"))
        self.assertFalse(known.remove(node(1)))
        self.assertEqual(known.version, version)

    def test_filters_are_not_kept_for_ever(self) -> None:
        """Whoever asks with ever new filters does not fill the memory."""
        services = set_of(node(1, type="a"))
        for number in range(bounds.SERVICE_FILTERS_MAX + 10):
            services.in_order(Filter(labels={f"l{number}": ""}))
        self.assertEqual(services.index_count, bounds.SERVICE_FILTERS_MAX)
