"""
multiprocessing: a pipe and a queue, whose two ends are this process and one that it starts itself.

The role of the other end has nothing to do but to be there.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.job import Arrivals, Job, report_trips

# What is put into a queue waits in the sender's memory: so many messages, then it blocks.
_QUEUE = 1000
_DEATH_SIGNAL = 1

_fork = multiprocessing.get_context("fork")


def stand_by(job: Job) -> None:
    """Be there: what this role would do the other one's own process does."""
    job.wait()
    threading.Event().wait()


def receive_from_pipe(job: Job) -> None:
    """Take messages out of a pipe."""
    here, there = _fork.Pipe()
    payloads = job.payloads()
    _start(lambda: _put_all(job, payloads, there.send_bytes, there.recv_bytes))
    _take_all(job, here.recv_bytes, lambda: here.send_bytes(b"go"))


def receive_from_queue(job: Job) -> None:
    """Take messages out of a queue."""
    messages, orders = _fork.Queue(_QUEUE), _fork.Queue()
    payloads = job.payloads()
    _start(lambda: _put_all(job, payloads, messages.put, orders.get))
    _take_all(job, messages.get, lambda: orders.put(b"go"))


def ping_through_pipe(job: Job) -> None:
    """Send the next message when the one before has come back."""
    here, there = _fork.Pipe()
    _start(lambda: _give_back(there.recv_bytes, there.send_bytes))
    _ping(job, here.send_bytes, here.recv_bytes)


def ping_through_queue(job: Job) -> None:
    """Send the next message when the one before has come back."""
    forth, back = _fork.Queue(), _fork.Queue()
    _start(lambda: _give_back(forth.get, back.put))
    _ping(job, forth.put, back.get)


def _start(work: Callable[[], None]) -> None:
    def live() -> None:
        # The runner kills the process that has started this one.
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
        work()

    _fork.Process(target=live, daemon=True).start()


def _take_all(job: Job, take: Callable[[], bytes], go: Callable[[], None]) -> None:
    job.wait()
    go()
    arrivals = Arrivals(job)
    for _ in range(job.share):
        arrivals.take(take())


def _put_all(
    job: Job, payloads: list[bytes], put: Callable[[bytes], Any], ordered: Callable[[], bytes]
) -> None:
    mask = len(payloads) - 1
    ordered()
    for place in range(job.share):
        put(payloads[place & mask])
    threading.Event().wait()


def _give_back(take: Callable[[], bytes], put: Callable[[bytes], Any]) -> None:
    while True:
        put(take())


def _ping(job: Job, put: Callable[[bytes], Any], take: Callable[[], bytes]) -> None:
    payload = job.payloads()[0]
    job.wait()
    seconds = []
    for _ in range(job.count):
        began = perf_counter()
        put(payload)
        answer = take()
        seconds.append(perf_counter() - began)
        assert answer == payload
    report_trips(job, seconds)
