"""A relay with a defect: the demo's application for proxies, in a node that swallows a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atbus.cli.demo import service
from atbus.node.node import Node
from atbus.wire.messages import MessageType

# Late enough that everything is in full swing.
SWALLOWED = 50


def make(node: Node, settings: Mapping[str, object]) -> service.DemoService:
    """
    Make the application of a proxy, and break its node if it is the one of the us region.

    The node says of one frame that it has been taken care of, and does nothing with it.

    :param node: The node.
    :param settings: Its settings.
    :returns: The application.
    """
    if node.config.name == "us-proxy-2":
        _break(node)
    return service.make(node, settings)


def _break(node: Node) -> None:
    traffic = node._parts.traffic
    forward = traffic._forward
    seen = 0

    def swallow(link: Any, frame: bytes, head: Any, origin: Any) -> None:
        nonlocal seen
        # A flush that is swallowed costs a second, and no message.
        seen += head[1] == MessageType.DATA
        if seen == SWALLOWED and head[1] == MessageType.DATA:
            link.discharge(head[9])
        else:
            forward(link, frame, head, origin)

    traffic._forward = swallow  # type: ignore[method-assign]  # that is the defect
