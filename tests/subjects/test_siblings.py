"""Peers that have one upstream: their members count once, and nothing is lost for that."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.distribution import Branch, Distribution, Distributor, Incoming, Preference
from atbus.subjects.interest import HERE, Interests, Side, Taker, Wanted
from atbus.wire.bounds import COUNTED_SIBLINGS_MAX
from atbus.wire.messages import Interest, InterestEntry
from tests.subjects.meadow import Letter, Meadow, MeadowNode

JOBS = Wanted("jobs", "workers")


class SharesCase(SynchronousTestCase):
    """Trees with links between siblings."""

    def mesh(self, *siblings: int, zone: str = "") -> Meadow:
        """Make an upstream, 1, and linked peers below it."""
        meadow = Meadow()
        meadow.add(1, zone=zone)
        for number, bus_id in enumerate(siblings):
            meadow.add(bus_id, 1, zone)
            for other in siblings[:number]:
                meadow.peer(other, bus_id)
        return meadow

    def join(self, meadow: Meadow, *bus_ids: int) -> None:
        """Let a member join at each of some nodes."""
        for bus_id in bus_ids:
            meadow.nodes[bus_id].subscribe(*JOBS)
        meadow.settle()

    def members(self, meadow: Meadow, bus_ids: Iterable[int]) -> dict[int, int]:
        """Count the members at each of some nodes, where there are any."""
        found = {each: meadow.nodes[each].interests.weight(Taker(HERE, JOBS)) for each in bus_ids}
        return {bus_id: count for bus_id, count in found.items() if count}

    def alike(self, members: dict[int, int]) -> dict[int, Fraction]:
        """Say what each node gets when each member gets as much as any other."""
        return {each: Fraction(count, sum(members.values())) for each, count in members.items()}

    def shares(self, meadow: Meadow, publisher: int) -> dict[int, Fraction]:
        """Say which part of what is published each node gets, by going all ways that there are."""
        shares: dict[int, Fraction] = {}
        self._go(meadow, publisher, Incoming(subject=("jobs",)), Fraction(1), shares)
        return shares

    def _go(
        self,
        meadow: Meadow,
        bus_id: int,
        incoming: Incoming,
        part: Fraction,
        shares: dict[int, Fraction],
    ) -> None:
        node = meadow.nodes[bus_id]
        decisions = self._decisions(node, incoming)
        for decided, count in decisions.items():
            each = part * Fraction(count, decisions.total())
            self.assertEqual(decided.unserved, ())
            chosen = [branch for branch in decided.branches if branch.queues]
            self.assertEqual(len(chosen) + len(decided.queues_here), 1)
            if decided.queues_here:
                shares[bus_id] = shares.get(bus_id, Fraction(0)) + each
            for branch in chosen:
                other = meadow.nodes[branch.neighbor]
                onward = Incoming(
                    subject=incoming.subject,
                    came_from=bus_id,
                    queues=branch.queues,
                    served=branch.served,
                    queues_only=branch.queues_only,
                    zone=branch.zone if other.tells_zones else "",
                    counted=branch.counted if other.knows_counted else (),
                )
                self._go(meadow, branch.neighbor, onward, each, shares)

    def _decisions(self, node: MeadowNode, incoming: Incoming) -> Counter[Distribution]:
        """Have a node decide once for each number that may be drawn."""
        decisions: Counter[Distribution] = Counter()
        totals = [1]

        def draw(total: int) -> int:
            totals[0] = total
            return decisions.total()

        before, node.distributor._draw = node.distributor._draw, draw
        while decisions.total() < totals[0]:
            decisions[node.distributor.distribute(incoming)] += 1
        node.distributor._draw = before
        return decisions

    def publish(self, meadow: Meadow, publisher: int, count: int) -> dict[int, int]:
        """Publish, and count what the members at each node got: all together each just once."""
        for node in meadow.nodes.values():
            node.queued.clear()
        sent = [(*meadow.nodes[publisher].publish("jobs"), "workers") for _ in range(count)]
        meadow.settle()
        got = {bus_id: node.queued for bus_id, node in meadow.nodes.items() if node.queued}
        self.assertEqual(sorted(each for one in got.values() for each in one), sent)
        return {bus_id: len(queued) for bus_id, queued in got.items()}

    def named(self, meadow: Meadow) -> Counter[tuple[int, int, tuple[int, ...]]]:
        """Say over which links which siblings were named."""
        return Counter(
            (left, right, letter.branch.counted)
            for left, right, letter in meadow.crossings
            if isinstance(letter, Letter) and letter.branch.queues
        )


class ExactTests(SharesCase):
    """Which part each member gets, to the last digit."""

    def test_a_triangle(self) -> None:
        """With members at the upstream and at one of two peers each gets one half."""
        meadow = self.mesh(2, 3)
        self.join(meadow, 1, 3)
        half = Fraction(1, 2)
        for publisher in (2, 3, 1):
            self.assertEqual(self.shares(meadow, publisher), {1: half, 3: half})

    def test_peers_with_different_upstreams(self) -> None:
        """Their members count twice there, and get twice as much; elsewhere they count once."""
        meadow = Meadow()
        for bus_id, above in ((1, None), (2, 1), (3, 1), (21, 2), (31, 3), (211, 21)):
            meadow.add(bus_id, above)
        meadow.peer(21, 31)
        self.join(meadow, 2, 31)
        for publisher in (21, 211):
            shares = self.shares(meadow, publisher)
            self.assertEqual(shares, {2: Fraction(1, 3), 31: Fraction(2, 3)})
        for publisher in (1, 2, 3):
            shares = self.shares(meadow, publisher)
            self.assertEqual(shares, {2: Fraction(1, 2), 31: Fraction(1, 2)})

    def test_everywhere(self) -> None:
        """Members at the upstream, above it, at peers, below them and below another branch."""
        meadow = Meadow()
        meadow.add(9)
        meadow.add(1, 9)
        for bus_id, above in ((2, 1), (3, 1), (4, 1), (5, 1), (21, 2), (41, 4), (51, 5)):
            meadow.add(bus_id, above)
        for left, right in ((2, 3), (2, 4), (3, 4)):
            meadow.peer(left, right)
        self.join(meadow, 9, 1, 3, 3, 41, 51, 21)
        expected = self.alike({9: 1, 1: 1, 3: 2, 41: 1, 51: 1, 21: 1})
        for publisher in meadow.nodes:
            self.assertEqual(self.shares(meadow, publisher), expected, publisher)

    def test_any_tree(self) -> None:
        """However siblings are linked, on however many levels, and whatever who publishes wants."""
        for seed in range(60):
            lots = random.Random(seed)
            meadow = self.plant(lots, [["", "x"], ["", "x", "y"], [""]][seed % 3])
            for _ in range(lots.randrange(1, 12)):
                meadow.nodes[lots.choice(list(meadow.nodes))].subscribe(*JOBS)
            meadow.settle()
            for node in meadow.nodes.values():
                for preference in Preference:
                    node.distributor.preference = preference
                    expected = self.expected(meadow, node)
                    shares = self.shares(meadow, node.bus_id)
                    self.assertEqual(shares, expected, f"{seed} {node.bus_id} {preference}")
                node.distributor.preference = Preference.UNIFORM

    def plant(self, lots: random.Random, zones: list[str]) -> Meadow:
        """Make a tree of nodes, with many links between siblings."""
        meadow = Meadow(lots.getrandbits(32))
        meadow.add(1, zone=lots.choice(zones))
        for bus_id in range(2, 12):
            meadow.add(bus_id, lots.randrange(max(1, bus_id - 5), bus_id), lots.choice(zones))
        for one, above in meadow.upstream.items():
            for other, beside in meadow.upstream.items():
                if one < other and above == beside and lots.random() < 0.7:
                    meadow.peer(one, other)
        return meadow

    def expected(self, meadow: Meadow, node: MeadowNode) -> dict[int, Fraction]:
        """Say which part each node is to get of what one publishes."""
        members = self.members(meadow, meadow.reach(node.bus_id))
        preference, zone = node.distributor.preference, node.zone
        near = {each: members[each] for each in members if meadow.nodes[each].zone == zone != ""}
        if preference is not Preference.UNIFORM and node.bus_id in members:
            members = {node.bus_id: 1}
        elif preference is Preference.NEAREST and near:
            members = near
        return self.alike(members)

    def test_so_many_siblings(self) -> None:
        """Of more siblings than may be named some are left to the upstream: each its part."""
        siblings = range(3, COUNTED_SIBLINGS_MAX + 9)
        meadow = Meadow()
        for bus_id in (1, 2, *siblings):
            meadow.add(bus_id, 1 if bus_id > 1 else None)
        for bus_id in siblings:
            meadow.peer(2, bus_id)
        self.join(meadow, 1, 1, 3, *siblings)
        expected = self.alike({1: 2, **dict.fromkeys(siblings, 1), 3: 2})
        self.assertEqual(self.shares(meadow, 2), expected)
        for decided in self._decisions(meadow.nodes[2], Incoming(subject=("jobs",))):
            for branch in decided.branches:
                named = COUNTED_SIBLINGS_MAX if branch.neighbor == 1 else 0
                self.assertEqual(len(branch.counted), named)
        # Without any other member nobody is left to the upstream that would get nothing.
        meadow.nodes[1].unsubscribe(*JOBS)
        meadow.nodes[1].unsubscribe(*JOBS)
        meadow.settle()
        self.assertEqual(self.shares(meadow, 2), self.alike({**dict.fromkeys(siblings, 1), 3: 2}))

    def test_siblings_of_which_the_upstream_does_not_know(self) -> None:
        """Nobody is left to an upstream that has told of none but those who are named."""
        siblings = range(3, COUNTED_SIBLINGS_MAX + 5)
        meadow = Meadow()
        node = meadow.add(2)
        node.interests.open(1, Side.ABOVE)
        for bus_id in siblings:
            node.interests.open(bus_id, Side.BESIDE)
        node.interests.count_once(siblings)
        for bus_id, weight in ((1, COUNTED_SIBLINGS_MAX), *dict.fromkeys(siblings, 1).items()):
            entry = InterestEntry(subject=JOBS.pattern, queue=JOBS.queue, weight=weight)
            node.interests.heard(bus_id, Interest(entries=(entry,)))
        decisions = self._decisions(node, Incoming(subject=("jobs",)))
        self.assertEqual({each.branches[0].neighbor for each in decisions}, {*siblings})

    def test_an_upstream_of_an_earlier_release(self) -> None:
        """One that looks at no names draws among all: peers' members get more, nothing is lost."""
        meadow = self.mesh(2, 3)
        meadow.nodes[1].knows_counted = False
        self.join(meadow, 1, 3)
        self.assertEqual(self.shares(meadow, 2), {1: Fraction(1, 4), 3: Fraction(3, 4)})
        self.publish(meadow, 2, 200)

    def test_a_peer_of_an_earlier_release(self) -> None:
        """One that names nobody gives members at peers more, all others give each its part."""
        meadow = Meadow()
        for bus_id, above in ((1, None), (2, 1), (3, 1)):
            meadow.add(bus_id, above, None if bus_id == 2 else "")
        meadow.peer(2, 3)
        self.join(meadow, 1, 2, 3)
        third = Fraction(1, 3)
        for publisher in (1, 3):
            self.assertEqual(self.shares(meadow, publisher), {1: third, 2: third, 3: third})
        self.assertGreater(self.shares(meadow, 2)[3], third)
        self.publish(meadow, 2, 200)


