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
        """Take no messages until `resume`, from this one on: who sends is asked to pause."""

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

    def publish(subject: str, payload: bytes, kind: int = 0) -> int:
        """
        Publish to everybody who has subscribed to a subject, wherever on the bus.

        Subscribers at this node get it before this returns, or after the callback of a publication
        that is on the stack. Each subscriber gets what one node publishes in the order of calls, at
        most once each. Nothing is stored: who subscribes later gets nothing of it. Nobody is waited
        for; who is too slow misses it, and is named (``on_slow_consumer``, ``on_slow_endpoint``).

        By keyword: ``reply_to``, a subject for answers; ``headers``; ``origin``, any object, to be
        found in the publication by subscribers at this node only; ``unheard``, called once when
        nobody gets it; ``literal``, whether tokens ``*`` and ``>`` mean themselves.

        :returns: Its number among the publications of this node, never 0.
        :raises SubjectError: It is no subject.
        :raises Undeliverable: It was not accepted.
        """

    def publish_many(subject: str, payloads: list[bytes], kind: int = 0) -> int:
        """
        Publish several times on one subject, which costs less than one by one.

        Each subscriber gets all of them in order; it may have the last one before another
        subscriber has the first. Either all are accepted or none.

        :returns: The number of the first one; the others follow it.
        :raises SubjectError: It is no subject.
        :raises Undeliverable: They were not accepted.
        """

    def subscribe(pattern: str) -> object:
        """
        Get what is published.

        ``callback``, the second argument, is called once per publication, in order, never nested:
        what it publishes is delivered after it has returned. It gets a `Publication` (``subject
        payload reply_to headers header_block kind source sequence origin hops``), which it shares
        with other subscribers. When it raises, that is logged and counted, and stops nothing.

        It returns None; or bytes, the answer to a publication with ``reply_to``; or a Deferred or
        coroutine, of None or bytes: until it fires the publication counts as waiting. Without a
        callback the subscription is an asynchronous iterator.

        By keyword: ``queue``, a group of which one member gets each publication; ``accepts``, asked
        before each delivery; ``waiting_count_max`` and ``waiting_bytes_max``, how much may wait
        before publications are missed; ``everywhere``, whether ``async with`` begins, or ``await``
        ends, when the whole bus knows, or fails with `SubscriptionRefused`; ``name``, for the log.

        :returns: A `Subscription`: ``unsubscribe(after=None)``, ``drain()``, ``everywhere()``,
            ``within_reach()``, ``taken``, ``dropped``, ``waiting_count``, ``waiting_bytes``,
            ``closed``. It lasts until it is unsubscribed or the node stops, whatever becomes of
            connections.
        :raises SubjectError: The pattern or the queue's name is none.
        :raises Undeliverable: The rights of this node do not allow it: ``NO_RIGHT``.
        """

    def request_subject(subject: str, payload: bytes = b"") -> object:
        """
        Ask a question on a subject.

        By keyword: ``headers``, ``kind``, ``timeout`` in seconds.

        :returns: A Deferred that fires with the first answer, a `Publication`, or fails with
            `Undeliverable`: ``NO_RESPONDERS`` at once when nobody listens. It always ends.
        """

    def request_many(subject: str, payload: bytes = b"") -> object:
        """
        Ask everybody who listens on a subject.

        By keyword as for `request_subject`, and ``count_max``, ``quiet`` seconds.

        :returns: A Deferred that fires with a list of answers, at least one, or fails.
        """
