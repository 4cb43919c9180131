"""
What is measured: systems, workloads, and which comparison answers which target.

Each comparison is one pair of measurements, run one directly after the other; which of the two is
first changes from round to round.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

#: For each payload in bytes the messages of one short measurement: a few tenths of a second.
COUNTS = {16: 400_000, 128: 400_000, 1024: 250_000, 16_384: 30_000, 262_144: 3_000}
# What is promised is measured for longer: which processor each process has changes within tenths
# of a second, and a short measurement sees one case or the other.
_PROMISED_FACTOR = 2
_USUAL = 128
_TRIPS = 2_000


@attrs.frozen(kw_only=True, eq=False)
class System:
    """
    One way to move messages.

    :param name: As it is called in the tables.
    :param module: In `benchmarks.systems`.
    :param needs: Python package without which it is absent.
    :param channels: ``unix``, ``tcp``, ``tls``, ``shm`` and ``mem``, as far as there are.
    :param server: A program that the runner starts for it.
    :param share: The part of the usual count that gives a measurement of the usual length.
    :param size_max: Of one message, bytes.
    :param roles: Functions with another name than the role.
    :param sender_listens: Whether many receivers dial one sender.
    :param starts_others: Whether its processes start others, whose time and memory are not seen.
    :param always: The one channel that it takes, whichever the other side of a comparison does.
    """

    name: str
    module: str
    needs: str
    channels: tuple[str, ...] = ("unix", "tcp")
    server: str = ""
    share: float = 1.0
    size_max: int = 1 << 20
    roles: Mapping[str, str] = attrs.field(factory=dict)
    sender_listens: bool = False
    starts_others: bool = False
    always: str = ""


@attrs.frozen(kw_only=True, eq=False)
class Workload:
    """
    A shape of traffic.

    :param roles: Its processes, in the order in which they are started.
    :param measured: The role that has the figures.
    :param figures: Names in the table for what it reports, each with its unit.
    """

    name: str
    roles: tuple[str, ...]
    measured: str
    figures: Mapping[str, tuple[str, str]]
    senders: int = 1
    burst: int = 0
    targets: int = 1


RATE = {"value": ("", "messages/s")}
TRIP = {"p50": (" p50", "us"), "p99": (" p99", "us")}

ONE_WAY = Workload(
    name="one way", roles=("receive", "send"), measured="receive", figures=RATE
)
FAN_IN = Workload(
    name="fan-in 4:1", roles=("receive", "send"), measured="receive", figures=RATE, senders=4
)
RELAY = Workload(
    name="relay", roles=("relay", "receive", "send"), measured="receive", figures=RATE
)
ROUND_TRIP = Workload(
    name="round trip", roles=("echo", "ping"), measured="ping", figures=TRIP
)
MANY = Workload(
    name="64 targets, 16 a turn",
    roles=("receive_many", "send_many"),
    measured="receive_many",
    figures=RATE,
    burst=16,
    targets=64,
)
HERE = Workload(
    name="one way, one process", roles=("receive_here",), measured="receive_here", figures=RATE
)
MANY_SINGLE = attrs.evolve(MANY, name="64 targets, 1 a turn", burst=1)
# The usual count is divided by these where the work is slower by nature, so that it takes as long.
_PARTS = {MANY.name: 1, MANY_SINGLE.name: 3}

ATBUS = System(name="atbus", module="bus", needs="atbus", sender_listens=True)
# What encryption costs is shown beside atbus without it.
ATBUS_TCP = attrs.evolve(ATBUS, name="atbus over tcp", channels=("tls",), always="tcp")
PYZMQ = System(name="pyzmq", module="pyzmq", needs="zmq")
PYZMQ_PYTHON_RELAY = attrs.evolve(
    PYZMQ, name="pyzmq, relay in Python", roles={"relay": "relay_in_python"}
)
PYZMQ_FREE = attrs.evolve(
    PYZMQ, name="pyzmq, no event loop", roles={"send_many": "send_many_free"}
)
PYZMQ_AWAITED = attrs.evolve(
    PYZMQ,
    name="pyzmq, zmq.asyncio",
    module="pyzmq_on_loops",
    roles={"send_many": "send_many_awaiting"},
)
PYZMQ_ON_TWISTED = attrs.evolve(
    PYZMQ_AWAITED,
    name="pyzmq, Twisted's reactor",
    roles={"send_many": "send_many_on_twisted"},
)
STREAMS = System(name="asyncio streams", module="streams", needs="asyncio", share=0.5)
UVLOOP = System(
    name="asyncio streams, uvloop", module="streams_uvloop", needs="uvloop", share=0.5
)
ZENOH = System(
    name="zenoh", module="zenoh_peer", needs="zenoh", channels=("tcp",), share=0.5
)
NATS = System(
    name="nats-py, nats-server",
    module="nats_server",
    needs="nats",
    channels=("tcp",),
    server="nats-server",
    share=0.3,
)
# Its values are at most 65,535 bytes long.
AMP = System(name="Twisted AMP", module="amp", needs="twisted", share=0.05, size_max=65_535)
STRINGS = System(name="Twisted strings", module="twisted_strings", needs="twisted", share=0.3)
# What encryption costs without a bus.
BARE_SSL = System(
    name="Python's ssl, no event loop", module="bare_ssl", needs="ssl", channels=("tls",)
)
# Ours again, in other clothes.
OVER_UNIX = attrs.evolve(ATBUS, name="atbus, unix", channels=("unix",))
ICEORYX2 = System(
    name="iceoryx2", module="iceoryx", needs="iceoryx2", channels=("shm",), share=0.1
)
# The faster of the two ways to write it is the one that is aimed at.
INPROC = attrs.evolve(PYZMQ, name="pyzmq, inproc", channels=("mem",))
INPROC_IN_TURNS = attrs.evolve(
    INPROC, name="pyzmq, inproc, one thread", roles={"receive_here": "receive_in_turns"}
)
PIPE = System(
    name="multiprocessing.Pipe",
    module="parallel",
    needs="multiprocessing",
    channels=("unix",),
    roles={
        "receive": "receive_from_pipe",
        "send": "stand_by",
        "echo": "stand_by",
        "ping": "ping_through_pipe",
    },
    share=0.3,
    starts_others=True,
)
QUEUE = attrs.evolve(
    PIPE,
    name="multiprocessing.Queue",
    roles={
        "receive": "receive_from_queue",
        "send": "stand_by",
        "echo": "stand_by",
        "ping": "ping_through_queue",
    },
    share=0.1,
)
NNG = System(name="pynng", module="nng", needs="pynng", channels=("unix",), share=0.05)


@attrs.frozen(kw_only=True, eq=False)
class Comparison:
    """
    atbus beside another system, under the same work.

    :param channel: Which atbus takes.
    :param peer_channel: Which the other system takes.
    :param target: Which promise it is to keep, if any.
    :param at_least: The ratio promised, by figure; of times the reciprocal, so that more is better.
    """

    peer: System
    channel: str
    workload: Workload
    size: int
    count: int
    target: str = ""
    at_least: Mapping[str, float] = attrs.field(factory=dict)
    peer_channel: str = attrs.field()

    @peer_channel.default
    def _same(self) -> str:
        return self.channel


def comparisons() -> list[Comparison]:
    """List everything that is compared, promises first."""
    return [*_promised(), *_promised_in_memory(), *_shown(), *_shown_in_memory()]


def _promised() -> list[Comparison]:
    found = []
    rates = {16: 1.5, 128: 2.0, 1024: 1.5, 16_384: 1.5, 262_144: 1.0}
    for channel in ("unix", "tcp"):
        for size, ratio in rates.items():
            found.append(_rate(PYZMQ, channel, ONE_WAY, size, "T1", ratio))
        found.append(_rate(PYZMQ, channel, MANY, _USUAL, "T1b", 1.0))
        found.append(_rate(PYZMQ, channel, MANY_SINGLE, _USUAL, "T1b", 1.0))
        found.append(_rate(PYZMQ, channel, FAN_IN, _USUAL, "T2", 1.2))
        found.append(_rate(PYZMQ, channel, RELAY, _USUAL, "T3", 1.5))
        found.append(
            Comparison(
                peer=PYZMQ,
                channel=channel,
                workload=ROUND_TRIP,
                size=_USUAL,
                count=_TRIPS,
                target="T4",
                at_least={"p50": 1.0, "p99": 1 / 1.1},
            )
        )
    for size, ratio in {1024: 0.4, 16_384: 0.5}.items():
        found.append(_rate(ATBUS_TCP, "tls", ONE_WAY, size, "T9", ratio))
    return found


def _promised_in_memory() -> list[Comparison]:
    found = [
        attrs.evolve(_rate(OVER_UNIX, "shm", ONE_WAY, size, "T5", ratio), peer_channel="unix")
        for size, ratio in ((_USUAL, 1.25), (1024, 1.5), (16_384, 1.5), (262_144, 1.5))
    ]
    trip = _shown_one(OVER_UNIX, "shm", ROUND_TRIP, _USUAL, _TRIPS)
    found.append(attrs.evolve(trip, peer_channel="unix", target="T5", at_least={"p50": 1.0}))
    found.append(_rate(ICEORYX2, "shm", ONE_WAY, _USUAL, "T5", 4.0))
    found.append(_rate(INPROC, "mem", HERE, _USUAL, "T6", 2.0))
    return found


def _shown_in_memory() -> list[Comparison]:
    found = [_shown_one(INPROC_IN_TURNS, "mem", HERE, _USUAL, COUNTS[_USUAL])]
    for size in (1024, 16_384):
        found.append(_shown_one(INPROC, "mem", HERE, size, COUNTS[size]))
        found.append(_shown_one(ICEORYX2, "shm", ONE_WAY, size, COUNTS[size]))
    found.append(_shown_one(ICEORYX2, "shm", ROUND_TRIP, _USUAL, _TRIPS))
    for peer in (PYZMQ, PIPE, QUEUE, NNG):
        sizes = (_USUAL, 1024, 16_384)
        beside = [_shown_one(peer, "shm", ONE_WAY, size, COUNTS[size]) for size in sizes]
        beside.append(_shown_one(peer, "shm", ROUND_TRIP, _USUAL, _TRIPS))
        found += [attrs.evolve(each, peer_channel="unix") for each in beside]
    return found


def _rate(
    peer: System, channel: str, workload: Workload, size: int, target: str, ratio: float
) -> Comparison:
    count = COUNTS[size] * _PROMISED_FACTOR // _PARTS.get(workload.name, 1)
    return Comparison(
        peer=peer,
        channel=channel,
        workload=workload,
        size=size,
        count=count,
        target=target,
        at_least={"value": ratio},
    )


def _shown() -> list[Comparison]:
    found = []
    for peer in (STREAMS, UVLOOP, ZENOH, NATS, AMP):
        for channel in peer.channels:
            for size, count in COUNTS.items():
                if size <= peer.size_max:
                    found.append(_shown_one(peer, channel, ONE_WAY, size, count))
            found.append(_shown_one(peer, channel, ROUND_TRIP, _USUAL, _TRIPS))
            if peer is not AMP:
                found.append(_shown_one(peer, channel, FAN_IN, _USUAL, COUNTS[_USUAL]))
            if peer not in (AMP, NATS):
                found.append(_shown_one(peer, channel, RELAY, _USUAL, COUNTS[_USUAL]))
    for channel in STRINGS.channels:
        sizes = (_USUAL, 16_384, 262_144)
        found += [_shown_one(STRINGS, channel, ONE_WAY, size, COUNTS[size]) for size in sizes]
        found.append(_shown_one(STRINGS, channel, ROUND_TRIP, _USUAL, _TRIPS))
        for workload in (MANY, MANY_SINGLE):
            part = COUNTS[_USUAL] // _PARTS[workload.name]
            found.append(_shown_one(STRINGS, channel, workload, _USUAL, part))
    for size in (_USUAL, 1024, 16_384, 262_144):
        found.append(_shown_one(BARE_SSL, "tls", ONE_WAY, size, COUNTS[size]))
    for channel in ("unix", "tcp"):
        count = COUNTS[_USUAL]
        found.append(_shown_one(PYZMQ_PYTHON_RELAY, channel, RELAY, _USUAL, count))
        part = count // _PARTS[MANY_SINGLE.name]
        found.append(_shown_one(PYZMQ_FREE, channel, MANY_SINGLE, _USUAL, part))
        for peer in (PYZMQ_AWAITED, PYZMQ_ON_TWISTED):
            for workload in (MANY, MANY_SINGLE):
                part = count // _PARTS[workload.name]
                found.append(_shown_one(peer, channel, workload, _USUAL, part))
    return found


def _shown_one(
    peer: System, channel: str, workload: Workload, size: int, count: int
) -> Comparison:
    return Comparison(
        peer=peer, channel=channel, workload=workload, size=size, count=count
    )
