"""
Bad weather for a whole bus: real nodes, all kinds of faults, then quiet, then everybody is asked.

Each seed makes another bus: a cross-region proxy, two or three regions of one to three proxies that
are connected to each other, and leaves that choose among the proxies of their region. All of them
start at once. While random nodes talk, links break, stick and part, processes die, freeze and come
back. Some leave in good order, and come back; where nothing else happens, no message may be left
uncertain. Most storms last three seconds, some twenty. When the weather is over,
`atbus.testing.bus_model` says what every node must know and where every message must go, and in the
end the checker judges all that was sent.

``python -m atbus.testing.bus_storm --seeds 1000`` runs many; ``make simulate`` does so at length.
A seed that fails is printed with what was wrong, and with the command that repeats it.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from random import Random
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from atbus.errors import AtbusError, Status, Undeliverable
from atbus.node.endpoint import Endpoint
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.bus_model import BusModel
from atbus.testing.seeds import run_seeds
from atbus.testing.virtual_bus import VirtualBus

TOP: Final = 1
#: How long the weather lasts, seconds.
STORM_SECONDS: Final = 3.0
# And with one of so many seeds, in which as much happens in each second: what has been there before
# a node came back, or a neighbor was left, is then there for it.
_LONG_SECONDS: Final = 20.0
_LONG: Final = 8
#: How long everything takes to come to rest after the last fault, at most: silence that is noticed,
#: pauses between dials, graces of the route table, and the way back to a better upstream.
QUIET_SECONDS: Final = 40.0

# Shorter and longer than the silence after which a node is taken for dead.
_DURATIONS: Final = (0.05, 0.5, 2.0, 6.0)
_BURSTS_PER_SECOND: Final = 40
_SAMPLES: Final = 60
# How long they take, at most: a FLUSH and its answer go first where the way is a new one.
_SAMPLE_SECONDS: Final = 3.0
# How many connections programs ask for, beyond those that are made by themselves.
_CONNECTS: Final = (2, 6, 20)
_ASKING: Final = ("auto", "full")
# Of so many seeds in one a node leaves in the end, which takes its time.
_LEAVING: Final = 4
# How many nodes there are: what goes wrong differs, and few of them take little time.
_NODES: Final = (8, 12, 30)
# How many leave meanwhile, and how many things break.
_EVENTS: Final = ((0, 8), (0, 8), (5, 8), (5, 0))
# How much a link takes; the others take any amount.
_RATES_PER_SECOND: Final = (300_000.0, 3_000_000.0)
_SLOW: Final = 3
# How long messages are: with and without payload, and in fragments.
_SIZES_BYTES: Final = (0, 10, 1_000, 20_000, 150_000)
# So little that messages are refused for want of room.
_TIGHT: Final = {
    "queued_bytes_soft": 20_000,
    "queued_bytes_hard": 200_000,
    "queued_bytes_node": 400_000,
    "window_bytes": 100_000,
    "window_count": 10,
}


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.0.{bus_id >> 8}.{bus_id & 255}:1"


@implementer(IMessageReceiver)
class _Sink:
    """A program that takes every message."""

    def __init__(self, node: Node) -> None:
        node.receiver = self

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message."""


