"""
The records that a node knows, kept in step with what happens to it.

Whoever is registered here is claimed as long as it is; the node's own record follows its
configuration, its upstream and its addresses; what the configuration knows of others is claimed
from the start. Whoever else brings records (route tables, directories) claims and withdraws here
as well, so that the routes and the program hear of every change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from atbus.busid import ID_MAX
from atbus.routing.choice import Candidate, upstreams_by_labels
from atbus.routing.direct import reachable
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import (
    Change,
    Feeder,
    NodeChanged,
    NodeDown,
    NodeUp,
    RecordRefused,
    Registry,
)
from atbus.routing.table import Position
from atbus.wire.messages import NodeFlag

if TYPE_CHECKING:
    from atbus.address import Address
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint

#: What happens to a node that is watched.
NodeNews: TypeAlias = NodeUp | NodeChanged | NodeDown

#: Which nodes are watched: those with these labels (one value, or any of several), those of which
#: a function says so, or all.
Where: TypeAlias = Mapping[str, str | Collection[str]] | Callable[[Record], bool] | None


@attrs.define(eq=False)
class NodeWatch:
    """
    Somebody who wants to know of other nodes; `cancel` ends it, twice does no harm.

    :param callback: Called with each `NodeUp`, `NodeChanged` and `NodeDown`.
    """

    _topology: Topology
    callback: Callable[[NodeNews], object]
    _wanted: Callable[[Record], bool]
    # Those that the callback has been told are there.
    _seen: set[int] = attrs.field(factory=set, init=False)

    def cancel(self) -> None:
        """Stop watching."""
        self._topology.forget(self)

    def tell(self, news: NodeNews) -> None:
        """
        Tell what has happened, as far as it is wanted.

        A node that gets the labels that are looked for comes up, one that loses them goes down.
        """
        bus_id = news.record.bus_id
        was_seen = bus_id in self._seen
        is_wanted = not isinstance(news, NodeDown) and self._wanted(news.record)
        if is_wanted and not was_seen:
            self._seen.add(bus_id)
            if isinstance(news, NodeChanged):
                news = NodeUp(news.record, news.feeder)
        elif was_seen and not is_wanted:
            self._seen.discard(bus_id)
            news = NodeDown(news.former if isinstance(news, NodeChanged) else news.record)
        elif not was_seen:
            return
        self.callback(news)


class Topology:
    """
    Keep the records of one node.

    :param routes_changed: Called when messages may have another way.
    """

    def __init__(self, context: Context, routes_changed: Callable[[], None]) -> None:
        self.registry: Registry = context.table.registry
        # Set by the node, which wires its parts: where we listen.
        self.addresses: Callable[[], tuple[str, ...]]
        # Set by the node as well: who may be our upstream beside those of the configuration.
        self.found_upstreams: Callable[[], tuple[Address, ...]] = tuple
        # Called with what we say of ourselves, when that has changed.
        self.on_described: Callable[[Record], None]
        #: Called with the id of a node that has become known.
        self.on_known: Callable[[int], None]
        #: Called with the id of a node whose addresses or upstream are others than before.
        self.on_moved: Callable[[int], None]
        # Who announces what we say of ourselves elsewhere, if anybody does.
        self.own_changed: Callable[[Record], None] = lambda _: None
        self._context = context
        self._routes_changed = routes_changed
        self._own: Record | None = None
        # What it was made of: this is asked with every message that is told of others.
        self._content: dict[str, Any] = {}
        self._upstream_id = 0
        self._watches: tuple[NodeWatch, ...] = ()
        # For choices of a node that has no id yet: its choices are its own all the same.
        self._unnumbered = Record(
            bus_id=context.random.randrange(1, ID_MAX), host=context.identity.host
        )

    # Ourselves.

    @property
    def own(self) -> Record | None:
        """Our own record; None while we have no id."""
        self.refresh()
        return self._own

    def _describe(self) -> dict[str, Any]:
        context = self._context
        return {
            "bus_id": context.bus_id,
            "upstream_id": self._upstream_id,
            "subnets": context.table.own_subnets,
            "labels": context.config.labels,
            "addresses": self.addresses(),
            "node_flags": context.node_flags,
            "host": context.identity.host,
            "process": context.identity.process,
        }

    def refresh(self, *, moved: bool = False) -> None:
        """
        Say of ourselves what is true now, under a new stamp if that is something else.

        :param moved: Whether we have registered with an upstream, or lost one: that is news too.
        """
        context, former = self._context, self._own
        if former is not None and former.bus_id != context.bus_id:
            self._own = None
            self.withdraw(Feeder.OWN, [former.bus_id])
        if not context.bus_id:
            return
        content, seq = self._describe(), 1
        if former is not None:
            is_same = content == self._content and former.stamp.epoch == context.epoch
            if is_same and not moved:
                return
            seq = former.stamp.seq + 1
        self._content = content
        self._own = described = Record(**content, stamp=Stamp(context.epoch, seq))
        self.claim(Feeder.OWN, [described])
        self.on_described(described)
        self.own_changed(described)

    def stamped(self, stamp: Stamp) -> None:
        """Bear the stamp under which the neighbors are told of us."""
        if self._own is not None and self._own.stamp != stamp:
            self._own = own = attrs.evolve(self._own, stamp=stamp)
            self.claim(Feeder.OWN, [own])
            self.own_changed(own)

    def upstream_candidates(self) -> tuple[Candidate, ...]:
        """Say who could be our upstream now, in order of preference."""
        context = self._context
        config = context.config
        own = self.own or self._unnumbered
        if config.upstream_labels:
            found = upstreams_by_labels(context.table, config.upstream_labels, own.bus_id)
            chosen = [
                Candidate(address, each.bus_id)
                for each in found
                for address in reachable(own, each)[:1]
            ]
            if chosen:
                return tuple(chosen)
        addresses = dict.fromkeys([*config.upstreams, *self.found_upstreams()])
        return tuple(Candidate(address) for address in addresses)

    @property
    def chooser(self) -> int:
        """A number that is our own: by it nodes that have the same choice choose differently."""
        return (self.own or self._unnumbered).bus_id

    def reconfigure(self) -> None:
        """Know what the configuration knows of others, and nothing that it knows no more."""
        self.replace(Feeder.STATIC, self._context.config.records)

    # Those who are registered here.

    def entered(self, endpoint: Endpoint) -> None:
        """Claim a node that has registered, or says something else of itself now."""
        request = endpoint.peer.request
        is_upstream = endpoint.position is Position.UPSTREAM
        is_below = endpoint.position is Position.DOWNSTREAM
        record = Record(
            bus_id=endpoint.bus_id,
            stamp=Stamp(endpoint.peer.epoch, 0),
            upstream_id=self._context.bus_id if is_below else 0,
            subnets=request.subnets,
            labels=request.labels,
            addresses=request.addresses,
            node_flags=self.told_flags(request.node_flags),
            host=request.host,
            process=request.process,
        )
        if is_upstream:
            self._upstream_id = endpoint.bus_id
        self.refresh(moved=is_upstream)
        self.claim(Feeder.LIVE, [record])

    @staticmethod
    def told_flags(node_flags: int) -> int:
        """Leave out of a registration's flags what is about that registration only."""
        return node_flags & ~NodeFlag.BELOW

    def addresses_changed(self, bus_id: int, addresses: tuple[str, ...]) -> None:
        """Note that a node that is registered here listens elsewhere now."""
        record = self.registry.claims_on(bus_id).get(Feeder.LIVE)
        if record is not None:
            self.claim(Feeder.LIVE, [attrs.evolve(record, addresses=addresses)])

    def upstream_changed(self, endpoint: Endpoint) -> None:
        """Be below another node that is registered here already."""
        self._upstream_id = endpoint.bus_id
        self.refresh(moved=True)

    def left(self, endpoint: Endpoint) -> None:
        """Claim a node no longer: it is registered no more."""
        if endpoint.bus_id == self._upstream_id:
            self._upstream_id = 0
            self.refresh(moved=True)
        self.withdraw(Feeder.LIVE, [endpoint.bus_id])

    # Those who bring records.

    def claim(self, feeder: Feeder, records: Iterable[Record]) -> None:
        """Take records of a feeder; see `Registry.claim`."""
        before = self.registry.tree.version
        self._tell(self.registry.claim(feeder, records), before)

    def withdraw(self, feeder: Feeder, bus_ids: Iterable[int]) -> None:
        """Take claims of a feeder back; see `Registry.withdraw`."""
        before = self.registry.tree.version
        self._tell(self.registry.withdraw(feeder, bus_ids), before)

    def replace(self, feeder: Feeder, records: Iterable[Record]) -> None:
        """Take all that a feeder says from now on; see `Registry.replace`."""
        before = self.registry.tree.version
        self._tell(self.registry.replace(feeder, records), before)

    def _tell(self, changes: list[Change], before: int) -> None:
        if self.registry.tree.version != before:
            self._routes_changed()
        for change in changes:
            if isinstance(change, RecordRefused):
                detail = f"{change.feeder} record of {change.record.bus_id:#x}: {change.detail}"
                self._context.events.on_error(change.status, detail)
            elif change.record.bus_id != self._context.bus_id:
                self._note_move(change)
                if isinstance(change, NodeUp):
                    self.on_known(change.record.bus_id)
                elif isinstance(change, NodeChanged) and _is_elsewhere(change):
                    self.on_moved(change.record.bus_id)
                for watch in self._watches:
                    self._call(watch, change)

    def _note_move(self, change: NodeNews) -> None:
        if isinstance(change, NodeChanged) and change.record.upstream_id:
            former = change.former.upstream_id
            if former != change.record.upstream_id:
                now = self._context.now
                self._context.former_places.moved(change.record.bus_id, former, now)

    # Those who want to know.

    def watch(self, callback: Callable[[NodeNews], object], where: Where) -> NodeWatch:
        """Tell *callback* of nodes: at once of those that are known, then of every change."""
        watch = NodeWatch(self, callback, _predicate(where))
        self._watches = (*self._watches, watch)
        for record in sorted(self.registry, key=lambda each: each.bus_id):
            feeder = self.registry.feeder_of(record.bus_id)
            if feeder is not None and record.bus_id != self._context.bus_id:
                self._call(watch, NodeUp(record, feeder))
        return watch

    def forget(self, watch: NodeWatch) -> None:
        """Tell somebody no more."""
        self._watches = tuple(each for each in self._watches if each is not watch)

    def _call(self, watch: NodeWatch, news: NodeNews) -> None:
        if watch not in self._watches:
            return
        try:
            watch.tell(news)
        except Exception:  # noqa: BLE001 - whatever an observer does stays its own matter
            self._context.statistics.callback_failures += 1
            self._context.log.failure("observer of nodes failed")


def _is_elsewhere(change: NodeChanged) -> bool:
    former, record = change.former, change.record
    return (former.addresses, former.upstream_id) != (record.addresses, record.upstream_id)


def _predicate(where: Where) -> Callable[[Record], bool]:
    if where is None:
        return lambda _: True
    if callable(where):
        return where
    wanted = {
        key: frozenset([value] if isinstance(value, str) else value) for key, value in where.items()
    }
    return lambda record: all(record.label(key) in values for key, values in wanted.items())

