"""What a program implements for a node, and what a node promises to a program."""

# ruff: noqa: N805 - the methods of a zope interface have no self.

from __future__ import annotations

from zope.interface import Attribute, Interface


class IMessageReceiver(Interface):
    """The program's side of a node: takes the messages that are addressed to it."""

    def message_received(source: int, kind: int, sequence: int, payload: bytes) -> object:
        """
        Take one message.

        Calls are in order per source and never nested: a message that the node sends to itself
        from in here is delivered after this returns. The payload is the receiver's to keep. What
        else is known of the message (path, hops, epoch) is in ``node.current`` while this runs.

        When an exception gets out, or a returned Deferred fails, the failure is logged and
        counted, ``HANDLER_FAILED`` is answered if the sender asked for an answer, and nothing
        stops. An answer that was asked for waits for a returned Deferred.

        :param source: Bus id of the sender, stamped by the first node on the way.
        :param kind: The sender's number, -2**31 to 2**31 - 1.
        :param sequence: Number of the message from this sender to us in the sender's epoch; it
            grows by one from message to message.
        :param payload: The bytes that were sent.
        :returns: None, or a Deferred or coroutine that ends when the message has been dealt with.
            Beyond a window of messages that are open those who send are asked to pause.
        """


class INode(Interface):
    """A participant of the bus, as the rest of a program sees it."""

    bus_id: int = Attribute("Our bus id; 0 while temporary or before one was assigned.")
    state: str = Attribute("created, starting, running, lost_upstream, draining or stopped.")
    receiver: object = Attribute("The `IMessageReceiver`, or None.")

    def send(target: int, payload: bytes, kind: int = 0) -> int:
        """
        Send without waiting.

        Messages to one target arrive in the order of calls, at most once each. A message to this
        node itself is delivered before this returns, or after the present callback.

        :returns: The message's sequence, never 0. What becomes of it later is an
            ``on_forward_response`` event, if it is not simply delivered.
        :raises Undeliverable: It was not accepted; nothing was sent.
        """

    def writable(target: int) -> object:
        """
        Wait until `send` accepts messages to a target again.

        :returns: A Deferred that fires then, or fails with `Undeliverable`; it always ends.
        """

    def pause() -> None:
        """Take no messages until `resume`: those who send are asked to pause."""

    def resume() -> None:
        """Take messages again, first those that were held, in order."""

    def deliver(target: int, payload: bytes, kind: int = 0, timeout: float = 8.0) -> object:
        """
        Send and wait for the destination's answer.

        :param timeout: Seconds.
        :returns: A Deferred that fires with a `Fate`, or fails with `Undeliverable`; it always
            ends.
        """

    def request(target: int, payload: bytes, kind: int = 0, timeout: float = 5.0) -> object:
        """
        Ask a question.

        :param timeout: Seconds.
        :returns: A Deferred that fires with the reply's bytes, or fails with `Undeliverable`; it
            always ends.
        """
