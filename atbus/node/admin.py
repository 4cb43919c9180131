"""
What a node tells about itself, and does for a tool that asks: the built-in commands.

Every answer is one line of JSON. The names begin with ``atbus.``; the command-line tools use
nothing else. What asks other nodes takes as its last word how many seconds it may wait, ``command``
as its first.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from atbus import __version__, limits
from atbus.busid import BusId, format_bus_id, parse_bus_id
from atbus.errors import AtbusError, Status, Undeliverable, printable
from atbus.node.report import (
    DrainReport,
    ExplanationReport,
    HopReport,
    LagReport,
    LaneReport,
    LinkReport,
    NeighborReport,
    NextHopReport,
    NodeReport,
    RecordReport,
    RefusalReport,
    RouteReport,
    plain,
)
from atbus.routing.decision import Deliver, Forward, Hold, Refuse
from atbus.wire.messages import Flags

if TYPE_CHECKING:
    from atbus.node.commands import Commands, Executor
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.directs import Directs
    from atbus.node.endpoint import Endpoint
    from atbus.node.events import Fate
    from atbus.node.fates import Fates
    from atbus.node.lane_link import Lane
    from atbus.node.lanes import Lanes
    from atbus.node.pulse import Pulse
    from atbus.node.registrar import Registrar
    from atbus.node.route_table import RouteTable
    from atbus.node.sending import Sender
    from atbus.routing.drain import Drained
    from atbus.routing.record import Record
    from atbus.routing.registry import Feeder

_SECONDS_MAX = 3_600.0
# Each is shorter than 4 KiB, and an answer is as long as a message.
_RECORDS_IN_ANSWER = 200
Words = tuple[bytes, ...]


class Admin:
    """Answer the built-in commands of one node."""

    asked: Commands
    directs: Directs
    lanes: Lanes
    pulse: Pulse
    route_table: RouteTable
    #: Lets those below this node move.
    drain: Callable[[], Deferred[Drained]]

    def __init__(
        self, context: Context, registrar: Registrar, sender: Sender, fates: Fates
    ) -> None:
        self._context = context
        self._registrar = registrar
        self._sender = sender
        self._fates = fates

    @property
    def commands(self) -> Mapping[bytes, Executor]:
        """The built-in commands by name."""
        answers: dict[bytes, Callable[[Words], object]] = {
            b"atbus.status": self._status,
            b"atbus.nodes": self._nodes,
            b"atbus.links": self._links,
            b"atbus.shm": self._shm,
            b"atbus.routes": self._routes,
            b"atbus.route": self._route,
            b"atbus.explain": self._explain,
            b"atbus.records": self._records,
            b"atbus.ping": self._ping,
            b"atbus.send": self._send,
            b"atbus.request": self._request,
            b"atbus.command": self._command,
            b"atbus.trace": self._trace,
            b"atbus.drain": self._drain,
        }
        return {name: reading(answer) for name, answer in answers.items()}

    # Looking.

    def _status(self, _words: Words) -> object:
        context = self._context
        return NodeReport(
            id=BusId(context.bus_id),
            name=context.config.name,
            version=__version__,
            epoch=context.epoch,
            host=context.identity.hostname,
            process=context.identity.process,
            subnets=context.table.own_subnets,
            labels=dict(context.config.labels),
            shared_memory=self.lanes.sharing.state,
            lag=self._lag(),
            statistics=context.statistics,
        )

    def _lag(self) -> LagReport:
        lag = self.pulse.lag
        return LagReport(
            looks=lag.looks,
            p50_seconds=lag.quantile(0.5),
            p99_seconds=lag.quantile(0.99),
            p999_seconds=lag.quantile(0.999),
            worst_seconds=lag.worst_seconds,
        )

    def _nodes(self, _words: Words) -> object:
        return [self._neighbor(e) for _, e in sorted(self._registrar.endpoints.items())]

    def _neighbor(self, endpoint: Endpoint) -> NeighborReport:
        link = endpoint.data_link
        request = endpoint.peer.request
        return NeighborReport(
            id=BusId(endpoint.bus_id),
            relation=self._context.table.relation_to(BusId(endpoint.bus_id)),
            state=endpoint.gate.value,
            hostname=request.hostname,
            labels=dict(request.labels),
            subnets=request.subnets,
            rtt_seconds=endpoint.rtt_seconds,
            channel=None if link is None else link.connection.address.scheme.value,
            queued_bytes=0 if link is None else link.queued_bytes,
            waiting=len(endpoint.pending),
        )

    def _links(self, _words: Words) -> object:
        endpoints = [*self._registrar.endpoints.values(), *self._registrar.temporary]
        links = [self._link(e, c) for e in endpoints for c in e.connections]
        return sorted(links, key=lambda link: (link.id, link.role))

    def _link(self, endpoint: Endpoint, connection: Connection) -> LinkReport:
        channel = connection.channel
        link = connection.link
        return LinkReport(
            id=BusId(endpoint.bus_id),
            role=connection.role.name.lower(),
            channel=connection.address.scheme.value,
            address=connection.address,
            dialled=connection.dialled,
            used=link is not None and link is endpoint.data_link,
            peer="" if channel is None else channel.peer,
            queued_bytes=0 if link is None else link.queued_bytes,
            waiting=0 if link is None else len(link.sluice.backlog),
            paused=0 if link is None else len(link.sluice.backlog.paused),
            slow=link is not None and link.pace.slow,
            age_seconds=round(self._context.now - connection.opened_at, 3),
        )

    def _shm(self, _words: Words) -> object:
        return sorted(map(self._lane, self.lanes), key=lambda lane: (lane.id, lane.lane))

    def _lane(self, lane: Lane) -> LaneReport:
        stream = lane.stream.channel
        waiting = 0 if lane.ring is None or lane.ring.link is None else lane.ring.link.queued_bytes
        state = "offered" if lane.ring is None else "retiring" if lane.retiring else "attached"
        return LaneReport(
            id=BusId(lane.endpoint.bus_id),
            direction="reading" if lane.is_read else "writing",
            lane=lane.number,
            address=lane.channel.address,
            state=state,
            size_bytes=lane.channel.size_bytes,
            moved_bytes=lane.channel.moved_bytes,
            unread_bytes=lane.channel.unread_bytes,
            queued_bytes=waiting,
            age_seconds=round(self._context.now - lane.since, 3),
            owner="" if stream is None else stream.peer,
        )

    def _routes(self, _words: Words) -> object:
        table = self._context.table
        own, upstream = table.own_id, table.upstream
        routes = [RouteReport(subnet=each, via=own, rule="self") for each in table.own_subnets]
        for neighbor in table.neighbors:
            rule = neighbor.position.value
            via = neighbor.bus_id
            routes += [RouteReport(subnet=s, via=via, rule=rule) for s in neighbor.subnets]
        if upstream is not None:
            routes.append(RouteReport(subnet=None, via=upstream.bus_id, rule="default route"))
        return routes

    def _route(self, words: Words) -> object:
        target = BusId(_bus_id(words, 1))
        decision = self._context.table.next_hop(target)
        if isinstance(decision, Refuse):
            return RefusalReport(refused=decision.status, rule=decision.rule)
        relation = self._context.table.relation_to(target)
        via = target if isinstance(decision, Deliver) else decision.bus_id
        return NextHopReport(id=via, relation=relation, rule=decision.rule)

    def _explain(self, words: Words) -> object:
        target = BusId(_bus_id(words, 1))
        table = self._context.table
        decision = table.next_hop(target)
        refused = decision.status.name if isinstance(decision, Refuse) else ""
        hop = target if isinstance(decision, Deliver) else 0
        if isinstance(decision, Forward | Hold):
            hop = decision.bus_id
        choice = self.directs.choice(target)
        feeder = table.registry.feeder_of(target)
        return ExplanationReport(
            id=BusId(self._context.bus_id),
            target=target,
            next_hop=format_bus_id(hop) if hop else "",
            refused=refused,
            relation=table.relation_to(target),
            rule=decision.rule,
            known_by="" if feeder is None else str(feeder),
            chain=[format_bus_id(above) for above in table.registry.tree.chain_of(target)],
            direct=str(choice),
        )

    def _records(self, words: Words) -> object:
        """Give some records, in the order of ids, from the first above a given id."""
        after = _bus_id(words, 1) if len(words) > 1 else 0
        registry = self._context.table.registry
        known = heapq.nsmallest(
            _RECORDS_IN_ANSWER,
            (record for record in registry if record.bus_id > after),
            key=lambda record: record.bus_id,
        )
        return [self._record(record, registry.feeder_of(record.bus_id)) for record in known]

    def _record(self, record: Record, feeder: Feeder | None) -> RecordReport:
        return RecordReport(
            id=BusId(record.bus_id),
            upstream=format_bus_id(record.upstream_id) if record.upstream_id else "",
            relation=self._context.table.relation_to(record.bus_id),
            known_by=str(feeder),
            told_by=tuple(BusId(each) for each in self.route_table.tellers(record.bus_id)),
            stamp=str(record.stamp),
            draining=record.is_draining,
            proxy=record.is_proxy,
            labels=dict(record.labels),
            subnets=record.subnets,
            addresses=record.addresses,
        )

    # Doing.

    def _ping(self, words: Words) -> object:
        if len(words) < 2:
            return {"id": format_bus_id(self._context.bus_id)}
        target = _bus_id(words, 1)
        began = self._context.now
        asking = self.asked.ask(target, [b"atbus.ping"], seconds_of(words, 2))
        return asking.addCallback(
            lambda _: {"id": format_bus_id(target), "rtt_seconds": self._context.now - began}
        )

    def _send(self, words: Words) -> Deferred[object]:
        target = _bus_id(words, 1)
        payload = words[2] if len(words) > 2 else b""
        kind = _number(words, 3, "kind")
        began = self._context.now
        sequence = self._sender.send_with(target, payload, kind, flags=Flags.ANSWER)

        def answered(fate: Fate) -> object:
            return {
                "status": fate.status.name,
                "sequence": sequence,
                "seconds": self._context.now - began,
            }

        waiting = self._fates.expect_fate(target, sequence, seconds_of(words, 4))
        return waiting.addCallback(answered)

    def _request(self, words: Words) -> Deferred[object]:
        target = _bus_id(words, 1)
        payload = words[2] if len(words) > 2 else b""
        sequence = self._sender.send_with(target, payload, flags=Flags.REQUEST)
        replying = self._fates.expect_reply(target, sequence, seconds_of(words, 3))
        return replying.addCallback(lambda reply: {"reply": reply.decode("latin-1")})

    def _command(self, words: Words) -> Deferred[object]:
        asking = self.asked.ask(_bus_id(words, 2), words[3:], seconds_of(words, 1))
        return asking.addCallback(
            lambda lines: {"lines": [line.decode("utf-8", "replace") for line in lines]}
        )

    def _trace(self, words: Words) -> Deferred[object]:
        return Deferred.fromCoroutine(self.trace(_bus_id(words, 1), seconds_of(words, 2)))

    def _drain(self, _words: Words) -> Deferred[object]:
        def report(drained: Drained) -> object:
            return DrainReport(
                id=BusId(self._context.bus_id),
                seconds=round(drained.seconds, 3),
                moved=tuple(BusId(each) for each in drained.moved),
                stayed={format_bus_id(each): status for each, status in drained.stayed},
            )

        return self.drain().addCallback(report)

    async def trace(self, target: int, seconds: float) -> list[HopReport]:
        """
        Find the nodes on the way to *target* and how far each is.

        As with traceroute, question after question may travel one node further; the one that must
        give up answers.

        :returns: One per hop.
        """
        way: list[HopReport] = []
        for hops in range(1, self._context.config.hops + 1):
            began = self._context.now
            status = Status.OK
            who = target
            try:
                await self.asked.ask(target, [b"atbus.ping"], seconds, hops)
            except Undeliverable as error:
                status = error.status
                who = error.gave_up_at
            seconds_passed = self._context.now - began
            way.append(
                HopReport(hop=hops, id=BusId(who), rtt_seconds=seconds_passed, status=status)
            )
            if status is not Status.HOP_LIMIT:
                break
        return way


def _bus_id(words: Words, place: int) -> int:
    if len(words) <= place:
        raise AtbusError("a bus id is missing")
    return parse_bus_id(words[place].decode("ascii", "replace"))


def _number(words: Words, place: int, name: str) -> int:
    """Read a whole number; 0 when nothing is said."""
    if len(words) <= place:
        return 0
    try:
        return int(words[place])
    except ValueError as error:
        raise AtbusError(f"{printable(repr(words[place])[:40])} is no {name}") from error


def seconds_of(words: Words, place: int) -> float:
    """Read how long somebody is willing to wait; the usual time when nothing is said."""
    if len(words) <= place:
        return limits.REQUEST_SECONDS
    try:
        seconds = float(words[place])
    except ValueError as error:
        raise AtbusError(f"{printable(repr(words[place])[:40])} is no number of seconds") from error
    if not 0 < seconds <= _SECONDS_MAX:
        raise AtbusError(f"{seconds} seconds are not between 0 and {_SECONDS_MAX:.0f}")
    return seconds


def reading(answer: Callable[[Words], object]) -> Executor:
    """Make an executor of something that answers with plain values."""

    def execute(_source: int, words: Words) -> object:
        result = answer(words)
        if isinstance(result, Deferred):
            return result.addCallback(_line)
        return _line(result)

    return execute


def _line(value: object) -> list[bytes]:
    return [json.dumps(plain(value), separators=(",", ":")).encode()]
