"""
The node: owns its parts and wires them; decides nothing.

Which part does what is told in `atbus.node`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from atbus import limits
from atbus.address import Address, as_address
from atbus.busid import BusId
from atbus.channels.interfaces import IChannelScheme
from atbus.errors import AtbusError
from atbus.node import parts
from atbus.node.answering import LATER, Responder
from atbus.node.config import NodeConfig
from atbus.node.context import Timers
from atbus.node.delivery import Delivery
from atbus.node.endpoint import Endpoint
from atbus.node.events import Fate, NodeEvents
from atbus.node.hop import NextHop
from atbus.node.identity import epoch_now
from atbus.node.interfaces import IMessageReceiver, INode
from atbus.node.statistics import Statistics
from atbus.routing.relation import Relation

if TYPE_CHECKING:
    from atbus.node.commands import Executor


@implementer(INode)
class Node(Service):
    """
    One participant of the bus.

    :param config: Everything it is told.
    :param reactor: Twisted's reactor; several nodes may share one.
    :param timers: The node's clock, by default a monotonic one on the reactor.
    :param channels: How addresses are dialled and listened on, by default every scheme there is.
    :param random: Jitter and automatic ids.
    :param epoch: The node's incarnation, by default the wall clock's seconds.
    """

    LATER = LATER

    def __init__(
        self,
        config: NodeConfig,
        reactor: Any,
        *,
        timers: Timers | None = None,
        channels: IChannelScheme | None = None,
        random: Random | None = None,
        epoch: int | None = None,
    ) -> None:
        self.config = config
        self.name = config.name or None
        self._parts = parts.wire(
            config,
            reactor,
            timers=timers,
            channels=channels,
            random=random or Random(),  # noqa: S311  # jitter, not secrets
            epoch=epoch_now() if epoch is None else epoch,
            log=Logger(namespace="atbus.node"),
        )
        self.reply = self._parts.sender.reply  #: Answers a request late: source, sequence, bytes.

    # Life.

    @property
    def bus_id(self) -> int:
        """Our bus id; 0 while temporary, or automatic and not assigned yet."""
        return self._parts.context.bus_id

    @property
    def epoch(self) -> int:
        """Our incarnation, as others know it."""
        return self._parts.context.epoch

    @property
    def state(self) -> str:
        """Where the node is in its life, see `atbus.node.life`."""
        return self._parts.running.life.state

    @property
    def events(self) -> NodeEvents:
        """What the node tells, signal by signal."""
        return self._parts.context.events

    @property
    def statistics(self) -> Statistics:
        """What the node has counted."""
        return self._parts.context.statistics

    def start(self) -> Deferred[None]:
        """
        Listen and register.

        :returns: Fires when the node listens on all its addresses and can reach its upstream, if
            it has one; starting a node that is up fires at once. Fails with `ListenFailed`, or with
            `RegistrationRefused`: an upstream refuses (first), `TIMEOUT`, or `STOPPED` meanwhile.
        :raises LocalProtocolError: The node is stopping.
        """
        return self._parts.running.start()

    def stop(self) -> Deferred[None]:
        """
        Stop in good order: what was accepted is delivered or answered first.

        :returns: Fires when nothing of the node is left; never fails.
        """
        return self._parts.running.stop()

    def startService(self) -> None:  # Twisted's name
        """Start as a service; a node that cannot come up says so in its events, and stops."""
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        # A node that cannot come up has said why in its events.
        self.start().addErrback(lambda failure: failure.trap(AtbusError) and None)

    def stopService(self) -> Deferred[None]:  # Twisted's name
        """Stop as a service; the Deferred fires when nothing of the node is left."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        return self.stop()

    # Messages.

    @property
    def receiver(self) -> IMessageReceiver | None:
        """Takes the messages that are addressed to this node."""
        return self._parts.inbox.answering.receiver

    @receiver.setter
    def receiver(self, receiver: IMessageReceiver | None) -> None:
        self._parts.inbox.answering.receiver = receiver

    @property
    def current(self) -> Delivery | None:
        """What else is known of the message being delivered; None outside callbacks."""
        return self._parts.inbox.current

    def send(
        self,
        target: int,
        payload: bytes,
        kind: int = 0,
        *,
        hop_limit: int | None = None,
        exclude: Collection[int] = (),
        no_upstream: bool = False,
        trace: bool = False,
    ) -> int:
        """
        Send without waiting; see `INode.send`.

        :param target: Bus id of the destination.
        :param payload: At most `NodeConfig.message_bytes_max` bytes.
        :param kind: A number for the receiver, -2**31 to 2**31 - 1.
        :param hop_limit: How many nodes it may pass, by default `NodeConfig.hops`.
        :param exclude: Neighbors that must not be the next hop.
        :param no_upstream: Whether no node may use its default route for it.
        :param trace: Whether relays note their ids, for the receiver's ``current.path``.
        :returns: The message's sequence, never 0.
        :raises Undeliverable: It was not accepted; ``status`` says why.
        :raises LocalProtocolError: The target, the kind or the payload is not one.
        """
        if hop_limit is None and not exclude and not no_upstream and not trace:
            return self._parts.sender.send(target, payload, kind)
        return self._parts.sender.send_specially(
            target, payload, kind, hop_limit, exclude, no_upstream, trace
        )

    def deliver(
        self,
        target: int,
        payload: bytes,
        kind: int = 0,
        timeout: float = limits.DELIVER_SECONDS,
        hop_limit: int | None = None,
    ) -> Deferred[Fate]:
        """
        Send and wait for the destination's answer.

        :param timeout: Seconds.
        :returns: Fires with a `Fate` when the destination's receiver has taken the message, or
            fails with `Undeliverable`; it always ends. Cancelling it stops the waiting only.
        """
        return self._parts.asking.deliver(target, payload, kind, timeout, hop_limit)

    def request(
        self,
        target: int,
        payload: bytes,
        kind: int = 0,
        timeout: float = limits.REQUEST_SECONDS,
    ) -> Deferred[bytes]:
        """
        Ask a question.

        :param timeout: Seconds.
        :returns: Fires with the reply's bytes, or fails with `Undeliverable`; it always ends.
            Cancelling it stops the waiting only.
        """
        return self._parts.asking.request(target, payload, kind, timeout)

    def on_request(self, callback: Responder | None) -> None:
        """
        Answer requests with *callback*.

        :param callback: Called with the asking node's id and the payload; returns bytes, or a
            Deferred or coroutine of bytes, or `LATER`, and calls `reply` with the request's
            ``current.sequence``. None for *callback*: requests are answered `NO_RESPONDERS`.
        """
        self._parts.inbox.answering.responder = callback

    # Commands.

    def command(
        self, target: int, *arguments: bytes, timeout: float = limits.REQUEST_SECONDS
    ) -> Deferred[list[bytes]]:
        """
        Have a node execute a command.

        :param target: Its bus id; it need not be connected directly.
        :param arguments: The command's name and what follows it.
        :param timeout: Seconds.
        :returns: Fires with the lines of the answer, or fails with `Undeliverable`.
        """
        return self._parts.commands.ask(target, arguments, timeout)

    def on_command(self, callback: Executor | None) -> None:
        """
        Execute commands with *callback*.

        :param callback: Called with the asking node's id (0: a temporary node) and the arguments;
            returns a list of bytes, None, or a Deferred of them. None: `UNKNOWN_COMMAND`.
        """
        self._parts.commands.executor = callback

    # Neighbors.

    @property
    def endpoints(self) -> Mapping[int, Endpoint]:
        """The registered remote nodes by id; a view that changes with them."""
        return MappingProxyType(self._parts.registrar.endpoints)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the node really listens, with the ports that were chosen."""
        return tuple(listener.address for listener in self._parts.dialer.listeners)

    def listen(self, address: str | Address) -> Deferred[Address]:
        """
        Listen on one more address.

        :returns: Fires with the real address; fails with `ListenFailed`.
        :raises AddressError: It is not an address.
        """
        return self._parts.running.listen(as_address(address))

    def connect(self, address: str | Address) -> Deferred[Endpoint]:
        """
        Dial a node and register with it as its peer.

        :returns: Fires with the endpoint when it can take messages; fails with `AtbusError`.
        :raises AddressError: It is not an address.
        """
        return self._parts.running.connect(as_address(address))

    def disconnect(self, bus_id: int) -> Deferred[None]:
        """
        Leave an endpoint in good order. An upstream is dialled again.

        :returns: Fires when it is gone; fails with `Undeliverable` when there is none.
        """
        return self._parts.running.disconnect(bus_id)

    def relation_to(self, bus_id: int) -> Relation:
        """Say how a node stands to this one."""
        return self._parts.context.table.relation_to(BusId(bus_id))

    def next_hop(
        self, bus_id: int, *, exclude: Collection[int] = (), no_upstream: bool = False
    ) -> NextHop:
        """
        Say where a message would go now.

        :raises Undeliverable: There is no way, as from a node to itself; ``status`` says why.
        """
        return self._parts.traffic.next_hop(bus_id, exclude=exclude, no_upstream=no_upstream)
