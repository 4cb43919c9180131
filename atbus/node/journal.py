"""
Write down for people what a node goes through.

One line when it starts, one for each change of its state, one for each neighbor that comes or goes.
What may happen very often - errors, mostly - is held down to one line for each event and peer in
`limits.LOG_INTERVAL_SECONDS`; what was left out is counted in a line of its own at the end of that
time. Nothing secret is known here: what other nodes say about themselves is not written down, but
for their ids. A log that cannot be written, on a full disk, stops nothing; the lines are counted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher
from zope.interface import implementer

from atbus import limits
from atbus.busid import format_bus_id
from atbus.errors import Status, printable
from atbus.handshake.doorkeeper import account_of
from atbus.node.footprint import holdings

if TYPE_CHECKING:
    from atbus.address import Address
    from atbus.channels.tls_fault import TlsFault
    from atbus.node.connection import Connection
    from atbus.node.context import Timers
    from atbus.node.endpoint import Endpoint
    from atbus.node.node import Node
    from atbus.node.subscription import Subscription
    from atbus.routing.drain import Drained

Level: TypeAlias = Any
"""A level of `twisted.logger.LogLevel`, whose members have no types."""

# What ends in good order and is no news to anybody who operates a node.
_QUIET = frozenset({Status.OK, Status.GOODBYE, Status.STOPPED, Status.DISCONNECTED})

_STATES = {
    "starting": "is starting",
    "running": "is running",
    "lost_upstream": "has lost its upstream and looks for one",
    "draining": "is stopping: passes on what it has, takes nothing new",
    "stopped": "has stopped",
}


# Who has dialled which of our addresses, as `Connection.ends` says it.
_SOURCE = re.compile(r"\bfrom (?P<peer>\S+) at (?P<at>[^\s:]+:\S+)")

# On which connection, where its ends do not say who: that of shared memory.
_ABOUT = re.compile(r"<[^<>]*>(?=: )")

# How Twisted's publisher begins to tell the other observers of one that has failed.
_LINE_LOST = "Temporarily disabling observer"


@attrs.define(eq=False)
class _Held:
    """What was left out since the last line about one event and peer."""

    call: IDelayedCall
    count: int = 0
    sentence: str = ""


@implementer(ILogObserver)
@attrs.frozen(eq=False)
class _Losses:
    """Counts the lines that another observer of the log could not write."""

    _node: Node

    def __call__(self, event: LogEvent) -> None:
        if str(event.get("log_format", "")).startswith(_LINE_LOST):
            self._node.statistics.log_lines_lost += 1


class Journal:
    """
    The log of one node.

    :param node: Whose events are written.
    :param timers: Tell when something may be written again.
    :param log: Where to write.
    """

    def __init__(self, node: Node, timers: Timers, log: Logger) -> None:
        self.last_error = ""
        self._node = node
        self._timers = timers
        self._log = log
        self._held: dict[tuple[str, str], _Held] = {}
        events = node.events
        self._observations = (
            events.on_state_changed.observe(self._state_changed),
            events.on_upstream_changed.observe(self._upstream_changed),
            events.on_endpoint_added.observe(self._endpoint_added),
            events.on_endpoint_removed.observe(self._endpoint_removed),
            events.on_invalid_connection.observe(self._invalid_connection),
            events.on_slow_endpoint.observe(self._slow_endpoint),
            events.on_slow_consumer.observe(self._slow_consumer),
            events.on_drained.observe(self._drained),
            events.on_lag.observe(self._lagged),
            events.on_tls_refused.observe(self._tls_refused),
            events.on_error.observe(self._failed),
        )
        self._losses = _Losses(node)
        if isinstance(log.observer, LogPublisher):
            log.observer.addObserver(self._losses)

    def started(self, memory_bytes: int | None) -> None:
        """
        Say who the node is, and where, and what its memory is not enough for.

        :param memory_bytes: How much memory the process may have; None where there is no bound.
        """
        config = self._node.config
        listens = [str(address) for address in self._node.addresses or config.listen]
        upstreams = [str(address) for address in config.upstreams]
        self.write(
            "start",
            f"listens on {', '.join(listens) or 'nothing'}; "
            f"upstream {' or '.join(upstreams) or 'none'}",
        )
        most_bytes = sum(each.most_bytes for each in holdings(config))
        if memory_bytes is not None and memory_bytes < most_bytes:
            self.write(
                "memory",
                f"may hold {most_bytes} bytes for others where all of them want it to, and its "
                f"control group has {memory_bytes}: see atbus config memory",
            )

    def write(self, event: str, sentence: str, level: Level = LogLevel.info) -> None:
        """
        Write one line.

        :param event: What happened, a stable name for programs.
        :param sentence: What happened, for people; the node is its subject.
        :param level: How grave it is.
        """
        self._log.emit(
            level, "{node} {sentence}", node=self._name(), event=event, sentence=printable(sentence)
        )

    def write_seldom(
        self, event: str, peer: str, sentence: str, level: Level = LogLevel.warn
    ) -> None:
        """
        Write one line, unless there was one about the same event and peer a short time ago.

        :param event: What happened, a stable name for programs.
        :param peer: With whom: an id, an address, or anything that tells one from another.
        :param sentence: What happened, for people; the node is its subject.
        :param level: How grave it is.
        """
        if (event, peer) not in self._held and len(self._held) >= limits.LOG_SUBJECTS_MAX:
            peer = ""
        held = self._held.get((event, peer))
        if held is not None:
            held.count += 1
            held.sentence = sentence
            return
        self.write(event, sentence, level)
        self._hold(event, peer, level)

    def _hold(self, event: str, peer: str, level: Level) -> None:
        call = self._timers.callLater(
            limits.LOG_INTERVAL_SECONDS, self._release, event, peer, level
        )
        self._held[event, peer] = _Held(call)

    def _release(self, event: str, peer: str, level: Level) -> None:
        held = self._held.pop((event, peer))
        if held.count:
            self._tell_count(event, held, level)
            self._hold(event, peer, level)

    def _tell_count(self, event: str, held: _Held, level: Level) -> None:
        more = "once more" if held.count == 1 else f"{held.count} times more"
        self.write(event, f"{held.sentence} ({more} in {limits.LOG_INTERVAL_SECONDS:.0f} s)", level)

    def close(self) -> None:
        """Write what was left out until now, and no more after that."""
        for observation in self._observations:
            observation.cancel()
        if isinstance(self._log.observer, LogPublisher):
            self._log.observer.removeObserver(self._losses)
        held, self._held = self._held, {}
        for (event, _), lines in held.items():
            lines.call.cancel()
            if lines.count:
                self._tell_count(event, lines, LogLevel.warn)

    def _name(self) -> str:
        bus_id = format_bus_id(self._node.bus_id) if self._node.bus_id else "a node without id"
        return f"{bus_id} ({self._node.name})" if self._node.name else bus_id

    # The events.

    def _state_changed(self, state: str) -> None:
        self.write("state", _STATES.get(state, f"is {state}"))

    def _upstream_changed(self, bus_id: int | None) -> None:
        if bus_id is not None:
            self.write("upstream", f"is registered with its upstream {format_bus_id(bus_id)}")

    def _endpoint_added(self, endpoint: Endpoint) -> None:
        peer = format_bus_id(endpoint.bus_id)
        position = endpoint.position.name.lower()
        self.write("endpoint_added", f"knows {peer} as {position}")

    def _endpoint_removed(self, endpoint: Endpoint, status: Status) -> None:
        peer = format_bus_id(endpoint.bus_id)
        level = LogLevel.info if status in _QUIET else LogLevel.warn
        self.write("endpoint_removed", f"has lost {peer}: {status.name}", level)

    def _invalid_connection(self, connection: Connection, status: Status) -> None:
        if status in _QUIET:
            return
        sentence = f"ends a connection {connection.ends}: {status.name}"
        peer = account_of(connection.source) or str(connection.address)
        self.write_seldom("invalid_connection", f"{peer} {status.name}", sentence)

    def _tls_refused(self, address: Address, peer: str, fault: TlsFault, why: str) -> None:
        ends = f"from {peer} at {address}" if peer else f"to {address}"
        sentence = f"does not use a TLS connection {ends}: {why} ({fault.name})"
        who = account_of(peer) or str(address)
        self.write_seldom("tls_refused", f"{who} {fault.name}", sentence)

    def _slow_endpoint(self, endpoint: Endpoint, queued_bytes: int) -> None:
        peer = format_bus_id(endpoint.bus_id)
        self.write_seldom("slow_endpoint", peer, f"has {queued_bytes} bytes queued for slow {peer}")

    def _slow_consumer(self, subscription: Subscription) -> None:
        name, waiting = subscription.name, subscription.waiting_count
        sentence = f"has {waiting} publications waiting for slow {name}, which misses the next"
        self.write_seldom("slow_consumer", name, sentence)

    def _drained(self, drained: Drained) -> None:
        self.write("drained", f"is drained after {drained.seconds:.1f} s: {_moves(drained)}")

    def _lagged(self, seconds: float, name: str) -> None:
        self.write_seldom("lag", name, f"was held up for {seconds:.2f} s by {name}")

    def _failed(self, status: Status, detail: str) -> None:
        self.last_error = detail
        # A node that cannot come up stops, which says nothing about the reason.
        sentence = detail if status is Status.STOPPED else f"{status.name}: {detail}"
        level = LogLevel.error if status is Status.STOPPED else LogLevel.warn
        # Who comes has another port each time, and says what he likes.
        source = _SOURCE.search(detail)
        about = _ABOUT.match(detail)
        peer = detail if about is None else about[0]
        if source is not None:
            peer = account_of(source["peer"]) or source["at"]
        self.write_seldom("error", f"{status.name} {peer}", sentence, level)


def _moves(drained: Drained) -> str:
    """Say in words who has moved and who has not."""
    stayed = [f"{format_bus_id(each)} ({status.name})" for each, status in drained.stayed]
    moved = f"{len(drained.moved)} nodes have moved"
    return f"{moved}, these have not: {', '.join(stayed)}" if stayed else moved
