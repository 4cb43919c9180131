"""
The part of a node's face that is about other nodes and the ways to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from atbus.address import Address, as_address
from atbus.busid import BusId, check_bus_id, check_bus_ids
from atbus.errors import LocalProtocolError
from atbus.node.answering import check_callable
from atbus.node.endpoint import Endpoint
from atbus.node.hop import NextHop, describe_hop
from atbus.node.report import PeerReport
from atbus.node.topology import NodeNews, NodeWatch, Where
from atbus.routing.drain import Drained
from atbus.routing.record import Record
from atbus.routing.relation import Relation
from atbus.subjects.interest import Wanted
from atbus.subjects.neighbor import wholes

if TYPE_CHECKING:
    from atbus.node.parts import Parts


class Neighborhood:
    """What `atbus.node.node.Node` offers to programs that ask who is where."""

    _parts: Parts

    @property
    def endpoints(self) -> Mapping[int, Endpoint]:
        """The registered remote nodes by id; a view that changes with them."""
        return MappingProxyType(self._parts.registrar.endpoints)

    def describe_peers(self) -> list[PeerReport]:
        """Describe the links to each registered node, as nats-server does its routes."""
        return self._parts.subjects.admin.peer_links.reports()

    def wanted_by(self, bus_id: int) -> Mapping[Wanted, int]:
        """
        Say what a neighbor wants, for itself and for those behind it.

        :returns: Each pattern and queue group, with the number of its members.
        :raises LocalProtocolError: It is no bus id.
        """
        check_bus_id(bus_id)
        return MappingProxyType(wholes(self._parts.subjects.talk.wanted_by(bus_id)))

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

        With its upstream and with those below it a node is connected already, and stays so: the
        endpoint is the one that it has.

        :returns: Fires with the endpoint when it can take messages; fails with `AtbusError`.
        :raises AddressError: It is not an address.
        """
        return self._parts.running.connect(as_address(address))

    def disconnect(self, bus_id: int) -> Deferred[None]:
        """
        Leave an endpoint in good order. An upstream is dialled again.

        What is on its way to it comes first, as long as something of that arrives, and what either
        side keeps for somebody else, as long as it answers.

        :returns: Fires when it is gone, after `NodeConfig.drain_seconds` at the latest; fails with
            `Undeliverable` when there is none.
        :raises LocalProtocolError: It is no bus id.
        """
        return self._parts.running.disconnect(bus_id)

    def drain(self) -> Deferred[Drained]:
        """
        Let everybody below this node move to other upstreams; nobody new may register.

        The node itself stays, and what still passes is forwarded. A node that stops does the same
        first. What has been drained is so until the node is started anew.

        :returns: Fires when nobody is left who can move, at the latest after
            `NodeConfig.drain_seconds`, and says who has moved and who has not; never fails.
        :raises LocalProtocolError: The node is not up.
        """
        return self._parts.running.drain()

    @property
    def draining(self) -> bool:
        """Whether the node takes in nobody new, for it has been asked to drain."""
        return self._parts.context.draining

    def relation_to(self, bus_id: int) -> Relation:
        """
        Say how a node stands to this one.

        :returns: The relation; `INVALID` for 0 and for numbers that no node can have.
        :raises LocalProtocolError: It is no number.
        """
        if not isinstance(bus_id, int):
            check_bus_id(bus_id)
        return self._parts.context.table.relation_to(BusId(bus_id))

    def next_hop(
        self, bus_id: int, *, exclude: Collection[int] = (), no_upstream: bool = False
    ) -> NextHop:
        """
        Say where a message would go now.

        :param exclude: Neighbors that must not be the next hop.
        :param no_upstream: Whether the default route does not count.
        :raises Undeliverable: There is no way, as from a node to itself; ``status`` says why.
        :raises LocalProtocolError: It is no number, or what is excluded is no ids.
        """
        if not isinstance(bus_id, int):
            check_bus_id(bus_id)
        check_bus_ids(exclude)
        parts = self._parts
        return describe_hop(
            parts.context, parts.traffic, bus_id, exclude=exclude, no_upstream=no_upstream
        )

    def records(self) -> tuple[Record, ...]:
        """Give what is known of each node of the bus, ourselves included, in the order of ids."""
        known = self._parts.topology.registry
        return tuple(sorted(known, key=lambda record: record.bus_id))

    def watch_nodes(
        self, callback: Callable[[NodeNews], object], where: Where = None
    ) -> NodeWatch:
        """
        Be told which other nodes there are.

        :param callback: Called with a `NodeUp` for each node that is known now, before this
            returns, and then with every `NodeUp`, `NodeChanged` and `NodeDown`.
        :param where: Which nodes: labels with the value, or the values, that will do, or a function
            that is called with a `Record`; None for all. A node that no longer fits goes down.
        :returns: Its ``cancel`` ends the watch.
        :raises LocalProtocolError: The callback cannot be called, or *where* is none of these.
        """
        check_callable(callback)
        if not (where is None or callable(where) or isinstance(where, Mapping)):
            raise LocalProtocolError(f"{where!r:.60} says of no node whether it is meant")
        return self._parts.topology.watch(callback, where)
