"""
Which gateway of the bus serves, where just one of them may.

Each makes itself known by a subscription that nobody publishes to, so the others learn of it, and
of its end, as of any interest. It is the turn of the one with the lowest bus id. That one waits
until the whole bus knows of it before it begins, and who is not it any more ends at once: so two
never serve at a time, but while a bus that was cut is joined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.errors import AtbusError, SubscriptionRefused
from atbus.nats import bounds

if TYPE_CHECKING:
    from atbus.node.node import Node
    from atbus.node.subscription import Subscription

_KEY_BYTES: Final = 8


class Candidacy:
    """
    One gateway among those that could serve.

    :param node: Its node.
    :param timers: The clock.
    :param prefix: How the subjects begin by which candidates know each other.
    :param what: What is served; it is the same at all candidates.
    :param changed: Called when it may be another's turn.
    :param mark: A token that tells the others more of us; empty for none.
    """

    _log = Logger(namespace="atbus.nats")

    def __init__(
        self,
        node: Node,
        timers: Any,
        prefix: str,
        what: str,
        changed: Callable[[], object],
        mark: str = "",
    ) -> None:
        #: What the candidates for the same have in common.
        self.key = hashlib.blake2b(what.encode(), digest_size=_KEY_BYTES).hexdigest()
        #: How their subjects begin.
        self.prefix = f"{prefix}.{self.key}."
        self._node = node
        self._timers = timers
        self._changed = changed
        self._mark = f".{mark}" if mark else ""
        self._subscription: Subscription | None = None
        self._is_known = self._is_refused = False
        self._next: IDelayedCall | None = None

    @property
    def is_standing(self) -> bool:
        """Whether we are a candidate."""
        return self._subscription is not None

    @property
    def is_ours(self) -> bool:
        """Whether it is nobody else's turn; before all know of us we must not begin."""
        return self.first >= self._own

    @property
    def first(self) -> str:
        """The subject of the one whose turn it is."""
        return min(self._node.beyond.wanted_under(self.prefix), default=self._own)

    @property
    def has_rivals(self) -> bool:
        """Whether there are other candidates."""
        return any(each != self._own for each in self._node.beyond.wanted_under(self.prefix))

    @property
    def may_begin(self) -> bool:
        """Whether it is our turn, and all know it."""
        return self._is_known and self.is_ours

    @property
    def marks(self) -> frozenset[str]:
        """What all candidates, we among them, tell of themselves."""
        found = (each.rpartition(".") for each in self._node.beyond.wanted_under(self.prefix))
        return frozenset(mark for _, _, mark in found)

    @property
    def _own(self) -> str:
        return f"{self.prefix}{self._node.bus_id:016x}{self._mark}"

    def start(self) -> None:
        """Become a candidate; the node is up."""
        self._subscription = self._node.subscribe(self._own, lambda _: None)
        self._node.beyond.watchers.append(self._look)
        self._find_out()

    def leave(self) -> None:
        """Be none any more, and look on at the others; one takes over as soon as it hears of it."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        if self._next is not None and self._next.active():
            self._next.cancel()
        subscription.unsubscribe()

    def stop(self) -> None:
        """Be none any more, whatever becomes of the others."""
        watchers = self._node.beyond.watchers
        if self._look in watchers:
            watchers.remove(self._look)
        self.leave()

    def everywhere(self) -> Deferred[None]:
        """Wait until all within reach have heard all interest of this node."""
        if self._subscription is None:
            return fail(CancelledError())
        return self._node.beyond.within_reach()

    def _look(self) -> None:
        self._changed()

    def _find_out(self) -> None:
        if self._subscription is not None:
            # In a part of the bus that is cut off somebody has to serve as well.
            self._subscription.within_reach().addCallbacks(self._known, self._unknown)

    def _known(self, _: None) -> None:
        self._is_known, self._is_refused = True, False
        self._changed()

    def _unknown(self, failure: Failure) -> None:
        failure.trap(AtbusError)
        if failure.check(SubscriptionRefused) and not self._is_refused:
            # Somebody beyond might serve as well, and each of us would bring everything.
            self._is_refused = True
            self._log.warn("not all know of this gateway: {why}", why=failure.value)
        self._next = self._timers.callLater(bounds.LEAF_RETRY_SECONDS, self._find_out)
