"""What a node tells its program, written down in order, and judged at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from atbus.node.connection import Connection
from atbus.node.endpoint import Endpoint
from atbus.node.node import Node
from atbus.wire.messages import Role


@attrs.define(eq=False)
class Diary:
    """
    The events of one node.

    :param node: Whose.
    """

    node: Node
    entries: list[tuple[Any, ...]] = attrs.field(init=False, factory=list)
    _page: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        for name, signal in vars(self.node.events).items():
            signal.observe(self._writer(name))

    def _writer(self, name: str) -> Callable[..., None]:
        def write(*arguments: object) -> None:
            self.entries.append((name, *arguments))

        return write

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """Give the arguments of every event of one kind."""
        return [entry[1:] for entry in self.entries[self._page :] if entry[0] == name]

    def registrations(self) -> list[tuple[int, str, str]]:
        """Give id, role and status of every ``on_register``."""
        return [(who, c.role.name, status.name) for who, c, status in self.of("on_register")]

    def added(self) -> list[int]:
        """Give the ids of all endpoints that were added."""
        return [endpoint.bus_id for (endpoint,) in self.of("on_endpoint_added")]

    def removed(self) -> list[tuple[int, str]]:
        """Give id and reason of all endpoints that were removed."""
        return [(e.bus_id, status.name) for e, status in self.of("on_endpoint_removed")]

    def states(self) -> list[str]:
        """Give the states the node has entered."""
        return [state for (state,) in self.of("on_state_changed")]

    def errors(self) -> list[str]:
        """Give the names of what ``on_error`` told."""
        return [status.name for status, _ in self.of("on_error")]

    def clear(self) -> None:
        """Begin a new page: what came before is not told any more."""
        self._page = len(self.entries)

    def story(self, *names: str) -> list[str]:
        """
        Tell the events of some kinds in order, each as a line.

        :param names: Without ``on_``; all about connections and endpoints by default.
        """
        wanted = names or ("new_connection", "register", "endpoint_added", "endpoint_removed")
        lines = []
        for name, *arguments in self.entries[self._page :]:
            short = name.removeprefix("on_")
            if short in wanted:
                lines.append(" ".join([short, *(_told(each) for each in arguments)]))
        return lines

    def faults(self, *, ended: bool) -> list[str]:
        """
        Look for events that do not fit together.

        :param ended: Whether the node has stopped, so that nothing may be open any more.
        """
        return [
            *self._endpoint_faults(ended=ended),
            *self._connection_faults(ended=ended),
            *self._life_faults(),
        ]

    def _endpoint_faults(self, *, ended: bool) -> list[str]:
        present: dict[int, Endpoint] = {}
        seen: set[int] = set()
        faults = []
        for name, *arguments in self.entries:
            if name not in ("on_endpoint_added", "on_endpoint_removed"):
                continue
            endpoint = arguments[0]
            if name == "on_endpoint_added":
                if endpoint.bus_id in present or id(endpoint) in seen:
                    faults.append(f"{endpoint} was added twice")
                present[endpoint.bus_id] = endpoint
                seen.add(id(endpoint))
            elif present.pop(endpoint.bus_id, None) is not endpoint:
                faults.append(f"{endpoint} was removed without having been added")
        if ended:
            faults += [f"{endpoint} was never removed" for endpoint in present.values()]
        return faults

    def _connection_faults(self, *, ended: bool) -> list[str]:
        counts: dict[Connection, Counter[str]] = {}
        faults = []
        for name, *arguments in self.entries:
            if name == "on_new_connection":
                counts.setdefault(arguments[0], Counter())
            if name not in _OF_CONNECTIONS:
                continue
            connection = arguments[1] if name == "on_register" else arguments[0]
            count = counts.setdefault(connection, Counter())
            if not count and name != "on_new_connection":
                faults.append(f"{name} of {connection} came before it was new")
            if count["on_close_connection"]:
                faults.append(f"{name} of {connection} came after its end")
            count[name] += 1
        for connection, count in counts.items():
            most = max(count.values())
            if most > 1:
                faults.append(f"{connection}: {dict(count)}")
            if ended and not count["on_close_connection"]:
                faults.append(f"{connection} was never closed")
            registers = connection.role is not Role.RING
            if registers and count["on_close_connection"] and not count["on_register"]:
                faults.append(f"{connection}: its registration never ended")
        return faults

    def _life_faults(self) -> list[str]:
        faults = []
        up = False
        upstream: int | None = None
        for name, *arguments in self.entries:
            if name == "on_upstream_changed":
                if upstream == arguments[0]:
                    faults.append(f"the upstream changed from {upstream} to {arguments[0]}")
                upstream = arguments[0]
            if name == "on_node_up":
                if up:
                    faults.append("up twice")
                up = True
            elif name == "on_node_down":
                if not up:
                    faults.append("down without having been up")
                up = False
            elif name == "on_state_changed" and arguments[0] == "starting" and up:
                faults.append("started again while it was up")
        return faults


_OF_CONNECTIONS = frozenset(
    {"on_new_connection", "on_register", "on_close_connection", "on_invalid_connection"}
)


def _told(value: object) -> str:
    if isinstance(value, Endpoint):
        return f"{value.bus_id:x}"
    if isinstance(value, Connection):
        return f"{'to' if value.dialled else 'from'} {value.role.name.lower()}"
    if isinstance(value, int):
        return getattr(value, "name", f"{value:x}")
    return str(value)
