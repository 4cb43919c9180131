"""
The seam between the bus and whatever carries its frames.

A channel carries whole frames, never single bytes and never messages: a stream, a ring in shared
memory and a queue in one process look the same from above. One conformance suite,
`atbus.testing.channels.ChannelContract`, is run against every implementation; a lane goes one way,
so there it is one in each direction with their stream. What a single direction has to do is
`atbus.testing.one_way.OneWayContract`.

The life of a channel, as its receiver sees it:

1. ``channel_opened(channel)``, once and before anything else;
2. ``frames_received``, ``channel_drained``, ``channel_fault`` while it lasts;
3. ``channel_closed(status, detail)``, once and after everything else.

Nothing here blocks, and no method of a channel calls its receiver before it returns.
"""

# ruff: noqa: N805 - the methods of a zope interface have no self.

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from atbus import limits
from atbus.address import Address
from atbus.channels.tls_fault import TlsFault
from atbus.errors import RemoteProtocolError, Status
from atbus.handshake.certificate import CertificateIdentity
from atbus.wire.loose import Frame

if TYPE_CHECKING:
    from atbus.channels.credentials import Credentials


@attrs.define(kw_only=True)
class ChannelOptions:
    """
    What every channel of one node is made with.

    All channels of a node share one object, which is asked when an option is needed, so that the
    node may change it.

    :param heartbeat_seconds: How often the node pings; the kernel's own timers follow it.
    :param tolerance: How many pings may stay unanswered.
    :param connect_timeout_seconds: How long a dial may take, the look-up of a name included.
    :param write_deadline_seconds: How long a closing channel that still has bytes to write waits
        while nothing moves.
    :param linger_seconds: How long a closing channel that has written everything waits for the
        other side's end while nothing moves.
    :param frame_limit: How long a received frame may be at first, in bytes; after the handshake
        the receiver raises it through `IChannel.frame_limit`.
    :param backlog: How many connections the kernel may hold that were not accepted yet.
    :param overwrite_listen_path: Take a unix socket's path over from a living listener.
    :param allow_insecure: Listen for plain TCP also where other machines can reach it.
    :param name: Tells how this node is called by others of its process, who see it as the peer of a
        channel.
    :param shm_weak_memory: Use shared memory also where the processor's memory order is weaker than
        x86's.
    :param tls: What to prove ourselves with over TLS, and whom to believe; None: no TLS.
    :param turns_away: Tells whether somebody is closed before anything is made of his connection,
        by the address that he has dialled and what `IChannel.peer` would be, or the empty string.
    :param local_room: Tells how many may begin now that have come to unix sockets; others wait.
    :param lets_begin: Tells whether somebody may begin a TLS handshake, by the address that he has
        dialled and what `IChannel.peer` would be.
    :param bad_handshake: Told who has begun one for nothing.
    :param tls_refused: Told which connection over TLS was not used, on either side, and why: what
        was dialled, who has come (empty where we dialled), the kind of fault, and it in words.
    """

    heartbeat_seconds: float = limits.HEARTBEAT_SECONDS
    tolerance: int = limits.HEARTBEAT_TOLERANCE
    connect_timeout_seconds: float = limits.CONNECT_SECONDS
    write_deadline_seconds: float = limits.WRITE_DEADLINE_SECONDS
    linger_seconds: float = limits.LINGER_SECONDS
    frame_limit: int = limits.HANDSHAKE_BYTES
    backlog: int = limits.PENDING_HANDSHAKES_MAX
    overwrite_listen_path: bool = False
    allow_insecure: bool = False
    name: Callable[[], str] = str
    shm_weak_memory: bool = False
    tls: Credentials | None = None
    turns_away: Callable[[Address, str], bool] = lambda _address, _peer: False
    local_room: Callable[[], int] = lambda: limits.PENDING_HANDSHAKES_MAX
    lets_begin: Callable[[Address, str], bool] = lambda _address, _peer: True
    bad_handshake: Callable[[str], None] = lambda _peer: None
    tls_refused: Callable[[Address, str, TlsFault, str], None] = lambda *_what: None

    @property
    def unheard_seconds(self) -> float:
        """The time after which a silent peer is dead; the kernel is told the same."""
        return self.heartbeat_seconds * (self.tolerance + 1)


