"""
Frames between nodes of one process: ``mem://name``.

Frames are handed over as they are, and runs of messages without a frame being made of them: nothing
is copied. Nobody is called from within ``send``: what was sent is delivered in a later turn of the
reactor. Rules:

1. A name belongs to one reactor. Nodes on two reactors of one process do not meet.
2. Each end takes at most `WINDOW_BYTES` that it has not delivered yet. The rest stays with the
   sender and is counted there, as with a kernel's socket.
3. One turn delivers what one channel has taken until then, and no more: others want their turn.
4. An end is news that travels behind what was sent before it.

The life of an end is that of `atbus.channels.stream.StreamProtocol`, and so are its reports.
"""

from __future__ import annotations

import enum
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from atbus.address import AUTO_NAME, Address
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
    IRunChannel,
    IRunReceiver,
)
from atbus.errors import ChannelClosed, ConnectFailed, FrameTooLarge, ListenFailed, Status
from atbus.handshake.certificate import CertificateIdentity
from atbus.wire.loose import Frame, joined

#: What an end holds that was not delivered yet: as much as a kernel holds of a unix socket.
WINDOW_BYTES: Final = 256 * 1024

_ENDED_BY_PEER = "the other side ended the connection"
_LOST = "the connection was lost"


class _Phase(enum.Enum):
    OPEN = enum.auto()
    CLOSING = enum.auto()
    ENDED = enum.auto()


class _End(enum.Enum):
    """How the other side ended: in good order, or at once."""

    FINISHED = enum.auto()
    RESET = enum.auto()