class NamingTests(SharesCase):
    """Who is named, and where that costs nothing."""

    def test_only_upwards(self) -> None:
        """Siblings with members are named to the upstream, and to nobody else."""
        meadow = self.mesh(2, 3, 4)
        meadow.add(5, 1)
        meadow.add(51, 5)
        meadow.add(21, 2)
        self.join(meadow, 3, 51)
        meadow.crossings.clear()
        for publisher in (2, 21):
            self.publish(meadow, publisher, 40)
        named = self.named(meadow)
        upwards = {(left, right) for left, right, counted in named if counted}
        self.assertEqual(upwards, {(2, 1)})
        self.assertIn((2, 3, ()), named)
        self.assertGreater(named[2, 1, (3,)], 20)
        self.assertEqual(named[2, 1, (3,)], named[1, 5, ()])
        self.assertEqual(named[1, 5, ()], named[5, 51, ()])

    def test_nobody_without_members(self) -> None:
        """Where no sibling has a member of the group nothing is written."""
        meadow = self.mesh(2, 3)
        self.join(meadow, 1)
        meadow.nodes[3].subscribe("jobs")
        meadow.nodes[3].subscribe("jobs", "auditors")
        meadow.settle()
        meadow.crossings.clear()
        self.publish_both(meadow, 30)
        ways = {(left, right, counted) for left, right, counted in self.named(meadow)}
        self.assertEqual(ways, {(2, 1, ()), (2, 3, ())})

    def publish_both(self, meadow: Meadow, count: int) -> None:
        """Publish for two groups; each gets everything once."""
        sent = [meadow.nodes[2].publish("jobs") for _ in range(count)]
        meadow.settle()
        got = Counter(each for node in meadow.nodes.values() for each in node.queued)
        wanted = [(*one, queue) for one in sent for queue in ("auditors", "workers")]
        self.assertEqual(got, Counter(wanted))

    def test_several_groups(self) -> None:
        """Of several groups that go up together the siblings of all of them are named."""
        meadow = self.mesh(2, 3, 4)
        self.join(meadow, 1, 1, 1, 3)
        for bus_id in (1, 1, 1, 4):
            meadow.nodes[bus_id].subscribe("jobs", "auditors")
        meadow.nodes[4].subscribe("jobs")
        meadow.settle()
        meadow.crossings.clear()
        self.publish_both(meadow, 400)
        named = self.named(meadow)
        both = sum(count for key, count in named.items() if key[:2] == (2, 1) and len(key[2]) == 2)
        self.assertTrue(160 < both < 290, named)
        self.assertEqual({key[2] for key in named if key[:2] == (2, 1)} - {(3,), (4,)}, {(3, 4)})
        for queue in ("workers", "auditors"):
            count = sum(each[2] == queue for each in meadow.nodes[1].queued)
            self.assertTrue(260 < count < 340, count)
        self.assertEqual(len(meadow.nodes[4].plain), 400)

    def test_who_may_not_have_it(self) -> None:
        """A sibling that we may give nothing is not counted; its upstream may do otherwise."""
        meadow = self.mesh(2, 3)
        self.join(meadow, 1, 3)
        meadow.nodes[2].distributor.may_have = lambda place, _: place != 3
        half = Fraction(1, 2)
        self.assertEqual(self.shares(meadow, 2), {1: half, 3: half})
        for decided in self._decisions(meadow.nodes[2], Incoming(subject=("jobs",))):
            self.assertEqual([each.counted for each in decided.branches], [()])

    def test_plain_subscribers_have_it_all_the_same(self) -> None:
        """Who is named gets what is for plain subscribers, unless others have given it to him."""
        interests = Interests()
        entries = [InterestEntry(subject="jobs", queue="workers", weight=1)]
        for bus_id, further in ((2, []), (3, [InterestEntry(subject="jobs")]), (5, [])):
            interests.open(bus_id, Side.BELOW)
            interests.heard(bus_id, Interest(entries=(*entries, *further)))
        distributor = Distributor(interests, random.Random(0).randrange)
        for _ in range(10):
            decided = distributor.distribute(
                Incoming(subject=("jobs",), came_from=2, queues=("workers",), counted=(3,))
            )
            expected = [
                Branch(neighbor=3),
                Branch(neighbor=5, queues=("workers",), queues_only=True),
            ]
            self.assertEqual([*decided.branches], expected)


    def test_in_a_zone(self) -> None:
        """Who is named is still nearer than others are who are in another zone."""
        for named, expected in (((3,), {4}), ((3, 4), {3, 4})):
            meadow = Meadow()
            for bus_id, zone in ((1, ""), (2, ""), (3, "x"), (4, "x"), (5, "y")):
                meadow.add(bus_id, 1 if bus_id > 1 else None, zone)
            self.join(meadow, 3, 4, 5)
            incoming = Incoming(
                subject=("jobs",), came_from=2, queues=("workers",), zone="x", counted=named
            )
            decisions = self._decisions(meadow.nodes[1], incoming)
            self.assertEqual({each.branches[0].neighbor for each in decisions}, expected)


