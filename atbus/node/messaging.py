"""
The part of a node's face that is about messages, questions and commands.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.busid import check_bus_id
from atbus.errors import LocalProtocolError
from atbus.node.answering import LATER, Responder, check_callable
from atbus.node.current import Delivery
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.outlet import Outlet
from atbus.node.sending import check_kind
from atbus.node.stream_port import StreamPort

if TYPE_CHECKING:
    from atbus.node.commands import Executor
    from atbus.node.context import Turn
    from atbus.node.parts import Parts
    from atbus.node.sending import Flow

_KIND_MIN, _KIND_MAX = -(2**31), 2**31 - 1


class Messaging:
    """What `atbus.node.node.Node` offers to programs that send and receive."""

    LATER = LATER
    _parts: Parts
    _open_flows: dict[int, Flow]
    _turn: Turn

    @property
    def receiver(self) -> IMessageReceiver | None:
        """
        Takes the messages that are addressed to this node.

        :raises LocalProtocolError: When it is set to what has no method ``message_received``.
        """
        return self._parts.inbox.answering.receiver

    @receiver.setter
    def receiver(self, receiver: IMessageReceiver | None) -> None:
        if receiver is not None and not callable(getattr(receiver, "message_received", None)):
            raise LocalProtocolError(f"{receiver!r:.60} has no method message_received")
        self._parts.inbox.answering.receiver = receiver

    @property
    def stream_port(self) -> StreamPort:
        """Where streams join the node; for programs there is `atbus.stream`."""
        return self._parts.streams

    def pause(self) -> None:
        """
        Take no messages until `resume`: those who send to this node are asked to pause.

        A receiver may call it for any message, and is given no other one. What is on its way is
        held, up to a bound; beyond it messages are refused `BUFFER_LIMIT`.
        Replies to requests of this node still come, unless they would overtake a message.
        """
        self._parts.inbox.pause()

    def resume(self) -> None:
        """Take messages again: first those that were held, at the end of this turn, in order."""
        self._parts.inbox.resume()

    @property
    def current(self) -> Delivery | None:
        """What else is known of the message being delivered; None outside callbacks."""
        return self._parts.inbox.current

    def send(
        self,
        target: int,
        payload: bytes,
        kind: int = 0,
        # Not keyword-only: filling those in would take a tenth of all that a message takes.
        hop_limit: int | None = None,
        exclude: Collection[int] = (),
        no_upstream: bool = False,
        trace: bool = False,
    ) -> int:
        """
        Send without waiting; see `INode.send`.

        :param target: Bus id of the destination.
        :param payload: At most `NodeConfig.message_bytes_max` bytes.
        :param kind: A number for the receiver, -2**31 to 2**31 - 1.
        :param hop_limit: How many nodes it may pass, by default `NodeConfig.hops`.
        :param exclude: Neighbors that must not be the next hop.
        :param no_upstream: Whether no node may use its default route for it.
        :param trace: Whether relays note their ids, for the receiver's ``current.path``.
        :returns: The message's sequence, never 0.
        :raises Undeliverable: It was not accepted; ``status`` says why.
        :raises LocalProtocolError: The target, the kind, the payload, the hop limit or what is
            excluded is not one.
        """
        if hop_limit is None and not exclude and not no_upstream and not trace:
            # Most messages join a run that is open: they are counted when it is closed. `is`, for
            # of two equal kinds one may be no int.
            flow = self._open_flows.get(target)
            if flow is not None and type(payload) is bytes:
                left = flow.left_bytes - len(payload) - 8
                if left >= 0 and kind is flow.kind:
                    flow.left_bytes = left
                    flow.payloads.append(payload)
                    sequence = flow.next_sequence
                    flow.next_sequence = sequence + 1
                    return sequence
                # Of a program that sends to many in turn most join as well, kinds and all; they are
                # counted at once.
                if left >= 0 and flow.mingles and type(kind) is int:
                    link, cost = flow.on, flow.left_bytes - left
                    if link is not None and link.room >= cost and _KIND_MIN <= kind <= _KIND_MAX:
                        link.room -= cost
                        turn = self._turn
                        turn.queued_bytes += cost
                        turn.last_flow = flow
                        flow.left_bytes = left
                        flow.kinds.append(kind)
                        flow.payloads.append(payload)
                        sequence = flow.next_sequence
                        flow.next_sequence = sequence + 1
                        return sequence
            return self._parts.sender.send(target, payload, kind)
        return self._parts.sender.send_specially(
            target, payload, kind, hop_limit, exclude, no_upstream, trace
        )

    def writable(self, target: int) -> Deferred[None]:
        """
        Wait until messages to a target are accepted again.

        ::

            while chunks:
                await node.writable(target)
                node.send(target, chunks.pop(0))

        :param target: Its bus id.
        :returns: Fires when nobody on the way asks for a pause and the queue on this side is not
            long, at once if that is so; fails with `Undeliverable` when there is no way to the
            target or the node stops. Cancelling it stops the waiting.
        :raises LocalProtocolError: The target is no bus id.
        """
        return self._parts.writers.wait(target)

    def outlet(self, target: int, kind: int = 0) -> Outlet:
        """
        Make a Twisted consumer whose writes are messages to a target.

        ::

            outlet = node.outlet(target)
            FileSender().beginFileTransfer(file, outlet)
            await outlet.done

        :param target: Its bus id.
        :param kind: Of every message.
        :returns: An ``IConsumer``; producers that are registered with it pause while the target
            takes no more. Its ``done`` fires when all is sent, or fails with `Undeliverable`.
        :raises LocalProtocolError: The target or the kind is none.
        """
        check_bus_id(target)
        check_kind(kind)
        parts = self._parts
        kept_bytes_max = parts.context.config.queued_bytes_hard
        return Outlet(parts.sender, parts.writers, target, kind, kept_bytes_max)

    def deliver(
        self,
        target: int,
        payload: bytes,
        kind: int = 0,
        timeout: float = limits.DELIVER_SECONDS,
        hop_limit: int | None = None,
    ) -> Deferred[Fate]:
        """
        Send and wait for the destination's answer.

        :param timeout: Seconds.
        :returns: Fires with a `Fate` when the destination's receiver has taken the message, or
            fails with `Undeliverable`; it always ends. Cancelling it stops the waiting only.
        :raises LocalProtocolError: The target, the payload, the kind, the timeout or the hop limit
            is not one.
        """
        return self._parts.asking.deliver(target, payload, kind, timeout, hop_limit)

    def request(
        self,
        target: int,
        payload: bytes,
        kind: int = 0,
        timeout: float = limits.REQUEST_SECONDS,
    ) -> Deferred[bytes]:
        """
        Ask a question.

        :param timeout: Seconds.
        :returns: Fires with the reply's bytes, or fails with `Undeliverable`; it always ends.
            Cancelling it stops the waiting only.
        :raises LocalProtocolError: The target, the payload, the kind or the timeout is not one.
        """
        return self._parts.asking.request(target, payload, kind, timeout)

    def on_request(self, callback: Responder | None) -> None:
        """
        Answer requests with *callback*.

        :param callback: Called with the asking node's id and the payload; returns bytes, or a
            Deferred or coroutine of bytes, or `LATER`, and calls `reply` with the request's
            ``current.sequence``. None for *callback*: requests are answered `NO_RESPONDERS`.
        :raises LocalProtocolError: It cannot be called.
        """
        if callback is not None:
            check_callable(callback)
        self._parts.inbox.answering.responder = callback

    def reply(self, target: int, in_reply_to: int, payload: bytes) -> int:
        """
        Answer a request late, one for which the responder returned `LATER`.

        :param target: Who asked.
        :param in_reply_to: The request's sequence.
        :returns: The answer's sequence.
        :raises LocalProtocolError: The target, the sequence or the payload is none.
        :raises Undeliverable: The answer was not accepted; ``status`` says why.
        """
        return self._parts.sender.reply(target, in_reply_to, payload)

    # Commands.

    def command(
        self, target: int, *arguments: bytes, timeout: float = limits.REQUEST_SECONDS
    ) -> Deferred[list[bytes]]:
        """
        Have a node execute a command.

        :param target: Its bus id; it need not be connected directly.
        :param arguments: The command's name and what follows it.
        :param timeout: Seconds.
        :returns: Fires with the lines of the answer, or fails with `Undeliverable`; it always ends.
            Cancelling it stops the waiting only.
        :raises LocalProtocolError: The target, an argument or the timeout is not one.
        """
        return self._parts.commands.ask(target, arguments, timeout)

    def on_command(self, callback: Executor | None) -> None:
        """
        Execute commands with *callback*.

        :param callback: Called with the asking node's id (0: a temporary node) and the arguments;
            returns a list of bytes, None, or a Deferred of them. None: `UNKNOWN_COMMAND`.
        :raises LocalProtocolError: It cannot be called.
        """
        if callback is not None:
            check_callable(callback)
        self._parts.commands.executor = callback
