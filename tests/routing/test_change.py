"""A planned change of path keeps the order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, Status
from atbus.routing.change import OpenPath, PathChanges, SendFlush

NEAR, FAR = 0x101, 0x202


def gates(bytes_max: int = 1000, count_max: int = 10) -> PathChanges[str, str]:
    return PathChanges(bytes_max, count_max)


def flushing() -> PathChanges[str, str]:
    """Make the gates of a node that changes from tcp to unix towards NEAR since 10.0."""
    changes = gates()
    changes.begin(NEAR, "tcp", "unix", 10.0)
    return changes


class OneDestinationTests(SynchronousTestCase):
    def test_the_new_way_opens_when_the_old_one_is_empty(self) -> None:
        """Messages wait until the answer to the flush is back, then go first on the new way."""
        changes = gates()
        self.assertFalse(changes.is_changing(NEAR))
        self.assertEqual(changes.begin(NEAR, "tcp", "unix", 10.0), [SendFlush(NEAR, "tcp", 1)])
        self.assertTrue(changes.is_changing(NEAR))
        for item in "abc":
            self.assertIsNone(changes.push(NEAR, item, 7, 10.1))
        self.assertEqual(changes.held_bytes, 21)
        opening = changes.acknowledged(NEAR, 1)
        self.assertEqual(opening, [OpenPath(NEAR, "unix", ("a", "b", "c"), Status.OK)])
        self.assertFalse(changes.is_changing(NEAR))
        self.assertEqual((len(changes), changes.deadline, changes.held_bytes), (0, None, 0))

    def test_the_order_is_given_up_after_a_second(self) -> None:
        """An answer that does not come in time stops nobody; that the order is lost is told."""
        changes = flushing()
        changes.push(NEAR, "a", 1, 10.5)
        self.assertEqual(changes.deadline, 11.0)
        self.assertEqual(changes.tick(10.999), [])
        [opening] = changes.tick(11.0)
        self.assertEqual(opening, OpenPath(NEAR, "unix", ("a",), Status.TIMEOUT))
        assert isinstance(opening, OpenPath)
        self.assertFalse(opening.order_kept)
        self.assertEqual(changes.acknowledged(NEAR, 1), [])

    def test_the_order_is_given_up_when_the_old_way_breaks(self) -> None:
        """A broken old way cannot be emptied, so the new one opens at once."""
        changes = flushing()
        changes.push(NEAR, "a", 1, 10.0)
        opening = changes.lost("tcp")
        self.assertEqual(opening, [OpenPath(NEAR, "unix", ("a",), Status.LINK_LOST)])
        self.assertEqual(changes.tick(99.0), [])

    def test_the_old_way_opens_again_when_the_new_one_breaks(self) -> None:
        """A new way that breaks before it was used costs nothing, not even the order."""
        changes = flushing()
        changes.push(NEAR, "a", 1, 10.0)
        [opening] = changes.lost("unix")
        self.assertEqual(opening, OpenPath(NEAR, "tcp", ("a",), Status.OK))
        assert isinstance(opening, OpenPath)
        self.assertTrue(opening.order_kept)

    def test_a_third_way_is_no_concern(self) -> None:
        """A way that is neither the old nor the new one may break."""
        changes = flushing()
        self.assertEqual(changes.lost("shm"), [])
        self.assertTrue(changes.is_changing(NEAR))

    def test_a_better_way_found_meanwhile(self) -> None:
        """One flush serves also the way that was found while it was under way."""
        changes = flushing()
        self.assertEqual(changes.begin(NEAR, "unix", "shm", 10.2), [])
        self.assertEqual(changes.deadline, 11.0)
        self.assertEqual(changes.lost("unix"), [])
        opening = changes.acknowledged(NEAR, 1)
        self.assertEqual(opening, [OpenPath(NEAR, "shm", (), Status.OK)])

    def test_a_change_called_off(self) -> None:
        """To ask for the old way again opens it, and the late answer means nothing."""
        changes = flushing()
        changes.push(NEAR, "a", 1, 10.0)
        opening = changes.begin(NEAR, "unix", "tcp", 10.2)
        self.assertEqual(opening, [OpenPath(NEAR, "tcp", ("a",), Status.OK)])
        self.assertEqual(changes.acknowledged(NEAR, 1), [])

    def test_an_answer_of_an_earlier_change_means_nothing(self) -> None:
        """Only the answer to the flush under way opens the gate, and only its destination's."""
        changes = flushing()
        changes.tick(11.0)
        self.assertEqual(changes.begin(NEAR, "unix", "shm", 12.0), [SendFlush(NEAR, "unix", 2)])
        self.assertEqual(changes.acknowledged(NEAR, 1), [])
        self.assertEqual(changes.acknowledged(FAR, 2), [])
        self.assertTrue(changes.is_changing(NEAR))
        self.assertEqual(len(changes.acknowledged(NEAR, 2)), 1)

    def test_no_change_needs_no_flush(self) -> None:
        """The way that is used already is not flushed."""
        changes = gates()
        self.assertEqual(changes.begin(NEAR, "tcp", "tcp", 1.0), [])
        self.assertFalse(changes.is_changing(NEAR))

    def test_what_waits_is_bounded(self) -> None:
        """Messages that find no room are refused by name, by bytes and by count."""
        changes = gates(bytes_max=10, count_max=2)
        changes.begin(NEAR, "tcp", "unix", 0.0)
        pushed = [changes.push(NEAR, "a", size, 0.0) for size in (8, 3, 2, 0)]
        self.assertEqual(pushed, [None, Status.BUFFER_LIMIT, None, Status.BUFFER_LIMIT])

    def test_nothing_waits_where_nothing_changes(self) -> None:
        """To let a message wait at an open gate is a fault of our own: it would never leave."""
        self.assertRaises(LocalProtocolError, gates().push, NEAR, "a", 1, 0.0)

    def test_a_destination_given_up(self) -> None:
        """When a destination has no way any more, what waited is handed out to be answered."""
        changes = flushing()
        changes.push(NEAR, "a", 1, 10.0)
        self.assertEqual((changes.forget(NEAR), changes.forget(NEAR)), (["a"], []))
        self.assertEqual((changes.acknowledged(NEAR, 1), changes.tick(99.0)), ([], []))


