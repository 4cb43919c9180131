"""
The parts of a node, made and connected to each other.

Nothing is decided here, and nothing happens: this is the wiring diagram.
"""

from __future__ import annotations

from random import Random
from typing import Any, cast

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atbus.busid import BusId
from atbus.channels.interfaces import ChannelOptions, IChannelScheme
from atbus.channels.schemes import Channels
from atbus.channels.timers import MonotonicTimers
from atbus.errors import Status
from atbus.node.admin import Admin
from atbus.node.commands import Commands
from atbus.node.config import NodeConfig
from atbus.node.connection import Connection
from atbus.node.context import Context, Timers, Turn
from atbus.node.delivery import Inbox
from atbus.node.dialer import Dialer
from atbus.node.endpoint import Endpoint
from atbus.node.events import NodeEvents
from atbus.node.fates import Fates
from atbus.node.identity import this_identity
from atbus.node.judging import Judge
from atbus.node.leaving import Leaving
from atbus.node.link import FrameReader
from atbus.node.notices import Notices
from atbus.node.paths import Paths
from atbus.node.pulse import Pulse
from atbus.node.registrar import Registrar
from atbus.node.running import Running
from atbus.node.sending import Sender
from atbus.node.statistics import Statistics
from atbus.node.traffic import Traffic
from atbus.routing.table import Table
from atbus.wire.messages import MessageType


@attrs.frozen(eq=False, kw_only=True)
class Parts:
    """Everything that a node is made of."""

    context: Context
    fates: Fates
    inbox: Inbox
    traffic: Traffic
    sender: Sender
    commands: Commands
    registrar: Registrar
    dialer: Dialer
    pulse: Pulse
    leaving: Leaving
    running: Running


def wire(
    config: NodeConfig,
    reactor: Any,
    *,
    timers: Timers | None,
    channels: IChannelScheme | None,
    random: Random,
    epoch: int,
    log: Logger,
) -> Parts:
    """
    Make the parts of one node.

    :param timers: The clock; None for a monotonic one on *reactor*.
    :param channels: The channels; None for all that there are.
    :returns: The parts, connected, not started.
    """
    clock: Timers = MonotonicTimers(reactor) if timers is None else timers
    context = _context(config, clock, random, epoch, log)
    schemes = channels or Channels(
        reactor, _channel_options(config), cast("IReactorTime", clock)
    )
    endpoints: dict[int, Endpoint] = {}
    fates = Fates(context)
    inbox = Inbox(context, fates)
    traffic = Traffic(context, endpoints, fates, inbox.data_received)
    sender = Sender(context, traffic, inbox)
    registrar = Registrar(context, endpoints)
    dialer = Dialer(context, registrar, schemes)
    admin = Admin(context, registrar, sender, fates)
    commands = Commands(context, traffic, admin.commands)
    admin.asked = commands
    leaving = Leaving(
        context,
        registrar,
        traffic,
        busy=lambda: bool(inbox.unfinished or commands.unfinished or registrar.count_waiting()),
    )
    running = Running(context, dialer, leaving, registrar)

    paths = Paths(context, registrar, traffic, dialer, dialer.available)
    pulse = Pulse(
        context,
        registrar.remove,
        (registrar.expire_pending, paths.sweep, traffic.retry_parked),
    )
    notices = Notices(context, registrar, dialer)
    traffic.notify = notices.relayed

    def removed(endpoint: Endpoint, status: Status) -> None:
        pulse.forget(endpoint)
        paths.lost(endpoint)
        inbox.forget(endpoint.bus_id)
        running.removed(endpoint, status)

    traffic.command_lost = commands.lost
    inbox.traffic = traffic
    inbox.reply = sender.reply
    registrar.judge = Judge(context, registrar, pulse, running.takes_registrations)
    registrar.traffic = traffic
    registrar.readers = _readers(
        traffic, commands, pulse, paths, leaving, notices, registrar
    )
    registrar.on_control = pulse.watch
    registrar.on_gate = paths.data_up
    registrar.on_needs_data = paths.need_data
    registrar.on_available = dialer.available
    registrar.on_removed = removed
    registrar.on_refused = dialer.refused
    registrar.on_closed = dialer.closed
    running.wire(sender=sender, commands=commands, inbox=inbox, fates=fates, pulse=pulse)
    running.paths = paths
    return Parts(
        context=context,
        fates=fates,
        inbox=inbox,
        traffic=traffic,
        sender=sender,
        commands=commands,
        registrar=registrar,
        dialer=dialer,
        pulse=pulse,
        leaving=leaving,
        running=running,
    )


def _context(
    config: NodeConfig, clock: Timers, random: Random, epoch: int, log: Logger
) -> Context:
    return Context(
        config=config,
        timers=clock,
        turn=Turn(clock),
        events=NodeEvents(log),
        statistics=Statistics(),
        table=Table(BusId(config.id), config.subnets),
        random=random,
        log=log,
        identity=this_identity(config.hostname),
        bus_id=config.id,
        mode=config.mode,
        epoch=epoch,
    )


def _channel_options(config: NodeConfig) -> ChannelOptions:
    return ChannelOptions(
        heartbeat_seconds=config.heartbeat_seconds,
        tolerance=config.heartbeat_tolerance,
        linger_seconds=config.linger_seconds,
        overwrite_listen_path=config.overwrite_listen_path,
        allow_insecure=config.allow_insecure,
    )


def _readers(
    traffic: Traffic,
    commands: Commands,
    pulse: Pulse,
    paths: Paths,
    leaving: Leaving,
    notices: Notices,
    registrar: Registrar,
) -> dict[int, FrameReader]:
    """Say who reads which frames, besides DATA and FRAGMENT."""
    return {
        MessageType.HELLO: Connection.registration_frame,
        MessageType.REGISTER_REQUEST: Connection.registration_frame,
        MessageType.REGISTER_RESPONSE: Connection.registration_frame,
        MessageType.PING: pulse.ping_received,
        MessageType.PONG: pulse.pong_received,
        MessageType.GOODBYE: Connection.goodbye_frame,
        MessageType.GOODBYE_ACK: Connection.goodbye_answer_frame,
        MessageType.DRAIN: leaving.drain_received,
        MessageType.DRAIN_ACK: leaving.drain_answered,
        MessageType.DATA_RESPONSE: traffic.response_received,
        MessageType.COMMAND_REQUEST: commands.request_received,
        MessageType.COMMAND_RESPONSE: commands.response_received,
        MessageType.FLUSH: traffic.data_received,
        MessageType.FLUSH_ACK: paths.flush_answered,
        MessageType.CONNECT_NOTICE: notices.notice_received,
        MessageType.ADDRESS_UPDATE: registrar.addresses_received,
    }
