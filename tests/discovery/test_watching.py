"""How much of what a registry brings one turn of the reactor takes."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.discovery import bounds, documents
from atbus.discovery.documents import Author
from atbus.discovery.interfaces import DiscoveryChange, IRecordReceiver, RecordFound
from atbus.discovery.records import Entry
from atbus.discovery.watching import RecordWatcher
from atbus.routing.record import Record
from atbus.routing.services import Version

TURN = bounds.REGISTRY_ENTRIES_PER_TURN


def put(bus_id: int) -> Entry:
    """Make the key of a record, as it stands."""
    value = documents.write_record(Record(bus_id=bus_id), Author("x"))
    return Entry(documents.topology_key("/", bus_id), value, Version(1, 1))


class PlainWatcher(RecordWatcher):
    """A watcher that is given what there is."""

    def begin(self) -> None:
        """There is nothing to begin with."""

    def end(self) -> None:
        """There is nothing to end."""


@implementer(IRecordReceiver)
class TurnCounter:
    """Note what is told, and the turns of the reactor between."""

    def __init__(self, timers: IReactorTime, total: int) -> None:
        self.log: list[int | str] = []
        self._left = total
        self._timers = timers
        self._turn()

    def _turn(self) -> None:
        self.log.append("turn")
        if self._left > 0:
            self._timers.callLater(0, self._turn)

    def discovered(self, changes: Sequence[DiscoveryChange]) -> None:
        self.log.append(len(changes))
        self._left -= sum(isinstance(change, RecordFound) for change in changes)

    def in_sync(self) -> None:
        self.log.append("in sync")

    def out_of_sync(self, reason: str) -> None:
        self.log.append("out of sync")

    def refused(self, key: str, fault: str) -> None:
        self.log.append("refused")


class TurnTests(SynchronousTestCase):
    """Many entries at once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.watcher = PlainWatcher("/", self.clock)

    def test_each_turn_takes_a_bounded_number(self) -> None:
        """Ten thousand records are taken a hundred at a time; others have their turns between."""
        total = 10_000
        counter = TurnCounter(self.clock, total)
        self.watcher.start(counter)
        entries = map(put, range(1, total + 1))
        taking = Deferred.fromCoroutine(self.watcher.take_in_turns(entries))
        self.assertNoResult(taking)
        self.clock.advance(0)
        self.successResultOf(taking)
        self.assertEqual(counter.log.count(TURN), total // TURN)
        self.assertEqual(counter.log[:4], ["turn", TURN, "turn", TURN])
        self.assertNotIn((TURN, TURN), list(zip(counter.log, counter.log[1:], strict=False)))

    def test_few_are_taken_at_once(self) -> None:
        """What is within the bound waits for nothing."""
        counter = TurnCounter(self.clock, 1)
        self.watcher.start(counter)
        entries = map(put, range(1, TURN))
        self.successResultOf(Deferred.fromCoroutine(self.watcher.take_in_turns(entries)))
        self.assertEqual(counter.log, ["turn", TURN - 1])

    def test_a_stop_ends_it(self) -> None:
        """After a stop nothing more is taken, though it was begun anew meanwhile."""
        counter = TurnCounter(self.clock, TURN)
        self.watcher.start(counter)
        entries = map(put, range(1, 10 * TURN))
        taking = Deferred.fromCoroutine(self.watcher.take_in_turns(entries))
        self.watcher.stop()
        self.watcher.start(counter)
        self.clock.advance(0)
        self.successResultOf(taking)
        self.assertEqual(counter.log.count(TURN), 1)
