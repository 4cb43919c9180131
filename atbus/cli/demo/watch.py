"""
Watch the members of the demo: ask each, now and then, what it has sent and received.

Each is asked over a connection of its own, by a temporary node, so that what is seen of one does
not depend on the others. Numbers are added up over the lives of a process.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList

from atbus.channels.timers import MonotonicTimers
from atbus.cli.demo.layout import MEMBERS, Member, Plan
from atbus.errors import Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.node import Node

_ANSWER_SECONDS = 5.0
_LEAVING_SECONDS = 3.0

Pair = tuple[int, int]


@attrs.define
class Flow:
    """
    The messages from one member to another, as far as is known.

    :param accepted: How many the sender's node took.
    :param refused: For each reason how many came to nothing.
    :param received: How many arrived.
    :param hops: How many nodes passed on the last one.
    :param channel: What the last one came over.
    :param latencies: For each bucket how many messages.
    """

    accepted: int = 0
    refused: Counter[str] = attrs.field(factory=Counter)
    received: int = 0
    hops: int = 0
    channel: str = ""
    latencies: Counter[int] = attrs.field(factory=Counter)

    def add(self, other: Flow) -> None:
        """Count what another life of the same process has counted."""
        self.accepted += other.accepted
        self.refused += other.refused
        self.received += other.received
        self.latencies += other.latencies
        if other.channel:
            self.hops, self.channel = other.hops, other.channel


class _Watched:
    """What is known of one member."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.state = ""
        self.process = 0
        self.upstream = 0
        self.neighbors: frozenset[int] = frozenset()
        self.known: frozenset[int] = frozenset()
        # Of this life of the process, and of those before it.
        self.now: dict[Pair, Flow] = {}
        self.before: dict[Pair, Flow] = {}


class Watch:
    """
    Ask the members of the demo.

    :param reactor: Twisted's.
    :param timers: Of the demo.
    :param plan: Where they can be reached.
    """

    def __init__(self, reactor: Any, timers: MonotonicTimers, plan: Plan) -> None:
        self._timers = timers
        self._watched = {
            member: _Watched(Node(_config(plan, member), reactor, timers=timers))
            for member in MEMBERS.values()
        }
        self._gone: list[_Watched] = []

    def start(self) -> None:
        """Connect to everybody, as soon as they are there and whenever they come back."""
        for watched in self._watched.values():
            # A member that is never there is missed by who looks at the states.
            watched.node.start().addErrback(lambda _: None)

    async def stop(self) -> None:
        """Leave; twice is harmless."""
        await self._stop(*self._watched.values(), *self._gone)

    async def _stop(self, *watched: _Watched) -> None:
        stopping = DeferredList([each.node.stop() for each in watched])
        # Whoever ends the demo must come to an end.
        with suppress(defer.TimeoutError):
            await stopping.addTimeout(_LEAVING_SECONDS, self._timers)

    async def leave(self, member: Member) -> None:
        """
        Ask a member no more, which is about to go; what it has told is kept.

        :param member: Who.
        """
        gone = self._watched.pop(member)
        self._gone.append(gone)
        await self._stop(gone)

    @property
    def states(self) -> Mapping[Member, str]:
        """The state of each member's node, empty when it does not answer."""
        return {member: watched.state for member, watched in self._watched.items()}

    @property
    def upstreams(self) -> Mapping[Member, int]:
        """Whom each member said that it is below, 0 for nobody."""
        return {member: watched.upstream for member, watched in self._watched.items()}

    @property
    def neighbors(self) -> Mapping[Member, frozenset[int]]:
        """With whom each member said that it is connected."""
        return {member: watched.neighbors for member, watched in self._watched.items()}

    def known_by(self, member: Member) -> frozenset[int]:
        """
        Tell of whom a member said that it has a record.

        :param member: Who.
        :returns: Their bus ids.
        """
        return self._watched[member].known

    async def explain(self, source: Member, target: Member) -> Mapping[str, Any]:
        """
        Ask a member for its way to another.

        :param source: Who is asked.
        :param target: Whom the way leads to.
        :returns: What ``atbus route explain`` shows; empty when there was no answer.
        """
        word = str(target.bus_id).encode()
        lines = await self._ask(self._watched[source], b"atbus.explain", word)
        return lines[0] if lines else {}

    async def tell(self, word: bytes) -> None:
        """
        Give everybody a command.

        :param word: The command.
        """
        await DeferredList(
            [Deferred.fromCoroutine(self._ask(watched, word)) for watched in self._watched.values()]
        )

    async def look(self) -> dict[Pair, Flow]:
        """
        Ask everybody.

        :returns: What is known now of each pair; of members that do not answer what was known.
        """
        await DeferredList(
            [
                Deferred.fromCoroutine(self._report(member, watched))
                for member, watched in self._watched.items()
            ]
        )
        flows: dict[Pair, Flow] = {}
        for watched in (*self._watched.values(), *self._gone):
            for part in (watched.before, watched.now):
                for pair, flow in part.items():
                    flows.setdefault(pair, Flow()).add(flow)
        return flows

    async def _ask(self, watched: _Watched, *words: bytes) -> list[dict[str, Any]]:
        if not watched.node.endpoints:
            watched.state = ""
            return []
        try:
            lines = await watched.node.command(0, *words, timeout=_ANSWER_SECONDS)
        except Undeliverable:
            watched.state = ""
            return []
        return [json.loads(line) for line in lines]

    async def _report(self, member: Member, watched: _Watched) -> None:
        report = await self._ask(watched, b"demo.report")
        if not report:
            return
        first, *rest = report
        watched.state = first["state"]
        if first["process"] != watched.process:
            for pair, flow in watched.now.items():
                watched.before.setdefault(pair, Flow()).add(flow)
            watched.process = first["process"]
        watched.upstream = first["upstream"]
        watched.neighbors = frozenset(first["neighbors"])
        watched.known = frozenset(first["known"])
        watched.now = {}
        for line in rest:
            pair, part = _read(member.bus_id, line)
            watched.now.setdefault(pair, Flow()).add(part)


def _read(bus_id: int, line: Mapping[str, Any]) -> tuple[Pair, Flow]:
    if "target" in line:
        sent = Flow(accepted=line["accepted"], refused=Counter(line["refused"]))
        return (bus_id, line["target"]), sent
    latencies = Counter({int(bucket): count for bucket, count in line["latencies"].items()})
    came = Flow(
        received=line["count"], hops=line["hops"], channel=line["channel"], latencies=latencies
    )
    return (line["source"], bus_id), came


def _config(plan: Plan, member: Member) -> NodeConfig:
    return NodeConfig(
        id=0,
        upstream=plan.address(member, member.channels[0]),
        access_tokens=(plan.token,),
        retry_initial_seconds=0.1,
        retry_seconds_max=0.5,
        linger_seconds=0.5,
        drain_seconds=0.5,
    )
