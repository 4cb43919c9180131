"""
Starting, being up, and stopping a node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from atbus import limits
from atbus.address import Address
from atbus.busid import TEMPORARY, check_bus_id
from atbus.errors import (
    ConfigurationError,
    ConnectFailed,
    DiscoveryConflict,
    DiscoveryError,
    ListenFailed,
    LocalProtocolError,
    RegistrationRefused,
    Status,
    Undeliverable,
)
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.life import CREATED, STOPPED, Life
from atbus.node.outbox import Notice
from atbus.node.upstream import Upstream
from atbus.routing import bounds
from atbus.routing.drain import Drained
from atbus.routing.table import Position
from atbus.wire.messages import AddressUpdate, Mode

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.leaving import Leaving
    from atbus.node.parts import Parts
    from atbus.node.registrar import Registrar
    from atbus.routing.choice import Candidate


# What an upstream says, or we find, when an automatic node comes with an id of an earlier time.
_ID_LOST = frozenset({Status.ID_CONFLICT, Status.SUBNET_CONFLICT, Status.NOT_ADMITTED})


class Running:
    """The life of one node, performed."""

    def __init__(
        self, context: Context, dialer: Dialer, leaving: Leaving, registrar: Registrar
    ) -> None:
        events = context.events
        self.life = Life(
            entered=events.on_state_changed,
            went_up=events.on_node_up,
            went_down=events.on_node_down,
        )
        self.upstream: Upstream | None = None
        self._upstream_id: int | None = None
        self._context = context
        self._dialer = dialer
        self._leaving = leaving
        self._registrar = registrar
        self._started: list[Deferred[None]] = []
        self._stopping: list[Deferred[None]] = []
        self._patience: IDelayedCall | None = None

    def wire(self, parts: Parts) -> None:
        """Get to know the parts that must be switched on and off."""
        self._parts = parts

    def takes_registrations(self) -> bool:
        """Tell whether others may register here now."""
        return self.life.is_alive and bool(self._context.bus_id)

    # Starting.

    def start(self) -> Deferred[None]:
        """
        Listen, and register with an upstream if there is one.

        :returns: Fires when the node is up; fails with `ListenFailed`, or with
            `RegistrationRefused` when an upstream refuses before the node was ever up, with
            `Status.TIMEOUT` when none was found within
            `NodeConfig.require_upstream_within_seconds`, and with `Status.STOPPED` when the node
            was stopped before.
        :raises LocalProtocolError: The node is stopping.
        """
        started: Deferred[None] = Deferred()
        if self.life.has_been_up and self.life.is_alive:
            return succeed(None)
        self._started.append(started)
        if len(self._started) > 1 and self.life.is_alive:
            return started
        try:
            self.life.start()
        except LocalProtocolError:
            self._started.remove(started)
            raise
        if not self.life.is_alive:
            # Stopped by the program, in the callback that told it of the start.
            return started
        self._dialer.reopen()
        self._parts.topology.reconfigure()
        self._parts.sender.refuse(None)
        self._parts.commands.refusal = None
        self._parts.pulse.start()
        self._parts.route_table.open()
        self._parts.subjects.talk.open()
        places = self._parts.lanes.sharing.places()
        listening = DeferredList(
            [self._dialer.listen(address) for address in places], consumeErrors=True
        )
        listening.addCallback(self._listening)
        return started

    def _listening(self, results: list[tuple[bool, Any]]) -> None:
        if not self.life.is_alive:
            return
        for _, result in results:
            if isinstance(result, Failure):
                self._fail(result)
                return
        self._parts.sources.start()
        announced = self._parts.discovering.start()
        announced.addCallbacks(self._announced, self._not_announced)

    def _not_announced(self, failure: Failure) -> None:
        """End a node whose id is another's in a registry, or whose registry is not there."""
        failure.trap(DiscoveryError, ConfigurationError)
        if self.life.is_alive:
            error = failure.value
            if isinstance(error, ConfigurationError):
                self._fail(failure)
                return
            is_conflict = isinstance(error, DiscoveryConflict)
            status = Status.ID_CONFLICT if is_conflict else Status.TIMEOUT
            self._fail(Failure(RegistrationRefused(status, str(error))))

    def _announced(self, _: None) -> None:
        if not self.life.is_alive:
            return
        config = self._context.config
        if not config.has_upstream:
            self._up()
            return
        self.upstream = Upstream(
            self._context,
            self._parts.topology.upstream_candidates,
            connect=self._dial_upstream,
            went_up=self._registered_upstream,
            refused=self._upstream_refused,
            probe=self._dialer.probe,
            stuck=self._parts.rehoming.stuck,
        )
        if config.require_upstream_within_seconds is not None:
            self._patience = self._context.timers.callLater(
                config.require_upstream_within_seconds, self._out_of_patience
            )
        self.upstream.start()

    def _dial_upstream(self, candidate: Candidate) -> Deferred[Endpoint]:
        expected_id = candidate.expected_id
        return self._dialer.connect(candidate.address, upstream=True, expected_id=expected_id)

    def _out_of_patience(self) -> None:
        self._patience = None
        if not self.life.has_been_up:
            seconds = self._context.config.require_upstream_within_seconds
            refusal = RegistrationRefused(Status.TIMEOUT, f"no upstream within {seconds} s", False)
            self._fail(Failure(refusal))

    def _up(self) -> None:
        self._parts.topology.refresh()
        self.life.up()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        started, self._started = self._started, []
        for waiting in started:
            waiting.callback(None)

    def _registered_upstream(self, endpoint: Endpoint) -> None:
        self._parts.rehoming.settle(endpoint)
        self._up()
        self._tell_upstream(endpoint.bus_id)

    def _tell_upstream(self, bus_id: int | None) -> None:
        """Tell who our upstream is now, if that is news: one that never was available was none."""
        if bus_id != self._upstream_id:
            self._upstream_id = bus_id
            self._context.events.on_upstream_changed(bus_id)

    def candidates_changed(self) -> None:
        """Let an upstream be tried at once that nobody knew of until now."""
        if self.upstream is not None:
            self.upstream.candidates_changed()

    def _upstream_refused(self, refusal: RegistrationRefused) -> bool:
        """Go on trying, except when the node was never up: then it ends, with this reason."""
        context = self._context
        if context.config.mode is Mode.AUTO and context.bus_id and refusal.status in _ID_LOST:
            self._give_id_up()
            return True
        if self.life.has_been_up:
            return True
        self._fail(Failure(refusal))
        return False

    def _give_id_up(self) -> None:
        """Ask for another id: somebody has ours by now, or there is no place for it any more."""
        context = self._context
        self._dialer.wanted_id = context.bus_id
        # Whoever knows us by the old one has to register with us anew.
        for endpoint in [*self._registrar.endpoints.values(), *self._registrar.temporary]:
            self._registrar.remove(endpoint, Status.DISCONNECTED)
        context.bus_id = 0
        context.table.renumber(TEMPORARY)
        self._parts.topology.refresh()

    def _fail(self, failure: Failure) -> None:
        """End a node that cannot come up."""
        error = failure.value
        status = error.status if isinstance(error, RegistrationRefused) else Status.STOPPED
        self._context.events.on_error(status, str(error))
        started, self._started = self._started, []

        def told(_: object) -> None:
            for waiting in started:
                waiting.errback(failure)
            if not started:
                self._context.log.error("the node ended: {reason}", reason=str(error))

        self.stop(status).addBoth(told)

    def removed(self, endpoint: Endpoint, status: Status) -> None:
        """Look for another upstream when this was it."""
        if endpoint.position is Position.UPSTREAM and self.upstream is not None:
            self.life.upstream_lost()
            self._tell_upstream(None)
            self.upstream.lost()

    def may_move(self) -> bool:
        """Tell whether another upstream is being dialled while there is one."""
        return self.upstream is not None and self.upstream.is_moving

    def asked_to_move(self, endpoint: Endpoint) -> None:
        """Move away from an upstream that is draining."""
        self._parts.rehoming.asked(endpoint, self.upstream)

    # What the program asks for.

    def drain(self) -> Deferred[Drained]:
        """
        Let everybody below this node move to other upstreams; it stays.

        :returns: Fires when nobody is left who can; never fails.
        :raises LocalProtocolError: The node is not up.
        """
        if not self.life.is_alive:
            raise LocalProtocolError(f"a node cannot drain while it is {self.life.state}")
        return self._parts.draining.drain(self._context.config.drain_seconds)

    def listen(self, address: Address) -> Deferred[Address]:
        """Listen on one more address, while the node is alive."""
        if not self.life.is_alive:
            return fail(ListenFailed(address, f"the node is {self.life.state}"))
        return self._dialer.listen(address).addCallback(self._announce)

    def _announce(self, address: Address) -> Address:
        """Tell the neighbors where we listen now."""
        self._parts.topology.refresh()
        for endpoint in self._registrar.endpoints.values():
            self.tell_addresses(endpoint)
        return address

    def tell_addresses(self, endpoint: Endpoint) -> None:
        """Tell a neighbor where we listen now, unless it knows that."""
        control, addresses = endpoint.control, self._dialer.addresses
        link = endpoint.control_link
        if control is not None and link is not None and control.said_addresses != addresses:
            control.said_addresses = addresses
            update = AddressUpdate(source=self._context.bus_id, addresses=addresses)
            link.put(Notice(update))

    def connect(self, address: Address) -> Deferred[Endpoint]:
        """Dial a peer, while the node is alive."""
        if not self.life.is_alive:
            return fail(ConnectFailed(address, f"the node is {self.life.state}"))
        if not address.is_duplex:
            why = "one-way addresses are opened by registration only"
            return fail(ConnectFailed(address, why))
        return self._dialer.connect(address)

    def disconnect(self, bus_id: int) -> Deferred[None]:
        """Leave one endpoint in good order."""
        check_bus_id(bus_id)
        endpoint = self._registrar.endpoints.get(bus_id)
        if endpoint is None or endpoint.gate in (Gate.DRAINING, Gate.RETURNING):
            return fail(Undeliverable(Status.UNKNOWN_ENDPOINT, bus_id, 0, self._context.bus_id))
        return self._leaving.leave(
            [endpoint], Status.DISCONNECTED, seconds=limits.DRAIN_CLOSE_SECONDS
        )

    # Stopping.

    def stop(self, status: Status = Status.STOPPED) -> Deferred[None]:
        """
        Stop in good order: what was accepted is delivered or answered first.

        :param status: Told to ``on_node_down``.
        :returns: Fires when nothing of the node is left; never fails.
        """
        stopped: Deferred[None] = Deferred()
        if self.life.state in (CREATED, STOPPED):
            return succeed(None)
        self._stopping.append(stopped)
        if len(self._stopping) > 1:
            return stopped
        self.life.drain()
        self._parts.streams.close()
        self._parts.sender.refuse(Status.CLOSING)
        self._parts.writers.close()
        # What was held for the program is delivered, or it would be lost.
        self._parts.inbox.resume()
        self._parts.commands.refusal = Status.CLOSING
        self._parts.subjects.talk.close()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self.upstream is not None:
            self.upstream.stop()
        self._parts.directs.close()
        self._dialer.cancel_attempts()
        listening = self._dialer.stop_listening()
        self._dialer.refuse_unfinished()
        self._leaving.begin()
        seconds = self._context.config.drain_seconds
        deadline = self._context.now + seconds
        draining = self._parts.draining.before_stop(seconds * bounds.DRAIN_MOVE_FRACTION)
        draining.addCallback(lambda _: self._leave(status, listening, deadline))
        return stopped

    def _leave(self, status: Status, listening: Deferred[None], deadline: float) -> None:
        self._parts.rehoming.close()
        endpoints = [*self._registrar.endpoints.values(), *self._registrar.temporary]
        leaving = self._leaving.leave(
            endpoints,
            Status.STOPPED,
            seconds=max(0.0, deadline - self._context.now),
            everything=True,
        )
        found = [self._parts.discovering.stop(), self._parts.sources.stop()]
        DeferredList([listening, leaving, *found]).addCallback(self._left, status)

    def _left(self, _: object, status: Status) -> None:
        self._dialer.end().addCallback(self._ended, status)

    def _ended(self, _: object, status: Status) -> None:
        self._parts.inbox.close()
        self._parts.fates.close()
        self._parts.services.close()
        self._parts.subjects.close()
        self._parts.commands.close()
        self._parts.sender.refuse(Status.NOT_STARTED)
        self._parts.commands.refusal = Status.NOT_STARTED
        self._registrar.judge.close()
        # What was asked for until now, by callbacks too, is done before the end.
        self._context.timers.callLater(0, self._stopped, status)

    def _stopped(self, status: Status) -> None:
        self._parts.pulse.stop()
        self._parts.route_table.close()
        self._parts.paths.close()
        self._parts.traffic.courier.close()
        self._leaving.stop()
        self._parts.draining.close()
        self.upstream = None
        # The program may start the node again as soon as it hears of its end.
        started, self._started = self._started, []
        stopping, self._stopping = self._stopping, []
        self.life.stopped(status)
        for waiting in started:
            why = "the node was stopped before it was up"
            waiting.errback(RegistrationRefused(Status.STOPPED, why, by_peer=False))
        for waiting in stopping:
            waiting.callback(None)
