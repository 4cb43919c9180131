"""What was logged as failed, for those who assert that nothing was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer


@contextmanager
def logged_errors() -> Iterator[list[str]]:
    """
    Gather what is logged with a failure meanwhile.

    :returns: Each with the name of its exception.
    """
    found: list[str] = []

    @implementer(ILogObserver)
    def note(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            found.append(f"{failure.type.__name__}: {failure.getErrorMessage()}")

    globalLogPublisher.addObserver(note)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(note)
