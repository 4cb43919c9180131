"""Queue groups among peers that have one upstream: each member has its share, whoever publishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from atbus.node.node import Node
from atbus.node.outbox import Spread
from atbus.node.subscription import Subscription
from atbus.wire import codec
from atbus.wire.extras import read_counted
from atbus.wire.messages import Extra, ExtraType, Publish
from tests.node.garden import GardenTests, address_of

TOP, OURS, SECOND, THIRD, OTHER = 0x10000, 0x10100, 0x10200, 0x10300, 0x10400
UNDER_OURS, UNDER_THIRD, UNDER_OTHER = OURS + 1, THIRD + 1, OTHER + 1
EVERYBODY = (TOP, OURS, SECOND, THIRD, OTHER, UNDER_OURS, UNDER_THIRD, UNDER_OTHER)


class MeshTests(GardenTests):
    """
    Three peers, each linked with each, and one more branch::

        TOP --+-- OURS   --- UNDER_OURS
              +-- SECOND
              +-- THIRD  --- UNDER_THIRD
              `-- OTHER  --- UNDER_OTHER
    """

    def mesh(self, zoned: Collection[int] = ()) -> dict[int, Node]:
        """
        Start all nodes, and connect the peers.

        :param zoned: Who is in a zone, and prefers members there.
        """
        nodes: dict[int, Node] = {}
        for bus_id in EVERYBODY:
            chosen: dict[str, Any] = {"listen": [address_of(bus_id)], "direct_notice": False}
            if bus_id != TOP:
                above = bus_id & ~0xFF if bus_id & 0xFF else TOP
                chosen["upstream"] = address_of(above)
            if not bus_id & 0xFF:
                chosen["subnets"] = [(0, 16 if bus_id == TOP else 8)]
            if bus_id in zoned:
                chosen |= {"labels": {"zone": "x"}, "queue_policy": "nearest"}
            nodes[bus_id] = self.node(bus_id, **chosen)
        self.network.start(*nodes.values())
        self.network.settle()
        for one, other in ((OURS, SECOND), (OURS, THIRD), (SECOND, THIRD)):
            self.network.result_of(nodes[one].connect(address_of(other)))
        # Which peers have its upstream a node looks at now and then.
        self.settle(3.0)
        return nodes

    def join(self, *nodes: Node, pattern: str = "a") -> list[Subscription]:
        """Let a member join at each of some nodes."""
        joined = [self.listen(node, pattern, "g") for node in nodes]
        # How many there are is told now and then.
        self.settle(3.0)
        return joined

    def shares(self, publisher: Node, members: list[Subscription], count: int) -> list[int]:
        """Publish, and say how many each member got: all of them together each just once."""
        before = [each.taken for each in members]
        self.publications.clear()
        sent = Counter(b"%d" % number for number in range(count))
        for payload in sent:
            publisher.publish("a", payload)
        self.settle()
        self.assertEqual(Counter(each.payload for each in self.publications), sent)
        return [each.taken - had for each, had in zip(members, before, strict=True)]

    def assert_alike(self, shares: list[int], count: int) -> None:
        """Expect that each has its share, within four deviations."""
        part = 1 / len(shares)
        deviation = (count * part * (1 - part)) ** 0.5
        for share in shares:
            self.assertTrue(abs(share - count * part) < 4 * deviation, shares)

    def test_each_its_share(self) -> None:
        """Members at the upstream, at a peer, below one and on another branch have as many each."""
        nodes = self.mesh()
        homes = (TOP, SECOND, UNDER_THIRD, UNDER_OTHER)
        members = self.join(*(nodes[each] for each in homes))
        for publisher in (OURS, UNDER_OURS, OTHER, TOP):
            self.assert_alike(self.shares(nodes[publisher], members, 1000), 1000)

    def test_with_members_where_it_begins(self) -> None:
        """A node below a peer knows how many there are besides its own: each has its share."""
        nodes = self.mesh()
        homes = (UNDER_OURS, OURS, SECOND, SECOND, UNDER_THIRD, UNDER_OTHER)
        members = self.join(*(nodes[each] for each in homes))
        for publisher in (UNDER_OURS, OURS, SECOND):
            self.assert_alike(self.shares(nodes[publisher], members, 1200), 1200)

    def test_in_a_zone(self) -> None:
        """So it is within a zone; who is in no zone gets nothing."""
        nodes = self.mesh(zoned=(UNDER_OURS, SECOND, UNDER_THIRD, UNDER_OTHER))
        homes = (SECOND, UNDER_THIRD, UNDER_OTHER, TOP, OURS, THIRD)
        members = self.join(*(nodes[each] for each in homes))
        shares = self.shares(nodes[UNDER_OURS], members, 900)
        self.assertEqual(shares[3:], [0, 0, 0])
        self.assert_alike(shares[:3], 900)

    def test_plain_subscribers(self) -> None:
        """Plain subscribers get everything once besides, also at the peers that are named."""
        nodes = self.mesh()
        members = self.join(*(nodes[each] for each in (TOP, SECOND, UNDER_OTHER)))
        plain = [nodes[each].subscribe("a", lambda _: None) for each in (SECOND, THIRD, OTHER)]
        self.settle()
        self.assert_alike(self.shares(nodes[OURS], members, 600), 600)
        self.assertEqual([each.taken for each in plain], [600] * 3)

    def test_links_that_come_and_go(self) -> None:
        """Without a link between two peers, and without one to the upstream, each has its share."""
        nodes = self.mesh()
        ours = nodes[OURS]
        members = self.join(nodes[SECOND], nodes[THIRD], nodes[TOP])
        self.network.result_of(ours.disconnect(SECOND))
        self.settle(3.0)
        self.assert_alike(self.shares(ours, members, 600), 600)
        self.network.result_of(ours.connect(address_of(SECOND)))
        self.settle(3.0)
        self.assert_alike(self.shares(ours, members, 600), 600)

    def test_members_come_and_go(self) -> None:
        """While members join and leave everywhere nothing is lost, and nothing comes twice."""
        nodes = self.mesh()
        homes = (TOP, SECOND, UNDER_THIRD, UNDER_OTHER, OURS)
        [stays] = self.join(nodes[UNDER_OTHER])
        joined = {bus_id: self.listen(nodes[bus_id], "a", "g") for bus_id in homes}
        sent: list[bytes] = []
        for number in range(200):
            bus_id = homes[number % len(homes)]
            if number % 3:
                joined[bus_id].unsubscribe()
                joined[bus_id] = self.listen(nodes[bus_id], "a", "g")
            for publisher in (OURS, TOP):
                sent.append(b"%d/%d" % (number, publisher))
                nodes[publisher].publish("a", sent[-1])
            self.settle(0.01 * (number % 4))
        self.settle()
        got = Counter(each.payload for each in self.publications)
        self.assertEqual(got, Counter(sent))
        self.assertGreater(stays.taken, 10)

    def test_what_is_written(self) -> None:
        """Who is counted is named on the way up, with each piece too, and nowhere else."""
        nodes = self.mesh()
        ours, top = nodes[OURS], nodes[TOP]
        members = self.join(top, *(nodes[each] for each in (SECOND, UNDER_THIRD, UNDER_OTHER)))
        up, onward = self.watch(ours, top), self.watch(top, nodes[OTHER])
        beside = self.watch(ours, nodes[SECOND])
        most = ours.endpoints[TOP].frame_bytes_max
        sizes = [*range(most - 300, most + 100, 20), 2 * most]
        for size in sizes:
            ours.publish("a", bytes(size))
        self.settle()
        self.assertEqual(sum(each.taken for each in members), len(sizes))
        named = {read_counted(codec.decode(frame).extras) for _, frame in up}
        self.assertEqual({frozenset(each) for each in named}, {frozenset((SECOND, THIRD))})
        self.assertTrue(most - 100 < max(len(frame) for _, frame in up) <= most)
        for frames in (onward, beside):
            self.assertTrue(frames)
            named = {read_counted(codec.decode(frame).extras) for _, frame in frames}
            self.assertEqual(named, {()})

    def test_nothing_is_written_for_nothing(self) -> None:
        """Where no sibling has a member a frame is as long as ever."""
        nodes = self.mesh()
        ours, top = nodes[OURS], nodes[TOP]
        members = self.join(top, nodes[UNDER_OTHER])
        nodes[SECOND].subscribe("a", lambda _: None)
        self.settle()
        up = self.watch(ours, top)
        self.assert_alike(self.shares(ours, members, 200), 200)
        self.assertEqual(len(up), 200)
        self.assertEqual({codec.decode(frame).extras for _, frame in up}, {()})

    def test_an_upstream_of_an_earlier_release(self) -> None:
        """One that does not know what it is told ignores it: nothing is lost, nor comes twice."""
        nodes = self.mesh()
        ours, top = nodes[OURS], nodes[TOP]
        members = self.join(top, nodes[SECOND])
        count = 0
        for channel in self.network.between(ours, top):
            send = channel.send

            def disguised(frames: Any, send: Any = send) -> Any:
                nonlocal count
                frames = [bytes(frame) for frame in frames]
                changed = [_disguise(frame) for frame in frames]
                count += sum(one != other for one, other in zip(frames, changed, strict=True))
                return send(changed)

            channel.send = disguised  # type: ignore[method-assign]  # to change what is sent
        shares = self.shares(ours, members, 400)
        self.assertTrue(160 < count < 240, count)
        # One half of what has gone up is given to the peer.
        self.assertTrue(70 < shares[0] < 130, shares)


    def test_what_is_no_list_of_nodes(self) -> None:
        """It is a breach: nobody gets what comes with it, and what comes then is as ever."""
        nodes = self.mesh()
        ours, top = nodes[OURS], nodes[TOP]
        [member] = self.join(top)
        message = Publish(
            source=OURS,
            sequence=1,
            epoch=ours.epoch,
            subject="a",
            queues=("g",),
            messages=((0, b"x"),),
            extras=(Extra(ExtraType.COUNTED, bytes(7)),),
        )
        frame = codec.encode(message)
        ours._parts.subjects.endpoints[TOP].submit(Spread(frame, 9, size_bytes=len(frame)))
        self.settle()
        self.assertEqual((member.taken, top.statistics.undecodable_frames), (0, 1))
        self.settle(30.0)
        self.assertEqual(self.shares(ours, [member], 20), [20])


def _disguise(frame: bytes) -> bytes:
    """Give what names siblings a number that nobody knows, and that may be ignored."""
    if not read_counted(codec.decode(frame).extras):
        return frame
    at = frame.index(ExtraType.COUNTED.to_bytes(2, "little"), 48)
    return frame[:at] + (0x7FFF).to_bytes(2, "little") + frame[at + 2 :]
