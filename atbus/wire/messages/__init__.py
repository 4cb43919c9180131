"""
The messages of the bus, one frozen class each, in the order of the wire protocol's section 7.

They are values: compare them, put them into sets, change them with `attrs.evolve`. Their bytes are
made and read by `atbus.wire.codec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from atbus.wire.messages.data import (
    CommandRequest,
    CommandResponse,
    Data,
    DataResponse,
    Flush,
    FlushAck,
    Fragment,
)
from atbus.wire.messages.envelope import HOP_LIMIT_DEFAULT, Extra, Message, Unknown
from atbus.wire.messages.link import (
    AddressUpdate,
    ConnectNotice,
    Flow,
    Goodbye,
    GoodbyeAck,
    Hello,
    LaneAccept,
    LaneOffer,
    LaneRetire,
    LinkAck,
    Ping,
    Pong,
    RegisterRequest,
    RegisterResponse,
)
from atbus.wire.messages.numbers import (
    IGNORABLE_BIT,
    MAGIC,
    MANDATORY_EXTRA_BIT,
    ROUTED_BIT,
    Capability,
    CompressionAlgorithm,
    ExtraType,
    Flags,
    FlowAction,
    FlowScope,
    MessageType,
    Mode,
    NodeFlag,
    Role,
    RouteOperation,
)
from atbus.wire.messages.routes import (
    Drain,
    DrainAck,
    RouteBatch,
    RouteRecord,
    SubscribeRequest,
    SubscribeResponse,
)
from atbus.wire.messages.services import ServiceBatch, ServiceEntry
from atbus.wire.messages.streams import (
    StreamClose,
    StreamCredit,
    StreamData,
    StreamHalfClose,
    StreamOpen,
    StreamReset,
)
from atbus.wire.messages.subjects import (
    Interest,
    InterestAck,
    InterestEntry,
    InterestRefusal,
    Publish,
    Tally,
)

MESSAGE_CLASSES: Mapping[MessageType, type[Message]] = MappingProxyType(
    {
        cls.message_type: cls
        for cls in (
            Hello,
            RegisterRequest,
            RegisterResponse,
            Ping,
            Pong,
            LinkAck,
            Goodbye,
            GoodbyeAck,
            AddressUpdate,
            ConnectNotice,
            Flow,
            LaneOffer,
            LaneAccept,
            LaneRetire,
            SubscribeRequest,
            SubscribeResponse,
            RouteBatch,
            Interest,
            InterestAck,
            Publish,
            Drain,
            DrainAck,
            Data,
            Fragment,
            DataResponse,
            Flush,
            FlushAck,
            CommandRequest,
            CommandResponse,
            StreamOpen,
            StreamData,
            StreamCredit,
            StreamHalfClose,
            StreamClose,
            StreamReset,
            ServiceBatch,
        )
    }
)
"""The class of each type, in the order of the wire protocol."""

__all__ = [
    "HOP_LIMIT_DEFAULT",
    "IGNORABLE_BIT",
    "MAGIC",
    "MANDATORY_EXTRA_BIT",
    "MESSAGE_CLASSES",
    "ROUTED_BIT",
    "AddressUpdate",
    "Capability",
    "CommandRequest",
    "CommandResponse",
    "CompressionAlgorithm",
    "ConnectNotice",
    "Data",
    "DataResponse",
    "Drain",
    "DrainAck",
    "Extra",
    "ExtraType",
    "Flags",
    "Flow",
    "FlowAction",
    "FlowScope",
    "Flush",
    "FlushAck",
    "Fragment",
    "Goodbye",
    "GoodbyeAck",
    "Hello",
    "Interest",
    "InterestAck",
    "InterestEntry",
    "InterestRefusal",
    "LaneAccept",
    "LaneOffer",
    "LaneRetire",
    "LinkAck",
    "Message",
    "MessageType",
    "Mode",
    "NodeFlag",
    "Ping",
    "Pong",
    "Publish",
    "RegisterRequest",
    "RegisterResponse",
    "Role",
    "RouteBatch",
    "RouteOperation",
    "RouteRecord",
    "ServiceBatch",
    "ServiceEntry",
    "StreamClose",
    "StreamCredit",
    "StreamData",
    "StreamHalfClose",
    "StreamOpen",
    "StreamReset",
    "SubscribeRequest",
    "SubscribeResponse",
    "Tally",
    "Unknown",
]
