"""
How a connection ends to somebody who is too slow: what his kernel was sent he may still read.

When Twisted gives up what it has not written, it has the kernel forget what that has not sent, and
the other side is told of a reset, for which most systems throw away what had come before. A
nats-server closes its socket, so that a client reads what there was of messages, and then the end.
So the socket gets another descriptor, Twisted closes its own one, and this one is closed as
sockets are. The kernel goes on for a bounded time.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper

#: No time to linger: the kernel closes on its own.
_NO_LINGER: Final = struct.pack("ii", 0, 0)

_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)


def keep_socket(transport: Any) -> socket.socket | None:
    """
    Keep the socket of a connection that is about to be aborted.

    :param transport: A transport of TCP, perhaps below TLS and other protocols.
    :returns: For `let_go`, when the connection is lost; None where it is no socket, or there is no
        room for another descriptor: then it is reset.
    """
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if not isinstance(transport, Connection) or not transport.connected:
        return None
    try:
        return transport.socket.dup()
    except OSError:
        return None


def let_go(kept: socket.socket | None, seconds: float) -> None:
    """
    Close a socket that was kept; its kernel delivers what it has.

    :param kept: It, or none.
    :param seconds: How long the other side may take nothing of that; then it is reset (on Linux,
        elsewhere after the time of the system).
    """
    if kept is None:
        return
    with kept:
        try:
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            if _USER_TIMEOUT is not None:
                kept.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, max(1, int(seconds * 1000)))
        except OSError:
            # It is gone already.
            return
