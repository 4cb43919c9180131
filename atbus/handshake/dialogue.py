"""
What both sides of a stream know, check and say alike.

`Dialogue` is the data that the tables of `active` and `passive_stream` work on. It holds no state
of the conversation and its methods do not ask when they are called: that is what the tables are
for. A method that finds a fault raises, and has said nothing that it would have to take back.
"""

from __future__ import annotations

import attrs

from atbus.busid import subnets_under
from atbus.errors import (
    LocalProtocolError,
    MalformedFrame,
    OutOfTurn,
    RegistrationRefused,
    Status,
)
from atbus.handshake.access_token import Side, hash_transcript, prove
from atbus.handshake.effects import (
    AddEndpoint,
    AskAdmission,
    Close,
    Effect,
    Refused,
    Registered,
    Send,
)
from atbus.handshake.epilogue import Epilogue, check_proof
from atbus.handshake.terms import Admitted, LocalTerms, PeerTerms
from atbus.limits import FRAME_BYTES_MIN
from atbus.wire.codec import encode
from atbus.wire.messages import (
    Goodbye,
    GoodbyeAck,
    Hello,
    Mode,
    RegisterRequest,
    RegisterResponse,
    Role,
)


@attrs.frozen(kw_only=True)
class _Agreement:
    """What the two hello frames settle."""

    hello: Hello
    version: int
    capabilities: int
    frame_max: int
    transcript: bytes


