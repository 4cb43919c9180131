"""
What a node says of itself, in etcd: two keys, one lease.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from atbus.discovery.announcing import Announcer
from atbus.discovery.documents import Author
from atbus.discovery.etcd.cluster import EtcdCluster
from atbus.discovery.etcd.keepalive import KeepAlive
from atbus.discovery.keeping import KeptValue


class EtcdAnnouncer(Announcer):
    """
    Announces one node; see `IAnnouncer`.

    :param cluster: Where; whoever made it closes it, after this was stopped.
    :param prefix: Below it stand our keys.
    :param author: This node. What a former life of it has left is overwritten.
    :param is_alive: Tells of the process of another author with our identity whether it is alive:
        then there are two of us, and that is a conflict.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    """

    registry = "etcd"

    def __init__(
        self,
        cluster: EtcdCluster,
        prefix: str,
        author: Author,
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        is_alive: Callable[[str], bool] = lambda _: False,
    ) -> None:
        super().__init__(prefix, author, is_alive)
        self._cluster = cluster
        self._timers = timers
        self._random = random

    def keep(self, key: bytes, value: bytes, after: KeptValue | None) -> KeptValue:
        """Keep one key under the cluster's lease."""
        return KeepAlive(
            self._cluster,
            key,
            value,
            self._timers,
            self._random,
            is_ours=self.is_ours,
            owner_of=self.owner_of,
            after=after,
        )
