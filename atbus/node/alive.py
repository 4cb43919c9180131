"""Which nodes there are in this process, for what has only their ids to find them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from atbus.node.life import CREATED, STOPPED

if TYPE_CHECKING:
    from atbus.node.node import Node

#: Every node that was made and is not forgotten; `running_nodes` gives those that run.
NODES: Final[WeakSet[Node]] = WeakSet()


def running_nodes() -> list[Node]:
    """
    Give the nodes of this process that were started and have not stopped.

    :returns: In the order of their ids.
    """
    living = [node for node in NODES if node.state not in (CREATED, STOPPED)]
    return sorted(living, key=lambda node: node.bus_id)
