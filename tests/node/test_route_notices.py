"""Batches that go to many neighbors are written once."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.node.bounds import ROUTE_NOTICES_MAX
from atbus.node.route_notices import RouteNotices
from atbus.routing.batch import Batch, to_message
from atbus.wire import codec
from tests.routing.route_talk import record


class RouteNoticesTests(SynchronousTestCase):
    """What is sent for a batch."""

    def test_one_for_all(self) -> None:
        """The same batch is the same item; a frame of it differs by what its link acknowledges."""
        notices = RouteNotices()
        batch = Batch(words=(record(5), record(6)))
        notice = notices.of(batch, 1)
        self.assertIs(notices.of(batch, 1), notice)
        self.assertGreaterEqual(notice.size_bytes, len(notice.build(0, 7)))
        for ack in (7, 8):
            frame = notice.build(0, ack)
            self.assertEqual(frame, codec.encode(to_message(batch, 1), ack=ack))

    def test_written_once(self) -> None:
        """The second neighbor's frame costs no encoding."""
        notice = RouteNotices().of(Batch(words=(record(5),)), 1)
        first = notice.build(0, 1)
        self.patch(codec, "encode", None)
        self.assertEqual(len(notice.build(0, 2)), len(first))

    def test_another_batch(self) -> None:
        """An equal batch that is not the same one is another item, and so it is with another id."""
        notices = RouteNotices()
        batch = Batch(words=(record(5),))
        notice = notices.of(batch, 1)
        self.assertIsNot(notices.of(attrs.evolve(batch), 1), notice)
        self.assertEqual(notices.of(batch, 2).message.source, 2)

    def test_few_are_kept(self) -> None:
        """The one that was used longest ago is forgotten."""
        notices = RouteNotices()
        batches = [Batch(words=(record(each),)) for each in range(1, ROUTE_NOTICES_MAX + 2)]
        first = [notices.of(each, 1) for each in batches[:-1]]
        self.assertIs(notices.of(batches[0], 1), first[0])
        notices.of(batches[-1], 1)
        self.assertIs(notices.of(batches[0], 1), first[0])
        self.assertIsNot(notices.of(batches[1], 1), first[1])
