"""What interest costs on a bus of ten thousand nodes, counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.barrier import Answer, Ask, Barriers, Effect, Known
from atbus.subjects.interest import Interests, Side
from atbus.wire.messages import Interest

PROXIES, LEAVES = 100, 99
ROOT = 1


class Bus:
    """
    A root, proxies below it, and leaves below those; what is told arrives in order.

    :param zones: In which zones the nodes are, in turn.
    """

    def __init__(self, zones: Sequence[str] = ("",)) -> None:
        self.zones = zones
        self.nodes: dict[int, Interests] = {ROOT: Interests()}
        self.above: dict[int, int] = {}
        self.told: Counter[tuple[int, int]] = Counter()
        self.entries = 0
        self._under_way: deque[tuple[int, int, Interest]] = deque()
        for number in range(PROXIES):
            proxy = (number + 1) * 1_000
            self.add(proxy, ROOT)
            for leaf in range(proxy + 1, proxy + 1 + LEAVES):
                self.add(leaf, proxy)
        self.settle()

    def add(self, bus_id: int, above: int) -> None:
        """Register a node below another one."""
        self.nodes[bus_id] = Interests(zone=self.zones[bus_id % len(self.zones)])
        self.above[bus_id] = above
        self.connect(bus_id)

    def connect(self, bus_id: int) -> None:
        """Connect a node with its upstream."""
        above = self.above[bus_id]
        for one, other, side in ((bus_id, above, Side.ABOVE), (above, bus_id, Side.BELOW)):
            for message in self.nodes[one].open(other, side, zone=None):
                self._under_way.append((one, other, message))

    def cut(self, bus_id: int) -> None:
        """Lose the link between a node and its upstream."""
        above = self.above[bus_id]
        self.nodes[bus_id].close(above)
        self.nodes[above].close(bus_id)

    def settle(self) -> None:
        """Let everything be told."""
        for bus_id in self.nodes:
            self._flush(bus_id)
        while self._under_way:
            sender, receiver, message = self._under_way.popleft()
            self.told[sender, receiver] += 1
            self.entries += len(message.entries)
            self.nodes[receiver].heard(sender, message)
            self._flush(receiver)

    def _flush(self, bus_id: int) -> None:
        for neighbor, message in self.nodes[bus_id].changes():
            self._under_way.append((bus_id, neighbor, message))

    def ask(self, *askers: int) -> Counter[tuple[int, int]]:
        """
        Let nodes ask at once whether all the bus knows what they want.

        :returns: How many messages of it each link carries, each way.
        """
        barriers = {bus_id: Barriers() for bus_id in self.nodes}
        under_way: deque[tuple[int, Effect]] = deque()
        for bus_id in askers:
            effects = barriers[bus_id].ask(1, self.nodes[bus_id].neighbors)
            under_way.extend((bus_id, effect) for effect in effects)
        told: Counter[tuple[int, int]] = Counter()
        known = []
        while under_way:
            sender, effect = under_way.popleft()
            if isinstance(effect, Known):
                known.append(sender)
                continue
            receiver = effect.neighbor
            told[sender, receiver] += 1
            if isinstance(effect, Ask):
                answer = Answer(sender, effect.barrier)
                effects = barriers[receiver].asked(answer, self.nodes[receiver].neighbors)
            else:
                effects = barriers[receiver].answered(sender, effect.barrier)
            under_way.extend((receiver, each) for each in effects)
        assert sorted(known) == sorted(askers), known
        assert not any(map(len, barriers.values())), "somebody still waits"
        return told

    def count(self) -> int:
        """Count the messages since the last time, none of them told twice on one link."""
        assert not self.told or max(self.told.values()) == 1, self.told.most_common(3)
        count = self.told.total()
        self.told.clear()
        self.entries = 0
        return count


class ScaleTests(SynchronousTestCase):
    """10,001 nodes."""

    def test_what_is_told(self) -> None:
        """
        The first subscriber of a pattern is told to every node, further ones to hardly anybody.

        What a proxy tells and is told when it comes back is what there is, once per link.
        """
        bus = Bus()
        bus.told.clear()
        links = len(bus.above)
        self.assertEqual(links, 10_000)

        bus.nodes[1_001].subscribe("prices.eu")
        bus.settle()
        self.assertEqual(bus.count(), links)

        # One in the same place: up to the proxy, and back to the first one, who knew of nobody.
        bus.nodes[1_002].subscribe("prices.eu")
        bus.settle()
        self.assertEqual(bus.count(), 2)

        # One in another place: up to the root, and down to where the first ones are.
        bus.nodes[2_001].subscribe("prices.eu")
        bus.settle()
        self.assertLessEqual(bus.count(), 2 + 1)

        # Everybody else: each tells its proxy, nobody tells anybody else but where it is the first.
        for bus_id in bus.nodes:
            if bus_id % 1_000 > 2:
                bus.nodes[bus_id].subscribe("prices.eu")
        bus.settle()
        told = bus.count()
        self.assertLessEqual(told, links + PROXIES)

        # A proxy comes back: with each other it and the root exchange all they know.
        for subject in range(50):
            bus.nodes[3_001].subscribe(f"orders.{subject}")
        bus.settle()
        self.assertEqual(bus.count(), links)
        bus.cut(5_000)
        bus.settle()
        bus.count()
        bus.connect(5_000)
        bus.settle()
        self.assertLessEqual(bus.entries, 51 * (LEAVES + 1) + 1)
        self.assertLessEqual(bus.count(), 2 + LEAVES)

        # The size of a group is told to everybody with each change of it.
        bus.nodes[1_001].subscribe("jobs", "workers")
        bus.settle()
        self.assertEqual(bus.count(), links)
        bus.nodes[9_001].subscribe("jobs", "workers")
        bus.settle()
        self.assertEqual(bus.count(), links)

    def test_what_zones_cost(self) -> None:
        """Zones cost one entry more for each change of a group, and nothing for all the rest."""
        bus = Bus(("x", "y", "z"))
        links = len(bus.above)
        bus.count()
        bus.nodes[1_001].subscribe("prices.eu")
        bus.settle()
        self.assertEqual((bus.entries, bus.count()), (links, links))
        for member in (1_001, 9_001, 9_002):
            bus.nodes[member].subscribe("jobs", "workers")
            bus.settle()
            self.assertEqual(bus.entries, 2 * links)
            bus.entries = 0
        # What there is, once per link: a pattern, the whole of the group, and its two zones.
        bus.cut(5_000)
        bus.settle()
        bus.entries = 0
        bus.connect(5_000)
        bus.settle()
        self.assertLessEqual(bus.entries, 4 * (LEAVES + 1))

    def test_what_is_asked(self) -> None:
        """
        ``everywhere()`` takes one question and one answer on each link, wherever it is asked.

        A proxy comes back, and all below it ask, for each of them has lost its upstream: what the
        first one asks goes out, and then one question for all others. Also when everybody on the
        bus asks at once it is a handful on each link.
        """
        bus = Bus()
        links = len(bus.above)
        for asker in (ROOT, 5_000, 5_001):
            told = bus.ask(asker)
            self.assertEqual((told.total(), max(told.values())), (2 * links, 1))

        bus.cut(5_000)
        bus.settle()
        bus.connect(5_000)
        bus.settle()
        told = bus.ask(*range(5_001, 5_001 + LEAVES))
        # Two questions on each link, and those to the proxy of all who ask.
        self.assertLessEqual(told.total(), 2 * (2 * links + LEAVES))
        self.assertLessEqual(max(told.values()), 3)

        told = bus.ask(*bus.nodes)
        self.assertLessEqual(told.total(), 8 * 2 * links)
        self.assertLessEqual(max(told.values()), 8)
