"""Under which addresses this host can be reached."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.hosts import ANYWHERE, hosts_at


class HostsTests(SynchronousTestCase):
    """Of the machine on which the test runs."""

    def test_somewhere(self) -> None:
        """What listens at one address is reached there."""
        for host in ("127.0.0.1", "10.0.0.1", "::1", "bus.example"):
            self.assertEqual(hosts_at(host), (host,))

    def test_everywhere(self) -> None:
        """Each address is one of this host, and loopback only if there is no other."""
        for host in ANYWHERE:
            found = hosts_at(host)
            self.assertEqual(len({*found}), len(found))
            self.assertNotEqual(found, ())
            self.assertNotIn(True, [ip_address(each).is_link_local for each in found])
            loopback = [each for each in found if ip_address(each).is_loopback]
            self.assertIn(len(loopback), (0, len(found)))
            for each in found:
                # One of IPv6 may be on trial yet.
                if ":" not in each:
                    with socket.socket() as listening:
                        listening.bind((each, 0))
