"""
Built-in commands about subjects: what a node publishes, asks and listens to for a tool.

A tool that listens is registered as a temporary node, to which nothing can be sent. So the node
subscribes in its stead, and the tool fetches: each ``atbus.fetch`` waits until something has come,
or its time is over. Who fetches no more is forgotten after a while.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred, succeed

from atbus.errors import AtbusError
from atbus.node.admin import Words, reading, seconds_of
from atbus.node.publication import Publication
from atbus.node.subscription import Subscription
from atbus.subjects import bounds

if TYPE_CHECKING:
    from atbus.node.beyond import Beyond
    from atbus.node.commands import Executor
    from atbus.node.context import Context
    from atbus.node.inquiries import Inquiries
    from atbus.node.peer_links import PeerLinks
    from atbus.node.publishing import Publishing
    from atbus.node.subscribers import Subscribers

_HANDLE_BITS = 64


@attrs.define(eq=False)
class _Reader:
    """A tool that listens, until when it is waited for, and how much it knows to have missed."""

    subscription: Subscription
    deadline: float
    told_missed: int = 0


class SubjectAdmin:
    """Answer the built-in commands about subjects of one node."""

    peer_links: PeerLinks

    def __init__(
        self,
        context: Context,
        subscribers: Subscribers,
        publishing: Publishing,
        inquiries: Inquiries,
        beyond: Beyond,
    ) -> None:
        self._context = context
        self._subscribers = subscribers
        self._publishing = publishing
        self._inquiries = inquiries
        self._beyond = beyond
        self._readers: dict[str, _Reader] = {}

    @property
    def commands(self) -> Mapping[bytes, Executor]:
        """The built-in commands by name."""
        return {
            b"atbus.publish": reading(self._publish),
            b"atbus.ask": reading(self._ask),
            b"atbus.ask-all": reading(self._ask_all),
            b"atbus.subscribe": reading(self._subscribe),
            b"atbus.fetch": reading(self._fetch),
            b"atbus.peers": reading(self._peers),
        }

    def _peers(self, _words: Words) -> object:
        """Describe the links to other nodes, and behind them the routes to servers of NATS."""
        return [*self.peer_links.reports(), *self._beyond.reports()]

    def _publish(self, words: Words) -> object:
        """Publish on a subject: payload, reply subject, header block."""
        subject, payload, reply_to, block = _parts(words, 4)
        sequence = self._publishing.publish(
            _text(subject), payload, reply_to=_text(reply_to), header_block=block
        )
        return {"sequence": sequence}

    def _ask(self, words: Words) -> Deferred[object]:
        """Ask on a subject: payload, header block, seconds."""
        subject, payload, block = _parts(words, 3)
        asking = self._inquiries.ask(_text(subject), payload, 0, block, seconds_of(words, 4))
        return asking.addCallback(_report)

    def _ask_all(self, words: Words) -> Deferred[object]:
        """Ask everybody on a subject: payload, header block, seconds, quiet seconds."""
        subject, payload, block = _parts(words, 3)
        asking = self._inquiries.ask_many(
            _text(subject),
            payload,
            0,
            block,
            bounds.FETCHED_COUNT_MAX,
            seconds_of(words, 4),
            seconds_of(words, 5),
        )
        return asking.addCallback(lambda answers: [_report(answer) for answer in answers])

    def _subscribe(self, words: Words) -> object:
        """Listen to a pattern, perhaps as a member of a group; gives a handle to fetch with."""
        pattern, queue = map(_text, _parts(words, 2))
        if len(self._readers) >= bounds.READERS_MAX:
            raise AtbusError(f"{len(self._readers)} tools listen here already")
        handle = f"{self._context.random.getrandbits(_HANDLE_BITS):x}"
        subscription = Subscription(
            self._subscribers,
            pattern,
            None,
            queue,
            waiting_count_max=bounds.FETCHED_COUNT_MAX,
            waiting_bytes_max=bounds.WAITING_BYTES_MAX,
            accepts=None,
            everywhere=False,
            name=f"{pattern} of a tool",
        )
        self._subscribers.add(subscription)
        self._readers[handle] = _Reader(subscription, self._patience())
        return {"handle": handle}

    def _patience(self) -> float:
        return self._context.now + bounds.FETCH_PATIENCE_SECONDS

    def _fetch(self, words: Words) -> Deferred[object]:
        """Give what has come for a handle, or wait so many seconds for it; 0 ends it."""
        handle = _text(_parts(words, 1)[0])
        reader = self._readers.get(handle)
        if reader is None:
            raise AtbusError("nobody listens with this handle")
        if words[2:3] == (b"0",):
            self._end(handle)
            return succeed(self._given(reader))
        seconds = seconds_of(words, 2)
        reader.deadline = self._patience() + seconds
        if reader.subscription.waiting_count:
            return succeed(self._given(reader))
        waiting = reader.subscription.arrival()
        over = self._context.timers.callLater(seconds, waiting.callback, None)

        def given(_: object) -> object:
            if over.active():
                over.cancel()
            return self._given(reader)

        return waiting.addCallback(given)

    @staticmethod
    def _given(reader: _Reader) -> object:
        subscription = reader.subscription
        taken = subscription.fetch(bounds.FETCHED_COUNT_MAX, bounds.FETCHED_BYTES)
        missed = subscription.dropped - reader.told_missed
        reader.told_missed = subscription.dropped
        return {"publications": [_report(each) for each in taken], "missed": missed}

    def sweep(self) -> None:
        """Forget who fetches no more."""
        now = self._context.now
        for handle, reader in list(self._readers.items()):
            if now > reader.deadline:
                self._end(handle)

    def _end(self, handle: str) -> None:
        self._readers.pop(handle).subscription.unsubscribe()

    def close(self) -> None:
        """Forget everybody: the node has stopped."""
        self._readers.clear()


def _parts(words: Words, count: int) -> list[bytes]:
    """Give so many words behind the command's name; those that are missing are empty."""
    return [*words[1 : 1 + count], *[b""] * (count + 1 - len(words))][:count]


def _text(word: bytes) -> str:
    return word.decode("utf-8", "replace")


def _report(publication: Publication) -> dict[str, object]:
    shown = publication.payload[: bounds.FETCHED_BYTES]
    return {
        "subject": publication.subject,
        "source": f"{publication.source:#x}",
        "sequence": publication.sequence,
        "hops": publication.hops,
        "kind": publication.kind,
        "reply_to": publication.reply_to,
        "headers": [list(pair) for pair in publication.headers],
        "size_bytes": len(publication.payload),
        "payload_base64": base64.b64encode(shown).decode("ascii"),
    }