class IChannel(Interface):
    """
    A way for whole frames to one other node and back.

    None of its methods blocks, and none calls the receiver before it returns.
    """

    address: Address = Attribute(
        "The address that was dialled, or the one listened on when the other side dialled."
    )
    peer: str = Attribute(
        "Who is at the other end, for people and for counting: an address of the other side like"
        " 'ipv4://192.0.2.1:40712', or 'unix:pid=12,uid=0' as the kernel tells it."
    )
    dialled: bool = Attribute("Whether this side dialled.")
    identity: CertificateIdentity | None = Attribute(
        "The ids that the other side may register by its certificate; None without TLS."
    )
    exporter: bytes = Attribute(
        "Keying material of this one TLS connection (RFC 5705), for proofs; empty without TLS."
    )
    queued_bytes: int = Attribute(
        "Bytes given to `send` that the kernel has not taken yet. Never too small; too large by"
        " at most 64 KiB, the piece being written. 0 means that all of it was taken."
    )
    written_bytes: int = Attribute(
        "Bytes the kernel has taken since the channel was opened. As long as this grows the other"
        " side reads; it grows in steps of at most 64 KiB when the other side reads slowly."
    )
    frame_limit: int = Attribute(
        "How long a received frame may be, in bytes; may be set at any time."
    )

    def send(frames: Sequence[bytes]) -> None:
        """
        Send whole frames, in order, after everything sent before.

        The channel owns the frames from now on: do not change a buffer that was handed over. It
        accepts any number of bytes; whoever sends watches `queued_bytes`.

        :param frames: Encoded frames; a part of the sequence is never sent without the rest,
            unless the channel ends.
        :raises ChannelClosed: After `close` or `abort`, or when `channel_closed` was called.
        """

    def close(status: Status = Status.DISCONNECTED, detail: str = "") -> None:
        """
        Write everything queued, say that nothing more comes, read to the other side's end, close.

        Frames that arrive until then are still delivered, so reading is resumed if it was paused.
        The channel gives up by itself when nothing moves in either direction, as the options say;
        whoever wants an end by a certain time calls `abort` then. Closing twice does no harm, the
        first status counts.

        :param status: What `channel_closed` shall report when everything was written; otherwise
            it reports `Status.LINK_LOST`.
        :param detail: The reason in words.
        """

    def abort(detail: str, status: Status = Status.LINK_LOST) -> None:
        """
        End the channel now; what is queued is lost, and no more frames are delivered.

        ``channel_closed`` is called soon, not before this returns. Does no harm when the channel
        has ended, and overrules a `close` that is still under way.

        :param detail: The reason in words.
        :param status: What `channel_closed` shall report.
        """

    def pause_reading() -> None:
        """
        Stop reading, so that the other side cannot send for long; frames stay in the kernel.

        Frames of the read under way are still delivered. The other side's end is not noticed
        either until reading is resumed.
        """

    def resume_reading() -> None:
        """Read again; does no harm when reading was not paused."""


class IDescriptorChannel(IChannel):
    """A channel that may also carry descriptors: over a unix socket it does."""

    carries_descriptors: bool = Attribute("Whether descriptors can be sent and received.")
    takes_descriptors: bool = Attribute(
        "Whether descriptors from the other side are kept; False at first: then they are closed."
    )
    read_bytes: int = Attribute("Bytes received since the channel was opened.")

    def send_with(frame: bytes, descriptors: Sequence[int]) -> None:
        """
        Send one frame, and descriptors that arrive before it or with it.

        :param frame: As for `send`.
        :param descriptors: Stay the caller's, who keeps them open until the frame was answered.
        :raises ChannelClosed: As `send`.
        """

    def take_descriptors(count: int) -> list[int]:
        """
        Take descriptors that have arrived, in order; a few are kept at most.

        :param count: How many belong to the frame in hand.
        :returns: All of them, owned by the caller from now on; none when they have not come.
        """


