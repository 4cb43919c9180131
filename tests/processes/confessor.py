"""An application that shows all that its node is made of, as a debugger or a report would."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service

from atbus.node.node import Node

_DEPTH_MAX = 4


def confess(node: Node, _settings: Mapping[str, Any]) -> Service:
    """Show the node at the end, when everything has happened; a signal stops it."""
    return _Confessor(node)


class _Confessor(Service):
    def __init__(self, node: Node) -> None:
        self._node = node

    def stopService(self) -> None:
        """Show everything."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        seen: set[int] = set()
        _show(self._node, 0, seen)
        sys.stdout.write(f"confessed {len(seen)} objects\n")
        sys.stdout.flush()


def _show(thing: object, depth: int, seen: set[int]) -> None:
    """Write what an object of ours says of itself, and those that it has."""
    if id(thing) in seen or not type(thing).__module__.startswith("atbus"):
        return
    seen.add(id(thing))
    sys.stdout.write(f"{thing!r}\n{thing}\n")
    if depth < _DEPTH_MAX:
        names = [name for each in type(thing).__mro__ for name in getattr(each, "__slots__", ())]
        for name in {*names, *getattr(thing, "__dict__", {})}:
            _show(getattr(thing, name, None), depth + 1, seen)
