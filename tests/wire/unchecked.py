"""Write frames as a peer would that does not hold itself to the rules."""

from __future__ import annotations

from typing import Any

import attrs

from atbus.wire import schema
from atbus.wire.head import HEAD, HEAD_SIZE
from atbus.wire.messages import Message, MessageType
from atbus.wire.rules import count_of


def build(message: Message, **fields: Any) -> bytes:
    """
    Build a frame by its layout alone.

    :param message: Most of the values.
    :param fields: Values of the body that a message would not take.
    :returns: The frame.
    """
    assert message.message_type is not None
    envelope = attrs.fields_dict(Message)
    values = {
        field.name: getattr(message, field.name)
        for field in attrs.fields(type(message))
        if field.name not in envelope
    }
    count = count_of(message)
    body = schema.BODIES[message.message_type].build({**values, **fields}, count=count)
    return wrap(message.message_type, body, count=count)


def wrap(
    number: int,
    body: bytes = b"",
    *,
    extras: bytes = b"",
    count: int = 0,
    frame: int = 0,
    source: int = 1,
    destination: int = 2,
) -> bytes:
    """
    Put a head before a body.

    :param number: Any type.
    :param body: Any bytes.
    :param extras: Any bytes.
    :param count: What the head says.
    :param frame: The link's number.
    :param source: Whose it is.
    :param destination: Whom it is for.
    :returns: A frame with the right length.
    """
    length = HEAD_SIZE + len(extras) + len(body)
    return (
        HEAD.pack(length, number, 0, 16, 0, source, destination, 0, 0, frame, count, len(extras), 0)
        + extras
        + body
    )


def every_type() -> list[MessageType]:
    """
    List what there is.

    :returns: All types, in the order of the protocol.
    """
    return list(schema.BODIES)
