"""
The parts of a node, made and connected to each other.

Nothing is decided here, and nothing happens: this is the wiring diagram.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, cast

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atbus.busid import BusId
from atbus.channels.interfaces import ChannelOptions, IChannelScheme
from atbus.channels.schemes import Channels
from atbus.channels.timers import MonotonicTimers
from atbus.channels.turn_ends import turn_ends_of
from atbus.errors import Status
from atbus.node.admin import Admin
from atbus.node.admin_services import commands_about
from atbus.node.asking import Asking
from atbus.node.commands import Commands
from atbus.node.config import NodeConfig
from atbus.node.connection import Connection
from atbus.node.context import Context, Timers, Turn
from atbus.node.credentials import credentials_of
from atbus.node.data_streams import DataStreams
from atbus.node.delivery import Inbox
from atbus.node.dialer import Dialer
from atbus.node.directs import Directs
from atbus.node.discovering import Discovering
from atbus.node.draining import Draining
from atbus.node.endpoint import Endpoint
from atbus.node.events import NodeEvents
from atbus.node.fates import Fates
from atbus.node.floodgate import Floodgate
from atbus.node.identity import this_identity
from atbus.node.judging import Judge
from atbus.node.lanes import Lanes
from atbus.node.leaving import Leaving
from atbus.node.notices import Notices
from atbus.node.pacing import Pacing
from atbus.node.paths import Paths
from atbus.node.peer_links import PeerLinks
from atbus.node.permits import Permits
from atbus.node.pressure import Pressure
from atbus.node.pulse import Pulse
from atbus.node.readers import FrameReader
from atbus.node.registrar import Registrar
from atbus.node.rehoming import Rehoming
from atbus.node.reload import Follower
from atbus.node.rings import Rings
from atbus.node.route_table import RouteTable
from atbus.node.running import Running
from atbus.node.sending import Sender
from atbus.node.service_talk import ServiceTalk
from atbus.node.sources import Sources
from atbus.node.statistics import Statistics
from atbus.node.stream_port import StreamPort
from atbus.node.subject_parts import SubjectParts, make_subjects
from atbus.node.topology import Topology
from atbus.node.traffic import Traffic
from atbus.node.writers import Writers
from atbus.routing.table import Table
from atbus.wire.messages import Capability, MessageType

_STREAMS = tuple(kind for kind in MessageType if kind.name.startswith("STREAM_"))


@attrs.frozen(eq=False, kw_only=True)
class Parts:
    """Everything that a node is made of."""

    context: Context
    channel_options: ChannelOptions
    fates: Fates
    inbox: Inbox
    traffic: Traffic
    sender: Sender
    asking: Asking
    commands: Commands
    registrar: Registrar
    dialer: Dialer
    paths: Paths
    rings: Rings
    lanes: Lanes
    notices: Notices
    pulse: Pulse
    pressure: Pressure
    writers: Writers
    leaving: Leaving
    rehoming: Rehoming
    draining: Draining
    running: Running
    topology: Topology
    directs: Directs
    route_table: RouteTable
    discovering: Discovering
    services: ServiceTalk
    permits: Permits
    subjects: SubjectParts
    sources: Sources
    followers: list[Follower] = attrs.field(init=False, factory=list)
    streams: StreamPort = attrs.field(
        init=False,
        default=attrs.Factory(
            lambda self: StreamPort(self.context, self.sender, self.traffic, self.writers),
            takes_self=True,
        ),
    )
    data_streams: DataStreams = attrs.field(
        init=False,
        default=attrs.Factory(
            lambda self: DataStreams(self.context, self.registrar, self.dialer), takes_self=True
        ),
    )
    floodgate: Floodgate = attrs.field(
        init=False, default=attrs.Factory(lambda self: Floodgate(self.context), takes_self=True)
    )


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
    turn = Turn(clock, turn_ends_of(reactor))
    context = _context(config, clock, turn, random, epoch, log)
    options = _channel_options(config)
    options.name = lambda: f"{context.bus_id:#x}"
    schemes = channels or Channels(reactor, options, cast("IReactorTime", clock))
    made = _make(context, schemes, options, reactor)
    options.turns_away = made.dialer.doorway.turns_away
    options.local_room = made.dialer.doorway.local_room
    options.lets_begin = made.dialer.doorway.lets_begin
    options.bad_handshake = made.dialer.doorway.bad_handshake
    options.tls_refused = made.dialer.doorway.tls_refused
    made.pulse.sweeps += _sweeps(made)
    _connect(context, made)
    _connect_moves(made)
    _connect_rings(made)
    _connect_streams(made)
    _connect_topology(context, made)
    return made


def _make(
    context: Context, schemes: IChannelScheme, options: ChannelOptions, reactor: Any
) -> Parts:
    """Make the parts, each with those that it asks of."""
    endpoints: dict[int, Endpoint] = {}
    fates = Fates(context)
    inbox = Inbox(context, fates)
    pressure = Pressure(context, endpoints)
    traffic = Traffic(context, endpoints, fates, inbox.data_received, pressure)
    sender = Sender(context, traffic, inbox)
    registrar = Registrar(context, endpoints)
    dialer = Dialer(context, registrar, schemes)
    topology = Topology(context, traffic.changed)
    admin = Admin(context, registrar, sender, fates)
    subjects = make_subjects(context, endpoints, traffic, sender)
    services = ServiceTalk(context, endpoints)
    discovering = Discovering(context, topology, reactor, services)
    built_in = {**admin.commands, **subjects.admin.commands, **commands_about(discovering.services)}
    commands = admin.asked = Commands(context, traffic, built_in)
    route_table = admin.route_table = RouteTable(context, registrar, topology)
    paths = Paths(context, registrar, traffic)
    rings = Rings(context, registrar, dialer, paths)
    lanes = admin.lanes = Lanes(context, registrar, rings, dialer, options, reactor)
    directs = admin.directs = Directs(context, topology, traffic, dialer)
    busy = partial(_is_busy, context, registrar, inbox, directs, commands)
    leaving = Leaving(context, registrar, traffic, paths, dialer.connections, busy)
    running = Running(context, dialer, leaving, registrar)
    admin.drain = running.drain
    pacing = Pacing(context, dialer.connections, registrar)
    pulse = admin.pulse = Pulse(context, registrar.remove, (pacing.sweep,))
    return Parts(
        context=context,
        channel_options=options,
        fates=fates,
        inbox=inbox,
        traffic=traffic,
        sender=sender,
        asking=Asking(sender, fates, inbox),
        commands=commands,
        registrar=registrar,
        dialer=dialer,
        paths=paths,
        rings=rings,
        lanes=lanes,
        notices=Notices(context, registrar, dialer),
        pulse=pulse,
        pressure=pressure,
        writers=Writers(context, sender, traffic, inbox.window),
        leaving=leaving,
        rehoming=Rehoming(context, registrar, topology, route_table, traffic.moves, leaving),
        draining=Draining(context, registrar, topology),
        running=running,
        topology=topology,
        directs=directs,
        route_table=route_table,
        discovering=discovering,
        services=services,
        permits=Permits(context, registrar, options, traffic.changed),
        subjects=subjects,
        sources=Sources(context, topology, registrar, dialer, reactor),
    )


def _sweeps(made: Parts) -> tuple[Callable[[], None], ...]:
    """Say who looks now and then what is due."""
    return (
        made.subjects.sweep,
        made.traffic.moves.sweep,
        made.data_streams.sweep,
        made.rings.sweep,
        made.lanes.sweep,
        made.pressure.sweep,
        made.directs.sweep,
        made.route_table.sweep,
        made.permits.sweep,
        made.services.sweep,
        made.floodgate.sweep,
        made.discovering.sweep,
        made.sources.sweep,
        made.registrar.expire_pending,
        made.traffic.courier.retry_parked,
        made.writers.look,
        made.sender.sweep,
    )


def _is_busy(
    context: Context, registrar: Registrar, inbox: Inbox, directs: Directs, commands: Commands
) -> bool:
    """Tell whether the node owes anybody an answer, or a message."""
    waiting = registrar.count_waiting() or inbox.held or directs.waiting or context.ways.held
    waiting = waiting or registrar.traffic.verifier.has_news
    return bool(inbox.answering.unfinished or commands.unfinished or waiting)


def _connect(context: Context, made: Parts) -> None:
    """Tell the parts whom to call back."""
    registrar, traffic, running = made.registrar, made.traffic, made.running
    pressure = made.pressure

    def removed(endpoint: Endpoint, status: Status) -> None:
        made.pulse.forget(endpoint)
        made.paths.lost(endpoint)
        made.data_streams.forget(endpoint)
        made.rings.forget(endpoint, status)
        made.lanes.forget(endpoint)
        pressure.removed(endpoint)
        made.inbox.forget(endpoint.bus_id)
        made.route_table.removed(endpoint, status)
        made.subjects.removed(endpoint)
        made.services.removed(endpoint, status)
        made.rehoming.removed(endpoint)
        made.draining.removed(endpoint)
        running.removed(endpoint, status)

    def window_opened() -> None:
        pressure.window_opened()
        made.writers.look_soon()

    def controlled(endpoint: Endpoint) -> None:
        # One may have come while it registered.
        running.tell_addresses(endpoint)
        made.pulse.watch(endpoint)
        pressure.control_up(endpoint)
        made.subjects.talk.control_up(endpoint)
        made.services.control_up(endpoint)

    pressure.hop_to = traffic.hop_to
    made.sender.on_backpressure = made.writers.refused
    context.on_relief = made.writers.look_soon

    traffic.courier.command_lost = made.commands.lost
    traffic.sent_before = made.sender.sent_before
    traffic.notify = made.notices.relayed
    made.inbox.traffic = made.inbox.answering.traffic = traffic
    made.inbox.answering.reply = made.sender.reply
    made.inbox.answering.on_window_opened = window_opened
    made.commands.after_callback = made.inbox.run_self_soon
    made.subjects.subscribers.after_callback = made.inbox.run_self_soon
    accepts = running.takes_registrations
    registrar.judge = Judge(context, registrar, made.pulse, made.topology, accepts)
    registrar.traffic = traffic
    # Bound once, not for each link.
    registrar.data_reader = traffic.data_received
    registrar.publication_reader = made.subjects.spreading.publish_received
    registrar.readers = _readers(made)
    registrar.pass_on = traffic.verifier.before(traffic.courier.pass_on_unknown)
    registrar.on_control, registrar.on_control_lost = controlled, pressure.control_lost
    registrar.on_data = pressure.data_up
    registrar.on_leaving = made.paths.leave
    registrar.on_data_lost = made.paths.data_lost
    registrar.on_removed = removed
    registrar.is_expected = made.dialer.expects
    running.wire(made)


def _connect_moves(made: Parts) -> None:
    """Let one upstream take the place of another."""

    def moved(endpoint: Endpoint) -> None:
        made.subjects.talk.moved(endpoint)
        made.services.moved(endpoint)

    def paused(destination: int | None) -> None:
        made.sender.paused(destination)
        if destination is not None:
            made.traffic.moves.paused(destination)

    def resumed() -> None:
        made.traffic.moves.resumed()
        made.writers.look_soon()

    made.pressure.on_paused, made.pressure.on_resumed = paused, resumed
    made.registrar.judge.may_move = made.running.may_move
    made.registrar.on_gate = made.rehoming.data_up
    made.rehoming.on_gate = made.paths.data_up
    made.rehoming.on_moved = moved
    made.leaving.on_asked = made.running.asked_to_move
    made.leaving.on_answered = made.draining.answered


def _connect_rings(made: Parts) -> None:
    """Open the channels that there may be, and take note of those that end."""
    registrar = made.registrar

    def opened(endpoint: Endpoint) -> None:
        registrar.on_available(endpoint)
        made.rings.look(endpoint)

    made.paths.available = opened
    registrar.on_refused = made.dialer.refused
    registrar.on_closed = made.dialer.closed
    registrar.on_needs_data = made.data_streams.need
    registrar.on_stream = made.data_streams.choose = made.rings.choose
    registrar.on_stream_lost = made.paths.channel_lost
    made.leaving.on_stream_left = made.data_streams.left_by_peer
    made.leaving.is_registering_data = made.data_streams.is_registering
    registrar.on_ring_lost = made.rings.lost
    registrar.on_data_stream = made.lanes.data_stream_up
    registrar.on_stream_closed = made.lanes.stream_closed
    made.rings.on_ended = made.lanes.ring_ended
    made.dialer.accept_ring = made.rings.accept


def _connect_streams(made: Parts) -> None:
    """Hand over what is of streams, and say that this node passes it on."""
    made.inbox.stream_received = made.streams.frame_received
    made.fates.on_stream = made.streams.told
    made.permits.on_used = made.streams.rights_changed
    made.dialer.capabilities |= Capability.STREAMS | Capability.RETURNS


def _connect_topology(context: Context, made: Parts) -> None:
    """Keep records in step with registrations, and connections with what messages ask for."""
    registrar, topology, directs = made.registrar, made.topology, made.directs
    route_table = made.route_table
    route_table.floodgate = made.floodgate
    made.traffic.courier.hold = made.floodgate.hold_debtor
    context.passing.neighbors = registrar.endpoints
    made.traffic.verifier.listen(route_table)

    def available(endpoint: Endpoint) -> None:
        topology.refresh()
        route_table.available(endpoint)
        made.dialer.available(endpoint)

    def entered(endpoint: Endpoint) -> None:
        topology.entered(endpoint)
        directs.entered(endpoint)

    def announced(bus_id: int, addresses: tuple[str, ...]) -> None:
        topology.addresses_changed(bus_id, addresses)
        if (endpoint := registrar.endpoints.get(bus_id)) is not None:
            made.data_streams.addresses_changed(endpoint)

    def parting() -> None:
        made.traffic.moves.give_up()
        route_table.stop()

    def leaving(endpoint: Endpoint) -> None:
        made.subjects.talk.lost(endpoint)
        made.services.lost(endpoint)

    talk = made.subjects.talk
    made.dialer.capabilities |= route_table.capability | talk.capability | made.services.capability
    made.subjects.admin.peer_links = PeerLinks(context, registrar, made.sources, talk)
    made.pulse.interest_digest_of = made.subjects.talk.digest_of
    made.pulse.on_interest_digest = made.subjects.talk.compare
    made.paths.leaving = leaving
    made.pulse.digest_of = route_table.digest_of
    made.pulse.on_digest = route_table.compare
    made.leaving.on_parting = parting
    topology.on_described = route_table.described
    topology.on_known = directs.known
    topology.on_moved = directs.moved
    directs.is_expected = made.discovering.is_half_known
    topology.addresses = lambda: made.dialer.addresses
    topology.found_upstreams = lambda: made.sources.upstreams
    made.sources.on_upstreams = made.running.candidates_changed
    registrar.on_available = available
    registrar.on_entered = entered
    registrar.on_left = topology.left
    registrar.on_addresses = announced
    made.traffic.on_wanted = partial(directs.wanted, relayed=True)
    made.sender.on_wanted = directs.wanted
    made.traffic.hold = directs.hold
    made.traffic.moves.prospects = directs.prospects
    made.traffic.courier.is_dialled = directs.is_dialled
    made.sender.instead = directs.instead
    directs.passive.leaving = made.leaving


def _context(
    config: NodeConfig, clock: Timers, turn: Turn, random: Random, epoch: int, log: Logger
) -> Context:
    return Context(
        config=config,
        timers=clock,
        turn=turn,
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
        tls=credentials_of(config),
        heartbeat_seconds=config.heartbeat_seconds,
        tolerance=config.heartbeat_tolerance,
        linger_seconds=config.linger_seconds,
        overwrite_listen_path=config.overwrite_listen_path,
        allow_insecure=config.allow_insecure,
        shm_weak_memory=config.shm_weak_memory,
    )


def _readers(made: Parts) -> dict[int, FrameReader]:
    """Say who reads which frames, besides DATA, FRAGMENT and PUBLISH."""
    readers: dict[int, FrameReader] = {
        MessageType.HELLO: Connection.registration_frame,
        MessageType.REGISTER_REQUEST: Connection.registration_frame,
        MessageType.REGISTER_RESPONSE: Connection.registration_frame,
        MessageType.PING: made.pulse.ping_received,
        MessageType.PONG: made.pulse.pong_received,
        MessageType.GOODBYE: Connection.goodbye_frame,
        MessageType.GOODBYE_ACK: Connection.goodbye_answer_frame,
        MessageType.DRAIN: made.leaving.drain_received,
        MessageType.DRAIN_ACK: made.leaving.drain_answered,
        MessageType.COMMAND_REQUEST: made.commands.request_received,
        MessageType.COMMAND_RESPONSE: made.commands.response_received,
        MessageType.FLUSH: made.traffic.data_received,
        MessageType.FLUSH_ACK: made.paths.flush_answered,
        MessageType.LINK_ACK: made.lanes.ack_received,
        MessageType.LANE_OFFER: made.lanes.offer_received,
        MessageType.LANE_ACCEPT: made.lanes.accept_received,
        MessageType.LANE_RETIRE: made.lanes.retire_received,
        MessageType.CONNECT_NOTICE: made.notices.notice_received,
        MessageType.FLOW: made.pressure.flow_received,
        MessageType.SUBSCRIBE_REQUEST: made.route_table.request_received,
        MessageType.SUBSCRIBE_RESPONSE: made.route_table.response_received,
        MessageType.ROUTE_BATCH: made.route_table.batch_received,
        MessageType.ADDRESS_UPDATE: made.registrar.addresses_received,
        MessageType.SERVICE_BATCH: made.services.batch_received,
        **dict.fromkeys(_STREAMS, made.traffic.data_received),
        **made.subjects.readers,
    }
    announcements = (MessageType.ROUTE_BATCH, MessageType.INTEREST, MessageType.SERVICE_BATCH)
    readers = made.traffic.verifier.before_all(readers)
    return readers | {each: made.floodgate.before(readers[each]) for each in announcements}
