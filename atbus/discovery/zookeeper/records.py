"""
What nodes say of themselves in ZooKeeper: the records and services under one prefix.

1. There are two folders. Each is listed, and watched for what comes and goes; each place in them is
   read, and watched for its next change. A watch tells once, and not what has happened: whatever
   it tells of is looked at again, which watches it again.
2. Watches end with the connection. Whenever there is one again, everything is listed and read anew,
   and what is there no more was gone in between.
3. What happens while something is being looked at is not lost: it is noted, and looked at after
   that. What follows closely on something is looked at together with it, a bounded number of places
   at a time.
4. Of all transactions the number only grows. When it has not, the servers have lost what they knew,
   and what they say now is all that there is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from twisted.internet.defer import DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.discovery import bounds
from atbus.discovery.documents import Kind
from atbus.discovery.records import Entry
from atbus.discovery.waiting import Bell, Routine, pause
from atbus.discovery.watching import RecordWatcher
from atbus.discovery.zookeeper import bounds as zookeeper_bounds
from atbus.discovery.zookeeper.bounds import READS_MAX
from atbus.discovery.zookeeper.faults import Cause, ZooKeeperClosed, ZooKeeperRefused
from atbus.discovery.zookeeper.session import Session
from atbus.discovery.zookeeper.states import Connected, Expired, SessionNews, Stat
from atbus.errors import DiscoveryError
from atbus.routing.backoff import Backoff
from atbus.routing.services import Version

#: Even the shortest of the random waits is one.
_RETRY_SECONDS_MIN: Final = 0.1

#: Refusals that are about one place.
_OF_THE_PLACE: Final = (Cause.NOTHING, Cause.DENIED)

#: Of a place that was never read.
_UNREAD: Final = Version()


class ZooKeeperRecordWatcher(RecordWatcher):
    """
    Watches the nodes under one prefix; see `IRecordWatcher`.

    :param session: Where; whoever made it closes it, after this was stopped.
    :param prefix: What their keys begin with; it begins with a slash.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    """

    _log = Logger(namespace="atbus.discovery.zookeeper")

    def __init__(
        self,
        session: Session,
        prefix: str,
        timers: IReactorTime,
        random: Callable[[], float],
    ) -> None:
        super().__init__(prefix, timers)
        #: How often a place was read.
        self.reads = 0
        #: How often a folder was listed.
        self.listings = 0
        self._session = session
        self._random = random
        self._folders = tuple(f"{self.prefix}{kind.value}" for kind in Kind)
        # The places that there are, with what was read of them last.
        self._known: dict[str, Version] = {}
        # What has to be looked at, in the order in which it became known.
        self._folders_due: dict[str, None] = {}
        self._places_due: dict[str, dict[str, None]] = {}
        self._forget_places_due()
        self._bell = Bell(timers)
        self._work = Routine()
        self._ends: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Begin to watch the places."""
        self._ends = [
            self._session.changed.add(self._session_changed),
            self._session.noticed.add(self._noticed),
        ]
        if self._session.is_connected:
            self._look_at_everything()
        self._work.start(self._run)

    def end(self) -> None:
        """Watch them no more."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()
        self._work.stop()

    # What there is to do.

    def _session_changed(self, news: SessionNews) -> None:
        if isinstance(news, Connected):
            self._look_at_everything()
            return
        self._folders_due.clear()
        self._forget_places_due()
        self.lost_sync("the session is over" if isinstance(news, Expired) else news.reason)

    def _look_at_everything(self) -> None:
        self._folders_due = dict.fromkeys(self._folders)
        self._forget_places_due()
        for place in self._known:
            self._place_due(place)
        self._bell.ring()

    def _forget_places_due(self) -> None:
        # For each folder, the records first: they are read before services, whoever was noticed
        # first.
        self._places_due = {folder: {} for folder in self._folders}

    def _place_due(self, place: str) -> None:
        self._places_due[place.rpartition("/")[0]][place] = None

    def _noticed(self, place: str) -> None:
        if place in self._folders:
            self._folders_due[place] = None
        elif place in self._known:
            self._place_due(place)
        else:
            return
        self._bell.ring()

    async def _run(self, is_wanted: Callable[[], bool]) -> None:
        backoff = Backoff(cap=bounds.REGISTRY_RETRY_SECONDS_MAX)
        while is_wanted():
            try:
                await self._look(is_wanted)
            except ZooKeeperClosed:
                return
            except DiscoveryError as failed:
                self._log.debug("{prefix}: {reason}", prefix=self.prefix, reason=str(failed))
                self.lost_sync(str(failed))
                if self._session.is_connected:
                    self._look_at_everything()
                    await pause(self.timers, max(_RETRY_SECONDS_MIN, backoff.next(self._random())))
                continue
            if not is_wanted():
                return
            if self._session.is_connected and not self.is_in_sync:
                backoff.reset()
                self.synced()
            if is_wanted():
                await self._bell.wait()
                await pause(self.timers, zookeeper_bounds.GATHER_SECONDS)

    async def _look(self, is_wanted: Callable[[], bool]) -> None:
        """Look at everything that is due."""
        while is_wanted():
            due = next((places for places in self._places_due.values() if places), None)
            if self._folders_due:
                await self._list(next(iter(self._folders_due)))
            elif due:
                places = list(islice(due, READS_MAX))
                for place in places:
                    del due[place]
                await self._read(places)
            else:
                return

    # Looking.

    async def _list(self, folder: str) -> None:
        """See what has come into a folder, and what has gone."""
        del self._folders_due[folder]
        self.listings += 1
        client = self._session.client
        stat = await client.look(folder, watch=True)
        if stat is None:
            # It is watched: we are told when somebody makes it.
            names: list[str] = []
        elif stat.places > (most := zookeeper_bounds.FOLDER_PLACES_MAX):
            fault = f"{stat.places} places, {most} are looked at"
            self.directory.refuse(folder, fault)
            raise DiscoveryError(f"{folder}: {fault}")
        else:
            names = await client.list(folder, watch=True)
        await self._look_for_a_loss()
        there = {f"{folder}/{name}": _UNREAD for name in names}
        gone = [
            place for place in self._known if place.startswith(f"{folder}/") and place not in there
        ]
        await self._note_gone(folder, gone)
        for place in there:
            if place not in self._known:
                self._known[place] = _UNREAD
                self._places_due[folder][place] = None

    async def _look_for_a_loss(self) -> None:
        """Forget what was said when the servers know less than they did."""
        newest = max(self._known.values(), default=_UNREAD)
        if self._session.zxid < newest.modified:
            self._log.warn("{prefix}: the servers have lost their data", prefix=self.prefix)
            lost, self._known = self._known, dict.fromkeys(self._known, _UNREAD)
            await self.take_in_turns(
                Entry(place.encode(), None, known) for place, known in lost.items()
            )

    async def _note_gone(self, folder: str, places: list[str]) -> None:
        for begin in range(0, len(places), READS_MAX):
            some = places[begin : begin + READS_MAX]
            self.take(Entry(place.encode(), None, self._known.pop(place)) for place in some)
            for place in some:
                self._places_due[folder].pop(place, None)
            if len(some) == READS_MAX:
                # One turn of the reactor is not for all of them.
                await pause(self.timers, 0.0)

    async def _read(self, places: list[str]) -> None:
        """Read what stands in some places, all at once."""
        client = self._session.client
        self.reads += len(places)
        asked = [client.read(place, watch=True) for place in places]
        answers = await DeferredList(asked, consumeErrors=True)
        entries: list[Entry] = []
        gone: list[str] = []
        for place, (_, answer) in zip(places, answers, strict=True):
            known = self._known.get(place)
            if known is None:
                continue
            if isinstance(answer, Failure):
                if self._is_gone(place, answer):
                    gone.append(place)
                entries.append(Entry(place.encode(), None, known))
                continue
            value, stat = answer
            self._known[place] = version = _version(stat)
            entries.append(Entry(place.encode(), value, version))
        for place in gone:
            del self._known[place]
        self.take(entries)

    def _is_gone(self, place: str, failure: Failure) -> bool:
        """
        Tell of a place that could not be read whether it is gone.

        :raises DiscoveryError: That is a matter of the servers, not of the place.
        """
        fault = failure.value
        if not (isinstance(fault, ZooKeeperRefused) and fault.cause in _OF_THE_PLACE):
            failure.raiseException()
        if fault.cause is Cause.DENIED:
            self.directory.refuse(place, "it may not be read")
        return fault.cause is Cause.NOTHING


def _version(stat: Stat) -> Version:
    return Version(stat.modified, stat.created, stat.version + 1)
