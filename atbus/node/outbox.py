"""
What leaves on one connection: items in order, made into frames once per reactor turn.

An item knows how to become a frame when its link gives it a number, and what it stands for until
the frame is acknowledged (wire protocol, section 4). Five kinds exist:

* `Run`: consecutive messages of one flow that begin here; it grows while nothing else is queued
  behind it, and forgets its payloads once it is a frame.
* `Relayed`: a frame of somebody else, passed on with three fields changed.
* `Routed`: a response or a command, kept whole, because it is sent again when its link dies.
* `Spread`: a publication, or a piece of one; nobody is told what becomes of it.
* `Notice`: a frame of the link itself (pings, goodbyes); it is not numbered and not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import attrs

from atbus.channels.interfaces import IChannel, IPieceChannel, IRecordChannel, IRunChannel
from atbus.wire import codec
from atbus.wire.compression import restore
from atbus.wire.cutting import FRAGMENT_BYTES, begins_message
from atbus.wire.extras import pack_extras
from atbus.wire.head import HEAD_SIZE, Head, peek
from atbus.wire.loose import Frame, LooseFragment, LoosePublication, LooseRun
from atbus.wire.messages import CompressionAlgorithm, Extra, Flags, Message, MessageType
from atbus.wire.runs import TABLE_ENTRY, fragment_pieces, pack_run, run_pieces

if TYPE_CHECKING:
    from atbus.node.link import Link
    from atbus.node.owed import Owed
    from atbus.node.passage import Passage
    from atbus.node.statistics import Statistics

_ASKING = int(Flags.ANSWER | Flags.REQUEST)
_COMPRESSED = int(Flags.COMPRESSED)
_DATA = int(MessageType.DATA)
_FRAGMENT = int(MessageType.FRAGMENT)
_ENTRY_BYTES = TABLE_ENTRY.size
# From this average on, a buffer of its own for each payload costs less than copying them.
_BULKY_BYTES = 8 * 1024
# What a run has of its messages when its frame is made. It is kept until that is acknowledged, and
# so are hundreds: two empty lists more of each would call the collector of garbage time and again.
_GONE: Any = ()


class Answerable(Protocol):
    """Whoever wants to know that this node answers for something no longer."""

    def discharge(self) -> None:
        """Take note of it."""


@attrs.define(eq=False)
class Custody:
    """
    Where an item came from, to be told when it is somebody else's.

    :param link: The link on which the frame arrived.
    :param number: Its frame number there.
    :param parts: How many share it: the parts that the frame was cut into, or the frame itself and
        the answer to it. It ends with the last of them.
    :param passage: Where its destination's frames are counted, if it passes through.
    """

    link: Link
    number: int
    parts: int = 1
    passage: Passage | None = None

    def share(self) -> Custody:
        """Let one more share it."""
        self.parts += 1
        return self

    def discharge(self) -> None:
        """Tell the link that this node answers for the frame no longer, when nobody else does."""
        self.parts -= 1
        if not self.parts:
            self.link.discharge(self.number)
            if self.passage is not None:
                self.passage.left()


@attrs.define(eq=False)
class Run:
    """
    Consecutive messages of one flow that this node sends; one frame.

    :param exclude: Neighbors that must not be the next hop.
    """

    source: int
    target: int
    first_sequence: int
    epoch: int
    hop_limit: int
    flags: int = 0
    extras: tuple[Extra, ...] = ()
    fragment: tuple[int, int] | None = None  # offset and total size
    kinds: list[int] = attrs.field(factory=list)
    payloads: list[bytes | memoryview] = attrs.field(factory=list)
    size_bytes: int = 0
    count: int = 0
    exclude: Collection[int] = ()
    _packed: bytes = b""

    def restore_packed(self, algorithms: Collection[CompressionAlgorithm]) -> None:
        """
        Restore the payloads of a frame that is made already.

        :raises RemoteProtocolError: They cannot be restored.
        """
        self._packed = restore(self._packed, algorithms)
        self.size_bytes = len(self._packed)

    def pack(self) -> None:
        """Make the frame now, without its number: it waits, and payloads cost more memory."""
        self._packed = self.build(0, 0)

    @property
    def wants_answer(self) -> bool:
        """Whether somebody waits to hear what became of it."""
        return bool(self.flags & _ASKING)

    @property
    def begins_messages(self) -> bool:
        """Whether its messages begin with it; not in the second fragment of one."""
        return self.fragment is None or not self.fragment[0]

    def build(self, number: int, ack: int) -> bytes:
        """Make the frame and let the payloads go."""
        if self._packed:
            packed, self._packed = self._packed, b""
            return codec.patch(packed, hop_limit=self.hop_limit, frame_number=number, ack=ack)
        if self.fragment is None:
            frame = pack_run(
                self.source,
                self.target,
                self.first_sequence,
                self.epoch,
                self.kinds,
                self.payloads,
                flags=self.flags,
                hop_limit=self.hop_limit,
                frame=number,
                ack=ack,
                extras=pack_extras(self.extras) if self.extras else b"",
            )
            self.payloads = _GONE
            self.kinds = _GONE
            return frame
        return b"".join(self.build_in_pieces(number, ack))

    @property
    def is_bulky(self) -> bool:
        """Whether its payloads are worth not being copied, as long as they are not packed."""
        return self.size_bytes >= _BULKY_BYTES * self.count and not self._packed

    def loosen(self, number: int, ack: int) -> Frame:
        """
        Let the payloads go as they are, beside a head, or make the frame where that is not enough.

        What is compressed is restored as a frame.
        """
        if self._packed or self.flags & _COMPRESSED:
            return self.build(number, ack)
        payloads, self.payloads = self.payloads, _GONE
        kinds, self.kinds = self.kinds, _GONE
        extras = pack_extras(self.extras) if self.extras else b""
        size_bytes = HEAD_SIZE + len(extras) + self.size_bytes
        fragment, kind = self.fragment, _DATA
        if fragment is not None:
            size_bytes += FRAGMENT_BYTES - _ENTRY_BYTES
            kind = _FRAGMENT
        head = (
            size_bytes, kind, self.flags, self.hop_limit, 0, self.source, self.target,
            self.first_sequence, self.epoch, number, len(payloads), len(extras), ack,
        )  # fmt: skip
        if fragment is not None:
            return LooseFragment(head, extras, (*fragment, kinds[0]), payloads[0])
        return LooseRun(head, extras, kinds, cast("list[bytes]", payloads))

    def build_in_pieces(self, number: int, ack: int) -> list[bytes | memoryview]:
        """
        Make the frame, but do not copy the payloads, and let them go.

        :returns: What joined together is the frame.
        """
        payloads, self.payloads = self.payloads, _GONE
        kinds, self.kinds = self.kinds, _GONE
        extras = pack_extras(self.extras) if self.extras else b""
        flow = (self.source, self.target, self.first_sequence, self.epoch)
        if self.fragment is None:
            return run_pieces(
                *flow, kinds, payloads, self.flags, self.hop_limit, number, ack, extras
            )
        return fragment_pieces(
            *flow,
            payloads[0],
            (*self.fragment, kinds[0]),
            flags=self.flags,
            hop_limit=self.hop_limit,
            frame=number,
            ack=ack,
            extras=extras,
        )


@attrs.define(eq=False)
class Relayed:
    """A run or fragment of another node, passing through."""

    frame: bytes
    source: int
    target: int
    first_sequence: int
    epoch: int
    count: int
    hop_limit: int
    custody: Custody
    type: int = MessageType.DATA
    size_bytes: int = 0
    flags: int = 0

    @classmethod
    def of(cls, frame: bytes, head: Head, custody: Custody) -> Relayed:
        """Make an item of a frame that arrived; it has one hop less."""
        return cls(
            frame,
            source=head[5],
            target=head[6],
            first_sequence=head[7],
            epoch=head[8],
            count=max(1, head[10]),
            hop_limit=head[3] - 1,
            custody=custody,
            type=head[1],
            size_bytes=len(frame),
            flags=head[2],
        )

    @property
    def wants_answer(self) -> bool:
        """Whether somebody waits to hear what became of it."""
        # Nothing of a stream may be dropped without a word either.
        return bool(self.type >= MessageType.STREAM_OPEN or peek(self.frame)[2] & _ASKING)

    @property
    def begins_messages(self) -> bool:
        """Whether its messages begin with it; not in the second fragment of one."""
        return self.type == MessageType.DATA or begins_message(self.frame, peek(self.frame))

    def build(self, number: int, ack: int) -> bytes:
        """Change what belongs to the link and let the frame go."""
        frame = codec.patch(self.frame, hop_limit=self.hop_limit, frame_number=number, ack=ack)
        self.frame = b""
        return frame


@attrs.define(eq=False)
class Routed:
    """
    A response or a command on its way to a node; kept until it is acknowledged.

    It is the frame that is kept, not its meaning: a node passes on what it need not understand.

    :param came_from: The neighbor that it came from; None when it begins here.
    :param may_wait: Whether it is worth waiting for a way.
    :param refuses_passing: Whether it refuses what a neighbor asks others by way of this node.
    :param debtor: The neighbor because of which it is kept, if it asks others or is told by them.
    """

    #: Responses and commands have no flags.
    flags: ClassVar[int] = 0

    frame: bytes
    type: int
    source: int
    destination: int
    sequence: int
    hop_limit: int
    custody: Answerable | None = None
    came_from: int | None = None
    may_wait: bool = True
    refuses_passing: bool = False
    debtor: Owed | None = None

    @classmethod
    def of(cls, message: Message, custody: Answerable | None = None) -> Routed:
        """Make an item of a message that begins here."""
        assert message.message_type is not None
        return cls(
            codec.encode(message),
            int(message.message_type),
            message.source,
            message.destination,
            message.sequence,
            message.hop_limit,
            custody,
        )

    @property
    def size_bytes(self) -> int:
        """The frame's length."""
        return len(self.frame)

    def build(self, number: int, ack: int) -> bytes:
        """Give the frame its number; the frame stays, in case it must go another way."""
        return codec.patch(self.frame, hop_limit=self.hop_limit, frame_number=number, ack=ack)


