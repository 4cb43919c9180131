"""A frame of a stream on its way from here: no message, but in order with the messages."""

from __future__ import annotations

from typing import Any, Self

import attrs

from atbus.node.outbox import Run
from atbus.wire import codec
from atbus.wire.cutting import cut
from atbus.wire.messages import Message


@attrs.define(eq=False)
class StreamRun(Run):
    """
    One frame of a stream that this node sends.

    It is made when it is accepted: what the program has written is copied once, and as often as it
    is for any other transport.
    """

    @classmethod
    def of(cls, message: Message) -> Self:
        """Make an item of a message about a stream."""
        return cls(
            source=message.source,
            target=message.destination,
            first_sequence=message.sequence,
            epoch=message.epoch,
            hop_limit=message.hop_limit,
            **_of_frame(codec.encode(message)),
        )

    @property
    def wants_answer(self) -> bool:
        """Its stream has to know: nothing of it may be dropped without a word."""
        return True

    @property
    def begins_messages(self) -> bool:
        """It is none."""
        return False

    def pack(self) -> None:
        """It is a frame already."""

    @property
    def payload_bytes(self) -> int:
        """What a link counts of it as sent by programs, which is counted elsewhere."""
        return self.size_bytes - 8 * self.count

    def cut(self, frame_bytes_max: int) -> list[Run]:
        """
        Cut it into frames of a certain length at most.

        :raises MalformedFrame: It cannot be cut.
        """
        return [
            attrs.evolve(self, **_of_frame(part)) for part in cut(self._packed, frame_bytes_max)
        ]


def _of_frame(frame: bytes) -> dict[str, Any]:
    return {"size_bytes": len(frame), "count": 1, "packed": frame}
