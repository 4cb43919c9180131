"""Programs that note what a registry tells of others, besides what they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from twisted.logger import Logger

from atbus.node.node import Node
from atbus.node.topology import NodeNews
from atbus.routing.registry import NodeDown, NodeUp
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

    witness.node.watch_nodes(told)
    witness.node.events.on_discovery.observe(changed)
    return witness


def speak(node: Node, settings: Mapping[str, Any]) -> Speaker:
    """Send messages."""
    return _observed(Speaker(node, **speech_of(settings)))


def watch(node: Node, settings: Mapping[str, Any]) -> Witness:
    """Send nothing."""
    return _observed(Witness(node))
