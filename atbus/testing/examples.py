"""
One message of every type, with every field filled: something to send, to record, or to damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atbus.busid import Subnet
from atbus.errors import Status
from atbus.wire.extras import number_extra, trace_extra
from atbus.wire.messages import (
    AddressUpdate,
    Capability,
    CommandRequest,
    CommandResponse,
    ConnectNotice,
    Data,
    DataResponse,
    Drain,
    DrainAck,
    Extra,
    ExtraType,
    Flags,
    Flow,
    FlowAction,
    FlowScope,
    Flush,
    FlushAck,
    Fragment,
    Goodbye,
    GoodbyeAck,
    Hello,
    Interest,
    InterestAck,
    InterestEntry,
    LaneAccept,
    LaneOffer,
    LaneRetire,
    LinkAck,
    Message,
    MessageType,
    NodeFlag,
    Ping,
    Pong,
    Publish,
    RegisterRequest,
    RegisterResponse,
    RouteBatch,
    RouteOperation,
    RouteRecord,
    ServiceBatch,
    ServiceEntry,
    StreamClose,
    StreamCredit,
    StreamData,
    StreamHalfClose,
    StreamOpen,
    StreamReset,
    SubscribeRequest,
    SubscribeResponse,
)

PROXY = 0x12340001
SERVICE = 0x12340102

_RUN = ((1, b"first\x00message"), (-1, b""), (7, bytes(range(64))))
_SUBNETS = (Subnet(0x12340100, 8), Subnet(0x22340000, 16))
_ADDRESSES = ("mem://service", "unix:///run/service.sock", "ipv4://10.0.0.2:7001")
_LABELS = {"region": "eu", "tier": "game"}


def example_messages() -> Mapping[MessageType, Message]:
    """
    Make one message of every type.

    :returns: The messages by type; each may be written.
    """
    messages = (*_link_messages(), *_table_messages(), *_data_messages(), *_stream_messages())
    return {message.message_type: message for message in messages if message.message_type}


def _link_messages() -> tuple[Message, ...]:
    return (
        Hello(
            source=SERVICE,
            epoch=3,
            version_min=1,
            version_max=2,
            capabilities=Capability.ROUTE_TABLE | Capability.SUBJECTS,
            nonce=bytes(range(16)),
            frame_max=65536,
        ),
        RegisterRequest(
            source=SERVICE,
            destination=PROXY,
            epoch=3,
            proofs=(bytes(range(32)), bytes(32)),
            host="0011223344556677",
            process="0011223344556677/4711/99",
            hostname="box.example",
            subnets=_SUBNETS,
            labels=_LABELS,
            addresses=_ADDRESSES,
            software="atbus",
            wanted_id=SERVICE,
            node_flags=NodeFlag.PROXY,
        ),
        RegisterResponse(
            source=PROXY,
            destination=SERVICE,
            epoch=9,
            status=Status.SUBNET_CONFLICT,
            detail="0x12340100/8 is taken",
            assigned_id=SERVICE,
            known_epoch=2,
        ),
        Ping(source=SERVICE, sequence=7, sent_at_us=1_000_000, table_digest=1, interest_digest=2),
        Pong(source=PROXY, sequence=7, sent_at_us=1_000_000, table_digest=3, interest_digest=4),
        LinkAck(source=PROXY, lane=1, early=((7, 9), (12, 12))),
        Goodbye(source=SERVICE, status=Status.STOPPED, detail="leaving"),
        GoodbyeAck(source=PROXY),
        AddressUpdate(source=SERVICE, addresses=_ADDRESSES),
        ConnectNotice(source=PROXY, target=0x12340103, addresses=_ADDRESSES),
        Flow(action=FlowAction.PAUSE, scope=FlowScope.DESTINATION, subject_id=SERVICE),
        LaneOffer(source=PROXY, lane=1, size_bytes=131072, record_max=65536),
        LaneAccept(source=SERVICE, lane=1, status=Status.POLICY_DENIED),
        LaneRetire(source=PROXY, lane=1),
    )


def _table_messages() -> tuple[Message, ...]:
    record = RouteRecord(
        bus_id=SERVICE,
        epoch=3,
        seq=5,
        upstream_id=PROXY,
        node_flags=NodeFlag.DRAINING,
        subnets=_SUBNETS,
        labels=_LABELS,
        addresses=_ADDRESSES,
        host="0011223344556677",
        process="0011223344556677/4711/99",
    )
    removal = RouteRecord(operation=RouteOperation.REMOVE_DEAD, bus_id=0x777, epoch=1, seq=9)
    return (
        SubscribeRequest(source=SERVICE, known_snapshot_id=4),
        SubscribeResponse(source=PROXY, snapshot_id=5),
        RouteBatch(source=PROXY, snapshot_id=5, index=1, last=True, records=(record, removal)),
        Interest(
            source=SERVICE,
            generation=2,
            replay=True,
            barrier=8,
            entries=(
                InterestEntry(subject="orders.*.created"),
                InterestEntry(subject="jobs.>", queue="workers", weight=3),
            ),
        ),
        InterestAck(source=PROXY, generation=2, barrier=8, digest=5),
        ServiceBatch(
            source=PROXY,
            replay=True,
            services=(
                ServiceEntry(bus_id=SERVICE, epoch=3, seq=2, key="bus/service/x", value=b"{}"),
                ServiceEntry(bus_id=PROXY, epoch=9, seq=1, key="bus/service/y"),
            ),
        ),
        Drain(source=PROXY, grace_ms=15_000, detail="upgrade"),
        DrainAck(source=SERVICE, upstream_id=0x12350001),
    )


def _data_messages() -> tuple[Message, ...]:
    there: dict[str, Any] = {"source": SERVICE, "destination": PROXY, "epoch": 3}
    back: dict[str, Any] = {"source": PROXY, "destination": SERVICE, "epoch": 9}
    return (
        Publish(
            source=SERVICE,
            sequence=11,
            epoch=3,
            subject="orders.eu.created",
            reply_to="_INBOX.1",
            queues=("workers", "audit"),
            served=(PROXY, 0x12350001),
            messages=_RUN,
        ),
        Data(
            sequence=100,
            flags=Flags.REPLY | Flags.TRACE,
            extras=(
                number_extra(ExtraType.IN_REPLY_TO, 99),
                trace_extra((PROXY,)),
                Extra(ExtraType.TRACEPARENT, b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b71-01"),
            ),
            messages=_RUN,
            **there,
        ),
        Fragment(sequence=103, offset=65000, total=65064, kind=7, payload=bytes(64), **there),
        DataResponse(
            target=0x12340103,
            first_sequence=100,
            count=3,
            status=Status.NO_ROUTE,
            gave_up_at=PROXY,
            detail="nobody has it",
            origin_epoch=3,
            **back,
        ),
        Flush(token=0xFEED, **there),
        FlushAck(token=0xFEED, **back),
        CommandRequest(sequence=1, arguments=(b"status", b"-v", b""), **there),
        CommandResponse(sequence=1, lines=(b"running", b"2 endpoints"), last=False, **back),
    )


def _stream_messages() -> tuple[Message, ...]:
    return (
        StreamOpen(source=SERVICE, stream_id=1, service="web", credit=65536),
        StreamData(source=SERVICE, stream_id=1, from_opener=True, offset=9, data=b"GET / "),
        StreamCredit(source=PROXY, stream_id=1, from_opener=False, limit=65536),
        StreamHalfClose(source=SERVICE, stream_id=1, from_opener=True, final_offset=15),
        StreamClose(source=PROXY, stream_id=1, from_opener=False),
        StreamReset(
            source=PROXY,
            stream_id=1,
            from_opener=False,
            status=Status.UNKNOWN_ENDPOINT,
            detail="no such service",
        ),
    )
