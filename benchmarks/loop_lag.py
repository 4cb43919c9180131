"""
How late the reactor of a busy node is: with a large route table, under traffic, and looked at.

Three processes: a hub; a node below it that tells it of ten thousand nodes, leaves every thirty
seconds and comes back to tell all of it anew; and one that sends five thousand messages a second to
the hub and asks it for its status, routes and records meanwhile. In the hub a timer that is due
every 5 ms says how late it is called, and how much processor time this process has used since it
was called before: a machine that does other things makes the timer late as well.

    $ .venv/bin/python -m benchmarks.loop_lag
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from time import process_time
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.busid import BusId
from atbus.cli.lasting_objects import set_aside_lasting_objects
from atbus.errors import Status, Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.interfaces import IMessageReceiver
from atbus.node.lag import Lag
from atbus.node.node import Node
from atbus.routing.batch import Batch
from atbus.routing.record import Record, Stamp
from atbus.routing.sync_terms import Peer
from atbus.routing.table import Position
from atbus.wire.messages import SubscribeResponse
from benchmarks.topology import table_of

AIM_SECONDS = 0.05
ROUTES = 10_000
MESSAGES_PER_SECOND = 5_000
SECONDS = 60
_HUB_ID, _REGION_ID, _SENDER_ID = 0x10000000, 0x10010000, 0x10020000
_PROBE_SECONDS = 0.005
_BURST_SECONDS = 0.01
_LOOK_SECONDS = 1.0
_ANEW_SECONDS = 30.0
_BATCH = 500


@attrs.frozen(kw_only=True)
class Late:
    """
    How late the timer was.

    :param routes: Records that the hub had when it began.
    :param received: Messages that it got.
    :param syncs: How often it was told everything.
    :param looks: How often the timer was called.
    :param part: 99.9 of a hundred, of what the aim allows.
    :param own_p999_ms: The same of the processor time between two calls.
    """

    routes: int
    received: int
    syncs: int
    looks: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    worst_ms: float
    part: float
    own_p999_ms: float
    own_worst_ms: float


@implementer(IMessageReceiver)
class _Hub:
    """The node whose reactor is looked at."""

    def __init__(self, reactor: Any, folder: str, seconds: float) -> None:
        self._reactor, self._seconds = reactor, seconds
        config = NodeConfig(id=_HUB_ID, listen=[f"unix://{folder}/hub.sock"], subnets=["0/24"])
        self._node = Node(config, reactor=reactor)
        self._node.receiver = self
        self._received = self._syncs = 0
        self._lag, self._own, self._used = Lag(), Lag(), 0.0
        self._node.events.on_endpoint_added.observe(self._entered)

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Count one."""
        self._received += 1

    def _entered(self, endpoint: Any) -> None:
        self._syncs += endpoint.bus_id == _REGION_ID

    async def measure(self, folder: str) -> Late:
        """Bring everybody up, and look for a while."""
        await self._node.start()
        # As the process of twistd does.
        set_aside_lasting_objects()
        others = [_start("--region", folder), _start("--sender", folder)]
        try:
            while len(self._node.records()) < ROUTES or not self._received:
                if any(other.poll() is not None for other in others):
                    raise RuntimeError("one of the others has ended")
                await _pause(self._reactor, 0.1)
            routes = len(self._node.records())
            self._received = self._syncs = 0
            self._used = process_time()
            self._probe(self._reactor.seconds() + _PROBE_SECONDS)
            await _pause(self._reactor, self._seconds)
        finally:
            for other in others:
                other.kill()
                other.wait()
        lag = self._lag
        p50, p99, p999 = (1000 * lag.quantile(part) for part in (0.5, 0.99, 0.999))
        return Late(
            routes=routes,
            received=self._received,
            syncs=self._syncs,
            looks=lag.looks,
            p50_ms=p50,
            p99_ms=p99,
            p999_ms=p999,
            worst_ms=1000 * lag.worst_seconds,
            part=p999 / 1000 / AIM_SECONDS,
            own_p999_ms=1000 * self._own.quantile(0.999),
            own_worst_ms=1000 * self._own.worst_seconds,
        )

    def _probe(self, due: float) -> None:
        self._reactor.callLater(max(0.0, due - self._reactor.seconds()), self._look, due)

    def _look(self, due: float) -> None:
        now, used = self._reactor.seconds(), process_time()
        self._lag.note(max(0.0, now - due))
        self._own.note(used - self._used)
        self._used = used
        self._probe(now + _PROBE_SECONDS)


