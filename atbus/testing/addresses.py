"""
What every source of addresses has to do, as tests.

Mix `AddressSourceContract` into a `twisted.trial.unittest.TestCase`, say how a source is made and
how what it knows is changed, and what `atbus.discovery.interfaces.IAddressSource` promises is
tested.
"""

# ruff: noqa: PT009, PT027 - trial, not pytest.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from atbus.discovery.interfaces import IAddressSource
from atbus.errors import LocalProtocolError

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Tests
else:
    _Tests = object

ONE, TWO, OWN = "ipv4://10.0.0.1:7000", "ipv4://10.0.0.2:7000", "ipv4://10.0.0.9:7000"


class AddressSourceContract(_Tests):
    """
    The contract of address sources.

    A subclass gives the methods that raise `NotImplementedError` here, and sets `reactor` in its
    ``setUp``. `know` is called before `make_source`.
    """

    reactor: Any
    patience_seconds = 180.0

    def setUp(self) -> None:
        """Begin to keep what is told."""
        super().setUp()
        self.told: list[tuple[str, ...]] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def make_source(self, is_own: Callable[[str], bool]) -> IAddressSource:
        """
        Make a source; it looks again when it is told to, or soon.

        :param is_own: Tells of an address whether it is ours.
        :returns: The source; ended by the contract.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def know(self, addresses: Sequence[str]) -> None:
        """
        Let sources find other addresses from now on.

        :param addresses: In the order in which they are to be found.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def know_nothing(self) -> None:
        """
        Let sources have no answer from now on, as far as that is possible.

        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def found(self, addresses: tuple[str, ...]) -> None:
        """Keep what is told."""
        self.told.append(addresses)
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
            raise AssertionError(f"not within {seconds} s; {self.told}")

        met.addTimeout(self.patience_seconds, self.reactor, too_late)
        try:
            await met
        finally:
            self._waiting.remove(entry)

    def source(self) -> IAddressSource:
        """Make a source that is stopped whatever happens."""
        made = self.make_source(lambda text: text == OWN)
        self.addCleanup(made.stop)
        return made

    # Tests.

    async def test_addresses_are_told(self) -> None:
        """All addresses but our own are told, in their order, after the start has returned."""
        self.know([ONE, TWO, OWN])
        source = self.source()
        verifyObject(IAddressSource, source)
        source.start(self.found)
        self.assertEqual(self.told, [])
        self.assertRaises(LocalProtocolError, source.start, self.found)
        await self.until(lambda: bool(self.told))
        self.assertEqual(self.told, [(ONE, TWO)])

    async def test_changes_are_told_and_nothing_else(self) -> None:
        """What has changed is told when the source looks again; what has not is not."""
        self.know([ONE, OWN])
        source = self.source()
        source.start(self.found)
        await self.until(lambda: bool(self.told))
        source.refresh()
        source.refresh()
        self.know([ONE, TWO])
        source.refresh()
        await self.until(lambda: len(self.told) > 1)
        self.assertEqual(self.told, [(ONE,), (ONE, TWO)])

    async def test_no_answer_changes_nothing(self) -> None:
        """While there is no answer what was told last stays true; then the next one is told."""
        self.know([ONE])
        source = self.source()
        source.start(self.found)
        await self.until(lambda: bool(self.told))
        self.know_nothing()
        source.refresh()
        self.know([TWO])
        source.refresh()
        await self.until(lambda: len(self.told) > 1)
        self.assertEqual(self.told, [(ONE,), (TWO,)])

    async def test_a_receiver_may_fail(self) -> None:
        """Who raises is told the next time all the same."""
        self.know([ONE])
        source = self.source()

        def failing(addresses: tuple[str, ...]) -> None:
            # Those who wait go on when this has raised.
            self.reactor.callLater(0, self.found, addresses)
            raise ZeroDivisionError

        source.start(failing)
        await self.until(lambda: bool(self.told))
        self.know([TWO])
        source.refresh()
        await self.until(lambda: self.told == [(ONE,), (TWO,)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_a_stopped_source_is_silent(self) -> None:
        """After the stop nothing is told, also when it was stopped by what it has told."""
        self.know([ONE])
        source = self.source()

        def stopping(addresses: tuple[str, ...]) -> None:
            source.stop()
            source.stop()
            self.found(addresses)

        source.start(stopping)
        await self.until(lambda: bool(self.told))
        self.know([TWO])
        source.refresh()
        # Another one finds what this one would have been told.
        other = self.source()
        other.start(self.found)
        await self.until(lambda: len(self.told) > 1)
        self.assertEqual(self.told, [(ONE,), (TWO,)])
