"""pynng: push and pull sockets, pairs for round trips, calls that block."""

from __future__ import annotations

import threading
from time import perf_counter

import pynng

from benchmarks.job import Arrivals, Job, report_trips


def receive(job: Job) -> None:
    """Take messages."""
    with pynng.Pull0(listen=_first(job)) as pull:
        job.ready()
        arrivals = Arrivals(job)
        take, recv = arrivals.take, pull.recv
        for _ in range(job.share * job.senders):
            take(recv())


def send(job: Job) -> None:
    """Send as fast as the socket takes messages."""
    with pynng.Push0(dial=_first(job), block_on_dial=True) as push:
        payloads = job.payloads()
        mask = len(payloads) - 1
        job.wait()
        for place in range(job.share):
            push.send(payloads[place & mask])
        # A socket that closes may lose what it has taken; the runner ends the process.
        threading.Event().wait()


def echo(job: Job) -> None:
    """Give back what comes."""
    with pynng.Pair0(listen=_first(job)) as pair:
        job.ready()
        while True:
            pair.send(pair.recv())


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""
    with pynng.Pair0(dial=_first(job), block_on_dial=True) as pair:
        payload = job.payloads()[0]
        job.wait()
        seconds = []
        for _ in range(job.count):
            began = perf_counter()
            pair.send(payload)
            answer = pair.recv()
            seconds.append(perf_counter() - began)
            assert answer == payload
        report_trips(job, seconds)


def _first(job: Job) -> str:
    return f"tcp://127.0.0.1:{job.port}" if job.channel == "tcp" else f"ipc://{job.path}"
