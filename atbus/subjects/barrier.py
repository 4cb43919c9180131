"""
Know when the whole bus knows of an interest (wire protocol, 7.18 and 7.19).

A *barrier* is a question that runs along the interest: "answer when everybody beyond you knows what
I have told". It is passed on to whom the interest is told, each with a number of this node's own,
and answered when they all have answered. Links keep their order, so whoever has a barrier has all
the interest before it. A neighbor that is lost does not hold up the others: what is beyond it is no
part of the bus, and will be told everything anew when it is again.

A question may be about something in particular that is wanted. Then whoever does not keep that, or
may not pass it on, answers with a *refusal*; it goes back to who asked as it is, and others are not
waited for. What else somebody does not keep is no matter of that question.

Many may ask the same at once: when a proxy comes back, all who are below it do. One question is out
at a time; who asks the same meanwhile, from the same side, waits for the next one, which is for all
of them. It leaves after they have asked, so it promises each what a question of its own would.
Nobody waits in a circle: what comes from below waits for what goes up and down, what comes from
above or beside for what goes down only (`ONWARD`).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

import attrs

from atbus.subjects import bounds
from atbus.subjects.interest import HERE, ONWARD, Side, Wanted
from atbus.subjects.neighbor import put
from atbus.wire.messages import InterestRefusal


@attrs.frozen
class Ask:
    """Send an INTEREST with this barrier, about something in particular or not, to a neighbor."""

    neighbor: int
    barrier: int
    wanted: tuple[Wanted, ...] = ()


@attrs.frozen
class Answer:
    """
    Send an INTEREST_ACK to a neighbor.

    :param barrier: From its question, as is the
    :param generation: number of its last replay.
    :param digest: Of what was known from it when it asked.
    :param refusal: Why not everybody knows what it asked of.
    """

    neighbor: int
    barrier: int
    generation: int = 0
    digest: int = 0
    refusal: InterestRefusal | None = None


@attrs.frozen
class Known:
    """Tell who asked here, with this ticket, that the whole bus knows, or why not."""

    ticket: int
    refusal: InterestRefusal | None = None


Effect = Ask | Answer | Known


@attrs.define(eq=False)
class _Asker:
    """
    Somebody who asks.

    :param done: What he will get.
    :param question: What he asks.
    :param cost: What that costs, bytes.
    """

    done: Answer | Known
    question: _Question
    cost: int

    @property
    def by(self) -> int:
        """Which neighbor it is; `HERE` for this node."""
        return self.done.neighbor if isinstance(self.done, Answer) else HERE


@attrs.define(eq=False)
class _Question:
    """
    What is asked of those on some sides.

    :param onward: The sides.
    :param wanted: What it is about.
    :param asked: For whom it is out.
    :param later: Who has asked since.
    :param barrier: Its number while it is out.
    :param waiting: How many have not answered.
    """

    onward: tuple[Side, ...]
    wanted: tuple[Wanted, ...]
    asked: dict[_Asker, None] = attrs.field(factory=dict)
    later: dict[_Asker, None] = attrs.field(factory=dict)
    barrier: int = 0
    waiting: int = 0


class Barriers:
    """The barriers that this node has passed on."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        # What is asked, and of that what is out, by its number.
        self._questions: dict[tuple[tuple[Side, ...], tuple[Wanted, ...]], _Question] = {}
        self._open: dict[int, _Question] = {}
        # Those who take part, as was said last.
        self._neighbors: Mapping[int, Side] = {}
        # By neighbor, the questions that wait for it, and itself as an asker: many may be lost at
        # the same moment, and each is to cost what is about it alone.
        self._owed: dict[int, set[int]] = {}
        self._asked_by: dict[int, dict[_Asker, None]] = {}
        # By ticket, who asked here.
        self._tickets: dict[int, _Asker] = {}
        # How much each neighbor asks at once, in number and in bytes; and all of them.
        self._asked: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        """Count those who wait for answers."""
        return sum(len(each.asked) + len(each.later) for each in self._open.values())

    def may_ask(self, bus_id: int, wanted: Collection[Wanted], others: int) -> bool:
        """
        Tell whether a neighbor's question about something is not too much at once.

        :param others: How many neighbors may have to answer it.
        """
        if self._asked.get(bus_id, 0) + 1 + len(wanted) > bounds.QUESTIONS_MAX:
            return False
        left = bounds.QUESTIONS_BYTES - self._held_bytes
        return self._held.get(bus_id, 0) + _cost(wanted, others) <= left

    def ask(
        self, ticket: int, neighbors: Mapping[int, Side], wanted: tuple[Wanted, ...] = ()
    ) -> list[Effect]:
        """
        Ask whether the whole bus knows of the interest told so far.

        :param ticket: What `Known` will have; not 0.
        :param neighbors: Those who take part; looked at again when the same is asked once more.
        :param wanted: What it is about in particular.
        :returns: What to send; `Known` at once when there is nobody to ask.
        """
        return self._pass_on(Known(ticket), wanted, neighbors, Side.BELOW)

    def asked(
        self, answer: Answer, neighbors: Mapping[int, Side], wanted: tuple[Wanted, ...] = ()
    ) -> list[Effect]:
        """
        Pass a neighbor's question on.

        :param answer: What it will be answered, if nobody refuses; with a refusal, at once.
        :param neighbors: As for `ask`.
        :param wanted: What it is about in particular.
        :returns: What to send; the answer at once when nobody is beyond.
        """
        if answer.refusal is not None:
            return [answer]
        return self._pass_on(answer, wanted, neighbors, neighbors[answer.neighbor])

    def answered(
        self, by: int, barrier: int, refusal: InterestRefusal | None = None
    ) -> list[Effect]:
        """
        Take an answer.

        :param refusal: Why somebody there does not know.
        :returns: What follows; nothing for an answer that nobody waits for.
        """
        question = self._open.get(barrier)
        if question is None or barrier not in self._owed.get(by, ()):
            return []
        if refusal is None:
            _take_out(self._owed, by, barrier)
            return self._without_one(question)
        return self._finish(question, refusal, by)

    def check(self, bus_id: int) -> list[Effect]:
        """Ask one neighbor only, for the digest in its answer; `Known` has ticket 0 then."""
        question = _Question((), ())
        asker = _Asker(Known(0), question, 0)
        question.asked[asker] = None
        return self._go_out(question, {bus_id})

    def again(self, bus_id: int) -> list[Effect]:
        """Ask a neighbor anew what it has not answered: it has been told everything anew."""
        return [
            Ask(bus_id, barrier, self._open[barrier].wanted)
            for barrier in sorted(self._owed.get(bus_id, ()))
        ]

    def lost(self, bus_id: int) -> list[Effect]:
        """
        Wait no more for a neighbor, and forget what it asked.

        :returns: What follows.
        """
        for asker in tuple(self._asked_by.get(bus_id, ())):
            self._leave(asker)
        effects: list[Effect] = []
        for barrier in sorted(self._owed.pop(bus_id, ())):
            effects += self._without_one(self._open[barrier])
        return effects

    def forget(self, ticket: int) -> None:
        """Wait no more for answers that nobody wants."""
        asker = self._tickets.get(ticket)
        if asker is not None:
            self._leave(asker)

    def _pass_on(
        self,
        done: Answer | Known,
        wanted: tuple[Wanted, ...],
        neighbors: Mapping[int, Side],
        side: Side,
    ) -> list[Effect]:
        self._neighbors = neighbors
        onward = ONWARD[side]
        question = self._questions.get((onward, wanted)) or _Question(onward, wanted)
        asker = _Asker(done, question, 0)
        beyond = self._beyond(onward, asker.by)
        if not beyond:
            return [done]
        question.later[asker] = None
        if isinstance(done, Known):
            self._tickets[done.ticket] = asker
        else:
            asker.cost = _cost(wanted, len(beyond))
            self._asked_by.setdefault(done.neighbor, {})[asker] = None
            self._count(done.neighbor, 1 + len(wanted), asker.cost)
        if question.barrier:
            return []
        self._questions[onward, wanted] = question
        return self._go_on(question)

    def _beyond(self, onward: tuple[Side, ...], by: int) -> set[int]:
        """Name those on some sides but one."""
        places = self._neighbors.items()
        return {bus_id for bus_id, side in places if bus_id != by and side in onward}

    def _go_on(self, question: _Question) -> list[Effect]:
        """Ask for those who have asked since, if there are any."""
        question.asked, question.later = question.later, {}
        askers = {asker.by for asker in question.asked}
        if not askers:
            self._questions.pop((question.onward, question.wanted), None)
            return []
        # Who asks alone is not asked himself; of several, each is asked for the others.
        beyond = self._beyond(question.onward, askers.pop() if len(askers) == 1 else HERE)
        return self._go_out(question, beyond) if beyond else self._finish(question)

    def _go_out(self, question: _Question, beyond: set[int]) -> list[Effect]:
        barrier = question.barrier = next(self._numbers)
        question.waiting = len(beyond)
        self._open[barrier] = question
        for bus_id in beyond:
            self._owed.setdefault(bus_id, set()).add(barrier)
        return [Ask(bus_id, barrier, question.wanted) for bus_id in sorted(beyond)]

    def _without_one(self, question: _Question) -> list[Effect]:
        question.waiting -= 1
        return [] if question.waiting else self._finish(question)

    def _finish(
        self, question: _Question, refusal: InterestRefusal | None = None, by: int = HERE
    ) -> list[Effect]:
        """
        Answer all for whom a question was out, and ask for those who have asked since.

        :param by: Who has refused; it is no matter of what he asks himself.
        """
        self._come_back(question)
        effects: list[Effect] = []
        for asker in question.asked:
            done = asker.done
            if refusal is not None and asker.by == by:
                question.later[asker] = None
                continue
            self._forget(asker)
            effects.append(done if refusal is None else attrs.evolve(done, refusal=refusal))
        return effects + self._go_on(question)

    def _come_back(self, question: _Question) -> None:
        """Wait for nobody any more."""
        barrier, question.barrier = question.barrier, 0
        if self._open.pop(barrier, None) is not None and question.waiting:
            for bus_id in tuple(self._owed):
                _take_out(self._owed, bus_id, barrier)

    def _leave(self, asker: _Asker) -> None:
        """Forget who asked; for those who have asked since, what is out is waited for."""
        self._forget(asker)
        question = asker.question
        question.asked.pop(asker, None)
        question.later.pop(asker, None)
        if not (question.asked or question.later):
            self._come_back(question)
            self._questions.pop((question.onward, question.wanted), None)

    def _forget(self, asker: _Asker) -> None:
        done = asker.done
        if isinstance(done, Known):
            if self._tickets.get(done.ticket) is asker:
                del self._tickets[done.ticket]
            return
        askers = self._asked_by[done.neighbor]
        del askers[asker]
        if not askers:
            del self._asked_by[done.neighbor]
        self._count(done.neighbor, -1 - len(asker.question.wanted), -asker.cost)

    def _count(self, by: int, number: int, size_bytes: int) -> None:
        put(self._asked, by, self._asked.get(by, 0) + number)
        put(self._held, by, self._held.get(by, 0) + size_bytes)
        self._held_bytes += size_bytes


def _take_out(some: dict[int, set[int]], bus_id: int, barrier: int) -> None:
    """Take a barrier from those of a neighbor; one that has none left has no entry."""
    barriers = some.get(bus_id)
    if barriers is not None:
        barriers.discard(barrier)
        if not barriers:
            del some[bus_id]


def _cost(wanted: Collection[Wanted], others: int) -> int:
    return bounds.QUESTION_BYTES * (1 + len(wanted)) + bounds.QUESTION_WAIT_BYTES * others
