"""Registrations that fail: what each side sends, reports and does, in order."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError, Status
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.effects import AddEndpoint, AskAdmission, Close, Effect, Refused, Send
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import Admitted, LocalTerms, Rejected
from atbus.limits import DETAIL_BYTES, HANDSHAKE_SECONDS
from atbus.testing.conversation import HandshakeEnd, HandshakePair, admit, make_terms
from atbus.wire.codec import decode, encode
from atbus.wire.messages import (
    Goodbye,
    GoodbyeAck,
    Hello,
    Mode,
    Ping,
    RegisterRequest,
    RegisterResponse,
    Role,
    Unknown,
)

TOKEN = b"a token"


def ending(status: Status, *, by_peer: bool, detail: str) -> list[Effect]:
    """Say how every registration that fails ends."""
    return [Refused(status, detail, by_peer=by_peer), Close(status, detail)]


class RefusalCase(SynchronousTestCase):
    """What the tests below ask again and again."""

    def assert_refused(self, end: HandshakeEnd, status: Status, *, by_peer: bool) -> None:
        """Check that one side ends as every failed registration does."""
        assert end.refused is not None
        assert end.closed is not None
        self.assertEqual((end.refused.status, end.refused.by_peer), (status, by_peer))
        self.assertEqual(end.effects[-2:], [end.refused, end.closed])
        self.assertEqual(end.closed, Close(status, end.refused.detail))
        self.assertIsNone(end.registered)
        self.assertTrue(end.machine.finished)
        self.assertIsNone(end.machine.deadline)

    def assert_told(self, end: HandshakeEnd, status: Status, detail: str) -> None:
        """Check that one side said why before it closed."""
        told = end.sent[-1]
        assert isinstance(told, RegisterResponse)
        self.assertEqual((told.status, told.detail), (status, detail))
        self.assertEqual((told.assigned_id, told.known_epoch), (0, 0))

    def run_pair(
        self,
        dialler: LocalTerms,
        listener: LocalTerms,
        status: Status,
        *,
        found_by_dialler: bool = False,
    ) -> HandshakePair:
        """Run two machines into a refusal that one of them finds and the other is told."""
        pair = HandshakePair(dialler, listener)
        pair.run()
        finder, other = (
            (pair.dialler, pair.listener) if found_by_dialler else (pair.listener, pair.dialler)
        )
        self.assert_refused(finder, status, by_peer=False)
        self.assert_refused(other, status, by_peer=True)
        return pair


class ProofTests(RefusalCase):
    def test_different_tokens(self) -> None:
        """
        Both sides report ACCESS_DENIED, and neither has an endpoint.

        Scenario: H5, O5
        """
        pair = self.run_pair(
            make_terms(1, tokens=(b"mine",)),
            make_terms(2, tokens=(b"yours",)),
            Status.ACCESS_DENIED,
        )
        self.assertIsNone(pair.dialler.endpoint)
        self.assertIsNone(pair.listener.endpoint)
        self.assertIsNone(pair.listener.question)

    def test_a_token_on_one_side_only(self) -> None:
        """
        The same when only one side has a token, whichever it is.

        Scenario: H6, O5
        """
        for mine, theirs in (((), (TOKEN,)), ((TOKEN,), ())):
            pair = self.run_pair(
                make_terms(1, tokens=mine), make_terms(2, tokens=theirs), Status.ACCESS_DENIED
            )
            self.assertIsNone(pair.dialler.endpoint)
            self.assertIsNone(pair.listener.endpoint)

    def test_the_listener_says_nothing_but_the_status(self) -> None:
        """A dialler that proves nothing sees a hello and a status; no words, no request."""
        pair = self.run_pair(make_terms(1), make_terms(2, tokens=(TOKEN,)), Status.ACCESS_DENIED)
        self.assertEqual([type(m) for m in pair.listener.sent], [Hello, RegisterResponse])
        self.assert_told(pair.listener, Status.ACCESS_DENIED, "")
        assert pair.listener.refused is not None
        self.assertNotEqual(pair.listener.refused.detail, "")

    def test_a_listener_that_proves_nothing(self) -> None:
        """A dialler refuses a listener that admits it without knowing its token."""
        pair = HandshakePair(make_terms(1, tokens=(TOKEN,)), make_terms(2, tokens=(TOKEN,)))
        pair.open()
        pair.listener.deliver(pair.now)
        pair.dialler.deliver(pair.now)
        request = RegisterRequest(source=2, destination=1, epoch=1, proofs=(bytes(32),))
        pair.dialler.perform(
            pair.dialler.machine.receive(request, encode(request), pair.now), pair.now
        )
        self.assert_refused(pair.dialler, Status.ACCESS_DENIED, by_peer=False)
        self.assert_told(pair.dialler, Status.ACCESS_DENIED, "")
        self.assertIsNone(pair.dialler.endpoint)

    def test_the_same_token_on_two_tls_connections(self) -> None:
        """A relay between two TLS connections cannot pass proofs on."""
        self.run_pair(
            make_terms(1, tokens=(TOKEN,), exporter=b"x" * 32),
            make_terms(2, tokens=(TOKEN,), exporter=b"y" * 32),
            Status.ACCESS_DENIED,
        )


class ReplayTests(RefusalCase):
    def record(self) -> HandshakePair:
        pair = HandshakePair(make_terms(1, tokens=(TOKEN,)), make_terms(2, tokens=(TOKEN,)))
        pair.run()
        self.assertTrue(all(end.registered for end in pair.ends))
        return pair

    def replay(
        self, machine: ActiveHandshake | PassiveHandshake, frames: list[bytes]
    ) -> HandshakeEnd:
        end = HandshakeEnd(machine, admit)
        end.perform(machine.open(0.0), 0.0)
        end.incoming.extend(frames)
        while end.deliver(0.0):
            pass
        return end

    def test_a_recorded_dialler_is_refused(self) -> None:
        """
        A recorded session, replayed prefix by prefix to a new listener, never gets past its proof.

        Scenario: O5
        """
        frames = self.record().dialler.written
        for length in range(len(frames) + 1):
            fresh = make_terms(2, tokens=(TOKEN,), nonce=b"fresh nonce 0016")
            end = self.replay(PassiveHandshake(fresh), frames[:length])
            self.assertIsNone(end.question)
            self.assertIsNone(end.endpoint)
            if length >= 2:
                self.assert_refused(end, Status.ACCESS_DENIED, by_peer=False)
            else:
                self.assertFalse(end.machine.finished)

    def test_a_recorded_listener_is_refused(self) -> None:
        """
        A recorded listener, replayed prefix by prefix to a new dialler, fails in the same place.

        Scenario: O5
        """
        frames = self.record().listener.written
        for length in range(len(frames) + 1):
            fresh = make_terms(1, tokens=(TOKEN,), nonce=b"fresh nonce 0016")
            end = self.replay(ActiveHandshake(fresh), frames[:length])
            self.assertIsNone(end.question)
            self.assertIsNone(end.endpoint)
            if length >= 2:
                self.assert_refused(end, Status.ACCESS_DENIED, by_peer=False)

    def test_the_same_nonce_twice_would_be_the_hole(self) -> None:
        """A replay passes only where a nonce is used twice: freshness rests on it alone."""
        frames = self.record().dialler.written
        stale = make_terms(2, tokens=(TOKEN,))
        end = self.replay(PassiveHandshake(stale), frames)
        self.assertIsNotNone(end.registered)

    def test_a_dialler_that_hears_itself(self) -> None:
        """Frames sent back to the one who sent them are recognised by their nonce."""
        frames = self.record().dialler.written
        end = self.replay(ActiveHandshake(make_terms(1, tokens=(TOKEN,))), frames)
        self.assert_refused(end, Status.SELF_CONNECT, by_peer=False)


class VersionTests(RefusalCase):
    def test_no_version_in_common(self) -> None:
        """
        Both sides find out by themselves, and neither has an endpoint.

        Scenario: H8
        """
        for mine, theirs in (((1, 1), (2, 3)), ((4, 9), (2, 3))):
            pair = HandshakePair(make_terms(1, versions=mine), make_terms(2, versions=theirs))
            pair.run()
            for end in pair.ends:
                self.assert_refused(end, Status.UNSUPPORTED_VERSION, by_peer=False)
                self.assertEqual([type(message) for message in end.sent], [Hello])
                self.assertIsNone(end.endpoint)

    def test_a_range_without_a_version(self) -> None:
        """A hello whose lowest version is above its highest has no version at all."""
        pair = HandshakePair(make_terms(1, versions=(3, 1)), make_terms(2, versions=(1, 3)))
        pair.run()
        for end in pair.ends:
            self.assert_refused(end, Status.UNSUPPORTED_VERSION, by_peer=False)


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


class AdmissionTests(RefusalCase):
    def test_the_listeners_node_refuses(self) -> None:
        """The dialler is told status and words; neither side has an endpoint."""
        verdict = Rejected(status=Status.SUBNET_CONFLICT, detail="0x10/8 overlaps 0x10/4")
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: verdict)
        pair.run()
        self.assert_told(pair.listener, verdict.status, verdict.detail)
        self.assertEqual(
            pair.listener.effects[-2:],
            ending(verdict.status, by_peer=False, detail=verdict.detail),
        )
        self.assertEqual(
            pair.dialler.effects[-2:], ending(verdict.status, by_peer=True, detail=verdict.detail)
        )
        self.assertIsNone(pair.listener.endpoint)
        self.assertIsNone(pair.dialler.endpoint)

    def test_the_diallers_node_refuses(self) -> None:
        """When the second half fails the first ends too: the listener hears it and closes."""
        verdict = Rejected(status=Status.SECOND_UPSTREAM, detail="there is one")
        pair = HandshakePair(make_terms(1), make_terms(2), judge_listener=lambda _: verdict)
        pair.run()
        self.assert_told(pair.dialler, verdict.status, verdict.detail)
        self.assertIsNone(pair.dialler.endpoint)
        # The listener had added its endpoint; the refusal after it takes it back.
        self.assertIsNotNone(pair.listener.endpoint)
        self.assert_refused(pair.listener, verdict.status, by_peer=True)

    def test_the_listener_refuses_while_the_dialler_judges(self) -> None:
        """A refusal that overtakes our own node's answer makes the answer worthless."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_listener=lambda _: None)
        pair.run()
        pair.listener.perform(pair.listener.machine.refuse(Status.STOPPED, "leaving"), pair.now)
        pair.settle()
        self.assert_refused(pair.dialler, Status.STOPPED, by_peer=True)
        self.assertEqual(pair.dialler.machine.judged(Admitted(bus_id=2), pair.now), [])
        late = Rejected(status=Status.OVERLOADED)
        self.assertEqual(pair.dialler.machine.judged(late, pair.now), [])

    def test_long_words_are_cut(self) -> None:
        """Words longer than a response may carry are cut between letters, not refused."""
        words = "ä" * DETAIL_BYTES
        verdict = Rejected(status=Status.NOT_ADMITTED, detail=words)
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: verdict)
        pair.run()
        assert pair.dialler.refused is not None
        heard = pair.dialler.refused.detail
        self.assertTrue(0 < len(heard.encode()) <= DETAIL_BYTES)
        self.assertTrue(words.startswith(heard.removesuffix("...")))
        assert pair.listener.refused is not None
        self.assertEqual(pair.listener.refused.detail, words)

    def test_no_free_id(self) -> None:
        """An automatic node that gets no id is refused like any other."""
        pair = HandshakePair(
            make_terms(0, mode=Mode.AUTO),
            make_terms(2),
            judge_dialler=lambda _: Rejected(status=Status.NO_FREE_ID),
        )
        pair.run()
        self.assert_refused(pair.dialler, Status.NO_FREE_ID, by_peer=True)
        self.assert_refused(pair.listener, Status.NO_FREE_ID, by_peer=False)

    def test_an_automatic_node_that_refuses(self) -> None:
        """An automatic node may still refuse when it knows its id; the listener hears it."""
        pair = HandshakePair(
            make_terms(0, mode=Mode.AUTO),
            make_terms(2),
            judge_listener=lambda _: Rejected(status=Status.NOT_ADMITTED),
            judge_dialler=lambda _: Admitted(bus_id=0x77),
        )
        pair.run()
        self.assert_refused(pair.listener, Status.NOT_ADMITTED, by_peer=True)
        self.assertEqual(pair.dialler.sent[-1].source, 0x77)

    def test_an_assigned_id_that_cannot_be(self) -> None:
        """An automatic node refuses id 0 and the listener's own id."""
        for assigned in (0, 2):
            end = self.hear_assignment(Mode.AUTO, assigned)
            self.assert_refused(end, Status.INVALID_ID, by_peer=False)
            self.assertIsNone(end.question)

    def test_an_id_assigned_to_a_node_that_has_one(self) -> None:
        """Nobody renames a node that did not ask for it; its own id may be repeated to it."""
        end = self.hear_assignment(Mode.NODE, 5)
        self.assert_refused(end, Status.BUS_ID_MISMATCH, by_peer=False)
        self.assertIsNotNone(self.hear_assignment(Mode.NODE, 1).registered)
        end = self.hear_assignment(Mode.TEMPORARY, 5)
        self.assert_refused(end, Status.BUS_ID_MISMATCH, by_peer=False)

    def hear_assignment(self, mode: Mode, assigned_id: int) -> HandshakeEnd:
        pair = HandshakePair(
            make_terms(1 if mode is Mode.NODE else 0, mode=mode),
            make_terms(2),
            judge_dialler=lambda question: (
                Admitted(bus_id=question.hello.source or 0x77)
                if mode is not Mode.TEMPORARY
                else Admitted(bus_id=0)
            ),
        )
        pair.open()
        while len(pair.listener.sent) < 3:
            pair.listener.deliver(pair.now)
            if len(pair.listener.sent) < 3:
                pair.dialler.deliver(pair.now)
        response = pair.listener.sent[-1]
        assert isinstance(response, RegisterResponse)
        pair.dialler.deliver(pair.now)
        pair.dialler.incoming.clear()
        pair.dialler.incoming.append(encode(attrs.evolve(response, assigned_id=assigned_id)))
        pair.dialler.deliver(pair.now)
        return pair.dialler


