"""
Let somebody see every message of a node: what it accepts, refuses, delivers, and loses.

A node that nobody observes pays nothing for it: the places where messages begin and end look once
per run. What becomes of accepted messages is told by the event
``on_forward_response`` in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from atbus.errors import RemoteProtocolError, Status
from atbus.wire import codec
from atbus.wire.messages import DataResponse, Message

if TYPE_CHECKING:
    from atbus.node.node import Node


class MessageObserver(Protocol):
    """
    Sees the messages of one node.

    Called in the middle of things, once per message or run; it must neither raise nor send.
    """

    def accepted(self, target: int, sequence: int, kind: int, payload: bytes) -> object:
        """
        See a message that this node sends, before it is on its way.

        Those that join a run at once are shown when it is settled: in order, but perhaps after
        messages to other targets that were accepted later.
        """

    def refused(self, target: int, status: Status) -> object:
        """See a message that this node was to send and did not accept."""

    def received(
        self,
        source: int,
        epoch: int,
        first_sequence: int,
        messages: Sequence[tuple[int, bytes]],
        hops: int,
    ) -> object:
        """
        See consecutive messages that the program was given.

        :param epoch: The sender's.
        :param messages: Kind and payload of each.
        :param hops: How many nodes passed them on.
        """

    def dropped(
        self, source: int, epoch: int, target: int, first_sequence: int, count: int, status: Status
    ) -> object:
        """
        See consecutive messages that ended here, and whose sender cannot be told.

        :param epoch: The sender's.
        """

    def order_given_up(self, target: int) -> object:
        """See that messages to a target, of whatever sender, may overtake others from now on."""


def observe(node: Node, observer: MessageObserver) -> None:
    """
    Show the messages of a node to somebody.

    :param node: The node; not started yet.
    :param observer: Sees them from now on.
    """
    node._parts.context.observer = observer  # noqa: SLF001  # the parts are this package's


def show_dropped(observer: MessageObserver | None, response: DataResponse | bytes) -> None:
    """
    Show the messages whose failure nobody can be told any more.

    :param observer: Who looks on, if anybody does.
    :param response: What would have told it, perhaps as a frame; other frames are ignored.
    """
    if observer is None:
        return
    message: Message | None = response if isinstance(response, DataResponse) else None
    if isinstance(response, bytes):
        try:
            message = codec.decode(response)
        except RemoteProtocolError:
            return
    if isinstance(message, DataResponse) and message.status is not Status.OK:
        observer.dropped(
            message.destination,
            message.origin_epoch,
            message.target,
            message.first_sequence,
            message.count,
            message.status,
        )
