"""
How a command ends: with an exit code that a script can rely on, and a sentence for people.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from atbus.errors import AtbusError, Status


class ExitCode(enum.IntEnum):
    """What the ``atbus`` command ends with."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOBODY = 3
    TIMED_OUT = 4
    REFUSED = 5
    INTERRUPTED = 130


_NOBODY: Final = frozenset(
    {
        Status.NO_ROUTE,
        Status.NOT_CONNECTED,
        Status.UNKNOWN_ENDPOINT,
        Status.NOT_ATBUS,
        Status.CONNECT_FAILED,
        Status.LINK_LOST,
        Status.GOODBYE,
        Status.STOPPED,
        Status.DISCONNECTED,
    }
)
_TIMED_OUT: Final = frozenset({Status.TIMEOUT, Status.HANDSHAKE_TIMEOUT, Status.HEARTBEAT_LOST})
_FAILED: Final = frozenset({Status.UNCERTAIN, Status.HANDLER_FAILED, Status.FRAGMENT_LOST})


def code_for(status: Status) -> ExitCode:
    """
    Say how a command ends because of an outcome.

    :param status: What became of what it asked for.
    :returns: The exit code.
    """
    if status is Status.OK:
        return ExitCode.DONE
    if status in _NOBODY:
        return ExitCode.NOBODY
    if status in _TIMED_OUT:
        return ExitCode.TIMED_OUT
    if status in _FAILED or status.is_breach:
        return ExitCode.FAILED
    return ExitCode.REFUSED


@attrs.define(slots=False, eq=False)
class CommandFailed(AtbusError):
    """
    A command that could not do what it was asked to do.

    :param code: What the process ends with.
    :param error: A short name for programs: that of a `Status`, or a word.
    :param message: A sentence for people.
    :param faults: The details, when there are several.
    """

    code: ExitCode
    error: str
    message: str
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, status: Status, message: str) -> CommandFailed:
        """
        Make a failure of an outcome.

        :param status: The outcome, not `Status.OK`.
        :param message: A sentence for people.
        :returns: The failure.
        """
        return cls(code_for(status), status.name, message)

    def __str__(self) -> str:
        return self.message
