"""
The node: owns its parts and wires them; decides nothing.

Which part does what is told in `atbus.node`.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from atbus.channels.interfaces import IChannelScheme
from atbus.errors import AtbusError
from atbus.node import parts
from atbus.node.alive import NODES
from atbus.node.choosing import Choosing
from atbus.node.config import NodeConfig
from atbus.node.context import Timers
from atbus.node.events import NodeEvents
from atbus.node.identity import epoch_now
from atbus.node.interfaces import INode
from atbus.node.messaging import Messaging
from atbus.node.neighborhood import Neighborhood
from atbus.node.reload import Follower
from atbus.node.statistics import Statistics
from atbus.node.subjects import Subjects


@implementer(INode)
class Node(Messaging, Subjects, Neighborhood, Choosing, Service):
    """
    One participant of the bus.

    :param config: Everything it is told.
    :param reactor: Twisted's reactor; several nodes may share one.
    :param timers: The node's clock, by default a monotonic one on the reactor.
    :param channels: How addresses are dialled and listened on, by default every scheme there is.
    :param random: Jitter and automatic ids.
    :param epoch: The node's incarnation, by default the wall clock's seconds.
    """

    def __init__(
        self,
        config: NodeConfig,
        reactor: Any,
        *,
        timers: Timers | None = None,
        channels: IChannelScheme | None = None,
        random: Random | None = None,
        epoch: int | None = None,
    ) -> None:
        self.config = config
        self.name = config.name or None
        self._parts = parts.wire(
            config,
            reactor,
            timers=timers,
            channels=channels,
            random=random or Random(),  # noqa: S311  # jitter, not secrets
            epoch=epoch_now() if epoch is None else epoch,
            log=Logger(namespace="atbus.node"),
        )
        NODES.add(self)
        self._open_flows = self._parts.context.open_flows
        self._turn = self._parts.context.turn

    def __repr__(self) -> str:
        name = f" ({self.config.name})" if self.config.name else ""
        return f"<Node {self.bus_id:#x}{name} {self.state}>"

    # Life.

    @property
    def bus_id(self) -> int:
        """Our bus id; 0 while temporary, or automatic and not assigned yet."""
        return self._parts.context.bus_id

    @property
    def epoch(self) -> int:
        """Our incarnation, as others know it."""
        return self._parts.context.epoch

    @property
    def state(self) -> str:
        """Where the node is in its life, see `atbus.node.life`."""
        return self._parts.running.life.state

    @property
    def followers(self) -> list[Follower]:
        """Who is beside the node and told of its configuration, too; for those who are."""
        return self._parts.followers

    @property
    def events(self) -> NodeEvents:
        """What the node tells, signal by signal."""
        return self._parts.context.events

    @property
    def statistics(self) -> Statistics:
        """What the node has counted."""
        return self._parts.context.statistics

    def start(self) -> Deferred[None]:
        """
        Listen and register.

        :returns: Fires when the node listens on all its addresses and can reach its upstream, if
            it has one; starting a node that is up fires at once. Fails with `ListenFailed`, or with
            `RegistrationRefused`: an upstream refuses (first), `TIMEOUT`, or `STOPPED` meanwhile.
        :raises LocalProtocolError: The node is stopping.
        """
        return self._parts.running.start()

    def stop(self) -> Deferred[None]:
        """
        Stop in good order: what was accepted is delivered or answered first.

        :returns: Fires when nothing of the node is left; never fails.
        """
        return self._parts.running.stop()

    def startService(self) -> None:  # Twisted's name
        """Start as a service; a node that cannot come up says so in its events, and stops."""
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        # A node that cannot come up has said why in its events.
        self.start().addErrback(lambda failure: failure.trap(AtbusError) and None)

    def stopService(self) -> Deferred[None]:  # Twisted's name
        """Stop as a service; the Deferred fires when nothing of the node is left."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        return self.stop()
