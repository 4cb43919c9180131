"""
The ring of a lane, on plain memory.

Ours differs from libatbus's ring: one writer for each lane instead of many for one, no blocks that
are reserved and finished later, and a check that fails ends the lane instead of skipping a block.
"""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels import lane_reader, lane_writer
from atbus.channels.lane import CHECKED_HEAD, CHECKED_WHOLE, HEADER_BYTES, record_max_of
from atbus.channels.lane_reader import LaneReader, make_lane
from atbus.channels.lane_writer import LaneWriter, join_lane
from atbus.errors import MalformedFrame, RemoteProtocolError, Status
from atbus.testing.lanes import read_damaged

NONCE = b"sixteen bytes..."


class Lane:
    """Both ends on one bytearray."""

    def __init__(self, capacity: int = 1024) -> None:
        self.memory = bytearray(HEADER_BYTES + capacity)
        self.capacity = capacity
        self.reader: LaneReader = make_lane(memoryview(self.memory), NONCE)
        self.writer: LaneWriter = join_lane(memoryview(self.memory), record_max_of(capacity))

    def store(self, place: int, value: int) -> None:
        """Store a number of 8 bytes, as a hostile side could."""
        self.memory[place : place + 8] = value.to_bytes(8, "little")


class LaneTests(SynchronousTestCase):
    """What is written comes out."""

    def test_frames_arrive(self) -> None:
        """Frames come out whole, once and in order, and the nonce is not one of them."""
        both = Lane()
        self.assertEqual(both.writer.write([b"one", b"two"]), 2)
        self.assertEqual(both.reader.read(10_000), [b"one", b"two"])
        self.assertTrue(both.reader.proven)
        self.assertEqual(both.reader.read(10_000), [])
        self.assertEqual(both.writer.written_bytes, 16 + 6)

    def test_three_rounds_of_cycling_sizes(self) -> None:
        """
        Sizes 32, 45, 133, 605, 1024 in a cycle until the lane is full, then read until it is empty,
        three times: as many bytes come out as went in, and the same.

        Scenario: E4, F2
        """
        both = Lane(2 * 1024 * 1024)
        sizes = (32, 45, 133, 605, 1024)
        for turn in range(3):
            sent: list[bytes] = []
            while True:
                frame = bytes([turn, len(sent) % 251]) * (sizes[len(sent) % 5] // 2 + 1)
                if not both.writer.write((frame,)):
                    break
                sent.append(frame)
            self.assertGreater(len(sent), 5_000)
            received: list[bytes] = []
            while frames := both.reader.read(64 * 1024):
                received += frames
            self.assertEqual(received, sent)

    def test_a_full_lane(self) -> None:
        """
        What does not fit changes nothing, and fits after as much was read: a full lane is a writer
        that waits, not a loss.

        Scenario: E12
        """
        both = Lane(256)
        frames = [bytes([n]) * 56 for n in range(1, 6)]
        self.assertEqual(both.writer.write(frames), 3)
        before = bytes(both.memory)
        self.assertEqual(both.writer.write([frames[3]]), 0)
        self.assertEqual(bytes(both.memory), before)
        self.assertEqual(both.reader.read(1), [])
        self.assertEqual(both.reader.read(1), [frames[0]])
        self.assertEqual(both.writer.write([frames[3]]), 1)
        self.assertEqual(both.reader.read(10_000), frames[1:4])

    def test_the_exact_limit(self) -> None:
        """
        A lane is filled to its last byte, and one byte more is refused. What is read at the front
        makes room, in which new records go around the end; older ones are as they were.

        Scenario: C11
        """
        both = Lane(512)
        both.reader.read(10_000)
        frames = [bytes([n]) * 120 for n in range(1, 5)]
        self.assertEqual(both.writer.write(frames[:3]), 3)
        self.assertEqual(both.writer.write([b"y" * 121]), 0)
        self.assertEqual(both.writer.write([b"x" * 104]), 1)
        self.assertEqual(both.writer.unread_bytes, 496)
        # There is room for one record of 16 bytes.
        self.assertEqual(both.writer.write([b"z" * 9]), 0)
        self.assertEqual(both.writer.write([b"z" * 8]), 1)
        self.assertEqual(both.writer.unread_bytes, both.capacity)
        self.assertEqual(both.writer.write([b"."]), 0)
        self.assertEqual(both.reader.read(1), [frames[0]])
        place = HEADER_BYTES + 24
        before = bytes(both.memory[place + 128 : place + 488])
        self.assertEqual(both.writer.write([frames[3]]), 1)
        self.assertEqual(bytes(both.memory[place + 128 : place + 488]), before)
        rest = [frames[1], frames[2], b"x" * 104, b"z" * 8, frames[3]]
        self.assertEqual(both.reader.read(10_000), rest)

    def test_both_sides_count_the_same(self) -> None:
        """
        What is in a lane is the same number seen from either side, after each frame that goes in or
        out, and in each of three rounds. libatbus tests its queues from both ends; a lane is
        filled at one and emptied at the other, so what both share is the account.

        Scenario: C9
        """
        both = Lane(1024)
        both.reader.read(10_000)
        rounds: list[list[int]] = []
        for _ in range(3):
            counts: list[int] = []
            while both.writer.write([b"x" * 144]):
                counts.append(both.writer.unread_bytes)
                self.assertEqual(both.reader.unread_bytes, counts[-1])
            while both.reader.read(1):
                counts.append(both.writer.unread_bytes)
                self.assertEqual(both.reader.unread_bytes, counts[-1])
            rounds.append(counts)
        self.assertEqual(rounds[0], [152, 304, 456, 608, 760, 912, 760, 608, 456, 304, 152, 0])
        self.assertEqual(rounds, rounds[:1] * 3)

    def test_the_size_is_fixed(self) -> None:
        """
        How much a lane takes is settled when it is made: who changes its header later changes
        nothing. (That nobody can change its memory is sealed, see `tests.channels.test_shm`.)

        Scenario: C10
        """
        both = Lane(256)
        both.reader.read(10_000)
        for place in (16, 24):
            both.store(place, 1 << 20)
        self.assertEqual((both.writer.capacity, both.reader.capacity), (256, 256))
        self.assertEqual(both.writer.write([b"x" * 56] * 5), 4)
        self.assertEqual(both.reader.read(10_000), [b"x" * 56] * 4)

    def test_a_batch_where_room_is(self) -> None:
        """
        Frames that are committed together come out as they went in, whether the free part of the
        ring is behind what is unread, before it, or split around its end. libatbus adds to the
        last block there; a lane gets one more record.

        Scenario: C13
        """
        for read_before, unread in ((1, 1), (4, 1), (3, 0)):
            both = Lane(512)
            both.reader.read(10_000)
            for _ in range(read_before):
                both.writer.write([b"read" * 25])
                both.reader.read(10_000)
            both.writer.write([b"unread"] * unread)
            batch = [bytes([n + 65]) * (60 + n) for n in range(4)]
            self.assertEqual(both.writer.write(batch), 4)
            self.assertEqual(both.reader.read(10_000), [b"unread"] * unread + batch)

    def test_a_record_touches_nothing_else(self) -> None:
        """
        A record that has no room leaves the memory as it was. One that has some begins exactly
        behind the last one, and no byte behind it is touched.

        Scenario: C5
        """
        both = Lane(128)
        both.reader.read(10_000)
        both.memory[HEADER_BYTES + 24 :] = b"\xaa" * 104
        self.assertEqual(both.writer.write([b"x" * 40]), 1)
        start = HEADER_BYTES + 24
        self.assertEqual(bytes(both.memory[start + 8 : start + 48]), b"x" * 40)
        self.assertEqual(bytes(both.memory[start + 48 :]), b"\xaa" * 56)
        self.assertEqual(int.from_bytes(both.memory[64:72], "little"), 24 + 48)
        self.assertEqual(both.writer.write([b"y" * 40]), 1)
        before = bytes(both.memory)
        self.assertEqual((both.writer.write([b"z" * 40]), bytes(both.memory)), (0, before))

    def test_a_reader_that_wants_less_than_a_record(self) -> None:
        """
        A reader brings no buffer that could be too small: however little it wants, it gets the next
        frame whole, and what is behind it stays for the next time.

        Scenario: E10
        """
        both = Lane(1024)
        frames = [b"a" * 300, b"b" * 200]
        both.writer.write(frames)
        self.assertEqual(both.reader.read(1), [])
        self.assertEqual(both.reader.read(1), frames[:1])
        self.assertEqual(both.reader.unread_bytes, 208)
        self.assertEqual(both.reader.read(10_000), frames[1:])

    def test_what_was_not_committed_does_not_exist(self) -> None:
        """
        A writer that died while it wrote left nothing that anybody has to wait for: there is
        no block that was reserved and not finished, so none that must time out.

        Scenario: E7, E8
        """
        both = Lane()
        both.writer.write([b"whole"])
        committed = bytes(both.memory[64:72])
        both.writer.write([b"half written"])
        both.memory[64:72] = committed
        self.assertEqual(both.reader.read(10_000), [b"whole"])
        self.assertEqual(both.reader.read(10_000), [])

    def test_a_batch_is_bounded(self) -> None:
        """A reader takes no more per turn than it wants, so that others get their turn."""
        both = Lane(4096)
        both.writer.write([bytes([n + 1]) * 100 for n in range(20)])
        self.assertEqual(len(both.reader.read(500)), 5)
        self.assertEqual(len(both.reader.read(10_000)), 15)

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_against_a_queue(self, data: st.DataObject) -> None:
        """However writing and reading alternate, a lane is a queue with a bound, around any end."""
        both = Lane(8 * data.draw(st.integers(16, 40)))
        model: deque[bytes] = deque()
        number = 0
        for _ in range(data.draw(st.integers(1, 60))):
            if data.draw(st.booleans()):
                sizes = data.draw(st.lists(st.integers(1, both.writer.record_max), max_size=4))
                frames = []
                for size in sizes:
                    number += 1
                    frames.append(bytes([number % 255 + 1]) * size)
                model.extend(frames[: both.writer.write(frames)])
            else:
                for frame in both.reader.read(data.draw(st.integers(1, 500))):
                    self.assertEqual(frame, model.popleft())
        while frames := both.reader.read(10_000):
            for frame in frames:
                self.assertEqual(frame, model.popleft())
        self.assertEqual(len(model), 0)
        self.assertEqual(both.writer.unread_bytes, 0)


class SleepTests(SynchronousTestCase):
    """Who is rung."""

    def test_a_reader_that_is_awake_is_not_rung(self) -> None:
        """Only a reader that said it sleeps is rung, and once for each sleep."""
        both = Lane()
        both.writer.write([b"1"])
        self.assertFalse(both.writer.must_ring())
        both.reader.read(10_000)
        both.reader.sleep()
        both.writer.write([b"2"])
        self.assertTrue(both.writer.must_ring())
        both.writer.write([b"3"])
        self.assertFalse(both.writer.must_ring())
        both.reader.wake()
        self.assertEqual(both.reader.read(10_000), [b"2", b"3"])
        both.writer.write([b"4"])
        self.assertFalse(both.writer.must_ring())
        both.reader.sleep()
        # It must look once more: this came before it said so.
        self.assertGreater(both.reader.unread_bytes, 0)

    def test_every_interleaving(self) -> None:
        """In whatever order the two stores and the two loads happen, one side sees the other."""
        for order in ("wwrr", "wrwr", "wrrw", "rwwr", "rwrw", "rrww"):
            both = Lane()
            both.reader.read(10_000)
            writer = iter((lambda b=both: b.writer.write([b"x"]), both.writer.must_ring))
            reader = iter((both.reader.sleep, lambda b=both: b.reader.unread_bytes))
            results: dict[str, object] = {}
            for side in order:
                results[side] = next(writer if side == "w" else reader)()
            self.assertTrue(results["w"] or results["r"], order)


class WaitTests(SynchronousTestCase):
    """Which writer is told that there is room."""

    def full(self) -> Lane:
        """Make a lane that is full, and whose writer waits."""
        both = Lane(512)
        both.reader.read(10_000)
        self.assertEqual(both.writer.write([b"x" * 56] * 9), 8)
        both.writer.wait()
        self.assertFalse(both.writer.is_half_free)
        return both

    def test_half_of_a_lane(self) -> None:
        """A writer that waits is told once, when half of the lane is free: any frame fits then."""
        both = self.full()
        told = []
        for _ in range(8):
            both.reader.read(1)
            told.append(both.reader.must_tell_room())
        self.assertEqual(told, [False, False, False, True, False, False, False, False])
        self.assertTrue(both.writer.is_half_free)
        both.writer.go_on()
        self.assertEqual(both.writer.write([b"y" * both.writer.record_max]), 1)

    def test_a_writer_that_does_not_wait(self) -> None:
        """Who does not wait is not told; who waits again is told again."""
        both = Lane(512)
        both.reader.read(10_000)
        both.writer.write([b"x" * 56] * 8)
        both.reader.read(10_000)
        self.assertFalse(both.reader.must_tell_room())
        for _ in range(2):
            both.writer.wait()
            self.assertTrue(both.writer.waits)
            self.assertTrue(both.reader.must_tell_room())
            both.writer.go_on()
            self.assertFalse(both.reader.must_tell_room())

    def test_every_interleaving(self) -> None:
        """In whatever order the two stores and the two loads happen, the writer goes on."""
        for order in ("wwrr", "wrwr", "wrrw", "rwwr", "rwrw", "rrww"):
            both = Lane(512)
            both.reader.read(10_000)
            both.writer.write([b"x" * 56] * 8)
            writer = iter((both.writer.wait, lambda b=both: b.writer.is_half_free))
            reader = iter((lambda b=both: b.reader.read(10_000), both.reader.must_tell_room))
            results: dict[str, object] = {}
            for side in order:
                results[side] = next(writer if side == "w" else reader)()
            self.assertTrue(results["w"] or results["r"], order)

    def test_a_reader_that_lies(self) -> None:
        """A writer that waits finds out a reader that claims what cannot be."""
        both = self.full()
        both.store(128, 1 << 40)
        with self.assertRaises(MalformedFrame):
            _ = both.writer.is_half_free


class HostileTests(SynchronousTestCase):
    """Contents that the other side may not leave there."""

    def test_a_lane_that_is_none(self) -> None:
        """
        Memory with another magic, size or longest record is not joined, nor one that was used
        already; each is refused by the name of what is wrong.

        Scenario: E1, F1
        """
        for place, value, word in (
            (0, 1, "magic"),
            (16, 1 << 40, "capacity"),
            (24, 1 << 30, "record_max"),
            (48, 49, "checked"),
            (64, 8, "committed"),
            (128, 8, "consumed"),
        ):
            memory = bytearray(HEADER_BYTES + 1024)
            make_lane(memoryview(memory), NONCE)
            memory[place : place + 8] = value.to_bytes(8, "little")
            with self.assertRaises(MalformedFrame) as caught:
                join_lane(memoryview(memory), record_max_of(1024))
            self.assertIn(word, str(caught.exception))

    def test_a_lane_of_another_version(self) -> None:
        """
        A lane of an older or a newer version is refused as one, which is no breach of the rules:
        the word for it is the version that was found, and the one that is known.

        Scenario: E1, F1
        """
        for version in (0, 1, 2, 4, 1 << 63):
            memory = bytearray(HEADER_BYTES + 1024)
            make_lane(memoryview(memory), NONCE)
            memory[8:16] = version.to_bytes(8, "little")
            before = bytes(memory)
            with self.assertRaises(RemoteProtocolError) as caught:
                join_lane(memoryview(memory), record_max_of(1024))
            self.assertIs(caught.exception.status, Status.UNSUPPORTED_VERSION)
            self.assertIn(f"version {version:#x}, we know 3", str(caught.exception))
            self.assertEqual(memory, before)

    def test_a_lane_that_is_too_small(self) -> None:
        """
        Memory without room for a record, or not of whole words, is refused.

        Scenario: E2
        """
        for size in (0, 8, HEADER_BYTES, HEADER_BYTES + 1028):
            with self.assertRaises(MalformedFrame):
                join_lane(memoryview(bytearray(size)), 504)

    def test_a_writer_that_lies(self) -> None:
        """
        Indices that lead out of the lane, lengths beyond what was committed and checks that fail
        are breaches, each found before anything is read there, and by its own name.

        Scenario: E9
        """
        first = HEADER_BYTES + 24
        index, length, check = "a lane of 1024 bytes has", "bytes where", "fails its check"
        for place, value, word in (
            (64, (1 << 64) - 8, index),
            (64, 16, index),
            (64, 0, index),
            (64, 24 + 33, index),
            (64, 24 + 1024 + 8, index),
            (first, 0, length),
            (first, 0xFFFF_FFFF, length),
            (first, 1 << 20, length),
            # Longer than what is unread, and longer than any frame.
            (first, 490, length),
            (first, record_max_of(1024) + 1, length),
            (first + 8, 0x42, check),
            (first + 4, 0x42, check),
        ):
            for others in (0, 3):
                both = Lane()
                both.reader.read(10_000)
                both.writer.write([b"an honest frame", *[b"another one".ljust(200)] * others])
                both.store(place, value)
                if value == 490 and others:
                    continue
                with self.assertRaises(MalformedFrame) as caught:
                    both.reader.read(10_000)
                self.assertIn(word, str(caught.exception), (place, value))

    def test_a_stranger_who_has_other_memory(self) -> None:
        """The first record must repeat the nonce that the reader put into this very memory."""
        both = Lane()
        forged = bytearray(HEADER_BYTES + 1024)
        make_lane(memoryview(forged), b"another 16 bytes")
        stranger = join_lane(memoryview(forged), record_max_of(1024))
        stranger.write([b"frame"])
        both.memory[64:72] = forged[64:72]
        both.memory[HEADER_BYTES:] = forged[HEADER_BYTES:]
        with self.assertRaises(MalformedFrame) as caught:
            both.reader.read(10_000)
        self.assertIn("nonce", str(caught.exception))

    def test_damaged_lanes(self) -> None:
        """Of thousands of damaged lanes each is read or refused, and nothing else happens."""
        for checked in (CHECKED_HEAD, CHECKED_WHOLE):
            outcomes = read_damaged(seed=1, count=10_000, checked=checked)
            self.assertEqual(sum(outcomes.values()), 10_000)
            self.assertGreater(min(outcomes["read"], outcomes["refused"]), 500)

    def test_what_is_checked(self) -> None:
        """
        A committed frame is whole where stores are seen in order, so there its head is checked;
        elsewhere all of it is.
        """
        for checked, found in ((CHECKED_HEAD, False), (CHECKED_WHOLE, True)):
            memory = bytearray(HEADER_BYTES + 1024)
            reader = make_lane(memoryview(memory), NONCE, checked)
            writer = join_lane(memoryview(memory), record_max_of(1024))
            writer.write([b"x" * 100])
            memory[HEADER_BYTES + 24 + 8 + 99] ^= 1
            if found:
                with self.assertRaises(MalformedFrame):
                    reader.read(10_000)
            else:
                self.assertEqual(reader.read(10_000), [b"x" * 99 + b"y"])

    def test_the_check_is_looked_at(self) -> None:
        """Without the check damaged contents would get through: the damage is found by it."""
        for module in (lane_reader, lane_writer):
            self.patch(module, "crc32", lambda *_: 0)
        with self.assertRaises(AssertionError):
            read_damaged(seed=1, count=2_000)
