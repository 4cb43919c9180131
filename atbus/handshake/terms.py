"""
What each side brings into a registration, and what comes out of it.

Plain values. `LocalTerms` is made by the node for one connection, `PeerTerms` by the machine when
it has heard enough, `Verdict` by the node when it is asked for admission.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from atbus.busid import Subnet
from atbus.errors import Status
from atbus.wire.messages import Mode, RegisterRequest, Role


@attrs.frozen(kw_only=True)
class LocalTerms:
    """
    Say what this node says about itself on one connection.

    :param bus_id: Our id; 0 while we have none (temporary, or automatic and not assigned yet).
    :param mode: How we are addressed. A listener always speaks as `Mode.NODE`.
    :param epoch: Our epoch.
    :param role: What the connection is for. A listener takes the dialler's role instead.
    :param version_min: Lowest protocol version we speak.
    :param version_max: Highest protocol version we speak.
    :param capabilities: Bits of what we can do.
    :param frame_max: Largest frame we take, bytes.
    :param nonce: 16 random bytes, never used for another connection: they make proofs fresh.
    :param request: What we register with; its ids, epoch and proofs are filled in by the machine.
    :param tokens: Access tokens, any of which the peer may share. Those beyond
        `atbus.limits.ACCESS_TOKENS_MAX` are not used.
    :param timeout_seconds: How long the whole registration may take.
    :param exporter: The TLS exporter of the connection, empty without TLS.
    :param expected_id: The only id the other side may have, 0 if any. A data connection, and a
        dial after a connect notice, know whom they want to meet.
    :param expected_labels: What the other side may not say otherwise, if it says anything of it: an
        upstream that was found by its labels has them.
    :param certified: The ids that the certificate of the other side names; None without TLS, when
        any will do.
    :param own_nonces: Nonces of this node's other registrations in progress, so that a node that
        dials itself recognizes its own hello.
    """

    bus_id: int
    mode: Mode
    epoch: int
    role: Role
    version_min: int
    version_max: int
    capabilities: int
    frame_max: int
    nonce: bytes = attrs.field(repr=False)
    request: RegisterRequest
    tokens: tuple[bytes, ...] = attrs.field(repr=False)
    timeout_seconds: float
    exporter: bytes = attrs.field(default=b"", repr=False)
    expected_id: int = 0
    expected_labels: tuple[tuple[str, str], ...] = ()
    certified: Subnet | None = None
    own_nonces: Collection[bytes] = attrs.field(default=frozenset(), repr=False, eq=False)


@attrs.frozen(kw_only=True)
class PeerTerms:
    """
    Say what was agreed with the other side.

    :param bus_id: Its id; the assigned one of an automatic peer, 0 of a temporary one.
    :param epoch: Its epoch, as its hello said.
    :param role: What the connection is for.
    :param mode: How the peer is addressed.
    :param version: The highest protocol version both speak.
    :param capabilities: What both can do.
    :param frame_max: Largest frame both take, bytes.
    :param request: What the peer registered with, without its proofs; its subnets are those that it
        has under its id, also when that was assigned.
    :param known_epoch: Highest epoch the peer knew for our id; we continue above it.
    :param my_id: Our own id on this connection: the assigned one if we asked for one.
    :param dialled: Whether we dialled.
    """

    bus_id: int
    epoch: int
    role: Role
    mode: Mode
    version: int
    capabilities: int
    frame_max: int
    request: RegisterRequest
    known_epoch: int
    my_id: int
    dialled: bool


@attrs.frozen(kw_only=True)
class Admitted:
    """
    The node takes the peer.

    :param bus_id: The peer's id: its own, the one assigned to an automatic peer, or 0 for a
        temporary one.
    :param known_epoch: Highest epoch known for that id, 0 if none; it is told to the peer.
    """

    bus_id: int
    known_epoch: int = 0


@attrs.frozen(kw_only=True)
class Rejected:
    """
    The node does not take the peer.

    :param status: Why; never `Status.OK`.
    :param detail: For people; it is told to the peer.
    """

    status: Status = attrs.field()
    detail: str = ""

    @status.validator
    def _check_status(self, _attribute: attrs.Attribute[Status], value: Status) -> None:
        if value is Status.OK:
            raise ValueError("a rejection needs a reason, not OK")


Verdict = Admitted | Rejected
