"""Where publications go: trees, peers, queue groups, and tables that change."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.subjects.distribution import Branch, Distributor, Incoming, Preference
from atbus.subjects.interest import Interests, Side
from atbus.wire.messages import Interest, InterestEntry
from tests.subjects.meadow import Letter, Meadow, MeadowNode


def triangle() -> Meadow:
    """Make two linked peers, 2 and 3, under one upstream, 1."""
    meadow = Meadow()
    meadow.add(1)
    meadow.add(2, upstream=1)
    meadow.add(3, upstream=1)
    meadow.peer(2, 3)
    return meadow


def letters(meadow: Meadow) -> list[tuple[int, int]]:
    """Name the links that publications crossed."""
    return [(left, right) for left, right, one in meadow.crossings if isinstance(one, Letter)]


class TriangleTests(SynchronousTestCase):
    def test_nobody_gets_it_twice(self) -> None:
        """Two linked peers under one upstream: each subscriber gets a publication just once."""
        for publisher in (1, 2, 3):
            meadow = triangle()
            for node in meadow.nodes.values():
                node.subscribe("news.*")
            meadow.settle()
            what = meadow.nodes[publisher].publish("news.eu")
            meadow.settle()
            for node in meadow.nodes.values():
                self.assertEqual((node.plain, node.repeated), ([what], 0))
            self.assertEqual(max(Counter(letters(meadow)).values()), 1)

    def test_a_group_behind_two_ways_is_served_once(self) -> None:
        """A group whose members are seen through the upstream and through a peer gets one copy."""
        meadow = triangle()
        for bus_id in (1, 3):
            meadow.nodes[bus_id].subscribe("jobs", "workers")
        meadow.nodes[3].subscribe("jobs")
        meadow.settle()
        sent = [meadow.nodes[2].publish("jobs") for _ in range(400)]
        meadow.settle()
        served = [meadow.nodes[bus_id].queued for bus_id in (1, 3)]
        self.assertEqual(sorted(x[:2] for one in served for x in one), sent)
        self.assertEqual(sorted(meadow.nodes[3].plain), sent)

    def test_members_are_drawn_alike(self) -> None:
        """What the upstream tells of a sibling does not count its members a second time."""
        meadow = triangle()
        for bus_id in (2, 3):
            meadow.nodes[bus_id].subscribe("jobs", "workers")
        meadow.settle()
        for _ in range(1000):
            meadow.nodes[2].publish("jobs")
        meadow.settle()
        self.assertTrue(420 < len(meadow.nodes[3].queued) < 580, len(meadow.nodes[3].queued))


class RuleTests(SynchronousTestCase):
    def test_whether_all_go_alike(self) -> None:
        """Publications on a subject that no group wants all go the same ways."""
        interests = Interests()
        distributor = Distributor(interests, lambda _: 0)
        interests.subscribe("a.*")
        self.assertTrue(distributor.is_plain(("a", "b")))
        interests.subscribe("a.b", "workers")
        self.assertFalse(distributor.is_plain(("a", "b")))
        self.assertTrue(distributor.is_plain(("a", "c")))
        interests.unsubscribe("a.b", "workers")
        self.assertTrue(distributor.is_plain(("a", "b")))

    def test_what_a_peer_sent_goes_down_only(self) -> None:
        """Peers are one hop: neither the upstream nor another peer gets it from there."""
        meadow = Meadow()
        for bus_id in (1, 3, 20):
            meadow.add(bus_id)
        meadow.add(2, upstream=20)
        meadow.add(21, upstream=2)
        meadow.peer(1, 2)
        meadow.peer(2, 3)
        for bus_id in (3, 20, 21):
            meadow.nodes[bus_id].subscribe(">")
        meadow.settle()
        what = meadow.nodes[1].publish("a")
        meadow.settle()
        self.assertEqual(meadow.nodes[21].plain, [what])
        self.assertEqual(meadow.nodes[3].plain, [])
        self.assertEqual(meadow.nodes[20].plain, [])
        # Nor is it sent there, and left out by them.
        crossed = {(left, right) for left, right in letters(meadow)}
        self.assertEqual(crossed, {(1, 2), (2, 21)})

    def test_what_a_peer_wants_is_told_below_only(self) -> None:
        """Neither to the upstream nor to another peer, at once and in the replay of a new link."""
        meadow = Meadow()
        for bus_id in (1, 3, 4, 20):
            meadow.add(bus_id)
        meadow.add(2, upstream=20)
        meadow.add(21, upstream=2)
        meadow.peer(1, 2)
        meadow.peer(2, 3)
        meadow.nodes[1].subscribe("a")
        meadow.nodes[1].subscribe("b", "workers")
        meadow.settle()
        meadow.peer(2, 4)
        meadow.settle()
        told = {
            bus_id: len(meadow.nodes[2].interests.told_to(bus_id)) for bus_id in (1, 3, 4, 20, 21)
        }
        self.assertEqual(told, {1: 0, 3: 0, 4: 0, 20: 0, 21: 2})

    def test_only_where_it_is_wanted(self) -> None:
        """A publication takes no link behind which nobody wants it."""
        meadow = Meadow()
        meadow.add(1)
        for bus_id in (2, 3, 4):
            meadow.add(bus_id, upstream=1)
        meadow.nodes[4].subscribe("a")
        meadow.settle()
        meadow.nodes[2].publish("a")
        meadow.nodes[2].publish("b")
        meadow.settle()
        self.assertEqual(letters(meadow), [(2, 1), (1, 4)])

    def test_a_peer_far_away_is_named_all_the_way(self) -> None:
        """A node that was served over a link of peers is not served again from above."""
        meadow = Meadow()
        meadow.add(1)
        for bus_id, upstream in ((2, 1), (3, 1), (21, 2), (31, 3)):
            meadow.add(bus_id, upstream)
        meadow.peer(21, 31)
        for bus_id in (1, 3, 31):
            meadow.nodes[bus_id].subscribe("a")
        meadow.settle()
        what = meadow.nodes[21].publish("a")
        meadow.settle()
        self.assertEqual((meadow.nodes[31].plain, meadow.nodes[31].repeated), ([what], 0))
        self.assertEqual(meadow.nodes[3].plain, [what])

    def test_so_many_served_branches_fit(self) -> None:
        """With more peers than are named in one publication the rest is recognized on arrival."""
        meadow = Meadow()
        meadow.add(1)
        count = limits.SERVED_BRANCHES_MAX + 20
        for bus_id in range(2, count + 2):
            meadow.add(bus_id, upstream=1)
            meadow.nodes[bus_id].subscribe("a")
            if bus_id > 2:
                meadow.peer(2, bus_id)
        meadow.settle()
        what = meadow.nodes[2].publish("a")
        meadow.settle()
        for node in meadow.nodes.values():
            self.assertEqual(node.plain, [] if node.bus_id == 1 else [what])
        self.assertEqual(sum(node.repeated for node in meadow.nodes.values()), 19)


class GroupTests(SynchronousTestCase):
    def served(self, meadow: Meadow) -> dict[int, int]:
        """Count what the members at each node got."""
        return {node.bus_id: len(node.queued) for node in meadow.nodes.values() if node.queued}

    def star(self) -> Meadow:
        """
        Make a root, 1, with members of a group below it: 1 at 2, 3 at 3, none at 4.

        The root and 2 are in one zone.
        """
        meadow = Meadow()
        meadow.add(1, zone="x")
        for bus_id in (2, 3, 4):
            meadow.add(bus_id, upstream=1, zone="x" if bus_id == 2 else "y")
        for bus_id in (2, 3, 3, 3):
            meadow.nodes[bus_id].subscribe("jobs.*", "workers")
        meadow.settle()
        return meadow

    def test_by_number_of_members(self) -> None:
        """Each member gets as many as any other, wherever it is."""
        meadow = self.star()
        for _ in range(2000):
            meadow.nodes[4].publish("jobs.a")
        meadow.settle()
        served = self.served(meadow)
        self.assertEqual(sum(served.values()), 2000)
        self.assertTrue(400 < served[2] < 600, served)

    def test_local(self) -> None:
        """With preference for local members no link is crossed while there is one here."""
        meadow = self.star()
        meadow.nodes[2].distributor.preference = Preference.LOCAL
        for _ in range(100):
            meadow.nodes[2].publish("jobs.a")
        meadow.settle()
        self.assertEqual(self.served(meadow), {2: 100})

    def test_nearest(self) -> None:
        """With preference for the zone, members there get everything while there are any."""
        meadow = self.star()
        root = meadow.nodes[1].distributor
        root.preference = Preference.NEAREST
        for _ in range(100):
            meadow.nodes[1].publish("jobs.a")
        meadow.settle()
        self.assertEqual(self.served(meadow), {2: 100})
        meadow.nodes[2].unsubscribe("jobs.*", "workers")
        meadow.settle()
        meadow.nodes[1].publish("jobs.a")
        meadow.settle()
        self.assertEqual(self.served(meadow), {2: 100, 3: 1})

    def test_overlapping_subjects_are_one_group(self) -> None:
        """Members that want a subject by different patterns are of one group, and all count."""
        meadow = self.star()
        for _ in range(2):
            meadow.nodes[2].subscribe("jobs.>", "workers")
        meadow.settle()
        for _ in range(1000):
            meadow.nodes[4].publish("jobs.a")
        meadow.settle()
        served = self.served(meadow)
        self.assertEqual(sum(served.values()), 1000)
        self.assertTrue(430 < served[2] < 570, served)

    def test_groups_are_independent(self) -> None:
        """Each group gets a copy of its own, and plain subscribers theirs."""
        meadow = self.star()
        meadow.nodes[3].subscribe("jobs.*", "auditors")
        meadow.nodes[3].subscribe("jobs.*")
        meadow.settle()
        what = meadow.nodes[2].publish("jobs.a")
        meadow.settle()
        everything = [*meadow.nodes[2].queued, *meadow.nodes[3].queued]
        self.assertEqual(sorted(queue for *_, queue in everything), ["auditors", "workers"])
        self.assertEqual(meadow.nodes[3].plain, [what])

    def test_handed_back_once(self) -> None:
        """A branch whose member has just left hands the message back, and another one gets it."""
        meadow = self.star()
        for _ in range(3):
            meadow.nodes[3].interests.unsubscribe("jobs.*", "workers")
        sent = [meadow.nodes[4].publish("jobs.a") for _ in range(50)]
        meadow.settle()
        self.assertEqual(sorted(meadow.nodes[2].queued), [(*one, "workers") for one in sent])

    def test_given_up_when_there_is_nobody(self) -> None:
        """What finds nobody the second time either is given up by name, and does not circle."""
        meadow = self.star()
        for bus_id in (2, 3, 3, 3):
            meadow.nodes[bus_id].interests.unsubscribe("jobs.*", "workers")
        what = meadow.nodes[4].publish("jobs.a")
        meadow.settle()
        lost = [one for node in meadow.nodes.values() for one in node.unserved]
        self.assertEqual(lost, [(*what, "workers")])
        self.assertLess(len(letters(meadow)), 8)


class DecisionTests(SynchronousTestCase):
    def test_nobody(self) -> None:
        """What nobody wants goes nowhere."""
        decision = Distributor(Interests(), random.Random(0).randrange).distribute(
            Incoming(subject=("a",))
        )
        self.assertTrue(decision.nobody)

    def test_who_may_not_have_it(self) -> None:
        """It is no branch: its group's message goes to another member, and it is counted."""
        interests = Interests()
        entries = (InterestEntry(subject=">"), InterestEntry(subject=">", queue="q", weight=1))
        for bus_id in (5, 6):
            interests.open(bus_id, Side.BELOW)
            interests.heard(bus_id, Interest(generation=1, replay=True, last=True, entries=entries))
        distributor = Distributor(interests, random.Random(0).randrange)
        distributor.may_have = lambda place, subject: place == 6 and subject == ("a",)
        for _ in range(20):
            decision = distributor.distribute(Incoming(subject=("a",)))
            self.assertEqual(decision.branches, (Branch(neighbor=6, queues=("q",)),))
            self.assertEqual(decision.barred, 1)
        decision = distributor.distribute(Incoming(subject=("b",)))
        self.assertTrue(decision.nobody)
        self.assertEqual((decision.barred, decision.unserved), (2, ("q",)))

    def test_plain_subscribers_that_have_it(self) -> None:
        """A branch that was served by somebody else gets the group's message, and says so."""
        interests = Interests()
        interests.open(5, Side.BELOW)
        entries = (
            InterestEntry(subject="a"),
            InterestEntry(subject="a", queue="q", weight=2),
        )
        interests.heard(5, Interest(generation=1, replay=True, last=True, entries=entries))
        distributor = Distributor(interests, random.Random(0).randrange)
        incoming = Incoming(subject=("a",), came_from=6, queues=("q",), served=(5,))
        interests.open(6, Side.ABOVE)
        self.assertEqual(
            distributor.distribute(incoming).branches,
            (Branch(neighbor=5, queues=("q",), served=(5,)[:0], queues_only=True),),
        )


