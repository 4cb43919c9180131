"""Memory that was freed, and is not given back at once."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.freed_memory import keep_freed_memory

# Eight messages of a mebibyte come and go; what the C library says of them.
_PROGRAM = """
import ctypes, json
from atbus.cli.freed_memory import keep_freed_memory
from atbus.cli.twistd import Options, makeService

class Report(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split())]

look = ctypes.CDLL(None).mallinfo2
look.restype = Report
kept = {first}
mapped = look().hblks
messages = [bytes([i]) * (1 << 20) for i in range(8)]
mapped = look().hblks - mapped
del messages
print(json.dumps(dict(kept=kept is True, mapped=mapped, free=look().fordblks)))
"""


def _run(first: str, **environment: str) -> Any:
    """
    Run the program.

    :param first: What it does before anything comes.
    :param environment: All of it.
    """
    answer = subprocess.run(
        [sys.executable, "-c", _PROGRAM.replace("{first}", first)],
        env={"PATH": "", **environment},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(answer.stdout)


class FreedMemoryTests(SynchronousTestCase):
    """A process that is there for one node."""

    def test_messages_that_are_gone_leave_their_memory(self) -> None:
        """What large messages needed stays for the next ones; without it all is given back."""
        kept, usual = _run("keep_freed_memory()"), _run("None")
        self.assertTrue(kept["kept"])
        self.assertEqual(kept["mapped"], 0)
        self.assertGreaterEqual(kept["free"], 8 << 20)
        self.assertGreater(usual["mapped"], 0)
        self.assertLess(usual["free"], 8 << 20)

    def test_a_process_of_twistd_keeps_it(self) -> None:
        """A process that twistd makes a node of is one that keeps it."""
        self.assertEqual(_run("makeService(Options())")["mapped"], 0)

    def test_who_has_decided_is_left_alone(self) -> None:
        """An environment that sets the allocator is stronger."""
        answer = _run("keep_freed_memory()", MALLOC_MMAP_THRESHOLD_="65536")
        self.assertFalse(answer["kept"])
        self.assertEqual(answer["mapped"], 8)
        self.assertFalse(keep_freed_memory({"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}))
