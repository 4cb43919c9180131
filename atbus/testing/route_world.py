"""
Many route tables on a simulated network: the pure machines of many nodes, one clock, no sockets.

`RouteWorld` plays what real nodes would tell their machines: links that come up at both ends at
different moments, frames that take their time and keep their order per link, links that break and
are missed by one end long before the other, processes that die, stop, and start again with a larger
epoch. All lots come from one seed. `atbus.testing.route_model` says what everybody must know in the
end.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random

import attrs

from atbus.routing.batch import Batch
from atbus.routing.record import Record, Stamp
from atbus.routing.sync import RouteSync
from atbus.routing.sync_terms import (
    Effect,
    Forget,
    Learn,
    LostId,
    Peer,
    Send,
    SyncMessage,
    SyncTimes,
    TableMode,
)
from atbus.routing.table import Position

_NEVER = float("inf")


@attrs.define(eq=False)
class RouteLine:
    """
    One registered link between two nodes, from its first to its last moment at either end.

    :param lower: The node for which the other one is the upstream, or either of two peers.
    :param is_tree: Whether it leads to an upstream.
    :param one_way_seconds: How long a frame takes.
    """

    lower: int
    upper: int
    is_tree: bool
    one_way_seconds: float
    #: Who has noticed that it is there, and has not noticed that it is gone.
    ends: set[int] = attrs.field(factory=set)
    #: Whether frames pass, from whom.
    passes: set[int] = attrs.field(factory=set)
    is_cut: bool = False
    arrives_at: dict[int, float] = attrs.field(factory=dict)

    def other(self, bus_id: int) -> int:
        """Give the other end."""
        return self.upper if bus_id == self.lower else self.lower


@attrs.define(eq=False)
class RouteNode:
    """
    One node: its machine while it lives, and what its program was told.

    :param bus_id: Its id.
    :param process: Which process it is, if several claim the id.
    """

    bus_id: int
    mode: TableMode = TableMode.AUTO
    process: str = ""
    tells: bool = True
    labels: tuple[tuple[str, str], ...] = ()
    epoch: int = 0
    machine: RouteSync | None = None
    lines: dict[int, RouteLine] = attrs.field(factory=dict)
    table: dict[int, Record] = attrs.field(factory=dict)
    alarms: list[LostId] = attrs.field(factory=list)
    news: Counter[str] = attrs.field(factory=Counter)
    wakes_at: float = _NEVER

    @property
    def key(self) -> int:
        """What tells it from others: its id, for no two have the same unless a test wants so."""
        return id(self) if self.process else self.bus_id


class RouteWorld:
    """
    A network of route tables.

    :param seed: Where all lots come from.
    :param times: The waits of all machines.
    :param delay: Bounds of the time that a frame takes, seconds.
    """

    def __init__(
        self,
        seed: int,
        times: SyncTimes | None = None,
        delay: tuple[float, float] = (0.001, 0.1),
    ) -> None:
        self.random = Random(seed)
        self.times = times or SyncTimes()
        self.delay = delay
        self.now = 0.0
        self.nodes: dict[int, RouteNode] = {}
        self.lines: list[RouteLine] = []
        #: Called with line, sender and message for all that is sent, if set.
        self.watch: Callable[[RouteLine, int, SyncMessage], None] | None = None
        #: How many messages of the route table were sent.
        self.messages = 0
        #: Called to say how long a batch takes to leave, if set; otherwise it leaves at once.
        self.leaves_after: Callable[[int, int], float] | None = None
        self._events: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        self._numbers = itertools.count()

    # Time.

    def at(self, delay: float, call: Callable[..., object], *arguments: object) -> None:
        """Have something happen after *delay* seconds."""
        heapq.heappush(self._events, (self.now + delay, next(self._numbers), call, arguments))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(events)
            call(*arguments)
        self.now = end

    # Nodes.

    def add(
        self,
        bus_id: int,
        mode: TableMode = TableMode.AUTO,
        *,
        process: str = "",
        tells: bool = True,
    ) -> RouteNode:
        """
        Make a node, and start it.

        :param process: Which process it is, where two claim one id.
        :param tells: Whether it knows of route tables at all.
        """
        node = RouteNode(bus_id, mode, process, tells)
        self.nodes[node.key] = node
        self.start(node)
        return node

    def start(self, node: RouteNode) -> None:
        """Begin a life of a node, above the last one."""
        node.epoch += 1
        node.table.clear()
        node.machine = RouteSync(self.content(node), node.mode, self.times)

    @staticmethod
    def content(node: RouteNode) -> Record:
        """Say what a node is."""
        text = node.process or f"{node.bus_id:x}.{node.epoch}"
        stamp = Stamp(node.epoch, 0)
        return Record(bus_id=node.bus_id, stamp=stamp, process=text, host="h", labels=node.labels)

    def describe(self, node: RouteNode, labels: Mapping[str, str]) -> None:
        """Change what a node says of itself."""
        node.labels = tuple(labels.items())
        if node.machine is not None:
            self._perform(node, node.machine.describe(self.content(node), self.now))

    def kill(self, node: RouteNode, notice: tuple[float, float] = (0.0, 0.1)) -> None:
        """
        End a process.

        :param notice: Bounds of the time after which each neighbor notices, seconds.
        """
        node.machine = None
        node.wakes_at = _NEVER
        for line in list(node.lines.values()):
            line.ends.discard(node.key)
            self._break(line, notice)
        node.lines.clear()

    def stop(self, node: RouteNode) -> None:
        """Stop a node in good order: it says so, and then its links end."""
        if node.machine is None:
            return
        self._perform(node, node.machine.stop(self.now))
        for line in list(node.lines.values()):
            line.ends.discard(node.key)
            self.at(line.one_way_seconds + 0.001, self._break, line, (0.0, 0.01))
        node.lines.clear()
        node.machine = None
        node.wakes_at = _NEVER

    # Links.

    def connect(
        self, lower: RouteNode, upper: RouteNode, *, tree: bool = True, odd: bool = False
    ) -> RouteLine | None:
        """
        Register two nodes with each other.

        :param tree: Whether the second one is the upstream of the first.
        :param odd: Whether the first one's id lies outside the second one's ranges, so that it
            registers there as a peer.
        :returns: The link, or None when one of the two is not there.
        """
        if lower.machine is None or upper.machine is None:
            return None
        line = RouteLine(lower.key, upper.key, tree, self.random.uniform(*self.delay))
        for node, other in ((lower, upper), (upper, lower)):
            if self._goes_over(node, other):
                line.ends.add(node.key)
        self.lines.append(line)
        line.passes = {lower.key, upper.key}
        lower.lines[upper.key] = upper.lines[lower.key] = line
        for node, other in ((lower, upper), (upper, lower)):
            position = Position.PEER
            if tree:
                position = Position.UPSTREAM if node is lower else Position.DOWNSTREAM
                if node is upper and odd:
                    position = Position.PEER
            wait = self.random.uniform(0, self.delay[1])
            self.at(wait, self._available, line, node, other, position)
        return line

    def _goes_over(self, node: RouteNode, other: RouteNode) -> bool:
        """
        End the link that is there before another one takes its place.

        :returns: Whether nobody notices: the same process may go over without a loss.
        """
        old = node.lines.get(other.key)
        if old is None:
            return False
        goes_over = node.key in old.ends and self.random.random() < 0.5
        if goes_over:
            old.ends.discard(node.key)
        self._break(old, (0.0, 0.0))
        self._notice(old, node.key)
        return goes_over

    def cut(self, line: RouteLine, notice: tuple[float, float] = (0.0, 0.1)) -> None:
        """
        Break a link; what is on its way is lost.

        :param notice: Bounds of the time after which each end notices, seconds.
        """
        if not line.is_cut:
            self._break(line, notice)

    def half_cut(self, line: RouteLine, notice: tuple[float, float] = (10.0, 24.0)) -> None:
        """Let nothing pass in one direction; both ends notice by silence, each in its time."""
        if not line.is_cut:
            line.passes.discard(self.random.choice((line.lower, line.upper)))
            line.is_cut = True
            self._notice_later(line, notice)

    def line(self, one: RouteNode, other: RouteNode) -> RouteLine | None:
        """Give the link between two nodes, if there is one that nobody has found broken."""
        line = one.lines.get(other.key)
        return None if line is None or line.is_cut else line

    def _break(self, line: RouteLine, notice: tuple[float, float]) -> None:
        line.is_cut = True
        line.passes.clear()
        self._notice_later(line, notice)

    def _notice_later(self, line: RouteLine, notice: tuple[float, float]) -> None:
        for key in (line.lower, line.upper):
            self.at(self.random.uniform(*notice), self._notice, line, key)

    def _available(
        self, line: RouteLine, node: RouteNode, other: RouteNode, position: Position
    ) -> None:
        if line.is_cut or node.machine is None or node.lines.get(other.key) is not line:
            return
        line.ends.add(node.key)
        record = self.content(other)
        tells = node.tells and other.tells
        peer = Peer(record=record, position=position, tells=tells)
        self._perform(node, node.machine.available(peer, self.now))

    def _notice(self, line: RouteLine, key: int) -> None:
        """Have one end find the link broken; then it closes it, which breaks what is left of it."""
        node = self.nodes[key]
        if key not in line.ends:
            if node.lines.get(line.other(key)) is line:
                del node.lines[line.other(key)]
            return
        line.ends.discard(key)
        line.passes.clear()
        if node.lines.get(line.other(key)) is line:
            del node.lines[line.other(key)]
        if node.machine is not None:
            other = self.nodes[line.other(key)]
            self._perform(node, node.machine.lost(other.bus_id, self.now))

    # What machines want done.

    def _perform(self, node: RouteNode, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(bus_id=bus_id, message=message):
                    self._send(node, bus_id, message)
                case Learn(record=record):
                    node.table[record.bus_id] = record
                    node.news["learn"] += 1
                case Forget(bus_id=bus_id):
                    del node.table[bus_id]
                    node.news["forget"] += 1
                case LostId():
                    node.alarms.append(effect)
                case _:
                    pass
        self._wake_later(node)

    def _wake_later(self, node: RouteNode) -> None:
        deadline = None if node.machine is None else node.machine.deadline
        if deadline is not None and deadline < node.wakes_at:
            node.wakes_at = deadline
            self.at(max(0.0, deadline - self.now), self._wake, node, deadline)

    def _wake(self, node: RouteNode, deadline: float) -> None:
        if node.machine is None or node.wakes_at != deadline:
            return
        node.wakes_at = _NEVER
        self._perform(node, node.machine.tick(max(self.now, deadline)))

    def _send(self, node: RouteNode, bus_id: int, message: SyncMessage) -> None:
        line = next((each for each in self._lines_to(node, bus_id)), None)
        if line is None:
            return
        self.messages += 1
        if self.watch is not None:
            self.watch(line, node.key, message)
        if isinstance(message, Batch):
            wait = 0.0 if self.leaves_after is None else self.leaves_after(node.key, bus_id)
            self.at(wait, self._left, line, node, bus_id)
        if node.key not in line.passes:
            return
        arrives_at = max(self.now + line.one_way_seconds, line.arrives_at.get(node.key, 0.0))
        line.arrives_at[node.key] = arrives_at
        self.at(arrives_at - self.now, self._arrive, line, node, message)

    def _lines_to(self, node: RouteNode, bus_id: int) -> Iterator[RouteLine]:
        line = node.lines.get(bus_id)
        if line is not None:
            yield line
        for key, each in node.lines.items():
            if key != bus_id and self.nodes[key].bus_id == bus_id:
                yield each

    def _left(self, line: RouteLine, node: RouteNode, bus_id: int) -> None:
        if node.machine is not None and node.key in line.ends:
            self._perform(node, node.machine.sent(bus_id, self.now))

    def _arrive(self, line: RouteLine, sender: RouteNode, message: SyncMessage) -> None:
        node = self.nodes[line.other(sender.key)]
        current = node.lines.get(sender.key) is line
        if node.machine is None or sender.key not in line.passes or not current:
            return
        self._perform(node, node.machine.receive(sender.bus_id, message, self.now))
