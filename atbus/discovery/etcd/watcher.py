"""
All keys with one prefix, and every change of them.

1. First a snapshot, in pages, all of one revision; then a watch from the next revision on.
2. A watch that ends, for whatever reason, begins again after the last change that was told, so that
   none is lost and none is told twice.
3. When the history from there on is gone (compaction), there is a snapshot again. Whoever is told
   compares it with what he knows.
4. What is too long is not read. A watch that would bring such a value is replaced by a snapshot
   that leaves it out and names it.
5. A frozen server keeps its connections, so a watch that is silent for a while makes us ask the
   same server a small question. When that is not answered, another server takes over.

6. Who is told may take his time: nothing else is told meanwhile, and nothing more is read.

Where to go on is the last change that was *told*: in the head of an answer with changes stands the
revision of the store, which may be ahead of them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from random import Random
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.faults import (
    Cause,
    EtcdClosed,
    EtcdRefused,
    EtcdUnreadable,
    cause_of,
)
from atbus.discovery.etcd.options import WatcherOptions
from atbus.discovery.etcd.packer import Event, KeyValue, WatchAnswer
from atbus.discovery.waiting import Bell, Routine, pause
from atbus.errors import DiscoveryError, LocalProtocolError, printable
from atbus.routing.backoff import Backoff

#: Even the shortest of the random waits is one.
_RETRY_SECONDS_MIN: Final = 0.1


class WatcherReceiver:
    """What a watcher tells; a subclass takes what it needs. One that raises is logged."""

    def snapshot(self, items: list[KeyValue], revision: int) -> Deferred[None] | None:
        """
        Take all that there is; what is not among it is gone.

        :param items: In the order of their keys.
        :param revision: Of the store.
        :returns: Fires when it is taken; None when it is already. It is cancelled when the watcher
            is stopped before.
        """

    def changed(self, events: list[Event]) -> Deferred[None] | None:
        """
        Take changes, in the order in which they happened.

        :param events: At least one.
        :returns: As `snapshot`.
        """

    def watching(self) -> None:
        """Learn that from now on changes are told as they happen."""

    def interrupted(self, reason: str) -> None:
        """
        Learn that changes are not told any more; they will be, from where they were.

        :param reason: Why.
        """

    def too_long(self, key: bytes) -> None:
        """
        Learn of a key whose value is too long to be read.

        :param key: The key.
        """


class _Gap(enum.Enum):
    """Why one cannot go on where one was."""

    COMPACTED = "the history was compacted"
    TOO_LONG = "a value is too long"


@attrs.define(slots=False, eq=False)
class _Lost(Exception):
    """The place in the history is lost; a snapshot is needed."""

    gap: _Gap


class Watcher:
    """
    The keys with one prefix.

    :param cluster: Where.
    :param prefix: What the keys begin with.
    :param receiver: Is told.
    :param timers: The clock.
    :param random: For the wait at the start and those after failures.
    :param options: How.
    """

    _log = Logger(namespace="atbus.discovery.etcd")

    def __init__(
        self,
        cluster: EtcdCluster,
        prefix: bytes,
        receiver: WatcherReceiver,
        timers: IReactorTime,
        random: Random,
        options: WatcherOptions | None = None,
    ) -> None:
        self.prefix = prefix
        #: The last change that was told, or the revision of the last snapshot; 0 before it.
        self.revision = 0
        #: How often a watch was begun.
        self.watches = 0
        #: How often there was a snapshot.
        self.snapshots = 0
        #: Whether changes are told now as they happen.
        self.is_watching = False
        self._cluster = cluster
        self._receiver = receiver
        self._timers = timers
        self._random = random
        self._options = options or WatcherOptions()
        # Whether the present watch has brought anything.
        self._told = False
        # Fires when what was told last is taken; does not fail.
        self._taken: Deferred[None] = succeed(None)
        self._ending: IDelayedCall | None = None
        self._began: Callable[[], IDelayedCall]
        self._pulse = Bell(timers)
        self._work = Routine()
        self._doubts = Routine()

    def start(self) -> None:
        """
        Begin.

        :raises LocalProtocolError: It was started before and not stopped.
        """
        if self._work.is_running:
            raise LocalProtocolError("the prefix is watched already")
        self._work.start(self._run)

    def stop(self) -> None:
        """Tell nothing more; a later start begins with a snapshot. Twice does no harm."""
        self._work.stop()
        self._doubts.stop()
        self._taken.cancel()
        self.is_watching = False
        self.revision = 0

    async def _run(self, is_wanted: Callable[[], bool]) -> None:
        least, most = self._options.startup_seconds
        if most > 0:
            await pause(self._timers, self._random.uniform(least, most))
        backoff = Backoff(cap=bounds.REGISTRY_RETRY_SECONDS_MAX)
        while is_wanted():
            self._told = False
            try:
                if not self.revision:
                    await self._take_snapshot(is_wanted)
                if is_wanted():
                    await self._watch_and_settle()
            except EtcdClosed:
                return
            except _Lost as lost:
                self._log.info("{prefix}: {gap}", prefix=_shown(self.prefix), gap=lost.gap.value)
                self.revision = 0
            except DiscoveryError as failed:
                self._interrupted(str(failed))
            if not is_wanted():
                return
            if self._told:
                backoff.reset()
            else:
                await pause(
                    self._timers, max(_RETRY_SECONDS_MIN, backoff.next(self._random.random()))
                )

    def _interrupted(self, reason: str) -> None:
        self._log.debug("{prefix}: {reason}", prefix=_shown(self.prefix), reason=reason)
        self._tell(lambda: self._receiver.interrupted(reason))

    # Snapshots.

    async def _take_snapshot(self, is_wanted: Callable[[], bool]) -> None:
        """Read everything, in pages of one revision."""
        items: list[KeyValue] = []
        key, end = self.prefix or b"\0", packer.range_end(self.prefix)
        count, revision = self._options.page_keys, 0
        while True:
            request = {
                "key": packer.encode(key),
                "range_end": packer.encode(end),
                "limit": str(count),
                "revision": str(revision),
            }
            try:
                page = await self._cluster.range(request)
            except EtcdRefused as refused:
                if refused.cause is not Cause.COMPACTED:
                    raise
                raise _Lost(_Gap.COMPACTED) from refused
            except EtcdUnreadable:
                # One page is too long to be read at once, or one value is too long at all.
                if count == 1:
                    key = await self._pass_over(key, end, revision)
                    count = self._options.page_keys
                else:
                    count = max(1, count // 8)
                if is_wanted():
                    continue
                return
            revision = revision or page.header.revision
            items.extend(page.items)
            if not page.more or not page.items:
                break
            key = page.items[-1].key + b"\0"
            if len(items) > bounds.REGISTRY_KEYS_MAX:
                raise EtcdUnreadable(f"more than {bounds.REGISTRY_KEYS_MAX} keys")
        self.revision = revision
        self.snapshots += 1
        await self._tell(lambda: self._receiver.snapshot(items, revision))

    async def _pass_over(self, key: bytes, end: bytes, revision: int) -> bytes:
        """Leave one key out, and give the beginning of the rest."""
        request = {
            "key": packer.encode(key),
            "range_end": packer.encode(end),
            "limit": "1",
            "revision": str(revision),
            "keys_only": True,
        }
        page = await self._cluster.range(request)
        if not page.items:
            return end
        long = page.items[0].key
        self._tell(lambda: self._receiver.too_long(long))
        return long + b"\0"

    # Watches.

    async def _watch_and_settle(self) -> None:
        """Tell changes until the watch ends and the last ones are taken."""
        try:
            await self._watch()
        finally:
            await self._taken

    async def _watch(self) -> None:
        """Tell changes until the watch ends."""
        request = packer.watch_request(self.prefix, self.revision + 1)
        self.watches += 1
        stream = Deferred.fromCoroutine(
            self._cluster.stream("/v3/watch", request, self._line_received)
        )
        is_over = False

        def end() -> None:
            nonlocal is_over
            is_over = True
            stream.cancel()

        # Its time begins with its first line: until then that of a request counts.
        self._began = lambda: self._timers.callLater(self._options.watch_seconds, end)
        try:
            await stream
        except EtcdUnreadable as fault:
            raise _Lost(_Gap.TOO_LONG) from fault
        except CancelledError:
            if not is_over:
                raise
        finally:
            if self._ending is not None and self._ending.active():
                self._ending.cancel()
            self._ending = None
            self.is_watching = False
            self._doubts.stop()

    def _line_received(self, url: str, line: bytes) -> Deferred[None]:
        answer = packer.parse_watch(line)
        if answer.canceled:
            raise self._ended(answer)
        if answer.created:
            self.is_watching = True
            self._ending = self._began()
            self._doubts.start(lambda is_wanted: self._doubt(url, is_wanted))
            self._tell(self._receiver.watching)
        else:
            self._told = True
        self._pulse.ring()
        events = [event for event in answer.events if event.item.mod_revision > self.revision]
        if events:
            self.revision = events[-1].item.mod_revision
            self._tell(lambda: self._receiver.changed(events))
        elif not answer.created and not answer.events:
            # A sign of life: everything up to here has been told.
            self.revision = max(self.revision, answer.header.revision)
        return self._taken

    def _ended(self, answer: WatchAnswer) -> Exception:
        if answer.compact_revision > self.revision:
            return _Lost(_Gap.COMPACTED)
        cause = cause_of(2, answer.reason)
        if cause is Cause.OTHER and self._cluster.login.is_wanted:
            # A watch says "permission denied" also when it means that the token is too old.
            cause = Cause.TOKEN
        return EtcdRefused(f"watch: {answer.reason or 'canceled'}", cause=cause)

    async def _doubt(self, url: str, is_wanted: Callable[[], bool]) -> None:
        """Ask a server that is silent whether it is there; the cluster ends its streams if not."""
        request = {**packer.prefix_range(self.prefix), "count_only": True, "serializable": True}
        while is_wanted():
            if await self._pulse.wait(self._options.silence_seconds):
                continue
            try:
                await self._cluster.call_at(url, "/v3/kv/range", request)
            except DiscoveryError as failed:
                self._log.debug("{url} was silent: {reason}", url=url, reason=str(failed))

    def _tell(self, told: Callable[[], Deferred[None] | None]) -> Deferred[None]:
        """Tell something; gives what fires when it is taken, and does not fail."""
        taken: Deferred[Any] = maybeDeferred(told)
        self._taken = taken.addErrback(self._not_taken)
        return self._taken

    def _not_taken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            # The receiver's; the watch goes on.
            self._log.failure("a receiver of {prefix} failed", failure, prefix=_shown(self.prefix))


def _shown(key: bytes) -> str:
    return printable(key.decode("utf-8", "replace"))
