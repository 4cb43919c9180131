"""
What can go wrong, and what it is called.

One enum, `Status`, names every outcome. The same member is the number on the wire, the field in
a log line, the label of a counter and what a test asserts (wire protocol, section 9). Exceptions
carry values; the sentence is made in ``__str__``.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from atbus.address import Address


class Status(enum.IntEnum):
    """
    The outcome of a registration, a message or a link (wire protocol, section 9).

    Numbers are fixed: 0 is success, 1-31 refuse a registration, 32-95 are fates of messages,
    96-127 are breaches of the protocol and 128-191 say why a link ended.
    """

    OK = 0

    UNSUPPORTED_VERSION = 1
    ACCESS_DENIED = 2
    BUS_ID_MISMATCH = 3
    ID_CONFLICT = 4
    INVALID_ID = 5
    SUBNET_CONFLICT = 6
    NOT_ADMITTED = 7
    SECOND_UPSTREAM = 8
    NO_FREE_ID = 9
    OVERLOADED = 10
    CROSSED_DIAL = 11
    SELF_CONNECT = 12
    UNKNOWN_ENDPOINT = 13
    SLOW_READER = 14

    NO_ROUTE = 32
    NOT_CONNECTED = 33
    HOP_LIMIT = 34
    SOURCE_REFUSED = 35
    MESSAGE_TOO_LARGE = 36
    BACKPRESSURE = 37
    BUFFER_LIMIT = 38
    TIMEOUT = 39
    CLOSING = 40
    UNCERTAIN = 41
    HANDLER_FAILED = 42
    NO_RESPONDERS = 43
    LOOP = 44
    NOT_REGISTERED = 45
    NOT_STARTED = 46
    UNKNOWN_COMMAND = 47
    POLICY_DENIED = 48
    SOURCE_UNVERIFIED = 49
    FRAGMENT_LOST = 50
    NO_RIGHT = 51

    MALFORMED_FRAME = 96
    FRAME_TOO_LARGE = 97
    OUT_OF_TURN = 98
    UNKNOWN_MANDATORY = 99
    NOT_ATBUS = 100

    LINK_LOST = 128
    HEARTBEAT_LOST = 129
    HANDSHAKE_TIMEOUT = 130
    CONNECT_FAILED = 131
    REPLACED = 132
    GOODBYE = 133
    SLOW_CONSUMER = 134
    NO_DATA_CONNECTION = 135
    STOPPED = 136
    DISCONNECTED = 137

    @property
    def is_refusal(self) -> bool:
        """Tell whether this refuses a registration."""
        return 1 <= self <= 31

    @property
    def is_fate(self) -> bool:
        """Tell whether this is what became of a message that was not delivered."""
        return 32 <= self <= 95

    @property
    def is_breach(self) -> bool:
        """Tell whether the other side broke the protocol."""
        return 96 <= self <= 127

    @property
    def is_loss(self) -> bool:
        """Tell whether a connection has gone, or never came, without a decision of this side."""
        return self in {Status.LINK_LOST, Status.HEARTBEAT_LOST, Status.CONNECT_FAILED}

    @classmethod
    def from_wire(cls, number: int) -> Status:
        """
        Read a number from the wire; one we do not know yet keeps its class, not its name.

        :param number: An unsigned 16-bit number.
        :returns: The member, or the most general member of the number's range.
        """
        try:
            return cls(number)
        except ValueError:
            if number <= 31:
                return cls.NOT_ADMITTED
            if number <= 95:
                return cls.NO_ROUTE
            return cls.MALFORMED_FRAME if number <= 127 else cls.LINK_LOST


class AtbusError(Exception):
    """Everything that atbus raises on purpose; nothing raises this class itself."""


@attrs.define(slots=False, eq=False)
class LocalProtocolError(AtbusError):
    """
    We were asked to break the protocol: a bug on this side, never caught inside atbus.

    :param detail: What was asked for, and why it may not be.
    """

    detail: str = ""

    def __str__(self) -> str:
        return printable(self.detail) or "this side was asked to break the protocol"


@attrs.define(slots=False, eq=False)
class RemoteProtocolError(AtbusError):
    """
    The other side broke the protocol; the link ends.

    :param status: What is said to the other side before the link is closed.
    :param detail: What was wrong, with the numbers that show it.
    """

    status: Status
    detail: str = ""

    def __str__(self) -> str:
        return _sentence(self.status, self.detail)


@attrs.define(slots=False, eq=False)
class MalformedFrame(RemoteProtocolError):
    """Bytes that cannot be read as the frame they claim to be."""

    status: Status = attrs.field(default=Status.MALFORMED_FRAME, init=False)


@attrs.define(slots=False, eq=False)
class FrameTooLarge(RemoteProtocolError):
    """A frame announced as longer than this link allows; found before it is buffered."""

    status: Status = attrs.field(default=Status.FRAME_TOO_LARGE, init=False)


@attrs.define(slots=False, eq=False)
class OutOfTurn(RemoteProtocolError):
    """A readable frame that must not come now."""

    status: Status = attrs.field(default=Status.OUT_OF_TURN, init=False)


@attrs.define(slots=False, eq=False)
class UnknownMandatory(RemoteProtocolError):
    """A type or an extra that we do not know and may not ignore."""

    status: Status = attrs.field(default=Status.UNKNOWN_MANDATORY, init=False)


@attrs.define(slots=False, eq=False)
class RegistrationRefused(AtbusError):
    """
    One side did not want the other as its neighbor, or the connection was lost before both did.

    :param status: The reason.
    :param detail: The reason in words, for people.
    :param by_peer: Whether the other side refused; otherwise we did, unless `Status.is_loss`.
    """

    status: Status
    detail: str = ""
    by_peer: bool = False

    def __str__(self) -> str:
        if self.status.is_loss and not self.by_peer:
            return f"registration came to nothing: {_sentence(self.status, self.detail)}"
        who = "the other side" if self.by_peer else "this side"
        return f"registration refused by {who}: {_sentence(self.status, self.detail)}"


@attrs.define(slots=False, eq=False)
class Undeliverable(AtbusError):
    """
    A message did not reach its target, or nobody can say whether it did.

    :param status: What became of it; `Status.UNCERTAIN` when it may have arrived.
    :param target: The bus id it was meant for.
    :param sequence: Its sequence in the flow to that target; 0 when it never got one.
    :param gave_up_at: The bus id of the node that gave up; 0 when that was this node.
    :param detail: The reason in words, for people.
    """

    status: Status
    target: int
    sequence: int = 0
    gave_up_at: int = 0
    detail: str = ""

    @property
    def reason(self) -> Status:
        """The same as `status`."""
        return self.status

    def __str__(self) -> str:
        what = f"message {self.sequence}" if self.sequence else "message"
        # What is published is for nobody in particular.
        whom = f" for {self.target:#x}" if self.target else ""
        where = f" at {self.gave_up_at:#x}" if self.gave_up_at else ""
        return f"{what}{whom}{where}: {_sentence(self.status, self.detail)}"


@attrs.define(slots=False, eq=False)
class SubscriptionRefused(Undeliverable):
    """
    Not all the bus knows of a subscription: a node on the way does not keep it, or may not.

    It may get what is published on this side of that node. ``gave_up_at`` is the node, ``status``
    and ``detail`` say why: ``BUFFER_LIMIT``, it has no memory for more that its neighbor wants;
    ``NO_RIGHT``, by its rights that neighbor does not get all of it; ``BACKPRESSURE``, it is asked
    of too many subscriptions at once.

    :param pattern: What was subscribed to.
    :param queue: The queue group; empty for none.
    """

    pattern: str = ""
    queue: str = ""

    def __str__(self) -> str:
        group = f" in group {_quoted(self.queue)}" if self.queue else ""
        where = f" at {self.gave_up_at:#x}" if self.gave_up_at else ""
        what = f"subscription to {_quoted(self.pattern)}{group} refused{where}"
        return f"{what}: {_sentence(self.status, self.detail)}"


@attrs.define(slots=False, eq=False)
class ChannelClosed(AtbusError):
    """
    The channel was closed on this side, so nothing can be sent over it.

    :param detail: Which channel, or why it was closed.
    """

    detail: str = ""

    def __str__(self) -> str:
        return _with_detail("channel closed", self.detail)


@attrs.define(slots=False, eq=False)
class ChannelBroken(AtbusError):
    """
    The world broke the channel; the cause is chained.

    :param detail: Which channel, or what happened to it.
    """

    detail: str = ""

    def __str__(self) -> str:
        return _with_detail("channel broken", self.detail)


@attrs.define(slots=False, eq=False)
class ListenFailed(AtbusError):
    """
    An address cannot be listened on; the cause, if there is one, is chained.

    :param address: The address, parsed or as it was given.
    :param detail: What stood in the way.
    """

    address: Address | str
    detail: str = ""

    def __str__(self) -> str:
        return _with_detail(f"cannot listen on {printable(str(self.address))}", self.detail)


@attrs.define(slots=False, eq=False)
class ConnectFailed(AtbusError):
    """
    An address cannot be reached; the cause, if there is one, is chained.

    :param address: The address, parsed or as it was given.
    :param detail: What stood in the way.
    """

    address: Address | str
    detail: str = ""

    def __str__(self) -> str:
        return _with_detail(f"cannot connect to {printable(str(self.address))}", self.detail)


@attrs.define(slots=False, eq=False)
class DiscoveryError(AtbusError):
    """
    A discovery backend failed; the cause is chained.

    :param detail: Which backend, and what it was asked.
    """

    detail: str = ""

    def __str__(self) -> str:
        return _with_detail("discovery failed", self.detail)


@attrs.define(slots=False, eq=False)
class DiscoveryConflict(DiscoveryError):
    """
    Somebody else has announced under our id, or was first to.

    :param detail: Which backend.
    :param key: The key that is another's.
    :param owner: What stands there, as far as it can be read.
    """

    key: str = ""
    owner: str = ""

    @property
    def status(self) -> Status:
        """What it is called elsewhere."""
        return Status.ID_CONFLICT

    def __str__(self) -> str:
        where = f"{self.detail}: " if self.detail else ""
        return _sentence(self.status, f"{where}{self.key} is that of {self.owner or 'another'}")


@attrs.define(slots=False, eq=False)
class ConfigurationError(AtbusError):
    """
    A configuration that cannot be used.

    :param faults: Every fault found, one sentence each, not only the first.
    """

    faults: list[str]

    def __str__(self) -> str:
        count = len(self.faults)
        noun = "fault" if count == 1 else "faults"
        return f"{count} {noun} in the configuration: {printable('; '.join(self.faults))}"


@attrs.define(slots=False, eq=False)
class AddressError(AtbusError, ValueError):
    """
    A text that is not an address.

    :param text: The text.
    :param fault: What is wrong with it.
    """

    text: str
    fault: str

    def __str__(self) -> str:
        return f"{_quoted(self.text)} is not an address: {printable(self.fault)}"


@attrs.define(slots=False, eq=False)
class BusIdError(AtbusError, ValueError):
    """
    A text or number that is not a bus id or a subnet.

    :param text: The text, or the number as text.
    :param fault: What is wrong with it.
    """

    text: str
    fault: str

    def __str__(self) -> str:
        return f"{_quoted(self.text)} is not a bus id or subnet: {printable(self.fault)}"


@attrs.define(slots=False, eq=False)
class RecordError(AtbusError, ValueError):
    """
    A record of a node that cannot be one.

    :param bus_id: The node that it claims to be about.
    :param place: Which part of it is wrong.
    :param fault: What is wrong with that, with the value.
    """

    bus_id: int
    place: str
    fault: str

    def __str__(self) -> str:
        return f"record of {self.bus_id:#x}: {printable(self.place)}: {printable(self.fault)}"


@attrs.define(slots=False, eq=False)
class SubjectError(AtbusError, ValueError):
    """
    A text that is not a subject, not a pattern of subjects, or not the name of a queue group.

    :param text: The text.
    :param fault: What is wrong with it.
    """

    text: str
    fault: str

    def __str__(self) -> str:
        return f"{_quoted(self.text)} cannot be used: {printable(self.fault)}"


def printable(text: str) -> str:
    """
    Escape whatever would break a line of a log or move the cursor of a terminal.

    Texts of other nodes end in our logs and on our terminals.

    :param text: Any text.
    :returns: The same text with each unprintable character as a Python escape.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED_LETTERS else text[:_QUOTED_LETTERS] + "...")


def _sentence(status: Status, detail: str) -> str:
    return _with_detail(status.name, detail)


def _with_detail(sentence: str, detail: str) -> str:
    return f"{sentence}: {printable(detail)}" if detail else sentence


# Enough of a wrong text to recognize it, not enough to fill a log with it.
_QUOTED_LETTERS = 80
