"""
Addresses that somebody gives: in a configuration, or in a file of their own.

An address source knows no records: what is behind an address is found out by dialling it.

A file has one address on each line, in order of preference; what follows a ``#`` is for people. It
is looked at now and then and read again when it is another one: written in place, or put in its
place. One that cannot be read, or in which something is no address, changes nothing: it is named,
once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from atbus.address import parse_address
from atbus.discovery import bounds
from atbus.discovery.interfaces import IAddressSource
from atbus.discovery.waiting import Bell, Routine
from atbus.errors import AddressError, LocalProtocolError

Found: TypeAlias = Callable[[tuple[str, ...]], None]
"""Called with all addresses, in order of preference."""

_LOG: Final = Logger(namespace="atbus.discovery")

#: By what one tells that a file is another one: where it is, when it was written, how long it is.
_Mark: TypeAlias = tuple[int, int, int, int]


class Told:
    """
    Tell somebody of addresses, each time that they are others.

    :param found: Called with them.
    """

    def __init__(self, found: Found) -> None:
        self._found = found
        self._last: tuple[str, ...] | None = None

    def tell(self, addresses: tuple[str, ...]) -> None:
        """
        Tell of addresses, unless they are what was told last.

        :param addresses: In order of preference.
        """
        if addresses == self._last:
            return
        self._last = addresses
        try:
            self._found(addresses)
        except Exception:  # noqa: BLE001 - the receiver's; it is told the next time all the same
            _LOG.failure("a receiver of addresses failed")


def checked(addresses: Iterable[str]) -> tuple[str, ...]:
    """
    Make sure that one can connect to all of several addresses.

    :param addresses: They.
    :returns: The same.
    :raises AddressError: One of them is none, or names no port.
    """
    kept = tuple(addresses)
    for text in kept:
        if not parse_address(text).is_dialable:
            raise AddressError(text, "it names no port to connect to")
    return kept


def read_addresses(path: str) -> tuple[str, ...]:
    """
    Read a file of addresses.

    :param path: The file.
    :returns: What stands there, in its order.
    :raises OSError: It cannot be read.
    :raises ValueError: It is too long, or not UTF-8.
    :raises AddressError: Something in it is no address to connect to.
    """
    with Path(path).open("rb") as file:
        content = file.read(bounds.ADDRESS_FILE_BYTES + 1)
    if len(content) > bounds.ADDRESS_FILE_BYTES:
        raise ValueError(f"more than {bounds.ADDRESS_FILE_BYTES} bytes")
    lines = (line.partition("#")[0].strip() for line in content.decode().splitlines())
    return checked(line for line in lines if line)


@implementer(IAddressSource)
class StaticAddresses:
    """
    Addresses that somebody gives, as a configuration does.

    :param addresses: In order of preference.
    :param timers: The clock.
    :param is_own: Tells of an address whether it is ours.
    :raises AddressError: One of them is none.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        timers: IReactorTime,
        *,
        is_own: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._addresses = checked(addresses)
        self._is_own = is_own
        self._bell = Bell(timers)
        self._timers = timers
        self._work = Routine()

    def replace(self, addresses: Iterable[str]) -> None:
        """
        Give others, as a configuration that was read again does.

        :param addresses: In order of preference.
        :raises AddressError: One of them is none; nothing has changed then.
        """
        self._addresses = checked(addresses)
        self.refresh()

    def start(self, found: Found) -> None:
        """Begin to tell; see `IAddressSource`."""
        if self._work.is_running:
            raise LocalProtocolError("the addresses are looked up already")
        told = Told(found)
        self._work.start(lambda is_wanted: self._run(is_wanted, told))

    async def _run(self, is_wanted: Callable[[], bool], told: Told) -> None:
        # Nobody is called back before what he has called has returned.
        await self._bell.wait(0.0)
        while is_wanted():
            told.tell(tuple(place for place in self._addresses if not self._is_own(place)))
            if is_wanted():
                await self._bell.wait()

    def refresh(self) -> None:
        """Tell again, if there is anything new."""
        self._timers.callLater(0.0, self._bell.ring)

    def stop(self) -> Deferred[None]:
        """Tell nothing more; see `IAddressSource`."""
        self._work.stop()
        return succeed(None)


@implementer(IAddressSource)
class FileAddresses:
    """
    The addresses in a file.

    :param path: The file; it need not be there yet.
    :param timers: The clock.
    :param refresh_seconds: Between two looks at it.
    :param is_own: Tells of an address whether it is ours.
    """

    def __init__(
        self,
        path: str,
        timers: IReactorTime,
        *,
        refresh_seconds: float = bounds.ADDRESS_FILE_SECONDS,
        is_own: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._path = path
        self._refresh_seconds = refresh_seconds
        self._is_own = is_own
        self._bell = Bell(timers)
        self._work = Routine()
        self._mark: _Mark | None = None
        self._fault = ""

    def start(self, found: Found) -> None:
        """Begin to look; see `IAddressSource`."""
        if self._work.is_running:
            raise LocalProtocolError("the addresses are looked up already")
        told = Told(found)
        self._work.start(lambda is_wanted: self._run(is_wanted, told))

    async def _run(self, is_wanted: Callable[[], bool], told: Told) -> None:
        # Nobody is called back before what he has called has returned.
        await self._bell.wait(0.0)
        while is_wanted():
            places = self._look()
            if places is not None:
                told.tell(tuple(place for place in places if not self._is_own(place)))
            if is_wanted():
                await self._bell.wait(self._refresh_seconds)

    def refresh(self) -> None:
        """Read it again now, whether it looks like another one or not."""
        self._mark = None
        self._bell.ring()

    def stop(self) -> Deferred[None]:
        """Look no more; see `IAddressSource`."""
        self._work.stop()
        return succeed(None)

    def _look(self) -> tuple[str, ...] | None:
        """Read the file if it is another one; None when there is nothing new."""
        try:
            there = Path(self._path).stat()
            mark = there.st_dev, there.st_ino, there.st_mtime_ns, there.st_size
            if mark == self._mark:
                return None
            places = read_addresses(self._path)
        except (OSError, ValueError, AddressError) as fault:
            self._refuse(str(fault))
            return None
        self._mark, self._fault = mark, ""
        return places

    def _refuse(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            _LOG.warn("{path}: {fault}; what was there before counts", path=self._path, fault=fault)
