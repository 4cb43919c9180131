"""asyncio streams: frames of four bytes of length and the message; ``drain`` holds the sender."""

from __future__ import annotations

import asyncio
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

from benchmarks.job import Arrivals, Job, report_trips

_LENGTH = struct.Struct("<I")

#: How a coroutine is run; the variant on uvloop puts another one here.
run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run


def receive(job: Job) -> None:
    """Take messages."""
    arrivals = Arrivals(job)

    async def serve(reader: StreamReader, _writer: StreamWriter) -> None:
        try:
            while True:
                arrivals.take(await _read(reader))
        except asyncio.IncompleteReadError:
            pass

    if job.relayed:

        async def dial() -> None:
            reader, writer = await _dial(job, second=True)
            job.ready()
            await serve(reader, writer)

        run(dial())
    else:
        run(_listen(job, serve))


def send(job: Job) -> None:
    """Send as fast as the stream takes messages."""

    async def go() -> None:
        _, writer = await _dial(job)
        payloads = job.payloads()
        mask = len(payloads) - 1
        job.wait()
        for place in range(job.share):
            _write(writer, payloads[place & mask])
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    run(go())


def relay(job: Job) -> None:
    """Stand between."""

    async def go() -> None:
        receiver: asyncio.Future[StreamWriter] = asyncio.get_running_loop().create_future()

        async def from_sender(reader: StreamReader, _writer: StreamWriter) -> None:
            to = await receiver
            try:
                while True:
                    _write(to, await _read(reader))
                    await to.drain()
            except asyncio.IncompleteReadError:
                pass

        async def to_receiver(_reader: StreamReader, writer: StreamWriter) -> None:
            receiver.set_result(writer)

        await asyncio.gather(
            _listen(job, to_receiver, second=True, quiet=True), _listen(job, from_sender)
        )

    run(go())


def echo(job: Job) -> None:
    """Give back what comes."""

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while True:
                _write(writer, await _read(reader))
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass

    run(_listen(job, serve))


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""

    async def go() -> None:
        reader, writer = await _dial(job)
        payload = job.payloads()[0]
        job.wait()
        seconds = []
        for _ in range(job.count):
            began = perf_counter()
            _write(writer, payload)
            await writer.drain()
            answer = await _read(reader)
            seconds.append(perf_counter() - began)
            assert answer == payload
        report_trips(job, seconds)

    run(go())


async def _read(reader: StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(4))
    return await reader.readexactly(length)


def _write(writer: StreamWriter, payload: bytes) -> None:
    writer.write(_LENGTH.pack(len(payload)))
    writer.write(payload)


async def _listen(
    job: Job,
    serve: Callable[[StreamReader, StreamWriter], Coroutine[Any, Any, None]],
    *,
    second: bool = False,
    quiet: bool = False,
) -> None:
    if job.channel == "unix":
        server = await asyncio.start_unix_server(serve, job.path_2 if second else job.path)
    else:
        port = job.port_2 if second else job.port
        server = await asyncio.start_server(serve, "127.0.0.1", port)
    if not quiet:
        job.ready()
    await server.serve_forever()


async def _dial(job: Job, *, second: bool = False) -> tuple[StreamReader, StreamWriter]:
    if job.channel == "unix":
        return await asyncio.open_unix_connection(job.path_2 if second else job.path)
    return await asyncio.open_connection("127.0.0.1", job.port_2 if second else job.port)
