"""
Twisted alone: a length before each message (``Int32StringReceiver``), and nothing else.

It promises nothing of what atbus does, and shows what the reactor and a socket cost: the least that
a program pays which is written in Python on Twisted.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from twisted.internet import reactor as any_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from zope.interface import implementer

from benchmarks.job import Arrivals, Job, Spread, draws, fail, report_trips

reactor: Any = any_reactor
# Written at a time.
_BURST_BYTES = 256 * 1024
_BURST_MAX = 1000


class Strings(Int32StringReceiver):
    """
    One connection.

    :param take: Called with each message, and the connection that it came on.
    """

    MAX_LENGTH = 1 << 20

    def __init__(self, take: Callable[[Strings, bytes], object]) -> None:
        self.take = take

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take one message."""
        self.take(self, string)


@implementer(IPullProducer)
class Source:
    """
    Messages, as many as the connection takes.

    :param connection: What they are written to.
    """

    def __init__(self, job: Job, connection: Strings) -> None:
        self._connection = connection
        self._payloads = job.payloads()
        self._burst = min(_BURST_MAX, max(1, _BURST_BYTES // job.size))
        self._place, self._end = 0, job.share

    def resumeProducing(self) -> None:
        """Write some more."""
        stop = min(self._end, self._place + self._burst)
        mask = len(self._payloads) - 1
        for place in range(self._place, stop):
            self._connection.sendString(self._payloads[place & mask])
        self._place = stop
        if stop == self._end:
            self._connection.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Write nothing more."""
        self._place = self._end


def receive(job: Job) -> None:
    """Take messages."""
    arrivals = Arrivals(job)
    _listen(job, lambda: Strings(lambda _, payload: arrivals.take(payload)))


def send(job: Job) -> None:
    """Send as fast as the connection takes messages."""

    def connected(connections: list[Strings]) -> None:
        job.wait()
        producer = Source(job, connections[0])
        connections[0].transport.registerProducer(producer, False)

    _dial(job, _nobody).addCallback(connected).addErrback(_stop)
    reactor.run()


def echo(job: Job) -> None:
    """Give back what comes."""
    _listen(job, lambda: Strings(Strings.sendString))


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""
    payload = job.payloads()[0]
    seconds: list[float] = []
    began = 0.0

    def back(connection: Strings, answer: bytes) -> None:
        nonlocal began
        now = perf_counter()
        seconds.append(now - began)
        assert answer == payload
        if len(seconds) < job.count:
            began = now
            connection.sendString(payload)
        else:
            report_trips(job, seconds)

    def connected(connections: list[Strings]) -> None:
        nonlocal began
        job.wait()
        began = perf_counter()
        connections[0].sendString(payload)

    _dial(job, back).addCallback(connected).addErrback(_stop)
    reactor.run()


def receive_many(job: Job) -> None:
    """Be many receivers; the first message of a connection says which of them it is for."""
    spread = Spread(job)

    def first(connection: Strings, index: bytes) -> None:
        take = spread.taker(int(index))
        connection.take = lambda _, payload: take(payload)

    _listen(job, lambda: Strings(first))


def send_many(job: Job) -> None:
    """Send to targets drawn at random, *burst* messages in each turn."""
    payloads, order = job.payloads(), draws(job.targets)
    mask = len(payloads) - 1
    sent = [0] * job.targets
    place = 0

    def go(connections: list[Strings]) -> None:
        nonlocal place
        for _ in range(min(job.burst, job.count - place)):
            target, _kind = order[place % len(order)]
            connections[target].sendString(payloads[sent[target] & mask])
            sent[target] += 1
            place += 1
        if place < job.count:
            reactor.callLater(0, go, connections)

    def connected(connections: list[Strings]) -> None:
        for index, connection in enumerate(connections):
            connection.sendString(b"%d" % index)
        job.wait()
        go(connections)

    _dial(job, _nobody, job.targets).addCallback(connected).addErrback(_stop)
    reactor.run()


def _listen(job: Job, make: Callable[[], Strings]) -> None:
    where = f"unix:{job.path}" if job.channel == "unix" else f"tcp:{job.port}:interface=127.0.0.1"
    listening = serverFromString(reactor, where).listen(_factory(make))
    listening.addCallbacks(lambda _: job.ready(), _stop)
    reactor.run()


def _factory(make: Callable[[], Strings]) -> Any:
    def build() -> Strings:
        return make()

    return Factory.forProtocol(build)


def _dial(
    job: Job, take: Callable[[Strings, bytes], object], count: int = 1
) -> Deferred[list[Strings]]:
    where = f"unix:{job.path}" if job.channel == "unix" else f"tcp:127.0.0.1:{job.port}"
    endpoint = clientFromString(reactor, where)
    return gatherResults([connectProtocol(endpoint, Strings(take)) for _ in range(count)])


def _nobody(_connection: Strings, payload: bytes) -> None:
    fail(f"{len(payload)} bytes came that nobody has asked for")


def _stop(failure: Any) -> None:
    fail(failure.getErrorMessage())
