"""
A network in memory: real nodes, a wire that tests can delay, cut, split and look at.

`VirtualNetwork` stands in for every scheme of channels. A bus on it is deterministic: same nodes,
same calls, same outcome. What it keeps of the real thing: frames arrive whole, in order, later
than they were sent, and not at all once the link is cut; both ends learn of an end on their own;
a node whose process is frozen, killed or cut off behaves as its kernel would make it.

::

    network = VirtualNetwork()
    root = network.node(id=0x10000, listen=["ipv4://10.0.0.1:1"], subnets=[(0, 16)],
                        allow_insecure=True)
    leaf = network.node(id=0x10001, listen=[], upstream="ipv4://10.0.0.1:1")
    network.start(root, leaf)
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.channels.memory import MemoryScheme
from atbus.errors import ConnectFailed, ListenFailed
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.testing.channel import VirtualChannel
from atbus.testing.clock import HeapClock
from atbus.testing.process import VirtualProcess

__all__ = ["VirtualChannel", "VirtualNetwork", "VirtualProcess"]

T = TypeVar("T")
_ANY_HOST = {"127.0.0.1": "0.0.0.0", "::1": "::"}  # noqa: S104  # names, nothing binds


@implementer(IChannelListener)
class _Listener:
    def __init__(
        self, network: VirtualNetwork, process: VirtualProcess, address: Address, accept: Accept
    ) -> None:
        self.address = address
        self.process = process
        self.accept = accept
        self._network = network

    def stop(self) -> Deferred[None]:
        """Free the address."""
        if self._network.listeners.get(self.address) is self:
            del self._network.listeners[self.address]
        return succeed(None)


@implementer(IChannelScheme)
@attrs.frozen(eq=False)
class _Schemes:
    """The channels of one process."""

    network: VirtualNetwork
    process: VirtualProcess
    memory: IChannelScheme

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """Listen for this process."""
        if address.scheme is Scheme.MEM:
            return self.memory.listen(address, accept)
        return self.network.listen(address, accept, self.process)

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """Dial for this process."""
        if address.scheme is Scheme.MEM:
            return self.memory.connect(address, receiver, timeout_seconds)
        return self.network.connect(address, receiver, timeout_seconds, self.process)


@implementer(IChannelScheme)
class VirtualNetwork:
    """
    Listen, dial and carry, in memory and on a clock of its own.

    :param delay_seconds: How long a frame, a dial or the news of an end takes one way.
    :param seed: Makes the jitter and the automatic ids of its nodes, and the delays.
    :param jitter_seconds: By how much any one delay may be longer; order on a link is kept.
    :param bytes_per_second: How much a link takes in each direction; None for any amount.
    """

    def __init__(
        self,
        delay_seconds: float = 0.001,
        seed: int = 1,
        jitter_seconds: float = 0.0,
        bytes_per_second: float | None = None,
    ) -> None:
        self.bytes_per_second = bytes_per_second
        self.clock = HeapClock()
        self.delay_seconds = delay_seconds
        self.jitter_seconds = jitter_seconds
        self.listen_seconds = 0.0
        self.listeners: dict[Address, _Listener] = {}
        self.channels: set[VirtualChannel] = set()
        self.dials: list[Address] = []
        self.unreachable: set[Address] = set()
        self.outside = VirtualProcess(self.clock, "outside")
        self._random = Random(seed)
        self._delays = Random(seed + 1)
        self._epochs = 1000
        self._ports = 40_000
        self._processes: dict[Node, VirtualProcess] = {}
        self._splits: dict[
            frozenset[VirtualProcess], list[tuple[VirtualChannel, Callable[[], object]]]
        ] = {}
        # Where hosts without power listened: nothing answers, not even that nobody is there.
        self._silent: set[Address] = set()

    # Nodes.

    def node(self, *, epoch: int | None = None, **options: Any) -> Node:
        """
        Make a node that lives on this network, in a process of its own.

        :param epoch: Its incarnation, by default larger than that of every node before.
        :param options: As for `NodeConfig`.
        """
        self._epochs += 1
        config = NodeConfig(**options)
        process = VirtualProcess(self.clock, f"{config.id:#x}")
        named = ChannelOptions(name=lambda: f"{node.bus_id:#x}")
        memory = MemoryScheme(self.clock, named, cast("IReactorTime", process))
        node = Node(
            config,
            None,
            timers=process,
            channels=_Schemes(self, process, memory),
            random=Random(self._random.getrandbits(64)),
            epoch=self._epochs if epoch is None else epoch,
        )
        self._processes[node] = process
        return node

    def process_of(self, node: Node) -> VirtualProcess:
        """Give the process in which a node lives."""
        return self._processes[node]

    def start(self, *nodes: Node) -> None:
        """
        Start nodes, one after the other, and wait until each is up.

        :raises AssertionError: One did not come up.
        """
        for node in nodes:
            self.result_of(node.start())

    def stop(self, *nodes: Node) -> None:
        """Stop nodes in good order and wait for each."""
        for node in nodes:
            self.result_of(node.stop())

    def result_of(self, waiting: Deferred[T], seconds_max: float = 60.0) -> T:
        """
        Let time pass until a Deferred has fired.

        :returns: What it fired with.
        :raises Exception: What it failed with.
        :raises AssertionError: It did not fire.
        """
        results: list[T | Failure] = []
        waiting.addBoth(results.append)
        if not self.clock.run_until(lambda: bool(results), seconds_max):
            raise AssertionError(f"nothing within {seconds_max} s")
        result = results[0]
        if not isinstance(result, Failure):
            return result
        assert result.value is not None
        raise result.value

    def settle(self, seconds: float = 1.0) -> None:
        """Let some time pass."""
        self.clock.advance(seconds)

    # What happens to processes.

    def freeze(self, node: Node) -> None:
        """Stop a node's process; its kernel goes on."""
        self._processes[node].freeze()

    def thaw(self, node: Node) -> None:
        """Let a frozen process run again."""
        self._processes[node].thaw()

    def kill(self, node: Node) -> None:
        """End a node's process at once; its kernel tells the others."""
        process = self._processes[node]
        self._end(process)
        for channel in sorted(process.channels, key=lambda channel: channel.number):
            channel.vanish()
            channel.carry(channel.other.hang_up)
        process.channels.clear()

    def power_off(self, node: Node) -> None:
        """End a node's host at once; nobody tells the others."""
        process = self._processes[node]
        self._silent.update(a for a, each in self.listeners.items() if each.process is process)
        self._end(process)
        for channel in process.channels:
            channel.vanish()
        process.channels.clear()

    def _end(self, process: VirtualProcess) -> None:
        process.end()
        for listener in list(self.listeners.values()):
            if listener.process is process:
                listener.stop()

    # Links.

    def between(self, one: Node, other: Node) -> list[VirtualChannel]:
        """Give the ends, on *one*'s side, of the links between two nodes, the oldest first."""
        mine, theirs = self._processes[one], self._processes[other]
        ends = [channel for channel in mine.channels if channel.other.process is theirs]
        return sorted(ends, key=lambda channel: channel.number)

    def cut(self, one: Node, other: Node) -> None:
        """End every link between two nodes; both sides learn of it, each on its own."""
        for channel in self.between(one, other):
            channel.carry(channel.other.hang_up)
            channel.other.carry(channel.hang_up)

    def split(self, one: Node, other: Node) -> None:
        """Let nothing pass between two nodes, neither frames nor dials nor the news of an end."""
        self._splits.setdefault(self._pair(one, other), [])

    def heal(self, one: Node, other: Node) -> None:
        """End a split: what was sent meanwhile arrives, dials that still wait do not."""
        for channel, call in self._splits.pop(self._pair(one, other), []):
            channel.carry(call)

    def _pair(self, one: Node, other: Node) -> frozenset[VirtualProcess]:
        return frozenset((self._processes[one], self._processes[other]))

    def holds(self, channel: VirtualChannel, call: Callable[[], object]) -> bool:
        """Keep what *channel* sends if its network is split; tell whether it is."""
        held = self._splits.get(frozenset((channel.process, channel.other.process)))
        if held is not None:
            held.append((channel, call))
        return held is not None

    def transit_seconds(self) -> float:
        """Draw how long the next thing takes one way."""
        if not self.jitter_seconds:
            return self.delay_seconds
        return self.delay_seconds + self._delays.random() * self.jitter_seconds

    # The scheme.

    def listen(
        self, address: Address, accept: Accept, process: VirtualProcess | None = None
    ) -> Deferred[IChannelListener]:
        """Listen; port 0 gets a free one. Takes `listen_seconds`, like a name to be looked up."""
        if address.port == 0:
            self._ports += 1
            address = Address(address.scheme, address.host, self._ports)
        if address in self.listeners:
            return fail(ListenFailed(address, "somebody listens there"))
        listener = _Listener(self, process or self.outside, address, accept)
        self.listeners[address] = listener
        self._silent.discard(address)
        if not self.listen_seconds:
            return succeed(listener)

        def cancel(_: Deferred[IChannelListener]) -> None:
            call.cancel()
            listener.stop()

        listening: Deferred[IChannelListener] = Deferred(cancel)
        call = listener.process.callLater(self.listen_seconds, listening.callback, listener)
        return listening

    def connect(
        self,
        address: Address,
        receiver: IChannelReceiver,
        timeout_seconds: float | None = None,
        process: VirtualProcess | None = None,
    ) -> Deferred[IChannel]:
        """Dial; nobody there is a failure after a round trip, no answer one after a while."""
        self.dials.append(address)
        dial = _Dial(self, process or self.outside, address, receiver)
        seconds = limits.CONNECT_SECONDS if timeout_seconds is None else timeout_seconds
        dial.begin(seconds)
        return dial.result

    def listener_at(self, address: Address) -> _Listener | None:
        """Say who would get a dial to *address*."""
        target = address.dial_address()
        found = self.listeners.get(target)
        if found is None and target.host in _ANY_HOST:
            found = self.listeners.get(attrs.evolve(target, host=_ANY_HOST[target.host]))
        return None if target in self.unreachable else found

    def is_silent(self, address: Address, one: VirtualProcess) -> bool:
        """Tell whether a dial from process *one* to *address* gets no answer at all."""
        if address.dial_address() in self._silent:
            return True
        listener = self.listener_at(address)
        return listener is not None and frozenset((one, listener.process)) in self._splits


