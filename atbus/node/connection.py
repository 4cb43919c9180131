"""
One channel to one remote node: first a registration, then a link, at the end a conversation.

A connection drives the sans-I/O machine of its registration and performs what it asks for; it
decides nothing about who may register (`atbus.node.registrar`) and nothing about messages
(`atbus.node.traffic`). Closing is a conversation (wire protocol, section 8): GOODBYE is the last
frame of who closes, GOODBYE_ACK the last of the other side, both read to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from zope.interface import implementer

from atbus import limits
from atbus.address import Address
from atbus.channels.interfaces import IChannel, IRunReceiver
from atbus.errors import ChannelClosed, LocalProtocolError, RemoteProtocolError, Status
from atbus.handshake.effects import (
    AddEndpoint,
    AskAdmission,
    Close,
    Effect,
    Refused,
    Registered,
    Send,
)
from atbus.handshake.epilogue import Epilogue
from atbus.handshake.terms import PeerTerms, Verdict
from atbus.node.context import Alarm
from atbus.node.outbox import Notice
from atbus.wire import codec
from atbus.wire.loose import Frame, joined
from atbus.wire.messages import Goodbye, GoodbyeAck, Hello, Message, Role

if TYPE_CHECKING:
    from atbus.busid import Subnet
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.link import Link
    from atbus.node.registrar import Registrar
    from atbus.wire.head import Head


class Machine(Protocol):
    """The face that both registration machines show."""

    @property
    def deadline(self) -> float | None:
        """When to tick, seconds."""

    def open(
        self, now: float, exporter: bytes = b"", certified: Subnet | None = None
    ) -> list[Effect]:
        """Begin."""

    def receive(self, message: Message, raw: bytes, now: float) -> list[Effect]:
        """Take a message."""

    def judged(self, verdict: Verdict, now: float) -> list[Effect]:
        """Take the node's verdict."""

    def tick(self, now: float) -> list[Effect]:
        """Look at the time."""

    def refuse(self, status: Status, detail: str) -> list[Effect]:
        """End it ourselves."""

    def lost(self, status: Status, detail: str) -> list[Effect]:
        """Learn that the channel is gone."""

    def epilogue(self) -> Epilogue:
        """Give what is to be kept when the registration counts."""


class Settled:
    """Stand in for a registration where there is none: nothing is said, nothing awaited."""

    deadline: float | None = None

    def _do_nothing(self, *_arguments: object, **_named: object) -> list[Effect]:
        return []

    open = receive = judged = tick = refuse = lost = _do_nothing

    def epilogue(self) -> Epilogue:
        """Say that there is none."""
        raise LocalProtocolError("nothing was registered here")


SETTLED = Settled()


