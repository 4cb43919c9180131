"""Who says hello, who registers and who answers must be the same, and somebody else."""

from __future__ import annotations

import attrs

from atbus.errors import Status
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.effects import Close, Send
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import Admitted
from atbus.testing.conversation import HandshakeEnd, HandshakePair, admit, make_terms
from atbus.wire.codec import encode
from atbus.wire.messages import (
    Hello,
    Mode,
    RegisterRequest,
    RegisterResponse,
    Role,
)
from tests.handshake.refusal_case import RefusalCase

TOKEN = b"a token"


class IdentityTests(RefusalCase):
    def test_a_node_that_dials_itself(self) -> None:
        """The listening half knows the nonce of the dialling half; both halves say so."""
        dialler = make_terms(1, nonce=b"nonce of dialler")
        listener = make_terms(
            1, nonce=b"nonce of listen.", own_nonces=frozenset({b"nonce of dialler"})
        )
        pair = self.run_pair(dialler, listener, Status.SELF_CONNECT)
        self.assertEqual([type(m) for m in pair.listener.sent], [Hello, RegisterResponse])

    def test_an_automatic_node_that_dials_itself(self) -> None:
        """The same before it knows that the id it listens with is the one it asks for."""
        dialler = make_terms(0, mode=Mode.AUTO, nonce=b"nonce of dialler")
        listener = make_terms(1, own_nonces=frozenset({b"nonce of dialler"}))
        self.run_pair(dialler, listener, Status.SELF_CONNECT)

    def test_our_id_in_other_hands(self) -> None:
        """Another process with our id, and a valid proof, is in conflict with us."""
        pair = self.run_pair(
            make_terms(1, tokens=(TOKEN,)),
            make_terms(1, tokens=(TOKEN,), epoch=2),
            Status.ID_CONFLICT,
        )
        self.assertIsNone(pair.listener.question)

    def test_not_the_one_we_dialled(self) -> None:
        """A data connection that meets another node than its control connection is refused."""
        pair = self.run_pair(
            make_terms(1, role=Role.DATA, expected_id=3),
            make_terms(2),
            Status.BUS_ID_MISMATCH,
            found_by_dialler=True,
        )
        self.assertEqual([type(m) for m in pair.dialler.sent], [Hello, RegisterResponse])

    def test_not_the_labels_that_we_looked_for(self) -> None:
        """Who says otherwise of a label is refused; of one that is not told nothing is said."""
        wanted = (("role", "proxy"), ("zone", "7"))
        ours = attrs.evolve(make_terms(1), expected_labels=wanted)
        bad = RegisterRequest(labels=(("role", "proxy"), ("zone", "8")))
        self.run_pair(
            ours, make_terms(2, request=bad), Status.NOT_ADMITTED, found_by_dialler=True
        )
        for labels in ((), (("other", "x"),), (("zone", "7"),), wanted):
            pair = HandshakePair(ours, make_terms(2, request=RegisterRequest(labels=labels)))
            pair.run()
            self.assertIsNotNone(pair.dialler.registered)

    def test_a_request_of_another_id_than_the_hello(self) -> None:
        """Saying hello as one node and registering as another is refused, by either side."""
        for dialled in (True, False):
            pair = HandshakePair(make_terms(1), make_terms(2))
            pair.open()
            pair.listener.deliver(pair.now)
            if dialled:
                pair.dialler.deliver(pair.now)
            end = pair.dialler if dialled else pair.listener
            request = RegisterRequest(source=9)
            end.perform(end.machine.receive(request, encode(request), pair.now), pair.now)
            self.assert_refused(end, Status.BUS_ID_MISMATCH, by_peer=False)
            self.assertIsNone(end.question)

    def test_a_response_of_another_id_than_the_hello(self) -> None:
        """An OK in somebody else's name does not count, on either side."""
        for dialled in (True, False):
            pair = HandshakePair(make_terms(1), make_terms(2), judge_listener=lambda _: None)
            pair.open()
            pair.listener.deliver(pair.now)
            pair.dialler.deliver(pair.now)
            pair.listener.deliver(pair.now)
            pair.dialler.deliver(pair.now)
            end = pair.dialler if dialled else pair.listener
            response = RegisterResponse(source=9, status=Status.OK)
            end.perform(end.machine.receive(response, encode(response), pair.now), pair.now)
            self.assert_refused(end, Status.BUS_ID_MISMATCH, by_peer=False)
            # The answer that the node still owes comes too late.
            if dialled:
                self.assertEqual(end.machine.judged(Admitted(bus_id=2), pair.now), [])

    def test_a_registered_connection_that_registers_as_another(self) -> None:
        """
        A connection that belongs to one id and registers as another is told so and closed.

        Scenario: H18
        """
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.run()
        for end in pair.ends:
            request = RegisterRequest(source=9)
            effects = end.machine.receive(request, encode(request), pair.now)
            told, close = effects
            assert isinstance(told, Send)
            assert isinstance(told.message, RegisterResponse)
            self.assertIs(told.message.status, Status.BUS_ID_MISMATCH)
            self.assertEqual(close, Close(Status.BUS_ID_MISMATCH, told.message.detail))
            self.assertEqual(end.machine.receive(request, encode(request), pair.now), [])

    def test_ids_that_do_not_fit_their_mode(self) -> None:
        """Id 0 is for temporary and automatic nodes, and other ids are not for them."""
        for source, mode in ((0, Mode.NODE), (5, Mode.TEMPORARY), (5, Mode.AUTO)):
            machine = PassiveHandshake(make_terms(2))
            end = HandshakeEnd(machine, admit)
            end.perform(machine.open(0.0), 0.0)
            terms = make_terms(5)
            hello = Hello(
                source=source,
                version_min=1,
                version_max=1,
                mode=mode,
                nonce=terms.nonce,
                frame_max=terms.frame_max,
            )
            for message in (hello, RegisterRequest(source=source)):
                end.perform(machine.receive(message, encode(message), 0.0), 0.0)
            self.assert_refused(end, Status.INVALID_ID, by_peer=False)

    def test_a_listener_that_nobody_can_dial(self) -> None:
        """A listener that answers as a temporary or an automatic node is refused."""
        for mode in (Mode.TEMPORARY, Mode.AUTO):
            end = self.hear_hello(mode=mode)
            self.assert_refused(end, Status.INVALID_ID, by_peer=False)

    def test_a_listener_that_answers_for_another_role(self) -> None:
        """A control connection cannot be answered as a data connection."""
        end = self.hear_hello(role=Role.DATA)
        self.assert_refused(end, Status.OUT_OF_TURN, by_peer=False)

    def hear_hello(self, mode: Mode = Mode.NODE, role: Role = Role.CONTROL) -> HandshakeEnd:
        machine = ActiveHandshake(make_terms(1))
        end = HandshakeEnd(machine, admit)
        end.perform(machine.open(0.0), 0.0)
        terms = make_terms(2)
        hello = Hello(
            source=2 if mode is Mode.NODE else 0,
            version_min=1,
            version_max=1,
            mode=mode,
            role=role,
            nonce=terms.nonce,
            frame_max=terms.frame_max,
        )
        end.perform(machine.receive(hello, encode(hello), 0.0), 0.0)
        return end

    def test_a_listener_without_an_id(self) -> None:
        """A listener that waits for its own id says so; the dialler may come again."""
        self.run_pair(make_terms(1), make_terms(0, mode=Mode.AUTO), Status.NOT_STARTED)
