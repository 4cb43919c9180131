"""The tables of the machines: complete, and the same in the design document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, Status
from atbus.handshake.effects import Close, Effect, Refused
from atbus.handshake.machine import Handshake
from atbus.handshake.terms import Admitted, LocalTerms, Rejected
from atbus.testing.conversation import HandshakeEnd, HandshakePair, make_terms
from atbus.wire.codec import encode
from atbus.wire.messages import (
    Goodbye,
    Message,
    Mode,
    Ping,
    RegisterResponse,
    Unknown,
)
from tests.handshake.state_tables import STREAM_INPUTS, TABLES, render, states, transitions

DOCUMENT = Path(__file__).parents[2] / "docs" / "design" / "registration.rst"
LISTENER_ID = 2
ASSIGNED_ID = 0x77
OWN_INPUTS = ("opened", "admitted", "rejected")


class DocumentTests(SynchronousTestCase):
    def test_the_document_has_the_tables_of_the_code(self) -> None:
        """Each table stands in the design document exactly as the machine has it."""
        text = DOCUMENT.read_text(encoding="utf-8") + "\n"
        for name in TABLES:
            lines = [f"   {line}".rstrip() for line in render(name).splitlines()]
            block = "\n".join([f".. table: {name}", "", "::", "", *lines, "", ""])
            self.assertIn(block, text, f"write into {DOCUMENT.name}:\n{block}")


class StreamCase:
    """One kind of stream machine, and how to bring it into each of its states."""

    def __init__(self, name: str, local: LocalTerms, *, dialled: bool) -> None:
        self.name = name
        self.local = local
        self.dialled = dialled

    def make_pair(self, *, judges: bool) -> HandshakePair:
        far = make_terms(LISTENER_ID if self.dialled else 1)
        dialler, listener = (self.local, far) if self.dialled else (far, self.local)

        def assign(_question: object) -> Admitted:
            if not self.dialled:
                return Admitted(bus_id=1)
            return Admitted(bus_id=dialler.bus_id or ASSIGNED_ID)

        def admit(_question: object) -> Admitted | None:
            if not judges:
                return None
            return Admitted(bus_id=LISTENER_ID) if self.dialled else assign(None)

        if self.dialled:
            return HandshakePair(dialler, listener, judge_listener=admit, judge_dialler=assign)
        return HandshakePair(dialler, listener, judge_dialler=admit)

    def end_of(self, pair: HandshakePair) -> HandshakeEnd:
        return pair.dialler if self.dialled else pair.listener

    def far_messages(self) -> list[Message]:
        """Say what the far side says in a registration that succeeds."""
        pair = self.make_pair(judges=True)
        pair.run()
        return (pair.listener if self.dialled else pair.dialler).sent

    def bring_to(self, state: str) -> HandshakeEnd:
        """Make a machine and drive it into *state* by real conversation."""
        for judges in (False, True):
            pair = self.make_pair(judges=judges)
            end = self.end_of(pair)
            if state == "closed":
                end.machine.lost(Status.LINK_LOST, "")
            if state_of(end.machine) == state:
                return end
            pair.open()
            while state_of(end.machine) != state:
                other = pair.listener if self.dialled else pair.dialler
                if not end.deliver(pair.now) and not other.deliver(pair.now):
                    break
            else:
                return end
        raise AssertionError(f"{self.name} never gets to {state}")


def state_of(machine: Handshake) -> str:
    """Look into a machine for the name of its state."""
    inputs = machine._machine
    name: str = inputs.__automat_transitioner__._state.name  # type: ignore[attr-defined]
    return name


CASES = (
    StreamCase("active", make_terms(1), dialled=True),
    StreamCase("active, automatic", make_terms(0, mode=Mode.AUTO), dialled=True),
    StreamCase("passive stream", make_terms(LISTENER_ID), dialled=False),
)


def give(case: StreamCase, machine: Handshake, symbol: str) -> list[Effect]:
    """Give a machine one input, with what the far side would really say."""
    hello, request, accepted = case.far_messages()
    now = 100.5

    def receive(message: Message) -> list[Effect]:
        raw = b"" if isinstance(message, Unknown) else encode(message)
        return machine.receive(message, raw, now)

    admitted = Admitted(bus_id=LISTENER_ID if case.dialled else 1)
    actions: dict[str, Callable[[], list[Effect]]] = {
        "opened": lambda: machine.open(now),
        "hello": lambda: receive(hello),
        "request": lambda: receive(request),
        "accepted": lambda: receive(accepted),
        "refused": lambda: receive(RegisterResponse(status=Status.OVERLOADED)),
        "goodbye": lambda: receive(Goodbye()),
        "skipped": lambda: receive(Unknown(type_number=0xBF)),
        "other": lambda: receive(Ping()),
        "admitted": lambda: machine.judged(admitted, now),
        "rejected": lambda: machine.judged(Rejected(status=Status.OVERLOADED), now),
        "failed": lambda: machine.refuse(Status.STOPPED, ""),
        "lost": lambda: machine.lost(Status.LINK_LOST, ""),
    }
    return actions[symbol]()


class StreamTableTests(SynchronousTestCase):
    """Every input in every state, given to a machine that got there by conversation."""

    def check(self, case: StreamCase, state: str, symbol: str) -> None:
        machine = case.bring_to(state).machine
        table = transitions(TABLES[case.name][0])
        expected = table.get((state, symbol))
        ours = symbol in OWN_INPUTS or state == "unopened"
        traffic = state == "registered" and symbol in ("goodbye", "other")
        if expected is None and (ours or traffic):
            self.assertRaises(LocalProtocolError, give, case, machine, symbol)
            self.assertEqual(state_of(machine), state)
            return
        effects = give(case, machine, symbol)
        after = "closed" if expected is None else expected[0]
        self.assertEqual(state_of(machine), after)
        self.assertEqual(machine.finished, after in ("registered", "closed"))
        if expected is None:
            refused = [effect for effect in effects if isinstance(effect, Refused)]
            self.assertEqual(len(refused), 0 if state == "registered" else 1)
            for refusal in refused:
                self.assertIs(refusal.status, Status.OUT_OF_TURN)
                self.assertFalse(refusal.by_peer)
        if state == "closed" or (symbol == "skipped" and expected is not None):
            self.assertEqual(effects, [])
        if after == "closed" and state != "closed" and symbol != "lost":
            self.assertIsInstance(effects[-1], Close)

    def test_every_state_and_input(self) -> None:
        """Each input in each state moves as the table says, or ends the registration by name."""
        for case in CASES:
            machine, inputs = TABLES[case.name]
            for state in states(machine):
                for symbol in inputs:
                    try:
                        self.check(case, state, symbol)
                    except Exception as fault:
                        fault.add_note(f"{case.name}: {symbol} while {state}")
                        raise

    def test_every_input_is_known_somewhere(self) -> None:
        """No input is listed that the tables never use."""
        for case in CASES:
            table = transitions(TABLES[case.name][0])
            self.assertEqual({symbol for _, symbol in table}, set(STREAM_INPUTS))
