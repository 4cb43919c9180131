"""pyzmq: PUSH and PULL, sockets with their defaults; the relay is ``zmq.proxy``."""

from __future__ import annotations

import asyncio
import threading
from time import perf_counter
from typing import Any

import zmq

from benchmarks.job import Arrivals, Job, Spread, draws, report_trips

# From here on the documentation advises to let ZeroMQ refer to a message instead of copying it.
_COPY_MAX = 64 * 1024
_HERE = "inproc://bench"
# Less than the high-water mark of a socket: nobody else would take what has no room.
_TURN = 500


def receive(job: Job) -> None:
    """Take messages."""
    pull = zmq.Context().socket(zmq.PULL)
    if job.relayed:
        pull.connect(_second(job))
    else:
        pull.bind(_first(job))
    job.ready()
    arrivals = Arrivals(job)
    take, recv = arrivals.take, pull.recv
    for _ in range(job.share * job.senders):
        take(recv())


def receive_here(job: Job) -> None:
    """Take messages of another thread of this process."""
    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.bind(_HERE)

    def feed() -> None:
        push = context.socket(zmq.PUSH)
        push.connect(_HERE)
        payloads = job.payloads()
        mask = len(payloads) - 1
        job.wait()
        offer = push.send
        for place in range(job.share):
            offer(payloads[place & mask])
        _stay()

    threading.Thread(target=feed, daemon=True).start()
    arrivals = Arrivals(job)
    take, recv = arrivals.take, pull.recv
    for _ in range(job.share):
        take(recv())


def receive_in_turns(job: Job) -> None:
    """Send and take messages in turns, in one thread, as two parts of a program on one loop do."""
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind(_HERE)
    push.connect(_HERE)
    payloads = job.payloads()
    mask = len(payloads) - 1
    arrivals = Arrivals(job)
    take, recv, offer = arrivals.take, pull.recv, push.send
    place = 0
    job.wait()
    while not arrivals.done:
        count = min(_TURN, job.share - place)
        for _ in range(count):
            offer(payloads[place & mask])
            place += 1
        for _ in range(count):
            take(recv())


def send(job: Job) -> None:
    """Send as fast as the socket takes messages: it blocks at its high-water mark."""
    push = zmq.Context().socket(zmq.PUSH)
    push.connect(_first(job))
    payloads = job.payloads()
    mask = len(payloads) - 1
    job.wait()
    offer = push.send
    if job.size < _COPY_MAX:
        for place in range(job.share):
            offer(payloads[place & mask])
    else:
        for place in range(job.share):
            offer(payloads[place & mask], copy=False)
    _stay()


def relay(job: Job) -> None:
    """Stand between, in C."""
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind(_first(job))
    push.bind(_second(job))
    job.ready()
    zmq.proxy(pull, push)


def relay_in_python(job: Job) -> None:
    """Stand between, as a program does that looks at each message."""
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind(_first(job))
    push.bind(_second(job))
    job.ready()
    while True:
        push.send(pull.recv())


def echo(job: Job) -> None:
    """Give back what comes."""
    context = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.bind(_first(job))
    push.bind(_second(job))
    job.ready()
    while True:
        push.send(pull.recv())


def ping(job: Job) -> None:
    """Send the next message when the one before has come back."""
    context = zmq.Context()
    push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    push.connect(_first(job))
    pull.connect(_second(job))
    payload = job.payloads()[0]
    job.wait()
    seconds = []
    for _ in range(job.count):
        began = perf_counter()
        push.send(payload)
        answer = pull.recv()
        seconds.append(perf_counter() - began)
        assert answer == payload
    report_trips(job, seconds)


def receive_many(job: Job) -> None:
    """Poll many sockets, and take from each what is there."""
    context = zmq.Context()
    spread = Spread(job)
    poller = zmq.Poller()
    takers = {}
    for index in range(job.targets):
        pull = context.socket(zmq.PULL)
        pull.bind(_target(job, index))
        poller.register(pull, zmq.POLLIN)
        takers[pull] = spread.taker(index)
    job.ready()
    while not spread.done:
        for pull, _ in poller.poll():
            take = takers[pull]
            try:
                while True:
                    take(pull.recv(zmq.NOBLOCK))
            except zmq.Again:
                pass


def send_many(job: Job) -> None:
    """Send to targets drawn at random from an event loop, *burst* messages in each turn."""
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
            loop.call_later(0.001, go)
            return
        if place < job.count:
            loop.call_soon(go)

    loop = asyncio.new_event_loop()
    loop.call_soon(go)
    loop.run_forever()


def send_many_free(job: Job) -> None:
    """The same without an event loop: ZeroMQ's own thread gathers what the next call adds."""
    sockets = sockets_of(job, zmq.Context.instance())
    payloads, order = job.payloads(), draws(job.targets)
    mask = len(payloads) - 1
    sent = [0] * job.targets
    job.wait()
    for place in range(job.count):
        target, _kind = order[place % len(order)]
        sockets[target].send(payloads[sent[target] & mask])
        sent[target] += 1
    _stay()


def _stay() -> None:
    # A receiver at its high-water mark was seen to lose the end of what a sender had sent that
    # closed its socket and waited for its context to end. The runner ends the process.
    threading.Event().wait()


def sockets_of(job: Job, context: Any) -> list[Any]:
    """
    Connect to all targets.

    :param context: Whose sockets these are, of whichever kind.
    """
    sockets = []
    for index in range(job.targets):
        push = context.socket(zmq.PUSH)
        push.connect(_target(job, index))
        sockets.append(push)
    return sockets


def _first(job: Job) -> str:
    return f"ipc://{job.path}" if job.channel == "unix" else f"tcp://127.0.0.1:{job.port}"


def _second(job: Job) -> str:
    return f"ipc://{job.path_2}" if job.channel == "unix" else f"tcp://127.0.0.1:{job.port_2}"


def _target(job: Job, index: int) -> str:
    # Ports in a row from the first: the runner takes care that they are free.
    if job.channel == "unix":
        return f"ipc://{job.path}.{index}"
    return f"tcp://127.0.0.1:{job.port + index}"
