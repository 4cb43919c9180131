"""What the tests of real sockets share: the reactor, timers, and places to listen at."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection
from twisted.trial.unittest import TestCase

from atbus.address import Address, Scheme
from atbus.channels.timers import MonotonicTimers


def the_reactor() -> Any:
    """Give the reactor that trial runs."""
    from twisted.internet import reactor  # noqa: TID251 - real sockets need the real one

    return reactor


class SocketTests(TestCase):
    """Has the reactor, timers and a directory for sockets."""

    def setUp(self) -> None:
        self.reactor = the_reactor()
        self.addCleanup(lambda: Deferred.fromCoroutine(self._all_gone()))
        self.timers = MonotonicTimers(self.reactor)
        self.addCleanup(self.timers.stop)
        # Not trial's own: its names are longer than a socket's path may be.
        self.directory = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self._numbers = itertools.count()

    def unix_address(self) -> Address:
        """Name a path where nothing is."""
        return Address(Scheme.UNIX, str(self.directory / f"{next(self._numbers)}.sock"))

    async def _all_gone(self) -> None:
        """Wait until the kernel has told both ends of every connection that it is over."""
        while any(
            isinstance(one, Connection)
            for one in (*self.reactor.getReaders(), *self.reactor.getWriters())
        ):
            turn: Deferred[None] = Deferred()
            self.reactor.callLater(0, turn.callback, None)
            await turn
