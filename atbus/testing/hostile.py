"""
Hostile inputs for everything that reads what others send, and what comes of them.

An input is a damaged frame or a damaged recorded stream (`atbus.testing.mutation`), cut into chunks
and taken by `FrameBuffer`; every frame that comes out is peeked at, decoded, taken apart as a run,
patched and traced as a relay would. Others are of another kind: clients of the NATS gateway
(`atbus.testing.nats_fuzz`), leafs (`atbus.testing.leaf_fuzz`), members of a cluster of it
(`atbus.testing.route_fuzz`), texts and values (`atbus.testing.text_fuzz`), lanes of shared memory
(`atbus.testing.lane_fuzz`), neighbors that tell of services (`atbus.testing.service_fuzz`) and
connections over TLS (`atbus.testing.tls_fuzz`).

What is asserted:

* nothing is raised but `RemoteProtocolError`, or what the reader of a text refuses by;
* no input takes longer than `SECONDS_MAX` of processor time, and none is endless;
* sampled inputs allocate no more than a small multiple of their size;
* sampled inputs are read alike by codec and schema, and what was read can be written again.
"""

from __future__ import annotations

import gc
import signal
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Final

import attrs

from atbus import limits
from atbus.errors import LocalProtocolError, RemoteProtocolError
from atbus.testing.examples import example_messages
from atbus.testing.lane_fuzz import hostile_lane
from atbus.testing.leaf_fuzz import hostile_leaf, take_leaf
from atbus.testing.mutation import chunks, mutate, mutate_stream
from atbus.testing.nats_fuzz import hostile_client, take
from atbus.testing.route_fuzz import hostile_member, take_member
from atbus.testing.service_fuzz import hostile_neighbor
from atbus.testing.text_fuzz import hostile_text, read_hostile
from atbus.testing.tls_fuzz import hostile_connection
from atbus.wire import codec, schema
from atbus.wire.extras import append_trace
from atbus.wire.framing import FrameBuffer
from atbus.wire.messages import Message, MessageType, Unknown

SECONDS_MAX: Final = 0.05
"""
Of processor time for one input; the collector of garbage is off meanwhile. None is meant to cost
10 ms, and none does on a processor of its own. What others on the same core do to its caches counts
as time of the input as well, so only five times as much is certainly the input's fault.
"""

ENDLESS_SECONDS: Final = 30.0
"""Of processor time for a whole batch; the input that is being read then is called endless."""

BATCH: Final = 2_000
"""Inputs that are made from one state of the lot; a batch can be tried again alone."""

_STREAM_SHARE: Final = 0.1
_SAMPLE: Final = 20
_ALLOCATED_FACTOR: Final = 64
_ALLOCATED_BYTES: Final = 256 * 1024

# A registration, traffic both ways and a clean end, as one side hears it.
_SESSION: Final = (
    MessageType.HELLO,
    MessageType.REGISTER_REQUEST,
    MessageType.REGISTER_RESPONSE,
    MessageType.SUBSCRIBE_REQUEST,
    MessageType.ROUTE_BATCH,
    MessageType.DATA,
    MessageType.PING,
    MessageType.PUBLISH,
    MessageType.GOODBYE,
    MessageType.GOODBYE_ACK,
)


@attrs.frozen
class Failure:
    """
    What must not happen.

    :param batch: In which batch.
    :param number: Which input of it.
    :param text: What it was, with the input in hexadecimal.
    """

    batch: int
    number: int
    text: str


@attrs.define
class Findings:
    """
    What came of some inputs.

    :param inputs: How many there were.
    :param frames: How many frames were cut out of them.
    :param outcomes: How often a frame was read as what, or refused with which status.
    :param slowest_seconds: Processor time of the slowest input.
    :param failures: What must not happen.
    """

    inputs: int = 0
    frames: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    slowest_seconds: float = 0.0
    failures: list[Failure] = attrs.field(factory=list)

    def add(self, other: Findings) -> None:
        """
        Add what came of other inputs.

        :param other: Their findings.
        """
        self.inputs += other.inputs
        self.frames += other.frames
        self.outcomes += other.outcomes
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)
        self.failures += other.failures


@attrs.frozen
class Hostile:
    """
    One input.

    :param name: What reads it; empty for frames.
    :param said: Its bytes, or what says how it was made.
    :param take: Has it read; gives what is counted, one name for each thing that was read.
    """

    name: str
    said: bytes
    take: Callable[[Findings], object]


def run_batch(seed: int, batch: int, count: int) -> Findings:
    """
    Try one batch of inputs.

    :param seed: Of the whole run.
    :param batch: Which batch.
    :param count: How many inputs.
    :returns: What came of them.
    """
    random = Random(f"{seed}/{batch}")
    frames = {
        message_type: codec.encode(message, batch & 0xFF, 1)
        for message_type, message in example_messages().items()
    }
    session = [frames[message_type] for message_type in _SESSION]
    corpus = list(frames.values())
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
                sampled = number % _SAMPLE == 0
                hostile = _frames(random, session, corpus, sampled=sampled)
            text = _try(findings, hostile)
            if text:
                findings.failures.append(Failure(batch, number, text))
    return findings


