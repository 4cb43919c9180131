"""What becomes of tests where the servers that they need are missing."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.interop import etcd_server, zookeeper_server


class MissingServerTests(SynchronousTestCase):
    """A machine without etcd."""

    def test_a_missing_server_is_a_skip(self) -> None:
        """Its tests are skipped, with a reason that says what to install."""
        self.patch(etcd_server, "BINARY", None)
        self.patch(os, "environ", {})
        skipped = self.assertRaises(SkipTest, etcd_server.require_etcd)
        self.assertIn("etcd-server", str(skipped))

    def test_a_server_that_has_to_be_there(self) -> None:
        """Where the servers are required, a missing one is a failure."""
        self.patch(etcd_server, "BINARY", None)
        self.patch(os, "environ", {"ATBUS_REQUIRE_SERVERS": "1"})
        self.assertRaises(AssertionError, etcd_server.require_etcd)

    def test_ports_are_different(self) -> None:
        """As many free ports as are asked for, none twice, and none that the system gives away."""
        ports = etcd_server.free_ports(6)
        self.assertEqual(len(set(ports)), 6)
        with socket.socket() as any_port:
            any_port.bind(("127.0.0.1", 0))
            self.assertNotIn(any_port.getsockname()[1], ports)


class MissingZooKeeperTests(SynchronousTestCase):
    """A machine without ZooKeeper."""

    def test_a_missing_server_is_a_skip(self) -> None:
        """Its tests are skipped, with a reason that says what to install."""
        self.patch(zookeeper_server, "JAVA", None)
        self.patch(os, "environ", {})
        skipped = self.assertRaises(SkipTest, zookeeper_server.require_zookeeper)
        self.assertIn("apt-get install zookeeper", str(skipped))

    def test_a_server_that_has_to_be_there(self) -> None:
        """Where the servers are required, a missing one is a failure."""
        self.patch(zookeeper_server, "JAVA", None)
        self.patch(os, "environ", {"ATBUS_REQUIRE_SERVERS": "1"})
        self.assertRaises(AssertionError, zookeeper_server.require_zookeeper)
