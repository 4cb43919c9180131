"""
Receivers for tests: they keep what a channel reports, and a test can wait for it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from atbus.channels.interfaces import IChannel, IChannelReceiver
from atbus.errors import RemoteProtocolError, Status
from atbus.wire.head import HEAD_SIZE

_E = TypeVar("_E", bound=BaseException)


def frame_of(payload_bytes: int, seed: int = 0) -> bytes:
    """
    Make something that is cut out of a stream like a frame, with a content of its own.

    :param payload_bytes: How much there is beyond the head.
    :param seed: Frames of different seeds differ.
    :returns: The frame.
    """
    size = HEAD_SIZE + payload_bytes
    return size.to_bytes(4, "little") + random.Random(seed).randbytes(size - 4)


async def error_of(result: Awaitable[object], kind: type[_E]) -> _E:
    """
    Wait for a failure.

    :param result: What has to fail.
    :param kind: With what.
    :returns: The error.
    :raises AssertionError: When it does not fail.
    """
    try:
        await result
    except kind as error:
        return error
    raise AssertionError(f"did not fail with {kind.__name__}")


class Watched:
    """Something whose changes a test can wait for."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        """
        Wait until a condition holds, looking at it after each change.

        :param condition: What to wait for.
        """
        while not condition():
            change: Deferred[None] = Deferred()
            self._waiting.append(change)
            await change

    def changed(self) -> None:
        """Have all conditions looked at."""
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            change.callback(None)


@implementer(IChannelReceiver)
class RecordingReceiver(Watched):
    """
    Keep what a channel reports.

    :param failing: The call that raises, if any.
    """

    channel: IChannel

    def __init__(self, failing: str = "") -> None:
        super().__init__()
        self.failing = failing
        self.host: Watched | None = None
        self.calls: list[str] = []
        self.frames: list[bytes] = []
        self.faults: list[RemoteProtocolError] = []
        self.ends: list[tuple[Status, str]] = []

    def channel_opened(self, channel: IChannel) -> None:
        self.channel = channel
        self._record("channel_opened")

    def frames_received(self, frames: list[bytes]) -> None:
        self.frames += frames
        self._record("frames_received")

    def channel_drained(self) -> None:
        self._record("channel_drained")

    def channel_fault(self, error: RemoteProtocolError) -> None:
        self.faults.append(error)
        self._record("channel_fault")

    def channel_closed(self, status: Status, detail: str) -> None:
        self.ends.append((status, detail))
        self._record("channel_closed")

    async def end(self) -> tuple[Status, str]:
        """
        Wait for the channel's end.

        :returns: What was reported.
        """
        await self.until(lambda: bool(self.ends))
        return self.ends[0]

    async def received(self, count: int) -> list[bytes]:
        """
        Wait for frames.

        :param count: How many there have to be, from the first one on.
        :returns: All frames received.
        """
        await self.until(lambda: len(self.frames) >= count)
        return self.frames

    def _record(self, call: str) -> None:
        self.calls.append(call)
        self.changed()
        if self.host is not None:
            self.host.changed()
        if call == self.failing:
            raise RuntimeError(f"{call} fails, as the test wants")


class Reception(Watched):
    """
    Accept connections, each with a recording receiver; what happens to one is a change here, too.

    :param make: Makes the receiver of each connection; it may also give `None`, or raise.
    """

    def __init__(self, make: Callable[[], RecordingReceiver | None] = RecordingReceiver) -> None:
        super().__init__()
        self._make = make
        self.peers: list[str] = []
        self.receivers: list[RecordingReceiver] = []

    def __call__(self, peer: str) -> RecordingReceiver | None:
        self.peers.append(peer)
        receiver = self._make()
        if receiver is not None:
            receiver.host = self
            self.receivers.append(receiver)
        return receiver

    async def guests(self, count: int) -> list[RecordingReceiver]:
        """
        Wait for connections whose channels have opened.

        :param count: How many.
        :returns: Their receivers, in the order in which they came.
        """
        await self.until(
            lambda: len(self.receivers) >= count and all(guest.calls for guest in self.receivers)
        )
        return self.receivers
