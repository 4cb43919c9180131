"""A destination that is reached through another neighbor keeps the order of its messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.routing.change import OpenPath, Portion, SendFlush
from atbus.routing.ways import Ways

LEAF, OTHER = 0x101, 0x102
OLD, NEW, NEWER = 0x11, 0x12, 0x13


def ways(known_max: int = 10) -> Ways[str]:
    return Ways(bytes_max=100, count_max=3, seconds=1.0, known_max=known_max)


def used(neighbor: int = OLD, *destinations: int) -> Ways[str]:
    """Make ways of which some went through a neighbor."""
    made = ways()
    for destination in destinations or (LEAF,):
        made.take(destination, neighbor, 0.0, owed=False)
    return made


class ChangeTests(SynchronousTestCase):
    """From one neighbor to another."""

    def test_the_first_way_is_free(self) -> None:
        """What was never sent cannot be overtaken."""
        made = ways()
        self.assertTrue(made.is_new(LEAF, OLD))
        self.assertEqual(made.take(LEAF, OLD, 0.0, owed=False), [])
        self.assertEqual(made.last(LEAF), OLD)
        self.assertFalse(made.is_new(LEAF, OLD))

    def test_nothing_is_on_its_way(self) -> None:
        """When all has arrived that went through the old one, the new one is taken at once."""
        made = used()
        self.assertEqual(made.take(LEAF, NEW, 1.0, owed=False), [])
        self.assertEqual((made.last(LEAF), made.held), (NEW, set()))

    def test_a_flush_goes_first(self) -> None:
        """Messages wait until the flush through the old one is answered, then go in order."""
        made = used()
        self.assertEqual(made.take(LEAF, NEW, 1.0, owed=True), [SendFlush(LEAF, OLD, 1)])
        self.assertEqual((made.held, made.deadline), ({LEAF}, 2.0))
        self.assertTrue(made.is_leaving(OLD))
        self.assertTrue(made.has_room(LEAF, 50, 2))
        for item in "ab":
            self.assertIsNone(made.hold(LEAF, item, 25, 1.1))
        self.assertFalse(made.has_room(LEAF, 50, 2))
        self.assertEqual((made.held_bytes, made.held_bytes_of(LEAF)), (50, 50))
        self.assertEqual(
            made.acknowledged(LEAF, 1), [OpenPath(LEAF, NEW, ("a", "b"), Status.OK)]
        )
        self.assertEqual((made.held, made.last(LEAF), made.deadline), (set(), NEW, None))
        self.assertFalse(made.is_leaving(OLD))

    def test_a_third_one(self) -> None:
        """The flush under way serves a neighbor that is better still."""
        made = used()
        made.take(LEAF, NEW, 1.0, owed=True)
        self.assertEqual(made.take(LEAF, NEWER, 1.2, owed=True), [])
        self.assertEqual(made.acknowledged(LEAF, 1), [OpenPath(LEAF, NEWER, (), Status.OK)])

    def test_back_again(self) -> None:
        """A change that is taken back opens the old way: nothing has left it."""
        made = used()
        made.take(LEAF, NEW, 1.0, owed=True)
        made.hold(LEAF, "a", 1, 1.1)
        self.assertEqual(
            made.take(LEAF, OLD, 1.2, owed=True), [OpenPath(LEAF, OLD, ("a",), Status.OK)]
        )
        self.assertEqual(made.last(LEAF), OLD)

    def test_no_answer(self) -> None:
        """After a second the order is given up, and said so."""
        made = used()
        made.take(LEAF, NEW, 1.0, owed=True)
        self.assertEqual(made.tick(1.9), [])
        self.assertEqual(made.tick(2.0), [OpenPath(LEAF, NEW, (), Status.TIMEOUT)])

    def test_a_flush_that_cannot_be_sent(self) -> None:
        """An old way that takes nothing any more is as good as broken."""
        made = used()
        made.take(LEAF, NEW, 1.0, owed=True)
        self.assertEqual(made.broken(LEAF), [OpenPath(LEAF, NEW, (), Status.LINK_LOST)])
        self.assertEqual(made.broken(LEAF), [])

    def test_others_do_not_wait(self) -> None:
        """Each destination has a way of its own."""
        made = used(OLD, LEAF, OTHER)
        made.take(LEAF, NEW, 1.0, owed=True)
        self.assertEqual(made.held, {LEAF})
        self.assertFalse(made.has_room(OTHER, 1, 1))
        self.assertEqual(made.held_bytes_of(OTHER), 0)


class NeighborTests(SynchronousTestCase):
    """Neighbors that are left, and that are lost."""

    def test_before_one_is_left(self) -> None:
        """Its ways are known, so that each can be flushed in time."""
        made = used(OLD, LEAF, OTHER)
        made.take(LEAF, NEW, 1.0, owed=True)
        self.assertEqual(made.through(OLD), [OTHER])

    def test_the_old_one_is_lost(self) -> None:
        """What was on it is uncertain; the new way opens, and nothing is remembered of the rest."""
        made = used(OLD, LEAF, OTHER)
        made.take(LEAF, NEW, 1.0, owed=True)
        self.assertEqual(made.lost(OLD), [OpenPath(LEAF, NEW, (), Status.LINK_LOST)])
        self.assertEqual((made.last(LEAF), made.last(OTHER)), (NEW, None))

    def test_the_new_one_is_lost(self) -> None:
        """The old way opens again."""
        made = used()
        made.take(LEAF, NEW, 1.0, owed=True)
        self.assertEqual(made.lost(NEW), [OpenPath(LEAF, OLD, (), Status.OK)])

    def test_what_was_flushed_otherwise(self) -> None:
        """A way that is settled, or forgotten, asks for no flush; one that changes goes on."""
        made = used(OLD, LEAF, OTHER)
        made.settle(LEAF, NEW)
        self.assertFalse(made.is_new(LEAF, NEW))
        made.forget(LEAF)
        self.assertIsNone(made.last(LEAF))
        made.take(OTHER, NEW, 1.0, owed=True)
        made.settle(OTHER, NEWER)
        made.forget(OTHER)
        self.assertEqual(made.held, {OTHER})
        self.assertEqual(made.destinations, [])

    def test_the_oldest_is_forgotten(self) -> None:
        """Of no more destinations than the bound is anything remembered."""
        made = ways(known_max=2)
        for destination in (LEAF, OTHER, 0x103):
            made.take(destination, OLD, 0.0, owed=False)
        self.assertEqual(made.destinations, [OTHER, 0x103])


class PortionTests(SynchronousTestCase):
    """What was held takes its new way by portions."""

    def held(self) -> Ways[str]:
        """Change a way, with four items that wait for the new one, which is open for the first."""
        made: Ways[str] = Ways(
            bytes_max=100, count_max=9, seconds=1.0, known_max=9, portion=Portion(20, 9)
        )
        made.take(LEAF, OLD, 0.0, owed=False)
        made.take(LEAF, NEW, 0.0, owed=True)
        for item in "abcd":
            made.hold(LEAF, item, 20, 0.0)
        self.assertEqual(
            made.acknowledged(LEAF, 1),
            [OpenPath(LEAF, NEW, ("a",), Status.OK, is_whole=False), SendFlush(LEAF, NEW, 2)],
        )
        return made

    def test_what_comes_meanwhile_waits(self) -> None:
        """The old neighbor is left, the new one is the way; what comes goes behind the rest."""
        made = self.held()
        self.assertEqual((made.held, made.last(LEAF), made.deadline), ({LEAF}, NEW, None))
        self.assertEqual((made.is_leaving(OLD), made.goes_on(LEAF)), (False, True))
        self.assertEqual(made.take(LEAF, NEW, 0.5, owed=True), [])
        self.assertTrue(made.is_long(LEAF))
        made.hold(LEAF, "e", 20, 0.5)
        self.assertTrue(made.awaits(LEAF, 2))
        opening, flush = made.acknowledged(LEAF, 2)
        self.assertEqual((opening, flush), (
            OpenPath(LEAF, NEW, ("b", "c"), Status.OK, is_whole=False), SendFlush(LEAF, NEW, 3)
        ))
        self.assertFalse(made.is_long(LEAF))
        self.assertEqual(made.acknowledged(LEAF, 3), [OpenPath(LEAF, NEW, ("d", "e"), Status.OK)])
        self.assertEqual((made.held, made.goes_on(LEAF)), (set(), False))

    def test_a_way_that_takes_no_more(self) -> None:
        """The next portion is no longer than the first one."""
        made = self.held()
        made.slow_down(LEAF)
        opening, _ = made.acknowledged(LEAF, 2)
        self.assertEqual(opening, OpenPath(LEAF, NEW, ("b",), Status.OK, is_whole=False))

    def test_the_new_neighbor_is_lost(self) -> None:
        """What waits is given back; no way is known any more."""
        made = self.held()
        self.assertEqual(made.lost(NEW), [OpenPath(LEAF, NEW, ("b", "c", "d"), Status.OK)])
        self.assertEqual((made.held, made.last(LEAF)), (set(), None))

    def test_everything_is_given_up(self) -> None:
        """A node that leaves answers for what it holds."""
        made = self.held()
        self.assertEqual(made.give_up(), ["b", "c", "d"])
        self.assertEqual((made.held, made.held_bytes, made.acknowledged(LEAF, 2)), (set(), 0, []))
