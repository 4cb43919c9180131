"""One value that stays as long as we do, in a registry that is a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.keeping import KeptValue
from atbus.discovery.waiting import Listeners
from atbus.errors import DiscoveryConflict, DiscoveryError, LocalProtocolError

DELAY_SECONDS = 0.25


class Shelf:
    """A registry: its values, and one tenure for all who use it."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.written: list[bytes] = []
        self.tenure = 1
        self.changed: Listeners[[]] = Listeners()
        self.is_away = False
        self.is_closed = False

    def begin(self, tenure: int) -> None:
        """Begin another tenure; what was written in the last one is gone."""
        self.tenure = tenure
        self.values.clear()
        self.changed.tell()


class Kept(KeptValue):
    """One value on a shelf."""

    registry = "shelf"
    tenure_seconds = 10.0
    fence = 0

    def __init__(self, shelf: Shelf, key: bytes, value: bytes, clock: Clock, **more: Any) -> None:
        super().__init__(key, value, clock, lambda: 0.5, delay_seconds=DELAY_SECONDS, **more)
        self.shelf = shelf

    @property
    def tenure(self) -> int:
        return self.shelf.tenure

    @property
    def is_closed(self) -> bool:
        return self.shelf.is_closed

    def watch_tenure(self, changed: Callable[[], None]) -> Callable[[], None]:
        return self.shelf.changed.add(changed)

    async def store(self, tenure: int, value: bytes) -> None:
        if self.shelf.is_away:
            raise DiscoveryError("nobody is there")
        there = self.shelf.values.get(self.key)
        if there is not None and not self.is_held:
            self.judge(there)
        self.shelf.values[self.key] = value
        self.shelf.written.append(value)
        self.note(tenure, value)

    async def erase(self) -> None:
        self.shelf.values.pop(self.key, None)


class KeepingTests(SynchronousTestCase):
    """When a value is written, and when it is not."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.shelf = Shelf()

    def keep(self, value: bytes, *, key: bytes = b"key", **more: Any) -> Kept:
        """Keep a value."""
        made = Kept(self.shelf, key, value, self.clock, **more)
        made.start()
        self.addCleanup(made.stop)
        return made

    def test_a_value_is_written_once(self) -> None:
        """What is asked for twice is written once; of several in a row the last one is."""
        kept = self.keep(b"one")
        kept.set(b"one")
        for value in (b"two", b"three"):
            kept.set(value)
        self.assertEqual(self.shelf.written, [b"one"])
        self.clock.advance(DELAY_SECONDS)
        self.assertEqual(self.shelf.written, [b"one", b"three"])
        self.assertTrue(kept.is_written)
        self.assertRaises(LocalProtocolError, kept.start)

    def test_another_tenure_is_written_in_at_once(self) -> None:
        """When a tenure is over everything is written in the next one, as soon as there is one."""
        kept = self.keep(b"one")
        self.shelf.begin(0)
        self.assertFalse(kept.is_held)
        self.shelf.begin(2)
        self.assertEqual(self.shelf.written, [b"one", b"one"])

    def test_one_goes_before_the_other(self) -> None:
        """A value that comes after another is written when that is there, in each tenure."""
        first = Kept(self.shelf, b"a", b"first", self.clock)
        self.keep(b"second", key=b"b", after=first)
        self.assertEqual(self.shelf.written, [])
        first.start()
        self.addCleanup(first.stop)
        self.shelf.begin(2)
        self.assertEqual(self.shelf.written, [b"first", b"second"] * 2)

    def test_what_is_anothers_stays(self) -> None:
        """The value of another is a conflict; it is looked at again after a while."""
        self.shelf.values[b"key"] = b"theirs"
        kept = self.keep(b"ours", is_ours=lambda value: value == b"former")
        told: list[DiscoveryConflict] = []
        kept.conflicted.add(told.append)
        self.clock.advance(kept.tenure_seconds)
        self.assertEqual((len(told), self.shelf.values), (1, {b"key": b"theirs"}))
        self.assertEqual(str(kept.conflict), str(told[0]))
        self.shelf.values[b"key"] = b"former"
        self.clock.advance(kept.tenure_seconds)
        self.assertEqual((kept.conflict, self.shelf.values), (None, {b"key": b"ours"}))

    def test_who_is_away_is_asked_again(self) -> None:
        """A registry that is not there is asked again, after pauses that grow up to a bound."""
        self.shelf.is_away = True
        kept = self.keep(b"one")
        for _ in range(100):
            self.clock.advance(1.0)
        self.shelf.is_away = False
        for _ in range(8):
            self.clock.advance(1.0)
        self.assertTrue(kept.is_written)

    def test_why_it_is_not_written_is_said_once(self) -> None:
        """What a registry has against a value is logged when it begins, not with each attempt."""
        self.shelf.is_away = True
        with capturedLogs() as logs:
            kept = self.keep(b"one")
            for _ in range(100):
                self.clock.advance(1.0)
        (said,) = [event for event in logs if event["log_level"] is LogLevel.warn]
        reason = str(DiscoveryError("nobody is there"))
        self.assertEqual((said["key"], said["reason"]), (kept.shown, reason))

    def test_two_who_do_not_give_way(self) -> None:
        """
        Two who take each other for a former life write in turns, and not more often than a change
        may be written.
        """
        one = self.keep(b"one", is_ours=lambda _: True)
        other = self.keep(b"other", is_ours=lambda _: True)
        for _ in range(100):
            for kept in (one, other):
                if self.shelf.values[b"key"] != kept.value:
                    kept.check()
            self.clock.advance(DELAY_SECONDS / 10)
        self.assertLessEqual(len(self.shelf.written), 2 + 10)

    def test_what_is_removed_is_gone(self) -> None:
        """A value that is removed is not written again; one that was only let be stays."""
        gone, kept = self.keep(b"gone", key=b"a"), self.keep(b"kept", key=b"b")
        kept.stop()
        self.successResultOf(Deferred.fromCoroutine(gone.remove()))
        self.shelf.changed.tell()
        self.clock.advance(60)
        self.assertEqual(self.shelf.values, {b"b": b"kept"})

    def test_nothing_is_tried_when_all_is_over(self) -> None:
        """When the registry was closed, what could not be written is not tried again."""
        self.shelf.is_away = self.shelf.is_closed = True
        self.keep(b"one")
        self.assertEqual(self.clock.getDelayedCalls(), [])
