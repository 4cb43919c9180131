"""
A connection to a server of NATS that one gateway may hand over to another one.

What `atbus.nats.handover` needs of leafs and routes alike: to ask the server for something and when
it knows that, and to put on the bus what has come, when it is known who does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from atbus.nats import bounds
from atbus.nats.leaf_session import LOOP_SUBJECTS
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.server_link import ServerLink, ServerLinks
from atbus.nats.server_session import ServerSession
from atbus.subjects.interest import Wanted
from atbus.subjects.pattern import OWN_SUBJECTS
from atbus.wire.messages import Interest as Told
from atbus.wire.messages import InterestEntry

if TYPE_CHECKING:
    from atbus.node.publication import Passing, Publication

# Handovers have the ones before that.
_BARRIERS_BEFORE: Final = -1024


class HandedLink(ServerLink):
    """One connection between servers, which may be handed over."""

    def __init__(
        self,
        owner: ServerLinks,
        session: ServerSession[Any, Any],
        tls_context: Any,
        ended: Callable[[str, bool], None] | None = None,
    ) -> None:
        super().__init__(owner, session, tls_context, ended)
        #: Called when a handover is through, and another one may begin.
        self.freed: Callable[[], object] = lambda: None
        self._later: list[IDelayedCall] = []
        # What the server has been asked, and who waits for it.
        self._barrier = _BARRIERS_BEFORE
        self._asked: dict[int, Deferred[None]] = {}

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended."""
        for call in self._later:
            if call.active():
                call.cancel()
        super().connectionLost(reason)

    def told(self, message: Told) -> None:
        """Pass on who wants what."""
        if self.handover is not None:
            # The server tells the one gateway what the other one asks it for. So the bus seems to
            # want the answers that are expected, and then no more; but they are still to come.
            entries = tuple(
                each
                for each in message.entries
                if each.queue or each.subject not in self._expected
            )
            message = attrs.evolve(message, entries=entries)
        super().told(message)

    @property
    def asked(self) -> list[Wanted]:
        """What the server is asked for, but what finds loops."""
        place = self._place
        told = () if place is None else self._owner.beyond.told_to(place)
        found = dict.fromkeys(
            wanted
            for wanted in told
            if self._may_tell(*wanted)
            and not wanted.pattern.startswith((OWN_SUBJECTS, LOOP_SUBJECTS))
        )
        return list(found | dict.fromkeys(Wanted(pattern) for pattern in self._expected))

    @property
    def expected(self) -> Collection[str]:
        """What it is asked for because of answers; only to be read."""
        return self._expected

    def say(self, interests: Iterable[Interest]) -> None:
        """Tell the server of interest."""
        self._send(b"".join(map(self._written, interests)))

    def ask(self, barrier: int) -> None:
        """Ask the server when it knows what it was told; `Handover.passed` hears of it."""
        self._perform(self._session.ask(barrier, self._owner.now))

    def known(self) -> Deferred[None]:
        """Ask the server when it knows what it was told; fires then, unless the connection ends."""
        self._barrier -= 1
        known: Deferred[None] = Deferred()
        self._asked[self._barrier] = known
        self.ask(self._barrier)
        return known

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something, unless the connection ends before."""
        self._later = [each for each in self._later if each.active()]
        self._later.append(self._owner.timers.callLater(seconds, call))

    def pause(self, seconds: float) -> Deferred[None]:
        """Wait, unless the connection ends before."""
        waiting: Deferred[None] = Deferred()
        self.later(seconds, lambda: waiting.callback(None))
        return waiting

    def settled(self) -> Deferred[None]:
        """
        Wait until all has come that the server had matched, unless the connection ends before.

        The server is asked in the end: a process that has stood still finds its clock to be late
        before it reads what has come meanwhile.
        """
        waiting = self.pause(bounds.HANDOVER_GRACE_SECONDS)
        return waiting.addCallback(lambda _: self.known())

    @property
    def is_free(self) -> bool:
        """Whether a handover may begin."""
        return self.handover is None or self.handover.is_alone

    def may_join(self, mark: str) -> bool:
        """Tell whether the server lets us join a group wherever the bus wants something."""
        asked = [wanted.pattern for wanted in self.asked if not wanted.queue]
        return len(asked) <= bounds.HANDOVER_INTERESTS_MAX and all(
            self._may_tell(pattern, mark) for pattern in asked
        )

    def expect(self, pattern: str) -> None:
        """Let answers come."""
        self._expect(pattern)

    def put_on_bus(
        self, message: Message, *, queues_only: bool, served: tuple[int, ...] = ()
    ) -> tuple[int, int, int]:
        """
        Publish what the server has sent.

        :param served: The branches whose plain subscribers are not to get it.
        :returns: Who has published it, in which epoch, and its number; 0 when it is dropped.
        """
        beyond, place = self._owner.beyond, self._place
        if place is None:
            return *beyond.source, 0
        subject, reply, queues, header, payload = message
        number = beyond.publish(
            place,
            subject,
            payload,
            reply_to=reply,
            header_block=header,
            queues=queues,
            queues_only=queues_only,
            served=served,
        )
        return *beyond.source, number

    def wanted(self, subject: str) -> list[Wanted]:
        """List as what the server wants a subject: the patterns and groups that match."""
        place = self._place
        return [] if place is None else self._owner.beyond.wanted_by(place, subject)

    def hand_back(self, publication: Publication, passing: Passing) -> None:
        """Let others serve the groups that a publication is for, if that was not tried before."""
        if passing.handed_back:
            self.gave_up(1)
        elif self._place is not None:
            self._owner.beyond.hand_back(self._place, publication, passing)

    def gave_up(self, count: int) -> None:
        """Count what was kept and is lost."""
        self._owner.beyond.gave_up(count)

    def tell_bus(self) -> None:
        """Tell the bus all that the server wants."""
        if self._place is not None:
            for (subject, queue), weight in self.interests.items():
                if self._may_pass_on(subject, queue):
                    self._owner.beyond.heard(self._place, subject, queue, weight)

    def withdraw_groups(self) -> None:
        """Let the bus find members of groups in another way."""
        for subject, queue in self.interests:
            if queue and self._place is not None:
                self._owner.beyond.heard(self._place, subject, queue, 0)

    def tell_loops(self) -> None:
        """Tell the server what finds loops, which was put off."""
        place = self._place
        told = {} if place is None else self._owner.beyond.told_to(place)
        entries = [
            InterestEntry(subject=wanted.pattern, queue="", weight=weight)
            for wanted, weight in told.items()
            if wanted.pattern.startswith(LOOP_SUBJECTS)
        ]
        self.told(Told(entries=tuple(entries)))

    def _told_as(self, interest: Interest) -> bytes:
        if self.handover is None:
            return self._written(interest)
        return b"".join(map(self._written, self.handover.told_as(interest)))

    def _may_pass_on(self, subject: str, queue: str) -> bool:
        return self.handover is None or self.handover.passes_on(queue)

    def _passed(self, barrier: int) -> None:
        known = self._asked.pop(barrier, None)
        if known is not None:
            known.callback(None)
        elif self.handover is not None and self._place is not None:
            self.handover.passed(barrier)
