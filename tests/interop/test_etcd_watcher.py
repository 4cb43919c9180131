"""All keys with a prefix, and every change: against a real etcd."""

from __future__ import annotations

from random import Random
from typing import Any

from atbus.discovery import bounds
from atbus.discovery.etcd import gateway, packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.options import WatcherOptions
from atbus.discovery.etcd.packer import Event, EventKind, KeyValue
from atbus.discovery.etcd.watcher import Watcher, WatcherReceiver
from tests.interop.test_etcd_cluster import ClusterCase
from tests.interop.waiting import Changes


class Seen(WatcherReceiver):
    """Everything that a watcher has told."""

    def __init__(self, changes: Changes) -> None:
        self.snapshots: list[list[bytes]] = []
        self.events: list[Event] = []
        self.told: list[str] = []
        self.long: list[bytes] = []
        self._changes = changes

    def snapshot(self, items: list[KeyValue], revision: int) -> None:
        self.snapshots.append([item.key for item in items])
        self.told.append("snapshot")
        self._changes.note()

    def changed(self, events: list[Event]) -> None:
        self.events += events
        self.told.append("changed")
        self._changes.note()

    def watching(self) -> None:
        self.told.append("watching")
        self._changes.note()

    def interrupted(self, reason: str) -> None:
        self.told.append("interrupted")
        self._changes.note()

    def too_long(self, key: bytes) -> None:
        self.long.append(key)

    @property
    def values(self) -> list[bytes]:
        """The values of all changes."""
        return [event.item.value for event in self.events]


class WatcherCase(ClusterCase):
    """Watchers that are stopped whatever happens."""

    def watch(self, cluster: EtcdCluster, **options: Any) -> tuple[Watcher, Seen]:
        """Watch the keys of this test."""
        seen = Seen(self.changes)
        watcher = Watcher(
            cluster,
            self.prefix(),
            seen,
            self.timers,
            Random(1),
            WatcherOptions(**options),
        )
        watcher.start()
        self.addCleanup(watcher.stop)
        return watcher, seen

    async def write(self, cluster: EtcdCluster, name: str, value: bytes) -> None:
        """Write a key of this test."""
        await self.put(cluster, self.prefix(name), value, 0)

    async def delete(self, cluster: EtcdCluster, name: str) -> None:
        """Delete a key of this test."""
        await cluster.call("/v3/kv/deleterange", {"key": packer.encode(self.prefix(name))})