@implementer(IRunReceiver)
class Connection:
    """
    A channel of this node, from its first byte to its last.

    :param machine: The registration, not opened yet.
    :param address: What was dialled, or what is listened on.
    :param role: Control or data; of an accepted connection it is known after HELLO.
    :param upstream: Whether we dialled it to reach our upstream.
    """

    #: Of a data stream beside a better one: whether we, and the other side, send no data on it
    #: any more. Most are never left: they need no attributes of their own.
    is_left = False
    is_left_by_peer = False
    #: Of a control stream: where we listen, as its registration says.
    said_addresses: tuple[str, ...] = ()

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        machine: Machine,
        *,
        address: Address,
        dialled: bool,
        role: Role = Role.CONTROL,
        upstream: bool = False,
    ) -> None:
        self.address = address
        self.dialled = dialled
        self.role = role
        self.upstream = upstream
        self.channel: IChannel | None = None
        self.endpoint: Endpoint | None = None
        self.peer: PeerTerms | None = None
        self.link: Link | None = None
        self.hello_id = 0
        self.has_spoken = False
        self.opened_at = 0.0
        self.closed: Status | None = None
        self.leaving = False
        self._context = context
        self._registrar = registrar
        self._machine = machine
        self._epilogue: Epilogue | None = None
        self._alarm: Alarm | None = None
        self._said_goodbye = False
        self._heard_goodbye: Status | None = None
        self._finished = False
        self._end_status: Status | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.ends} {self.role.name.lower()}>"

    @property
    def ends(self) -> str:
        """Whom we have dialled, or who has dialled which of our addresses, for people."""
        if self.dialled:
            return f"to {self.address}"
        return f"from {self.source or 'somebody'} at {self.address}"

    @property
    def source(self) -> str:
        """Who has dialled, as its channel says it; empty where we have, and before it is open."""
        return "" if self.dialled or self.channel is None else self.channel.peer

    @property
    def bus_id(self) -> int:
        """The remote node's id; 0 before it is known, and for a temporary node."""
        return 0 if self.peer is None else self.peer.bus_id

    @property
    def registered(self) -> bool:
        """Tell whether application data may flow."""
        return self.link is not None and self.closed is None

    @property
    def is_registering(self) -> bool:
        """Tell whether this may yet become a registered connection."""
        return self.link is None and self.closed is None and not self._finished

    # The channel reports.

    def channel_opened(self, channel: IChannel) -> None:
        """Begin the registration."""
        self.channel = channel
        self.opened_at = self._context.now
        self._context.events.on_new_connection(self)
        identity = channel.identity
        certified = None if identity is None else identity.subnet
        self._perform(self._machine.open(self._context.now, channel.exporter, certified))

    def frames_received(self, frames: Sequence[Frame]) -> None:
        """Feed the registration, and from its end on the link."""
        turn = self._context.turn
        turn.arrival_begins()
        try:
            if self.link is not None and not self._finished:
                self.link.receive(frames)
            else:
                self._register(frames)
        except RemoteProtocolError as error:
            self.breach(error)
        finally:
            turn.arrival_ends()
        endpoint = self.endpoint
        if endpoint is not None:
            endpoint.heartbeat.heard(self._context.timers.seconds())

    def _register(self, frames: Sequence[Frame]) -> None:
        """Feed frames to the registration, and those behind its end to the link."""
        for place, frame in enumerate(frames):
            if self.link is not None and not self._finished:
                self.link.receive(frames[place:])
                return
            if self._finished or self.closed is not None or self._end_status is not None:
                self._context.statistics.late_frames += 1
                continue
            self.register_with(joined(frame))

    def register_with(self, frame: bytes) -> None:
        """Give one frame to the registration."""
        message = codec.decode(frame)
        self.has_spoken = True
        if isinstance(message, Hello):
            self.hello_id = message.source
        if self._epilogue is None:
            self._perform(self._machine.receive(message, frame, self._context.now))
        else:
            self._perform(self._epilogue.receive(message))

    @staticmethod
    def registration_frame(link: Link, frame: bytes, head: Head) -> None:
        """Let the registration judge what of it comes late on *link*."""
        link.connection.register_with(frame)

    def channel_drained(self) -> None:
        """Give the channel more of what waits, and allow as many queued bytes as there may be."""
        if self.link is not None:
            self.link.drained()

    def channel_fault(self, error: RemoteProtocolError) -> None:
        """End a connection whose bytes are not frames."""
        self.breach(error)

    def channel_closed(self, status: Status, detail: str) -> None:
        """Hand over what this connection still held; nothing comes after this."""
        if self.closed is not None:
            return
        if self._end_status is not None:
            status = self._end_status
        elif self._heard_goodbye is Status.REPLACED:
            status = Status.REPLACED
        elif self._heard_goodbye is not None:
            status = Status.GOODBYE
        self.closed = status
        self._ring_at(None)
        self._context.statistics.closed[status] += 1
        if self.link is None:
            self._perform(self._machine.lost(status, detail))
        self._registrar.closed(self, status, detail)

    # The machine's effects.

    def judged(self, verdict: Verdict) -> None:
        """Tell the registration what the node thinks of the peer."""
        if self.closed is None:
            self._perform(self._machine.judged(verdict, self._context.now))

    def _tick(self) -> None:
        if self._said_goodbye or self._heard_goodbye is not None:
            self.close(self._end_status or Status.GOODBYE)
        elif self.link is None:
            self._perform(self._machine.tick(self._context.now))

    def _ring_at(self, deadline: float | None) -> None:
        """Tick at a time, or not at all; most of its life a connection has no alarm."""
        if self._alarm is None and deadline is not None:
            self._alarm = Alarm(self._context.timers, self._tick)
        if self._alarm is not None:
            self._alarm.set(deadline)
        if deadline is None:
            self._alarm = None

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message=message):
                    self._write(codec.encode(message))
                case AskAdmission():
                    self._registrar.ask(self, effect)
                case AddEndpoint(peer=peer):
                    self.peer = peer
                    self.role = peer.role
                    self._registrar.add(self, peer)
                case Registered(peer=peer):
                    self.peer = peer
                    self.role = peer.role
                    self._ring_at(None)
                    # It has done its work, and a connection lives much longer.
                    self._epilogue, self._machine = self._machine.epilogue(), SETTLED
                    self._registrar.registered(self, peer)
                case Refused(status=status, detail=detail, by_peer=by_peer):
                    self._registrar.refused(self, status, detail, by_peer)
                case Close(status=status, detail=detail):
                    self.close(status, detail)
        if self.link is None and self.closed is None:
            self._ring_at(self._machine.deadline)

    def _write(self, frame: bytes) -> None:
        if self.channel is not None:
            try:
                self.channel.send([frame])
            except ChannelClosed:
                self._context.statistics.late_frames += 1

    # The end.

    def say_goodbye(self, status: Status, detail: str = "") -> None:
        """
        Close in good order: our last frame is GOODBYE, and we read until theirs.

        :param status: Why; told to the other side and reported here.
        """
        if self.link is None:
            if self.channel is not None:
                self._perform(self._machine.refuse(status, detail))
            self.close(status, detail)
            return
        if self._said_goodbye or self.closed is not None:
            return
        self._said_goodbye = True
        self.leaving = True
        self._end_status = self._end_status or status
        goodbye = Goodbye(source=self._context.bus_id, status=status, detail=detail)
        self.link.write_all()
        self.link.put(Notice(goodbye))
        self._ring_at(self._context.now + limits.GOODBYE_SECONDS)

    @staticmethod
    def goodbye_frame(link: Link, frame: bytes, head: Head) -> None:
        """Take the other side's goodbye on *link*."""
        message = link.read(frame, head)
        if isinstance(message, Goodbye):
            link.connection.goodbye_received(message)

    @staticmethod
    def goodbye_answer_frame(link: Link, frame: bytes, head: Head) -> None:
        """Take the answer to our goodbye on *link*."""
        link.connection.goodbye_answered()

    def goodbye_received(self, message: Goodbye) -> None:
        """Answer with our last frame; the other side closes when it has read it."""
        if self._heard_goodbye is not None or self.link is None:
            return
        self._heard_goodbye = message.status
        self.leaving = True
        self._registrar.left(self, message.status, message.detail)
        self.link.write_all()
        self.link.put(Notice(GoodbyeAck(source=self._context.bus_id)))
        self.link.say_last()
        if not self._said_goodbye:
            self._ring_at(self._context.now + limits.GOODBYE_SECONDS)

    def goodbye_answered(self) -> None:
        """Close: everything of both sides has been read."""
        if self._said_goodbye:
            self.close(self._end_status or Status.GOODBYE)

    def breach(self, error: RemoteProtocolError) -> None:
        """Report that the other side broke the protocol, tell it so, and close."""
        if self.link is not None:
            self._context.events.on_error(error.status, f"{self}: {error}")
            goodbye = Goodbye(
                source=self._context.bus_id, status=error.status, detail=str(error)[:200]
            )
            self.link.put(Notice(goodbye))
        else:
            # Whoever is refused is reported, once.
            self._perform(self._machine.refuse(error.status, error.detail))
        self.close(error.status, str(error))

    def close(self, status: Status, detail: str = "") -> None:
        """Write what is queued, read nothing more, then close; `channel_closed` follows."""
        if self._end_status is None:
            self._end_status = status
        self._finish()
        if self.channel is not None and self.closed is None:
            self.channel.close(status, detail)

    def abort(self, status: Status, detail: str = "") -> None:
        """End at once; what is queued is lost and reported as such."""
        self._end_status = status
        if self.link is not None:
            self.link.muted = True
        self._finish()
        if self.channel is not None and self.closed is None:
            self.channel.abort(detail, status)

    def _finish(self) -> None:
        """Take the link out of use: nothing is sent through it, and nothing more is read."""
        self._finished = True
        if self.link is None or self.closed is not None:
            return
        self.link.finished = True
        self.link.say_last()
        if not self.leaving:
            self.leaving = True
            self._registrar.left(self, self._end_status or Status.GOODBYE, "")
