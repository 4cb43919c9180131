"""Who pauses whom."""

from __future__ import annotations

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing.bounds import PAUSES_HEARD_MAX
from atbus.routing.flow_control import FlowControl, Load, Marks, Tell, frames_mark

UP, LEFT, RIGHT = 1, 2, 3
FAR, OTHER = 100, 101


class HeardTests(SynchronousTestCase):
    """What neighbors asked us for."""

    def test_a_pause_is_for_one_way_and_one_destination(self) -> None:
        """Only what goes to that destination through that neighbor waits."""
        flow = FlowControl()
        self.assertTrue(flow.pause(UP, FAR))
        self.assertFalse(flow.pause(UP, FAR))
        self.assertTrue(flow.is_paused(UP, FAR))
        self.assertFalse(flow.is_paused(UP, OTHER))
        self.assertFalse(flow.is_paused(LEFT, FAR))
        self.assertEqual(flow.paused_by(UP), {FAR})
        self.assertTrue(flow.resume(UP, FAR))
        self.assertFalse(flow.is_paused(UP, FAR))

    def test_a_resume_without_a_pause_is_not_looked_at(self) -> None:
        """Neither is one that comes twice, or from somebody who never paused anything."""
        flow = FlowControl()
        self.assertFalse(flow.resume(UP, FAR))
        flow.pause(UP, OTHER)
        self.assertFalse(flow.resume(UP, FAR))

    def test_a_neighbor_may_take_nothing_at_all(self) -> None:
        """Then everything through it waits, until it takes something again."""
        flow = FlowControl()
        self.assertEqual([flow.shut(UP), flow.shut(UP)], [True, False])
        self.assertTrue(flow.is_paused(UP, FAR))
        self.assertEqual([flow.is_shut(each) for each in (UP, LEFT)], [True, False])
        self.assertFalse(flow.is_paused(LEFT, FAR))
        self.assertEqual([flow.open(UP), flow.open(UP)], [True, False])
        self.assertFalse(flow.is_paused(UP, FAR))

    def test_what_a_lost_connection_said_is_over(self) -> None:
        """Pauses end with the connection over which they came."""
        flow = FlowControl()
        flow.pause(UP, FAR)
        flow.pause(LEFT, FAR)
        flow.shut(UP)
        self.assertEqual(flow.lost(UP), {FAR})
        self.assertEqual((flow.is_paused(UP, FAR), flow.is_paused(LEFT, FAR)), (False, True))
        self.assertEqual(flow.lost(UP), frozenset())

    def test_a_neighbor_cannot_fill_the_memory_with_pauses(self) -> None:
        """Beyond a bound it is not listened to; what it said before counts on."""
        flow = FlowControl(count_max=3)
        self.assertEqual([flow.pause(UP, n) for n in range(5)], [True] * 3 + [False] * 2)
        flow.resume(UP, 0)
        self.assertTrue(flow.pause(UP, 4))


    def test_all_neighbors_share_the_memory_for_pauses(self) -> None:
        """One may have half of it, the next one half of the rest; who is lost makes room."""
        self.assertEqual(FlowControl()._heard_max, PAUSES_HEARD_MAX)
        flow = FlowControl(heard_max=8)
        for neighbor, taken in ((UP, 4), (LEFT, 2), (RIGHT, 1)):
            self.assertEqual(sum(flow.pause(neighbor, n) for n in range(9)), taken)
        flow.lost(UP)
        flow.resume(LEFT, 0)
        self.assertEqual(sum(flow.pause(RIGHT, n) for n in range(9)), 3)


class ToldTests(SynchronousTestCase):
    """What we ask of neighbors."""

    def test_each_feeder_is_told_once(self) -> None:
        """Who feeds a congested destination is asked to pause; all who were are asked to go on."""
        flow = FlowControl()
        self.assertEqual(flow.congested(FAR, LEFT), [Tell(LEFT, FAR, pause=True)])
        self.assertEqual(flow.congested(FAR, LEFT), [])
        self.assertEqual(flow.congested(FAR, RIGHT), [Tell(RIGHT, FAR, pause=True)])
        self.assertEqual(flow.congested(OTHER, LEFT), [Tell(LEFT, OTHER, pause=True)])
        self.assertEqual(
            flow.relieved(FAR), [Tell(LEFT, FAR, pause=False), Tell(RIGHT, FAR, pause=False)]
        )
        self.assertEqual((flow.relieved(FAR), flow.told), ([], (OTHER,)))

    def test_a_new_connection_is_told_what_is_still_paused(self) -> None:
        """The other side has forgotten it with the old one."""
        flow = FlowControl()
        flow.congested(FAR, LEFT)
        flow.congested(OTHER, LEFT)
        flow.congested(OTHER, RIGHT)
        flow.relieved(FAR)
        self.assertEqual(flow.renewed(LEFT), [Tell(LEFT, OTHER, pause=True)])
        self.assertEqual(flow.renewed(UP), [])

    def test_who_is_gone_is_told_nothing(self) -> None:
        """A neighbor that comes again as another life is asked anew when it feeds."""
        flow = FlowControl()
        flow.congested(FAR, LEFT)
        flow.congested(FAR, RIGHT)
        flow.congested(OTHER, LEFT)
        flow.gone(LEFT)
        self.assertEqual(flow.told, (FAR,))
        self.assertEqual(flow.relieved(FAR), [Tell(RIGHT, FAR, pause=False)])
        self.assertEqual(flow.congested(FAR, LEFT), [Tell(LEFT, FAR, pause=True)])

    def test_as_many_as_there_may_be(self) -> None:
        """Beyond a bound nobody is asked: the hard limit stays."""
        flow = FlowControl(count_max=2)
        told = [flow.congested(destination, LEFT) for destination in (1, 2, 3)]
        self.assertEqual([len(tells) for tells in told], [1, 1, 0])
        flow.relieved(1)
        self.assertEqual(len(flow.congested(3, LEFT)), 1)


