"""Interest: what is counted, what is told, what is forgotten."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import SubjectError
from atbus.subjects import bounds
from atbus.subjects.cost import cost_of
from atbus.subjects.interest import HERE, Interests, Side, Taker, Wanted
from atbus.wire import codec
from atbus.wire.messages import Interest, InterestEntry
from tests.subjects.meadow import Meadow


def told(news: Iterable[tuple[int, Interest]]) -> list[tuple[int, str, str, int]]:
    """Write what is told in short."""
    return [
        (bus_id, entry.subject, entry.queue, entry.weight)
        for bus_id, message in news
        for entry in message.entries
    ]


def hear(interests: Interests, bus_id: int, *entries: tuple[str, str, int]) -> int:
    """Have a neighbor tell something."""
    return interests.heard(
        bus_id,
        Interest(entries=tuple(InterestEntry(subject=s, queue=q, weight=w) for s, q, w in entries)),
    )


class TellingTests(SynchronousTestCase):
    def test_plain_interest_is_there_or_not(self) -> None:
        """The first subscriber of a pattern is told, the second is not; so with the last ones."""
        interests = Interests()
        interests.open(5, Side.ABOVE)
        interests.subscribe("a.*")
        self.assertEqual(told(interests.changes()), [(5, "a.*", "", 1)])
        interests.subscribe("a.*")
        self.assertEqual(interests.changes(), [])
        interests.open(6, Side.BELOW)
        hear(interests, 6, ("a.*", "", 1))
        self.assertEqual(interests.changes(), [])
        hear(interests, 6, ("a.*", "", 0))
        interests.unsubscribe("a.*")
        self.assertEqual(interests.changes(), [])
        interests.unsubscribe("a.*")
        self.assertEqual(told(interests.changes()), [(5, "a.*", "", 0), (6, "a.*", "", 0)])
        self.assertEqual(len(interests), 0)

    def test_members_of_a_group_are_counted(self) -> None:
        """Every change of the number of members is told, once for all of one turn."""
        interests = Interests()
        interests.open(5, Side.ABOVE)
        for _ in range(3):
            interests.subscribe("a", "q")
        self.assertEqual(told(interests.changes()), [(5, "a", "q", 3)])

    def test_more_members_than_can_be_told(self) -> None:
        """Of a group that is larger than the field on the wire the largest number is told."""
        interests = Interests()
        interests.open(7, Side.ABOVE)
        for neighbor in (5, 6):
            interests.open(neighbor, Side.BELOW)
            hear(interests, neighbor, ("a", "q", limits.INTEREST_WEIGHT_MAX))
        told_above = [each for each in told(interests.changes()) if each[0] == 7]
        self.assertEqual(told_above, [(7, "a", "q", limits.INTEREST_WEIGHT_MAX)])

    def test_sizes_may_wait(self) -> None:
        """Whether a group has members is told at once, how many when sizes are asked for."""
        interests = Interests()
        interests.open(5, Side.ABOVE)
        interests.subscribe("a", "q")
        self.assertEqual(told(interests.changes(sizes=False)), [(5, "a", "q", 1)])
        interests.subscribe("a", "q")
        self.assertEqual(interests.changes(sizes=False), [])
        self.assertTrue(interests.has_resized)
        digest = interests.told_digest(5)
        self.assertEqual(told(interests.changes()), [(5, "a", "q", 2)])
        self.assertNotEqual(interests.told_digest(5), digest)
        self.assertFalse(interests.has_resized)
        interests.unsubscribe("a", "q")
        self.assertEqual(interests.changes(sizes=False), [])
        interests.unsubscribe("a", "q")
        self.assertEqual(told(interests.changes(sizes=False)), [(5, "a", "q", 0)])
        self.assertEqual(interests.changes(), [])

    def test_what_cancels_out_is_not_told(self) -> None:
        """Who comes and leaves within a turn makes no noise."""
        interests = Interests()
        interests.open(5, Side.ABOVE)
        interests.subscribe("a")
        interests.unsubscribe("a")
        self.assertEqual(interests.changes(), [])

    def test_to_whom(self) -> None:
        """From below it is told to everybody else, from above and beside only downwards."""
        sides = {1: Side.ABOVE, 2: Side.BESIDE, 3: Side.BESIDE, 4: Side.BELOW, 5: Side.BELOW}
        for teller, others in ((4, {1, 2, 3, 5}), (1, {4, 5}), (2, {4, 5})):
            interests = Interests()
            for bus_id, side in sides.items():
                interests.open(bus_id, side)
            hear(interests, teller, ("a", "", 1), ("b", "q", 2))
            news = told(interests.changes())
            self.assertEqual({bus_id for bus_id, *_ in news}, others)
            self.assertEqual(len(news), 2 * len(others))

    def test_nothing_comes_back(self) -> None:
        """Nobody is told what is known from it alone; what others want as well is."""
        interests = Interests()
        for bus_id in (4, 5):
            interests.open(bus_id, Side.BELOW)
        hear(interests, 4, ("a", "q", 2))
        interests.changes()
        hear(interests, 5, ("a", "q", 3))
        self.assertEqual(told(interests.changes()), [(4, "a", "q", 3)])
        interests.subscribe("a", "q")
        self.assertEqual(told(interests.changes()), [(4, "a", "q", 4), (5, "a", "q", 3)])

    def test_servers_of_one_cluster(self) -> None:
        """None is told what only others of its cluster want, for they tell each other."""
        interests = Interests()
        for place, cluster in ((4, 9), (5, 9), (6, 8), (7, 0), (8, 0)):
            interests.open(place, Side.BELOW, cluster)
        hear(interests, 4, ("a", "", 1), ("a", "q", 2))
        news = told(interests.changes())
        self.assertEqual({bus_id for bus_id, *_ in news}, {6, 7, 8})
        hear(interests, 7, ("a", "", 1), ("a", "q", 3))
        news = [each for each in told(interests.changes()) if each[0] in (4, 5)]
        self.assertEqual(
            sorted(news), [(4, "a", "", 1), (4, "a", "q", 3), (5, "a", "", 1), (5, "a", "q", 3)]
        )
        [everything] = interests.open(10, Side.BELOW, 9)
        self.assertEqual(
            {(entry.queue, entry.weight) for entry in everything.entries}, {("", 1), ("q", 3)}
        )
        interests.close(4)
        news = [each for each in told(interests.changes()) if each[0] in (5, 10)]
        self.assertEqual(news, [])

    def test_subscribing_to_what_is_none(self) -> None:
        """A fault is told to whoever subscribes, and changes nothing."""
        interests = Interests()
        self.assertRaises(SubjectError, interests.subscribe, "a..b")
        self.assertRaises(SubjectError, interests.subscribe, "a", "two words")
        self.assertEqual(len(interests), 0)


class ReplayTests(SynchronousTestCase):
    def test_everything_at_the_beginning(self) -> None:
        """A new neighbor is told everything; also when there is nothing, so that it knows."""
        interests = Interests()
        [nothing] = interests.open(5, Side.BELOW)
        self.assertEqual((nothing.generation, nothing.replay, nothing.last), (1, True, True))
        interests.subscribe("a")
        hear(interests, 5, ("b", "", 1))
        [everything] = interests.open(6, Side.BELOW)
        self.assertEqual([entry.subject for entry in everything.entries], ["a", "b"])
        self.assertEqual(told(interests.changes()), [(5, "a", "", 1)])

    def test_what_is_not_repeated_is_gone(self) -> None:
        """A replay leaves no ghosts: what it does not say is withdrawn, when it is complete."""
        interests = Interests()
        interests.open(5, Side.BELOW)
        hear(interests, 5, ("a", "", 1), ("b", "", 1), ("c", "q", 2))
        entries = (InterestEntry(subject="b"),)
        interests.heard(5, Interest(generation=2, replay=True, entries=entries))
        self.assertTrue(interests.match(("a",)))
        # A change that comes between two parts of the replay counts as repeated.
        hear(interests, 5, ("d", "", 1))
        interests.heard(5, Interest(generation=2, replay=True, last=True))
        for subject, there in (("a", False), ("b", True), ("c", False), ("d", True)):
            self.assertEqual(bool(interests.match((subject,))), there, subject)

    def test_many_entries_are_several_messages(self) -> None:
        """A replay is cut to frames that every neighbor takes; only the last one is the last."""
        interests = Interests()
        count = 2 * limits.INTEREST_ENTRIES_MAX + 1
        for number in range(count):
            interests.subscribe(f"subject.{number}.{'x' * 200 if number < 100 else ''}z")
        messages = interests.open(5, Side.ABOVE)
        self.assertEqual(sum(len(message.entries) for message in messages), count)
        self.assertEqual([m.last for m in messages], [False] * (len(messages) - 1) + [True])
        self.assertEqual({message.generation for message in messages}, {1})
        for message in messages:
            self.assertLessEqual(len(message.entries), limits.INTEREST_ENTRIES_MAX)
            self.assertLessEqual(len(codec.encode(message)), limits.FRAME_BYTES_MIN)

    def test_a_lost_neighbor(self) -> None:
        """With a neighbor goes all the interest behind it, and the others are told."""
        interests = Interests()
        for bus_id in (4, 5):
            interests.open(bus_id, Side.BELOW)
        hear(interests, 4, ("a", "", 1), ("b", "q", 2))
        interests.changes()
        interests.close(4)
        self.assertEqual(told(interests.changes()), [(5, "a", "", 0), (5, "b", "q", 0)])
        self.assertEqual((len(interests), interests.match(("a",))), (0, ()))
        interests.close(4)


class HostileTests(SynchronousTestCase):
    def test_a_neighbor_on_another_side(self) -> None:
        """Who was beside us and is above us now is told, and told of, by the rule for that side."""
        interests = Interests()
        for bus_id, side in ((5, Side.BESIDE), (6, Side.BESIDE), (7, Side.BELOW)):
            interests.open(bus_id, side)
        hear(interests, 5, ("a", "", 1))
        hear(interests, 6, ("b", "", 1))
        self.assertEqual(told(interests.changes()), [(7, "a", "", 1), (7, "b", "", 1)])
        interests.move(5, Side.BELOW)
        self.assertEqual(sorted(told(interests.changes())), [(5, "b", "", 1), (6, "a", "", 1)])
        interests.move(5, Side.BESIDE)
        self.assertEqual(sorted(told(interests.changes())), [(5, "b", "", 0), (6, "a", "", 0)])
        interests.move(9, Side.BELOW)
        self.assertEqual(interests.changes(), [])

    def test_what_is_no_pattern(self) -> None:
        """A neighbor that tells nonsense is counted, and what makes sense is taken."""
        interests = Interests()
        interests.open(5, Side.BELOW)
        faults = hear(interests, 5, ("a..b", "", 1), ("ok", "", 1), ("a", "two words", 1))
        self.assertEqual(faults, 2)
        self.assertEqual(interests.match(("ok",)), (Taker(5, Wanted("ok")),))
        self.assertEqual(len(interests), 1)

    def test_too_much(self) -> None:
        """One neighbor cannot fill the memory with interest."""
        interests = Interests(3 * cost_of("s0"))
        interests.open(5, Side.BELOW)
        self.assertFalse(interests.names_full(5))
        self.assertEqual(hear(interests, 5, *((f"s{n}", "", 1) for n in range(5))), 2)
        self.assertEqual(len(interests), 3)
        self.assertEqual(hear(interests, 5, ("s0", "", 0), ("s9", "", 1)), 0)
        self.assertEqual([interests.names_full(5) for _ in range(2)], [True, False])
        self.assertEqual(hear(interests, 5, ("s1", "", 2), ("s7", "", 1)), 1)
        self.assertFalse(interests.names_full(5), "it was named and had no room since")
        hear(interests, 5, ("s1", "", 0), ("s2", "", 0))
        self.assertEqual(hear(interests, 5, *((f"t{n}", "q", 1) for n in range(3))), 2)
        self.assertTrue(interests.names_full(5))

    def test_too_much_of_all(self) -> None:
        """All neighbors together have a bound, and who goes makes room."""
        interests = Interests(3 * cost_of("s0"))
        places = range(5, 5 + bounds.INTEREST_SHARES + 1)
        refused = []
        for place in places:
            interests.open(place, Side.BELOW)
            refused.append(hear(interests, place, *((f"s{n}", "", 1) for n in range(3))))
        self.assertEqual(refused, [0] * bounds.INTEREST_SHARES + [3])
        self.assertTrue(interests.names_full(places[-1]))
        interests.close(places[0])
        self.assertEqual(hear(interests, places[-1], ("s0", "", 1)), 0)

    def test_what_the_bus_itself_needs(self) -> None:
        """Who is full is still heard on what belongs to the bus, and that has a bound as well."""
        interests = Interests(bytes_max=2 * cost_of("a"))
        interests.open(5, Side.BELOW)
        for name in "abc":
            hear(interests, 5, (name, "", 1))
        own = [f"$ATBUS.{number:04}" for number in range(1_000)]
        refused = sum(hear(interests, 5, (name, "", 1)) for name in own)
        kept = [wanted for wanted in interests.wanted_by(5) if wanted.pattern.startswith("$ATBUS")]
        self.assertEqual(len(kept), bounds.OWN_INTEREST_BYTES // cost_of(own[0]))
        self.assertEqual(refused, len(own) - len(kept))

    def test_room_again(self) -> None:
        """Who was refused something is named once when a quarter of its memory is free."""
        interests = Interests(bytes_max=4 * cost_of("a"))
        interests.open(5, Side.BELOW)
        interests.open(6, Side.BELOW)
        for name in "abcd":
            hear(interests, 5, (name, "", 1))
            hear(interests, 6, (name, "", 1))
        self.assertEqual(interests.with_room(), [])
        hear(interests, 5, ("e", "", 1))
        self.assertEqual(interests.with_room(), [])
        hear(interests, 5, ("a", "", 0))
        self.assertEqual(interests.with_room(), [])
        hear(interests, 5, ("b", "", 0))
        hear(interests, 6, ("a", "", 0))
        hear(interests, 6, ("b", "", 0))
        self.assertEqual((interests.with_room(), interests.with_room()), ([5], []))

    def test_room_again_of_all(self) -> None:
        """Nobody is named while all together have too much."""
        interests = Interests(bytes_max=4 * cost_of("a"))
        places = range(5, 6 + bounds.INTEREST_SHARES)
        for place in places:
            interests.open(place, Side.BELOW)
            for name in "abcd":
                hear(interests, place, (name, "", 1))
        hear(interests, places[-1], ("a", "", 1))
        self.assertEqual(interests.with_room(), [])
        interests.close(places[0])
        self.assertEqual(interests.with_room(), [])
        interests.close(places[1])
        self.assertEqual(interests.with_room(), [places[-1]])

    def test_what_it_costs(self) -> None:
        """What is reckoned for patterns is no less than what they take, whatever they are."""
        texts: dict[str, Callable[[int], str]] = {
            "short": lambda n: f"{n}",
            "usual": lambda n: f"orders.eu.region-{n % 50}.{n}",
            "long": lambda n: f"{n:0255}",
            "many tokens": lambda n: ".".join(f"{n * 16 + at:015}" for at in range(16)),
            "wide": lambda n: ".".join(f"{chr(0x10400 + n % 50) * 15}{n}{at}" for at in "abc"),
        }
        for name, text in texts.items():
            interests = Interests()
            interests.open(5, Side.BELOW)
            tracemalloc.start()
            for number in range(2_000):
                hear(interests, 5, (text(number), "", 1))
            taken, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            reckoned = sum(cost_of(*wanted) for wanted in interests.wanted_by(5))
            self.assertTrue(taken < 1.1 * reckoned, (name, taken, reckoned))
            self.assertTrue(reckoned < 2 * taken, (name, taken, reckoned))

    def test_the_longest_patterns(self) -> None:
        """What one takes is known, however many tokens of its own it has."""
        interests = Interests()
        interests.open(5, Side.BELOW)
        interests.open(6, Side.ABOVE)
        last = limits.SUBJECT_TOKENS_MAX - 1
        size_bytes = limits.SUBJECT_BYTES // limits.SUBJECT_TOKENS_MAX - 1
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(2_000):
            own = [f"{number * last + at:0{size_bytes}}" for at in range(last)]
            hear(interests, 5, (".".join((*own, "last")), "", 1))
        self.assertEqual(len(interests), 2_000)
        self.assertLess(tracemalloc.get_traced_memory()[0], 2_000 * 2_500)

    def test_a_replay_without_end(self) -> None:
        """It is remembered of nothing but what is known, whatever it repeats or withdraws."""
        interests = Interests(3 * cost_of("old"))
        interests.open(5, Side.BELOW)
        hear(interests, 5, ("old", "", 1))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(20):
            names = [f"s{number}.{n // 2}" for n in range(1_000)]
            said = [InterestEntry(subject=name, weight=n % 2) for n, name in enumerate(names)]
            interests.heard(5, Interest(generation=2, replay=True, entries=tuple(said)))
            # What was taken makes room for others.
            said = [InterestEntry(subject=name, weight=0) for name in names]
            interests.heard(5, Interest(generation=2, replay=True, entries=tuple(said)))
            del names, said
        self.assertLess(tracemalloc.get_traced_memory()[0], 100_000)
        hear(interests, 5, ("new", "", 1))
        interests.heard(5, Interest(generation=2, replay=True, last=True))
        self.assertEqual([each.pattern for each in interests.wanted_by(5)], ["new"])

    def test_withdrawing_what_was_not_told(self) -> None:
        """It changes nothing."""
        interests = Interests()
        interests.open(5, Side.BELOW)
        self.assertEqual(hear(interests, 5, ("a", "", 0)), 0)
        self.assertEqual((len(interests), interests.digest_of(5)), (0, 0))


class DigestTests(SynchronousTestCase):
    def pair(self) -> Meadow:
        """Make an upstream, 1, and a downstream, 2, that has told of two subscriptions."""
        meadow = Meadow()
        meadow.add(1)
        node = meadow.add(2, upstream=1)
        node.subscribe("a")
        node.subscribe("b", "q")
        meadow.settle()
        return meadow

    def test_both_sides_agree(self) -> None:
        """After every change the digest of what was heard is that of what was told."""
        meadow = self.pair()
        above, below = meadow.nodes[1].interests, meadow.nodes[2].interests
        self.assertEqual(above.digest_of(2), below.told_digest(1))
        self.assertNotEqual(above.digest_of(2), 0)
        self.assertFalse(below.heard_digest(1, above.digest_of(2)))
        self.assertEqual(above.digest_of(99), 0)
        self.assertFalse(below.heard_digest(99, 7))

    def test_drift_is_found_and_repaired(self) -> None:
        """What was lost without anybody noticing is told anew after two pings."""
        meadow = self.pair()
        above, below = meadow.nodes[1].interests, meadow.nodes[2].interests
        meadow.nodes[2].subscribe("c")
        meadow.lose(2, 1)
        self.assertFalse(below.heard_digest(1, above.digest_of(2)))
        self.assertTrue(below.heard_digest(1, above.digest_of(2)))
        for message in below.replay(1):
            above.heard(2, message)
        self.assertEqual(above.digest_of(2), below.told_digest(1))
        self.assertTrue(above.match(("c",)))
        self.assertFalse(below.heard_digest(1, above.digest_of(2)))

    def test_a_change_on_its_way_is_no_drift(self) -> None:
        """A ping that crosses a change, or two, starts no replay."""
        meadow = self.pair()
        above, below = meadow.nodes[1].interests, meadow.nodes[2].interests
        stale = above.digest_of(2)
        for pattern in ("c", "d", "e"):
            meadow.nodes[2].subscribe(pattern)
            self.assertFalse(below.heard_digest(1, stale))


class WeightTests(SynchronousTestCase):
    def test_weights(self) -> None:
        """It is known how many members there are in each place."""
        interests = Interests()
        interests.open(5, Side.BELOW)
        interests.subscribe("a", "q")
        hear(interests, 5, ("a", "q", 7))
        wanted = Wanted("a", "q")
        self.assertEqual(
            [interests.weight(Taker(place, wanted)) for place in (HERE, 5, 6)], [1, 7, 0]
        )
        self.assertEqual(interests.weight(Taker(HERE, Wanted("b"))), 0)
