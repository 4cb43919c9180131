"""Which member of a queue group is near, over several nodes: just what is promised of it."""

from __future__ import annotations

from collections import Counter

from atbus import limits
from atbus.node.node import Node
from atbus.node.subscription import Subscription
from atbus.wire import codec
from atbus.wire.extras import read_zone
from atbus.wire.messages import Capability, Extra, ExtraType, Interest, InterestEntry
from tests.node.garden import (
    LEFT,
    LEFT_LEAF,
    OTHER_LEAF,
    RIGHT,
    RIGHT_LEAF,
    TOP,
    GardenTests,
    address_of,
)

SECOND_LEAF = LEFT_LEAF + 1


class ZonesCase(GardenTests):
    """Nodes in zones, and members of one group at them."""

    def place(self, bus_id: int, zone: str, policy: str = "nearest") -> Node:
        """Start a node in a zone; in none if it is empty."""
        labels = {"zone": zone} if zone else {}
        [node] = self.plant(bus_id, labels=labels, queue_policy=policy)
        return node

    def join(self, *nodes: Node) -> list[Subscription]:
        """Let a member join at each of some nodes."""
        joined = [node.subscribe("a", lambda _: None, queue="g") for node in nodes]
        # How many there are is told now and then.
        self.settle(3.0)
        return joined

    def shares(self, publisher: Node, members: list[Subscription], count: int) -> list[int]:
        """Publish, and say how many each has got: all of them together each just once."""
        before = [each.taken for each in members]
        for _ in range(count):
            publisher.publish("a", b"")
        self.settle()
        shares = [each.taken - had for each, had in zip(members, before, strict=True)]
        self.assertEqual(sum(shares), count)
        return shares


