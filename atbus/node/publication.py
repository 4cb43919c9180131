"""Publications, as subscribers get them, and what they bring along on their way."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from atbus.subjects.interest import HERE
from atbus.wire.headers import read_headers
from atbus.wire.messages import Tally


@attrs.define(eq=False, slots=True)
class Publication:
    """
    What was published on a subject; all subscribers of a node share it and change nothing.

    :param subject: What it was published on.
    :param payload: The bytes; the receiver's to keep.
    :param reply_to: The subject for answers; empty when none is wanted.
    :param header_block: As it travels (`atbus.wire.headers`); empty for none.
    :param kind: The publisher's number.
    :param source: Bus id of the node that published it.
    :param sequence: Its number among the publications of that node.
    :param origin: What was given as `Node.publish`'s *origin*; None if it comes from another node.
    :param hops: How many nodes have passed it on.
    """

    subject: str
    payload: bytes
    reply_to: str = ""
    header_block: bytes = b""
    kind: int = 0
    source: int = 0
    sequence: int = 0
    origin: object = None
    hops: int = 0

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Names and values of its headers, in order."""
        return read_headers(self.header_block) if self.header_block else ()

    def header(self, name: str) -> str | None:
        """
        Give the first value of a header.

        :param name: In any case.
        """
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def size_bytes(self) -> int:
        """Header block and payload together."""
        return len(self.payload) + len(self.header_block)


@attrs.define(eq=False, slots=True)
class PublicationRun:
    """
    Consecutive publications on one subject, without ``reply_to`` and headers.

    :param payloads: One or more.
    :param sequence: The number of the first one; the others follow.
    """

    subject: str
    payloads: Sequence[bytes]
    kind: int
    source: int
    sequence: int
    origin: object = None
    hops: int = 0
    _made: list[Publication] = attrs.field(factory=list, init=False)

    def __len__(self) -> int:
        """Count them."""
        return len(self.payloads)

    @property
    def first(self) -> Publication:
        """The first of them."""
        return self._made[0] if self._made else self._make(0)

    def _make(self, place: int) -> Publication:
        return Publication(
            self.subject,
            self.payloads[place],
            kind=self.kind,
            source=self.source,
            sequence=self.sequence + place,
            origin=self.origin,
            hops=self.hops,
        )

    @property
    def publications(self) -> list[Publication]:
        """Each of them; they are made when somebody asks, and then shared."""
        if not self._made:
            self._made = [self._make(place) for place in range(len(self.payloads))]
        return self._made


@attrs.frozen(kw_only=True)
class Passing:
    """
    What a publication brings along from node to node.

    :param came_from: The neighbor that it came from; `HERE` where it begins.
    :param epoch: The publisher's.
    :param hop_limit: How many more nodes it may enter behind this one.
    :param queues: The groups to serve on this branch.
    :param served: The branches that others have served.
    :param queues_only: Whether plain subscribers have it.
    :param handed_back: Whether a branch has returned the groups.
    :param zone: Which zone's members of the groups are to be preferred; empty for none.
    :param counted: The branches that get a group only if nobody else is a member.
    :param is_sole: Whether nobody on this branch has got it before.
    :param tally: Who is told, if so, that nobody has got it here either; None: its source.
    :param begins_here: Whether it is new to the bus, although a neighbor brought it.
    """

    came_from: int = HERE
    epoch: int
    hop_limit: int
    queues: tuple[str, ...] = ()
    served: tuple[int, ...] = ()
    queues_only: bool = False
    handed_back: bool = False
    zone: str = ""
    counted: tuple[int, ...] = ()
    is_sole: bool = True
    tally: Tally | None = None
    begins_here: bool = False

    def told(self, publication: Publication) -> Tally:
        """Name who is told that nobody has got a publication that brings this along."""
        return self.tally or Tally(publication.source, self.epoch, publication.sequence)

    def for_groups_only(self) -> Passing:
        """Give the same for its queue groups alone."""
        return attrs.evolve(self, queues_only=True)
