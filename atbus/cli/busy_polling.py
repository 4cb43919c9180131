"""Whether a process that was busy looks for more before it sleeps: its owner decides."""

from __future__ import annotations

import os
import time
from typing import Any, Final

from atbus.channels.busy_polling import BusyPoller

#: So long, unless said otherwise; an answer within a host takes half of it.
BUSY_POLL_SECONDS: Final = 100e-6


def poll_before_sleep(reactor: Any, seconds: float = BUSY_POLL_SECONDS) -> bool:
    """
    Let a reactor look for work for a while before it sleeps.

    Only for who owns the process, and before there are nodes. Nothing is done where that cannot be
    worth it: on a single processor, and with a reactor that does not wait with epoll.

    :param reactor: The process's reactor, Twisted's on epoll.
    :param seconds: How long at most, each time; 0: not at all.
    :returns: Whether it does now.
    """
    poller = getattr(reactor, "_poller", None)
    if seconds <= 0 or not hasattr(poller, "poll") or len(os.sched_getaffinity(0)) < 2:
        return False
    busy = BusyPoller(poller, seconds, time.monotonic)
    reactor._poller = busy  # noqa: SLF001 - it offers no other way
    return True
