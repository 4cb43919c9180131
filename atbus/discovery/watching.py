"""
What a node knows of others from any registry: who tells it, and what is told.

A registry brings entries, in order. What they mean `Directory` decides, and the receiver is told
what has changed. A registry that can bring many entries at once has them taken piece by piece, for
one turn of the reactor is not for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from atbus.discovery import bounds
from atbus.discovery.documents import normal_prefix
from atbus.discovery.interfaces import IRecordReceiver, IRecordWatcher
from atbus.discovery.records import Directory, Entry
from atbus.discovery.waiting import pause
from atbus.errors import LocalProtocolError


@implementer(IRecordWatcher)
class RecordWatcher(ABC):
    """
    Watches the nodes under one prefix; see `IRecordWatcher`. A registry says how.

    :param prefix: What their keys begin with.
    :param timers: The clock.
    """

    _log: ClassVar[Logger] = Logger(namespace="atbus.discovery")

    def __init__(self, prefix: str, timers: IReactorTime) -> None:
        self.is_in_sync = False
        self.prefix = normal_prefix(prefix)
        self.timers = timers
        #: What is known.
        self.directory = Directory(self.prefix, self._refused)
        self._receiver: IRecordReceiver | None = None
        # How often it was started: what was begun before is not gone on with.
        self._starts = 0

    @abstractmethod
    def begin(self) -> None:
        """Begin to watch."""

    @abstractmethod
    def end(self) -> None:
        """Watch no more; twice does no harm."""

    @property
    def refused_count(self) -> int:
        """How often something was found that cannot be used."""
        return self.directory.refused_count

    def start(self, receiver: IRecordReceiver) -> None:
        """Begin to tell; see `IRecordWatcher`."""
        if self._receiver is not None:
            raise LocalProtocolError("the records are watched already")
        self._receiver = receiver
        self._starts += 1
        self.begin()

    def stop(self) -> Deferred[None]:
        """Tell nothing more; see `IRecordWatcher`."""
        self.is_in_sync = False
        self._receiver = None
        self.end()
        return succeed(None)

    # What a registry says.

    def take(self, entries: Iterable[Entry]) -> None:
        """
        Take what has happened, all at once.

        :param entries: Keys as they stand now, in order.
        """
        changes = self.directory.changed(entries)
        if changes:
            self._tell(lambda receiver: receiver.discovered(changes))

    async def take_in_turns(self, entries: Iterator[Entry]) -> None:
        """
        Take what has happened, a bounded number of entries in one turn of the reactor.

        Nothing else may be taken before this has returned. After a stop it takes nothing more.

        :param entries: Keys as they stand now, in order.
        """
        starts = self._starts
        while some := list(islice(entries, bounds.REGISTRY_ENTRIES_PER_TURN)):
            self.take(some)
            if len(some) < bounds.REGISTRY_ENTRIES_PER_TURN:
                return
            await pause(self.timers, 0.0)
            if self._receiver is None or self._starts != starts:
                return

    def synced(self) -> None:
        """Note that everything was told, and changes are told as they happen."""
        self.is_in_sync = True
        self._tell(lambda receiver: receiver.in_sync())

    def lost_sync(self, reason: str) -> None:
        """
        Note that the registry is not there; nothing happens when that is known.

        :param reason: Why, in words.
        """
        was_in_sync, self.is_in_sync = self.is_in_sync, False
        if was_in_sync:
            self._tell(lambda receiver: receiver.out_of_sync(reason))

    def _refused(self, key: str, fault: str) -> None:
        self._tell(lambda receiver: receiver.refused(key, fault))

    def _tell(self, tell: Callable[[IRecordReceiver], None]) -> None:
        if self._receiver is None:
            return
        try:
            tell(self._receiver)
        except Exception:  # noqa: BLE001 - the receiver's; the next news are told all the same
            self._log.failure("a receiver of records failed")