class WatcherTests(WatcherCase):
    """A prefix of one server."""

    async def test_what_is_there_comes_first(self) -> None:
        """
        First all keys that are there, in pages or not; then each change of them.

        Scenario: S1, S2, S3
        """
        cluster = self.cluster()
        for name in "abc":
            await self.write(cluster, name, b"old")
        watcher, seen = self.watch(cluster, page_keys=2)
        await self.changes.until(lambda: watcher.is_watching)
        self.assertEqual(seen.snapshots, [[self.prefix(name) for name in "abc"]])
        await self.write(cluster, "d", b"new")
        await self.delete(cluster, "a")
        await self.changes.until(lambda: len(seen.events) == 2)
        put, deleted = seen.events
        self.assertIs(put.kind, EventKind.PUT)
        self.assertEqual((put.item.key, put.item.value), (self.prefix("d"), b"new"))
        self.assertEqual((deleted.kind, deleted.item.key), (EventKind.DELETE, self.prefix("a")))

    async def test_only_our_prefix_is_told(self) -> None:
        """
        Keys beside the prefix are none of our business.

        Scenario: S4
        """
        cluster = self.cluster()
        watcher, seen = self.watch(cluster)
        await self.changes.until(lambda: watcher.is_watching)
        await self.put(cluster, self.prefix()[:-1] + b"0", b"beside", 0)
        await self.write(cluster, "a", b"ours")
        await self.changes.until(lambda: bool(seen.events))
        self.assertEqual(seen.values, [b"ours"])

    async def test_nothing_is_lost_between_two_watches(self) -> None:
        """
        A watch that is begun anew again and again tells every write once, in order.

        Scenario: S5, S6
        """
        cluster = self.cluster()
        # Longer than it takes etcd to find what a watch that begins in the past has to tell.
        watcher, seen = self.watch(cluster, watch_seconds=0.25)
        await self.changes.until(lambda: watcher.is_watching)
        values: list[bytes] = []
        while len(values) < 100 or watcher.watches <= 2:
            values.append(str(len(values)).encode())
            await self.write(cluster, "a", values[-1])
        await self.changes.until(lambda: len(seen.events) >= len(values))
        self.assertEqual(seen.values, values)
        revisions = [event.item.mod_revision for event in seen.events]
        self.assertEqual(revisions, sorted(set(revisions)))
        self.assertEqual(watcher.snapshots, 1)

    async def test_what_happened_while_the_server_was_away(self) -> None:
        """A server that was killed and is back tells what was written just before, once."""
        cluster = self.cluster()
        watcher, seen = self.watch(cluster)
        await self.changes.until(lambda: watcher.is_watching)
        await self.write(cluster, "a", b"1")
        self.servers[0].kill()
        await self.changes.until(lambda: "interrupted" in seen.told)
        self.servers[0].start()
        self.assertTrue(self.servers[0].wait())
        await self.write(cluster, "a", b"2")
        await self.changes.until(lambda: len(seen.events) >= 2)
        self.assertEqual(seen.values, [b"1", b"2"])
        self.assertEqual(watcher.snapshots, 1)

    async def test_a_history_that_is_gone_means_a_snapshot(self) -> None:
        """When what happened meanwhile was compacted, all that is there now is told anew."""
        cluster = self.cluster()
        await self.write(cluster, "a", b"1")
        watcher, seen = self.watch(cluster)
        await self.changes.until(lambda: watcher.is_watching)
        # As if the watch had been away since the beginning of the store.
        for value in (b"2", b"3"):
            await self.write(cluster, "a", value)
        await self.changes.until(lambda: len(seen.events) == 2)
        await self.delete(cluster, "a")
        await self.write(cluster, "b", b"4")
        await self.changes.until(lambda: len(seen.events) == 4)
        await cluster.call("/v3/kv/compaction", {"revision": str(watcher.revision)})
        watcher.revision = 1
        cluster.evict(cluster.servers.current)
        await self.changes.until(lambda: len(seen.snapshots) == 2)
        self.assertEqual(seen.snapshots[1], [self.prefix("b")])

    async def test_a_stopped_watch_is_silent_until_it_is_started(self) -> None:
        """
        A watcher that was stopped tells nothing; started again it begins with all that is there.

        Scenario: S10, S13
        """
        cluster = self.cluster()
        watcher, seen = self.watch(cluster)
        await self.changes.until(lambda: watcher.is_watching)
        watcher.stop()
        watcher.stop()
        await self.write(cluster, "a", b"1")
        self.assertEqual(seen.events, [])
        watcher.start()
        await self.changes.until(lambda: watcher.is_watching)
        self.assertEqual(seen.snapshots, [[], [self.prefix("a")]])

    async def test_a_receiver_may_stop_the_watch(self) -> None:
        """Whoever has seen enough may say so in the midst of it."""
        cluster = self.cluster()
        watcher, seen = self.watch(cluster)
        seen.snapshot = lambda items, revision: watcher.stop()  # type: ignore[method-assign]
        await self.write(cluster, "a", b"1")
        await cluster.get(b"k")
        self.assertEqual((watcher.watches, seen.told), (0, []))

    async def test_the_first_request_waits(self) -> None:
        """
        Many that start at once ask one after the other, none before its least wait.

        Scenario: S12
        """
        cluster = self.cluster()
        began = self.timers.seconds()
        _, seen = self.watch(cluster, startup_seconds=(0.2, 0.4))
        await self.changes.until(lambda: bool(seen.snapshots))
        self.assertGreaterEqual(self.timers.seconds() - began, 0.2)

    async def test_a_value_that_is_too_long_is_left_out(self) -> None:
        """A key whose value nobody should read is named, and the others are told."""
        cluster = self.cluster()
        self.patch_limits()
        await self.write(cluster, "a", b"1")
        await self.write(cluster, "b", b"x" * 20_000)
        await self.write(cluster, "c", b"3")
        watcher, seen = self.watch(cluster)
        await self.changes.until(lambda: watcher.is_watching)
        self.assertEqual(seen.snapshots, [[self.prefix("a"), self.prefix("c")]])
        self.assertEqual(seen.long, [self.prefix("b")])
        await self.write(cluster, "d", b"y" * 20_000)
        await self.write(cluster, "e", b"5")
        await self.changes.until(lambda: len(seen.snapshots) == 2 and watcher.is_watching)
        self.assertIn(self.prefix("e"), [*seen.snapshots[1], *[e.item.key for e in seen.events]])
        self.assertIn(self.prefix("d"), seen.long)

    def patch_limits(self) -> None:
        """Make the bounds small, for a server takes nothing that exceeds the real ones."""
        self.patch(bounds, "ETCD_ANSWER_BYTES", 10_000)
        splitter = gateway.LineSplitter
        self.patch(gateway, "LineSplitter", lambda: splitter(10_000))


