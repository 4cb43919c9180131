"""
One subscriber of a node: takes publications as they come, or lets them wait to be fetched.

What waits is bounded. A subscriber that has fallen behind by as much gets nothing more until it has
dealt with some of it; what it missed is counted, and told once for each time that it falls behind
(``on_slow_consumer``). Nobody else waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from atbus.errors import LocalProtocolError
from atbus.node.answering import as_deferred, check_callable
from atbus.node.publication import Publication, PublicationRun
from atbus.subjects.interest import Wanted

if TYPE_CHECKING:
    from atbus.node.subscribers import Subscribers

#: What a program does with a publication; see `Node.subscribe`.
Callback = Callable[[Publication], object]


class Subscription:
    """
    One subscription; made by `Node.subscribe`.

    Without a callback it is an asynchronous iterator::

        async with node.subscribe("orders.>") as orders:
            async for order in orders:
                ...

    :param waiting_count_max: How many publications may wait, or be open, at once.
    :param waiting_bytes_max: And how many bytes.
    :param accepts: Asked before each delivery; one that is not accepted was never for it.
    :param everywhere: Whether ``async with`` begins, and ``await`` ends, only when the whole bus
        knows of it. When that fails, the subscription ends.
    :param run_callback: Takes publications that came together, instead of *callback*; only who
        never lets anything wait has one.
    """

    def __init__(
        self,
        subscribers: Subscribers,
        pattern: str,
        callback: Callback | None,
        queue: str,
        *,
        waiting_count_max: int,
        waiting_bytes_max: int,
        accepts: Callable[[Publication], bool] | None,
        everywhere: bool,
        name: str,
        run_callback: Callable[[PublicationRun], None] | None = None,
    ) -> None:
        for given in (callback, accepts, run_callback):
            if given is not None:
                check_callable(given)
        for count in (waiting_count_max, waiting_bytes_max):
            if not isinstance(count, int):
                raise LocalProtocolError(f"{count!r:.60} is no number of what may wait")
        #: What it is called in the log.
        self.name = name or (f"{pattern} in {queue}" if queue else pattern)
        #: What it is interested in, and its queue group; empty for none.
        self.pattern = pattern
        self.queue = queue
        self.accepts = accepts
        self.waiting_count_max = waiting_count_max
        self.waiting_bytes_max = waiting_bytes_max
        #: How many publications it got, and how many it missed because it was slow.
        self.taken = 0
        self.dropped = 0
        #: How many wait or are open, and their bytes.
        self.waiting_count = 0
        self.waiting_bytes = 0
        #: Whether it gets nothing more.
        self.closed = False
        #: After how many publications it ends; 0 for never.
        self.last = 0
        self._subscribers = subscribers
        self._callback = callback
        self._run_callback = run_callback
        self._everywhere = everywhere
        self._kept: deque[Publication] = deque()
        self._fetching: Deferred[None] | None = None
        self._drained: list[Deferred[None]] = []
        self._behind = False

    def __repr__(self) -> str:
        return f"<Subscription {self.name}>"

    # The program's side.

    def unsubscribe(self, after: int | None = None) -> None:
        """
        End the subscription; what waits can still be fetched.

        :param after: Not at once, but after so many publications in all, counted from its begin.
        """
        if after is not None and after > self.taken:
            self.last = after
        else:
            self._close()

    def drain(self) -> Deferred[None]:
        """
        End the subscription in good order.

        :returns: Fires when everything that it got has been dealt with.
        """
        self._close()
        if not self.waiting_count:
            return succeed(None)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        return drained

    def everywhere(self) -> Deferred[None]:
        """
        Wait until the whole bus knows of the subscription.

        While the upstream is away that is waited for. Where a connection is cut further away,
        those beyond learn of it when they are back.

        A node without memory for it (``limits.interest_bytes``) and one that by its rights does not
        pass on all of it make this fail. The subscription goes on: it gets what comes otherwise.

        :returns: Fires when every publication that is published from then on, wherever on the bus,
            comes here; fails with `SubscriptionRefused`, which names the node that does not pass
            it on, and with `Undeliverable` when this node stops. Nodes that join later learn of it
            as they join.
        """
        return self._subscribers.everywhere(Wanted(self.pattern, self.queue))

    def within_reach(self) -> Deferred[None]:
        """
        Wait until all that can be reached of the bus knows of the subscription.

        :returns: As of `everywhere`, but an upstream that is away is not waited for.
        """
        wanted = Wanted(self.pattern, self.queue)
        return self._subscribers.everywhere(wanted, within_reach=True)

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        if self._everywhere:
            try:
                await self.everywhere()
            except BaseException:
                # Nobody else has it to end it: there is no block, nothing was returned.
                self.unsubscribe()
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unsubscribe()

    def __aiter__(self) -> AsyncIterator[Publication]:
        if self._callback is not None:
            raise LocalProtocolError(f"{self!r} has a callback, there is nothing to fetch")
        return self

    async def __anext__(self) -> Publication:
        while not self._kept:
            if self.closed:
                raise StopAsyncIteration
            if self._fetching is not None:
                raise LocalProtocolError(f"{self!r} is fetched from already")
            self._fetching = Deferred()
            try:
                await self._fetching
            finally:
                self._fetching = None
        publication = self._kept.popleft()
        self._dealt_with(publication.size_bytes)
        return publication

    def arrival(self) -> Deferred[None]:
        """
        Wait for the next publication without fetching it.

        :returns: Fires when one comes, or when the subscription ends; who waits no longer may fire
            it himself.
        :raises LocalProtocolError: Somebody waits already.
        """
        if self._fetching is not None:
            raise LocalProtocolError(f"{self!r} is fetched from already")
        arrival: Deferred[None] = Deferred()
        self._fetching = arrival

        def arrived(_: None) -> None:
            self._fetching = None

        return arrival.addCallback(arrived)

    def fetch(self, count_max: int, bytes_max: int) -> list[Publication]:
        """
        Fetch what waits.

        :param count_max: At most so many,
        :param bytes_max: and when there are so many bytes, no more.
        """
        taken: list[Publication] = []
        size_bytes = 0
        while self._kept and len(taken) < count_max and size_bytes < bytes_max:
            publication = self._kept.popleft()
            taken.append(publication)
            size_bytes += publication.size_bytes
            self._dealt_with(publication.size_bytes)
        return taken

    # The node's side.

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more may."""
        return (
            self.waiting_count >= self.waiting_count_max
            or self.waiting_bytes >= self.waiting_bytes_max
        )

    def wants(self, publication: Publication) -> bool:
        """Tell whether a publication is for it."""
        return not self.closed and (self.accepts is None or self.accepts(publication))

    def take(self, publication: Publication) -> bool:
        """
        Take a publication that it wants.

        :returns: False when it is too slow for it.
        """
        if self.waiting_count and self.is_full:
            self._drop()
            return False
        self.taken += 1
        callback = self._callback
        if callback is None:
            # First: whoever waits for it would else find that it ended with nothing to fetch.
            self._enter(publication.size_bytes)
            self._kept.append(publication)
        if self.taken == self.last:
            self._close()
        if callback is None:
            self._wake()
            return True
        try:
            result = callback(publication)
            if result is not None:
                self._watch(result, publication)
        except Exception:  # noqa: BLE001 - the program's
            self._subscribers.failed(self, publication, Failure())
        return True

    def take_run(self, run: PublicationRun) -> int:
        """
        Take those of some publications that it wants.

        :returns: How many it wanted.
        """
        if self._run_callback is None or self.last:
            wanted = 0
            for publication in run.publications:
                if self.wants(publication):
                    wanted += 1
                    self.take(publication)
            return wanted
        # What is asked about the first one is true of all: they differ in their payloads only.
        if self.closed or (self.accepts is not None and not self.accepts(run.first)):
            return 0
        self.taken += len(run)
        try:
            self._run_callback(run)
        except Exception:  # noqa: BLE001 - the program's
            self._subscribers.failed(self, run.first, Failure())
        return len(run)

    def _wake(self) -> None:
        if self._fetching is not None and not self._fetching.called:
            self._fetching.callback(None)

    def _watch(self, result: object, publication: Publication) -> None:
        """Wait for what a callback has returned; bytes are the answer to a question."""
        if isinstance(result, bytes):
            self._subscribers.answer(publication, result)
            return
        self._enter(publication.size_bytes)

        def finished(value: Any) -> None:
            self._dealt_with(publication.size_bytes)
            if isinstance(value, bytes):
                self._subscribers.answer(publication, value)
            elif value is not None and publication.reply_to:
                # Whoever asks would wait in vain, and nobody would know why.
                kind = type(value).__name__
                raise TypeError(f"an answer must be bytes, not {kind}")

        def failed(failure: Failure) -> None:
            self._dealt_with(publication.size_bytes)
            self._subscribers.failed(self, publication, failure)

        waiting = as_deferred(result)
        waiting.addCallbacks(finished, failed)
        waiting.addErrback(lambda failure: self._subscribers.failed(self, publication, failure))

    def _enter(self, size_bytes: int) -> None:
        self.waiting_count += 1
        self.waiting_bytes += size_bytes

    def _dealt_with(self, size_bytes: int) -> None:
        self.waiting_count -= 1
        self.waiting_bytes -= size_bytes
        if self._behind and self.waiting_count * 2 <= self.waiting_count_max:
            self._behind = self.waiting_bytes * 2 > self.waiting_bytes_max
        if not self.waiting_count:
            drained, self._drained = self._drained, []
            for waiting in drained:
                waiting.callback(None)

    def _drop(self) -> None:
        self.dropped += 1
        self._subscribers.dropped(self, first=not self._behind)
        self._behind = True

    def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._subscribers.remove(self)
        self._wake()
