"""
What is known of a node that wants to register, of those that are registered, and what is decided.

Plain values for `atbus.routing.admission`: the node makes the first three, `judge` the others.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from atbus import limits
from atbus.address import Address
from atbus.busid import BusId, Subnet, subnets_under
from atbus.errors import Status
from atbus.routing.policy import Rule
from atbus.routing.record import Record
from atbus.routing.table import Position
from atbus.wire.messages import Hello, Mode, NodeFlag, RegisterRequest, Role


@attrs.frozen(kw_only=True)
class OwnNode:
    """
    Say what matters of this node when others register.

    :param bus_id: Our id; 0 for a temporary node, and for an automatic one that has none yet.
    :param subnets: What lies below us; our own id belongs to it in any case.
    :param host: Identity of our host.
    :param process: Identity of our process, as we tell it to others.
    :param temporary: Whether we are a temporary node.
    :param accepts_downstreams: Whether others may hang below us.
    :param accept_subnets: What downstreams and peers may own; anything when empty.
    :param upstream_id: The id by which our configured upstream is known, if it is.
    :param may_move: Whether another upstream may register while there is one, to take its place.
    :param reserved_subnets: Ids that automatic nodes never get.
    :param former_subnets: Ids that they get only when no other one is free: those of nodes that
        were below us and may come back.
    :param endpoints_max: How many nodes may be registered here at once.
    :param by_records: Whether it is records that say who is below whom, and not subnets.
    :param record: Our record, for the policy; without it there is none.
    :param policy: Rules about peers, in order.
    """

    bus_id: int
    subnets: tuple[Subnet, ...] = ()
    host: str = ""
    process: str = ""
    temporary: bool = False
    by_records: bool = False
    may_move: bool = False
    record: Record | None = None
    policy: tuple[Rule, ...] = ()
    accepts_downstreams: bool = True
    accept_subnets: tuple[Subnet, ...] = ()
    upstream_id: int | None = None
    reserved_subnets: tuple[Subnet, ...] = ()
    former_subnets: tuple[Subnet, ...] = ()
    endpoints_max: int = limits.ENDPOINTS_MAX


@attrs.frozen(kw_only=True)
class Registered:
    """
    A node that is registered here.

    :param bus_id: Its id; 0 for a temporary one.
    :param subnets: What it owns; its own id belongs to it in any case.
    :param position: On which side of us it is.
    :param host: Identity of its host.
    :param process: Identity of its process.
    :param epoch: When it started, by its own clock.
    :param control_dialled: Whether we dialed its control stream; None when it has none now.
    :param came_from: Whom its record said that it was below when it registered; 0 for nobody.
    :param temporary: Whether it is a temporary node.
    :param alive: False when it is known not to answer any more; True is no proof.
    """

    bus_id: int
    subnets: tuple[Subnet, ...]
    position: Position
    host: str = ""
    process: str = ""
    epoch: int = 0
    control_dialled: bool | None = None
    came_from: int = 0
    temporary: bool = False
    alive: bool = True


@attrs.frozen(kw_only=True)
class Applicant:
    """
    A node that wants to register over one connection.

    :param bus_id: Its id; 0 when it is temporary or automatic.
    :param mode: What kind of participant it is.
    :param role: What the connection is for.
    :param host: Identity of its host.
    :param process: Identity of its process: equal for all its connections, and for nobody else,
        not even for itself after a restart.
    :param subnets: What it announces; its own id belongs to it in any case. A range from 0 on, of
        an automatic node, is one around the id that it gets.
    :param wanted_id: The id that an automatic node had before; 0 for any.
    :param dialled: Whether we dialed this connection.
    :param to_upstream: Whether we dialed it at an address configured as our upstream.
    :param bound_id: The only id that this connection may belong to, if there is such a one.
    :param is_below: Whether it says that we are its upstream.
    :param record: What is known of it, for the policy.
    :param address: The address of the side that listens, for the policy.
    :param allowed: The ids that its certificate names; None without TLS, when any will do.
    :param labels: What it says of itself.
    """

    bus_id: int
    mode: Mode = Mode.NODE
    role: Role = Role.CONTROL
    host: str = ""
    process: str = ""
    subnets: tuple[Subnet, ...] = ()
    wanted_id: int = 0
    dialled: bool = False
    to_upstream: bool = False
    bound_id: int | None = None
    is_below: bool = False
    record: Record | None = None
    address: Address | None = None
    allowed: Subnet | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def wanted_bits(self) -> int:
        """How wide a range around its id an automatic node asks for; 0 for the id alone."""
        return max((each.mask_bits for each in self.subnets if not each.first), default=0)

    def with_id(self, bus_id: int) -> Applicant:
        """
        Give an automatic node its id, and with it the range around that.

        :param bus_id: The assigned id.
        :returns: The node as it is from now on.
        """
        return attrs.evolve(self, bus_id=bus_id, subnets=subnets_under(bus_id, self.subnets))

    @classmethod
    def of(
        cls,
        hello: Hello,
        request: RegisterRequest,
        *,
        dialled: bool,
        to_upstream: bool = False,
        bound_id: int | None = None,
        allowed: Subnet | None = None,
    ) -> Applicant:
        """
        Read what was received.

        :param hello: The peer's first frame.
        :param request: Its request, with its proof verified.
        :param dialled: Whether we dialed this connection.
        :param to_upstream: Whether we dialed it at an address configured as our upstream.
        :param bound_id: The only id that this connection may belong to, if there is such a one.
        :param allowed: The ids that its certificate names; None without TLS.
        :returns: What `judge` needs of it.
        """
        return cls(
            bus_id=hello.source,
            mode=hello.mode,
            role=hello.role,
            host=request.host,
            process=request.process,
            subnets=request.subnets,
            labels=request.labels,
            wanted_id=request.wanted_id,
            dialled=dialled,
            to_upstream=to_upstream,
            bound_id=bound_id,
            is_below=bool(request.node_flags & NodeFlag.BELOW),
            allowed=allowed,
        )


@attrs.frozen(kw_only=True)
class Admit:
    """
    Take it as a new neighbor.

    :param bus_id: Its id, the assigned one for an automatic node; 0 for a temporary node, which
        becomes no endpoint.
    :param position: On which side of us it is.
    :param subnets: What it owns from now on.
    """

    bus_id: BusId
    position: Position
    subnets: tuple[Subnet, ...]


@attrs.frozen(kw_only=True)
class Attach:
    """
    The connection joins a neighbor that is registered.

    :param bus_id: That neighbor.
    """

    bus_id: BusId


@attrs.frozen(kw_only=True)
class Replace:
    """
    Take it in place of the connections registered under its id, which end as `REPLACED`.

    :param bus_id: Its id.
    :param position: On which side of us it is.
    :param subnets: What it owns from now on.
    :param same_process: Whether it is the process that is registered, which dialed again; otherwise
        nothing of the former holder is left.
    """

    bus_id: BusId
    position: Position
    subnets: tuple[Subnet, ...]
    same_process: bool


@attrs.frozen
class Challenge:
    """
    Ping the holder of the id, wait `limits.CHALLENGE_SECONDS`, then ask `after_challenge`.

    :param holder: Who is registered under the id.
    """

    holder: Registered


@attrs.frozen
class Rejected:
    """
    Do not take it.

    :param status: Why.
    :param detail: Why, with the values; it is told to the other side.
    """

    status: Status
    detail: str


Judgement: TypeAlias = Admit | Attach | Replace | Challenge | Rejected
