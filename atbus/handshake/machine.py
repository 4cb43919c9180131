"""
The face of both stream machines, what they hear, and how they end.

Theory of operation
===================

A registration is three things, and each has its own place:

* *When* something may be said: the tables of `active` and `passive_stream`, built with Automat. A
  table holds no check.
* *What* is checked, remembered and said: `dialogue`, the data both tables work on.
* *The face*: `Handshake`, whose inputs return effects. It is the one place where an input without
  a transition, a breach and a refusal become an ending: the peer is told, `Refused`, `Close`.

Rules
=====

1. The first frame of a stream is HELLO, from both sides, the dialler first. What is wrong before
   the two sides have a version in common is not answered: there is no language for it.
2. From then on every ending that this side decides is told to the other side with a
   REGISTER_RESPONSE before the connection is closed. The words that go with the status are sent
   only to a peer that has proven itself.
3. The dialler proves itself first; the listener says nothing about itself but its HELLO before.
4. An input at or after the deadline is too late, whatever it is.
5. A frame of an ignorable type that we do not know is skipped, but it cannot come first.
6. After `Close` every input is answered with no effects: what comes then was under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
from automat import NoTransition

from atbus.busid import Subnet
from atbus.errors import (
    LocalProtocolError,
    OutOfTurn,
    RegistrationRefused,
    RemoteProtocolError,
    Status,
)
from atbus.handshake.dialogue import Dialogue
from atbus.handshake.effects import Effect
from atbus.handshake.epilogue import Epilogue
from atbus.handshake.terms import Admitted, Rejected, Verdict
from atbus.wire.messages import (
    Goodbye,
    Hello,
    Message,
    RegisterRequest,
    RegisterResponse,
    Unknown,
)

if TYPE_CHECKING:
    # Automat makes states but does not export their type.
    from automat._typed import TypedState


class Inputs(Protocol):
    """
    What can happen during a registration; both tables answer the same inputs.

    *accepted* and *refused* are a REGISTER_RESPONSE with and without OK, *skipped* is a frame of an
    ignorable type that we do not know, *other* is any message that has no place here, *failed* is
    an ending that this side decides and *lost* is the end of the connection.
    """

    def opened(self, now: float) -> None:
        """Begin."""

    def hello(self, message: Hello, raw: bytes) -> None:
        """Hear the peer's first frame."""

    def request(self, message: RegisterRequest) -> None:
        """Hear what the peer registers with."""

    def accepted(self, message: RegisterResponse) -> None:
        """Hear that the peer takes us."""

    def refused(self, message: RegisterResponse) -> None:
        """Hear that the peer does not take us."""

    def goodbye(self, message: Goodbye) -> None:
        """Hear that the peer leaves."""

    def skipped(self, message: Unknown) -> None:
        """Hear what a newer version may say and an older one must not mind."""

    def other(self, message: Message) -> None:
        """Hear something that belongs elsewhere."""

    def admitted(self, verdict: Admitted) -> None:
        """Learn that our node takes the peer."""

    def rejected(self, verdict: Rejected) -> None:
        """Learn that our node does not take the peer."""

    def failed(self, status: Status, detail: str) -> None:
        """End it ourselves."""

    def lost(self, status: Status, detail: str) -> None:
        """Learn that the connection is gone."""


def _reject(_inputs: Inputs, dialogue: Dialogue, verdict: Rejected) -> None:
    dialogue.end(verdict.status, verdict.detail)


def _end(_inputs: Inputs, dialogue: Dialogue, status: Status, detail: str) -> None:
    dialogue.end(status, detail)


def _end_without(_inputs: Inputs, dialogue: Dialogue, status: Status, detail: str) -> None:
    dialogue.end_without(status, detail)


def _end_by_peer(_inputs: Inputs, dialogue: Dialogue, message: RegisterResponse) -> None:
    dialogue.end_by_peer(message)


def _part(_inputs: Inputs, dialogue: Dialogue, message: Goodbye) -> None:
    dialogue.part(message)


def add_endings(
    *,
    before_hello: Sequence[TypedState[Inputs, Dialogue]],
    talking: Sequence[TypedState[Inputs, Dialogue]],
    judging: Sequence[TypedState[Inputs, Dialogue]],
    registered: TypedState[Inputs, Dialogue],
    closed: TypedState[Inputs, Dialogue],
) -> None:
    """
    Add to a table the ways in which a registration ends; they are the same on both sides.

    :param before_hello: The states in which the peer has said nothing.
    :param talking: The states in which the peer has the word.
    :param judging: The states in which our node has the word; the peer may still leave.
    :param registered: The state in which the registration counts.
    :param closed: The state in which nothing has an effect any more.
    """
    for state in (*before_hello, *talking, *judging, registered):
        state.upon(Inputs.failed).to(closed)(_end)
        state.upon(Inputs.lost).to(closed)(_end_without)
    for state in (*talking, *judging, registered):
        state.upon(Inputs.refused).to(closed)(_end_by_peer)
        state.upon(Inputs.skipped).loop().returns(None)
    for state in (*talking, *judging):
        state.upon(Inputs.goodbye).to(closed)(_part)
    for state in judging:
        state.upon(Inputs.rejected).to(closed)(_reject)
    closed.upon(Inputs.opened).loop().returns(None)
    closed.upon(Inputs.hello).loop().returns(None)
    closed.upon(Inputs.request).loop().returns(None)
    closed.upon(Inputs.accepted).loop().returns(None)
    closed.upon(Inputs.refused).loop().returns(None)
    closed.upon(Inputs.goodbye).loop().returns(None)
    closed.upon(Inputs.skipped).loop().returns(None)
    closed.upon(Inputs.other).loop().returns(None)
    closed.upon(Inputs.admitted).loop().returns(None)
    closed.upon(Inputs.rejected).loop().returns(None)
    closed.upon(Inputs.failed).loop().returns(None)
    closed.upon(Inputs.lost).loop().returns(None)


