"""
How long somebody may take nothing of what waits for him.

Who is slow, but moves, is served; so what counts is each byte that he has taken. A transport does
not tell of these: the kernel takes some megabytes at once, and then nothing until a third of them
has gone, though the other side may read all the time. So its kernel is asked what has been
acknowledged.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper

#: How often it is looked meanwhile: who stops is given up after five quarters of the time at most.
LOOKS: Final = 4

# In Linux's struct tcp_info, since 4.2: tcpi_bytes_acked.
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")


def taken_bytes(transport: Any) -> int:
    """
    Tell how much of what it was sent the other side has taken: what its kernel has acknowledged.

    :param transport: A transport of TCP, perhaps below TLS and other protocols.
    :returns: Bytes since the connection began; 0 where the kernel does not tell.
    """
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    if sys.platform != "linux" or not isinstance(transport, Connection):
        return 0
    # Not its handle, which is OpenSSL's where TLS has begun behind INFO.
    told = transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
    return int(_ACKNOWLEDGED.unpack(told)[0]) if len(told) == _ACKNOWLEDGED.size else 0


class WriteDeadline:
    """
    Gives somebody up who takes nothing for too long.

    :param timers: The clock.
    :param seconds: How long he may take nothing.
    :param taken: Tells how much he has taken; only whether that changes counts.
    :param give_up: Called when he has not for so long.
    """

    __slots__ = ("_call", "_give_up", "_moved", "_taken", "_timers", "_took", "_until", "seconds")

    def __init__(
        self,
        timers: Any,
        seconds: float,
        taken: Callable[[], int],
        give_up: Callable[[], None],
    ) -> None:
        self._timers = timers
        #: How long he may take nothing; what is longer or shorter counts from the next look on.
        self.seconds = seconds
        self._taken = taken
        self._give_up = give_up
        self._call: IDelayedCall | None = None
        # What had been taken when that was last looked at, and when it was seen to have changed.
        self._took = 0
        self._moved = 0.0
        # When it is over, whatever moves.
        self._until: float | None = None

    def begin(self) -> None:
        """Something waits for him; nothing is different if something did already."""
        if self._call is None:
            self._took, self._moved = self._taken(), self._timers.seconds()
            self._wait(self._moved)

    def limit(self) -> None:
        """Whatever he takes, all of it has to be taken in the time that he may take nothing."""
        now = self._timers.seconds()
        self._until = now + self.seconds
        self.begin()

    def end(self) -> None:
        """Nothing waits for him any more, but perhaps the end of the connection."""
        if self._until is None:
            self.stop()
        else:
            self._moved = self._timers.seconds()

    def stop(self) -> None:
        """Nothing is waited for any more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _due(self) -> float:
        due = self._moved + self.seconds
        return due if self._until is None else min(due, self._until)

    def _wait(self, now: float) -> None:
        seconds = min(self._due() - now, self.seconds / LOOKS)
        self._call = self._timers.callLater(seconds, self._look)

    def _look(self) -> None:
        self._call = None
        now, took = self._timers.seconds(), self._taken()
        if took != self._took:
            self._took, self._moved = took, now
        if now >= self._due():
            self._give_up()
        else:
            self._wait(now)
