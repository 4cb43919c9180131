"""Buses that are members of a mesh that is not theirs, as a cluster of NATS is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.distribution import Branch, Distributor, Incoming
from atbus.subjects.interest import Interests, Side
from atbus.subjects.pattern import matches, parse_pattern, parse_subject
from atbus.wire.messages import Interest, InterestEntry
from tests.subjects.cluster import Server
from tests.subjects.meadow import Letter, Meadow, MeadowNode

PATTERNS = ("a", "a.*", "a.>", ">", "*.b")
SUBJECTS = ("a", "a.b", "c.b", "c")
FIRST_SERVER = 1001


class Site:
    """
    Servers with routes to each other, and buses with one gateway each, which has routes to all.

    :param sizes: How many nodes each bus has; the node whose id is theirs last is the gateway.
    """

    def __init__(self, seed: int, servers: int, sizes: tuple[int, ...], peers: int = 0) -> None:
        self.meadow = Meadow(seed)
        draw = self.meadow.random
        self.servers = [Server(self.meadow, FIRST_SERVER + each) for each in range(servers)]
        self.buses: list[range] = []
        self.gateways: list[int] = []
        first = 1
        for size in sizes:
            ids = range(first, first + size)
            first += size
            for bus_id in ids:
                upstream = draw.randrange(ids[0], bus_id) if bus_id > ids[0] else None
                self.meadow.add(bus_id, upstream)
            self.buses.append(ids)
            self.gateways.append(draw.choice(ids))
            for _ in range(peers if size > 1 else 0):
                left, right = draw.sample(ids, 2)
                below = self.meadow._below
                if not self.meadow.is_linked(left, right) and not (
                    left in below(right) or right in below(left)
                ):
                    self.meadow.peer(left, right)
        self.members = [each.number for each in self.servers] + self.gateways
        self.routes = [
            (left, right)
            for number, left in enumerate(self.members)
            for right in self.members[number + 1 :]
        ]
        for left, right in self.routes:
            self.meadow.link(left, right, Side.OUTSIDE)

    @property
    def everybody(self) -> list[MeadowNode | Server]:
        """All who have subscribers."""
        return [*self.meadow.nodes.values(), *self.servers]

    def reach(self, publisher: int) -> set[int]:
        """Name all to whom a way leads: through a bus, over at most one route, through a bus."""
        if publisher in self.meadow.others:
            found, begins = {publisher}, [publisher]
        else:
            found = self.meadow.reach(publisher)
            begins = [gateway for gateway in self.gateways if gateway in found]
        for left, right in self.routes:
            for here, there in ((left, right), (right, left)):
                if here in begins and self.meadow.is_linked(here, there):
                    found |= {there} if there in self.meadow.others else self.meadow.reach(there)
        return found


def number_of(one: MeadowNode | Server) -> int:
    """Give the number of a node or server."""
    return one.number if isinstance(one, Server) else one.bus_id


class SimulationTests(SynchronousTestCase):
    """Random buses in one cluster, with subscribers that come and go and routes that are cut."""

    seeds = range(60)

    def test_against_a_model(self) -> None:
        """Everybody on any bus and server gets each publication once, each group one copy."""
        for seed in self.seeds:
            with self.subTest(seed=seed):
                self.run_one(seed, peers=0)

    def test_with_peers(self) -> None:
        """Where buses have peers as well, nobody gets anything twice, nor misses anything."""
        for seed in self.seeds:
            with self.subTest(seed=seed):
                self.run_one(seed, peers=3)

    def run_one(self, seed: int, peers: int) -> None:
        """Build it, disturb it, and compare what arrives in quiet times with the model."""
        site = Site(seed, seed % 4, ((1, 5), (3, 4), (6,), (2, 2))[seed // 4 % 4], peers)
        wanted: dict[tuple[int, str, str], int] = {}
        for _ in range(5):
            self.disturb(site, wanted)
            site.meadow.settle()
            for _ in range(6):
                self.check(site, wanted)

    def disturb(self, site: Site, wanted: dict[tuple[int, str, str], int]) -> None:
        """Subscribe, unsubscribe, cut and heal routes, with messages under way."""
        draw = site.meadow.random
        for _ in range(12):
            one = draw.choice(site.everybody)
            pattern, queue = draw.choice(PATTERNS), draw.choice(("", "", "q"))
            key = (number_of(one), pattern, queue)
            if wanted.get(key) and draw.random() < 0.5:
                one.unsubscribe(pattern, queue)
                wanted[key] -= 1
            else:
                one.subscribe(pattern, queue)
                wanted[key] = wanted.get(key, 0) + 1
            if site.routes and draw.random() < 0.3:
                left, right = draw.choice(site.routes)
                if site.meadow.is_linked(left, right):
                    site.meadow.cut(left, right)
                else:
                    site.meadow.link(left, right, Side.OUTSIDE)
            if draw.random() < 0.3:
                draw.choice(site.everybody).publish(draw.choice(SUBJECTS))
            if draw.random() < 0.3:
                site.meadow.settle()

    def check(self, site: Site, wanted: dict[tuple[int, str, str], int]) -> None:
        """Publish once and look at every diary."""
        draw = site.meadow.random
        publisher = draw.choice(site.everybody)
        subject = draw.choice(SUBJECTS)
        what = publisher.publish(subject)
        site.meadow.settle()
        reach = site.reach(number_of(publisher))
        interested = [
            (number, queue)
            for (number, pattern, queue), count in wanted.items()
            if count and number in reach and matches(parse_pattern(pattern), parse_subject(subject))
        ]
        plain = {number for number, queue in interested if not queue}
        members = {number for number, queue in interested if queue}
        for one in site.everybody:
            number = number_of(one)
            self.assertEqual(one.plain.count(what), int(number in plain), number)
            if (*what, "q") in one.queued:
                self.assertIn(number, members)
        got = sum(one.queued.count((*what, "q")) for one in site.everybody)
        if site.meadow.peers:
            # Over peers a copy for a group may come alone, to where it cannot go on alone.
            self.assertLessEqual(got, bool(members))
        else:
            self.assertEqual(got, bool(members))


class RuleTests(SynchronousTestCase):
    """One gateway, 1, with the servers 8 and 9 outside, its upstream 2, and 3 below it."""

    def setUp(self) -> None:
        self.interests = Interests()
        for neighbor, side in (
            (2, Side.ABOVE),
            (3, Side.BELOW),
            (8, Side.OUTSIDE),
            (9, Side.OUTSIDE),
        ):
            self.interests.open(neighbor, side)
        self.distributor = Distributor(self.interests, lambda _: 0)

    def hears(self, neighbor: int, *entries: tuple[str, str, int]) -> None:
        """Let a neighbor tell what it wants."""
        told = tuple(InterestEntry(subject=s, queue=q, weight=w) for s, q, w in entries)
        self.interests.heard(neighbor, Interest(generation=1, entries=told))

    def told(self) -> dict[int, list[tuple[str, int]]]:
        """Give who is told what."""
        return {
            neighbor: [(entry.queue, entry.weight) for entry in message.entries]
            for neighbor, message in self.interests.changes()
        }

    def test_what_one_outside_wants(self) -> None:
        """It is told above and below, and not to another one outside, which it has told itself."""
        self.hears(8, ("a", "q", 2))
        self.assertEqual(self.told(), {2: [("q", 2)], 3: [("q", 2)]})
        self.hears(9, ("a", "q", 1))
        self.assertEqual(self.told(), {2: [("q", 3)], 3: [("q", 3)]})
        self.hears(2, ("a", "q", 5))
        self.assertEqual(self.told(), {3: [("q", 8)], 8: [("q", 5)], 9: [("q", 5)]})
        self.interests.close(8)
        self.assertEqual(self.told(), {2: [("q", 1)], 3: [("q", 6)]})

    def test_one_hop(self) -> None:
        """What comes from outside goes on everywhere but outside, whatever is wanted there."""
        for neighbor in (2, 3, 8, 9):
            self.hears(neighbor, ("a", "", 1))
        for came_from, others in ((8, [2, 3]), (2, [3, 8, 9]), (3, [2, 8, 9])):
            incoming = Incoming(subject=("a",), came_from=came_from, ours=came_from == 8)
            what = self.distributor.distribute(incoming)
            self.assertEqual([branch.neighbor for branch in what.branches], others)

    def test_a_group_alone(self) -> None:
        """A copy that plain subscribers must not get goes to a member where there are none."""
        self.hears(8, ("a", "", 1), ("a", "q", 5))
        incoming = Incoming(subject=("a",), came_from=2, queues=("q",), queues_only=True)
        self.assertEqual(self.distributor.distribute(incoming).unserved, ("q",))
        self.hears(9, ("a", "q", 1))
        [branch] = self.distributor.distribute(incoming).branches
        self.assertEqual((branch.neighbor, branch.queues), (9, ("q",)))

    def test_a_member_that_has_just_left(self) -> None:
        """What one outside has sent for a group goes on to another one, if it is alone there."""
        incoming = Incoming(subject=("a",), came_from=8, queues=("q",))
        self.hears(8, ("a", "q", 1))
        self.assertEqual(self.distributor.distribute(incoming).unserved, ("q",))
        self.hears(9, ("a", "q", 1))
        self.assertEqual(
            self.distributor.distribute(incoming).branches,
            (Branch(neighbor=9, queues=("q",), queues_only=True),),
        )
        self.hears(9, ("a", "", 1))
        self.assertEqual(self.distributor.distribute(incoming).unserved, ("q",))

    def test_once_over_each_route(self) -> None:
        """A publication with plain subscribers and groups behind a route crosses it once."""
        site = Site(1, 2, (3,))
        for server in site.servers:
            for queue in ("", "q", "p"):
                server.subscribe("a", queue)
        site.meadow.settle()
        publisher = next(each for each in site.buses[0] if each != site.gateways[0])
        site.meadow.crossings.clear()
        site.meadow.nodes[publisher].publish("a")
        site.meadow.settle()
        for server in site.servers:
            crossed = [
                one
                for _, receiver, one in site.meadow.crossings
                if receiver == server.number and isinstance(one, Letter)
            ]
            self.assertEqual(len(crossed), 1)
