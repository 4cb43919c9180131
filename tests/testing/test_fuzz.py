"""The fuzzer finds nothing in us, and would find something if it were there."""

from __future__ import annotations

import io
import sys
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing import fuzz, mutation
from atbus.testing.examples import example_messages
from atbus.wire import codec
from atbus.wire.messages import Message, MessageType


class FuzzTests(SynchronousTestCase):
    """A short run."""

    def setUp(self) -> None:
        """Keep what is printed."""
        self.printed = io.StringIO()
        self.patch(sys, "stdout", self.printed)

    def test_nothing_is_found(self) -> None:
        """Thousands of damaged frames and streams are read or refused, and the summary says so."""
        status = fuzz.main(["--count", "4000", "--seed", "7", "--jobs", "1"])
        self.assertEqual(status, 0, self.printed.getvalue())
        line = self.printed.getvalue()
        self.assertIn("fuzz: 4,000 inputs (seed 7)", line)
        self.assertIn("0 failures", line)
        for outcome in ("read", "skipped", "MALFORMED_FRAME", "UNKNOWN_MANDATORY", "NOT_ATBUS"):
            self.assertIn(outcome, line)

    def test_a_wrong_exception_is_found(self) -> None:
        """A reader that lets anything else out turns the run red and prints the input."""
        original = codec.decode

        def careless(frame: bytes) -> Message:
            if frame[4] == MessageType.PING and frame[7]:
                raise KeyError(frame[7])
            return original(frame)

        self.patch(codec, "decode", careless)
        self.assertEqual(fuzz.main(["--count", "4000", "--jobs", "1"]), 1)
        self.assertIn("KeyError", self.printed.getvalue())
        self.assertIn("seed 0, batch ", self.printed.getvalue())

    def test_readers_that_disagree_are_found(self) -> None:
        """A codec that reads what the schema refuses turns the run red."""
        original = codec.decode

        def generous(frame: bytes) -> Message:
            return original(frame[:4] + frame[4:6] + b"\x10" + frame[7:])

        self.patch(codec, "decode", generous)
        self.assertEqual(fuzz.main(["--count", "2000", "--jobs", "1"]), 1)
        self.assertIn("schema", self.printed.getvalue())

    def test_slowness_is_found(self) -> None:
        """An input that takes longer than allowed turns the run red."""
        self.patch(fuzz, "SECONDS_MAX", 0.0)
        self.assertEqual(fuzz.main(["--count", "50", "--jobs", "1"]), 1)
        self.assertIn("processor time", self.printed.getvalue())

    def test_hunger_is_found(self) -> None:
        """An input that makes us allocate more than allowed turns the run red."""
        self.patch(fuzz, "_ALLOCATED_BYTES", -(2**30))
        self.assertEqual(fuzz.main(["--count", "50", "--jobs", "1"]), 1)
        self.assertIn("bytes allocated", self.printed.getvalue())

    def test_runs_can_be_repeated(self) -> None:
        """The same seed tries the same inputs, whatever the number of processes."""
        once, twice = fuzz.fuzz(4000, 3, 1), fuzz.fuzz(4000, 3, 2)
        self.assertEqual((once.outcomes, once.frames), (twice.outcomes, twice.frames))
        self.assertNotEqual(fuzz.fuzz(4000, 4, 1).outcomes, once.outcomes)


class ExampleTests(SynchronousTestCase):
    """The examples that everything begins with."""

    def test_one_of_every_type(self) -> None:
        """There is an example of each message, and each survives the way through bytes."""
        examples = example_messages()
        self.assertEqual(set(examples), set(MessageType))
        for message_type, message in examples.items():
            self.assertEqual(codec.decode(codec.encode(message)), message, message_type.name)

    def test_damage_damages(self) -> None:
        """Few mutations leave a frame as it was, and all are the same for the same seed."""
        frames = [codec.encode(message) for message in example_messages().values()]
        damaged = [mutation.mutate(Random(n), frames[n % len(frames)], frames) for n in range(500)]
        again = [mutation.mutate(Random(n), frames[n % len(frames)], frames) for n in range(500)]
        self.assertEqual(damaged, again)
        same = sum(one == frames[n % len(frames)] for n, one in enumerate(damaged))
        self.assertTrue(same < 50, same)
