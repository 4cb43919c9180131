"""An application that floods some nodes, feeds others, and tells what that costs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node

_TICK_SECONDS = 0.01
_REPORT_TICKS = 20
_PAGE_BYTES = 4_096
_PATIENCE_SECONDS = 600.0
# Who is fed gets more when there is less than this in its queue.
_FED_BYTES = 256 * 1024
_log = Logger(namespace="flooder")


def resident_bytes() -> int:
    """Give how much memory this process occupies."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


class Flooder(Service):
    """
    Send to every registered node, a number of messages each tick, and report now and then.

    :param flooded: Who gets them whether or not it takes them.
    :param fed: Who gets them as it takes them, however slow that is.
    :param per_tick: How many messages to each node.
    :param size: How long they are.
    """

    def __init__(
        self, node: Node, flooded: list[int], fed: list[int], per_tick: int, size: int
    ) -> None:
        self._node = node
        self._fed = fed
        self._targets = flooded + fed
        self._per_tick = per_tick
        self._payload = bytes(size)
        self._sent: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()
        # Who has not answered yet, and how long the answers since the last report took.
        self._asked: set[int] = set()
        self._took_seconds: list[float] = []
        self._ticks = 0
        self._loop = LoopingCall(self._tick)
        node.events.on_endpoint_added.observe(self._look)

    def _look(self, _: object) -> None:
        if not self._loop.running and len(self._node.endpoints) == len(self._targets):
            self._loop.start(_TICK_SECONDS, now=False)

    def _tick(self) -> None:
        queued = self._queued()
        for target in self._targets:
            if target in self._fed and queued.get(target, 0) > _FED_BYTES:
                continue
            if target in self._fed and target not in self._asked:
                self._ask(target)
            for _ in range(self._per_tick):
                try:
                    self._node.send(target, self._payload)
                except Undeliverable as error:
                    if error.status is Status.BACKPRESSURE:
                        self._refused[target] += 1
                        break
                else:
                    self._sent[target] += 1
        self._ticks += 1
        if self._ticks % _REPORT_TICKS == 0:
            self._report()

    def _ask(self, target: int) -> None:
        """Measure how long a question and its answer take, beside everything else."""
        began = self._loop.clock.seconds()

        def answered(result: object) -> None:
            self._asked.discard(target)
            if not isinstance(result, Failure):
                self._took_seconds.append(self._loop.clock.seconds() - began)

        self._asked.add(target)
        self._node.request(target, b"", timeout=_PATIENCE_SECONDS).addBoth(answered)

    def _queued(self) -> dict[int, int]:
        return {
            endpoint.bus_id: link.queued_bytes
            for endpoint in self._node.endpoints.values()
            if (link := endpoint.data_link) is not None
        }

    def _report(self) -> None:
        report = {
            "resident": resident_bytes(),
            "queued": self._queued(),
            "sent": self._sent,
            "refused": self._refused,
            "took": self._took_seconds,
        }
        _log.info("report {report}", report=json.dumps(report))
        self._took_seconds = []

    def stopService(self) -> None:
        """Send no more."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        if self._loop.running:
            self._loop.stop()


def flood(node: Node, settings: Mapping[str, Any]) -> Flooder:
    """Send as fast as it goes."""
    flooded, fed = ([int(target) for target in settings[name]] for name in ("flooded", "fed"))
    return Flooder(node, flooded, fed, int(settings["per_tick"]), int(settings["size"]))
