"""Where a group goes that a branch has handed back."""

from __future__ import annotations

import random
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.distribution import Distribution, Distributor, Incoming, Preference
from atbus.subjects.interest import HERE, Interests, Side
from atbus.wire.extras import zone_extra
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


class ZoneTests(SynchronousTestCase):
    """A tree whose root, 1, publishes and prefers its zone; 2 and 22 are in another one."""

    def paths(self, members: Sequence[int], gone: Sequence[int]) -> set[tuple[int, ...]]:
        """
        Publish when some have left, again and again.

        ::

            1 --+-- 2 --+-- 21
                |       `-- 22
                `-- 3

        :returns: By which nodes it has come to a member.
        """
        found = set()
        for seed in range(12):
            meadow = Meadow(seed)
            for bus_id, upstream in ((1, None), (2, 1), (3, 1), (21, 2), (22, 2)):
                meadow.add(bus_id, upstream, "y" if bus_id in (2, 22) else "x")
            meadow.nodes[1].distributor.preference = Preference.NEAREST
            for bus_id in (*members, *gone):
                meadow.nodes[bus_id].subscribe("q", "g")
            meadow.settle()
            for bus_id in gone:
                meadow.nodes[bus_id].interests.unsubscribe("q", "g")
            before = len(meadow.crossings)
            meadow.nodes[1].publish("q")
            meadow.settle()
            path = [receiver for _, receiver, _ in meadow.crossings[before:]]
            self.assertEqual([each for each in members if meadow.nodes[each].queued], path[-1:])
            found.add(tuple(path))
        return found

    def test_first_all_in_the_zone(self) -> None:
        """While one in the zone is left he gets it, whoever else is nearer to who had it last."""
        self.assertEqual(self.paths([22, 3], [21]), {(3,), (2, 21, 2, 1, 3)})

    def test_then_all_others(self) -> None:
        """Who was passed over for the zone's sake gets it when nobody is left there."""
        ways = {(2, 21, 2, 1, 3, 1, 2, 22), (3, 1, 2, 21, 2, 1, 2, 22)}
        self.assertEqual(self.paths([22], [21, 3]), ways)

    def test_who_takes_nothing_back(self) -> None:
        """To one of an earlier release it does not go back while others can be tried."""
        interests = Interests()
        extras = (zone_extra("x"),)
        for place, side in PLACES.items():
            interests.open(place, side, zone=None)
            for weight, extra in ((2, ()), (1, extras)):
                entries = (InterestEntry(subject="a", queue="q", weight=weight),)
                if place != OTHER or not extra:
                    interests.heard(place, Interest(entries=entries, extras=extra))
        back = Incoming(
            subject=("a",),
            came_from=BELOW,
            queues=("q",),
            queues_only=True,
            handed_back=True,
            by=ABOVE,
            zone="x",
            left=(BELOW,),
        )
        distributor = Distributor(interests, lambda _: 0)
        [branch] = distributor.distribute(back).branches
        self.assertEqual((branch.neighbor, branch.zone), (ABOVE, "x"))
        distributor.takes_back = lambda place: place != ABOVE
        [branch] = distributor.distribute(back).branches
        self.assertEqual((branch.zone, branch.neighbor in (BELOW, OTHER)), ("", True))

    def test_one_way(self) -> None:
        """Where there was nobody else in the zone it does not go back for one."""
        self.assertEqual(self.paths([22], [21]), {(2, 21, 2, 22)})


class MeadowTests(SynchronousTestCase):
    """Random trees with peers, where members have left and nobody knows of it yet."""

    def grow(self, seed: int, size: int, peers: int, zones: Sequence[str] = ("",)) -> Meadow:
        """Make a tree with some links beside it; with zones some nodes prefer what is near."""
        meadow = Meadow(seed)
        draw = meadow.random
        meadow.add(1, zone=zones[0])
        for bus_id in range(2, size + 1):
            upstream = draw.randrange(1, bus_id)
            meadow.add(bus_id, upstream, draw.choice(zones) if zones[0] else "")
        for node in meadow.nodes.values() if zones[0] else ():
            node.distributor.preference = draw.choice([Preference.NEAREST, *Preference])
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
            self.check_found(seed, self.grow(seed, 10, peers=seed % 4))

    def test_in_zones(self) -> None:
        """So it is where what is near is preferred, whoever has left in which zone."""
        for seed in range(120):
            self.check_found(seed, self.grow(seed, 10, seed % 4, zones=("x", "y", "x", "y", "")))

    def check_found(self, seed: int, meadow: Meadow) -> None:
        """Let some leave, publish everywhere, and see who gets it."""
        gone = (1, 1, 2, 5)[seed // 4 % 4]
        members = self.leave(meadow, gone, 1 + seed % 2)
        for bus_id, node in meadow.nodes.items():
            before = len(meadow.crossings)
            sent = [(*node.publish("q"), "g") for _ in range(3)]
            meadow.settle()
            got = [each for member in members for each in meadow.nodes[member].queued]
            times = [got.count(each) for each in sent]
            reached = not meadow.reach(bus_id).isdisjoint(members)
            self.assertEqual(times, [int(reached)] * 3, (seed, bus_id, members))
            # With zones each link may be crossed forth and back twice, as in the next test.
            self.assertLessEqual(len(meadow.crossings) - before, 3 * 12 * len(meadow.nodes))

    def test_nobody_is_left(self) -> None:
        """What finds nobody comes to its end where it began, and crosses few links till then."""
        for seed in range(60):
            zones = ("x", "y", "") if seed % 3 == 2 else ("",)
            meadow = self.grow(seed, 10, seed % 4, zones)
            self.leave(meadow, 1 + seed % 10, 0)
            for bus_id, node in meadow.nodes.items():
                before = len(meadow.crossings)
                what = (*node.publish("q"), "g")
                meadow.settle()
                letters = [each for *_, each in meadow.crossings[before:]]
                self.assertTrue(all(isinstance(each, Letter) for each in letters))
                # Each link forth and back, and those below peers once more for each of two ways.
                most = 6 * len(zones[:2]) * len(meadow.nodes)
                self.assertLessEqual(len(letters), most, (seed, bus_id))
                lost = [each for other in meadow.nodes.values() for each in other.unserved]
                self.assertEqual(lost.count(what), node.unserved.count(what))
                self.assertEqual(lost.count(what), int(bool(letters)), (seed, bus_id))
