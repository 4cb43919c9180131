"""A bus with small queues, for tests of flow control."""

from __future__ import annotations

from typing import Any

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from tests.node.mail import SOUTH, MailTests

HARD = 400_000
SOFT = 100_000
SMALL: dict[str, Any] = {"queued_bytes_hard": HARD, "queued_bytes_soft": SOFT}


class FlowCase(MailTests):
    """A bus with small queues, on which somebody does not read."""

    def offer(self, node: Node, target: int, payload: bytes) -> bool:
        """Send if it is accepted."""
        try:
            node.send(target, payload)
        except Undeliverable as error:
            self.assertIs(error.status, Status.BACKPRESSURE)
            return False
        return True

    def chain(self, count: int = 1, hard: int = HARD) -> tuple[Node, Node, Node, list[Node]]:
        """Start a root, two proxies with small queues, and leaves below the second of them."""
        options = {**SMALL, "queued_bytes_hard": hard}
        root, north, south = self.proxies(direct_notice=False, **options)
        return root, north, south, [self.leaf(SOUTH + 1 + n) for n in range(count)]

    def number(self, number: int, size: int) -> bytes:
        """Make a message that can be told from others."""
        return number.to_bytes(4, "little") + bytes(size - 4)
