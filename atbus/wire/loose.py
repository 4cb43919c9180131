"""
DATA and FRAGMENT frames whose messages are still objects of their own (wire protocol, 2.1).

Within a process nothing has to be joined by a sender only to be cut apart again by the receiver.
What is said of a frame is said of this one: its head is that of the frame it would be, and its
length counts. Whoever needs bytes, because the frame goes on elsewhere, joins it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from atbus.wire.cutting import begins_message
from atbus.wire.head import Head
from atbus.wire.runs import fragment_pieces, pack_run, read_fragment, unpack_run


@attrs.define(eq=False)
class LooseRun:
    """
    A run of messages as it was sent; nobody changes it.

    :param head: Of the frame, length included.
    :param extras: What `atbus.wire.extras.pack_extras` made.
    :param kinds: One signed 32-bit number per message.
    :param payloads: As many: the very objects that were sent.
    """

    head: Head
    extras: bytes
    kinds: Sequence[int]
    payloads: Sequence[bytes]

    def __len__(self) -> int:
        """Give the length of the frame in bytes."""
        return self.head[0]

    def join(self) -> bytes:
        """
        Make the frame.

        :returns: The frame, with the number and the acknowledgement of the head.
        :raises LocalProtocolError: When a number does not fit into its field.
        """
        _, _, flags, hop_limit, _, source, destination, sequence, epoch, number, _, _, ack = (
            self.head
        )
        return pack_run(
            source,
            destination,
            sequence,
            epoch,
            self.kinds,
            self.payloads,
            flags=flags,
            hop_limit=hop_limit,
            frame=number,
            ack=ack,
            extras=self.extras,
        )


@attrs.define(eq=False)
class LooseFragment:
    """
    A part of a message that is longer than a frame; nobody changes it.

    :param head: As in `LooseRun`, and so are the extras.
    :param place: Where it begins in the message, how long that is in bytes, and its kind.
    :param piece: Its bytes: a view of the message that was sent.
    """

    head: Head
    extras: bytes
    place: tuple[int, int, int]
    piece: bytes | memoryview

    def __len__(self) -> int:
        """Give the length of the frame in bytes."""
        return self.head[0]

    def join(self) -> bytes:
        """
        Make the frame.

        :returns: As `LooseRun.join`.
        :raises LocalProtocolError: When a number does not fit into its field.
        """
        _, _, flags, hop_limit, _, source, destination, sequence, epoch, number, _, _, ack = (
            self.head
        )
        return b"".join(
            fragment_pieces(
                source,
                destination,
                sequence,
                epoch,
                self.piece,
                self.place,
                flags=flags,
                hop_limit=hop_limit,
                frame=number,
                ack=ack,
                extras=self.extras,
            )
        )


Frame: TypeAlias = bytes | LooseRun | LooseFragment


def joined(frame: Frame) -> bytes:
    """
    Give a frame in one piece.

    :param frame: As it came.
    :returns: The same frame; a copy of what was in many pieces.
    :raises LocalProtocolError: As `LooseRun.join`.
    """
    return frame if isinstance(frame, bytes) else frame.join()


def messages_of(frame: Frame) -> tuple[Sequence[int], Sequence[bytes]]:
    """
    Take a DATA frame apart.

    :param frame: As it came; its extras are not looked at.
    :returns: The kinds and the payloads, in order.
    :raises MalformedFrame: As `atbus.wire.runs.unpack_run`.
    """
    if isinstance(frame, LooseRun):
        return frame.kinds, frame.payloads
    return unpack_run(joined(frame))


def part_of(frame: Frame, head: Head) -> tuple[int, int, int, bytes | memoryview]:
    """
    Take a FRAGMENT frame apart without copying its bytes; its extras are not looked at.

    :param frame: As it came; what is returned keeps it alive.
    :param head: Its head.
    :returns: Offset, size of the whole message, kind, and the bytes.
    :raises MalformedFrame: As `atbus.wire.runs.read_fragment`.
    """
    if isinstance(frame, LooseFragment):
        return (*frame.place, frame.piece)
    return read_fragment(joined(frame), head)


def is_first_part(frame: Frame, head: Head) -> bool:
    """
    Tell whether a fragment is the first one of its message.

    :param frame: A FRAGMENT frame; what follows the head is not checked.
    :param head: Its head.
    :returns: Whether it begins where the message does.
    """
    if isinstance(frame, LooseFragment):
        return not frame.place[0]
    return begins_message(joined(frame), head)
