"""
A message bus: every process a node, the fastest channel between any two.

The map. Each line imports only from the lines below it, never sideways across ``|``, never up::

    cli : __main__ : testing            entry points, public test tools
    nats | web | stream | aio | sync    gateways onto a node
    node                                obeys: owns endpoints and router, performs effects
    channels | discovery                I/O begins (first to import twisted.internet)
    ------------------------------------------------------------------------------------
    rights                              decides: no twisted, socket, time, random, logging
    handshake | routing | subjects      likewise, one part of it each
    wire                                speaks: messages, construct schema, codec, framing
    busid : address : libatbus : errors : limits : pem   the words

Start with `Node` and `NodeConfig`; give the node an `IMessageReceiver`. The names below are loaded
when they are first asked for, so that the core can be imported without Twisted.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atbus.address import Address
    from atbus.errors import Status, Undeliverable
    from atbus.node.config import NodeConfig
    from atbus.node.interfaces import IMessageReceiver
    from atbus.node.node import Node
    from atbus.routing.relation import Relation

__version__ = "0.1.0"

__all__ = [
    "Node",
    "NodeConfig",
    "IMessageReceiver",
    "Relation",
    "Status",
    "Undeliverable",
    "Address",
    "__version__",
]

_HOMES = MappingProxyType(
    {
        "Node": "atbus.node.node",
        "NodeConfig": "atbus.node.config",
        "IMessageReceiver": "atbus.node.interfaces",
        "Relation": "atbus.routing.relation",
        "Status": "atbus.errors",
        "Undeliverable": "atbus.errors",
        "Address": "atbus.address",
    }
)


def __getattr__(name: str) -> object:
    """
    Load a public name from its home (PEP 562).

    :param name: What was asked for.
    :returns: The class.
    :raises AttributeError: When it is not one of the public names.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
