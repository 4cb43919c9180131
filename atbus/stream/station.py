"""
The streams of one node: performs what their machines ask for.

What a node does not take at the moment waits here, in order, and nothing more is asked for until it
does: that is at most what the other ends have given leave to send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from atbus.busid import check_bus_id
from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.routing.answers import check_seconds
from atbus.routing.registry import NodeChanged, NodeDown
from atbus.stream import bounds
from atbus.stream.address import BusAddress
from atbus.stream.effects import (
    Drained,
    Due,
    Effect,
    Ended,
    Finished,
    Key,
    Offered,
    Opened,
    Received,
    Said,
    Send,
)
from atbus.stream.exchange import Exchange
from atbus.stream.faults import StreamRefused
from atbus.stream.transport import StreamTransport
from atbus.wire.messages import Message, StreamData

if TYPE_CHECKING:
    from atbus.node.node import Node
    from atbus.node.topology import NodeNews


class _Opening:
    """A stream that a program waits for."""

    def __init__(self, factory: IProtocolFactory, service: str) -> None:
        self.factory = factory
        self.service = service
        self.connected: Deferred[IProtocol]


class Station:
    """
    The streams of one node.

    :param node: It; `station_of` makes one for each.
    """

    def __init__(self, node: Node) -> None:
        self._port = node.stream_port
        self._exchange = Exchange(self._port.epoch)
        self._services: dict[str, IProtocolFactory] = {}
        self._opening: dict[Key, _Opening] = {}
        self._transports: dict[Key, StreamTransport] = {}
        # By node what it does not take at the moment.
        self._waiting: dict[int, deque[Send]] = {}
        self._effects: deque[Effect] = deque()
        self._performing = False
        self._alarm = self._port.alarm(self._tick)
        self._port.receiver = self
        node.watch_nodes(self._node_news)

    def __len__(self) -> int:
        """Tell how many streams there are."""
        return len(self._exchange)

    @property
    def bus_id(self) -> int:
        """The node's."""
        return self._port.bus_id

    @property
    def held_bytes(self) -> int:
        """Bytes that wait at the ends of streams here, to be sent or to be read."""
        return self._exchange.held_bytes

    # What programs do.

    def listen(self, service: str, factory: IProtocolFactory) -> None:
        """
        Offer a service.

        :raises LocalProtocolError: It is offered already, or its name is none.
        """
        check_service(service)
        if service in self._services:
            raise LocalProtocolError(f"the service {service!r} is there already")
        self._services[service] = factory

    def stop_listening(self, service: str) -> None:
        """Offer a service no more; streams to it go on."""
        self._services.pop(service, None)

    def connect(
        self, target: int, service: str, factory: IProtocolFactory, seconds: float
    ) -> Deferred[IProtocol]:
        """
        Open a stream to a service of a node.

        :returns: Fires with the protocol when the service has accepted, or fails with
            `StreamRefused`. Cancelling it ends the stream.
        :raises LocalProtocolError: Target, service or time is none.
        """
        check_bus_id(target)
        check_service(service)
        check_seconds(seconds)
        refusal = self._port.refuses(self._port.bus_id, service)
        if refusal is not None:
            self._port.statistics.streams_refused[Status.NO_RIGHT] += 1
            return fail(StreamRefused(Status.NO_RIGHT, refusal))
        key, effects = self._exchange.open(target, service, self._port.now, seconds)
        opening = self._opening[key] = _Opening(factory, service)
        opening.connected = Deferred(lambda _: self._give_up(key))
        self._perform(effects)
        return opening.connected

    def _give_up(self, key: Key) -> None:
        self._opening.pop(key, None)
        self.abort(key)

    # What transports ask for.

    def write(self, key: Key, data: bytes) -> None:
        """Send bytes."""
        self._perform(self._exchange.write(key, data, self._port.now))

    def finish(self, key: Key) -> None:
        """Send nothing more than what was written."""
        self._perform(self._exchange.finish(key, self._port.now))

    def leave(self, key: Key) -> None:
        """Send what was written, and end."""
        self._perform(self._exchange.leave(key, self._port.now))

    def abort(
        self, key: Key, status: Status = Status.DISCONNECTED, detail: str = "aborted"
    ) -> None:
        """End a stream at once, at both ends."""
        self._perform(self._exchange.refuse(key, status, detail, self._port.now))

    def pause(self, key: Key) -> None:
        """Keep what comes."""
        self._exchange.pause(key)

    def resume(self, key: Key) -> None:
        """Give the program what was kept, and what comes."""
        self._perform(self._exchange.resume(key, self._port.now))

    def unsent_bytes(self, key: Key) -> int:
        """Tell what waits to be sent."""
        return self._exchange.unsent_bytes(key)

    def at_end(self, call: Callable[[], None]) -> None:
        """Call *call* at the end of this turn."""
        self._port.at_end(call)

    def failed(self, key: Key, failure: Failure) -> None:
        """End a stream whose program has raised."""
        self._port.statistics.callback_failures += 1
        self._port.log.failure("the protocol of stream {key} failed", failure=failure, key=key)
        self.abort(key, Status.HANDLER_FAILED, "the protocol failed")

    # What the node says.

    def message_received(self, message: Message) -> None:
        """Take a message about a stream."""
        if isinstance(message, StreamData):
            self._port.statistics.stream_bytes_received += len(message.data)
        self._perform(self._exchange.receive(message, self._port.now))

    def told(self, target: int, sequence: int, status: Status, detail: str) -> None:
        """Learn that a frame did not arrive, or perhaps did not."""
        self._perform(self._exchange.told(target, sequence, status, detail, self._port.now))

    def rights_changed(self) -> None:
        """End the streams that nobody may have any more."""
        for key in self._exchange.open_keys:
            source = self._port.bus_id if key.ours else key.peer
            refusal = self._port.refuses(source, self._exchange.service_of(key))
            if refusal is not None:
                self.abort(key, Status.NO_RIGHT, refusal)

    def close(self) -> None:
        """End all streams: the node stops."""
        self._perform(
            self._exchange.close(Status.CLOSING, "the node is stopping", self._port.now)
        )
        self._waiting.clear()

    def _node_news(self, news: NodeNews) -> None:
        """Ask a node that is gone, or another one now, whether it knows its streams."""
        if isinstance(news, NodeDown) or (
            isinstance(news, NodeChanged) and news.record.stamp.epoch != news.former.stamp.epoch
        ):
            self._perform(self._exchange.probe(news.record.bus_id, self._port.now))

    def _tick(self) -> None:
        self._perform(self._exchange.tick(self._port.now))

    # Performing.

    def _perform(self, effects: list[Effect]) -> None:
        """Do what is asked for, in order: what it brings about comes behind it."""
        self._effects += effects
        if self._performing:
            return
        self._performing = True
        try:
            while self._effects:
                self._do(self._effects.popleft())
        finally:
            self._performing = False
        self._alarm.set(self._exchange.deadline)

    def _do(self, effect: Effect) -> None:
        key = effect.key
        transport = self._transports.get(key)
        match effect:
            case Send():
                self._send(effect)
            case Due():
                self._port.at_end(partial(self._go_on, key))
            case Received(data=data) if transport is not None:
                transport.received(data)
            case Drained() if transport is not None:
                transport.drained()
            case Finished() if transport is not None:
                transport.finished()
            case Said() if transport is not None:
                transport.said()
            case Offered(service=service):
                self._offered(key, service)
            case Opened():
                self._opened(key)
            case Ended():
                self._ended(effect)

    def _go_on(self, key: Key) -> None:
        self._perform(self._exchange.go_on(key, self._port.now))

    def _offered(self, key: Key, service: str) -> None:
        now, exchange = self._port.now, self._exchange
        factory = self._services.get(service)
        if factory is None:
            status, detail = Status.UNKNOWN_ENDPOINT, f"no service {service!r}"
            self._perform(exchange.refuse(key, status, detail, now))
            return
        protocol = self._build(key, factory, service)
        if protocol is None:
            status, detail = Status.POLICY_DENIED, f"the service {service!r} takes no more"
            self._perform(exchange.refuse(key, status, detail, now))
            return
        self._port.statistics.streams_accepted += 1
        self._perform(exchange.accept(key, now))
        self._connect(key, protocol, service)

    def _opened(self, key: Key) -> None:
        opening = self._opening.pop(key, None)
        if opening is None:
            return
        protocol = self._build(key, opening.factory, opening.service)
        if protocol is None:
            self.abort(key)
            opening.connected.errback(StreamRefused(Status.DISCONNECTED, "no protocol"))
            return
        self._port.statistics.streams_opened += 1
        self._connect(key, protocol, opening.service)
        opening.connected.callback(protocol)

    def _build(self, key: Key, factory: IProtocolFactory, service: str) -> IProtocol | None:
        try:
            return factory.buildProtocol(BusAddress(key.peer, service))
        except Exception:  # noqa: BLE001 - the program's
            self.failed(key, Failure())
            return None

    def _connect(self, key: Key, protocol: IProtocol, service: str) -> None:
        transport = self._transports[key] = StreamTransport(self, key, protocol, service)
        transport.connect()

    def _ended(self, effect: Ended) -> None:
        key, status, detail = effect.key, effect.status, effect.detail
        statistics = self._port.statistics
        opening = self._opening.pop(key, None)
        transport = self._transports.pop(key, None)
        if transport is not None:
            if status is not Status.OK:
                statistics.streams_reset[status] += 1
            transport.ended(status, detail)
            return
        statistics.streams_refused[status] += 1
        if opening is not None:
            opening.connected.errback(StreamRefused(status, detail))

    # What leaves.

    def _send(self, effect: Send) -> None:
        peer, message = effect.key.peer, effect.message
        waiting = self._waiting.get(peer)
        if waiting is not None:
            waiting.append(effect)
            return
        try:
            self._port.send(message)
        except Undeliverable as error:
            if error.status is Status.BACKPRESSURE:
                self._wait(peer, effect)
                return
            self.told(peer, message.sequence, error.status, error.detail)
            return
        if isinstance(message, StreamData):
            self._port.statistics.stream_bytes_sent += len(message.data)
            if not self._port.may_write(peer):
                self._wait(peer)

    def _wait(self, peer: int, *first: Send) -> None:
        """Keep what is for a node until it takes it."""
        self._waiting[peer] = deque(first)
        self._exchange.hold(peer)
        # Never at once: what is refused again and again must not be tried so.
        self._port.writable(peer).addCallbacks(
            lambda _: self._port.at_end(lambda: self._writable(peer)),
            lambda failure: self._unreachable(peer, failure),
        )

    def _writable(self, peer: int) -> None:
        waiting = self._waiting.pop(peer, deque())
        while waiting and peer not in self._waiting:
            self._send(waiting.popleft())
        if peer in self._waiting:
            self._waiting[peer] += waiting
            return
        self._perform(self._exchange.release(peer, self._port.now))

    def _unreachable(self, peer: int, failure: Failure) -> None:
        self._waiting.pop(peer, None)
        error = failure.value
        status, detail = Status.NO_ROUTE, ""
        if isinstance(error, Undeliverable):
            status, detail = error.status, error.detail
        # Nothing is held any more: the words that end the streams go their way, if there is one.
        self._perform(self._exchange.lost(peer, status, detail, self._port.now))
        self._perform(self._exchange.release(peer, self._port.now))


def station_of(node: Node) -> Station:
    """Give the streams of a node; from then on it takes some."""
    receiver = node.stream_port.receiver
    return receiver if isinstance(receiver, Station) else Station(node)


def check_service(service: str) -> None:
    """
    Refuse a name that no service can have.

    :raises LocalProtocolError: It is too long, empty, or no text.
    """
    size = len(service.encode()) if isinstance(service, str) else 0
    if not 0 < size <= bounds.SERVICE_BYTES:
        most = bounds.SERVICE_BYTES
        raise LocalProtocolError(f"a service has a name of 1 to {most} bytes, not {service!r:.60}")