class BusStorm:
    """
    One bus and what happens to it.

    :param bus: Where it is made; its seed decides everything.
    :param count: How many nodes there are.
    """

    def __init__(self, bus: VirtualBus, count: int) -> None:
        self.bus = bus
        self.random = bus.random
        self.found: list[str] = []
        #: How long the weather lasts.
        self.seconds = STORM_SECONDS
        self._is_fine = False
        #: Upstreams that a node may have, the best first.
        self.candidates: dict[int, tuple[int, ...]] = {}
        self._proxies: list[tuple[int, ...]] = []
        # Every life of every node.
        self._lives: list[Node] = []
        # Who has asked for a connection to whom.
        self._asked: list[tuple[Node, int, Deferred[Endpoint]]] = []
        self._told: Counter[tuple[int, Status]] = Counter()
        self._options: dict[str, Any] = {
            "topology": "records",
            "program": self._live,
            "heartbeat_seconds": self.random.choice((1.0, 1.5)),
            "retry_seconds_max": 2.0,
            "upstream_return_seconds": 2.0,
            **self.random.choice(({}, {}, _TIGHT)),
        }
        self._make(count)

    def _live(self, node: Node) -> None:
        _Sink(node)
        self._lives.append(node)
        node.events.on_forward_response.observe(lambda fate: self._heard(node, fate))

    def _heard(self, node: Node, fate: Fate) -> None:
        self._told[fate.gave_up_at or node.config.id, fate.status] += fate.count

    def _make(self, count: int) -> None:
        lot = self.random
        self._node(TOP, (), proxy=True)
        for region in range(1, lot.choice((2, 3)) + 1):
            proxies = tuple(0x10 * region + place for place in range(1, lot.choice((1, 2, 3)) + 1))
            labels = {"region": str(region), "tier": "proxy"}
            for proxy in proxies:
                self._node(proxy, (TOP,), labels=labels, peer_labels=labels, proxy=True)
            self._proxies.append(proxies)
        self._proxy_count = len(self.candidates) - 1
        for number in range(count - len(self.candidates)):
            proxies = lot.choice(self._proxies)
            order = tuple(lot.sample(proxies, len(proxies)))
            table = lot.choice(("auto", "auto", "auto", "upstream", "full", "off"))
            self._node(0x100 * (number + 1) + order[0], order, route_table=table)

    def _node(self, bus_id: int, above: tuple[int, ...], **options: Any) -> None:
        self.candidates[bus_id] = above
        self.bus.node(
            bus_id,
            listen=[address_of(bus_id)],
            upstreams=[address_of(each) for each in above],
            **self._options,
            **options,
        )

    @property
    def nodes(self) -> dict[int, Node]:
        """The present life of every node."""
        return {bus_id: self.bus[bus_id] for bus_id in self.candidates}

    # What happens.

    def rage(self, shape: Shape) -> None:
        """Start everybody, and let things happen while they talk."""
        self._is_fine = not shape.faults
        self.seconds = shape.seconds
        everybody = list(self.candidates)
        for number, bus_id in enumerate(everybody):
            # Leaves together, some before the proxies are quite ready.
            self.bus.run(0.2 if number <= self._proxy_count else 0.0)
            self.bus[bus_id].start()
        self.bus.run(1.5)
        for _ in range(int(_BURSTS_PER_SECOND * self.seconds)):
            at, source = self.random.uniform(0, self.seconds), self.random.choice(everybody)
            self.bus.later(at, source, self._burst)
        for at, source, target in self._connects():
            self.bus.later(at, source, partial(self._connect, target=target))
        self.bus.weather(self.seconds, shape.faults, durations=_DURATIONS)
        lot = Random(f"departures of {self.bus.seed}")
        for _ in range(shape.departures):
            away = lot.choice(_DURATIONS[:-1])
            self.bus.later(
                lot.uniform(0, self.seconds),
                lot.choice(everybody),
                partial(self.bus.leave, seconds=away),
            )
        for _ in range(int(self.seconds)):
            self.bus.run(1)
            self._look_at_queues()

    def _burst(self, node: Node) -> None:
        target = self.random.choice([each for each in self.candidates if each != node.config.id])
        for _ in range(self.random.choice((1, 1, 3))):
            try:
                node.send(target, bytes(self.random.choice(_SIZES_BYTES)))
            except Undeliverable:
                return

    def _connects(self) -> Iterator[tuple[float, int, int]]:
        """Draw when a program connects its node to another one; none does with an odd seed."""
        lot = Random(f"connects of {self.bus.seed}")
        # Who keeps no table cannot believe what a peer passes on.
        able = [each for each, node in self.nodes.items() if node.config.route_table in _ASKING]
        for _ in range(0 if self.bus.seed % 2 else lot.choice(_CONNECTS)):
            source, target = lot.sample(able, 2)
            yield lot.uniform(0, self.seconds), source, target

    def _connect(self, node: Node, target: int) -> None:
        self.bus.log.append(f"connect {node.config.id:#x} to {target:#x}")
        asked = node.connect(address_of(target))
        self._asked.append((node, target, asked))
        asked.addErrback(lambda failure: failure.trap(AtbusError))

    def _look_at_queues(self) -> None:
        """No node holds more than it may, but for the last message."""
        for bus_id, node in self.nodes.items():
            used = node._parts.context.budget.used_bytes  # noqa: SLF001 - no program needs it
            if used > node.config.queued_bytes_node + max(_SIZES_BYTES):
                self.found.append(f"{bus_id:#x} holds {used} bytes")

    # What has to be so afterwards.

    def rest(self) -> list[str]:
        """
        Wait until all is quiet, ask everybody, stop everybody, and have all judged.

        :returns: What is wrong.
        """
        self.bus.wait_for_calm()
        for _ in range(int(QUIET_SECONDS)):
            self.bus.run(1.0)
            model = BusModel(self.nodes)
            # Tables may be right before a connection to somebody who was off has timed out.
            faults = self._misplaced(model) + model.faults() + self._unanswered()
            if not faults:
                break
        self.found += faults
        if not self.found:
            self._send_samples(model)
        if not self.found and not self.random.randrange(_LEAVING):
            self._let_one_leave(model)
        if not self.found:
            self._judge()
        return self.found

    def _unanswered(self) -> list[str]:
        """Whoever has asked for a connection, and lives, hears what became of it."""
        return [
            f"{node.config.id:#x} has never heard what became of a connection to {target:#x}"
            for node, target, asked in self._asked
            if not asked.called and node is self.bus[node.config.id]
        ]

    def _misplaced(self, model: BusModel) -> list[str]:
        """Each node is below the best of its candidates, and proxies of a region are peers."""
        found = []
        for bus_id, candidates in self.candidates.items():
            upstream = model.upstream_of(bus_id)
            if upstream != (candidates or (0,))[0]:
                found.append(f"{bus_id:#x} is below {upstream:#x}, not the first of {candidates}")
        for proxies in self._proxies:
            for one in proxies:
                strangers = set(proxies) - {one} - set(model.links[one])
                found += [f"{one:#x} is no peer of {other:#x}" for other in sorted(strangers)]
        return found

    def _send_samples(self, model: BusModel) -> None:
        """Messages of a quiet time pass the nodes that the model names, and no others."""
        before = self._wait_for_stragglers()
        passes: Counter[int] = Counter()
        arrivals: Counter[int] = Counter()
        hops = model.hops()
        for _ in range(_SAMPLES):
            source, target = self.random.sample(list(self.candidates), 2)
            self.bus[source].send(target, b"x")
            passes.update(model.way(hops, source, target)[1:-1])
            arrivals[target] += 1
        self.bus.run(_SAMPLE_SECONDS)
        for bus_id, (forwarded, received) in before.items():
            now = self._passed_on(bus_id)
            if now != (forwarded + passes[bus_id], received + arrivals[bus_id]):
                self.found.append(
                    f"{bus_id:#x} has passed on and received {now}, before {forwarded, received}, "
                    f"of {passes[bus_id]} and {arrivals[bus_id]}"
                )

    def _wait_for_stragglers(self) -> dict[int, tuple[int, int]]:
        """Let what was held somewhere arrive, or be given up; say what nodes have passed on."""
        before: dict[int, tuple[int, int]] = {}
        while before != (now := {bus_id: self._passed_on(bus_id) for bus_id in self.nodes}):
            before = now
            self.bus.run(_SAMPLE_SECONDS)
        return before

    def _passed_on(self, bus_id: int) -> tuple[int, int]:
        statistics = self.bus[bus_id].statistics
        return statistics.forwarded_messages, statistics.received_messages

    def _let_one_leave(self, model: BusModel) -> None:
        """Who leaves changes the ways to it, through it, and of those that it was above."""
        leaving = self.random.choice(list(self.candidates)[1:])
        before = model.hops()
        self.bus.result_of(self.bus[leaving].stop())
        self.bus.run(1.0)
        rest = BusModel({bus_id: node for bus_id, node in self.nodes.items() if bus_id != leaving})
        after = rest.hops()
        for (source, target), hop in after.items():
            concerned = {*model.way(before, source, target)}
            concerned |= {*model.chain_of(source), *model.chain_of(target)}
            if leaving not in concerned and hop != before[source, target]:
                self.found.append(
                    f"{leaving:#x} leaves, and {source:#x} goes to {target:#x} by {hop:#x}"
                )
        self.bus.start(self.bus[leaving])
        self.bus.run(3.0)

    def _judge(self) -> None:
        verdict = self.bus.finish(calm_seconds=1.0)
        if not verdict.sent:
            self.found.append("nothing was sent")
        if self._is_fine and verdict.uncertain:
            self.found.append(f"nothing broke, and {verdict.uncertain} messages are uncertain")
        counted: Counter[tuple[int, Status]] = Counter()
        for node in self._lives:
            for status, count in node.statistics.refused.items():
                counted[node.config.id, status] += count
        for (bus_id, status), count in self._told.items():
            if _is_refusal(status) and count > counted[bus_id, status]:
                self.found.append(
                    f"{bus_id:#x} is said to have refused {count} with {status.name}, "
                    f"and has counted {counted[bus_id, status]}"
                )


