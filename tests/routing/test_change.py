"""A planned change of path keeps the order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, Status
from atbus.routing.change import OpenPath, PathChanges, Portion, SendFlush

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


class PortionTests(SynchronousTestCase):
    """What has waited takes its new way by portions."""

    def waiting(self, count: int = 9) -> PathChanges[str, str]:
        """Let some messages wait, of ten bytes each; portions are of twenty."""
        changes: PathChanges[str, str] = PathChanges(
            1000, 100, 1.0, Portion(20, 5, str.isupper)
        )
        changes.begin(NEAR, "tcp", "unix", 10.0)
        for item in "abcdefghi"[:count]:
            changes.push(NEAR, item, 10, 10.0)
        return changes

    def opened(self, changes: PathChanges[str, str], token: int) -> tuple[str, bool]:
        """Answer a FLUSH; what goes then, and whether that is all. Another FLUSH follows."""
        [opening] = changes.acknowledged(NEAR, token)
        assert isinstance(opening, OpenPath)
        self.assertEqual((opening.path, opening.status), ("unix", Status.OK))
        if not opening.is_whole:
            self.assertEqual(changes.go_on(NEAR), [SendFlush(NEAR, "unix", token + 1)])
        return "".join(opening.held), opening.is_whole

    def test_twice_as_much_each_time(self) -> None:
        """Each answer lets twice as much go, in order, until nothing waits any more."""
        changes = self.waiting()
        self.assertEqual(self.opened(changes, 1), ("ab", False))
        self.assertEqual((changes.held_bytes, changes.goes_on(NEAR)), (70, True))
        self.assertTrue(changes.awaits(NEAR, 2))
        self.assertEqual(self.opened(changes, 2), ("cdef", False))
        changes.push(NEAR, "j", 10, 11.0)
        self.assertEqual(self.opened(changes, 3), ("ghij", True))
        self.assertEqual((len(changes), changes.held_bytes), (0, 0))

    def test_little_goes_at_once(self) -> None:
        """No more than a portion needs no second FLUSH; nor does one message, however long."""
        self.assertEqual(self.opened(self.waiting(2), 1), ("ab", True))
        changes = self.waiting(0)
        changes.push(NEAR, "x", 900, 10.0)
        self.assertEqual(self.opened(changes, 1), ("x", True))

    def test_a_message_in_parts_is_not_parted(self) -> None:
        """The rest of one goes with its beginning, whatever its length; so all may go at once."""
        changes = self.waiting(1)
        for item in "bCDEfGh":
            changes.push(NEAR, item, 10, 10.0)
        self.assertEqual(self.opened(changes, 1), ("abCDE", False))
        self.assertEqual((changes.held_bytes, len(changes)), (30, 1))
        changes = self.waiting(2)
        for item in "CD":
            changes.push(NEAR, item, 10, 10.0)
        self.assertEqual(self.opened(changes, 1), ("abCD", True))
        self.assertEqual((changes.held_bytes, len(changes)), (0, 0))

    def test_no_time_is_set(self) -> None:
        """Nothing can be overtaken; old answers change nothing."""
        changes = self.waiting()
        self.opened(changes, 1)
        self.assertEqual((changes.deadline, changes.tick(99.0)), (None, []))
        self.assertEqual((changes.acknowledged(NEAR, 1), changes.acknowledged(NEAR, 0)), ([], []))
        changes.begin(FAR, "tcp", "unix", 20.0)
        self.assertEqual(changes.deadline, 21.0)

    def test_half_as_much_after_a_pause(self) -> None:
        """A way that takes no more gets half of the last portion next, at least the first one."""
        changes = self.waiting()
        self.opened(changes, 1)
        changes.slow_down(NEAR)
        self.assertEqual(self.opened(changes, 2), ("cd", False))
        self.assertEqual(self.opened(changes, 3), ("efgh", False))
        changes.slow_down(NEAR)
        for item in "jkl":
            changes.push(NEAR, item, 10, 11.0)
        self.assertEqual(self.opened(changes, 4), ("ij", False))
        changes.slow_down(FAR)

    def test_asking_for_the_same_way_changes_nothing(self) -> None:
        """Whoever sends meanwhile asks for the way, and waits behind the rest."""
        changes = self.waiting()
        self.opened(changes, 1)
        self.assertEqual(changes.begin(NEAR, "tcp", "unix", 10.5), [])
        self.assertEqual((len(changes), changes.deadline), (1, None))

    def test_another_way_meanwhile(self) -> None:
        """The FLUSH under way serves it, in its time; it begins with a first portion."""
        changes = self.waiting()
        self.opened(changes, 1)
        self.assertEqual(changes.begin(NEAR, "tcp", "shm", 10.5), [])
        self.assertEqual((changes.deadline, changes.goes_on(NEAR)), (11.5, False))
        [opening] = changes.acknowledged(NEAR, 2)
        self.assertEqual(
            opening, OpenPath(NEAR, "shm", ("c", "d"), Status.OK, is_whole=False)
        )
        self.assertEqual(changes.go_on(NEAR), [SendFlush(NEAR, "shm", 3)])

    def test_another_way_that_waits_too_long(self) -> None:
        """What was sent last may be overtaken then, which is told."""
        changes = self.waiting()
        self.opened(changes, 1)
        changes.begin(NEAR, "tcp", "shm", 10.5)
        [opening] = changes.tick(11.5)
        assert isinstance(opening, OpenPath)
        self.assertEqual((opening.path, opening.order_kept), ("shm", False))

    def test_another_way_that_breaks(self) -> None:
        """Then all goes on as it was."""
        changes = self.waiting()
        self.opened(changes, 1)
        changes.begin(NEAR, "tcp", "shm", 10.5)
        self.assertEqual((changes.lost("shm"), changes.deadline), ([], None))
        self.assertEqual(self.opened(changes, 2), ("cdef", False))

    def test_the_way_breaks(self) -> None:
        """All that waits is let go, for it has to go elsewhere; so it is if nothing can be sent."""
        for is_lost in (True, False):
            changes = self.waiting()
            self.opened(changes, 1)
            effects = changes.lost("unix") if is_lost else changes.broken(NEAR)
            self.assertEqual(effects, [OpenPath(NEAR, "unix", tuple("cdefghi"), Status.OK)])
            self.assertEqual((len(changes), changes.held_bytes), (0, 0))


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
