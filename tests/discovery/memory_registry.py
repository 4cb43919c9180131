"""A registry in memory that counts what is written, for announcers on a simulated clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from atbus.discovery.announcing import Announcer
from atbus.discovery.documents import Author
from atbus.discovery.keeping import KeptValue
from atbus.discovery.records import Entry
from atbus.routing.services import Version

PREFIX = "/bus/"


class MemoryRegistry:
    """What stands in the registry, and how often it was written."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        #: For each key how often it was written.
        self.writes: Counter[bytes] = Counter()
        self.revision = 0

    def put(self, key: bytes, value: bytes) -> Version:
        """Write a key."""
        self.revision += 1
        there = self.entries.get(key)
        created = self.revision if there is None else there.version.created
        version = Version(self.revision, created)
        self.entries[key] = Entry(key, value, version)
        self.writes[key] += 1
        return version

    def count(self, folder: str) -> int:
        """Count the writes below a folder."""
        start = f"{PREFIX}{folder}/".encode()
        return sum(times for key, times in self.writes.items() if key.startswith(start))


class MemoryValue(KeptValue):
    """One value in it."""

    registry = "memory"
    tenure = 1
    tenure_seconds = 10.0
    is_closed = False
    fence = 0

    def in_registry(self, registry: MemoryRegistry) -> MemoryValue:
        """Say where it stands."""
        self._memory = registry
        return self

    def watch_tenure(self, changed: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    async def store(self, tenure: int, value: bytes) -> None:
        there = self._memory.entries.get(self.key)
        if not self.is_held and there is not None:
            assert there.value is not None
            self.judge(there.value)
        self.fence = self._memory.put(self.key, value).created
        self.note(tenure, value)

    async def erase(self) -> None:
        self._memory.entries.pop(self.key, None)


class MemoryAnnouncer(Announcer):
    """Announces a node there, with the code that announces it anywhere."""

    registry = "memory"

    def __init__(
        self, memory: MemoryRegistry, name: str, timers: IReactorTime, process: str = ""
    ) -> None:
        super().__init__(PREFIX, Author(name, process), lambda _: False)
        self._memory = memory
        self._timers = timers

    def keep(self, key: bytes, value: bytes, after: KeptValue | None) -> KeptValue:
        kept = MemoryValue(
            key,
            value,
            self._timers,
            lambda: 0.5,
            is_ours=self.is_ours,
            owner_of=self.owner_of,
            after=after,
        )
        return kept.in_registry(self._memory)
