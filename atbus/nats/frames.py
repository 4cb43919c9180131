"""
Frames of WebSocket (RFC 6455) into what a client sends, and back.

What is in a frame is given as it comes: where a frame or a message ends means nothing, so nobody
has to wait for that, and nothing is kept until then but a header or a control frame, which are
short. Frames are read in portions, since one of seven bytes costs as much as any.
"""

from __future__ import annotations

from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from atbus.nats import bounds
from atbus.nats.faults import Reason

_BINARY: Final = b"\x82"
#: What a frame says of its length where that is in two bytes behind it, and in eight.
_SHORT, _IN_TWO, _IN_EIGHT = 125, b"\x7e", b"\x7f"

#: As nats-server has it, but for those of which the standard says that nobody is told of them.
_CODES: Final = {
    Reason.CLIENT_CLOSED: CloseReason.NORMAL_CLOSURE,
    Reason.AUTHENTICATION_TIMEOUT: CloseReason.POLICY_VIOLATION,
    Reason.AUTHENTICATION_VIOLATION: CloseReason.POLICY_VIOLATION,
    Reason.AUTHENTICATION_EXPIRED: CloseReason.POLICY_VIOLATION,
    Reason.REVOKED: CloseReason.POLICY_VIOLATION,
    Reason.CONNECTIONS_MAX: CloseReason.POLICY_VIOLATION,
    Reason.LINE_MAX: CloseReason.POLICY_VIOLATION,
    Reason.PARSE_ERROR: CloseReason.PROTOCOL_ERROR,
    Reason.PROTOCOL_VIOLATION: CloseReason.PROTOCOL_ERROR,
    Reason.PROTOCOL_VERSION: CloseReason.PROTOCOL_ERROR,
    Reason.PAYLOAD_MAX: CloseReason.MESSAGE_TOO_BIG,
    Reason.SHUTDOWN: CloseReason.GOING_AWAY,
    Reason.STALE: CloseReason.GOING_AWAY,
}


def framed(data: bytes) -> bytes:
    """
    Make one message of bytes.

    :param data: What is in it.
    :returns: Its frame, without a mask, as a server sends it.
    """
    size = len(data)
    if size <= _SHORT:
        return b"%b%c%b" % (_BINARY, size, data)
    if size < 1 << 16:
        return b"".join((_BINARY, _IN_TWO, size.to_bytes(2, "big"), data))
    return b"".join((_BINARY, _IN_EIGHT, size.to_bytes(8, "big"), data))


class Frames:
    """What one client sends in frames."""

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._ending: CloseConnection | None = None
        #: Whether `take` may find something.
        self.is_unread = False
        #: Frames that answer what was taken, and are to be sent.
        self.answers: list[bytes] = []
        #: Why nothing more is taken: the client has closed, or what it sends are no frames.
        self.ended: Reason | None = None

    def add(self, data: bytes) -> None:
        """
        Put what was read behind what is not taken yet.

        :param data: Any piece of it.
        """
        if self.ended is None:
            self._connection.receive_data(data)
            self.is_unread = True

    def take(self) -> bytes:
        """
        Take what is in the next frames, and in what has come of one that is not complete.

        :returns: What is in `bounds.PORTION_FRAMES` at most; where there may be more than that,
            it `is_unread`. It comes before what has `ended` the frames.
        """
        found: list[bytes] = []
        left = bounds.PORTION_FRAMES
        for event in self._connection.events():
            self._note(event, found)
            left -= 1
            if not left or self.ended is not None:
                break
        self.is_unread = not left and self.ended is None
        return found[0] if len(found) == 1 else b"".join(found)

    def _note(self, event: Event, found: list[bytes]) -> None:
        match event:
            case BytesMessage(data=data):
                found.append(bytes(data))
            case TextMessage(data=text):
                # Not what it should send, but what is in it is clear.
                found.append(text.encode())
            case Ping():
                self.answers.append(bytes(self._connection.send(event.response())))
            case CloseConnection():
                # Without a frame of that kind it is about a frame that is none.
                is_asked = self._connection.state is not ConnectionState.OPEN
                self.ended = Reason.CLIENT_CLOSED if is_asked else Reason.PROTOCOL_VIOLATION
                self._ending = event.response()

    def end(self, reason: Reason) -> bytes:
        """
        Write the last frame, once.

        :param reason: Why the connection ends; what the client itself has closed with comes first.
        :returns: The frame.
        """
        code = _CODES.get(reason, CloseReason.INTERNAL_ERROR)
        ending = self._ending or CloseConnection(code, reason.value)
        return bytes(self._connection.send(ending))
