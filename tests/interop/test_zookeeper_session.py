"""Sessions with real ZooKeeper servers: lost, resumed, expired, refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.protocols.portforward import ProxyFactory

from atbus.discovery.documents import Author
from atbus.discovery.interfaces import RecordGone
from atbus.discovery.zookeeper.announcer import ZooKeeperAnnouncer
from atbus.discovery.zookeeper.faults import Cause, ZooKeeperClosed, ZooKeeperRefused
from atbus.discovery.zookeeper.options import Access, Login
from atbus.discovery.zookeeper.records import ZooKeeperRecordWatcher
from atbus.discovery.zookeeper.session import Session
from atbus.discovery.zookeeper.states import Connected, Expired, Lost, SessionNews, Suspended
from atbus.errors import DiscoveryConflict, DiscoveryError, LocalProtocolError
from atbus.routing.record import Stamp
from atbus.routing.services import Service
from atbus.testing.discovery import RecordingReceiver, record_of
from tests.interop.etcd_server import free_ports
from tests.interop.test_zookeeper_records import RecordCase


class Link(ProxyFactory):
    """
    A connection to a server that can be cut.

    :param reactor: Where it listens.
    :param address: Of the server.
    """

    noisy = False

    def __init__(self, reactor: Any, address: str) -> None:
        host, port = address.split(":")
        super().__init__(host, int(port))
        self._reactor = reactor
        self._listening: Any = None
        # One that nobody gets while nobody listens.
        (self._number,) = free_ports(1)
        self._connections: list[Any] = []

    def buildProtocol(self, address: Any) -> Any:
        """Note who has connected."""
        made = super().buildProtocol(address)
        self._connections.append(made)
        return made

    def open(self) -> str:
        """Listen, at the same address as before if there was one; give that."""
        self._listening = self._reactor.listenTCP(self._number, self, interface="127.0.0.1")
        return f"127.0.0.1:{self._number}"

    async def cut(self) -> None:
        """Let nobody through, and none of those who were."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await listening.stopListening()
        for connection in self._connections:
            if connection.transport.connected:
                connection.transport.abortConnection()
        self._connections.clear()


class AnnouncedCase(RecordCase):
    """Sessions in which something is announced and watched."""

    def announcer(self, session: Session, identity: str = "a") -> ZooKeeperAnnouncer:
        """Announce in a session."""
        author = Author(identity, identity)
        made = ZooKeeperAnnouncer(
            session, self.prefix_text, author, self.timers, Random(1).random
        )
        self.addCleanup(made.stop, keep=True)
        return made

    def watching(self, session: Session) -> tuple[ZooKeeperRecordWatcher, RecordingReceiver]:
        """Watch in a session."""
        watcher = ZooKeeperRecordWatcher(
            session, self.prefix_text, self.timers, Random(1).random
        )
        receiver = RecordingReceiver(self.reactor)
        watcher.start(receiver)
        self.addCleanup(watcher.stop)
        return watcher, receiver

    def news(self, session: Session) -> list[type[object]]:
        """Write down what becomes of a session."""
        told: list[type[object]] = []

        def note(news: SessionNews) -> None:
            # Why nobody answers may be told several times, in other words.
            if told[-1:] != [type(news)]:
                told.append(type(news))
            self.changes.note()

        session.changed.add(note)
        return told


