"""
The subscribers of one node, and what each publication means for them.

Who gets what is looked up once per subject and remembered until any interest changes, here or
elsewhere (`Way`). Callbacks are never nested: what a callback publishes is delivered when it has
returned, in order, and a bounded number of times before the reactor runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from atbus.errors import Status, Undeliverable
from atbus.node.publication import Publication, PublicationRun
from atbus.node.subscription import Subscription
from atbus.subjects import bounds
from atbus.subjects.interest import HERE, Interests, Wanted
from atbus.subjects.pattern import ANY, REST, inbox_owner, parse_pattern, parse_subject

if TYPE_CHECKING:
    from atbus.node.context import Context


@attrs.define(eq=False, slots=True)
class Way:
    """
    Where publications on one subject go.

    :param plain: The subscribers here that are in no queue group.
    :param groups: The members here of each group.
    :param is_simple: Whether there is nothing more to it: nobody elsewhere wants it, no group does.
    :param is_choosy: Whether a member of a group does not take everything.
    :param owner: Whose inbox it is; 0 for a subject to which one subscribes.
    """

    tokens: tuple[str, ...]
    plain: tuple[Subscription, ...]
    groups: dict[str, tuple[Subscription, ...]]
    is_simple: bool
    is_choosy: bool = False
    owner: int = 0

    def absent(self, publication: Publication) -> tuple[str, ...]:
        """Name the groups of which no member here wants a publication."""
        if not self.is_choosy:
            return ()
        return tuple(
            queue
            for queue, members in self.groups.items()
            if not any(member.wants(publication) for member in members)
        )


class Subscribers:
    """The subscribers of one node."""

    def __init__(self, context: Context, interests: Interests) -> None:
        # Set by the node, which wires its parts: an interest of this node is another now, ...
        self.on_changed: Callable[[], None]
        # ... how to learn that all the bus knows of it, ...
        self.everywhere: Callable[..., Deferred[None]]
        # ... how a callback's answer is published, and what is done after callbacks.
        self.answer: Callable[[Publication, bytes], None]
        self.after_callback: Callable[[], None]
        self._context = context
        self._interests = interests
        self._members: dict[Wanted, list[Subscription]] = {}
        self._ways: dict[str, Way] = {}
        self._later: deque[Callable[[], object]] = deque()
        #: Whether a callback is on the stack.
        self.delivering = False

    def __len__(self) -> int:
        """Count the subscriptions."""
        return sum(map(len, self._members.values()))

    # Who there is.

    def add(self, subscription: Subscription) -> None:
        """
        Give a subscriber what is published from now on.

        :raises SubjectError: Its pattern or its group is none.
        :raises Undeliverable: This node may not subscribe to it.
        """
        refusal = self.refusal(subscription.pattern)
        if refusal is not None:
            raise Undeliverable(Status.NO_RIGHT, 0, 0, self._context.bus_id, refusal)
        wanted = Wanted(subscription.pattern, subscription.queue)
        self._interests.subscribe(*wanted)
        self._members.setdefault(wanted, []).append(subscription)
        self.changed()
        self.on_changed()

    def refusal(self, pattern: str) -> str | None:
        """
        Say why this node may not subscribe to a pattern, None if it may get all of it.

        :raises SubjectError: It is none.
        """
        context = self._context
        if context.rights is None:
            return None
        who = context.rights.who(context.bus_id or context.config.id)
        return context.rights.refuses_subscription(who, parse_pattern(pattern))

    def judge(self) -> None:
        """End the subscriptions for which there is no right any more."""
        for members in list(self._members.values()):
            refusal = self.refusal(members[0].pattern)
            for subscription in list(members) if refusal is not None else ():
                self._context.log.warn(
                    "subscription {name} has ended: {refusal}",
                    name=subscription.name,
                    refusal=refusal,
                )
                subscription.unsubscribe()

    def remove(self, subscription: Subscription) -> None:
        """Give a subscriber nothing any more."""
        wanted = Wanted(subscription.pattern, subscription.queue)
        members = self._members[wanted]
        members.remove(subscription)
        if not members:
            del self._members[wanted]
        self._interests.unsubscribe(*wanted)
        self.changed()
        self.on_changed()

    def close(self) -> None:
        """End every subscription: the node has stopped."""
        for members in list(self._members.values()):
            for subscription in list(members):
                subscription.unsubscribe()

    def changed(self) -> None:
        """Look up every way anew: an interest has changed, here or elsewhere."""
        self._ways.clear()

    # Who gets a publication.

    def way(self, subject: str, *, literal: bool = False) -> Way:
        """
        Look up where publications on a subject go.

        :param literal: Whether tokens ``*`` and ``>`` mean themselves.
        :raises SubjectError: It is no subject.
        """
        way = self._ways.get(subject)
        if way is not None:
            return way
        if owner := inbox_owner(subject):
            return Way((), (), {}, is_simple=False, owner=owner)
        tokens = parse_subject(subject, literal_wildcards=literal)
        way = self._find(tokens)
        if not literal or (ANY not in tokens and REST not in tokens):
            if len(self._ways) >= bounds.WAYS_REMEMBERED_MAX:
                del self._ways[next(iter(self._ways))]
            self._ways[subject] = way
        return way

    def _find(self, tokens: tuple[str, ...]) -> Way:
        plain: list[Subscription] = []
        groups: dict[str, list[Subscription]] = {}
        is_simple = True
        for place, wanted in self._interests.match(tokens):
            if place != HERE:
                is_simple = False
            elif wanted.queue:
                groups.setdefault(wanted.queue, []).extend(self._members[wanted])
                is_simple = False
            else:
                plain += self._members[wanted]
        members = {queue: tuple(found) for queue, found in groups.items()}
        choosy = any(each.accepts is not None for found in groups.values() for each in found)
        return Way(tokens, tuple(plain), members, is_simple, is_choosy=choosy)

    # Delivery.

    def later(self, call: Callable[[], object]) -> None:
        """Do something when the callback on the stack has returned."""
        self._later.append(call)

    def deliver(self, publication: Publication, plain: Sequence[Subscription]) -> int:
        """
        Give a publication to everybody of some who wants it.

        :returns: How many wanted it.
        """
        # Written out, because this is done for each publication.
        found = 0
        context = self._context
        self.delivering = True
        context.calling += 1
        try:
            for subscription in plain:
                if subscription.wants(publication):
                    found += 1
                    subscription.take(publication)
        finally:
            context.calling -= 1
            self.delivering = False
            context.statistics.publications_delivered += found
        return found

    def deliver_run(self, run: PublicationRun, plain: Sequence[Subscription]) -> None:
        """Give publications to everybody of some who wants them: all to one, then to the next."""
        found = 0
        self._begin()
        try:
            for subscription in plain:
                found += subscription.take_run(run)
        finally:
            self._end(found)

    def deliver_to_one(self, publication: Publication, members: Sequence[Subscription]) -> int:
        """
        Give a publication to one member of a group, the next one if that does not take it.

        :returns: 1 if anybody wanted it, else 0.
        """
        wanting = [each for each in members if each.wants(publication)]
        if not wanting:
            return 0
        first = self._context.random.randrange(len(wanting))
        order = wanting[first:] + wanting[:first]
        chosen = next((each for each in order if not each.is_full), order[0])
        self._begin()
        try:
            chosen.take(publication)
        finally:
            self._end(1)
        return 1

    def _begin(self) -> None:
        self.delivering = True
        self._context.calling += 1

    def _end(self, found: int) -> None:
        context = self._context
        context.calling -= 1
        self.delivering = False
        context.statistics.publications_delivered += found

    def run_later(self) -> None:
        """Do what waits for the end of callbacks, unless one is on the stack."""
        if self.delivering:
            return
        if self._later:
            self._run_later()
        if not self._context.calling:
            self.after_callback()

    def _run_later(self) -> None:
        for _ in range(bounds.NESTED_PER_TURN):
            if not self._later:
                return
            self._later.popleft()()
        if self._later:
            self._context.turn.at_end(self.run_later)

    # What subscriptions tell.

    def failed(
        self, subscription: Subscription, publication: Publication, failure: Failure
    ) -> None:
        """Log and count that the program failed on a publication."""
        self._context.statistics.callback_failures += 1
        self._context.log.failure(
            "subscriber of {pattern} failed on {sequence} from {source:#x}",
            failure=failure,
            pattern=subscription.pattern,
            sequence=publication.sequence,
            source=publication.source,
        )

    def dropped(self, subscription: Subscription, *, first: bool) -> None:
        """Count what a slow subscriber missed, and name it when it falls behind."""
        self._context.statistics.publications_dropped[Status.SLOW_CONSUMER] += 1
        if first:
            self._context.events.on_slow_consumer(subscription)