@attrs.define(eq=False)
class Spread:
    """A publication, or a piece of one, on its way to one neighbor."""

    #: Those of its frame are no matter to a link.
    flags: ClassVar[int] = 0

    frame: bytes | LoosePublication
    hop_limit: int
    size_bytes: int
    #: All publications of a link wait in one queue, beside those of its destinations.
    target: int = 0

    def build(self, number: int, ack: int) -> bytes:
        """Change what belongs to the link and let the frame go."""
        frame, self.frame = self.frame, b""
        if isinstance(frame, LoosePublication):
            # It was to take memory, and has to take another way.
            return frame.numbered(number, ack).join()
        return codec.patch(frame, hop_limit=self.hop_limit, frame_number=number, ack=ack)

    def loosen(self, number: int, ack: int) -> Frame:
        """Let the publications go as they are, unless they are a frame already."""
        if isinstance(self.frame, LoosePublication):
            frame, self.frame = self.frame, b""
            return frame.numbered(number, ack)
        return self.build(number, ack)


@attrs.define(eq=False)
class Notice:
    """
    A frame of the link itself.

    :param ack: Of a lane, when the frame is about one; None for the link's own.
    """

    message: Message
    size_bytes: int = 64
    ack: int | None = None

    def build(self, number: int, ack: int) -> bytes:
        """Make the frame."""
        return codec.encode(
            self.message, frame=number, ack=ack if self.ack is None else self.ack
        )


