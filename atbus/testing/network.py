"""
A network in memory: real nodes, a wire that tests can delay, cut, freeze and look at.

`VirtualNetwork` stands in for every scheme of channels. A bus on it is deterministic: same nodes,
same calls, same outcome. What it keeps of the real thing: frames arrive whole, in order, later
than they were sent, and not at all once the link is cut; both ends learn of an end on their own.

::

    network = VirtualNetwork()
    root = network.node(id=0x10000, listen=["ipv4://10.0.0.1:1"], subnets=[(0, 16)])
    leaf = network.node(id=0x10001, listen=[], upstream="ipv4://10.0.0.1:1")
    network.start(root, leaf)
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.address import Address
from atbus.channels.interfaces import (
    Accept,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.errors import ChannelClosed, ConnectFailed, ListenFailed, Status
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.testing.clock import HeapClock

T = TypeVar("T")


@implementer(IChannel)
class VirtualChannel:
    """One end of a virtual link."""

    def __init__(
        self, network: VirtualNetwork, address: Address, receiver: IChannelReceiver, dialled: bool
    ) -> None:
        self.address = address
        self.peer = f"virtual:{address}"
        self.dialled = dialled
        self.frame_limit = 64 * 1024
        self.written_bytes = 0
        self.other: VirtualChannel
        self.receiver = receiver
        self.sent: list[bytes] = []
        self.stalled = False
        self.open = True
        self._network = network
        self._queue: list[bytes] = []
        self._closing: tuple[Status, str] | None = None
        self._reading = True
        self._unread: list[bytes] = []

    @property
    def queued_bytes(self) -> int:
        """Bytes that a stalled link holds."""
        return sum(len(frame) for frame in self._queue)

    def send(self, frames: Any) -> None:
        """Put frames on the wire, or hold them while the link is stalled."""
        if not self.open or self._closing is not None:
            raise ChannelClosed("virtual channel is closed")
        self._queue.extend(frames)
        if not self.stalled:
            self._flush()

    def _flush(self) -> None:
        frames, self._queue = self._queue, []
        if not frames:
            return
        self.sent.extend(frames)
        self.written_bytes += sum(len(frame) for frame in frames)
        self._network.carry(self.other.arrive, frames)

    def stall(self) -> None:
        """Let the kernel take nothing more, as if the other side did not read."""
        self.stalled = True

    def resume(self) -> None:
        """End a stall."""
        self.stalled = False
        had_any = bool(self._queue)
        self._flush()
        if self._closing is not None:
            self._network.carry(self._end, None)
        elif had_any:
            self.receiver.channel_drained()

    def arrive(self, frames: list[bytes]) -> None:
        """Take frames from the other end, unless this one has ended."""
        if not self.open:
            return
        if not self._reading:
            self._unread.extend(frames)
            return
        self.receiver.frames_received(frames)

    def close(self, status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        """End after what is queued."""
        if self._closing is None and self.open:
            self._closing = (status, detail)
            if not self.stalled:
                self._network.carry(self._end, None)

    def _end(self, _: object) -> None:
        if self.open and self._closing is not None:
            self._report(*self._closing)
            self._network.carry(self.other.hang_up, Status.LINK_LOST)

    def hang_up(self, status: Status) -> None:
        """Learn that the other end is gone."""
        if self.open:
            self._report(*(self._closing or (status, "the other side closed")))

    def abort(self, detail: str, status: Status = Status.LINK_LOST) -> None:
        """End now, both sides later."""
        if self.open:
            self._closing = (status, detail)
            self._queue.clear()
            self._network.carry(self._end, None)

    def _report(self, status: Status, detail: str) -> None:
        self.open = False
        self._network.channels.discard(self)
        self.receiver.channel_closed(status, detail)

    def pause_reading(self) -> None:
        """Hold what arrives."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver what was held, and go on."""
        self._reading = True
        frames, self._unread = self._unread, []
        if frames and self.open:
            self.receiver.frames_received(frames)


@implementer(IChannelListener)
class _Listener:
    def __init__(self, network: VirtualNetwork, address: Address, accept: Accept) -> None:
        self.address = address
        self.accept = accept
        self._network = network

    def stop(self) -> Deferred[None]:
        """Free the address."""
        self._network.listeners.pop(self.address, None)
        return succeed(None)


@implementer(IChannelScheme)
class VirtualNetwork:
    """
    Listen, dial and carry, in memory and on a clock of its own.

    :param delay_seconds: How long a frame, a dial or the news of an end takes one way.
    :param seed: Makes the jitter and the automatic ids of its nodes.
    """

    def __init__(self, delay_seconds: float = 0.001, seed: int = 1) -> None:
        self.clock = HeapClock()
        self.delay_seconds = delay_seconds
        self.listeners: dict[Address, _Listener] = {}
        self.channels: set[VirtualChannel] = set()
        self.dials: list[Address] = []
        self.unreachable: set[Address] = set()
        self._random = Random(seed)
        self._epochs = 1000
        self._ports = 40_000

    # Nodes.

    def node(self, *, epoch: int | None = None, **options: Any) -> Node:
        """
        Make a node that lives on this network.

        :param epoch: Its incarnation, by default larger than that of every node before.
        :param options: As for `NodeConfig`.
        """
        self._epochs += 1
        return Node(
            NodeConfig(**options),
            None,
            timers=self.clock,
            channels=self,
            random=Random(self._random.getrandbits(64)),
            epoch=self._epochs if epoch is None else epoch,
        )

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

    # Links.

    def between(self, one: Node, other: Node) -> list[VirtualChannel]:
        """Give the ends, on *one*'s side, of the links between two nodes."""
        endpoint = one.endpoints.get(other.bus_id)
        channels: list[object] = []
        if endpoint is not None:
            channels = [connection.channel for connection in endpoint.connections]
        return [channel for channel in channels if isinstance(channel, VirtualChannel)]

    def cut(self, one: Node, other: Node) -> None:
        """End every link between two nodes, as when a process is killed."""
        for channel in self.between(one, other):
            channel.abort("cut")

    def carry(self, call: Callable[[Any], object], what: object) -> None:
        """Do something at the other end, later."""
        self.clock.callLater(self.delay_seconds, call, what)

    # The scheme.

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """Listen; port 0 gets a free one."""
        if address.port == 0:
            self._ports += 1
            address = Address(address.scheme, address.host, self._ports)
        if address in self.listeners:
            return fail(ListenFailed(address, "somebody listens there"))
        listener = self.listeners[address] = _Listener(self, address, accept)
        return succeed(listener)

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """Dial; nobody there is a failure after a round trip."""
        self.dials.append(address)
        dialling: Deferred[IChannel] = Deferred()
        self.clock.callLater(
            2 * self.delay_seconds, self._connected, address.dial_address(), receiver, dialling
        )
        return dialling

    def _connected(
        self, address: Address, receiver: IChannelReceiver, dialling: Deferred[IChannel]
    ) -> None:
        if dialling.called:
            return
        listener = self.listeners.get(address)
        accepted = None
        if listener is not None and address not in self.unreachable:
            accepted = listener.accept(f"virtual:{address}")
        if accepted is None:
            dialling.errback(ConnectFailed(address, "connection refused"))
            return
        near = VirtualChannel(self, address, receiver, dialled=True)
        far = VirtualChannel(self, address, accepted, dialled=False)
        near.other, far.other = far, near
        self.channels |= {near, far}
        far.receiver.channel_opened(far)
        near.receiver.channel_opened(near)
        dialling.callback(near)