class LeavingTests(SharesCase):
    """Members that have just left, which others do not know yet: nothing is lost."""

    def leave(self, meadow: Meadow, bus_id: int) -> None:
        """Let a member leave; nobody else is told for now."""
        meadow.nodes[bus_id].interests.unsubscribe(*JOBS)

    def test_the_other_one_of_the_upstream(self) -> None:
        """An upstream that has no other member any more takes one at a sibling."""
        meadow = self.mesh(2, 3)
        self.join(meadow, 1, 3)
        self.leave(meadow, 1)
        self.assertEqual(self.publish(meadow, 2, 50), {3: 50})

    def test_for_who_is_below(self) -> None:
        """So it does for a node below a peer, to which nothing could be handed back."""
        for gone in (1, 5):
            meadow = self.mesh(2, 3)
            meadow.add(5, 1)
            meadow.add(21, 2)
            self.join(meadow, gone, 3)
            self.leave(meadow, gone)
            self.assertEqual(self.publish(meadow, 21, 50), {3: 50})

    def test_all_of_the_upstream(self) -> None:
        """What an upstream has nobody for comes back, and goes to a member here."""
        meadow = self.mesh(2, 3)
        self.join(meadow, 1, 2)
        self.leave(meadow, 1)
        self.assertEqual(self.publish(meadow, 2, 50), {2: 50})

    def test_one_at_a_sibling(self) -> None:
        """What comes back from a sibling does not go there again by way of the upstream."""
        meadow = self.mesh(2, 3)
        self.join(meadow, 1, 3)
        self.leave(meadow, 3)
        self.assertEqual(self.publish(meadow, 2, 50), {1: 50})

    def test_one_that_a_sibling_has_withdrawn(self) -> None:
        """So it is also when we know already that the member has left, and the upstream not."""
        meadow = self.mesh(2, 3)
        self.join(meadow, 1, 3)
        sent = [(*meadow.nodes[2].publish("jobs"), "workers") for _ in range(50)]
        self.leave(meadow, 3)
        for neighbor, message in meadow.nodes[3].interests.changes():
            if neighbor == 2:
                meadow.send(3, 2, message)
        meadow.settle()
        self.assertEqual(sorted(meadow.nodes[1].queued), sent)

    def test_one_of_which_the_upstream_alone_still_tells(self) -> None:
        """What comes back from a sibling goes to those first who are known without the upstream."""
        meadow = self.mesh(2, 3, 4)
        self.join(meadow, 2, 3, 4)
        self.leave(meadow, 3)
        self.assertEqual(set(self.publish(meadow, 2, 60)), {2, 4})


