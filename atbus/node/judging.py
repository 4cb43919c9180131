"""
Ask the admission rules about a peer, and the holder of an id whether it lives.

The rules are `atbus.routing.admission`; this gathers what they judge by, and waits where they say
that somebody must be asked first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from twisted.internet.interfaces import IDelayedCall

from atbus import limits
from atbus.busid import BusId
from atbus.errors import Status
from atbus.handshake.effects import AskAdmission
from atbus.handshake.terms import Admitted, PeerTerms, Rejected
from atbus.node.endpoint import Gate
from atbus.rights import Who
from atbus.routing import applicant as judged
from atbus.routing import bounds
from atbus.routing.admission import after_challenge, judge
from atbus.routing.applicant import Applicant, Challenge, Judgement, OwnNode, Registered
from atbus.routing.former_ranges import FormerRanges
from atbus.routing.record import Record
from atbus.routing.table import Position
from atbus.wire.messages import Mode, RegisterRequest, Role

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.pulse import Pulse
    from atbus.node.registrar import Registrar
    from atbus.node.topology import Topology

# The challenge itself; a real one is chosen so that it cannot be mistaken for a heartbeat.
_CHALLENGE_SEQUENCE = 0
# How often is looked whether the holder has answered.
_POLL_SECONDS = 0.1
_LEAVING = Rejected(status=Status.CLOSING, detail="this node is leaving")


@attrs.define(eq=False)
class _Asking:
    """The holder of an id is asked whether it lives, because somebody else wants the id."""

    connection: Connection
    who: Applicant
    challenge: Challenge
    holder: Endpoint
    asked_at: float
    looks_left: int = round(limits.CHALLENGE_SECONDS / _POLL_SECONDS)
    look_at: float = 0.0


class Judge:
    """
    Judge the peers of one node.

    :param accepts: Tells whether registrations are taken at all at the moment.
    """

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        pulse: Pulse,
        topology: Topology,
        accepts: Callable[[], bool],
    ) -> None:
        self._context = context
        self._registrar = registrar
        self._pulse = pulse
        self._topology = topology
        self._accepts = accepts
        # Set by the node, which wires its parts: whether another upstream is wanted.
        self.may_move: Callable[[], bool]
        self._positions: dict[Connection, Position] = {}
        self._calls: dict[_Asking, IDelayedCall] = {}
        # Who is registered, as the rules see it, with what that follows from: it is asked for each
        # who comes, and nearly all of them are as they were.
        self._described: dict[Endpoint, tuple[object, Registered]] = {}
        self._former = FormerRanges(bounds.FORMER_RANGES_MAX)

    def judge(self, connection: Connection, question: AskAdmission) -> None:
        """Answer a connection's question, now or when the holder of the id has been asked."""
        channel = connection.channel
        certified = None if channel is None else channel.identity
        who = Applicant.of(
            question.hello,
            question.request,
            dialled=question.dialled,
            to_upstream=connection.upstream,
            bound_id=None,
            allowed=None if certified is None else certified.subnet,
        )
        who = attrs.evolve(
            who,
            record=self._record_of(who.bus_id, question.request),
            address=connection.address,
        )
        if self._is_unwelcome(who):
            connection.judged(_LEAVING)
            return
        number = self._context.random.getrandbits(128)
        self._apply(connection, who, judge(self._own(), self._registered(), who, number))

    def _is_unwelcome(self, who: Applicant) -> bool:
        """Tell whether somebody comes who did not come before, and this node is leaving."""
        if who.dialled or who.role is Role.DATA:
            return False
        is_draining = self._context.draining and who.mode is not Mode.TEMPORARY
        return is_draining or not self._accepts()

    def _apply(self, connection: Connection, who: Applicant, judgement: Judgement) -> None:
        refusal = self._missing_right(who, judgement)
        if refusal is not None:
            judgement = judged.Rejected(Status.NOT_ADMITTED, refusal)
        judgement = self._kept_out(who, judgement) or judgement
        match judgement:
            case judged.Admit(bus_id=bus_id, position=position):
                self._admit(connection, bus_id, position)
            case judged.Replace(bus_id=bus_id, position=position, same_process=same):
                holder = self._registrar.endpoints.get(bus_id)
                if holder is not None and not same:
                    self._registrar.remove(holder, Status.REPLACED)
                self._admit(connection, bus_id, position)
            case judged.Attach(bus_id=bus_id) if self._is_leaving(bus_id):
                connection.judged(Rejected(status=Status.CLOSING, detail="we are parting"))
            case judged.Attach(bus_id=bus_id):
                connection.judged(Admitted(bus_id=bus_id, known_epoch=0))
            case Challenge():
                self._challenge(connection, who, judgement)
            case judged.Rejected(status=status, detail=detail):
                connection.judged(Rejected(status=status, detail=detail))

    def _kept_out(self, who: Applicant, judgement: Judgement) -> judged.Rejected | None:
        """Refuse who comes back and was cut because it did not read, more than once."""
        match judgement:
            case judged.Admit(bus_id=bus_id) | judged.Replace(bus_id=bus_id) if not who.dialled:
                seconds = self._registrar.slow_readers.seconds_left(bus_id, self._context.now)
                if seconds:
                    detail = f"it did not read again and again; {seconds:.0f} s more"
                    return judged.Rejected(Status.SLOW_READER, detail)
        return None

    def _missing_right(self, who: Applicant, judgement: Judgement) -> str | None:
        """Say which rights forbid to take somebody in whom the rules of admission would take."""
        rights = self._context.rights
        if rights is None:
            return None
        match judgement:
            case judged.Admit() if who.mode is Mode.TEMPORARY:
                return rights.refuses_all(Who(who.allowed, who.labels, temporary=True))
            case judged.Admit(bus_id=bus_id, position=position):
                return rights.refuses_registration(Who.node(bus_id, who.labels), position)
            case judged.Replace(bus_id=bus_id, position=position):
                return rights.refuses_registration(Who.node(bus_id, who.labels), position)
            case judged.Attach(bus_id=bus_id):
                return rights.refuses_all(Who.node(bus_id, who.labels))
            case _:
                return None

    def _is_leaving(self, bus_id: int) -> bool:
        endpoint = self._registrar.endpoints.get(bus_id)
        return endpoint is not None and endpoint.gate in (Gate.DRAINING, Gate.RETURNING)

    def _admit(self, connection: Connection, bus_id: int, position: Position) -> None:
        self._positions[connection] = position
        known = self._registrar.known_epochs.get(bus_id, 0)
        connection.judged(Admitted(bus_id=bus_id, known_epoch=known))
        self._positions.pop(connection, None)

    def position_of(self, connection: Connection, peer: PeerTerms) -> Position:
        """Say where an admitted peer stands."""
        position = self._positions.get(connection)
        if position is not None:
            return position
        return Position.UPSTREAM if connection.upstream else Position.PEER

    # The holder of an id is asked whether it lives.

    def ask_for_life(self, endpoint: Endpoint) -> None:
        """Ask a neighbor for a sign of life, now."""
        self._pulse.ping(endpoint, _CHALLENGE_SEQUENCE)

    def _challenge(self, connection: Connection, who: Applicant, challenge: Challenge) -> None:
        holder = self._registrar.endpoints.get(challenge.holder.bus_id)
        if holder is None:
            self._apply(connection, who, self._after(challenge, who, alive=False))
            return
        asking = _Asking(connection, who, challenge, holder, self._context.now)
        self.ask_for_life(holder)
        self._look_later(asking)

    def _look_later(self, asking: _Asking) -> None:
        asking.look_at = self._context.now + _POLL_SECONDS
        self._calls[asking] = self._context.timers.callLater(_POLL_SECONDS, self._look, asking)

    def _look(self, asking: _Asking) -> None:
        del self._calls[asking]
        connection, holder = asking.connection, asking.holder
        if connection.closed is not None:
            return
        if self._context.now - asking.look_at < _POLL_SECONDS:
            # When our own loop was late, the answer may lie unread: that time does not count.
            asking.looks_left -= 1
        if holder.removed is None and holder.heartbeat.heard_at > asking.asked_at:
            self._decide(asking, alive=True)
        elif holder.removed is not None or asking.looks_left <= 0:
            self._decide(asking, alive=False)
        else:
            self._look_later(asking)

    def forget(self, endpoint: Endpoint) -> None:
        """Keep nothing of somebody who is removed."""
        self._described.pop(endpoint, None)
        peer = endpoint.peer
        # An automatic node that has gone asks for any range when it comes back.
        if endpoint.position is Position.DOWNSTREAM and peer.mode is Mode.NODE:
            self._former.left(endpoint.bus_id, peer.request.subnets)

    def close(self) -> None:
        """Ask nobody any more."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()

    def _decide(self, asking: _Asking, *, alive: bool) -> None:
        if self._is_unwelcome(asking.who):
            asking.connection.judged(_LEAVING)
            return
        judgement = self._after(asking.challenge, asking.who, alive=alive)
        self._apply(asking.connection, asking.who, judgement)

    def _after(self, challenge: Challenge, who: Applicant, *, alive: bool) -> Judgement:
        return after_challenge(challenge, alive, self._own(), self._registered(), who)

    # What is judged by.

    def take_id(self, bus_id: int) -> None:
        """Take the id that an upstream assigned to this automatic node."""
        context = self._context
        context.bus_id = bus_id
        context.table.renumber(BusId(bus_id), context.config.subnets_of(bus_id))

    def _own(self) -> OwnNode:
        context = self._context
        return OwnNode(
            bus_id=context.bus_id,
            subnets=context.table.own_subnets,
            host=context.identity.host,
            process=context.identity.process,
            temporary=context.mode is Mode.TEMPORARY,
            accept_subnets=context.config.accept_subnets,
            reserved_subnets=context.config.reserved_subnets,
            former_subnets=self._former.subnets(self._registrar.endpoints),
            endpoints_max=context.config.endpoints_max,
            upstream_id=self._upstream_id(),
            may_move=self.may_move(),
            by_records=context.config.topology == "records",
            record=self._topology.own,
            policy=context.config.policy,
        )

    def _record_of(self, bus_id: int, request: RegisterRequest) -> Record | None:
        """Put together what an applicant says of itself and what is known of its place."""
        if not bus_id:
            return None
        return Record(
            bus_id=bus_id,
            upstream_id=self._context.table.registry.tree.upstream_of(bus_id),
            labels=request.labels,
            node_flags=request.node_flags,
            host=request.host,
            process=request.process,
        )

    def _upstream_id(self) -> int | None:
        for endpoint in self._registrar.endpoints.values():
            if endpoint.position is Position.UPSTREAM:
                return endpoint.bus_id
        return None

    def _registered(self) -> list[Registered]:
        found = []
        for endpoint in (*self._registrar.endpoints.values(), *self._registrar.temporary):
            control = endpoint.control
            dialled = None if control is None else control.dialled
            matters = (endpoint.peer, endpoint.position, dialled, endpoint.came_from)
            known = self._described.get(endpoint)
            if known is None or known[0] != matters:
                known = self._described[endpoint] = (matters, _as_registered(endpoint))
            found.append(known[1])
        return found


def _as_registered(endpoint: Endpoint) -> Registered:
    request = endpoint.peer.request
    control = endpoint.control
    return Registered(
        bus_id=endpoint.bus_id,
        subnets=request.subnets,
        position=endpoint.position,
        host=request.host,
        process=request.process,
        epoch=endpoint.peer.epoch,
        control_dialled=None if control is None else control.dialled,
        came_from=endpoint.came_from,
        temporary=endpoint.temporary,
    )
