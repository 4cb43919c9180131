"""Programs that note what a registry tells of others, besides what they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from twisted.logger import Logger

from atbus.node.node import Node
from atbus.node.topology import NodeNews
from atbus.routing.registry import NodeDown, NodeUp
from atbus.routing.services import Service
from tests.chaos.programs import Speaker, Witness, speech_of

W = TypeVar("W", bound=Witness)

_log = Logger(namespace="chaos")


def _observed(witness: W) -> W:
    """Note what becomes of the registry, and who comes and goes there."""

    def told(news: NodeNews) -> None:
        about = news.record.bus_id
        match news:
            case NodeUp():
                witness.notes.write("come", about=about)
                _log.info("{about} has come", about=hex(about))
            case NodeDown():
                witness.notes.write("gone", about=about)
                _log.info("{about} has gone", about=hex(about))

    def changed(name: str, is_there: bool) -> None:
        witness.notes.write("registry", name=name, there=is_there)
        _log.info("the registry is {state}", state="there" if is_there else "away")

    def offers_no_more(service: Service) -> None:
        witness.notes.write("offers no more", about=service.bus_id)

    witness.node.watch_nodes(told)
    witness.node.events.on_service_gone.observe(offers_no_more)
    witness.node.events.on_discovery.observe(changed)
    return witness


def speak(node: Node, settings: Mapping[str, Any]) -> Speaker:
    """Send messages."""
    return _observed(Speaker(node, **speech_of(settings)))


class Patient(Speaker):
    """Send messages when all to whom they go are known, with what they offer."""

    def _begin(self) -> None:
        self.node.watch_nodes(self._look)
        self.node.events.on_service_found.observe(self._look)

    def _look(self, _: object) -> None:
        known = {record.bus_id for record in self.node.records()}
        if not self._speaks and all(
            target in known and self.node.services.get(target) for target in self._targets
        ):
            self._speaks = True
            _log.info("everybody is known")


def talk(node: Node, settings: Mapping[str, Any]) -> Patient:
    """Send messages, no earlier than everybody is known."""
    return _observed(Patient(node, **speech_of(settings)))


def watch(node: Node, settings: Mapping[str, Any]) -> Witness:
    """Send nothing."""
    return _observed(Witness(node))