@attrs.define
class Dialogue:
    """
    Hold what one side of one registration knows, and collect what it wants done.

    :param local: What this node says about itself.
    :param dialled: Whether this side dialled.
    """

    local: LocalTerms
    dialled: bool
    effects: list[Effect] = attrs.field(init=False, factory=list)
    deadline: float | None = attrs.field(init=False, default=None)
    finished: bool = attrs.field(init=False, default=False)
    my_id: int = attrs.field(init=False)
    _agreement: _Agreement | None = attrs.field(init=False, default=None)
    _request: RegisterRequest | None = attrs.field(init=False, default=None)
    _verdict: Admitted | None = attrs.field(init=False, default=None)
    _known_epoch: int = attrs.field(init=False, default=0)
    _counts: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.my_id = self.local.bus_id if self._speaks_as is Mode.NODE else 0

    # What we know.

    @property
    def _speaks_as(self) -> Mode:
        # A listener has an id or cannot be registered with, however it came by it.
        return self.local.mode if self.dialled else Mode.NODE

    @property
    def _agreed(self) -> _Agreement:
        if self._agreement is None:
            raise LocalProtocolError("nothing is agreed before the first hello")
        return self._agreement

    @property
    def _peer_id(self) -> int:
        if self._verdict is not None:
            return self._verdict.bus_id
        return self._agreed.hello.source

    @property
    def _role(self) -> Role:
        return self.local.role if self.dialled else self._agreed.hello.role

    def _peer_terms(self) -> PeerTerms:
        if self._request is None:
            raise LocalProtocolError("the peer has not said who it is")
        agreed = self._agreed
        subnets = self._request.subnets
        if agreed.hello.mode is Mode.AUTO:
            subnets = subnets_under(self._peer_id, subnets)
        return PeerTerms(
            bus_id=self._peer_id,
            epoch=agreed.hello.epoch,
            role=self._role,
            mode=agreed.hello.mode,
            version=agreed.version,
            capabilities=agreed.capabilities,
            frame_max=agreed.frame_max,
            request=attrs.evolve(self._request, proofs=(), subnets=subnets),
            known_epoch=self._known_epoch,
            my_id=self.my_id,
            dialled=self.dialled,
        )

    # What we say.

    def begin(self, now: float) -> None:
        """
        Start the clock.

        :param now: Seconds on a clock that only goes forward.
        """
        self.deadline = now + self.local.timeout_seconds

    def greet(self) -> None:
        """Send our HELLO."""
        self.effects.append(Send(self._own_hello(self.local.role)))

    def greet_back(self, hello: Hello) -> None:
        """
        Send our HELLO for the role that the dialler asks for.

        :param hello: What the dialler sent.
        """
        self.effects.append(Send(self._own_hello(hello.role)))

    def _own_hello(self, role: Role) -> Hello:
        local = self.local
        return Hello(
            source=self.my_id,
            epoch=local.epoch,
            version_min=local.version_min,
            version_max=local.version_max,
            capabilities=local.capabilities,
            role=role,
            mode=self._speaks_as,
            nonce=local.nonce,
            frame_max=local.frame_max,
        )

    def introduce(self) -> None:
        """Send our REGISTER_REQUEST with a proof for each token."""
        local, agreed = self.local, self._agreed
        side = Side.DIALLER if self.dialled else Side.LISTENER
        request = attrs.evolve(
            local.request,
            source=self.my_id,
            destination=self._peer_id,
            epoch=local.epoch,
            proofs=prove(local.tokens, side, agreed.transcript, local.exporter),
        )
        self.effects.append(Send(request))

    def ask(self) -> None:
        """Ask our node whether it wants this peer."""
        if self._request is None:
            raise LocalProtocolError("the peer has not said who it is")
        self.effects.append(
            AskAdmission(hello=self._agreed.hello, request=self._request, dialled=self.dialled)
        )

    def welcome(self, verdict: Admitted) -> None:
        """
        Add the endpoint of a peer that our node takes; a temporary peer gets none.

        :param verdict: What our node said.
        :raises LocalProtocolError: If our node gave the peer an id that it cannot have.
        """
        hello = self._agreed.hello
        assigned = hello.mode is Mode.AUTO and verdict.bus_id != 0
        if not assigned and (hello.mode is Mode.AUTO or verdict.bus_id != hello.source):
            raise LocalProtocolError(
                f"admitted {hello.mode.name} {hello.source:#x} as {verdict.bus_id:#x}"
            )
        self._verdict = verdict
        if hello.mode is not Mode.TEMPORARY:
            self.effects.append(AddEndpoint(self._peer_terms()))

    def answer(self) -> None:
        """Send REGISTER_RESPONSE with OK."""
        verdict = self._verdict
        if verdict is None:
            raise LocalProtocolError("our node has not been asked")
        automatic = self._agreed.hello.mode is Mode.AUTO
        self._respond(
            Status.OK,
            assigned_id=verdict.bus_id if automatic else 0,
            known_epoch=verdict.known_epoch,
        )

    def _respond(
        self, status: Status, detail: str = "", *, assigned_id: int = 0, known_epoch: int = 0
    ) -> None:
        self.effects.append(
            Send(
                RegisterResponse(
                    source=self.my_id,
                    destination=self._peer_id,
                    epoch=self.local.epoch,
                    status=status,
                    detail=detail,
                    assigned_id=assigned_id,
                    known_epoch=known_epoch,
                )
            )
        )

    def complete(self) -> None:
        """Say that the registration counts."""
        self._counts = True
        self._finish()
        self.effects.append(Registered(self._peer_terms()))

    def epilogue(self) -> Epilogue:
        """
        Give what is to be kept of it.

        :returns: What hears later messages of a registration.
        :raises LocalProtocolError: If our node has not taken the peer.
        """
        local, agreed, verdict = self.local, self._agreed, self._verdict
        if verdict is None:
            raise LocalProtocolError("our node has not been asked")
        return Epilogue(
            tokens=local.tokens,
            transcript=agreed.transcript,
            exporter=local.exporter,
            dialled=self.dialled,
            my_id=self.my_id,
            epoch=local.epoch,
            peer_id=self._peer_id,
            hello_id=agreed.hello.source,
            assigned_id=verdict.bus_id if agreed.hello.mode is Mode.AUTO else 0,
            known_epoch=verdict.known_epoch,
        )

    def _finish(self) -> None:
        self.deadline = None
        self.finished = True

    # What we hear.

    def meet(self, hello: Hello, raw: bytes) -> None:
        """
        Settle with the peer's first frame what the connection can do.

        :param hello: The peer's first frame.
        :param raw: Its bytes, as they came.
        :raises RegistrationRefused: If there is nothing to settle.
        :raises MalformedFrame: If it says what nobody may say.
        """
        local = self.local
        version = min(local.version_max, hello.version_max)
        if version < max(local.version_min, hello.version_min):
            raise RegistrationRefused(
                Status.UNSUPPORTED_VERSION,
                f"we speak versions {local.version_min} to {local.version_max}, "
                f"the other side {hello.version_min} to {hello.version_max}",
            )
        own = encode(self._own_hello(local.role if self.dialled else hello.role))
        self._agreement = _Agreement(
            hello=hello,
            version=version,
            capabilities=local.capabilities & hello.capabilities,
            frame_max=min(local.frame_max, hello.frame_max),
            transcript=hash_transcript(own, raw) if self.dialled else hash_transcript(raw, own),
        )
        if hello.frame_max < FRAME_BYTES_MIN:
            raise MalformedFrame(
                f"frames of at most {hello.frame_max} bytes, {FRAME_BYTES_MIN} is the least"
            )
        # The nonce alone tells: an automatic node knows no id yet when it dials itself, and
        # nobody else draws the same 16 random bytes.
        if hello.nonce == local.nonce or hello.nonce in local.own_nonces:
            raise RegistrationRefused(Status.SELF_CONNECT, "this node was dialled by itself")
        if local.expected_id not in (0, hello.source):
            raise RegistrationRefused(
                Status.BUS_ID_MISMATCH,
                f"{local.expected_id:#x} was expected here, not {hello.source:#x}",
            )

    def check_listener(self, hello: Hello) -> None:
        """
        Check what only the answer of a listener can get wrong.

        :param hello: The listener's HELLO.
        :raises OutOfTurn: If it answers for another role.
        :raises RegistrationRefused: If it speaks as something that nobody can dial.
        """
        if hello.role is not self.local.role:
            raise OutOfTurn(f"role {self.local.role.name} was answered as {hello.role.name}")
        if hello.mode is not Mode.NODE:
            raise RegistrationRefused(
                Status.INVALID_ID, f"a listener cannot be {hello.mode.name.lower()}"
            )
        # Before anything else of it counts, its refusal as well.
        certified = self.local.certified
        if certified is not None and not certified.contains(hello.source):
            raise RegistrationRefused(
                Status.NOT_ADMITTED, f"its certificate allows {certified}, not {hello.source:#x}"
            )

    def check_own_id(self) -> None:
        """
        Check that a listener has an id to be registered with.

        :raises RegistrationRefused: If it has none yet; the dialler may try again.
        """
        if self.my_id == 0:
            raise RegistrationRefused(Status.NOT_STARTED, "no id has been assigned to us yet")

    def hear(self, request: RegisterRequest) -> None:
        """
        Check who the peer is: first its proof, then its id.

        :param request: What it registers with.
        :raises RegistrationRefused: If it does not prove itself, or cannot have that id.
        """
        local, agreed = self.local, self._agreed
        check_proof(
            request,
            tokens=local.tokens,
            transcript=agreed.transcript,
            exporter=local.exporter,
            dialled=self.dialled,
        )
        hello = agreed.hello
        self._request = request
        if request.source != hello.source:
            raise RegistrationRefused(
                Status.BUS_ID_MISMATCH,
                f"said hello as {hello.source:#x} and registers as {request.source:#x}",
            )
        if (hello.mode is Mode.NODE) == (hello.source == 0):
            raise RegistrationRefused(
                Status.INVALID_ID, f"{hello.source:#x} is no id for {hello.mode.name}"
            )
        if hello.source != 0 and hello.source == self.my_id:
            raise RegistrationRefused(Status.ID_CONFLICT, f"{hello.source:#x} is our own id")
        said = dict(request.labels)
        for key, wanted in local.expected_labels:
            if said.get(key, wanted) != wanted:
                raise RegistrationRefused(
                    Status.NOT_ADMITTED,
                    f"{wanted!r} was expected here as its label {key!r}, not {said[key]!r}",
                )
        if self._role is Role.RING:
            raise RegistrationRefused(
                Status.NOT_ADMITTED, "a ring belongs to an endpoint and does not register"
            )

    def hear_again(self, request: RegisterRequest) -> None:
        """
        Answer a request that is repeated on a registered connection; it changes nothing.

        :param request: What it registers with.
        :raises RegistrationRefused: If it is somebody else's.
        """
        self.effects.append(Send(self.epilogue().answer(request)))

    def note(self, response: RegisterResponse) -> None:
        """
        Remember what the peer tells with its OK.

        :param response: What came.
        :raises RegistrationRefused: If it is somebody else's, or assigns what we cannot take.
        """
        if response.source != self._peer_id:
            raise RegistrationRefused(
                Status.BUS_ID_MISMATCH,
                f"{self._peer_id:#x} was asked and {response.source:#x} answers",
            )
        self._known_epoch = response.known_epoch
        assigned = response.assigned_id
        if self._speaks_as is not Mode.AUTO:
            if assigned not in (0, self.my_id):
                raise RegistrationRefused(
                    Status.BUS_ID_MISMATCH, f"{assigned:#x} assigned to {self.my_id:#x}"
                )
        elif assigned in (0, self._peer_id):
            raise RegistrationRefused(Status.INVALID_ID, f"{assigned:#x} was assigned to us")
        else:
            self.my_id = assigned

    # How it ends.

    def end(self, status: Status, detail: str) -> None:
        """
        End it ourselves, and say so.

        :param status: Why.
        :param detail: For people; told only to a peer that has proven itself.
        """
        if self._agreement is not None:
            self._respond(status, detail if self._request is not None else "")
        self._end(status, detail, by_peer=False)

    def end_by_peer(self, response: RegisterResponse) -> None:
        """
        End because the peer does not take us.

        :param response: What it said.
        """
        self._end(response.status, response.detail, by_peer=True)

    def part(self, goodbye: Goodbye) -> None:
        """
        End because the peer leaves.

        :param goodbye: What it said.
        """
        self.effects.append(Send(GoodbyeAck(source=self.my_id, epoch=self.local.epoch)))
        status = Status.GOODBYE if goodbye.status is Status.OK else goodbye.status
        self._end(status, goodbye.detail, by_peer=True)

    def end_without(self, status: Status, detail: str) -> None:
        """
        End because the connection is gone: nothing can be said and nothing is left to close.

        :param status: Why it went.
        :param detail: For people.
        """
        self._finish()
        if not self._counts:
            self.effects.append(Refused(status, detail, by_peer=False))

    def _end(self, status: Status, detail: str, *, by_peer: bool) -> None:
        self._finish()
        if not self._counts:
            self.effects.append(Refused(status, detail, by_peer=by_peer))
        self.effects.append(Close(status, detail))