class _Dial:
    """A dial under way: half a round trip to the listener, half of it back."""

    def __init__(
        self,
        network: VirtualNetwork,
        process: VirtualProcess,
        address: Address,
        receiver: IChannelReceiver,
    ) -> None:
        self.result: Deferred[IChannel] = Deferred(lambda _: self._end())
        self._network = network
        self._process = process
        self._address = address
        self._receiver = receiver
        self._over = False

    def begin(self, seconds: float) -> None:
        """Dial, for so many seconds at most."""
        self._timeout = self._process.callLater(seconds, self._fail, f"no answer in {seconds:g} s")
        self._later(self._reach)

    def _later(self, call: Callable[[], object]) -> None:
        self._network.clock.callLater(self._network.transit_seconds(), call)

    def _reach(self) -> None:
        network = self._network
        if self._over or network.is_silent(self._address, self._process):
            return
        listener = network.listener_at(self._address)
        if listener is None:
            self._later(lambda: self._process.arrive(lambda: self._fail("connection refused")))
            return
        near = VirtualChannel(network, self._process, self._address, dialled=True)
        far = VirtualChannel(network, listener.process, listener.address, dialled=False)
        near.other, far.other = far, near
        # The kernel answers, whether the program runs or not.
        far.carry(lambda: self._connected(near))
        listener.process.arrive(lambda: _accept(listener, far))

    def _connected(self, near: VirtualChannel) -> None:
        if self._over:
            near.refuse()
            return
        self._end()
        near.enter(self._receiver)
        if self.result.called:
            near.abort("cancelled")
        else:
            self.result.callback(near)

    def _fail(self, why: str) -> None:
        if not self._over:
            self._end()
            self.result.errback(ConnectFailed(self._address, why))

    def _end(self) -> None:
        self._over = True
        if self._timeout.active():
            self._timeout.cancel()


def _accept(listener: _Listener, far: VirtualChannel) -> None:
    receiver = listener.accept(far.peer)
    if receiver is None:
        far.refuse()
    else:
        far.enter(receiver)
