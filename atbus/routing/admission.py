"""
May this node register here, and as what?

The checks that follow version and proof, in this order; the first that fails names the reason:

1. A connection that belongs to one id does not become another's: `BUS_ID_MISMATCH`.
2. The id fits the mode: a node has one, a temporary and an automatic node do not, and who is dialed
   has one, for it listens: `INVALID_ID`. Nobody comes under our own id: `SELF_CONNECT` when it is
   ourselves, else `ID_CONFLICT`. Over TLS, its certificate names the id and all its subnets, and
   whatever an automatic node gets: `NOT_ADMITTED`, `NO_FREE_ID`.
3. An automatic node gets a free id out of our subnets, with as wide a range around it as it asks
   for; the id it had before if that is still free: `NO_FREE_ID` when there is none. Ids that are
   reserved it does not get; those of nodes that were below us, and may come back, last of all.
4. The same id is registered already. A further connection of the same process joins it. A second
   control stream of the same process replaces the first, unless the two dials crossed, when the
   one that the smaller id dialed stays: `CROSSED_DIAL` for the other. Where records say who is
   below whom, the stream on which that was said stays in any case, whoever dials another. Another
   process is taken in only when the holder of the id does not answer any more: `Challenge`, then
   `ID_CONFLICT`.
5. A data connection needs an endpoint to join: `UNKNOWN_ENDPOINT`.
6. There is room: `OVERLOADED`. It has a position, and that one is free and wanted here:
   `SECOND_UPSTREAM`, `NOT_ADMITTED`.
7. Its subnets fit: `SUBNET_CONFLICT`. The upstream contains all of us; a downstream is contained;
   a peer is apart. No two neighbors share an id, except that the upstream's subnets go around
   everybody's.
8. Its subnets are among those that the configuration lets in: `NOT_ADMITTED`.
9. Our policy allows a connection to this peer, at this address: `POLICY_DENIED`.

Where records say who is below whom, who registers says itself whether we are its upstream, and
subnets need not fit (7) as long as no two neighbors share an id and nobody's contain us.

A node that moves from one upstream to another has both for a while: the new one is taken in as a
peer that owns nothing until it takes the other's place.

The *upstream* is who we dialed as such, or who bears the id that our upstream is known by. Wide
subnets make nobody upstream. A temporary node answers for nobody, so its neighbors need not fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from atbus.busid import BusId, Subnet, covers, find_subnet, first_conflict, format_bus_id
from atbus.errors import Status
from atbus.routing.applicant import (
    Admit,
    Applicant,
    Attach,
    Challenge,
    Judgement,
    OwnNode,
    Registered,
    Rejected,
    Replace,
)
from atbus.routing.auto_id import assign_auto_id, intersection
from atbus.routing.dial_plan import keep_dialled
from atbus.routing.policy import verdict_on
from atbus.routing.table import Position, owned_subnets
from atbus.wire.messages import Mode, Role


def judge(
    own: OwnNode, registered: Sequence[Registered], applicant: Applicant, number: int = 0
) -> Judgement:
    """
    Decide on a registration (see the checks at the top of this file).

    :param own: This node.
    :param registered: Everybody registered here.
    :param applicant: Who wants to be.
    :param number: Drawn by lot from 0..2**64-1 or more; chooses the id of an automatic node.
    :returns: `Admit`, `Attach`, `Replace`, `Challenge` or `Rejected`.
    """
    fault = _identity_fault(own, applicant)
    if fault is not None:
        return fault
    if applicant.mode is Mode.TEMPORARY:
        return _judge_temporary(own, registered, applicant)
    if applicant.mode is Mode.AUTO and applicant.role is not Role.CONTROL:
        applicant = attrs.evolve(applicant, bus_id=applicant.wanted_id)
    elif applicant.mode is Mode.AUTO:
        bus_id = _choose_id(own, registered, applicant, number)
        if bus_id is None:
            bits = applicant.wanted_bits
            what = f"range of {bits} bits" if bits else "id"
            ranges = ", ".join(str(subnet) for subnet in own.subnets[:3]) or "none"
            return Rejected(Status.NO_FREE_ID, f"no free {what} left in {ranges}")
        applicant = applicant.with_id(bus_id)
    for holder in registered:
        if holder.bus_id == applicant.bus_id:
            return _judge_same_id(own, registered, applicant, holder)
    if applicant.role is not Role.CONTROL:
        return Rejected(
            Status.UNKNOWN_ENDPOINT,
            f"{format_bus_id(applicant.bus_id)} has no control connection here",
        )
    return _judge_newcomer(own, registered, applicant)


def after_challenge(
    challenge: Challenge,
    alive: bool,
    own: OwnNode,
    registered: Sequence[Registered],
    applicant: Applicant,
) -> Judgement:
    """
    Decide again when the holder of an id was pinged; the world may have changed meanwhile.

    :param challenge: What `judge` said.
    :param alive: Whether the holder answered in time.
    :param own: This node, now.
    :param registered: Everybody registered here now.
    :param applicant: Who wants the id.
    :returns: `Rejected` with `ID_CONFLICT` for a holder that lives and is still registered, else
        what `judge` says now: usually `Replace`, or `Admit` when the holder left; another challenge
        when the id has a new holder.
    """
    now: list[Registered] = []
    for each in registered:
        if not _is_same_holder(each, challenge.holder):
            now.append(each)
        elif alive:
            return _conflict(each)
        else:
            now.append(attrs.evolve(each, alive=False))
    return judge(own, now, applicant)


def _identity_fault(own: OwnNode, applicant: Applicant) -> Rejected | None:
    """Check what can be seen from the applicant and ourselves alone (1 and 2)."""
    bus_id, mode = applicant.bus_id, applicant.mode
    name = format_bus_id(bus_id)
    if applicant.bound_id is not None and applicant.bound_id != bus_id:
        bound = format_bus_id(applicant.bound_id)
        return Rejected(Status.BUS_ID_MISMATCH, f"this connection is of {bound}, not of {name}")
    if (mode is Mode.NODE) != bool(bus_id):
        return Rejected(Status.INVALID_ID, f"mode {mode.name} with id {name}")
    if mode is not Mode.NODE and applicant.dialled:
        return Rejected(Status.INVALID_ID, f"who is dialed needs an id, mode is {mode.name}")
    if bus_id and bus_id == own.bus_id:
        if (applicant.host, applicant.process) == (own.host, own.process):
            return Rejected(Status.SELF_CONNECT, f"{name} is this node")
        return Rejected(Status.ID_CONFLICT, f"{name} is the id of this node, another process")
    if not own.bus_id and not own.temporary and not applicant.to_upstream:
        return Rejected(Status.NOT_ADMITTED, "this node waits for its own id")
    return _certificate_fault(applicant) if mode is Mode.NODE else None


def _certificate_fault(applicant: Applicant) -> Rejected | None:
    """Compare what a node claims with what its certificate names."""
    if applicant.allowed is None:
        return None
    for subnet in owned_subnets(applicant.bus_id, applicant.subnets):
        if not applicant.allowed.contains_subnet(subnet):
            return Rejected(
                Status.NOT_ADMITTED, f"its certificate allows {applicant.allowed}, not {subnet}"
            )
    return None


def _judge_temporary(
    own: OwnNode, registered: Sequence[Registered], applicant: Applicant
) -> Admit | Rejected:
    if applicant.role is not Role.CONTROL:
        return Rejected(Status.UNKNOWN_ENDPOINT, "a temporary node has one connection")
    return _overload(own, registered) or Admit(bus_id=BusId(0), position=Position.PEER, subnets=())


def _choose_id(
    own: OwnNode, registered: Sequence[Registered], applicant: Applicant, number: int
) -> BusId | None:
    """Choose the id of an automatic node: the former one if that is free or its own, else any."""
    wanted = applicant.wanted_id
    for each in registered:
        if wanted and each.bus_id == wanted and _is_same_process(each, applicant):
            return BusId(wanted)
    mine = owned_subnets(own.bus_id, own.subnets)
    if own.accept_subnets:
        mine = intersection(mine, own.accept_subnets)
    if applicant.allowed is not None:
        mine = intersection(mine, [applicant.allowed])
    taken = [Subnet(own.bus_id, 0), *own.reserved_subnets]
    for each in registered:
        taken.append(Subnet(each.bus_id, 0))
        if _owns_alone(each):
            taken += each.subnets
    around = Subnet(wanted, applicant.wanted_bits)
    for avoided in ([*taken, *own.former_subnets], taken):
        if wanted and covers(mine, [around]) and first_conflict([around], avoided) is None:
            return BusId(wanted)
        found = assign_auto_id(mine, avoided, number, applicant.wanted_bits)
        if found is not None:
            return found
    return None


def _judge_same_id(
    own: OwnNode, registered: Sequence[Registered], applicant: Applicant, holder: Registered
) -> Judgement:
    """Decide on an id that is registered (4)."""
    is_same = _is_same_process(holder, applicant)
    if applicant.role is not Role.CONTROL:
        return Attach(bus_id=BusId(holder.bus_id)) if is_same else _conflict(holder)
    if holder.alive and not is_same:
        return Challenge(holder)
    if is_same and holder.alive:
        reason = _why_other_stays(own, applicant, holder)
        if reason is not None:
            return Rejected(Status.CROSSED_DIAL, reason)
    others = [each for each in registered if each.bus_id != holder.bus_id]
    verdict = _judge_newcomer(own, others, applicant)
    if isinstance(verdict, Rejected):
        return verdict
    return Replace(
        bus_id=verdict.bus_id,
        position=verdict.position,
        subnets=verdict.subnets,
        same_process=is_same,
    )


def _why_other_stays(own: OwnNode, applicant: Applicant, holder: Registered) -> str | None:
    """Say why the stream over which a node is registered stays, and not the other, if it does."""
    if own.by_records and holder.control_dialled is not None:
        is_ranked = applicant.to_upstream or applicant.is_below
        was_ranked = holder.position is not Position.PEER
        if is_ranked and not was_ranked:
            return None
        if was_ranked and not is_ranked and not _has_moved(own, applicant, holder):
            return f"it is registered as {holder.position.value} over the stream that stays"
    has_crossed = holder.control_dialled is (not applicant.dialled)
    if has_crossed and applicant.dialled != keep_dialled(own.bus_id, applicant.bus_id):
        return f"{format_bus_id(min(own.bus_id, applicant.bus_id))} dialed the stream that stays"
    return None


def _has_moved(own: OwnNode, applicant: Applicant, holder: Registered) -> bool:
    """Tell whether who was below us is below somebody else now, by its record."""
    record = applicant.record
    # Until it is quite here, its record says where it has come from.
    here = (0, own.bus_id, holder.came_from)
    is_elsewhere = record is not None and record.upstream_id not in here
    # That our upstream is below somebody says nothing of us.
    return is_elsewhere and holder.position is Position.DOWNSTREAM


def _judge_newcomer(
    own: OwnNode, others: Sequence[Registered], applicant: Applicant
) -> Admit | Rejected:
    """Decide on an id that nobody has (6 to 8)."""
    subnets = owned_subnets(applicant.bus_id, applicant.subnets)
    mine = owned_subnets(own.bus_id, own.subnets)
    if applicant.to_upstream or applicant.bus_id == own.upstream_id:
        position = Position.UPSTREAM
        if own.may_move and any(each.position is position for each in others):
            others = [each for each in others if each.position is not position]
            position = Position.PEER
        fault = _upstream_fault(
            () if own.by_records else mine, others, applicant.bus_id, subnets
        )
    else:
        is_below = find_subnet(mine, applicant.bus_id) is not None
        if own.by_records:
            is_below = applicant.is_below
        position = Position.DOWNSTREAM if is_below else Position.PEER
        fault = _overload(own, others)
        if not own.temporary:
            fault = (
                fault
                or _position_fault(own, position, applicant.bus_id)
                or _own_subnet_fault(own, mine, position, subnets)
                or _neighbor_subnet_fault(others, applicant.bus_id, subnets)
                or _allowance_fault(own, subnets)
                or _policy_fault(own, position, applicant)
            )
    if fault is not None:
        return fault
    return Admit(bus_id=BusId(applicant.bus_id), position=position, subnets=subnets)


def _upstream_fault(
    mine: tuple[Subnet, ...],
    others: Sequence[Registered],
    bus_id: int,
    subnets: tuple[Subnet, ...],
) -> Rejected | None:
    name = format_bus_id(bus_id)
    for each in others:
        if each.position is Position.UPSTREAM:
            return Rejected(
                Status.SECOND_UPSTREAM, f"{format_bus_id(each.bus_id)} is upstream, {name} is not"
            )
    for subnet in mine:
        if not covers(subnets, [subnet]):
            return Rejected(
                Status.SUBNET_CONFLICT, f"upstream {name} does not contain {subnet} of this node"
            )
    inside = find_subnet(mine, bus_id)
    if inside is not None:
        return Rejected(Status.SUBNET_CONFLICT, f"upstream {name} is inside {inside} of this node")
    return None


def _overload(own: OwnNode, others: Sequence[Registered]) -> Rejected | None:
    if len(others) < own.endpoints_max:
        return None
    return Rejected(Status.OVERLOADED, f"{len(others)} nodes are registered, the limit")


def _position_fault(own: OwnNode, position: Position, bus_id: int) -> Rejected | None:
    if position is not Position.DOWNSTREAM or own.accepts_downstreams:
        return None
    return Rejected(Status.NOT_ADMITTED, f"{format_bus_id(bus_id)}: nobody is taken in below here")


def _own_subnet_fault(
    own: OwnNode, mine: tuple[Subnet, ...], position: Position, subnets: tuple[Subnet, ...]
) -> Rejected | None:
    """Check against what is ours: downstreams inside it, peers apart from it."""
    around = find_subnet(subnets, own.bus_id)
    if around is not None:
        return Rejected(
            Status.SUBNET_CONFLICT,
            f"{around} contains {format_bus_id(own.bus_id)}, whose upstream it is not",
        )
    for subnet in () if own.by_records else subnets:
        if position is Position.DOWNSTREAM:
            if not covers(mine, [subnet]):
                return Rejected(
                    Status.SUBNET_CONFLICT,
                    f"{subnet} is not inside the subnets of {format_bus_id(own.bus_id)}",
                )
        elif (overlap := first_conflict([subnet], mine)) is not None:
            return Rejected(
                Status.SUBNET_CONFLICT,
                f"{subnet} overlaps {overlap[1]} of {format_bus_id(own.bus_id)}",
            )
    return None


def _neighbor_subnet_fault(
    others: Sequence[Registered], bus_id: int, subnets: tuple[Subnet, ...]
) -> Rejected | None:
    """Check against the subnets and ids of others."""
    for each in others:
        overlap = None
        if _owns_alone(each):
            overlap = first_conflict(subnets, each.subnets)
        if overlap is None and (around := find_subnet(subnets, each.bus_id)) is not None:
            overlap = around, Subnet(each.bus_id, 0)
        if overlap is not None:
            return Rejected(
                Status.SUBNET_CONFLICT,
                f"{overlap[0]} of {format_bus_id(bus_id)} overlaps"
                f" {overlap[1]} of {format_bus_id(each.bus_id)}",
            )
    return None


def _allowance_fault(own: OwnNode, subnets: tuple[Subnet, ...]) -> Rejected | None:
    for subnet in subnets if own.accept_subnets else ():
        if not covers(own.accept_subnets, [subnet]):
            return Rejected(Status.NOT_ADMITTED, f"{subnet} is not among the accepted subnets")
    return None


def _policy_fault(own: OwnNode, position: Position, applicant: Applicant) -> Rejected | None:
    record, address = applicant.record, applicant.address
    if position is not Position.PEER or own.record is None or record is None or address is None:
        return None
    verdict = verdict_on(own.policy, own.record, record)
    if verdict.permits(address):
        return None
    return Rejected(Status.POLICY_DENIED, verdict.refusal(address))


def _owns_alone(neighbor: Registered) -> bool:
    """Leave out the upstream, around everybody, and temporary nodes, who own nothing they say."""
    return neighbor.position is not Position.UPSTREAM and not neighbor.temporary


def _is_same_holder(one: Registered, other: Registered) -> bool:
    return (one.bus_id, one.host, one.process) == (other.bus_id, other.host, other.process)


def _is_same_process(holder: Registered, applicant: Applicant) -> bool:
    return (holder.host, holder.process) == (applicant.host, applicant.process)


def _conflict(holder: Registered) -> Rejected:
    return Rejected(
        Status.ID_CONFLICT,
        f"{format_bus_id(holder.bus_id)} is held by process {holder.process} on {holder.host}",
    )
