"""
How the gateways of two halves of a bus make one of them the gateway of the whole, when the halves
are joined: nothing is lost, nothing comes twice, and what one publisher has said stays in order.

Both are connected to the server, and the link that joins the halves is shut to interest at both
ends (`atbus.subjects.gate`). So the halves are one over the server, as they were while the bus was
cut; and that has to become the link at one point of each way. Who *stays* has the lower id, and
leads; the other one *leaves*.

1. Who leaves joins a group of a drawn name, the *mark*, wherever its half wants something, as in
   `atbus.nats.handover`: what comes from others at the server is marked for it then.
2. Who stays names the mark in whatever it sends, so that is marked for the other one as well. When
   that is so with all that is on its way, the other one passes on only what is marked.
3. Both ends of the link hold what would cross. Whatever they hold has been sent to the server as
   well, so far: both gateways note the numbers of that.
4. When the half of the one that stays knows of that it names the mark no more: what it sends from
   here on is not for the other half, which is to get it over the link. It joins the mark itself.
   From here on one of the two is drawn for each message of the server, and who stays keeps for the
   other half what comes for it.
5. Who leaves sends nothing more, leaves the mark, and asks the server when it knows. It tells what
   was drawn for it since it has seen that the other one was drawn, and has not passed that on.
6. Who stays asks the server as well, so that it has all that the other one had. It gives back, in
   order, what is for the other half. That passes it on, and opens its end of the link: all that it
   has sent is in the first half by then.
7. Who stays opens its end. After a while it leaves the mark; the other one leaves the groups of the
   bus, and hangs up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from atbus.nats import bounds
from atbus.nats.handover import Handover
from atbus.nats.leaf_session import LOOP_SUBJECTS
from atbus.nats.server_grammar import Interest, Message
from atbus.subjects.duplicates import Duplicates
from atbus.subjects.pattern import INBOX, inbox_owner

if TYPE_CHECKING:
    from atbus.nats.leaf import LeafLink
    from atbus.node.publication import Passing, Publication


class Joining(Handover):
    """
    What both sides do.

    :param mark: The group.
    :param beyond: The node at the other end of the link that joins the halves.
    """

    def __init__(self, link: LeafLink, mark: str, beyond: int) -> None:
        super().__init__(link, mark)
        #: What was sent to the server, to the point from which it goes over the link.
        self.sent = Duplicates()
        #: What only this half expects answers to.
        self.inboxes = frozenset(link.expected)
        self._served = (beyond,)
        # Who has just taken over still knows what the one before has sent.
        self._before = link.handover

    def passed(self, barrier: int) -> None:
        """Nothing was asked by this."""

    def takes(self, publication: Publication, passing: Passing) -> bool:
        """Tell whether to send a publication that the one before has not sent."""
        return self._before is None or self._before.takes(publication, passing)

    def _is_wanted(self, subject: str) -> bool:
        """Tell whether the server wants a subject for more than groups."""
        return any(not queue for _, queue in self.link.wanted(subject))

    def _put(self, message: Message, *, is_ours: bool) -> None:
        """Put a message on the bus, in this half alone."""
        if is_ours or message.queues:
            self.link.put_on_bus(message, queues_only=not is_ours, served=self._served)

    def _awaits(self, subject: str) -> bool:
        """Tell whether this half alone expects an answer."""
        return f"{INBOX}.{inbox_owner(subject):x}.*" in self.inboxes


class Leaving(Joining):
    """The side of the one that leaves."""

    def __init__(self, link: LeafLink, mark: str, beyond: int) -> None:
        super().__init__(link, mark, beyond)
        #: Whether it can still go on as if nothing had been.
        self.can_stay = True
        #: What was drawn for it behind something that was drawn for the other one.
        self.kept: list[Message] = []
        self._given = self._kept_bytes = 0
        self._is_choosy = self._is_keeping = False
        self._has_groups = True
        #: Whether all that it has kept is passed on.
        self.has_order = False
        self._has_stopped = False

    def told_as(self, interest: Interest) -> list[Interest]:
        """Say what the server is told: with the mark; of groups no more than that they end."""
        subject, queue, weight = interest
        if subject.startswith(LOOP_SUBJECTS):
            return [interest]
        if not queue:
            marks = [] if self._has_stopped else [Interest(subject, self.mark, weight)]
            if weight:
                return [*marks, *self._plainly(subject)]
            self._asked.discard(subject)
            return [*marks, interest]
        if not weight:
            return [interest]
        return [interest, *self._plainly(subject)] if self._has_groups else []

    def choose(self) -> None:
        """Pass on only what is marked from now on."""
        self._is_choosy = True

    def stop(self) -> None:
        """
        Send nothing more, and leave the mark.

        The server is told of no more groups, for the other half's would come back to it; and this
        half finds their members over the link.
        """
        self._has_stopped = True
        self.can_stay = self._has_groups = False
        self.leave()
        self.link.withdraw_groups()

    def give(self) -> list[Message]:
        """Give what is kept to the other one, which puts it in order."""
        self._given = len(self.kept)
        return self.kept[:]

    def take_back(self, messages: Sequence[Message]) -> None:
        """Pass on, in this half, what has been put in order, and what has come since."""
        self.has_order = True
        kept, self.kept = self.kept[self._given :], []
        for message in (*messages, *kept):
            self._put(message, is_ours=True)

    def end(self) -> None:
        """Go on as if nothing had been."""
        self.link.handover = None
        self.let_go()
        self.leave()
        self.forget()

    def let_go(self) -> None:
        """Pass on what was kept: nobody puts it in order any more."""
        self._given = 0
        self.take_back(())

    def leave_groups(self) -> None:
        """Leave the groups of the bus; what comes for them comes by the subject."""
        groups = [wanted for wanted in self.link.asked if wanted.queue]
        self.link.say([Interest(pattern, queue, 0) for pattern, queue in groups])

    def passes_on(self, queue: str) -> bool:
        """Tell whether this half is to hear of it; of groups it hears over the link."""
        return super().passes_on(queue) and (not queue or self._has_groups)

    def takes(self, publication: Publication, passing: Passing) -> bool:
        """Tell whether to send a publication; what is for groups is sent as long as it comes."""
        if not super().takes(publication, passing):
            return False
        if not self._has_stopped:
            self.sent.is_new(publication.source, passing.epoch, publication.sequence)
            return True
        if not passing.queues or not self._is_wanted(publication.subject):
            return bool(passing.queues)
        # The server cannot be told that plain subscribers have it.
        self.link.hand_back(publication, passing)
        return False

    def _take(self, message: Message, *, is_marked: bool) -> None:
        is_ours = is_marked or not self._is_choosy
        if inbox_owner(message.subject):
            is_ours = is_ours and self._awaits(message.subject)
        elif self._is_choosy and not is_marked:
            self._is_keeping = True
        is_kept = is_ours and self._is_keeping and not self.has_order
        if is_kept and self._has_room(message):
            self._put(message, is_ours=False)
            self.kept.append(message._replace(queues=()))
        else:
            self._put(message, is_ours=is_ours)

    def _has_room(self, message: Message) -> bool:
        # What is not kept is not lost: it may come before what was said before it.
        self._kept_bytes += len(message.header) + len(message.payload)
        return self._kept_bytes <= bounds.HANDOVER_GIVEN_BYTES


class Staying(Joining):
    """The side of the one that stays: from before the other one joins the mark."""

    def __init__(self, link: LeafLink, mark: str, beyond: int) -> None:
        super().__init__(link, mark, beyond)
        self._theirs: Sequence[str] = ()
        self._names: tuple[str, ...] = ()
        self._has_joined = False
        # What is for the other half, and may have been drawn for this one; None: it crosses itself.
        self._messages: list[tuple[Message, bool]] | None = []
        self._kept_bytes = 0

    def told_as(self, interest: Interest) -> list[Interest]:
        """Say what the server is told: with the mark, once it has joined."""
        subject, queue, weight = interest
        if queue or not self._has_joined or subject.startswith(LOOP_SUBJECTS):
            return [interest]
        return [Interest(subject, self.mark, weight), interest]

    def queues_of(self, passing: Passing) -> tuple[str, ...]:
        """Name the mark as well, as long as the other half is to get it from the server."""
        return (*passing.queues, *self._names)

    def begin(self, theirs: Sequence[str]) -> None:
        """
        Name the mark, for the other one has joined it.

        :param theirs: What the other half expects answers to.
        """
        self._theirs = theirs
        self.inboxes -= frozenset(theirs)
        self._names = (self.mark,)

    def change(self) -> None:
        """From now on what is sent is not for the other half; join the mark."""
        self._names = ()
        self._has_joined = True
        patterns = [wanted.pattern for wanted in self.link.asked if not wanted.queue]
        self.link.say([Interest(pattern, self.mark, 1) for pattern in patterns])
        self.expect(self._theirs)

    def expect(self, inboxes: Sequence[str]) -> None:
        """Expect what the other half expects."""
        for inbox in inboxes:
            self.link.expect(inbox)

    def merge(self, kept: Sequence[Message]) -> list[Message]:
        """
        Put in order what the other half is to get; what comes from now on crosses the link.

        :param kept: What was drawn for the other one, and is not passed on.
        """
        messages, self._messages = self._messages, None
        left = Counter(kept)
        found: list[Message] = []
        for message, is_marked in messages or ():
            plain = message._replace(queues=())
            is_theirs = not is_marked and left[plain] > 0
            left[plain] -= is_theirs
            if is_marked or is_theirs:
                found.append(plain)
        # What came there before we had joined.
        before: list[Message] = []
        for message in kept:
            if left[message] > 0:
                left[message] -= 1
                before.append(message)
        return before + found

    def end(self) -> int:
        """
        Leave the mark: all that comes is ours.

        :returns: How much was kept for the other half, which does not get it.
        """
        messages, self._messages = self._messages, None
        self.link.handover = None
        if self._has_joined:
            self.leave()
        self.link.tell_loops()
        return sum(is_marked for _, is_marked in messages or ())

    def takes(self, publication: Publication, passing: Passing) -> bool:
        """
        Send everything, and note what is sent to the point where that changes.

        The server cannot be told that plain subscribers have it already: others have to serve the
        group then.
        """
        if not super().takes(publication, passing):
            return False
        is_shared = self._has_joined and passing.queues_only
        if is_shared and self._is_wanted(publication.subject):
            self.link.hand_back(publication, passing)
            return False
        if self._names:
            self.sent.is_new(publication.source, passing.epoch, publication.sequence)
        return True

    def _take(self, message: Message, *, is_marked: bool) -> None:
        if inbox_owner(message.subject):
            if is_marked or self._awaits(message.subject):
                self.link.put_on_bus(message, queues_only=False)
        elif self._has_joined and self._messages is not None and self._has_room(message):
            self._messages.append((message, is_marked))
            self._put(message, is_ours=True)
        elif is_marked:
            # The other half gets it over the link.
            self.link.put_on_bus(message, queues_only=False)
        else:
            self._put(message, is_ours=True)

    def _has_room(self, message: Message) -> bool:
        # What is not kept crosses the link, perhaps before what was said before it.
        self._kept_bytes += len(message.header) + len(message.payload)
        return self._kept_bytes <= bounds.HANDOVER_GIVEN_BYTES