class SeveralDestinationsTests(SynchronousTestCase):
    def test_each_has_its_own_gate(self) -> None:
        """The change of one destination's way delays no other destination."""
        changes = flushing()
        changes.begin(FAR, "tcp", "shm", 10.4)
        changes.push(NEAR, "near", 1, 10.5)
        changes.push(FAR, "far", 2, 10.5)
        self.assertEqual((len(changes), changes.held_bytes, changes.deadline), (2, 3, 11.0))
        opening = changes.acknowledged(FAR, 2)
        self.assertEqual(opening, [OpenPath(FAR, "shm", ("far",), Status.OK)])
        opening = changes.tick(11.0)
        self.assertEqual(opening, [OpenPath(NEAR, "unix", ("near",), Status.TIMEOUT)])

    def test_only_the_overdue_are_opened(self) -> None:
        """A change that began later waits its own second."""
        changes = flushing()
        changes.begin(FAR, "tcp", "unix", 10.4)
        self.assertEqual(changes.tick(11.0), [OpenPath(NEAR, "unix", (), Status.TIMEOUT)])
        self.assertEqual(changes.deadline, 11.4)

    def test_a_way_that_many_leave_or_take(self) -> None:
        """A way that breaks concerns whoever was to leave it and whoever was to take it."""
        changes = flushing()
        changes.begin(FAR, "unix", "tcp", 10.0)
        effects = changes.lost("tcp")
        self.assertEqual(
            effects,
            [
                OpenPath(NEAR, "unix", (), Status.LINK_LOST),
                OpenPath(FAR, "unix", (), Status.OK),
            ],
        )

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["send", "begin", "answer", "lose", "pass"]),
                st.sampled_from([NEAR, FAR]),
                st.sampled_from(["tcp", "unix", "shm"]),
            ),
            max_size=50,
        )
    )
    def test_everything_leaves_once_and_in_order(self, steps: list[tuple[str, int, str]]) -> None:
        """Whatever happens to the ways, each message leaves once, and none before its elders."""
        changes: PathChanges[str, int] = PathChanges(10_000, 100)
        path = dict.fromkeys((NEAR, FAR), "tcp")
        left: dict[int, list[int]] = {NEAR: [], FAR: []}
        sent: dict[int, list[int]] = {NEAR: [], FAR: []}
        token = dict.fromkeys((NEAR, FAR), 0)
        for number, (step, destination, way) in enumerate(steps):
            effects: list[SendFlush[str] | OpenPath[str, int]] = []
            if step == "send":
                sent[destination].append(number)
                if changes.is_changing(destination):
                    changes.push(destination, number, 1, float(number))
                else:
                    left[destination].append(number)
            elif step == "begin":
                effects = changes.begin(destination, path[destination], way, float(number))
            elif step == "answer":
                effects = changes.acknowledged(destination, token[destination])
            elif step == "lose":
                effects = changes.lost(way)
            else:
                effects = changes.tick(float(number))
            for effect in effects:
                if isinstance(effect, SendFlush):
                    self.assertEqual(effect.path, path[effect.destination])
                    token[effect.destination] = effect.token
                else:
                    path[effect.destination] = effect.path
                    left[effect.destination] += effect.held
        for effect in changes.tick(1e9):
            assert isinstance(effect, OpenPath)
            left[effect.destination] += effect.held
        for destination in (NEAR, FAR):
            self.assertEqual(left[destination], sent[destination])
        self.assertEqual(len(changes), 0)
