"""
The part of a node's face that is about subjects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.node.publication import Publication, PublicationRun
from atbus.node.subscription import Callback, Subscription
from atbus.subjects import bounds
from atbus.wire.headers import Headers, pack_headers

if TYPE_CHECKING:
    from atbus.node.beyond import Beyond
    from atbus.node.counting import Unheard
    from atbus.node.parts import Parts


class Subjects:
    """What `atbus.node.node.Node` offers to programs that publish and subscribe."""

    _parts: Parts

    @property
    def beyond(self) -> Beyond:
        """Neighbors that are no nodes, for gateways."""
        return self._parts.subjects.beyond

    def publish(
        self,
        subject: str,
        payload: bytes,
        kind: int = 0,
        *,
        reply_to: str = "",
        headers: Headers | bytes = (),
        origin: object = None,
        unheard: Unheard | None = None,
        literal: bool = False,
    ) -> int:
        """
        Publish to everybody who has subscribed to a subject; see `INode.publish`.

        :param subject: Such as ``orders.eu.new``; no pattern.
        :param payload: At most `NodeConfig.message_bytes_max` bytes, the headers included.
        :param kind: A number for subscribers, -2**31 to 2**31 - 1.
        :param reply_to: The subject on which answers are awaited.
        :param headers: Names and values, or a whole header block as it travels.
        :param origin: What subscribers at this node find in `Publication.origin`.
        :param unheard: Called once when it turns out that nobody gets it: before this returns, or
            later, when each way that it has gone has ended at a node that says so. Not when that is
            not known of one of them: what is lost with a link may have arrived.
        :param literal: Whether tokens ``*`` and ``>`` mean themselves, as in NATS, instead of being
            taken for a mistake.
        :returns: Its number among the publications of this node, never 0.
        :raises SubjectError: *subject* or *reply_to* is no subject.
        :raises LocalProtocolError: The payload, the kind or a header is none.
        :raises Undeliverable: It was not accepted; ``status`` says why.
        """
        return self._parts.subjects.publishing.publish(
            subject,
            payload,
            kind,
            reply_to=reply_to,
            header_block=headers if type(headers) is bytes else _block(headers),
            origin=origin,
            unheard=unheard,
            literal=literal,
        )

    def publish_many(
        self,
        subject: str,
        payloads: Sequence[bytes],
        kind: int = 0,
        *,
        origin: object = None,
        literal: bool = False,
    ) -> int:
        """
        Publish several times on one subject, which costs less than one by one.

        Each subscriber gets all of them, in order, before the next one gets the first.

        :param payloads: Any number; none is nothing.
        :param kind: Of each of them.
        :param origin: As for `publish`.
        :param literal: Likewise.
        :returns: The number of the first one among the publications of this node; the others
            follow it.
        :raises SubjectError: *subject* is none.
        :raises LocalProtocolError: A payload or the kind is none; nothing was published.
        :raises Undeliverable: They were not accepted, none of them; ``status`` says why.
        """
        return self._parts.subjects.publishing.publish_many(
            subject, payloads, kind, origin=origin, literal=literal
        )

    def publishable(self) -> Deferred[None]:
        """
        Wait until what is published finds room on the way to all neighbors.

        ::

            for number in range(1_000_000):
                await node.publishable()
                node.publish("numbers", b"%d" % number)

        :returns: Fires when no queue is longer than it should be, at once if that is so; at the
            latest after a second, for nobody is to be held back by a neighbor that is stuck. It
            never fails; cancelling it stops the waiting.
        """
        return self._parts.subjects.pace.wait()

    def subscribe(
        self,
        pattern: str,
        callback: Callback | None = None,
        *,
        queue: str = "",
        accepts: Callable[[Publication], bool] | None = None,
        waiting_count_max: int = bounds.WAITING_COUNT_MAX,
        waiting_bytes_max: int = bounds.WAITING_BYTES_MAX,
        everywhere: bool = False,
        run_callback: Callable[[PublicationRun], None] | None = None,
        name: str = "",
    ) -> Subscription:
        """
        Get what is published, on this node or anywhere on the bus; see `INode.subscribe`.

        ::

            node.subscribe("orders.*.new", lambda order: print(order.subject, order.payload))

            async with node.subscribe("orders.>", everywhere=True) as orders:
                async for order in orders:
                    ...

        :param pattern: ``*`` stands for one token, ``>`` at the end for one or more.
        :param callback: Called with each `Publication`. Bytes that it returns, or a Deferred or
            coroutine of bytes, are the answer to a publication with ``reply_to``. None: the
            subscription is an asynchronous iterator.
        :param queue: A group: each publication goes to one member of it, wherever on the bus.
        :param accepts: Asked before each delivery; it must neither publish nor subscribe. One that
            is not accepted goes to another member of the group, and counts for nothing here.
        :param waiting_count_max: How many publications may wait to be fetched, or be open because
            the callback's Deferred has not fired. What is more is missed, see `Subscription`.
        :param waiting_bytes_max: And how many bytes.
        :param everywhere: Whether ``async with`` begins, and an ``await`` of the subscription ends,
            only when the whole bus knows; see `Subscription.everywhere`. When that fails, with
            `SubscriptionRefused`, the subscription ends.
        :param run_callback: Called instead of *callback* with publications on one subject that came
            together, for who can do something with them all at once. *accepts* is then asked once.
        :param name: What it is called in the log and in events, by default its pattern and queue.
        :returns: The subscription. It lasts until it is unsubscribed or the node stops, whatever
            becomes of connections; a node that is not up yet may be subscribed to.
        :raises SubjectError: The pattern or the queue's name is none.
        :raises LocalProtocolError: A callback cannot be called, or a bound is no number.
        :raises Undeliverable: The rights of this node do not allow all that it stands for.
        """
        subscription = Subscription(
            self._parts.subjects.subscribers,
            pattern,
            callback,
            queue,
            waiting_count_max=waiting_count_max,
            waiting_bytes_max=waiting_bytes_max,
            accepts=accepts,
            everywhere=everywhere,
            run_callback=run_callback,
            name=name,
        )
        self._parts.subjects.subscribers.add(subscription)
        return subscription

    def may_subscribe(self, pattern: str) -> bool:
        """
        Tell whether the rights of this node allow a subscription.

        :raises SubjectError: The pattern is none.
        """
        return self._parts.subjects.subscribers.refusal(pattern) is None

    def request_subject(
        self,
        subject: str,
        payload: bytes = b"",
        kind: int = 0,
        *,
        headers: Headers | bytes = (),
        timeout: float = limits.REQUEST_SECONDS,
    ) -> Deferred[Publication]:
        """
        Ask a question on a subject, and take the first answer.

        :param headers: As for `publish`.
        :param timeout: Seconds.
        :returns: Fires with the answer, or fails with `Undeliverable`: at once `NO_RESPONDERS` when
            nobody listens there, a moment later when all have left just now, `TIMEOUT` when nobody
            answers. It always ends; cancelling it stops the waiting only.
        :raises SubjectError: *subject* is no subject.
        :raises LocalProtocolError: The payload, the kind, a header or the timeout is none.
        """
        return self._parts.subjects.inquiries.ask(subject, payload, kind, _block(headers), timeout)

    def request_many(
        self,
        subject: str,
        payload: bytes = b"",
        kind: int = 0,
        *,
        headers: Headers | bytes = (),
        count_max: int = bounds.ANSWERS_MAX,
        timeout: float = limits.REQUEST_SECONDS,
        quiet: float = bounds.QUIET_SECONDS,
    ) -> Deferred[list[Publication]]:
        """
        Ask everybody who listens on a subject, and take all answers.

        :param headers: As for `publish`.
        :param count_max: So many answers are enough.
        :param timeout: It ends after so many seconds,
        :param quiet: or when after an answer none has come for so many seconds.
        :returns: Fires with the answers in the order of arrival, at least one; fails as
            `request_subject` does when there is none.
        :raises SubjectError: *subject* is no subject.
        :raises LocalProtocolError: The payload, the kind, a header or a time is none.
        """
        return self._parts.subjects.inquiries.ask_many(
            subject, payload, kind, _block(headers), count_max, timeout, quiet
        )


def _block(headers: Headers | bytes) -> bytes:
    if isinstance(headers, bytes):
        return headers
    return pack_headers(headers) if headers else b""