class TimeTests(RefusalCase):
    def test_a_silent_listener(self) -> None:
        """A listener that never says hello is given up at the deadline, not before."""
        machine = ActiveHandshake(make_terms(1))
        machine.open(10.0)
        self.assertEqual(machine.deadline, 10.0 + HANDSHAKE_SECONDS)
        self.assertEqual(machine.tick(10.0 + HANDSHAKE_SECONDS - 0.001), [])
        detail = "not registered within 5 s"
        self.assertEqual(
            machine.tick(10.0 + HANDSHAKE_SECONDS),
            ending(Status.HANDSHAKE_TIMEOUT, by_peer=False, detail=detail),
        )
        self.assertIsNone(machine.deadline)
        self.assertTrue(machine.finished)
        self.assertEqual(machine.tick(99.0), [])

    def test_a_silent_dialler(self) -> None:
        """Whoever connects and says nothing gets nothing, and is closed at the deadline."""
        machine = PassiveHandshake(make_terms(2))
        self.assertEqual(machine.open(10.0), [])
        detail = "not registered within 5 s"
        self.assertEqual(
            machine.tick(10.0 + HANDSHAKE_SECONDS),
            ending(Status.HANDSHAKE_TIMEOUT, by_peer=False, detail=detail),
        )

    def test_a_node_that_does_not_judge(self) -> None:
        """A question that nobody answers ends at the deadline, and both sides know why."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        pair.listener.perform(pair.listener.machine.tick(pair.now + HANDSHAKE_SECONDS), pair.now)
        pair.settle()
        self.assert_refused(pair.listener, Status.HANDSHAKE_TIMEOUT, by_peer=False)
        self.assert_refused(pair.dialler, Status.HANDSHAKE_TIMEOUT, by_peer=True)
        self.assertEqual(pair.listener.machine.judged(Admitted(bus_id=1), pair.now), [])

    def test_what_comes_after_the_deadline_is_too_late(self) -> None:
        """A frame or an answer that comes after the deadline ends it, though no tick came."""
        late = 100.0 + HANDSHAKE_SECONDS
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        pair.listener.perform(pair.listener.machine.judged(Admitted(bus_id=1), late), late)
        self.assert_refused(pair.listener, Status.HANDSHAKE_TIMEOUT, by_peer=False)
        self.assertIsNone(pair.listener.endpoint)

        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.open()
        pair.listener.deliver(late)
        self.assert_refused(pair.listener, Status.HANDSHAKE_TIMEOUT, by_peer=False)
        self.assertEqual(pair.listener.sent, [])

    def test_one_clock_for_the_whole_registration(self) -> None:
        """Dripping frames does not move the deadline."""
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.open()
        deadline = pair.listener.machine.deadline
        pair.listener.deliver(pair.now + 2.0)
        self.assertEqual(pair.listener.machine.deadline, deadline)

    def test_no_deadline_before_and_after(self) -> None:
        """A machine that has not begun, or is done, awaits nothing."""
        pair = HandshakePair(make_terms(1), make_terms(2))
        self.assertIsNone(pair.dialler.machine.deadline)
        self.assertEqual(pair.dialler.machine.tick(1_000.0), [])
        pair.run()
        self.assertEqual(pair.dialler.machine.tick(1_000.0), [])
        self.assertIsNone(pair.dialler.closed)


class BreachTests(RefusalCase):
    def test_the_first_frame_must_be_hello(self) -> None:
        """Anything but HELLO first is out of turn, is not answered and closes."""
        for message in (
            Ping(),
            Goodbye(),
            RegisterRequest(source=1),
            RegisterResponse(source=1, status=Status.OK),
            RegisterResponse(source=1, status=Status.OVERLOADED),
            Unknown(type_number=0xBF),
        ):
            for machine in (ActiveHandshake(make_terms(1)), PassiveHandshake(make_terms(2))):
                end = HandshakeEnd(machine, admit)
                end.perform(machine.open(0.0), 0.0)
                before = len(end.sent)
                end.perform(machine.receive(message, b"", 0.0), 0.0)
                self.assert_refused(end, Status.OUT_OF_TURN, by_peer=False)
                self.assertEqual(len(end.sent), before)

    def test_data_before_the_registration_counts(self) -> None:
        """Application traffic before the registration counts ends it, and the peer is told."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        pair.dialler.write(encode(Ping(source=1)))
        pair.settle()
        self.assert_refused(pair.listener, Status.OUT_OF_TURN, by_peer=False)
        self.assert_refused(pair.dialler, Status.OUT_OF_TURN, by_peer=True)

    def test_hello_twice(self) -> None:
        """A second hello is out of turn."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        pair.dialler.write(pair.dialler.written[0])
        pair.settle()
        self.assert_refused(pair.listener, Status.OUT_OF_TURN, by_peer=False)

    def test_bytes_that_are_no_frame(self) -> None:
        """What the driver cannot read ends the registration with the reader's own status."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        pair.listener.perform(
            pair.listener.machine.refuse(Status.MALFORMED_FRAME, "length 3"), pair.now
        )
        pair.settle()
        self.assert_told(pair.listener, Status.MALFORMED_FRAME, "length 3")
        self.assert_refused(pair.listener, Status.MALFORMED_FRAME, by_peer=False)
        self.assert_refused(pair.dialler, Status.MALFORMED_FRAME, by_peer=True)

    def test_a_breach_after_the_registration(self) -> None:
        """A registered connection on which somebody says hello again is closed, not refused."""
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.run()
        pair.dialler.write(pair.dialler.written[0])
        pair.settle()
        assert pair.listener.closed is not None
        self.assertIs(pair.listener.closed.status, Status.OUT_OF_TURN)
        assert pair.dialler.closed is not None
        self.assertIs(pair.dialler.closed.status, Status.OUT_OF_TURN)
        for end in pair.ends:
            self.assertIsNone(end.refused)