def _try(findings: Findings, hostile: Hostile) -> str:
    """
    Try one input.

    :param findings: Gets what came of it.
    :param hostile: The input.
    :returns: What must not happen and did; empty for nothing.
    """
    findings.inputs += 1
    # Of this thread: the clock of the process is coarse while a timer of it runs.
    began = time.thread_time()
    try:
        then = hostile.take(findings)
        took = time.thread_time() - began
        findings.slowest_seconds = max(findings.slowest_seconds, took)
        if took > SECONDS_MAX:
            raise AssertionError(f"{took:.3f} s of processor time")
        if callable(then):
            then()
    except Exception as error:  # noqa: BLE001 - finding any of them is what this is for
        what = f"{hostile.name}: " if hostile.name else ""
        return f"{what}{type(error).__name__}: {error} from {hostile.said.hex()}"
    return ""


# The kinds of input.


def _frames(
    random: Random, session: Sequence[bytes], corpus: Sequence[bytes], *, sampled: bool
) -> Hostile:
    """
    Make a damaged frame, or a damaged stream of them.

    :param session: Frames that follow each other.
    :param corpus: Frames of all types.
    :param sampled: Whether the expensive questions are asked as well.
    """
    if random.random() < _STREAM_SHARE:
        start = random.randrange(len(session) - 3)
        stream = mutate_stream(random, session[start : start + 4], corpus)
    else:
        stream = mutate(random, random.choice(corpus), corpus)
    pieces = chunks(random, stream)

    def ask(frames: Sequence[bytes]) -> None:
        _check_memory(pieces, len(stream))
        for frame in frames:
            _check_readers(frame)

    def take_frames(findings: Findings) -> Callable[[], None] | None:
        frames = read_stream(pieces, findings)
        return (lambda: ask(frames)) if sampled else None

    return Hostile("", stream, take_frames)


def _counted(name: str, said: bytes, read: Callable[[], str]) -> Hostile:
    def take_one(findings: Findings) -> None:
        findings.outcomes[read()] += 1

    return Hostile(name, said, take_one)


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


def _text(random: Random) -> Hostile:
    reader, said = hostile_text(random)
    return _counted(reader.name, said, lambda: read_hostile(reader, said))


def _lane(random: Random) -> Hostile:
    return _counted("lane", *hostile_lane(random))


def _neighbor(random: Random) -> Hostile:
    return _counted("services", *hostile_neighbor(random))


def _connection(random: Random) -> Hostile:
    return _counted("tls", *hostile_connection(random))


_OTHERS: Final[tuple[tuple[float, Callable[[Random], Hostile]], ...]] = (
    (0.1, _client),
    (0.05, _leaf),
    (0.05, _member),
    (0.1, _text),
    (0.02, _lane),
    (0.005, _neighbor),
    (0.002, _connection),
)
"""What is no frame, and how often it is tried."""


def read_stream(pieces: Sequence[bytes], findings: Findings) -> list[bytes]:
    """
    Take a stream as a node does, and note what its frames are.

    :param pieces: The chunks.
    :param findings: Gets the counts.
    :returns: The frames that were cut out.
    """
    buffer = FrameBuffer(limits.FRAME_BYTES)
    frames: list[bytes] = []
    try:
        for piece in pieces:
            frames += buffer.feed(piece)
        buffer.feed(b"")
    except RemoteProtocolError as error:
        findings.outcomes[f"stream {error.status.name}"] += 1
    findings.frames += len(frames)
    for frame in frames:
        try:
            message = codec.decode(frame)
            findings.outcomes["skipped" if isinstance(message, Unknown) else "read"] += 1
        except RemoteProtocolError as error:
            findings.outcomes[error.status.name] += 1
        _relay(frame)
    return frames


def _relay(frame: bytes) -> None:
    """
    Do what a node does with frames that it does not decode.

    :param frame: A frame of the right length.
    """
    codec.patch(frame, hop_limit=1, frame_number=2, ack=3)
    for look in (codec.iter_run, lambda traced: append_trace(traced, 1)):
        try:
            look(frame)
        except RemoteProtocolError:
            continue


def _check_memory(pieces: Sequence[bytes], size: int) -> None:
    tracemalloc.start()
    try:
        read_stream(pieces, Findings())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > _ALLOCATED_FACTOR * size + _ALLOCATED_BYTES:
        raise AssertionError(f"{peak} bytes allocated for {size}")


def _check_readers(frame: bytes) -> None:
    fast, normative = _outcome(codec.decode, frame), _outcome(schema.parse, frame)
    if fast != normative:
        raise AssertionError(f"codec reads {fast!r}, schema {normative!r}")
    if isinstance(fast, Message) and not isinstance(fast, Unknown):
        try:
            again = codec.decode(codec.encode(fast))
        except LocalProtocolError as error:
            raise AssertionError(f"read and not writable: {error}") from error
        if again != fast:
            raise AssertionError(f"{fast!r} comes back as {again!r}")


def _outcome(read: object, frame: bytes) -> object:
    try:
        return read(frame)  # type: ignore[operator]  # either of the two readers
    except RemoteProtocolError as error:
        return error.status


@contextmanager
def _without_collector() -> Iterator[None]:
    # A collection in the middle of an input would be counted as its time.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


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
