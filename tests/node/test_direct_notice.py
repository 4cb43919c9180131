"""Siblings that are told of each other by the node that relays between them."""

from __future__ import annotations

from atbus import limits
from atbus.node.node import Node
from atbus.testing.network import VirtualChannel
from atbus.wire import codec
from atbus.wire.messages import ConnectNotice, MessageType
from tests.node.mail import NORTH, NORTH_ADDRESS, ROOT, SOUTH, SOUTH_ADDRESS, MailTests

ONE, TWO = NORTH + 1, NORTH + 2


class NoticeTests(MailTests):
    """Who is told of whom, and when."""

    def notices(self, *nodes: Node) -> list[ConnectNotice]:
        """Give every notice that any of these nodes has written."""
        found: list[ConnectNotice] = []
        for node in nodes:
            for endpoint in node.endpoints.values():
                for connection in endpoint.connections:
                    channel = connection.channel
                    assert isinstance(channel, VirtualChannel)
                    found += self.frames(channel, MessageType.CONNECT_NOTICE)
        return found

    def siblings(self, **options: object) -> tuple[Node, Node, Node]:
        """Start a proxy and two leaves below it that listen."""
        _, north, _ = self.proxies(**options)
        return north, self.leaf(ONE, listens=True), self.leaf(TWO, listens=True)

    def test_the_first_message_makes_siblings_neighbors(self) -> None:
        """
        The first message between siblings goes through their proxy; then they are connected, and
        talk directly in both directions.

        Scenario: K4, K25, X3
        """
        north, one, two = self.siblings()
        one.send(TWO, b"through the proxy")
        self.network.settle()
        self.assertEqual(north.statistics.forwarded_messages, 1)
        self.assertEqual(sorted(one.endpoints), [NORTH, TWO])
        self.assertEqual(sorted(two.endpoints), [NORTH, ONE])
        for number in range(5):
            one.send(TWO, b"%d" % number)
            two.send(ONE, b"%d" % number)
        self.network.settle()
        self.assertEqual(north.statistics.forwarded_messages, 1)
        numbers = [b"0", b"1", b"2", b"3", b"4"]
        self.assertEqual(self.mail[two].payloads, [b"through the proxy", *numbers])
        self.assertEqual(self.mail[one].payloads, numbers)
        (notice,) = self.notices(north)
        self.assertEqual((notice.target, notice.destination), (TWO, ONE))
        self.assertEqual(notice.addresses, (f"ipv4://10.0.1.{TWO & 255}:1",))
        self.assert_quiet(north, one, two)

    def test_switched_off(self) -> None:
        """
        A proxy that must not tell siblings of each other relays for ever.

        Scenario: CC4
        """
        north, one, _ = self.siblings(direct_notice=False)
        for _ in range(3):
            one.send(TWO, b"x")
            self.network.settle(limits.NOTICE_INTERVAL_SECONDS + 1)
        self.assertEqual(list(one.endpoints), [NORTH])
        self.assertEqual(north.statistics.forwarded_messages, 3)
        self.assertEqual(self.notices(north), [])

    def test_not_wanted(self) -> None:
        """A leaf that takes no notices keeps talking through its proxy; nobody is hurt."""
        _, north, _ = self.proxies()
        one = self.leaf(ONE, listens=True, accept_notices=False)
        self.leaf(TWO, listens=True)
        one.send(TWO, b"x")
        self.network.settle()
        self.assertEqual(list(one.endpoints), [NORTH])
        self.assertEqual(one.statistics.ignored_frames, 1)
        one.send(TWO, b"x")
        self.network.settle()
        self.assertEqual(north.statistics.forwarded_messages, 2)

    def test_repeated_notices_are_limited(self) -> None:
        """
        While the way is not there the pair is told again only now and then.

        Scenario: K25
        """
        north, one, two = self.siblings()
        self.network.unreachable.add(two.addresses[0])
        for _ in range(40):
            one.send(TWO, b"x")
            self.network.settle(0.5)
        seconds = 40 * 0.5
        expected = 1 + int(seconds / limits.NOTICE_INTERVAL_SECONDS)
        self.assertEqual(len(self.notices(north)), expected)
        self.assertEqual(len(self.mail[two].letters), 40)
        self.assertEqual(list(one.endpoints), [NORTH])
        self.network.unreachable.clear()
        self.network.settle(limits.NOTICE_INTERVAL_SECONDS)
        one.send(TWO, b"x")
        self.network.settle()
        self.assertEqual(sorted(one.endpoints), [NORTH, TWO])

    def test_only_between_children(self) -> None:
        """
        Notices are not sent for messages from above, from further below, or for other sources.

        Scenario: K5, K25
        """
        root, north, south = self.proxies()
        one = self.leaf(ONE, listens=True)
        far = self.leaf(SOUTH + 1, listens=True)
        one.send(ROOT, b"x")
        root.send(ONE, b"x")
        one.send(SOUTH + 1, b"x")
        far.send(NORTH, b"x")
        self.network.settle()
        self.assertEqual(self.notices(root, north, south), [])
        self.assertEqual(list(one.endpoints), [NORTH])
        self.assertEqual(list(far.endpoints), [SOUTH])

    def test_only_if_there_is_an_address(self) -> None:
        """
        A sibling that does not listen, or only where the other one cannot reach it, is not told of.

        Scenario: K25
        """
        _, north, _ = self.proxies()
        one, _ = self.leaf(ONE), self.leaf(TWO)
        three = self.leaf(NORTH + 3, listen=["unix:///run/three.sock"], hostname="another host")
        one.send(TWO, b"x")
        one.send(NORTH + 3, b"x")
        self.network.settle()
        self.assertEqual(self.notices(north), [])
        self.assertEqual(self.mail[three].payloads, [b"x"])

    def test_of_several_addresses(self) -> None:
        """
        On the same host a unix address is told, elsewhere one of the network.

        Scenario: K25
        """
        _, north, _ = self.proxies()
        listen = ["ipv4://10.0.1.2:1", "unix:///run/two.sock"]
        here, there = self.leaf(ONE), self.leaf(NORTH + 3, hostname="another host")
        self.leaf(TWO, listen=listen)
        here.send(TWO, b"x")
        there.send(TWO, b"x")
        self.network.settle()
        told = {notice.destination: notice.addresses for notice in self.notices(north)}
        self.assertEqual(told, {ONE: ("unix:///run/two.sock",), NORTH + 3: ("ipv4://10.0.1.2:1",)})

    def test_nobody_elses_notice_is_obeyed(self) -> None:
        """A notice from a peer or a child, or of nonsense, is ignored; nobody is dialled."""
        root, north, south = self.proxies()
        dials = len(self.network.dials)
        upwards = ConnectNotice(source=NORTH, target=SOUTH + 1, addresses=(SOUTH_ADDRESS,))
        self.say_plain(north, root, upwards)
        for addresses in ((), ("nonsense",), ("mem://x",), ("shm://x",)):
            notice = ConnectNotice(source=ROOT, target=SOUTH + 1, addresses=addresses)
            self.say_plain(root, north, notice)
        known = ConnectNotice(source=ROOT, target=NORTH, addresses=(NORTH_ADDRESS,))
        self.say_plain(root, north, known)
        self.assertEqual(len(self.network.dials), dials)
        self.assertEqual(list(north.endpoints), [ROOT])
        self.assertEqual(list(south.endpoints), [ROOT])

    def say_plain(self, node: Node, other: Node, notice: ConnectNotice) -> None:
        """Send a notice by hand; it is not numbered."""
        self.control_channel(node, other).send([codec.encode(notice)])
        self.network.settle(0.2)

    def test_somebody_else_answers(self) -> None:
        """A notice that leads to another node than it says makes no neighbor of that one."""
        root, north, south = self.proxies()
        notice = ConnectNotice(source=ROOT, target=SOUTH + 1, addresses=(SOUTH_ADDRESS,))
        self.say_plain(root, north, notice)
        self.network.settle()
        self.assertEqual(list(north.endpoints), [ROOT])
        self.assertEqual(list(south.endpoints), [ROOT])
