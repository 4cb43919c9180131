"""
What this node still wants to know about messages that it sent.

``deliver`` and ``request`` each wait for one answer, keyed by (target, sequence); every one of them
ends: answered, refused, timed out, or closed with the node. Everything else that comes back is an
``on_forward_response`` event, once per message: what is told a second time, because the link that
carried the news died under it, is recognized and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.context import Alarm, Context
from atbus.node.events import Fate
from atbus.routing.answered import AnsweredRanges
from atbus.routing.answers import Expectations
from atbus.wire.bounds import STREAM_SEQUENCES

Key = tuple[int, int]


class Fates:
    """The open questions of one node, and the news that answer them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fates: Expectations[Key, Deferred[Fate]] = Expectations(limits.EXPECTATIONS_MAX)
        self._replies: Expectations[Key, Deferred[bytes]] = Expectations(limits.EXPECTATIONS_MAX)
        self._told = AnsweredRanges(limits.FATES_REMEMBERED_MAX)
        self._alarm = Alarm(context.timers, self._expire)
        # Set by the node, which wires its parts.
        self.on_stream: Callable[[Fate], None]

    @property
    def full(self) -> bool:
        """Tell whether no more questions can be asked now."""
        return self._fates.full or self._replies.full

    @property
    def outstanding(self) -> int:
        """Count the questions that are still open."""
        return len(self._fates) + len(self._replies)

    def expect_fate(self, target: int, sequence: int, timeout: float) -> Deferred[Fate]:
        """
        Wait for the destination's word about one message.

        :param timeout: Seconds until it ends with `Status.TIMEOUT`.
        :returns: Fires with a `Fate` of status OK, or fails with `Undeliverable`.
        """
        waiting: Deferred[Fate] = Deferred(lambda _: _forget(self._fates, target, sequence))
        self._expect(self._fates, waiting, target, sequence, timeout)
        return waiting

    def expect_reply(self, target: int, sequence: int, timeout: float) -> Deferred[bytes]:
        """
        Wait for the reply to one request.

        :param timeout: Seconds until it ends with `Status.TIMEOUT`.
        :returns: Fires with the reply's payload, or fails with `Undeliverable`.
        """
        waiting: Deferred[bytes] = Deferred(lambda _: _forget(self._replies, target, sequence))
        self._expect(self._replies, waiting, target, sequence, timeout)
        return waiting

    def _expect(
        self,
        expected: Expectations[Key, Deferred[Any]],
        waiting: Deferred[Any],
        target: int,
        sequence: int,
        timeout: float,
    ) -> None:
        full = expected.add((target, sequence), waiting, self._context.now + timeout)
        if full is not None:
            waiting.errback(Undeliverable(full, target, sequence, self._context.bus_id))
        self._set_alarm()

    def replied(self, source: int, in_reply_to: int, payload: bytes) -> bool:
        """
        Take a reply.

        :returns: Whether anybody waited for it; a late or invented one is told by False.
        """
        waiting = self._replies.resolve((source, in_reply_to))
        self._set_alarm()
        if waiting is None:
            return False
        self._told.add(source, in_reply_to, 1)
        waiting.callback(payload)
        return True

    def settle(self, fate: Fate) -> None:
        """
        Take the news about messages of ours: end who waits for them, tell the observers.

        Of each message the first news count; a second word about it changes nothing.
        """
        if fate.first_sequence >= STREAM_SEQUENCES:
            self.on_stream(fate)
            return
        for first, count in self._told.add(fate.target, fate.first_sequence, fate.count):
            self._settle(attrs.evolve(fate, first_sequence=first, count=count))

    def _settle(self, fate: Fate) -> None:
        if fate.status is Status.UNCERTAIN:
            self._context.statistics.uncertain_messages += fate.count
        elif fate.status is not Status.OK:
            self._context.statistics.refused[fate.status] += fate.count
        if self._fates or self._replies:
            self._end(fate)
            self._set_alarm()
        self._context.events.on_forward_response(fate)

    def _concerned(self, fate: Fate) -> Iterable[int]:
        """Give the sequences of a fate for which anybody may wait; a count may be any number."""
        sequences = range(fate.first_sequence, fate.first_sequence + fate.count)
        if fate.count <= self.outstanding:
            return sequences
        awaited = {*self._fates.keys(), *self._replies.keys()}
        mine = [number for target, number in awaited if target == fate.target]
        return [number for number in mine if number in sequences]

    def _end(self, fate: Fate) -> None:
        for sequence in self._concerned(fate):
            waiting = self._fates.resolve((fate.target, sequence))
            if waiting is not None:
                if fate.status is Status.OK:
                    waiting.callback(fate)
                else:
                    waiting.errback(_undeliverable(fate, sequence))
            if fate.status is not Status.OK:
                asking = self._replies.resolve((fate.target, sequence))
                if asking is not None:
                    asking.errback(_undeliverable(fate, sequence))

    def close(self, status: Status = Status.CLOSING) -> None:
        """End every open question with *status*."""
        self._alarm.set(None)
        self._end_all([*self._fates.clear(), *self._replies.clear()], status)

    def _expire(self) -> None:
        now = self._context.now
        self._end_all([*self._fates.expire(now), *self._replies.expire(now)], Status.TIMEOUT)
        self._set_alarm()

    def _end_all(
        self,
        open_questions: Sequence[tuple[Key, Deferred[Fate] | Deferred[bytes]]],
        status: Status,
    ) -> None:
        for (target, sequence), waiting in open_questions:
            waiting.errback(Undeliverable(status, target, sequence, self._context.bus_id))

    def _set_alarm(self) -> None:
        deadlines = [d for d in (self._fates.deadline, self._replies.deadline) if d is not None]
        self._alarm.set(min(deadlines, default=None))


def _forget(expected: Expectations[Key, Any], target: int, sequence: int) -> None:
    """Wait no more for an answer that nobody wants."""
    expected.resolve((target, sequence))


def _undeliverable(fate: Fate, sequence: int) -> Undeliverable:
    return Undeliverable(fate.status, fate.target, sequence, fate.gave_up_at, fate.detail)
