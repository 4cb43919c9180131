"""Whatever happens in whatever order: no machine raises, and all end within their deadline."""

from __future__ import annotations

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import RemoteProtocolError, Status
from atbus.handshake.effects import AddEndpoint, Close, Effect, Refused, Registered, Send
from atbus.handshake.terms import Admitted, LocalTerms, Rejected, Verdict
from atbus.limits import HANDSHAKE_SECONDS
from atbus.testing.conversation import HandshakeEnd, HandshakePair, make_terms
from atbus.wire.codec import decode, encode
from atbus.wire.messages import (
    Data,
    Goodbye,
    GoodbyeAck,
    Hello,
    Message,
    Mode,
    Ping,
    RegisterRequest,
    RegisterResponse,
    Role,
    Unknown,
)

TOKENS = st.sampled_from([(), (b"a",), (b"b", b"a"), (b"c",)])
IDS = st.integers(0, 3)


@st.composite
def local_terms(draw: st.DrawFn, *, listens: bool) -> LocalTerms:
    """Draw what a node may say about itself, often what any other accepts."""
    nonce = b"listener's nonce" if listens else b"dialler's nonce."
    mode = Mode.NODE if listens else draw(st.sampled_from(Mode))
    role = draw(st.sampled_from([Role.CONTROL, Role.DATA]))
    if draw(st.booleans()) or draw(st.booleans()):
        bus_id = (2 if listens else 1) if mode is Mode.NODE else 0
        return make_terms(bus_id, mode=mode, role=role, nonce=nonce)
    bus_id = draw(st.integers(1, 2)) if mode is Mode.NODE else 0
    return make_terms(
        draw(st.sampled_from([bus_id, bus_id, bus_id, 0])) if listens else bus_id,
        mode=mode,
        role=draw(st.sampled_from(Role)),
        tokens=draw(TOKENS),
        versions=draw(st.sampled_from([(1, 1), (1, 2), (2, 2)])),
        nonce=nonce,
        expected_id=draw(st.sampled_from([0, 0, 0, 1, 2])),
    )


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello,
        source=IDS,
        epoch=IDS,
        version_min=IDS,
        version_max=IDS,
        role=st.sampled_from(Role),
        mode=st.sampled_from(Mode),
        nonce=st.sampled_from([b"listener's nonce", b"dialler's nonce.", b"another's nonce."]),
        frame_max=st.sampled_from([0, 4_096, 65_536]),
    ),
    st.builds(RegisterRequest, source=IDS, proofs=st.sampled_from([(), (b"x",), (bytes(32),) * 6])),
    st.builds(
        RegisterResponse,
        source=IDS,
        status=st.sampled_from([Status.OK, Status.OK, Status.OVERLOADED]),
        assigned_id=IDS,
        detail=st.text(max_size=3),
    ),
    st.builds(Goodbye, status=st.sampled_from([Status.OK, Status.STOPPED])),
    st.sampled_from([GoodbyeAck(), Ping(), Data(messages=((0, b"x"),)), Unknown(type_number=0xBF)]),
)


@attrs.frozen
class Deliver:
    """Read one frame on one side, or the end of the wire."""


@attrs.frozen
class Inject:
    """Say something to one side that the other never said."""

    message: Message


@attrs.frozen
class Repeat:
    """Say again to one side what the other side said before, whenever it was."""

    index: int


@attrs.frozen
class Cut:
    """Lose the connection, as one side sees it."""


@attrs.frozen
class Give:
    """Let one side's node end it."""


@attrs.frozen
class Judge:
    """Answer the question that one side has asked, if it has; twice is our own bug."""

    admits: bool


@attrs.frozen
class Wait:
    """Let time pass on one side."""

    seconds: float


Step = Deliver | Inject | Repeat | Cut | Give | Judge | Wait

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.just(Deliver()),
    st.just(Deliver()),
    st.just(Deliver()),
    st.builds(Judge, admits=st.sampled_from([True, True, False])),
    st.builds(Judge, admits=st.just(True)),
    st.builds(Wait, st.sampled_from([0.1, 1.0, 3.0])),
    st.builds(Inject, MESSAGES),
    st.builds(Repeat, st.integers(0, 3)),
    st.just(Cut()),
    st.just(Give()),
)


#: What a registration hears also when it is done.
HEARD_LATER = (Hello, RegisterRequest, RegisterResponse, Unknown)

UNDISTURBED: st.SearchStrategy[Step] = st.sampled_from([Deliver(), Judge(admits=True)])


class Story:
    """A pair of machines to which things happen."""

    def __init__(self, dialler: LocalTerms, listener: LocalTerms) -> None:
        self.pair = HandshakePair(
            dialler, listener, judge_listener=lambda _: None, judge_dialler=lambda _: None
        )
        self.pair.open()
        self.times = [self.pair.now, self.pair.now]
        self.judged = [False, False]

    def take(self, side: int, step: Step) -> None:
        end, far_end = self.pair.ends[side], self.pair.ends[1 - side]
        now = self.times[side]
        match step:
            case Deliver():
                if end.incoming and end.incoming[0] and self.is_ordinary(end, end.incoming[0]):
                    end.incoming.popleft()
                else:
                    end.deliver(now)
            case Inject(message):
                self.say(end, message, now)
            case Repeat(index):
                if index < len(far_end.written):
                    frame = far_end.written[index]
                    self.say(end, decode(frame), now, frame)
            case Cut():
                end.perform(end.machine.lost(Status.LINK_LOST, "cut"), now)
                end.hang_up()
            case Give():
                end.perform(end.machine.refuse(Status.STOPPED, "stopping"), now)
            case Judge(admits):
                if end.question is not None and not self.judged[side]:
                    self.judged[side] = True
                    end.judge(self.verdict(end, admits=admits), now)
            case Wait(seconds):
                self.times[side] = now + seconds
                end.perform(end.machine.tick(now + seconds), now + seconds)

    @staticmethod
    def is_ordinary(end: HandshakeEnd, frame: bytes) -> bool:
        """Tell whether a driver keeps a frame from a registration, for it is done."""
        message = decode(frame)
        return end.machine.finished and not isinstance(message, HEARD_LATER)

    def say(self, end: HandshakeEnd, message: Message, now: float, raw: bytes = b"") -> None:
        """Say something; a driver keeps ordinary traffic from a registration that is done."""
        if end.hung_up or (end.machine.finished and not isinstance(message, HEARD_LATER)):
            return
        if not raw and not isinstance(message, Unknown):
            raw = encode(message)
        end.perform(end.machine.receive(message, raw, now), now)

    def verdict(self, end: HandshakeEnd, *, admits: bool) -> Verdict:
        assert end.question is not None
        if not admits:
            return Rejected(status=Status.NOT_ADMITTED)
        hello = end.question.hello
        return Admitted(bus_id=3 if hello.mode is Mode.AUTO else hello.source)