class GoodbyeTests(RefusalCase):
    def test_the_peer_leaves(self) -> None:
        """A goodbye during the registration is acknowledged and reported with its reason."""
        for dialler_leaves in (True, False):
            pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
            pair.run()
            leaving, left = pair.ends if dialler_leaves else reversed(pair.ends)
            leaving.write(encode(Goodbye(status=Status.STOPPED, detail="leaving")))
            left.deliver(pair.now)
            self.assert_refused(left, Status.STOPPED, by_peer=True)
            self.assertIsInstance(left.sent[-1], GoodbyeAck)

    def test_a_goodbye_without_a_reason(self) -> None:
        """A goodbye that gives OK as its reason is still not a registration."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        pair.dialler.write(encode(Goodbye(status=Status.OK)))
        pair.listener.deliver(pair.now)
        self.assert_refused(pair.listener, Status.GOODBYE, by_peer=True)


class LossTests(RefusalCase):
    def test_the_connection_goes(self) -> None:
        """A connection that ends in the middle is a failed registration; nothing is left to close."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        effects = pair.listener.machine.lost(Status.LINK_LOST, "reset")
        self.assertEqual(effects, [Refused(Status.LINK_LOST, "reset", by_peer=False)])
        self.assertTrue(pair.listener.machine.finished)
        self.assertEqual(pair.listener.machine.judged(Admitted(bus_id=1), pair.now), [])

    def test_the_connection_goes_later(self) -> None:
        """The end of a registered connection is not the registration's business."""
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.run()
        self.assertEqual(pair.listener.machine.lost(Status.LINK_LOST, "reset"), [])

    def test_it_never_came_up(self) -> None:
        """A machine whose connection is lost before it is opened has failed, and stays silent."""
        machine = ActiveHandshake(make_terms(1))
        self.assertEqual(
            machine.lost(Status.CONNECT_FAILED, "refused"),
            [Refused(Status.CONNECT_FAILED, "refused", by_peer=False)],
        )
        self.assertEqual(machine.open(0.0), [])


