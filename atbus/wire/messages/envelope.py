"""
What every message has: the fields of the frame head that are not the link's, and the extras.

Messages are values. They check nothing when they are made, because relays and tests make many;
`atbus.wire.codec` checks when it encodes and when it decodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import attrs

from atbus.wire.messages.numbers import MessageType

HOP_LIMIT_DEFAULT = 16


@attrs.frozen
class Extra:
    """
    One entry of the extras area (wire protocol, section 3).

    :param type: An unsigned 16-bit number, usually an `ExtraType`.
    :param value: At most 65,531 bytes.
    """

    type: int
    value: bytes


@attrs.frozen(kw_only=True)
class Message:
    """
    The part of a message that the frame head carries from end to end (wire protocol, section 2.2).

    :param source: Bus id of the sender; 0 for a node without one.
    :param destination: Bus id of the receiver; the neighbor's, or 0, in what is not routed.
    :param sequence: Number of the first message in its flow; what it means elsewhere, each says.
    :param epoch: Incarnation of the source.
    :param hop_limit: How many more nodes may pass this on.
    :param flags: See `Flags`.
    :param extras: In the order they travel in.
    """

    message_type: ClassVar[MessageType | None] = None

    source: int = 0
    destination: int = 0
    sequence: int = 0
    epoch: int = 0
    hop_limit: int = HOP_LIMIT_DEFAULT
    flags: int = 0
    extras: tuple[Extra, ...] = ()


@attrs.frozen(kw_only=True)
class Unknown(Message):
    """
    A frame of an ignorable type that this version does not know: its receiver skips it.

    Skipping a numbered frame discharges it (wire protocol, section 3.3).

    :param type_number: Has bit 7 set.
    :param body: What came after the extras.
    """

    type_number: int
    body: bytes = b""


def sorted_pairs(
    labels: Mapping[str, str] | Iterable[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    """
    Give labels the one form in which they travel.

    :param labels: A mapping, or pairs that are in order already.
    :returns: Pairs; those of a mapping by ascending key.
    """
    if isinstance(labels, Mapping):
        return tuple(sorted(labels.items()))
    return tuple(labels)