class SurvivalTests(SynchronousTestCase):
    def check(self, effects: list[Effect]) -> None:
        kinds = [type(effect) for effect in effects]
        for kind in (Registered, Refused, AddEndpoint, Close):
            self.assertLessEqual(kinds.count(kind), 1)
        # Exactly one verdict, and nothing that is done after it but what must be answered.
        self.assertEqual(kinds.count(Registered) + kinds.count(Refused), 1)
        if Close in kinds:
            self.assertEqual(kinds.index(Close), len(kinds) - 1)
        if Registered in kinds:
            after = kinds[kinds.index(Registered) + 1 :]
            self.assertLessEqual(set(after), {Send, Close})
        if AddEndpoint in kinds:
            end = Registered if Registered in kinds else Refused
            self.assertLess(kinds.index(AddEndpoint), kinds.index(end))

    @settings(deadline=None, max_examples=250)
    @given(
        local_terms(listens=False),
        local_terms(listens=True),
        st.integers(0, 8),
        st.lists(st.tuples(st.integers(0, 1), STEPS), max_size=30),
    )
    @example(make_terms(1), make_terms(2), 0, [(1, Deliver()), (0, Deliver()), (1, Cut())])
    # The listener, which is not through, answers what the dialler, which is, has never said.
    @example(
        make_terms(0, mode=Mode.AUTO),
        make_terms(2),
        8,
        [(1, Inject(Goodbye(status=Status.OK))), (0, Deliver())],
    )
    def test_never_raises_and_always_ends(
        self,
        dialler: LocalTerms,
        listener: LocalTerms,
        progress: int,
        steps: list[tuple[int, Step]],
    ) -> None:
        """Random terms, frames, losses, answers and pauses: one verdict each, in time."""
        story = Story(dialler, listener)
        # So much goes well before anything happens; without it few stories get far.
        well: list[tuple[int, Step]] = [
            (side, step) for step in (Deliver(), Judge(admits=True)) for side in (1, 0)
        ]
        for side, step in [*(well * 4)[: progress * 2], *steps]:
            story.take(side, step)
        for side, end in enumerate(story.pair.ends):
            self.assertEqual(end.machine.deadline is None, end.machine.finished)
            story.take(side, Wait(HANDSHAKE_SECONDS))
            self.assertTrue(end.machine.finished)
            self.check(end.effects)

    @settings(deadline=None, max_examples=100)
    @given(
        local_terms(listens=False),
        local_terms(listens=True),
        st.lists(
            st.tuples(
                st.integers(0, 1), st.one_of(st.just(Deliver()), st.builds(Judge, st.just(True)))
            ),
            max_size=40,
        ),
    )
    def test_both_sides_agree(
        self, dialler: LocalTerms, listener: LocalTerms, steps: list[tuple[int, Step]]
    ) -> None:
        """Without interference, in any order of events: either both register or neither does."""
        story = Story(dialler, listener)
        for side, step in [*steps, *[(side % 2, Deliver()) for side in range(20)]]:
            story.take(side, step)
        for _ in range(4):
            for side in (0, 1):
                story.take(side, Judge(admits=True))
            story.pair.settle()
        first, second = (end.registered for end in story.pair.ends)
        self.assertEqual(first is None, second is None)
        if first is not None and second is not None:
            self.assertEqual((first.my_id, first.bus_id), (second.bus_id, second.my_id))
            for name in ("version", "capabilities", "frame_max", "role"):
                self.assertEqual(getattr(first, name), getattr(second, name))

    @settings(deadline=None, max_examples=60)
    @given(st.data())
    def test_any_byte_of_a_proven_registration_matters(self, data: st.DataObject) -> None:
        """Changing one bit of either hello on its way makes the proof worthless."""
        pair = HandshakePair(make_terms(1, tokens=(b"a",)), make_terms(2, tokens=(b"a",)))
        pair.open()
        changes_dialler = data.draw(st.booleans())
        if not changes_dialler:
            pair.listener.deliver(pair.now)
        wire = pair.listener.incoming if changes_dialler else pair.dialler.incoming
        frame = wire.pop()
        assert frame is not None
        position = data.draw(st.integers(0, len(frame) - 1))
        bit = 1 << data.draw(st.integers(0, 7))
        changed = bytearray(frame)
        changed[position] ^= bit
        try:
            decode(bytes(changed))
        except RemoteProtocolError:
            return
        wire.append(bytes(changed))
        pair.settle()
        for end in pair.ends:
            self.assertIsNone(end.registered)
            self.assertIsNone(end.question)
            self.assertIsNone(end.endpoint)
