"""
A bus in memory, in bad weather: test your own service with it.

Real nodes run on a clock that only tests move, over a network that can delay, cut, clog and part.
Each node writes down what becomes of its messages, and in the end the checker of this package
(`atbus.testing.checker`) judges: every message was delivered once, in order, or its sender was told
why not. All lots come from one seed, so that what failed once can be looked at again::

    with VirtualBus(seed=7) as bus:
        root = bus.node(0x10000, listen=["ipv4://10.0.0.1:1"], subnets=[(0, 16)])
        shop = bus.node(0x10001, upstream="ipv4://10.0.0.1:1", program=Shop)
        bus.start(root, shop)
        bus.weather(seconds=30, faults=10)
        bus.run(30)

At the end of the block the weather clears, everything is stopped and judged; a failure names the
seed and what was done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from atbus.errors import Status
from atbus.node.node import Node
from atbus.testing.checker import SUFFIX, Verdict, check_folder
from atbus.testing.network import VirtualNetwork
from atbus.testing.node_record import NodeRecord

T = TypeVar("T")

#: How long everything takes to come back after the last fault: the longest pause between two
#: dials, and a dead host that is found by silence.
CALM_SECONDS: Final = 60.0

#: What `VirtualBus.weather` lets happen.
FAULTS: Final = (
    "kill",
    "power_off",
    "freeze",
    "cut",
    "half_cut",
    "clog",
    "part",
)


@attrs.define(eq=False)
class _Place:
    """What a node is made of, to make it again."""

    options: dict[str, Any]
    program: Callable[[Node], object] | None
    node: Node
    record: NodeRecord
    alive: bool = True


class VirtualBus:
    """
    A bus whose time, network and processes belong to a test.

    :param seed: Where all lots come from.
    :param delay_seconds: How long a frame takes one way; None draws it.
    :param jitter_seconds: By how much any one delay may be longer; None draws it.
    :param bytes_per_second: How much a link takes in each direction; None for any amount.
    """

    def __init__(
        self,
        seed: int,
        *,
        delay_seconds: float | None = None,
        jitter_seconds: float | None = None,
        bytes_per_second: float | None = None,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        delay = self.random.uniform(0.000_5, 0.03) if delay_seconds is None else delay_seconds
        jitter = self.random.choice((0.0, delay)) if jitter_seconds is None else jitter_seconds
        self.network = VirtualNetwork(delay, seed, jitter, bytes_per_second)
        #: What was done, with the time.
        self.log: list[str] = []
        #: How often a node gave up the order of messages, which it says.
        self.orders_given_up = 0
        self._places: dict[int, _Place] = {}
        # Under which number each life of each node is known here.
        self._numbers: dict[Node, int] = {}
        self._killed: set[int] = set()
        self._clear_at = 0.0
        self._verdict: Verdict | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="atbus-virtual-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.finish()
            elif error is not None:
                error.add_note(self.story())
        finally:
            self.close()

    def close(self) -> None:
        """Forget what the nodes wrote down; the end of a ``with`` block does that."""
        for place in self._places.values():
            place.record.close()
        self._folder.cleanup()

    # Nodes.

    def node(
        self, bus_id: int, *, program: Callable[[Node], object] | None = None, **options: Any
    ) -> Node:
        """
        Make a node, not started yet.

        :param bus_id: Its id. With ``id="auto"`` among the options it is only the number under
            which the bus knows the node.
        :param program: Called with the node, and again with each further life of it: what makes
            your service of a node.
        :param options: As for `NodeConfig`.
        :raises ConfigurationError: They fit no node.
        """
        self._places[bus_id] = self._bear(bus_id, options, program)
        return self._places[bus_id].node

    def _bear(
        self, bus_id: int, options: dict[str, Any], program: Callable[[Node], object] | None
    ) -> _Place:
        node = self.network.node(**{"id": bus_id, "allow_insecure": True, **options})
        self._numbers[node] = bus_id
        record = NodeRecord(node, Path(self._folder.name) / f"{bus_id:x}{SUFFIX}")
        node.events.on_error.observe(self._heard_error)
        if program is not None:
            program(node)
        return _Place(options, program, node, record)

    def _heard_error(self, status: Status, detail: str) -> None:
        if detail.startswith("order towards"):
            self.orders_given_up += 1

    def __getitem__(self, bus_id: int) -> Node:
        """Give the present life of a node."""
        return self._places[bus_id].node

    def start(self, *nodes: Node) -> None:
        """
        Start nodes, one after the other, and wait until each is up.

        :raises AssertionError: One did not come up.
        """
        self.network.start(*nodes)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.network.settle(seconds)

    def later(self, seconds: float, bus_id: int, call: Callable[[Node], object]) -> None:
        """
        Have a program do something with its node, in the node's process.

        If the process is dead at that time, or the node is not up, nothing happens; if it stands
        still, it happens when it goes on.

        :param seconds: How long from now.
        :param bus_id: Whose program it is.
        :param call: Called with the node's present life.
        """
        self.network.clock.callLater(seconds, self._act, bus_id, call)

    def _act(self, bus_id: int, call: Callable[[Node], object]) -> None:
        place = self._places[bus_id]
        if place.alive and place.node.state == "running":
            self.network.process_of(place.node).arrive(lambda: call(place.node))

    def result_of(self, waiting: Deferred[T], seconds_max: float = 60.0) -> T:
        """
        Let time pass until a Deferred has fired.

        :returns: What it fired with.
        :raises Exception: What it failed with.
        :raises AssertionError: It did not fire.
        """
        return self.network.result_of(waiting, seconds_max)

    # Faults.

    def kill(self, node: Node) -> None:
        """End a node's process at once; its kernel tells the others."""
        self._end(node, self.network.kill)

    def power_off(self, node: Node) -> None:
        """End a node's host at once; nobody tells the others."""
        self._end(node, self.network.power_off)

    def _end(self, node: Node, how: Callable[[Node], None]) -> None:
        bus_id = self._numbers[node]
        place = self._places[bus_id]
        if place.node is not node or not place.alive:
            return
        self._note(f"{how.__name__} {bus_id:#x}")
        self._killed |= place.record.ids
        place.alive = False
        how(node)
        place.record.close()

    def restart(self, bus_id: int) -> Node:
        """
        Begin another life of a node that was killed: same options, same program.

        If it is refused before it is up, it is started again a second later, as by a supervisor.

        :returns: The node, which is starting.
        """
        place = self._places[bus_id]
        self._note(f"restart {bus_id:#x}")
        self._places[bus_id] = place = self._bear(bus_id, place.options, place.program)
        place.node.start().addErrback(self._refused, bus_id, place)
        return place.node

    def _refused(self, failure: Failure, bus_id: int, place: _Place) -> None:
        self._note(f"{bus_id:#x}: {failure.value}")
        if place.alive and self._places[bus_id] is place:
            place.record.close()
            self._later(1.0, self.restart, bus_id)

    def leave(self, node: Node, seconds: float) -> None:
        """
        Stop a node in good order, and begin another life of it some time after that.

        :param node: The node; nothing happens if it is not up.
        :param seconds: How long it is away.
        """
        self._note(f"leave {self._numbers[node]:#x} for {seconds:.3f} s")
        self._clear_within(node.config.drain_seconds + seconds)

        def stop() -> None:
            if node.state == "running":
                node.stop().addCallback(lambda _: self._left(node, seconds))

        self.network.process_of(node).arrive(stop)

    def _left(self, node: Node, seconds: float) -> None:
        number = self._numbers[node]
        place = self._places[number]
        if place.node is node and place.alive:
            place.alive = False
            place.record.close()
            self._later(seconds, self.restart, number)

    def freeze(self, node: Node, seconds: float) -> None:
        """Let a process stand still for some time."""
        self._note(f"freeze {self._numbers[node]:#x} for {seconds:.3f} s")
        self.network.freeze(node)
        self._later(seconds, self.network.thaw, node)

    def cut(self, one: Node, other: Node) -> None:
        """End every connection between two nodes; both sides learn of it."""
        self._note(f"cut {self._numbers[one]:#x} {self._numbers[other]:#x}")
        self.network.cut(one, other)

    def half_cut(self, one: Node, other: Node, seconds: float) -> None:
        """Let nothing pass from the first node to the second for some time; nobody is told."""
        pair = f"{self._numbers[one]:#x} to {self._numbers[other]:#x}"
        self._note(f"half cut {pair} for {seconds:.3f} s")
        for channel in self.network.between(one, other):
            channel.stall()
            self._later(seconds, channel.resume)

    def clog(self, one: Node, other: Node, seconds: float) -> None:
        """Let nothing pass on the connections of two nodes for some time; nobody is told."""
        self._note(f"clog {self._numbers[one]:#x} {self._numbers[other]:#x} for {seconds:.3f} s")
        for near in self.network.between(one, other):
            for channel in (near, near.other):
                channel.stall()
                self._later(seconds, channel.resume)

    def part(self, ones: Sequence[Node], others: Sequence[Node], seconds: float) -> None:
        """Let nothing pass between two groups for some time, no dials either; nobody is told."""
        pairs = [(one, other) for one in ones for other in others]
        names = " ".join(f"{self._numbers[one]:#x}" for one in ones)
        self._note(f"part {names} from the others for {seconds:.3f} s")
        for pair in pairs:
            self.network.split(*pair)
            self._later(seconds, self.network.heal, *pair)

    def weather(
        self,
        seconds: float,
        faults: int = 10,
        kinds: Sequence[str] = FAULTS,
        *,
        durations: Sequence[float] = (0.05, 0.5, 2.0, 10.0),
    ) -> None:
        """
        Let things happen at random times, from now on; what was killed comes back.

        :param seconds: For how long.
        :param faults: How many.
        :param kinds: Names out of `FAULTS`.
        :param durations: How long one of them may last, seconds.
        """
        for _ in range(faults):
            kind = self.random.choice(kinds)
            lasts = self.random.choice(durations)
            self._later(self.random.uniform(0, seconds), self._happen, kind, lasts)

    def _happen(self, kind: str, lasts: float) -> None:
        living = [place.node for place in self._places.values() if place.alive]
        node = self.random.choice(living) if living else None
        neighbors = [] if node is None else [n for n in living if n.bus_id in node.endpoints]
        if node is None or (kind in ("cut", "half_cut", "clog") and not neighbors):
            self._note(f"{kind}: nobody to do it to")
            return
        match kind:
            case "kill" | "power_off":
                getattr(self, kind)(node)
                self._later(lasts, self.restart, self._numbers[node])
            case "freeze":
                self.freeze(node, lasts)
            case "cut":
                self.cut(node, self.random.choice(neighbors))
            case "half_cut" | "clog":
                getattr(self, kind)(node, self.random.choice(neighbors), lasts)
            case "part":
                half = self.random.sample(living, len(living) // 2)
                self.part(half, [each for each in living if each not in half], lasts)
            case _:
                raise ValueError(f"{kind!r} is no fault; there are {', '.join(FAULTS)}")

    def _later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        self._clear_within(seconds)
        self.network.clock.callLater(seconds, call, *arguments)

    def _clear_within(self, seconds: float) -> None:
        self._clear_at = max(self._clear_at, self.network.clock.seconds() + seconds)

    def _note(self, text: str) -> None:
        self.log.append(f"{self.network.clock.seconds():.4f} {text}")

    # The end.

    def story(self) -> str:
        """Tell the seed, and what was done."""
        return "\n".join([f"seed {self.seed}", *self.log])

    def wait_for_calm(self) -> None:
        """Let time pass until the weather is over and what was killed has been started again."""
        clock = self.network.clock
        while clock.seconds() < self._clear_at:
            clock.advance(self._clear_at - clock.seconds())

    def finish(self, calm_seconds: float = CALM_SECONDS) -> Verdict:
        """
        Wait until the weather is over and some time more, stop every node, and judge.

        :param calm_seconds: That time; at the end of it every node has to be up.
        :returns: The verdict.
        :raises AssertionError: The bus has broken a promise, or something is left over; says what,
            with the seed and what was done. A second call gives the verdict again.
        """
        if self._verdict is not None:
            return self._verdict
        self.wait_for_calm()
        clock = self.network.clock
        clock.advance(calm_seconds)
        living = [place.node for place in self._places.values() if place.alive]
        found = [f"{self._numbers[n]:#x} is {n.state}" for n in living if n.state != "running"]
        for stopping in [node.stop() for node in living]:
            self.network.result_of(stopping)
        clock.advance(1.0)
        verdict = self._verdict = check_folder(self._folder.name, self._killed)
        if verdict.sent and not self._keeps_promises(verdict):
            found.append(str(verdict))
        if clock.getDelayedCalls():
            found.append(f"timers are left: {len(clock.getDelayedCalls())}")
        if self.network.channels:
            found.append(f"channels are left: {len(self.network.channels)}")
        if found:
            raise AssertionError("\n".join([*found, self.story()]))
        return verdict

    def _keeps_promises(self, verdict: Verdict) -> bool:
        """Tell whether all is well; a node may give up the order to a target, if it says so."""
        return attrs.evolve(verdict, reordered=verdict.reordered - verdict.unordered).ok
