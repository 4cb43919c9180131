"""atbus: one node per process; senders register with the receiver, or both with the relay."""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import Thread
from time import perf_counter
from typing import Any

from twisted.internet import reactor as any_reactor
from twisted.python.failure import Failure
from zope.interface import implementer

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

# Any: to mypy it is a module.
reactor: Any = any_reactor
# As `twistd atbus` does in its process: nodes then need no clock of their own.
use_monotonic_clock(reactor)


def receive(job: Job) -> None:
    """Take messages, at the top of the tree or below a relay."""
    arrivals = Arrivals(job)
    node = _below(job, _FIRST_TARGET) if job.relayed else _at_the_top(job)
    node.receiver = Receiver(arrivals.take)
    _run(node, job.ready)


def send(job: Job) -> None:
    """Send as fast as the node takes messages."""
    target = _FIRST_TARGET if job.relayed else _TOP
    payloads = job.payloads()
    burst = min(_BURST_MAX, max(1, _BURST_BYTES // job.size))
    node = _below(job, _FIRST_SENDER + job.index)
    node.events.on_forward_response.observe(_fate)
    mask = len(payloads) - 1
    place = 0

    def go() -> None:
        nonlocal place
        offer = node.send
        try:
            for _ in range(min(job.share - place, burst)):
                offer(target, payloads[place & mask])
                place += 1
        except Undeliverable as refusal:
            _full(refusal)
            reactor.callLater(_PAUSE_SECONDS, go)
            return
        if place < job.share:
            reactor.callLater(0, go)

    _run(node, _begin(job, go))


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

    node.receiver = Receiver(back)
    _run(node, _begin(job, go))


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
class Echo:
    """Answer each message with itself."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Send it back."""
        self._node.send(source, payload, kind)


def _at_the_top(job: Job) -> Node:
    listen = [_address(job.channel, job.path, job.port)]
    # What the relay knows of its nodes stays with it: here everything is to go through it.
    return Node(NodeConfig(id=_TOP, listen=listen, subnets=[(0, 16)], direct_notice=False), reactor)


def _below(job: Job, bus_id: int) -> Node:
    upstream = _address(job.channel, job.path, job.port)
    return Node(NodeConfig(id=bus_id, upstream=upstream), reactor)


def _address(channel: str, path: str, port: int) -> str:
    return f"unix://{path}" if channel == "unix" else f"ipv4://127.0.0.1:{port}"


def _run(node: Node, up: Callable[[], object]) -> None:
    node.start().addCallbacks(lambda _: up(), _stop)
    _loop()


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
    fail(f"{fate.count} messages were given up: {fate.status.name}")


def _full(refusal: Undeliverable) -> None:
    if refusal.status is not Status.BACKPRESSURE:
        fail(str(refusal))