class OneServerTests(AnnouncedCase):
    """What becomes of a session when its only server goes and comes."""

    async def test_a_session_is_resumed(self) -> None:
        """
        A server that is back in time resumes the session: nothing is written anew, nobody is told
        as gone, and what happened meanwhile is told.
        """
        session, other = self.session(session_seconds=300.0), self.session(session_seconds=300.0)
        announcer, told = self.announcer(session), self.news(session)
        _, receiver = self.watching(session)
        await announcer.announce(record_of(1), Service(bus_id=1, name="one"))
        await receiver.until(lambda: receiver.is_in_sync and bool(receiver.services))
        begun, fence = session.id, announcer.fence
        self.servers[0].kill()
        await receiver.until(lambda: not receiver.is_in_sync)
        self.assertEqual(list(receiver.records), [1])
        self.servers[0].start()
        await self.announcer(other, "b").announce(record_of(2))
        await receiver.until(lambda: receiver.is_in_sync and 2 in receiver.records)
        self.assertEqual((session.id, announcer.fence, session.begun), (begun, fence, 1))
        self.assertEqual(told, [Connected, Suspended, Connected])
        self.assertNotIn(RecordGone, map(type, receiver.changes))

    async def test_an_expired_session_is_followed_by_another(self) -> None:
        """
        When the servers have given up a session while nobody could say so, everything is written
        anew in the next one, the record first, and with a larger number.
        """
        link = Link(self.reactor, self.servers[0].address)
        self.addCleanup(lambda: Deferred.fromCoroutine(link.cut()))
        session = self.session(servers=(link.open(),), session_seconds=5.0)
        announcer, told = self.announcer(session), self.news(session)
        _, receiver = self.watching(self.session())
        await announcer.announce(record_of(1), Service(bus_id=1, name="one"))
        await receiver.until(lambda: bool(receiver.records and receiver.services))
        fence = announcer.fence
        await link.cut()
        await receiver.until(lambda: not receiver.records and not receiver.services)
        self.assertNotIn(Expired, told)
        link.open()
        await receiver.until(lambda: bool(receiver.records and receiver.services))
        await self.changes.until(lambda: told[-2:] == [Expired, Connected])
        self.assertGreater(announcer.fence, fence)
        self.assertEqual(session.begun, 2)

    async def test_servers_that_lost_everything(self) -> None:
        """
        Servers that are set up anew refuse those who have seen more than they know; after a while
        one begins anew as well, what they do not know is told as gone, and all is announced again.
        """
        session = self.session(resume_seconds=1.0)
        watched = self.session(resume_seconds=1.0)
        announcer = self.announcer(session)
        _, receiver = self.watching(watched)
        await announcer.announce(record_of(1))
        await self.write(f"{self.prefix_text}topology/0x2".encode(), b'{"id": "0x2"}')
        await receiver.until(lambda: len(receiver.records) == 2)
        server = self.servers[0]
        server.kill()
        server.wipe()
        server.start()
        await receiver.until(lambda: RecordGone(2) in receiver.changes)
        await receiver.until(lambda: receiver.is_in_sync and list(receiver.records) == [1])

    async def test_a_frozen_server_holds_nobody_up(self) -> None:
        """A session is closed though its server is frozen; what was asked fails."""
        session = await self.connected()
        server = self.servers[0]
        server.freeze()
        try:
            asked = session.client.look("/")
            closing = session.close()
            await self.assertFailure(asked, ZooKeeperClosed)
            await closing
            await session.close()
        finally:
            server.thaw()
        with self.assertRaises(ZooKeeperClosed):
            _ = session.client
        self.assertRaises(LocalProtocolError, session.start)

    async def test_a_session_without_servers(self) -> None:
        """As long as no server is there, what is asked is refused at once, and a close is quick."""
        session = self.session(servers=("127.0.0.1:1",))
        with self.assertRaises(DiscoveryError):
            _ = session.client
        self.assertRaises(LocalProtocolError, session.start)
        await session.close()


class ManyTests(AnnouncedCase):
    """Many nodes in one registry."""

    async def test_a_move_changes_no_service(self) -> None:
        """
        When two hundred nodes get another upstream, each record is written once and no service;
        a watcher reads each of them once, and lists nothing.
        """
        session, count = await self.connected(session_seconds=10.0), 200
        watcher, receiver = self.watching(await self.connected(session_seconds=10.0))
        announcers = [self.announcer(session, str(number)) for number in range(1, count + 1)]

        async def announce(stamp: Stamp, upstream_id: int) -> None:
            announcing = [
                announcer.announce(
                    record_of(number, stamp=stamp, upstream_id=upstream_id),
                    Service(bus_id=number, name=str(number), type="battle"),
                )
                for number, announcer in enumerate(announcers, 1)
            ]
            await DeferredList(announcing)

        async def writes(folder: str) -> list[int]:
            place = f"{self.prefix_text}{folder}"
            names = await session.client.list(place)
            stats = [await session.client.look(f"{place}/{name}") for name in names]
            return [stat.version + 1 for stat in stats if stat is not None]

        await announce(Stamp(1, 1), 0x1000)
        await receiver.until(lambda: len(receiver.services) == count)
        await receiver.until(lambda: len(receiver.records) == count)
        reads, listings = watcher.reads, watcher.listings
        await announce(Stamp(1, 2), 0x2000)
        self.assertEqual(await writes("topology"), [2] * count)
        self.assertEqual(await writes("service"), [1] * count)
        await receiver.until(
            lambda: all(record.upstream_id == 0x2000 for record in receiver.records.values())
        )
        self.assertEqual((watcher.reads - reads, watcher.listings - listings), (count, 0))

    async def test_many_that_go_at_once(self) -> None:
        """When a session with many places ends, all of them are told as gone, a few at a time."""
        session, count = await self.connected(), 100
        watcher, receiver = self.watching(await self.connected())
        read, at_once = watcher._read, Counter[int]()

        async def count_and_read(places: list[str]) -> None:
            at_once[len(places)] += 1
            await read(places)

        self.patch(watcher, "_read", count_and_read)
        for number in range(1, count + 1):
            await session.client.make_folder(f"{self.prefix_text}topology")
            place = f"{self.prefix_text}topology/{number:#x}"
            await session.client.create(place, b'{"id": "%#x"}' % number)
        await receiver.until(lambda: len(receiver.records) == count)
        await session.close()
        await receiver.until(lambda: not receiver.records)
        self.assertLessEqual(max(at_once), 32)


