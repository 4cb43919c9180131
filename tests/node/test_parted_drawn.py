"""Questions in drawn trees, where those who listen come and go: what is said of them is true."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from random import Random

from atbus.node.subscription import Subscription
from atbus.testing.network import VirtualNetwork
from tests.node.grove import GroveTests, address_of

QUEUES = ("", "", "a", "b")


class DrawnTests(GroveTests):
    """Buses of six to sixteen nodes; some siblings are connected with each other."""

    def draw(self, lots: Random, old_share: float = 0.0, zones: str = "") -> None:
        """
        Start a tree on a network of its own, with links of different and changing speed.

        :param zones: Letters that are zones; each node is in one of them, if there are any.
        """
        seed = lots.getrandbits(32)
        self.begin(VirtualNetwork(seed=seed, jitter_seconds=lots.choice((0.0, 0.003))))
        self.at, self.taken, self.missed = {}, set(), []
        paths = ["1"]
        for _ in range(lots.randrange(5, 16)):
            above = lots.choice([path for path in paths if len(path) < 6])
            below = sum(path[:-1] == above for path in paths)
            paths.append(f"{above}{below + 1}")
        old = [path for path in paths if lots.random() < old_share]
        near = {path: lots.choice(zones) for path in paths} if zones else {}
        self.plant(*paths, old=old, zones=near)
        for one, other in combinations(paths, 2):
            if one[:-1] == other[:-1] and lots.random() < 0.3:
                self.network.result_of(self.at[one].connect(address_of(other)))
        self.network.settle()

    def live(self, lots: Random, count: int, *, cuts: bool = False) -> list[bytes]:
        """Let members come and go, mostly together, and ask meanwhile; give what was asked."""
        members: list[Subscription] = []
        questions = [b"%d" % number for number in range(count)]
        paths = sorted(self.at)
        for question in questions:
            chance = lots.random()
            if chance < 0.4:
                # Late, so that no answer is on the way.
                members += [
                    self.listen(path, lots.choice(QUEUES), late=True)
                    for path in lots.sample(paths, lots.randrange(1, len(paths)))
                ]
                self.network.settle(lots.choice((0.002, 0.05, 0.6)))
            elif chance < 0.9:
                lots.shuffle(members)
                for _ in range(lots.choice((1, len(members), len(members)))):
                    if members:
                        members.pop().unsubscribe()
            elif cuts:
                below = lots.choice(paths[1:])
                self.network.cut(self.at[below], self.at[below[:-1]])
            self.ask(lots.choice(paths), question)
            if lots.random() < 0.5:
                self.network.settle(lots.choice((0, 0.001, 0.003, 0.01)))
        self.network.settle(10.0)
        return questions

    def check(self, seed: int) -> None:
        """Nobody is said to be missing who has a question, and nothing is said twice."""
        self.assertEqual(self.taken & set(self.missed), set(), seed)
        self.assertEqual(len(set(self.missed)), len(self.missed), seed)
        self.assertEqual(self.tallies(), {}, seed)

    def test_each_question_has_its_end(self) -> None:
        """Either somebody has got a question, or it is said, once, that nobody has."""
        ends: Counter[str] = Counter()
        for seed in range(15):
            lots = Random(seed)
            self.draw(lots)
            questions = self.live(lots, 60)
            self.check(seed)
            self.assertEqual(set(questions) - self.taken - set(self.missed), set(), seed)
            ends.update(taken=len(self.taken), missed=len(self.missed))
            self.end()
        self.begin(VirtualNetwork())
        self.assertGreater(min(ends["taken"], ends["missed"]), 150)

    def test_in_zones(self) -> None:
        """So it is where each prefers what is in its zone."""
        ends: Counter[str] = Counter()
        for seed in range(300, 310):
            lots = Random(seed)
            self.draw(lots, zones="xxyz")
            questions = self.live(lots, 60)
            self.check(seed)
            self.assertEqual(set(questions) - self.taken - set(self.missed), set(), seed)
            ends.update(taken=len(self.taken), missed=len(self.missed))
            self.end()
        self.begin(VirtualNetwork())
        self.assertGreater(min(ends["taken"], ends["missed"]), 100)

    def test_where_some_are_of_earlier_releases(self) -> None:
        """Where a third of the nodes knows of no tallies, what is said is true as well."""
        missed = 0
        for seed in range(100, 110):
            lots = Random(seed)
            self.draw(lots, old_share=0.3)
            self.live(lots, 60)
            self.check(seed)
            missed += len(self.missed)
            self.end()
        self.begin(VirtualNetwork())
        self.assertGreater(missed, 100)

    def test_while_links_are_cut(self) -> None:
        """Links die while questions are on them: what is said is true as well."""
        missed = 0
        for seed in range(200, 210):
            lots = Random(seed)
            self.draw(lots)
            self.live(lots, 60, cuts=True)
            self.check(seed)
            missed += len(self.missed)
            self.end()
        self.begin(VirtualNetwork())
        self.assertGreater(missed, 100)
