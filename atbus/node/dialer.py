"""
Listening and dialling: where connections come from.

An attempt to connect ends with an endpoint that can take messages, or with the reason why there is
none. Dials that cross are no failure: the one that was given up waits for the one that stays.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import __version__, limits
from atbus.address import Address
from atbus.channels.interfaces import (
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.errors import (
    ChannelBroken,
    ConnectFailed,
    ListenFailed,
    RegistrationRefused,
    RemoteProtocolError,
    Status,
)
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import LocalTerms
from atbus.node.connection import Connection
from atbus.node.doorway import Doorway
from atbus.node.registrar import ANOTHER_STAYS
from atbus.wire.compression import offered
from atbus.wire.messages import Mode, NodeFlag, RegisterRequest, Role

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.registrar import Registrar

PROTOCOL_VERSION = 1


@attrs.define(eq=False)
class _Attempt:
    """A dial by the program, or for the upstream, that has not ended."""

    address: Address
    expected_id: int
    waiting: list[Deferred[Endpoint]] = attrs.field(factory=list)
    connection: Connection | None = None
    dialling: Deferred[IChannel] | None = None
    awaited_id: int = 0
    timeout: IDelayedCall | None = None

    def tell(self, result: Endpoint | Failure) -> None:
        """Tell everybody who waits how it ended."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if isinstance(result, Failure):
                each.errback(result)
            else:
                each.callback(result)


@implementer(IChannelReceiver)
class _Nobody:
    """Reads nothing of a channel that is closed at once."""

    def channel_opened(self, channel: IChannel) -> None:
        """Do nothing: the dial says that it is open."""

    def frames_received(self, frames: list[bytes]) -> None:
        """Read nothing."""

    def channel_drained(self) -> None:
        """Write nothing."""

    def channel_fault(self, error: RemoteProtocolError) -> None:
        """Read nothing."""

    def channel_closed(self, status: Status, detail: str) -> None:
        """Miss nothing."""