# These are given by our own node; one that has no transition is our bug, not the peer's.
_OWN_INPUTS = frozenset({"opened", "admitted", "rejected"})


class Handshake:
    """
    The face of both stream machines.

    Every input returns the effects it has, in order. What the peer does wrong never raises: it
    ends the registration (`Refused`, `Close`).

    :param dialogue: What the machine works on.
    :param machine: The table, built around the same *dialogue*.
    """

    __slots__ = ("_dialogue", "_machine")

    def __init__(self, dialogue: Dialogue, machine: Inputs) -> None:
        self._dialogue = dialogue
        self._machine = machine

    @property
    def deadline(self) -> float | None:
        """When to call `tick` at the latest, or `None` if nothing is awaited."""
        return self._dialogue.deadline

    @property
    def finished(self) -> bool:
        """Whether the registration counts, or has ended."""
        return self._dialogue.finished

    def open(
        self, now: float, exporter: bytes = b"", certified: Subnet | None = None
    ) -> list[Effect]:
        """
        Begin; the connection is up.

        :param now: Seconds on a clock that only goes forward.
        :param exporter: What ties proofs to this one connection, if it is one of TLS; until then
            nobody could know.
        :param certified: The ids that the certificate of the other side names; None without TLS.
        :returns: What to do.
        :raises LocalProtocolError: If it was open already.
        """
        if exporter or certified is not None:
            local = self._dialogue.local
            self._dialogue.local = attrs.evolve(
                local, exporter=exporter or local.exporter, certified=certified
            )
        return self._give(lambda: self._machine.opened(now))

    def receive(self, message: Message, raw: bytes, now: float) -> list[Effect]:
        """
        Hear a message.

        A finished registration still answers HELLO and REGISTER messages that come later on the
        connection: give it those, and nothing else.

        :param message: What came.
        :param raw: Its frame, as it came.
        :param now: Seconds on the same clock.
        :returns: What to do.
        :raises LocalProtocolError: If it was not open, or the message is not for it any more.
        """
        self._expire(now)
        match message:
            case Hello():
                return self._give(lambda: self._machine.hello(message, raw))
            case RegisterRequest():
                return self._give(lambda: self._machine.request(message))
            case RegisterResponse(status=Status.OK):
                return self._give(lambda: self._machine.accepted(message))
            case RegisterResponse():
                return self._give(lambda: self._machine.refused(message))
            case Goodbye():
                return self._give(lambda: self._machine.goodbye(message))
            case Unknown():
                return self._give(lambda: self._machine.skipped(message))
            case _:
                return self._give(lambda: self._machine.other(message))

    def epilogue(self) -> Epilogue:
        """
        Give what hears, in this machine's stead, what comes later on a registered connection.

        :returns: It; the machine can be let go.
        :raises LocalProtocolError: If our node has not taken the peer.
        """
        return self._dialogue.epilogue()

    def judged(self, verdict: Verdict, now: float) -> list[Effect]:
        """
        Take the answer to `AskAdmission`.

        :param verdict: What our node decided.
        :param now: Seconds on the same clock.
        :returns: What to do; nothing if the registration has ended meanwhile.
        :raises LocalProtocolError: If nothing was asked, or the id is not one it may give.
        """
        self._expire(now)
        match verdict:
            case Admitted():
                return self._give(lambda: self._machine.admitted(verdict))
            case Rejected():
                return self._give(lambda: self._machine.rejected(verdict))

    def tick(self, now: float) -> list[Effect]:
        """
        Let time pass.

        :param now: Seconds on the same clock.
        :returns: What to do: nothing before the deadline, the end of it from then on.
        """
        self._expire(now)
        return self._take_effects()

    def refuse(self, status: Status, detail: str) -> list[Effect]:
        """
        End it for a reason of our own: the node stops, or the bytes that came are no frame.

        :param status: Why; it is told to the peer if there is a way to.
        :param detail: For people.
        :returns: What to do; nothing if it has ended.
        """
        return self._give(lambda: self._machine.failed(status, detail))

    def lost(self, status: Status, detail: str) -> list[Effect]:
        """
        Learn that the connection is gone.

        :param status: Why it went.
        :param detail: For people.
        :returns: `Refused`, or nothing if it was registered or has ended.
        """
        return self._give(lambda: self._machine.lost(status, detail))

    def _expire(self, now: float) -> None:
        deadline = self._dialogue.deadline
        if deadline is not None and now >= deadline:
            seconds = self._dialogue.local.timeout_seconds
            self._machine.failed(Status.HANDSHAKE_TIMEOUT, f"not registered within {seconds:g} s")

    def _give(self, step: Callable[[], None]) -> list[Effect]:
        # The one place where what has no transition, a breach and a refusal become an ending.
        try:
            try:
                step()
            except NoTransition as fault:
                raise self._translate(fault) from fault
        except (RemoteProtocolError, RegistrationRefused) as fault:
            self._machine.failed(fault.status, fault.detail)
        return self._take_effects()

    def _translate(
        self, fault: NoTransition[TypedState[Inputs, Dialogue], str]
    ) -> LocalProtocolError | OutOfTurn:
        state, symbol = fault.state.name, fault.symbol
        elsewhere = state == "registered" and symbol in ("goodbye", "other")
        if symbol in _OWN_INPUTS or state == "unopened" or elsewhere:
            return LocalProtocolError(f"{symbol} while {state}")
        return OutOfTurn(f"{symbol} while {state}")

    def _take_effects(self) -> list[Effect]:
        effects, self._dialogue.effects = self._dialogue.effects, []
        return effects
