"""
Bad weather for route tables: a seeded row of faults, then quiet, then everybody is asked.

``python -m atbus.testing.route_storm --seeds 1000`` runs many; ``make simulate`` does so at length.
A seed that fails is printed with what was wrong, and with the command that repeats it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from atbus.routing.sync_terms import TableMode
from atbus.testing.route_model import faults
from atbus.testing.route_world import RouteLine, RouteNode, RouteWorld
from atbus.testing.seeds import run_seeds

#: How long everything takes to come to rest: a lost upstream's table, tombstones, damping.
QUIET_SECONDS = 900.0

_AT_ONCE = (0.0, 0.05)
_BY_SILENCE = (0.0, 24.0)


class RouteStorm:
    """
    A random tree with some peers, and what happens to it.

    Upstreams always have smaller ids, so that no circle comes about.

    :param seed: Where all lots come from.
    :param count: How many nodes there are.
    """

    def __init__(self, seed: int, count: int) -> None:
        self.world = RouteWorld(seed)
        self.log: list[str] = []
        self._random = self.world.random
        roots = self._random.choice((1, 1, 2))
        self._nodes = [self.world.add(1 + place, self._mode(place)) for place in range(count)]
        self._upstreams: dict[RouteNode, RouteNode] = {}
        for node in self._nodes[roots:]:
            self._upstreams[node] = self._above(node)
            self._register(node)
        self._kinds: list[Callable[[], str]] = [
            *[self._repair] * 8,
            *[self._cut] * 3,
            self._half_cut,
            *[self._move] * 2,
            *[self._befriend] * 2,
            self._estrange,
            self._kill,
            self._stop,
            *[self._revive] * 2,
            *[self._describe] * 2,
            self._part,
        ]

    def rage(self, steps: int) -> None:
        """Let many things happen, with random times between them."""
        for _ in range(steps):
            self.world.run(self._random.choice((0.0, 0.01, 0.1, 0.5, 1.5, 3.0)))
            what = self._random.choice(self._kinds)()
            if what:
                self.log.append(f"{self.world.now:.3f} {what}")

    def rest(self) -> list[str]:
        """
        Mend what is broken, wait, and compare with the model.

        :returns: What is wrong.
        """
        for node in self._nodes:
            if node.machine is None:
                self.world.start(node)
        self.world.run(30.0)
        for node in self._nodes:
            if node in self._upstreams and self._line_up(node) is None:
                self._register(node)
        self.world.run(QUIET_SECONDS)
        return faults(self.world)

    def _mode(self, place: int) -> TableMode:
        """Choose how much a node wants to know; whoever has others below it wants everything."""
        lots = [*[TableMode.FULL] * 6, TableMode.UPSTREAM, TableMode.OFF]
        return TableMode.FULL if place < 2 else self._random.choice(lots)

    def _above(self, node: RouteNode) -> RouteNode:
        before = [each for each in self._nodes[: node.bus_id - 1] if each.mode is TableMode.FULL]
        return self._random.choice(before[-8:])

    def _register(self, node: RouteNode) -> None:
        odd = node.mode is not TableMode.OFF and self._random.random() < 0.5
        self.world.connect(node, self._upstreams[node], odd=odd)

    def _line_up(self, node: RouteNode) -> RouteLine | None:
        return self.world.line(node, self._upstreams[node])

    def _some_line(self, *, tree: bool | None = None) -> RouteLine | None:
        found = [
            line
            for node in self._nodes
            for line in node.lines.values()
            if not line.is_cut and (tree is None or line.is_tree == tree)
        ]
        return self._random.choice(found) if found else None

    # What may happen.

    def _repair(self) -> str:
        """Have a node that knows that it has no upstream dial it again."""
        for node in self._random.sample(self._nodes, len(self._nodes)):
            if node.machine is None or node not in self._upstreams:
                continue
            above = self._upstreams[node]
            if above.key not in node.lines and above.machine is not None:
                self._register(node)
                return f"{node.bus_id} dials {above.bus_id}"
        return ""

    def _cut(self) -> str:
        line = self._some_line()
        if line is None:
            return ""
        self.world.cut(line, self._random.choice((_AT_ONCE, _BY_SILENCE)))
        return f"cut {line.lower} {line.upper}"

    def _half_cut(self) -> str:
        line = self._some_line()
        if line is None:
            return ""
        self.world.half_cut(line)
        return f"half cut {line.lower} {line.upper}"

    def _move(self) -> str:
        """Have a node leave its upstream for another one."""
        node = self._random.choice(list(self._upstreams))
        if node.machine is None:
            return ""
        line = self._line_up(node)
        if line is not None:
            self.world.cut(line, self._random.choice((_AT_ONCE, _BY_SILENCE)))
        above = self._upstreams[node] = self._above(node)
        if above.key in node.lines:
            self.world.cut(node.lines[above.key], _AT_ONCE)
        else:
            self._register(node)
        return f"{node.bus_id} moves to {above.bus_id}"

    def _befriend(self) -> str:
        full = [node for node in self._nodes if node.mode is TableMode.FULL]
        one, other = self._random.sample(full, 2)
        if other.key in one.lines or one.key in other.lines or self._is_above(one, other):
            return ""
        self.world.connect(one, other, tree=False)
        return f"peers {one.bus_id} {other.bus_id}"

    def _is_above(self, one: RouteNode, other: RouteNode) -> bool:
        """Tell whether one of two is above the other: they will not be peers."""
        lower, upper = (one, other) if one.bus_id > other.bus_id else (other, one)
        while lower in self._upstreams:
            lower = self._upstreams[lower]
            if lower is upper:
                return True
        return False

    def _estrange(self) -> str:
        line = self._some_line(tree=False)
        if line is None:
            return ""
        self.world.cut(line, self._random.choice((_AT_ONCE, _BY_SILENCE)))
        return f"peers no more {line.lower} {line.upper}"

    def _kill(self) -> str:
        node = self._random.choice(self._nodes)
        self.world.kill(node, self._random.choice((_AT_ONCE, _BY_SILENCE)))
        return f"kill {node.bus_id}"

    def _stop(self) -> str:
        node = self._random.choice(self._nodes)
        self.world.stop(node)
        return f"stop {node.bus_id}"

    def _revive(self) -> str:
        dead = [node for node in self._nodes if node.machine is None]
        if not dead:
            return ""
        node = self._random.choice(dead)
        self.world.start(node)
        if node in self._upstreams:
            self._register(node)
        return f"start {node.bus_id}"

    def _describe(self) -> str:
        node = self._random.choice(self._nodes)
        self.world.describe(node, {"number": str(self._random.randrange(1000))})
        return f"describe {node.bus_id}"

    def _part(self) -> str:
        """Cut every link between two halves of the network."""
        half = set(self._random.sample([node.key for node in self._nodes], len(self._nodes) // 2))
        lines = {line for node in self._nodes for line in node.lines.values() if not line.is_cut}
        for line in sorted(lines, key=lambda line: (line.lower, line.upper)):
            if (line.lower in half) != (line.upper in half):
                self.world.cut(line, _BY_SILENCE)
        return "parted"


def storm(seed: int, count: int = 14, steps: int = 60) -> tuple[RouteStorm, list[str]]:
    """
    Let one seed happen.

    :param seed: The seed.
    :param count: How many nodes there are.
    :param steps: How many things happen.
    :returns: What happened, and what was wrong.
    """
    happened = RouteStorm(seed, count)
    happened.rage(steps)
    return happened, happened.rest()


def tell(seed: int) -> str:
    """
    Let one seed happen.

    :returns: What was done, what was wrong and how to have it again; nothing if all was well.
    """
    happened, found = storm(seed)
    if not found:
        return ""
    again = f"python -m atbus.testing.route_storm --seeds {seed}-{seed}"
    return "\n".join([*found[:10], f"seed {seed}", *happened.log, again])


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run many seeds.

    :param arguments: Of the command line.
    :returns: The exit code: 1 when a seed failed.
    """
    return run_seeds("atbus.testing.route_storm", tell, arguments)


if __name__ == "__main__":
    sys.exit(main())
