"""What is said to etcd and what it says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.etcd import packer
from atbus.discovery.etcd.faults import Cause, EtcdRefused, EtcdUnreadable
from atbus.discovery.etcd.packer import Event, EventKind, Header, KeyValue

NUMBERS = st.integers(0, packer.NUMBER_MAX)

KEY_VALUES = st.builds(
    KeyValue,
    key=st.binary(max_size=50),
    value=st.binary(max_size=50),
    create_revision=NUMBERS,
    mod_revision=NUMBERS,
    version=NUMBERS,
    lease=NUMBERS,
)

HEADERS = st.builds(
    Header, cluster_id=NUMBERS, member_id=NUMBERS, revision=NUMBERS, raft_term=NUMBERS
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


class RoundTripTests(SynchronousTestCase):
    """Values that are written and read again."""

    @settings(deadline=None)
    @given(KEY_VALUES)
    def test_keys_with_their_values(self, item: KeyValue) -> None:
        """
        Key, value, revisions and lease come back as they were.

        Scenario: P1
        """
        document = json.loads(json.dumps(item.document()))
        self.assertEqual(KeyValue.parse(document), item)
        self.assertEqual(packer.decode(document["key"]), item.key)

    @settings(deadline=None)
    @given(HEADERS)
    def test_headers(self, header: Header) -> None:
        """
        The head of an answer comes back as it was.

        Scenario: P2
        """
        self.assertEqual(Header.parse(json.loads(json.dumps(header.document()))), header)

    def test_bytes(self) -> None:
        """
        Any bytes survive base64.

        Scenario: P4
        """
        for data in (b"", b"a", b"\0\xff", bytes(range(256)) * 4, b"!\"#$%&'()*+,-./:;<=>?@"):
            self.assertEqual(packer.decode(packer.encode(data)), data)


class NumberTests(SynchronousTestCase):
    """Integers of 64 bits."""

    def test_both_forms_are_read(self) -> None:
        """A number may stand as text or as number, and 0 may be left out."""
        largest = packer.NUMBER_MAX
        for given_as, number in (
            ({}, 0),
            ({"n": None}, 0),
            ({"n": 5}, 5),
            ({"n": "5"}, 5),
            ({"n": str(largest)}, largest),
            ({"n": largest}, largest),
            ({"n": "-1"}, -1),
        ):
            self.assertEqual(packer.read_number(given_as, "n"), number, given_as)

    def test_anything_else_is_refused(self) -> None:
        """Numbers that are none, or too large, are named, not guessed."""
        value: object
        for value in (True, 1.5, [], {}, "", "x", "1.5", "0x5", "٣", 2**64, "9" * 5_000, "--1"):
            with self.assertRaises(EtcdUnreadable, msg=repr(value)[:20]) as caught:
                packer.read_number({"revision": value}, "revision")
            self.assertIn("revision", str(caught.exception))


class RangeTests(SynchronousTestCase):
    """All keys with a prefix."""

    def test_the_end_of_a_prefix(self) -> None:
        """
        The end of the range is the first key that does not begin with the prefix.

        Scenario: P3, P7
        """
        self.assertEqual(packer.range_end(b"abc"), b"abd")
        self.assertEqual(packer.range_end(b"a\xff"), b"b")
        self.assertEqual(packer.range_end(b"\xff\xff"), packer.TO_THE_END)
        self.assertEqual(packer.range_end(b""), packer.TO_THE_END)
        everything = packer.prefix_range(b"")
        self.assertEqual(packer.decode(everything["key"]), b"\0")

    @settings(deadline=None)
    @given(st.binary(max_size=6), st.binary(max_size=6))
    def test_every_key_with_the_prefix_and_no_other(self, prefix: bytes, key: bytes) -> None:
        """A key is in the range exactly if it begins with the prefix."""
        end = packer.range_end(prefix)
        is_inside = prefix <= key and (end == packer.TO_THE_END or key < end)
        if end != packer.TO_THE_END or not prefix:
            self.assertEqual(is_inside, key.startswith(prefix))
        self.assertTrue(prefix <= prefix + key)


class ParseTests(SynchronousTestCase):
    """Answers, also those of somebody who means harm."""

    def test_only_objects_are_answers(self) -> None:
        """
        An object is an answer, also an empty one; nothing else is.

        Scenario: P6
        """
        self.assertEqual(packer.parse(b"{}"), {})
        self.assertEqual(packer.parse(b'{"a": [1]}'), {"a": [1]})
        for data in (b"", b"no", b"[]", b"1", b"null", b'"x"', b"{", b"\xff", b"[" * 100_000):
            self.assertRaises(EtcdUnreadable, packer.parse, data)

    @settings(deadline=None)
    @given(JSON_VALUES)
    def test_nothing_but_the_one_error(self, value: Any) -> None:
        """Whatever stands in an answer, reading it gives a value or says that it cannot be read."""
        for document in (
            {"header": value},
            {"header": {}, "kvs": value, "responses": value, "succeeded": value},
            {"header": {}, "kvs": [value]},
            {"result": value, "error": value},
            {"result": {"header": {}, "events": value, "cancel_reason": value}},
            {"result": {"header": {}, "events": [{"type": value, "kv": value}]}},
        ):
            for read in (
                packer.parse_range,
                packer.parse_write,
                lambda given: packer.parse_watch(json.dumps(given).encode()),
            ):
                try:
                    read(document)
                except (EtcdUnreadable, EtcdRefused):
                    continue

    def test_kinds_of_events(self) -> None:
        """An event is a put when it does not say; names and numbers are understood."""
        for kind, meant in (
            ({}, EventKind.PUT),
            ({"type": "PUT"}, EventKind.PUT),
            ({"type": 0}, EventKind.PUT),
            ({"type": "DELETE"}, EventKind.DELETE),
            ({"type": 1}, EventKind.DELETE),
        ):
            event = {**kind, "kv": {"key": "YQ=="}}
            line = json.dumps({"result": {"header": {"revision": "9"}, "events": [event]}})
            answer = packer.parse_watch(line.encode())
            self.assertEqual(answer.events, (Event(meant, KeyValue(key=b"a")),))
            self.assertEqual(answer.header.revision, 9)

    def test_a_watch_that_ends_says_why(self) -> None:
        """The two ways in which a server ends a watch are told apart."""
        canceled = {"canceled": True, "compact_revision": "7", "cancel_reason": "too old"}
        line = json.dumps({"result": {"header": {}, **canceled}}).encode()
        answer = packer.parse_watch(line)
        self.assertEqual((answer.canceled, answer.compact_revision), (True, 7))
        self.assertEqual(answer.reason, "too old")
        line = b'{"error": {"grpc_code": 16, "message": "etcdserver: invalid auth token"}}'
        refused = self.assertRaises(EtcdRefused, packer.parse_watch, line)
        self.assertIs(refused.cause, Cause.TOKEN)

    def test_a_write_that_was_not_done_says_what_is_there(self) -> None:
        """The answer to a write is its revision, or what stood in its way."""
        done = {"header": {"revision": "5"}, "succeeded": True, "responses": [{}]}
        self.assertEqual(packer.parse_write(done), (5, None))
        there = {"response_range": {"kvs": [{"key": "YQ==", "mod_revision": "3"}]}}
        _, found = packer.parse_write({"header": {"revision": "5"}, "responses": [there]})
        assert found is not None
        self.assertEqual(found.items, (KeyValue(key=b"a", mod_revision=3),))
        gone = {"header": {"revision": "5"}, "responses": [{"response_range": {}}]}
        _, found = packer.parse_write(gone)
        assert found is not None
        self.assertEqual(found.items, ())
