"""
atbus: one node per process; senders register with the receiver, or both with the relay.

Over ``mem`` both nodes are in one process. Over ``shm`` a sender sends messages that nobody counts
until it was given a lane: what is measured is the lane, not the way to it.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any

from twisted.internet import reactor as any_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.cli.bench.certificates import REALM
from atbus.cli.busy_polling import poll_before_sleep
from atbus.cli.freed_memory import keep_freed_memory
from atbus.cli.short_turns import shorten_turns
from atbus.cli.twistd import use_monotonic_clock
from atbus.errors import Status, Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from benchmarks.job import Arrivals, Job, Spread, draws, fail, report_trips

_TOP = 0x1000_0000
_FIRST_SENDER = _TOP + 1
_FIRST_TARGET = _TOP + 0x100
# A burst fills a few frames: what a program sends that has much to say. Longer ones only wait.
_BURST_BYTES = 256 * 1024
_BURST_MAX = 1000
# A full queue is looked at again after this.
_PAUSE_SECONDS = 0.001

# Messages that are sent until there are lanes: their kind, which no other has, and how many how
# often. A reader offers a lane to who sends 64 KiB in a second.
_WARM_KIND = 1 << 20
_WARM_MESSAGES = 20
_WARM_BYTES = 8192
_WARM_SECONDS = 0.02

# Any: to mypy it is a module.
reactor: Any = any_reactor
# As `twistd atbus` does in its process: nodes then need no clock of their own, memory that a large
# message has left is there for the next one, who is busy does not have to be woken, and what is
# read needs no context.
use_monotonic_clock(reactor)
keep_freed_memory()
poll_before_sleep(reactor)
shorten_turns(reactor)


def receive(job: Job) -> None:
    """Take messages, at the top of the tree or below a relay."""
    node = _below(job, _FIRST_TARGET) if job.relayed else _at_the_top(job)
    node.receiver = WarmReceiver(node, Counter(job))
    _run(node, job.ready)


def receive_here(job: Job) -> None:
    """Take messages of a node of this very process."""
    node = _at_the_top(job)
    node.receiver = WarmReceiver(node, Counter(job))

    def up(_: object) -> None:
        sender = _below(job, _FIRST_SENDER)
        sender.events.on_forward_response.observe(_fate)
        begin = _when_warm(job, sender, _begin(job, _sender(job, sender, _TOP)), lanes=0)
        sender.start().addCallbacks(lambda _: begin(), _stop)

    node.start().addCallbacks(up, _stop)
    _loop()


def send(job: Job) -> None:
    """Send as fast as the node takes messages."""
    node = _below(job, _FIRST_SENDER + job.index)
    node.events.on_forward_response.observe(_fate)
    target = _FIRST_TARGET if job.relayed else _TOP
    _run(node, _when_warm(job, node, _begin(job, _sender(job, node, target))))


def _sender(job: Job, node: Node, target: int) -> Callable[[], None]:
    payloads = job.payloads()
    burst = min(_BURST_MAX, max(1, _BURST_BYTES // job.size))
    mask = len(payloads) - 1
    place = 0

    def go() -> None:
        nonlocal place
        offer = node.send
        at = place
        try:
            for at in range(place, min(job.share, place + burst)):
                offer(target, payloads[at & mask])
        except Undeliverable as refusal:
            # The message that is at was refused.
            place = at
            _full(refusal)
            reactor.callLater(_PAUSE_SECONDS, go)
            return
        place = at + 1
        if place < job.share:
            reactor.callLater(0, go)

    return go


def relay(job: Job) -> None:
    """Stand between a sender and a receiver."""
    _run(_at_the_top(job), job.ready)


def echo(job: Job) -> None:
    """Give back what comes, to whom it came from."""
    node = _at_the_top(job)
    node.receiver = Echo(node)
    _run(node, job.ready)


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""
    node = _below(job, _FIRST_SENDER)
    payload = job.payloads()[0]
    seconds: list[float] = []
    began = 0.0

    def go() -> None:
        nonlocal began
        began = perf_counter()
        node.send(_TOP, payload)

    def back(answer: bytes) -> None:
        nonlocal began
        now = perf_counter()
        seconds.append(now - began)
        assert answer == payload
        if len(seconds) < job.count:
            began = now
            node.send(_TOP, payload)
        else:
            report_trips(job, seconds)

    node.receiver = WarmReceiver(node, Receiver(back))
    _run(node, _when_warm(job, node, _begin(job, go), lanes=2))


def receive_many(job: Job) -> None:
    """Be many nodes in one process; each has its own connections to the sender."""
    arrivals = Spread(job)
    waiting = job.targets
    for index in range(job.targets):
        node = _below(job, _FIRST_TARGET + index)
        node.receiver = Receiver(arrivals.taker(index))

        def up(_: object) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                job.ready()

        node.start().addCallbacks(up, _stop)
    _loop()


def send_many(job: Job) -> None:
    """Send to targets and of kinds drawn at random, *burst* messages in each turn."""
    node = _at_the_top(job)
    node.events.on_forward_response.observe(_fate)
    payloads = job.payloads()
    mask = len(payloads) - 1
    order = draws(job.targets)
    sent = [0] * job.targets
    place = 0

    def go() -> None:
        nonlocal place
        offer = node.send
        try:
            for _ in range(min(job.burst, job.count - place)):
                target, kind = order[place % len(order)]
                offer(_FIRST_TARGET + target, payloads[sent[target] & mask], kind)
                sent[target] += 1
                place += 1
        except Undeliverable as refusal:
            _full(refusal)
            reactor.callLater(_PAUSE_SECONDS, go)
            return
        if place < job.count:
            reactor.callLater(0, go)

    _run(node, _begin(job, go))


@implementer(IMessageReceiver)
class Receiver:
    """
    What an application gives to its node.

    :param take: Called with each payload.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message."""
        self._take(payload)


@implementer(IMessageReceiver)
class Counter(Arrivals):
    """Check and time messages as the node brings them."""

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message, as `Arrivals.take` does: peers call that, and nothing before it."""
        sender = payload[1]
        number = self._next[sender]
        if payload[0] != number & self._mask or len(payload) != self._size:
            fail(f"message {number} of sender {sender} is not what was sent")
        self._next[sender] = number + 1
        if not number or number + 1 == self._share:
            self.done = self._watch.look(sum(self._next))


