"""
Whole buses in bad weather whose programs do more than send.

They leave neighbors, have their nodes connect directly, take messages slowly, ask on subjects, and
change the configuration while all of it runs. ``ATBUS_SEEDS=7`` runs seed 7 only, ``1-500`` many.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.errors import AtbusError, Status, Undeliverable
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.node.reload import reconfigure
from atbus.testing.bus_model import BusModel
from atbus.testing.bus_storm import BusStorm, Shape
from atbus.testing.virtual_bus import VirtualBus
from tests.simulation.case import ride_out, seeds

# How long a program takes for a message, or stays paused.
_WAITS: Final = (0.01, 0.3, 2.0)
_ASK_SECONDS: Final = 6.0
#: What a program may change: name, and values of which one is drawn.
_CHANGES: Final[tuple[dict[str, tuple[Any, ...]], ...]] = (
    {"direct_connections": (True, False)},
    {"accept_notices": (True, False)},
    {"heartbeat_seconds": (0.7, 1.0, 1.5)},
    {"retry_seconds_max": (0.5, 1.0, 2.0)},
    {"upstream_return_seconds": (0.5, 2.0)},
    {"pending_seconds": (2.0, 8.0)},
    {"window_bytes": (100_000, 8_388_608), "window_count": (10, 8_192)},
    {"queued_bytes_soft": (20_000, 200_000)},
)


@attrs.frozen
class _Habits:
    """What the programs of one bus do; at least one of it."""

    leave: bool
    connect: bool
    dawdle: bool
    change: bool

    @classmethod
    def of(cls, seed: int) -> _Habits:
        lot = Random(f"habits of {seed}")
        drawn = [lot.random() < 0.4 for _ in range(4)]
        drawn[lot.randrange(4)] = True
        return cls(*drawn)


@implementer(IMessageReceiver)
class _Dawdler:
    """A program that takes its time for some messages, and pauses now and then."""

    def __init__(self, node: Node, bus: VirtualBus) -> None:
        self._node = node
        self._lot = Random(f"{node.epoch} of {node.config.id} with {bus.seed}")
        self._process = bus.network.process_of(node)
        node.receiver = self

    def message_received(
        self, source: int, kind: int, sequence: int, payload: bytes
    ) -> Deferred[None] | None:
        """Take one message."""
        drawn, seconds = self._lot.random(), self._lot.choice(_WAITS)
        if drawn < 0.1:
            done: Deferred[None] = Deferred()
            self._process.callLater(seconds, done.callback, None)
            return done
        if drawn < 0.13:
            self._node.pause()
            self._process.callLater(seconds, self._node.resume)
        return None


class ProgramStorm(BusStorm):
    """A storm over nodes whose programs have habits."""

    def __init__(self, bus: VirtualBus, count: int) -> None:
        self.habits = _Habits.of(bus.seed)
        self.lot = Random(f"programs of {bus.seed}")
        super().__init__(bus, count)

    def _node(self, bus_id: int, above: tuple[int, ...], **options: Any) -> None:
        if self.habits.connect:
            options["direct_connections"] = self.lot.random() < 0.6
        super()._node(bus_id, above, **options)

    def _live(self, node: Node) -> None:
        super()._live(node)
        if self.habits.dawdle:
            _Dawdler(node, self.bus)

    def rage(self, shape: Shape) -> None:
        """Let programs act as well, once all are up."""
        everybody = list(self.candidates)
        for _ in range(int(self.lot.choice((1, 3, 10)) * shape.seconds)):
            at = 2.0 + self.lot.uniform(0, shape.seconds)
            if self.habits.leave:
                self.bus.later(at, self.lot.choice(everybody), self._leave_somebody)
            if self.habits.change:
                self.bus.later(at, self.lot.choice(everybody), self._change_something)
        super().rage(shape)

    def _leave_somebody(self, node: Node) -> None:
        if node.endpoints:
            other = self.lot.choice(sorted(node.endpoints))
            self.bus.log.append(f"{node.config.id:#x} leaves {other:#x}")
            node.disconnect(other).addErrback(lambda failure: failure.trap(AtbusError))

    def _change_something(self, node: Node) -> None:
        drawn = {
            name: self.lot.choice(values)
            for change in self.lot.sample(_CHANGES, 2)
            for name, values in change.items()
        }
        self.bus.log.append(f"{node.config.id:#x} changes {drawn}")
        reconfigure(node, node.config.replace(**drawn))

    # Afterwards ways may change with every message, and what was read slowly comes late.

    @property
    def _ways_change(self) -> bool:
        return self.habits.connect or self.habits.change

    def _look_at_queues(self) -> None:
        if not self.habits.change:
            super()._look_at_queues()

    def _send_samples(self, model: BusModel) -> None:
        if self._ways_change or self.habits.dawdle:
            self._wait_for_stragglers()
        else:
            super()._send_samples(model)

    def _let_one_leave(self, model: BusModel) -> None:
        if not self._ways_change:
            super()._let_one_leave(model)


@attrs.define
class _Question:
    """A question on a subject, and what became of it."""

    node: Node
    #: Who is to answer: one node, any of a group, or everybody.
    whom: int | str
    payload: bytes
    answers: list[bytes] | None = None
    status: Status | None = None


class AskingStorm(BusStorm):
    """A storm over nodes that ask each other on subjects: one, any of a group, or everybody."""

    def __init__(self, bus: VirtualBus, count: int) -> None:
        self.lot = Random(f"questions of {bus.seed}")
        self.questions: list[_Question] = []
        super().__init__(bus, count)

    def _live(self, node: Node) -> None:
        super()._live(node)
        name = b"%x" % node.config.id

        def answer(question: Publication) -> bytes:
            return name + b" " + question.payload

        node.subscribe(f"one.x{node.config.id:x}", answer)
        node.subscribe("all", answer)
        if self.lot.random() < 0.3:
            node.subscribe("any", answer, queue="group")

    def _burst(self, node: Node) -> None:
        super()._burst(node)
        self._ask(node)

    def _ask(self, node: Node) -> None:
        whom = self.lot.choice((self.lot.choice(list(self.candidates)), "any", "all"))
        question = _Question(node, whom, b"%d" % self.lot.getrandbits(60))
        waiting: Deferred[Any]
        if whom == "all":
            waiting = node.request_many(
                "all",
                question.payload,
                count_max=len(self.candidates),
                timeout=_ASK_SECONDS,
                quiet=1.0,
            )
        else:
            subject = "any" if whom == "any" else f"one.x{whom:x}"
            waiting = node.request_subject(subject, question.payload, timeout=_ASK_SECONDS)
        self.questions.append(question)

        def answered(result: Publication | list[Publication]) -> None:
            each = result if isinstance(result, list) else [result]
            question.answers = [one.payload for one in each]

        def failed(failure: Failure) -> None:
            failure.trap(Undeliverable)
            assert isinstance(failure.value, Undeliverable)
            question.status = failure.value.status

        waiting.addCallbacks(answered, failed)

    def _send_samples(self, model: BusModel) -> None:
        self._wait_for_stragglers()
        self.bus.run(_ASK_SECONDS)
        self._look_at(self.questions)
        self.questions = []
        for _ in range(20):
            self._ask(self.bus[self.lot.choice(list(self.candidates))])
        self.bus.run(_ASK_SECONDS + 1.0)
        self._look_at(self.questions)
        for each in self.questions:
            is_nobody = each.whom == "any" and each.status is Status.NO_RESPONDERS
            count = len(self.candidates) if each.whom == "all" else 1
            if not is_nobody and len(each.answers or ()) != count:
                self.found.append(f"of {count} answers these have come: {each}")
        if not self.found:
            super()._send_samples(model)

    def _look_at(self, questions: list[_Question]) -> None:
        """Each question has ended, with answers to it, and no more than one from anybody."""
        for each in questions:
            if each.answers is None:
                is_alive = self.bus[each.node.config.id] is each.node
                if each.status is None and is_alive:
                    self.found.append(f"it has never ended: {each}")
                continue
            words = [answer.split(b" ") for answer in each.answers]
            names = [name for name, _ in words]
            is_right = each.whom in ("any", "all") or names == [b"%x" % int(each.whom)]
            if not is_right or len(set(names)) < len(names):
                self.found.append(f"others have answered than were asked: {each}")
            if any(payload != each.payload for _, payload in words):
                self.found.append(f"these are answers to another question: {each}")


class BusProgramTests(SynchronousTestCase):
    """Regions of proxies and leaves, and what their programs do."""

    def test_habits(self) -> None:
        """
        Whoever leaves whom, connects, dawdles or is changed: afterwards everybody is where he
        belongs, and every message has its fate; nothing is uncertain if nothing broke.
        """
        for seed in seeds(1, 25):
            with self.subTest(seed):
                ride_out(seed, ProgramStorm)

    def test_questions(self) -> None:
        """A question always ends; afterwards each is answered by those whom it is for, once."""
        for seed in seeds(1, 12):
            with self.subTest(seed):
                ride_out(seed, AskingStorm)
