"""Registrations that succeed, as conversations of two real machines."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.errors import Status
from atbus.handshake.effects import (
    AddEndpoint,
    AskAdmission,
    Effect,
    Registered,
    Send,
)
from atbus.handshake.terms import Admitted, LocalTerms, PeerTerms, Verdict
from atbus.testing.conversation import HandshakePair, make_terms
from atbus.wire.messages import Hello, Mode, RegisterRequest, RegisterResponse, Role, Unknown

TOKEN = b"a token"


def names(effects: list[Effect]) -> list[str]:
    """Name effects, and what is sent, for tests that are about order alone."""
    return [
        type(effect.message).__name__ if isinstance(effect, Send) else type(effect).__name__
        for effect in effects
    ]


def hello_of(terms: LocalTerms) -> Hello:
    """Say hello as an ordinary node does for a control connection."""
    return Hello(
        source=terms.bus_id,
        epoch=terms.epoch,
        version_min=terms.version_min,
        version_max=terms.version_max,
        capabilities=terms.capabilities,
        role=Role.CONTROL,
        mode=Mode.NODE,
        nonce=terms.nonce,
        frame_max=terms.frame_max,
    )


class OrdinaryTests(SynchronousTestCase):
    def test_registers_on_both_sides(self) -> None:
        """
        Two nodes with a common token become endpoints of each other, each exactly once.

        Scenario: O5
        """
        pair = HandshakePair(make_terms(1, tokens=(TOKEN,)), make_terms(2, tokens=(TOKEN,)))
        pair.run()
        for end, other_id in zip(pair.ends, (2, 1), strict=True):
            assert end.registered is not None
            self.assertEqual(end.registered.bus_id, other_id)
            self.assertEqual(names(end.effects).count("AddEndpoint"), 1)
            self.assertEqual(names(end.effects).count("Registered"), 1)
            self.assertIsNone(end.closed)
            self.assertTrue(end.machine.finished)
            self.assertIsNone(end.machine.deadline)

    def test_order_on_the_dialler(self) -> None:
        """The dialler speaks first, adds the endpoint before it says OK, registers last."""
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.run()
        self.assertEqual(
            names(pair.dialler.effects),
            [
                "Hello",
                "RegisterRequest",
                "AskAdmission",
                "AddEndpoint",
                "RegisterResponse",
                "Registered",
            ],
        )

    def test_order_on_the_listener(self) -> None:
        """The listener shows its request only to a dialler that it has admitted."""
        pair = HandshakePair(make_terms(1), make_terms(2))
        pair.run()
        self.assertEqual(
            names(pair.listener.effects),
            [
                "Hello",
                "AskAdmission",
                "AddEndpoint",
                "RegisterRequest",
                "RegisterResponse",
                "Registered",
            ],
        )

    def test_every_effect_of_the_dialler(self) -> None:
        """What the dialler emits, value by value."""
        local = make_terms(1, tokens=(TOKEN,), epoch=7, capabilities=0b0111, frame_max=60_000)
        far = make_terms(2, tokens=(TOKEN,), epoch=9, capabilities=0b1101, frame_max=50_000)
        pair = HandshakePair(local, far, judge_dialler=lambda _: Admitted(bus_id=1, known_epoch=70))
        pair.run()
        hello, request, response = pair.listener.sent
        assert isinstance(hello, Hello)
        assert isinstance(request, RegisterRequest)
        assert isinstance(response, RegisterResponse)
        sent_request = pair.dialler.sent[1]
        assert isinstance(sent_request, RegisterRequest)
        self.assertEqual(len(sent_request.proofs), 1)
        registered = PeerTerms(
            bus_id=2,
            epoch=9,
            role=Role.CONTROL,
            mode=Mode.NODE,
            version=1,
            capabilities=0b0101,
            frame_max=50_000,
            request=attrs.evolve(request, proofs=()),
            known_epoch=70,
            my_id=1,
            dialled=True,
        )
        self.assertEqual(
            pair.dialler.effects,
            [
                Send(hello_of(local)),
                Send(
                    attrs.evolve(
                        local.request,
                        source=1,
                        destination=2,
                        epoch=7,
                        proofs=sent_request.proofs,
                    )
                ),
                AskAdmission(hello=hello, request=request, dialled=True),
                # The listener's response comes after the question has been answered, and what
                # it tells is not known before.
                AddEndpoint(attrs.evolve(registered, known_epoch=0)),
                Send(RegisterResponse(source=1, destination=2, epoch=7, status=Status.OK)),
                Registered(registered),
            ],
        )

    def test_every_effect_of_the_listener(self) -> None:
        """What the listener emits, value by value."""
        local = make_terms(2, tokens=(TOKEN,), epoch=9, capabilities=0b1101, frame_max=50_000)
        far = make_terms(1, tokens=(TOKEN,), epoch=7, capabilities=0b0111, frame_max=60_000)
        pair = HandshakePair(
            far, local, judge_listener=lambda _: Admitted(bus_id=2, known_epoch=90)
        )
        pair.run()
        hello, request, _response = pair.dialler.sent
        assert isinstance(hello, Hello)
        assert isinstance(request, RegisterRequest)
        sent_request = pair.listener.sent[1]
        assert isinstance(sent_request, RegisterRequest)
        registered = PeerTerms(
            bus_id=1,
            epoch=7,
            role=Role.CONTROL,
            mode=Mode.NODE,
            version=1,
            capabilities=0b0101,
            frame_max=50_000,
            request=attrs.evolve(request, proofs=()),
            known_epoch=90,
            my_id=2,
            dialled=False,
        )
        self.assertEqual(
            pair.listener.effects,
            [
                Send(hello_of(local)),
                AskAdmission(hello=hello, request=request, dialled=False),
                AddEndpoint(attrs.evolve(registered, known_epoch=0)),
                Send(
                    attrs.evolve(
                        local.request,
                        source=2,
                        destination=1,
                        epoch=9,
                        proofs=sent_request.proofs,
                    )
                ),
                Send(RegisterResponse(source=2, destination=1, epoch=9, status=Status.OK)),
                Registered(registered),
            ],
        )

    def test_proofs_do_not_outlive_the_registration(self) -> None:
        """What a node keeps of its peer holds no proof."""
        pair = HandshakePair(make_terms(1, tokens=(TOKEN,)), make_terms(2, tokens=(TOKEN,)))
        pair.run()
        for end in pair.ends:
            assert end.registered is not None
            self.assertEqual(end.registered.request.proofs, ())

    def test_tokens_and_nonces_are_not_printed(self) -> None:
        """What a node says about itself can be logged."""
        terms = make_terms(1, tokens=(b"hush-hush",), exporter=b"hush-too", nonce=b"hush" * 4)
        self.assertNotIn("hush", repr(terms))

    def test_carries_what_both_register_with(self) -> None:
        """Subnets, labels and addresses arrive on the other side as they were given."""
        request = RegisterRequest(
            host="machine",
            process="machine:7:1",
            hostname="a.example",
            subnets=(Subnet(0x10000, 16),),
            labels={"region": "eu"},
            addresses=("ipv4://127.0.0.1:7000",),
            software="test",
        )
        pair = HandshakePair(make_terms(0x10001, request=request), make_terms(2))
        pair.run()
        assert pair.listener.registered is not None
        expected = attrs.evolve(request, source=0x10001, destination=2, epoch=1)
        self.assertEqual(pair.listener.registered.request, expected)

    def test_highest_common_version(self) -> None:
        """Of the versions both speak the highest is used."""
        for mine, theirs, expected in (
            ((1, 1), (1, 9), 1),
            ((1, 4), (2, 3), 3),
            ((2, 4), (1, 3), 3),
            ((3, 3), (3, 3), 3),
        ):
            pair = HandshakePair(make_terms(1, versions=mine), make_terms(2, versions=theirs))
            pair.run()
            versions = [end.registered and end.registered.version for end in pair.ends]
            self.assertEqual(versions, [expected, expected])

    def test_data_connection(self) -> None:
        """The listener takes the role from the dialler, whatever it was made with."""
        pair = HandshakePair(make_terms(1, role=Role.DATA, expected_id=2), make_terms(2))
        pair.run()
        for end in pair.ends:
            assert end.endpoint is not None
            self.assertIs(end.endpoint.role, Role.DATA)
            self.assertIsNotNone(end.registered)

    def test_tls_exporter(self) -> None:
        """Two ends of one TLS connection register."""
        pair = HandshakePair(
            make_terms(1, tokens=(TOKEN,), exporter=b"x" * 32),
            make_terms(2, tokens=(TOKEN,), exporter=b"x" * 32),
        )
        pair.run()
        self.assertTrue(all(end.registered for end in pair.ends))

    def test_skips_what_a_newer_version_adds(self) -> None:
        """A frame of an unknown ignorable type between the others changes nothing."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_listener=lambda _: None)
        news = Unknown(type_number=0xBF, body=b"news")
        pair.open()
        pair.listener.deliver(pair.now)
        for end in (pair.dialler, pair.listener, pair.dialler, pair.dialler):
            end.deliver(pair.now)
            for either in pair.ends:
                if either.sent and type(either.sent[-1]) is not Hello:
                    self.assertEqual(either.machine.receive(news, b"", pair.now), [])
        pair.dialler.judge(Admitted(bus_id=2), pair.now)
        pair.settle()
        for end in pair.ends:
            self.assertIsNotNone(end.registered)
            self.assertEqual(end.machine.receive(news, b"", pair.now), [])