class ClusterTests(SynchronousTestCase):
    """Servers of one cluster serve each other."""

    CLUSTER = 1 << 63 | 7

    def distributor(self, *entries: InterestEntry) -> Distributor:
        """Start a node below 1, with two servers of one cluster and another server below it."""
        interests = Interests()
        interests.open(1, Side.ABOVE)
        for place, cluster in ((5, self.CLUSTER), (6, self.CLUSTER), (7, 0)):
            interests.open(place, Side.BELOW, cluster)
            message = Interest(generation=1, replay=True, last=True, entries=entries)
            interests.heard(place, message)
        return Distributor(interests, random.Random(0).randrange)

    def test_plain_subscribers(self) -> None:
        """What one server has sent gets to no other one of its cluster, also from elsewhere."""
        groups = ((), (InterestEntry(subject="a", queue="q", weight=1),))
        for came_from, further in itertools.product((5, 1), groups):
            distributor = self.distributor(InterestEntry(subject="a"), *further)
            incoming = Incoming(subject=("a",), came_from=came_from, served=(self.CLUSTER,))
            self.assertEqual(
                [branch.neighbor for branch in distributor.distribute(incoming).branches], [7]
            )
            for branch in distributor.distribute(incoming).branches:
                self.assertEqual(branch.served, (self.CLUSTER,))

    def test_everybody_else(self) -> None:
        """What comes from others gets to each server."""
        distributor = self.distributor(InterestEntry(subject="a"))
        for came_from, places in ((1, [5, 6, 7]), (7, [5, 6])):
            found = distributor.distribute(Incoming(subject=("a",), came_from=came_from))
            self.assertEqual([branch.neighbor for branch in found.branches], places)

    def test_groups(self) -> None:
        """A group is served elsewhere, if there is any member."""
        distributor = self.distributor(InterestEntry(subject="a", queue="q", weight=1))
        incoming = Incoming(
            subject=("a",), came_from=1, queues=("q",), served=(self.CLUSTER,), queues_only=True
        )
        for _ in range(20):
            [branch] = distributor.distribute(incoming).branches
            self.assertEqual((branch.neighbor, branch.queues), (7, ("q",)))
        distributor._interests.close(7)
        [branch] = distributor.distribute(incoming).branches
        self.assertIn(branch.neighbor, (5, 6))
        self.assertEqual((branch.queues, branch.queues_only), (("q",), True))

    def test_one_that_has_left(self) -> None:
        """A cluster that is gone is forgotten; its place belongs to nobody's."""
        distributor = self.distributor(InterestEntry(subject="a"))
        interests = distributor._interests
        for place in (5, 6):
            interests.close(place)
            self.assertNotIn(place, interests.clusters.among((self.CLUSTER,)))
        self.assertEqual(interests.clusters.beside(self.CLUSTER, 5), (5,))


