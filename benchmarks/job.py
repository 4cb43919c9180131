"""
What one process of a measurement has to do, and how it talks to the runner.

A process prints ``ready`` when it can be reached, waits for a line on its standard input where it
is to begin something, and prints its figures as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import perf_counter
from typing import NoReturn

import attrs

#: So many different messages are made beforehand and sent in turn.
CYCLE = 64

#: So many kinds are drawn from.
KINDS = 8

# Shorter ones of large messages, so that all systems work on the same few megabytes.
_CYCLE_LARGE = 16
_LARGE_BYTES = 64 * 1024


@attrs.frozen(kw_only=True)
class Job:
    """
    The task of one process.

    :param role: Function of the system's module.
    :param channel: ``unix``, ``tcp``, ``shm`` or ``mem``.
    :param path: Of a unix socket.
    :param port: The same for tcp, on 127.0.0.1.
    :param path_2: Where a relay gives to its receiver.
    :param port_2: The same for tcp.
    :param count: Messages, or round trips, that make the measurement; of all senders together.
    :param size: Bytes of each.
    :param senders: How many there are.
    :param index: Which of them this is.
    :param relayed: Whether a relay stands between.
    :param burst: Messages in one turn of a sender's loop.
    :param targets: How many receivers the process with them has.
    """

    role: str
    channel: str
    path: str
    port: int
    path_2: str
    port_2: int
    count: int
    size: int
    senders: int = 1
    index: int = 0
    relayed: bool = False
    burst: int = 0
    targets: int = 1

    @property
    def share(self) -> int:
        """Messages of one sender."""
        return self.count // self.senders

    def payloads(self) -> list[bytes]:
        """
        Make the messages that are sent in turn.

        :returns: As many as divide `CYCLE`; the first byte is the place among them, the second the
            sender's index.
        """
        cycle = CYCLE if self.size < _LARGE_BYTES else _CYCLE_LARGE
        rest = bytes(i * 131 % 251 for i in range(self.size - 2))
        return [bytes((place, self.index)) + rest for place in range(cycle)]

    @property
    def mask(self) -> int:
        """What a message's number is to be masked with to give its first byte."""
        return (CYCLE if self.size < _LARGE_BYTES else _CYCLE_LARGE) - 1

    def ready(self) -> None:
        """Say that this process can be reached."""
        print("ready", flush=True)

    def wait(self) -> None:
        """Say that this process is ready, and wait until all others are."""
        self.ready()
        sys.stdin.readline()

    def report(self, **figures: float) -> None:
        """Print the figures of this process."""
        print(json.dumps(figures | {"peak_bytes": peak_bytes()}), flush=True)


class Arrivals:
    """
    Check and time messages as they arrive at one place.

    :param job: Says how many there are, and what they look like.
    """

    def __init__(self, job: Job) -> None:
        self.done = False
        self._mask = job.mask
        self._size = job.size
        self._next = [0] * job.senders
        self._share = job.share
        self._watch = Watch(job)

    def take(self, payload: bytes) -> None:
        """Take one message; end the process when one is missing, doubled or not what was sent."""
        sender = payload[1]
        number = self._next[sender]
        if payload[0] != number & self._mask or len(payload) != self._size:
            fail(f"message {number} of sender {sender} is not what was sent")
        self._next[sender] = number + 1
        if not number or number + 1 == self._share:
            self.done = self._watch.look(sum(self._next))


class Spread:
    """
    Check and time the messages of one sender to many places in one process.

    :param job: Says how many there are, and what they look like.
    """

    def __init__(self, job: Job) -> None:
        self.done = False
        self._job = job
        self._count = 0
        self._watch = Watch(job)

    def taker(self, index: int) -> Callable[[bytes], None]:
        """Give what takes the messages of one place."""
        mask, size = self._job.mask, self._job.size
        last = self._job.count
        number = 0

        def take(payload: bytes) -> None:
            nonlocal number
            if payload[0] != number & mask or len(payload) != size:
                fail(f"message {number} of target {index} is not what was sent")
            number += 1
            self._count = count = self._count + 1
            if count in (1, last):
                self.done = self._watch.look(count)

        return take


class Watch:
    """
    Measure from the first message to the last, and report.

    :param job: Says how many there are.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._began = 0.0

    def look(self, count: int) -> bool:
        """Take note of the time when the first or the last message has come; tell which."""
        now = perf_counter()
        if count == 1:
            self._began = now
        if count < self._job.share * self._job.senders:
            return False
        self._job.report(value=(count - 1) / (now - self._began))
        return True


def draws(targets: int) -> list[tuple[int, int]]:
    """Draw targets and kinds, the same in each run."""
    dice = Random(1)
    return [(dice.randrange(targets), dice.randrange(KINDS)) for _ in range(4096)]


def fail(text: str) -> NoReturn:
    """End the process at once, from wherever this is called."""
    print(text, file=sys.stderr, flush=True)
    os._exit(1)


def report_trips(job: Job, seconds: list[float]) -> None:
    """
    Report round trips; the first tenth, which warms up, does not count.

    :param seconds: Of each trip, in order.
    """
    counted = sorted(seconds[len(seconds) // 10 :])
    p50 = counted[len(counted) // 2]
    p99 = counted[len(counted) * 99 // 100]
    job.report(p50=p50 * 1e6, p99=p99 * 1e6)


def peak_bytes() -> int:
    """Give the most memory that this process has had: since it was started, not since its fork."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
