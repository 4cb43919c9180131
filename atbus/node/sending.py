"""
Messages that begin here.

A flow is this node and one target: it counts sequences and remembers, under the generation of the
routes, the link that its messages take. There are three ways, each for what the one before it does
not take:

1. A flow with a run that may grow is among the `Context.open_flows`: the message is appended to
   it, in `Messaging.send` itself (`atbus.node.growth`).
2. A flow whose link is known: it is asked for room, and begins a run or lets one grow.
3. Everything else, a message about which there is something special above all.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import attrs

from atbus import limits
from atbus.busid import ID_MAX, check_bus_id, check_bus_ids
from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.node.answering import Special
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.outbox import Run
from atbus.node.squeezing import squeeze_runs
from atbus.routing.fragments import split
from atbus.wire.extras import number_extra, read_number, trace_extra
from atbus.wire.messages import Capability, Extra, ExtraType, Flags

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.delivery import Inbox
    from atbus.node.directs import Prospect
    from atbus.node.growth import Growth
    from atbus.node.link import Link
    from atbus.node.stream_run import StreamRun
    from atbus.node.traffic import Traffic

_KIND_MIN, _KIND_MAX = -(2**31), 2**31 - 1
# A run's head, its table entry, and the longest extras that we write ourselves.
_FRAME_OVERHEAD_BYTES = 48 + 8 + 64
_EPOCH_SHIFT = 32
_HOPS_MAX = 255


@attrs.define(eq=False, slots=True)
class Flow:
    """
    Messages from this node to one target.

    :param next_sequence: What the next message gets.
    :param link: Where messages go at once; None when they must take the long way.
    :param grows: Whether its runs may grow without asking.
    """

    target: int
    next_sequence: int
    generation: int = -1
    link: Link | None = None
    grows: bool = False
    #: What is queued on this link and still grows; its payloads; the kind of the last message.
    on: Growth | None = None
    run: Run | None = None
    payloads: list[bytes | memoryview] = attrs.field(factory=list)
    kind: int = 0
    #: Whether it takes turns with others; the kinds of its run, which has one of each message then,
    #: and the bytes that its run has when no more are left.
    mingles: bool = False
    kinds: list[int] = attrs.field(factory=list)
    full_bytes: int = 0
    #: Bytes that it was granted to grow by, and what is left of them, or of a mingled flow's run.
    granted_bytes: int = 0
    left_bytes: int = 0

    def join(self, payload: bytes, kind: int) -> bool:
        """
        Let a message join the run whose last message was of another kind.

        :returns: Whether it did; if not, it must be looked at.
        """
        run = self.run
        left = self.left_bytes - len(payload) - 8 if type(payload) is bytes else -1
        if left < 0 or run is None or type(kind) is not int or not _KIND_MIN <= kind <= _KIND_MAX:
            return False
        kinds, payloads = run.kinds, run.payloads
        if kind != self.kind:
            kinds += [self.kind] * (len(payloads) - len(kinds))
            self.kind = kind
        payloads.append(payload)
        self.left_bytes = left
        self.next_sequence += 1
        return True

    def close(self) -> None:
        """Let nothing more join what is queued."""
        if self.on is not None:
            self.on.close_run(self)


class Sender:
    """
    Accept messages and put them on their way.

    :param traffic: Knows the next hop.
    :param inbox: Takes messages to ourselves.
    """

    def __init__(self, context: Context, traffic: Traffic, inbox: Inbox) -> None:
        #: Why nothing is accepted; None while messages are.
        self.refusal: Status | None = Status.NOT_STARTED
        self._context = context
        self._traffic = traffic
        self._inbox = inbox
        self._flows: OrderedDict[int, Flow] = OrderedDict()
        self._floor = 0
        self._swept = 0
        self.reconfigure()
        # Set by the node, which wires its parts.
        self.on_backpressure: Callable[[int], None]
        self.on_wanted: Callable[[int], None]
        self.instead: Callable[[int], Prospect]

    def refuse(self, refusal: Status | None) -> None:
        """
        Accept nothing from now on, or everything again.

        :param refusal: Why not; None to accept.
        """
        self.refusal = refusal
        self._ask_again()

    def _ask_again(self) -> None:
        """Let no message go its way without a question any more."""
        self._traffic.generation += 1
        self._context.open_flows.clear()

    def reconfigure(self) -> None:
        """Accept messages as long as the configuration allows now."""
        self._ask_again()
        config = self._context.config
        self._message_bytes_max = config.message_bytes_max
        # What is to be compressed takes the long way; the short one does not ask.
        least_bytes = config.compression_least_bytes if config.compression else math.inf
        self._short_way_bytes_max = min(config.message_bytes_max, least_bytes - 1)

    def send(self, target: int, payload: bytes, kind: int = 0) -> int:
        """
        Queue one message that joins no run at once; see `INode.send`.

        :returns: Its sequence.
        :raises Undeliverable: It was not accepted.
        """
        flow = self._flows.get(target)
        if flow is None or flow.generation != self._traffic.generation:
            flow = self._renew(target)
        if flow is not None:
            link = flow.link
            if link is not None and type(payload) is bytes:
                if flow.granted_bytes and flow.join(payload, kind):
                    return flow.next_sequence - 1
                size = len(payload)
                if (
                    isinstance(kind, int)
                    and size <= self._short_way_bytes_max
                    and size + 8 <= link.run_bytes_max
                    and _KIND_MIN <= kind <= _KIND_MAX
                    and (size + 8 <= link.room or link.has_room(size + 8))
                ):
                    sequence = flow.next_sequence
                    link.append(flow, kind, payload, size)
                    flow.next_sequence = sequence + 1
                    return sequence
        return self.send_with(target, payload, kind)

    def _renew(self, target: int) -> Flow | None:
        """Look up the way to a target anew; None when there is none, or nothing may be sent."""
        if self.refusal is not None or not self._context.bus_id:
            return None
        if not (isinstance(target, int) and 0 < target <= ID_MAX):
            return None
        if self._right_is_missing(target) is not None:
            return None
        self.on_wanted(target)
        hop = self._traffic.way_to(target)
        if isinstance(hop, Status):
            return None
        flow = self._flow(target)
        self._compile(flow, hop)
        return flow

    def send_with(
        self,
        target: int,
        payload: bytes,
        kind: int = 0,
        *,
        flags: int = 0,
        extras: tuple[Extra, ...] = (),
        hop_limit: int | None = None,
        exclude: Collection[int] = (),
        no_upstream: bool = False,
        later: bool = False,
    ) -> int:
        """
        Queue one message about which there is something special, or check why it cannot be.

        :param flags: Wire flags besides those that the options imply.
        :param hop_limit: How many nodes it may pass, by default `NodeConfig.hops`.
        :param exclude: Neighbors that must not be the next hop.
        :param no_upstream: Whether no node may use its default route for it.
        :param later: Whether a message to ourselves waits for `Inbox.run_self_soon`.
        :returns: Its sequence.
        :raises Undeliverable: It was not accepted.
        :raises LocalProtocolError: The target, the kind or the hop limit is not one.
        """
        context = self._context
        payload = self._check(target, payload, kind, flags)
        hops = context.config.hops if hop_limit is None else hop_limit
        if not (isinstance(hops, int) and 0 < hops <= _HOPS_MAX):
            raise LocalProtocolError(f"a hop limit of {hops!r} is not between 1 and {_HOPS_MAX}")
        if no_upstream:
            flags |= Flags.NO_UPSTREAM
        hop = self._hop(target, exclude, no_upstream)
        flow = self._flow(target)
        # A run has consecutive sequences.
        flow.close()
        sequence = flow.next_sequence
        if hop is None:
            if self._inbox.window.closed and not flags & Flags.REPLY:
                raise self.refused(Status.BACKPRESSURE, target, "it has not dealt with others")
            flow.next_sequence += 1
            self._accepted(target, sequence, kind, payload)
            self._to_self(sequence, kind, payload, flags, extras)
            if not later:
                self._inbox.run_self_soon()
            return sequence
        runs = self._runs(flow, payload, kind, flags, extras, hops, hop.frame_bytes_max)
        saved_bytes = 0
        if len(payload) > self._short_way_bytes_max and isinstance(hop, Endpoint):
            saved_bytes = squeeze_runs(context, hop, runs)
        if exclude:
            for run in runs:
                run.exclude = exclude
        self._submit(hop, runs, no_upstream)
        self._accepted(target, sequence, kind, payload)
        flow.next_sequence += 1
        context.statistics.saved_bytes += saved_bytes
        # What is sent counts as what it was.
        context.statistics.sent_bytes += saved_bytes
        if not exclude and not no_upstream:
            self._compile(flow, hop)
        return sequence

    def send_specially(
        self,
        target: int,
        payload: bytes,
        kind: int,
        hop_limit: int | None,
        exclude: Collection[int],
        no_upstream: bool,
        trace: bool,
    ) -> int:
        """Queue one message with the options of `Node.send`."""
        if exclude:
            check_bus_ids(exclude)
        return self.send_with(
            target,
            payload,
            kind,
            flags=Flags.TRACE if trace else 0,
            extras=(trace_extra(()),) if trace else (),
            hop_limit=hop_limit,
            exclude=exclude,
            no_upstream=no_upstream,
        )

    def _check(self, target: int, payload: bytes, kind: int, flags: int) -> bytes:
        if self.refusal is not None and not flags & Flags.REPLY:
            raise self.refused(self.refusal, target)
        if not self._context.bus_id:
            raise self.refused(Status.NOT_REGISTERED, target, "without an id there are no answers")
        check_bus_id(target)
        check_kind(kind)
        if not isinstance(payload, bytes):
            if not isinstance(payload, bytearray | memoryview):
                raise LocalProtocolError(f"a payload is bytes, not {type(payload).__name__}")
            payload = bytes(payload)
        elif type(payload) is not bytes:
            # Within a process the receiver gets the object itself: no program's own class.
            payload = bytes(memoryview(payload))
        limit = self._message_bytes_max
        if len(payload) > limit:
            raise self.refused(
                Status.MESSAGE_TOO_LARGE, target, f"{len(payload)} bytes, the limit is {limit}"
            )
        missing = self._right_is_missing(target)
        if missing is not None:
            raise self.refused(Status.NO_RIGHT, target, missing)
        return payload

    def _right_is_missing(self, target: int) -> str | None:
        """Say which rule of our own forbids messages of ours to a node; None when none does."""
        rights, own = self._context.rights, self._context.bus_id
        if rights is None or target == own or rights.may_send(own, target):
            return None
        return rights.refuses_send(own, target)

    def _hop(
        self, target: int, exclude: Collection[int], no_upstream: bool
    ) -> Endpoint | Prospect | None:
        hop = self._traffic.way_to(target, exclude=exclude, no_upstream=no_upstream)
        if hop is Status.OK:
            return None
        if not isinstance(hop, Status):
            return hop
        if hop is not Status.NO_ROUTE or exclude:
            raise self.refused(hop, target)
        try:
            return self.instead(target)
        except Undeliverable as error:
            raise self.refused(error.status, target, error.detail) from None

    def _runs(
        self,
        flow: Flow,
        payload: bytes,
        kind: int,
        flags: int,
        extras: tuple[Extra, ...],
        hop_limit: int,
        frame_bytes_max: int,
    ) -> list[Run]:
        """Make one run of a message, or several fragments when it does not fit into a frame."""
        context = self._context
        room = frame_bytes_max - _FRAME_OVERHEAD_BYTES
        whole = len(payload) <= room
        pieces = [(0, payload)] if whole else split(payload, room)
        return [
            Run(
                source=context.bus_id,
                target=flow.target,
                first_sequence=flow.next_sequence,
                epoch=context.epoch,
                hop_limit=hop_limit,
                flags=flags,
                extras=extras,
                fragment=None if whole else (offset, len(payload)),
                kinds=[kind],
                payloads=[piece],
                size_bytes=len(piece) + 8,
                count=1,
            )
            for offset, piece in pieces
        ]

    def send_frame(self, run: StreamRun) -> None:
        """
        Put a frame that is no message on its way, in order with the messages to its target.

        :raises Undeliverable: It was not accepted.
        """
        target = run.target
        if self.refusal is not None:
            raise self.refused(self.refusal, target)
        self.on_wanted(target)
        hop = self._hop(target, (), no_upstream=False)
        if isinstance(hop, Endpoint) and not hop.peer.capabilities & Capability.STREAMS:
            raise self.refused(Status.UNKNOWN_MANDATORY, target, "the next node has no streams")
        if (flow := self._flows.get(target)) is not None:
            flow.close()
        if hop is not None:
            self._submit(hop, [run], no_upstream=False)
            self._context.statistics.sent_bytes -= run.payload_bytes

    def paused(self, target: int | None) -> None:
        """Send no more at once to a target, or to any, whose next hop has asked for a pause."""
        if target is None:
            self._ask_again()
            return
        if (flow := self._flows.get(target)) is not None:
            flow.link = None
            self._context.open_flows.pop(target, None)

    def sweep(self) -> None:
        """Keep no link that has ended: each holds some kilobytes, and flows are many."""
        if self._swept != self._traffic.generation:
            self._swept = self._traffic.generation
            for flow in self._flows.values():
                if flow.link is not None and flow.link.closed:
                    flow.link = None

    def _is_paused(self, hop: Endpoint | Prospect, target: int) -> bool:
        return self._traffic.pressure.is_paused(hop.bus_id, target)

    def _submit(self, hop: Endpoint | Prospect, runs: Sequence[Run], no_upstream: bool) -> None:
        """
        Give a message to its next hop, once more through the upstream if that is leaving.

        A reply is not paused: who asked waits for it.

        :raises Undeliverable: Neither took it; no part of it is sent.
        """
        target = runs[0].target
        if self._is_paused(hop, target) and not runs[0].flags & Flags.REPLY:
            raise self.refused(Status.BACKPRESSURE, target, "it is paused")
        status = hop.submit_all(runs)
        if status is not None and status is not Status.BUFFER_LIMIT and isinstance(hop, Endpoint):
            upstream = self._traffic.alternative(target, hop, no_upstream=no_upstream)
            if upstream is not None and upstream.bus_id not in runs[0].exclude:
                status = upstream.submit_all(runs)
        if status is Status.BUFFER_LIMIT:
            status = Status.BACKPRESSURE
        if status is not None:
            raise self.refused(status, target)

    def _compile(self, flow: Flow, hop: Endpoint | Prospect) -> None:
        """Remember the link, so that the next message takes the short way."""
        flow.generation = self._traffic.generation
        link = hop.data_link if hop.gate is Gate.OPEN and not hop.pending else None
        if self._is_paused(hop, flow.target) or flow.target in self._context.ways.held:
            link = None
        flow.link = link
        if flow.on is not link:
            flow.close()
        # What is to be compressed, or too long, goes another way, and is not asked for first.
        flow.grows = link is not None and self._short_way_bytes_max >= link.run_bytes_max

    def sent_before(self, target: int) -> int:
        """Give a sequence that no message to *target* has had yet, nor any above it."""
        flow = self._flows.get(target)
        return self._floor if flow is None else flow.next_sequence

    def _flow(self, target: int) -> Flow:
        if (flow := self._flows.get(target)) is not None:
            return flow
        if len(self._flows) >= limits.FLOWS_MAX:
            # Sequences of a forgotten flow must not come again: all new flows begin above it.
            _, oldest = self._flows.popitem(last=False)
            oldest.close()
            self._floor = max(self._floor, oldest.next_sequence)
        start = (self._context.epoch << _EPOCH_SHIFT) + 1
        flow = self._flows[target] = Flow(target, max(start, self._floor))
        return flow

    def _to_self(
        self, sequence: int, kind: int, payload: bytes, flags: int, extras: tuple[Extra, ...]
    ) -> None:
        in_reply_to = read_number(extras, ExtraType.IN_REPLY_TO)
        self._context.statistics.sent_messages += 1
        self._context.statistics.sent_bytes += len(payload)
        self._inbox.to_self(
            Special(
                source=self._context.bus_id,
                kind=kind,
                sequence=sequence,
                payload=payload,
                flags=flags,
                epoch=self._context.epoch,
                in_reply_to=in_reply_to or 0,
            )
        )

    def reply(self, target: int, in_reply_to: int, payload: bytes) -> int:
        """
        Answer a request.

        :param in_reply_to: Sequence of the request.
        :raises Undeliverable: The answer was not accepted.
        """
        extra = number_extra(ExtraType.IN_REPLY_TO, in_reply_to)
        return self.send_with(target, payload, flags=Flags.REPLY, extras=(extra,))

    def refused(self, status: Status, target: int, detail: str = "") -> Undeliverable:
        """Count a message that is not accepted, and make the error that says so."""
        self._context.statistics.refused[status] += 1
        if self._context.observer is not None:
            self._context.observer.refused(target, status)
        if status is Status.BACKPRESSURE:
            self.on_backpressure(target)
        return Undeliverable(status, target, 0, self._context.bus_id, detail)

    def _accepted(self, target: int, sequence: int, kind: int, payload: bytes) -> None:
        if self._context.observer is not None:
            self._context.observer.accepted(target, sequence, kind, payload)


def check_kind(kind: object) -> None:
    """
    Refuse what cannot be the kind of a message.

    :param kind: What a program gave as one.
    :raises LocalProtocolError: It is none.
    """
    if not (isinstance(kind, int) and _KIND_MIN <= kind <= _KIND_MAX):
        raise LocalProtocolError(f"kind {kind!r:.60} is not between -2**31 and 2**31 - 1")
