"""Strangers at the door: how many, how fast, and who is not listened to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.handshake import bounds
from atbus.handshake.doorkeeper import Doorkeeper, origin_of

HERE, THERE = "192.0.2.1", "192.0.2.2"


class OriginTests(SynchronousTestCase):
    def test_where_somebody_comes_from(self) -> None:
        """An address without its port; who is on this host has none that could be counted."""
        for peer, origin in (
            ("ipv4://192.0.2.1:40712", "192.0.2.1"),
            ("tls+ipv4://192.0.2.1:1", "192.0.2.1"),
            ("ipv6://[2001:db8::1]:5", "[2001:db8::1]"),
            ("ipv6://2001:db8::1:5", "2001:db8::1"),
            ("ipv4://127.0.0.1:40712", ""),
            ("tls+ipv6://::1:9", ""),
            ("unix:pid=12,uid=0", ""),
            ("mem:0x5", ""),
            ("", ""),
        ):
            self.assertEqual(origin_of(peer), origin, peer)


class DoorkeeperTests(SynchronousTestCase):
    def test_so_many_in_a_second(self) -> None:
        """As many as may come in a second may come at once, and then the rest as time goes by."""
        keeper = Doorkeeper()
        let_in = sum(keeper.refuses(HERE, 10.0) is None for _ in range(1000))
        self.assertEqual(let_in, limits.HANDSHAKES_PER_SECOND)
        self.assertIn("in a second", keeper.refuses("", 10.0) or "")
        let_in = sum(keeper.refuses("", 10.5) is None for _ in range(1000))
        self.assertEqual(let_in, limits.HANDSHAKES_PER_SECOND // 2)
        let_in = sum(keeper.refuses(THERE, 1000.0) is None for _ in range(1000))
        self.assertEqual(let_in, limits.HANDSHAKES_PER_SECOND)

    def test_who_breaks_the_protocol(self) -> None:
        """Five breaches in a minute, and an address is not listened to for a minute."""
        keeper = Doorkeeper()
        for second in range(limits.BREACHES_PER_MINUTE - 1):
            keeper.breach(HERE, float(second))
        self.assertIsNone(keeper.refuses(HERE, 5.0))
        keeper.breach(HERE, 6.0)
        self.assertIn("too often", keeper.refuses(HERE, 7.0) or "")
        self.assertIsNone(keeper.refuses(THERE, 7.0))
        self.assertIn("too often", keeper.refuses(HERE, 65.9) or "")
        self.assertIsNone(keeper.refuses(HERE, 66.0))

    def test_breaches_now_and_then(self) -> None:
        """What is seldom is forgiven for ever, and who is on this host is never banned."""
        keeper = Doorkeeper()
        for minute in range(50):
            keeper.breach(HERE, 16.0 * minute)
            keeper.breach("", float(minute))
        self.assertIsNone(keeper.refuses(HERE, 800.0))
        self.assertIsNone(keeper.refuses("", 800.0))

    def test_tls_for_nothing(self) -> None:
        """
        Thirty TLS handshakes in a minute that come to nothing, and an address is not listened to;
        breaches of the protocol are counted apart.
        """
        keeper = Doorkeeper()
        for number in range(bounds.BAD_HANDSHAKES_PER_MINUTE - 1):
            keeper.bad_handshake(HERE, float(number))
            keeper.bad_handshake("", float(number))
        for _ in range(limits.BREACHES_PER_MINUTE - 1):
            keeper.breach(HERE, 29.0)
        self.assertIsNone(keeper.refuses(HERE, 29.0))
        keeper.bad_handshake(HERE, 59.0)
        self.assertIn("for nothing", keeper.refuses(HERE, 60.0) or "")
        self.assertIsNone(keeper.refuses(THERE, 60.0))
        self.assertIsNone(keeper.refuses(HERE, 59.0 + limits.BAN_SECONDS))

    def test_a_host_with_an_old_certificate(self) -> None:
        """Ten nodes that dial in vain twice a minute do not keep others of their host out."""
        keeper = Doorkeeper()
        for turn in range(100):
            for node in range(10):
                keeper.bad_handshake(HERE, 30.0 * turn + node)
            self.assertIsNone(keeper.refuses(HERE, 30.0 * turn + 10))

    def test_how_much_is_remembered(self) -> None:
        """Any number of addresses that break the protocol cost bounded memory."""
        keeper = Doorkeeper()
        for number in range(3 * limits.LOG_SUBJECTS_MAX):
            for _ in range(limits.BREACHES_PER_MINUTE + 1):
                keeper.breach(f"host {number}", 1.0)
        self.assertLessEqual(len(keeper._banned), limits.LOG_SUBJECTS_MAX)
        self.assertLessEqual(len(keeper._breaches._times), limits.LOG_SUBJECTS_MAX)
