"""
A DATA frame whose messages are still objects of their own (wire protocol, 2.1).

Within a process nothing has to be joined by a sender only to be cut apart again by the receiver.
What is said of a frame is said of this one: its head is that of the frame it would be, and its
length counts. Whoever needs bytes, because the frame goes on elsewhere, joins it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from atbus.wire.head import Head
from atbus.wire.runs import pack_run


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


Frame: TypeAlias = bytes | LooseRun


def joined(frame: Frame) -> bytes:
    """
    Give a frame in one piece.

    :param frame: As it came.
    :returns: The same frame; a copy of what was in many pieces.
    :raises LocalProtocolError: As `LooseRun.join`.
    """
    return frame.join() if isinstance(frame, LooseRun) else frame
