"""What is known of the nodes under one prefix, whatever comes in whatever order."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery import bounds, documents
from atbus.discovery.documents import Author
from atbus.discovery.interfaces import (
    DiscoveryChange,
    RecordFound,
    RecordGone,
    ServiceFound,
    ServiceGone,
)
from atbus.discovery.records import Directory, Entry
from atbus.routing.record import Record, Stamp
from atbus.routing.services import Service, Version

AUTHOR = Author("x")


def put(bus_id: int, seq: int, revision: int, created: int = 1) -> Entry:
    """Make the key of a record, as it stands."""
    record = Record(bus_id=bus_id, stamp=Stamp(1, seq))
    key = documents.topology_key("/", bus_id)
    return Entry(key, documents.write_record(record, AUTHOR), Version(revision, created))


def gone(bus_id: int, revision: int) -> Entry:
    """Make the key of a record that was deleted."""
    return Entry(documents.topology_key("/", bus_id), None, Version(revision))


def offer(
    name: str, revision: int, data: str = "", created: int = 1, labels: dict[str, str] | None = None
) -> Entry:
    """Make the key of a service, as it stands."""
    service = Service(bus_id=5, name=name, data=data, labels=labels or {})
    key = documents.service_key("/", 5, name)
    return Entry(key, documents.write_service(service, AUTHOR), Version(revision, created))


class DirectoryTests(SynchronousTestCase):
    """Records and services."""

    def setUp(self) -> None:
        self.refusals: list[tuple[str, str]] = []
        self.directory = Directory("/", lambda key, fault: self.refusals.append((key, fault)))

    def kinds(self, changes: list[DiscoveryChange]) -> list[str]:
        """Say in short what has changed."""
        said = []
        for change in changes:
            match change:
                case RecordFound(record, _):
                    said.append(f"+{record.bus_id}.{record.stamp.seq}")
                case RecordGone(bus_id):
                    said.append(f"-{bus_id}")
                case ServiceFound(service, _):
                    said.append(f"+{service.name}")
                case ServiceGone(service):
                    said.append(f"-{service.name}")
        return said

    def test_what_comes_late_is_left_out(self) -> None:
        """
        A write that is older than what is known, or the same, changes nothing.

        Scenario: U21
        """
        changes = self.directory.changed([put(1, 2, 10), put(1, 1, 9), put(1, 2, 10), gone(1, 8)])
        self.assertEqual(self.kinds(changes), ["+1.2"])
        self.assertEqual(self.kinds(self.directory.changed([gone(1, 11)])), ["-1"])
        self.assertEqual(self.kinds(self.directory.changed([put(1, 3, 12)])), ["+1.3"])

    def test_the_same_content_is_no_news(self) -> None:
        """A record that is written again as it was is not told again."""
        self.directory.changed([put(1, 2, 10)])
        self.assertEqual(self.directory.changed([put(1, 2, 11)]), [])
        # It counts for what is newer, though.
        self.assertEqual(self.directory.changed([put(1, 5, 10)]), [])

    def test_a_snapshot_says_all(self) -> None:
        """What is not in a snapshot is gone; what is in it and was known is no news."""
        self.directory.changed([put(1, 1, 5), put(2, 1, 6), offer("a", 7)])
        changes = self.directory.snapshot([put(2, 1, 6), put(3, 1, 9)], 10)
        self.assertEqual(self.kinds(changes), ["-1", "-a", "+3.1"])

    def test_one_node_under_several_keys(self) -> None:
        """
        Of several services of a node the newest counts; when it goes, the next one does.

        Scenario: U28
        """
        changes = self.directory.changed([offer("a", 5), offer("b", 7), offer("c", 6)])
        self.assertEqual(self.kinds(changes), ["+a", "+b"])
        key = documents.service_key("/", 5, "b")
        changes = self.directory.changed([Entry(key, None, Version(8))])
        self.assertEqual(self.kinds(changes), ["+c"])
        changes = self.directory.changed([offer("d", 6)])
        self.assertEqual(self.kinds(changes), [])
        changes = self.directory.snapshot([], 20)
        self.assertEqual(self.kinds(changes)[-1], "-d")

    def test_a_former_owner_overrides_nobody(self) -> None:
        """Of two owners of an id the later one counts, whatever the former one writes after it."""
        changes = self.directory.changed([offer("old", 5, created=5), offer("new", 7, created=7)])
        self.assertEqual(self.kinds(changes), ["+old", "+new"])
        woken = offer("old", 9, "I was frozen", created=5)
        self.assertEqual(self.directory.changed([woken]), [])
        # Nor does a snapshot that has both, in whatever order.
        other = Directory("/", lambda key, fault: None)
        changes = other.snapshot([woken, offer("new", 7, created=7)], 9)
        self.assertEqual(self.kinds(changes)[-1], "+new")

    def test_where_a_service_is_matters(self) -> None:
        """
        Zone, region and district are told when one of them changes, and in both directions.

        Scenario: U17
        """
        place = {"zone": "1", "region": "eu", "district": "north"}
        self.directory.changed([offer("a", 5, labels=place)])
        revision = 5
        for name, other in (("zone", "2"), ("region", "us"), ("district", "south")):
            for changed in ({**place, name: other}, place):
                revision += 1
                changes = self.directory.changed([offer("a", revision, labels=changed)])
                self.assertEqual(self.kinds(changes), ["+a"])
        self.assertEqual(self.directory.changed([offer("a", revision + 1, labels=place)]), [])

    def test_records_and_services_do_not_mix(self) -> None:
        """
        What happens to a record says nothing of the service, and the other way round.

        Scenario: U23
        """
        self.directory.changed([put(5, 1, 5), offer("a", 6)])
        self.assertEqual(self.kinds(self.directory.changed([gone(5, 7)])), ["-5"])
        self.assertEqual(self.kinds(self.directory.changed([offer("a", 8, "x")])), ["+a"])

    def test_poison_takes_the_place_of_what_was_there(self) -> None:
        """A record that is overwritten with garbage is gone, named once, and may come back."""
        self.directory.changed([put(1, 1, 5)])
        poison = Entry(documents.topology_key("/", 1), b"garbage", Version(6, 1))
        self.assertEqual(self.kinds(self.directory.changed([poison, poison])), ["-1"])
        self.assertEqual(self.directory.refused_count, 1)
        self.assertEqual(self.refusals, [("topology/0x1", "not a JSON object")])
        self.assertEqual(self.kinds(self.directory.changed([put(1, 2, 7)])), ["+1.2"])

    def test_there_are_not_too_many_keys(self) -> None:
        """Whoever writes without end below our prefix fills his own memory, not ours."""
        self.patch(bounds, "REGISTRY_KEYS_MAX", 3)
        changes = self.directory.changed([put(number, 1, number) for number in range(1, 6)])
        self.assertEqual(self.kinds(changes), ["+1.1", "+2.1", "+3.1"])
        self.assertEqual(self.directory.refused_count, 2)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=12), st.data())
    def test_any_order_leads_to_the_same(
        self, writes: list[tuple[int, bool]], data: st.DataObject
    ) -> None:
        """However often and out of order news come, with a snapshot after them all is right."""
        history = [
            put(bus_id, number, number + 1) if is_there else gone(bus_id, number + 1)
            for number, (bus_id, is_there) in enumerate(writes)
        ]
        last = {entry.key: entry for entry in history}
        right = {key for key, entry in last.items() if entry.value is not None}
        directory = Directory("/", lambda key, fault: None)
        known: dict[int, Record] = {}
        mixed = data.draw(st.lists(st.sampled_from(history), max_size=20)) if history else []
        snapshot = [entry for entry in last.values() if entry.value is not None]
        changes = [*directory.changed(mixed), *directory.snapshot(snapshot, len(history) + 1)]
        for change in changes:
            if isinstance(change, RecordFound):
                known[change.record.bus_id] = change.record
            elif isinstance(change, RecordGone):
                del known[change.bus_id]
        self.assertEqual({documents.topology_key("/", bus_id) for bus_id in known}, right)


class DifferenceTests(SynchronousTestCase):
    """What of a key is news, and what is not."""

    def setUp(self) -> None:
        self.directory = Directory("/", lambda key, fault: self.fail(f"{key}: {fault}"))
        self.revision = 0

    def news(self, record: Record, author: Author = AUTHOR) -> int:
        """Write a record once more; tell how much of that is news."""
        self.revision += 1
        key = documents.topology_key("/", record.bus_id)
        value = documents.write_record(record, author)
        return len(self.directory.changed([Entry(key, value, Version(self.revision, 1))]))

    def test_what_a_node_says_of_itself(self) -> None:
        """
        Whatever a record says of its node is news when it is another: what stands above it, its
        ranges, addresses and labels, their number, keys and values. Who has written it, under which
        identity and in which process, is not part of it and no news.

        Here host and process of a record are news as well: they decide which channel is the best.

        Scenario: U18
        """
        record = Record(bus_id=5, upstream_id=1, labels={"a": "1"}, host="h", process="p")
        self.assertEqual(self.news(record), 1)
        self.assertEqual(self.news(record), 0)
        for author in (Author("somebody else"), Author("x", "another process")):
            self.assertEqual(self.news(record, author), 0)
        changes: list[dict[str, Any]] = [
            {"upstream_id": 2},
            {"labels": {"a": "1", "b": "2"}},
            {"labels": {"a": "2"}},
            {"labels": {"b": "1"}},
            {"labels": {}},
            {"addresses": ("ipv4://10.0.0.1:1",)},
            {"host": "another"},
            {"process": "another"},
        ]
        for change in changes:
            with self.subTest(change):
                self.assertEqual(self.news(attrs.evolve(record, **change)), 1)
                self.assertEqual(self.news(record), 1)
        self.assertEqual(self.news(Record(bus_id=6)), 1)

    def test_versions(self) -> None:
        """
        What was written later counts, and of one time what came into being later or was written
        more often; what is older or equal changes nothing, however often it comes.

        A version is taken or left whole: here none is put together from several.

        Scenario: U19
        """
        versions = [
            Version(modified, created, writes)
            for modified in (5, 6)
            for created in (2, 3)
            for writes in (1, 2)
        ]
        self.assertEqual(versions, sorted(versions))

        def entry(version: Version, seq: int) -> Entry:
            record = Record(bus_id=5, stamp=Stamp(1, seq))
            value = documents.write_record(record, AUTHOR)
            return Entry(documents.topology_key("/", 5), value, version)

        for place, version in enumerate(versions, 1):
            with self.subTest(version):
                changes = self.directory.changed([entry(version, place)])
                self.assertEqual([type(each) for each in changes], [RecordFound])
                self.assertEqual(self.directory.changed([entry(version, 99)]), [])
                older = [entry(each, 99) for each in versions[: place - 1]]
                self.assertEqual(self.directory.changed(older), [])
