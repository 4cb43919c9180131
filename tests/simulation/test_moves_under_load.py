"""Proxies that leave while those below them send more than their target takes."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.testing.network import VirtualChannel, VirtualNetwork
from tests.node.mail import MailTests, Receiving

TOP, NORTH, SOUTH = 0x1, 0x11, 0x12
SLOW, FREE = 0x201, 0x202
LEAVES = 0x301
TURN_SECONDS = 0.005


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.0.{bus_id >> 8}.{bus_id & 255}:1"


@attrs.define(eq=False)
class Program:
    """
    What takes the messages of one node, so many in a second.

    :param rate: How many; None for all at once.
    """

    rate: int | None
    numbers: dict[int, list[int]] = attrs.field(factory=dict)
    _open: deque[Deferred[None]] = attrs.field(factory=deque)

    def take(self, source: int, payload: bytes) -> Deferred[None] | None:
        """Get one message."""
        self.numbers.setdefault(source, []).append(int(payload[:8]))
        if self.rate is None:
            return None
        taking: Deferred[None] = Deferred()
        self._open.append(taking)
        return taking

    def turn(self) -> None:
        """Deal with as many as there is time for."""
        for _ in range(int((self.rate or 0) * TURN_SECONDS)):
            if self._open:
                self._open.popleft().callback(None)

    def recover(self) -> None:
        """Deal with everything at once from now on."""
        self.rate = None
        while self._open:
            self._open.popleft().callback(None)

    @property
    def count(self) -> int:
        """How many messages there were."""
        return sum(map(len, self.numbers.values()))


class LoadedMoves(MailTests):
    """
    Two proxies under a third; leaves below NORTH that know SOUTH as well, and one or two targets::

        TOP 1 --+-- NORTH 11 -- 301, 302 ...
                |-- SOUTH 12
                `-- SLOW 201, FREE 202
    """

    def start(
        self,
        leaves: int,
        taken: int | None,
        *,
        delay: float = 0.001,
        targets: tuple[int, ...] = (TOP,),
        senders: tuple[int, ...] = (NORTH, SOUTH),
    ) -> None:
        """
        Start everybody.

        :param taken: How many messages the program at SLOW takes in a second.
        :param targets: The upstreams that the targets know.
        :param senders: Those that the leaves know.
        """
        self.begin(VirtualNetwork(delay_seconds=delay))
        self.by_id: dict[int, Node] = {}
        for bus_id in (TOP, NORTH, SOUTH):
            upstream = None if bus_id == TOP else address_of(TOP)
            self.add(bus_id, listen=[address_of(bus_id)], upstream=upstream, proxy=True)
        self.programs = {SLOW: Program(taken), FREE: Program(None)}
        for bus_id, program in self.programs.items():
            node = self.add(bus_id, upstreams=[address_of(each) for each in targets])
            node.receiver = Receiving(program.take)
        self.leaves = [
            self.add(LEAVES + n, upstreams=[address_of(each) for each in senders])
            for n in range(leaves)
        ]
        self.sent: Counter[tuple[int, int]] = Counter()
        self.put_off: Counter[int] = Counter()
        self.peak_bytes = 0
        self.owed = 0.0
        self.network.settle(0.5)

    def add(self, bus_id: int, **options: Any) -> Node:
        """Start one node."""
        node = self.by_id[bus_id] = self.node(
            bus_id, topology="records", direct_connections=False, **options
        )
        self.network.start(node)
        return node

    def throttle(self, one: int, other: int, seconds: float) -> None:
        """Let a data connection write a MiB in so many seconds, one way."""
        node = self.by_id[one]
        endpoint = node.endpoints.get(other)
        link = None if endpoint is None else endpoint.data_link
        if link is not None and isinstance(link.connection.channel, VirtualChannel):
            link.connection.channel.resume()
            if node.state == "running":
                link.connection.channel.stall()
        if node.state == "running":
            self.network.process_of(node).callLater(seconds, self.throttle, one, other, seconds)

    def load(self, seconds: float, rate: int, size: int, targets: tuple[int, ...]) -> None:
        """Have all leaves together send so many messages in a second to each target."""
        end = self.network.clock.seconds() + seconds
        while self.network.clock.seconds() < end:
            self.owed += rate * TURN_SECONDS / len(self.leaves)
            for leaf in self.leaves:
                for target in targets:
                    for _ in range(int(self.owed)):
                        self.send(leaf, target, size)
            self.owed %= 1
            self.network.settle(TURN_SECONDS)
            for program in self.programs.values():
                program.turn()
            used = [node._parts.context.budget.used_bytes for node in self.by_id.values()]
            self.peak_bytes = max(self.peak_bytes, *used)

    def load_until_paused(self, rate: int, size: int) -> None:
        """Go on until SLOW has had enough, so that a FLUSH waits behind what is stuck."""
        for is_paused in (False, True):
            for _ in range(400):
                if self.refuses() is is_paused:
                    break
                self.load(TURN_SECONDS, rate, size, (SLOW,))
            self.assertIs(self.refuses(), is_paused)

    def refuses(self) -> bool:
        """Tell whether the leaves have been told to pause SLOW."""
        leaf = self.leaves[-1]
        return any(leaf._parts.pressure.is_paused(each, SLOW) for each in leaf.endpoints)

    def send(self, leaf: Node, target: int, size: int) -> None:
        """Send the next message of a flow, if it is accepted."""
        flow = leaf.bus_id, target
        try:
            leaf.send(target, b"%08d" % self.sent[flow] + bytes(size - 8))
        except Undeliverable as error:
            self.assertIs(error.status, Status.BACKPRESSURE)
            self.put_off[target] += 1
        else:
            self.sent[flow] += 1

    def leave(self, rate: int, size: int, *targets: int, seconds: float = 0.8) -> None:
        """Let NORTH stop in the middle of the load; then everything arrives, and has arrived."""
        self.load(0.4, rate, size, targets)
        if self.programs[SLOW].rate is not None:
            self.load_until_paused(rate, size)
        stopping = self.by_id[NORTH].stop()
        self.load(seconds, rate, size, targets)
        self.programs[SLOW].recover()
        self.network.result_of(stopping)
        self.network.settle(8)

    def judge(self, *, in_order: bool = True) -> None:
        """Assert that everything that was accepted has arrived once, and nothing is held back."""
        statuses = Counter(s for leaf in self.leaves for s in self.mail[leaf].statuses())
        self.assertEqual(statuses, {})
        for (source, target), count in self.sent.items():
            numbers = self.programs[target].numbers.get(source, [])
            self.assertEqual(sorted(numbers), [*range(count)], f"{source:x} to {target:x}")
            if in_order:
                self.assertEqual(numbers, [*range(count)], f"{source:x} to {target:x}")
        living = [node for node in self.by_id.values() if node.state == "running"]
        for node in living:
            parts = node._parts
            self.assertEqual(parts.context.ways.held, set())
            self.assertEqual(parts.pressure.flow.told, ())
            self.assertEqual(parts.context.budget.used_bytes, 0)
        for leaf in self.leaves:
            for target in self.programs:
                self.assertIsNone(self.ended(leaf.writable(target), 1))
        self.assert_quiet(*living)


class LeafTests(LoadedMoves):
    """Those who send move."""

    def test_more_than_the_target_takes(self) -> None:
        """Fifty leaves, or eight, send more than their target takes: nothing is refused."""
        for leaves, taken, rate in ((50, 20_000, 50_000), (8, 5_000, 20_000)):
            self.start(leaves, taken)
            self.leave(rate, 128, SLOW)
            self.judge()
            self.assertGreater(self.put_off[SLOW], 1_000)
            self.assertGreater(self.programs[SLOW].count, taken)
            self.end()
        self.begin(VirtualNetwork())

    def test_a_long_way(self) -> None:
        """The target takes everything, but the way is long, and much waits for it to change."""
        self.start(50, None, delay=0.02)
        self.leave(25_000, 128, SLOW, FREE)
        self.judge()
        self.assertEqual(self.put_off, {})

    def test_the_next_link_is_slow(self) -> None:
        """What waits everywhere is more than the new proxy may hold; it comes by portions."""
        self.start(50, None, delay=0.05)
        for proxy in (NORTH, SOUTH):
            self.throttle(proxy, TOP, 0.01)
        self.leave(6_000, 16_384, FREE, seconds=2)
        self.judge()
        self.assertLess(self.peak_bytes, 16 << 20)
        self.assertGreater(self.programs[FREE].count, 8_000)

    def test_one_target_of_two(self) -> None:
        """One target takes nothing at all; the other one gets everything meanwhile."""
        for leaves in (4, 20):
            self.start(leaves, 0)
            self.load(0.8, 20_000, 128, (SLOW, FREE))
            stopping = self.by_id[NORTH].stop()
            self.load(1.3, 20_000, 128, (SLOW, FREE))
            self.assertEqual(self.put_off[FREE], 0)
            sent = sum(count for (_, target), count in self.sent.items() if target == FREE)
            self.assertGreater(self.programs[FREE].count, 0.98 * sent)
            self.programs[SLOW].recover()
            self.network.result_of(stopping)
            self.network.settle(5)
            # What was stuck for longer than a FLUSH may take has been overtaken, and that is told.
            self.judge(in_order=False)
            given_up = [leaf.statistics.order_given_up for leaf in self.leaves]
            self.assertEqual(set(given_up), {1})
            self.end()
        self.begin(VirtualNetwork())

    def test_one_move_after_the_other(self) -> None:
        """The proxy that they went to leaves as well, and the first one is back by then."""
        self.start(10, 10_000)
        for proxy in (NORTH, SOUTH, NORTH):
            self.load_until_paused(20_000, 128)
            stopping = self.by_id[proxy].stop()
            self.load(2.2, 20_000, 128, (SLOW,))
            self.network.result_of(stopping)
            self.add(proxy, listen=[address_of(proxy)], upstream=address_of(TOP), proxy=True)
        self.programs[SLOW].recover()
        self.network.settle(8)
        self.judge()


class TargetTests(LoadedMoves):
    """Those who are sent to move, and relays hold what is for them."""

    def test_those_who_feed_a_relay_are_told_in_time(self) -> None:
        """A relay that waits for the new way of a target pauses it before there is no room."""
        for senders, delay in ((TOP, 0.05), (SOUTH, 0.05)):
            self.start(50, None, delay=delay, targets=(NORTH, SOUTH), senders=(senders,))
            self.leave(4_000, 16_384, SLOW, seconds=1.5)
            self.judge()
            self.assertGreater(self.put_off[SLOW], 0)
            self.assertLess(self.peak_bytes, 16 << 20)
            self.end()
        self.begin(VirtualNetwork())

    def test_everybody_moves(self) -> None:
        """Leaves and their target are below the same proxy, and go together."""
        self.start(50, 20_000, targets=(NORTH, SOUTH))
        self.leave(50_000, 128, SLOW)
        self.judge()
