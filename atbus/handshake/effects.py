"""
What a registration machine wants done.

Every input of a machine returns one ordered list of these values. Whoever drives the machine
performs them in that order and decides nothing: a `Send` is written, `AskAdmission` is answered by
``judged()`` (now or later), the others become calls and events of the node.
"""

from __future__ import annotations

import attrs

from atbus.address import Address
from atbus.errors import Status
from atbus.handshake.terms import PeerTerms
from atbus.wire.messages import Hello, Message, RegisterRequest


@attrs.frozen
class Send:
    """
    Write this message on the connection, unnumbered: ``encode(message, frame=0, ack=0)``.

    The bytes of HELLO are part of what both sides prove, so they must be exactly these.

    :param message: What to write.
    """

    message: Message


@attrs.frozen(kw_only=True)
class AskAdmission:
    """
    Ask the node whether it wants this peer; the answer goes into ``judged()``.

    :param hello: The peer's first frame.
    :param request: What the peer says about itself; its proof has been verified.
    :param dialled: Whether we dialled.
    """

    hello: Hello
    request: RegisterRequest
    dialled: bool


@attrs.frozen
class AddEndpoint:
    """
    Make this connection part of the peer's endpoint.

    The first connection of a peer creates the endpoint (and is when ``on_endpoint_added`` is
    called); a data connection joins the endpoint that is there. Never emitted for a temporary
    peer. Application data must wait for `Registered`.

    :param peer: Who it is. On the listening side ``known_epoch`` is not told yet (0).
    """

    peer: PeerTerms


@attrs.frozen
class Registered:
    """
    Both sides have sent and received OK: the registration counts.

    :param peer: Who it is, completely.
    """

    peer: PeerTerms


@attrs.frozen
class Refused:
    """
    The registration failed; what `AddEndpoint` did must be taken back.

    :param status: Why.
    :param detail: For people.
    :param by_peer: Whether the other side said so; otherwise we found out ourselves.
    """

    status: Status
    detail: str
    by_peer: bool


@attrs.frozen
class Close:
    """
    Close the connection after everything sent before has been written.

    :param status: Why, as the connection's end is to be reported.
    :param detail: For people.
    """

    status: Status
    detail: str


@attrs.frozen(kw_only=True)
class OpenRing:
    """
    Open the one-way data channel at *address* for an endpoint that is registered already.

    :param address: Where the peer reads: a mem or shm address it announced.
    :param endpoint_id: Bus id of the endpoint the new connection will belong to.
    """

    address: Address
    endpoint_id: int


@attrs.frozen(kw_only=True)
class RingAttached:
    """
    The one-way data channel is open and belongs to the endpoint: data may use it.

    :param address: Where the peer reads.
    :param endpoint_id: Bus id of the endpoint.
    """

    address: Address
    endpoint_id: int


Effect = Send | AskAdmission | AddEndpoint | Registered | Refused | Close
"""What the two stream machines emit."""

RingEffect = OpenRing | RingAttached | Refused | Close
"""What the ring flow emits."""