@implementer(IMessageReceiver)
class WarmReceiver:
    """
    Take no messages that only warm up, and leave with the first one that counts.

    :param node: Whose receiver this is.
    :param then: Takes its place.
    """

    def __init__(self, node: Node, then: IMessageReceiver) -> None:
        self._node = node
        self._then = then

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take one message."""
        if kind != _WARM_KIND:
            self._node.receiver = self._then
            self._then.message_received(source, kind, sequence, payload)


@implementer(IMessageReceiver)
class Echo:
    """Answer each message with itself."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Send it back."""
        self._node.send(source, payload, kind)


def _at_the_top(job: Job) -> Node:
    listen = [_address(job.channel, job.path, job.port), *_rings(job)]
    # What the relay knows of its nodes stays with it: here everything is to go through it.
    tls = _tls_of(job)
    config = NodeConfig(id=_TOP, listen=listen, subnets=[(0, 16)], direct_notice=False, **tls)
    return Node(config, reactor)


def _below(job: Job, bus_id: int) -> Node:
    upstream = _address(job.channel, job.path, job.port)
    return Node(
        NodeConfig(id=bus_id, upstream=upstream, listen=_rings(job), **_tls_of(job)), reactor
    )


def _address(channel: str, path: str, port: int) -> str:
    match channel:
        case "tcp":
            return f"ipv4://127.0.0.1:{port}"
        case "tls":
            return f"tls+ipv4://127.0.0.1:{port}"
        case _:
            return f"unix://{path}"


def _rings(job: Job) -> list[str]:
    return [f"{job.channel}://auto"] if job.channel in ("shm", "mem") else []


def _tls_of(job: Job) -> dict[str, Any]:
    """Say where the certificates are, in a measurement that needs some."""
    if job.channel != "tls":
        return {}
    folder = Path(job.path).parent
    return {
        "tls_certificate": folder / "node.pem",
        "tls_key": folder / "node.key",
        "tls_authorities": folder / "authority.pem",
        "tls_realm": REALM,
    }


def _run(node: Node, up: Callable[[], object]) -> None:
    node.start().addCallbacks(lambda _: up(), _stop)
    _loop()


def _when_warm(
    job: Job, node: Node, then: Callable[[], object], lanes: int = 1
) -> Callable[[], object]:
    """Wait until a node's data takes the channel, which for lanes means to send until there are."""

    async def warm() -> None:
        while await _attached(node) < lanes:
            try:
                for _ in range(_WARM_MESSAGES):
                    node.send(_TOP, bytes(_WARM_BYTES), _WARM_KIND)
            except Undeliverable as refusal:
                _full(refusal)
            await deferLater(reactor, _WARM_SECONDS)
        # Behind everything that was sent before it, and back behind everything that came back.
        await node.deliver(_TOP, b"", _WARM_KIND, timeout=60)
        while str(node.next_hop(_TOP).address).partition(":")[0] != job.channel:
            await deferLater(reactor, _WARM_SECONDS)
        then()

    if not _rings(job):
        return then
    return lambda: Deferred.fromCoroutine(warm()).addErrback(_stop)


async def _attached(node: Node) -> int:
    lines = await node.command(node.bus_id, b"atbus.shm")
    return sum(lane["state"] == "attached" for lane in json.loads(b"".join(lines)))


def _begin(job: Job, go: Callable[[], object]) -> Callable[[], None]:
    """Begin when the runner says so; until then the node lives, and others register with it."""

    def wait() -> None:
        job.wait()
        reactor.callFromThread(go)

    return Thread(target=wait, daemon=True).start


def _loop() -> None:
    # An interrupt from the keyboard is the runner's, which ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reactor.run()


def _stop(failure: Failure) -> None:
    fail(failure.getErrorMessage())


def _fate(fate: Fate) -> None:
    if fate.status is not Status.OK:
        fail(f"{fate.count} messages were given up: {fate.status.name}")


def _full(refusal: Undeliverable) -> None:
    if refusal.status is not Status.BACKPRESSURE:
        fail(str(refusal))
