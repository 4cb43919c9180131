"""
The lease: as long as we renew it, the cluster keeps what we have written.

Whether it has ended is known by the cluster alone: a server that was away for a minute may still
know it, one that was never away may not. So it is never given up here; it is renewed, and an answer
without a time to live says that it is gone. Then another one is granted, and whoever has written
under the old one writes again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.faults import EtcdRefused, EtcdUnreadable, cause_of
from atbus.discovery.etcd.packer import Document
from atbus.discovery.waiting import Bell, Routine
from atbus.errors import DiscoveryError
from atbus.routing.backoff import Backoff

#: Even the shortest of the random waits is one.
_RETRY_SECONDS_MIN: Final = 0.1


class Lease:
    """
    One lease, kept.

    :param call: Asks the cluster, given a path and a request.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    :param seconds: How long it lives without being renewed; etcd counts whole seconds.
    :param renewal_seconds: Between two renewals.
    :param changed: Called with the id whenever there is another, 0 when there is none.
    """

    _log = Logger(namespace="atbus.discovery.etcd")

    def __init__(
        self,
        call: Callable[[str, Document], Awaitable[dict[str, Any]]],
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        seconds: float,
        renewal_seconds: float,
        changed: Callable[[int], None],
    ) -> None:
        #: Its id; 0 while there is none.
        self.id = 0
        #: How often one was granted.
        self.granted = 0
        #: How often it was renewed.
        self.renewed = 0
        self._call = call
        self._random = random
        self._seconds = max(1, round(seconds))
        self._renewal_seconds = renewal_seconds
        self._changed = changed
        self._bell = Bell(timers)
        self._work = Routine()

    @property
    def is_wanted(self) -> bool:
        """Whether it is to be kept."""
        return self._work.is_running

    def start(self) -> None:
        """Keep a lease from now on; twice does no harm."""
        if not self._work.is_running:
            self._work.start(self._keep)

    def stop(self) -> None:
        """Let it be; it ends by itself after its time."""
        self._work.stop()

    async def revoke(self) -> None:
        """
        End it at once, with everything that was written under it.

        :raises DiscoveryError: The cluster was not there or refused; then it ends by itself.
        """
        self.stop()
        old, self.id = self.id, 0
        if old:
            await self._call("/v3/lease/revoke", {"ID": str(old)})

    def lost(self, lease: int) -> None:
        """
        Note that the cluster does not know it any more.

        :param lease: Its id; nothing happens when there is another already.
        """
        if lease and lease == self.id:
            self._log.warn("lease {lease:x} is lost", lease=lease)
            self._set(0)
            self._bell.ring()

    def _set(self, lease: int) -> None:
        self.id = lease
        self._changed(lease)

    async def _keep(self, is_wanted: Callable[[], bool]) -> None:
        backoff = Backoff(cap=bounds.REGISTRY_RETRY_SECONDS_MAX)
        while is_wanted():
            try:
                if not self.id:
                    await self._grant()
                elif not await self._renew(self.id):
                    self.lost(self.id)
                wait = self._renewal_seconds if self.id else 0.0
                backoff.reset()
            except DiscoveryError as failed:
                self._log.debug("no lease: {reason}", reason=str(failed))
                wait = max(_RETRY_SECONDS_MIN, backoff.next(self._random()))
            if is_wanted():
                await self._bell.wait(wait)

    async def _grant(self) -> None:
        answer = await self._call("/v3/lease/grant", {"TTL": str(self._seconds), "ID": "0"})
        lease = packer.read_number(answer, "ID")
        if not lease:
            raise EtcdUnreadable("a lease without an id")
        self.granted += 1
        self._log.info("lease {lease:x} is ours", lease=lease)
        self._set(lease)

    async def _renew(self, lease: int) -> bool:
        """Renew it, and say whether it is still there."""
        answer = await self._call("/v3/lease/keepalive", {"ID": str(lease)})
        if answer.get("error") is not None:
            fault = packer.read_object(answer, "error")
            code, words = packer.read_number(fault, "grpc_code"), packer.read_text(fault, "message")
            raise EtcdRefused(f"keepalive: {words}", cause=cause_of(code, words), code=code)
        alive = packer.read_number(packer.read_object(answer, "result"), "TTL") > 0
        self.renewed += alive
        return alive
