"""
Register a node that dialled us.

The conversation, ours on the right::

    HELLO             -->
                      <--  HELLO
    REGISTER_REQUEST  -->
                           (proof, AskAdmission, judged, AddEndpoint)
                      <--  REGISTER_REQUEST
                      <--  REGISTER_RESPONSE
    REGISTER_RESPONSE -->

We are silent until the dialler has said HELLO, so that whoever only looks at open ports learns
nothing, and say no more than HELLO until it has proven itself. Everything we have to say then
goes out at once: it costs the dialler no second round trip.

The dialler is the last to decide. When its OK arrives nobody can refuse any more, so a registration
that counts here counts there.

``docs/design/registration.rst`` has the table, made from this file, and every failure.
"""

from __future__ import annotations

from automat import TypeMachine, TypeMachineBuilder

from atbus.handshake.dialogue import Dialogue
from atbus.handshake.machine import Handshake, Inputs, add_endings
from atbus.handshake.terms import Admitted, LocalTerms
from atbus.wire.messages import Hello, RegisterRequest, RegisterResponse


def _open(_inputs: Inputs, dialogue: Dialogue, now: float) -> None:
    dialogue.begin(now)


def _greet_back(_inputs: Inputs, dialogue: Dialogue, message: Hello, raw: bytes) -> None:
    # Our hello goes first, also when there is no version in common: the dialler cannot say why
    # it was left otherwise.
    dialogue.greet_back(message)
    dialogue.meet(message, raw)
    dialogue.check_own_id()


def _hear_and_ask(_inputs: Inputs, dialogue: Dialogue, message: RegisterRequest) -> None:
    dialogue.hear(message)
    dialogue.ask()


def _hear_again(_inputs: Inputs, dialogue: Dialogue, message: RegisterRequest) -> None:
    dialogue.hear_again(message)


def _answer(_inputs: Inputs, dialogue: Dialogue, verdict: Admitted) -> None:
    dialogue.welcome(verdict)
    dialogue.introduce()
    dialogue.answer()


def _complete(_inputs: Inputs, dialogue: Dialogue, message: RegisterResponse) -> None:
    dialogue.note(message)
    dialogue.complete()


def _build() -> TypeMachine[Inputs, Dialogue]:
    """
    Build the table.

    :returns: What makes machines.
    """
    builder = TypeMachineBuilder(Inputs, Dialogue)
    unopened = builder.state("unopened")
    awaiting_hello = builder.state("awaiting_hello")
    awaiting_request = builder.state("awaiting_request")
    judging = builder.state("judging")
    awaiting_response = builder.state("awaiting_response")
    registered = builder.state("registered")
    closed = builder.state("closed")

    unopened.upon(Inputs.opened).to(awaiting_hello)(_open)
    awaiting_hello.upon(Inputs.hello).to(awaiting_request)(_greet_back)
    awaiting_request.upon(Inputs.request).to(judging)(_hear_and_ask)
    judging.upon(Inputs.admitted).to(awaiting_response)(_answer)
    awaiting_response.upon(Inputs.accepted).to(registered)(_complete)
    registered.upon(Inputs.request).to(registered)(_hear_again)
    add_endings(
        before_hello=(unopened, awaiting_hello),
        talking=(awaiting_request, awaiting_response),
        judging=(judging,),
        registered=registered,
        closed=closed,
    )
    return builder.build()


PASSIVE_STREAM = _build()


class PassiveHandshake(Handshake):
    """
    Register a node that dialled us.

    :param local: What this node says about itself.
    """

    __slots__ = ()

    def __init__(self, local: LocalTerms) -> None:
        dialogue = Dialogue(local, dialled=False)
        super().__init__(dialogue, PASSIVE_STREAM(dialogue))
