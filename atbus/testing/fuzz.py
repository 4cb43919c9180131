"""
Feed hostile bytes to everything that reads frames: ``python -m atbus.testing.fuzz``.

An input is a damaged frame or a damaged recorded stream (`atbus.testing.mutation`), cut into chunks
and taken by `FrameBuffer`; every frame that comes out is peeked at, decoded, taken apart as a run,
patched and traced as a relay would. Some inputs are clients of the NATS gateway instead
(`atbus.testing.nats_fuzz`), or texts and values of another kind (`atbus.testing.text_fuzz`). What
is asserted:

* nothing is raised but `RemoteProtocolError`, or what the reader of a text refuses by;
* no input takes longer than `SECONDS_MAX` of processor time;
* sampled inputs allocate no more than a small multiple of their size;
* sampled inputs are read alike by codec and schema, and what was read can be written again.

The last line printed is the summary; the exit status is 1 when anything failed. Inputs depend on
``--seed`` and their batch only, so a failure can be repeated, on any number of processes.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import Final

import attrs

from atbus import limits
from atbus.errors import LocalProtocolError, RemoteProtocolError
from atbus.testing.examples import example_messages
from atbus.testing.mutation import chunks, mutate, mutate_stream
from atbus.testing.nats_fuzz import hostile_client, take
from atbus.testing.text_fuzz import hostile_text, read_hostile
from atbus.wire import codec, schema
from atbus.wire.extras import append_trace
from atbus.wire.framing import FrameBuffer
from atbus.wire.messages import Message, MessageType, Unknown

SECONDS_MAX: Final = 0.05
"""Of processor time for one input; the collector of garbage is off meanwhile."""

BATCH: Final = 2_000
_STREAM_SHARE: Final = 0.1
_CLIENT_SHARE: Final = 0.1
_TEXT_SHARE: Final = 0.1
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


@attrs.define
class Findings:
    """
    What came of some inputs.

    :param inputs: How many there were.
    :param frames: How many frames were cut out of them.
    :param outcomes: How often a frame was read as what, or refused with which status.
    :param slowest_seconds: Processor time of the slowest input.
    :param failures: What must not happen, each with the input in hexadecimal.
    """

    inputs: int = 0
    frames: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    slowest_seconds: float = 0.0
    failures: list[str] = attrs.field(factory=list)

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
    corpus = list(frames.values())
    session = [frames[message_type] for message_type in _SESSION]
    findings = Findings(inputs=count)
    with _without_collector():
        for number in range(count):
            if random.random() < _CLIENT_SHARE:
                _try_client(findings, random)
                continue
            if random.random() < _TEXT_SHARE:
                _try_text(findings, random)
                continue
            if random.random() < _STREAM_SHARE:
                start = random.randrange(len(session) - 3)
                stream = mutate_stream(random, session[start : start + 4], corpus)
            else:
                stream = mutate(random, random.choice(corpus), corpus)
            _try(findings, random, stream, sampled=number % _SAMPLE == 0)
    findings.failures = [f"seed {seed}, batch {batch}: {text}" for text in findings.failures]
    return findings


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


def _try(findings: Findings, random: Random, stream: bytes, *, sampled: bool) -> None:
    """
    Try one input, and keep it if it does what none may do.

    :param findings: Gets what came of it.
    :param random: Cuts the stream.
    :param stream: The input.
    :param sampled: Whether the expensive questions are asked as well.
    """
    pieces = chunks(random, stream)
    began = time.process_time()
    try:
        frames = read_stream(pieces, findings)
        took = time.process_time() - began
        findings.slowest_seconds = max(findings.slowest_seconds, took)
        if took > SECONDS_MAX:
            raise AssertionError(f"{took:.3f} s of processor time")
        if sampled:
            _check_memory(pieces, len(stream))
            for frame in frames:
                _check_readers(frame)
    except Exception as error:  # noqa: BLE001 - finding any of them is what this is for
        findings.failures.append(f"{type(error).__name__}: {error} from {stream.hex()}")


def _try_client(findings: Findings, random: Random) -> None:
    """
    Try one client of the NATS gateway, and keep what it said if that has an effect none may have.

    :param findings: Gets what came of it.
    :param random: Makes the client.
    """
    said = hostile_client(random)
    pieces = chunks(random, said)
    began = time.process_time()
    try:
        findings.outcomes[take(pieces, needs_login=random.random() < 0.5)] += 1
        took = time.process_time() - began
        findings.slowest_seconds = max(findings.slowest_seconds, took)
        if took > SECONDS_MAX:
            raise AssertionError(f"{took:.3f} s of processor time")
    except Exception as error:  # noqa: BLE001 - finding any of them is what this is for
        findings.failures.append(f"{type(error).__name__}: {error} from {said.hex()}")


def _try_text(findings: Findings, random: Random) -> None:
    """
    Try one text, and keep it if its reader does what none may do.

    :param findings: Gets what came of it.
    :param random: Makes the text.
    """
    reader, said = hostile_text(random)
    began = time.process_time()
    try:
        findings.outcomes[read_hostile(reader, said)] += 1
        took = time.process_time() - began
        findings.slowest_seconds = max(findings.slowest_seconds, took)
        if took > SECONDS_MAX:
            raise AssertionError(f"{took:.3f} s of processor time")
    except Exception as error:  # noqa: BLE001 - finding any of them is what this is for
        what = f"{reader.name}: {type(error).__name__}: {error}"
        findings.failures.append(f"{what} from {said.hex()}")


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


def fuzz(count: int, seed: int, jobs: int) -> Findings:
    """
    Try many inputs.

    :param count: How many.
    :param seed: Which ones.
    :param jobs: On how many processes.
    :returns: What came of them.
    """
    sizes = [min(BATCH, count - start) for start in range(0, count, BATCH)]
    findings = Findings()
    if jobs == 1:
        for batch, size in enumerate(sizes):
            findings.add(run_batch(seed, batch, size))
        return findings
    with ProcessPoolExecutor(jobs) as pool:
        for part in pool.map(run_batch, [seed] * len(sizes), range(len(sizes)), sizes):
            findings.add(part)
    return findings


def summary(findings: Findings, seed: int) -> str:
    """
    Say in one line what came of a run.

    :param findings: All of them.
    :param seed: Of the run.
    :returns: The line.
    """
    outcomes = ", ".join(f"{name} {number:,}" for name, number in findings.outcomes.most_common())
    return (
        f"fuzz: {findings.inputs:,} inputs (seed {seed}), {findings.frames:,} frames: {outcomes}; "
        f"slowest {findings.slowest_seconds * 1000:.1f} ms; {len(findings.failures)} failures"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run from the command line.

    :param arguments: Instead of those of the process.
    :returns: The exit status: 1 when anything failed.
    """
    parser = argparse.ArgumentParser(prog="python -m atbus.testing.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0, help="which inputs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    findings = fuzz(options.count, options.seed, options.jobs)
    for failure in findings.failures[:20]:
        sys.stdout.write(f"{failure}\n")
    sys.stdout.write(f"{summary(findings, options.seed)}\n")
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main())
