"""Wait for something to be true, when what makes it true tells of each of its changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

PATIENCE_SECONDS = 180.0
"""How long a loaded machine may take for anything that a test waits for."""


class Changes:
    """
    Something that changes, as tests see it.

    :param reactor: Twisted's, for the limit.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def note(self, *_: object) -> None:
        """Something has changed; whatever the news are, they are looked up by those who wait."""
        for condition, met in list(self._waiting):
            if not met.called and condition():
                met.callback(None)

    async def until(self, condition: Callable[[], bool], what: str = "") -> None:
        """
        Wait until something is true.

        :param condition: That; asked now and after each change.
        :param what: It in words, for the case that it never is.
        """
        if condition():
            return
        met: Deferred[None] = Deferred()
        entry = (condition, met)
        self._waiting.append(entry)

        def too_late(_: object, seconds: float) -> None:
            raise AssertionError(f"not within {seconds} s: {what or condition}")

        met.addTimeout(PATIENCE_SECONDS, self._reactor, too_late)
        try:
            await met
        finally:
            self._waiting.remove(entry)
