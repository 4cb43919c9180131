"""An application that wants more than anybody may keep: as many subjects as it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from atbus import limits
from atbus.node.node import Node

_TOKEN_LETTERS = limits.SUBJECT_BYTES // limits.SUBJECT_TOKENS_MAX - 1
_log = Logger(namespace="greedy")


def want(node: Node, settings: Mapping[str, Any]) -> Service:
    """
    Want many subjects, each as dear as one can be.

    :param settings: ``count``: how many.
    """
    return _Greedy(node, int(settings["count"]))


class _Greedy(Service):
    def __init__(self, node: Node, count: int) -> None:
        self._node = node
        self._count = count
        self._cooperator = Cooperator()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._cooperator.cooperate(self._work())

    def _work(self) -> Any:
        for number in range(self._count):
            first = number * limits.SUBJECT_TOKENS_MAX
            tokens = range(first, first + limits.SUBJECT_TOKENS_MAX)
            self._node.subscribe(".".join(f"{each:0{_TOKEN_LETTERS}}" for each in tokens), _ignore)
            yield None
        _log.info("wants {count} subjects", count=self._count)

    def stopService(self) -> None:
        self._cooperator.stop()
        super().stopService()  # type: ignore[no-untyped-call]  # likewise


def _ignore(_publication: object) -> None:
    """Nobody publishes there."""
