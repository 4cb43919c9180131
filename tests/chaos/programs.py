"""
Applications of nodes to which something happens: they talk without pause and keep notes.

What becomes of messages is written down by the node (``record_events``), for the checker. Notes are
what the checker does not know: when a link ended and how much of what it carried was not
acknowledged, when messages came again, how every question ended, how late the loop was. One file
for each node, one JSON object on a line, each written before anything else happens.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.connection import Connection
from atbus.node.endpoint import Endpoint
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.life import DRAINING
from atbus.node.link import Link
from atbus.node.node import Node
from atbus.node.outbox import Kept, Relayed, Run
from atbus.node.report import plain
from atbus.wire.messages import Role

LATE_SECONDS = 0.05
"""A loop that is held up for longer is noted: the machine has too much to do."""

NEVER = b"never"
"""A request that is not answered before the end."""

PATIENCE_SECONDS = 2.0
"""How long its answer is awaited."""

ASK_SECONDS = 0.5
"""How often it is asked for."""

_CHANGE_SECONDS = 0.1
_STEP_SECONDS = 600.0
_TICK_SECONDS = 0.01
# After a tick that came late as much is sent as in so many ticks, not everything that was missed.
_TICKS_MAX = 10
_DELIVER_EVERY = 7
_REQUEST_EVERY = 11
_TELLS_EVERY = 5
_log = Logger(namespace="chaos")

# The program of a node is imported before the node is made. Until when an order is kept, and a
# neighbor is left without losing anything.
if "ATBUS_CHAOS_FLUSH_SECONDS" in os.environ:
    limits.FLUSH_SECONDS = limits.DRAIN_CLOSE_SECONDS = float(  # type: ignore[misc]
        os.environ["ATBUS_CHAOS_FLUSH_SECONDS"]
    )


def machine_seconds() -> float:
    """Read the clock that all processes of the machine share and nobody can set."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Notes:
    """The notes of one node; they go to ``<name>.notes`` in the folder of the process."""

    def __init__(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(Path(f"{name}.notes"), flags, 0o600)

    def write(self, what: str, **fields: object) -> None:
        """Write one line."""
        line = {"what": what, "at": machine_seconds(), **fields}
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


class Witness(Service):
    """
    Keep notes of a node: the ends of its links, the first message after one, the loop's delays.

    :param node: The node, not started yet; its configuration has a name.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.notes = Notes(node.config.name)
        self._silent = False
        self._half = False
        self._due = 0.0
        self._tick_call: IDelayedCall | None = None
        self._watch_links()
        node.events.on_node_up.observe(lambda: self.notes.write("up"))
        node.events.on_endpoint_removed.observe(self._endpoint_lost)

    def startService(self) -> None:
        """Begin to tick."""
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._wait()

    def stopService(self) -> None:
        """Tick no more, and say how it all ended."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        if self._tick_call is not None and self._tick_call.active():
            self._tick_call.cancel()
        self.notes.write("statistics", **plain(self.node.statistics))

    @property
    def _timers(self) -> Any:
        return self.node._parts.context.timers

    def _wait(self) -> None:
        self._due = machine_seconds() + _TICK_SECONDS
        self._tick_call = self._timers.callLater(_TICK_SECONDS, self._wake)

    def _wake(self) -> None:
        late = machine_seconds() - self._due
        if late > LATE_SECONDS:
            self.notes.write("late", seconds=late)
        elif late < -_TICK_SECONDS / 2:
            self.notes.write("early", seconds=-late)
        self.tick(1 + min(_TICKS_MAX, int(late / _TICK_SECONDS)))
        if self.running:
            self._wait()

    def tick(self, ticks: int) -> None:
        """Look whether half a message is here."""
        half = bool(self.node._parts.inbox._reassembly)
        if half != self._half:
            self._half = half
            _log.info("half a message is here" if half else "no half messages are here")

    def _endpoint_lost(self, endpoint: Endpoint, status: Status) -> None:
        self.notes.write("lost", peer=endpoint.bus_id, status=status.name)
        _log.info("the loss of {peer} is noted", peer=hex(endpoint.bus_id))

    def _watch_links(self) -> None:
        registrar = self.node._parts.registrar
        closed = registrar.closed

        def watched(connection: Connection, status: Status, detail: str) -> None:
            if connection.link is not None:
                self._count_at_the_end(connection.link, connection, status)
            closed(connection, status, detail)

        registrar.closed = watched  # type: ignore[method-assign]

    def _count_at_the_end(self, link: Link, connection: Connection, status: Status) -> None:
        end = link.end

        def counted() -> tuple[list[Kept], list[Kept]]:
            kept, unsent = end()
            count = sum(item.count for item in kept if isinstance(item, Run | Relayed))
            self._link_ended(connection, status, count)
            return kept, unsent

        link.end = counted  # type: ignore[method-assign]

    def _link_ended(self, connection: Connection, status: Status, unacknowledged: int) -> None:
        self._silent = True
        self.notes.write(
            "link ended",
            peer=connection.bus_id,
            data=connection.role is Role.DATA,
            status=status.name,
            unacknowledged=unacknowledged,
        )

    def heard(self) -> None:
        """Note the first message after a link has ended."""
        if self._silent:
            self._silent = False
            self.notes.write("heard")
            _log.info("messages pass again")


@implementer(IMessageReceiver)
class Listener(Witness):
    """
    Take messages, and answer requests.

    :param every: After so many messages it says so in the log.
    """

    def __init__(self, node: Node, every: int = 1000) -> None:
        super().__init__(node)
        self._every = every
        self._count = 0
        # When each sender's last message came, and the longest time between two of one sender.
        self._took_at: dict[int, float] = {}
        self._pause = 0.0
        self._unanswered: list[Deferred[bytes]] = []
        node.receiver = self
        node.on_request(self._asked)
        node.events.on_state_changed.observe(self._state_changed)

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take a message."""
        self.heard()
        now = machine_seconds()
        self._pause = max(self._pause, now - self._took_at.get(source, now))
        self._took_at[source] = now
        self._count += 1
        if self._count % self._every == 0:
            _log.info("received {count}", count=self._count)

    def stopService(self) -> None:
        """Say how long a sender was not heard at most."""
        super().stopService()
        self.notes.write("pause", seconds=self._pause)

    def _asked(self, source: int, payload: bytes) -> bytes | Deferred[bytes]:
        self.message_received(source, 0, 0, payload)
        if payload == NEVER:
            unanswered: Deferred[bytes] = Deferred()
            self._unanswered.append(unanswered)
            return unanswered
        return payload[:8]

    def _state_changed(self, state: str) -> None:
        if state == DRAINING:
            unanswered, self._unanswered = self._unanswered, []
            for each in unanswered:
                each.callback(b"")


class Speaker(Listener):
    """
    Send to some nodes without pause: mostly messages, some of them deliveries and requests.

    :param targets: Whom to send to, in turn.
    :param rate: Messages in a second, at most.
    :param sizes: How long they are, in turn, bytes.
    :param patience: How long an answer is awaited, seconds.
    """

    def __init__(
        self,
        node: Node,
        targets: Sequence[int],
        rate: int,
        sizes: Sequence[int],
        patience: float,
        every: int = 1000,
    ) -> None:
        super().__init__(node, every)
        self._targets = targets
        self._per_tick = max(1, round(rate * _TICK_SECONDS))
        self._sizes = sizes
        self._patience = patience
        self._number = 0
        self._speaks = False
        self._asked_count = 0
        # The numbers of those questions that have not ended.
        self._open: set[int] = set()
        self._ends: Counter[str] = Counter()
        self._refused = False
        node.events.on_node_up.observe(self._begin)
        node.events.on_forward_response.observe(self._told)

    def _begin(self) -> None:
        self._speaks = True

    def _state_changed(self, state: str) -> None:
        if state == DRAINING:
            self._speaks = False
        super()._state_changed(state)

    def _told(self, fate: Fate) -> None:
        if fate.status not in (Status.OK, Status.UNCERTAIN):
            self._refused_once(fate.status)

    def _refused_once(self, status: Status) -> None:
        if not self._refused:
            self._refused = True
            _log.info("refused: {status}", status=status.name)

    def stopService(self) -> None:
        """Say how all questions ended."""
        super().stopService()
        self.notes.write("asked", asked=self._asked_count, ended=dict(self._ends))

    def tick(self, ticks: int) -> None:
        """Send what is due."""
        super().tick(ticks)
        for _ in range(self._per_tick * ticks):
            if self._speaks:
                self._send_one()

    def _send_one(self) -> None:
        self._number += 1
        number = self._number
        target = self._targets[number % len(self._targets)]
        payload = b"%d " % number
        payload = payload.ljust(self._sizes[number % len(self._sizes)], b".")
        if number % _DELIVER_EVERY == 0:
            self._ask(self.node.deliver(target, payload, timeout=self._patience))
        elif number % _REQUEST_EVERY == 0:
            self._ask(self.node.request(target, payload, timeout=self._patience))
        else:
            try:
                self.node.send(target, payload)
            except Undeliverable as error:
                self._refused_once(error.status)
        if number % 1000 == 0:
            _log.info("sent {count}", count=number)
        if number % (_TELLS_EVERY * self._every) == 0:
            ended = min(self._open, default=number)
            _log.info("asked until {number}, ended until {ended}", number=number, ended=ended)

    def _ask(self, asked: Deferred[Any]) -> None:
        self._asked_count += 1
        self._open.add(self._number)
        asked.addBoth(self._has_ended, self._number)
        asked.addCallbacks(self._answered, self._failed)

    def _has_ended(self, result: Any, number: int) -> Any:
        self._open.discard(number)
        return result

    @property
    def _answers(self) -> int:
        return self._ends["OK"]

    def _answered(self, _: object) -> None:
        self._ends["OK"] += 1
        self.heard()
        if self._refused:
            self._refused = False
            _log.info("answered again")

    def _failed(self, failure: Failure) -> None:
        failure.trap(Undeliverable)
        error: Any = failure.value
        self._ends[error.status.name] += 1
        self._refused_once(error.status)


class Asker(Speaker):
    """A speaker that also asks what is never answered, and looks at the clock on the wall."""

    _clock_seconds: float | None = None
    _asks_at = 0.0

    def tick(self, ticks: int) -> None:
        """Ask every half second; say so when the clock was set."""
        super().tick(ticks)
        now = machine_seconds()
        clock_seconds = time.clock_gettime(time.CLOCK_REALTIME) - now
        before, self._clock_seconds = self._clock_seconds, clock_seconds
        if before is None:
            _log.info("looks at the clock from now on")
        elif abs(moved := clock_seconds - before) > _STEP_SECONDS:
            _log.info("the clock was set by {hours} h", hours=round(moved / 3600))
        if self._speaks and now >= self._asks_at:
            self._asks_at = now + ASK_SECONDS
            asked = self.node.request(self._targets[0], NEVER, timeout=PATIENCE_SECONDS)
            asked.addErrback(self._not_answered, now)

    def _not_answered(self, failure: Failure, began: float) -> None:
        error: Any = failure.value
        if error.status is Status.TIMEOUT:
            self.notes.write("timed out", seconds=machine_seconds() - began)
            _log.info("timed out")


class Hauler(Speaker):
    """
    A speaker that besides sends one large message after the other.

    :param node: The node.
    :param settings: ``haul`` tells to whom, ``haul_bytes`` how large, ``hauls`` how many.
    """

    def __init__(self, node: Node, settings: Mapping[str, Any]) -> None:
        super().__init__(node, **speech_of(settings))
        self._haul_target = int(settings["haul"])
        self._haul_bytes = int(settings["haul_bytes"])
        self._hauls_left = int(settings["hauls"])

    def _begin(self) -> None:
        super()._begin()
        self._haul()

    def _haul(self) -> None:
        if not self._hauls_left or not self._speaks:
            return
        self._hauls_left -= 1
        payload = random.Random(self._hauls_left).randbytes(self._haul_bytes)
        began = machine_seconds()
        before = self._answers
        asked = self.node.deliver(self._haul_target, payload, timeout=600)
        asked.addCallbacks(self._hauled, self._not_hauled, callbackArgs=(began, before))

    def _not_hauled(self, failure: Failure) -> None:
        """Try again as soon as there is room for it: a node that was held up has much to say."""
        self._failed(failure)
        error: Any = failure.value
        if error.status is Status.BACKPRESSURE:
            self._hauls_left += 1
            writable = self.node.writable(self._haul_target)
            writable.addCallbacks(lambda _: self._haul(), self._failed)

    def _hauled(self, _: object, began: float, before: int) -> None:
        seconds = machine_seconds() - began
        self.notes.write("hauled", seconds=seconds, answers=self._answers - before)
        _log.info("hauled, {count} left", count=self._hauls_left)
        self._haul()


class Switcher(Speaker):
    """
    A speaker that goes over to a direct way and back, again and again.

    :param node: The node.
    :param settings: ``peer`` and ``peer_address`` tell to whom.
    """

    def __init__(self, node: Node, settings: Mapping[str, Any]) -> None:
        super().__init__(node, **speech_of(settings))
        self._peer = int(settings["peer"])
        self._peer_address = str(settings["peer_address"])
        self._changes = 0
        self._changing = False
        self._change_at = 0.0

    def tick(self, ticks: int) -> None:
        """Change the way when some messages have taken it."""
        super().tick(ticks)
        now = machine_seconds()
        if not self._speaks or self._changing or now < self._change_at:
            return
        self._changing = True
        self._change_at = now + _CHANGE_SECONDS
        changing: Deferred[Any]
        if self._peer in self.node.endpoints:
            changing = self.node.disconnect(self._peer)
        else:
            changing = self.node.connect(self._peer_address)
        changing.addBoth(self._changed)

    def _changed(self, result: object) -> None:
        self._changing = False
        if not isinstance(result, Failure):
            self._changes += 1
            if self._changes % 10 == 0:
                _log.info("changed {count} times", count=self._changes)


def haul(node: Node, settings: Mapping[str, Any]) -> Hauler:
    """Send messages, some of them large."""
    return Hauler(node, settings)


def switch(node: Node, settings: Mapping[str, Any]) -> Switcher:
    """Send messages, now this way, now that."""
    return Switcher(node, settings)


def watch(node: Node, settings: Mapping[str, Any]) -> Witness:
    """Keep notes."""
    return Witness(node)


def listen(node: Node, settings: Mapping[str, Any]) -> Listener:
    """Take messages."""
    return Listener(node, int(settings.get("every", 1000)))


def speak(node: Node, settings: Mapping[str, Any]) -> Speaker:
    """Send messages."""
    return Speaker(node, **speech_of(settings))


def ask(node: Node, settings: Mapping[str, Any]) -> Asker:
    """Send messages, and ask what is never answered."""
    return Asker(node, **speech_of(settings))


def speech_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "targets": [int(target) for target in settings["targets"]],
        "rate": int(settings["rate"]),
        "sizes": [int(size) for size in settings.get("sizes", [20, 100, 1000])],
        "patience": float(settings.get("patience", 8)),
        "every": int(settings.get("every", 1000)),
    }