@attrs.define(eq=False)
class SharedNotice(Notice):
    """A frame that goes to many links, and is written for the first of them."""

    _frame: bytes = attrs.field(default=b"", init=False, repr=False)

    def build(self, number: int, ack: int) -> bytes:
        """Make the frame."""
        if not self._frame:
            self._frame = codec.encode(self.message)
        hop_limit = self.message.hop_limit
        return codec.patch(self._frame, hop_limit=hop_limit, frame_number=number, ack=ack)


Item = Run | Relayed | Routed | Spread | Notice
Kept = Run | Relayed | Routed | Spread


def is_rest(item: Kept) -> bool:
    """Tell whether an item is the rest of a message that another one has begun."""
    if isinstance(item, Run):
        return item.fragment is not None and item.fragment[0] > 0
    return isinstance(item, Relayed) and item.type == _FRAGMENT and not item.begins_messages


def carries_ack(item: Item) -> bool:
    """Tell whether an item's frame says what was discharged on its own link, not on a lane."""
    return not isinstance(item, Notice) or item.ack is None


def hand_over_one(
    channel: IChannel,
    run: Run,
    number: int,
    ack: int,
    statistics: Statistics,
    takes_runs: bool,
) -> None:
    """
    Count a run that leaves alone, as most do, and give its frame to a channel.

    What `count_sent` and `hand_over` do for many items, without looking at each of them thrice.

    :param number: Of the frame.
    :param ack: What it says of the other direction.
    :param takes_runs: Whether the channel is an `IRunChannel`; its link has looked.
    """
    fragment = run.fragment
    if fragment is None or not fragment[0]:
        statistics.sent_messages += run.count
    statistics.sent_bytes += run.size_bytes - 8 * run.count
    if takes_runs:
        cast("IRunChannel", channel).send_runs((run.loosen(number, ack),))
    else:
        channel.send((run.build(number, ack),))


