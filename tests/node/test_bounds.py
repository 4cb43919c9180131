"""
A node makes its parts with the bounds that there are for them.

What each part does at its bound is tested where the part is, with a number of the test's own.
"""

from __future__ import annotations

from atbus import limits
from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.routing import bounds
from atbus.subjects import bounds as subject_bounds
from tests.node.bus import CHILD, ROOT
from tests.node.mail import MailTests
from tests.node.mesh import EU1, EU2, MeshTests, address_of


class PartsTests(MailTests):
    """A node and one below it, as they are unless told otherwise."""

    def test_what_waits_and_what_is_remembered(self) -> None:
        """What others make a node keep has the room that its bound gives it, and no more."""
        root, _ = self.pair()
        parts, context = root._parts, root._parts.context
        verifier = parts.traffic.verifier
        doubts, news, early = verifier._waiting, verifier._news, verifier._early
        machine = parts.route_table.machine
        assert machine is not None
        graves = machine._tombstones
        first = context.ways._changes.portion
        assert first is not None
        asked = (parts.subjects.inquiries._open, parts.subjects.publishing.counting._asked._open)
        for given, bound in (
            (parts.fates._told.ranges_max, limits.FATES_REMEMBERED_MAX),
            (doubts.seconds, limits.UNVERIFIED_SECONDS),
            (doubts.bytes_max, bounds.UNVERIFIED_BYTES),
            (doubts.share_max, bounds.UNVERIFIED_SHARE_BYTES),
            (doubts.count_max, limits.UNVERIFIED_RUNS_MAX),
            (doubts.sources_max, bounds.UNVERIFIED_SOURCES_MAX),
            (early.seconds, bounds.EARLY_SECONDS),
            (early.bytes_max, bounds.EARLY_BYTES),
            (early.share_max, bounds.EARLY_SHARE_BYTES),
            (early.count_max, bounds.EARLY_SHARE_BYTES // limits.WAITING_FRAME_BYTES),
            (early.sources_max, bounds.EARLY_SOURCES_MAX),
            (news.seconds, bounds.UNVERIFIED_NEWS_SECONDS),
            (news.bytes_max, bounds.UNVERIFIED_BYTES),
            (news.share_max, bounds.UNVERIFIED_SHARE_BYTES),
            (news.count_max, limits.UNVERIFIED_RUNS_MAX),
            (news.sources_max, bounds.UNVERIFIED_SOURCES_MAX),
            (graves.count_max, limits.TOMBSTONES_MAX),
            (graves.seconds, limits.TOMBSTONE_SECONDS),
            (first.size_bytes, bounds.PORTION_BYTES),
            (first.count, bounds.PORTION_COUNT),
            (context.former_places.count_max, bounds.FORMER_PLACES_MAX),
            (context.former_places.seconds, bounds.FORMER_PLACE_SECONDS),
            (context.former_places.each_max, bounds.FORMER_PLACES_EACH),
            (context.ways._known_max, bounds.WAYS_MAX),
            (asked[0].count_max, subject_bounds.INQUIRIES_MAX),
            (asked[1].count_max, subject_bounds.INQUIRIES_MAX),
        ):
            self.assertEqual(given, bound)
        link = root.endpoints[CHILD].data_link
        assert link is not None
        self.assertEqual(link.outgoing.window, limits.UNACKNOWLEDGED_FRAMES_MAX)
        self.assertEqual(link.window_free, limits.UNACKNOWLEDGED_FRAMES_MAX)

    def test_messages_in_parts(self) -> None:
        """Messages and publications that are put together share the room that there is for each."""
        root, _ = self.pair()
        longest = limits.REASSEMBLY_SOURCE_BYTES_MAX
        for room in (root._parts.inbox._reassembly, root._parts.subjects.spreading._reassembly):
            self.assertEqual(room.count_max, limits.REASSEMBLY_COUNT_MAX)
            self.assertEqual(room.seconds, limits.REASSEMBLY_SECONDS)
            self.assertEqual(room.bytes_max, limits.REASSEMBLY_BYTES_MAX)
            self.assertEqual(room.source_bytes_max, longest)

    def test_flows(self) -> None:
        """Of the targets that a node sends to, and is refused by, it remembers so many."""
        self.patch(limits, "FLOWS_MAX", 2)
        _, child = self.pair()
        for target in (ROOT, CHILD + 1, CHILD + 2, CHILD + 3):
            child.send(target, b"x")
            child._parts.writers.refused(target)
        self.assertEqual(len(child._parts.sender._flows), 2)
        self.assertEqual(len(child._parts.writers._refused), 2)

    def test_the_longest_message(self) -> None:
        """Nobody can configure longer messages than a bus is for."""
        longest = limits.MESSAGE_BYTES_MAX
        self.assertEqual(NodeConfig(id=1, message_bytes_max=longest).message_bytes_max, longest)
        self.assertRaises(ConfigurationError, NodeConfig, id=1, message_bytes_max=longest + 1)


class DialTests(MeshTests):
    """A node that knows another one, which is not there."""

    def test_waits_have_an_end(self) -> None:
        """Between two attempts to reach it lies no more than the longest wait."""
        self.patch(limits, "DIRECT_RETRY_SECONDS_MAX", 3.0)
        gone = {"id": EU2, "addresses": [address_of(EU2)]}
        one = self.node(EU1, records=[gone], topology="records", direct_connections=True)
        self.network.start(one)
        one.send(EU2, b"1")
        begun = self.network.clock.seconds()
        for seconds, dials in ((0.0, 1), (2.0, 2), (5.0, 3), (8.0, 4)):
            self.network.settle(begun + seconds + 0.9 - self.network.clock.seconds())
            self.assertEqual(len(self.network.dials), dials)
