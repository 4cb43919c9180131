"""Messages of byte streams between services, for ``atbus:`` endpoints."""

from __future__ import annotations

from typing import ClassVar

import attrs

from atbus.errors import Status
from atbus.wire.messages.envelope import Message
from atbus.wire.messages.numbers import MessageType


@attrs.frozen(kw_only=True)
class StreamOpen(Message):
    """
    A new byte stream to a service of the destination (wire protocol, section 7.30).

    :param stream_id: The opener's number for it; not used again while the stream lives.
    :param service: Name of the service.
    :param credit: How many bytes the opener accepts before it gives more, from offset 0.
    """

    message_type: ClassVar[MessageType] = MessageType.STREAM_OPEN

    stream_id: int
    service: str
    credit: int = 0


@attrs.frozen(kw_only=True)
class StreamData(Message):
    """
    Bytes of a stream (wire protocol, section 7.31).

    :param stream_id: From STREAM_OPEN.
    :param from_opener: Whether the sender of this opened the stream.
    :param offset: Place of the first byte in this direction of the stream.
    :param data: The bytes, not empty.
    """

    message_type: ClassVar[MessageType] = MessageType.STREAM_DATA

    stream_id: int
    from_opener: bool
    offset: int
    data: bytes


@attrs.frozen(kw_only=True)
class StreamCredit(Message):
    """
    Leave to send up to an offset (wire protocol, section 7.32).

    The first one from the service says that it accepts the stream.

    :param stream_id: From STREAM_OPEN.
    :param from_opener: Whether the sender of this opened the stream.
    :param limit: The offset up to which the receiver may send; never goes back.
    """

    message_type: ClassVar[MessageType] = MessageType.STREAM_CREDIT

    stream_id: int
    from_opener: bool
    limit: int


@attrs.frozen(kw_only=True)
class StreamHalfClose(Message):
    """
    Nothing more will be sent in this direction (wire protocol, section 7.33).

    :param stream_id: From STREAM_OPEN.
    :param from_opener: Whether the sender of this opened the stream.
    :param final_offset: How many bytes were sent in all.
    """

    message_type: ClassVar[MessageType] = MessageType.STREAM_HALF_CLOSE

    stream_id: int
    from_opener: bool
    final_offset: int


@attrs.frozen(kw_only=True)
class StreamClose(Message):
    """
    Both directions are ended and read; the stream may be forgotten (wire protocol, section 7.34).

    :param stream_id: From STREAM_OPEN.
    :param from_opener: Whether the sender of this opened the stream.
    """

    message_type: ClassVar[MessageType] = MessageType.STREAM_CLOSE

    stream_id: int
    from_opener: bool


@attrs.frozen(kw_only=True)
class StreamReset(Message):
    """
    The stream ends at once, or never began (wire protocol, section 7.35).

    :param stream_id: From STREAM_OPEN.
    :param from_opener: Whether the sender of this opened the stream.
    :param status: Why.
    :param detail: The same in words.
    """

    message_type: ClassVar[MessageType] = MessageType.STREAM_RESET

    stream_id: int
    from_opener: bool
    status: Status
    detail: str = ""
