"""How servers of ZooKeeper are named."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.zookeeper.options import SessionOptions, read_server


class ServerTests(SynchronousTestCase):
    """One server."""

    def test_a_server_has_a_port(self) -> None:
        """Where none is given it is that of ZooKeeper."""
        cases = {
            "10.0.0.1:2182": "10.0.0.1:2182",
            "zoo-1.example": "zoo-1.example:2181",
            "[::1]:2182": "[::1]:2182",
            "[fe80::1%eth0]": "[fe80::1%eth0]:2181",
        }
        for text, expected in cases.items():
            self.assertEqual(read_server(text), expected)

    def test_anything_else_is_refused(self) -> None:
        """What is no host with a port is named; a list of them, or a path behind it, is none."""
        for text in (
            *("", ":2181", "a:", "a:0", "a:65536", "a:x", "a:-1", "a:99999999999", "a:\u0662"),
            *("a,b", "a/chroot", "a:1/x", "user@host", "[::1", "[::1]2181", "::1", "a b"),
        ):
            self.assertRaises(ValueError, read_server, text)

    def test_a_password_is_not_shown(self) -> None:
        """What is shown of the options contains no password."""
        options = SessionOptions(servers=("a:1",), user="me", password="geheim")
        self.assertNotIn("geheim", repr(options))