class FrozenTests(WatcherCase):
    """Three servers, one of which is stopped."""

    count = 3

    async def test_a_frozen_server_is_found_out(self) -> None:
        """A watch whose server is frozen moves to another one, and nothing is lost."""
        cluster = self.cluster(request_seconds=1.0)
        writer = self.cluster(request_seconds=1.0)
        await self.patiently(cluster.refresh_members)
        await self.patiently(writer.refresh_members)
        watcher, seen = self.watch(cluster, silence_seconds=0.3)
        await self.changes.until(lambda: watcher.is_watching)
        await self.write(writer, "a", b"1")
        await self.changes.until(lambda: bool(seen.events))
        frozen = next(server for server in self.servers if server.url == cluster.servers.current)
        frozen.freeze()
        try:
            await self.write(writer, "a", b"2")
            await self.changes.until(lambda: b"2" in seen.values)
        finally:
            frozen.thaw()
        # A server that was given up may have done what it was asked: then it was written twice.
        self.assertEqual(list(dict.fromkeys(seen.values)), [b"1", b"2"])
        revisions = [event.item.mod_revision for event in seen.events]
        self.assertEqual(revisions, sorted(set(revisions)))
        self.assertEqual(watcher.snapshots, 1)


class UserWatchTests(WatcherCase):
    """A watch in somebody's name."""

    arguments = ("--auth-token-ttl=2",)

    async def test_a_token_that_died_is_no_loss(self) -> None:
        """
        A watch that has to be begun anew with a token that nobody knows any more loses nothing.

        Scenario: S11
        """
        root = self.cluster(user="root", password="secret")
        await root.call("/v3/auth/user/add", {"name": "root", "password": "secret"})
        await root.call("/v3/auth/role/add", {"name": "root"})
        await root.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        await root.call("/v3/auth/enable", {})
        root.login.forget(root.login._token)
        cluster = self.cluster(user="root", password="secret")
        watcher, seen = self.watch(cluster, watch_seconds=3.5, silence_seconds=60.0)
        await self.changes.until(lambda: watcher.is_watching)
        await self.write(root, "a", b"1")
        # When a token dies the server decides, which may have had no time for it.
        await self.changes.until(lambda: cluster.login.count > 1 and watcher.is_watching)
        await self.write(root, "a", b"2")
        await self.changes.until(lambda: len(seen.events) == 2)
        self.assertEqual(seen.values, [b"1", b"2"])
        self.assertEqual(watcher.snapshots, 1)
