"""
What signals do to a process that still loads its modules.

Ctrl-C ends it without a word, by the signal, as SIGTERM does: nothing has been opened that would
have to be closed, and Python's own handler would show the line of a module that is being loaded.
SIGHUP and SIGUSR2 are kept for the node to come, in whose place they would end the process.

What somebody else has set, or ignores, stays as it is. Nothing of Twisted is loaded here.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

KEPT: Final = (signal.SIGHUP, signal.SIGUSR2)
"""The signals that a node has something to do for."""

_kept: set[int] = set()


def end_when_interrupted() -> None:
    """Let Ctrl-C end the process, whatever it is doing; for who owns it, in its main thread."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_when_interrupted() -> None:
    """Let Ctrl-C be an exception again, as it is in every process of Python."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def keep_for_the_node() -> None:
    """Note what a node is to do, until `take` is asked for it."""
    for number in KEPT:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, keep)


def keep(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - of its kind
    """
    Note that a signal has come.

    :param number: The signal.
    :param frame: Where it has come, for `signal.signal`.
    """
    _kept.add(number)


def take(number: int) -> bool:
    """
    Ask whether a signal has come, and forget it.

    :param number: The signal.
    :returns: Whether it has come since it was asked for.
    """
    came = number in _kept
    _kept.discard(number)
    return came