class Dialer:
    """
    Make connections.

    :param channels: Listens on and dials addresses of any scheme.
    """

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        channels: IChannelScheme,
    ) -> None:
        self.doorway = Doorway(context)
        self.listeners: list[IChannelListener] = []
        self.connections: set[Connection] = set()
        self.wanted_id = 0
        self.version_min = self.version_max = PROTOCOL_VERSION
        self.capabilities = 0
        # Set by the node, which wires its parts.
        self.accept_ring: Callable[[Address, str], Connection | None]
        self._context = context
        self._registrar = registrar
        self._channels = channels
        self._attempts: list[_Attempt] = []
        # What is under way: listeners that are not open yet, and dials.
        self._openings: set[Deferred[IChannelListener]] = set()
        self._dials: set[Deferred[IChannel]] = set()
        self._ended: Deferred[None] | None = None
        self._patience: IDelayedCall | None = None
        self._stopping = False
        # Of the latest registrations, to recognize a dial to ourselves.
        self._nonces: deque[bytes] = deque(maxlen=limits.PENDING_HANDSHAKES_MAX)
        # What was said last, by whether it was to an upstream.
        self._said: dict[bool, RegisterRequest] = {}

    # Listening.

    def listen(self, address: Address) -> Deferred[Address]:
        """
        Listen on one more address.

        :returns: Fires with the real address, the chosen port in it; fails with `ListenFailed`.
        """

        place = [address]
        opening = self._channels.listen(address, lambda peer: self._accept(place[0], peer))
        self._openings.add(opening)

        def ended(result: IChannelListener | Failure) -> IChannelListener | Failure:
            self._openings.discard(opening)
            return result

        def listening(listener: IChannelListener) -> Address:
            place[0] = listener.address
            self.listeners.append(listener)
            return listener.address

        def cancelled(failure: Failure) -> Address:
            failure.trap(CancelledError)
            raise ListenFailed(address, "the node stops")

        return opening.addBoth(ended).addCallbacks(listening, cancelled)

    def _accept(self, address: Address, peer: str) -> Connection | None:
        if self._stopping:
            return None
        if not address.is_duplex:
            ring = self.accept_ring(address, peer)
            if ring is not None:
                self.connections.add(ring)
            return ring
        if not self.doorway.lets_in(address, peer):
            return None
        machine = PassiveHandshake(self._terms(Role.CONTROL, 0))
        connection = Connection(
            self._context, self._registrar, machine, address=address, dialled=False
        )
        connection.said_addresses = self._said[False].addresses
        self.connections.add(connection)
        self.doorway.entered(connection, peer)
        return connection

    def stop_listening(self) -> Deferred[None]:
        """Free every address; connections stay."""
        self._stopping = True
        for opening in list(self._openings):
            opening.cancel()
        listeners, self.listeners = self.listeners, []
        stopped = gatherResults([listener.stop() for listener in listeners])
        return stopped.addCallback(lambda _: None)

    def reopen(self) -> None:
        """Allow connections again, for a node that is started once more."""
        self._stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether nobody new is dialled or let in: the node stops."""
        return self._stopping

    # Dialling.

    def connect(
        self, address: Address, *, upstream: bool = False, expected_id: int = 0
    ) -> Deferred[Endpoint]:
        """
        Dial and register.

        A second call for an address whose attempt has not ended shares it.

        :param upstream: Whether this is how we reach our upstream.
        :param expected_id: The only id that may answer; 0 for any.
        :returns: Fires when the endpoint can take messages; fails with `ConnectFailed`,
            `RegistrationRefused` or `ChannelBroken`.
        """
        if self._stopping:
            # Whoever registered now would not be among those of whom we take leave.
            return fail(ConnectFailed(address, "the node stops"))
        for attempt in self._attempts:
            if not upstream and (attempt.address, attempt.expected_id) == (address, expected_id):
                return self._wait_for(attempt)
        attempt = _Attempt(address, expected_id)
        waiting = self._wait_for(attempt)
        self._attempts.append(attempt)
        self._dial(attempt, expected_id=expected_id, upstream=upstream)
        return waiting

    def _wait_for(self, attempt: _Attempt) -> Deferred[Endpoint]:
        """Give one more of those who wait a Deferred of its own; the last to cancel ends it."""

        def cancelled(waiting: Deferred[Endpoint]) -> None:
            attempt.waiting.remove(waiting)
            if not attempt.waiting:
                self._give_up(attempt)

        waiting: Deferred[Endpoint] = Deferred(cancelled)
        attempt.waiting.append(waiting)
        return waiting

    def probe(self, address: Address) -> Deferred[None]:
        """
        Look whether somebody listens at an address; nothing is said to them.

        :returns: Fires when somebody does; fails with `ConnectFailed`.
        """
        dialling = self._channels.connect(address, _Nobody())
        self._dials.add(dialling)

        def ended(result: IChannel | Failure) -> IChannel | Failure:
            self._dials.discard(dialling)
            return result

        def opened(channel: IChannel) -> None:
            channel.close(Status.DISCONNECTED, "it was only looked whether somebody is there")

        return dialling.addBoth(ended).addCallback(opened)

    def connect_data(self, endpoint: Endpoint, address: Address) -> Deferred[IChannel]:
        """
        Dial one data connection to an endpoint.

        :returns: Fires when the channel is open; fails with `ConnectFailed`.
        """
        return self.open(self.data_connection(endpoint, address))

    def data_connection(self, endpoint: Endpoint, address: Address) -> Connection:
        """Make one data connection to an endpoint, to be opened."""
        return Connection(
            self._context,
            self._registrar,
            ActiveHandshake(self._terms(Role.DATA, endpoint.bus_id)),
            address=address,
            dialled=True,
            role=Role.DATA,
        )

    def _dial(self, attempt: _Attempt, *, expected_id: int, upstream: bool) -> None:
        attempt.connection = Connection(
            self._context,
            self._registrar,
            ActiveHandshake(self._terms(Role.CONTROL, expected_id, upstream=upstream)),
            address=attempt.address,
            dialled=True,
            upstream=upstream,
        )
        attempt.connection.said_addresses = self._said[upstream].addresses
        dialling = self.open(attempt.connection)
        attempt.dialling = dialling
        dialling.addErrback(lambda failure: self._dial_failed(attempt, failure))

    def open(self, connection: Connection) -> Deferred[IChannel]:
        """
        Dial the address of a connection.

        :returns: Fires when its channel is open; fails with `ConnectFailed`.
        """
        self.connections.add(connection)
        dialling = self._channels.connect(connection.address, connection)
        self._dials.add(dialling)

        def ended(result: IChannel | Failure) -> IChannel | Failure:
            self._dials.discard(dialling)
            if isinstance(result, Failure):
                self.connections.discard(connection)
            return result

        return dialling.addBoth(ended)

    def _dial_failed(self, attempt: _Attempt, failure: Failure) -> None:
        attempt.dialling = None
        if attempt in self._attempts:
            if failure.check(ConnectFailed):
                self._context.events.on_error(Status.CONNECT_FAILED, str(failure.value))
            self._finish(attempt, failure)

    def _give_up(self, attempt: _Attempt) -> None:
        """End an attempt that nobody waits for any more."""
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        if attempt.timeout is not None and attempt.timeout.active():
            attempt.timeout.cancel()
        if attempt.dialling is not None:
            attempt.dialling.cancel()
        connection = attempt.connection
        if connection is None or connection.endpoint is not None:
            return
        # To who is registered already it may be the control stream by now, in place of another one.
        if connection.hello_id not in self._registrar.endpoints:
            connection.say_goodbye(Status.DISCONNECTED, "the attempt was given up")

    def cancel_attempts(self) -> None:
        """End every attempt: the node stops."""
        for attempt in list(self._attempts):
            self._give_up(attempt)
            attempt.tell(Failure(ConnectFailed(attempt.address, "the node stops")))

    def refuse_unfinished(self) -> None:
        """
        Tell everybody who is about to register that the node is leaving.

        Data connections to those who are registered may still open: something may wait for them.
        """
        for connection in list(self.connections):
            is_ours = connection.dialled and connection.role is Role.DATA
            is_known = is_ours or connection.hello_id in self._registrar.endpoints
            if connection.link is None and not is_known:
                connection.say_goodbye(Status.CLOSING, "this node is leaving")

    def end(self) -> Deferred[None]:
        """
        End what is left of dials and connections: the node has left everybody.

        :returns: Fires when nothing is left; never fails.
        """
        for dialling in list(self._dials):
            dialling.cancel()
        for connection in list(self.connections):
            connection.close(Status.STOPPED, "the node stops")
        self._ended = Deferred()
        self._patience = self._context.timers.callLater(limits.GOODBYE_SECONDS, self._abort)
        ended = self._ended
        self._look()
        return ended

    def _abort(self) -> None:
        for connection in list(self.connections):
            connection.abort(Status.STOPPED, "the node stops")

    def _look(self) -> None:
        if self._ended is None or self.connections:
            return
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        ended, self._ended = self._ended, None
        ended.callback(None)

    def _finish(self, attempt: _Attempt, result: Endpoint | Failure) -> None:
        if attempt not in self._attempts:
            return
        self._attempts.remove(attempt)
        if attempt.timeout is not None and attempt.timeout.active():
            attempt.timeout.cancel()
        attempt.tell(result)

    # What became of them; the registrar reports.

    def available(self, endpoint: Endpoint) -> None:
        """End the attempts that wanted to reach this endpoint; know whoever has come again."""
        control = endpoint.control
        if control is not None and control.channel is not None and not control.dialled:
            self.doorway.registered(control.channel.peer)
        for attempt in list(self._attempts):
            mine = attempt.connection is not None and attempt.connection.endpoint is endpoint
            if mine or attempt.awaited_id == endpoint.bus_id:
                self._finish(attempt, endpoint)

    def refused(self, connection: Connection, status: Status, detail: str, by_peer: bool) -> None:
        """End the attempt of a connection that was refused, unless another one stays for it."""
        attempt = self._attempt_of(connection)
        if attempt is None:
            return
        if status in ANOTHER_STAYS:
            self._await_other(attempt, connection.hello_id)
        else:
            self._finish(attempt, Failure(RegistrationRefused(status, detail, by_peer)))

    def _await_other(self, attempt: _Attempt, bus_id: int) -> None:
        """Wait for the stream that stays; when it has come to nothing there is none."""
        known = self._registrar.endpoints.get(bus_id)
        if known is not None and known.available:
            self._finish(attempt, known)
        elif not attempt.awaited_id:
            attempt.awaited_id = bus_id
            attempt.timeout = self._context.timers.callLater(
                self._context.config.handshake_seconds, self._timed_out, attempt
            )

    def expects(self, bus_id: int) -> bool:
        """Tell whether a node is about to register over a stream of its own or of ours."""
        return any(c.hello_id == bus_id and c.is_registering for c in self.connections)

    def _timed_out(self, attempt: _Attempt) -> None:
        refusal = RegistrationRefused(Status.CROSSED_DIAL, "the other dial came to nothing", True)
        self._finish(attempt, Failure(refusal))

    def closed(self, connection: Connection, status: Status, detail: str) -> None:
        """End the attempt of a connection that is gone."""
        self.connections.discard(connection)
        if status.is_breach and connection.channel is not None and not connection.dialled:
            self.doorway.breach(connection.channel.peer)
        attempt = self._attempt_of(connection)
        if attempt is not None and status in ANOTHER_STAYS:
            self._await_other(attempt, connection.hello_id)
        elif attempt is not None and not attempt.awaited_id:
            self._finish(attempt, Failure(ChannelBroken(f"{status.name}: {detail}")))
        self._look()

    def _attempt_of(self, connection: Connection) -> _Attempt | None:
        return next((a for a in self._attempts if a.connection is connection), None)

    # What we say.

    def _terms(self, role: Role, expected_id: int, *, upstream: bool = False) -> LocalTerms:
        context = self._context
        config = context.config
        nonce = os.urandom(limits.NONCE_BYTES)
        self._nonces.append(nonce)
        by_record = upstream and bool(expected_id)
        mode = context.mode if not context.bus_id or context.mode is Mode.TEMPORARY else Mode.NODE
        return LocalTerms(
            bus_id=context.bus_id,
            mode=mode,
            epoch=context.epoch,
            role=role,
            version_min=self.version_min,
            version_max=self.version_max,
            capabilities=self.capabilities | offered(config.compression),
            frame_max=config.frame_bytes_max,
            nonce=nonce,
            # Not a copy: registrations that begin later are our own as well.
            own_nonces=self._nonces,
            request=self._request(upstream=upstream),
            tokens=config.access_tokens,
            timeout_seconds=config.handshake_seconds,
            expected_id=expected_id,
            # Whoever stands in the configuration is meant, whatever labels it has.
            expected_labels=tuple(config.upstream_labels.items()) if by_record else (),
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we listen, as others are told."""
        return tuple(str(listener.address) for listener in self.listeners)

    def _request(self, *, upstream: bool) -> RegisterRequest:
        context = self._context
        flags = context.node_flags | (NodeFlag.BELOW if upstream else 0)
        identity = context.identity
        request = RegisterRequest(
            host=identity.host,
            process=identity.process,
            hostname=identity.hostname,
            subnets=context.table.own_subnets or context.config.subnets_before_id,
            labels=tuple(sorted(context.config.labels.items())),
            addresses=self.addresses,
            node_flags=flags,
            software=f"atbus {__version__}",
            wanted_id=self.wanted_id,
        )
        # Each registration keeps it as long as its connection: one is enough while nothing changes.
        if request != self._said.get(upstream):
            self._said[upstream] = request
        return self._said[upstream]