class TellingTests(SharesCase):
    """What a node tells of members at its siblings."""

    def told(self, meadow: Meadow, bus_id: int) -> int:
        """Say of how many members a node was told by its upstream."""
        above = meadow.nodes[meadow.upstream[bus_id]]
        return above.interests.told_to(bus_id).get(JOBS, 0)

    def test_below(self) -> None:
        """A node below is told of each member once, whatever links come and go."""
        meadow = self.mesh(2, 3, 4)
        meadow.add(21, 2)
        self.join(meadow, 1, 2, 3, 3, 4)
        self.assertEqual(self.told(meadow, 21), 5)
        meadow.cut(2, 3)
        meadow.settle()
        self.assertEqual(self.told(meadow, 21), 5)
        meadow.cut(2, 1)
        meadow.settle()
        # Itself, and one peer.
        self.assertEqual(self.told(meadow, 21), 2)
        meadow.link(2, 3, Side.BESIDE)
        meadow.settle()
        self.assertEqual(self.told(meadow, 21), 4)
        meadow.link(2, 1, Side.ABOVE)
        meadow.settle()
        self.assertEqual(self.told(meadow, 21), 5)

    def test_outside(self) -> None:
        """So is somebody outside; to the upstream and to peers it makes no difference."""
        interests = Interests()
        places = {1: Side.ABOVE, 3: Side.BESIDE, 4: Side.BESIDE, 7: Side.OUTSIDE, 21: Side.BELOW}
        for bus_id, side in places.items():
            interests.open(bus_id, side)
        for bus_id, weight in ((1, 5), (3, 2), (4, 1), (21, 1)):
            entry = InterestEntry(subject=JOBS.pattern, queue=JOBS.queue, weight=weight)
            interests.heard(bus_id, Interest(entries=(entry,)))
        interests.changes()
        self.assertTrue(interests.count_once({3}))
        told = {bus_id: message.entries[0].weight for bus_id, message in interests.changes()}
        # 21 has told of one itself.
        self.assertEqual(told, {7: 7, 21: 6})
        self.assertFalse(interests.count_once({3}))
        self.assertEqual(interests.changes(), [])

    def test_what_the_upstream_does_not_know_yet(self) -> None:
        """Where a sibling has told of more than the upstream, all that it has told counts."""
        interests = Interests()
        for bus_id, side in ((1, Side.ABOVE), (3, Side.BESIDE), (21, Side.BELOW)):
            interests.open(bus_id, side)
        interests.count_once({3})
        for above, beside, expected in ((0, 3, 3), (1, 3, 3), (3, 3, 3), (4, 3, 4), (4, 0, 4)):
            for bus_id, weight in ((1, above), (3, beside)):
                entry = InterestEntry(subject=JOBS.pattern, queue=JOBS.queue, weight=weight)
                interests.heard(bus_id, Interest(entries=(entry,)))
            interests.changes()
            self.assertEqual(interests.told_to(21)[JOBS], expected)

    def test_plain_interest(self) -> None:
        """What is wanted in no group is told as ever."""
        meadow = self.mesh(2, 3)
        meadow.add(21, 2)
        meadow.nodes[3].subscribe("news")
        meadow.settle()
        self.assertEqual(meadow.nodes[2].interests.told_to(21), {Wanted("news"): 1})