def _is_refusal(status: Status) -> bool:
    """Tell whether somebody has refused a message, who is to have counted that."""
    return status.is_fate and status is not Status.UNCERTAIN


@attrs.frozen
class Shape:
    """
    What kind of storm it is.

    :param count: How many nodes there are.
    :param faults: How many things break.
    :param departures: How many nodes leave in good order, and come back.
    :param seconds: How long it lasts.
    """

    count: int = 30
    faults: int = 8
    departures: int = 0
    seconds: float = STORM_SECONDS

    def lasting(self, seconds: float) -> Shape:
        """Give a storm in which as much happens in each second, but for so long."""
        factor = seconds / self.seconds
        return attrs.evolve(
            self,
            faults=int(self.faults * factor),
            departures=int(self.departures * factor),
            seconds=seconds,
        )


def shape_of(seed: int) -> Shape:
    """Draw what kind of storm a seed is."""
    lot = Random(f"shape of {seed}")
    departures, faults = lot.choice(_EVENTS)
    shape = Shape(lot.choice(_NODES), faults, departures)
    is_long = not Random(f"length of {seed}").randrange(_LONG)
    return shape.lasting(_LONG_SECONDS) if is_long else shape


def _rate_of(seed: int) -> float | None:
    """Draw how fast links are; in a third of the seeds they have a rate."""
    lot = Random(f"rate of {seed}")
    return lot.uniform(*_RATES_PER_SECOND) if not lot.randrange(_SLOW) else None