class OurOwnMistakesTests(RefusalCase):
    def test_opened_twice(self) -> None:
        """Opening twice is our bug."""
        machine = ActiveHandshake(make_terms(1))
        machine.open(0.0)
        self.assertRaises(LocalProtocolError, machine.open, 0.0)

    def test_used_before_it_is_open(self) -> None:
        """A frame or an answer for a machine that has not begun is our bug."""
        for machine in (ActiveHandshake(make_terms(1)), PassiveHandshake(make_terms(2))):
            self.assertRaises(LocalProtocolError, machine.receive, Ping(), b"", 0.0)
            self.assertRaises(LocalProtocolError, machine.judged, Admitted(bus_id=2), 0.0)

    def test_judged_without_a_question(self) -> None:
        """An answer that nobody asked for is our bug."""
        machine = PassiveHandshake(make_terms(2))
        machine.open(0.0)
        for verdict in (Admitted(bus_id=1), Rejected(status=Status.OVERLOADED)):
            self.assertRaises(LocalProtocolError, machine.judged, verdict, 0.0)
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.run()
        for end in pair.ends:
            self.assertRaises(LocalProtocolError, end.machine.judged, Admitted(bus_id=1), 0.0)

    def test_admitted_under_an_id_it_cannot_have(self) -> None:
        """Our node may not rename a peer, nor admit an automatic one without an id."""
        for mode, source, given in (
            (Mode.NODE, 1, 9),
            (Mode.TEMPORARY, 0, 9),
            (Mode.AUTO, 0, 0),
        ):
            pair = HandshakePair(
                make_terms(source, mode=mode), make_terms(2), judge_dialler=lambda _: None
            )
            pair.run()
            machine = pair.listener.machine
            self.assertRaises(LocalProtocolError, machine.judged, Admitted(bus_id=given), 100.0)
            # Even then the registration ends in time.
            self.assertEqual(len(machine.tick(100.0 + HANDSHAKE_SECONDS)), 3)

    def test_rejected_with_ok(self) -> None:
        """A rejection says why."""
        self.assertRaises(ValueError, Rejected, status=Status.OK)

    def test_other_traffic_after_the_registration(self) -> None:
        """Ordinary traffic is not for a registration that is done."""
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.run()
        for message in (Ping(), Goodbye()):
            self.assertRaises(
                LocalProtocolError, pair.dialler.machine.receive, message, b"", pair.now
            )


class AddedEndpointTests(RefusalCase):
    def test_a_refusal_after_the_endpoint_was_added(self) -> None:
        """Whatever ends it then, `Refused` follows `AddEndpoint`, so that it can be taken back."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_listener=lambda _: None)
        pair.run()
        pair.advance(HANDSHAKE_SECONDS)
        kinds = [type(effect) for effect in pair.listener.effects]
        self.assertLess(kinds.index(AddEndpoint), kinds.index(Refused))
        self.assertNotIn(AskAdmission, kinds[kinds.index(AddEndpoint) :])

    def test_frames_are_the_ones_on_the_wire(self) -> None:
        """What is refused is told in a frame that any node can read."""
        pair = HandshakePair(make_terms(1), make_terms(2, tokens=(TOKEN,)))
        pair.run()
        self.assertEqual(decode(pair.listener.written[-1]), pair.listener.sent[-1])
