"""nats-py and a nats-server, which the runner starts: every message has its broker on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import perf_counter
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.job import Arrivals, Job, report_trips

_SUBJECT, _BACK = "bench.there", "bench.back"
# Enough for everything that is on the way in one measurement: a slow consumer would lose messages.
_PENDING_BYTES = 2**31


def receive(job: Job) -> None:
    """Take messages."""

    async def go() -> None:
        client = await _connect(job)
        arrivals = Arrivals(job)

        async def take(message: Msg) -> None:
            arrivals.take(message.data)

        await client.subscribe(
            _SUBJECT, cb=take, pending_msgs_limit=-1, pending_bytes_limit=_PENDING_BYTES
        )
        await client.flush()
        job.ready()
        await asyncio.Event().wait()

    _run(go())


def send(job: Job) -> None:
    """Publish as fast as the client takes messages, and flush."""

    async def go() -> None:
        client = await _connect(job)
        payloads = job.payloads()
        mask = len(payloads) - 1
        job.wait()
        for place in range(job.share):
            await client.publish(_SUBJECT, payloads[place & mask])
        await client.flush(timeout=60)

    _run(go())


def echo(job: Job) -> None:
    """Give back what comes."""

    async def go() -> None:
        client = await _connect(job)

        async def take(message: Msg) -> None:
            await client.publish(_BACK, message.data)

        await client.subscribe(_SUBJECT, cb=take)
        await client.flush()
        job.ready()
        await asyncio.Event().wait()

    _run(go())


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""

    async def go() -> None:
        client = await _connect(job)
        answers = await client.subscribe(_BACK)
        await client.flush()
        payload = job.payloads()[0]
        job.wait()
        seconds = []
        for _ in range(job.count):
            began = perf_counter()
            await client.publish(_SUBJECT, payload)
            answer = await answers.next_msg(timeout=10)
            seconds.append(perf_counter() - began)
            assert answer.data == payload
        report_trips(job, seconds)

    _run(go())


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def _connect(job: Job) -> Client:
    return await nats.connect(f"nats://127.0.0.1:{job.port}")
