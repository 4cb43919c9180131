"""A small tree in rough weather: whatever happens, afterwards everybody is there again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.python.failure import Failure

from atbus.errors import AtbusError
from atbus.node.node import Node
from atbus.testing.network import VirtualNetwork
from tests.node.bus import ROOT, ROOT_ADDRESS, BusTests

# Enough for the longest pause between two attempts, twice, and for everything behind it.
QUIET_SECONDS = 100.0


class Weather:
    """
    A root, two proxies and leaves; things happen to them by lot.

    :param story: The test that keeps the diaries.
    """

    def __init__(self, story: BusTests, seed: int, *, harsh: bool) -> None:
        self.lots = Random(seed)
        self.story = story
        self.network = VirtualNetwork(0.0005, seed, jitter_seconds=0.002)
        story.begin(self.network)
        self.plans: list[dict[str, Any]] = [
            {"bus_id": ROOT, "listen": [ROOT_ADDRESS], "subnets": [(0, 16)]}
        ]
        for place in (1, 2):
            address = f"ipv4://10.0.1.{place}:1"
            proxy = ROOT + 0x100 * place
            self.plans.append(
                {
                    "bus_id": proxy,
                    "listen": [address],
                    "subnets": [(0, 8)],
                    "upstream": ROOT_ADDRESS,
                }
            )
            for leaf in (1, 2):
                self.plans.append(
                    {
                        "bus_id": proxy + leaf,
                        "listen": [f"ipv4://10.0.2.{place}{leaf}:1"],
                        "upstream": address,
                    }
                )
        # Automatic ids have a range of their own: others are away at times, and would find theirs
        # taken.
        assigning = "ipv4://10.0.1.3:1"
        self.plans += [
            {
                "bus_id": ROOT + 0x300,
                "listen": [assigning],
                "subnets": [(0, 8)],
                "upstream": ROOT_ADDRESS,
            },
            {"bus_id": "auto", "listen": ["ipv4://10.0.3.1:1"], "upstream": assigning},
        ]
        self.current = [self.make(plan) for plan in self.plans]
        self.splits: set[tuple[Node, Node]] = set()
        self.log: list[str] = []
        self.events: list[Callable[[], object]] = [
            self.stop, self.start, self.cut, self.connect, self.disconnect, self.send, self.pass_by,
        ]  # fmt: skip
        if harsh:
            self.events += [self.kill, self.freeze, self.thaw, self.split, self.heal]

    def make(self, plan: dict[str, Any]) -> Node:
        """Make a process for a plan."""
        node = self.story.node(**plan)
        node.on_request(lambda source, payload: payload)
        return node

    def any(self) -> Node:
        """Draw a node."""
        return self.lots.choice(self.current)

    def note(self, what: str, *nodes: Node) -> None:
        """Write down what happens."""
        names = " ".join(f"{node.bus_id:x}" for node in nodes)
        self.log.append(f"{self.network.clock.seconds():.4f} {what} {names}")

    # What may happen.

    def stop(self) -> None:
        node = self.any()
        self.note("stop", node)
        node.stop()

    def start(self) -> None:
        node = self.any()
        if node.state in ("created", "stopped"):
            self.note("start", node)
            node.start().addErrback(forgive)

    def cut(self) -> None:
        one, other = self.any(), self.any()
        self.note("cut", one, other)
        self.network.cut(one, other)

    def connect(self) -> None:
        node, plan = self.any(), self.lots.choice(self.plans)
        self.note(f"connect {plan['listen'][0]} from", node)
        node.connect(plan["listen"][0]).addErrback(forgive)

    def disconnect(self) -> None:
        node = self.any()
        if node.endpoints:
            other = self.lots.choice(sorted(node.endpoints))
            self.note(f"disconnect {other:x} from", node)
            node.disconnect(other).addErrback(forgive)

    def send(self) -> None:
        node, target = self.any(), self.any()
        if target.bus_id:
            for _ in range(self.lots.randrange(5)):
                node.deliver(target.bus_id, b"x" * 100, timeout=3).addErrback(forgive)

    def pass_by(self) -> None:
        self.network.settle(self.lots.choice((0.0001, 0.001, 0.004, 0.02, 1.0, 12.0)))

    def kill(self) -> None:
        place = self.lots.randrange(len(self.current))
        node = self.current[place]
        self.note("kill", node)
        self.lots.choice((self.story.kill, self.story.power_off))(node)
        self.splits = {pair for pair in self.splits if node not in pair}
        self.current[place] = self.make(self.plans[place])
        if self.lots.random() < 0.5:
            self.current[place].start().addErrback(forgive)

    def freeze(self) -> None:
        node = self.any()
        self.note("freeze", node)
        self.network.freeze(node)

    def thaw(self) -> None:
        node = self.any()
        if self.network.process_of(node).frozen:
            self.note("thaw", node)
            self.network.thaw(node)

    def split(self) -> None:
        one, other = self.any(), self.any()
        if one is not other:
            self.note("split", one, other)
            self.network.split(one, other)
            self.splits.add((one, other))

    def heal(self) -> None:
        for one, other in list(self.splits):
            self.network.heal(one, other)
        self.splits.clear()

    # Afterwards.

    def blow(self, steps: int) -> None:
        """Let many things happen, with more or less time between them."""
        for _ in range(steps):
            self.lots.choice(self.events)()
            if self.lots.random() < 0.6:
                self.pass_by()

    def calm(self) -> None:
        """End everything that was wrong, and wait."""
        self.heal()
        for node in self.current:
            if self.network.process_of(node).frozen:
                self.network.thaw(node)
        # Whoever is stopping takes its time; whoever has stopped, also by itself, is started.
        for _ in range(3):
            self.network.settle(30)
            for node in self.current:
                if node.state in ("created", "stopped"):
                    node.start().addErrback(forgive)
        self.network.settle(QUIET_SECONDS)


def forgive(failure: Failure) -> None:
    """Take note that something did not work, as it may in such weather."""
    failure.trap(AtbusError)


class WeatherTests(BusTests):
    """After the storm."""

    def check(self, weather: Weather) -> None:
        """Everybody runs, knows its upstream, and reaches everybody."""
        self.assertEqual({node.state for node in weather.current}, {"running"})
        self.assertEqual(len({node.bus_id for node in weather.current}), len(weather.plans))
        for node in weather.current:
            for endpoint in node.endpoints.values():
                self.assertTrue(endpoint.available, f"{node.bus_id:x} {endpoint}")
        waiting = [
            one.request(other.bus_id, b"%x" % one.bus_id)
            for one in weather.current
            for other in weather.current
        ]
        for each in waiting:
            self.network.result_of(each)
        self.end()

    def storm(self, seed: int, steps: int, *, harsh: bool) -> None:
        """Live through one storm."""
        weather = Weather(self, seed, harsh=harsh)
        for node in weather.current:
            node.start().addErrback(forgive)
        try:
            weather.blow(steps)
            weather.calm()
            self.check(weather)
        except BaseException as error:
            error.add_note(f"seed {seed}, {steps} steps, harsh={harsh}")
            error.add_note("\n".join(weather.log[-40:]))
            raise

    def test_stops_and_cuts(self) -> None:
        """
        Graceful stops, lost links, dials and farewells in any order end in the same tree.

        Scenario: I1, I2, M3, M5
        """
        for seed in range(20):
            self.storm(seed, 60, harsh=False)

    def test_kills_freezes_and_splits(self) -> None:
        """
        The same with processes that die or hang, and a network that splits.

        Scenario: I1, I2, J2, M2
        """
        for seed in range(20):
            self.storm(seed, 60, harsh=True)
