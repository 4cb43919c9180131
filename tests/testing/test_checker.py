"""The checker sees what went wrong, and the recorder loses nothing."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from operator import methodcaller
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.testing import checker, history
from atbus.testing.checker import Pair, check_folder, main
from atbus.testing.record import EventRecorder
from tests.testing.folders import EPOCH, A, B, C, FolderCase, payload


class FateTests(FolderCase):
    """Each message has one fate."""

    def test_all_is_well(self) -> None:
        """Ten messages that were sent and received give a clean verdict."""
        for recorder in self.run_of_ten():
            recorder.stop()
        verdict = self.verdict()
        self.assertTrue(verdict.ok)
        self.assertEqual((verdict.sent, verdict.delivered, verdict.lost), (10, 10, 0))
        self.assertEqual(dict(verdict.pairs), {(A, B): Pair(sent=10, delivered=10)})
        self.assertEqual(dict(verdict.offenders), {})
        self.assertEqual(verdict.unfinished, ())

    def test_a_swallowed_message_is_lost(self) -> None:
        """A node that swallows one message without a word turns the verdict red and is named."""
        for recorder in self.run_of_ten():
            recorder.stop()
        self.mutate(B, lambda lines: lines.pop(5))
        verdict = self.verdict()
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.sent, verdict.delivered, verdict.lost), (10, 9, 1))
        (text,) = verdict.offenders["lost"]
        self.assertEqual(text, "0xa (epoch 7) -> 0xb #5: neither received nor told of")

    def test_each_swallowed_message_turns_the_verdict_red(self) -> None:
        """Whichever of the messages is missing, the first and the last too, it is found."""
        for recorder in self.run_of_ten():
            recorder.stop()
        whole = (self.folder / "b.events").read_bytes()
        for number in range(1, 11):
            self.mutate(B, methodcaller("pop", number))
            self.assertEqual(self.verdict().lost, 1)
            (self.folder / "b.events").write_bytes(whole)
        self.assertTrue(self.verdict().ok)

    def test_what_was_refused_is_not_lost(self) -> None:
        """Refusals count by their reasons, whether at once or from a relay later."""
        sender = self.record(A)
        sender.refuse(B, Status.BACKPRESSURE)
        sender.refuse(C, Status.NO_ROUTE)
        for sequence in (1, 2, 3):
            sender.send(B, sequence, 0, b"")
        sender.fate(B, 1, 3, Status.NO_ROUTE, gave_up_at=C)
        verdict = self.verdict()
        self.assertTrue(verdict.ok)
        self.assertEqual((verdict.sent, verdict.delivered), (5, 0))
        self.assertEqual(dict(verdict.refused), {"BACKPRESSURE": 1, "NO_ROUTE": 4})
        self.assertEqual(verdict.pairs[A, B], Pair(sent=4, refused=4))

    def test_uncertain_messages_may_have_arrived(self) -> None:
        """Uncertain and received is delivered; uncertain and not received stays uncertain."""
        sender, receiver = self.run_of_ten()
        for sequence in (11, 12):
            sender.send(B, sequence, 0, payload(sequence))
        sender.fate(B, 9, 4, Status.UNCERTAIN)
        receiver.receive(A, EPOCH, 11, 0, payload(11))
        verdict = self.verdict()
        self.assertTrue(verdict.ok)
        self.assertEqual((verdict.sent, verdict.delivered, verdict.uncertain), (12, 11, 1))

    def test_a_known_reason_is_worth_more_than_an_unknown_one(self) -> None:
        """A message that is first uncertain and then refused was refused."""
        sender = self.record(A)
        sender.send(B, 1, 0, b"")
        sender.fate(B, 1, 1, Status.UNCERTAIN)
        sender.fate(B, 1, 1, Status.HOP_LIMIT, gave_up_at=C)
        verdict = self.verdict()
        self.assertEqual((verdict.uncertain, dict(verdict.refused)), (0, {"HOP_LIMIT": 1}))
        self.assertTrue(verdict.ok)

    def test_delivered_and_refused_is_a_contradiction(self) -> None:
        """A sender that is told a reason although its message arrived was told wrong."""
        sender, _ = self.run_of_ten()
        sender.fate(B, 3, 1, Status.TIMEOUT)
        verdict = self.verdict()
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.delivered, verdict.contradictions), (10, 1))
        self.assertIn("#3: received, but told TIMEOUT", verdict.offenders["contradictions"][0])

    def test_a_failed_receiver_has_received(self) -> None:
        """A program that fails on a message was given it, so the answer is no contradiction."""
        sender, _ = self.run_of_ten()
        sender.fate(B, 3, 1, Status.HANDLER_FAILED, gave_up_at=B)
        self.assertTrue(self.verdict().ok)

    def test_told_as_delivered_but_not_received(self) -> None:
        """An answer of success for a message that nobody received is a lie."""
        sender, receiver = self.run_of_ten()
        sender.fate(B, 1, 10, Status.OK)
        self.assertTrue(self.verdict().ok)
        sender.send(B, 11, 0, b"")
        sender.fate(B, 11, 1, Status.OK)
        receiver.stop()
        verdict = self.verdict()
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.contradictions, verdict.lost), (1, 1))

    def test_refused_twice(self) -> None:
        """One message has one failure response."""
        sender = self.record(A)
        sender.send(B, 1, 0, b"")
        sender.fate(B, 1, 1, Status.NO_ROUTE)
        sender.fate(B, 1, 1, Status.NO_ROUTE)
        verdict = self.verdict()
        self.assertEqual((dict(verdict.refused), verdict.contradictions), ({"NO_ROUTE": 1}, 1))

    def test_what_a_node_says_it_dropped_is_counted(self) -> None:
        """A drop that nobody could be told of is a fate if the node says of which messages."""
        sender, relay = self.record(A), self.record(C)
        sender.send(B, 1, 0, b"")
        relay.drop_run(Status.CLOSING, source=A, source_epoch=EPOCH, target=B, first_sequence=1)
        relay.drop(Status.SOURCE_REFUSED, 5)
        verdict = self.verdict()
        self.assertTrue(verdict.ok)
        self.assertEqual((dict(verdict.dropped), verdict.lost), ({"CLOSING": 1}, 0))
        self.assertEqual(dict(verdict.drops), {"CLOSING": 1, "SOURCE_REFUSED": 5})

    def test_a_drop_without_a_name_excuses_nothing(self) -> None:
        """A node that only counts what it drops still loses it."""
        sender, relay = self.record(A), self.record(C)
        sender.send(B, 1, 0, b"")
        relay.drop(Status.CLOSING)
        self.assertEqual(self.verdict().lost, 1)

    def test_nothing_sent_is_no_good_news(self) -> None:
        """A verdict about nothing is not green."""
        self.assertFalse(self.verdict().ok)
        self.record(A).up()
        self.assertFalse(self.verdict().ok)


class ReceptionTests(FolderCase):
    """A message is received once, whole, in its turn, by its target."""

    def test_a_message_received_twice(self) -> None:
        """A second copy of a message is a duplicate, however late it comes."""
        _, receiver = self.run_of_ten()
        receiver.receive(A, EPOCH, 4, 0, payload(4))
        verdict = self.verdict()
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.duplicated, verdict.reordered, verdict.delivered), (1, 0, 10))
        self.assertIn("#4: received 2 times", verdict.offenders["duplicated"][0])

    def test_a_message_that_overtakes(self) -> None:
        """Two messages that change places are found by the one that came late."""
        self.run_of_ten()

        def swap(lines: list[str]) -> None:
            lines[4], lines[5] = lines[5], lines[4]

        self.mutate(B, swap)
        verdict = self.verdict()
        self.assertFalse(verdict.ok)
        self.assertEqual((verdict.reordered, verdict.delivered), (1, 10))
        self.assertIn("#4: received after #5", verdict.offenders["reordered"][0])

    def test_an_uncertain_message_may_be_late(self) -> None:
        """What its sender was told to be uncertain may come after others, which may not."""
        sender, _ = self.run_of_ten()

        def hold_back(lines: list[str]) -> None:
            lines[2:9] = [*lines[4:9], *lines[2:4]]

        self.mutate(B, hold_back)
        sender.fate(B, 2, 1, Status.UNCERTAIN)
        verdict = self.verdict()
        self.assertEqual((verdict.late, verdict.reordered, verdict.delivered), (1, 1, 10))
        self.assertIn("#3: received after #8", verdict.offenders["reordered"][0])
        self.assertIn("uncertain ones that came after later ones 1", str(verdict))
        sender.fate(B, 3, 1, Status.UNCERTAIN)
        verdict = self.verdict()
        self.assertEqual((verdict.late, verdict.ok), (2, True))

    def test_an_order_that_was_given_up(self) -> None:
        """What overtakes then is counted as such, if it is for the target that was named."""
        self.run_of_ten()

        def swap(lines: list[str]) -> None:
            lines[4], lines[5] = lines[5], lines[4]

        self.mutate(B, swap)
        relay = self.record(C)
        relay.unorder(A)
        self.assertEqual((self.verdict().reordered, self.verdict().unordered), (1, 0))
        relay.unorder(B)
        verdict = self.verdict()
        self.assertEqual((verdict.reordered, verdict.unordered, verdict.ok), (1, 1, False))
        self.assertIn("reordered where a node had given up the order 1", str(verdict))

    def test_order_is_between_two_nodes_and_within_an_epoch(self) -> None:
        """Other senders, other targets and a restarted sender count for themselves."""
        receiver = self.record(B)
        for node, epoch, sequence in ((A, 7, 5), (C, 7, 1), (A, 8, 1), (A, 8, 2), (C, 7, 2)):
            self.record(node, epoch).send(B, sequence, 0, payload(sequence))
            receiver.receive(node, epoch, sequence, 0, payload(sequence))
        self.record(A, 8).send(C, 1, 0, b"elsewhere")
        self.record(C).receive(A, 8, 1, 0, b"elsewhere")
        verdict = self.verdict()
        self.assertEqual((verdict.reordered, verdict.delivered), (0, 6))
        self.assertTrue(verdict.ok)

    def test_gaps_are_no_disorder(self) -> None:
        """A refused message leaves a gap in the sequences of its receiver."""
        sender, receiver = self.record(A), self.record(B)
        for sequence in (1, 2, 3):
            sender.send(B, sequence, 0, payload(sequence))
        receiver.receive(A, EPOCH, 1, 0, payload(1))
        sender.fate(B, 2, 1, Status.TIMEOUT)
        receiver.receive(A, EPOCH, 3, 0, payload(3))
        self.assertTrue(self.verdict().ok)

    def test_a_changed_payload(self) -> None:
        """Another payload, or another kind, than was sent is a corrupted message."""
        for kind, body in ((0, b"PAYLOAD"), (1, payload(1))):
            for path in self.folder.iterdir():
                path.unlink()
            self.record(A).send(B, 1, 0, payload(1))
            self.record(B).receive(A, EPOCH, 1, kind, body)
            verdict = self.verdict()
            self.assertEqual((verdict.corrupted, verdict.lost), (1, 0))
            self.assertFalse(verdict.ok)

    def test_a_message_at_another_node(self) -> None:
        """What B was to receive and C received is misdelivered, and lost for B."""
        self.record(A).send(B, 1, 0, payload(1))
        self.record(C).receive(A, EPOCH, 1, 0, payload(1))
        verdict = self.verdict()
        self.assertEqual((verdict.misdelivered, verdict.lost, verdict.delivered), (1, 1, 0))
        self.assertIn("0xa (epoch 7) -> 0xc #1: meant for 0xb", str(verdict))

    def test_a_message_in_the_place_of_another(self) -> None:
        """A foreign message under a number that was really sent is misdelivered, not corrupted."""
        sender = self.record(A)
        sender.send(B, 1, 0, payload(1))
        sender.send(C, 1, 0, payload(2))
        self.record(C).receive(A, EPOCH, 1, 0, payload(1))
        verdict = self.verdict()
        self.assertEqual((verdict.misdelivered, verdict.corrupted, verdict.lost), (1, 0, 2))

    def test_a_message_that_nobody_sent(self) -> None:
        """A message invented in the name of a node that writes everything down is found."""
        self.run_of_ten()
        self.record(B).receive(A, EPOCH, 11, 0, b"invented")
        verdict = self.verdict()
        self.assertEqual(verdict.contradictions, 1)
        self.assertIn("#11: received, but never sent", verdict.offenders["contradictions"][0])

    def test_a_node_that_writes_nothing_down(self) -> None:
        """Messages of a node without a file cannot be judged; they are counted apart."""
        self.run_of_ten()
        self.record(B).receive(C, 1, 1, 0, b"from outside")
        verdict = self.verdict()
        self.assertTrue(verdict.ok)
        self.assertEqual(verdict.foreign, 1)

    def test_a_sequence_used_twice(self) -> None:
        """A node that begins anew in the same epoch sends under numbers that it used already."""
        self.run_of_ten()
        self.record(A).send(B, 1, 0, payload(1))
        self.assertEqual(self.verdict().contradictions, 1)


class CrashTests(FolderCase):
    """Processes are killed in the middle of something."""

    def test_a_line_cut_off_at_the_end(self) -> None:
        """The last line of a killed process may be cut anywhere; it is counted, no more."""
        sender, receiver = self.run_of_ten()
        sender.stop()
        receiver.close()
        path = self.folder / "b.events"
        whole = path.read_bytes()
        last = len(whole.splitlines(keepends=True)[-1])
        for cut in range(1, last - 1):
            path.write_bytes(whole[: -1 - cut])
            verdict = self.verdict()
            self.assertEqual((verdict.truncated, verdict.unreadable, verdict.lost), (1, 0, 1))

    def test_a_line_cut_off_before_a_restart(self) -> None:
        """The next process begins on a line of its own, so only the cut line is missing."""
        self.run_of_ten()
        path = self.folder / "b.events"
        path.write_bytes(path.read_bytes()[:-7])
        again = self.record(B, EPOCH + 1)
        again.receive(A, EPOCH, 10, 0, payload(10))
        verdict = self.verdict()
        self.assertEqual((verdict.truncated, verdict.unreadable), (1, 0))
        self.assertEqual((verdict.delivered, verdict.duplicated), (10, 0))
        self.assertTrue(verdict.ok)

    def test_rubbish_elsewhere_is_a_fault(self) -> None:
        """A line that is no event, where no process ended, makes the verdict worthless."""
        for rubbish in (
            "rubbish",
            "[]",
            "{}",
            '{"event":"dance","node":"0xa","epoch":1}',
            '{"event":"refuse","node":"0xa","epoch":1,"target":"0xb","status":"BORED"}',
            '{"event":"send","node":"0xa","epoch":1,"target":"0xb"}',
            '{"event":"up","node":10,"epoch":1}',
            '{"event":"up","node":"0xa","epoch":Infinity}',
            "[" * 3_000,
        ):
            for path in self.folder.iterdir():
                path.unlink()
            self.run_of_ten()
            for place in (3, 11):
                self.mutate(B, methodcaller("insert", place, rubbish))
            verdict = self.verdict()
            self.assertEqual((verdict.unreadable, verdict.truncated), (2, 0), rubbish)
            self.assertEqual(verdict.offenders["unreadable"][0], "b.events, line 4")
            self.assertFalse(verdict.ok)

    def test_messages_of_a_killed_sender(self) -> None:
        """Messages of a sender that the test killed are orphaned: nobody was left to be told."""
        sender, receiver = self.run_of_ten()
        sender.send(B, 11, 0, payload(11))
        sender.close()
        receiver.stop()
        self.assertEqual(self.verdict().lost, 1)
        verdict = self.verdict(killed=(A,))
        self.assertEqual((verdict.orphaned, verdict.lost), (1, 0))
        self.assertTrue(verdict.ok)
        self.assertEqual(verdict.unfinished, ((A, EPOCH),))

    def test_who_stopped_was_not_killed(self) -> None:
        """A node that stopped in good order has told everything, whatever the test says."""
        sender, _ = self.run_of_ten()
        sender.send(B, 11, 0, payload(11))
        sender.stop()
        self.assertEqual(self.verdict(killed=(A,)).lost, 1)

    def test_the_last_moment_of_a_killed_sender(self) -> None:
        """A message that was on its way before it could be written down is not held against it."""
        sender, receiver = self.run_of_ten()
        sender.close()
        receiver.receive(A, EPOCH, 11, 0, b"unrecorded")
        verdict = self.verdict(killed=(A,))
        self.assertTrue(verdict.ok)
        self.assertEqual(verdict.unrecorded, 1)
        self.assertFalse(self.verdict().ok)

    def test_a_killed_process_loses_nothing(self) -> None:
        """What a process noted is in its file although it was killed right after."""
        program = (
            "import os, signal, sys\n"
            "from atbus.testing.record import EventRecorder\n"
            "recorder = EventRecorder(sys.argv[1], 0xa, 7)\n"
            "for sequence in range(1, 101):\n"
            "    recorder.send(0xb, sequence, 0, b'payload')\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        path = self.folder / "a.events"
        ended = subprocess.run([sys.executable, "-c", program, path], check=False, timeout=30)
        self.assertEqual(ended.returncode, -9)
        verdict = self.verdict(killed=(A,))
        self.assertEqual((verdict.sent, verdict.orphaned, verdict.truncated), (100, 100, 0))


class CommandTests(FolderCase):
    """``python -m atbus.testing.checker``."""

    def run_main(self, *arguments: str) -> tuple[int, str]:
        output = io.StringIO()
        with mock.patch.object(sys, "stdout", output), mock.patch.object(sys, "stderr", output):
            code = main([str(self.folder), *arguments])
        return code, output.getvalue()

    def test_the_exit_code_is_the_verdict(self) -> None:
        """0 for good, 1 for bad, 2 for nothing to judge."""
        self.assertEqual(self.run_main()[0], 2)
        sender, _ = self.run_of_ten()
        code, text = self.run_main()
        self.assertEqual(code, 0)
        self.assertIn("verdict: ok", text)
        self.assertIn("0xa -> 0xb  sent 10, delivered 10", text)
        sender.send(B, 11, 0, b"")
        code, text = self.run_main()
        self.assertEqual(code, 1)
        self.assertIn("NOT OK", text)
        self.assertIn("lost: 0xa (epoch 7) -> 0xb #11", text)
        self.assertEqual(self.run_main("--killed", "0xa")[0], 0)

    def test_json_for_programs(self) -> None:
        """Everything of the verdict is in the JSON as well."""
        sender, _ = self.run_of_ten()
        sender.refuse(C, Status.NO_ROUTE)
        code, text = self.run_main("--json")
        values = json.loads(text)
        self.assertEqual((code, values["ok"], values["sent"]), (0, True, 11))
        self.assertEqual(values["refused"], {"NO_ROUTE": 1})
        self.assertEqual(values["pairs"][1]["target"], "0xc")
        self.assertEqual(values["unfinished"][0], {"node": "0xa", "epoch": 7})

    def test_a_long_list_is_cut(self) -> None:
        """Of many pairs those with most trouble are shown, of many offenders the first few."""
        sender = self.record(A)
        for target in range(0x100, 0x100 + 30):
            sender.send(target, 1, 0, b"")
        text = self.run_main()[1]
        self.assertEqual(text.count("lost: "), checker.OFFENDERS_MAX)
        self.assertIn("and 10 more", text)

    def test_the_module_is_a_command(self) -> None:
        """It runs as people type it."""
        self.run_of_ten()
        ended = subprocess.run(
            [sys.executable, "-m", "atbus.testing.checker", self.folder],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertTrue(ended.stdout.startswith("verdict: ok"))

    def test_the_judge_is_independent(self) -> None:
        """The checker loads no code of what it judges, nor of what wrote the files."""
        program = (
            "import sys, atbus.testing.checker\n"
            "print(*sorted(name for name in sys.modules if name.startswith('atbus')))"
        )
        loaded = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30
        ).stdout.split()
        words = {"atbus", "atbus.errors", "atbus.busid", "atbus.address", "atbus.limits"}
        ours = {"atbus.testing", checker.__name__, history.__name__}
        self.assertEqual(set(loaded) - words, ours)


class ModelTests(SynchronousTestCase):
    """The verdict against what really happened."""

    @settings(deadline=None, max_examples=60)
    @given(st.integers(min_value=0, max_value=2**32))
    def test_the_counts_are_what_happened(self, seed: int) -> None:
        """Whatever mixture of fates happens to messages, each is counted where it belongs."""
        lots = random.Random(seed)
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        nodes = {node: EventRecorder(folder / f"{node}.events", node, 1) for node in (1, 2, 3)}
        expected = dict.fromkeys(("delivered", "refused", "uncertain", "lost", "duplicated"), 0)
        flows: dict[tuple[int, int], int] = {}
        for number in range(40):
            source, target = lots.choice([1, 2, 3]), lots.choice([1, 2, 3])
            sequence = flows[source, target] = flows.get((source, target), 0) + 1
            nodes[source].send(target, sequence, 0, payload(number))
            happened = lots.choice([*expected, "delivered", "delivered"])
            if happened in {"delivered", "duplicated"}:
                nodes[target].receive(source, 1, sequence, 0, payload(number))
            if happened == "duplicated":
                nodes[target].receive(source, 1, sequence, 0, payload(number))
                expected["delivered"] += 1
            if happened == "refused":
                nodes[source].fate(target, sequence, 1, Status.TIMEOUT)
            if happened == "uncertain":
                nodes[source].fate(target, sequence, 1, Status.UNCERTAIN)
            expected[happened] += 1
        for recorder in nodes.values():
            recorder.stop()
        verdict = check_folder(folder)
        counted = {name: getattr(verdict, name) for name in expected}
        counted["refused"] = sum(verdict.refused.values())
        self.assertEqual(counted, expected)
        self.assertEqual(verdict.ok, not expected["lost"] and not expected["duplicated"])
        self.assertEqual((verdict.reordered, verdict.contradictions, verdict.sent), (0, 0, 40))
