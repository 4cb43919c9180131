"""
Neighbors in the space of subjects that are no nodes: servers of NATS.

Each has a place among the neighbors, on a side that fits it (a leaf is below this node): it is told
interest, what it wants is told to others, and a publication crosses to it and back by the rules of
`atbus.subjects.distribution`. Its place is above all bus ids, so that no node can take it.

What comes from there is published here, in the name of this node. The queue groups that it is for
have been chosen on the other side, and so have those that it is not for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import attrs
from twisted.internet.defer import Deferred

from atbus.busid import ID_MAX
from atbus.errors import Status, SubjectError
from atbus.node.publication import Passing, Publication
from atbus.node.report import ServerReport
from atbus.subjects.pattern import inbox_owner, parse_subject
from atbus.wire.messages import Interest, InterestEntry

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.interest_talk import InterestTalk
    from atbus.node.publishing import Publishing
    from atbus.node.subscribers import Subscribers
    from atbus.subjects.interest import Interests, Side, Wanted

_FIRST_PLACE: Final = ID_MAX + 1


class Foreign(Protocol):
    """A neighbor that is no node, as the node sees it."""

    def told(self, message: Interest) -> None:
        """Learn who wants what; a *barrier* in it is to be answered when all before is known."""

    def may_have(self, subject: str) -> bool:
        """Tell whether he may get what is published on a subject."""

    def take(self, publication: Publication, passing: Passing) -> None:
        """Get a publication that it wants."""

    def report(self) -> ServerReport | None:
        """Describe the connection; None where it is not like one between nodes."""


class Beyond:
    """
    All neighbors of one node that are no nodes.

    :param interests: What is known of everybody's interest.
    """

    def __init__(
        self,
        context: Context,
        interests: Interests,
        publishing: Publishing,
        subscribers: Subscribers,
    ) -> None:
        # Set by the node, which wires its parts.
        self.talk: InterestTalk
        self.foreign: dict[int, Foreign] = {}
        #: Called at the end of each turn in which the interest of others has changed.
        self.watchers: list[Callable[[], None]] = []
        self._context = context
        self._interests = interests
        self._publishing = publishing
        self._subscribers = subscribers
        self._places = _FIRST_PLACE
        self._is_asked = False

    def changed(self) -> None:
        """The interest of somebody else is another now."""
        self._subscribers.changed()
        if self.watchers and not self._is_asked:
            self._is_asked = True
            self._context.turn.at_end(self._tell_watchers)

    def _tell_watchers(self) -> None:
        self._is_asked = False
        for watcher in tuple(self.watchers):
            watcher()

    def wanted_under(self, prefix: str) -> list[str]:
        """List the patterns that begin so and that anybody on the bus wants."""
        return self._interests.wanted_under(prefix)

    def is_wanted(self, place: int, subject: str) -> bool:
        """Tell whether anybody but the one at *place* wants a subject."""
        takers = self._interests.match(parse_subject(subject, literal_wildcards=True))
        return any(taker.neighbor != place for taker in takers)

    def open(self, foreign: Foreign, side: Side, cluster: int = 0) -> int:
        """
        Let somebody take part; he is told at once what is wanted.

        :param side: Where he stands.
        :param cluster: The number of his cluster, 0 for none; its members serve each other.
        :returns: His place.
        """
        place = self._places
        self._places += 1
        self.foreign[place] = foreign
        for message in self._interests.open(place, side, cluster):
            foreign.told(message)
        self.changed()
        return place

    def heard(self, place: int, pattern: str, queue: str, weight: int) -> None:
        """
        Take what somebody wants, and no longer wants.

        :param weight: How many members his group has; 1 for plain interest, 0 for none.
        """
        entry = InterestEntry(subject=pattern, queue=queue, weight=weight)
        statistics = self._context.statistics
        statistics.interest_received += 1
        statistics.interest_ignored += self._interests.heard(place, Interest(entries=(entry,)))
        self.talk.name_full(place, "a server of NATS")
        self.changed()
        self.talk.flush_soon()

    def told_to(self, place: int) -> dict[Wanted, int]:
        """Give what somebody was told of who wants what, and how often; only to be read."""
        return self._interests.told_to(place)

    def wanted_by(self, place: int, subject: str) -> list[Wanted]:
        """List as what somebody wants a subject: the patterns and groups that match."""
        takers = self._interests.match(parse_subject(subject, literal_wildcards=True))
        return [taker.wanted for taker in takers if taker.neighbor == place]

    @property
    def source(self) -> tuple[int, int]:
        """In whose name is published what they send: the id of this node, and its epoch."""
        return int(self._context.bus_id), self._context.epoch

    def gave_up(self, count: int) -> None:
        """Count publications that were kept for somebody, and that nobody gets now."""
        self._publishing.dropped(Status.NOT_CONNECTED, count)

    def reports(self) -> list[ServerReport]:
        """Describe those that are linked as nodes are with each other."""
        found = [each.report() for each in self.foreign.values()]
        return [each for each in found if each is not None]

    def within_reach(self) -> Deferred[None]:
        """Wait until all that can be reached has heard all interest of this node, kept or not."""
        return self.talk.everywhere(within_reach=True)

    def answered(self, place: int, barrier: int) -> None:
        """Take note that somebody knows all that he was told before a barrier."""
        self.talk.foreign_answered(place, barrier)

    def publish(
        self,
        place: int,
        subject: str,
        payload: bytes,
        *,
        reply_to: str = "",
        header_block: bytes = b"",
        queues: tuple[str, ...] = (),
        queues_only: bool = False,
        served: tuple[int, ...] = (),
    ) -> int:
        """
        Publish what somebody has sent.

        :param queues: The groups of which one member here is to get it.
        :param queues_only: Whether nobody else here is to get it.
        :param served: The branches, and clusters of servers, whose plain subscribers are not to
            get it.
        :returns: Its number among the publications of this node; 0 when it is dropped.
        """
        context, publishing = self._context, self._publishing
        if len(payload) + len(header_block) > context.config.message_bytes_max:
            publishing.dropped(Status.MESSAGE_TOO_LARGE)
            return 0
        try:
            if reply_to and not inbox_owner(reply_to):
                parse_subject(reply_to, literal_wildcards=True)
        except SubjectError:
            publishing.dropped(Status.MALFORMED_FRAME)
            return 0
        publishing.sequence = sequence = publishing.sequence + 1
        context.statistics.published_messages += 1
        publication = Publication(
            subject,
            payload,
            reply_to,
            header_block,
            0,
            context.bus_id,
            sequence,
        )
        passing = Passing(
            came_from=place,
            epoch=context.epoch,
            hop_limit=context.config.hops,
            queues=queues,
            served=served,
            queues_only=queues_only,
            begins_here=True,
        )
        publishing.arrived(publication, passing)
        return sequence

    def hand_back(self, place: int, publication: Publication, passing: Passing) -> None:
        """Take back, from somebody who was given it, what is for groups."""
        self._publishing.arrived(
            publication,
            attrs.evolve(passing, came_from=place, queues_only=True, handed_back=True),
        )

    def close(self, place: int) -> None:
        """Forget somebody, and what he wants."""
        if self.foreign.pop(place, None) is None:
            return
        self._interests.close(place)
        self.changed()
        self.talk.flush_soon()
        self.talk.foreign_lost(place)
