"""
Hostile neighbors, many in one process: ``python -m tests.chaos.horde SOCKET COUNT BYTES``.

Each registers as a node should, with a connection for control and one for data, and then does one
thing without end (`tests.chaos.foes`), when all are registered. Who is cut off comes back. Each
time that each kind has said so much, that is written.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import attrs
from twisted.internet import reactor as global_reactor  # noqa: TID251,TID253  # of its own
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.interfaces import IPullProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus import limits
from atbus.busid import Subnet
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.effects import AskAdmission, Effect, Registered, Send
from atbus.handshake.terms import Admitted
from atbus.testing.conversation import make_terms
from atbus.wire import codec
from atbus.wire.framing import FrameBuffer
from atbus.wire.head import peek
from atbus.wire.messages import (
    Capability,
    LinkAck,
    Message,
    MessageType,
    Pong,
    RegisterRequest,
    Role,
)
from tests.chaos.foes import FOES, RANGE_BITS, Foe, id_of

reactor: Any = global_reactor

_CHUNK_BYTES = 65_536
_BACK_SECONDS = 0.5
_LOOK_SECONDS = 0.1
# So many register at once.
_STEP = 20
# What each kind has said.
_said_bytes: Counter[str] = Counter()
# Fires when all are registered.
_begun: Deferred[None] = Deferred()


@implementer(IPullProducer)
class Line(Protocol):
    """
    One connection of a neighbor.

    :param neighbor: Whose.
    :param role: What it is for.
    """

    transport: Any

    def __init__(self, neighbor: Neighbor, role: Role) -> None:
        self._neighbor = neighbor
        self._role = role
        self._buffer = FrameBuffer(limits.FRAME_BYTES_NEAR)
        terms = neighbor.terms(role)
        self._machine = ActiveHandshake(terms)
        self._is_registered = False
        self._sent = self._arrived = 0
        self._says: Iterator[Message | bytes | None] = iter(())

    def connectionMade(self) -> None:
        """Begin the registration."""
        self._perform(self._machine.open(reactor.seconds()))

    def dataReceived(self, data: bytes) -> None:
        """Register; then do with what comes what a neighbor of this kind does."""
        for frame in self._buffer.feed(data):
            if self._is_registered:
                self._take(frame)
            else:
                message = codec.decode(frame)
                self._perform(self._machine.receive(message, frame, reactor.seconds()))
        if self._is_registered and self._neighbor.foe.acknowledges and self._arrived:
            word = LinkAck(source=self._neighbor.bus_id)
            self.transport.write(codec.encode(word, ack=self._arrived))

    def _take(self, frame: bytes) -> None:
        head = peek(frame)
        self._arrived = head[9] or self._arrived
        if head[1] == MessageType.PING and self._neighbor.foe.answers_pings:
            pong = Pong(source=self._neighbor.bus_id, sequence=head[7])
            self.transport.write(codec.encode(pong))

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message=message):
                    self.transport.write(codec.encode(message))
                case AskAdmission(hello=hello):
                    verdict = Admitted(bus_id=hello.source)
                    self._perform(self._machine.judged(verdict, reactor.seconds()))
                case Registered():
                    self._begin()
                case _:
                    pass

    def _begin(self) -> None:
        self._is_registered = True
        self._neighbor.registered(self._role)
        self._says = self._neighbor.says(self._role)
        _begun.addCallback(self._attack)

    def _attack(self, passed: None) -> None:
        if not self._neighbor.foe.reads:
            self.transport.pauseProducing()
        self._go_on()
        return passed

    def resumeProducing(self) -> None:
        """Say more: what was said has left."""
        chunk: list[bytes] = []
        size_bytes = 0
        while size_bytes < _CHUNK_BYTES:
            said = next(self._says, None)
            if said is None:
                break
            chunk.append(said if isinstance(said, bytes) else self._encode(said))
            size_bytes += len(chunk[-1])
        if chunk:
            _said_bytes[self._neighbor.foe.name] += size_bytes
            self.transport.write(b"".join(chunk))
        else:
            self.transport.unregisterProducer()
            reactor.callLater(0.05, self._go_on)

    def _go_on(self) -> None:
        if self.transport.connected and not self.transport.disconnecting:
            self.transport.registerProducer(self, False)

    def stopProducing(self) -> None:
        """Say nothing more: the connection has ended."""

    def _encode(self, message: Message) -> bytes:
        number = 0
        if getattr(message, "epoch", 0):
            # Whoever comes back is another process, and numbers what it says from the beginning.
            message = attrs.evolve(message, epoch=self._neighbor.epoch)
        if message.message_type is not None and message.message_type.is_numbered:
            number = self._sent = self._sent + 1
        ack = self._arrived if self._neighbor.foe.acknowledges else 0
        return codec.encode(message, frame=number, ack=ack)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Come back."""
        self._neighbor.lost(self, self._role)