class TokenTests(SynchronousTestCase):
    def test_one_token_in_common(self) -> None:
        """
        With several tokens one in common is enough, in any position.

        Scenario: H7, O5
        """
        for position in range(3):
            theirs = [b"c", b"d"]
            theirs.insert(position, TOKEN)
            pair = HandshakePair(
                make_terms(1, tokens=(b"a", TOKEN, b"b")), make_terms(2, tokens=tuple(theirs))
            )
            pair.run()
            self.assertTrue(all(end.registered for end in pair.ends))


class JudgingTests(SynchronousTestCase):
    def test_the_listener_may_take_its_time(self) -> None:
        """Nothing more is sent until the node has judged, however late it does."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_dialler=lambda _: None)
        pair.run()
        self.assertEqual(names(pair.listener.effects), ["Hello", "AskAdmission"])
        pair.advance(2.0)
        pair.listener.judge(Admitted(bus_id=1), pair.now)
        pair.settle()
        self.assertTrue(all(end.registered for end in pair.ends))

    def test_the_dialler_keeps_the_response(self) -> None:
        """The listener's OK may come while the dialler's node still judges; it is not lost."""
        pair = HandshakePair(
            make_terms(1),
            make_terms(2),
            judge_listener=lambda _: None,
            judge_dialler=lambda _: Admitted(bus_id=1, known_epoch=5),
        )
        pair.run()
        self.assertIsNone(pair.dialler.endpoint)
        pair.dialler.judge(Admitted(bus_id=2), pair.now)
        pair.settle()
        self.assertEqual(
            names(pair.dialler.effects)[-3:], ["AddEndpoint", "RegisterResponse", "Registered"]
        )
        assert pair.dialler.endpoint is not None
        self.assertEqual(pair.dialler.endpoint.known_epoch, 5)
        self.assertIsNotNone(pair.listener.registered)

    def test_the_listener_registers_only_when_the_dialler_has_said_ok(self) -> None:
        """A registration counts when both have said OK, not before."""
        pair = HandshakePair(make_terms(1), make_terms(2), judge_listener=lambda _: None)
        pair.run()
        self.assertIsNotNone(pair.listener.endpoint)
        self.assertIsNone(pair.listener.registered)
        pair.dialler.judge(Admitted(bus_id=2), pair.now)
        self.assertIsNone(pair.listener.registered)
        pair.settle()
        self.assertIsNotNone(pair.listener.registered)


class TemporaryTests(SynchronousTestCase):
    def test_the_listener_keeps_no_endpoint(self) -> None:
        """
        A temporary node is registered without an endpoint; it sees the other as one.

        Scenario: H27
        """
        pair = HandshakePair(make_terms(0, mode=Mode.TEMPORARY), make_terms(2))
        pair.run()
        self.assertIsNone(pair.listener.endpoint)
        assert pair.listener.registered is not None
        self.assertIs(pair.listener.registered.mode, Mode.TEMPORARY)
        self.assertEqual(pair.listener.registered.bus_id, 0)
        assert pair.dialler.endpoint is not None
        self.assertEqual(pair.dialler.endpoint.bus_id, 2)
        self.assertEqual(pair.dialler.endpoint.my_id, 0)
        self.assertIsNotNone(pair.dialler.registered)

    def test_is_asked_for_all_the_same(self) -> None:
        """The listener's node may refuse a temporary node as it may any other."""
        pair = HandshakePair(make_terms(0, mode=Mode.TEMPORARY), make_terms(2))
        pair.run()
        assert pair.listener.question is not None
        self.assertIs(pair.listener.question.hello.mode, Mode.TEMPORARY)


