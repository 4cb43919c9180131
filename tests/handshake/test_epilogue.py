"""What is left of a registration answers as the machine would that it stands in for."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, Status
from atbus.handshake.terms import Admitted
from atbus.testing.conversation import HandshakeEnd, HandshakePair, make_terms
from atbus.wire.messages import (
    Goodbye,
    Message,
    Mode,
    Ping,
    RegisterRequest,
    RegisterResponse,
    Unknown,
)

TOKEN = b"a secret"
ASSIGNED_ID = 0x77


def ordinary() -> HandshakePair:
    return HandshakePair(make_terms(1, tokens=(TOKEN,)), make_terms(2, tokens=(TOKEN,)))


def automatic() -> HandshakePair:
    local = make_terms(0, mode=Mode.AUTO, tokens=(TOKEN,))
    return HandshakePair(
        local,
        make_terms(2, tokens=(TOKEN,)),
        judge_dialler=lambda _: Admitted(bus_id=ASSIGNED_ID, known_epoch=7),
    )


def temporary() -> HandshakePair:
    return HandshakePair(make_terms(0, mode=Mode.TEMPORARY), make_terms(2))


def what_may_come(other: HandshakeEnd) -> list[Message]:
    """Everything of a registration, right and wrong, that the other end may still send."""
    request = next(each for each in other.sent if isinstance(each, RegisterRequest))
    return [
        request,
        attrs.evolve(request, source=0x99),
        attrs.evolve(request, source=0),
        attrs.evolve(request, proofs=(bytes(32),)),
        attrs.evolve(request, proofs=()),
        other.sent[0],
        RegisterResponse(source=request.source, status=Status.OK),
        RegisterResponse(source=request.source, status=Status.OVERLOADED, detail="full"),
        Unknown(type_number=0xBF),
    ]


class EpilogueTests(SynchronousTestCase):
    def check(self, make: Callable[[], HandshakePair]) -> None:
        for is_dialler in (True, False):
            story = make()
            story.run()
            other = story.listener if is_dialler else story.dialler
            for message in what_may_come(other):
                pair = make()
                pair.run()
                end = pair.dialler if is_dialler else pair.listener
                self.assertIsNotNone(end.registered)
                # First what is kept: the machine may be closed by what it hears.
                answer = end.machine.epilogue().receive(message)
                heard = end.machine.receive(message, b"", pair.now)
                self.assertEqual(answer, heard, f"{message} to {is_dialler=}")

    def test_nodes_with_tokens(self) -> None:
        """A registered connection answers, refuses and closes as the tables say."""
        self.check(ordinary)

    def test_an_automatic_node(self) -> None:
        """A node that was given its id may register again under none and under that one."""
        self.check(automatic)

    def test_a_temporary_node(self) -> None:
        """A temporary node's connection answers in the same way."""
        self.check(temporary)

    def test_what_belongs_elsewhere(self) -> None:
        """It is not asked about what does not belong to a registration."""
        pair = ordinary()
        pair.run()
        epilogue = pair.dialler.machine.epilogue()
        for message in (Ping(), Goodbye()):
            self.assertRaises(LocalProtocolError, epilogue.receive, message)

    def test_before_anybody_was_taken(self) -> None:
        """Of a registration that does not count there is nothing to keep."""
        self.assertRaises(LocalProtocolError, ordinary().dialler.machine.epilogue)
