"""
What a node is told before it is made: `NodeConfig`, checked once, never changed.

How it is put together:

1. A reader per option (`atbus.node.reading`) makes addresses of texts, labels of tables and so on.
2. Some values depend on others: an id on the mask, a subnet with prefix 0 on the id, the heartbeat
   on the profile. What was given is kept (``_id``) beside what came out of it (``id``), so that a
   copy with a new id takes its subnets along.
3. Numbers are compared with their bounds (`atbus.node.option`), then options with each other.
4. Every fault found on the way is told at once, in one `ConfigurationError`; each begins with the
   name of its option and the place inside: ``listen[1]: ...``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import attrs

from atbus import limits
from atbus.address import Address
from atbus.busid import (
    AUTO,
    DOTTED_MASK,
    TEMPORARY,
    BusId,
    Subnet,
    format_bus_id,
    format_dotted,
    merge_subnets,
    own_subnets,
    parse_bus_id,
)
from atbus.errors import BusIdError, ConfigurationError
from atbus.node import bounds
from atbus.node.counts import count_faults
from atbus.node.credentials import TLS_FILES, tls_faults
from atbus.node.option import OPTIONS, RELOADABLE, TABLES_WITH_SECRETS
from atbus.node.reading import (
    FrozenMapping,
    GivenSubnet,
    Unreadable,
    read_address_or_none,
    read_addresses,
    read_application,
    read_boolean,
    read_boolean_or_none,
    read_id,
    read_integer,
    read_integer_or_none,
    read_labels,
    read_mode,
    read_number,
    read_number_or_none,
    read_path_or_none,
    read_settings,
    read_subnets,
    read_text,
    read_tokens,
)
from atbus.node.reading_compression import read_compression, read_kinds
from atbus.node.reading_discovery import registry_faults
from atbus.node.reading_rights import read_ranges, read_rights
from atbus.node.reading_sources import NOBODY_ASSIGNS, finds_upstreams, hide_upstreams
from atbus.node.reading_topology import read_records, read_rules
from atbus.rights import RightsRule
from atbus.routing.policy import Rule
from atbus.routing.record import Record
from atbus.routing.sync_terms import TableMode
from atbus.wire.messages import Mode

T = TypeVar("T")

__all__ = ["PROFILES", "RELOADABLE", "TLS_FILES", "NodeConfig", "difference"]

PROFILES: Final = {
    "default": (limits.HEARTBEAT_SECONDS, limits.HEARTBEAT_TOLERANCE),
    "fast": (limits.FAST_HEARTBEAT_SECONDS, limits.FAST_HEARTBEAT_TOLERANCE),
}
"""For the name of each profile the heartbeat in seconds and its tolerance."""

CHOICES: Final = {
    "topology": ("subnets", "records"),
    "route_table": tuple(mode.value for mode in TableMode),
    "queue_policy": ("uniform", "local", "nearest"),
    "pending_policy": ("hold", "fail", "drop"),
}
"""For the name of each option that is a choice what there is to choose from."""

# It cannot change, so all configurations may share it.
_NOTHING: Final[FrozenMapping[str, Any]] = FrozenMapping()


@attrs.frozen(kw_only=True, repr=False)
class NodeConfig:
    """
    Everything that a node is told about itself.

    Values may be given as people write them; the attributes of the same names hold what was read.
    `OPTIONS` and the reference (configuration) say what each one means. The attribute ``upstreams``
    holds what was given as ``upstream`` or ``upstreams``; ``mode`` follows from ``id``, so nobody
    need give it.

    :raises ConfigurationError: When anything in it is wrong; names every fault.
    """

    # identity
    _id: int | str = attrs.field(default=0, converter=read_id, eq=False)
    _mode: Mode | None = attrs.field(default=None, converter=read_mode, eq=False)
    mask: str = attrs.field(default=DOTTED_MASK, converter=read_text)
    name: str = attrs.field(default="", converter=read_text)
    hostname: str = attrs.field(default="auto", converter=read_text)
    labels: FrozenMapping[str, str] = attrs.field(default=_NOTHING, converter=read_labels)
    proxy: bool = attrs.field(default=False, converter=read_boolean)
    # connections
    listen: tuple[Address, ...] = attrs.field(default=(), converter=read_addresses)
    _upstream: Address | None = attrs.field(default=None, converter=read_address_or_none, eq=False)
    _upstreams: tuple[Address, ...] = attrs.field(default=(), converter=read_addresses, eq=False)
    upstream_labels: FrozenMapping[str, str] = attrs.field(default=_NOTHING, converter=read_labels)
    upstream_return_seconds: float | None = attrs.field(
        default=None, converter=read_number_or_none
    )
    peer_labels: FrozenMapping[str, str] = attrs.field(default=_NOTHING, converter=read_labels)
    topology: str = attrs.field(default="subnets", converter=read_text)
    _subnets: tuple[GivenSubnet, ...] = attrs.field(default=(), converter=read_subnets, eq=False)
    _accept_subnets: tuple[GivenSubnet, ...] = attrs.field(
        default=(), converter=read_subnets, eq=False
    )
    _reserved_subnets: tuple[GivenSubnet, ...] = attrs.field(
        default=(), converter=read_subnets, eq=False
    )
    access_tokens: tuple[bytes, ...] = attrs.field(default=(), converter=read_tokens)
    allow_insecure: bool = attrs.field(default=False, converter=read_boolean)
    overwrite_listen_path: bool = attrs.field(default=False, converter=read_boolean)
    _direct_notice: bool | None = attrs.field(
        default=None, converter=read_boolean_or_none, eq=False
    )
    accept_notices: bool = attrs.field(default=True, converter=read_boolean)
    direct_connections: bool = attrs.field(default=False, converter=read_boolean)
    policy: tuple[Rule, ...] = attrs.field(default=(), converter=read_rules)
    records: tuple[Record, ...] = attrs.field(default=(), converter=read_records)
    route_table: str = attrs.field(default=TableMode.AUTO.value, converter=read_text)
    queue_policy: str = attrs.field(default="uniform", converter=read_text)
    # TLS
    tls_certificate: str | None = attrs.field(default=None, converter=read_path_or_none)
    tls_key: str | None = attrs.field(default=None, converter=read_path_or_none)
    tls_authorities: str | None = attrs.field(default=None, converter=read_path_or_none)
    tls_revoked: str | None = attrs.field(default=None, converter=read_path_or_none)
    tls_realm: str = attrs.field(default="atbus", converter=read_text)
    tls_allow_1_2: bool = attrs.field(default=False, converter=read_boolean)
    tls_close_on_expiry: bool = attrs.field(default=True, converter=read_boolean)
    # rights
    rights: tuple[RightsRule, ...] = attrs.field(default=(), converter=read_rights)
    denied: tuple[Subnet, ...] = attrs.field(default=(), converter=read_ranges)
    denied_file: str | None = attrs.field(default=None, converter=read_path_or_none)
    # compression
    compression: tuple[str, ...] = attrs.field(default=(), converter=read_compression)
    compression_least_bytes: int = attrs.field(
        default=bounds.COMPRESSION_LEAST_BYTES, converter=read_integer
    )
    compression_except_kinds: tuple[int, ...] = attrs.field(default=(), converter=read_kinds)
    # life
    require_upstream_within_seconds: float | None = attrs.field(
        default=None, converter=read_number_or_none
    )
    linger_seconds: float = attrs.field(default=limits.DRAIN_CLOSE_SECONDS, converter=read_number)
    drain_seconds: float = attrs.field(default=limits.DRAIN_SECONDS, converter=read_number)
    record_events: str | None = attrs.field(default=None, converter=read_path_or_none)
    # limits
    message_bytes_max: int = attrs.field(default=limits.MESSAGE_BYTES, converter=read_integer)
    _frame_bytes_max: int | None = attrs.field(default=None, converter=read_integer_or_none)
    hops: int = attrs.field(default=limits.HOPS, converter=read_integer)
    endpoints_max: int = attrs.field(default=limits.ENDPOINTS_MAX, converter=read_integer)
    handshake_seconds: float = attrs.field(default=limits.HANDSHAKE_SECONDS, converter=read_number)
    pending_handshakes: int = attrs.field(
        default=limits.PENDING_HANDSHAKES_MAX, converter=read_integer
    )
    queued_bytes_soft: int = attrs.field(default=limits.QUEUED_BYTES_SOFT, converter=read_integer)
    queued_bytes_hard: int = attrs.field(default=limits.QUEUED_BYTES_HARD, converter=read_integer)
    interest_bytes: int = attrs.field(default=limits.INTEREST_BYTES, converter=read_integer)
    queued_bytes_node: int = attrs.field(default=limits.NODE_QUEUED_BYTES, converter=read_integer)
    window_bytes: int = attrs.field(default=limits.WINDOW_BYTES, converter=read_integer)
    window_count: int = attrs.field(default=limits.WINDOW_COUNT_MAX, converter=read_integer)
    shm_lanes_max: int = attrs.field(default=limits.LANES_MAX, converter=read_integer)
    shm_lane_bytes: int = attrs.field(default=limits.LANE_BYTES, converter=read_integer)
    _shm_bytes_max: int | None = attrs.field(
        default=None, converter=read_integer_or_none, eq=False
    )
    shm_weak_memory: bool = attrs.field(default=False, converter=read_boolean)
    # liveness
    profile: str = attrs.field(default="default", converter=read_text)
    _heartbeat_seconds: float | None = attrs.field(
        default=None, converter=read_number_or_none, eq=False
    )
    _heartbeat_tolerance: int | None = attrs.field(
        default=None, converter=read_integer_or_none, eq=False
    )
    retry_initial_seconds: float = attrs.field(
        default=limits.RECONNECT_SECONDS, converter=read_number
    )
    retry_factor: float = attrs.field(default=limits.RECONNECT_FACTOR, converter=read_number)
    retry_seconds_max: float = attrs.field(
        default=limits.RECONNECT_SECONDS_MAX, converter=read_number
    )
    pending_bytes_max: int = attrs.field(default=limits.PENDING_BYTES, converter=read_integer)
    pending_count_max: int = attrs.field(default=limits.PENDING_COUNT_MAX, converter=read_integer)
    pending_seconds: float = attrs.field(default=limits.PENDING_SECONDS, converter=read_number)
    pending_policy: str = attrs.field(default="hold", converter=read_text)
    # registries and gateways
    static: FrozenMapping[str, Any] = attrs.field(default=_NOTHING, converter=read_settings)
    dns: FrozenMapping[str, Any] = attrs.field(default=_NOTHING, converter=read_settings)
    etcd: FrozenMapping[str, Any] = attrs.field(default=_NOTHING, converter=read_settings)
    zookeeper: FrozenMapping[str, Any] = attrs.field(default=_NOTHING, converter=read_settings)
    service: FrozenMapping[str, Any] = attrs.field(default=_NOTHING, converter=read_settings)
    nats: FrozenMapping[str, Any] = attrs.field(default=_NOTHING, converter=read_settings)
    # application
    application: str | None = attrs.field(default=None, converter=read_application)
    application_settings: FrozenMapping[str, object] = attrs.field(
        default=_NOTHING, converter=read_settings
    )
    # what follows from the above
    id: BusId = attrs.field(init=False)
    mode: Mode = attrs.field(init=False)
    upstreams: tuple[Address, ...] = attrs.field(init=False)
    subnets: tuple[Subnet, ...] = attrs.field(init=False)
    accept_subnets: tuple[Subnet, ...] = attrs.field(init=False)
    reserved_subnets: tuple[Subnet, ...] = attrs.field(init=False)
    frame_bytes_max: int = attrs.field(init=False)
    frame_bytes_far: int = attrs.field(init=False)
    heartbeat_seconds: float = attrs.field(init=False)
    heartbeat_tolerance: int = attrs.field(init=False)
    direct_notice: bool = attrs.field(init=False)
    shm_bytes_max: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        faults: list[str] = []
        for field in attrs.fields(NodeConfig):
            if not field.init:
                continue
            name, value = str(field.alias), getattr(self, field.name)
            if isinstance(value, Unreadable):
                faults.extend(f"{name}{fault}" for fault in value.faults)
                # What depends on it is checked as if it had been left out.
                self._set(field.name, field.default)
            elif isinstance(value, tuple):
                faults.extend(_faults_in_items(name, value))
            elif name in OPTIONS and (fault := OPTIONS[name].fault_in(value)) is not None:
                faults.append(f"{name}{fault}")
        faults.extend(self._settle_identity())
        faults.extend(self._settle_subnets())
        faults.extend(self._settle_heartbeat())
        faults.extend(self._settle_memory())
        self._set("frame_bytes_max", self._frame_bytes_max or limits.FRAME_BYTES_NEAR)
        self._set("frame_bytes_far", self._frame_bytes_max or limits.FRAME_BYTES)
        faults.extend(self._settle_upstreams())
        faults.extend(self._settle_topology())
        faults.extend(registry_faults(self))
        faults.extend(self._faults_in_addresses())
        faults.extend(count_faults(self))
        faults.extend(tls_faults(self))
        faults.extend(self._faults_between())
        if self.mode is Mode.AUTO and not (self.has_upstream or hide_upstreams(faults)):
            faults.append(NOBODY_ASSIGNS)
        if faults:
            raise ConfigurationError(faults)

    @property
    def upstream(self) -> Address | None:
        """The upstream that is tried first, or None."""
        return self.upstreams[0] if self.upstreams else None

    @property
    def has_upstream(self) -> bool:
        """Whether the node is to have an upstream, wherever it learns of one."""
        is_found = finds_upstreams(self.static) or finds_upstreams(self.dns)
        return bool(self.upstreams or self.upstream_labels) or is_found

    def subnets_of(self, bus_id: int) -> tuple[Subnet, ...]:
        """
        Give the subnets that the node has under an id: an automatic one gets it late.

        :param bus_id: The id; the configured one is replaced by it.
        :returns: The shortest form, which contains the id; nothing for id 0.
        """
        return own_subnets(bus_id, list(_pairs(self._subnets, self.mask)))

    @property
    def subnets_before_id(self) -> tuple[Subnet, ...]:
        """What an automatic node announces: a range from 0 on is one around the id it will get."""
        return tuple(Subnet(*pair) for pair in _pairs(self._subnets, self.mask))

    def replace(self, **changes: Any) -> NodeConfig:
        """
        Copy with changes.

        What depended on something that changes follows it: subnets of prefix 0 a new id, the
        heartbeat a new profile and the memory of all lanes their number unless given themselves.

        :param changes: Options and their new values, written as for the class.
        :returns: The copy.
        :raises ConfigurationError: When the copy is not valid.
        """
        given = self.given()
        if "id" not in changes:
            given["mode"] = self.mode
        if "upstream" in changes:
            del given["upstreams"]
        elif "upstreams" in changes:
            del given["upstream"]
        return NodeConfig(**(given | changes))

    def given(self) -> dict[str, Any]:
        """
        Give what the configuration was made of.

        :returns: For each option its value as given, before others had their influence.
        """
        fields = {field.alias: field.name for field in attrs.fields(NodeConfig) if field.init}
        values = {name: getattr(self, fields[name]) for name in OPTIONS}
        return values | ({"id": AUTO} if self.mode is Mode.AUTO else {})

    def __repr__(self) -> str:
        shown = [f"id={AUTO if self.mode is Mode.AUTO else format_bus_id(self.id)}"]
        for name, value in self.given().items():
            if name != "id" and value != _DEFAULTS[name]:
                hidden = OPTIONS[name].secret or name in TABLES_WITH_SECRETS
                shown.append(f"{name}=<{len(value)}>" if hidden else f"{name}={_shown(value)}")
        return f"NodeConfig({', '.join(shown)})"

    def _set(self, name: str, value: object) -> None:
        # The class is frozen; only while it is made, before anybody has seen it, is it completed.
        object.__setattr__(self, name, value)

    def _settle_identity(self) -> Iterator[str]:
        bus_id, mode = TEMPORARY, Mode.TEMPORARY
        try:
            format_dotted(0, self.mask)
        except BusIdError as fault:
            yield f"mask: {fault}"
            self._set("mask", DOTTED_MASK)
        if self._id == AUTO:
            mode = Mode.AUTO
        else:
            try:
                bus_id = parse_bus_id(self._id, self.mask)
            except BusIdError as fault:
                yield f"id: {fault}"
                # Not another fault for each option that only a node with an id may have.
                bus_id = BusId(1)
        if bus_id != TEMPORARY:
            mode = Mode.NODE
        elif self._mode is Mode.AUTO:
            mode = Mode.AUTO
        self._set("id", bus_id)
        self._set("mode", mode)

    def _settle_subnets(self) -> Iterator[str]:
        for name in ("subnets", "accept_subnets", "reserved_subnets"):
            good: list[tuple[int, int]] = []
            for index, subnet in _readable(getattr(self, f"_{name}")):
                try:
                    good.extend(_pairs([subnet], self.mask))
                except BusIdError as fault:
                    yield f"{name}[{index}]: {fault}"
            self._set(name, ())
            if name == "subnets":
                self._set(name, own_subnets(self.id, good))
                if self.mode is Mode.AUTO and any(_is_lowest(pair) for pair in good):
                    yield f"{name}: a range from 0 on would mean one around the assigned id"
            elif self.id != TEMPORARY or all(prefix for prefix, _ in good):
                accepted = (Subnet(prefix or self.id, bits) for prefix, bits in good)
                self._set(name, merge_subnets(accepted))
            else:
                yield f"{name}: a prefix of 0 is the node's own id, and it has none yet"

    def _settle_heartbeat(self) -> Iterator[str]:
        if self.profile not in PROFILES:
            yield f"profile: must be one of {', '.join(PROFILES)}, not {self.profile!r}"
        seconds, tolerance = PROFILES.get(self.profile, PROFILES["default"])
        given = self._heartbeat_seconds, self._heartbeat_tolerance
        self._set("heartbeat_seconds", seconds if given[0] is None else given[0])
        self._set("heartbeat_tolerance", tolerance if given[1] is None else given[1])

    def _settle_memory(self) -> Iterator[str]:
        given, lane_bytes = self._shm_bytes_max, self.shm_lane_bytes
        self._set("shm_bytes_max", self.shm_lanes_max * lane_bytes if given is None else given)
        if given is not None and self.shm_lanes_max and given < lane_bytes:
            yield f"shm_bytes_max: {given} bytes are less than one lane of {lane_bytes} bytes"

    def _settle_upstreams(self) -> Iterator[str]:
        if self._upstream is not None and self._upstreams:
            yield "upstream: give either upstream or upstreams"
        one = () if self._upstream is None else (self._upstream,)
        self._set("upstreams", one or self._upstreams)
        for index, address in _readable(self.upstreams):
            place = "upstream" if one else f"upstreams[{index}]"
            if not address.is_duplex:
                yield f"{place}: {address.scheme.value} goes one way only; use unix or tcp"
            elif not address.is_dialable:
                yield f"{place}: {address} names no port to connect to"

    def _settle_topology(self) -> Iterator[str]:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                yield f"{name}: must be one of {', '.join(choices)}, not {value!r}"
        given = self._direct_notice
        self._set("direct_notice", self.topology == "subnets" if given is None else given)
        about: set[int] = set()
        for index, record in _readable(self.records):
            if record.bus_id in about or record.bus_id == self.id:
                whose = "this node" if record.bus_id == self.id else "a node that is there already"
                yield f"records[{index}]: {format_bus_id(record.bus_id)} is {whose}"
            about.add(record.bus_id)

    def _faults_in_addresses(self) -> Iterator[str]:
        own: dict[Address, int] = {}
        for index, address in _readable(self.listen):
            first = own.setdefault(address, index)
            if first != index and address.is_dialable:
                yield f"listen[{index}]: {address} is listen[{first}] as well"
            is_safe = not address.is_tcp or address.is_tls or address.is_loopback
            if not (is_safe or self.allow_insecure):
                yield (
                    f"listen[{index}]: {address} takes connections from other hosts without TLS; "
                    f"use tls+{address}, or say allow_insecure = true if that is meant"
                )
        upstreams = [address for _, address in _readable(self.upstreams)]
        if upstreams and all(address in own for address in upstreams):
            yield f"upstreams: {upstreams[0]} is where this node listens itself"

    def _faults_between(self) -> Iterator[str]:
        if self.mode is Mode.AUTO and len(self._subnets) >= limits.SUBNETS_MAX:
            count = f"{len(self._subnets)} and the assigned id"
            yield f"subnets: {count} are more than {limits.SUBNETS_MAX}"
        if self.mode is Mode.TEMPORARY:
            for name in ("listen", "_subnets"):
                if getattr(self, name):
                    yield f"{name.lstrip('_')}: a temporary node (id 0) has none; give it an id"
        if self.queued_bytes_soft > self.queued_bytes_hard:
            yield "queued_bytes_soft: must not be more than queued_bytes_hard"
        if self.retry_initial_seconds > self.retry_seconds_max:
            yield "retry_initial_seconds: must not be more than retry_seconds_max"
        if self.application_settings and self.application is None:
            yield "application_settings: there is no application to have them"


def difference(old: NodeConfig, new: NodeConfig) -> tuple[frozenset[str], frozenset[str]]:
    """
    Tell what a running node would have to change.

    :param old: What it runs with.
    :param new: What it is to run with.
    :returns: The names of the options whose values differ: those that can change while the node
        runs, and those that need a new node.
    """
    changed = {name for name in OPTIONS if getattr(old, name) != getattr(new, name)}
    if old.mode is not new.mode:
        changed.add("id")
    # Two names of one thing.
    changed.discard("upstream")
    return frozenset(changed & RELOADABLE), frozenset(changed - RELOADABLE)


def _faults_in_items(name: str, items: tuple[object, ...]) -> Iterator[str]:
    for index, item in enumerate(items):
        if isinstance(item, Unreadable):
            yield from (f"{name}[{index}]{fault}" for fault in item.faults)


def _readable(items: tuple[T, ...]) -> Iterator[tuple[int, T]]:
    return ((index, item) for index, item in enumerate(items) if not isinstance(item, Unreadable))


def _pairs(given: Iterable[GivenSubnet], mask: str) -> Iterator[tuple[int, int]]:
    for subnet in given:
        if isinstance(subnet, Subnet):
            # By its last id, because the first may be 0, and that would be the node's own.
            yield subnet.last, subnet.mask_bits
            continue
        prefix = parse_bus_id(subnet[0], mask)
        # Raises if the bits are out of bounds, whatever the prefix.
        Subnet(prefix, subnet[1])
        yield prefix, subnet[1]


def _is_lowest(pair: tuple[int, int]) -> bool:
    """Tell a range that begins at 0 from one around the node's own id, whose prefix is 0."""
    return pair[0] != 0 and Subnet(*pair).first == 0


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(value) if isinstance(value, Address | Subnet) else repr(value)


_DEFAULTS: Final = {field.alias: field.default for field in attrs.fields(NodeConfig) if field.init}
