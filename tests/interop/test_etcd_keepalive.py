"""One key that stays as long as we do: against a real etcd."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.keepalive import KeepAlive
from atbus.discovery.etcd.packer import KeyValue
from tests.interop.test_etcd_cluster import ClusterCase


class KeepAliveTests(ClusterCase):
    """Keys, and who has them."""

    def keep(
        self,
        cluster: EtcdCluster,
        value: bytes,
        *,
        name: str = "key",
        is_ours: Callable[[bytes], bool] | None = None,
        after: KeepAlive | None = None,
    ) -> KeepAlive:
        """Keep a key of this test."""
        made = KeepAlive(
            cluster,
            self.prefix(name),
            value,
            self.timers,
            Random(1).random,
            is_ours=is_ours,
            after=after,
            delay_seconds=0.02,
        )
        made.written.add(self.changes.note)
        made.conflicted.add(self.changes.note)
        made.start()
        self.addCleanup(made.stop)
        return made

    async def stored(self, cluster: EtcdCluster, name: str = "key") -> KeyValue:
        """Read a key that is there."""
        found = await cluster.get(self.prefix(name))
        assert found is not None
        return found

    async def test_a_value_is_written_and_can_be_read(self) -> None:
        """
        A key is written as soon as there is a lease, and bound to it.

        Scenario: R1, R6
        """
        cluster = self.cluster()
        key = self.keep(cluster, b"here")
        await self.changes.until(lambda: key.is_written)
        stored = await self.stored(cluster)
        self.assertEqual((stored.value, stored.lease), (b"here", cluster.lease.id))
        self.assertEqual(stored.create_revision, key.create_revision)

    async def test_what_has_not_changed_is_not_written(self) -> None:
        """
        Another value is written, the same one is not, and of several in a row the last one is.

        Scenario: R2
        """
        cluster = self.cluster()
        key = self.keep(cluster, b"one")
        await self.changes.until(lambda: key.is_written)
        key.set(b"one")
        for value in (b"two", b"three", b"four"):
            key.set(value)
        await self.changes.until(lambda: key.is_written)
        stored = await self.stored(cluster)
        self.assertEqual((stored.value, stored.version, key.writes), (b"four", 2, 2))

    async def test_a_key_without_its_owner_goes_with_the_lease(self) -> None:
        """
        Who only stops leaves the key; it goes when the lease does, whatever its value.

        Scenario: R3
        """
        reader = self.cluster()
        cluster = self.cluster()
        key = self.keep(cluster, b"here")
        await self.changes.until(lambda: key.is_written)
        key.stop()
        self.assertEqual((await self.stored(reader)).value, b"here")
        cluster.lease.stop()
        await reader.call("/v3/lease/revoke", {"ID": str(cluster.lease.id)})
        self.assertIsNone(await reader.get(self.prefix("key")))

    async def test_the_value_of_another_stays(self) -> None:
        """
        A key that another has is not written; that is told, and it is ours when he has gone.

        Scenario: R4
        """
        # It looks again when its own lease would have ended.
        cluster = self.cluster(lease_seconds=2.0)
        await self.put(cluster, self.prefix("key"), b"of another", 0)
        key = self.keep(cluster, b"of mine")
        await self.changes.until(lambda: key.conflict is not None)
        self.assertIn("of another", str(key.conflict))
        self.assertEqual((await self.stored(cluster)).value, b"of another")
        await cluster.call("/v3/kv/deleterange", {"key": packer.encode(self.prefix("key"))})
        await self.changes.until(lambda: key.is_written)
        self.assertIsNone(key.conflict)

    async def test_my_own_value_is_overwritten(self) -> None:
        """
        What a former life of this node has left is replaced, and bound to the new lease.

        Scenario: R5
        """

        def is_ours(value: bytes) -> bool:
            return bool(json.loads(value)["who"] == "me")

        cluster = self.cluster()
        await self.put(cluster, self.prefix("key"), b'{"who": "me", "life": 1}', 0)
        key = self.keep(cluster, b'{"who": "me", "life": 2}', is_ours=is_ours)
        await self.changes.until(lambda: key.is_written)
        stored = await self.stored(cluster)
        self.assertEqual((json.loads(stored.value)["life"], stored.version), (2, 2))
        self.assertEqual(stored.lease, cluster.lease.id)

    async def test_a_removed_key_can_come_back(self) -> None:
        """
        A key that was removed is gone at once, those that begin with it stay, and it may return.

        Scenario: R7
        """
        cluster = self.cluster()
        await self.put(cluster, self.prefix("key2"), b"longer", 0)
        key = self.keep(cluster, b"here")
        await self.changes.until(lambda: key.is_written)
        await key.remove()
        self.assertIsNone(await cluster.get(self.prefix("key")))
        self.assertEqual((await self.stored(cluster, "key2")).value, b"longer")
        again = self.keep(cluster, b"again")
        await self.changes.until(lambda: again.is_written)
        self.assertGreater(again.create_revision, key.create_revision)

    async def test_the_key_of_another_is_not_removed(self) -> None:
        """What somebody else has written over ours stays when we remove ours."""
        cluster = self.cluster()
        key = self.keep(cluster, b"here")
        await self.changes.until(lambda: key.is_written)
        await self.put(cluster, self.prefix("key"), b"of another", 0)
        await key.remove()
        self.assertEqual((await self.stored(cluster)).value, b"of another")

    async def test_the_latest_value_is_written_when_the_server_is_back(self) -> None:
        """
        What was set while the server was away is written when it is there again, the latest only.

        Scenario: R8
        """
        cluster = self.cluster()
        key = self.keep(cluster, b"one")
        await self.changes.until(lambda: key.is_written)
        server = self.servers[0]
        server.kill()
        key.set(b"two")
        await self.changes.until(lambda: not cluster.is_up)
        key.set(b"three")
        server.start()
        await self.changes.until(lambda: key.is_written)
        self.assertEqual((await self.stored(cluster)).value, b"three")

    async def test_a_lost_lease_is_no_loss(self) -> None:
        """When the lease was lost, the key is written again under the next one."""
        cluster = self.cluster()
        key = self.keep(cluster, b"here")
        await self.changes.until(lambda: key.is_written)
        lease = cluster.lease.id
        await cluster.call("/v3/lease/revoke", {"ID": str(lease)})
        await self.changes.until(lambda: key.is_written and cluster.lease.id != lease)
        self.assertEqual((await self.stored(cluster)).lease, cluster.lease.id)

    async def test_who_took_the_key_meanwhile_keeps_it(self) -> None:
        """
        After a lost lease one looks again who is there: another may have come in between.

        Scenario: R11
        """
        cluster = self.cluster(renewal_seconds=60.0)
        key = self.keep(cluster, b"of mine")
        await self.changes.until(lambda: key.is_written)
        lease = cluster.lease.id
        await cluster.call("/v3/lease/revoke", {"ID": str(lease)})
        await self.put(cluster, self.prefix("key"), b"of another", 0)
        cluster.lease.lost(lease)
        await self.changes.until(lambda: key.conflict is not None)
        self.assertEqual((await self.stored(cluster)).value, b"of another")

    async def test_of_two_at_once_one_gets_the_key(self) -> None:
        """
        Two that want one key at the same moment: one has it, the other is told.

        Scenario: R9
        """
        one, other = self.cluster(), self.cluster()
        first = self.keep(one, b"one")
        second = self.keep(other, b"other")
        first.written.add(self.changes.note)
        first.conflicted.add(self.changes.note)
        both = (first, second)
        await self.changes.until(
            lambda: any(key.is_written for key in both) and any(key.conflict for key in both)
        )
        self.assertEqual([key.is_written for key in both].count(True), 1)

    async def test_one_key_goes_before_the_other(self) -> None:
        """
        A key that has to wait for another is written after it, under the same lease; always.

        Scenario: U24
        """
        cluster = self.cluster()
        first = self.keep(cluster, b"topology", name="a")
        second = self.keep(cluster, b"service", name="b", after=first)
        for leases in (1, 2):
            await self.changes.until(
                lambda granted=leases: second.is_written  # type: ignore[misc]
                and cluster.lease.granted == granted
            )
            before, after = await self.stored(cluster, "a"), await self.stored(cluster, "b")
            self.assertLess(before.mod_revision, after.mod_revision)
            self.assertEqual(before.lease, after.lease)
            await cluster.call("/v3/lease/revoke", {"ID": str(cluster.lease.id)})
