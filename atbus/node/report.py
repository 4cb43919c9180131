"""
What a node tells of itself, and `plain`, which makes of it what JSON can say.

The names of the fields are what tools and programs read: they may be added to, not changed. Those
that end in ``_seconds`` and ``_bytes`` are plain numbers, ids are hexadecimal texts, subnets and
addresses are written as people write them.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any, get_origin

import attrs

from atbus.address import Address
from atbus.busid import BusId, Subnet, format_bus_id
from atbus.channels.tls_fault import TlsFault
from atbus.errors import Status
from atbus.node.statistics import Statistics
from atbus.routing.relation import Relation

if TYPE_CHECKING:
    from cattrs import Converter


@attrs.frozen(kw_only=True)
class LagReport:
    """
    How late the reactor has called a timer that is due four times a second.

    :param looks: How often that was.
    :param p50_seconds: What half of the lags did not exceed, in steps of 1, 2 and 5; the others are
        what 99 and 99.9 of a hundred did not exceed, and the longest.
    """

    looks: int
    p50_seconds: float
    p99_seconds: float
    p999_seconds: float
    worst_seconds: float


@attrs.frozen(kw_only=True)
class NodeReport:
    """
    A node, by itself.

    :param shared_memory: ``on``, or ``off`` and why it is although it was asked for.
    """

    id: BusId
    name: str
    version: str
    epoch: int
    host: str
    process: str
    subnets: tuple[Subnet, ...]
    labels: dict[str, str]
    shared_memory: str
    lag: LagReport
    statistics: Statistics


@attrs.frozen(kw_only=True)
class NeighborReport:
    """A node that is registered with the one that tells."""

    id: BusId
    relation: Relation
    state: str
    hostname: str
    labels: dict[str, str]
    subnets: tuple[Subnet, ...]
    rtt_seconds: float | None
    channel: str | None
    queued_bytes: int
    waiting: int


@attrs.frozen(kw_only=True)
class LinkReport:
    """A connection; its id is 0 when a temporary node is at the other end."""

    id: BusId
    role: str
    channel: str
    address: Address
    dialled: bool
    used: bool
    peer: str
    queued_bytes: int
    waiting: int
    paused: int
    slow: bool
    age_seconds: float


@attrs.frozen(kw_only=True)
class _PeerFacts:
    """
    What is told of a link as nats-server tells of a route.

    :param hostname: The other side's; of a server of NATS its name.
    :param dialled: Whether we have dialled.
    :param configured: Whether we stay connected to it, and do not only happen to be.
    :param ip: Where it was seen; empty for a channel that is not of TCP.
    :param pending_bytes: Bytes that wait for it.
    :param in_publications: Those that came from it; ``in_bytes`` are those of their frames.
    :param subscriptions: Patterns and queue groups that are wanted there and behind it.
    """

    hostname: str
    dialled: bool
    configured: bool
    ip: str
    port: int
    age_seconds: float
    idle_seconds: float
    rtt_seconds: float | None
    pending_bytes: int
    in_publications: int
    out_publications: int
    in_bytes: int
    out_bytes: int
    subscriptions: int


@attrs.frozen(kw_only=True)
class PeerReport(_PeerFacts):
    """The links to a registered node."""

    id: BusId


@attrs.frozen(kw_only=True)
class ServerReport(_PeerFacts):
    """A route to a server of NATS, by the id that this has given itself."""

    id: str


@attrs.frozen(kw_only=True)
class LaneReport:
    """
    A lane of shared memory, from one of its ends.

    :param direction: What the node does with it: reading or writing.
    :param state: offered, attached, or retiring.
    :param moved_bytes: Bytes of frames read from it, or committed to it.
    :param unread_bytes: Bytes of records in it that were not read yet.
    :param queued_bytes: Bytes that wait for room in it.
    :param owner: The process at its other end.
    """

    id: BusId
    direction: str
    lane: int
    address: Address
    state: str
    size_bytes: int
    moved_bytes: int
    unread_bytes: int
    queued_bytes: int
    age_seconds: float
    owner: str


@attrs.frozen(kw_only=True)
class DrainReport:
    """
    How a drain of a node ended.

    :param moved: Those that are below it no more.
    :param stayed: Those that still are, each with the reason.
    """

    id: BusId
    seconds: float
    moved: tuple[BusId, ...]
    stayed: dict[str, Status]


@attrs.frozen(kw_only=True)
class RouteReport:
    """Where messages to a range go; None stands for all other ids."""

    subnet: Subnet | None
    via: BusId
    rule: str


@attrs.frozen(kw_only=True)
class NextHopReport:
    """Where a message to one node would go next, and by which rule."""

    id: BusId
    relation: Relation
    rule: str


@attrs.frozen(kw_only=True)
class RefusalReport:
    """Why a message to one node would not be accepted."""

    refused: Status
    rule: str


@attrs.frozen(kw_only=True)
class ExplanationReport:
    """
    Why a message to one node would go where it would go.

    ``next_hop`` is empty when it would be refused, ``refused`` when it would not; ``chain`` is who
    is above the target, as far as it is known, ``known_by`` who says so, and ``direct`` whom the
    node would connect to for it, or why nobody.
    """

    id: BusId
    target: BusId
    next_hop: str
    refused: str
    relation: Relation
    rule: str
    known_by: str
    chain: list[str]
    direct: str


@attrs.frozen(kw_only=True)
class RecordReport:
    """
    What is known of a node, registered here or not.

    ``told_by`` names the neighbors whose route tables carry it, none for one that only a lost
    upstream has told of.
    """

    id: BusId
    upstream: str
    relation: Relation
    known_by: str
    told_by: tuple[BusId, ...]
    stamp: str
    draining: bool
    proxy: bool
    labels: dict[str, str]
    subnets: tuple[Subnet, ...]
    addresses: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ServiceReport:
    """What a node offers, as the one that tells knows it; id 0 when only its name is known."""

    id: BusId
    name: str
    type: str
    namespace: str
    api_version: str
    kind: str
    group: str
    service_subset: str
    version: str
    uid: str
    pod_index: int
    labels: dict[str, str]
    gateways: tuple[str, ...]
    addresses: tuple[str, ...]
    data: str


@attrs.frozen(kw_only=True)
class HopReport:
    """A node on the way to another one, and what it answered."""

    hop: int
    id: BusId
    rtt_seconds: float
    status: Status


def plain(value: object) -> Any:
    """
    Turn values of the bus into plain data.

    :param value: An instance of one of these classes, a list of them, or what is plain already.
    :returns: The same in dicts, lists, texts, numbers and None.
    """
    return _converter().unstructure(value)


def _subnet(subnet: Subnet | None) -> str:
    return "*" if subnet is None else str(subnet)


def _is_counter(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is Counter


def _counter(counter: Counter[Status] | Counter[TlsFault]) -> dict[str, int]:
    return {key.name: count for key, count in sorted(counter.items())}


@cache
def _converter() -> Converter:
    # Loaded by nodes that are asked.
    from cattrs import Converter  # noqa: PLC0415

    converter = Converter()
    converter.register_unstructure_hook(BusId, format_bus_id)
    converter.register_unstructure_hook(Subnet, str)
    converter.register_unstructure_hook(Subnet | None, _subnet)
    converter.register_unstructure_hook(Address, str)
    converter.register_unstructure_hook(Status, lambda status: status.name)
    converter.register_unstructure_hook_func(_is_counter, _counter)
    return converter
