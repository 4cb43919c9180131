"""Compressed frames: what is in them comes out again, and nothing else."""

from __future__ import annotations

import importlib
import os
import struct
import tracemalloc
import zlib
from random import Random
from typing import Any
from unittest import skipUnless

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import MalformedFrame, RemoteProtocolError, UnknownMandatory
from atbus.testing.mutation import mutate
from atbus.wire.compression import (
    ALGORITHMS,
    algorithm_named,
    choose,
    compression_extra,
    is_there,
    offered,
    ratio_of,
    restore,
    squeeze,
)
from atbus.wire.extras import number_extra, pack_extras, trace_extra
from atbus.wire.head import HEAD_SIZE, peek
from atbus.wire.messages import Capability, CompressionAlgorithm, ExtraType, Flags
from atbus.wire.runs import fragment_pieces, pack_run

DEFLATE, ZSTD = CompressionAlgorithm.DEFLATE, CompressionAlgorithm.ZSTD
HAS_ZSTD = is_there(ZSTD)
THERE = [algorithm for algorithm in CompressionAlgorithm if is_there(algorithm)]
TEXT = b"the same words again and again, " * 200


def frame_of(
    *payloads: bytes, algorithm: CompressionAlgorithm = DEFLATE, fragment: bool = False
) -> bytes:
    """Make a compressed frame of payloads that are compressed already."""
    extras = pack_extras(
        (trace_extra((1, 2)), compression_extra(algorithm), number_extra(ExtraType.DEADLINE, 9))
    )
    how: dict[str, Any] = {"flags": Flags.COMPRESSED | Flags.ANSWER, "frame": 7, "ack": 8}
    if fragment:
        place = (10, 1_000_000, 3)
        pieces = fragment_pieces(1, 2, 5, 6, payloads[0], place, extras=extras, **how)
        return b"".join(pieces)
    return pack_run(1, 2, 5, 6, [3] * len(payloads), payloads, extras=extras, **how)


def plain_of(*payloads: bytes, fragment: bool = False) -> bytes:
    """Make the frame that it would have been."""
    extras = pack_extras((trace_extra((1, 2)), number_extra(ExtraType.DEADLINE, 9)))
    how: dict[str, Any] = {"flags": Flags.ANSWER, "frame": 7, "ack": 8}
    if fragment:
        place = (10, 1_000_000, 3)
        pieces = fragment_pieces(1, 2, 5, 6, payloads[0], place, extras=extras, **how)
        return b"".join(pieces)
    return pack_run(1, 2, 5, 6, [3] * len(payloads), payloads, extras=extras, **how)


def squeezed(payload: bytes, algorithm: CompressionAlgorithm = DEFLATE) -> bytes:
    """Compress what can be compressed."""
    found = squeeze(payload, algorithm)
    assert found is not None
    return found


class ChoiceTests(SynchronousTestCase):
    """Which algorithm two nodes use."""

    def test_names(self) -> None:
        """
        The names of a configuration are those of algorithms; an unknown one is none.

        Scenario: G9
        """
        self.assertEqual(algorithm_named("deflate"), DEFLATE)
        self.assertEqual(algorithm_named("zstd"), ZSTD)
        for name in ("", "none", "lz4", "DEFLATE"):
            self.assertIsNone(algorithm_named(name))
        self.assertEqual(set(ALGORITHMS.values()), set(CompressionAlgorithm))

    def test_what_two_nodes_have_in_common(self) -> None:
        """
        The best algorithm in common is used; without one there is no compression.

        Scenario: O16
        """
        for mine, yours, expected in (
            ([], [], None),
            ([], ["deflate"], None),
            (["zstd"], ["deflate"], None),
            (["lz4"], ["lz4"], None),
            (["deflate", "zstd"], ["deflate"], DEFLATE),
            (["deflate", "zstd"], ["zstd", "deflate"], ZSTD),
        ):
            self.assertEqual(choose(offered(mine) & offered(yours)), expected, (mine, yours))
        self.assertIsNone(choose(~(Capability.DEFLATE | Capability.ZSTD)))


class RestoreTests(SynchronousTestCase):
    """There and back."""

    @given(st.lists(st.sampled_from([TEXT, TEXT[:1024], bytes(5000)]), min_size=1, max_size=4))
    @settings(deadline=None, max_examples=30)
    def test_runs(self, payloads: list[bytes]) -> None:
        """
        A frame that is restored is, byte for byte, what it would have been.

        Scenario: O17
        """
        for algorithm in THERE:
            small = [squeezed(payload, algorithm) for payload in payloads]
            frame = frame_of(*small, algorithm=algorithm)
            self.assertEqual(restore(frame, THERE), plain_of(*payloads))
            self.assertGreater(ratio_of(frame, plain_of(*payloads)), 1)

    def test_fragments(self) -> None:
        """A fragment is restored by itself, at its place in the message."""
        for algorithm in THERE:
            frame = frame_of(squeezed(TEXT, algorithm), algorithm=algorithm, fragment=True)
            self.assertEqual(restore(frame, THERE), plain_of(TEXT, fragment=True))

    def test_what_is_hardly_smaller(self) -> None:
        """
        What does not become smaller stays as it is.

        Scenario: O17
        """
        for algorithm in THERE:
            self.assertIsNone(squeeze(os.urandom(5000), algorithm))
            self.assertIsNotNone(squeeze(bytes(1024), algorithm))

    @skipUnless(HAS_ZSTD, "zstandard is not installed")
    def test_zstandard_is_there(self) -> None:
        """With the extra both algorithms work, else one does."""
        self.assertEqual(len(THERE), 2)


