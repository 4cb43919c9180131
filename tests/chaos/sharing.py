"""Programs that say which channel data takes, besides what they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from twisted.logger import Logger

from atbus.node.connection import Connection
from atbus.node.endpoint import Endpoint
from atbus.node.node import Node
from tests.chaos import programs
from tests.chaos.programs import Speaker, Witness

W = TypeVar("W", bound=Witness)

_log = Logger(namespace="chaos")


def _observed(witness: W) -> W:
    """Say when data takes another channel."""

    def changed(endpoint: Endpoint, connection: Connection) -> None:
        scheme = connection.address.scheme.value
        witness.notes.write("channel", to=endpoint.bus_id, scheme=scheme)
        _log.info("data takes {scheme} to {to}", scheme=scheme, to=hex(endpoint.bus_id))

    witness.node.events.on_channel_changed.observe(changed)
    return witness


def speak(node: Node, settings: Mapping[str, Any]) -> Speaker:
    """Send messages."""
    return _observed(programs.speak(node, settings))


def watch(node: Node, settings: Mapping[str, Any]) -> Witness:
    """Keep notes."""
    return _observed(programs.watch(node, settings))
