"""What stands in a registry, and under which keys."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import ID_MAX, Subnet
from atbus.discovery import bounds, documents
from atbus.discovery.documents import Author, DocumentError, Key, Kind
from atbus.routing.record import Record, Stamp
from atbus.routing.services import Service

ME = Author("me", "1.2")

RECORD = Record(
    bus_id=0x12345678,
    stamp=Stamp(7, 2**64 - 1),
    upstream_id=0x12340001,
    subnets=(Subnet(0x12345678, 8),),
    labels={"region": "eu", "ä": ""},
    addresses=("ipv4://10.0.0.1:7000",),
    node_flags=3,
    host="h",
    process="p",
)

SERVICE = Service(
    bus_id=0x12345678,
    name="battle-7 in a/b",
    type="battle",
    namespace="n",
    api_version="v1",
    kind="k",
    group="g",
    service_subset="s",
    labels={"a": "b"},
    gateways=("wss://x", "tcp://y"),
    addresses=("ipv4://10.0.0.1:7000",),
    pod_index=7,
    uid="u",
    version="1.0",
    data="anything",
)


class PrefixTests(SynchronousTestCase):
    """Where our keys begin."""

    def test_a_prefix_ends_with_a_slash(self) -> None:
        """
        A path gets a slash at its end; one that has one, of either kind, stays as it is.

        Scenario: U3
        """
        for path, prefix in (("", "/"), ("a/b", "a/b/"), ("a/", "a/"), ("a\\", "a\\")):
            self.assertEqual(documents.normal_prefix(path), prefix)


class KeyTests(SynchronousTestCase):
    """What a key says."""

    def test_keys_tell_kind_id_and_name(self) -> None:
        """
        The key of a record has the id, that of a service the name as well; both can be read again.

        Scenario: U2, U20
        """
        for name in ("", "battle", "name-with-dashes-42", "a/b c%", "ä-0x5"):
            key = documents.service_key("/bus/", 0x42, name)
            self.assertTrue(key.startswith(b"/bus/service/"))
            self.assertEqual(documents.read_key("/bus/", key), Key(Kind.SERVICE, 0x42, name))
        key = documents.topology_key("/bus/", 0x42)
        self.assertEqual(key, b"/bus/topology/0x42")
        self.assertEqual(documents.read_key("/bus/", key), Key(Kind.TOPOLOGY, 0x42))

    def test_other_keys_are_refused(self) -> None:
        """A key that is not ours, or is not in its one form, is none."""
        for key in (
            *(b"", b"/bus/", b"/other/topology/0x1", b"/bus/topology/", b"/bus/topology/0x0"),
            *(b"/bus/topology/1", b"/bus/topology/0x01", b"/bus/topology/0X1", b"/bus/x/0x1"),
            *(b"/bus/topology/name-0x1", b"/bus/topology/0x1/", b"/bus/topology/0x_1"),
            *(b"/bus/topology/0x" + b"f" * 17, b"/bus/topology/-0x1 ", b"/bus/topology/\xff"),
            *(b"/bus/service/%ff-0x1", b"/bus/service/" + b"x" * 2_000 + b"-0x1"),
        ):
            with self.assertRaises(DocumentError, msg=key[:40]):
                documents.read_key("/bus/", key)

    def test_a_key_by_mistake_fills_no_log(self) -> None:
        """Of a key that is no text a few bytes are shown."""
        with self.assertRaises(DocumentError) as caught:
            documents.read_key("/bus/", b"\xff" * 900)
        shown = str(caught.exception)
        self.assertEqual(shown.count("\\xff"), limits.LOGGED_INPUT_BYTES)

    @settings(deadline=None)
    @given(st.binary(max_size=40))
    def test_any_key_is_read_or_refused(self, rest: bytes) -> None:
        """Whatever anybody writes below our prefix: it is a key, or it is refused."""
        for folder in (b"topology/", b"service/", b""):
            try:
                key = documents.read_key("/", b"/" + folder + rest)
            except DocumentError as fault:
                self.assertTrue(str(fault).isprintable())
            else:
                self.assertTrue(0 <= key.bus_id <= ID_MAX)


class DocumentTests(SynchronousTestCase):
    """What stands under a key."""

    def test_records_come_back(self) -> None:
        """A record that is written and read is the same, and is written the same way each time."""
        for record in (RECORD, Record(bus_id=1)):
            value = documents.write_record(record, ME)
            self.assertEqual(value, documents.write_record(record, ME))
            key = Key(Kind.TOPOLOGY, record.bus_id)
            self.assertEqual(documents.read_record(key, value), record)
            self.assertEqual(documents.author_of(value), ME)

    def test_services_come_back(self) -> None:
        """A service that is written and read is the same."""
        for service in (SERVICE, Service(bus_id=1), Service(name="only")):
            key = Key(Kind.SERVICE, service.bus_id, service.name)
            value = documents.write_service(service, ME)
            self.assertEqual(documents.read_service(key, value), service)

    def test_nobody_speaks_under_the_key_of_another(self) -> None:
        """The id and the name in a document are those of its key."""
        value = documents.write_record(RECORD, ME)
        with self.assertRaises(DocumentError) as caught:
            documents.read_record(Key(Kind.TOPOLOGY, 5), value)
        self.assertIn("the id in it is 0x12345678", str(caught.exception))
        value = documents.write_service(SERVICE, ME)
        for key in (Key(Kind.SERVICE, 5, SERVICE.name), Key(Kind.SERVICE, SERVICE.bus_id, "x")):
            self.assertRaises(DocumentError, documents.read_service, key, value)

    def test_what_is_wrong_is_named(self) -> None:
        """A part of the wrong kind, or beyond its bound, is named by its place."""
        right = json.loads(documents.write_record(RECORD, ME))
        cases: list[tuple[str, Any]] = [
            *(("epoch", "1"), ("epoch", True), ("epoch", -1), ("seq", 1.5), ("flags", 2**20)),
            *(("upstream", 5), ("upstream", "0x12345678"), ("upstream", "me"), ("id", [])),
            *(("subnets", "0x1/8"), ("subnets", ["x"]), ("subnets", [1]), ("subnets", {})),
            *(("labels", []), ("labels", {"a": 1}), ("host", None), ("host", "x" * 10_000)),
            *(("addresses", ["x" * 10_000]), ("addresses", [None]), ("format", 2)),
        ]
        key = Key(Kind.TOPOLOGY, RECORD.bus_id)
        for place, wrong in cases:
            value = json.dumps(right | {place: wrong}).encode()
            with self.assertRaises(DocumentError, msg=f"{place} {wrong!r}"[:60]) as caught:
                documents.read_record(key, value)
            self.assertTrue(str(caught.exception).isprintable())

    def test_what_is_too_long_is_not_read(self) -> None:
        """A value of more than 64 KiB is refused by its length."""
        value = json.dumps({"id": "0x1", "x": "y" * bounds.REGISTRY_VALUE_BYTES}).encode()
        with self.assertRaises(DocumentError) as caught:
            documents.read_record(Key(Kind.TOPOLOGY, 1), value)
        self.assertIn("bytes", str(caught.exception))
        for value in (b"", b"[]", b"[" * 60_000, b"\xff", b"null"):
            self.assertRaises(
                DocumentError, documents.read_record, Key(Kind.TOPOLOGY, 1), value
            )
            self.assertEqual(documents.author_of(value), Author(""))
