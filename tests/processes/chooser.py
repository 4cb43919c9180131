"""
A program that chooses among services as a page of the documentation shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service as TwistedService
from twisted.logger import Logger
from zope.interface import implementer

from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.routing.services import Service

_log = Logger(namespace="chooser")


@implementer(IMessageReceiver)
class Chooser(TwistedService):
    """
    Name what one hears of; choose and send as the page does, once, when there is enough to choose.

    :param code: What the page shows; it has a node, the id of a player, and a payload.
    :param count: So many services are enough.
    """

    def __init__(self, node: Node, code: str, count: int) -> None:
        self._node = node
        self._code = code
        self._count = count
        self._heard_of: set[str] = set()
        node.receiver = self
        node.events.on_service_found.observe(self._found)

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Name what has arrived."""
        _log.info("received {payload}", payload=payload.decode())

    def _found(self, service: Service) -> None:
        _log.info("hears of {name}", name=service.name)
        before = len(self._heard_of)
        self._heard_of.add(service.name)
        if before < self._count <= len(self._heard_of):
            self._choose()

    def _choose(self) -> None:
        name = self._node.config.name
        scope: dict[str, Any] = {"node": self._node, "player_id": 7, "payload": name.encode()}
        exec(self._code, scope)  # the page's, as it stands
        _log.info("chose {target}", target=hex(scope["target"]))


def choose(node: Node, settings: Mapping[str, Any]) -> Chooser:
    """Choose as the file says that is named in the settings."""
    return Chooser(node, Path(settings["code"]).read_text(encoding="utf-8"), settings["count"])
