"""Zones: how many members of a group are in each, and which of them are told."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import MalformedFrame
from atbus.subjects import bounds
from atbus.subjects.cost import cost_of
from atbus.subjects.distribution import Preference
from atbus.subjects.interest import Interests, Side, Taker, Wanted
from atbus.subjects.zones import Part
from atbus.wire.extras import read_zone, zone_extra
from atbus.wire.messages import Extra, ExtraType, Interest, InterestEntry
from tests.subjects.meadow import Letter, Meadow, MeadowNode

WORKERS = Wanted("jobs", "workers")


def told(news: Iterable[tuple[int, Interest]]) -> list[tuple[int, str, int]]:
    """Write what is told of groups in short: to whom, which zone, how many."""
    return [
        (bus_id, read_zone(message.extras), entry.weight)
        for bus_id, message in news
        for entry in message.entries
    ]


def hear(
    interests: Interests, bus_id: int, weight: int, zone: str = "", queue: str = "workers"
) -> int:
    """Have a neighbor tell of a group."""
    entry = InterestEntry(subject="jobs", queue=queue, weight=weight)
    extras = (zone_extra(zone),) if zone else ()
    return interests.heard(bus_id, Interest(entries=(entry,), extras=extras))


class TellingTests(SynchronousTestCase):
    """What neighbors are told of zones."""

    def test_a_group_and_its_zones(self) -> None:
        """A group is told as a whole and zone by zone, each with its number of members."""
        interests = Interests(zone="x")
        for bus_id, side in ((5, Side.ABOVE), (6, Side.BELOW), (7, Side.BELOW)):
            interests.open(bus_id, side, zone=None)
        interests.subscribe(*WORKERS)
        interests.subscribe("jobs")
        hear(interests, 6, 3)
        hear(interests, 6, 2, "y")
        news = [each for each in interests.changes() if each[0] == 5]
        self.assertEqual(told(news), [(5, "", 4), (5, "", 1), (5, "x", 1), (5, "y", 2)])
        interests.unsubscribe(*WORKERS)
        hear(interests, 6, 0, "y")
        news = [each for each in interests.changes() if each[0] == 7]
        self.assertEqual(told(news), [(7, "", 3), (7, "x", 0), (7, "y", 0)])
        self.assertEqual(interests.weight(Taker(6, WORKERS)), 3)

    def test_without_zones_nothing_is_another(self) -> None:
        """A node in no zone, among others in none, tells what it told before there were any."""
        for zone in (None, ""):
            interests = Interests()
            interests.open(5, Side.ABOVE, zone=zone)
            interests.subscribe(*WORKERS)
            [(_, message)] = interests.changes()
            self.assertEqual(message.extras, ())
            self.assertEqual(interests.replay(5)[0].entries, message.entries)

    def test_who_knows_of_no_zones(self) -> None:
        """It is told the whole only; its members are in its zone, until it is gone."""
        interests = Interests(zone="x")
        interests.open(5, Side.ABOVE, zone="")
        interests.open(6, Side.BELOW, zone="y")
        interests.open(7, Side.BELOW, zone=None)
        interests.subscribe(*WORKERS)
        hear(interests, 6, 2)
        self.assertEqual(
            sorted(told(interests.changes())),
            [(5, "", 3), (6, "", 1), (7, "", 3), (7, "x", 1), (7, "y", 2)],
        )
        self.assertEqual(hear(interests, 6, 9, "z"), 1, "it was not agreed that it tells that")
        interests.close(6)
        self.assertEqual(told(interests.changes()), [(5, "", 1), (7, "", 1), (7, "y", 0)])

    def test_replay(self) -> None:
        """The whole comes first, all of one zone in one message; what is not repeated is gone."""
        interests, other = Interests(zone="x"), Interests()
        other.open(1, Side.BELOW, zone=None)
        interests.open(5, Side.ABOVE, zone=None)
        for queue in ("a", "b"):
            interests.subscribe("jobs", queue)
        messages = interests.replay(5)
        self.assertEqual([read_zone(each.extras) for each in messages], ["", "x"])
        self.assertEqual([each.last for each in messages], [False, True])
        for message in messages:
            self.assertEqual(other.heard(1, message), 0)
        self.assertEqual(len(other.wanted_by(1)), 4)
        self.assertFalse(interests.heard_digest(5, other.digest_of(1)))
        interests.unsubscribe("jobs", "b")
        for message in interests.replay(5):
            other.heard(1, message)
        self.assertEqual(set(other.wanted_by(1)), {Wanted("jobs", "a"), Part("jobs", "a", "x")})

    def test_sizes_may_wait(self) -> None:
        """That a zone has more or fewer members, but some, is told later, as of the whole."""
        interests = Interests(zone="x")
        interests.open(5, Side.ABOVE, zone=None)
        interests.subscribe(*WORKERS)
        interests.changes(sizes=False)
        interests.subscribe(*WORKERS)
        self.assertEqual(interests.changes(sizes=False), [])
        self.assertEqual(told(interests.changes()), [(5, "", 2), (5, "x", 2)])

    def test_so_many_zones(self) -> None:
        """Of more zones the first are told; when one of them has no member the next one is."""
        most = bounds.ZONES_TOLD_MAX
        interests = Interests()
        interests.open(5, Side.ABOVE, zone=None)
        interests.open(6, Side.BELOW, zone=None)
        hear(interests, 6, most + 2)
        for number in range(most + 2):
            hear(interests, 6, 1, f"z{number}")
        zones = {zone for _, zone, _ in told(interests.changes())}
        self.assertEqual(zones, {"", *(f"z{number}" for number in range(most))})
        hear(interests, 6, 0, f"z{most + 1}")
        self.assertEqual(interests.changes(), [])
        hear(interests, 6, 0, "z3")
        self.assertEqual(told(interests.changes()), [(5, "z3", 0), (5, f"z{most}", 1)])
        hear(interests, 6, 1, "z3")
        self.assertEqual(interests.changes(), [])

    def test_the_memory_for_zones(self) -> None:
        """Nothing of zones is kept beyond a part of the memory, and who is wanted has the rest."""
        interests = Interests(bytes_max=10 * cost_of("jobs", "workers", "z"))
        interests.open(5, Side.BELOW, zone=None)
        kept = [hear(interests, 5, 1, "z", f"worker{number}") == 0 for number in range(10)]
        self.assertEqual(sum(kept), int(10 * bounds.ZONES_SHARE_MAX))
        self.assertFalse(interests.names_full(5), "nobody misses anything")
        self.assertEqual(interests.with_room(), [])
        kept = [hear(interests, 5, 1, queue=f"worker{number}") == 0 for number in range(10)]
        self.assertGreaterEqual(sum(kept), 5)

    def test_the_memory_for_who_knows_of_no_zones(self) -> None:
        """What is counted in its zone costs its memory as well, and is given back."""
        group = "jobs", "number0"
        interests = Interests(bytes_max=3 * (cost_of(*group) + cost_of(*group, "z")))
        interests.open(5, Side.BELOW, zone="z")
        for _ in range(2):
            kept = [hear(interests, 5, 1, queue=f"number{number}") == 0 for number in "0123"]
            self.assertEqual(kept, [True] * 3 + [False])
            for number in "0123":
                hear(interests, 5, 0, queue=f"number{number}")

    def test_what_they_cost(self) -> None:
        """What is reckoned for a zone of a group is no less than what it takes."""
        names: dict[str, Callable[[int], tuple[str, str]]] = {
            "one group": lambda n: ("workers", f"z{n}"),
            "one zone": lambda n: (f"{n}", "z"),
            "long": lambda n: (f"{n:0255}", "z" * 255),
            "wide": lambda n: (f"{chr(0x10400 + n % 50) * 60}{n}", chr(0x10400) * 120),
        }
        for name, choose in names.items():
            interests = Interests()
            interests.open(5, Side.BELOW, zone=None)
            tracemalloc.start()
            for number in range(2_000):
                queue, zone = choose(number)
                hear(interests, 5, 1, zone, queue)
            taken, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            reckoned = sum(cost_of(*row) for row in interests.wanted_by(5))
            self.assertTrue(taken < 1.1 * reckoned, (name, taken, reckoned))

    def test_who_is_shut_out(self) -> None:
        """Of a neighbor whose groups are not honoured no zone counts, and again when they are."""
        interests = Interests()
        interests.open(5, Side.BELOW, zone=None)
        interests.open(6, Side.ABOVE, zone=None)
        hear(interests, 5, 2)
        hear(interests, 5, 2, "x")
        interests.changes()
        interests.honour(5, plain=True, groups=False)
        self.assertEqual(told(interests.changes()), [(6, "", 0), (6, "x", 0)])
        interests.honour(5, plain=True, groups=True)
        self.assertEqual(told(interests.changes()), [(6, "", 2), (6, "x", 2)])
        interests.move(5, Side.BESIDE)
        self.assertEqual(told(interests.changes()), [(6, "", 0), (6, "x", 0)])


class HostileTests(SynchronousTestCase):
    """Neighbors that tell nonsense."""

    def test_what_is_no_group(self) -> None:
        """Plain interest, and what is no pattern, is in no zone."""
        interests = Interests()
        interests.open(5, Side.BELOW, zone=None)
        self.assertEqual(hear(interests, 5, 1, "x", queue=""), 1)
        self.assertEqual(hear(interests, 5, 1, "x", queue="a b"), 1)
        self.assertEqual((len(interests), interests.digest_of(5)), (0, 0))

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"x", b"y", b"", b"\xff", None]),
                st.sampled_from(["", "q", "r", "a b"]),
                st.integers(0, 2),
                st.integers(0, 2),
                st.booleans(),
            ),
            max_size=30,
        )
    )
    def test_anything(self, said: list[tuple[bytes | None, str, int, int, bool]]) -> None:
        """Whatever is told, each row is known or not, and what is told on agrees with that."""
        interests, above = Interests(zone="x"), Interests()
        interests.open(5, Side.BELOW, zone=None)
        above.open(1, Side.BELOW, zone=None)
        for message in interests.open(6, Side.ABOVE, zone=None):
            above.heard(1, message)
        for zone, queue, weight, generation, last in said:
            extras = () if zone is None else (Extra(ExtraType.ZONE, zone),)
            entries = (InterestEntry(subject="jobs", queue=queue, weight=weight),)
            message = Interest(generation=generation, replay=generation > 0, last=last)
            try:
                interests.heard(5, attrs.evolve(message, entries=entries, extras=extras))
            except MalformedFrame:
                self.assertIn(zone, (b"", b"\xff"))
        for bus_id, message in interests.changes():
            if bus_id == 6:
                self.assertEqual(above.heard(1, message), 0)
        heard = interests.wanted_by(5).items()
        self.assertEqual(above.wanted_by(1), {row: n if row.queue else 1 for row, n in heard})
        self.assertFalse(interests.heard_digest(6, above.digest_of(1)))
        interests.close(5)
        self.assertEqual(len(interests), 0)


class ChoosingTests(SynchronousTestCase):
    """Which member is chosen."""

    def tree(self, **zones: str | None) -> Meadow:
        """Make a root, 1, two nodes below it, and two leaves below each; all prefer the near."""
        meadow = Meadow()
        for bus_id, above in ((1, None), (2, 1), (3, 1), (21, 2), (22, 2), (31, 3), (32, 3)):
            node = meadow.add(bus_id, above, zones.get(f"n{bus_id}", ""))
            node.distributor.preference = Preference.NEAREST
        return meadow

    def join(self, meadow: Meadow, *bus_ids: int) -> None:
        """Let a member join at each of some nodes."""
        for bus_id in bus_ids:
            meadow.nodes[bus_id].subscribe(*WORKERS)
        meadow.settle()

    def shares(self, meadow: Meadow, publisher: int, count: int) -> dict[int, int]:
        """Publish, and say how many each node has got; each just one of them, and none is lost."""
        for node in meadow.nodes.values():
            node.queued.clear()
        sent = [meadow.nodes[publisher].publish("jobs") for _ in range(count)]
        meadow.settle()
        nodes = meadow.nodes.values()
        self.assertEqual(sorted(each[:2] for node in nodes for each in node.queued), sent)
        return {node.bus_id: len(node.queued) for node in nodes if node.queued}

    def test_far_away(self) -> None:
        """A member in the zone four hops away gets everything, though others are on the way."""
        meadow = self.tree(n21="x", n22="y", n31="x", n32="y")
        self.join(meadow, 2, 22, 1, 31, 32, 32)
        self.assertEqual(self.shares(meadow, 21, 100), {31: 100})
        meadow.nodes[31].unsubscribe(*WORKERS)
        meadow.settle()
        self.assertEqual(set(self.shares(meadow, 21, 200)), {1, 2, 22, 32})

    def test_by_number_in_the_zone(self) -> None:
        """Members of the zone have as many each, wherever they are: one here has all."""
        meadow = self.tree(n21="x", n1="x", n22="y", n31="x", n32="y")
        self.join(meadow, 1, 31, 31, 31, 22, 32)
        shares = self.shares(meadow, 21, 2000)
        self.assertEqual(set(shares), {1, 31})
        self.assertTrue(400 < shares[1] < 600, shares)
        self.join(meadow, 21)
        self.assertEqual(self.shares(meadow, 21, 10), {21: 10})

    def test_by_number_elsewhere(self) -> None:
        """With nobody in the zone all have as many each, whoever is nearer to nodes on the way."""
        meadow = self.tree(n21="x", n1="y", n31="z")
        self.join(meadow, 1, 31, 31, 31)
        shares = self.shares(meadow, 21, 2000)
        self.assertTrue(400 < shares[1] < 600, shares)

    def test_a_member_of_the_zone_has_just_left(self) -> None:
        """What is handed back goes to another member in the zone, or elsewhere if none is left."""
        meadow = self.tree(n21="x", n22="x", n31="x", n32="y")
        self.join(meadow, 22, 31, 1)
        meadow.nodes[31].interests.unsubscribe(*WORKERS)
        self.assertEqual(self.shares(meadow, 21, 50), {22: 50})
        meadow.nodes[31].flush()
        meadow.settle()
        meadow.nodes[22].interests.unsubscribe(*WORKERS)
        self.assertEqual(self.shares(meadow, 21, 50), {1: 50})

    def test_a_sibling_is_counted_once(self) -> None:
        """What the upstream tells of the zone at a sibling is told by that one as well."""
        meadow = Meadow()
        for bus_id, above in ((1, None), (2, 1), (3, 1)):
            meadow.add(bus_id, above, "x")
        meadow.peer(2, 3)
        meadow.nodes[2].distributor.preference = Preference.NEAREST
        self.join(meadow, 1, 3)
        shares = self.shares(meadow, 2, 1000)
        self.assertTrue(430 < shares[1] < 570, shares)

    def test_an_earlier_release_on_the_way(self) -> None:
        """Behind a node that knows of no zones each has his share, and nothing is lost."""
        meadow = self.tree(n21="x", n22="y", n31="x", n32="y", n1=None)
        self.join(meadow, 31, 32)
        self.assertEqual(set(self.shares(meadow, 21, 100)), {31, 32})
        self.join(meadow, 22)
        self.assertEqual(set(self.shares(meadow, 21, 100)), {22, 31, 32})
        self.assertEqual(set(self.shares(meadow, 31, 10)), {31})

    def test_who_does_not_care(self) -> None:
        """What a node without the preference publishes goes to all, if no other one has it."""
        meadow = self.tree(n21="x", n22="x", n31="y")
        for node in meadow.nodes.values():
            node.distributor.preference = Preference.UNIFORM
        self.join(meadow, 22, 31)
        shares = self.shares(meadow, 21, 400)
        self.assertTrue(140 < shares[31] < 260, shares)
        branches = [each.branch for _, _, each in meadow.crossings if isinstance(each, Letter)]
        self.assertEqual({branch.zone for branch in branches}, {""})


class SimulationTests(SynchronousTestCase):
    """Random trees with peers, zones and members."""

    def test_against_a_model(self) -> None:
        """Who publishes reaches a member here, else one in its zone, else any: just one."""
        for seed in range(40):
            lots = random.Random(seed)
            meadow = self.plant(lots, [""] * 2 + ["x", "y", "z"])
            for _ in range(4):
                for node in lots.sample(list(meadow.nodes.values()), 4):
                    self.change(lots, node)
                meadow.settle()
                self.check(meadow, f"seed {seed}")

    def test_with_earlier_releases(self) -> None:
        """Where some nodes know of no zones everything comes to just one member all the same."""
        for seed in range(20):
            lots = random.Random(seed)
            meadow = self.plant(lots, ["", "x", "y", None])
            for node in meadow.nodes.values():
                self.change(lots, node)
            meadow.settle()
            self.check(meadow, f"seed {seed}", are_new=False)

    def plant(self, lots: random.Random, zones: Sequence[str | None]) -> Meadow:
        """Make a tree of nodes, with some links between peers."""
        meadow = Meadow(lots.getrandbits(32))
        meadow.add(1, zone=lots.choice(zones)).distributor.preference = Preference.NEAREST
        for bus_id in range(2, 12):
            node = meadow.add(bus_id, lots.randrange(1, bus_id), lots.choice(zones))
            node.distributor.preference = lots.choice([Preference.NEAREST, Preference.UNIFORM])
        siblings = [
            (one, other)
            for one, above in meadow.upstream.items()
            for other, beside in meadow.upstream.items()
            if one < other and above == beside
        ]
        for one, other in lots.sample(siblings, min(2, len(siblings))):
            meadow.peer(one, other)
        return meadow

    def change(self, lots: random.Random, node: MeadowNode) -> None:
        """Let somebody join at a node, or leave."""
        count = node.interests.weight(Taker(0, WORKERS))
        if count and lots.random() < 0.5:
            node.unsubscribe(*WORKERS)
        else:
            node.subscribe(*WORKERS)

    def check(self, meadow: Meadow, story: str, *, are_new: bool = True) -> None:
        """Publish everywhere, and look who gets it and what is known of zones."""
        members = {
            node.bus_id: node.interests.weight(Taker(0, WORKERS)) for node in meadow.nodes.values()
        }
        homes = {bus_id for bus_id, count in members.items() if count}
        for node in meadow.nodes.values():
            for neighbor in node.interests.neighbors:
                other = meadow.nodes[neighbor].interests
                digest = other.told_digest(node.bus_id)
                self.assertEqual(node.interests.digest_of(neighbor), digest, story)
            for each in meadow.nodes.values():
                each.queued.clear()
            node.publish("jobs")
            meadow.settle()
            served = Counter(each.bus_id for each in meadow.nodes.values() for _ in each.queued)
            wanted = homes & meadow.reach(node.bus_id)
            self.assertEqual(served.total(), min(1, len(wanted)), story)
            if are_new and node.distributor.preference is Preference.NEAREST:
                near = {each for each in wanted if meadow.nodes[each].zone == node.zone != ""}
                best = wanted & {node.bus_id} or near or wanted
                self.assertTrue(set(served) <= best, f"{story}: {node.bus_id} {served} {best}")
