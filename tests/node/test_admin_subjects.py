"""Tools that listen through a node, and no more of them, nor for longer, than is good for it."""

from __future__ import annotations

import json
from typing import Any

from atbus.errors import Status, Undeliverable
from atbus.subjects import bounds
from tests.node.bus import ROOT, BusTests


class ReaderTests(BusTests):
    """A node, and one that asks it what a tool asks."""

    def setUp(self) -> None:
        super().setUp()
        self.hub, self.asker = self.pair()

    def ask(self, *words: bytes) -> Any:
        """Have a command executed; gives its answer."""
        lines = self.network.result_of(self.asker.command(ROOT, *words))
        return json.loads(b"".join(lines))

    def refused(self, *words: bytes) -> None:
        """Have a command refused: who asks learns it, and nothing has failed at the node."""
        error = self.failure_of(self.asker.command(ROOT, *words), Undeliverable)
        self.assertIs(error.status, Status.HANDLER_FAILED)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.hub.statistics.callback_failures, 0)

    def listening(self) -> bytes:
        """Listen; gives the handle."""
        handle: str = self.ask(b"atbus.subscribe", b"a", b"")["handle"]
        return handle.encode()

    def fetch(self, handle: bytes) -> tuple[int, int]:
        """Fetch; gives how many came, and how many were missed."""
        answer = self.ask(b"atbus.fetch", handle, b"1")
        return len(answer["publications"]), answer["missed"]

    def test_so_many_at_once(self) -> None:
        """One tool too many is told so; one may come when another one has gone."""
        self.patch(bounds, "READERS_MAX", 2)
        first = self.listening()
        self.listening()
        self.refused(b"atbus.subscribe", b"a", b"")
        self.ask(b"atbus.fetch", first, b"0")
        self.listening()

    def test_who_does_not_fetch(self) -> None:
        """A tool that fetches stays; one that does not for a while is forgotten."""
        stays, goes = self.listening(), self.listening()
        for _ in range(2):
            self.network.settle(bounds.FETCH_PATIENCE_SECONDS * 0.75)
            self.fetch(stays)
        self.refused(b"atbus.fetch", goes, b"1")
        self.fetch(stays)

    def test_who_is_behind(self) -> None:
        """So many publications are kept for a tool; it is told how many more there were."""
        self.patch(bounds, "FETCHED_COUNT_MAX", 5)
        handle = self.listening()
        for _ in range(8):
            self.hub.publish("a", b"x")
        self.assertEqual(self.fetch(handle), (5, 3))

    def test_no_longer_than_an_answer(self) -> None:
        """What is fetched at once fits one answer; the rest comes with the next."""
        self.patch(bounds, "FETCHED_BYTES", 1_000)
        handle = self.listening()
        for _ in range(4):
            self.hub.publish("a", bytes(600))
        self.hub.publish("a", bytes(5_000))
        found: list[int] = []
        while sum(found) < 5:
            came, missed = self.fetch(handle)
            self.assertEqual(missed, 0)
            found.append(came)
        self.assertTrue(max(found) <= 2, found)
