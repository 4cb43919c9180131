"""Other ways for a registration to end: time, breaches, goodbyes, losses, our own bugs."""

from __future__ import annotations

from atbus.errors import LocalProtocolError, Status
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.effects import AddEndpoint, AskAdmission, Refused
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import Admitted, Rejected
from atbus.limits import DETAIL_BYTES, FRAME_BYTES_MIN, HANDSHAKE_SECONDS
from atbus.testing.conversation import HandshakeEnd, HandshakePair, admit, make_terms
from atbus.wire.codec import decode, encode
from atbus.wire.messages import (
    Goodbye,
    GoodbyeAck,
    Mode,
    Ping,
    RegisterRequest,
    RegisterResponse,
    Unknown,
)
from tests.handshake.refusal_case import RefusalCase, ending

TOKEN = b"a token"


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
    def test_frames_too_small_to_talk(self) -> None:
        """A peer that takes only frames too small for a registration is refused."""
        pair = HandshakePair(make_terms(1, frame_max=FRAME_BYTES_MIN - 1), make_terms(2))
        pair.run()
        self.assert_refused(pair.listener, Status.MALFORMED_FRAME, by_peer=False)
        self.assert_refused(pair.dialler, Status.MALFORMED_FRAME, by_peer=True)
        pair = HandshakePair(make_terms(1, frame_max=FRAME_BYTES_MIN), make_terms(2))
        pair.run()
        self.assertIsNotNone(pair.listener.registered)

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

    def test_long_words_of_the_peer_are_cut(self) -> None:
        """What the other side says is reported up to the length that words may have."""
        for message in (
            Goodbye(detail="!" * 1_000),
            RegisterResponse(status=Status.OVERLOADED, detail="!" * 1_000),
        ):
            pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
            pair.run()
            pair.dialler.write(encode(message))
            pair.listener.deliver(pair.now)
            assert pair.listener.refused is not None
            self.assertEqual(len(pair.listener.refused.detail), DETAIL_BYTES)

    def test_a_goodbye_without_a_reason(self) -> None:
        """A goodbye that gives OK as its reason is still not a registration."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        pair.dialler.write(encode(Goodbye(status=Status.OK)))
        pair.listener.deliver(pair.now)
        self.assert_refused(pair.listener, Status.GOODBYE, by_peer=True)


class LossTests(RefusalCase):
    def test_the_connection_goes(self) -> None:
        """A connection that ends in the middle is a failed registration, with nothing to close."""
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
