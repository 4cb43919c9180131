"""Real nodes that publish and subscribe in bad weather, and what a naive model says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from atbus.errors import Undeliverable
from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.node.subscription import Subscription
from atbus.testing.virtual_bus import VirtualBus

SUBJECTS = ("a", "a.b", "a.b.c", "b.b", "b.c.c", "c")
PATTERNS = ("a", "a.*", "*.b", "a.>", "b.>", ">", "*.*.c", "c")
GROUPS = ("", "", "g", "h")

TOP = 0x1000000
#: Number of the publication, the node that published it, and its life.
Key = tuple[int, int, int]


def address_of(bus_id: int) -> str:
    """Say where a node listens."""
    return f"ipv4://10.{bus_id >> 16 & 255}.{bus_id >> 8 & 255}.{bus_id & 255}:1"


#: How often peers are drawn for each pair; most may not be peers.
_DRAWS = 8
#: How often peers are dialed before one that does not come up is a fault.
_DIALS = 4


class Field:
    """
    A random tree with some links between peers, and subscribers that come and go.

    :param bus: Its nodes, and all lots.
    :param zones: The zones that nodes are in, in turn; then they prefer what is near.
    """

    def __init__(self, bus: VirtualBus, zones: Sequence[str] = ()) -> None:
        self.bus = bus
        self.zones = zones
        self.random = bus.random
        self.upstream: dict[int, int] = {TOP: 0}
        self.subscriptions: dict[int, dict[Subscription, list[Publication]]] = {TOP: {}}
        #: For each node, who waits until the whole bus knows of him; of its life as it is.
        self.asked: dict[int, list[tuple[Subscription, Deferred[None]]]] = {}
        self.peers: list[tuple[int, int]] = []
        self.faults: list[str] = []
        self._seen: Counter[tuple[object, ...]] = Counter()

    def plant(self, count: int, peers: int, *, siblings: bool = False) -> None:
        """Start a tree of some nodes, and connect some that are beside each other."""
        widths = {TOP: 24}
        self.bus.start(self._node(TOP, subnets=[(0, 24)]))
        while len(self.upstream) < count:
            above = self.random.choice([node for node, width in widths.items() if width])
            width = widths[above] - 8
            size = 1 << width
            taken = {(each - above) // size for each, up in self.upstream.items() if up == above}
            bus_id = above + size * (len(taken) + 1)
            self.upstream[bus_id], widths[bus_id] = above, width
            self.subscriptions[bus_id] = {}
            subnets = [(0, width)] if width else []
            self.bus.start(self._node(bus_id, subnets=subnets, upstream=address_of(above)))
        nodes = list(self.upstream)
        for _ in range(_DRAWS * peers):
            one, other = self.random.sample(nodes, 2)
            if siblings and self.upstream[one] != self.upstream[other]:
                continue
            if len(self.peers) < peers and self._may_be_peers(one, other):
                self.peers.append((one, other))
        self.mend()

    def zone_of(self, bus_id: int) -> str:
        """Say in which zone a node is: brothers are in different ones."""
        return self.zones[sum(bus_id.to_bytes(8)) % len(self.zones)] if self.zones else ""

    def _node(self, bus_id: int, **options: object) -> Node:
        if zone := self.zone_of(bus_id):
            options |= {"labels": {"zone": zone}, "queue_policy": "nearest"}
        return self.bus.node(
            bus_id,
            listen=[address_of(bus_id)],
            program=self._live,
            direct_notice=False,
            **options,
        )

    def _live(self, node: Node) -> None:
        """Subscribe again in another life: the subscribers of the former one are gone."""
        bus_id = node.config.id
        former = list(self.subscriptions[bus_id])
        self.subscriptions[bus_id].clear()
        self.asked[bus_id] = []
        for each in former:
            self._subscribe(node, each.pattern, each.queue)

    def line(self, bus_id: int) -> list[int]:
        """Give a node and all that are above it."""
        line = [bus_id]
        while above := self.upstream[line[-1]]:
            line.append(above)
        return line

    def _are_kin(self, one: int, other: int) -> bool:
        return one in self.line(other) or other in self.line(one)

    def _may_be_peers(self, one: int, other: int) -> bool:
        """Tell whether neither is kin of the other, nor of what the other is linked to."""
        pairs = [(one, other)]
        for pair in self.peers:
            for near, far in ((one, other), (other, one)):
                pairs += [(each, far) for each in pair if near in pair and each != near]
        return not any(self._are_kin(*pair) for pair in pairs)

    def mend(self) -> None:
        """Connect peers that are not connected; a dial into what has just broken is made again."""
        for _ in range(_DIALS):
            lost = [(one, other) for one, other in self.peers if not self._are_linked(one, other)]
            for one, other in lost:
                self.bus[one].connect(address_of(other)).addErrback(lambda _: None)
            if not lost:
                return
            self.bus.run(5)

    def _are_linked(self, one: int, other: int) -> bool:
        return other in self.bus[one].endpoints and one in self.bus[other].endpoints

    # Subscribers.

    def change(self, node: Node) -> None:
        """Subscribe or unsubscribe somebody at a node."""
        mine = self.subscriptions[node.config.id]
        if mine and self.random.random() < 0.45:
            gone = self.random.choice(list(mine))
            del mine[gone]
            gone.unsubscribe()
        else:
            self._subscribe(node, self.random.choice(PATTERNS), self.random.choice(GROUPS))

    def _subscribe(self, node: Node, pattern: str, queue: str) -> None:
        got: list[Publication] = []

        def take(publication: Publication) -> None:
            got.append(publication)
            self._note(subscription, publication)

        subscription = node.subscribe(pattern, take, queue=queue)
        self.subscriptions[node.config.id][subscription] = got
        if node.state == "running":
            self.asked.setdefault(node.config.id, []).append(
                (subscription, subscription.everywhere())
            )

    def _note(self, subscription: Subscription, publication: Publication) -> None:
        """Nobody may get anything twice, ever."""
        who: object = subscription.queue or subscription
        key = (who, publication.source, publication.sequence, publication.payload)
        self._seen[key] += 1
        if self._seen[key] > 1:
            self.faults.append(f"{subscription} got {publication.payload!r} twice")

    def publish(self, node: Node) -> None:
        """Publish on some subject."""
        # The payload tells the lives of a publisher apart.
        payload = b"%x %d" % (node.bus_id, self.random.getrandbits(62))
        try:
            node.publish(self.random.choice(SUBJECTS), payload)
        except Undeliverable as error:
            self.faults.append(f"{node.bus_id:#x} did not accept: {error}")

    def live(self, seconds: float, often: float) -> None:
        """Let subscribers come and go, and publish, from now on."""
        for bus_id in self.upstream:
            for _ in range(int(seconds * often)):
                for call in (self.change, self.publish):
                    self.bus.later(self.random.uniform(0, seconds), bus_id, call)

    # What the model says.

    def check(self) -> None:
        """Publish from everywhere in quiet times, and look who got it."""
        for bus_id in self.upstream:
            for got in self.subscriptions[bus_id].values():
                got.clear()
        published: list[tuple[str, bytes]] = []
        for bus_id in self.upstream:
            for subject in SUBJECTS:
                payload = b"%x %s" % (bus_id, subject.encode())
                self.bus[bus_id].publish(subject, payload)
                published.append((subject, payload))
        self.bus.run(5)
        everybody = [each for mine in self.subscriptions.values() for each in mine.items()]
        self._check_plain(everybody, published)
        self._check_groups(everybody, published)

    def _check_plain(
        self,
        everybody: list[tuple[Subscription, list[Publication]]],
        published: list[tuple[str, bytes]],
    ) -> None:
        for subscription, got in everybody:
            if subscription.queue:
                continue
            wanted = sorted(p for s, p in published if is_for(subscription.pattern, s))
            found = sorted(publication.payload for publication in got)
            if found != wanted:
                lost = set(wanted) - set(found)
                self.faults.append(f"{subscription} got {len(found)} of {len(wanted)}: {lost}")

    def _check_groups(
        self,
        everybody: list[tuple[Subscription, list[Publication]]],
        published: list[tuple[str, bytes]],
    ) -> None:
        for queue in filter(None, set(GROUPS)):
            members = [pair for pair in everybody if pair[0].queue == queue]
            self._check_near(members)
            wanted = sorted(
                p for s, p in published if any(is_for(member.pattern, s) for member, _ in members)
            )
            found = sorted(publication.payload for _, got in members for publication in got)
            if found != wanted:
                lost = set(wanted) - set(found)
                self.faults.append(f"group {queue} got {len(found)} of {len(wanted)}: {lost}")

    def _check_near(self, members: list[tuple[Subscription, list[Publication]]]) -> None:
        """Nobody further away gets what somebody in the zone of who publishes could get."""
        homes = {each: home for home, mine in self.subscriptions.items() for each in mine}
        for member, got in members if self.zones else ():
            for publication in got:
                source, zone = publication.source, self.zone_of(publication.source)
                subject = publication.subject
                known = [homes[each] for each, _ in members if is_for(each.pattern, subject)]
                near = [home for home in known if self.zone_of(home) == zone]
                if homes[member] not in ({source} if source in known else near or known):
                    self.faults.append(f"{member} got {publication.payload!r}, and is not near")

    def check_confirmations(self) -> None:
        """Look whether everybody has heard that all the bus knows of him: nobody has refused."""
        for asked in self.asked.values():
            for subscription, waiting in asked:
                if not waiting.called:
                    self.faults.append(f"{subscription} is not confirmed")
                waiting.addErrback(self._refused, subscription)

    def _refused(self, failure: Failure, subscription: Subscription) -> None:
        self.faults.append(f"{subscription}: {failure.value}")

    def check_interest(self) -> None:
        """
        Look at whom each node is connected to, and what it knows of the patterns and groups there.

        Of groups the number of members is known as well. Those at peers, which are reached by two
        ways, count once where these have the same upstream, and elsewhere twice: exactly that.
        """
        for bus_id in self.upstream:
            interests = self.bus[bus_id]._parts.subjects.talk._interests
            around = {each for each, above in self.upstream.items() if above == bus_id}
            around |= {self.upstream[bus_id]} - {0}
            around |= {end for pair in self.peers if bus_id in pair for end in pair} - {bus_id}
            if set(interests.neighbors) != around:
                near = sorted(interests.neighbors)
                self.faults.append(f"{bus_id:#x} is connected to {near}, not to {sorted(around)}")
            for neighbor in interests.neighbors:
                behind = self._behind(bus_id, neighbor)
                members = Counter(
                    (each.pattern, each.queue, zone)
                    for other in behind
                    for each in self.subscriptions[other]
                    for zone in {"", self.zone_of(other) if each.queue else ""}
                )
                heard = interests._neighbors[neighbor].heard
                found = {(*each[:2], each.zone): weight for each, weight in heard.items()}
                wanted = {each: count if each[1] else 1 for each, count in members.items()}
                if found != wanted:
                    ghosts, gaps = found.items() - wanted.items(), wanted.items() - found.items()
                    self.faults.append(
                        f"{bus_id:#x} knows of {neighbor:#x}: ghosts {ghosts}, gaps {gaps}"
                    )

    def _behind(self, bus_id: int, neighbor: int) -> list[int]:
        """Name the nodes behind a neighbor, each as often as it counts there."""
        if self.upstream[bus_id] != neighbor:
            return sorted(self._below(neighbor))
        line = self.line(bus_id)
        behind = sorted(set(self.upstream) - self._below(bus_id))
        for pair in self.peers:
            for above, other in (pair, pair[::-1]):
                if above in line[1:] and self.upstream[above] != self.upstream[other]:
                    behind += sorted(self._below(other))
        return behind

    def _below(self, top: int) -> set[int]:
        return {bus_id for bus_id in self.upstream if top in self.line(bus_id)}


def is_for(pattern: str, subject: str) -> bool:
    """Tell whether a pattern matches, in another way than the bus does."""
    tokens = [re.escape(token) for token in pattern.split(".")]
    kinds = {re.escape("*"): "[^.]+", re.escape(">"): ".+"}
    expression = re.escape(".").join(kinds.get(token, token) for token in tokens)
    return re.fullmatch(expression, subject) is not None
