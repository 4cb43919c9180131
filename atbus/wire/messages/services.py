"""The message of discovery: what nodes offer, told from neighbor to neighbor."""

from __future__ import annotations

from typing import ClassVar

import attrs

from atbus.wire.messages.envelope import Message
from atbus.wire.messages.numbers import MessageType


@attrs.frozen(kw_only=True)
class ServiceEntry:
    """
    One document of a node (wire protocol, section 7.36).

    :param bus_id: The node whose it is.
    :param epoch: Of the life of that node which wrote it.
    :param seq: Counts what this life has written.
    :param key: Where it stands.
    :param value: The document; empty when it is withdrawn.
    """

    bus_id: int
    epoch: int = 0
    seq: int = 0
    key: str
    value: bytes = b""


@attrs.frozen(kw_only=True)
class ServiceBatch(Message):
    """
    Documents that are new, or all of them anew (wire protocol, section 7.36).

    :param replay: Whether this is a part of a replay.
    :param last: Whether the replay is complete: what it did not repeat is withdrawn.
    :param services: To be applied in this order.
    """

    message_type: ClassVar[MessageType] = MessageType.SERVICE_BATCH

    replay: bool = False
    last: bool = False
    services: tuple[ServiceEntry, ...] = ()
