"""
Change the configuration of a node that runs.

Most options are read where they are used, so that a new configuration is enough. What is kept here:
what the parts have made of an option - queues, heartbeats, waits - is made again of the new one. An
option that is not reloadable keeps its value until the node is made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from atbus.node.config import NodeConfig, difference

if TYPE_CHECKING:
    from atbus.node.node import Node
    from atbus.node.parts import Parts


#: Options that are not the node's, but those of somebody beside it.
FOLLOWED: Final = frozenset({"nats"})


class Follower(Protocol):
    """Somebody beside a node who is told of its configuration: `Node.followers`."""

    @property
    def follows(self) -> frozenset[str]:
        """The names of options that it makes something of."""

    def prepare(self, config: NodeConfig) -> Callable[[], object]:
        """
        Get ready for another configuration.

        :param config: It.
        :returns: Changes over; this must not fail, and nothing may change before.
        :raises ConfigurationError: It cannot; then the node keeps its configuration, too.
        """


@attrs.frozen
class Reload:
    """
    What a new configuration changed.

    :param applied: The names of the options that have new values.
    :param waiting: Those that keep their old ones until the node is made anew.
    """

    applied: frozenset[str]
    waiting: frozenset[str]


# Left out, they follow other options: another way to give them is kept though they do not change.
_FOLLOWING: Final = frozenset({"heartbeat_seconds", "heartbeat_tolerance", "shm_bytes_max"})


def reconfigure(node: Node, wanted: NodeConfig) -> Reload:
    """
    Let a node run with another configuration, as far as this is possible while it runs.

    Connections, messages and whatever waits stay as they are. What is about connections that are
    being made - tokens, ranges, the time for a handshake - counts for those that come.

    :param node: The node.
    :param wanted: Everything it would be told if it were made now.
    :returns: What has changed, and what would have to.
    :raises ConfigurationError: When the new values do not go together with those that stay; then
        nothing has changed.
    """
    parts = node._parts  # noqa: SLF001  # the parts are this package's
    applied, waiting = difference(node.config, wanted)
    followed = frozenset().union(*(each.follows for each in parts.followers))
    fixed = applied & (parts.discovering.fixed(wanted) | FOLLOWED - followed)
    applied, waiting = applied - fixed, waiting | fixed
    given = wanted.given()
    config = node.config.replace(**{name: given[name] for name in applied | _FOLLOWING - fixed})
    rights = parts.permits.read(config)
    parts.discovering.check(config)
    changes = [follower.prepare(config) for follower in parts.followers]
    node.config = parts.context.config = config
    if applied:
        _pass_on(parts, config, applied)
    parts.permits.use(rights)
    parts.subjects.subscribers.judge()
    # The files may have changed where their names have not.
    parts.sources.reconfigure()
    parts.discovering.reconfigure()
    parts.permits.refresh()
    for change in changes:
        change()
    return Reload(applied, waiting)


def _pass_on(parts: Parts, config: NodeConfig, applied: frozenset[str]) -> None:
    """Tell the parts that have made something of the old values."""
    parts.channel_options.linger_seconds = config.linger_seconds
    parts.channel_options.heartbeat_seconds = config.heartbeat_seconds
    parts.channel_options.tolerance = config.heartbeat_tolerance
    parts.context.budget.resize(config.queued_bytes_node)
    if "records" in applied:
        parts.topology.reconfigure()
    if applied & {"direct_connections", "policy"}:
        # Ways that are in use are looked up again, and with them whom to connect to.
        parts.traffic.changed()
    parts.sender.reconfigure()
    parts.subjects.reconfigure()
    parts.inbox.reconfigure()
    parts.route_table.reconfigure()
    if parts.running.upstream is not None:
        parts.running.upstream.reconfigure()
    for endpoint in [*parts.registrar.endpoints.values(), *parts.registrar.temporary]:
        endpoint.reconfigure()
        if applied & {"heartbeat_seconds", "heartbeat_tolerance"}:
            parts.pulse.begin_again(endpoint)
        for connection in endpoint.connections:
            if connection.link is not None:
                connection.link.reconfigure()
