"""Nodes that find each other through a real ZooKeeper."""

from __future__ import annotations

from collections.abc import Awaitable
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from atbus.discovery.documents import Author, service_key, write_service
from atbus.discovery.interfaces import IAnnouncer, IRecordWatcher
from atbus.discovery.zookeeper import bounds
from atbus.discovery.zookeeper.announcer import ZooKeeperAnnouncer
from atbus.discovery.zookeeper.options import SessionOptions
from atbus.discovery.zookeeper.records import ZooKeeperRecordWatcher
from atbus.discovery.zookeeper.session import Session
from atbus.routing.record import Stamp
from atbus.routing.services import Service
from atbus.testing.discovery import DiscoveryContract, RecordingReceiver, record_of
from tests.interop.waiting import Changes
from tests.interop.zookeeper_server import ZooKeeperCase


class SessionCase(ZooKeeperCase):
    """Sessions in one ZooKeeper; they are closed whatever happens."""

    def setUp(self) -> None:
        super().setUp()
        self.changes = Changes(self.reactor)

    def session(self, **options: Any) -> Session:
        """Begin a session; unless it is told to, it does not end because this machine is busy."""
        given: dict[str, Any] = {"servers": self.addresses, "session_seconds": 10.0, **options}
        made = Session(SessionOptions(**given), self.reactor, self.timers, Random(1).random)
        made.changed.add(self.changes.note)
        made.noticed.add(self.changes.note)
        self.addCleanup(made.close)
        made.start()
        return made

    async def connected(self, **options: Any) -> Session:
        """Begin a session, and wait for it."""
        made = self.session(**options)
        await self.changes.until(lambda: made.is_connected)
        return made


class RecordCase(SessionCase):
    """Announcers and watchers in one ZooKeeper."""

    def setUp(self) -> None:
        super().setUp()
        #: Those of the announcers.
        self.sessions: list[Session] = []
        #: The processes that live.
        self.alive: set[str] = set()

    def make_announcer(self, identity: str) -> IAnnouncer:
        session = self.session()
        self.sessions.append(session)
        # Each life of a node is another process; none of those before is alive.
        author = Author(identity, str(len(self.sessions)))
        made = ZooKeeperAnnouncer(
            session,
            self.prefix_text,
            author,
            self.timers,
            Random(1).random,
            is_alive=lambda process: process in self.alive,
        )
        self.addCleanup(made.stop, keep=True)
        return made

    def make_watcher(self) -> IRecordWatcher:
        made = ZooKeeperRecordWatcher(
            self.session(), self.prefix_text, self.timers, Random(1).random
        )
        self.addCleanup(made.stop)
        return made

    def write(self, key: bytes, value: bytes) -> Awaitable[object]:
        return Deferred.fromCoroutine(self._write(key.decode(), value))

    async def _write(self, place: str, value: bytes) -> None:
        session = await self.connected()
        await session.client.make_folder(place.rpartition("/")[0])
        await session.client.create(place, value)

    def lose(self) -> None:
        self.servers[0].kill()

    def restore(self) -> None:
        self.servers[0].start()
        self.assertTrue(self.servers[0].wait())

    def lives(self, number: int) -> None:
        self.alive.add(str(number))

    def watch(self) -> RecordingReceiver:
        receiver = RecordingReceiver(self.reactor)
        self.make_watcher().start(receiver)
        return receiver


class ZooKeeperContractTests(RecordCase, DiscoveryContract):
    """ZooKeeper keeps the contract of registries."""


class FormerOwnerTests(RecordCase):
    """One who does not know yet that another has taken his place."""

    async def test_what_he_writes_late_replaces_nothing(self) -> None:
        """The later owner's service counts, by the zxid of its place, whatever is written after."""
        receiver = self.watch()
        old, new = Service(bus_id=1, name="old"), Service(bus_id=1, name="new")
        former, later = self.make_announcer("same"), self.make_announcer("same")
        await former.announce(record_of(1), old)
        await later.announce(record_of(1, stamp=Stamp(2, 1)), new)
        self.assertGreater(later.fence, former.fence)
        await receiver.until(lambda: receiver.services.get(1) == new)
        client = self.sessions[0].client
        key = service_key(self.prefix_text, 1, "old")
        _, stat = await client.read(key.decode())
        late = write_service(attrs.evolve(old, data="I was frozen"), Author("same", "1"))
        await client.write(key.decode(), late, stat.version)
        await self.make_announcer("witness").announce(record_of(2))
        await receiver.until(lambda: 2 in receiver.records)
        another = self.watch()
        await another.until(lambda: another.is_in_sync)
        self.assertEqual((receiver.services, another.services), ({1: new}, {1: new}))


class BoundTests(RecordCase):
    """What a watcher takes at once."""

    async def test_a_folder_of_too_many(self) -> None:
        """A folder with more places than are looked at is named; with fewer it is read again."""
        self.patch(bounds, "FOLDER_PLACES_MAX", 2)
        receiver = self.watch()
        announcers = [self.make_announcer(name) for name in ("one", "two", "three")]
        for bus_id, announcer in enumerate(announcers[:2], 1):
            await announcer.announce(record_of(bus_id))
        await receiver.until(lambda: len(receiver.records) == 2 and receiver.is_in_sync)
        await announcers[2].announce(record_of(3))
        await receiver.until(lambda: bool(receiver.refusals))
        [(folder, fault), *_] = receiver.refusals
        self.assertTrue(folder.startswith(self.prefix_text), folder)
        self.assertEqual(fault, "3 places, 2 are looked at")
        await receiver.until(lambda: not receiver.is_in_sync)
        self.assertEqual(sorted(receiver.records), [1, 2])
        await announcers[0].withdraw()
        await receiver.until(lambda: receiver.is_in_sync and sorted(receiver.records) == [2, 3])

    async def test_news_are_gathered(self) -> None:
        """What is new is looked at a moment later, with whatever else has come by then."""
        clock = Clock()
        session = await self.connected()
        watcher = ZooKeeperRecordWatcher(session, self.prefix_text, clock, Random(1).random)
        self.addCleanup(watcher.stop)
        receiver = RecordingReceiver(self.reactor)
        watcher.start(receiver)
        await receiver.until(lambda: receiver.is_in_sync)
        listings = watcher.listings
        for bus_id in range(1, 5):
            await self.make_announcer(str(bus_id)).announce(record_of(bus_id))
        while not clock.getDelayedCalls():
            await self.passes(0.02)
        clock.advance(bounds.GATHER_SECONDS * 0.9)
        self.assertEqual((watcher.listings, receiver.records), (listings, {}))
        clock.advance(bounds.GATHER_SECONDS * 0.1)
        self.assertEqual(clock.getDelayedCalls(), [])
        while len(receiver.records) < 4:
            await self.passes(0.02)
            clock.advance(bounds.GATHER_SECONDS)
        # One for the news of the folder, and one for those that came while it was listed.
        self.assertLessEqual(watcher.listings, listings + 2)
