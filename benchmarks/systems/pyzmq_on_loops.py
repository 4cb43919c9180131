"""pyzmq with 64 sockets once more: on the loops that programs have, and as it is advised there."""

from __future__ import annotations

import asyncio
from typing import Any

import zmq
import zmq.asyncio
from twisted.internet import reactor as any_reactor

from atbus.cli.short_turns import shorten_turns
from atbus.cli.twistd import use_monotonic_clock
from benchmarks.job import Job, draws
from benchmarks.systems.pyzmq import receive_many, sockets_of

__all__ = ["receive_many", "send_many_awaiting", "send_many_on_twisted"]

# Any: to mypy it is a module.
reactor: Any = any_reactor
_PAUSE_SECONDS = 0.001


def send_many_awaiting(job: Job) -> None:
    """Await each send, as its documentation advises for event loops; *burst* in a turn."""
    asyncio.run(_send_many(job))


async def _send_many(job: Job) -> None:
    sockets = sockets_of(job, zmq.asyncio.Context.instance())
    payloads, order = job.payloads(), draws(job.targets)
    mask = len(payloads) - 1
    sent = [0] * job.targets
    job.wait()
    for place in range(job.count):
        target, _kind = order[place % len(order)]
        await sockets[target].send(payloads[sent[target] & mask])
        sent[target] += 1
        if place % job.burst == job.burst - 1:
            await asyncio.sleep(0)
    # The runner ends the process.
    await asyncio.Event().wait()


def send_many_on_twisted(job: Job) -> None:
    """Send from the very loop that a node has, *burst* messages in each turn."""
    use_monotonic_clock(reactor)
    shorten_turns(reactor)
    sockets = sockets_of(job, zmq.Context.instance())
    payloads, order = job.payloads(), draws(job.targets)
    mask = len(payloads) - 1
    sent = [0] * job.targets
    place = 0
    job.wait()

    def go() -> None:
        nonlocal place
        try:
            for _ in range(min(job.burst, job.count - place)):
                target, _kind = order[place % len(order)]
                sockets[target].send(payloads[sent[target] & mask], zmq.NOBLOCK)
                sent[target] += 1
                place += 1
        except zmq.Again:
            reactor.callLater(_PAUSE_SECONDS, go)
            return
        if place < job.count:
            reactor.callLater(0, go)

    reactor.callLater(0, go)
    reactor.run()
