"""
The other gateways of the bus, for ``connect_urls``: where clients could go instead.

Each gateway asks all others every now and then, and says in its question where it can be reached
itself; who is asked answers likewise. So a new one is known to all at once, and one that has not
answered several times is forgotten; one that leaves in good order says so.

Each also *stands* there: it has a subscription that nobody publishes to, with its name. Of one that
is killed or cut off all hear, as of any interest, that nobody wants that any more, and forget it as
soon as it has not come back in a moment; one that stands there and is not known is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from atbus.errors import AtbusError, Undeliverable
from atbus.nats import bounds
from atbus.node.publication import Publication
from atbus.subjects.pattern import OWN_SUBJECTS

if TYPE_CHECKING:
    from atbus.node.node import Node
    from atbus.node.subscription import Subscription

SUBJECT: Final = f"{OWN_SUBJECTS}.nats.gateways"
_STANDING: Final = f"{SUBJECT}."


@attrs.frozen(kw_only=True)
class Place:
    """
    Where one gateway can be reached.

    :param urls: Of its listener, and
    :param websocket_urls: of the one for WebSocket.
    """

    server_id: str
    urls: tuple[str, ...] = ()
    websocket_urls: tuple[str, ...] = ()

    @property
    def is_somewhere(self) -> bool:
        """Whether it can be reached; who is gone says that it cannot."""
        return bool(self.urls or self.websocket_urls)

    def write(self) -> bytes:
        """Write it for the others."""
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def read(cls, text: bytes) -> Place:
        """
        Read what another gateway has written.

        :raises ValueError: It is not readable.
        """
        try:
            facts: Any = json.loads(text)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if not isinstance(facts, dict):
            raise ValueError("no object")  # noqa: TRY004 - whatever is wrong is wrong likewise
        lists: list[Any] = [facts.get("urls"), facts.get("websocket_urls")]
        if not all(isinstance(each, list) and len(each) <= bounds.URLS_MAX for each in lists):
            raise ValueError("no lists of a reasonable length")
        urls, websocket_urls = (tuple(map(str, each)) for each in lists)
        return cls(
            server_id=str(facts.get("server_id", "")), urls=urls, websocket_urls=websocket_urls
        )


class Siblings:
    """
    What one gateway knows of the others.

    :param node: Its node, which is up.
    :param timers: The clock.
    :param changed: Called when there are others than before.
    """

    _log = Logger(namespace="atbus.nats")

    def __init__(self, node: Node, timers: Any, changed: Callable[[], object]) -> None:
        self.own: Place | None = None
        self._node = node
        self._timers = timers
        self._changed = changed
        self._others: dict[str, tuple[Place, float]] = {}
        self._subscription: Subscription | None = None
        self._standing: Subscription | None = None
        # Those who stand there, as we know since we looked last; since when do not any more who
        # did, and when these are forgotten.
        self._stand: frozenset[str] = frozenset()
        self._missing: dict[str, float] = {}
        self._missed: IDelayedCall | None = None
        self._looking: IDelayedCall | None = None
        self._next: IDelayedCall | None = None
        self._asking: Deferred[Any] | None = None
        # Who has said since we asked that it is gone: what it may have answered before is over.
        self._gone: set[str] = set()

    @property
    def others(self) -> tuple[Place, ...]:
        """The other gateways, always in the same order."""
        return tuple(self._others[name][0] for name in sorted(self._others))

    def start(self, own: Place) -> None:
        """
        Make ourselves known, and get to know the others.

        :param own: Where we can be reached.
        """
        self.own = own
        try:
            self._subscription = self._node.subscribe(SUBJECT, self._asked)
        except Undeliverable as refused:
            # The node's rights do not allow it: clients are not told where else they could go.
            self._log.warn("other gateways stay unknown: {refused}", refused=str(refused))
            return
        self._node.beyond.watchers.append(self._look_soon)
        self._stand_there()
        self._ask()

    def move(self, own: Place) -> None:
        """
        Tell the others that we can be reached elsewhere.

        :param own: Where.
        """
        if self.own is not None and own != self.own:
            self.own = own
            self._stand_there()
            self._tell(own)

    def stop(self) -> None:
        """Say that we are gone, and forget the others."""
        if self._subscription is None or self.own is None:
            return
        self.leave()
        self._subscription.unsubscribe()
        self._subscription = None
        self._node.beyond.watchers.remove(self._look_soon)
        for timer in (self._next, self._missed, self._looking):
            if timer is not None and timer.active():
                timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
        self._others.clear()
        self._missing.clear()

    def leave(self) -> None:
        """Say that nobody should come to us any more."""
        assert self.own is not None
        self.own = attrs.evolve(self.own, urls=(), websocket_urls=())
        self._stand_there()
        self._tell(self.own)

    def _stand_there(self) -> None:
        """Stand where the others look as long as we can be reached."""
        assert self.own is not None
        if self.own.is_somewhere and self._standing is None:
            try:
                self._standing = self._node.subscribe(
                    f"{_STANDING}{self.own.server_id}", lambda _: None
                )
            except Undeliverable:
                # Not allowed either; the others go by what we answer.
                return
        elif not self.own.is_somewhere and self._standing is not None:
            self._standing.unsubscribe()
            self._standing = None

    def _look_soon(self) -> None:
        """Look who stands there: somebody wants other things than before."""
        if self._looking is None:
            self._looking = self._timers.callLater(bounds.SIBLINGS_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        before, self._stand = self._stand, self._standing_now()
        for name in before - self._stand:
            self._missing[name] = self._timers.seconds()
        for name in self._stand - before:
            self._missing.pop(name, None)
        if self._missing and self._missed is None:
            self._missed = self._timers.callLater(bounds.SIBLING_MISSED_SECONDS, self._miss)
        if any(self._is_strange(name) for name in self._stand - before):
            self._ask_soon()

    def _standing_now(self) -> frozenset[str]:
        found = self._node.beyond.wanted_under(_STANDING)
        return frozenset(subject[len(_STANDING) :] for subject in found)

    def _is_strange(self, name: str) -> bool:
        return self.own is not None and name != self.own.server_id and name not in self._others

    def _miss(self) -> None:
        """Forget those who stood there, and have not come back for long enough."""
        self._missed = None
        now = self._timers.seconds()
        # Reckoned forwards, as the clock does it: backwards, what is due can round to later, and
        # the time that is left to nothing.
        due = {
            name: since + bounds.SIBLING_MISSED_SECONDS for name, since in self._missing.items()
        }
        gone = [name for name, at in due.items() if at <= now]
        for name in gone:
            del self._missing[name], due[name]
        if due:
            self._missed = self._timers.callLater(min(due.values()) - now, self._miss)
        self._forget(gone)

    def _forget(self, names: Iterable[str]) -> None:
        known = [name for name in names if name in self._others]
        for name in known:
            del self._others[name]
        if known:
            self._changed()

    def _tell(self, own: Place) -> None:
        try:
            self._node.publish(SUBJECT, own.write())
        except AtbusError:
            # The node has stopped before; the others forget us by themselves.
            return

    def _asked(self, publication: Publication) -> bytes | None:
        """Another gateway tells where it is, and asks where we are."""
        place = _read(publication)
        if place is not None:
            self._note(place)
            self._learn(place)
        return self.own.write() if self.own is not None and publication.reply_to else None

    def _ask(self) -> None:
        assert self.own is not None
        self._next = self._timers.callLater(bounds.SIBLINGS_SECONDS, self._ask)
        if self._asking is None:
            # We answer ourselves, and it ends when nobody else has anything to say for a moment.
            asking = self._asking = self._node.request_many(SUBJECT, self.own.write())
            asking.addCallback(self._answered)
            # A bus that has no other gateway has nobody who answers; one that has stopped neither.
            asking.addErrback(lambda failure: failure.trap(AtbusError))
            asking.addBoth(self._asked_all)

    def _ask_soon(self) -> None:
        assert self._next is not None
        if self._next.getTime() > self._timers.seconds() + bounds.SIBLING_STRANGE_SECONDS:
            self._next.reset(bounds.SIBLING_STRANGE_SECONDS)

    def _answered(self, answers: list[Publication]) -> None:
        for place in map(_read, answers):
            if place is not None and place.server_id not in self._gone:
                self._learn(place)

    def _asked_all(self, _: object) -> None:
        self._asking = None
        self._gone.clear()
        until = self._timers.seconds() - bounds.SIBLINGS_FORGOTTEN_SECONDS
        self._forget(name for name, (_, heard_at) in self._others.items() if heard_at < until)

    def _note(self, place: Place) -> None:
        """Note who is gone, while answers are collected that may be older than that."""
        if place.is_somewhere:
            self._gone.discard(place.server_id)
        elif self._asking is not None and len(self._gone) < bounds.URLS_MAX:
            self._gone.add(place.server_id)

    def _learn(self, place: Place) -> None:
        name = place.server_id
        if self.own is None or name == self.own.server_id:
            return
        known = self._others.get(name)
        if known is None and len(self._others) >= bounds.URLS_MAX:
            return
        if place.is_somewhere:
            self._others[name] = place, self._timers.seconds()
        else:
            self._others.pop(name, None)
        if (known[0] if known else None) != (place if name in self._others else None):
            self._changed()


def _read(publication: Publication) -> Place | None:
    """Read what another gateway has said; None where it is not readable."""
    try:
        return Place.read(publication.payload)
    except ValueError:
        return None
