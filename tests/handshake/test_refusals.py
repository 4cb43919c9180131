"""Registrations that are refused: what each side sends and reports, in order."""

from __future__ import annotations

import attrs

from atbus.errors import Status
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import Admitted, Rejected
from atbus.limits import DETAIL_BYTES
from atbus.testing.conversation import HandshakeEnd, HandshakePair, admit, make_terms
from atbus.wire.codec import encode
from atbus.wire.messages import (
    Hello,
    Mode,
    RegisterRequest,
    RegisterResponse,
    Role,
)
from tests.handshake.refusal_case import RefusalCase, ending

TOKEN = b"a token"


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
        """Frames sent back to the one who sent them are recognized by their nonce."""
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
        self.assertTrue(words.startswith(heard))
        assert pair.listener.refused is not None
        self.assertEqual(pair.listener.refused.detail, words)

    def test_a_ring_does_not_register(self) -> None:
        """A stream that says it is a ring is refused, and the node is not asked."""
        pair = self.run_pair(make_terms(1, role=Role.RING), make_terms(2), Status.NOT_ADMITTED)
        self.assertIsNone(pair.listener.question)

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
