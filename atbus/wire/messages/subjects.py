"""Messages of publish/subscribe: who is interested in what, and the publications."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import attrs

from atbus.errors import Status
from atbus.wire.messages.envelope import Message
from atbus.wire.messages.numbers import MessageType


@attrs.frozen(kw_only=True)
class InterestEntry:
    """
    The interest behind the sender in one subject (wire protocol, section 7.18).

    :param subject: A pattern.
    :param queue: Name of the queue group; empty for plain interest.
    :param weight: Members of the group behind the sender; plain interest has 1. 0 withdraws.
    """

    subject: str
    queue: str = ""
    weight: int = 1


@attrs.frozen
class InterestRefusal:
    """
    Why not everybody knows what an INTEREST with a barrier has asked of (the extra REFUSED).

    :param status: The reason.
    :param node: The bus id of the node that refused it.
    :param detail: The reason in words, for people.
    """

    status: Status
    node: int
    detail: str = ""


class Tally(NamedTuple):
    """
    Who counts that nobody has got a question, and is to be told so (the extra TALLY).

    :param node: The bus id of the node that counts.
    :param epoch: The node's.
    :param number: By what it knows the question.
    """

    node: int
    epoch: int
    number: int


@attrs.frozen(kw_only=True)
class Interest(Message):
    """
    Changes of interest, or all of it anew (wire protocol, section 7.18).

    :param generation: Number of the replay this belongs to; grows with each replay.
    :param replay: Whether this is a part of a replay.
    :param last: Whether the replay is complete: what it did not repeat is withdrawn.
    :param barrier: Not 0: answer with INTEREST_ACK when this is known everywhere beyond, or at once
        when one of the entries is refused.
    :param entries: To be applied in this order.
    """

    message_type: ClassVar[MessageType] = MessageType.INTEREST

    generation: int = 0
    replay: bool = False
    last: bool = False
    barrier: int = 0
    entries: tuple[InterestEntry, ...] = ()


@attrs.frozen(kw_only=True)
class InterestAck(Message):
    """
    The answer to an INTEREST with a barrier (wire protocol, section 7.19).

    :param generation: From the INTEREST.
    :param barrier: From the INTEREST; 0: no answer, there is room again for what was refused.
    :param digest: Digest of the interest that was known from the receiver of this when it asked.
    """

    message_type: ClassVar[MessageType] = MessageType.INTEREST_ACK

    generation: int = 0
    barrier: int = 0
    digest: int = 0


@attrs.frozen(kw_only=True)
class Publish(Message):
    """
    A run of publications on one subject (wire protocol, section 7.20).

    ``source`` is the publisher, ``sequence`` counts all its publications, ``destination`` is 0.

    :param subject: Literal, not a pattern.
    :param reply_to: Subject for replies; empty for none.
    :param queues: Queue groups that are still to be served on this branch.
    :param served: Sibling branches that the sender of this frame has served itself.
    :param messages: Pairs of kind and payload, as in DATA.
    """

    message_type: ClassVar[MessageType] = MessageType.PUBLISH

    subject: str
    reply_to: str = ""
    queues: tuple[str, ...] = ()
    served: tuple[int, ...] = ()
    messages: tuple[tuple[int, bytes], ...]
