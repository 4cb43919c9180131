"""
Applications of nodes that are started as processes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from atbus.errors import Undeliverable
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node

_TICK_SECONDS = 0.01
# Every so many messages one is so long that it travels in pieces.
_LONG_EVERY = 97
_LONG_BYTES = 150_000
_log = Logger(namespace="talker")


@implementer(IMessageReceiver)
class Listener:
    """Takes messages and counts them aloud."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._count = 0

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        self._count += 1
        if self._count % self._every == 0:
            _log.info("received {count}", count=self._count)


class Talker(Service):
    """
    Sends messages at an even rate from the moment its node is up.

    A node that was held up does not send everything that it missed: that would be another rate.
    """

    def __init__(self, node: Node, target: int, rate: int) -> None:
        self._node = node
        self._target = target
        self._per_tick = round(rate * _TICK_SECONDS)
        self._number = 0
        self._refused = 0
        self._loop = LoopingCall.withCount(self._tick)
        node.events.on_node_up.observe(self._begin)

    def _begin(self) -> None:
        self._loop.start(_TICK_SECONDS)

    def _tick(self, ticks: int) -> None:
        for _ in range(self._per_tick * min(ticks, 10)):
            self._number += 1
            payload = b"message %d" % self._number
            if self._number % _LONG_EVERY == 0:
                payload = payload.ljust(_LONG_BYTES)
            try:
                self._node.send(self._target, payload)
            except Undeliverable as error:
                self._refused += 1
                if self._refused == 1:
                    _log.info("refused: {status}", status=error.status.name)
            if self._number % 1000 == 0:
                _log.info("sent {count}", count=self._number)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        if self._loop.running:
            self._loop.stop()


def listen(node: Node, settings: Mapping[str, Any]) -> None:
    """Take messages, and answer questions with what they say."""
    node.on_request(lambda _source, payload: payload)
    node.receiver = Listener(int(settings.get("every", 1000)))


def talk(node: Node, settings: Mapping[str, Any]) -> Talker:
    """Send messages."""
    return Talker(node, int(settings["target"]), int(settings["rate"]))
