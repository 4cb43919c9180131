"""
One place that lives as long as our session does; see `atbus.discovery.keeping`.

1. A place is never taken over: it is bound to the session in which it came into being, and goes
   with that. What a former life of ours has left is deleted and made anew, in one transaction; so
   is what we have left ourselves in a session that is over, which the servers may not know yet.
2. It is watched: when somebody else has deleted or changed it, it is looked at again, and written
   again if it may be.
3. Its zxid is the fence: it grows whenever the place comes into being again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from atbus.discovery.keeping import KeptValue
from atbus.discovery.waiting import Routine
from atbus.discovery.zookeeper.faults import Cause, ZooKeeperRefused
from atbus.discovery.zookeeper.session import Session
from atbus.discovery.zookeeper.states import Connected, SessionNews, Stat
from atbus.errors import DiscoveryError

#: A place that changes between look and write so often is not worth another try now.
_LOOKS_MAX: Final = 4

#: Refusals that say that what is there is not what was seen.
_SEEN_WRONGLY: Final = (Cause.NOTHING, Cause.TAKEN, Cause.CHANGED)


class Ephemeral(KeptValue):
    """
    One place.

    :param session: Where.
    :param key: The path of the place.
    :param value: The value.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    :param more: See `KeptValue`.
    """

    registry = "ZooKeeper"

    def __init__(
        self,
        session: Session,
        key: bytes,
        value: bytes,
        timers: IReactorTime,
        random: Callable[[], float],
        **more: Any,
    ) -> None:
        super().__init__(key, value, timers, random, **more)
        self._session = session
        self._place = key.decode()
        # What is known of it since we have written it last.
        self._stat: Stat | None = None
        self._doubts = Routine()

    @property
    def fence(self) -> int:
        """The transaction in which the place came into being."""
        return 0 if self._stat is None else self._stat.created

    @property
    def tenure(self) -> int:
        """The session that there is."""
        return self._session.id

    @property
    def tenure_seconds(self) -> float:
        """How long a session stays without us."""
        return self._session.options.session_seconds

    @property
    def is_closed(self) -> bool:
        """Whether the session was closed."""
        return self._session.is_closed

    def watch_tenure(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have something called when a server answers, in whatever session."""

        def told(news: SessionNews) -> None:
            if isinstance(news, Connected):
                changed()
                # The watch of the place has ended with the connection.
                self._doubt()

        return self._session.changed.add(told)

    def start(self) -> None:
        """Write the place, and keep it; see `KeptValue.start`."""
        super().start()
        self._ends.append(self._session.noticed.add(self._noticed))

    def stop(self) -> None:
        """Let the place be; see `KeptValue.stop`."""
        self._doubts.stop()
        super().stop()

    def _noticed(self, place: str) -> None:
        if place == self._place:
            self._doubt()

    def _doubt(self) -> None:
        self._doubts.start(self._see)

    async def _see(self, is_wanted: Callable[[], bool]) -> None:
        """See whether the place is as we have written it, and watch it."""
        try:
            seen = await self._session.client.look(self._place, watch=True)
        except DiscoveryError as failed:
            self._log.debug("{key}: {reason}", key=self.shown, reason=str(failed))
            return
        # While it is being written, whoever writes it sees to it.
        if is_wanted() and self.is_written and seen != self._stat:
            self.check()

    async def store(self, tenure: int, value: bytes) -> None:
        """Look, if one has to, and write; see `KeptValue.store`."""
        for _ in range(_LOOKS_MAX):
            written: Stat | None
            try:
                written = await self._write(value)
            except ZooKeeperRefused as refused:
                if refused.cause not in _SEEN_WRONGLY:
                    raise
                # Nothing of ours is there as far as we know now; the next round looks.
                self._written_in = 0
                written = await self._look(value)
            if written is None:
                continue
            seen = await self._session.client.look(self._place, watch=True)
            if seen == written and seen.owner == self.tenure:
                self._stat = seen
                self.note(seen.owner, value)
                return
        raise DiscoveryError(f"{self.shown} does not hold still")

    async def erase(self) -> None:
        """Delete the place if it is as we have written it; see `KeptValue.erase`."""
        stat, client = self._stat, self._session.client
        if stat is None:
            return
        there = await client.look(self._place)
        # Versions begin anew with each place: only the zxid tells that it is still this one.
        if there is not None and (there.owner, there.created) == (stat.owner, stat.created):
            await client.delete(self._place, stat.version)

    async def _write(self, value: bytes) -> Stat:
        """Write what is not there yet, or what we have written before."""
        client = self._session.client
        if self.is_held and self._stat is not None:
            return await client.write(self._place, value, self._stat.version)
        return await client.create(self._place, value)

    async def _look(self, value: bytes) -> Stat | None:
        """
        Look at what is there, and put ours in its place if that may be.

        :returns: What is known of it then; None when there was nothing, or it has changed since.
        :raises DiscoveryConflict: It is another's.
        """
        client = self._session.client
        try:
            there, stat = await client.read(self._place)
            if stat.owner == self.tenure and there == value:
                # We did it; only the answer was lost.
                return stat
            if stat.owner == self.tenure:
                return await client.write(self._place, value, stat.version)
            self.judge(there)
            await client.replace(self._place, value, stat.version)
            return await client.look(self._place)
        except ZooKeeperRefused as refused:
            if refused.cause not in _SEEN_WRONGLY:
                raise
            if refused.cause is Cause.NOTHING:
                await client.make_folder(self._place.rpartition("/")[0])
            return None
