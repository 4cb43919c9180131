"""
Hostile inputs for everything that reads what others send, and what comes of them.

Each kind of input has a module of its own, which makes it from what its reader expects, damages it,
has it read and asserts what belongs to that kind: frames (`atbus.testing.frame_fuzz`), texts and
values (`atbus.testing.text_fuzz`), registrations (`atbus.testing.handshake_fuzz`), registered
neighbors of a whole node (`atbus.testing.neighbor_fuzz`), clients of the NATS gateway
(`atbus.testing.nats_fuzz`), leafs (`atbus.testing.leaf_fuzz`), members of a cluster of it
(`atbus.testing.route_fuzz`), those of them who wait to be let in (`atbus.testing.doorstep_fuzz`),
browsers (`atbus.testing.web_fuzz`), lanes of shared memory (`atbus.testing.lane_fuzz`), neighbors
that tell of services (`atbus.testing.service_fuzz`), ends of streams (`atbus.testing.stream_fuzz`)
and connections over TLS (`atbus.testing.tls_fuzz`).

What is asserted of all:

* nothing is raised but `RemoteProtocolError`, or what the reader of a text refuses by;
* no input takes longer than `SECONDS_MAX` of processor time at a time, and none is endless;
* sampled inputs allocate no more than `MEMORY_BYTES`, frames a small multiple of their size;
* sampled frames are read alike by codec and schema, and what was read can be written again.

An input that was worth a thought is kept as a line, its kind and its bytes in hexadecimal, and
`read_again` reads it again. Of what is drawn rather than said, the bytes are the number it is drawn
from.
"""

from __future__ import annotations

import gc
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Final

import attrs

from atbus.testing.doorstep_fuzz import take_waiting
from atbus.testing.findings import Failure, Findings
from atbus.testing.frame_fuzz import Frames, check_memory, check_readers, read_stream
from atbus.testing.handshake_fuzz import hostile_stranger
from atbus.testing.lane_fuzz import hostile_lane
from atbus.testing.leaf_fuzz import hostile_leaf, take_leaf
from atbus.testing.mutation import chunks
from atbus.testing.nats_fuzz import hostile_client, take
from atbus.testing.neighbor_fuzz import hostile_registered
from atbus.testing.route_fuzz import hostile_member, take_member
from atbus.testing.service_fuzz import hostile_neighbor
from atbus.testing.stream_fuzz import hostile_end
from atbus.testing.text_fuzz import hostile_text, read_hostile
from atbus.testing.text_readers import READERS
from atbus.testing.tls_fuzz import hostile_connection
from atbus.testing.web_fuzz import hostile_browser, longest_turn, take_browser

SECONDS_MAX: Final = 0.01
"""
Of processor time for one input; the collector of garbage is off meanwhile. What others on the same
core do to its caches counts as time of the input as well, so an input that takes longer is read
again, up to `TRIES` times, and counts as slow when it is slow each time.
"""

TRIES: Final = 8
"""How often an input that seems slow is read."""

MEMORY_BYTES: Final = 1 << 20
"""
What one input may take of memory at a time, beside itself and whoever reads it. It is that of
Python: what libraries in C take for themselves, as OpenSSL does, is not seen.
"""

ENDLESS_SECONDS: Final = 30.0
"""Of processor time for a whole batch; the input that is being read then is called endless."""

BATCH: Final = 2_000
"""Inputs that are made from one state of the lot; a batch can be tried again alone."""

_SAMPLE: Final = 20
_EMPTY_LINE: Final = b"\r\n\r\n"


@attrs.frozen
class Hostile:
    """
    One input.

    :param name: Of what it is.
    :param said: Its bytes, or the number that it is drawn from.
    :param take: Has it read, and counts; gives what is to be asked afterwards.
    :param parts: How many inputs it is: a conversation is as many as are heard one by one.
    :param longest: Tells of the seconds that it took those of the longest turn, where the reader
        gives others theirs in between; None: it does not.
    """

    name: str
    said: bytes
    take: Callable[[Findings], Callable[[], None] | None]
    parts: int = 1
    longest: Callable[[float], float] | None = None

    @property
    def kept(self) -> str:
        """The input as a line of a corpus."""
        return f"{self.name} {self.said.hex()}"


