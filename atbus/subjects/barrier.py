"""
Know when the whole bus knows of an interest (wire protocol, 7.18 and 7.19).

A *barrier* is a question that runs along the interest: "answer when everybody beyond you knows what
I have told". It is passed on to whom the interest is told, each with a number of this node's own,
and answered when they all have answered. Links keep their order, so whoever has a barrier has all
the interest before it. A neighbor that is lost does not hold up the others: what is beyond it is no
part of the bus, and will be told everything anew when it is again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import attrs

from atbus.subjects.interest import ONWARD, Side


@attrs.frozen
class Ask:
    """Send an INTEREST with this barrier to a neighbor."""

    neighbor: int
    barrier: int


@attrs.frozen
class Answer:
    """Send an INTEREST_ACK with this barrier to a neighbor."""

    neighbor: int
    barrier: int


@attrs.frozen
class Known:
    """Tell who asked here, with this ticket, that the whole bus knows."""

    ticket: int


Effect = Ask | Answer | Known


@attrs.define(eq=False)
class _Question:
    """One barrier that waits for answers: who asked, and who has not answered."""

    done: Answer | Known
    waiting: set[int] = attrs.field(factory=set)


class Barriers:
    """The barriers that this node has passed on."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, _Question] = {}

    def __len__(self) -> int:
        """Count the questions that wait for answers."""
        return len(self._open)

    def ask(self, ticket: int, neighbors: Mapping[int, Side]) -> list[Effect]:
        """
        Ask whether the whole bus knows of the interest told so far.

        :param ticket: What `Known` will have.
        :param neighbors: Those who take part.
        :returns: What to send; `Known` at once when there is nobody to ask.
        """
        return self._pass_on(Known(ticket), neighbors)

    def asked(self, by: int, barrier: int, neighbors: Mapping[int, Side]) -> list[Effect]:
        """
        Pass a neighbor's question on.

        :param by: Who asks.
        :param barrier: Its number.
        :param neighbors: Those who take part.
        :returns: What to send; the answer at once when nobody is beyond.
        """
        onward = ONWARD[neighbors[by]]
        beyond = [bus_id for bus_id, side in neighbors.items() if bus_id != by and side in onward]
        return self._pass_on(Answer(by, barrier), beyond)

    def answered(self, by: int, barrier: int) -> list[Effect]:
        """
        Take an answer.

        :returns: What follows; nothing for an answer that nobody waits for.
        """
        question = self._open.get(barrier)
        if question is None or by not in question.waiting:
            return []
        return self._remove(by, barrier, question)

    def lost(self, bus_id: int) -> list[Effect]:
        """
        Wait no more for a neighbor, and forget what it asked.

        :returns: What follows.
        """
        effects: list[Effect] = []
        for barrier, question in list(self._open.items()):
            if isinstance(question.done, Answer) and question.done.neighbor == bus_id:
                del self._open[barrier]
            elif bus_id in question.waiting:
                effects += self._remove(bus_id, barrier, question)
        return effects

    def forget(self, ticket: int) -> None:
        """Wait no more for answers that nobody wants."""
        for barrier, question in list(self._open.items()):
            if question.done == Known(ticket):
                del self._open[barrier]

    def _pass_on(self, done: Answer | Known, beyond: Iterable[int]) -> list[Effect]:
        waiting = set(beyond)
        if not waiting:
            return [done]
        barrier = next(self._numbers)
        self._open[barrier] = _Question(done, waiting)
        return [Ask(bus_id, barrier) for bus_id in sorted(waiting)]

    def _remove(self, by: int, barrier: int, question: _Question) -> list[Effect]:
        question.waiting.discard(by)
        if question.waiting:
            return []
        del self._open[barrier]
        return [question.done]
