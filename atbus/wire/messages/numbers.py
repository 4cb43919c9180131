"""
Every number that the protocol gives a meaning to, except `atbus.errors.Status`.

Numbers are never reused and never renumbered (wire protocol, section 3).
"""

from __future__ import annotations

import enum

MAGIC = b"\x89ATBUS\r\n"
"""First bytes of a HELLO body: not text, and broken visibly by a 7-bit or newline-changing path."""

IGNORABLE_BIT = 0x80
ROUTED_BIT = 0x40
MANDATORY_EXTRA_BIT = 0x8000


class MessageType(enum.IntEnum):
    """
    What a frame is (wire protocol, section 2.3).

    Bit 7 set: a receiver that does not know the type skips the frame. Bit 6 set: the frame belongs
    to its destination, and nodes on the way pass it on by the head alone, known or not.
    """

    HELLO = 0x01
    REGISTER_REQUEST = 0x02
    REGISTER_RESPONSE = 0x03
    PING = 0x04
    PONG = 0x05
    LINK_ACK = 0x06
    GOODBYE = 0x07
    GOODBYE_ACK = 0x08
    LANE_ACCEPT = 0x09
    LANE_RETIRE = 0x0A
    SUBSCRIBE_RESPONSE = 0x0B
    ROUTE_BATCH = 0x0C
    INTEREST_ACK = 0x0D
    DRAIN_ACK = 0x0E
    PUBLISH = 0x10

    DATA = 0x40
    FRAGMENT = 0x41
    DATA_RESPONSE = 0x42
    FLUSH = 0x43
    FLUSH_ACK = 0x44
    COMMAND_REQUEST = 0x45
    COMMAND_RESPONSE = 0x46
    STREAM_OPEN = 0x48
    STREAM_DATA = 0x49
    STREAM_CREDIT = 0x4A
    STREAM_HALF_CLOSE = 0x4B
    STREAM_CLOSE = 0x4C
    STREAM_RESET = 0x4D

    ADDRESS_UPDATE = 0x80
    CONNECT_NOTICE = 0x81
    FLOW = 0x82
    LANE_OFFER = 0x83
    SUBSCRIBE_REQUEST = 0x84
    INTEREST = 0x85
    DRAIN = 0x86
    SERVICE_BATCH = 0x87

    @property
    def is_ignorable(self) -> bool:
        """Tell whether a node that does not know this type skips it."""
        return bool(self & IGNORABLE_BIT)

    @property
    def is_routed(self) -> bool:
        """Tell whether this travels to ``destination`` over any number of links."""
        return bool(self & ROUTED_BIT)

    @property
    def is_numbered(self) -> bool:
        """Tell whether links number and acknowledge this (wire protocol, section 4)."""
        return self.is_routed or self is MessageType.PUBLISH


class Flags(enum.IntFlag):
    """
    Bits of the head's flags in DATA, FRAGMENT and PUBLISH (wire protocol, section 2.4).

    A bit without a meaning is passed on and otherwise not looked at.
    """

    ANSWER = 0x01
    REQUEST = 0x02
    REPLY = 0x04
    TRACE = 0x08
    NO_UPSTREAM = 0x10
    COMPRESSED = 0x20
    QUEUES_ONLY = 0x40
    HANDED_BACK = 0x80


class ExtraType(enum.IntEnum):
    """
    What an extra is (wire protocol, section 3.2).

    Bit 15 set: the node that reads the body must know it.
    """

    TRACE = 0x0001
    TRACEPARENT = 0x0002
    HEADERS = 0x0003
    DEADLINE = 0x0004
    REFUSED = 0x0005
    COUNTED = 0x0006
    IN_REPLY_TO = 0x8001
    COMPRESSION = 0x8002
    HEADER_SIZE = 0x8003
    PIECE = 0x8004
    ZONE = 0x8005
    TALLY = 0x8006


class Capability(enum.IntFlag):
    """What a node can do beyond the core (wire protocol, section 3.6); unknown bits are kept."""

    ROUTE_TABLE = 0x01
    SUBJECTS = 0x02
    STREAMS = 0x04
    LANES = 0x08
    DEFLATE = 0x10
    ZSTD = 0x20
    SERVICES = 0x40
    GATES = 0x80
    ZONES = 0x100
    TALLIES = 0x200
    RETURNS = 0x400


class Role(enum.IntEnum):
    """What a connection is for."""

    CONTROL = 0
    DATA = 1
    RING = 2


class Mode(enum.IntEnum):
    """What kind of participant says HELLO."""

    NODE = 0
    TEMPORARY = 1
    AUTO = 2


class NodeFlag(enum.IntFlag):
    """What a node says of itself, to neighbors and in route records; unknown bits are kept."""

    DRAINING = 0x01
    PROXY = 0x02
    #: To the receiver of a registration only: it is the sender's upstream.
    BELOW = 0x04


class FlowAction(enum.IntEnum):
    """What FLOW asks for."""

    PAUSE = 1
    RESUME = 2


class FlowScope(enum.IntEnum):
    """What FLOW's subject id names."""

    DESTINATION = 1
    NEXT_HOP = 2


class RouteOperation(enum.IntEnum):
    """What a record of a ROUTE_BATCH does to the feed it comes on."""

    ADD = 1
    REMOVE_DEAD = 2
    REMOVE_GONE = 3


class CompressionAlgorithm(enum.IntEnum):
    """How the payloads of a COMPRESSED frame were made smaller."""

    DEFLATE = 1
    ZSTD = 2