class HostileTests(SynchronousTestCase):
    """Frames that were never compressed by anybody honest."""

    def refused(self, frame: bytes, fault: str, kind: type[Exception] = MalformedFrame) -> None:
        """Restore what cannot be."""
        error: Exception = self.assertRaises(kind, restore, frame, THERE)
        self.assertIn(fault, str(error))

    def test_sizes_that_are_lies(self) -> None:
        """A payload is neither longer nor shorter than was announced, for any algorithm."""
        for algorithm in THERE:
            good = squeezed(TEXT, algorithm)
            for size in (0, 1, len(TEXT) - 1, len(TEXT) + 1, limits.FRAME_BYTES_MAX):
                frame = frame_of(struct.pack("<I", size) + good[4:], algorithm=algorithm)
                self.assertRaises(MalformedFrame, restore, frame, THERE)
            self.assertRaises(
                MalformedFrame, restore, frame_of(good + b"x", algorithm=algorithm), THERE
            )
            self.assertRaises(
                MalformedFrame, restore, frame_of(good[:-3], algorithm=algorithm), THERE
            )

    def test_a_bomb(self) -> None:
        """
        A frame that would become large is refused before a byte of it is produced.

        What a lie about the size can cost is what was announced.
        """
        press = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = press.compress(bytes(60_000_000)) + press.flush()
        self.assertLess(len(bomb), limits.FRAME_BYTES)
        tracemalloc.start()
        try:
            for size in (60_000_000, 2**32 - 1, 1_000_000, 0):
                frame = frame_of(struct.pack("<I", size) + bomb)
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                self.assertRaises(MalformedFrame, restore, frame, THERE)
                cost = tracemalloc.get_traced_memory()[1] - before
                self.assertLess(cost, 4 * limits.FRAME_BYTES_MAX, size)
        finally:
            tracemalloc.stop()

    def test_many_small_bombs(self) -> None:
        """It is the sum of a frame's payloads that counts."""
        one = squeezed(bytes(200_000))
        restore(frame_of(*[one] * 5), THERE)
        self.refused(frame_of(*[one] * 6), "payloads of 1200000 bytes in one compressed frame")

    @skipUnless(HAS_ZSTD, "zstandard is not installed")
    def test_a_zstandard_bomb(self) -> None:
        """Neither what a Zstandard frame says of its size nor that it says nothing is believed."""
        zstandard = importlib.import_module("zstandard")
        payload = bytes(30_000_000)
        for says_size in (True, False):
            press = zstandard.ZstdCompressor(level=1, write_content_size=says_size)
            bomb = press.compress(payload)
            self.assertLess(len(bomb), limits.FRAME_BYTES)
            for size in (1000, 1_000_000):
                frame = frame_of(struct.pack("<I", size) + bomb, algorithm=ZSTD)
                tracemalloc.start()
                self.addCleanup(tracemalloc.stop)
                self.assertRaises(MalformedFrame, restore, frame, THERE)
                self.assertLess(tracemalloc.get_traced_memory()[1], size + 500_000)
                tracemalloc.stop()

    def test_frames_that_make_no_sense(self) -> None:
        """Flag and extra go together; half a size is none; other messages are not compressed."""
        self.refused(pack_run(1, 2, 3, 4, [0], [b"x"], flags=Flags.COMPRESSED), "does not say how")
        self.refused(frame_of(b"abc"), "a compressed payload of 3 bytes")
        self.refused(frame_of(struct.pack("<I", 5) + b"\xff\xff"), "not DEFLATE")
        flush = bytearray(frame_of(squeezed(TEXT)))
        flush[4] = 0x43
        self.refused(bytes(flush), "a compressed frame of type 0x43")
        whole = frame_of(squeezed(TEXT), fragment=True)
        short = bytearray(whole[: HEAD_SIZE + peek(whole)[11] + 5])
        struct.pack_into("<I", short, 0, len(short))
        self.refused(bytes(short), "a fragment of 5 bytes")

    def test_what_was_not_agreed(self) -> None:
        """An algorithm that was not agreed is not used, though it is there."""
        frame = frame_of(squeezed(TEXT))
        self.assertRaises(UnknownMandatory, restore, frame, [ZSTD])
        self.assertRaises(UnknownMandatory, restore, frame, [])

    def test_mutated(self) -> None:
        """Whatever is done to a frame, it is restored or refused."""
        for algorithm in THERE:
            for fragment in (False, True):
                frame = frame_of(squeezed(TEXT, algorithm), algorithm=algorithm, fragment=fragment)
                random = Random(f"{algorithm} {fragment}")
                for _ in range(500):
                    try:
                        restored = restore(mutate(random, frame, [frame]), THERE)
                    except RemoteProtocolError:
                        continue
                    self.assertLessEqual(len(restored), limits.FRAME_BYTES_MAX + 8192)
