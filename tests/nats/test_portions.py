"""Much that was read at once is dealt with in portions, and others come in between."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats.portions import Portions
from tests.nats.harbor import HarborTests
from tests.nats.test_routes import RouteCase
from tests.nats.transcripts import EOF, QUIET

_PING, _PONG = b"PING\r\n", b"PONG\r\n"


class PortionsTests(SynchronousTestCase):
    """One connection's portions."""

    def portions(self, *reads: bytes) -> list[bytes]:
        """Cut what was read."""
        unread = Portions()
        for data in reads:
            unread.add(data)
        found = []
        while unread:
            found.append(unread.take())
        self.assertEqual(unread.take(), b"")
        self.assertEqual(b"".join(found), b"".join(reads))
        return found

    def test_few_lines(self) -> None:
        """What has few lines is one portion, however long, and is not copied."""
        data = bytes(1_000_000) + b"\n" * bounds.PORTION_LINES
        [portion] = self.portions(data)
        self.assertIs(portion, data)
        self.assertEqual(self.portions(b""), [])
        self.assertEqual(self.portions(b"a\nb", b"c\n", b"d"), [b"a\nbc\nd"])

    def test_many_lines(self) -> None:
        """No portion ends more lines than the bound, wherever they are."""
        for data in (
            b"\n" * (bounds.PORTION_LINES + 1),
            _PING * 20_000,
            b"\n" * 3_000 + bytes(200_000),
            bytes(200_000) + b"\n" * 3_000,
            b"x" * 50_000 + _PING * 999 + b"x" * 50_000,
        ):
            found = self.portions(data[:7], data[7:])
            self.assertGreater(len(found), 1)
            self.assertLess(len(found), 200)
            for portion in found:
                self.assertLessEqual(portion.count(b"\n"), bounds.PORTION_LINES)

    def test_what_comes_meanwhile(self) -> None:
        """What is read while something is left stands behind it; what is forgotten is gone."""
        unread = Portions()
        unread.add(b"\n" * 700)
        first = unread.take()
        unread.add(b"end")
        rest = b""
        while unread:
            rest += unread.take()
        self.assertEqual(first + rest, b"\n" * 700 + b"end")
        unread.add(b"\n" * 700)
        unread.take()
        unread.clear()
        self.assertFalse(unread)
        self.assertEqual(unread.take(), b"")


class ServerTests(RouteCase):
    """A server that says very much at once."""

    def test_others_come_in_between(self) -> None:
        """Its interest is taken in portions, in order, and its words behind that after it."""
        gateway = self.open()
        server, client = self.joins(gateway, "A"), self.caller(gateway)
        server.hears()
        client.says(QUIET)
        self.patch(bounds, "READ_SECONDS", -1.0)
        many = [b"RS+ $G a.%d\r\n" % number for number in range(3_000)]
        server.says(b"".join(many) + b"RS- $G a.0\r\nPING\r\n")
        self.assertTrue(server.is_unread)
        client.says(_PING)
        self.assertEqual(client.hears(), _PONG)
        assert gateway.routes is not None
        [link] = gateway.routes.links
        self.assertLessEqual(len(link.interests), bounds.PORTION_LINES)
        self.network.settle(0.5)
        self.assertFalse(server.is_unread)
        self.assertEqual(len(link.interests), 2_999)
        self.assertIn(_PONG, server.hears())

    def test_one_that_is_lost_meanwhile(self) -> None:
        """Of who is gone nothing is dealt with any more."""
        gateway = self.open()
        server = self.joins(gateway, "A")
        self.patch(bounds, "READ_SECONDS", -1.0)
        server.says(b"RS+ $G a\r\n" * 2_000)
        server.hangs_up()
        self.network.settle(0.5)
        self.assertEqual(self.members(gateway), set())


class ClientTests(HarborTests):
    """A client that says very much at once."""

    def setUp(self) -> None:
        super().setUp()
        self.door = self.alone(pending_bytes_max=200_000)
        self.talker, self.other = self.caller(self.door), self.caller(self.door)
        for each in (self.talker, self.other):
            each.says(QUIET)
        self.patch(bounds, "READ_SECONDS", -1.0)

    def test_others_come_in_between(self) -> None:
        """It is dealt with in portions, in order, and read no further until all is done."""
        many = [b"SUB a.%d %d\r\n" % (number, number) for number in range(2_000)]
        self.talker.says(b"".join(many) + b"PUB a.1999 0\r\n\r\nPI")
        self.assertTrue(self.talker.is_unread)
        [client] = [each for each in self.door.clients.values() if each.attached]
        self.assertEqual(len(client.attached), bounds.PORTION_OPERATIONS)
        # What TLS or WebSocket had on its way already.
        self.talker.says(b"NG\r\nUNSUB")
        self.talker.says(b" 0\r\n")
        self.other.says(_PING)
        self.assertEqual(self.other.hears(), _PONG)
        self.assertEqual(len(client.attached), bounds.PORTION_OPERATIONS)
        self.network.settle(0.1)
        self.assertFalse(self.talker.is_unread)
        self.assertEqual(self.talker.hears(), b"MSG a.1999 1999 0\r\n\r\n" + _PONG)
        self.assertEqual(len(client.attached), 1_999)

    def test_there_is_time_for_all_of_it(self) -> None:
        """What takes no longer than it may is dealt with at once."""
        self.patch(bounds, "READ_SECONDS", 60.0)
        self.talker.says(_PING * 5_000)
        self.assertFalse(self.talker.is_unread)
        self.assertEqual(self.talker.hears(), _PONG * 5_000)

    def test_one_that_is_lost_meanwhile(self) -> None:
        """Of who is gone nothing is dealt with any more."""
        self.other.says(b"SUB a 1\r\n")
        self.talker.says(b"PUB a 1\r\nx\r\nPING\r\n" * 2_000)
        self.talker.says(_PING)
        self.talker.hangs_up()
        self.network.settle(0.5)
        self.assertEqual(self.other.hears().count(b"MSG"), bounds.PORTION_OPERATIONS // 2)
        self.assertEqual(len(self.door.clients), 1)

    def test_one_that_is_closed_meanwhile(self) -> None:
        """A fault in what is left is told, and what is behind it is nothing any more."""
        self.talker.says(_PING * 600 + b"FOO\r\n")
        self.talker.says(_PING)
        self.network.settle(0.5)
        heard = self.talker.hears()
        self.assertEqual(heard.count(_PONG), 600)
        self.assertTrue(heard.endswith(b"-ERR 'Unknown Protocol Operation'\r\n" + EOF), heard)

    def test_a_publisher_that_is_slowed_down(self) -> None:
        """Who has more to say than its subscribers take goes on when it is its turn again."""
        self.other.says(b"SUB a 1\r\n")
        self.talker.says(b"PUB a 1\r\nx\r\n")
        self.other.is_deaf = True
        self.talker.says(b"PUB a 300\r\n%b\r\nPING\r\n" % bytes(300) * 600)
        self.assertTrue(self.talker.is_unread)
        self.other.listens()
        self.network.settle(0.5)
        self.assertFalse(self.talker.is_unread)
        self.assertEqual(self.other.hears().count(b"MSG a 1 300"), 600)
        self.assertEqual(self.talker.hears(), _PONG * 600)