def storm(
    seed: int, shape: Shape | None = None, kind: type[BusStorm] = BusStorm
) -> tuple[VirtualBus, list[str]]:
    """
    Let one seed happen.

    :param seed: The seed.
    :param shape: What kind of storm it is; None for the seed's.
    :param kind: What else the nodes do.
    :returns: The bus, which tells what was done, and what was wrong.
    """
    shape = shape or shape_of(seed)
    lots = Random(seed)
    least, mean = lots.uniform(0.0, 0.03), lots.uniform(0.03, 0.1)
    bus = VirtualBus(
        seed,
        delay_seconds=least,
        jitter_seconds=2 * (mean - least),
        bytes_per_second=_rate_of(seed),
    )
    # A fifth of the time would go into looking for garbage of which there is next to none.
    gc.disable()
    try:
        happened = kind(bus, shape.count)
        happened.rage(shape)
        return bus, happened.rest()
    except Exception as error:  # noqa: BLE001 - whatever happened, its seed is to be named
        return bus, [f"{type(error).__name__}: {error}"]
    finally:
        gc.enable()
        bus.close()


def repeated(seed: int) -> str:
    """Give the command that lets a seed happen again."""
    return f"python -m atbus.testing.bus_storm --seeds {seed}-{seed}"


def tell(seed: int) -> str:
    """
    Let one seed happen.

    :returns: What was done, what was wrong and how to have it again; nothing if all was well.
    """
    bus, found = storm(seed)
    return "\n".join([*found[:10], bus.story(), repeated(seed)]) if found else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run many seeds.

    :param arguments: Of the command line.
    :returns: The exit code: 1 when a seed failed.
    """
    return run_seeds("atbus.testing.bus_storm", tell, arguments)


if __name__ == "__main__":
    sys.exit(main())
