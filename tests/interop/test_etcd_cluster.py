"""Several etcd servers, one lease, one token: against real servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.faults import Cause, EtcdClosed, EtcdRefused, EtcdUnreachable
from atbus.discovery.etcd.keepalive import KeepAlive
from atbus.discovery.etcd.options import ClusterOptions
from tests.interop.etcd_server import EtcdCase
from tests.interop.waiting import PATIENCE_SECONDS, Changes

T = TypeVar("T")

#: What a server says that has just started, or whose tokens are short-lived.
_PASSING = (Cause.UNAVAILABLE, Cause.TOKEN)


async def lock(cluster: EtcdCluster) -> None:
    """Make root, and let nobody in without a name."""
    await cluster.call("/v3/auth/user/add", {"name": "root", "password": "secret"})
    await cluster.call("/v3/auth/role/add", {"name": "root"})
    await cluster.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
    await cluster.call("/v3/auth/enable", {})


class ClusterCase(EtcdCase):
    """Tests with clusters that are closed whatever happens."""

    def cluster(self, timers: Clock | None = None, **options: Any) -> EtcdCluster:
        """Make a cluster of the servers; nothing in it ends because this machine is busy."""
        fast: dict[str, Any] = {
            "endpoints": self.urls,
            "lease_seconds": 60.0,
            "renewal_seconds": 0.3,
            "request_seconds": PATIENCE_SECONDS,
        }
        made = EtcdCluster(
            ClusterOptions(**(fast | options)),
            self.reactor,
            timers or self.timers,
            Random(1),
        )
        self.addCleanup(made.close)
        changes = Changes(self.reactor)
        made.on_up(changes.note)
        made.on_down(changes.note)
        made.on_lease(changes.note)
        self.changes = changes
        return made

    async def with_lease(self, **options: Any) -> EtcdCluster:
        """Make a cluster that has its lease."""
        cluster = self.cluster(**options)
        cluster.keep_lease()
        await self.changes.until(lambda: cluster.is_up, "the cluster is up")
        return cluster

    async def put(self, cluster: EtcdCluster, key: bytes, value: bytes, lease: int) -> None:
        """Write a key."""
        request = {"key": packer.encode(key), "value": packer.encode(value), "lease": str(lease)}
        await self.patiently(lambda: cluster.call("/v3/kv/put", request))

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """
        Ask until there is an answer.

        A server that was just started may still look for the others, or for itself; and whatever
        time a request has, a busy machine can take longer.
        """
        began = self.timers.seconds()
        while True:
            try:
                return await ask()
            except (EtcdUnreachable, EtcdRefused) as failed:
                if isinstance(failed, EtcdRefused) and failed.cause not in _PASSING:
                    raise
                if self.timers.seconds() - began > PATIENCE_SECONDS:
                    raise AssertionError("nobody answers") from failed
            await self.passes(0.1)

    async def refusal(self, asking: Awaitable[object]) -> EtcdRefused:
        """Wait for a request that is refused."""
        try:
            await asking
        except EtcdRefused as refused:
            return refused
        raise AssertionError("it was not refused")


class OneServerTests(ClusterCase):
    """A cluster of one."""

    async def test_a_cluster_comes_up_with_a_lease(self) -> None:
        """
        Once a lease is wanted and granted, the cluster is up and has counted what it asked.

        Scenario: Q1, Q5
        """
        cluster = self.cluster()
        self.assertFalse(cluster.is_up)
        cluster.keep_lease()
        await self.changes.until(lambda: cluster.is_up)
        self.assertNotEqual(cluster.lease.id, 0)
        self.assertGreater(cluster.statistics.created, 0)
        self.assertGreater(cluster.statistics.succeeded, 0)
        self.assertEqual(cluster.statistics.failed, 0)

    async def test_a_reader_needs_no_lease(self) -> None:
        """
        A cluster that is only asked is up when it has answered, and no lease is granted. One is
        with the first key that is kept, and it ends when the cluster is closed: not with the last
        key, for others may follow.

        Scenario: Q13
        """
        cluster = self.cluster()
        await cluster.get(b"nothing")
        self.assertTrue(cluster.is_up)
        self.assertEqual(cluster.lease.granted, 0)
        kept = KeepAlive(cluster, self.prefix(), b"here", self.reactor, lambda: 0.5)
        self.assertEqual(cluster.lease.granted, 0)
        kept.start()
        await self.sees(lambda: kept.is_written)
        lease = cluster.lease.id
        await kept.remove()
        self.assertEqual((cluster.lease.granted, cluster.lease.id), (1, lease))
        await cluster.close()
        self.assertEqual(cluster.lease.id, 0)

    async def test_the_lease_keeps_its_id(self) -> None:
        """
        A lease that is renewed stays the same one.

        Scenario: Q3
        """
        cluster = await self.with_lease(renewal_seconds=0.05)
        lease = cluster.lease.id
        await self.sees(lambda: cluster.lease.renewed > 1)
        self.assertEqual((cluster.lease.id, cluster.lease.granted), (lease, 1))

    async def test_the_members_are_learned(self) -> None:
        """
        The cluster says who its members are, and one of those that are known is asked.

        Scenario: Q2
        """
        cluster = self.cluster()
        self.assertEqual(await cluster.refresh_members(), self.urls)
        self.assertIn(cluster.servers.current, cluster.servers.known)

    async def test_members_are_asked_for_again_soon(self) -> None:
        """
        The members are looked at again every five minutes, and a minute after a look that failed.
        """
        clock = Clock()
        cluster = self.cluster(clock)
        cluster.start()
        await self.sees(lambda: cluster.servers.members == tuple(self.urls))
        created = cluster.statistics.created
        self.servers[0].freeze()
        try:
            clock.advance(bounds.ETCD_MEMBERS_SECONDS - 1)
            self.assertEqual(cluster.statistics.created, created)
            clock.advance(1)
            await self.sees(lambda: cluster.statistics.created == created + 1)
            clock.advance(PATIENCE_SECONDS)
            await self.sees(lambda: cluster.statistics.failed_in_a_row == 1)
        finally:
            self.servers[0].thaw()
        cluster.servers.learned([])
        clock.advance(bounds.ETCD_MEMBERS_RETRY_SECONDS - 1)
        self.assertEqual(cluster.statistics.created, created + 1)
        clock.advance(1)
        await self.sees(lambda: cluster.servers.members == tuple(self.urls))

    async def test_members_are_not_asked_for_unless_wanted(self) -> None:
        """
        Without auto_update only what was configured is asked.

        Scenario: Q11
        """
        cluster = self.cluster(auto_update=False)
        cluster.start()
        await cluster.get(b"nothing")
        self.assertEqual(cluster.servers.members, ())
        self.assertEqual(cluster.statistics.created, 1)

    async def test_a_close_takes_along_what_was_written(self) -> None:
        """
        When a cluster is closed, what was bound to its lease is gone at once.

        Scenario: Q4
        """
        reader = self.cluster()
        cluster = await self.with_lease()
        await self.put(cluster, self.prefix(), b"here", cluster.lease.id)
        await cluster.close()
        self.assertTrue(cluster.is_closed)
        self.assertIsNone(await reader.get(self.prefix()))
        error = await self.assertFailure(Deferred.fromCoroutine(cluster.get(b"k")), EtcdClosed)
        self.assertIn("closed", str(error))

    async def test_a_close_may_leave_everything(self) -> None:
        """
        A process that hands over to its successor leaves its keys until the lease ends.

        Scenario: U27
        """
        reader = self.cluster()
        cluster = await self.with_lease()
        await self.put(cluster, self.prefix(), b"here", cluster.lease.id)
        await cluster.close(revoke=False)
        self.assertIsNotNone(await reader.get(self.prefix()))

    async def test_who_is_told_late_is_told_at_once(self) -> None:
        """
        Who wants to know when a cluster is up, and comes when it is, is told then; and of its end.

        Scenario: Q6
        """
        cluster = await self.with_lease()
        told: list[str] = []
        cluster.on_up(lambda: told.append("up"), now=True)
        cluster.on_up(lambda: told.append("never"))
        end = cluster.on_down(lambda: told.append("never"))
        cluster.on_down(lambda: told.append("down"))
        end()
        end()
        self.assertEqual(told, ["up"])
        await cluster.close()
        self.assertEqual(told, ["up", "down"])

    async def test_a_lease_that_somebody_ended_is_replaced(self) -> None:
        """
        A renewal that is answered without a time to live means that the lease is gone.

        Scenario: Q14
        """
        cluster = await self.with_lease()
        lease = cluster.lease.id
        await cluster.call("/v3/lease/revoke", {"ID": str(lease)})
        await self.changes.until(
            lambda: cluster.is_up and cluster.lease.id not in (0, lease), "another lease"
        )
        self.assertEqual(cluster.lease.granted, 2)

    async def test_a_refusal_says_what_was_refused(self) -> None:
        """
        What a server refuses comes as an error with its words, and is no reason to leave it.

        Scenario: Q8
        """
        cluster = self.cluster()
        url = cluster.servers.current
        request = {"key": packer.encode(b"k"), "lease": "77"}
        refused = await self.refusal(cluster.call("/v3/kv/put", request))
        self.assertIs(refused.cause, Cause.LEASE)
        self.assertIn("lease not found", str(refused))
        self.assertEqual((cluster.servers.current, cluster.statistics.evicted), (url, 0))
        self.assertEqual((cluster.statistics.refused, cluster.statistics.failed), (1, 0))

    async def test_a_server_without_a_leader_is_left(self) -> None:
        """
        A server that says that it is cut off from the others counts as one that does not answer.

        What it says is a recording: two servers of three would have to be away for it.
        """
        body = b'{"error":"etcdserver: no leader","code":14,"message":"etcdserver: no leader"}'
        head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % len(body)

        class CutOff(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(head + body)

        factory: Any = Factory.forProtocol(CutOff)
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        cluster = self.cluster(endpoints=(url, *self.urls), auto_update=False)
        cluster.servers.current = url
        self.assertIsNone(await cluster.get(b"nothing"))
        self.assertEqual(cluster.servers.current, self.urls[0])
        self.assertEqual((cluster.statistics.refused, cluster.statistics.evicted), (1, 1))

    async def test_a_path_that_is_not_there_is_a_matter_of_version(self) -> None:
        """A server without a path that we need is named, with its version and the one needed."""
        cluster = self.cluster()
        refused = await self.refusal(cluster.call("/v3/no/such/thing", {}))
        self.assertIs(refused.cause, Cause.VERSION)
        self.assertIn("3.4 or newer is needed", str(refused))


class NobodyThereTests(ClusterCase):
    """A cluster that does not answer; a server of its own for each test."""

    async def test_a_server_that_was_away_is_found_again(self) -> None:
        """
        While the only server is gone requests fail; when it is back, everything goes on.

        Scenario: Q12
        """
        server = self.servers[0]
        cluster = await self.with_lease()
        server.kill()
        await self.changes.until(lambda: not cluster.is_up, "the cluster is down")
        await self.assertFailure(Deferred.fromCoroutine(cluster.get(b"k")), EtcdUnreachable)
        asked, began = cluster.statistics.created, self.timers.seconds()
        await self.passes(1.0)
        passed = self.timers.seconds() - began
        self.assertLess(cluster.statistics.created - asked, 12 * passed)
        server.start()
        await self.changes.until(lambda: cluster.is_up, "the cluster is up again")

    async def test_a_frozen_server_does_not_hold_anything_up(self) -> None:
        """A request to a server that was stopped ends when its time is over."""
        server = self.servers[0]
        cluster = self.cluster(request_seconds=0.3)
        await self.patiently(lambda: cluster.get(b"k"))
        server.freeze()
        try:
            error = await self.assertFailure(
                Deferred.fromCoroutine(cluster.get(b"k")), EtcdUnreachable
            )
        finally:
            server.thaw()
        self.assertIn("no answer within 0.3 s", str(error))
        await self.patiently(lambda: cluster.get(b"k"))
        self.assertTrue(cluster.is_up)


class ThreeServersTests(ClusterCase):
    """A cluster of three."""

    count = 3

    async def test_another_server_takes_over(self) -> None:
        """
        When the server that is asked is killed, or frozen, another one is, and the lease stays.

        Scenario: Q7
        """
        cluster = await self.with_lease(endpoints=self.urls[:1], request_seconds=2.0)
        members = await self.patiently(cluster.refresh_members)
        self.assertEqual(sorted(members), sorted(self.urls))
        lease = cluster.lease.id
        frozen = next(server for server in self.servers if server.url == cluster.servers.current)
        frozen.freeze()
        try:
            await self.patiently(lambda: cluster.get(b"k"))
            await self.patiently(lambda: cluster.lease._renew(lease))
        finally:
            frozen.thaw()
        self.assertEqual((cluster.lease.id, cluster.lease.granted), (lease, 1))
        self.assertGreaterEqual(cluster.statistics.evicted, 1)

    async def test_a_killed_server_is_left(self) -> None:
        """When the server that is asked is killed another one is asked, and the lease stays."""
        cluster = await self.with_lease(request_seconds=5.0)
        lease = cluster.lease.id
        url = cluster.servers.current
        killed = next(server for server in self.servers if server.url == url)
        killed.kill()
        try:
            await self.patiently(lambda: cluster.get(b"k"))
            await self.patiently(lambda: cluster.lease._renew(lease))
            self.assertNotEqual(cluster.servers.current, url)
        finally:
            killed.start()
            self.assertTrue(killed.wait())
        self.assertEqual((cluster.lease.id, cluster.lease.granted), (lease, 1))

    async def test_the_members_are_looked_at_again(self) -> None:
        """A cluster that was started asks for its members at once, and then again and again."""
        cluster = self.cluster(endpoints=self.urls[:1], members_seconds=0.2)
        cluster.start()
        for _ in range(2):
            await self.sees(lambda: sorted(cluster.servers.members) == sorted(self.urls))
            cluster.servers.learned([])
        await self.sees(lambda: sorted(cluster.servers.members) == sorted(self.urls))


class UserTests(ClusterCase):
    """A cluster that wants to know who asks; its tokens die after three idle seconds."""

    arguments = ("--auth-token-ttl=2",)

    async def lock(self) -> None:
        """Make root, and let nobody in without a name."""
        if self.servers[0].is_locked:
            return
        await lock(self.cluster())
        self.servers[0].is_locked = True

    async def test_a_token_is_obtained(self) -> None:
        """With user and password everything works, and they are shown nowhere."""
        await self.lock()
        cluster = await self.with_lease(user="root", password="secret")
        await self.put(cluster, self.prefix(), b"x", cluster.lease.id)
        self.assertGreater(cluster.login.count, 0)
        self.assertNotIn("secret", repr(cluster.options))

    async def test_nobody_is_refused(self) -> None:
        """Without a user requests are refused, with a cause that says so."""
        await self.lock()
        cluster = self.cluster()
        refused = await self.refusal(cluster.get(b"k"))
        self.assertIs(refused.cause, Cause.TOKEN)

    async def test_a_token_that_died_is_replaced(self) -> None:
        """
        A token that the server does not know any more is obtained again, and nobody notices.

        Scenario: Q10
        """
        await self.lock()
        cluster = self.cluster(user="root", password="secret")
        await self.patiently(lambda: cluster.get(b"k"))
        # When a token dies the server decides, which may have had no time for it.
        while cluster.login.count < 2:
            await self.passes(3.5)
            await self.patiently(lambda: cluster.get(b"k"))

    async def test_a_token_is_replaced_when_users_change(self) -> None:
        """Somebody who changes the users makes all tokens stale; requests go on all the same."""
        await self.lock()
        cluster = self.cluster(user="root", password="secret")
        await self.patiently(lambda: cluster.get(b"k"))
        added = {"name": f"u{id(self)}", "password": "x"}
        await self.patiently(lambda: cluster.call("/v3/auth/user/add", added))
        self.assertIsNone(await self.patiently(lambda: cluster.get(b"k")))

    async def test_an_old_token_is_replaced_before_it_dies(self) -> None:
        """A token is used for a while only, whether or not the server would still take it."""
        await self.lock()
        cluster = self.cluster(user="root", password="secret", token_seconds=0.0)
        for _ in range(2):
            await self.patiently(lambda: cluster.get(b"k"))
        self.assertGreaterEqual(cluster.login.count, 2)

    async def test_a_wrong_password_is_called_wrong(self) -> None:
        """
        After five refusals user and password count as wrong.

        Scenario: Q10
        """
        await self.lock()
        cluster = self.cluster(user="root", password="guess")
        for attempt in range(5):
            self.assertFalse(cluster.login.is_refused, attempt)
            refused = await self.refusal(cluster.get(b"k"))
            self.assertIs(refused.cause, Cause.DENIED)
        self.assertTrue(cluster.login.is_refused)
