"""
What is left of a registration that counts, as long as its connection lives.

That is much longer than the registration took, and most connections never hear of it again. So what
was needed to get there - the two hello frames, our terms, the table - is let go, and what it takes
to answer as the state *registered* of both tables does is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from atbus.errors import LocalProtocolError, OutOfTurn, RegistrationRefused, Status
from atbus.handshake.access_token import Side, verify
from atbus.handshake.effects import Close, Effect, Send
from atbus.wire.messages import Hello, Message, RegisterRequest, RegisterResponse, Unknown


def check_proof(
    request: RegisterRequest,
    *,
    tokens: Sequence[bytes],
    transcript: bytes,
    exporter: bytes,
    dialled: bool,
) -> None:
    """
    Check that whoever registers knows one of our tokens.

    :param request: What the peer registers with.
    :param tokens: The access tokens of this node.
    :param transcript: Of the two hello frames.
    :param exporter: The TLS exporter of the connection, empty without TLS.
    :param dialled: Whether this side dialled.
    :raises RegistrationRefused: If it does not.
    """
    side = Side.LISTENER if dialled else Side.DIALLER
    if not verify(tokens, request.proofs, side, transcript, exporter):
        raise RegistrationRefused(
            Status.ACCESS_DENIED,
            f"{len(request.proofs)} proofs, none of which fits one of {len(tokens)} tokens",
        )


@attrs.frozen(kw_only=True)
class Epilogue:
    """
    Hear what comes of a registration on a connection that is registered.

    :param tokens: The access tokens of this node when it registered.
    :param transcript: Of the two hello frames.
    :param exporter: The TLS exporter of the connection, empty without TLS.
    :param dialled: Whether this side dialled.
    :param my_id: Our id on this connection.
    :param epoch: Ours, as our hello said.
    :param peer_id: The peer's id; 0 of a temporary one.
    :param hello_id: The id with which it said hello; 0 of an automatic one.
    :param assigned_id: What we gave an automatic peer, else 0.
    :param known_epoch: The highest epoch that we knew for its id.
    """

    tokens: Sequence[bytes]
    transcript: bytes
    exporter: bytes
    dialled: bool
    my_id: int
    epoch: int
    peer_id: int
    hello_id: int
    assigned_id: int
    known_epoch: int

    def receive(self, message: Message) -> list[Effect]:
        """
        Hear a message.

        :param message: HELLO or REGISTER, and nothing else.
        :returns: What to do.
        :raises LocalProtocolError: If the message is not of a registration.
        """
        try:
            match message:
                case RegisterRequest():
                    return [Send(self.answer(message))]
                case RegisterResponse(status=Status.OK):
                    raise OutOfTurn("accepted while registered")
                case RegisterResponse(status=status, detail=detail):
                    return [Close(status, detail)]
                case Hello():
                    raise OutOfTurn("hello while registered")
                case Unknown():
                    return []
                case _:
                    raise LocalProtocolError("other while registered")
        except (OutOfTurn, RegistrationRefused) as fault:
            refusal = self._respond(fault.status, detail=fault.detail)
            return [Send(refusal), Close(fault.status, fault.detail)]

    def answer(self, request: RegisterRequest) -> RegisterResponse:
        """
        Answer a request that is repeated; it changes nothing.

        :param request: What the peer registers with.
        :returns: OK, as it was said before.
        :raises RegistrationRefused: If it is somebody else's.
        """
        check_proof(
            request,
            tokens=self.tokens,
            transcript=self.transcript,
            exporter=self.exporter,
            dialled=self.dialled,
        )
        # An automatic node says 0 until it knows better.
        if request.source not in (self.peer_id, self.hello_id):
            raise RegistrationRefused(
                Status.BUS_ID_MISMATCH,
                f"this connection belongs to {self.peer_id:#x}, not to {request.source:#x}",
            )
        return self._respond(
            Status.OK, assigned_id=self.assigned_id, known_epoch=self.known_epoch
        )

    def _respond(
        self, status: Status, *, detail: str = "", assigned_id: int = 0, known_epoch: int = 0
    ) -> RegisterResponse:
        return RegisterResponse(
            source=self.my_id,
            destination=self.peer_id,
            epoch=self.epoch,
            status=status,
            detail=detail,
            assigned_id=assigned_id,
            known_epoch=known_epoch,
        )
