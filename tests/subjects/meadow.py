"""A small bus of subject tables for tests: nodes, links that keep order, nothing else."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.subjects.barrier import Answer, Ask, Barriers, Effect, Known
from atbus.subjects.distribution import Branch, Distributor, Incoming
from atbus.subjects.duplicates import Duplicates
from atbus.subjects.entrusted import Entrusted, Errand
from atbus.subjects.interest import HERE, Interests, Side, Wanted
from atbus.subjects.pattern import parse_subject
from atbus.wire.extras import read_refused, refused_extra
from atbus.wire.messages import Interest, InterestAck, InterestRefusal

_OTHER_END = {
    Side.ABOVE: Side.BELOW,
    Side.BELOW: Side.ABOVE,
    Side.BESIDE: Side.BESIDE,
    Side.OUTSIDE: Side.OUTSIDE,
}


@attrs.frozen
class Letter:
    """
    A publication between two nodes.

    :param what: Where it began and its number there, which stay also when it comes from outside.
    """

    source: int
    sequence: int
    subject: str
    branch: Branch
    what: tuple[int, int]
    handed_back: bool = False


Parcel = Interest | InterestAck | Letter


class MeadowNode:
    """
    One node: tables, and a diary of what its subscribers got.

    :param zone: Where it is; None for a node of an earlier release, which knows of no zones and
        does not count siblings once.
    """

    def __init__(self, meadow: Meadow, bus_id: int, zone: str | None = "") -> None:
        self.bus_id = bus_id
        self.tells_zones = self.knows_counted = zone is not None
        self.zone = zone or ""
        self.interests = Interests(zone=self.zone)
        self.barriers = Barriers()
        self.duplicates = Duplicates()
        self.entrusted = Entrusted()
        self.distributor = Distributor(self.interests, meadow.random.randrange, zone=self.zone)
        self.plain: list[tuple[int, int]] = []
        self.queued: list[tuple[int, int, str]] = []
        self.unserved: list[tuple[int, int, str]] = []
        self.known: list[int] = []
        self.refused: list[tuple[int, int, Status]] = []
        self.repairs = 0
        self.published = 0
        self.repeated = 0
        self._meadow = meadow

    def flush(self) -> None:
        """Tell the neighbors what has changed."""
        for neighbor, message in self.interests.changes():
            self._meadow.send(self.bus_id, neighbor, message)

    def subscribe(self, pattern: str, queue: str = "") -> None:
        """Subscribe here, and tell."""
        self.interests.subscribe(pattern, queue)
        self.flush()

    def unsubscribe(self, pattern: str, queue: str = "") -> None:
        """Unsubscribe here, and tell."""
        self.interests.unsubscribe(pattern, queue)
        self.flush()

    def ask(self, ticket: int, *wanted: Wanted) -> None:
        """Ask whether all the bus knows, of something in particular or in general."""
        self.flush()
        self._perform(self.barriers.ask(ticket, self.interests.neighbors, wanted))

    def publish(self, subject: str) -> tuple[int, int]:
        """Publish; gives what the diaries will show."""
        self.published += 1
        what = self.bus_id, self.published
        self._go(subject, Incoming(subject=parse_subject(subject)), what, what)
        return what

    def take(self, came_from: int, parcel: Parcel) -> None:
        """Take what a neighbor sent."""
        match parcel:
            case Interest():
                faults = self.interests.heard(came_from, parcel)
                assert faults == 0 or self.interests.room.bytes_max < limits.INTEREST_BYTES
                self.flush()
                if parcel.barrier:
                    self._asked(came_from, parcel)
            case InterestAck():
                self._answered(came_from, parcel)
            case Letter():
                self._take_letter(came_from, parcel)

    def _take_letter(self, came_from: int, letter: Letter) -> None:
        branch = letter.branch
        if self.interests.neighbors[came_from] is Side.OUTSIDE:
            # It is new to the bus, and has brought nothing but groups.
            self.published += 1
            incoming = Incoming(
                subject=parse_subject(letter.subject),
                came_from=came_from,
                queues=branch.queues,
                ours=True,
            )
            self._go(letter.subject, incoming, (self.bus_id, self.published), letter.what)
            return
        if not branch.queues_only and not self.duplicates.is_new(letter.source, 1, letter.sequence):
            self.repeated += 1
            if not branch.queues:
                return
            branch = attrs.evolve(branch, queues_only=True)
        number = letter.source, 1, letter.sequence
        zone = branch.zone if self.tells_zones else ""
        errand = Errand(came_from, 0, zone=zone)
        if letter.handed_back:
            ours = letter.source == self.bus_id
            found = self.entrusted.back(number, branch.queues, errand, ours=ours)
            if found is None:
                back = attrs.evolve(branch, zone="")
                self._meadow.send(self.bus_id, came_from, attrs.evolve(letter, branch=back))
                return
            errand = found
        incoming = Incoming(
            subject=parse_subject(letter.subject),
            came_from=came_from,
            queues=branch.queues,
            served=branch.served,
            queues_only=branch.queues_only,
            handed_back=letter.handed_back,
            ours=letter.source == self.bus_id,
            zone=errand.zone,
            counted=branch.counted if self.knows_counted else (),
            only=self._believer(letter.source) if letter.handed_back else None,
            by=errand.by,
            tried=errand.tried,
            left=errand.left,
            far=errand.far,
        )
        self._go(letter.subject, incoming, (letter.source, letter.sequence), letter.what)

    def _go(
        self, subject: str, incoming: Incoming, number: tuple[int, int], what: tuple[int, int]
    ) -> None:
        decided = self.distributor.distribute(incoming)
        if decided.here:
            self.plain.append(what)
        self.queued += [(*what, queue) for queue in decided.queues_here]
        by = incoming.by if incoming.handed_back else incoming.came_from
        begins = by == HERE and not (incoming.tried or incoming.left)
        kept = Errand(by, 0, incoming.tried, zone=incoming.zone, left=incoming.left)
        for branch in decided.branches:
            errand = None if begins else kept
            if incoming.handed_back:
                errand = kept._replace(far=not branch.zone)
            letter = Letter(*number, subject, branch, what, incoming.handed_back)
            if branch.queues:
                entrusted = number[0], 1, number[1]
                self.entrusted.add(entrusted, branch.queues, branch.neighbor, errand)
            self._meadow.send(self.bus_id, branch.neighbor, letter)
        if not decided.unserved:
            return
        if not decided.back or self.interests.neighbors[decided.back[0].neighbor] is Side.OUTSIDE:
            self.unserved += [(*what, queue) for queue in decided.unserved]
            return
        [back] = decided.back
        letter = Letter(*number, subject, back, what, handed_back=True)
        self._meadow.send(self.bus_id, back.neighbor, letter)

    def _believer(self, source: int) -> int | None:
        """Name the only neighbor above or beside that believes what comes from a source."""
        towards = self._meadow.towards(source, self.bus_id)
        is_below = self.interests.neighbors.get(towards) is Side.BELOW
        return None if towards == self.bus_id or is_below else towards

    def _asked(self, came_from: int, question: Interest) -> None:
        digest = self.interests.digest_of(came_from)
        status = self.interests.missed(came_from, question)
        refusal = None if status is None else InterestRefusal(status, self.bus_id)
        answer = Answer(came_from, question.barrier, question.generation, digest, refusal)
        wanted = tuple(Wanted(entry.subject, entry.queue) for entry in question.entries)
        self._perform(self.barriers.asked(answer, self.interests.neighbors, wanted))

    def _answered(self, came_from: int, answer: InterestAck) -> None:
        refusal = read_refused(answer.extras)
        has_missed = self.interests.answered(came_from, answer)
        if has_missed:
            self.repairs += 1
            for message in self.interests.replay(came_from):
                self._meadow.send(self.bus_id, came_from, message)
            self._perform(self.barriers.check(came_from))
        if refusal is not None or not has_missed:
            self._perform(self.barriers.answered(came_from, answer.barrier, refusal))
        if has_missed:
            self._perform(self.barriers.again(came_from))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Ask(neighbor=neighbor, barrier=barrier, wanted=wanted):
                    question = self.interests.question(neighbor, barrier, wanted)
                    self._meadow.send(self.bus_id, neighbor, question)
                case Answer(neighbor=neighbor, refusal=refusal):
                    answer = InterestAck(
                        generation=effect.generation,
                        barrier=effect.barrier,
                        digest=effect.digest,
                        extras=() if refusal is None else (refused_extra(refusal),),
                    )
                    self._meadow.send(self.bus_id, neighbor, answer)
                case Known(ticket=ticket, refusal=refusal):
                    if not ticket:
                        continue
                    if refusal is None:
                        self.known.append(ticket)
                    else:
                        self.refused.append((ticket, refusal.node, refusal.status))

    def connected(self, neighbor: int, side: Side) -> None:
        """Tell a new neighbor everything."""
        other = self._meadow.nodes.get(neighbor)
        tells_zones = self.tells_zones and other is not None and other.tells_zones
        for message in self.interests.open(neighbor, side, zone=None if tells_zones else ""):
            self._meadow.send(self.bus_id, neighbor, message)

    def disconnected(self, neighbor: int) -> None:
        """Forget a neighbor."""
        self.interests.close(neighbor)
        self._perform(self.barriers.lost(neighbor))
        self.flush()


class Other(Protocol):
    """Somebody at the other end of a link who is no node."""

    def take(self, came_from: int, parcel: Parcel) -> None:
        """Take what a neighbor sent."""

    def connected(self, neighbor: int, side: Side) -> None:
        """Tell a new neighbor everything."""

    def disconnected(self, neighbor: int) -> None:
        """Forget a neighbor."""


class Meadow:
    """Nodes and links; what is on a link arrives in order, links take turns at random."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.nodes: dict[int, MeadowNode] = {}
        #: Who is there besides nodes, as servers of a cluster are.
        self.others: dict[int, Other] = {}
        self.upstream: dict[int, int] = {}
        self.peers: set[frozenset[int]] = set()
        self.crossings: list[tuple[int, int, Parcel]] = []
        self._links: dict[tuple[int, int], deque[Parcel]] = {}

    def add(
        self, bus_id: int, upstream: int | None = None, zone: str | None = ""
    ) -> MeadowNode:
        """Add a node, below another one."""
        node = self.nodes[bus_id] = MeadowNode(self, bus_id, zone)
        if upstream is not None:
            self.upstream[bus_id] = upstream
            self.link(bus_id, upstream, Side.ABOVE)
        return node

    def peer(self, left: int, right: int) -> None:
        """Connect two nodes that are neither above nor below each other."""
        self.peers.add(frozenset((left, right)))
        self.link(left, right, Side.BESIDE)

    def link(self, left: int, right: int, side: Side) -> None:
        """Open a link; *side* is where the right one stands for the left one."""
        self._links[left, right] = deque()
        self._links[right, left] = deque()
        self._at(left).connected(right, side)
        self._at(right).connected(left, _OTHER_END[side])
        self._look_around()

    def _at(self, number: int) -> MeadowNode | Other:
        return self.nodes[number] if number in self.nodes else self.others[number]

    def cut(self, left: int, right: int) -> None:
        """Lose a link and what is on it; both ends notice."""
        del self._links[left, right], self._links[right, left]
        self._at(left).disconnected(right)
        self._at(right).disconnected(left)
        self._look_around()

    def _look_around(self) -> None:
        """Let everybody know which of his peers have his upstream."""
        for node in self.nodes.values():
            if not node.knows_counted:
                continue
            above = self.upstream.get(node.bus_id, 0)
            siblings = {
                bus_id
                for bus_id, side in node.interests.neighbors.items()
                if side is Side.BESIDE
                and self.upstream.get(bus_id) == above
                and self.is_linked(node.bus_id, above)
                and self.is_linked(bus_id, above)
            }
            if node.interests.count_once(siblings):
                node.flush()

    def is_linked(self, left: int, right: int) -> bool:
        """Tell whether there is a link."""
        return (left, right) in self._links

    def send(self, sender: int, receiver: int, parcel: Parcel) -> None:
        """Put something on a link."""
        self._links[sender, receiver].append(parcel)

    def lose(self, sender: int, receiver: int) -> Parcel:
        """Lose what is first on a link, as no link should."""
        return self._links[sender, receiver].popleft()

    def settle(self, disturb: Callable[[], None] | None = None) -> None:
        """Let everything arrive."""
        patience = 100_000
        while waiting := [ends for ends, link in self._links.items() if link]:
            patience -= 1
            assert patience, "something travels in circles"
            sender, receiver = self.random.choice(waiting)
            parcel = self._links[sender, receiver].popleft()
            self.crossings.append((sender, receiver, parcel))
            self._at(receiver).take(sender, parcel)
            if disturb is not None:
                disturb()

    # A model of its own: which nodes a publication can reach.

    def reach(self, publisher: int) -> set[int]:
        """Name all to whom a way leads up, over at most one link of peers, and down."""
        found: set[int] = set()
        step: int | None = publisher
        while step is not None:
            found |= self._below(step)
            for left, right in map(tuple, self.peers):
                if step in (left, right) and self.is_linked(left, right):
                    found |= self._below(right if step == left else left)
            above = self.upstream.get(step)
            step = above if above is not None and self.is_linked(step, above) else None
        return found

    def towards(self, bus_id: int, home: int) -> int:
        """Say by which neighbor a node has its way to another one; 0 for none, itself for here."""
        if bus_id == home:
            return home
        sides = self.nodes[home].interests.neighbors
        for side in (Side.BELOW, Side.BESIDE):
            for place, where in sides.items():
                if where is side and bus_id in self._below(place):
                    return place
        return self.nodes[home].interests.above or 0

    def _below(self, top: int) -> set[int]:
        found = {top}
        for bus_id, upstream in self.upstream.items():
            if upstream == top and self.is_linked(bus_id, top):
                found |= self._below(bus_id)
        return found
