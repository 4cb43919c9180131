"""A program that talks, and notes how each of its questions ended, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from atbus.node.node import Node
from tests.chaos.programs import Speaker, machine_seconds, speech_of


class Timed(Speaker):
    """A speaker whose notes have all its questions: when it was asked, seconds, how it ended."""

    def __init__(self, node: Node, settings: Mapping[str, Any]) -> None:
        super().__init__(node, **speech_of(settings))
        self._questions: list[tuple[float, float, str]] = []

    def _ask(self, asked: Deferred[Any]) -> None:
        began = machine_seconds()

        def ended(result: object) -> object:
            error: Any = result.value if isinstance(result, Failure) else None
            outcome = "OK" if error is None else error.status.name
            self._questions.append((began, machine_seconds() - began, outcome))
            return result

        super()._ask(asked.addBoth(ended))

    def stopService(self) -> None:
        """Write down what was measured."""
        super().stopService()
        self.notes.write("questions", all=self._questions)


def speak(node: Node, settings: Mapping[str, Any]) -> Timed:
    """Send messages."""
    return Timed(node, settings)
