"""
Publications that begin here, and what becomes of them at this node.

Whom one is for is decided in `atbus.subjects.distribution`; this checks what the program says,
gives it to the subscribers here and to the neighbors that are named, and tells who asked a question
that nobody can answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from atbus import limits
from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.node.publication import Publication
from atbus.node.subscribers import Subscribers, Way
from atbus.subjects.distribution import Distributor, Incoming
from atbus.subjects.pattern import parse_subject

if TYPE_CHECKING:
    from atbus.node.context import Context

_KIND_MIN, _KIND_MAX = -(2**31), 2**31 - 1

#: Called, at most once, when it turns out that nobody gets a publication.
Unheard = Callable[[], object]


class Publishing:
    """
    Publish.

    :param refusal: Says why nothing may be published now; None if it may.
    """

    def __init__(
        self,
        context: Context,
        subscribers: Subscribers,
        distributor: Distributor,
        refusal: Callable[[], Status | None],
    ) -> None:
        # Set by the node, which wires its parts: takes what comes to an inbox of this node.
        self.to_inbox: Callable[[Publication], bool]
        self._context = context
        self._subscribers = subscribers
        self._distributor = distributor
        self._refusal = refusal
        self._sequence = 0
        self._bytes_max = context.config.message_bytes_max

    def reconfigure(self) -> None:
        """Publish as many bytes at once as the configuration allows now."""
        self._bytes_max = self._context.config.message_bytes_max

    def publish(
        self,
        subject: str,
        payload: bytes,
        kind: int = 0,
        *,
        reply_to: str = "",
        header_block: bytes = b"",
        origin: object = None,
        unheard: Unheard | None = None,
        literal: bool = False,
        is_answer: bool = False,
    ) -> int:
        """
        Publish once; see `Node.publish`.

        :param header_block: As it travels.
        :param is_answer: Whether somebody waits for it: then it may leave also while we stop.
        :returns: Its sequence.
        :raises SubjectError: One of the subjects is none.
        :raises LocalProtocolError: The payload or the kind is none.
        :raises Undeliverable: It was not accepted.
        """
        subscribers = self._subscribers
        way = subscribers.way(subject, literal=literal)
        if reply_to:
            parse_subject(reply_to, literal_wildcards=literal)
        if type(payload) is not bytes:
            payload = _as_bytes(payload)
        self._check(len(payload) + len(header_block), kind, is_answer=is_answer)
        context = self._context
        self._sequence += 1
        publication = Publication(
            subject,
            payload,
            reply_to,
            header_block,
            kind,
            context.bus_id,
            self._sequence,
            origin,
        )
        context.statistics.published_messages += 1
        if subscribers.delivering:
            subscribers.later(lambda: self._go(publication, unheard, literal))
        else:
            self._go_by(way, publication, unheard)
            subscribers.run_later()
        return publication.sequence

    def _check(self, size_bytes: int, kind: int, *, is_answer: bool) -> None:
        refusal = self._refusal()
        if refusal is not None and not (is_answer and refusal is Status.CLOSING):
            raise self._refused(refusal)
        if not self._context.bus_id:
            raise self._refused(Status.NOT_REGISTERED, "a node without id publishes nothing")
        if size_bytes > self._bytes_max:
            raise self._refused(
                Status.MESSAGE_TOO_LARGE, f"{size_bytes} bytes, the limit is {self._bytes_max}"
            )
        if not (isinstance(kind, int) and _KIND_MIN <= kind <= _KIND_MAX):
            raise LocalProtocolError(f"kind {kind} is not between -2**31 and 2**31 - 1")

    def _refused(self, status: Status, detail: str = "") -> Undeliverable:
        self._context.statistics.publications_dropped[status] += 1
        return Undeliverable(status, 0, 0, self._context.bus_id, detail)

    def answer(self, publication: Publication, payload: bytes) -> None:
        """Publish what a subscriber has returned to who asked, if anybody did."""
        if publication.reply_to:
            self.publish(publication.reply_to, payload, literal=True, is_answer=True)

    # On its way.

    def _go(self, publication: Publication, unheard: Unheard | None, literal: bool) -> None:
        """Go on with a publication that waited for a callback; its way may be another now."""
        way = self._subscribers.way(publication.subject, literal=literal)
        self._go_by(way, publication, unheard)

    def _go_by(self, way: Way, publication: Publication, unheard: Unheard | None) -> None:
        started = self._context.now
        if way.is_simple:
            heard = self._subscribers.deliver(publication, way.plain) if way.plain else 0
        elif way.owner:
            heard = self._to_inbox(way.owner, publication)
        else:
            heard = self._spread(way, publication, Incoming(subject=way.tokens))
        if not heard and unheard is not None:
            self._context.statistics.publications_dropped[Status.NO_RESPONDERS] += 1
            unheard()
        spent = self._context.now - started
        if spent > limits.LAG_SECONDS:
            self._context.events.on_lag(spent, f"subscribers of {publication.subject}")

    def _to_inbox(self, owner: int, publication: Publication) -> int:
        """Give an answer to who asked."""
        return int(owner == self._context.bus_id and self.to_inbox(publication))

    def _spread(self, way: Way, publication: Publication, incoming: Incoming) -> int:
        """
        Give a publication to everybody it is for.

        :returns: How many got it.
        """
        what = self._distributor.distribute(incoming)
        heard = self._subscribers.deliver(publication, way.plain) if what.here else 0
        for queue in what.queues_here:
            heard += self._subscribers.deliver_to_one(publication, way.groups[queue])
        return heard


def _as_bytes(payload: object) -> bytes:
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise LocalProtocolError(f"a payload is bytes, not {type(payload).__name__}")
    return bytes(payload)
