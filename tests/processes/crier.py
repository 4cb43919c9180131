"""An application that sends to many in turn, as fast as all of them but one take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.errors import Status, Undeliverable
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.life import DRAINING
from atbus.node.node import Node

# In the last round of a batch it is asked whether that has arrived; so many batches are under way.
_BATCH_ROUNDS = 8
_BATCHES = 2
_PATIENCE_SECONDS = 600.0
_log = Logger(namespace="crier")


class Crier(Service):
    """
    Send numbered messages in rounds, one to each target in a round.

    :param node: The node, not started yet.
    :param heeded: Who is waited for: no more is sent while one of them has much to take still.
    :param other: Who is sent as much, and waited for by nobody.
    :param size: How long each message is, bytes.
    """

    def __init__(self, node: Node, heeded: list[int], other: int, size: int) -> None:
        self._node = node
        self._heeded = heeded
        self._other = other
        self._size = size
        self._rounds = 0
        self._batches = 0
        self._speaks = False
        # Who misses messages; whether the other one has been asked for whether it has them.
        self._missing: set[int] = set()
        self._asked = False
        # Of the other one's: what was not accepted, and what was and may not have arrived.
        self._refused = 0
        self._given_up = 0
        node.events.on_node_up.observe(self._begin)
        node.events.on_state_changed.observe(self._state_changed)
        node.events.on_forward_response.observe(self._told)

    def _begin(self) -> None:
        self._speaks = True
        self._go_on()

    def _state_changed(self, state: str) -> None:
        if state == DRAINING:
            self._speaks = False

    def _told(self, fate: Fate) -> None:
        if fate.status is not Status.OK:
            self._given_up += fate.count if fate.target == self._other else 0
            self._misses(fate.target, fate.status)

    def _go_on(self) -> None:
        while self._speaks and self._batches < _BATCHES:
            self._batches += 1
            for _ in range(_BATCH_ROUNDS - 1):
                self._rounds += 1
                self._send(self._heeded)
                self._send([self._other])
            self._rounds += 1
            asked = [self._ask(target) for target in self._heeded]
            gatherResults(asked).addCallback(self._arrived)
            if self._asked:
                self._send([self._other])
            else:
                self._asked = True
                self._ask(self._other).addCallback(self._answered)

    def _arrived(self, _: object) -> None:
        self._batches -= 1
        self._go_on()

    def _answered(self, fate: Fate | None) -> None:
        self._asked = False
        if fate is not None and self._other in self._missing:
            self._missing.discard(self._other)
            _log.info("{target} has its messages", target=hex(self._other))

    def _send(self, targets: list[int]) -> None:
        payload = self._payload()
        for target in targets:
            try:
                self._node.send(target, payload)
            except Undeliverable as error:
                self._not_sent(error)

    def _ask(self, target: int) -> Deferred[Fate | None]:
        asked = self._node.deliver(target, self._payload(), timeout=_PATIENCE_SECONDS)
        return asked.addErrback(self._not_delivered)

    def _payload(self) -> bytes:
        return (b"%d " % self._rounds).ljust(self._size, b".")

    def _not_delivered(self, failure: Failure) -> None:
        failure.trap(Undeliverable)
        error: Any = failure.value
        self._not_sent(error)

    def _not_sent(self, error: Undeliverable) -> None:
        # Of what was accepted there is an event besides.
        if error.target == self._other and not error.sequence:
            self._refused += 1
        self._misses(error.target, error.status)

    def _misses(self, target: int, status: Status) -> None:
        if target not in self._missing:
            self._missing.add(target)
            _log.info("{target} misses messages: {status}", target=hex(target), status=status.name)
        if target != self._other:
            # There is nothing more to be seen.
            self._speaks = False

    def stopService(self) -> None:
        """Say how many rounds there were, and what the one missed that nobody waits for."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        _log.info(
            "cried {rounds} times, refused {refused}, given up {given_up}",
            rounds=self._rounds,
            refused=self._refused,
            given_up=self._given_up,
        )


@implementer(IMessageReceiver)
class Hearer(Service):
    """Count what comes, and tell at the end."""

    def __init__(self) -> None:
        self._count = 0

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Count it."""
        self._count += 1

    def stopService(self) -> None:
        """Tell how much has come."""
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        _log.info("heard {count}", count=self._count)


def cry(node: Node, settings: Mapping[str, Any]) -> Crier:
    """Send to many in turn."""
    return Crier(node, settings["heeded"], settings["other"], settings["size"])


def hear(node: Node, settings: Mapping[str, Any]) -> Hearer:
    """Count messages."""
    receiver = node.receiver = Hearer()
    return receiver
