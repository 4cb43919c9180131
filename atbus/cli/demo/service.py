"""
What runs in each process of the demo: it sends, receives and counts.

A service sends to its targets in turn, at an even rate, messages of which no two are the same.
Every node counts what it was given, how long that took, over which channel it came and how many
nodes had passed it on. Whoever is registered with the node can ask for that, and start and stop the
sending, with the commands ``demo.report``, ``demo.go`` and ``demo.halt``. When the node has stopped
its last counts are written to a file. What the verdict is made of is another thing: the record of
the node itself (``record_events``).
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.errors import Status, Undeliverable
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node

BUCKETS_PER_DOUBLING: Final = 4
"""Latencies are counted in buckets, each so much wider than the one before: 19 %."""

_KIND: Final = 1
# When it was sent on the machine's monotonic clock, and which message of its sender it is.
_STAMP: Final = struct.Struct("<QQ")
_SMALL_BYTES: Final = 200
_LARGE_BYTES: Final = 100_000
# Every so many messages one is so large that it has to travel in pieces.
_LARGE_EVERY: Final = 101
_TICK_SECONDS: Final = 0.02
_ORPHAN_SECONDS: Final = 5.0


@attrs.define
class Inflow:
    """
    What came from one node.

    :param hops: How many nodes passed on the last message.
    :param channel: What the last message came over.
    :param latencies: For each bucket how many messages.
    """

    count: int = 0
    hops: int = 0
    channel: str = ""
    latencies: Counter[int] = attrs.field(factory=Counter)


@attrs.define
class Outflow:
    """
    What went to one node.

    :param accepted: Messages that the node took.
    :param refused: For each reason how many it did not take, or gave up later.
    """

    accepted: int = 0
    refused: Counter[str] = attrs.field(factory=Counter)


@implementer(IMessageReceiver)
class DemoService(Service):
    """
    The application of one node of the demo.

    :param node: The node, not started yet.
    :param settings: ``targets`` and ``rate``: whom to send to, and how many messages in a second;
        none to send nothing.
    """

    name = "demo"

    def __init__(self, node: Node, settings: Mapping[str, Any]) -> None:
        self._node = node
        self._targets = tuple(int(target) for target in settings.get("targets", ()))
        self._rate = float(settings.get("rate", 0))
        self._inflows: dict[int, Inflow] = {}
        self._outflows = {target: Outflow() for target in self._targets}
        self._loop = LoopingCall(self._tick)
        self._began = 0.0
        self._attempts = 0
        self._upstream = 0
        node.receiver = self
        node.on_command(self._command)
        node.events.on_forward_response.observe(self._told)
        node.events.on_upstream_changed.observe(self._moved)

    def startService(self) -> None:  # Twisted's name
        """Watch the process that started this one."""
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        from twisted.internet import reactor

        reactor.addReader(_Starter(reactor))

    def stopService(self) -> None:  # Twisted's name
        """Stop sending, and leave what was counted; the node has stopped."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._halt()
        counts = {source: inflow.count for source, inflow in self._inflows.items()}
        Path(counts_name(self._node.config.name)).write_text(json.dumps(counts), encoding="ascii")

    # Sending.

    def _go(self) -> None:
        if self._targets and self._rate and not self._loop.running:
            self._began = time.monotonic()
            self._attempts = 0
            self._loop.start(_TICK_SECONDS).addErrback(self._broken)

    def _halt(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def _broken(self, failure: Failure) -> None:
        # A demo that stops sending must not look like one that lost nothing.
        failure.printTraceback()
        os._exit(70)

    def _tick(self) -> None:
        due = (time.monotonic() - self._began) * self._rate
        while self._attempts < due:
            self._send(self._targets[self._attempts % len(self._targets)])
            self._attempts += 1

    def _send(self, target: int) -> None:
        size = _SMALL_BYTES if self._attempts % _LARGE_EVERY else _LARGE_BYTES
        payload = _STAMP.pack(time.monotonic_ns(), self._attempts).ljust(size, b".")
        outflow = self._outflows[target]
        try:
            self._node.send(target, payload, _KIND)
        except Undeliverable as error:
            outflow.refused[error.status.name] += 1
        else:
            outflow.accepted += 1

    def _told(self, fate: Fate) -> None:
        outflow = self._outflows.get(fate.target)
        if outflow is not None and fate.status is not Status.OK:
            outflow.refused[fate.status.name] += fate.count

    def _moved(self, upstream: int | None) -> None:
        self._upstream = upstream or 0

    # Receiving.

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """
        Count a message.

        :param source: Its sender's bus id.
        :param kind: The sender's number.
        :param sequence: Its number in the flow.
        :param payload: Its bytes; they begin with the time of sending.
        """
        now = time.monotonic_ns()
        delivery = self._node.current
        assert delivery is not None
        inflow = self._inflows.get(source)
        if inflow is None:
            inflow = self._inflows[source] = Inflow()
        inflow.count += 1
        inflow.hops = delivery.hops
        inflow.channel = self._channel_from(delivery.neighbor)
        sent_at, _ = _STAMP.unpack_from(payload)
        inflow.latencies[bucket_of((now - sent_at) / 1000)] += 1

    def _channel_from(self, neighbor: int) -> str:
        endpoint = self._node.endpoints.get(neighbor)
        link = None if endpoint is None else endpoint.data_link
        return "-" if link is None else link.connection.address.scheme.value

    # Being asked.

    def _command(self, source: int, words: tuple[bytes, ...]) -> list[bytes]:
        match words:
            case (b"demo.go",):
                self._go()
            case (b"demo.halt",):
                self._halt()
            case (b"demo.report",):
                return [json.dumps(line).encode() for line in self._report()]
            case _:
                raise Undeliverable(Status.UNKNOWN_COMMAND, self._node.bus_id)
        return []

    def _report(self) -> Iterator[dict[str, Any]]:
        yield {
            "state": self._node.state,
            "process": os.getpid(),
            "upstream": self._upstream,
            "neighbors": list(self._node.endpoints),
            "known": [record.bus_id for record in self._node.records()],
        }
        for target, outflow in self._outflows.items():
            yield {
                "target": target,
                "accepted": outflow.accepted,
                "refused": dict(outflow.refused),
            }
        for source, inflow in self._inflows.items():
            yield {"source": source, **attrs.asdict(inflow)}


def make(node: Node, settings: Mapping[str, object]) -> DemoService:
    """
    Make the application of one node, as its configuration asks for it.

    :param node: The node.
    :param settings: See `DemoService`.
    :returns: The application.
    """
    return DemoService(node, settings)


def counts_name(name: str) -> str:
    """
    Name the file in which a node leaves how many messages of each sender it was given.

    :param name: The node's name.
    :returns: The file's, in the folder of the process.
    """
    return f"{name}.counts"


def bucket_of(microseconds: float) -> int:
    """
    Say in which bucket a latency is counted.

    :param microseconds: The latency.
    :returns: The bucket's number.
    """
    return round(BUCKETS_PER_DOUBLING * math.log2(max(1.0, microseconds)))


@implementer(IReadDescriptor)
class _Starter:
    """
    The process that started this one, seen as the other end of stdin.

    When it is gone, however it ended, this process stops too, or ends if it cannot.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def fileno(self) -> int:
        """Give the descriptor to watch."""
        return 0

    def doRead(self) -> None:
        """See whether that was the end."""
        try:
            if os.read(0, 4096):
                return
        except OSError:
            pass
        self._reactor.removeReader(self)
        self._reactor.callLater(_ORPHAN_SECONDS, os._exit, 1)
        self._reactor.stop()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""

    def logPrefix(self) -> str:
        """Name this in logs."""
        return "demo"
