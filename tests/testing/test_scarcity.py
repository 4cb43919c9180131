"""Machines that run short, for tests: memory, disks, and the time of day."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase

from atbus.testing import small_disk, wall_clock
from atbus.testing.leftovers import name_of_ours, of_the_dead
from atbus.testing.memory_group import _VERSIONS, MemoryGroup
from atbus.testing.small_disk import SmallDisk
from atbus.testing.wall_clock import WallClock
from tests.chaos.case import need
from tests.documents import captioned_blocks

DISK_BYTES = 64 * 1024
PAGE = "howto/test-on-a-bad-network.rst"

#: What makes something, says so, and is killed.
KILLED = """
import os, signal, sys
from pathlib import Path
from atbus.testing.memory_group import MemoryGroup
from atbus.testing.small_disk import SmallDisk
made = {"disk": lambda: SmallDisk(Path(sys.argv[2]), 65536),
        "group": lambda: MemoryGroup.make(2**26)}[sys.argv[1]]()
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(*words: str) -> subprocess.Popen[bytes]:
    """Run a test that is killed in the middle."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, *words], env=environment)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    return process


class LeftoverTests(SynchronousTestCase):
    def test_whose_they_are(self) -> None:
        """What has the number of a process that lives is its own; other names are others'."""
        process = subprocess.Popen(["true"])
        process.wait()
        dead = f"atbus-test-{process.pid}"
        names = [name_of_ours(), name_of_ours(3), dead, f"{dead}-1", "atbus-test-x", f"x{dead}"]
        self.assertEqual(list(of_the_dead(names)), [dead, f"{dead}-1"])


class MemoryGroupTests(SynchronousTestCase):
    """A bound of memory."""

    def setUp(self) -> None:
        group = MemoryGroup.make(2**26)
        need(group is not None or os.geteuid() == 0, "a control group for memory")
        if group is None:
            self.skipTest("this machine lets root make no control group for memory")
        self.group = group

    def test_who_takes_more(self) -> None:
        """Who takes more is killed, who takes less is not, and the group is gone behind them."""
        with self.group as group:
            folder = group._folder
            for size, code in ((2**20, 0), (2**27, -signal.SIGKILL)):
                program = f"input(); bytearray(b'x' * {size})"
                process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
                group.add(process.pid)
                process.communicate(b"go on\n")
                self.assertEqual(process.returncode, code)
        self.assertFalse(folder.exists())

    def test_a_process_knows(self) -> None:
        """A process reads how much memory it has, as a node does at its start."""
        with self.group as group:
            program = "input(); from atbus.node.footprint import memory_limit as m; print(m())"
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            group.add(process.pid)
            told, _ = process.communicate(b"go on\n")
            self.assertEqual(told, b"67108864\n")

    def test_of_a_test_that_was_killed(self) -> None:
        """What such a one has left goes when the next one is made."""
        self.group.remove()
        before = killed("group")
        left = [root.glob(f"atbus-test-{before.pid}-*") for root, _ in _VERSIONS]
        folders = [folder for found in left for folder in found]
        self.assertEqual(len(folders), 1)
        group = MemoryGroup.make(2**26)
        assert group is not None
        group.remove()
        self.assertFalse(folders[0].exists())


class SmallDiskTests(SynchronousTestCase):
    """A disk that is soon full."""

    def setUp(self) -> None:
        missing = small_disk.what_is_missing()
        need(missing is None, str(missing))
        self.folder = Path(self.mktemp()).resolve()

    def test_full(self) -> None:
        """It holds so much, then nothing, and more when it is emptied; then it is gone."""
        with SmallDisk(self.folder, DISK_BYTES) as disk:
            (disk.folder / "one").write_bytes(bytes(DISK_BYTES // 2))
            disk.fill()
            error = self.assertRaises(OSError, (disk.folder / "two").write_bytes, b"x")
            self.assertEqual(error.errno, errno.ENOSPC)
            disk.empty()
            (disk.folder / "two").write_bytes(b"x")
            # Whoever still writes to it does not keep it.
            late = (disk.folder / "three").open("wb")
            self.addCleanup(late.close)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_test_that_fails(self) -> None:
        """It is taken away when the block ends by an exception."""

        def fail() -> None:
            with SmallDisk(self.folder, DISK_BYTES):
                raise LookupError

        self.assertRaises(LookupError, fail)
        self.assertFalse(os.path.ismount(self.folder))

    def test_of_a_test_that_was_killed(self) -> None:
        """What such a one has left goes when the next one is made."""
        folder = self.folder.with_name("left \\ behind")
        killed("disk", str(folder))
        self.assertTrue(os.path.ismount(folder))
        with SmallDisk(self.folder, DISK_BYTES):
            self.assertFalse(os.path.ismount(folder))

    def test_no_such_place(self) -> None:
        """What cannot be made is told in words."""
        place = self.folder / "no" / "such"
        self.assertRaises(OSError, SmallDisk, place, DISK_BYTES)
        error = self.assertRaises(OSError, SmallDisk, self.folder, -1)
        self.assertIn("mount -t tmpfs", str(error))


class WallClockTests(SynchronousTestCase):
    """The time of day of programs."""

    def test_set(self) -> None:
        """A program sees each time that is set, and its monotonic clock goes on as it does."""
        missing = wall_clock.what_is_missing()
        need(missing is None, str(missing))
        folder = Path(self.mktemp())
        folder.mkdir()
        clock = WallClock(folder)
        program = "import time\nwhile input(): print(time.time(), time.monotonic(), flush=True)"
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, **clock.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        told = []
        for hours in (0, 10, -10):
            clock.set(hours * 3600)
            process.stdin.write(b"now\n")
            process.stdin.flush()
            told.append([float(word) for word in process.stdout.readline().split()])
        process.communicate(b"\n")
        (first, began), (later, middle), (earlier, ended) = told
        self.assertGreater(later - first, 9 * 3600)
        self.assertLess(earlier - first, -9 * 3600)
        self.assertTrue(began <= middle <= ended < began + 3600)


class HowToTests(TestCase):
    """The page for readers."""

    timeout = 300

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    async def run_program(self, *words: str) -> str:
        """Run a program to its good end; gives what it said."""
        said, complaint, code = await getProcessOutputAndValue(
            sys.executable, words, self.environment, str(self.folder)
        )
        self.assertEqual(code, 0, (said + complaint).decode())
        return str(said.decode())

    async def test_short(self) -> None:
        """What the page shows of machines that run short are tests that pass, or are skipped."""
        text = captioned_blocks(PAGE)["test_short.py"]
        (self.folder / "test_short.py").write_text(text, encoding="utf-8")
        said = await self.run_program("-m", "twisted.trial", "test_short")
        self.assertIn("Ran 4 tests", said)

    async def test_certificates(self) -> None:
        """What the page shows of certificates makes one that has ended."""
        text = captioned_blocks(PAGE)["ended.py"]
        (self.folder / "ended.py").write_text(text, encoding="utf-8")
        await self.run_program("ended.py")
        words = ("check", "cert", "ended.pem", "--realm", "shop", "--authorities", "authority.pem")
        said, _, code = await getProcessOutputAndValue(
            sys.executable, ["-m", "atbus", *words], self.environment, str(self.folder)
        )
        self.assertEqual((code, said), (2, b"CRITICAL: ended.pem: it has expired\n"))
