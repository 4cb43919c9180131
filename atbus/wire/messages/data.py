"""Messages that carry what applications say, and what becomes of it."""

from __future__ import annotations

from typing import ClassVar

import attrs

from atbus.errors import Status
from atbus.wire.messages.envelope import Message
from atbus.wire.messages.numbers import MessageType


@attrs.frozen(kw_only=True)
class Data(Message):
    """
    A run: consecutive messages of one flow under one head (wire protocol, section 7.23).

    Message *i* has the sequence ``sequence + i``.

    :param messages: Pairs of kind (signed 32-bit) and payload; at least one, at most 65,535.
    """

    message_type: ClassVar[MessageType] = MessageType.DATA

    messages: tuple[tuple[int, bytes], ...]


@attrs.frozen(kw_only=True)
class Fragment(Message):
    """
    A piece of one message that is larger than a frame (wire protocol, section 7.24).

    :param offset: Where the piece begins in the message, in bytes.
    :param total: Size of the whole message, in bytes.
    :param kind: As in DATA; the same in every piece.
    :param payload: The piece, not empty.
    """

    message_type: ClassVar[MessageType] = MessageType.FRAGMENT

    offset: int
    total: int
    kind: int
    payload: bytes


@attrs.frozen(kw_only=True)
class DataResponse(Message):
    """
    The fate of consecutive messages of one flow (wire protocol, section 7.25).

    ``source`` is the node that answers and ``epoch`` its epoch; ``destination`` is the origin.

    :param target: The destination those messages had.
    :param first_sequence: The first of them.
    :param count: How many, at least one.
    :param status: OK from the destination itself; otherwise why they were given up.
    :param gave_up_at: The node that gave up; 0 for success.
    :param detail: The reason in words.
    :param origin_epoch: Epoch under which the messages were sent.
    """

    message_type: ClassVar[MessageType] = MessageType.DATA_RESPONSE

    target: int
    first_sequence: int
    count: int = 1
    status: Status = Status.OK
    gave_up_at: int = 0
    detail: str = ""
    origin_epoch: int = 0


@attrs.frozen(kw_only=True)
class Flush(Message):
    """
    A mark behind the last message on the old path of a flow (wire protocol, section 7.26).

    :param token: Chosen by the sender; comes back in FLUSH_ACK.
    """

    message_type: ClassVar[MessageType] = MessageType.FLUSH

    token: int


@attrs.frozen(kw_only=True)
class FlushAck(Message):
    """
    "Everything before that mark has arrived" (wire protocol, section 7.27).

    :param token: From the FLUSH.
    """

    message_type: ClassVar[MessageType] = MessageType.FLUSH_ACK

    token: int


@attrs.frozen(kw_only=True)
class CommandRequest(Message):
    """
    A custom command for the destination, never for a relay (wire protocol, section 7.28).

    :param arguments: The command's name and what follows it.
    """

    message_type: ClassVar[MessageType] = MessageType.COMMAND_REQUEST

    arguments: tuple[bytes, ...] = ()


@attrs.frozen(kw_only=True)
class CommandResponse(Message):
    """
    What the command printed; ``sequence`` is the request's (wire protocol, section 7.29).

    :param status: OK, or why the command was not run or failed.
    :param lines: A part of the output that fits into a frame.
    :param last: Whether the output ends here.
    :param part: Which part this is, from 0.
    :param continues: Whether its first line is the rest of the last line of the part before.
    """

    message_type: ClassVar[MessageType] = MessageType.COMMAND_RESPONSE

    status: Status = Status.OK
    lines: tuple[bytes, ...] = ()
    last: bool = True
    part: int = 0
    continues: bool = False
