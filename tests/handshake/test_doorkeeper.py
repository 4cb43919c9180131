"""Strangers at the door: how many, how fast, and who is not listened to."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.handshake import bounds
from atbus.handshake.doorkeeper import Doorkeeper, account_of, is_here, of_the_most, origin_of

HERE, THERE = "192.0.2.1", "192.0.2.2"


class OriginTests(SynchronousTestCase):
    def test_where_somebody_comes_from(self) -> None:
        """An address without its port; who is on this host has none that could be counted."""
        for peer, origin in (
            ("ipv4://192.0.2.1:40712", "192.0.2.1"),
            ("tls+ipv4://192.0.2.1:1", "192.0.2.1"),
            ("ipv6://[2001:db8::1]:5", "2001:db8::/64"),
            ("ipv6://2001:db8::1:5", "2001:db8::/64"),
            ("tls+ipv6://[2001:db8:0:1:2:3:4:5]:5", "2001:db8:0:1::/64"),
            ("ipv6://[fe80::1%eth0]:5", "fe80::1%eth0"),
            ("ipv6://[fe80::2%eth0]:5", "fe80::2%eth0"),
            ("ipv4://127.0.0.1:40712", ""),
            ("tls+ipv6://::1:9", ""),
            ("unix:pid=12,uid=0", ""),
            ("mem:0x5", ""),
            ("", ""),
        ):
            self.assertEqual(origin_of(peer), origin, peer)
            self.assertEqual(is_here(account_of(peer)), not origin, peer)

    def test_whose_account(self) -> None:
        """Of this host each address has its own; what is no address has none."""
        for peer, account in (
            ("ipv4://127.0.0.1:40712", "127.0.0.1"),
            ("tls+ipv4://127.0.0.2:9", "127.0.0.2"),
            ("tls+ipv6://::1:9", "::1"),
            ("ipv6://[2001:db8::1]:5", "2001:db8::/64"),
            ("unix:pid=12,uid=0", ""),
        ):
            self.assertEqual(account_of(peer), account, peer)

    def test_who_gives_way(self) -> None:
        """Those of the account with the most places, the oldest first."""
        self.assertEqual(of_the_most({1: "a", 2: "b", 3: "b", 4: "a", 5: "b"}), [2, 3, 5])
        self.assertEqual(of_the_most(dict.fromkeys((3, 1, 2), "")), [3, 1, 2])
        self.assertEqual(of_the_most({}), [])


class DoorkeeperTests(SynchronousTestCase):
    def let_in(self, keeper: Doorkeeper, now: float, *accounts: str) -> int:
        """Have 1,000 come, in turn from these accounts; gives how many may begin."""
        comers = itertools.islice(itertools.cycle(accounts), 1_000)
        return sum(keeper.refuses(account, now) is None for account in comers)

    def test_so_many_in_a_second(self) -> None:
        """As many as may come in a second may come at once, and then the rest as time goes by."""
        most = limits.HANDSHAKES_PER_SECOND
        for accounts in ([""], [f"127.0.0.{n}" for n in range(4)]):
            keeper = Doorkeeper(local_per_second=most)
            for each in accounts:
                keeper.registered(each)
            self.assertEqual(self.let_in(keeper, 10.0, *accounts), most)
            self.assertIn("in a second", keeper.refuses(accounts[0], 10.0) or "")
            self.assertEqual(self.let_in(keeper, 10.5, *accounts), most // 2)
            self.assertEqual(self.let_in(keeper, 1000.0, *accounts), most)

    def test_one_address_leaves_room(self) -> None:
        """
        A stranger has his share and no more. From where a node has registered all may come that
        nobody else wants; half of a second's worth is left for others at any moment, of which the
        last part is for who has registered as well.
        """
        keeper, most = Doorkeeper(), limits.HANDSHAKES_PER_SECOND
        share = bounds.HANDSHAKES_PER_ADDRESS_PER_SECOND
        for second in range(3):
            self.assertEqual(self.let_in(keeper, 10.0 + second, HERE), share)
        self.assertIn(f"{HERE}: more than 300 conn", keeper.refuses(HERE, 12.0) or "")
        keeper.registered(HERE)
        kept = round(most * bounds.KEPT_FOR_OTHERS)
        last = round(most * bounds.KEPT_FOR_KNOWN)
        self.assertEqual(self.let_in(keeper, 12.0, HERE), most - share - kept)
        self.assertEqual(self.let_in(keeper, 13.0, HERE), most - kept)
        self.assertEqual(self.let_in(keeper, 13.5, HERE), most // 2)
        self.assertLess(kept - last, share)
        self.assertEqual(self.let_in(keeper, 13.5, THERE), kept - last)
        keeper.registered("127.0.0.1")
        self.assertEqual(self.let_in(keeper, 13.5, "127.0.0.1"), last)

    def test_who_comes_without_a_network(self) -> None:
        """Whatever comes over the network, who comes by another way may begin, and vice versa."""
        keeper, most = Doorkeeper(), bounds.LOCAL_HANDSHAKES_PER_SECOND
        for number in range(1_000):
            keeper.refuses(f"192.0.2.{number}", 1.0)
        self.assertEqual(keeper.local_room(1.0), most)
        self.assertEqual(self.let_in(keeper, 1.0, ""), min(most, 1_000))
        self.assertEqual(keeper.local_room(1.0), most - 1_000)
        self.assertEqual(keeper.local_room(1.5), most // 2)
        keeper = Doorkeeper()
        self.let_in(keeper, 1.0, "")
        self.assertIsNone(keeper.refuses(HERE, 1.0))

    def test_who_has_registered_before(self) -> None:
        """What any number of strange addresses leave is for those that were good."""
        keeper = Doorkeeper()
        keeper.registered(THERE)
        for second in range(5):
            crowd = [f"198.51.100.{number}" for number in range(1_000)]
            self.assertGreater(self.let_in(keeper, float(second), *crowd), 0)
            kept = round(limits.HANDSHAKES_PER_SECOND * bounds.KEPT_FOR_KNOWN)
            if second == 4:
                self.assertEqual(self.let_in(keeper, float(second), HERE), 0)
                self.assertEqual(self.let_in(keeper, float(second), THERE), kept)

    def test_a_look_counts_nobody(self) -> None:
        """Whom the door turns away is told before; who is not is counted once."""
        keeper = Doorkeeper()
        for _ in range(1_000):
            self.assertIsNone(keeper.refusal(HERE, 1.0))
        share = bounds.HANDSHAKES_PER_ADDRESS_PER_SECOND
        self.assertEqual(self.let_in(keeper, 1.0, HERE), share)
        self.assertEqual(keeper.refusal(HERE, 1.0), keeper.refuses(HERE, 1.0))

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
            keeper.bad_handshake("", float(minute))
            self.assertIsNone(keeper.refuses("", float(minute)))
        self.assertIsNone(keeper.refuses(HERE, 800.0))

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
        for number in range(3 * bounds.KNOWN_ADDRESSES_MAX):
            keeper.registered(f"host {number}")
            keeper.refuses(f"host {number}", 1.0)
        self.assertEqual(len(keeper._known), bounds.KNOWN_ADDRESSES_MAX)
        self.assertLessEqual(len(keeper._shares), limits.LOG_SUBJECTS_MAX)
        for number in range(3 * limits.LOG_SUBJECTS_MAX):
            for _ in range(limits.BREACHES_PER_MINUTE + 1):
                keeper.breach(f"host {number}", 1.0)
        self.assertLessEqual(len(keeper._banned), limits.LOG_SUBJECTS_MAX)
        self.assertLessEqual(len(keeper._breaches._times), limits.LOG_SUBJECTS_MAX)