class Neighbor:
    """
    One hostile neighbor.

    :param path: The socket of the node.
    :param number: Its place in the horde.
    """

    def __init__(self, path: str, number: int) -> None:
        self.foe: Foe = FOES[number % len(FOES)]
        self.bus_id = id_of(number)
        self.is_in = False
        self._path = path
        self.epoch = 0
        self._speeches: dict[tuple[Role, int], Iterator[Message | bytes | None]] = {}
        self._lines: list[Line] = []

    def terms(self, role: Role) -> Any:
        """Make what it says in a registration."""
        if role is Role.CONTROL:
            self.epoch += 1
        request = RegisterRequest(
            host="h", process=f"h:{self.bus_id}:1", subnets=(Subnet(self.bus_id, RANGE_BITS),)
        )
        return make_terms(
            self.bus_id,
            role=role,
            epoch=self.epoch,
            capabilities=sum(Capability) & ~Capability.LANES,
            frame_max=limits.FRAME_BYTES_NEAR,
            nonce=os.urandom(limits.NONCE_BYTES),
            request=request,
        )

    def says(self, role: Role) -> Iterator[Message | bytes | None]:
        """Give what it says: from the beginning as a new process, else what comes next."""
        speech = self.foe.controls if role is Role.CONTROL else self.foe.sends
        return self._speeches.setdefault((role, self.epoch), speech(self.bus_id))

    def dial(self, role: Role = Role.CONTROL) -> None:
        """Connect, or try it again later."""
        line = Line(self, role)
        endpoint = UNIXClientEndpoint(reactor, self._path)
        connected = connectProtocol(endpoint, line)
        connected.addCallbacks(lambda _: self._lines.append(line), lambda _: self._later(role))

    def registered(self, role: Role) -> None:
        """Have a connection for data as well."""
        self.is_in = True
        if role is Role.CONTROL:
            self.dial(Role.DATA)

    def lost(self, line: Line, role: Role) -> None:
        """Begin anew with control when that has ended, or with data alone."""
        if line in self._lines:
            self._lines.remove(line)
        if role is Role.CONTROL:
            self.is_in = False
            for each in list(self._lines):
                each.transport.abortConnection()
            self._later(role)
        elif self.is_in:
            self._later(role)

    def _later(self, role: Role) -> None:
        reactor.callLater(_BACK_SECONDS, self._again, role)

    def _again(self, role: Role) -> None:
        if role is Role.CONTROL or self.is_in:
            self.dial(role)


def main() -> None:
    """Register all of them, a few at a time."""
    path, count, size_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    neighbors = [Neighbor(path, number) for number in range(count)]
    waiting = iter(neighbors)

    def some_more() -> None:
        for neighbor in islice(waiting, _STEP):
            neighbor.dial()

    def look() -> None:
        if not _begun.called and all(neighbor.is_in for neighbor in neighbors):
            sys.stdout.write(f"{count} are registered\n")
            sys.stdout.flush()
            _begun.callback(None)
        if all(_said_bytes[foe.name] >= size_bytes for foe in FOES):
            _said_bytes.clear()
            sys.stdout.write(f"each kind has said {size_bytes} bytes\n")
            sys.stdout.flush()

    LoopingCall(some_more).start(_LOOK_SECONDS)
    LoopingCall(look).start(_LOOK_SECONDS)
    reactor.run()


if __name__ == "__main__":
    main()
