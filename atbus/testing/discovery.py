"""
What every registry has to do, as tests.

Mix `DiscoveryContract` into a `twisted.trial.unittest.TestCase`, say how an announcer and a watcher
are made, and what `atbus.discovery.interfaces` promises is tested. The tests wait for events, never
for time.
"""

# ruff: noqa: PT009, PT027 - trial, not pytest.

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from atbus.discovery.documents import topology_key
from atbus.discovery.interfaces import (
    DiscoveryChange,
    IAnnouncer,
    IRecordReceiver,
    IRecordWatcher,
    RecordFound,
    RecordGone,
    ServiceFound,
    ServiceGone,
)
from atbus.errors import DiscoveryConflict, LocalProtocolError
from atbus.routing.record import Record, Stamp
from atbus.routing.services import Service

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Tests
else:
    _Tests = object


@implementer(IRecordReceiver)
class RecordingReceiver:
    """
    Writes down what a watcher tells, and keeps what is known.

    :param reactor: For the time after which a test gives up.
    """

    patience_seconds = 180.0

    def __init__(self, reactor: Any) -> None:
        self.changes: list[DiscoveryChange] = []
        self.records: dict[int, Record] = {}
        self.services: dict[int, Service] = {}
        self.refusals: list[tuple[str, str]] = []
        self.is_in_sync = False
        self._reactor = reactor
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def discovered(self, changes: Sequence[DiscoveryChange]) -> None:
        """Write down what has changed."""
        for change in changes:
            self.changes.append(change)
            match change:
                case RecordFound(record, _):
                    self.records[record.bus_id] = record
                case RecordGone(bus_id):
                    del self.records[bus_id]
                case ServiceFound(service, _):
                    self.services[service.bus_id] = service
                case ServiceGone(service):
                    del self.services[service.bus_id]
        self.note()

    def in_sync(self) -> None:
        """Write down that everything was told."""
        self.is_in_sync = True
        self.note()

    def out_of_sync(self, reason: str) -> None:
        """Write down that the registry is away."""
        self.is_in_sync = False
        self.note()

    def refused(self, key: str, fault: str) -> None:
        """Write down what cannot be used."""
        self.refusals.append((key, fault))
        self.note()

    def note(self, *_: object) -> None:
        """Let those go on whose condition holds now."""
        for condition, met in list(self._waiting):
            if not met.called and condition():
                met.callback(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """
        Wait for something that what is told makes true.

        :param condition: That.
        :raises AssertionError: It is not true in time.
        """
        if condition():
            return
        met: Deferred[None] = Deferred()
        entry = condition, met
        self._waiting.append(entry)

        def too_late(_: object, seconds: float) -> None:
            raise AssertionError(f"not within {seconds} s; {self.records}; {self.refusals}")

        met.addTimeout(self.patience_seconds, self._reactor, too_late)
        try:
            await met
        finally:
            self._waiting.remove(entry)


def record_of(bus_id: int, **more: Any) -> Record:
    """
    Make a record.

    :param bus_id: Whose.
    :param more: Further parts.
    :returns: The record, of the first epoch unless *more* says otherwise.
    """
    parts: dict[str, Any] = {"bus_id": bus_id, "stamp": Stamp(1, 1)}
    return Record(**(parts | more))


class DiscoveryContract(_Tests):
    """
    The contract of registries.

    A subclass gives the methods that raise `NotImplementedError` here, and sets `reactor` before
    its ``setUp`` calls this one. Each test has a prefix of its own.
    """

    reactor: Any

    def make_announcer(self, identity: str) -> IAnnouncer:
        """
        Make an announcer, with a lease or session of its own.

        :param identity: Of its node.
        :returns: The announcer; ended by the subclass.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def make_watcher(self) -> IRecordWatcher:
        """
        Make a watcher.

        :returns: The watcher; ended by the subclass.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def write(self, key: bytes, value: bytes) -> Awaitable[object]:
        """
        Write something into the registry, past all announcers.

        :param key: Where.
        :param value: What.
        :returns: When it is there.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def lose(self) -> None:
        """
        Let the registry be away.

        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def restore(self) -> None:
        """
        Let the registry be there again, with what stood in it.

        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def lives(self, number: int) -> None:
        """
        Let other announcers know that the process of one lives; nothing where nobody can know.

        :param number: The how manieth announcer it was, from 1.
        """

    @property
    def prefix_text(self) -> str:
        """
        Below what the keys of this test stand.

        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def watch(self) -> RecordingReceiver:
        """
        Watch.

        :returns: What is told.
        """
        receiver = RecordingReceiver(self.reactor)
        self.make_watcher().start(receiver)
        return receiver

    @staticmethod
    async def is_told(
        receiver: RecordingReceiver,
        bus_id: int,
        record: Record | None = None,
        service: Service | None = None,
    ) -> None:
        """
        Wait until everything was told, and a node is known.

        :param receiver: Who was told.
        :param bus_id: The node.
        :param record: What is to be known of it; left out, anything.
        :param service: What it is to offer; left out, anything or nothing.
        """
        await receiver.until(
            lambda: receiver.is_in_sync
            and bus_id in receiver.records
            and record in (None, receiver.records[bus_id])
            and service in (None, receiver.services.get(bus_id))
        )

    # Tests.

    def test_interfaces(self) -> None:
        """Announcer, watcher and receiver provide what they say."""
        verifyObject(IAnnouncer, self.make_announcer("a"))
        verifyObject(IRecordWatcher, self.make_watcher())
        verifyObject(IRecordReceiver, RecordingReceiver(self.reactor))

    async def test_nodes_find_each_other(self) -> None:
        """
        What one node announces others find, before and after they began to look, and itself too.

        Scenario: U4, U5
        """
        first, second = record_of(1, labels={"a": "b"}), record_of(2, upstream_id=1)
        service = Service(bus_id=1, name="one", type="battle")
        await self.make_announcer("a").announce(first, service)
        receiver = self.watch()
        await receiver.until(lambda: receiver.is_in_sync)
        self.assertEqual((receiver.records, receiver.services), ({1: first}, {1: service}))
        await self.make_announcer("b").announce(second)
        await receiver.until(lambda: len(receiver.records) == 2)
        self.assertEqual(receiver.records[2], second)

    async def test_a_change_is_told_once(self) -> None:
        """
        What a node says anew is told, what it says again is not.

        Scenario: U13
        """
        announcer, receiver = self.make_announcer("a"), self.watch()
        await announcer.announce(record_of(1))
        await receiver.until(lambda: 1 in receiver.records)
        await announcer.announce(record_of(1))
        changed = record_of(1, stamp=Stamp(1, 2), labels={"a": "b"})
        await announcer.announce(changed)
        await receiver.until(lambda: receiver.records[1] == changed)
        self.assertEqual(len(receiver.changes), 2)
        self.assertTrue(announcer.is_announced)

    async def test_the_record_comes_before_the_service(self) -> None:
        """
        A node's record is written first, whatever is announced; they may be told in either order.

        Scenario: U24
        """
        receiver = self.watch()
        service = Service(bus_id=1, name="one")
        await self.make_announcer("a").announce(record_of(1), service)
        await receiver.until(lambda: len(receiver.changes) == 2)
        written = {
            type(change): change.version
            for change in receiver.changes
            if isinstance(change, RecordFound | ServiceFound)
        }
        self.assertLess(written[RecordFound], written[ServiceFound])

    async def test_a_service_comes_and_goes(self) -> None:
        """A service with another name is told under that, and one that is withdrawn is gone."""
        announcer, receiver = self.make_announcer("a"), self.watch()
        one, other = Service(bus_id=1, name="one"), Service(bus_id=1, name="two-and a/half")
        await announcer.announce(record_of(1), one)
        await receiver.until(lambda: receiver.services.get(1) == one)
        await announcer.announce(record_of(1), other)
        await receiver.until(lambda: receiver.services.get(1) == other)
        await announcer.announce(record_of(1))
        await receiver.until(lambda: not receiver.services)
        self.assertIn(1, receiver.records)

    async def test_what_is_withdrawn_is_gone(self) -> None:
        """
        A node that withdraws is told as gone, and can come back.

        Scenario: U7
        """
        announcer, receiver = self.make_announcer("a"), self.watch()
        service = Service(bus_id=1, name="one")
        await announcer.announce(record_of(1), service)
        await receiver.until(lambda: len(receiver.services) == 1)
        fence = announcer.fence
        await announcer.withdraw()
        await receiver.until(lambda: not receiver.records and not receiver.services)
        await announcer.announce(record_of(1))
        await receiver.until(lambda: 1 in receiver.records)
        self.assertGreater(announcer.fence, fence)

    async def test_one_id_has_one_owner(self) -> None:
        """
        A node whose id another has is told so, and nothing of the other's is overwritten.

        Scenario: U25
        """
        receiver = self.watch()
        await self.make_announcer("a").announce(record_of(1, labels={"who": "first"}))
        second = self.make_announcer("b")
        told: list[DiscoveryConflict] = []
        second.on_conflict(told.append)
        try:
            await second.announce(record_of(1, labels={"who": "second"}))
        except DiscoveryConflict as conflict:
            self.assertEqual(told, [conflict])
        else:
            self.fail("both have the id")
        self.assertIsNotNone(second.conflict)
        await receiver.until(lambda: 1 in receiver.records)
        self.assertEqual(receiver.records[1].label("who"), "first")

    async def test_a_former_life_is_overwritten(self) -> None:
        """A node that was killed and is back takes its id at once: it is nobody else's."""
        receiver = self.watch()
        await self.make_announcer("same").announce(record_of(1))
        again = record_of(1, stamp=Stamp(2, 1))
        await self.make_announcer("same").announce(again)
        await receiver.until(lambda: receiver.records.get(1) == again)

    async def test_a_former_owner_does_not_come_back(self) -> None:
        """
        Who was taken for dead, and whose place another has taken, says what he wants: it is the
        other who counts, now and for those who look later, and also when the former one goes.
        """
        receiver = self.watch()
        before, after = record_of(1), record_of(1, stamp=Stamp(2, 1))
        old, new = Service(bus_id=1, name="old"), Service(bus_id=1, name="new")
        former, later = self.make_announcer("same"), self.make_announcer("same")
        await former.announce(before, old)
        await later.announce(after, new)
        await receiver.until(
            lambda: receiver.records.get(1) == after and receiver.services.get(1) == new
        )
        self.lives(2)
        said = receiver.changes[:]
        for record in (before, record_of(1, stamp=Stamp(1, 2))):
            try:
                await former.announce(record, attrs.evolve(old, data="I was frozen"))
            except DiscoveryConflict as conflict:
                self.assertEqual(conflict.owner, "same")
        await self.make_announcer("witness").announce(record_of(2))
        for each in (receiver, self.watch()):
            await self.is_told(each, 2)
            self.assertEqual((each.records[1], each.services), (after, {1: new}))
        await former.stop()
        await later.announce(attrs.evolve(after, labels={"a": "b"}, stamp=Stamp(2, 2)), new)
        await receiver.until(lambda: bool(receiver.records[1].labels))
        self.assertEqual(receiver.services, {1: new})
        # At no time was anything else told.
        about = {type(each) for each in receiver.changes[len(said) :]}
        self.assertEqual(about, {RecordFound})

    async def test_a_registry_that_was_away(self) -> None:
        """
        While the registry is away what it said stays true; when it is back it has what was
        announced meanwhile, and who has seen nothing of all that finds the same.
        """
        receiver, announcer = self.watch(), self.make_announcer("a")
        service = Service(bus_id=1, name="one")
        await announcer.announce(record_of(1), service)
        await receiver.until(lambda: receiver.is_in_sync and bool(receiver.services))
        news = record_of(1, stamp=Stamp(1, 2))
        self.lose()
        try:
            await receiver.until(lambda: not receiver.is_in_sync)
            self.assertEqual((list(receiver.records), list(receiver.services)), ([1], [1]))
            announcing = announcer.announce(news, service)
        finally:
            self.restore()
        await announcing
        for each in (receiver, self.watch()):
            await self.is_told(each, 1, news, service)
            self.assertEqual((list(each.records), each.refusals), ([1], []))

    async def test_what_cannot_be_used_is_named(self) -> None:
        """Garbage, and what says to be another's, is named, counted, left out; the rest is told."""
        poison: list[tuple[bytes, bytes]] = [
            (topology_key(self.prefix_text, 7), b"{"),
            (topology_key(self.prefix_text, 8), b'{"id": "0x9"}'),
            (topology_key(self.prefix_text, 9), b'{"id": "0x9", "upstream": "0x9"}'),
            (self.prefix_text.encode() + b"topology/nobody", b"{}"),
        ]
        for key, value in poison:
            await self.write(key, value)
        watcher, receiver = self.make_watcher(), RecordingReceiver(self.reactor)
        watcher.start(receiver)
        await self.make_announcer("a").announce(record_of(1))
        await receiver.until(lambda: 1 in receiver.records and len(receiver.refusals) == 4)
        self.assertEqual(list(receiver.records), [1])
        self.assertEqual(watcher.refused_count, 4)
        self.assertTrue(all(key.isprintable() for key, _ in receiver.refusals))

    async def test_a_stopped_watcher_is_silent(self) -> None:
        """After its stop a watcher tells nothing, and it cannot be started twice."""
        watcher, receiver = self.make_watcher(), RecordingReceiver(self.reactor)
        watcher.start(receiver)
        self.assertRaises(LocalProtocolError, watcher.start, receiver)
        await receiver.until(lambda: receiver.is_in_sync)
        await watcher.stop()
        await watcher.stop()
        await self.make_announcer("a").announce(record_of(1))
        self.assertEqual(receiver.changes, [])

    async def test_a_stopped_announcer_leaves_nothing(self) -> None:
        """After its stop nothing of an announcer is there, unless it was to be kept."""
        kept, gone, receiver = self.make_announcer("a"), self.make_announcer("b"), self.watch()
        await kept.announce(record_of(1))
        await gone.announce(record_of(2))
        await receiver.until(lambda: len(receiver.records) == 2)
        await gone.stop()
        await kept.stop(keep=True)
        await receiver.until(lambda: len(receiver.records) == 1)
        self.assertEqual(list(receiver.records), [1])
        self.assertRaises(LocalProtocolError, gone.announce, record_of(2))

    async def test_a_receiver_may_fail(self) -> None:
        """A receiver that raises is told the next news all the same."""
        announcer, receiver = self.make_announcer("a"), self.watch()
        await receiver.until(lambda: receiver.is_in_sync)
        failures: list[Sequence[DiscoveryChange]] = []

        def failing(changes: Sequence[DiscoveryChange]) -> None:
            failures.append(changes)
            del receiver.discovered
            self.reactor.callLater(0, receiver.note)
            raise ZeroDivisionError

        receiver.discovered = failing  # type: ignore[method-assign]
        await announcer.announce(record_of(1))
        await receiver.until(lambda: bool(failures))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        news = record_of(1, stamp=Stamp(1, 2))
        await announcer.announce(news)
        await receiver.until(lambda: receiver.records.get(1) == news)
