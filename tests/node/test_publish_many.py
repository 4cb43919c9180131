"""Publications on one subject that begin at once, on their way over the bus."""

from __future__ import annotations

from atbus import limits
from atbus.subjects import bounds
from tests.node.garden import LEFT, LEFT_LEAF, RIGHT, TOP, GardenTests


class RunTests(GardenTests):
    """In few frames, and in order."""

    def test_many_at_once(self) -> None:
        """What is published at once crosses each link in one frame, and arrives in order."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        self.listen(left, "a")
        self.listen(leaf, "*")
        self.settle()
        first_link, second_link = self.watch(top, left), self.watch(left, leaf)
        payloads = [b"%d" % number for number in range(100)]
        first = top.publish_many("a", payloads, 5)
        self.assertEqual(top.publish("a", b"last"), first + 100)
        self.settle()
        for node in (left, leaf):
            self.assertEqual(self.got[node.bus_id], [*payloads, b"last"])
        self.assertEqual((len(first_link), len(second_link)), (2, 2))
        far = [each for each in self.publications if each.hops == 1]
        self.assertEqual([each.sequence for each in far], list(range(first, first + 101)))
        self.assertEqual({each.kind for each in far[:100]}, {5})
        self.assertEqual(left.statistics.publications_forwarded, 101)

    def test_many_at_once_in_short_frames(self) -> None:
        """A run is cut to the frames of a link; what is longer than one travels in pieces."""
        top, left, right = self.plant(TOP, LEFT, RIGHT, frame_bytes_max=limits.FRAME_BYTES_MIN)
        self.listen(left, "a")
        self.listen(right, "a")
        self.settle()
        crossings = self.watch(top, left)
        payloads = [b"%d" % number * 300 for number in range(100)]
        payloads[50] = b"x" * 3 * limits.FRAME_BYTES_MIN
        top.publish_many("a", payloads)
        self.settle()
        self.assertEqual(self.got[LEFT], payloads)
        self.assertEqual(self.got[RIGHT], payloads)
        self.assertTrue(all(len(frame) <= limits.FRAME_BYTES_MIN for _, frame in crossings))

    def test_many_at_once_for_groups(self) -> None:
        """Of what is published at once, each member of a group gets its share, each once."""
        top, left, right = self.plant(TOP, LEFT, RIGHT)
        for node in (left, right):
            self.listen(node, "a", "g")
        self.settle()
        payloads = [b"%d" % number for number in range(100)]
        top.publish_many("a", payloads)
        self.settle()
        self.assertEqual(sorted(self.got[LEFT] + self.got[RIGHT]), sorted(payloads))
        self.assertTrue(min(len(self.got[LEFT]), len(self.got[RIGHT])) > 20)

    def test_many_answers_at_once(self) -> None:
        """Answers that nobody is known to want go back the way that the question came."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        self.listen(leaf, "ask")
        self.settle()
        top.publish("ask", b"", reply_to="answers")
        self.settle()
        crossings = self.watch(top, left)
        leaf.publish_many("answers", [b"1", b"2"])
        self.settle()
        self.assertEqual([sender for sender, _ in crossings], [LEFT, LEFT])

    def test_answers_to_old_questions(self) -> None:
        """Of more questions than are remembered the last ones are answered the way they came."""
        self.patch(bounds, "ASKERS_REMEMBERED_MAX", 2)
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        self.listen(leaf, "ask")
        self.settle()
        for number in range(4):
            top.publish("ask", b"", reply_to=f"answers.{number}")
        self.settle()
        crossings = self.watch(top, left)
        for number in range(4):
            leaf.publish(f"answers.{number}", b"%d" % number)
        self.settle()
        self.assertEqual([sender for sender, _ in crossings], [LEFT, LEFT])
