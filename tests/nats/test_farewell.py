"""The end of a connection to somebody who is too slow; with clients it is in other tests."""

from __future__ import annotations

import socket
import struct

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.farewell import keep_socket, let_go


class FarewellTests(SynchronousTestCase):
    """Sockets that were to be reset."""

    def test_what_is_kept_is_closed_as_usual(self) -> None:
        """It does not reset any more, and the kernel goes on for the given time at most."""
        with socket.create_server(("127.0.0.1", 0)) as port:
            own = socket.create_connection(port.getsockname())
        self.addCleanup(own.close)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        kept = own.dup()
        let_go(kept, 0.5)
        self.assertEqual(kept.fileno(), -1)
        lingers = own.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        self.assertEqual(struct.unpack("ii", lingers)[0], 0)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            timeout = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            self.assertEqual(timeout, 500)

    def test_what_is_no_socket(self) -> None:
        """Nothing is kept of a transport that has none, and nothing is let go."""
        transport = StringTransport()
        self.assertIsNone(keep_socket(transport))
        let_go(None, 1.0)
