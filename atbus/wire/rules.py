"""
What the layout of a message cannot say, once for the schema and for the codec.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from atbus.wire.messages import Data, DataResponse, Fragment, Message, Publish, StreamData

RECORDS_MAX: Final = 1000
"""Records in one ROUTE_BATCH: a frame of 64 KiB holds so many bare ones, and a turn stays short."""


def check(message: Message) -> None:
    """
    Hold a message against the rules of its section.

    :param message: Just read, or about to be written.
    :raises ValueError: When it breaks one.
    """
    match message:
        case Fragment():
            size = len(message.payload)
            if not size or message.offset + size > message.total:
                raise ValueError(f"{size} bytes at {message.offset} of {message.total}")
        case StreamData(data=b""):
            raise ValueError("stream data without data")
        case DataResponse(count=0):
            raise ValueError("an answer about no message")


def check_labels(labels: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """
    Hold labels against the rule that each key comes once, in ascending order.

    :param labels: Pairs of key and value.
    :returns: The same pairs.
    :raises ValueError: When they are in another order, or a key repeats.
    """
    pairs = tuple((key, value) for key, value in labels)
    for (earlier, _), (later, _) in pairwise(pairs):
        if later <= earlier:
            raise ValueError(f"label {later!r} after {earlier!r}")
    return pairs


def count_of(message: Message) -> int:
    """
    Say what stands in the head's count.

    :param message: Any message.
    :returns: How many application messages the frame holds, whole or in part.
    """
    match message:
        case Data() | Publish():
            return len(message.messages)
        case Fragment():
            return 1
    return 0