def run_batch(seed: int, batch: int, count: int) -> Findings:
    """
    Try one batch of inputs.

    :param seed: Of the whole run.
    :param batch: Which batch.
    :param count: How many inputs.
    :returns: What came of them.
    """
    random = Random(f"{seed}/{batch}")
    frames = Frames(batch & 0xFF)
    findings = Findings()
    with _without_collector(), _watched():
        for number in range(count):
            draw = random.random()
            for share, make in _OTHERS:
                draw -= share
                if draw < 0:
                    hostile = make(random)
                    break
            else:
                hostile = _frame(*frames.hostile(random), sampled=number % _SAMPLE == 0)
            text = _try(findings, hostile, sampled=number % _SAMPLE == 0)
            if text:
                findings.failures.append(Failure(batch, number, text, hostile.kept))
    return findings


def _try(findings: Findings, hostile: Hostile, *, sampled: bool = True) -> str:
    """
    Try one input.

    :param findings: Gets what came of it.
    :param hostile: The input.
    :param sampled: Whether it is looked at what it takes of memory, which takes its time.
    :returns: What must not happen and did; empty for nothing.
    """
    findings.inputs += 1
    try:
        took, then = _timed(hostile, findings)
        for _ in range(TRIES - 1):
            if took <= SECONDS_MAX:
                break
            took = min(took, _timed(hostile, Findings())[0])
        findings.slowest_seconds = max(findings.slowest_seconds, took)
        if took > SECONDS_MAX:
            raise AssertionError(f"{took:.3f} s of processor time")
        if sampled:
            taken = _memory_of(hostile)
            if taken > MEMORY_BYTES:
                # A table of the interpreter, as that of all names, grows once in a while.
                taken = min(taken, _memory_of(hostile))
            findings.hungriest_bytes = max(findings.hungriest_bytes, taken)
            if taken > MEMORY_BYTES:
                raise AssertionError(f"{taken} bytes allocated for {len(hostile.said)}")
        if then is not None:
            then()
    except Exception as error:  # noqa: BLE001 - finding any of them is what this is for
        return f"{type(error).__name__}: {error}"
    return ""


def _timed(hostile: Hostile, findings: Findings) -> tuple[float, Callable[[], None] | None]:
    # Of this thread: the clock of the process is coarse while a timer of it runs.
    began = time.thread_time()
    then = hostile.take(findings)
    took = (time.thread_time() - began) / hostile.parts
    return took if hostile.longest is None else hostile.longest(took), then


def _memory_of(hostile: Hostile) -> int:
    """Read an input once more; give the most that it took of memory at a time, bytes."""
    tracemalloc.start()
    try:
        hostile.take(Findings())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# The kinds of input.


def _frame(stream: bytes, pieces: list[bytes], *, sampled: bool) -> Hostile:
    """
    Have a stream of frames read.

    :param sampled: Whether the expensive questions are asked as well.
    """

    def ask(frames: list[bytes]) -> None:
        check_memory(pieces)
        for frame in frames:
            check_readers(frame)

    def take_frames(findings: Findings) -> Callable[[], None] | None:
        frames = read_stream(pieces, findings)
        return partial(ask, frames) if sampled else None

    return Hostile("frame", stream, take_frames)


def _counted(name: str, said: bytes, read: Callable[[], str], parts: int = 1) -> Hostile:
    def take_one(findings: Findings) -> None:
        findings.outcomes[read()] += 1

    return Hostile(name, said, take_one, parts)


def _client(random: Random) -> Hostile:
    said = hostile_client(random)
    pieces, needs_login = chunks(random, said), random.random() < 0.5
    return _counted("client", said, lambda: take(pieces, needs_login=needs_login))


def _leaf(random: Random) -> Hostile:
    said = hostile_leaf(random)
    pieces, is_hub = chunks(random, said), random.random() < 0.5
    return _counted("leaf", said, lambda: take_leaf(pieces, is_hub=is_hub))


def _member(random: Random) -> Hostile:
    said = hostile_member(random)
    pieces, dials = chunks(random, said), random.random() < 0.5
    return _counted("route", said, lambda: take_member(pieces, dials=dials))


