"""
Programs on a node with hostile neighbors, which says when each kind of refusal was counted, and on
good ones, which have patience: a machine that does other things as well may hold up everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from atbus import limits
from atbus.errors import Status
from atbus.node.node import Node
from tests.chaos.programs import Listener, Speaker, speech_of

#: What messages of the horde are refused for.
REFUSALS = (
    Status.SOURCE_REFUSED,
    Status.BUFFER_LIMIT,
    Status.NO_ROUTE,
    Status.UNKNOWN_MANDATORY,
)
_log = Logger(namespace="chaos")


class Besieged(Listener):
    """Take messages, and look at what the node counts."""

    _has_told = False

    def tick(self, ticks: int) -> None:
        """Say it once, when everything was refused that is to be."""
        super().tick(ticks)
        counted = self.node.statistics
        if (
            not self._has_told
            and all(counted.refused[each] for each in REFUSALS)
            and counted.suspicious_ratios
            and counted.route_words_ignored
        ):
            self._has_told = True
            _log.info("each kind of refusal was counted")


def _wait_for_ever() -> None:
    # Their neighbor reads on when everybody else has had his turn.
    limits.WRITE_DEADLINE_SECONDS = 3_600.0  # type: ignore[misc]


def speak(node: Node, settings: Mapping[str, Any]) -> Speaker:
    """Send messages, patiently."""
    _wait_for_ever()
    return Speaker(node, **speech_of(settings))


def listen(node: Node, settings: Mapping[str, Any]) -> Listener:
    """Take messages, patiently."""
    _wait_for_ever()
    return Listener(node, int(settings.get("every", 1000)))


def endure(node: Node, settings: Mapping[str, Any]) -> Besieged:
    """Take messages among hostile neighbors."""
    return Besieged(node, int(settings.get("every", 1000)))
