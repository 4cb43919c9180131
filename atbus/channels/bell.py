"""
A doorbell between two processes of which neither can make the other wait.

Reader and writer share the description of whatever one of them hands to the other, with its flags,
and a counter (eventfd) can be filled: a hostile reader could take a writer's promise not to wait
from it and then fill it. So a bell is a pair of unix datagram sockets. The reader keeps the one at
which strokes arrive and gives the other one away; each call says for itself that it does not wait,
which nobody can take back. A stroke that has no room is none too few: others wait to be answered.

Nobody receives at the end that was given away: who else holds it could make that wait.
"""

from __future__ import annotations

import socket
from typing import Final

from atbus.errors import MalformedFrame

_STROKE: Final = b"!"
_NO_WAITING: Final = socket.MSG_DONTWAIT
_RINGING: Final = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class Bell:
    """
    The reader's side of a bell, which makes it.

    :raises OSError: When there is no descriptor for it.
    """

    def __init__(self) -> None:
        self._socket, self._rope = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    def fileno(self) -> int:
        """
        Give the descriptor at which strokes arrive.

        :returns: It; -1 when it is closed.
        """
        return self._socket.fileno()

    @property
    def rope(self) -> int:
        """The descriptor with which the bell is rung, to be sent to the writer; it stays ours."""
        return self._rope.fileno()

    def answer(self) -> bool:
        """
        Take a stroke.

        :returns: Whether there was one.
        """
        try:
            self._socket.recv(1, _NO_WAITING)
        except BlockingIOError:
            return False
        return True

    @property
    def is_rung(self) -> bool:
        """Whether there is a stroke that was not answered yet."""
        try:
            self._socket.recv(1, _NO_WAITING | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Give the descriptors back."""
        self._socket.close()
        self._rope.close()


class Rope:
    """
    The writer's side of a bell.

    :param descriptor: What the reader has sent; owned by this from now on, also when it fails.
    :raises MalformedFrame: When no bell hangs on it: to ring it could do anything.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            self._socket = socket.socket(fileno=descriptor)
        except OSError as error:
            socket.close(descriptor)
            raise MalformedFrame(f"a doorbell that is no socket: {error}") from error
        try:
            self._check()
        except MalformedFrame:
            self._socket.close()
            raise

    def _check(self) -> None:
        kind = (self._socket.family, self._socket.type)
        if kind != (socket.AF_UNIX, socket.SOCK_DGRAM):
            raise MalformedFrame(f"a doorbell that is a socket of {kind[0]!r}, {kind[1]!r}")
        try:
            name = self._socket.getpeername()
        except OSError as error:
            raise MalformedFrame(f"a doorbell that rings nowhere: {error}") from error
        if name:
            raise MalformedFrame("a doorbell that rings at somebody else's")

    def ring(self) -> None:
        """Ring, without waiting whatever the reader has made of the bell."""
        # No room is strokes that were not answered yet. Whatever else is wrong with his bell, or
        # that he is gone, the reader knows himself.
        try:  # noqa: SIM105 - a context costs a third of the stroke
            self._socket.send(_STROKE, _RINGING)
        except OSError:
            pass

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()
