"""
What a node says of itself, in ZooKeeper: two ephemeral places, one session.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from atbus.discovery.announcing import Announcer
from atbus.discovery.documents import Author
from atbus.discovery.keeping import KeptValue
from atbus.discovery.zookeeper.ephemeral import Ephemeral
from atbus.discovery.zookeeper.session import Session


class ZooKeeperAnnouncer(Announcer):
    """
    Announces one node; see `IAnnouncer`.

    :param session: Where; whoever made it closes it, after this was stopped. What was to be kept
        then goes all the same: places live as long as their session, and no longer.
    :param prefix: Below it stand our keys; it begins with a slash.
    :param author: This node. What a former life of it has left is replaced.
    :param is_alive: Tells of the process of another author with our identity whether it is alive:
        then there are two of us, and that is a conflict.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    """

    registry = "ZooKeeper"

    def __init__(
        self,
        session: Session,
        prefix: str,
        author: Author,
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        is_alive: Callable[[str], bool] = lambda _: False,
    ) -> None:
        super().__init__(prefix, author, is_alive)
        self._session = session
        self._timers = timers
        self._random = random

    def keep(self, key: bytes, value: bytes, after: KeptValue | None) -> KeptValue:
        """Keep one place in the session."""
        return Ephemeral(
            self._session,
            key,
            value,
            self._timers,
            self._random,
            is_ours=self.is_ours,
            owner_of=self.owner_of,
            after=after,
        )