class IPieceChannel(IChannel):
    """A channel that joins what it is sent anyway, so that nobody has to do it before."""

    def send_pieces(pieces: Sequence[bytes | memoryview]) -> None:
        """
        Send whole frames in pieces, in order, after everything sent before.

        :param pieces: Joined together they are frames; owned as those of `send`, and sent as they
            are then.
        :raises ChannelClosed: As `send`.
        """


class IRecordChannel(IChannel):
    """A channel that copies each frame to where the other side reads it."""

    def send_each(frames: Iterable[Sequence[bytes | memoryview]]) -> None:
        """
        Send whole frames, in order, after everything sent before.

        Each is made when the one before has been copied, so that all of them in turn can have the
        same memory.

        :param frames: Each in pieces, which joined are the frame; the first has the head. All are
            taken, whatever becomes of the channel.
        :raises ChannelClosed: As `send`.
        """


class IRunChannel(IChannel):
    """A channel within a process: runs of messages go through it as the objects they are."""

    def send_runs(frames: Sequence[Frame]) -> None:
        """
        Send whole frames, in order, after everything sent before.

        To an `IRunReceiver` runs are handed over as they are; any other gets frames.

        :param frames: As for `send`; those that are runs count with the length of their frame.
        :raises ChannelClosed: As `send`.
        """


class IChannelReceiver(Interface):
    """
    What a channel reports to; one receiver serves one channel.

    A receiver that raises anything is logged and its channel is aborted; nothing else suffers.
    """

    def channel_opened(channel: IChannel) -> None:
        """
        Learn which channel this is; frames can be sent from now on, also from in here.

        :param channel: The open channel.
        """

    def frames_received(frames: list[bytes]) -> None:
        """
        Take frames that have arrived.

        :param frames: One or more whole frames in order, heads included; the receiver owns them.
        """

    def channel_drained() -> None:
        """
        Go on sending: the kernel has taken everything that had been queued.

        Called each time `IChannel.queued_bytes` falls to 0 after a `send` that left some of it,
        as long as the channel is not closing.
        """

    def channel_fault(error: RemoteProtocolError) -> None:
        """
        Learn that the bytes from the other side are not frames; called at most once.

        Nothing is delivered after it. The receiver may `send` a last frame and `close` or `abort`;
        a channel still open when this returns closes itself with the error's status.

        :param error: What was wrong.
        """

    def channel_closed(status: Status, detail: str) -> None:
        """
        Learn that the channel has ended.

        :param status: What `close` or `abort` or the fault said; `Status.LINK_LOST` when the other
            side or the world ended it, or when closing lost bytes.
        :param detail: The reason in a few words.
        """


class IRunReceiver(IChannelReceiver):
    """A receiver that takes runs of messages as the objects they are."""

    def frames_received(frames: Sequence[Frame]) -> None:
        """
        Take frames that have arrived, runs among them.

        :param frames: As for `IChannelReceiver`.
        """


class IChannelListener(Interface):
    """Something that listens on one address."""

    address: Address = Attribute("The real address, with the port that was chosen for port 0.")

    def stop() -> Deferred[None]:
        """
        Stop listening; channels that are open stay open.

        Stopping twice does no harm.

        :returns: Fires when the address is free again; does not fail.
        """


Accept: TypeAlias = Callable[[str], IChannelReceiver | None]
"""
Called with `IChannel.peer` of each connection that comes in, before anything is read from it.
Returns the receiver of the new channel, or `None` to have the connection closed at once.
"""


class IChannelScheme(Interface):
    """One kind of channel: how to listen and how to dial."""

    def listen(address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Listen on an address.

        :param address: An address of this scheme.
        :param accept: Called for each connection that comes in.
        :returns: Fires when connections can come in; fails with `ListenFailed`.
        """

    def connect(
        address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """
        Dial an address.

        Cancelling the result ends the attempt, leaves no socket and fails with ``CancelledError``.

        :param address: An address of this scheme.
        :param receiver: The receiver of the new channel.
        :param timeout_seconds: How long to try; `None` for
            `ChannelOptions.connect_timeout_seconds`.
        :returns: Fires after ``receiver.channel_opened(channel)`` has returned; fails with
            `ConnectFailed`, and then the receiver was never called.
        """
