"""Messages between two neighbors about their link: opening, registering, living, closing."""

from __future__ import annotations

from typing import ClassVar

import attrs

from atbus.busid import Subnet
from atbus.errors import Status
from atbus.wire.messages.envelope import Message, sorted_pairs
from atbus.wire.messages.numbers import FlowAction, FlowScope, MessageType, Mode, Role


@attrs.frozen(kw_only=True)
class Hello(Message):
    """
    The first frame in both directions of a connection (wire protocol, section 7.1).

    ``source`` is the sender's id, 0 for a temporary node and for one that wants an id assigned;
    ``epoch`` is its incarnation.

    :param version_min: Oldest version the sender speaks.
    :param version_max: Newest version the sender speaks.
    :param capabilities: See `Capability`; bits without a name are kept.
    :param role: What the dialler wants this connection to be; the listener repeats it.
    :param mode: What kind of participant the sender is.
    :param nonce: 16 bytes, fresh for every connection.
    :param frame_max: The longest frame the sender accepts once registered, in bytes.
    """

    message_type: ClassVar[MessageType] = MessageType.HELLO

    version_min: int
    version_max: int
    capabilities: int = 0
    role: Role = Role.CONTROL
    mode: Mode = Mode.NODE
    nonce: bytes
    frame_max: int


@attrs.frozen(kw_only=True)
class RegisterRequest(Message):
    """
    Everything a node says about itself, once, with its proofs (wire protocol, section 7.2).

    :param proofs: One per access token, in any order.
    :param host: Identity of the host; nodes with the same one may share memory.
    :param process: Identity of the process on that host.
    :param hostname: For people.
    :param subnets: The ranges the node answers for, besides its own id.
    :param labels: Pairs in ascending order of their keys; a mapping is put in order.
    :param addresses: Where the node listens.
    :param software: Name and version of the implementation, for people.
    :param wanted_id: The id that a node in mode AUTO had before; 0 for any.
    :param node_flags: See `NodeFlag`.
    """

    message_type: ClassVar[MessageType] = MessageType.REGISTER_REQUEST

    proofs: tuple[bytes, ...] = ()
    host: str = ""
    process: str = ""
    hostname: str = ""
    subnets: tuple[Subnet, ...] = ()
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=sorted_pairs)
    addresses: tuple[str, ...] = ()
    software: str = ""
    wanted_id: int = 0
    node_flags: int = 0


@attrs.frozen(kw_only=True)
class RegisterResponse(Message):
    """
    The verdict on a REGISTER_REQUEST (wire protocol, section 7.3).

    :param status: OK, or the one reason why not.
    :param detail: The reason in words; empty when the requester has proven nothing.
    :param assigned_id: The id given to a node in mode AUTO; 0 otherwise.
    :param known_epoch: Highest epoch known for the requester's id; it continues above.
    """

    message_type: ClassVar[MessageType] = MessageType.REGISTER_RESPONSE

    status: Status
    detail: str = ""
    assigned_id: int = 0
    known_epoch: int = 0


@attrs.frozen(kw_only=True)
class Ping(Message):
    """
    "Are you there, and do our tables agree?" (wire protocol, section 7.4).

    :param sent_at_us: The sender's own clock in microseconds; comes back unchanged.
    :param table_digest: Digest of the routes known from the receiver; 0 for none.
    :param interest_digest: Digest of the interest known from the receiver; 0 for none.
    """

    message_type: ClassVar[MessageType] = MessageType.PING

    sent_at_us: int = 0
    table_digest: int = 0
    interest_digest: int = 0


@attrs.frozen(kw_only=True)
class Pong(Message):
    """
    The answer to a PING, with its sequence (wire protocol, section 7.5).

    :param sent_at_us: Copied from the PING.
    :param table_digest: As in PING, of the one who answers.
    :param interest_digest: As in PING, of the one who answers.
    """

    message_type: ClassVar[MessageType] = MessageType.PONG

    sent_at_us: int = 0
    table_digest: int = 0
    interest_digest: int = 0


@attrs.frozen(kw_only=True)
class LinkAck(Message):
    """
    An acknowledgement when nothing else goes back to carry it (wire protocol, section 7.6).

    :param lane: The lane that the head's ack is about; 0 for the connection this travels on.
    :param early: Frames that are discharged although an older one is not: the first and the last
        of consecutive numbers each.
    """

    message_type: ClassVar[MessageType] = MessageType.LINK_ACK

    lane: int = 0
    early: tuple[tuple[int, int], ...] = ()


@attrs.frozen(kw_only=True)
class Goodbye(Message):
    """
    The last frame but GOODBYE_ACK in its direction (wire protocol, section 7.7).

    :param status: Why the connection ends.
    :param detail: The same in words.
    """

    message_type: ClassVar[MessageType] = MessageType.GOODBYE

    status: Status = Status.GOODBYE
    detail: str = ""


@attrs.frozen(kw_only=True)
class GoodbyeAck(Message):
    """The very last frame in its direction, after GOODBYE was read (wire protocol, section 7.8)."""

    message_type: ClassVar[MessageType] = MessageType.GOODBYE_ACK


@attrs.frozen(kw_only=True)
class AddressUpdate(Message):
    """
    The sender listens elsewhere now (wire protocol, section 7.9).

    :param addresses: All of them; they replace what was said before.
    """

    message_type: ClassVar[MessageType] = MessageType.ADDRESS_UPDATE

    addresses: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ConnectNotice(Message):
    """
    A relay's advice to talk to a node directly (wire protocol, section 7.10).

    :param target: The node that traffic was relayed to.
    :param addresses: Where it can be dialled from the receiver's place, best first.
    """

    message_type: ClassVar[MessageType] = MessageType.CONNECT_NOTICE

    target: int
    addresses: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Flow(Message):
    """
    Pause or resume what the receiver sends through the sender (wire protocol, section 7.11).

    :param action: Which of the two.
    :param scope: Whether *subject_id* is a final destination or the sender's next hop.
    :param subject_id: The bus id concerned.
    """

    message_type: ClassVar[MessageType] = MessageType.FLOW

    action: FlowAction
    scope: FlowScope
    subject_id: int


@attrs.frozen(kw_only=True)
class LaneOffer(Message):
    """
    A lane in shared memory for the receiver to write to (wire protocol, section 7.12).

    The descriptors of the lane and of its doorbell travel beside this frame.

    :param lane: The reader's number for it, not 0.
    :param size_bytes: Size of the mapping.
    :param record_max: Longest frame that fits into one record, in bytes.
    """

    message_type: ClassVar[MessageType] = MessageType.LANE_OFFER

    lane: int
    size_bytes: int
    record_max: int


@attrs.frozen(kw_only=True)
class LaneAccept(Message):
    """
    The writer's answer to a LANE_OFFER (wire protocol, section 7.13).

    :param lane: From the offer.
    :param status: OK, or why the lane is not used.
    """

    message_type: ClassVar[MessageType] = MessageType.LANE_ACCEPT

    lane: int
    status: Status = Status.OK


@attrs.frozen(kw_only=True)
class LaneRetire(Message):
    """
    The end of a lane, said by either side (wire protocol, section 7.14).

    :param lane: From the offer.
    :param status: Why; STOPPED when it was merely idle.
    """

    message_type: ClassVar[MessageType] = MessageType.LANE_RETIRE

    lane: int
    status: Status = Status.STOPPED