class _Region:
    """A node with ten thousand nodes below it, which tells of them again and again."""

    def __init__(self, reactor: Any, folder: str) -> None:
        self._reactor = reactor
        upstream = f"unix://{folder}/hub.sock"
        self._node = Node(NodeConfig(id=_REGION_ID, upstream=upstream), reactor=reactor)

    async def tell(self) -> None:
        """Come, tell everything, go, and come again."""
        while True:
            await self._node.start()
            while not self._node.records():
                await _pause(self._reactor, 0.01)
            self._have_below()
            await _pause(self._reactor, _ANEW_SECONDS)
            await self._node.stop()

    def _have_below(self) -> None:
        """Let the node hear of the others, as if one of them had told it."""
        table = self._node._parts.route_table  # noqa: SLF001
        assert table.machine is not None
        first = BusId(_REGION_ID + 1)
        teller = Record(bus_id=first, upstream_id=BusId(_REGION_ID), stamp=Stamp(1, 1))
        records = [teller] + [
            Record(bus_id=BusId(first + each), upstream_id=first, stamp=Stamp(1, 1))
            for each in range(1, ROUTES)
        ]
        told = [tuple(records[at : at + _BATCH]) for at in range(0, ROUTES, _BATCH)]
        now = table._context.now  # noqa: SLF001
        below = Peer(record=teller, position=Position.DOWNSTREAM)
        table._do(table.machine.available(below, now))  # noqa: SLF001
        words: list[SubscribeResponse | Batch] = [
            SubscribeResponse(status=Status.OK, snapshot_id=1),
            *(
                Batch(words=each, snapshot_id=1, index=place, last=each is told[-1])
                for place, each in enumerate(told)
            ),
        ]
        for word in words:
            table._do(table.machine.receive(first, word, now))  # noqa: SLF001


class _Sender:
    """A node that sends, and looks at the hub."""

    def __init__(self, reactor: Any, folder: str) -> None:
        upstream = f"unix://{folder}/hub.sock"
        self._node = Node(NodeConfig(id=_SENDER_ID, upstream=upstream), reactor=reactor)
        self._reactor = reactor
        self._began = 0.0
        self._sent = 0

    async def send(self) -> None:
        """Send and look until the end."""
        up: Deferred[None] = Deferred()
        self._node.events.on_node_up.observe(lambda: up.callback(None))
        await self._node.start()
        await up
        self._began = self._reactor.seconds()
        for call, seconds in ((self._burst, _BURST_SECONDS), (self._look, _LOOK_SECONDS)):
            LoopingCall(call).start(seconds)

    def _burst(self) -> None:
        due = int((self._reactor.seconds() - self._began) * MESSAGES_PER_SECOND)
        while self._sent < due:
            try:
                self._node.send(_HUB_ID, b"0123456789abcdef")
            except Undeliverable:
                return
            self._sent += 1

    def _look(self) -> None:
        for question in (b"atbus.status", b"atbus.routes", b"atbus.records"):
            self._node.command(_HUB_ID, question).addErrback(lambda _: None)


def _pause(reactor: Any, seconds: float) -> Deferred[None]:
    turn: Deferred[None] = Deferred()
    reactor.callLater(seconds, turn.callback, None)
    return turn


def _start(role: str, folder: str, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.loop_lag", role, folder, *words])


def measure(seconds: float) -> Late:
    """
    Measure, in this process.

    :param seconds: How long.
    :returns: How late its reactor was.
    """
    # One that nothing else of the benchmarks has run.
    from twisted.internet import reactor  # noqa: PLC0415

    found: list[Late | Failure] = []
    with tempfile.TemporaryDirectory(prefix="atbus-") as folder:

        def begin() -> None:
            hub = _Hub(reactor, folder, seconds)
            measuring = Deferred.fromCoroutine(hub.measure(folder)).addBoth(found.append)
            measuring.addBoth(lambda _: reactor.stop())

        reactor.callWhenRunning(begin)
        reactor.run()
    (late,) = found
    if isinstance(late, Failure):
        late.raiseException()
    return late


def _be(reactor: Any, work: Any) -> None:
    hub = os.getppid()
    working = Deferred.fromCoroutine(work)
    working.addErrback(lambda failure: (failure.printTraceback(sys.stderr), reactor.stop()))
    LoopingCall(lambda: os.getppid() == hub or reactor.stop()).start(1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure and print.

    :param arguments: Words of the command line.
    """
    parser = argparse.ArgumentParser(description="How late the reactor of a busy node is.")
    parser.add_argument("--quick", action="store_true", help="for ten seconds only")
    parser.add_argument("--region", help=argparse.SUPPRESS)
    parser.add_argument("--sender", help=argparse.SUPPRESS)
    read = parser.parse_args(arguments)
    if not (read.region or read.sender):
        print(table_of([measure(10 if read.quick else SECONDS)]))
        return
    # The other processes have one each.
    from twisted.internet import reactor  # noqa: PLC0415

    if read.region:
        region = _Region(reactor, read.region)
        reactor.callWhenRunning(lambda: _be(reactor, region.tell()))
    else:
        sender = _Sender(reactor, read.sender)
        reactor.callWhenRunning(lambda: _be(reactor, sender.send()))
    reactor.run()


if __name__ == "__main__":
    main()
