"""
Frames of messages and publications that are still objects of their own (wire protocol, 2.1).

Within a process nothing has to be joined by a sender only to be cut apart again by the receiver.
What is said of a frame is said of this one: its head is that of the frame it would be, and its
length counts. Whoever needs bytes, because the frame goes on elsewhere, joins it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from atbus.wire import codec
from atbus.wire.cutting import begins_message
from atbus.wire.extras import pack_extras
from atbus.wire.head import Head
from atbus.wire.messages import Publish
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


@attrs.define(eq=False)
class LoosePublication:
    """
    Publications as they were published, or a piece of one; nobody changes them.

    :param head: Of the frame, length included.
    :param message: What the frame says, but for its number and what it acknowledges. Payloads are
        the very objects that were published, without headers; a piece is a view of one.
    :param header_block: What the payload of a single publication follows in the frame.
    """

    head: Head
    message: Publish
    header_block: bytes = b""

    @classmethod
    def of(cls, message: Publish, header_block: bytes = b"") -> LoosePublication:
        """
        Give publications a head.

        :param message: As above; its extras say how long the header block is.
        :param header_block: As it travels.
        :raises LocalProtocolError: When they break a rule, as in `atbus.wire.codec.encode`.
        """
        size_bytes = codec.size_of_publication(message) + len(header_block)
        head = (
            size_bytes, int(Publish.message_type), int(message.flags), message.hop_limit, 0,
            message.source, message.destination, message.sequence, message.epoch, 0,
            len(message.messages), len(pack_extras(message.extras)) if message.extras else 0, 0,
        )  # fmt: skip
        return cls(head, message, header_block)

    @property
    def extras(self) -> bytes:
        """As in `LooseRun`."""
        return pack_extras(self.message.extras)

    def __len__(self) -> int:
        """Give the length of the frame in bytes."""
        return self.head[0]

    def numbered(self, number: int, ack: int) -> LoosePublication:
        """Give the same for one link; it is shared with others."""
        head = (*self.head[:9], number, *self.head[10:12], ack)
        return LoosePublication(head, self.message, self.header_block)

    def join(self) -> bytes:
        """
        Make the frame.

        :returns: As `LooseRun.join`.
        :raises LocalProtocolError: When a number does not fit into its field.
        """
        message = self.message
        if self.header_block:
            ((kind, payload),) = message.messages
            message = attrs.evolve(message, messages=((kind, self.header_block + payload),))
        return codec.encode(message, self.head[9], self.head[12])


Frame: TypeAlias = bytes | LooseRun | LooseFragment | LoosePublication


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
