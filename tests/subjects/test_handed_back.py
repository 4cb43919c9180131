"""Where a group goes that a branch has handed back."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.distribution import Distribution, Distributor, Incoming
from atbus.subjects.interest import HERE, Interests, Side
from atbus.wire.messages import Interest, InterestEntry
from tests.subjects.meadow import Letter, Meadow

ABOVE, BESIDE, BELOW, OTHER = 1, 2, 3, 4
PLACES = {ABOVE: Side.ABOVE, BESIDE: Side.BESIDE, BELOW: Side.BELOW, OTHER: Side.BELOW}


class HandedBackTests(SynchronousTestCase):
    """A node with neighbors on all sides, one of which has handed group "q" back."""

    def try_others(self, only: int | None, *members: int) -> Distribution:
        """
        Decide for what comes back from below.

        :param only: The one neighbor above or beside that believes it; None: all do.
        :param members: Who wants it.
        """
        interests = Interests()
        entries = (InterestEntry(subject="a", queue="q", weight=1),)
        told = Interest(generation=1, replay=True, last=True, entries=entries)
        for place, side in PLACES.items():
            interests.open(place, side)
            if place in members:
                interests.heard(place, told)
        if HERE in members:
            interests.subscribe("a", "q")
        return Distributor(interests, random.Random(0).randrange).distribute(
            Incoming(
                subject=("a",), came_from=BELOW, queues=("q",), handed_back=True, only=only
            )
        )

    def test_where_it_is_believed(self) -> None:
        """Above and beside only who believes it is tried; where nobody does, nobody has it."""
        for believer, other in ((ABOVE, BESIDE), (BESIDE, ABOVE)):
            for members in ((believer,), (believer, other)):
                [branch] = self.try_others(believer, *members).branches
                self.assertEqual((branch.neighbor, branch.queues), (believer, ("q",)))
            self.assertEqual(self.try_others(believer, other).unserved, ("q",))
            self.assertEqual(self.try_others(0, ABOVE, BESIDE).unserved, ("q",))
            [branch] = self.try_others(None, other).branches
            self.assertEqual(branch.neighbor, other)

    def test_where_it_came_from_below(self) -> None:
        """What a peer has handed back may go above, as when it came, and else goes where it was."""
        interests = Interests()
        for place, side in PLACES.items():
            interests.open(place, side)
        back = Incoming(
            subject=("a",),
            came_from=BESIDE,
            queues=("q",),
            queues_only=True,
            handed_back=True,
            by=BELOW,
            tried=(OTHER, BESIDE),
        )
        distributor = Distributor(interests, random.Random(0).randrange)
        [branch] = distributor.distribute(back).back
        self.assertEqual((branch.neighbor, branch.queues), (BELOW, ("q",)))
        self.assertTrue(branch.queues_only)
        entries = (InterestEntry(subject="a", queue="q", weight=1),)
        told = Interest(generation=1, replay=True, last=True, entries=entries)
        for place in (BESIDE, BELOW, OTHER):
            interests.heard(place, told)
            self.assertEqual(distributor.distribute(back).unserved, ("q",))
        interests.heard(ABOVE, told)
        decided = distributor.distribute(back)
        self.assertEqual([each.neighbor for each in decided.branches], [ABOVE])
        self.assertEqual(decided.back, ())

    def test_here_and_below(self) -> None:
        """Those below believe everything, and members here are members."""
        [branch] = self.try_others(0, OTHER, ABOVE, BESIDE).branches
        self.assertEqual(branch.neighbor, OTHER)
        self.assertEqual(self.try_others(0, HERE, ABOVE).queues_here, ("q",))
        self.assertEqual(self.try_others(None, BELOW).unserved, ("q",))


class MeadowTests(SynchronousTestCase):
    """Random trees with peers, where members have left and nobody knows of it yet."""

    def grow(self, seed: int, size: int, peers: int) -> Meadow:
        """Make a tree with some links beside it."""
        meadow = Meadow(seed)
        draw = meadow.random
        meadow.add(1)
        for bus_id in range(2, size + 1):
            meadow.add(bus_id, draw.randrange(1, bus_id))
        for _ in range(10 * peers):
            left, right = draw.sample(sorted(meadow.nodes), 2)
            if len(meadow.peers) < peers and self.may_be_peers(meadow, left, right):
                meadow.peer(left, right)
        meadow.settle()
        return meadow

    def may_be_peers(self, meadow: Meadow, left: int, right: int) -> bool:
        """Tell whether neither is kin of the other, nor of what the other is linked to."""
        pairs = [(left, right)]
        for pair in meadow.peers:
            for near, far in ((left, right), (right, left)):
                pairs += [(each, far) for each in pair if near in pair and each != near]
        below = meadow._below
        return not meadow.is_linked(left, right) and not any(
            one in below(other) or other in below(one) for one, other in pairs
        )

    def leave(self, meadow: Meadow, gone: int, left: int) -> list[int]:
        """Let nodes become members, and some leave; give those that are members still."""
        members = meadow.random.sample(sorted(meadow.nodes), gone + left)
        for bus_id in members:
            meadow.nodes[bus_id].subscribe("q", "g")
        meadow.settle()
        for bus_id in members[:gone]:
            meadow.nodes[bus_id].interests.unsubscribe("q", "g")
        return members[gone:]

    def test_whoever_is_left_gets_it(self) -> None:
        """What could reach a member reaches one, once, however many have left on the way."""
        for seed in range(90):
            meadow = self.grow(seed, 10, peers=seed % 4)
            gone = (1, 1, 2, 5)[seed // 4 % 4]
            members = self.leave(meadow, gone, 1 + seed % 2)
            for bus_id, node in meadow.nodes.items():
                sent = [(*node.publish("q"), "g") for _ in range(3)]
                meadow.settle()
                got = [each for member in members for each in meadow.nodes[member].queued]
                times = [got.count(each) for each in sent]
                reached = not meadow.reach(bus_id).isdisjoint(members)
                self.assertEqual(times, [int(reached)] * 3, (seed, bus_id, members))

    def test_nobody_is_left(self) -> None:
        """What finds nobody comes to its end where it began, and crosses few links till then."""
        for seed in range(40):
            meadow = self.grow(seed, 10, peers=seed % 4)
            self.leave(meadow, 1 + seed % 10, 0)
            for bus_id, node in meadow.nodes.items():
                before = len(meadow.crossings)
                what = (*node.publish("q"), "g")
                meadow.settle()
                letters = [each for *_, each in meadow.crossings[before:]]
                self.assertTrue(all(isinstance(each, Letter) for each in letters))
                # Each link forth and back, and those below peers once more for each of two ways.
                self.assertLessEqual(len(letters), 6 * len(meadow.nodes), (seed, bus_id))
                lost = [each for other in meadow.nodes.values() for each in other.unserved]
                self.assertEqual(lost.count(what), node.unserved.count(what))
                self.assertEqual(lost.count(what), int(bool(letters)), (seed, bus_id))