class RememberedTests(SynchronousTestCase):
    """What is known of where plain subscribers are."""

    def test_it_is_bounded(self) -> None:
        """However many subjects there are, not more than so many are remembered."""
        distributor = Distributor(Interests(), lambda _: 0)
        for number in range(3 * limits.MATCHES_REMEMBERED_MAX):
            distributor.distribute(Incoming(subject=("a", str(number))))
            self.assertLessEqual(
                len(distributor._plain_places), limits.MATCHES_REMEMBERED_MAX + 1
            )


class SimulationTests(SynchronousTestCase):
    """Random trees with peers, subscribers that come and go, links that are cut and healed."""

    seeds = range(60)

    def test_against_a_model(self) -> None:
        """Everybody whom a way leads to gets each publication once, each group one copy."""
        for seed in self.seeds:
            with self.subTest(seed=seed):
                self.run_one(seed)

    def run_one(self, seed: int) -> None:
        """Build a bus, disturb it, and compare what arrives in quiet times with the model."""
        meadow = Meadow(seed)
        count = meadow.random.randrange(2, 14)
        for bus_id in range(1, count + 1):
            meadow.add(bus_id, meadow.random.randrange(1, bus_id) if bus_id > 1 else None)
        for _ in range(meadow.random.randrange(0, 4)):
            left, right = meadow.random.sample(range(1, count + 1), 2)
            if not meadow.is_linked(left, right) and not self.is_in_line(meadow, left, right):
                meadow.peer(left, right)
        wanted: dict[tuple[int, str, str], int] = {}
        for _ in range(6):
            self.disturb(meadow, wanted)
            meadow.settle()
            self.check_tables(meadow)
            for _ in range(5):
                self.check_publication(meadow, wanted)

    @staticmethod
    def is_in_line(meadow: Meadow, left: int, right: int) -> bool:
        """Tell whether one of two nodes is above the other."""
        return right in meadow._below(left) or left in meadow._below(right)

    def disturb(self, meadow: Meadow, wanted: dict[tuple[int, str, str], int]) -> None:
        """Subscribe, unsubscribe, cut and heal, with messages under way."""
        draw = meadow.random
        for _ in range(15):
            bus_id = draw.choice(list(meadow.nodes))
            pattern, queue = (
                draw.choice(["a", "a.*", "a.>", ">", "*.b"]),
                draw.choice(["", "", "q"]),
            )
            key = (bus_id, pattern, queue)
            if wanted.get(key) and draw.random() < 0.5:
                meadow.nodes[bus_id].unsubscribe(pattern, queue)
                wanted[key] -= 1
            else:
                meadow.nodes[bus_id].subscribe(pattern, queue)
                wanted[key] = wanted.get(key, 0) + 1
            if draw.random() < 0.3:
                self.cut_or_heal(meadow)
            if draw.random() < 0.3:
                meadow.settle()

    @staticmethod
    def cut_or_heal(meadow: Meadow) -> None:
        """Change one link of the tree or between peers."""
        pairs = [(a, b, Side.ABOVE) for a, b in meadow.upstream.items()]
        pairs += [(min(pair), max(pair), Side.BESIDE) for pair in meadow.peers]
        left, right, side = meadow.random.choice(sorted(pairs, key=str))
        if meadow.is_linked(left, right):
            meadow.cut(left, right)
        else:
            meadow.link(left, right, side)

    def check_tables(self, meadow: Meadow) -> None:
        """What each node heard from a neighbor is what that one told."""
        for node in meadow.nodes.values():
            for neighbor in node.interests.neighbors:
                told = meadow.nodes[neighbor].interests.told_digest(node.bus_id)
                self.assertEqual(node.interests.digest_of(neighbor), told)

    def check_publication(self, meadow: Meadow, wanted: dict[tuple[int, str, str], int]) -> None:
        """Publish once and look at every diary."""
        draw = meadow.random
        publisher = draw.choice(list(meadow.nodes))
        subject = draw.choice(["a", "a.b", "c.b", "c"])
        meadow.crossings.clear()
        what = meadow.nodes[publisher].publish(subject)
        meadow.settle()
        reach = meadow.reach(publisher)
        interested = [
            (bus_id, queue)
            for (bus_id, pattern, queue), count in wanted.items()
            if count and bus_id in reach and _wants(pattern, subject)
        ]
        plain = {bus_id for bus_id, queue in interested if not queue}
        for node in meadow.nodes.values():
            self.assertEqual(node.plain.count(what), int(node.bus_id in plain), node.bus_id)
        got = [node for node in meadow.nodes.values() if (*what, "q") in node.queued]
        members = {bus_id for bus_id, queue in interested if queue}
        self.assertEqual(len(got), bool(members))
        self.assertTrue(_all_in(got, members))
        # Over each link once, in one of the two directions.
        crossed = Counter(frozenset(ends) for ends in letters(meadow))
        self.assertEqual(set(crossed.values()) - {1}, set())


def _wants(pattern: str, subject: str) -> bool:
    tokens = subject.split(".")
    return {
        "a": tokens == ["a"],
        "a.*": tokens[0] == "a" and len(tokens) == 2,
        "a.>": tokens[0] == "a" and len(tokens) > 1,
        ">": True,
        "*.b": len(tokens) == 2 and tokens[1] == "b",
    }[pattern]


def _all_in(nodes: list[MeadowNode], members: set[int]) -> bool:
    return all(node.bus_id in members for node in nodes)
