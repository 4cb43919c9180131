"""The fuzzer finds nothing in us, and would find something if it were there."""

from __future__ import annotations

import gc
import io
import json
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from operator import sub
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.testing import frame_fuzz, fuzz, hostile, mutation, web_fuzz
from atbus.testing.examples import example_messages
from atbus.testing.findings import Findings
from atbus.testing.tls_fuzz import hostile_connection
from atbus.wire import codec
from atbus.wire.messages import Message, MessageType

# Those that are drawn often enough for a short run; "neighbor" and "tls" have tests of their own.
KINDS = ("client", "leaf", "route", "lane", "browser", "services", "handshake", "stream")


#: An input of each kind that is no text.
_ONE_OF_EACH = {
    **dict.fromkeys(("client", "leaf", "route", "doorstep"), b"PING\r\n"),
    "browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    **dict.fromkeys(("lane", "services", "stream", "handshake", "neighbor", "tls"), b"7"),
    "id": b"5",
}


#: Of one process, drawn where it is asked for first.
_NAMES: list[str] = []


def _tell_process(_seed: int, batch: int, count: int) -> Findings:
    """Try nothing, and tell in which process."""
    if not _NAMES:
        _NAMES.append(os.urandom(8).hex())
    return Findings(count, outcomes=Counter([f"batch {batch}", _NAMES[0]]))


def _die(_seed: int, batch: int, count: int) -> Findings:
    """Try nothing, and end the process at the third batch."""
    if batch == 2:
        os._exit(3)
    return Findings(count)


