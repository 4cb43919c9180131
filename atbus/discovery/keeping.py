"""
One value in a registry that stays as long as we do, whatever the registry is.

1. The value is bound to a *tenure*: a lease, or a session. It is written when there is a new one
   and whenever the value has changed, and never otherwise: what is asked for twice is written once,
   and changes that follow each other closely are written together.
2. Before the first write in a tenure one looks who is there. What is ours, of a life of this node
   that did not end well, is overwritten. What is somebody else's stays: that is a conflict, which
   is told, and looked at again after a while.
3. Look and write are one step for the others: the write is done only if what is there is still as
   it was seen. Of two who come at the same moment one writes and the other meets it.
4. A value that is removed is deleted only as we have last written it, and no other with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atbus import limits
from atbus.discovery import bounds
from atbus.discovery.waiting import Bell, Listeners, Routine, pause
from atbus.errors import DiscoveryConflict, DiscoveryError, LocalProtocolError, printable
from atbus.routing.backoff import Backoff

#: Even the shortest of the random waits is one.
_RETRY_SECONDS_MIN: Final = 0.1


class KeptValue(ABC):
    """
    One value under one key (see the rules at the top of this file).

    :param key: The key.
    :param value: The value.
    :param timers: The clock.
    :param random: Gives numbers between 0 and 1, for waits.
    :param is_ours: Tells of a value that is there already whether it is one of ours; left out,
        only the same value is.
    :param owner_of: Says for people whose a value is; left out, its beginning does.
    :param after: Another one, to be written before this one whenever there is a new tenure.
    :param delay_seconds: How long a change waits for further ones.
    """

    #: What a registry is called in messages.
    registry: ClassVar[str]

    _log = Logger(namespace="atbus.discovery")

    def __init__(
        self,
        key: bytes,
        value: bytes,
        timers: IReactorTime,
        random: Callable[[], float],
        *,
        is_ours: Callable[[bytes], bool] | None = None,
        owner_of: Callable[[bytes], str] | None = None,
        after: KeptValue | None = None,
        delay_seconds: float = bounds.ANNOUNCE_DELAY_SECONDS,
    ) -> None:
        self.key = key
        #: How often it was written.
        self.writes = 0
        #: Why it is not written, if somebody else has the key.
        self.conflict: DiscoveryConflict | None = None
        #: Told each time the value has been written, or need not be written after all.
        self.written: Listeners[[]] = Listeners()
        #: Told each time the key turns out to be another's.
        self.conflicted: Listeners[[DiscoveryConflict]] = Listeners()
        #: Told what of ours was there, and is something else than shall be there.
        self.found: Listeners[[bytes]] = Listeners()
        self._wanted = value
        self._stored: bytes | None = None
        # The tenure in which something of ours is there; 0 when nobody knows.
        self._written_in = 0
        self._is_doubted = False
        self._complaint = ""
        self._timers = timers
        self._random = random
        self._is_ours = is_ours
        self._owner_of = owner_of or _beginning
        self._after = after
        self._delay_seconds = delay_seconds
        self._bell = Bell(timers)
        self._work = Routine()
        self._ends: list[Callable[[], None]] = []

    # What a registry says.

    @property
    @abstractmethod
    def fence(self) -> int:
        """A number that grows from owner to owner of the key; 0 before the first write."""

    @property
    @abstractmethod
    def tenure(self) -> int:
        """The lease or session that there is; 0 for none."""

    @property
    @abstractmethod
    def tenure_seconds(self) -> float:
        """How long one stays without us."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether we have done with the registry: then nothing is tried again."""

    @abstractmethod
    def watch_tenure(self, changed: Callable[[], None]) -> Callable[[], None]:
        """
        Have something called when there may be another tenure.

        :param changed: That.
        :returns: Ends it.
        """

    @abstractmethod
    async def store(self, tenure: int, value: bytes) -> None:
        """
        Look, if one has to, and write; `note` what was written.

        :param tenure: To which it is to be bound.
        :param value: What.
        :raises DiscoveryConflict: The key is another's.
        :raises DiscoveryError: It cannot be done now.
        """

    @abstractmethod
    async def erase(self) -> None:
        """
        Delete the key if it is as we have written it.

        :raises DiscoveryError: The registry was not there or refused; the key goes by itself.
        """

    # What one asks for.

    @property
    def value(self) -> bytes:
        """What shall be there."""
        return self._wanted

    @property
    def is_written(self) -> bool:
        """Whether what shall be there is there, in the tenure that we have."""
        return self.is_held and self._stored == self._wanted

    @property
    def is_held(self) -> bool:
        """Whether something of ours is there, in the tenure that we have."""
        return bool(self._written_in) and self._written_in == self.tenure

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
        self._ends.append(self.watch_tenure(self._bell.ring))
        if self._after is not None:
            self._ends.append(self._after.written.add(self._bell.ring))
        self._work.start(self._keep)

    def stop(self) -> None:
        """Let the key be: it stays until the tenure ends; twice does no harm."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()
        self._work.stop()

    async def remove(self) -> None:
        """
        Stop, and delete the key if it is as we have written it.

        :raises DiscoveryError: The registry was not there or refused; the key goes by itself.
        """
        self.stop()
        if self._stored is None:
            return
        self._stored = None
        await self.erase()

    def check(self) -> None:
        """
        Look at the key again: somebody has seen that it is not as we have written it.

        Not at once: two who both believe to be its owner would do nothing else.
        """
        self._written_in = 0
        self._is_doubted = True
        self._bell.ring()

    # For those who store.

    def note(self, tenure: int, value: bytes) -> None:
        """
        Note what is there now.

        :param tenure: To which it is bound.
        :param value: What.
        """
        self._written_in, self._stored = tenure, value
        self.conflict = None
        self._complaint = ""
        self.writes += 1
        self.written.tell()

    def judge(self, value: bytes) -> None:
        """
        Look at what is there before we have written anything.

        :param value: That.
        :raises DiscoveryConflict: It is another's.
        """
        if value == self._wanted:
            return
        if self._is_ours is not None and self._is_ours(value):
            self.found.tell(value)
            return
        owner = printable(self._owner_of(value)[: limits.DETAIL_BYTES])
        raise DiscoveryConflict(self.registry, self.shown, owner)

    @property
    def shown(self) -> str:
        """The key, for people."""
        return printable(self.key.decode("utf-8", "replace"))

    async def _keep(self, is_wanted: Callable[[], bool]) -> None:
        backoff = Backoff(cap=bounds.REGISTRY_RETRY_SECONDS_MAX)
        while is_wanted():
            if self.is_written or not self._may_write():
                await self._bell.wait()
                continue
            if self.is_held or self._is_doubted:
                self._is_doubted = False
                await pause(self._timers, self._delay_seconds)
                if self.is_written:
                    # What had changed has changed back: whoever waits need not wait longer.
                    self.written.tell()
                    continue
            try:
                await self.store(self.tenure, self._wanted)
            except DiscoveryConflict as conflict:
                self._tell(conflict)
                if is_wanted():
                    await self._bell.wait(self.tenure_seconds)
            except DiscoveryError as failed:
                if self.is_closed:
                    return
                self._complain(str(failed))
                await self._bell.wait(max(_RETRY_SECONDS_MIN, backoff.next(self._random())))
            else:
                backoff.reset()

    def _complain(self, reason: str) -> None:
        """Say why the value is not written, once for each reason."""
        if reason != self._complaint:
            self._complaint = reason
            self._log.warn("{key}: {reason}", key=self.shown, reason=reason)

    def _may_write(self) -> bool:
        """Whether there is a tenure, and the key that goes first has been written in it."""
        return bool(self.tenure) and (self._after is None or self._after.is_held)

    def _tell(self, conflict: DiscoveryConflict) -> None:
        if self.conflict is None:
            self._log.error("{conflict}", conflict=conflict)
        self.conflict = conflict
        self.conflicted.tell(conflict)


def _beginning(value: bytes) -> str:
    return value[: limits.LOGGED_INPUT_BYTES].decode("utf-8", "replace")
