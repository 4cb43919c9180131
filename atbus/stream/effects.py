"""What streams ask for: of the bus, and of their programs."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import attrs

from atbus.errors import Status
from atbus.wire.bounds import STREAM_SEQUENCES
from atbus.wire.messages import Message


class Key(NamedTuple):
    """
    Names one stream at one of its ends.

    :param peer: Bus id of the other end.
    :param ours: Whether this end has opened it.
    :param stream_id: The opener's number for it.
    """

    peer: int
    ours: bool
    stream_id: int

    @property
    def sequence(self) -> int:
        """What stands in the heads of this end's frames (wire protocol, section 6.7)."""
        # A number that cannot be is somebody else's, who has used it.
        return STREAM_SEQUENCES + ((self.stream_id << 1 | self.ours) & 0xFFFF_FFFF)

    @classmethod
    def of(cls, peer: int, sequence: int) -> Key:
        """Name the stream of a frame that was sent to a node."""
        number = sequence - STREAM_SEQUENCES
        return cls(peer, bool(number & 1), number >> 1)


@attrs.frozen
class Send:
    """Send a message to the other end, behind all others to the same node."""

    key: Key
    message: Message


@attrs.frozen
class Offered:
    """Somebody opens a stream: `Exchange.accept` it or `Exchange.refuse` it."""

    key: Key
    service: str


@attrs.frozen
class Opened:
    """The other end has accepted the stream."""

    key: Key


@attrs.frozen
class Received:
    """Bytes came; those before them were given to the program."""

    key: Key
    data: bytes


@attrs.frozen
class Finished:
    """The other end sends nothing more; everything was given to the program."""

    key: Key


@attrs.frozen
class Drained:
    """Little waits to be sent: a producer may go on."""

    key: Key


@attrs.frozen
class Said:
    """Everything is sent and the end of it: this direction is closed."""

    key: Key


@attrs.frozen
class Due:
    """Call `Exchange.go_on` at the end of this turn."""

    key: Key


@attrs.frozen
class Ended:
    """
    The stream is no more; said once of each.

    :param status: `Status.OK` when both ends have closed it and what this one sent was read.
    :param detail: The same in words.
    """

    key: Key
    status: Status
    detail: str = ""


Effect: TypeAlias = (
    Send | Offered | Opened | Received | Finished | Drained | Said | Due | Ended
)
