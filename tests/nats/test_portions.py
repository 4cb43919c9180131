"""What was read of clients and servers is dealt with in portions, and others come in between."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats.portions import Portions
from tests.nats.harbor import HarborTests
from tests.nats.test_routes import RouteCase
from tests.nats.transcripts import QUIET

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


class ClientTests(HarborTests):
    """A client that says very much at once, where dealing with it takes too long for a turn."""

    def setUp(self) -> None:
        super().setUp()
        self.gate = self.alone()
        self.talker, self.other = self.caller(self.gate), self.caller(self.gate)
        for each in (self.talker, self.other):
            each.says(QUIET + _PING)
            self.assertEqual(each.hears(), _PONG)
        # Each portion has taken longer than a turn may.
        self.patch(bounds, "READ_SECONDS", -1.0)

    def test_others_come_in_between(self) -> None:
        """The rest waits for the next turns, and nothing more is read until it is dealt with."""
        self.talker.says(_PING * 3_000)
        self.assertTrue(self.talker.is_unread)
        heard = self.talker.hears().count(_PONG)
        self.assertLessEqual(heard, bounds.PORTION_LINES)
        self.assertGreater(heard, 0)
        self.other.says(_PING)
        self.assertEqual(self.other.hears(), _PONG)
        # TLS may have more of it nevertheless.
        self.talker.says(b"PUB a 1\r\n-\r\n")
        self.talker.says(_PING)
        self.network.settle(0.1)
        self.assertFalse(self.talker.is_unread)
        self.assertEqual(self.talker.hears().count(_PONG), 3_001 - heard)

    def test_order_and_payloads(self) -> None:
        """Messages arrive whole and in order, also those that a portion ends in."""
        self.other.says(b"SUB a 1\r\n")
        payloads = [b"\n" * (place % 700) for place in range(300)]
        said = [b"PUB a %d\r\n%b\r\n" % (len(payload), payload) for payload in payloads]
        self.talker.says(b"".join(said))
        self.assertTrue(self.talker.is_unread)
        self.network.settle(0.5)
        heard = [b"MSG a 1 %d\r\n%b\r\n" % (len(payload), payload) for payload in payloads]
        self.assertTrue(self.other.hears() == b"".join(heard))

    def test_who_hangs_up_meanwhile(self) -> None:
        """Who is gone is heard no more; the next one is."""
        self.other.says(b"SUB a 1\r\n")
        self.talker.says(b"PUB a 1\r\n-\r\n" * 3_000)
        self.talker.hangs_up()
        self.network.settle(0.5)
        self.assertLessEqual(self.other.hears().count(b"MSG"), bounds.PORTION_LINES)
        self.other.says(_PING)
        self.assertEqual(self.other.hears(), _PONG)

    def test_a_fault_in_the_middle(self) -> None:
        """Nothing is heard behind what nobody understands."""
        self.talker.says(_PING * 600 + b"WHAT\r\n" + _PING * 600)
        self.network.settle(0.5)
        heard = self.talker.hears()
        self.assertEqual(heard.count(_PONG), 600)
        self.assertIn(b"-ERR 'Unknown Protocol Operation'", heard)
        self.assertTrue(self.talker.is_gone)


class SlowedDownTests(HarborTests):
    """A publisher whose subscriber is behind, and who has said more than a portion."""

    def test_a_moment_for_each_portion(self) -> None:
        """He is dealt with on after a moment, not at once; nothing is lost."""
        gateway = self.alone(pending_bytes_max=100_000)
        slow, publisher = self.caller(gateway), self.caller(gateway)
        slow.says(QUIET + b"SUB a 1\r\n")
        publisher.says(QUIET)
        slow.is_deaf = True
        publisher.says(b"PUB a 1000\r\n%b\r\n" % bytes(1_000))
        publisher.says(b"PUB a 1000\r\n%b\r\n" % (b"\n" * 1_000) * 85)
        self.assertTrue(publisher.is_unread)
        slow.listens()
        for _ in range(2_000):
            if not publisher.is_unread:
                break
            self.network.settle(bounds.STALL_SECONDS)
        self.assertFalse(publisher.is_unread)
        self.assertEqual(slow.hears().count(b"MSG a 1 1000\r\n"), 86)


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
