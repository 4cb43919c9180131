"""Nodes that find each other through nothing but their bus."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from random import Random
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import TestCase

from atbus.discovery.bus.announcer import BusAnnouncer
from atbus.discovery.bus.board import PREFIX, Board
from atbus.discovery.bus.records import BusRecordWatcher
from atbus.discovery.documents import Author
from atbus.discovery.interfaces import IAnnouncer, IRecordWatcher
from atbus.testing.discovery import DiscoveryContract
from tests.discovery.bus.boards import Village

_UPSTREAM = 1
_FIRST = 100


class BusContractTests(DiscoveryContract, TestCase):
    """A bus keeps the contract of registries; who speaks or listens has a node of its own."""

    prefix_text = PREFIX

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # the contract waits in real time

        self.reactor: Any = reactor
        self.village = Village()
        self.village.board(_UPSTREAM)
        self.announcers = 0
        #: The processes that live.
        self.alive: set[str] = set()

    def node(self) -> Board:
        """Make a node below the one that all are below."""
        bus_id = _FIRST + len(self.village.boards)
        board = self.village.board(bus_id, epoch=bus_id)
        self.village.connect(bus_id, _UPSTREAM)
        return board

    def make_announcer(self, identity: str) -> IAnnouncer:
        self.announcers += 1
        # Each life of a node is another process; none of those before is alive.
        author = Author(identity, str(self.announcers))
        made = BusAnnouncer(
            self.node(),
            author,
            self.reactor,
            Random(1).random,
            is_alive=lambda process: process in self.alive,
        )
        self.addCleanup(made.stop)
        return made

    def make_watcher(self) -> IRecordWatcher:
        made = BusRecordWatcher(self.node(), self.reactor)
        self.addCleanup(made.stop)
        return made

    def write(self, key: bytes, value: bytes) -> Awaitable[object]:
        number = re.search(rb"0x[0-9a-f]+$", key)
        bus_id = 0 if number is None else int(number[0], 16)
        self.node().put(bus_id, key.decode(), value)
        return succeed(None)

    def lose(self) -> None:
        for bus_id in self.village.boards:
            if bus_id != _UPSTREAM:
                self.village.cut(bus_id, _UPSTREAM)

    def restore(self) -> None:
        for bus_id in self.village.boards:
            if bus_id != _UPSTREAM:
                self.village.connect(bus_id, _UPSTREAM)

    def lives(self, number: int) -> None:
        self.alive.add(str(number))
