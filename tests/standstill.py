"""
Let a process stand still, and know that it does.

``SIGSTOP`` is asynchronous: the threads of a process stop one after the other, each when it comes
to it, and until then they go on answering. The kernel tells the parent when the last one has.
"""

from __future__ import annotations

import os
import signal
from threading import Event

_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.001


def freeze(pid: int) -> None:
    """
    Stop a child of this process; return when none of its threads does anything any more.

    :param pid: Its process id.
    :raises AssertionError: It has ended, or goes on and on.
    """
    os.kill(pid, signal.SIGSTOP)
    # Not taken: whoever reaps the process must find everything, and it may be stopped twice.
    changes = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG
    never = Event()
    for _ in range(round(_PATIENCE_SECONDS / _LOOK_SECONDS)):
        change = os.waitid(os.P_PID, pid, changes)
        if change is not None:
            if change.si_code != os.CLD_STOPPED:
                raise AssertionError(f"process {pid} has ended: {change}")
            return
        never.wait(_LOOK_SECONDS)
    raise AssertionError(f"process {pid} does not stop")


def thaw(pid: int) -> None:
    """
    Let a process go on.

    :param pid: Its process id.
    """
    os.kill(pid, signal.SIGCONT)
