"""
Decide where one publication goes from here.

The rules (wire protocol, 6.6 and 7.20):

1. What began here or came from below goes to everybody who wants it; what came from above or from
   a peer goes down only. So a way leads up, over at most one link between peers, and down.
2. It never goes back to where it came from, nor to a branch that somebody before has served
   himself. Those are named in the publication: the peers that a node on the way has sent it to.
   Without this, two peers under one upstream would each get it twice. Nor does it go to its source,
   or to somebody above that and below here: they would not believe that it comes from here. They
   can be other neighbors where programs connect nodes past those between.
3. Of a queue group one member gets it. Where it begins, every group that matches is noted; each is
   given to just one branch, or to a member here, and travels with that branch alone. A branch that
   needs nothing but groups is told so (QUEUES_ONLY).
4. A branch that has no member any more hands the group back, marked HANDED_BACK. Who gets it back
   tries the others that it could have given it to, each once, and hands it back in his turn, to who
   has entrusted him with it, when none of them has a member (`atbus.subjects.entrusted`). So it is
   given up only where it began. Of those above and beside it only the one towards the source
   believes what is handed back, unless that is below. While a zone is preferred it may go back
   before all are tried, with the zone; then they are tried when nobody is left in the zone.
5. What comes from outside goes everywhere but outside, what goes outside is at its end there: so a
   mesh that is not ours is one hop. Who is outside gives what it gets to its plain subscribers as
   well, and cannot be told that they have it. So it gets nothing for a group alone where it has
   such subscribers; and where it has none, it also gets what somebody else outside has sent for a
   group without another member. A leaf that is no node and has such subscribers gets it last.
6. Servers of one cluster give each other what they publish. So what one of them has sent names the
   cluster as a branch that is served: no other one gets it, on whatever node, but for a group that
   has no other member.
7. Who may not have it by his rights is no branch: a group goes to another member, and where nobody
   else wants it, nobody has it.
8. Who prefers what is near takes a member here, else one in his zone, wherever it is. He names the
   zone, and every branch that gets groups is told. Who is told of a zone takes a member in it if
   any is known, and does not ask what he prefers himself.
9. What our upstream tells counts the members at our siblings, which have told us of them as well.
   They count once: we draw among them ourselves, and an upstream that gets a group is told which
   siblings these are. It gives it to them only if it has no other member. Who gets a group back
   from a sibling asks the upstream last: that may not know yet that the member there has left.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

import attrs

from atbus import limits
from atbus.busid import ID_MAX
from atbus.subjects.interest import HERE, ONWARD, Interests, Side, Taker
from atbus.subjects.weights import drawn, weights_of
from atbus.wire.bounds import COUNTED_SIBLINGS_MAX


class Preference(enum.Enum):
    """Which member of a queue group is to get a publication."""

    #: Each as often as any other.
    UNIFORM = "uniform"
    #: One at this node if there is any, else as often as any other.
    LOCAL = "local"
    #: One at this node, else one in our zone, else any.
    NEAREST = "nearest"


@attrs.frozen(kw_only=True)
class Incoming:
    """
    A publication as it arrived.

    :param subject: Its tokens.
    :param came_from: Which neighbor it came from; `HERE` when it begins here.
    :param queues: The groups to serve; where it begins they are not known yet.
    :param served: The branches, and clusters of servers, that others have served.
    :param queues_only: Whether plain subscribers have it.
    :param handed_back: Whether a branch has returned the groups, to this node or to one before.
    :param ours: Whether it began here, also when it comes back; what comes from outside does.
    :param absent: The groups of which no member at this node takes it.
    :param zone: Which zone's members of the groups are to be preferred, as somebody before has
        chosen; empty for none.
    :param only: The one neighbor above or beside that may get it; None: all may.
    :param by: Who has entrusted this node with groups that were handed back; `HERE` when nobody
        has, or it is forgotten.
    :param tried: Who has handed them back to this node.
    :param counted: The neighbors among whose members the one before has drawn himself.
    :param left: Who has handed them back, and has others that are not in the zone.
    :param far: Whether no zone is to be preferred any more.
    :param source: Who has published it; `HERE` where that is no matter.
    """

    subject: tuple[str, ...]
    came_from: int = HERE
    queues: tuple[str, ...] = ()
    served: tuple[int, ...] = ()
    queues_only: bool = False
    handed_back: bool = False
    ours: bool = False
    absent: tuple[str, ...] = ()
    zone: str = ""
    only: int | None = None
    by: int = HERE
    tried: tuple[int, ...] = ()
    counted: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    far: bool = False
    source: int = HERE


@attrs.frozen(kw_only=True)
class Branch:
    """
    One neighbor that gets the publication.

    :param queues: The groups to serve there.
    :param served: What to write as *served*.
    :param queues_only: Whether plain subscribers there have it already, or there are none.
    :param zone: Which zone's members of the groups are to be preferred there.
    :param counted: What to write as *counted*.
    """

    neighbor: int
    queues: tuple[str, ...] = ()
    served: tuple[int, ...] = ()
    queues_only: bool = False
    zone: str = ""
    counted: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Distribution:
    """
    What to do with one publication.

    :param here: Whether to give it to all plain subscribers at this node.
    :param queues_here: The groups of which one member at this node gets it.
    :param branches: Who else gets it, each once.
    :param unserved: The groups that found nobody.
    :param back: What hands these back, to one neighbor; empty: they are given up.
    :param barred: How many neighbors are left out because they may not have it.
    """

    here: bool = False
    queues_here: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()
    unserved: tuple[str, ...] = ()
    back: tuple[Branch, ...] = ()
    barred: int = 0

    @property
    def nobody(self) -> bool:
        """Tell whether nobody gets it."""
        return not (self.here or self.queues_here or self.branches)


class Distributor:
    """
    Decide for publications by the interest that is known.

    :param interests: What is known.
    :param draw: Gives a random number from 0 to below its argument.
    :param preference: Which member of a group is to be taken.
    :param zone: Where we are, for `Preference.NEAREST`; empty for nowhere in particular.
    """

    def __init__(
        self,
        interests: Interests,
        draw: Callable[[int], int],
        *,
        preference: Preference = Preference.UNIFORM,
        zone: str = "",
    ) -> None:
        self.preference = preference
        self.zone = zone
        #: Tells whether a neighbor may have what is published on a subject; None: all may.
        self.may_have: Callable[[int, tuple[str, ...]], bool] | None = None
        #: Names a node that is below us, and all that are above it and below us.
        self.line_of: Callable[[int], tuple[int, ...]] = lambda _: ()
        #: Tells whether a neighbor takes back what was handed back before; None: all do.
        self.takes_back: Callable[[int], bool] | None = None
        self._interests = interests
        self._draw = draw
        # Where subjects are wanted that no group wants, until any interest changes.
        self._plain_places: dict[tuple[str, ...], tuple[int, ...] | None] = {}
        self._version = -1

    def distribute(self, incoming: Incoming) -> Distribution:
        """
        Decide where a publication goes.

        :returns: What to do; the branches in the order of their first interest.
        """
        if not (incoming.queues or incoming.queues_only or incoming.handed_back):
            places = self._places(incoming.subject)
            if places is not None:
                return self._distribute_plain(incoming, places)
        sides = self._interests.neighbors
        takers = self._interests.match(incoming.subject)
        allowed = _allowed(incoming, sides).difference(self._home(incoming))
        allies = self._interests.clusters.among(incoming.served)
        here, plain = self._plain(incoming, takers, allowed - allies)
        alone = _takers_of_groups_alone(takers, sides)
        served = _served(incoming, plain, sides)
        barred = self._barred({taker.neighbor for taker in takers} & allowed, incoming.subject)
        wanting = len(plain)
        plain = {place: None for place in plain if place not in barred}
        allowed, alone = allowed - barred, alone - barred
        if incoming.queues_only or incoming.handed_back:
            allowed -= {place for place in allowed - alone if sides[place] is Side.OUTSIDE}
            incoming = _last(incoming, takers, sides)
        groups: dict[str, list[Taker]] = {}
        for taker in takers:
            if taker.wanted.queue:
                groups.setdefault(taker.wanted.queue, []).append(taker)
        wanted = tuple(groups) if incoming.came_from == HERE else incoming.queues
        zone = self._zone(incoming)
        counted = self._counted(incoming, takers, allowed)
        tries = self._tries(incoming, allowed, allies, alone)
        queues: dict[int, list[str]] = {}
        unserved: list[str] = []
        # Who is chosen for want of anybody in the zone is told of none, so that it ends there.
        far: set[int] = set()
        for queue in wanted:
            members = groups.get(queue, ())
            if queue in incoming.absent:
                members = [taker for taker in members if taker.neighbor != HERE]
            place, is_far = self._place(members, tries, incoming, counted)
            if place is None:
                unserved.append(queue)
            else:
                queues.setdefault(place, []).append(queue)
                far.update((place,) if is_far else ())
        queues_here = tuple(queues.pop(HERE, ()))
        return Distribution(
            here=here,
            queues_here=queues_here,
            branches=tuple(
                Branch(
                    neighbor=neighbor,
                    queues=tuple(queues.get(neighbor, ())),
                    served=tuple(bus_id for bus_id in served if bus_id != neighbor),
                    queues_only=neighbor not in plain,
                    zone=zone if neighbor in queues and neighbor not in far else "",
                    counted=self._named(neighbor, counted, queues, groups, incoming),
                )
                for neighbor in dict.fromkeys((*plain, *queues))
            ),
            unserved=tuple(unserved),
            back=_back(incoming, tuple(unserved), sides) if unserved else (),
            barred=wanting - len(plain),
        )

    def is_plain(self, subject: tuple[str, ...]) -> bool:
        """Tell whether no queue group wants a subject, so that all publications on it go alike."""
        return self._places(subject) is not None

    def _places(self, subject: tuple[str, ...]) -> tuple[int, ...] | None:
        """Give the places where a subject is wanted; None when a group wants it."""
        known = self._plain_places
        if self._version != self._interests.version or len(known) > limits.MATCHES_REMEMBERED_MAX:
            known.clear()
            self._version = self._interests.version
        elif subject in known:
            return known[subject]
        takers = self._interests.match(subject)
        is_plain = not any(taker.wanted.queue for taker in takers)
        places = tuple(dict.fromkeys(taker.neighbor for taker in takers)) if is_plain else None
        known[subject] = places
        return places

    def _distribute_plain(self, incoming: Incoming, places: tuple[int, ...]) -> Distribution:
        """Decide for what goes to plain subscribers only: the short way of most publications."""
        sides = self._interests.neighbors
        came_from = incoming.came_from
        onward = _onward(incoming, sides)
        home = self._home(incoming)
        avoided = incoming.served
        if avoided:
            avoided = (*avoided, *self._interests.clusters.among(avoided))
        chosen = [
            place
            for place in places
            if place not in (HERE, came_from)
            and place not in home
            and sides[place] in onward
            and place not in avoided
        ]
        served = _served(incoming, chosen, sides)
        barred = self._barred(chosen, incoming.subject)
        return Distribution(
            here=HERE in places,
            barred=len(barred),
            branches=tuple(
                Branch(
                    neighbor=place,
                    served=tuple(bus_id for bus_id in served if bus_id != place) if served else (),
                )
                for place in chosen
                if place not in barred
            ),
        )

    def _home(self, incoming: Incoming) -> tuple[int, ...]:
        """Name the source and those between it and us, if it is below us (rule 2)."""
        source = incoming.source
        if source == HERE:
            return ()
        if source == incoming.came_from and self._interests.neighbors.get(source) is Side.BELOW:
            # As nearly always.
            return ()
        return self.line_of(source)

    def _barred(self, places: Collection[int], subject: tuple[str, ...]) -> frozenset[int]:
        """Find those who may not have it (rule 7)."""
        may_have = self.may_have
        if may_have is None:
            return frozenset()
        return frozenset(place for place in places if not may_have(place, subject))

    @staticmethod
    def _plain(
        incoming: Incoming, takers: Sequence[Taker], allowed: Collection[int]
    ) -> tuple[bool, dict[int, None]]:
        """Find where plain subscribers are to get it: here, and which neighbors."""
        if incoming.queues_only or incoming.handed_back:
            return False, {}
        places = dict.fromkeys(taker.neighbor for taker in takers if not taker.wanted.queue)
        here = HERE in places
        served = frozenset(incoming.served)
        return here, {place: None for place in places if place in allowed and place not in served}

    def _zone(self, incoming: Incoming) -> str:
        """Say which zone is preferred (rule 8); empty for none."""
        if incoming.far:
            return ""
        return incoming.zone or (self.zone if self.preference is Preference.NEAREST else "")

    def _tries(
        self, incoming: Incoming, allowed: set[int], allies: frozenset[int], alone: set[int]
    ) -> list[set[int]]:
        """Say among whom members of groups are looked for, in turn."""
        interests, came_from = self._interests, incoming.came_from
        tries = [allowed - allies]
        if not interests.siblings.isdisjoint((*incoming.tried, *incoming.left)):
            tries.insert(0, {place for place in tries[0] if place != interests.above})
        if allies:
            tries.append(allowed)
        if interests.neighbors.get(came_from) is Side.OUTSIDE:
            tries.append(alone - {came_from})
        return tries

    def _counted(
        self, incoming: Incoming, takers: Sequence[Taker], allowed: Collection[int]
    ) -> tuple[int, ...]:
        """Name the siblings among whose members we draw ourselves, as many as we can tell."""
        siblings = self._interests.siblings
        if not siblings:
            return ()
        # Of who has handed groups back our upstream may not know yet that he has no members.
        places = [*incoming.tried, *incoming.left]
        places += [each.neighbor for each in takers if each.wanted.queue]
        counted = (
            place
            for place in dict.fromkeys(places)
            if place in siblings and (place in allowed or place in incoming.tried)
        )
        return tuple(islice(counted, COUNTED_SIBLINGS_MAX))

    def _named(
        self,
        neighbor: int,
        counted: Sequence[int],
        queues: Mapping[int, Sequence[str]],
        groups: Mapping[str, Sequence[Taker]],
        incoming: Incoming,
    ) -> tuple[int, ...]:
        """Name the siblings that are not to get what goes to a neighbor for groups (rule 9)."""
        if not counted or neighbor not in queues or neighbor != self._interests.above:
            return ()
        homes = {each.neighbor for queue in queues[neighbor] for each in groups[queue]}
        homes.update(incoming.tried, incoming.left)
        return tuple(place for place in counted if place in homes)

    def _place(
        self,
        takers: Sequence[Taker],
        tries: Sequence[set[int]],
        incoming: Incoming,
        counted: Collection[int],
    ) -> tuple[int | None, bool]:
        """
        Find a place for one group; None when there is none.

        :returns: Also whether it is one for want of anybody in the zone.
        """
        if incoming.handed_back and self._zone(incoming):
            place = self._choose_near(takers, tries, incoming, counted)
            if place is not None:
                return place, False
        choices = (self._choose(takers, each, incoming, counted) for each in tries)
        return next((each for each in choices if each is not None), None), incoming.handed_back

    def _choose(
        self,
        takers: Sequence[Taker],
        allowed: Collection[int],
        incoming: Incoming,
        counted: Collection[int],
    ) -> int | None:
        """Draw the place of the one member of a group that gets it; None when there is none."""
        takers = [each for each in takers if each.neighbor == HERE or each.neighbor in allowed]
        weights = weights_of(self._interests, takers, counted)
        if not incoming.zone and self.preference is not Preference.UNIFORM and HERE in weights:
            return HERE
        zone = self._zone(incoming)
        if zone and not incoming.handed_back:
            near = weights_of(self._interests, takers, counted, zone)
            weights = near if any(near.values()) else weights
        return drawn(weights, incoming.counted, self._draw)

    def _choose_near(
        self,
        takers: Sequence[Taker],
        tries: Sequence[set[int]],
        incoming: Incoming,
        counted: Collection[int],
    ) -> int | None:
        """Draw one in the zone, of a group that was handed back; who has given it to us is last."""
        if not incoming.zone and any(each.neighbor == HERE for each in takers):
            return HERE
        zone = self._zone(incoming)
        for among in tries:
            near = among.difference(incoming.left)
            some = [each for each in takers if each.neighbor == HERE or each.neighbor in near]
            weights = weights_of(self._interests, some, counted, zone)
            place = drawn(weights, incoming.counted, self._draw)
            if place is not None:
                return place
        takes_back = self.takes_back is None or self.takes_back(incoming.by)
        if incoming.by in (HERE, incoming.came_from) or not takes_back:
            return None
        by = [each for each in takers if each.neighbor == incoming.by]
        return incoming.by if any(weights_of(self._interests, by, (), zone).values()) else None

def _onward(incoming: Incoming, sides: Mapping[int, Side]) -> tuple[Side, ...]:
    """Name the sides that a publication may go to (rule 1)."""
    side = sides.get(incoming.came_from, Side.ABOVE)
    if incoming.came_from == HERE or (incoming.ours and side is not Side.OUTSIDE):
        return ONWARD[Side.BELOW]
    # What is handed back may go where it could go when it came.
    return ONWARD[sides.get(incoming.by, side)]


def _back(
    incoming: Incoming, unserved: tuple[str, ...], sides: Mapping[int, Side]
) -> tuple[Branch, ...]:
    """Hand groups back that found nobody (rule 4)."""
    place = incoming.by if incoming.handed_back else incoming.came_from
    if place not in sides:
        return ()
    return (Branch(neighbor=place, queues=unserved, queues_only=True),)


def _allowed(incoming: Incoming, sides: Mapping[int, Side]) -> set[int]:
    """Name the neighbors that a publication may go to (rules 1 and 2, but for *served*)."""
    onward = _onward(incoming, sides)
    avoided = {incoming.came_from, incoming.by, *incoming.tried}.difference(incoming.left)
    allowed = {bus_id for bus_id, side in sides.items() if bus_id not in avoided and side in onward}
    if incoming.only is not None:
        allowed -= {
            place
            for place in allowed
            if sides[place] in (Side.ABOVE, Side.BESIDE) and place != incoming.only
        }
    return allowed


def _takers_of_groups_alone(takers: Sequence[Taker], sides: Mapping[int, Side]) -> set[int]:
    """Name those outside that may get a publication for a group alone (rule 5)."""
    places = {taker.neighbor for taker in takers if sides.get(taker.neighbor) is Side.OUTSIDE}
    return places - {taker.neighbor for taker in takers if not taker.wanted.queue}


def _last(incoming: Incoming, takers: Sequence[Taker], sides: Mapping[int, Side]) -> Incoming:
    """Give groups last to leafs that are no nodes, and have plain subscribers as well (rule 5)."""
    plain = {each.neighbor for each in takers if not each.wanted.queue and each.neighbor > ID_MAX}
    servers = (place for place in plain if sides[place] is Side.BELOW)
    return attrs.evolve(incoming, counted=(*incoming.counted, *servers))


def _served(
    incoming: Incoming, plain: Collection[int], sides: Mapping[int, Side]
) -> tuple[int, ...]:
    """Name the branches that the next nodes must leave alone, as many as fit."""
    peers = [bus_id for bus_id in plain if sides[bus_id] is Side.BESIDE]
    if not peers and not incoming.served:
        return ()
    return tuple(dict.fromkeys((*incoming.served, *peers)))[: limits.SERVED_BRANCHES_MAX]
