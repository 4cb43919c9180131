"""
Two registration machines and a wire between them, without sockets and without time.

    pair = HandshakePair(make_terms(bus_id=1), make_terms(bus_id=2))
    pair.run()
    pair.dialler.registered     # what the dialler knows of the listener, or None

Frames are really encoded and decoded. Nothing moves by itself: `HandshakeEnd.deliver` hands over
one frame, `run` and `settle` all there are, `advance` lets time pass on both sides.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.effects import (
    AddEndpoint,
    AskAdmission,
    Close,
    Effect,
    Refused,
    Registered,
    Send,
)
from atbus.handshake.machine import Handshake
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import Admitted, LocalTerms, PeerTerms, Verdict
from atbus.wire.codec import decode, encode
from atbus.wire.messages import Message, Mode, RegisterRequest, Role

Judge = Callable[[AskAdmission], Verdict | None]
"""Answers a question for admission; `None` answers later, with `HandshakeEnd.judge`."""

_HUNG_UP = None
"""What a wire carries after the last frame."""


def admit(question: AskAdmission) -> Verdict:
    """
    Admit whoever asks, under the id it says it has.

    :param question: Who asks.
    :returns: The admission.
    """
    return Admitted(bus_id=question.hello.source)


def make_terms(
    bus_id: int = 1,
    *,
    mode: Mode = Mode.NODE,
    role: Role = Role.CONTROL,
    tokens: tuple[bytes, ...] = (),
    versions: tuple[int, int] = (1, 1),
    epoch: int = 1,
    capabilities: int = 0,
    frame_max: int = limits.FRAME_BYTES,
    nonce: bytes | None = None,
    request: RegisterRequest | None = None,
    exporter: bytes = b"",
    expected_id: int = 0,
    own_nonces: frozenset[bytes] = frozenset(),
) -> LocalTerms:
    """
    Make what a node says about itself, with a default for everything.

    :param bus_id: Its id.
    :param mode: How it is addressed.
    :param role: What the connection is for.
    :param tokens: Its access tokens.
    :param versions: The lowest and the highest version it speaks.
    :param epoch: Its epoch.
    :param capabilities: What it can do.
    :param frame_max: Largest frame it takes, bytes.
    :param nonce: 16 bytes; made from the other arguments if not given, so that two nodes that
        differ have different ones.
    :param request: What it registers with.
    :param exporter: The TLS exporter of the connection.
    :param expected_id: The only id the other side may have, 0 if any.
    :param own_nonces: Nonces of its other registrations in progress.
    :returns: The terms.
    """
    if nonce is None:
        seed = repr((bus_id, mode, epoch, tokens)).encode()
        nonce = hashlib.sha256(seed).digest()[: limits.NONCE_BYTES]
    return LocalTerms(
        bus_id=bus_id,
        mode=mode,
        epoch=epoch,
        role=role,
        version_min=versions[0],
        version_max=versions[1],
        capabilities=capabilities,
        frame_max=frame_max,
        nonce=nonce,
        request=request or RegisterRequest(host="h", process=f"h:{bus_id}:1"),
        tokens=tokens,
        timeout_seconds=limits.HANDSHAKE_SECONDS,
        exporter=exporter,
        expected_id=expected_id,
        own_nonces=own_nonces,
    )


@attrs.define(eq=False)
class HandshakeEnd:
    """
    Drive one machine as a node would.

    :param machine: The machine.
    :param judge_with: Answers its questions for admission.
    """

    machine: Handshake
    judge_with: Judge
    effects: list[Effect] = attrs.field(init=False, factory=list)
    sent: list[Message] = attrs.field(init=False, factory=list)
    written: list[bytes] = attrs.field(init=False, factory=list)
    incoming: deque[bytes | None] = attrs.field(init=False, factory=deque)
    hung_up: bool = attrs.field(init=False, default=False)
    _far_end: HandshakeEnd | None = attrs.field(init=False, default=None)

    def join(self, far_end: HandshakeEnd | None) -> None:
        """
        Say where what this side writes goes.

        :param far_end: The other side, `None` for nowhere.
        """
        self._far_end = far_end

    @property
    def registered(self) -> PeerTerms | None:
        """What was agreed, once the registration counts."""
        return next((e.peer for e in self.effects if isinstance(e, Registered)), None)

    @property
    def endpoint(self) -> PeerTerms | None:
        """The endpoint that was added."""
        return next((e.peer for e in self.effects if isinstance(e, AddEndpoint)), None)

    @property
    def refused(self) -> Refused | None:
        """Why the registration failed, if it did."""
        return next((e for e in self.effects if isinstance(e, Refused)), None)

    @property
    def closed(self) -> Close | None:
        """Why the connection was closed, if this side closed it."""
        return next((e for e in self.effects if isinstance(e, Close)), None)

    @property
    def question(self) -> AskAdmission | None:
        """The question for admission, if it was asked."""
        return next((e for e in self.effects if isinstance(e, AskAdmission)), None)

    def perform(self, effects: list[Effect], now: float) -> None:
        """
        Do what the machine wants done.

        :param effects: What it wants.
        :param now: Seconds.
        """
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Send(message):
                    self.sent.append(message)
                    self.write(encode(message))
                case AskAdmission():
                    verdict = self.judge_with(effect)
                    if verdict is not None:
                        self.judge(verdict, now)
                case Close():
                    self.hang_up()
                case _:
                    pass

    def judge(self, verdict: Verdict, now: float) -> None:
        """
        Answer the question for admission.

        :param verdict: The answer.
        :param now: Seconds.
        """
        self.perform(self.machine.judged(verdict, now), now)

    def write(self, frame: bytes) -> None:
        """
        Put a frame on the wire, also one that the machine would never send.

        :param frame: Its bytes.
        """
        if not self.hung_up:
            self.written.append(frame)
            if self._far_end is not None:
                self._far_end.incoming.append(frame)

    def hang_up(self) -> None:
        """Close the wire after what was written; what comes in is not read any more."""
        if not self.hung_up:
            self.hung_up = True
            self.incoming.clear()
            if self._far_end is not None:
                self._far_end.incoming.append(_HUNG_UP)

    def deliver(self, now: float) -> bool:
        """
        Read one frame, or the end of the wire.

        :param now: Seconds.
        :returns: Whether there was anything to read.
        """
        if self.hung_up or not self.incoming:
            return False
        frame = self.incoming.popleft()
        if frame is _HUNG_UP:
            self.perform(self.machine.lost(Status.LINK_LOST, "the other side hung up"), now)
            self.hang_up()
        else:
            self.perform(self.machine.receive(decode(frame), frame, now), now)
        return True


class HandshakePair:
    """
    Join a dialler and a listener.

    :param dialler: What the dialler says about itself.
    :param listener: What the listener says about itself.
    :param judge_listener: Whom the dialler's node admits.
    :param judge_dialler: Whom the listener's node admits.
    """

    def __init__(
        self,
        dialler: LocalTerms,
        listener: LocalTerms,
        *,
        judge_listener: Judge = admit,
        judge_dialler: Judge = admit,
    ) -> None:
        self.now = 100.0
        self.dialler = HandshakeEnd(ActiveHandshake(dialler), judge_listener)
        self.listener = HandshakeEnd(PassiveHandshake(listener), judge_dialler)
        self.dialler.join(self.listener)
        self.listener.join(self.dialler)

    @property
    def ends(self) -> tuple[HandshakeEnd, HandshakeEnd]:
        """The dialler and the listener."""
        return self.dialler, self.listener

    def open(self) -> None:
        """Let both begin."""
        for end in (self.listener, self.dialler):
            end.perform(end.machine.open(self.now), self.now)

    def settle(self) -> None:
        """Deliver until both wires are empty."""
        while self.dialler.deliver(self.now) | self.listener.deliver(self.now):
            pass

    def run(self) -> None:
        """Open, and settle."""
        self.open()
        self.settle()

    def advance(self, seconds: float) -> None:
        """
        Let time pass on both sides, then deliver what that caused.

        :param seconds: How much.
        """
        self.now += seconds
        for end in self.ends:
            end.perform(end.machine.tick(self.now), self.now)
        self.settle()
