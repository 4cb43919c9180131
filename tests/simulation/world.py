"""
A small tree of nodes, with random traffic and random faults, all from one seed.

::

    ROOT 10000 -- NORTH 10100 -- 10101 10102 10103
               `- SOUTH 10200 -- 10201 10202 10203
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.node.observing import observe
from atbus.testing.network import VirtualNetwork
from tests.simulation.model import Life, Model

ROOT, NORTH, SOUTH = 0x10000, 0x10100, 0x10200
PROXIES = (NORTH, SOUTH)
LEAVES = (NORTH + 1, NORTH + 2, NORTH + 3, SOUTH + 1, SOUTH + 2, SOUTH + 3)
_REPLIES_FROM = 1_000_000
# So little that every kind of limit is met.
_TIGHT = {
    "queued_bytes_soft": 20_000,
    "queued_bytes_hard": 200_000,
    "queued_bytes_node": 400_000,
    "window_bytes": 100_000,
    "window_count": 10,
}


@attrs.define(eq=False)
class Witness:
    """Tells the model what one node accepts and is given; the node's receiver and observer."""

    model: Model
    life: Life
    #: Says how long the program takes for a message; None: it has no time to lose.
    takes: Callable[[], Deferred[None]] | None = None

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> object:
        """Take a message, at once or later."""
        self.model.arrived(self.life, source, payload)
        return None if self.takes is None else self.takes()

    def answer(self, source: int, payload: bytes) -> bytes:
        """Take a request."""
        self.model.arrived(self.life, source, payload)
        number, _, _ = payload.partition(b":")
        return self.model.payload(_REPLIES_FROM + int(number), len(payload) // 2)

    def accepted(self, target: int, sequence: int, kind: int, payload: bytes) -> None:
        """See a message that was accepted."""
        self.model.sent(self.life, target, sequence, payload)

    def refused(self, target: int, status: Status) -> None:
        """See a message that was not accepted."""
        self.model.refused[status.name] += 1

    def received(self, *_: object) -> None:
        """What the program is given it tells itself."""

    def order_given_up(self, target: int) -> None:
        """The world hears of it as an error of the node."""

    def dropped(
        self, source: int, epoch: int, target: int, first_sequence: int, count: int, status: Status
    ) -> None:
        """See a reply that came too late: nobody waits for it, but it has arrived."""
        if status is Status.TIMEOUT and target == self.life.bus_id:
            self.model.late(self.life, source, first_sequence)


class World:
    """
    A bus, what is sent on it, and what is done to it.

    :param seed: Everything follows from it.
    :param direct: Whether leaves listen and are told of each other.
    :param jitter_seconds: How unequal delays are; None draws it.
    :param tight: Whether queues and windows are short, and programs slow.
    """

    def __init__(
        self,
        seed: int,
        *,
        direct: bool = False,
        jitter_seconds: float | None = None,
        tight: bool = False,
    ) -> None:
        self.random = Random(seed)
        if jitter_seconds is None:
            jitter_seconds = self.random.choice((0.0, 0.002, 0.02))
        self.network = VirtualNetwork(seed=seed, jitter_seconds=jitter_seconds)
        self.model = Model()
        self.direct = direct
        self.tight = tight
        self.nodes: dict[int, Life] = {}
        self.lives: list[Life] = []
        self.log: list[str] = []
        self.quiet_at = float("inf")
        # Long flows see changes of their path; two of them between siblings.
        self._busy_flows = [
            *(tuple(self.random.sample(LEAVES[:3], 2)) for _ in range(2)),
            *(tuple(self.random.sample((ROOT, *PROXIES, *LEAVES), 2)) for _ in range(2)),
        ]
        self.given_up: set[tuple[int, int]] = set()
        self._number = 0

    # Nodes.

    def start(self, bus_ids: Sequence[int] = (ROOT, *PROXIES, *LEAVES)) -> None:
        """Start some nodes and wait until all of them are up."""
        for bus_id in bus_ids:
            self.bear(bus_id)
            self._wait_for(self.node(bus_id))
        self.network.settle(1)

    def _wait_for(self, node: Node) -> None:
        self.network.clock.run_until(lambda: node.state == "running", 20)

    def node(self, bus_id: int) -> Node:
        """Give the node that has an id now."""
        return self.nodes[bus_id].node

    def bear(self, bus_id: int) -> None:
        """Start a node, as its next life."""
        upstream: dict[str, Any] = {}
        if bus_id != ROOT:
            upstream["upstream"] = _address(ROOT if bus_id in PROXIES else bus_id & ~0xFF)
        listens = bus_id == ROOT or bus_id in PROXIES or self.direct
        node = self.network.node(
            id=bus_id,
            listen=[_address(bus_id)] if listens else [],
            subnets=[(0, 16)] if bus_id == ROOT else [(0, 8)] if bus_id in PROXIES else [],
            allow_insecure=True,
            direct_notice=self.direct,
            frame_bytes_max=self.random.choice((4_096, 10_000, 65_536)),
            heartbeat_seconds=1.0,
            retry_initial_seconds=0.05,
            retry_seconds_max=0.5,
            **(_TIGHT if self.tight else {}),
            **upstream,
        )
        life = self.model.born(node)
        witness = Witness(self.model, life, partial(self._takes, node) if self.tight else None)
        node.receiver = witness  # type: ignore[assignment]  # declared by duck
        node.on_request(witness.answer)
        observe(node, witness)
        node.events.on_error.observe(lambda status, detail: self._error(bus_id, detail))
        self.nodes[bus_id] = life
        self.lives.append(life)
        node.start().addErrback(lambda _: None)

    def _takes(self, node: Node) -> Deferred[None]:
        """Let a program take its time for one message."""
        taking: Deferred[None] = Deferred()
        seconds = self.random.choice((0.0, 0.001, 0.05, 0.4))
        self.network.process_of(node).callLater(seconds, taking.callback, None)
        return taking

    def _error(self, bus_id: int, detail: str) -> None:
        words = detail.split()
        if words[:2] == ["order", "towards"]:
            self.given_up.add((bus_id, int(words[2], 16)))
            self.note(f"{bus_id:x}: {detail}")

    # Traffic.

    def traffic(self, seconds: float, bursts_per_second: float) -> None:
        """Have nodes send at random times, from now on for some time."""
        at = 0.0
        while at < seconds:
            at += self.random.expovariate(bursts_per_second)
            self.network.clock.callLater(at, self._burst)
        self.quiet_at = self.network.clock.seconds() + at

    def _burst(self) -> None:
        everybody = (ROOT, *PROXIES, *LEAVES)
        if self.random.random() < 0.7:
            source, target = self.random.choice(self._busy_flows)
            targets = [target]
        else:
            source = self.random.choice(everybody)
            targets = [bus_id for bus_id in everybody if bus_id != source]
        life = self.nodes[source]
        if not (life.killed or life.stopped):
            self.network.process_of(life.node).arrive(lambda: self._send_some(life, targets))

    def _send_some(self, life: Life, targets: Sequence[int]) -> None:
        chosen = self.random.sample(targets, min(2, len(targets)))
        for _ in range(self.random.choice((1, 1, 2, 4, 8))):
            self._send_one(life, self.random.choice(chosen))

    def _send_one(self, life: Life, target: int) -> None:
        lot = self.random.random()
        size = self.random.choice((0, 10, 100, 1_000))
        if lot > 0.95:
            size = self.random.choice((5_000, 20_000, 70_000))
        self._number += 1
        number = self._number
        payload = self.model.payload(number, size)
        node = life.node
        how = self.random.random()
        if how < 0.8:
            try:
                node.send(target, payload, number & 7)
            except Undeliverable:
                return
            return
        seconds = self.random.choice((0.5, 3.0, 8.0))
        asked: Deferred[Any]
        if how < 0.92:
            asked = node.deliver(target, payload, timeout=seconds)
        else:
            asked = node.request(target, payload, timeout=seconds)
            asked.addCallback(self._replied, life, target)
        self.model.asks(number, "deliver" if how < 0.92 else "request", asked)
        if lot < 0.02:
            self.network.clock.callLater(0.01, asked.cancel)

    def _replied(self, reply: bytes, life: Life, source: int) -> bytes:
        self.model.arrived(life, source, reply)
        return reply

    # Faults.

    def faults(self, seconds: float, number: int, kinds: Sequence[str]) -> None:
        """Have things happen at random times, from now on for some time."""
        for _ in range(number):
            kind = self.random.choice(kinds)
            call: Callable[[], None] = getattr(self, f"_{kind}")
            self.network.clock.callLater(self.random.uniform(0, seconds), self._happen, kind, call)

    def _happen(self, kind: str, call: Callable[[], None]) -> None:
        before = len(self.log)
        call()
        if len(self.log) == before:
            self.log.append(f"{self.network.clock.seconds():.4f} {kind}: nothing to do it to")

    def note(self, text: str) -> None:
        """Write down what was done, for people who look at a failure."""
        self.log.append(f"{self.network.clock.seconds():.4f} {text}")

    def _living(self, bus_ids: Sequence[int]) -> Life | None:
        living = [
            life
            for bus_id, life in self.nodes.items()
            if bus_id in bus_ids and not (life.killed or life.stopped)
        ]
        return self.random.choice(living) if living else None

    def _later(self, call: Callable[[], None]) -> None:
        self.network.clock.callLater(self.random.choice((0.001, 0.3, 1.5, 4.0)), call)

    def _kill_proxy(self) -> None:
        self._end(PROXIES, self.network.kill)

    def _kill_leaf(self) -> None:
        self._end(LEAVES, self.network.kill)

    def _kill_root(self) -> None:
        self._end((ROOT,), self.network.kill)

    def _power_off(self) -> None:
        self._end((*PROXIES, *LEAVES), self.network.power_off)

    def _end(self, bus_ids: Sequence[int], how: Callable[[Node], None]) -> None:
        life = self._living(bus_ids)
        if life is not None:
            self.end(life, how)

    def end(self, life: Life, how: Callable[[Node], None]) -> None:
        """
        End a node's process; it comes back soon, as another life.

        :param how: One of the network's ways to do that.
        """
        self.note(f"{how.__name__} {life.bus_id:x}")
        life.killed = True
        how(life.node)
        self._later(lambda: self.bear(life.bus_id))

    def _stop(self) -> None:
        life = self._living((*PROXIES, *LEAVES))
        if life is None:
            return
        self.note(f"stop {life.bus_id:x}")
        life.stopped = True
        life.node.stop().addCallback(lambda _: self._later(lambda: self.bear(life.bus_id)))

    def _pair(self) -> tuple[Node, Node] | None:
        pairs = [
            (life.node, other.node)
            for life in self.nodes.values()
            for other in self.nodes.values()
            if not life.killed and not other.killed and other.bus_id in life.node.endpoints
        ]
        return self.random.choice(pairs) if pairs else None

    def _cut(self) -> None:
        pair = self._pair()
        if pair is not None:
            self.note(f"cut {pair[0].bus_id:x} {pair[1].bus_id:x}")
            self.network.cut(*pair)

    def _cut_one(self) -> None:
        """Break one of the connections between two nodes."""
        pair = self._pair()
        channels = self.network.between(*pair) if pair else []
        if pair and channels:
            channel = self.random.choice(channels)
            self.note(f"cut {channel} to {pair[1].bus_id:x}")
            channel.carry(channel.other.hang_up)
            channel.other.carry(channel.hang_up)

    def _stall(self) -> None:
        pair = self._pair()
        channels = self.network.between(*pair) if pair else []
        if pair and channels:
            channel = self.random.choice(channels)
            self.note(f"stall {channel} to {pair[1].bus_id:x}")
            channel.stall()
            self._later(channel.resume)

    def _hiccup(self) -> None:
        """Hold up a channel for less time than anybody waits for anything."""
        pair = self._pair()
        channels = self.network.between(*pair) if pair else []
        if pair and channels:
            channel = self.random.choice(channels)
            self.note(f"hiccup {channel} to {pair[1].bus_id:x}")
            channel.stall()
            self.network.clock.callLater(self.random.uniform(0.01, 0.4), channel.resume)

    def _split(self) -> None:
        pair = self._pair()
        if pair is not None:
            one, other = pair
            self.note(f"split {one.bus_id:x} {other.bus_id:x}")
            self.network.split(one, other)
            self._later(lambda: self.network.heal(one, other))

    def _freeze(self) -> None:
        life = self._living((ROOT, *PROXIES, *LEAVES))
        if life is not None:
            node = life.node
            self.note(f"freeze {life.bus_id:x}")
            self.network.freeze(node)
            self._later(lambda: self.network.thaw(node))

    def _pause(self) -> None:
        """Let a program take nothing for a while."""
        life = self._living((ROOT, *PROXIES, *LEAVES))
        if life is not None:
            node = life.node
            self.note(f"pause {life.bus_id:x}")
            self.network.process_of(node).arrive(node.pause)
            self._later(lambda: self.network.process_of(node).arrive(node.resume))

    def _disconnect(self) -> None:
        pair = self._pair()
        if pair is not None:
            self.note(f"disconnect {pair[0].bus_id:x} {pair[1].bus_id:x}")
            pair[0].disconnect(pair[1].bus_id).addErrback(lambda _: None)

    # The end.

    def finish(self, seconds: float = 20.0) -> list[str]:
        """
        Wait until all is quiet, stop everything, and judge.

        :returns: What is wrong.
        """
        clock = self.network.clock
        clock.advance(max(0.0, self.quiet_at - clock.seconds()) + seconds)
        found = self._leftovers()
        living = [life for life in self.lives if not life.killed]
        found += self.model.verdict(self.given_up)
        ended: list[object] = []
        for life in living:
            life.node.stop().addBoth(ended.append)
        if not clock.run_until(lambda: len(ended) == len(living), 60):
            found.append("a node does not stop")
        clock.advance(1)
        calls = clock.getDelayedCalls()
        if calls:
            found.append(f"timers are left: {[str(call) for call in calls[:3]]}")
        if self.network.channels:
            found.append(f"channels are left: {self.network.channels}")
        return found

    def _leftovers(self) -> list[str]:
        found = []
        for bus_id, life in self.nodes.items():
            if life.killed or life.stopped:
                found.append(f"{bus_id:x} did not come back")
                continue
            name = f"{bus_id:x}"
            parts = life.node._parts
            kept = {
                "parked news": parts.traffic.courier.parked,
                "open questions": parts.fates.outstanding,
                "waiting messages": parts.registrar.count_waiting(),
                "halves of messages": len(parts.inbox._reassembly),
                "unfinished callbacks": parts.inbox.answering.unfinished,
                "held messages": parts.inbox.held,
                "destinations that others wait for": len(parts.pressure.flow.told),
                "destinations to wait for": sum(
                    len(parts.pressure.flow.paused_by(other)) for other in life.node.endpoints
                ),
                "open frames": sum(p.frames for p in parts.pressure.passages.values()),
                "queued bytes": parts.context.budget.used_bytes,
            }
            found += [f"{name} has {what}: {count}" for what, count in kept.items() if count]
            if life.node.state != "running":
                found.append(f"{name} is {life.node.state}")
            for endpoint in life.node.endpoints.values():
                found += [
                    f"{name}: {connection} is not idle"
                    for connection in endpoint.connections
                    if connection.link is not None and not connection.link.idle
                ]
        return found


def _address(bus_id: int) -> str:
    return f"ipv4://10.0.{bus_id >> 8 & 255}.{bus_id & 255}:1"
