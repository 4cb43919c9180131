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
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping

import attrs

from atbus.subjects import bounds
from atbus.subjects.interest import ONWARD, Side, Wanted
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
class _Question:
    """One barrier that waits for answers: who asked, of what, and how many have not answered."""

    done: Answer | Known
    wanted: tuple[Wanted, ...]
    waiting: int
    #: What it costs, bytes.
    cost: int = 0


class Barriers:
    """The barriers that this node has passed on."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, _Question] = {}
        # By neighbor, the questions that wait for it, and those that it has asked: many may be lost
        # at the same moment, and each is to cost what is about it alone.
        self._owed: dict[int, set[int]] = {}
        self._asked_by: dict[int, set[int]] = {}
        # By ticket, what was asked here.
        self._tickets: dict[int, int] = {}
        # How much each neighbor asks at once, in number and in bytes; and all of them.
        self._asked: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        """Count the questions that wait for answers."""
        return len(self._open)

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
        :param neighbors: Those who take part.
        :param wanted: What it is about in particular.
        :returns: What to send; `Known` at once when there is nobody to ask.
        """
        return self._pass_on(Known(ticket), wanted, neighbors)

    def asked(
        self, answer: Answer, neighbors: Mapping[int, Side], wanted: tuple[Wanted, ...] = ()
    ) -> list[Effect]:
        """
        Pass a neighbor's question on.

        :param answer: What it will be answered, if nobody refuses; with a refusal, at once.
        :param neighbors: Those who take part.
        :param wanted: What it is about in particular.
        :returns: What to send; the answer at once when nobody is beyond.
        """
        if answer.refusal is not None:
            return [answer]
        by = answer.neighbor
        onward = ONWARD[neighbors[by]]
        beyond = [bus_id for bus_id, side in neighbors.items() if bus_id != by and side in onward]
        return self._pass_on(answer, wanted, beyond)

    def answered(
        self, by: int, barrier: int, refusal: InterestRefusal | None = None
    ) -> list[Effect]:
        """
        Take an answer.

        :param refusal: Why somebody there does not know.
        :returns: What follows; nothing for an answer that nobody waits for.
        """
        question = self._open.get(barrier)
        owed = self._owed.get(by, ())
        if question is None or barrier not in owed:
            return []
        if refusal is None:
            _take_out(self._owed, by, barrier)
            return self._without_one(barrier, question)
        self._end(barrier)
        return [attrs.evolve(question.done, refusal=refusal)]

    def check(self, bus_id: int) -> list[Effect]:
        """Ask one neighbor only, for the digest in its answer; `Known` has ticket 0 then."""
        return self._pass_on(Known(0), (), (bus_id,))

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
        for barrier in tuple(self._asked_by.get(bus_id, ())):
            self._end(barrier)
        effects: list[Effect] = []
        for barrier in sorted(self._owed.pop(bus_id, ())):
            effects += self._without_one(barrier, self._open[barrier])
        return effects

    def forget(self, ticket: int) -> None:
        """Wait no more for answers that nobody wants."""
        barrier = self._tickets.get(ticket)
        if barrier is not None:
            self._end(barrier)

    def _pass_on(
        self, done: Answer | Known, wanted: tuple[Wanted, ...], beyond: Iterable[int]
    ) -> list[Effect]:
        waiting = set(beyond)
        if not waiting:
            return [done]
        barrier = next(self._numbers)
        question = self._open[barrier] = _Question(done, wanted, len(waiting))
        for bus_id in waiting:
            self._owed.setdefault(bus_id, set()).add(barrier)
        if isinstance(done, Known):
            if done.ticket:
                self._tickets[done.ticket] = barrier
        else:
            self._asked_by.setdefault(done.neighbor, set()).add(barrier)
            question.cost = _cost(wanted, len(waiting))
            self._count(done.neighbor, 1 + len(wanted), question.cost)
        return [Ask(bus_id, barrier, wanted) for bus_id in sorted(waiting)]

    def _without_one(self, barrier: int, question: _Question) -> list[Effect]:
        question.waiting -= 1
        if question.waiting:
            return []
        self._end(barrier)
        return [question.done]

    def _end(self, barrier: int) -> None:
        question = self._open.pop(barrier)
        if question.waiting:
            for bus_id in tuple(self._owed):
                _take_out(self._owed, bus_id, barrier)
        if isinstance(question.done, Known):
            if self._tickets.get(question.done.ticket) == barrier:
                del self._tickets[question.done.ticket]
            return
        by = question.done.neighbor
        _take_out(self._asked_by, by, barrier)
        self._count(by, -1 - len(question.wanted), -question.cost)

    def _count(self, by: int, number: int, size_bytes: int) -> None:
        put(self._asked, by, self._asked.get(by, 0) + number)
        put(self._held, by, self._held.get(by, 0) + size_bytes)
        self._held_bytes += size_bytes


def _take_out(barriers: dict[int, set[int]], bus_id: int, barrier: int) -> None:
    """Take a barrier from those of a neighbor; one that has none left has no entry."""
    some = barriers[bus_id]
    some.discard(barrier)
    if not some:
        del barriers[bus_id]


def _cost(wanted: Collection[Wanted], others: int) -> int:
    return bounds.QUESTION_BYTES * (1 + len(wanted)) + bounds.QUESTION_WAIT_BYTES * others
