"""
What becomes of data that arrives, and what its origin is told.

Decisions are the table's; this obeys. Every data frame that arrives ends in exactly one of three
ways, and only then is its link told: a next hop acknowledged it, the application has it, or a
failure response in our name is on its way and acknowledged by *its* next hop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from atbus import limits
from atbus.busid import BusId
from atbus.errors import RemoteProtocolError, Status
from atbus.node.courier import Courier
from atbus.node.events import Fate
from atbus.node.moves import Moves, conditions_of
from atbus.node.observing import show_dropped
from atbus.node.outbox import Custody, Kept, Relayed, Routed, Run, Spread
from atbus.node.stragglers import Stragglers
from atbus.node.stream_port import refuses_frame
from atbus.node.verifying import Verifier
from atbus.routing.decision import Deliver, Forward, Hold
from atbus.wire.bounds import STREAM_SEQUENCES
from atbus.wire.cutting import begins_message
from atbus.wire.extras import append_trace
from atbus.wire.head import Head
from atbus.wire.loose import Frame, joined
from atbus.wire.messages import Capability, DataResponse, Flags, MessageType

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.fates import Fates
    from atbus.node.link import Link
    from atbus.node.passage import Passage
    from atbus.node.pressure import Pressure

_FLUSH = int(MessageType.FLUSH)
_FRAGMENT = int(MessageType.FRAGMENT)
# This and what is above it is of streams.
_STREAM = int(MessageType.STREAM_OPEN)
# Refusals of a next hop that another way may mend.
_LEAVING = frozenset({Status.CLOSING, Status.NOT_CONNECTED})


class Traffic:
    """
    Forward frames, and answer for those that end here.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    :param deliver: Takes data frames addressed to this node.
    :param pressure: Keeps what passes through within its bounds.
    """

    def __init__(
        self,
        context: Context,
        endpoints: dict[int, Endpoint],
        fates: Fates,
        deliver: Callable[[Link, Frame, Head], None],
        pressure: Pressure,
    ) -> None:
        self.generation = 0
        self.pressure = pressure
        self._context = context
        self._endpoints = endpoints
        self._fates = fates
        self._deliver = deliver
        self._passages = pressure.passages
        # By flow the last message of it that was given up here before all its fragments had come.
        self._given_up: OrderedDict[tuple[int, int, int], int] = OrderedDict()
        self.courier = Courier(context, endpoints, self)
        self.verifier = Verifier(context, endpoints, self.data_received, self.refuse)
        self.vouches = self.verifier.vouches
        self.stragglers = Stragglers(context, self.hop_to)
        self.moves = Moves(context, endpoints, self)
        # Set by the node, which wires its parts.
        self.sent_before: Callable[[int], int]
        self.notify: Callable[[Endpoint, Endpoint, Relayed], None]
        self.on_wanted: Callable[[int], None]
        self.hold: Callable[[Relayed], Status | None] = lambda _: Status.NO_ROUTE

    def changed(self) -> None:
        """Forget what was compiled: the table, a gate or a data connection is another now."""
        self.generation += 1
        self._context.open_flows.clear()
        self._context.ways_changed()
        self.verifier.changed()
        self.courier.retry_soon()
        self.moves.divert_soon()

    def hop_to(
        self,
        target: int,
        *,
        came_from: int | None = None,
        exclude: Collection[int] = (),
        no_upstream: bool = False,
    ) -> Endpoint | Status:
        """
        Ask the table for the next hop.

        :returns: The endpoint to give it to, or why there is none. `Status.OK` means that the
            target is this node.
        """
        decision = self._context.table.next_hop(
            BusId(target),
            came_from=None if came_from is None else BusId(came_from),
            exclude=frozenset(BusId(x) for x in exclude),
            no_upstream=no_upstream,
        )
        match decision:
            case Deliver():
                return Status.OK
            case Forward(bus_id=bus_id) | Hold(bus_id=bus_id):
                return self._endpoints.get(bus_id, Status.NOT_CONNECTED)
            case _:
                return decision.status

    def way_to(
        self,
        target: int,
        *,
        came_from: int | None = None,
        exclude: Collection[int] = (),
        no_upstream: bool = False,
    ) -> Endpoint | Status:
        """Ask for the next hop of something that is given to it now, as `hop_to` does."""
        self.moves.divert(self.generation)
        hop = self.hop_to(target, came_from=came_from, exclude=exclude, no_upstream=no_upstream)
        if not (isinstance(hop, Status) or exclude or no_upstream):
            self.moves.take(target, hop)
        return hop

    # Frames that arrive.

    def data_received(self, link: Link, frame: Frame, head: Head) -> None:
        """Deliver a run or a fragment, pass it on, or answer why neither can be done."""
        endpoint = link.connection.endpoint
        if endpoint is None or endpoint.temporary:
            self.refuse(link, head, Status.NOT_REGISTERED)
            return
        source = head[5]
        if head[1] == _FLUSH and self.verifier.keeps_back(endpoint, link, frame, head):
            return
        if source not in endpoint.vouched and not self.verifier.lets_pass(endpoint, head):
            if self.stragglers.is_returned(endpoint, head):
                # Its rights were looked at when it came first.
                self._forward(link, joined(frame), head, endpoint)
            else:
                self.verifier.doubt(endpoint, link, frame, head)
            return
        if head[1] == _FRAGMENT and self._given_up.get((source, head[6], head[8])) == head[7]:
            link.discharge(head[9])
            return
        rights = self._context.rights
        if rights is not None:
            if head[1] >= _STREAM:
                refusal = refuses_frame(rights, joined(frame), head)
            elif rights.may_send(source, head[6]):
                refusal = None
            else:
                refusal = rights.refuses_send(source, head[6]) or ""
            if refusal is not None:
                self.refuse(link, head, Status.NO_RIGHT, refusal)
                return
        if head[6] != self._context.bus_id:
            self._forward(link, joined(frame), head, endpoint)
            return
        try:
            self._deliver(link, frame, head)
        except RemoteProtocolError as error:
            self.refuse_unreadable(link, head, error)

    def refuse_unreadable(self, link: Link, head: Head, error: RemoteProtocolError) -> None:
        """
        Answer a frame for us whose inside makes no sense.

        :raises RemoteProtocolError: It was the neighbor's own, and its third.
        """
        self.refuse(link, head, error.status)
        if error.status is not Status.UNKNOWN_MANDATORY:
            link.unreadable(head, error)

    def _forward(self, link: Link, frame: bytes, head: Head, origin: Endpoint) -> None:
        hop_limit = head[3]
        if hop_limit <= 1:
            self.refuse(link, head, Status.HOP_LIMIT)
            return
        target = head[6]
        flags = head[2]
        passage = self._passages.get(target)
        if passage is None or passage.generation != self.generation:
            passage = self.pressure.passage(target)
        hop, follows = self._hop_of(passage, origin, flags), False
        if hop is Status.LOOP or target in self._context.ways.held:
            hop, follows = self.stragglers.way_of(head, origin, hop)
        if isinstance(hop, Status):
            status = self._let_wait(link, frame, head, passage) if hop is Status.NO_ROUTE else hop
            if status is not None:
                self.refuse(link, head, status)
            return
        if head[1] >= _STREAM and not hop.peer.capabilities & Capability.STREAMS:
            self.refuse(link, head, Status.UNKNOWN_MANDATORY, "the next node has no streams")
            return
        if passage.watched and self.pressure.is_full(passage, link):
            self.refuse(link, head, Status.BUFFER_LIMIT)
            return
        if flags & Flags.TRACE:
            frame = self._traced(frame, hop)
        item = Relayed.of(frame, head, Custody(link, head[9], 1, passage))
        status = hop.submit(item, follows=follows)
        if status is not None and status in _LEAVING:
            second = self.alternative(
                target, hop, origin.bus_id, no_upstream=bool(flags & Flags.NO_UPSTREAM)
            )
            if second is None:
                second, follows = self.stragglers.way_back(head, origin), True
            status = status if second is None else second.submit(item, follows=follows)
        if status is not None:
            self.refuse(link, head, status)
            return
        passage.frames += 1
        if passage.frames >= passage.mark or hop.is_long or target in self._context.ways.held:
            self.pressure.arrived(passage, hop, link)
        self._forwarded(frame, head)
        if head[1] != _FLUSH:
            self.notify(origin, hop, item)

    def _let_wait(self, link: Link, frame: bytes, head: Head, passage: Passage) -> Status | None:
        """Let a frame without a way wait for a node that is dialled now; say why it does not."""
        item = Relayed.of(frame, head, Custody(link, head[9], 1, passage))
        status = Status.NO_ROUTE if head[1] == _FLUSH else self.hold(item)
        if status is None:
            passage.frames += 1
        return status

    def _hop_of(self, passage: Passage, origin: Endpoint, flags: int) -> Endpoint | Status:
        """Give the next hop of what passes, as it is remembered or as the table has it."""
        hop = passage.hop
        no_upstream = bool(flags & Flags.NO_UPSTREAM)
        known = passage.generation == self.generation and not no_upstream
        if known and hop is not None and hop is not origin:
            return hop
        self.on_wanted(passage.destination)
        found = self.way_to(
            passage.destination, came_from=origin.bus_id, no_upstream=no_upstream
        )
        if not isinstance(found, Status) and not no_upstream:
            passage.hop, passage.generation = found, self.generation
        return found

    def _forwarded(self, frame: bytes, head: Head) -> None:
        statistics = self._context.statistics
        statistics.forwarded_frames += 1
        if head[1] != _FRAGMENT or begins_message(frame, head):
            statistics.forwarded_messages += head[10]

    def _traced(self, frame: bytes, hop: Endpoint) -> bytes:
        """Note our id in a frame; one that cannot be read is the destination's to refuse."""
        try:
            return append_trace(frame, self._context.bus_id, hop.peer.frame_max)
        except RemoteProtocolError:
            return frame

    def alternative(
        self,
        target: int,
        failed: Endpoint,
        came_from: int | None = None,
        *,
        no_upstream: bool = False,
    ) -> Endpoint | None:
        """Ask the table for a second chance after *failed* did not take a message."""
        second = self._context.table.alternative(
            BusId(target),
            BusId(failed.bus_id),
            None if came_from is None else BusId(came_from),
            no_upstream=no_upstream,
        )
        return None if second is None else self._endpoints.get(second.bus_id)

    def refuse(self, link: Link, head: Head, status: Status, detail: str = "") -> None:
        """Answer a frame with a failure in our name; a flush needs no answer."""
        custody = Custody(link, head[9])
        if head[1] == _FLUSH or head[5] == 0:
            custody.discharge()
            return
        if head[1] == _FRAGMENT and self._give_up((head[5], head[6], head[8]), head[7]):
            custody.discharge()
            return
        count = max(1, head[10])
        self._context.statistics.refused[status] += count
        backwards = link.connection.endpoint
        if status in (Status.SOURCE_REFUSED, Status.NOT_REGISTERED):
            # Whoever the source really is, only this neighbor can tell it.
            response = self._response(head[5], head[6], head[7], count, head[8], status)
            if backwards is None or backwards.control_link is None:
                show_dropped(self._context.observer, response)
                custody.discharge()
            else:
                item = Routed.of(response, custody)
                if self.courier.hand(backwards.control_link, item) is not None:
                    self.courier.drop(item)
            return
        self.respond(custody, head[5], head[6], head[7], count, head[8], status, detail)

    def _give_up(self, flow: tuple[int, int, int], sequence: int) -> bool:
        """
        Note that a fragment ends here, and with it its message.

        :returns: Whether this is not the first of its fragments that does.
        """
        if self._given_up.get(flow) == sequence:
            return True
        self._given_up[flow] = sequence
        self._given_up.move_to_end(flow)
        if len(self._given_up) > limits.FRAGMENTS_GIVEN_UP_MAX:
            self._given_up.popitem(last=False)
        return False

    def _response(
        self,
        origin: int,
        target: int,
        first_sequence: int,
        count: int,
        origin_epoch: int,
        status: Status,
        detail: str = "",
    ) -> DataResponse:
        self._context.statistics.responses_sent += 1
        return DataResponse(
            source=self._context.bus_id,
            destination=origin,
            epoch=self._context.epoch,
            hop_limit=self._context.config.hops,
            target=target,
            first_sequence=first_sequence,
            count=count,
            origin_epoch=origin_epoch,
            status=status,
            gave_up_at=0 if status is Status.OK else self._context.bus_id,
            detail=detail,
        )

    def respond(
        self,
        custody: Custody | None,
        origin: int,
        target: int,
        first_sequence: int,
        count: int,
        origin_epoch: int,
        status: Status,
        detail: str = "",
    ) -> None:
        """
        Tell the origin of messages what became of them, in our name.

        :param custody: Discharged when the news are in somebody else's hands.
        :param detail: A few words for people.
        """
        if origin == self._context.bus_id:
            if self._context.is_own_epoch(origin_epoch):
                self._fates.settle(
                    Fate(
                        target=target,
                        first_sequence=first_sequence,
                        count=count,
                        status=status,
                        gave_up_at=origin,
                        detail=detail,
                    )
                )
            if custody is not None:
                custody.discharge()
            return
        response = self._response(
            origin, target, first_sequence, count, origin_epoch, status, detail
        )
        self.courier.route(Routed.of(response, custody))

    def response_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take news about messages of ours; pass other nodes' news on."""
        if head[6] != self._context.bus_id:
            self.courier.pass_on_response(link, frame, head)
            return
        if (message := link.read(frame, head)) is None:
            return
        link.discharge(head[9])
        if not self.vouches(link, head[5]):
            return
        if isinstance(message, DataResponse) and self._is_credible(message):
            # A word about messages that do not exist yet would be the last word about them.
            not_sent = self.sent_before(message.target)
            self._fates.settle(
                Fate(
                    target=message.target,
                    first_sequence=message.first_sequence,
                    count=min(message.count, max(1, not_sent - message.first_sequence)),
                    status=message.status,
                    gave_up_at=message.gave_up_at or message.source,
                    detail=message.detail,
                )
            )

    def _is_credible(self, message: DataResponse) -> bool:
        """Tell whether news are about messages that we sent, and from who can know."""
        first = message.first_sequence
        sent = first >= STREAM_SEQUENCES or first < self.sent_before(message.target)
        knows = message.status is not Status.OK or message.source == message.target
        if self._context.is_own_epoch(message.origin_epoch) and sent and knows:
            return True
        self._context.statistics.late_frames += 1
        return False

    # Links that die.

    def lost(self, items: Collection[Kept], status: Status) -> None:
        """
        Report what a dead link held.

        :param items: In order; each is reported once.
        :param status: `UNCERTAIN` for what was on the wire, `NOT_CONNECTED` for what was not.
        """
        for item in items:
            match item:
                case Run():
                    self.respond(
                        None,
                        item.source,
                        item.target,
                        item.first_sequence,
                        item.count,
                        item.epoch,
                        status,
                    )
                case Relayed(type=kind) if kind == _FLUSH or self._is_told(item):
                    item.custody.discharge()
                case Relayed():
                    counted = self._context.statistics
                    if status is Status.UNCERTAIN:
                        counted.uncertain_messages += item.count
                    else:
                        counted.refused[status] += item.count
                    self.respond(
                        item.custody,
                        item.source,
                        item.target,
                        item.first_sequence,
                        item.count,
                        item.epoch,
                        status,
                    )
                case Routed():
                    self.courier.lost(item, status)
                case Spread():
                    self._context.statistics.publications_dropped[status] += 1

    def resubmit(
        self, items: Collection[Kept], status: Status, *, insist: bool = False
    ) -> None:
        """
        Send what was never written another way, or report it.

        :param items: In order.
        :param status: Why those ended for which there is no other way.
        :param insist: Whether they are taken whatever waits there: they have waited long enough.
        """
        for item in items:
            if (refused := self._resubmit(item, status, insist=insist)) is not None:
                self.lost((item,), refused)

    def _resubmit(self, item: Kept, reason: Status, *, insist: bool) -> Status | None:
        """Give an item to its next hop, or to the upstream if that is leaving; else say why not."""
        if isinstance(item, Routed | Spread):
            return reason
        target, (came_from, exclude, no_upstream) = item.target, conditions_of(item)
        hop = self.way_to(target, came_from=came_from, exclude=exclude, no_upstream=no_upstream)
        if hop is Status.LOOP and came_from is not None:
            hop = self.stragglers.former_way(target, came_from, no_upstream=no_upstream)
        if isinstance(hop, Status):
            return reason
        status = hop.insist(item) if insist else hop.submit(item)
        if status in _LEAVING:
            second = self.alternative(target, hop, came_from, no_upstream=no_upstream)
            if second is not None and second.bus_id not in exclude:
                status = second.submit(item)
        return reason if status in _LEAVING else status

    def _is_told(self, item: Relayed) -> bool:
        """Tell whether the origin of a fragment was told of its message when another one ended."""
        flow = (item.source, item.target, item.epoch)
        return item.type == _FRAGMENT and self._give_up(flow, item.first_sequence)
