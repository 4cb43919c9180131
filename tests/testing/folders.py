"""A folder of event files, as a bus leaves it behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.checker import Verdict, check_folder
from atbus.testing.record import EventRecorder

A, B, C = 0xA, 0xB, 0xC
EPOCH = 7


class FolderCase(SynchronousTestCase):
    """Has a folder in which nodes write, and asks for the verdict about it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def record(self, node: int, epoch: int = EPOCH) -> EventRecorder:
        recorder = EventRecorder(self.folder / f"{node:x}.events", node, epoch)
        self.addCleanup(recorder.close)
        return recorder

    def verdict(self, *, killed: tuple[int, ...] = ()) -> Verdict:
        return check_folder(self.folder, killed)

    def run_of_ten(self) -> tuple[EventRecorder, EventRecorder]:
        """Let A send ten messages to B, all of which arrive."""
        sender, receiver = self.record(A), self.record(B)
        for sequence in range(1, 11):
            sender.send(B, sequence, 0, payload(sequence))
            receiver.receive(A, EPOCH, sequence, 0, payload(sequence), hops=1)
        return sender, receiver

    def mutate(self, node: int, change: Callable[[list[str]], object]) -> None:
        """Change the lines of a node's file."""
        path = self.folder / f"{node:x}.events"
        lines = path.read_text(encoding="utf-8").splitlines()
        change(lines)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def payload(number: int) -> bytes:
    return b"payload %d" % number