def hand_over(
    channel: IChannel,
    items: Sequence[Item],
    record: Callable[[Kept], int],
    ack: int,
    statistics: Statistics,
    takes_runs: bool,
) -> None:
    """
    Count items, make their frames, and give them to a channel in the way that costs least there.

    :param record: Keeps an item until it is acknowledged, and numbers its frame.
    :param ack: What all of them say of the other direction.
    :param takes_runs: Whether the channel is an `IRunChannel`; its link has looked.
    """
    is_any_bulky = count_sent(items, statistics)
    if takes_runs:
        cast("IRunChannel", channel).send_runs(loose_frames(items, record, ack))
    elif IRecordChannel.providedBy(channel):
        channel.send_each(frames_in_pieces(items, record, ack))
    elif is_any_bulky and IPieceChannel.providedBy(channel):
        channel.send_pieces(list(chain.from_iterable(frames_in_pieces(items, record, ack))))
    else:
        frames = [
            item.build(0 if isinstance(item, Notice) else record(item), ack) for item in items
        ]
        channel.send(frames)


def loose_frames(
    items: Iterable[Item], record: Callable[[Kept], int], ack: int
) -> list[Frame]:
    """
    Make frames, but leave the messages of this node the objects they are.

    :param record: Keeps an item until it is acknowledged, and numbers its frame.
    :param ack: What all of them say of the other direction.
    """
    return [
        item.loosen(record(item), ack)
        if isinstance(item, Run | Spread)
        else item.build(0 if isinstance(item, Notice) else record(item), ack)
        for item in items
    ]


def frames_in_pieces(
    items: Iterable[Item], record: Callable[[Kept], int], ack: int
) -> Iterator[Sequence[bytes | memoryview]]:
    """
    Make one frame after another, those of bulky items in pieces.

    :param record: Keeps an item until it is acknowledged, and numbers its frame.
    :param ack: What all of them say of the other direction.
    :returns: Of each frame, in order, what joined together is it.
    """
    for item in items:
        number = 0 if isinstance(item, Notice) else record(item)
        if isinstance(item, Run) and item.is_bulky:
            yield item.build_in_pieces(number, ack)
        else:
            yield (item.build(number, ack),)


def count_sent(items: Iterable[Item], statistics: Statistics) -> bool:
    """
    Count what begins at this node and leaves it now.

    :returns: Whether any of it is bulky.
    """
    is_any_bulky = False
    for item in items:
        if isinstance(item, Run):
            if item.begins_messages:
                statistics.sent_messages += item.count
            statistics.sent_bytes += item.size_bytes - 8 * item.count
            is_any_bulky = is_any_bulky or item.is_bulky
    return is_any_bulky