class ThreeHopTests(ZonesCase):
    """Zones whose nodes are on both sides of the tree, with nodes of other zones between them."""

    def test_two_zones(self) -> None:
        """All stay in the zone while it has a member, then all go to the other one at once."""
        self.place(TOP, "")
        near, far = self.place(LEFT, "y"), self.place(RIGHT, "y")
        publisher = self.place(LEFT_LEAF, "x")
        ours, theirs = self.place(RIGHT_LEAF, "x", "uniform"), self.place(OTHER_LEAF, "y")
        members = self.join(ours, near, far, theirs)
        self.assertEqual(self.shares(publisher, members, 100), [100, 0, 0, 0])
        members[0].unsubscribe()
        self.settle(0.1)
        shares = self.shares(publisher, members, 300)
        self.assertEqual(shares[0], 0)
        self.assertTrue(all(60 < each < 140 for each in shares[1:]), shares)
        [again] = self.join(ours)
        self.assertEqual(self.shares(publisher, [*members, again], 50), [0, 0, 0, 0, 50])

    def test_three_zones(self) -> None:
        """Each of three zones keeps what is published there, wherever its members are."""
        zones = {TOP: "z", LEFT: "y", RIGHT: "", LEFT_LEAF: "x", SECOND_LEAF: "z"}
        nodes = {bus_id: self.place(bus_id, zone) for bus_id, zone in zones.items()}
        right = [self.place(RIGHT_LEAF, "x"), self.place(OTHER_LEAF, "y")]
        members = self.join(*right, nodes[TOP])
        for bus_id, expected in (
            (LEFT_LEAF, [60, 0, 0]),
            (LEFT, [0, 60, 0]),
            (SECOND_LEAF, [0, 0, 60]),
        ):
            self.assertEqual(self.shares(nodes[bus_id], members, 60), expected)
        shares = self.shares(nodes[RIGHT], members, 300)
        self.assertTrue(all(60 < each < 140 for each in shares), shares)

    def test_by_number_within_the_zone(self) -> None:
        """Members of the zone at several nodes have as many each, also where one is on the way."""
        self.place(TOP, "x")
        self.place(LEFT, "y")
        self.place(RIGHT, "y")
        publisher = self.place(LEFT_LEAF, "x")
        ours, theirs = self.place(RIGHT_LEAF, "x"), self.place(OTHER_LEAF, "y")
        members = self.join(self.nodes[0], ours, ours, ours, theirs, theirs)
        shares = self.shares(publisher, members, 800)
        self.assertEqual(shares[4:], [0, 0])
        self.assertTrue(all(140 < each < 260 for each in shares[:4]), shares)

    def test_the_last_member_leaves_meanwhile(self) -> None:
        """While members of the zone leave and are killed nothing is lost that finds anybody."""
        self.place(TOP, "y")
        self.place(LEFT, "y")
        right = self.place(RIGHT, "y")
        publisher = self.place(LEFT_LEAF, "x")
        ours = self.place(RIGHT_LEAF, "x")
        members = self.join(ours, ours, right)
        for gone in members[:2]:
            gone.unsubscribe()
            # Nobody else knows it yet.
            self.assertEqual(self.shares(publisher, members, 20)[2] > 0, gone is members[1])
        self.assertEqual(self.shares(publisher, members, 20), [0, 0, 20])
        members += self.join(ours)
        self.assertEqual(self.shares(publisher, members, 20), [0, 0, 0, 20])
        self.kill(ours)
        self.settle(60)
        self.assertEqual(self.shares(publisher, members, 20), [0, 0, 20, 0])

    def test_handed_back(self) -> None:
        """Who gets back what a member in the zone does not take looks for another one there."""
        top = self.place(TOP, "y", "uniform")
        self.place(LEFT, "z")
        self.place(RIGHT, "z")
        gone, stays = self.place(LEFT_LEAF, "x"), self.place(RIGHT_LEAF, "x")
        publisher = self.place(OTHER_LEAF, "x")
        members = self.join(gone, gone, gone, top, top, stays)
        for each in members[:3]:
            each.unsubscribe()
        # Nobody else knows it yet.
        self.assertEqual(self.shares(publisher, members, 50), [0, 0, 0, 0, 0, 50])

    def test_over_a_link_of_peers(self) -> None:
        """A zone that is reached over a link beside the tree is near as well."""
        top, left, right = (self.place(bus_id, "y") for bus_id in (TOP, LEFT, RIGHT))
        publisher, ours = self.place(LEFT_LEAF, "x"), self.place(RIGHT_LEAF, "x")
        self.network.result_of(left.connect(address_of(RIGHT)))
        members = self.join(ours, top, left, right)
        self.assertEqual(self.shares(publisher, members, 50), [50, 0, 0, 0])
        self.network.result_of(left.disconnect(RIGHT))
        self.settle(3.0)
        self.assertEqual(self.shares(publisher, members, 50), [50, 0, 0, 0])

    def test_long_ones(self) -> None:
        """What is longer than a frame says its zone with each piece, as long as a label may be."""
        letter = "\N{MATHEMATICAL BOLD CAPITAL Z}"
        zone = letter * ((limits.LABELS_BYTES - len("zone")) // len(letter.encode()))
        top, left = self.place(TOP, ""), self.place(LEFT, "")
        publisher, ours = self.place(LEFT_LEAF, zone), self.place(SECOND_LEAF, zone)
        members = self.join(ours, top, left)
        got = self.listen(ours, "a", "g")
        members[0].unsubscribe()
        self.settle(3.0)
        frames = self.watch(publisher, left)
        most = publisher.endpoints[LEFT].frame_bytes_max
        sizes = [*range(most - 700, most + 700, 100), 3 * most]
        for size in sizes:
            publisher.publish("a", bytes(size))
        self.settle()
        self.assertEqual([len(payload) for payload in self.got[SECOND_LEAF]], sizes)
        self.assertEqual(got.taken, len(sizes))
        self.assertTrue(most - 200 < max(len(frame) for _, frame in frames) <= most)
        self.assertEqual({read_zone(codec.decode(frame).extras) for _, frame in frames}, {zone})

    def test_a_zone_behind_another_one(self) -> None:
        """What is behind a neighbor of another zone is near if it is in ours."""
        top = self.place(TOP, "x")
        self.place(LEFT, "y")
        self.place(RIGHT, "y")
        members = self.join(self.place(LEFT_LEAF, "x"), self.place(RIGHT_LEAF, "y"))
        self.assertEqual(self.shares(top, members, 100), [100, 0])

    def test_behind_a_neighbor_of_the_zone(self) -> None:
        """What is behind a neighbor of the zone is near only if it is in the zone itself."""
        top = self.place(TOP, "x")
        self.place(LEFT, "x")
        right = self.place(RIGHT, "x")
        members = self.join(right, self.place(LEFT_LEAF, "y"), self.place(SECOND_LEAF, ""))
        self.assertEqual(self.shares(top, members, 100), [100, 0, 0])


class WithoutZonesTests(ZonesCase):
    """Nodes that know of no zones, and nodes that are in none."""

    def earlier(self, bus_id: int, zone: str) -> Node:
        """Start a node of an earlier release."""
        labels = {"zone": zone} if zone else {}
        upstream = {} if bus_id == TOP else {"upstream": address_of(TOP)}
        subnets = [(0, 16 if bus_id == TOP else 8)]
        listen = [address_of(bus_id)]
        node = self.node(
            bus_id, labels=labels, listen=listen, subnets=subnets, direct_notice=False, **upstream
        )
        node._parts.dialer.capabilities &= ~Capability.ZONES
        self.network.start(node)
        self.network.settle()
        return node

    def test_a_neighbor_of_an_earlier_release(self) -> None:
        """Who is behind it counts as being in its zone; no frame speaks of zones to it."""
        top = self.place(TOP, "x")
        left, right = self.earlier(LEFT, "x"), self.place(RIGHT, "y")
        frames = self.watch(top, left)
        members = self.join(self.place(LEFT_LEAF, ""), right, self.place(RIGHT_LEAF, ""))
        self.assertEqual(self.shares(top, members, 50), [50, 0, 0])
        self.assertEqual(len(frames), 50)
        self.assertEqual({read_zone(codec.decode(frame).extras) for _, frame in frames}, {""})
        members[0].unsubscribe()
        self.settle(1.0)
        self.assertEqual(self.shares(top, members, 50)[0], 0)
        for node in (top, left):
            self.assertEqual(node.statistics.interest_ignored, 0)
            self.assertEqual(node.statistics.interest_repairs, 0)

    def test_an_earlier_release_between(self) -> None:
        """Across it nothing is known of zones, and nothing is lost; on one side all is as ever."""
        self.earlier(TOP, "")
        self.place(LEFT, "")
        self.place(RIGHT, "")
        publisher, near = self.place(LEFT_LEAF, "x"), self.place(SECOND_LEAF, "x")
        far, other = self.place(RIGHT_LEAF, "x"), self.place(OTHER_LEAF, "y")
        members = self.join(far, other)
        shares = self.shares(publisher, members, 300)
        self.assertTrue(all(100 < each < 200 for each in shares), shares)
        members += self.join(near)
        self.assertEqual(self.shares(publisher, members, 50), [0, 0, 50])
        # From elsewhere each has his share.
        self.assertTrue(all(self.shares(self.nodes[0], members, 100)))
        # Longer than two pings of each neighbor.
        self.settle(40)
        self.assertEqual([node.statistics.interest_repairs for node in self.nodes], [0] * 7)

    def test_who_is_in_no_zone(self) -> None:
        """Where no node has the label no frame speaks of zones, whatever is preferred."""
        top, left = self.place(TOP, ""), self.place(LEFT, "")
        leaf = self.place(LEFT_LEAF, "")
        frames = self.watch(top, left)
        before = left.statistics.interest_sent
        members = self.join(leaf, leaf)
        self.assertEqual(left.statistics.interest_sent - before, 1)
        self.shares(top, members, 20)
        self.assertEqual(len(frames), 20)
        for _, frame in frames:
            self.assertEqual(codec.decode(frame).extras, ())

    def test_each_counts_once(self) -> None:
        """With zones a publication takes as many frames as without, and a member two entries."""
        top, left = self.place(TOP, "x"), self.place(LEFT, "x")
        leaf = self.place(LEFT_LEAF, "x")
        frames = self.watch(top, left)
        before = left.statistics.interest_sent
        members = self.join(leaf)
        self.assertEqual(left.statistics.interest_sent - before, 2)
        self.shares(top, members, 20)
        zones = Counter(read_zone(codec.decode(frame).extras) for _, frame in frames)
        self.assertEqual(zones, {"x": 20})


class NonsenseTests(ZonesCase):
    """Zones that are none."""

    def test_a_zone_that_is_no_text(self) -> None:
        """It is a breach, and counts as nothing else: what the message tells is not known."""
        top, left = self.place(TOP, ""), self.place(LEFT, "")
        nonsense = (Extra(ExtraType.ZONE, b"\xff"),)
        entries = (InterestEntry(subject="a", queue="g"),)
        message = Interest(generation=1, entries=entries, extras=nonsense)
        left._parts.subjects.talk._tell(TOP, message)
        self.settle(0.1)
        self.assertEqual(dict(top.wanted_by(LEFT)), {})
        self.assertEqual(top.statistics.undecodable_frames, 1)
