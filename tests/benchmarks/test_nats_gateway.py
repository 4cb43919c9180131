"""The clients that measure the gateway lose nothing of what they hear."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.nats_gateway import Peer


class PeerTests(SynchronousTestCase):
    def test_lines_and_bytes_in_turn(self) -> None:
        """What comes in one piece is taken in the pieces that are asked for."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            near = socket.create_connection(("127.0.0.1", port))
            far, _ = listening.accept()
            with near, far:
                far.sendall(b"INFO {} \r\nMSG a 1 2\r\nhi\r\nPONG\r\n")
                peer = Peer.__new__(Peer)
                peer.socket, peer._buffer = near, b""
                self.assertEqual(peer.line(), b"INFO {} ")
                self.assertEqual(peer.line(), b"MSG a 1 2")
                peer.take(4)
                self.assertEqual(peer.line(), b"PONG")
                far.sendall(b"PING\r\nMSG a 1 box 2\r\n")
                self.assertEqual(peer.line(), b"MSG a 1 box 2")
                self.assertEqual(far.recv(64), b"PONG\r\n")
