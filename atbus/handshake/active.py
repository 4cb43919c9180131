"""
Register with a node that we dialled.

The conversation, ours on the left::

    HELLO             -->
                      <--  HELLO
    REGISTER_REQUEST  -->
                      <--  REGISTER_REQUEST
    (AskAdmission, judged, AddEndpoint)
    REGISTER_RESPONSE -->
                      <--  REGISTER_RESPONSE

The listener sends its REGISTER_REQUEST and its REGISTER_RESPONSE together, once it has judged us,
so the response may come before our own node has judged: it is kept (*judging_accepted*).

An automatic node is registered under an id it does not know before that response has come. Its
table therefore waits for it (*awaiting_name*) before it asks its node, so that `AddEndpoint` and
everything after it know the id, and its own response comes last.

``docs/design/registration.rst`` has both tables, made from this file, and every failure.
"""

from __future__ import annotations

from automat import TypeMachine, TypeMachineBuilder

from atbus.handshake.dialogue import Dialogue
from atbus.handshake.machine import Handshake, Inputs, add_endings
from atbus.handshake.terms import Admitted, LocalTerms
from atbus.wire.messages import Hello, Mode, RegisterRequest, RegisterResponse


def _open(_inputs: Inputs, dialogue: Dialogue, now: float) -> None:
    dialogue.begin(now)
    dialogue.greet()


def _introduce(_inputs: Inputs, dialogue: Dialogue, message: Hello, raw: bytes) -> None:
    dialogue.meet(message, raw)
    dialogue.check_listener(message)
    dialogue.introduce()


def _hear(_inputs: Inputs, dialogue: Dialogue, message: RegisterRequest) -> None:
    dialogue.hear(message)


def _hear_and_ask(_inputs: Inputs, dialogue: Dialogue, message: RegisterRequest) -> None:
    dialogue.hear(message)
    dialogue.ask()


def _hear_again(_inputs: Inputs, dialogue: Dialogue, message: RegisterRequest) -> None:
    dialogue.hear_again(message)


def _note(_inputs: Inputs, dialogue: Dialogue, message: RegisterResponse) -> None:
    dialogue.note(message)


def _note_and_ask(_inputs: Inputs, dialogue: Dialogue, message: RegisterResponse) -> None:
    dialogue.note(message)
    dialogue.ask()


def _note_and_complete(_inputs: Inputs, dialogue: Dialogue, message: RegisterResponse) -> None:
    dialogue.note(message)
    dialogue.complete()


def _answer(_inputs: Inputs, dialogue: Dialogue, verdict: Admitted) -> None:
    dialogue.welcome(verdict)
    dialogue.answer()


def _answer_and_complete(_inputs: Inputs, dialogue: Dialogue, verdict: Admitted) -> None:
    dialogue.welcome(verdict)
    dialogue.answer()
    dialogue.complete()


def _build() -> TypeMachine[Inputs, Dialogue]:
    """
    Build the table of a node that knows its id, or needs none.

    :returns: What makes machines.
    """
    builder = TypeMachineBuilder(Inputs, Dialogue)
    unopened = builder.state("unopened")
    awaiting_hello = builder.state("awaiting_hello")
    awaiting_request = builder.state("awaiting_request")
    judging = builder.state("judging")
    judging_accepted = builder.state("judging_accepted")
    awaiting_response = builder.state("awaiting_response")
    registered = builder.state("registered")
    closed = builder.state("closed")

    unopened.upon(Inputs.opened).to(awaiting_hello)(_open)
    awaiting_hello.upon(Inputs.hello).to(awaiting_request)(_introduce)
    awaiting_request.upon(Inputs.request).to(judging)(_hear_and_ask)
    judging.upon(Inputs.accepted).to(judging_accepted)(_note)
    judging.upon(Inputs.admitted).to(awaiting_response)(_answer)
    judging_accepted.upon(Inputs.admitted).to(registered)(_answer_and_complete)
    awaiting_response.upon(Inputs.accepted).to(registered)(_note_and_complete)
    registered.upon(Inputs.request).to(registered)(_hear_again)
    add_endings(
        before_hello=(unopened, awaiting_hello),
        talking=(awaiting_request, awaiting_response),
        judging=(judging, judging_accepted),
        registered=registered,
        closed=closed,
    )
    return builder.build()


def _build_automatic() -> TypeMachine[Inputs, Dialogue]:
    """
    Build the table of a node that is given its id by the listener.

    :returns: What makes machines.
    """
    builder = TypeMachineBuilder(Inputs, Dialogue)
    unopened = builder.state("unopened")
    awaiting_hello = builder.state("awaiting_hello")
    awaiting_request = builder.state("awaiting_request")
    awaiting_name = builder.state("awaiting_name")
    judging_accepted = builder.state("judging_accepted")
    registered = builder.state("registered")
    closed = builder.state("closed")

    unopened.upon(Inputs.opened).to(awaiting_hello)(_open)
    awaiting_hello.upon(Inputs.hello).to(awaiting_request)(_introduce)
    awaiting_request.upon(Inputs.request).to(awaiting_name)(_hear)
    awaiting_name.upon(Inputs.accepted).to(judging_accepted)(_note_and_ask)
    judging_accepted.upon(Inputs.admitted).to(registered)(_answer_and_complete)
    registered.upon(Inputs.request).to(registered)(_hear_again)
    add_endings(
        before_hello=(unopened, awaiting_hello),
        talking=(awaiting_request, awaiting_name),
        judging=(judging_accepted,),
        registered=registered,
        closed=closed,
    )
    return builder.build()


ACTIVE = _build()
ACTIVE_AUTOMATIC = _build_automatic()


class ActiveHandshake(Handshake):
    """
    Register with a node that we dialled.

    :param local: What this node says about itself.
    """

    __slots__ = ()

    def __init__(self, local: LocalTerms) -> None:
        dialogue = Dialogue(local, dialled=True)
        table = ACTIVE_AUTOMATIC if local.mode is Mode.AUTO else ACTIVE
        super().__init__(dialogue, table(dialogue))