@implementer(IRunChannel)
class MemoryChannel:
    """
    One end of a channel in memory.

    :param address: Where the other side listens, or we.
    :param dialled: Whether this side dialled.
    :param peer: Who is at the other end.
    :param options: The node's options.
    :param timers: The node's timers.
    """

    _log = Logger()

    #: In one process nobody needs a certificate.
    identity: CertificateIdentity | None = None
    exporter = b""

    #: Set once, when both ends have been made.
    other: MemoryChannel

    def __init__(
        self,
        address: Address,
        *,
        dialled: bool,
        peer: str,
        options: ChannelOptions,
        timers: IReactorTime,
    ) -> None:
        self.address = address
        self.dialled = dialled
        self.peer = peer
        self.frame_limit = options.frame_limit
        self.queued_bytes = 0
        self.written_bytes = 0
        self._options = options
        self._timers = timers
        self._receiver: IChannelReceiver | None = None
        self._takes_runs = False
        self._phase = _Phase.ENDED
        self._verdict = (Status.LINK_LOST, _ENDED_BY_PEER)
        self._queue: deque[Frame] = deque()
        self._inbox: deque[Frame] = deque()
        self._inbox_bytes = 0
        self._read_bytes = 0
        self._reading = True
        self._is_deaf = False
        self._finished = False
        self._drained = False
        self._other_end: _End | None = None
        self._turn_call: IDelayedCall | None = None
        self._patience: IDelayedCall | None = None

    # What a channel offers

    def send(self, frames: Sequence[bytes]) -> None:
        self.send_runs(frames)

    def send_runs(self, frames: Sequence[Frame]) -> None:
        if self._phase is not _Phase.OPEN:
            raise ChannelClosed(f"{self.address} to {self.peer}")
        self._queue.extend(frames)
        self.queued_bytes += sum(map(len, frames))
        self.push()

    def close(self, status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        if self._phase is not _Phase.OPEN:
            return
        self._phase = _Phase.CLOSING
        self._verdict = (status, detail)
        self._await_progress()
        self.resume_reading()
        self.push()

    def abort(self, detail: str, status: Status = Status.LINK_LOST) -> None:
        if self._phase is _Phase.ENDED:
            return
        self._phase = _Phase.ENDED
        self._verdict = (status, detail)
        self._inbox.clear()
        self._inbox_bytes = 0
        # What was lost can still be told: the count stays.
        self._queue.clear()
        self._hang_up()
        self._wake()

    def pause_reading(self) -> None:
        if self._phase is _Phase.OPEN:
            self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._wake()

    # How the ends find each other

    def open(self, receiver: IChannelReceiver) -> None:
        """
        Begin, with both ends made.

        :param receiver: Whom this end reports to.
        """
        self._receiver = receiver
        self._takes_runs = IRunReceiver.providedBy(receiver)
        self._phase = _Phase.OPEN
        self._tell("channel_opened", receiver.channel_opened, self)
        self._wake()

    def end_from_other_side(self, end: _End) -> None:
        """
        Learn that the other side has said its last.

        :param end: How.
        """
        if self._other_end is not _End.RESET:
            self._other_end = end
        self._wake()

    # What moves frames

    def take(self, frames: deque[Frame]) -> int:
        """
        Take from the other end's queue what there is room for.

        :param frames: The queue.
        :returns: How many bytes were taken.
        """
        before = self._inbox_bytes
        while frames and self._inbox_bytes < WINDOW_BYTES:
            self._inbox.append(frames[0])
            self._inbox_bytes += len(frames.popleft())
        self._wake()
        return self._inbox_bytes - before

    def push(self) -> None:
        """Hand over what the other end has room for."""
        if self._other_end is _End.RESET:
            return
        if self._queue:
            taken = self.other.take(self._queue)
            self.queued_bytes -= taken
            self.written_bytes += taken
        if self._queue:
            self._drained = True
        elif self._phase is not _Phase.OPEN and not self._finished:
            self._finish()
        elif self._drained:
            self._wake()

    def _finish(self) -> None:
        self._finished = True
        self._await_progress()
        self.other.end_from_other_side(_End.FINISHED)
        self._wake()

    def _hang_up(self) -> None:
        self._finished = True
        self.other.end_from_other_side(_End.RESET)

    def _wake(self) -> None:
        if self._turn_call is None and self._receiver is not None:
            self._turn_call = self._timers.callLater(0, self._turn)

    def _turn(self) -> None:
        """Deliver, make room for the other side, and report what is to be reported."""
        self._turn_call = None
        if self._reading and self._inbox:
            self._take_delivery()
        if self._drained and not self._queue and self._phase is _Phase.OPEN:
            self._drained = False
            if self._receiver is not None:
                self._tell("channel_drained", self._receiver.channel_drained)
        if self._inbox:
            if self._reading:
                self._wake()
            return
        self._look_at_the_end()

    def _take_delivery(self) -> None:
        frames = list(self._inbox)
        self._inbox.clear()
        self._read_bytes += self._inbox_bytes
        self._inbox_bytes = 0
        self._deliver(frames)
        self.other.push()

    def _deliver(self, frames: list[Frame]) -> None:
        """Hand frames over, up to one that is too long: nothing is delivered behind it."""
        while frames and self._receiver is not None and not self._is_deaf:
            limit = self.frame_limit
            count = next((i for i, frame in enumerate(frames) if len(frame) > limit), len(frames))
            if not count:
                self._is_deaf = True
                self._fault(FrameTooLarge(f"{len(frames[0])} bytes, at most {limit} here"))
                return
            taken = frames[:count] if self._takes_runs else list(map(joined, frames[:count]))
            self._tell("frames_received", self._receiver.frames_received, taken)
            # The receiver may have raised the limit, or ended the channel.
            frames = frames[count:]
            self._is_deaf = self._is_deaf or self._phase is _Phase.ENDED

    def _fault(self, error: FrameTooLarge) -> None:
        if self._receiver is not None:
            self._tell("channel_fault", self._receiver.channel_fault, error)
        self.close(error.status, error.detail)

    def _look_at_the_end(self) -> None:
        if self._phase is _Phase.OPEN and self._other_end is not None and self._reading:
            self._phase = _Phase.ENDED
            lost = self._other_end is _End.RESET
            self._report(Status.LINK_LOST, _LOST if lost else _ENDED_BY_PEER)
            self._await_progress()
            self.push()
        elif self._phase is _Phase.CLOSING and self._other_end is not None:
            if self._other_end is _End.RESET and self.queued_bytes:
                detail = f"closed, but {self.queued_bytes} bytes could not be written"
                self._verdict = (Status.LINK_LOST, detail)
            elif not self._finished:
                return
            self._phase = _Phase.ENDED
        if self._phase is _Phase.ENDED:
            if self._finished or self._other_end is _End.RESET:
                self._stop_waiting()
            self._report(*self._verdict)

    def _await_progress(self) -> None:
        self._stop_waiting()
        if self._finished and self._other_end is not None:
            return
        options = self._options
        seconds = options.write_deadline_seconds if self.queued_bytes else options.linger_seconds
        moved = self.written_bytes + self._read_bytes
        self._patience = self._timers.callLater(seconds, self._lose_patience, moved)

    def _stop_waiting(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._patience = None

    def _lose_patience(self, moved_bytes: int) -> None:
        self._patience = None
        if self.written_bytes + self._read_bytes > moved_bytes:
            self._await_progress()
            return
        if self.queued_bytes:
            detail = f"closed, but {self.queued_bytes} bytes could not be written"
            self._verdict = (Status.LINK_LOST, detail)
        self._phase = _Phase.ENDED
        self._queue.clear()
        self._hang_up()
        self._wake()

    def _tell(self, call: str, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:  # noqa: BLE001 - whatever it is, only this channel suffers
            self._log.failure(
                "{call} failed for the channel to {peer} at {address}",
                call=call,
                peer=self.peer,
                address=str(self.address),
            )
            self.abort(f"{call} failed on this side")

    def _report(self, status: Status, detail: str) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            self._tell("channel_closed", receiver.channel_closed, status, detail)


@implementer(IChannelListener)
@attrs.define(eq=False)
class MemoryListener:
    """
    A name at which somebody listens.

    :param address: The real address.
    :param accept: Gives each connection its receiver.
    :param options: Of the node that listens.
    :param timers: Of the node that listens.
    :param places: Where the name is.
    """

    address: Address
    accept: Accept
    options: ChannelOptions
    timers: IReactorTime
    _places: dict[str, MemoryListener]

    def stop(self) -> Deferred[None]:
        """
        Give the name back.

        :returns: Has fired.
        """
        if self._places.get(self.address.host) is self:
            del self._places[self.address.host]
        return succeed(None)


# By reactor, and no longer than it lives, the names at which its nodes listen.
_PLACES: WeakKeyDictionary[Any, dict[str, MemoryListener]] = WeakKeyDictionary()
_numbers = itertools.count(1)


@implementer(IChannelScheme)
class MemoryScheme:
    """
    Listen at and dial names of one process.

    :param reactor: The nodes of which meet.
    :param options: The node's options.
    :param timers: The node's timers.
    """

    _log = Logger()

    def __init__(self, reactor: Any, options: ChannelOptions, timers: IReactorTime) -> None:
        self._options = options
        self._timers = timers
        self._places = _PLACES.setdefault(reactor, {})

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Take a name.

        :param address: With the name ``auto`` one is chosen that nobody has.
        :param accept: Called for each connection that comes in.
        :returns: As `IChannelScheme.listen` promises.
        """
        if address.host == AUTO_NAME:
            names = (f"{AUTO_NAME}-{number}" for number in _numbers)
            free = next(name for name in names if name not in self._places)
            address = attrs.evolve(address, host=free)
        if address.host in self._places:
            return fail(ListenFailed(address, "another node of this process listens there"))
        listener = MemoryListener(address, accept, self._options, self._timers, self._places)
        self._places[address.host] = listener
        return succeed(listener)

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """
        Dial a name; it is answered in a later turn.

        :param address: Where the other side listens.
        :param receiver: The receiver of the new channel.
        :param timeout_seconds: Of no use here: the answer is at hand.
        :returns: As `IChannelScheme.connect` promises.
        """

        def give_up(result: Deferred[IChannel]) -> None:
            call.cancel()
            result.errback(CancelledError())

        def answer() -> None:
            listener = self._places.get(address.host)
            if listener is None:
                error = ConnectFailed(address, "no node of this process listens there")
                result.errback(error)
                return
            result.callback(self._meet(listener, receiver))

        result: Deferred[IChannel] = Deferred(give_up)
        call = self._timers.callLater(0, answer)
        return result

    def _meet(self, listener: MemoryListener, receiver: IChannelReceiver) -> IChannel:
        names = listener.options.name(), self._options.name()
        peers = [f"mem:{name or 'unnamed'}" for name in names]
        mine = MemoryChannel(
            listener.address,
            dialled=True,
            peer=peers[0],
            options=self._options,
            timers=self._timers,
        )
        theirs = MemoryChannel(
            listener.address,
            dialled=False,
            peer=peers[1],
            options=listener.options,
            timers=listener.timers,
        )
        mine.other, theirs.other = theirs, mine
        guest = self._ask_for_receiver(listener, theirs.peer)
        mine.open(receiver)
        if guest is None:
            mine.end_from_other_side(_End.RESET)
        else:
            theirs.open(guest)
        return mine

    def _ask_for_receiver(self, listener: MemoryListener, peer: str) -> IChannelReceiver | None:
        try:
            return listener.accept(peer)
        except Exception:  # noqa: BLE001 - nobody is accepted then, and nothing else suffers
            self._log.failure(
                "accepting {peer} at {address} failed", peer=peer, address=str(listener.address)
            )
            return None
