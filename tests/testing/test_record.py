"""The recorder loses nothing, and writes what the format says."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest import mock

from atbus.errors import Status
from atbus.testing.record import EventRecorder, payload_digest
from tests.testing.folders import A, B, C, FolderCase


class RecorderTests(FolderCase):
    """What the recorder writes."""

    def lines(self, node: int) -> list[dict[str, Any]]:
        text = (self.folder / f"{node:x}.events").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def test_an_event_is_in_the_file_when_the_call_returns(self) -> None:
        """Nothing is held back in the process."""
        recorder = self.record(A)
        for count in range(1, 4):
            recorder.refuse(B, Status.NO_ROUTE)
            self.assertEqual(len(self.lines(A)), 1 + count)

    def test_a_batch_is_one_write(self) -> None:
        """The events of a batch are in the file when it ends, also if it ends badly."""
        recorder = self.record(A)
        with mock.patch.object(os, "write", wraps=os.write) as write:
            try:
                with recorder.batch(), recorder.batch():
                    recorder.send(B, 1, 0, b"")
                    recorder.send(B, 2, 0, b"")
                    self.assertEqual(len(self.lines(A)), 1)
                    raise ZeroDivisionError
            except ZeroDivisionError:
                pass
        self.assertEqual(write.call_count, 1)
        self.assertEqual([line["event"] for line in self.lines(A)], ["open", "send", "send"])

    def test_a_disk_that_takes_less(self) -> None:
        """A write that takes a part of a line is continued."""
        recorder = self.record(A)
        write = os.write
        with mock.patch.object(os, "write", lambda descriptor, text: write(descriptor, text[:3])):
            recorder.up()
        self.assertEqual(self.lines(A)[-1], {"event": "up", "node": "0xa", "epoch": 7})

    def test_an_id_may_come_late(self) -> None:
        """A node whose id is assigned writes under it from then on, and is one node."""
        recorder = self.record(0)
        recorder.node_id, recorder.epoch = A, 9
        recorder.up()
        recorder.send(B, 1, 0, b"x")
        receiver = self.record(B)
        receiver.receive(A, 9, 1, 0, b"x")
        for each in (recorder, receiver):
            each.stop()
        verdict = self.verdict()
        self.assertTrue(verdict.ok)
        self.assertEqual(verdict.unfinished, ())

    def test_all_events_are_written_as_described(self) -> None:
        """Each event has the fields that the format promises, and no payload."""
        recorder = self.record(A)
        recorder.send(B, 1, -5, memoryview(b"payload"))
        recorder.fate(B, 1, 2, Status.NO_ROUTE, C, epoch=6)
        recorder.receive(B, 3, 4, 5, bytearray(b"payload"), hops=2)
        recorder.unorder(B)
        recorder.down(Status.STOPPED)
        recorder.stop()
        recorder.up()
        digest = payload_digest(b"payload")
        self.assertEqual(len(digest), 16)
        ours = {"node": "0xa", "epoch": 7}
        self.assertEqual(
            self.lines(A)[1:],
            [
                ours
                | {"event": "send", "target": "0xb", "sequence": 1, "kind": -5, "digest": digest},
                ours
                | {"event": "fate", "target": "0xb", "sequence": 1, "count": 2, "epoch": 6}
                | {"status": "NO_ROUTE", "gave_up_at": "0xc"},
                ours
                | {"event": "receive", "source": "0xb", "source_epoch": 3, "sequence": 4}
                | {"kind": 5, "digest": digest, "hops": 2},
                ours | {"event": "unorder", "target": "0xb"},
                ours | {"event": "down", "status": "STOPPED"},
                ours | {"event": "stop"},
            ],
        )

    def test_others_cannot_read_the_file(self) -> None:
        """The file is the owner's alone, and a folder that is missing is an error at once."""
        self.record(A)
        self.assertEqual((self.folder / "a.events").stat().st_mode & 0o777, 0o600)
        self.assertRaises(OSError, EventRecorder, self.folder / "no" / "a.events", A, 1)