class MarkTests(SynchronousTestCase):
    """Where congestion begins and ends."""

    def load(self, **changes: int) -> Load:
        """Describe what is harmless, but for some changes."""
        return attrs.evolve(Load(frames=0, own_bytes=0, queued_bytes=0), **changes)

    def test_a_long_queue(self) -> None:
        """A single destination is congested when its queue is long, until it is half as long."""
        marks = Marks(1_000)
        self.assertFalse(self.load(own_bytes=1_000, queued_bytes=1_000).is_over(marks))
        self.assertTrue(self.load(own_bytes=1_001, queued_bytes=1_001).is_over(marks))
        self.assertFalse(self.load(own_bytes=501, queued_bytes=501).is_low(marks))
        self.assertTrue(self.load(own_bytes=500, queued_bytes=500).is_low(marks))

    def test_many_share_a_queue(self) -> None:
        """Of a long queue those are congested that have their part of it, not those in between."""
        marks = Marks(1_000)
        crowd = self.load(queued_bytes=1_200, sharers=10)
        self.assertTrue(attrs.evolve(crowd, own_bytes=60).is_over(marks))
        self.assertFalse(attrs.evolve(crowd, own_bytes=40).is_over(marks))
        self.assertTrue(attrs.evolve(crowd, own_bytes=20).is_low(marks))
        self.assertFalse(attrs.evolve(crowd, own_bytes=40).is_low(marks))

    def test_many_frames(self) -> None:
        """However short they are, so many frames that nobody answers for are too many."""
        marks = Marks(1_000, frames=100)
        self.assertEqual([self.load(frames=n).is_over(marks) for n in (99, 100)], [False, True])
        self.assertEqual([self.load(frames=n).is_low(marks) for n in (51, 50)], [False, True])

    def test_a_window_is_shared(self) -> None:
        """One that is stuck takes an eighth; however many are, something is left."""
        window = limits.UNACKNOWLEDGED_FRAMES_MAX
        free = window
        for stuck in range(1, 51):
            taken = frames_mark(free)
            self.assertLessEqual(taken, limits.DESTINATION_FRAMES_SOFT)
            free -= taken
            if stuck == 1:
                self.assertEqual(taken, window // 8)
        self.assertGreater(free, 0)
        self.assertEqual(frames_mark(0), 1)


class WordsModel(RuleBasedStateMachine):
    """A chain of nodes: whoever is told, knows; and nobody knows what nobody told."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = FlowControl()
        # What each neighbor believes.
        self.believes: dict[int, set[int]] = {neighbor: set() for neighbor in range(3)}
        self.congested: set[int] = set()

    def perform(self, tells: list[Tell]) -> None:
        """Deliver the words; a pause is never told twice, a resume never without a pause."""
        for tell in tells:
            known = self.believes[tell.neighbor]
            assert (tell.destination in known) != tell.pause
            if tell.pause:
                known.add(tell.destination)
            else:
                known.discard(tell.destination)

    @rule(destination=st.integers(0, 3), feeder=st.integers(0, 2))
    def feed(self, destination: int, feeder: int) -> None:
        """A neighbor feeds a destination that is congested."""
        self.congested.add(destination)
        self.perform(self.flow.congested(destination, feeder))
        assert destination in self.believes[feeder]

    @rule(destination=st.integers(0, 3))
    def relieve(self, destination: int) -> None:
        """A destination is congested no longer."""
        self.congested.discard(destination)
        self.perform(self.flow.relieved(destination))

    @rule(neighbor=st.integers(0, 2))
    def reconnect(self, neighbor: int) -> None:
        """A neighbor has another connection, and has forgotten."""
        before = set(self.believes[neighbor])
        self.believes[neighbor] = set()
        self.perform(self.flow.renewed(neighbor))
        assert self.believes[neighbor] == before

    @rule(neighbor=st.integers(0, 2))
    def leave(self, neighbor: int) -> None:
        """A neighbor is gone."""
        self.believes[neighbor] = set()
        self.flow.gone(neighbor)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Who pauses something pauses what is congested."""
        for known in self.believes.values():
            assert known <= self.congested
        told = {d for known in self.believes.values() for d in known}
        assert set(self.flow.told) == told


class ModelTests(SynchronousTestCase):
    def test_words_are_in_step(self) -> None:
        """Whatever happens, neighbors believe what they were told, and are told when it is over."""
        case = WordsModel.TestCase
        case.settings = settings(deadline=None, max_examples=60)
        case("runTest").debug()
