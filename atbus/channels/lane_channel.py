"""
What both ends of a lane are as channels, and what they ask of the system.

Fences (rules 4 and 5 of `atbus.channels.lane`): between its store and its load each side writes 0
to an eventfd of its own, which nobody waits for and nobody else has. That is a system call that
takes a lock in the kernel, and a locked instruction is a full fence on x86. Whoever sees the other
wait without a fence wakes it at once: what it saw is true, and waking is a system call as well,
which comes behind what was stored.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from atbus import limits
from atbus.address import Address
from atbus.channels.interfaces import IChannelReceiver
from atbus.errors import Status
from atbus.handshake.certificate import CertificateIdentity

#: No side can shrink the memory under the other's feet, nor undo that.
SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Fence:
    """A system call that orders what is before it and what is behind it."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def cross(self) -> None:
        """Let every store so far be seen before anything is loaded from now on."""
        os.eventfd_write(self._descriptor, 0)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


def map_memory(descriptor: int, size: int) -> mmap.mmap:
    """
    Map memory for both to see.

    :param descriptor: Of the memory.
    :param size: Bytes.
    :returns: The mapping.
    :raises OSError: When it cannot be mapped.
    """
    return mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


class LaneChannel:
    """What both ends have in common: an address, a receiver, and an end."""

    _log = Logger()

    dialled = False
    identity: CertificateIdentity | None = None
    exporter = b""

    def __init__(self, address: Address, peer: str, timers: IReactorTime) -> None:
        self.address = address
        self.peer = peer
        self.frame_limit = limits.FRAME_BYTES_MAX
        self.queued_bytes = 0
        self._timers = timers
        self._receiver: IChannelReceiver | None = None
        self._ended = False
        self._call: IDelayedCall | None = None

    def start(self, receiver: IChannelReceiver) -> None:
        """
        Begin.

        :param receiver: Whom the channel reports to.
        """
        self._receiver = receiver
        self._tell("channel_opened", receiver.channel_opened, self)

    def when_open(self) -> Deferred[Any]:
        """Fire at once: there is nothing to settle."""
        return succeed(self)

    def _soon(self, seconds: float, call: Callable[[], None]) -> None:
        if self._call is None:

            def made() -> None:
                self._call = None
                call()

            self._call = self._timers.callLater(seconds, made)

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _tell(self, call: str, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:  # noqa: BLE001 - whatever it is, only this channel suffers
            self._failed(call)

    def _failed(self, call: str) -> None:
        """End, for a call of the receiver's has failed; called where it is dealt with."""
        self._log.failure(
            "{call} failed for the lane of {peer} at {address}",
            call=call,
            peer=self.peer,
            address=str(self.address),
        )
        self.abort(f"{call} failed on this side")

    def abort(self, detail: str, status: Status = Status.LINK_LOST) -> None:
        if self._ended:
            return
        self._ended = True
        self._cancel()
        self._release()
        self._soon(0, lambda: self._report(status, detail))

    def _finish(self, status: Status, detail: str) -> None:
        """End, from within a call of the reactor's."""
        if not self._ended:
            self._ended = True
            self._cancel()
            self._release()
            self._report(status, detail)

    def _report(self, status: Status, detail: str) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self._tell("channel_closed", receiver.channel_closed, status, detail)

    def _release(self) -> None:
        raise NotImplementedError
