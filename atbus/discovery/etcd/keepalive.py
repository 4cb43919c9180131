"""
One key that stays as long as we do.

1. The key is bound to the cluster's lease. It is written when the lease is granted and whenever the
   value has changed, and never otherwise: what is asked for twice is written once, and changes that
   follow each other closely are written together.
2. Before the first write under a lease one looks who is there. What is ours, of a life of this node
   that did not end well, is overwritten. What is somebody else's stays: that is a conflict, which
   is told, and looked at again after a while.
3. Look and write are one step for the others: the write is done only if the key is still as it was
   seen. Of two who come at the same moment one writes and the other meets it.
4. A removed key is deleted only as we have last written it, and no other key with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atbus import limits
from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.faults import Cause, EtcdClosed, EtcdRefused
from atbus.discovery.etcd.packer import KeyValue
from atbus.discovery.waiting import Bell, Listeners, Routine, pause
from atbus.errors import DiscoveryConflict, DiscoveryError, LocalProtocolError, printable
from atbus.routing.backoff import Backoff

#: Even the shortest of the random waits is one.
_RETRY_SECONDS_MIN: Final = 0.1

#: A key that changes between look and write so often is not worth another try now.
_LOOKS_MAX: Final = 4


class KeepAlive:
    """
    One key.

    :param cluster: Where; its lease is kept from `start` on.
    :param key: The key.
    :param value: The value.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    :param is_ours: Tells of a value that is there already whether it is one of ours; left out,
        only the same value is.
    :param owner_of: Says for people whose a value is; left out, its beginning does.
    :param after: Another key, to be written before this one whenever there is a new lease.
    :param delay_seconds: How long a change waits for further ones.
    """

    _log = Logger(namespace="atbus.discovery.etcd")

    def __init__(
        self,
        cluster: EtcdCluster,
        key: bytes,
        value: bytes,
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        is_ours: Callable[[bytes], bool] | None = None,
        owner_of: Callable[[bytes], str] | None = None,
        after: KeepAlive | None = None,
        delay_seconds: float = bounds.ANNOUNCE_DELAY_SECONDS,
    ) -> None:
        self.key = key
        #: How often it was written.
        self.writes = 0
        #: When the key came to us: grows from owner to owner. 0 before the first write.
        self.create_revision = 0
        #: Why it is not written, if somebody else has it.
        self.conflict: DiscoveryConflict | None = None
        #: Told each time the key has been written.
        self.written: Listeners[[]] = Listeners()
        #: Told each time the key turns out to be another's.
        self.conflicted: Listeners[[DiscoveryConflict]] = Listeners()
        self._cluster = cluster
        self._wanted = value
        self._stored: bytes | None = None
        self._lease = 0
        self._mod_revision = 0
        self._timers = timers
        self._random = random
        self._is_ours = is_ours
        self._owner_of = owner_of or _beginning
        self._after = after
        self._delay_seconds = delay_seconds
        self._bell = Bell(timers)
        self._work = Routine()
        self._ends: list[Callable[[], None]] = []

    @property
    def value(self) -> bytes:
        """What shall be there."""
        return self._wanted

    @property
    def is_written(self) -> bool:
        """Whether what shall be there is there, under the lease that we have."""
        return self.is_under_lease and self._stored == self._wanted

    @property
    def is_under_lease(self) -> bool:
        """Whether something of ours is there, under the lease that we have."""
        return bool(self._lease) and self._lease == self._cluster.lease.id

    def set(self, value: bytes) -> None:
        """
        Have another value there.

        :param value: The value; nothing happens when it is there already.
        """
        if value != self._wanted:
            self._wanted = value
            self._bell.ring()

    def start(self) -> None:
        """
        Write the key, and keep it.

        :raises LocalProtocolError: It was started before and not stopped.
        """
        if self._work.is_running:
            raise LocalProtocolError("the key is kept already")
        self._ends.append(self._cluster.on_lease(self._lease_changed))
        if self._after is not None:
            self._ends.append(self._after.written.add(self._bell.ring))
        self._cluster.keep_lease()
        self._work.start(self._keep)

    def stop(self) -> None:
        """Let the key be: it stays until the lease ends; twice does no harm."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()
        self._work.stop()

    async def remove(self) -> None:
        """
        Stop, and delete the key if it is as we have written it.

        :raises DiscoveryError: The cluster was not there or refused; the key goes with the lease.
        """
        self.stop()
        if self._stored is None:
            return
        self._stored = None
        await self._cluster.write(packer.delete_if_unchanged(self.key, self._mod_revision))

    def check(self) -> None:
        """Look at the key again: somebody has seen that it is not as we have written it."""
        self._lease = 0
        self._bell.ring()

    def _lease_changed(self, lease: int) -> None:
        if lease:
            self._bell.ring()

    async def _keep(self, is_wanted: Callable[[], bool]) -> None:
        backoff = Backoff(cap=bounds.REGISTRY_RETRY_SECONDS_MAX)
        while is_wanted():
            if self.is_written or not self._may_write():
                await self._bell.wait()
                continue
            if self.is_under_lease:
                await pause(self._timers, self._delay_seconds)
            try:
                await self._write(self._cluster.lease.id, self._wanted)
            except EtcdClosed:
                return
            except DiscoveryConflict as conflict:
                self._tell(conflict)
                if is_wanted():
                    await self._bell.wait(self._cluster.options.lease_seconds)
            except DiscoveryError as failed:
                self._log.debug("{key}: {reason}", key=_shown(self.key), reason=str(failed))
                await self._bell.wait(max(_RETRY_SECONDS_MIN, backoff.next(self._random())))
            else:
                backoff.reset()

    def _may_write(self) -> bool:
        """Whether there is a lease, and the key that goes first has been written under it."""
        first = self._after
        return bool(self._cluster.lease.id) and (first is None or first.is_under_lease)

    def _tell(self, conflict: DiscoveryConflict) -> None:
        if self.conflict is None:
            self._log.error("{conflict}", conflict=conflict)
        self.conflict = conflict
        self.conflicted.tell(conflict)

    async def _write(self, lease: int, value: bytes) -> None:
        """Look, if one has to, and write."""
        if self.is_under_lease:
            seen, created = self._mod_revision, self.create_revision
        else:
            seen, created = self._judge(await self._cluster.get(self.key))
        for _ in range(_LOOKS_MAX):
            transaction = packer.put_if_unchanged(self.key, value, lease, seen)
            try:
                revision, there = await self._cluster.write(transaction)
            except EtcdRefused as refused:
                if refused.cause is Cause.LEASE:
                    self._cluster.lease.lost(lease)
                raise
            if there is None:
                self._note(lease, value, revision, created or revision)
                return
            item = there.items[0] if there.items else None
            if item is not None and item.lease == lease and item.value == value:
                # We did it; only the answer was lost.
                self._note(lease, value, item.mod_revision, item.create_revision)
                return
            seen, created = self._judge(item)
        raise DiscoveryError(f"{_shown(self.key)} does not hold still")

    def _note(self, lease: int, value: bytes, revision: int, created: int) -> None:
        self._lease, self._stored = lease, value
        self._mod_revision, self.create_revision = revision, created
        self.conflict = None
        self.writes += 1
        self.written.tell()

    def _judge(self, item: KeyValue | None) -> tuple[int, int]:
        """
        Look at what is there.

        :returns: When it was written and when it came into being; zeros when nothing is there.
        :raises DiscoveryConflict: It is another's.
        """
        if item is None:
            return 0, 0
        if item.value == self._wanted or (self._is_ours is not None and self._is_ours(item.value)):
            return item.mod_revision, item.create_revision
        owner = printable(self._owner_of(item.value)[: limits.DETAIL_BYTES])
        raise DiscoveryConflict("etcd", _shown(self.key), owner)


def _beginning(value: bytes) -> str:
    return value[: limits.LOGGED_INPUT_BYTES].decode("utf-8", "replace")


def _shown(key: bytes) -> str:
    return printable(key.decode("utf-8", "replace"))
