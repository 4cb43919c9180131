"""The lines of how-tos that are parts of programs: put into one, they do what the pages say."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.errors import Status, Undeliverable
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.testing.virtual_bus import VirtualBus
from tests.documents import captioned_blocks

EMBED = "howto/embed-a-node.rst"
RECEIVER = "howto/write-a-receiver.rst"
ADDRESS = "ipv4://10.0.0.1:1"
ROOT, LEAF, LATE = 0x10000, 0x10001, 0x10002
JOBS = [b"%d" % number for number in range(25)]
#: How many blocks the C library has asked the kernel for, to keep a mebibyte.
BLOCKS = """
import ctypes
class Report(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abc"] + [("blocks", ctypes.c_size_t * 7)]
look = ctypes.CDLL(None).mallinfo2
look.restype = Report
before = look().blocks[0]
kept = bytes(1 << 20)
print(look().blocks[0] - before)
"""


@implementer(IMessageReceiver)
class Taker:
    """Keeps what it is sent, in order."""

    def __init__(self, node: Node) -> None:
        self.taken: list[bytes] = []
        node.receiver = self

    def message_received(self, source: int, kind: int, sequence: int, payload: Any) -> None:
        self.taken.append(bytes(payload))


def refused(node: Node, job: bytes) -> bool:
    """Send a job to the root, unless that has asked for a pause."""
    try:
        node.send(ROOT, job)
    except Undeliverable as error:
        return error.status is Status.BACKPRESSURE
    return False


def written(page: str, caption: str, **names: Any) -> dict[str, Any]:
    """Run the lines of a page; gives all names that there are then."""
    exec(captioned_blocks(page)[caption], names)
    return names


def tree(bus: VirtualBus, **options: Any) -> tuple[Node, Node]:
    """Start a root and a leaf."""
    root = bus.node(ROOT, listen=[ADDRESS], subnets=[(0, 16)], **options)
    leaf = bus.node(LEAF, upstream=ADDRESS, **options)
    bus.start(root, leaf)
    bus.run(1)
    return root, leaf


class EmbedPageTests(SynchronousTestCase):
    """docs/howto/embed-a-node.rst, what is in it beside the program."""

    def test_observing(self) -> None:
        """Who comes is printed until the observation is cancelled."""
        observe, cancel = captioned_blocks(EMBED)["observing.py"].split("observation.cancel")
        with VirtualBus(1) as bus, redirect_stdout(StringIO()) as printed:
            root, _ = tree(bus)
            names: dict[str, Any] = {"node": root}
            exec(observe, names)
            bus.start(bus.node(LATE, upstream=ADDRESS))
            bus.run(1)
            exec(f"observation.cancel{cancel}", names)
            bus.start(bus.node(LATE + 1, upstream=ADDRESS))
            bus.run(1)
        self.assertEqual(printed.getvalue(), "registered: 0x10002 Position.DOWNSTREAM\n")

    def test_copying(self) -> None:
        """More than may wait is sent without a refusal, and comes in order."""
        chunks = [b"%07d" % number * 1_000 for number in range(300)]
        copy = written(EMBED, "copying.py")["copy"]
        with VirtualBus(1) as bus:
            root, leaf = tree(bus, queued_bytes_soft=50_000, queued_bytes_hard=100_000)
            taker = Taker(root)
            bus.result_of(Deferred.fromCoroutine(copy(leaf, ROOT, chunks)))
            bus.run(5)
        self.assertEqual(taker.taken, chunks)

    def test_sending_a_file(self) -> None:
        """All of a file comes, piece by piece."""
        text = bytes(range(256)) * 4_000
        send_file = written(EMBED, "sending_a_file.py")["send_file"]
        with VirtualBus(1) as bus:
            root, leaf = tree(bus)
            taker = Taker(root)
            bus.result_of(Deferred.fromCoroutine(send_file(leaf, ROOT, BytesIO(text))))
            bus.run(5)
        self.assertEqual(b"".join(taker.taken), text)

    def process(self, caption: str, last: str, **environment: str) -> str:
        """Run the lines in a process of their own, and one more line; gives what it prints."""
        program = f"{captioned_blocks(EMBED)[caption]}\n{last}\n"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"PATH": "", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_freed_memory(self) -> None:
        """The process asks the kernel for large blocks no more, unless its environment decides."""
        self.assertEqual(self.process("freed_memory.py", BLOCKS), "0\n")
        decided = {"MALLOC_MMAP_THRESHOLD_": "65536"}
        self.assertEqual(self.process("freed_memory.py", BLOCKS, **decided), "1\n")

    def test_waiting_awake(self) -> None:
        """The reactor looks before it sleeps, where there is more than one processor."""
        look = "print(type(reactor._poller).__name__)"
        wanted = "epoll" if len(os.sched_getaffinity(0)) < 2 else "BusyPoller"
        self.assertEqual(self.process("waiting_awake.py", look), f"{wanted}\n")

    def test_short_turns(self) -> None:
        """The reactor has short turns."""
        look = "print(type(reactor).__name__)"
        self.assertEqual(self.process("short_turns.py", look), "ShortTurns\n")


class ReceiverPageTests(SynchronousTestCase):
    """docs/howto/write-a-receiver.rst, likewise."""

    def given(self, apart_seconds: float) -> list[list[bytes]]:
        """Send 25 jobs, so far apart; gives what the worker has each time it is done."""
        waiting, given = list(JOBS), []
        with VirtualBus(1) as bus:
            root, leaf = tree(bus)
            worker = root.receiver = written(RECEIVER, "worker.py")["Worker"](root)
            for _ in range(3):
                while waiting and not refused(leaf, waiting[0]):
                    waiting.pop(0)
                    if apart_seconds:
                        bus.run(apart_seconds)
                bus.run(1)
                given.append([bytes(job) for job in worker.jobs])
                worker.done()
                bus.run(1)
        return given

    def test_a_worker_that_pauses(self) -> None:
        """It is given ten jobs, and the next ten when it is done, in order."""
        self.assertEqual(self.given(0.1), [JOBS[:10], JOBS[10:20], JOBS[20:]])

    def test_jobs_that_come_together(self) -> None:
        """Likewise when all come in one frame, and it pauses in the middle of that."""
        self.assertEqual(self.given(0), [JOBS[:10], JOBS[10:20], JOBS[20:]])
