"""Twisted's AMP: one command per message, without an answer; a round trip is one with it."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from twisted.internet import reactor as any_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString
from twisted.internet.protocol import Factory
from twisted.protocols import amp

from benchmarks.job import Arrivals, Job, fail, report_trips

reactor: Any = any_reactor
# Written in one turn; AMP keeps everything that the socket does not take.
_BURST = 100


class Put(amp.Command):
    """One message; nobody answers."""

    arguments = [(b"payload", amp.String())]  # noqa: RUF012 - as AMP reads it
    requiresAnswer = False  # noqa: N815 - AMP's name


class Echo(amp.Command):
    """One message; the answer is the message."""

    arguments = [(b"payload", amp.String())]  # noqa: RUF012
    response = [(b"payload", amp.String())]  # noqa: RUF012


class Server(amp.AMP):
    """
    The side that takes messages.

    :param arrivals: Checks them.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._arrivals = arrivals

    @Put.responder
    def put(self, payload: bytes) -> dict[str, bytes]:
        """Take one message."""
        self._arrivals.take(payload)
        return {}

    @Echo.responder
    def echo(self, payload: bytes) -> dict[str, bytes]:
        """Give one message back."""
        return {"payload": payload}


def receive(job: Job) -> None:
    """Take messages."""
    factory = Factory.forProtocol(lambda: Server(Arrivals(job)))
    where = f"unix:{job.path}" if job.channel == "unix" else f"tcp:{job.port}:interface=127.0.0.1"
    listening = serverFromString(reactor, where).listen(factory)
    listening.addCallbacks(lambda _: job.ready(), _stop)
    reactor.run()


echo = receive


def send(job: Job) -> None:
    """Send in bursts, one in each turn."""
    payloads = job.payloads()
    mask = len(payloads) - 1

    def go(client: amp.AMP, place: int) -> None:
        end = min(job.share, place + _BURST)
        while place < end:
            client.callRemote(Put, payload=payloads[place & mask])
            place += 1
        if place < job.share:
            reactor.callLater(0, go, client, place)

    def connected(client: amp.AMP) -> None:
        job.wait()
        go(client, 0)

    _dial(job).addCallback(connected).addErrback(_stop)
    reactor.run()


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""
    payload = job.payloads()[0]

    async def go(client: amp.AMP) -> None:
        job.wait()
        seconds = []
        for _ in range(job.count):
            began = perf_counter()
            answer = await client.callRemote(Echo, payload=payload)
            seconds.append(perf_counter() - began)
            assert answer["payload"] == payload
        report_trips(job, seconds)

    _dial(job).addCallback(lambda client: Deferred.fromCoroutine(go(client))).addErrback(_stop)
    reactor.run()


def _dial(job: Job) -> Deferred[amp.AMP]:
    where = f"unix:{job.path}" if job.channel == "unix" else f"tcp:127.0.0.1:{job.port}"
    dialled: Deferred[amp.AMP] = connectProtocol(clientFromString(reactor, where), amp.AMP())
    return dialled


def _stop(failure: Any) -> None:
    fail(failure.getErrorMessage())