class EnsembleTests(AnnouncedCase):
    """Three servers."""

    count = 3

    async def test_another_server_takes_over(self) -> None:
        """
        When the server of a session dies another one resumes it: what is announced stays, and
        nobody is told as gone.
        """
        session = await self.connected(session_seconds=10.0)
        announcer = self.announcer(session)
        _, receiver = self.watching(await self.connected(session_seconds=10.0))
        await announcer.announce(record_of(1))
        await receiver.until(lambda: 1 in receiver.records)
        assert session._client is not None
        _, port = session._client._kazoo._connection._socket.getpeername()[:2]
        (server,) = [each for each in self.servers if each.address.endswith(f":{port}")]
        begun, told = session.id, self.news(session)
        server.kill()
        await self.changes.until(lambda: told == [Suspended, Connected])
        news = record_of(1, stamp=Stamp(1, 2))
        await announcer.announce(news)
        await receiver.until(lambda: receiver.is_in_sync and receiver.records.get(1) == news)
        self.assertEqual(session.id, begun)
        self.assertNotIn(RecordGone, map(type, receiver.changes))
        server.start()
        self.assertTrue(server.wait())


class LoginTests(AnnouncedCase):
    """Users, and what they may do."""

    @classmethod
    def server_options(cls, folder: Path) -> dict[str, Any]:
        users = folder / "jaas.conf"
        users.write_text(
            "Server {\n"
            "  org.apache.zookeeper.server.auth.DigestLoginModule required\n"
            '  user_node="geheim";\n'
            "};\n",
            encoding="utf-8",
        )
        provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
        return {
            "flags": [f"-Djava.security.auth.login.config={users}"],
            "lines": [f"authProvider.1={provider}"],
        }

    async def refusal(self, asking: Any) -> ZooKeeperRefused:
        """Wait for a request that is refused."""
        try:
            await asking
        except ZooKeeperRefused as refused:
            return refused
        raise AssertionError("it was not refused")

    async def test_others_may_read_and_no_more(self) -> None:
        """What a user has written others can read, and neither change nor delete nor join."""
        mine: dict[str, Any] = {"user": "me", "password": "geheim", "access": Access.READ}
        session, stranger = self.session(**mine), await self.connected()
        announcer = self.announcer(session)
        _, receiver = self.watching(stranger)
        await announcer.announce(record_of(1))
        await receiver.until(lambda: 1 in receiver.records)
        place = f"{self.prefix_text}topology/0x1"
        for asking in (
            stranger.client.write(place, b"{}", 0),
            stranger.client.delete(place, 0),
            stranger.client.create(f"{self.prefix_text}topology/0x2", b"{}"),
        ):
            self.assertIs((await self.refusal(asking)).cause, Cause.DENIED)
        # Another node of the same user may join, and is in conflict as ever.
        comrade = self.announcer(self.session(**mine), "b")
        await self.assertFailure(comrade.announce(record_of(1)), DiscoveryConflict)

    async def test_what_is_private_is_named(self) -> None:
        """What may not be read is named, counted and left out; the rest is told."""
        session, stranger = await self.connected(), await self.connected()
        private: dict[str, Any] = {"user": "me", "password": "x", "access": Access.PRIVATE}
        hidden = await self.connected(**private)
        await session.client.make_folder(f"{self.prefix_text}topology")
        await hidden.client.create(f"{self.prefix_text}topology/0x1", b'{"id": "0x1"}')
        await session.client.create(f"{self.prefix_text}topology/0x2", b'{"id": "0x2"}')
        watcher, receiver = self.watching(stranger)
        await receiver.until(lambda: receiver.is_in_sync)
        self.assertEqual(list(receiver.records), [2])
        self.assertEqual(
            receiver.refusals, [(f"{self.prefix_text}topology/0x1", "it may not be read")]
        )
        self.assertEqual(watcher.refused_count, 1)

    async def test_sasl(self) -> None:
        """A user that the servers know logs in by SASL, and what he writes is his."""
        mine: dict[str, Any] = {"user": "node", "password": "geheim", "login": Login.SASL}
        session, stranger = await self.connected(**mine, access=Access.PRIVATE), self.session()
        await self.announcer(session).announce(record_of(1))
        await self.changes.until(lambda: stranger.is_connected)
        refused = await self.refusal(stranger.client.read(f"{self.prefix_text}topology/0x1"))
        self.assertIs(refused.cause, Cause.DENIED)
        self.assertNotIn("geheim", str(refused))

    async def test_a_wrong_password_is_told(self) -> None:
        """Who says a wrong password is told that the connection is lost, and tries again later."""
        session = self.session(user="node", password="falsch", login=Login.SASL)
        told: list[SessionNews] = []
        session.changed.add(told.append)
        session.changed.add(self.changes.note)
        await self.changes.until(lambda: [type(news) for news in told].count(Lost) > 1)
        self.assertNotIn("falsch", str(told))
