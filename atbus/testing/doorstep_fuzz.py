"""
Hostile servers that have to wait before they are let in, for `atbus.testing.hostile`.

What they say meanwhile is kept as it came, and said to whoever lets them in; after its first piece
no more of it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger, LogPublisher

from atbus.nats import bounds
from atbus.nats.doorstep import Doorstep
from atbus.testing.route_fuzz import take_member

_HOST: Final = "10.0.0.9"
_LOG: Final = Logger(observer=LogPublisher())


class _Within(Protocol):
    """Whom the other side meets at last."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)


def take_waiting(pieces: Sequence[bytes], *, is_let_in: bool) -> str:
    """
    Take what the other side sends while it waits, as the port for routes does.

    :param pieces: The chunks, all of which come before anybody lets it in.
    :param is_let_in: Whether there is room for it then.
    :returns: What became of it.
    :raises AssertionError: The doorstep did what it must not do.
    """
    clock, within = Clock(), _Within()
    doorstep = Doorstep(clock, _LOG, lambda _: within if is_let_in else None)
    for _ in range(bounds.ROUTE_REFUSALS_FREE):
        doorstep.refused(_HOST)
    waiting: Any = doorstep.wait(_HOST)
    if waiting is None:
        raise AssertionError("who was refused so often need not wait")
    transport = StringTransport()
    waiting.makeConnection(transport)
    for piece in pieces:
        waiting.dataReceived(piece)
        if transport.producerState != "paused":
            raise AssertionError("it is read on while it waits")
    if transport.value() or within.heard:
        raise AssertionError("who waits is spoken with")
    clock.advance(bounds.ROUTE_REFUSED_SECONDS)
    if not is_let_in:
        if within.heard or not transport.disconnecting:
            raise AssertionError("there is no room, and it is not sent away")
        return "doorstep is left"
    if b"".join(within.heard) != b"".join(pieces):
        raise AssertionError("what was said is not what is heard")
    if pieces and transport.producerState != "producing":
        raise AssertionError("it is let in and not read")
    return f"doorstep, then {take_member(within.heard, dials=True)}"
