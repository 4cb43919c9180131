"""
One key that stays as long as we do, bound to the cluster's lease; see `atbus.discovery.keeping`.

Look and write are one transaction: the write is done only if the key has still the revision that
was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.faults import Cause, EtcdRefused
from atbus.discovery.etcd.packer import KeyValue
from atbus.discovery.keeping import KeptValue
from atbus.errors import DiscoveryError

#: A key that changes between look and write so often is not worth another try now.
_LOOKS_MAX: Final = 4


class KeepAlive(KeptValue):
    """
    One key.

    :param cluster: Where; its lease is kept from `start` on.
    :param key: The key.
    :param value: The value.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    :param more: See `KeptValue`.
    """

    registry = "etcd"

    def __init__(
        self,
        cluster: EtcdCluster,
        key: bytes,
        value: bytes,
        timers: IReactorTime,
        random: Callable[[], float],
        **more: Any,
    ) -> None:
        super().__init__(key, value, timers, random, **more)
        #: When the key came to us: grows from owner to owner. 0 before the first write.
        self.create_revision = 0
        self._cluster = cluster
        self._mod_revision = 0

    @property
    def fence(self) -> int:
        """The revision at which the key came to us."""
        return self.create_revision

    @property
    def tenure(self) -> int:
        """The lease that there is."""
        return self._cluster.lease.id

    @property
    def tenure_seconds(self) -> float:
        """How long a lease stays without us."""
        return self._cluster.options.lease_seconds

    @property
    def is_closed(self) -> bool:
        """Whether the cluster was closed."""
        return self._cluster.is_closed

    def watch_tenure(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have something called when there is another lease."""
        return self._cluster.on_lease(lambda _: changed())

    def start(self) -> None:
        """Write the key, and keep it; see `KeptValue.start`."""
        self._cluster.keep_lease()
        super().start()

    async def store(self, tenure: int, value: bytes) -> None:
        """Look, if one has to, and write; see `KeptValue.store`."""
        if self.is_held:
            seen, created = self._mod_revision, self.create_revision
        else:
            seen, created = self._revisions(await self._cluster.get(self.key))
        for _ in range(_LOOKS_MAX):
            transaction = packer.put_if_unchanged(self.key, value, tenure, seen)
            try:
                revision, there = await self._cluster.write(transaction)
            except EtcdRefused as refused:
                if refused.cause is Cause.LEASE:
                    self._cluster.lease.lost(tenure)
                raise
            if there is None:
                self._note_revisions(tenure, value, revision, created or revision)
                return
            item = there.items[0] if there.items else None
            if item is not None and item.lease == tenure and item.value == value:
                # We did it; only the answer was lost.
                self._note_revisions(tenure, value, item.mod_revision, item.create_revision)
                return
            seen, created = self._revisions(item)
        raise DiscoveryError(f"{self.shown} does not hold still")

    async def erase(self) -> None:
        """Delete the key if it is as we have written it; see `KeptValue.erase`."""
        await self._cluster.write(packer.delete_if_unchanged(self.key, self._mod_revision))

    def _note_revisions(self, lease: int, value: bytes, revision: int, created: int) -> None:
        self._mod_revision, self.create_revision = revision, created
        self.note(lease, value)

    def _revisions(self, item: KeyValue | None) -> tuple[int, int]:
        """
        Look at what is there.

        :returns: When it was written and when it came into being; zeros when nothing is there.
        :raises DiscoveryConflict: It is another's.
        """
        if item is None:
            return 0, 0
        self.judge(item.value)
        return item.mod_revision, item.create_revision