def _waiting(random: Random) -> Hostile:
    said = hostile_member(random)
    pieces, is_let_in = chunks(random, said), random.random() < 0.9
    return _counted("doorstep", said, lambda: take_waiting(pieces, is_let_in=is_let_in))


def _text(random: Random) -> Hostile:
    reader, said = hostile_text(random)
    return _counted(reader.name, said, lambda: read_hostile(reader, said))


def _browser(random: Random) -> Hostile:
    said, read = hostile_browser(random)
    return attrs.evolve(_counted("browser", said, read), longest=longest_turn)


_DRAWN: Final[dict[str, tuple[int, Callable[[Random], tuple[bytes, Callable[[], str]]]]]] = {
    "lane": (1, hostile_lane),
    "services": (1, hostile_neighbor),
    "stream": (10, hostile_end),
    "handshake": (4, hostile_stranger),
    "neighbor": (6, hostile_registered),
    "tls": (4, hostile_connection),
}
"""
Inputs that are more than bytes, how many are heard one by one, and who makes them. They are kept as
the number that they are drawn from.
"""


def _drawn(name: str, number: int) -> Hostile:
    parts, make = _DRAWN[name]
    _, read = make(Random(number))
    return _counted(name, b"%d" % number, read, parts)


def _draws(name: str) -> Callable[[Random], Hostile]:
    return lambda random: _drawn(name, random.randrange(1 << 32))


_OTHERS: Final[tuple[tuple[float, Callable[[Random], Hostile]], ...]] = (
    (0.1, _client),
    (0.05, _leaf),
    (0.05, _member),
    (0.01, _waiting),
    (0.1, _text),
    (0.02, _draws("lane")),
    (0.01, _browser),
    (0.005, _draws("services")),
    (0.005, _draws("stream")),
    (0.004, _draws("handshake")),
    (0.0005, _draws("neighbor")),
    (0.001, _draws("tls")),
)
"""What is no frame, and how often it is tried."""


def _each_way(read: Callable[[list[bytes], bool], str]) -> Callable[[bytes], object]:
    """Read what is kept as a whole, cut behind an empty line, and byte by byte, at either door."""

    def reads(said: bytes) -> list[str]:
        place = said.find(_EMPTY_LINE) + len(_EMPTY_LINE)
        cuts = [said], [said[:place], said[place:]], [bytes([byte]) for byte in said]
        return [read(pieces, door) for pieces in cuts for door in (False, True)]

    return reads


# What is said in bytes.
_SAID: Final[dict[str, Callable[[bytes], object]]] = {
    "client": _each_way(lambda pieces, door: take(pieces, needs_login=door)),
    "leaf": _each_way(lambda pieces, door: take_leaf(pieces, is_hub=door)),
    "route": _each_way(lambda pieces, door: take_member(pieces, dials=door)),
    "doorstep": _each_way(lambda pieces, door: take_waiting(pieces, is_let_in=door)),
    "browser": _each_way(lambda pieces, door: take_browser(pieces, upgrades=door)),
    **{each.name: partial(read_hostile, each) for each in READERS},
}


def read_again(name: str, said: bytes) -> str:
    """
    Read an input again that was kept.

    :param name: Its kind.
    :param said: Its bytes, or the number that it is drawn from.
    :returns: What must not happen and did; empty for nothing.
    :raises KeyError: There is no such kind.
    """
    if name == "frame":
        hostile = _frame(said, [said], sampled=True)
    elif name in _DRAWN:
        hostile = _drawn(name, int(said))
    else:
        reads = _SAID[name]
        hostile = _counted(name, said, lambda: str(reads(said)), max(1, len(said)))
    with _watched():
        return _try(Findings(), hostile)


@contextmanager
def _without_collector() -> Iterator[None]:
    # A collection in the middle of an input would be counted as its time.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        # Whatever the batch has left is young: to look at all else as well would take longer.
        gc.collect(0)


@contextmanager
def _watched() -> Iterator[None]:
    """Have whatever is read when too much time has gone by end with an error."""

    def give_up(_signal: int, _frame: object) -> None:
        raise AssertionError(f"no end within {ENDLESS_SECONDS:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS_SECONDS, ENDLESS_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
