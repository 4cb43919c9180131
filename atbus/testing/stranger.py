"""Somebody who speaks the wire protocol by hand, and not always well."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from atbus.address import parse_address
from atbus.channels.interfaces import IChannel, IChannelReceiver
from atbus.errors import ChannelClosed, RemoteProtocolError, Status
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.effects import AskAdmission, Effect, Refused, Registered, Send
from atbus.handshake.machine import Handshake
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import Admitted, LocalTerms, PeerTerms, Rejected, Verdict
from atbus.testing.network import VirtualNetwork
from atbus.wire import codec
from atbus.wire.messages import Hello, Message


@implementer(IChannelReceiver)
class Stranger:
    """
    One connection without a node behind it.

    :param terms: What it says in its registration; None: it says nothing at all.
    :param verdict: What it thinks of the other side; by default it takes everybody.
    """

    def __init__(
        self,
        network: VirtualNetwork,
        terms: LocalTerms | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        self.channel: IChannel | None = None
        self.received: list[Message] = []
        self.peer: PeerTerms | None = None
        self.refused: Refused | None = None
        self.ended: Status | None = None
        self.is_talking = True
        self._network = network
        self._terms = terms
        self._verdict = verdict
        self._machine: Handshake | None = None

    # Meeting nodes.

    def dial(self, address: str) -> Stranger:
        """Dial, and let what follows happen."""
        if self._terms is not None:
            self._machine = ActiveHandshake(self._terms)
        self._network.connect(parse_address(address), self).addErrback(lambda _: None)
        self._network.settle(0.1)
        return self

    def listen(self, address: str) -> Stranger:
        """Listen for one connection."""
        if self._terms is not None:
            self._machine = PassiveHandshake(self._terms)
        # What a node dials for its data is not for somebody who talks by hand.
        listening = self._network.listen(
            parse_address(address), lambda _: self if self.channel is None else None
        )
        self.listener = self._network.result_of(listening)
        return self

    @property
    def names(self) -> list[str]:
        """The kinds of everything that was received."""
        return [type(message).__name__ for message in self.received]

    def say(self, *messages: Message, frame: int = 0, ack: int = 0) -> None:
        """Send messages, whatever the other side thinks of them."""
        self.say_raw(*(codec.encode(message, frame=frame, ack=ack) for message in messages))

    def say_raw(self, *frames: bytes) -> None:
        """Send frames, or what passes for them."""
        assert self.channel is not None
        self.channel.send(frames)
        self._network.settle(0.1)

    def leave(self) -> None:
        """End the connection at once."""
        if self.channel is not None:
            self.channel.abort("leaving")
        self._network.settle(0.1)

    # The channel reports.

    def channel_opened(self, channel: IChannel) -> None:
        """Begin the registration."""
        self.channel = channel
        if self._machine is not None:
            self._perform(self._machine.open(self._network.clock.seconds()))

    def frames_received(self, frames: list[bytes]) -> None:
        """Go on with the registration; keep everything."""
        for frame in frames:
            message = codec.decode(frame)
            self.received.append(message)
            if self._machine is not None and self.is_talking and not self._machine.finished:
                now = self._network.clock.seconds()
                self._perform(self._machine.receive(message, frame, now))

    def channel_drained(self) -> None:
        """Nothing waits for it."""

    def channel_fault(self, error: RemoteProtocolError) -> None:
        """Frames of nodes have no faults."""
        raise AssertionError(error)

    def channel_closed(self, status: Status, detail: str) -> None:
        """Note the end."""
        self.ended = status

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message=message) if self.is_talking:
                    self._send(message)
                case AskAdmission(hello=hello):
                    self._judge(hello)
                case Registered(peer=peer):
                    self.peer = peer
                case Refused():
                    self.refused = effect
                case _:
                    pass

    def _send(self, message: Message) -> None:
        assert self.channel is not None
        try:
            self.channel.send([codec.encode(message)])
        except ChannelClosed:
            self.is_talking = False

    def _judge(self, hello: Hello) -> None:
        assert self._machine is not None
        verdict = self._verdict or Admitted(bus_id=hello.source)
        if isinstance(verdict, Admitted | Rejected):
            self._perform(self._machine.judged(verdict, self._network.clock.seconds()))


class HalfWay(Stranger):
    """Says who it is, and never what it thinks of the other side."""

    def _judge(self, hello: Hello) -> None:
        self.is_talking = False
