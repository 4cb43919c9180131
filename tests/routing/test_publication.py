"""What a neighbor was told and is still to be told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.batch import BATCH_HEAD_BYTES, Batch, word_bytes
from atbus.routing.courses import top_down, whole_courses
from atbus.routing.publication import Course, Publication
from atbus.routing.record import Record, Stamp
from tests.routing.route_talk import dead, gone, record


def next_batch(publication: Publication) -> Batch | None:
    """Tell a neighbor the next words, whatever others are told."""
    if publication.course is None:
        publication.follow(Course(publication.changes()))
    if publication.course is None:
        return None
    return publication.tell(publication.portion(is_ordered=True))


class PublicationTests(SynchronousTestCase):
    """One subscriber."""

    def setUp(self) -> None:
        self.table: dict[int, Record] = {}
        self.deaths: dict[int, Stamp] = {}

    def publication(self, batch_bytes_max: int = 60_000) -> Publication:
        """Begin to tell what is in the table."""
        made = Publication(batch_bytes_max, wanted=self.table.get, dead_stamp=self.deaths.get)
        (ids,) = whole_courses(self.table, lambda _: False, 0)
        made.begin([Course(ids)])
        return made

    def said(self, publication: Publication) -> list[Batch]:
        """Take all that it has to say."""
        found = []
        while publication.has_work:
            batch = next_batch(publication)
            if batch is not None:
                found.append(batch)
                publication.unsent -= 1
        return found

    def test_nothing_is_one_empty_batch(self) -> None:
        """
        A snapshot of no records is one empty batch, the last.

        Scenario: BB1
        """
        batches = self.said(self.publication())
        self.assertEqual(batches, [Batch(words=(), snapshot_id=1, index=0, last=True)])

    def test_a_snapshot_is_told_from_above(self) -> None:
        """Who is above is told before who is below, so that each is believed at once."""
        for each, above in ((5, 0), (4, 5), (6, 4), (2, 6), (3, 5)):
            self.table[each] = record(each, upstream_id=above)
        (batch,) = self.said(self.publication())
        self.assertEqual([word.bus_id for word in batch.words], [5, 3, 4, 6, 2])

    def test_whoever_goes_is_told_from_below(self) -> None:
        """Of a branch that is gone the deepest node is withdrawn first; deaths keep their stamp."""
        for each, above in ((5, 0), (4, 5), (6, 4)):
            self.table[each] = record(each, upstream_id=above)
        publication = self.publication()
        self.said(publication)
        self.table.clear()
        self.deaths[5] = Stamp(1, 3)
        publication.backlog.update((4, 5, 6))
        (batch,) = self.said(publication)
        self.assertEqual(batch.words, (gone(6, 1), gone(4, 1), dead(5, 3)))
        self.assertEqual((publication.digest, publication.told), (0, {}))

    def test_batches_wait_for_the_link(self) -> None:
        """No more batches are made than the link takes; the rest waits, without being copied."""
        for each in range(1, 5_001):
            self.table[each] = record(each)
        publication = self.publication()
        made = []
        while publication.has_work:
            made.append(next_batch(publication))
        self.assertEqual(len(made), limits.ROUTE_BATCHES_AHEAD_MAX)
        publication.unsent = 0
        self.assertEqual(len(self.said(publication)), 3)

    def test_batches_are_bounded_by_bytes(self) -> None:
        """A batch ends when the frame of the link is full, in a snapshot and in changes."""
        for each in range(1, 301):
            self.table[each] = record(each)
        publication = self.publication(batch_bytes_max=4_000)
        batches = self.said(publication)
        for each in range(1, 301):
            self.table[each] = record(each, seq=2)
        publication.backlog.update(self.table)
        batches += self.said(publication)
        self.assertEqual(sum(len(batch.words) for batch in batches), 600)
        for batch in batches:
            size = BATCH_HEAD_BYTES + sum(word_bytes(word) for word in batch.words)
            self.assertLessEqual(size, 4_000)

    def test_what_is_as_it_was_is_not_told(self) -> None:
        """Something that changed twice and is again as it was told costs nothing."""
        self.table[1] = record(1)
        publication = self.publication()
        self.said(publication)
        publication.backlog.update((1, 2))
        self.assertEqual(self.said(publication), [])
        self.assertEqual(publication.backlog, set())


class OrderTests(SynchronousTestCase):
    """From above."""

    def test_a_circle_has_an_end(self) -> None:
        """Records that name each other as upstream are put in some order all the same."""
        circle = {each: record(each, upstream_id=each % 3 + 1) for each in (1, 2, 3)}
        ordered = top_down(circle.values(), circle.get)
        self.assertEqual(sorted(each.bus_id for each in ordered), [1, 2, 3])
