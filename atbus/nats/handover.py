"""
How one gateway hands a server over to another one, so that nothing is lost, nothing comes twice,
and what one publisher has said stays in order.

Both are connected for a moment, and get each message both. A server gives them no numbers by which
to know which of the two is to pass one on; but one thing it does once with each message: it draws
for a queue group who gets it, and says so. So the two agree on a group of a drawn name, the *mark*,
and join it wherever the bus wants something:

1. The giver joins first. When that is known everywhere, all that comes to it is marked.
2. Then it tells the taker, and passes on only what is marked. The taker dials, asks for everything,
   and joins as well. What is marked there is its own: one of the two is drawn for each message.
3. The taker keeps what comes. It tells the bus what the server wants, waits until everybody knows,
   keeps what the bus publishes for the server as well, and tells the giver. Since it has seen that
   the other one was drawn, the giver keeps what it should pass on: that may be behind the other's.
4. The giver sends no more, leaves the mark, and asks the server when it knows. What was drawn for
   it before may be written a moment after that, so it waits, and asks again. Then it tells the
   taker what it has kept, and the numbers of what it has sent, and to whom. What it had passed on
   of what came from the server is on the bus before that.
5. The taker asks the server as well, so that it has all that the giver had, and passes on what it
   has kept, in order: what was marked or is among what the giver has kept, and what the giver has
   not sent, or not to the group for which the taker has it. It leaves the mark, and the giver hangs
   up.

A server that is told of the end of a subscription loses what it has matched with it and not written
yet. So nobody ends one by which anything comes: marks come with what comes anyhow, and where the
bus has but a group, the giver asks for the subject as well before it leaves the group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from atbus.nats import bounds
from atbus.nats.handover_terms import Done
from atbus.nats.leaf_session import LOOP_SUBJECTS
from atbus.nats.server_grammar import Interest, Message
from atbus.subjects.duplicates import Duplicates

if TYPE_CHECKING:
    from atbus.nats.handed_link import HandedLink
    from atbus.node.publication import Passing, Publication
    from atbus.subjects.interest import Wanted

# What the server is asked for, as barriers: nobody else has negative ones.
_IS_MARKED, _HAS_LEFT, _HAS_STOPPED, _HAS_JOINED, _HAS_ALL = -1, -2, -3, -4, -5


class Handover(ABC):
    """
    One side of it.

    :param mark: The group.
    """

    #: Whether all that comes is ours, so that another one may begin.
    is_alone = False

    def __init__(self, link: HandedLink, mark: str) -> None:
        self.mark = mark
        self.link = link
        # What the server is asked for plainly, be it for the sake of groups.
        self._asked: set[str] = set()

    @abstractmethod
    def told_as(self, interest: Interest) -> list[Interest]:
        """Say what the server is told of an interest."""

    @abstractmethod
    def passed(self, barrier: int) -> None:
        """Take note that the server knows all that it was told before."""

    @abstractmethod
    def takes(self, publication: Publication, passing: Passing) -> bool:
        """Tell whether to send a publication now."""

    @abstractmethod
    def _take(self, message: Message, *, is_marked: bool) -> None:
        """Take what the server has sent, without the mark."""

    def queues_of(self, passing: Passing) -> tuple[str, ...]:
        """Name the groups that a publication is sent for."""
        return passing.queues

    def passes_on(self, queue: str) -> bool:
        """Tell whether the bus is to hear that the server wants something."""
        return queue != self.mark

    def arrived(self, message: Message) -> None:
        """Take what the server has sent."""
        if self.mark in message.queues:
            queues = tuple(queue for queue in message.queues if queue != self.mark)
            self._take(message._replace(queues=queues), is_marked=True)
        else:
            self._take(message, is_marked=False)

    def _put(self, message: Message, *, is_ours: bool) -> None:
        """Put a message on the bus; one that is not ours is for its groups alone."""
        if is_ours or message.queues:
            self.link.put_on_bus(message, queues_only=not is_ours)

    def join(self) -> None:
        """Join the mark, and ask for what comes but by groups."""
        asked = self.link.asked
        self._asked = {pattern for pattern, queue in asked if not queue}
        marks = [Interest(pattern, self.mark, 1) for pattern in self._asked]
        groups = [pattern for pattern, queue in asked if queue]
        self.link.say([*marks, *(each for pattern in groups for each in self._plainly(pattern))])

    def _plainly(self, pattern: str) -> list[Interest]:
        # Who is told twice counts twice, and tells the other one of it for ever.
        if pattern in self._asked:
            return []
        self._asked.add(pattern)
        return [Interest(pattern, "", 1)]

    def forget(self) -> None:
        """Ask no more for what was asked for the sake of groups."""
        wanted = {pattern for pattern, queue in self.link.asked if not queue}
        self.link.say([Interest(pattern, "", 0) for pattern in self._asked - wanted])

    def leave(self) -> None:
        """Leave the mark; nothing comes by it alone."""
        patterns = [wanted.pattern for wanted in self.link.asked if not wanted.queue]
        self.link.say([Interest(pattern, self.mark, 0) for pattern in patterns])


class Giving(Handover):
    """
    The side of the giver.

    :param is_ready: Called when the other one may join,
    :param is_done: and when it may go on alone.
    """

    def __init__(
        self,
        link: HandedLink,
        mark: str,
        is_ready: Callable[[], object],
        is_done: Callable[[], object],
    ) -> None:
        super().__init__(link, mark)
        #: What was sent to the server since it began,
        self.sent = Duplicates()
        #: and what of that its plain subscribers have got.
        self.heard = Duplicates()
        self._is_ready, self._is_done = is_ready, is_done
        #: Whether the other one passes on what is not marked here.
        self.is_shared = False
        #: What the other one is to pass on in its place, since it has been drawn for another one.
        self.kept: list[Message] = []
        self._kept_bytes = 0
        self._is_keeping = self._has_stopped = self._is_over = False
        #: All that are handed over together, this one among them: what one of them has put on the
        #: bus is not for the others.
        self.together: Sequence[Giving] = (self,)
        # What the server wanted plainly before the other one has asked it for anything.
        self._wanted: frozenset[str] = frozenset()

    def begin(self) -> None:
        """Join, and ask the server when it knows."""
        self.join()
        self.link.ask(_IS_MARKED)

    def told_as(self, interest: Interest) -> list[Interest]:
        """Say what the server is told: with the mark; nothing of groups when we have left them."""
        subject, queue, weight = interest
        if subject.startswith(LOOP_SUBJECTS):
            return [interest]
        if not queue:
            marks = [] if self._has_stopped else [Interest(subject, self.mark, weight)]
            if weight:
                return [*marks, *self._plainly(subject)]
            self._asked.discard(subject)
            return [*marks, interest]
        if self._has_stopped:
            return []
        return [interest, *self._plainly(subject)] if weight else [interest]

    @property
    def has_company(self) -> bool:
        """Whether the other one has joined the mark."""
        return any(queue == self.mark for _, queue in self.link.interests)

    def share(self) -> None:
        """From now on the other one passes on what is not marked here."""
        self.is_shared = True
        self._wanted = frozenset(pattern for pattern, queue in self.link.interests if not queue)

    def stop(self) -> None:
        """Send no more, and leave the mark and the groups."""
        if self._has_stopped:
            return
        self._has_stopped = True
        link = self.link
        left = [wanted for wanted in link.asked if wanted.queue]
        link.say([Interest(pattern, queue, 0) for pattern, queue in left])
        self.leave()
        link.withdraw_groups()
        link.ask(_HAS_LEFT)

    def _look_again(self) -> None:
        """Ask once more: who has stood still finds its clock late before it reads what has come."""
        if self.link.handover is self:
            self.link.ask(_HAS_STOPPED)

    def let_go(self) -> None:
        """Pass on what was kept: there is nobody else who does."""
        kept, self.kept = self.kept, []
        self._is_over = True
        for message in kept:
            self._put(message, is_ours=True)

    def end(self) -> None:
        """Serve on alone: nobody takes the server over any more."""
        self.link.handover = None
        self.let_go()
        self.leave()
        self.forget()

    def passed(self, barrier: int) -> None:
        """The server knows that we have joined, or left."""
        if barrier == _IS_MARKED:
            self._is_ready()
        elif barrier == _HAS_LEFT:
            self.link.later(bounds.HANDOVER_WRITTEN_SECONDS, self._look_again)
        elif barrier == _HAS_STOPPED:
            self._is_done()

    def takes(self, publication: Publication, passing: Passing) -> bool:
        """Tell whether to send a publication; what is for groups is sent as long as it comes."""
        if self._has_stopped and not passing.queues:
            return False
        wanted = self.link.wanted(publication.subject)
        is_wanted = self._is_wanted(wanted)
        is_for_groups = any(queue for _, queue in wanted)
        if self.is_shared and is_for_groups and not (passing.queues or is_wanted):
            # The other one may have to send it to a group, and only that one wants it plainly.
            return False
        self._note(publication.source, passing.epoch, publication.sequence, is_heard=is_wanted)
        return True

    def _is_wanted(self, wanted: Iterable[Wanted]) -> bool:
        """Tell whether the server has plain subscribers, but for the other one."""
        return any(not queue and pattern in self._wanted for pattern, queue in wanted)

    def _note(self, source: int, epoch: int, sequence: int, *, is_heard: bool) -> None:
        self.sent.is_new(source, epoch, sequence)
        if is_heard:
            self.heard.is_new(source, epoch, sequence)

    def passes_on(self, queue: str) -> bool:
        """Tell whether the bus is to hear of it; of groups it hears from the other one."""
        return super().passes_on(queue) and not (queue and self._has_stopped)

    def _take(self, message: Message, *, is_marked: bool) -> None:
        is_ours = is_marked or not self.is_shared
        self._is_keeping = self._is_keeping or not is_ours
        size_bytes = len(message.header) + len(message.payload)
        if is_ours and self._is_keeping and self._has_room(size_bytes):
            self._put(message, is_ours=False)
            self.kept.append(message._replace(queues=()))
        else:
            self._put(message, is_ours=is_ours)

    def _put(self, message: Message, *, is_ours: bool) -> None:
        if is_ours:
            # The other one gets it as well, from the bus, and must not send it back.
            number = self.link.put_on_bus(message, queues_only=False)
            for each in self.together:
                each.put(number, message.subject)
        else:
            super()._put(message, is_ours=False)

    def put(self, number: tuple[int, int, int], subject: str) -> None:
        """Note what was put on the bus: the server has it."""
        self._note(*number, is_heard=self._is_wanted(self.link.wanted(subject)))

    servers = ()

    def done(self, inboxes: tuple[str, ...]) -> bytes:
        """Write what the other one has to know in the end."""
        return self.result(inboxes).write()

    def result(self, inboxes: tuple[str, ...]) -> Done:
        """Give what the other one has to know in the end."""
        return Done(
            sent=tuple(self.sent.rows),
            heard=tuple(self.heard.rows),
            kept=tuple(self.kept),
            inboxes=inboxes,
        )

    def forget_kept(self) -> None:
        """Take note that the other one passes on what was kept."""
        self.kept = []
        self._is_over = True

    def _has_room(self, size_bytes: int) -> bool:
        # What is not kept is not lost: it may come before what was said before it.
        self._kept_bytes += size_bytes
        return not self._is_over and self._kept_bytes <= bounds.HANDOVER_GIVEN_BYTES


class Taking(Handover):
    """
    The side of the taker.

    :param inboxes: What the giver expects answers to.
    :param joined: Called when the bus has been told what the server wants.
    """

    def __init__(
        self,
        link: HandedLink,
        mark: str,
        inboxes: Sequence[str],
        joined: Callable[[], object],
    ) -> None:
        super().__init__(link, mark)
        self._inboxes = inboxes
        self._joined = joined
        # Whether the bus has been told what the server wants.
        self._has_told = False
        self._messages: list[tuple[Message, bool]] | None = []
        self._publications: list[tuple[Publication, Passing]] | None = []
        self._kept_bytes = 0
        self._sent = self._heard = Duplicates()
        self._left: Sequence[Message] = ()

    def begin(self) -> None:
        """Expect the answers that the other one expects; the rest has been told."""
        for inbox in self._inboxes:
            self.link.expect(inbox)
        self.link.ask(_HAS_JOINED)

    def told_as(self, interest: Interest) -> list[Interest]:
        """Say what the server is told: with the mark, and in the end of loops as well."""
        subject, queue, weight = interest
        if subject.startswith(LOOP_SUBJECTS):
            return [interest] if self.is_alone else []
        if queue or self.is_alone:
            return [interest]
        return [Interest(subject, self.mark, weight), interest]

    def passes_on(self, queue: str) -> bool:
        """Tell whether the bus is to hear of it, now."""
        return super().passes_on(queue) and self._has_told

    def finish(self, text: bytes) -> None:
        """
        Pass on what was kept, by what the other one has written.

        :raises ValueError: It is not readable.
        """
        self.release(Done.read(text))

    def release(self, done: Done) -> None:
        """Pass on what was kept, as soon as all is here that the other one had: it has stopped."""
        self._sent, self._heard = Duplicates.of(done.sent), Duplicates.of(done.heard)
        for inbox in done.inboxes:
            self.link.expect(inbox)
        self._left = done.kept
        self.link.ask(_HAS_ALL)

    def _go_on(self) -> None:
        kept, self._left = self._left, ()
        link, publications, messages = self.link, self._publications, self._messages
        self._publications = self._messages = None
        for publication, passing in publications or ():
            link.take(publication, passing)
        left = Counter(kept)
        ours: list[tuple[Message, bool]] = []
        for message, is_marked in messages or ():
            plain = message._replace(queues=())
            is_left = not is_marked and left[plain] > 0
            left[plain] -= is_left
            ours.append((message, is_marked or is_left))
        # What came there before we had joined.
        for message in kept:
            if left[message] > 0:
                left[message] -= 1
                self._put(message, is_ours=True)
        for message, is_ours in ours:
            self._put(message, is_ours=is_ours)
        link.settled().addCallback(self._end)

    def give_up(self) -> int:
        """
        Pass on what is our own, for the other one is gone.

        :returns: How many publications are lost, for it may have sent them.
        """
        lost = len(self._publications or ())
        self._publications = []
        self.release(Done())
        return lost

    def passed(self, barrier: int) -> None:
        """The server knows that we have joined."""
        if barrier == _HAS_JOINED:
            self._has_told = True
            self.link.tell_bus()
            self._joined()
        elif barrier == _HAS_ALL:
            self._go_on()

    def _end(self, _: None) -> None:
        self.leave()
        self.is_alone = True
        self.link.tell_loops()
        self.link.freed()
        # Until then publications may come that the other one had sent.
        self.link.later(bounds.HANDOVER_SECONDS, self._forget)

    def _forget(self) -> None:
        if self.link.handover is self:
            self.link.handover = None

    def takes(self, publication: Publication, passing: Passing) -> bool:
        """Tell whether to send a publication; it is kept until it is known who sends it."""
        if self._publications is None:
            source, sequence = publication.source, publication.sequence
            if not self._sent.may_know(source, passing.epoch, sequence):
                return True
            if passing.queues and self._heard.may_know(source, passing.epoch, sequence):
                # The server cannot be told that plain subscribers have it; others have members.
                self.link.hand_back(publication, passing)
                return False
            return bool(passing.queues)
        if self._has_room(publication.size_bytes):
            self._publications.append((publication, passing))
        return False

    def _take(self, message: Message, *, is_marked: bool) -> None:
        if self._messages is None:
            self._put(message, is_ours=is_marked or self.is_alone)
        elif self._has_room(len(message.header) + len(message.payload)):
            self._messages.append((message, is_marked))

    def _has_room(self, size_bytes: int) -> bool:
        self._kept_bytes += size_bytes
        if self._kept_bytes <= bounds.HANDOVER_BYTES:
            return True
        self.link.gave_up(1)
        return False
