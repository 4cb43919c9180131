"""Real nodes that publish and subscribe in bad weather, and what a naive model says of them."""

from __future__ import annotations

from collections import Counter

from atbus.errors import Undeliverable
from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.node.subscription import Subscription
from atbus.subjects.pattern import matches, parse_pattern, parse_subject
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


class Field:
    """
    A random tree with some links between peers, and subscribers that come and go.

    :param bus: Its nodes, and all lots.
    """

    def __init__(self, bus: VirtualBus) -> None:
        self.bus = bus
        self.random = bus.random
        self.upstream: dict[int, int] = {TOP: 0}
        self.subscriptions: dict[int, dict[Subscription, list[Publication]]] = {TOP: {}}
        self.peers: list[tuple[int, int]] = []
        self.faults: list[str] = []
        self._seen: Counter[tuple[object, ...]] = Counter()

    def plant(self, count: int, peers: int) -> None:
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
        for _ in range(peers):
            one, other = self.random.sample(nodes, 2)
            if one not in self.line(other) and other not in self.line(one):
                self.peers.append((one, other))
        self.mend()

    def _node(self, bus_id: int, **options: object) -> Node:
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
        for each in former:
            self._subscribe(node, each.pattern, each.queue)

    def line(self, bus_id: int) -> list[int]:
        """Give a node and all that are above it."""
        line = [bus_id]
        while above := self.upstream[line[-1]]:
            line.append(above)
        return line

    def mend(self) -> None:
        """Connect peers that are not connected."""
        for one, other in self.peers:
            node = self.bus[one]
            if other not in node.endpoints:
                # One that does not come up is missed by `check_interest` of neither side.
                node.connect(address_of(other)).addErrback(lambda _: None)
                self.bus.run(1)

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
            wanted = sorted(p for s, p in published if _is_for(subscription, s))
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
            wanted = sorted(
                p for s, p in published if any(_is_for(member, s) for member, _ in members)
            )
            found = sorted(publication.payload for _, got in members for publication in got)
            if found != wanted:
                lost = set(wanted) - set(found)
                self.faults.append(f"group {queue} got {len(found)} of {len(wanted)}: {lost}")

    def check_interest(self) -> None:
        """
        Look at what each node knows of the patterns and groups behind each of its neighbors.

        Of groups the number of members is known as well, but that of peers, which are reached by
        two ways, is told by each.
        """
        for bus_id in self.upstream:
            interests = self.bus[bus_id]._parts.subjects.talk._interests
            for neighbor in interests.neighbors:
                behind = self._below(neighbor)
                if self.upstream[bus_id] == neighbor:
                    behind = set(self.upstream) - self._below(bus_id)
                members = Counter(
                    (each.pattern, each.queue)
                    for other in behind
                    for each in self.subscriptions[other]
                )
                heard = interests._neighbors[neighbor].heard
                found = {(each.pattern, each.queue): weight for each, weight in heard.items()}
                wanted = {each: count if each[1] else 1 for each, count in members.items()}
                if self.peers:
                    found, wanted = dict.fromkeys(found, 0), dict.fromkeys(wanted, 0)
                if found != wanted:
                    ghosts, gaps = found.items() - wanted.items(), wanted.items() - found.items()
                    self.faults.append(
                        f"{bus_id:#x} knows of {neighbor:#x}: ghosts {ghosts}, gaps {gaps}"
                    )

    def _below(self, top: int) -> set[int]:
        return {bus_id for bus_id in self.upstream if top in self.line(bus_id)}


def _is_for(subscription: Subscription, subject: str) -> bool:
    return matches(parse_pattern(subscription.pattern), parse_subject(subject))
