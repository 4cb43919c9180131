"""
Direct connections to the nodes that messages go to.

When a message has to take the tree, or has no way at all, its target is looked at once: the rules
of `atbus.routing.direct` and the policy say whom to dial, if anybody. Nothing waits for that as
long as there is a way; what has none waits, if there is somebody to dial, in a `Prospect`, and is
put on its way in order when the dialled node has registered. After some attempts it is given up;
the next message begins anew, but not at once. A node whose record tells another place meanwhile is
dialled there without delay.

A target whose service is known and whose record is not yet is waited for as well: the two come from
a registry in either order.

What was made for the sake of others is left when it serves nobody any more (`atbus.node.passive`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from atbus import limits
from atbus.address import Address
from atbus.errors import AtbusError, Status, Undeliverable
from atbus.node.endpoint import Gate
from atbus.node.passive import Passive
from atbus.routing.backoff import Backoff
from atbus.routing.direct import Choice, Dial, Stay, choose
from atbus.routing.pending import PendingQueue

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.endpoint import Endpoint
    from atbus.node.outbox import Kept, Relayed, Routed, Run
    from atbus.node.topology import Topology
    from atbus.node.traffic import Traffic


class Prospect:
    """
    The next hop of messages that have no way yet: a node that is being dialled.

    :param target: Where the messages go.
    """

    #: As of an endpoint without a data connection.
    gate = Gate.CLOSED
    data_link = None

    def __init__(self, context: Context, target: int) -> None:
        config = context.config
        self.bus_id = target
        self.frame_bytes_max = config.frame_bytes_far
        self.pending: PendingQueue[Kept] = PendingQueue(
            bytes_max=config.pending_bytes_max,
            count_max=config.pending_count_max,
            seconds=config.pending_seconds,
        )
        self._context = context

    def submit_all(self, items: Sequence[Run | Relayed]) -> Status | None:
        """
        Let items wait, all or none.

        :returns: None when they wait, else why not.
        """
        size_bytes = sum(item.size_bytes for item in items)
        if not self.pending.has_room(size_bytes, len(items)):
            return Status.BUFFER_LIMIT
        for item in items:
            self.pending.push(item, item.size_bytes, self._context.now)
        return None


@attrs.define(eq=False)
class _Wanted:
    """A target to which a direct connection is wanted."""

    relayed: bool
    backoff: Backoff
    due: float
    attempts: int = 0
    dialling: bool = False
    # Whom the last attempt dialled, and where.
    candidate: int = 0
    address: Address | None = None
    prospect: Prospect | None = None


class Directs:
    """
    Make direct connections as messages ask for them.

    :param traffic: Sends what waited on its way, or answers it.
    """

    def __init__(
        self, context: Context, topology: Topology, traffic: Traffic, dialer: Dialer
    ) -> None:
        self._context = context
        self._topology = topology
        self._traffic = traffic
        self._dialer = dialer
        self.passive = Passive(context)
        #: Tells of a target that nobody can find whether its record must be on its way.
        self.is_expected: Callable[[int], bool] = lambda _: False
        self._wanted: dict[int, _Wanted] = {}

    def choice(self, target: int, *, relayed: bool = False) -> Choice:
        """Say whom a message to *target* would make this node dial, or why nobody."""
        context, own = self._context, self._topology.own
        if not context.config.direct_connections:
            return Stay("direct connections are switched off")
        if own is None:
            return Stay("this node has no id")
        if self._dialer.is_stopping:
            return Stay("this node stops")
        return choose(context.table, context.config.policy, own, target, relayed=relayed)

    def wanted(self, target: int, *, relayed: bool = False) -> None:
        """Note that there are messages to a target; called when their way is looked up."""
        context = self._context
        if (
            not context.config.direct_connections
            or target in self._wanted
            or target == context.bus_id
            or context.table.get(target) is not None
            or len(self._wanted) >= limits.DIRECT_TARGETS_MAX
        ):
            return
        self._want(target, relayed=relayed)

    def is_dialled(self, item: Routed) -> bool:
        """
        Have the target of a request that has no way dialled, if it may be.

        :param item: The request.
        :returns: Whether it is dialled, or will be.
        """
        target, relayed = item.destination, item.source != self._context.bus_id
        self.wanted(target, relayed=relayed)
        return target in self._wanted and isinstance(self.choice(target, relayed=relayed), Dial)

    def _want(self, target: int, *, relayed: bool) -> _Wanted:
        backoff = Backoff(
            limits.DIRECT_RETRY_SECONDS, 2.0, max(limits.DIRECT_RETRY_SECONDS_MAX, 1.0)
        )
        wanted = self._wanted[target] = _Wanted(relayed, backoff, self._context.now)
        # Not in the middle of sending.
        self._context.turn.at_end(lambda: self._try(target, wanted))
        return wanted

    def hold(self, item: Relayed) -> Status | None:
        """
        Let a frame of somebody else wait that has no way.

        :returns: None if it waits; `NO_ROUTE` when nobody will be dialled for it, or why there is
            no room.
        """
        try:
            prospect = self.instead(item.target, relayed=True)
        except Undeliverable:
            return Status.NO_ROUTE
        return prospect.submit_all([item])

    def instead(self, target: int, *, relayed: bool = False) -> Prospect:
        """
        Give a next hop for messages that have no way.

        :param relayed: Whether others send them, and this node passes them on.
        :raises Undeliverable: Nobody will be dialled for them, and nobody is expected: `NO_ROUTE`
            or `POLICY_DENIED`.
        """
        wanted = self._wanted.get(target)
        if wanted is not None and wanted.prospect is not None:
            return wanted.prospect
        choice = self.choice(target, relayed=relayed)
        me = self._context.bus_id
        if isinstance(choice, Stay):
            if choice.denied:
                raise Undeliverable(Status.POLICY_DENIED, target, 0, me, choice.reason)
            if not self.is_expected(target):
                rule = self._context.table.next_hop(target).rule
                raise Undeliverable(Status.NO_ROUTE, target, 0, me, rule)
        if self._context.config.pending_policy != "hold":
            raise Undeliverable(Status.NOT_CONNECTED, target, 0, me, "it is being dialled")
        if sum(1 for each in self._wanted.values() if each.prospect) >= limits.PROSPECTS_MAX:
            raise Undeliverable(Status.NO_ROUTE, target, 0, me, "too many are being dialled")
        if wanted is None:
            wanted = self._want(target, relayed=relayed)
        wanted.prospect = Prospect(self._context, target)
        return wanted.prospect

    def known(self, target: int) -> None:
        """Go on with messages to a node whose record has come."""
        wanted = self._wanted.get(target)
        if wanted is not None and wanted.prospect is not None and not wanted.candidate:
            # Not in the middle of taking records.
            self._context.turn.at_end(lambda: self._go_on(target, wanted))

    def moved(self, bus_id: int) -> None:
        """Dial a node where it is now, however far off the next attempt was where it had been."""
        for target, wanted in list(self._wanted.items()):
            if bus_id in (target, wanted.candidate):
                self._follow(target, wanted)

    def _follow(self, target: int, wanted: _Wanted) -> None:
        """Try again at the end of the turn, if the last attempt went to a place of the past."""
        choice = self.choice(target, relayed=wanted.relayed)
        if (
            not wanted.dialling
            and isinstance(choice, Dial)
            and wanted.address not in (None, choice.address)
            and wanted.attempts < limits.DIRECT_ATTEMPTS_MAX
        ):
            # Not in the middle of taking records.
            self._context.turn.at_end(lambda: self._try(target, wanted))

    def _go_on(self, target: int, wanted: _Wanted) -> None:
        if isinstance(self.choice(target, relayed=wanted.relayed), Dial):
            self._try(target, wanted)
        else:
            self._finish(target, wanted)

    def _try(self, target: int, wanted: _Wanted) -> None:
        if self._wanted.get(target) is not wanted or wanted.dialling:
            return
        choice = self.choice(target, relayed=wanted.relayed)
        wanted.attempts += 1
        if not isinstance(choice, Dial):
            wanted.due = self._context.now + limits.DIRECT_RETRY_SECONDS_MAX
            return
        wanted.dialling = True
        wanted.candidate, wanted.address = choice.bus_id, choice.address
        dialling = self._dialer.connect(choice.address, expected_id=choice.bus_id)
        dialling.addBoth(self._ended, target, wanted)

    def _ended(self, result: Endpoint | Failure, target: int, wanted: _Wanted) -> None:
        wanted.dialling = False
        if not isinstance(result, Failure):
            if result.bus_id != target:
                self.passive.made(result)
            self._finish(target, wanted)
            return
        result.trap(AtbusError, CancelledError)
        self._context.log.info(
            "no direct connection to {target:#x}: {reason}",
            target=wanted.candidate,
            reason=str(result.value),
        )
        wanted.due = self._context.now + wanted.backoff.ceiling
        wanted.backoff.next(0)
        self._follow(target, wanted)

    def _finish(self, target: int, wanted: _Wanted) -> None:
        """Want it no more; what waited goes the way that there is now."""
        if self._wanted.get(target) is wanted:
            del self._wanted[target]
        if wanted.prospect is not None:
            waiting = wanted.prospect.pending.take()
            wanted.prospect = None
            self._traffic.changed()
            self._traffic.resubmit(waiting, Status.NOT_CONNECTED)

    def entered(self, endpoint: Endpoint) -> None:
        """Put on its way what waited for a node that has registered now, before all else."""
        for target, wanted in list(self._wanted.items()):
            if wanted.prospect is not None and endpoint.bus_id in (target, wanted.candidate):
                self._finish(target, wanted)

    def sweep(self) -> None:
        """Try again what is due, give up what has failed too often, answer what is too late."""
        self.passive.sweep()
        now = self._context.now
        for target, wanted in list(self._wanted.items()):
            late = [] if wanted.prospect is None else wanted.prospect.pending.expire(now)
            if late:
                self._traffic.lost(late, Status.TIMEOUT)
            if wanted.attempts and wanted.prospect is not None and not wanted.candidate:
                self._expect(target, wanted)
                continue
            if wanted.dialling or now < wanted.due or not wanted.attempts:
                # One without an attempt has its first at the end of this turn.
                continue
            if wanted.prospect is not None and not wanted.prospect.pending:
                wanted.prospect = None
                self._traffic.changed()
            if wanted.attempts < limits.DIRECT_ATTEMPTS_MAX and wanted.candidate:
                self._try(target, wanted)
            else:
                self._finish(target, wanted)

    def _expect(self, target: int, wanted: _Wanted) -> None:
        """Wait on for a record, as long as it is expected and anything waits for it."""
        assert wanted.prospect is not None
        if not wanted.prospect.pending:
            self._finish(target, wanted)
        elif not self.is_expected(target):
            # Perhaps because it has come in this very turn.
            self._go_on(target, wanted)

    def prospects(self) -> list[Prospect]:
        """Give the nodes that are being dialled, and for which something may wait."""
        return [w.prospect for w in self._wanted.values() if w.prospect is not None]

    @property
    def waiting(self) -> int:
        """How many items wait for nodes that are being dialled."""
        return sum(len(prospect.pending) for prospect in self.prospects())

    def close(self) -> None:
        """Answer what waits: the node stops."""
        self.passive.close()
        wanted, self._wanted = self._wanted, {}
        for each in wanted.values():
            if each.prospect is not None:
                self._traffic.lost(each.prospect.pending.take(), Status.CLOSING)
