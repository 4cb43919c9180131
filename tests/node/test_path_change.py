"""Traffic that changes its way, and keeps its order."""

from __future__ import annotations

import contextlib
from typing import Any

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.wire.messages import MessageType
from tests.node.mail import NORTH, SOUTH, SOUTH_ADDRESS, MailTests

ONE, TWO = NORTH + 1, NORTH + 2
TWO_ADDRESS = f"ipv4://10.0.1.{TWO & 255}:1"


class PathTests(MailTests):
    """Two leaves below one proxy, which are connected directly while they talk."""

    def setUp(self) -> None:
        super().setUp()
        self.sent = 0

    def siblings(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start a proxy and two leaves below it."""
        _, north, _ = self.proxies(direct_notice=False)
        return north, self.leaf(ONE, **options), self.leaf(TWO, listens=True, **options)

    def connected(self) -> tuple[Node, Node, Node]:
        """Start two leaves that are connected directly."""
        north, one, two = self.siblings()
        self.network.result_of(one.connect(TWO_ADDRESS))
        self.network.settle()
        return north, one, two

    def talk(self, source: Node, target: int, turns: int, seconds: float = 0.0007) -> None:
        """Send one message after the other, numbered through."""
        for _ in range(turns):
            source.send(target, b"%d" % self.sent)
            self.sent += 1
            self.network.settle(seconds)

    def assert_all_in_order(self, target: Node, source: int) -> None:
        """Assert that every message of `talk` has arrived, one after the other."""
        expected = [b"%d" % number for number in range(self.sent)]
        self.assertEqual(self.mail[target].payloads_from(source), expected)

    def given_up(self, node: Node) -> list[str]:
        """Give why a node gave up the order of messages."""
        told = self.diaries[node].of("on_error")
        return [status.name for status, detail in told if "order" in detail]


class DirectTests(PathTests):
    """From the way through the proxy to the direct one."""

    def test_nothing_is_overtaken(self) -> None:
        """Messages that are still at the proxy when the direct way is there arrive first."""
        north, one, two = self.siblings()
        stuck = self.data_channel(north, two)
        self.talk(one, TWO, 5)
        self.network.settle(0.1)
        stuck.stall()
        self.talk(one, TWO, 5)
        connecting = one.connect(TWO_ADDRESS)
        self.talk(one, TWO, 60)
        self.assertEqual(one.endpoints[TWO].gate.value, "flushing")
        self.assertEqual(len(self.mail[two].letters), 5)
        stuck.resume()
        self.network.result_of(connecting)
        self.talk(one, TWO, 20)
        self.network.settle()
        self.assert_all_in_order(two, ONE)
        self.assertEqual(self.given_up(one), [])
        self.assertEqual(self.mail[one].fates, [])
        self.assertTrue(self.frames(self.data_channel(one, two), MessageType.DATA))
        self.assert_quiet(north, one, two)

    def test_a_flush_that_nobody_carries(self) -> None:
        """When the proxy has no way to the sibling yet, the direct way opens without a pause."""
        north, one, two = self.siblings()
        self.network.unreachable.add(north.addresses[0])
        self.network.cut(north, two)
        self.network.settle(0.1)
        one.connect(TWO_ADDRESS)
        self.network.settle(limits.FLUSH_SECONDS / 4)
        self.assertEqual(one.endpoints[TWO].gate.value, "open")
        self.talk(one, TWO, 5)
        self.network.settle(0.1)
        self.assert_all_in_order(two, ONE)
        self.assertEqual(self.given_up(one), [])
        self.network.unreachable.clear()

    def test_large_messages_keep_their_place(self) -> None:
        """Messages in fragments wait for the flush like others, whole."""
        north, one, two = self.siblings()
        self.data_channel(north, two).stall()
        sizes = [10, 200_000, 20, 100_000, 30]
        for size in sizes[:2]:
            one.send(TWO, bytes(size))
        one.connect(TWO_ADDRESS)
        self.network.settle(0.2)
        for size in sizes[2:]:
            one.send(TWO, bytes(size))
        self.network.settle(0.2)
        self.data_channel(north, two).resume()
        self.network.settle()
        self.assertEqual([len(payload) for payload in self.mail[two].payloads], sizes)

    def test_one_flush_for_all(self) -> None:
        """One FLUSH and one answer open a direct way, whatever will take it."""
        north, one, two = self.siblings()
        self.talk(one, TWO, 3)
        self.network.result_of(one.connect(TWO_ADDRESS))
        self.network.settle()
        flushes = self.frames(self.data_channel(one, north), MessageType.FLUSH)
        self.assertEqual(len(flushes), 1)
        answers = self.frames(self.control_channel(two, one), MessageType.FLUSH_ACK)
        self.assertEqual(len(answers), 1)

    def test_an_answer_that_does_not_come(self) -> None:
        """
        When the old way is stuck for longer than a second the order is given up, and that is told.
        """
        north, one, two = self.siblings()
        self.data_channel(north, two).stall()
        one.send(TWO, b"stuck")
        self.network.settle(0.1)
        connecting = one.connect(TWO_ADDRESS)
        self.network.settle(0.2)
        one.send(TWO, b"later")
        self.network.settle(limits.FLUSH_SECONDS + 0.1)
        self.assertEqual(self.mail[two].payloads, [b"later"])
        self.assertEqual(self.given_up(one), ["TIMEOUT"])
        self.assertEqual(one.statistics.order_given_up, 1)
        self.network.result_of(connecting)
        self.data_channel(north, two).resume()
        self.network.settle()
        self.assertEqual(sorted(self.mail[two].payloads), [b"later", b"stuck"])
        self.assert_quiet(north, one, two)

    def test_the_new_way_breaks_while_messages_wait(self) -> None:
        """When the direct way is lost before it was used, the messages take the old one again."""
        north, one, two = self.siblings()
        self.data_channel(north, two).stall()
        self.talk(one, TWO, 5)
        connecting = one.connect(TWO_ADDRESS)
        connecting.addErrback(lambda _: None)
        self.network.settle(0.05)
        self.talk(one, TWO, 20)
        self.assertEqual(one.endpoints[TWO].gate.value, "flushing")
        self.network.cut(one, two)
        self.network.settle(0.05)
        self.talk(one, TWO, 5)
        self.data_channel(north, two).resume()
        self.network.settle()
        self.assert_all_in_order(two, ONE)
        self.assertEqual((self.given_up(one), self.mail[one].fates), ([], []))
        self.assert_quiet(north, one, two)

    def test_the_data_connection_breaks_while_messages_wait(self) -> None:
        """The same when only the data connection is lost; a new one is made and used."""
        north, one, two = self.siblings()
        self.data_channel(north, two).stall()
        self.talk(one, TWO, 5)
        one.connect(TWO_ADDRESS)
        self.network.settle(0.05)
        self.talk(one, TWO, 20)
        self.network.unreachable.add(two.addresses[0])
        self.data_channel(one, two).abort("cut")
        self.network.settle(0.05)
        self.talk(one, TWO, 5)
        self.network.unreachable.clear()
        self.data_channel(north, two).resume()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        self.talk(one, TWO, 5)
        self.network.settle()
        self.assert_all_in_order(two, ONE)
        self.assertEqual(one.next_hop(TWO).id, TWO)
        self.assertEqual((self.given_up(one), self.mail[one].fates), ([], []))

    def test_the_old_way_breaks_first(self) -> None:
        """When the proxy dies during the flush the direct way opens, and the order is given up."""
        north, one, two = self.siblings()
        self.data_channel(north, two).stall()
        first = one.send(TWO, b"at the proxy")
        one.connect(TWO_ADDRESS)
        self.network.settle(0.2)
        one.send(TWO, b"direct")
        self.kill(north)
        self.network.settle(0.2)
        self.assertEqual(self.mail[two].payloads, [b"direct"])
        self.assertEqual(self.given_up(one), ["LINK_LOST"])
        self.assertEqual(self.mail[one].news, [(TWO, first, 1, "UNCERTAIN")])

    def test_a_message_that_waits_too_long(self) -> None:
        """What waits is bounded in bytes: what is more is refused, and nothing is overtaken."""
        north, one, two = self.siblings(pending_bytes_max=100_000)
        self.data_channel(north, two).stall()
        one.connect(TWO_ADDRESS)
        self.network.settle(0.1)
        one.send(TWO, bytes(60_000))
        self.assertEqual(self.refused(one, TWO, bytes(90_000)), "BACKPRESSURE")
        one.send(TWO, bytes(20_000))
        self.data_channel(north, two).resume()
        self.network.settle()
        self.assertEqual([len(p) for p in self.mail[two].payloads], [60_000, 20_000])


class ThroughTests(PathTests):
    """Flows that pass through nodes whose way changes."""

    def test_between_proxies(self) -> None:
        """
        When two proxies are connected, what their leaves say to each other stays in order, and what
        is too long for the new link is cut.

        Scenario: K5, CC10
        """
        root, north, south = self.proxies(direct_notice=False)
        one, far = self.leaf(ONE), self.leaf(SOUTH + 1)
        stuck = self.data_channel(root, south)
        self.talk(one, SOUTH + 1, 5)
        self.network.settle(0.1)
        stuck.stall()
        self.talk(one, SOUTH + 1, 5)
        connecting = north.connect(SOUTH_ADDRESS)
        self.talk(one, SOUTH + 1, 80)
        self.assertEqual(len(self.mail[far].letters), 5)
        stuck.resume()
        self.network.result_of(connecting)
        self.talk(one, SOUTH + 1, 20)
        self.network.settle()
        self.assert_all_in_order(far, ONE)
        self.assertTrue(self.frames(self.data_channel(north, south), MessageType.DATA))
        before = root.statistics.forwarded_messages
        self.talk(one, SOUTH + 1, 5)
        self.network.settle()
        self.assertEqual(root.statistics.forwarded_messages, before)
        self.assert_quiet(root, north, south, one, far)

    def test_their_link_is_given_up(self) -> None:
        """When the proxies part again, the leaves' traffic goes back over the root, in order."""
        root, north, south = self.proxies(direct_notice=False)
        one, far = self.leaf(ONE), self.leaf(SOUTH + 1)
        self.network.result_of(north.connect(SOUTH_ADDRESS))
        self.talk(one, SOUTH + 1, 5)
        self.data_channel(north, south).stall()
        self.talk(one, SOUTH + 1, 5)
        leaving = south.disconnect(NORTH)
        self.talk(one, SOUTH + 1, 50)
        self.data_channel(north, south).resume()
        self.talk(one, SOUTH + 1, 50)
        self.network.result_of(leaving)
        self.talk(one, SOUTH + 1, 5)
        self.network.settle()
        self.assert_all_in_order(far, ONE)
        self.assertEqual(self.mail[one].fates, [])
        self.assertEqual(self.given_up(north) + self.given_up(south), [])
        self.assert_quiet(root, north, south, one, far)

    def test_their_link_breaks(self) -> None:
        """A link between proxies that breaks is bypassed at once; when it is back it is used."""
        root, north, south = self.proxies(direct_notice=False)
        one, far = self.leaf(ONE), self.leaf(SOUTH + 1)
        self.network.result_of(north.connect(SOUTH_ADDRESS))
        self.network.settle()
        self.talk(one, SOUTH + 1, 5)
        self.network.settle()
        self.network.unreachable.add(south.addresses[0])
        self.data_channel(north, south).abort("cut")
        self.network.settle(0.05)
        self.talk(one, SOUTH + 1, 100)
        self.network.settle(0.01)
        self.assertEqual(root.statistics.forwarded_messages, 100)
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        self.talk(one, SOUTH + 1, 5)
        self.network.settle()
        self.assert_all_in_order(far, ONE)
        self.assertEqual(north.next_hop(SOUTH + 1).id, SOUTH)
        self.assertEqual(root.statistics.forwarded_messages, 100)
        self.assertEqual(self.mail[one].fates, [])


class BackTests(PathTests):
    """From the direct way back to the one through the proxy."""

    def test_who_disconnects(self) -> None:
        """
        Whoever of the two disconnects: nothing is lost, and the relay path overtakes nothing.

        Scenario: H10
        """
        for leaver in (1, 2):
            with self.subTest(leaver):
                self.sent = 0
                nodes = self.connected()
                north, one, two = nodes
                self.talk(one, TWO, 5)
                stuck = self.data_channel(one, two)
                stuck.stall()
                self.talk(one, TWO, 5)
                leaving = nodes[leaver].disconnect(nodes[3 - leaver].bus_id)
                self.talk(one, TWO, 100)
                stuck.resume()
                self.talk(one, TWO, 100)
                self.network.result_of(leaving)
                self.talk(one, TWO, 5)
                self.network.settle()
                self.assert_all_in_order(two, ONE)
                self.assertEqual(sorted(one.endpoints), [NORTH])
                self.assertEqual(self.mail[one].fates, [])
                self.assertEqual(self.given_up(one) + self.given_up(two), [])
                self.assert_quiet(north, one, two)
                self.tearDown()
                self.setUp()

    def test_what_must_not_go_through_the_proxy(self) -> None:
        """
        While siblings part, a message that may not use the proxy is refused, not sent there.

        Scenario: K28
        """
        north, one, two = self.connected()
        leaving = two.disconnect(ONE)
        refused = []
        for turn in range(80):
            options: dict[str, Any] = {"exclude": [NORTH]} if turn % 2 else {"no_upstream": True}
            try:
                one.send(TWO, b"x", **options)
            except Undeliverable as error:
                refused.append(error.status)
            self.network.settle(0.0005)
        self.network.result_of(leaving)
        self.assertIn(Status.CLOSING, refused)
        self.network.settle()
        self.assertEqual(north.statistics.forwarded_messages, 0)

    def test_the_other_direction(self) -> None:
        """What goes the other way is kept in order as well."""
        _, one, two = self.connected()
        self.talk(two, ONE, 5)
        self.data_channel(two, one).stall()
        self.talk(two, ONE, 5)
        leaving = one.disconnect(TWO)
        self.talk(two, ONE, 100)
        self.data_channel(two, one).resume()
        self.network.result_of(leaving)
        self.talk(two, ONE, 5)
        self.network.settle()
        self.assert_all_in_order(one, TWO)
        self.assertEqual(self.mail[two].fates, [])

    def test_a_sibling_that_does_not_wait(self) -> None:
        """
        When a sibling is gone before all that went to it directly has arrived, the order is given
        up, and that is told.
        """
        self.patch(limits, "FLUSH_SECONDS", 60.0)
        _, one, two = self.connected()
        self.data_channel(two, one).stall()
        self.talk(two, ONE, 5)
        leaving = one.disconnect(TWO)
        self.network.settle(0.1)
        self.assertEqual(two.endpoints[ONE].gate.value, "returning")
        self.assertEqual(self.given_up(two), [])
        self.network.result_of(leaving)
        self.network.settle()
        self.assertNotIn(ONE, two.endpoints)
        self.assertEqual((self.given_up(two), two.statistics.order_given_up), (["LINK_LOST"], 1))

    def test_where_a_message_would_go(self) -> None:
        """While siblings part, the next hop is the proxy: that is where messages sent now go."""
        north, one, two = self.connected()
        stuck = self.data_channel(one, two)
        stuck.stall()
        leaving = one.disconnect(TWO)
        self.assertEqual(one.endpoints[TWO].gate.value, "returning")
        hop = one.next_hop(TWO)
        self.assertEqual((hop.id, hop.rule), (NORTH, "default route through upstream"))
        with self.assertRaises(Undeliverable):
            one.next_hop(TWO, no_upstream=True)
        self.talk(one, TWO, 5)
        stuck.resume()
        self.network.result_of(leaving)
        self.network.settle()
        self.assertEqual(north.statistics.forwarded_messages, 5)
        self.assert_all_in_order(two, ONE)

    def test_a_stop_of_the_sibling(self) -> None:
        """When the sibling stops, what was sent arrives or is refused by name; nothing is lost."""
        _, one, two = self.connected()
        for number in range(40):
            if number == 10:
                stopping = two.stop()
            with contextlib.suppress(Undeliverable):
                one.send(TWO, b"%d" % number)
            self.network.settle(0.002)
        self.network.result_of(stopping)
        self.network.settle()
        arrived = len(self.mail[two].letters)
        told = self.mail[one].statuses()
        refused = one.statistics.refused
        self.assertNotIn("UNCERTAIN", told)
        self.assertEqual(one.statistics.uncertain_messages, 0)
        at_once = sum(refused.values()) - len(told)
        self.assertEqual(arrived + len(told) + at_once, 40)
        self.assertEqual(self.mail[two].payloads, [b"%d" % number for number in range(arrived)])

    def test_a_link_that_breaks(self) -> None:
        """
        A direct way that breaks is replaced by the relay path at once; what was on it is uncertain.

        Scenario: K21
        """
        north, one, two = self.connected()
        self.network.freeze(two)
        lost = one.send(TWO, b"on the wire")
        self.network.settle(0.1)
        self.network.cut(one, two)
        self.network.settle(0.1)
        self.network.thaw(two)
        one.send(TWO, b"through the proxy")
        self.network.settle()
        self.assertEqual(self.mail[one].news, [(TWO, lost, 1, "UNCERTAIN")])
        self.assertEqual(self.mail[two].payloads[-1], b"through the proxy")
        self.assertEqual(north.statistics.forwarded_messages, 1)

    def test_without_the_proxy(self) -> None:
        """
        Siblings that are connected go on talking when their proxy is gone.

        Scenario: I7
        """
        north, one, two = self.connected()
        self.kill(north)
        self.network.settle(0.1)
        one.send(TWO, b"there")
        two.send(ONE, b"back")
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"there"])
        self.assertEqual(self.mail[one].payloads, [b"back"])

    def test_a_dead_sibling(self) -> None:
        """
        A sibling that died is known at once; later messages go to the proxy, which answers.

        Scenario: K21
        """
        _, one, two = self.connected()
        self.kill(two)
        self.network.settle(0.1)
        self.assertEqual(list(one.endpoints), [NORTH])
        sequence = one.send(TWO, b"x")
        self.network.settle()
        self.assertEqual(self.mail[one].news, [(TWO, sequence, 1, "NO_ROUTE")])
        self.assertEqual(self.mail[one].fates[0].gave_up_at, NORTH)

    def test_narrower_frames_on_the_way_back(self) -> None:
        """What waited for the direct way and takes the other one is cut to its frames."""
        root = self.root(frame_bytes_max=4_096)
        north = self.node(
            NORTH,
            listen=["ipv4://10.0.1.0:1"],
            upstream="ipv4://10.0.0.1:1",
            subnets=[(0, 8)],
            frame_bytes_max=4_096,
            direct_notice=False,
        )
        self.network.start(root, north)
        one, two = self.leaf(ONE), self.leaf(TWO, listens=True)
        self.data_channel(north, two).stall()
        one.connect(TWO_ADDRESS).addErrback(lambda _: None)
        self.network.settle(0.1)
        sizes = [60_000, 10, 200_000, 3_000, 5_000]
        for size in sizes:
            one.send(TWO, bytes(size))
        self.assertEqual(one.endpoints[TWO].gate.value, "flushing")
        self.network.cut(one, two)
        self.network.settle(0.1)
        self.data_channel(north, two).resume()
        self.network.settle()
        self.assertEqual([len(payload) for payload in self.mail[two].payloads], sizes)
        self.assertEqual(self.diaries[north].errors(), [])