def _blocks_after(make: Callable[[Random], hostile.Hostile], random: Random, count: int) -> int:
    """Try inputs of a kind; give how many blocks of memory the interpreter has given out then."""
    for _ in range(count):
        hostile._try(Findings(), make(random), sampled=False)
    # Calls that were cancelled are forgotten when their time comes.
    reactor, _ = web_fuzz._doors()
    reactor.advance(600.0)
    reactor.turns_seconds.clear()
    gc.collect()
    return sys.getallocatedblocks()


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
        for kind in KINDS:
            self.assertIn(f", {kind} ", line)

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

    def test_readers_that_disagree_are_found(self) -> None:
        """A codec that reads what the schema refuses turns the run red."""
        original = codec.decode

        def generous(frame: bytes) -> Message:
            return original(frame[:4] + frame[4:6] + b"\x0f" + frame[7:])

        self.patch(codec, "decode", generous)
        self.assertEqual(fuzz.main(["--count", "2000", "--jobs", "1"]), 1)
        self.assertIn("schema", self.printed.getvalue())

    def test_slowness_is_found(self) -> None:
        """An input that takes longer than allowed turns the run red."""
        self.patch(hostile, "SECONDS_MAX", 0.0)
        self.assertEqual(fuzz.main(["--count", "50", "--jobs", "1"]), 1)
        self.assertIn("processor time", self.printed.getvalue())

    def test_what_is_slow_once(self) -> None:
        """An input that took long because of others on the machine is tried again, and is good."""
        times = iter((0.0, 1.0, 1.0, 1.001))
        self.patch(hostile, "time", SimpleNamespace(thread_time=lambda: next(times)))
        self.assertEqual(hostile.read_again("id", b"5"), "")

    def test_hunger_is_found(self) -> None:
        """An input that makes us allocate more than allowed turns the run red."""
        self.patch(frame_fuzz, "_ALLOCATED_BYTES", -(2**30))
        self.assertEqual(fuzz.main(["--count", "50", "--jobs", "1"]), 1)
        self.assertIn("bytes allocated", self.printed.getvalue())

    def test_hunger_of_any_kind_is_found(self) -> None:
        """So it is with what is no frame: a text, a client, a conversation, one of each kind."""
        for name, said in _ONE_OF_EACH.items():
            self.assertEqual(hostile.read_again(name, said), "", name)
        self.patch(hostile, "MEMORY_BYTES", 0)
        for name, said in _ONE_OF_EACH.items():
            self.assertIn(" bytes allocated for ", hostile.read_again(name, said), name)

    def test_what_is_found_can_be_tried_again(self) -> None:
        """What is found is kept in a file, with the command that finds it again."""
        original = codec.decode

        def careless(frame: bytes) -> Message:
            if frame[4] == MessageType.PING:
                raise KeyError(frame[7])
            return original(frame)

        self.patch(codec, "decode", careless)
        kept = Path(self.mktemp()) / "findings.txt"
        fuzz.main(["--count", "2000", "--seed", "3", "--jobs", "1", "--keep", str(kept)])
        lines = kept.read_text(encoding="utf-8").splitlines()
        command, _, number = lines[-3].removeprefix("# ").partition("    # input ")
        self.assertTrue(command.startswith(f"{fuzz.COMMAND} --seed 3 --batch "), command)
        self.printed.truncate(0)
        self.assertEqual(fuzz.main(command.removeprefix(fuzz.COMMAND).split()), 1)
        found = "\n".join(lines[-2:])
        self.assertIn(f"# input {number}\n{found}\n", self.printed.getvalue())
        # As a corpus it finds the same, and once the fault is gone nothing.
        self.printed.truncate(0)
        again = ["--count", "0", "--jobs", "1", "--corpus", str(kept)]
        self.assertEqual(fuzz.main(again), 1)
        self.assertIn(found, self.printed.getvalue())
        self.patch(codec, "decode", original)
        self.assertEqual(fuzz.main(again), 0)

    def test_what_does_not_end_is_found(self) -> None:
        """A reader that does not come back turns the run red, and the run goes on."""

        def endless(_frame: bytes) -> Message:
            while True:
                pass

        self.patch(hostile, "ENDLESS_SECONDS", 0.05)
        self.patch(codec, "decode", endless)
        findings = fuzz.fuzz(3, 0, 1)
        self.assertEqual(findings.inputs, 3)
        self.assertIn("no end within", findings.failures[0].text)

    def test_a_process_that_dies(self) -> None:
        """When a process is gone, the batches that were under way are named, and it is the end."""

        class Dead:
            def submit(self, *_what: object) -> Any:
                return self

            def result(self) -> Any:
                raise BrokenProcessPool("a process was terminated")

        campaign = fuzz.Campaign(5)
        dead: Any = Dead()
        results = campaign._results(dead, [(0, 10), (1, 10), (2, 10)], 2)
        findings = next(results)
        self.assertRaises(BrokenProcessPool, next, results)
        self.assertEqual([each.batch for each in findings.failures], [0, 1])
        self.assertIn("terminated", findings.failures[0].text)

    def test_a_process_that_dies_idle(self) -> None:
        """It is noticed as well when a process is gone to which something was to be handed out."""

        class Gone:
            def submit(self, *_what: object) -> Any:
                raise BrokenProcessPool("a process was terminated")

        gone: Any = Gone()
        findings = next(fuzz.Campaign(5)._results(gone, [(7, 10), (8, 10)], 2))
        self.assertEqual([each.batch for each in findings.failures], [7])

    def test_processes_are_replaced(self) -> None:
        """A process that has tried its batches gives way to a fresh one; all is tried once."""
        self.patch(fuzz, "FRESH_AFTER", 3)
        self.patch(fuzz, "run_batch", _tell_process)
        for jobs, each_most, at_least in ((2, 6, 4), (1, 3, 7)):
            campaign = fuzz.Campaign(5)
            campaign.run([(batch, 10) for batch in range(20)], jobs)
            outcomes = campaign.findings.outcomes
            tried = [outcomes.pop(f"batch {batch}") for batch in range(20)]
            self.assertEqual((tried, campaign.findings.inputs), ([1] * 20, 200))
            self.assertEqual(campaign.batch, 20)
            self.assertGreaterEqual(len(outcomes), at_least)
            self.assertLessEqual(max(outcomes.values()), each_most)

    def test_a_process_that_dies_is_not_replaced(self) -> None:
        """After a process has died nothing more is tried, and the run is red."""
        self.patch(fuzz, "FRESH_AFTER", 1)
        self.patch(fuzz, "run_batch", _die)
        self.assertEqual(fuzz.main(["--count", "20000", "--seed", "5", "--jobs", "2"]), 1)
        said = self.printed.getvalue()
        self.assertIn("# perhaps: ", said)
        self.assertIn("--seed 5 --batch 2 ", said)
        self.assertNotIn("--batch 4 ", said)
        self.assertIn("fuzz: 4,000 inputs (seed 5)", said)

    def test_a_run_that_is_interrupted(self) -> None:
        """Ctrl-C ends a run with the summary of what was done, and a status of its own."""
        command = [sys.executable, "-m", "atbus.testing.fuzz", "--count", "1000000000"]
        place = Path(self.mktemp())
        with subprocess.Popen(
            [*command, "--jobs", "2", "--progress", "0", "--resume", str(place)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            try:
                # The first line that says how far it is: inputs have been tried by then.
                assert child.stderr is not None
                self.assertTrue(select.select([child.stderr], [], [], 300)[0])
                self.assertIn(b" of 1,000,000,000 inputs", child.stderr.readline())
                child.send_signal(signal.SIGINT)
                said, _ = child.communicate(timeout=300)
            finally:
                child.kill()
        self.assertEqual(child.returncode, 130, said)
        self.assertGreater(json.loads(place.read_text(encoding="ascii"))["batch"], 0)
        self.assertTrue(said.startswith(b"fuzz: "), said)
        self.assertIn(b" inputs (seed 0)", said)

    def test_nothing_is_kept(self) -> None:
        """A long run keeps nothing of its inputs: connections of all kinds are gone after them."""
        arguments = ["fuzz", "--count", str(3 * hostile.BATCH), "--jobs", "1"]
        program = f"""
import gc, runpy, sys
sys.argv = {arguments}
try:
    runpy.run_module("atbus.testing.fuzz", run_name="__main__")
finally:
    gc.collect()
    names = [type(each).__name__ for each in gc.get_objects()]
    print(names.count("_Door"), names.count("Connection"))
"""
        said = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        counts = [int(word) for word in said.splitlines()[-1].split()]
        self.assertLessEqual(max(counts), 2, said)

    def test_no_kind_is_kept(self) -> None:
        """However many inputs of a kind are tried, nothing of those before is left."""
        self.patch(bounds, "CLOSED_REMEMBERED", 10)
        web_fuzz._doors.cache_clear()
        self.addCleanup(web_fuzz._doors.cache_clear)
        for place, (share, make) in enumerate(hostile._OTHERS):
            random, count = Random(place), max(60, int(share * 20_000))
            # What is remembered once, such as a module that is not needed before, is remembered in
            # some rounds; what is kept of each input is in all of them.
            blocks = [_blocks_after(make, random, count)]
            while len(blocks) < 3 or (
                len(blocks) < 12 and min(map(sub, blocks[1:], blocks)) >= count
            ):
                blocks.append(_blocks_after(make, random, count))
            self.assertLess(min(map(sub, blocks[1:], blocks)), count, place)

    def test_a_run_that_goes_on(self) -> None:
        """An interrupted run goes on with the next batch, and ends as if it had been one."""
        self.patch(fuzz, "BATCH", 200)
        place = Path(self.mktemp())
        until = fuzz.Campaign(3, resume=place)
        until.run(fuzz.batches_of(600)[:2], 1)
        until.mark()
        after = fuzz.Campaign(3, resume=place)
        after.go_on()
        self.assertEqual(after.batch, 2)
        after.run(fuzz.batches_of(600), 1)
        whole = fuzz.fuzz(600, 3, 1)
        self.assertEqual(until.findings.outcomes + after.findings.outcomes, whole.outcomes)
        arguments = ["--count", "600", "--seed", "3", "--jobs", "1", "--resume", str(place)]
        self.assertEqual(fuzz.main(arguments), 0)
        self.assertIn("fuzz: 200 inputs (seed 3)", self.printed.getvalue())
        self.assertFalse(place.exists())
        other = fuzz.Campaign(5, resume=place)
        other.batch = 1
        other.mark()
        after.go_on()
        self.assertEqual(after.batch, 3)

    def test_neighbors(self) -> None:
        """Registered neighbors that say anything are borne, or their links end."""
        for number in range(10):
            self.assertEqual(hostile.read_again("neighbor", b"%d" % number), "")

    def test_tls(self) -> None:
        """A connection of which nothing is changed is used, and none of which something is."""
        outcomes = {read() for _, read in (hostile_connection(Random(n)) for n in range(20))}
        self.assertEqual(outcomes, {"tls read", "tls damaged"})

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