class AutomaticTests(SynchronousTestCase):
    def assign(self, question: AskAdmission) -> Verdict:
        self.assertEqual(question.request.wanted_id, 0x77)
        return Admitted(bus_id=0x77, known_epoch=3)

    def run_pair(self, *subnets: Subnet) -> HandshakePair:
        request = RegisterRequest(wanted_id=0x77, subnets=subnets)
        pair = HandshakePair(
            make_terms(0, mode=Mode.AUTO, request=request, epoch=4),
            make_terms(2),
            judge_dialler=self.assign,
        )
        pair.run()
        return pair

    def test_both_sides_agree_on_the_assigned_id(self) -> None:
        """The listener chooses the id; the dialler has it from its first callback on."""
        pair = self.run_pair()
        assert pair.listener.endpoint is not None
        self.assertEqual(pair.listener.endpoint.bus_id, 0x77)
        assert pair.dialler.endpoint is not None
        self.assertEqual(pair.dialler.endpoint.my_id, 0x77)
        self.assertEqual(pair.dialler.endpoint.known_epoch, 3)
        for end in pair.ends:
            assert end.registered is not None
            self.assertIs(end.registered.mode, Mode.NODE if end is pair.dialler else Mode.AUTO)
        self.assertEqual(pair.dialler.registered, pair.dialler.endpoint)

    def test_the_range_around_the_assigned_id(self) -> None:
        """A range that it announced without an id is known to the listener with the id."""
        pair = self.run_pair(Subnet(0, 4))
        assert pair.listener.registered is not None
        self.assertEqual(pair.listener.registered.request.subnets, (Subnet(0x70, 4),))

    def test_the_dialler_answers_last_and_by_its_new_name(self) -> None:
        """An automatic node waits for its id, then says OK with it."""
        pair = self.run_pair()
        self.assertEqual(
            names(pair.dialler.effects),
            [
                "Hello",
                "RegisterRequest",
                "AskAdmission",
                "AddEndpoint",
                "RegisterResponse",
                "Registered",
            ],
        )
        self.assertEqual([message.source for message in pair.dialler.sent], [0, 0, 0x77])
        self.assertEqual([message.destination for message in pair.listener.sent], [0, 0x77, 0x77])

    def test_its_node_is_asked_when_the_id_is_known(self) -> None:
        """Between the listener's request and its response the dialler's node hears nothing."""
        pair = HandshakePair(
            make_terms(0, mode=Mode.AUTO),
            make_terms(2),
            judge_dialler=lambda _: Admitted(bus_id=0x77),
        )
        pair.open()
        pair.listener.deliver(pair.now)
        pair.dialler.deliver(pair.now)
        pair.listener.deliver(pair.now)
        pair.dialler.deliver(pair.now)
        self.assertIsInstance(pair.listener.sent[-2], RegisterRequest)
        self.assertIsNone(pair.dialler.question)
        pair.dialler.deliver(pair.now)
        self.assertIsNotNone(pair.dialler.question)


class RepetitionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pair = HandshakePair(make_terms(1, tokens=(TOKEN,)), make_terms(2, tokens=(TOKEN,)))
        self.pair.run()

    def test_a_repeated_request_changes_nothing(self) -> None:
        """
        A request that comes again on a registered connection is answered, and nothing else.

        Scenario: H29
        """
        request, raw = self.pair.dialler.sent[1], self.pair.dialler.written[1]
        effects = self.pair.listener.machine.receive(request, raw, self.pair.now)
        self.assertEqual(effects, [Send(self.pair.listener.sent[2])])

    def test_a_repeated_request_of_the_listener_too(self) -> None:
        """
        The dialler answers a repeated request in the same way.

        Scenario: H29
        """
        request, raw = self.pair.listener.sent[1], self.pair.listener.written[1]
        effects = self.pair.dialler.machine.receive(request, raw, self.pair.now)
        self.assertEqual(effects, [Send(self.pair.dialler.sent[2])])
