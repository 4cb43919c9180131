"""
Applications that publish and subscribe, and say aloud what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.errors import Undeliverable
from atbus.node.node import Node
from atbus.node.publication import Publication

_TICK_SECONDS = 0.05
# Nothing that a test waits for ends because the machine is slow.
_ASK_SECONDS = 600.0
_log = Logger(namespace="reader")


class Asker(Service):
    """Asks the same question again and again, and says each time that the outcome is another."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._last = ""
        self._loop = LoopingCall(self._tick)
        node.events.on_node_up.observe(self._begin)

    def _begin(self) -> None:
        self._loop.start(_TICK_SECONDS)

    def _tick(self) -> None:
        asking = self._node.request_subject("hours.now", b"?", timeout=_ASK_SECONDS)
        asking.addCallbacks(self._answered, self._failed)

    def _answered(self, answer: Publication) -> None:
        self._say(f"answered {answer.payload.decode()} by {answer.source:#x}")

    def _failed(self, failure: Failure) -> None:
        failure.trap(Undeliverable)
        error: Any = failure.value
        self._say(f"failed {error.status.name}")

    def _say(self, outcome: str) -> None:
        if outcome != self._last:
            self._last = outcome
            _log.info("{outcome}", outcome=outcome)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        if self._loop.running:
            self._loop.stop()


def ask(node: Node, settings: Mapping[str, object]) -> Asker:
    """Ask what somebody answers."""
    return Asker(node)


def answer(node: Node, settings: Mapping[str, object]) -> None:
    """Answer, and say that the whole bus knows of it."""
    subscription = node.subscribe("hours.*", lambda question: question.payload + b"!")
    node.events.on_node_up.observe(
        lambda: subscription.everywhere().addCallback(lambda _: _log.info("known everywhere"))
    )
