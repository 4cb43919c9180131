"""
Responses, commands and the answers to flushes: taken to their nodes over control connections.

Each is kept as a frame until the next hop acknowledges it. When the link dies before, *news* -
what must not get lost, and what does no harm when it arrives twice - go another way; when there is
no way at the moment they are parked for a while. A request that has no way is refused instead, as
who sent it waits for the answer and is told; but it is parked while its target is dialled.

What is kept has a budget (`atbus.node.owed`). What would be more is refused, or dropped if it is an
answer; who is to get that is not read for a while, for it asks for more than it acknowledges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from atbus import limits
from atbus.errors import RemoteProtocolError, Status
from atbus.node import bounds
from atbus.node.observing import show_dropped
from atbus.node.outbox import Custody, Routed
from atbus.wire import codec
from atbus.wire.head import Head
from atbus.wire.messages import CommandResponse, DataResponse, MessageType, Mode

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.link import Link
    from atbus.node.owed import Owed
    from atbus.node.traffic import Traffic

#: What must not get lost, does no harm when it arrives twice, and is answered by nothing.
NEWS: Final = frozenset(
    {MessageType.DATA_RESPONSE, MessageType.COMMAND_RESPONSE, MessageType.FLUSH_ACK}
)

# What is said to the neighbor that has brought a frame, whoever its source is.
_TOLD_TO_THE_BRINGER = frozenset({Status.SOURCE_REFUSED, Status.NOT_REGISTERED})
# Where the status of a response stands behind its extras.
_STATUS_AT = {MessageType.DATA_RESPONSE: 32, MessageType.COMMAND_RESPONSE: 0}


def _status_in(frame: bytes, head: Head) -> int:
    place = limits.FRAME_HEAD_BYTES + head[11] + _STATUS_AT[MessageType(head[1])]
    return int.from_bytes(frame[place : place + 2], "little")


def _read_response(frame: bytes) -> DataResponse | CommandResponse | None:
    try:
        message = codec.decode(frame)
    except RemoteProtocolError:
        return None
    return message if isinstance(message, DataResponse | CommandResponse) else None


@attrs.frozen
class _Parked:
    """Something without a way at the moment."""

    item: Routed
    until: float


class Courier:
    """
    Carry what is not data.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    :param traffic: Knows the next hop, and who may speak for whom.
    """

    def __init__(self, context: Context, endpoints: dict[int, Endpoint], traffic: Traffic) -> None:
        self._context = context
        self._endpoints = endpoints
        self._traffic = traffic
        self._parked: list[_Parked] = []
        self._parked_bytes = 0
        self._retry_asked = False
        # Set by the node, which wires its parts.
        self.command_lost: Callable[[Routed, Status], None]
        #: Has nothing read for a while of who is at the other end of a link.
        self.hold: Callable[[Link], None]
        #: Has a target without a way dialled, if it may be; tells whether it is.
        self.is_dialled: Callable[[Routed], bool] = lambda _: False

    def route(self, item: Routed) -> Status | None:
        """
        Send something on its way, never back to where it came from.

        :returns: None when it was taken, or is parked, else why a request has no way.
        """
        status = self._try_route(item)
        is_news = item.type in NEWS
        if status is None or not (is_news or self._is_prospective(item, status)):
            return status
        if not item.may_wait or not self._has_place(item):
            if not is_news:
                return status
            self.drop(item)
            return None
        until = self._context.now + limits.PARKED_RESPONSE_SECONDS
        self._parked.append(_Parked(item, until))
        self._parked_bytes += item.size_bytes
        return None

    def _has_place(self, item: Routed) -> bool:
        """Tell whether one more may be parked."""
        if len(self._parked) >= limits.PARKED_RESPONSES_MAX:
            return False
        return self._parked_bytes + item.size_bytes <= bounds.PARKED_BYTES

    def _is_prospective(self, item: Routed, status: Status) -> bool:
        """Tell whether a request that has no way will have one soon, and may wait for that."""
        return (
            item.type == MessageType.COMMAND_REQUEST
            and status is Status.NO_ROUTE
            and self.is_dialled(item)
            and self._context.config.pending_policy == "hold"
        )

    def _try_route(self, item: Routed) -> Status | None:
        hop = self._hop_of(item)
        if hop is Status.LOOP and self._traffic.stragglers.was_here(item.destination):
            return self._send_back(item)
        if isinstance(hop, Status):
            return Status.NO_ROUTE if hop is Status.OK else hop
        link = hop.control_link
        if link is None or link.closed:
            return Status.NOT_CONNECTED
        if item.size_bytes > link.frame_bytes_max:
            item.may_wait = False
            return Status.MESSAGE_TOO_LARGE
        return self.hand(link, item)

    def _send_back(self, item: Routed) -> Status | None:
        """
        Send an answer for a node that has left us back to who has brought it.

        In our own name, for it does not take from us what others say that are behind it.
        """
        response = _read_response(item.frame)
        bringer = self._endpoints.get(item.came_from or 0)
        back = None if bringer is None else bringer.control_link
        if response is None or back is None:
            return Status.LOOP
        context = self._context
        ours = attrs.evolve(
            response, source=context.bus_id, epoch=context.epoch, hop_limit=item.hop_limit
        )
        return self.hand(back, Routed.of(ours, item.custody))

    def hand(self, link: Link, item: Routed) -> Status | None:
        """
        Queue something on a link, if there is room for it.

        :returns: None when it was taken, else why it was not.
        """
        if item.size_bytes > link.room and not link.has_room_for_answer(item.size_bytes):
            return Status.BUFFER_LIMIT
        is_last = item.destination == link.connection.bus_id
        item.debtor = debtor = self._debtor_of(link, item)
        has_room = link.owed.has_room_for_word(item.size_bytes)
        if not has_room or not (debtor is None or debtor.has_room_to_pass(item)):
            item.may_wait = False
            if is_last and item.type in NEWS:
                # It has asked for this itself.
                self.hold(link)
            return Status.OVERLOADED
        link.put(item)
        return None

    def _debtor_of(self, link: Link, item: Routed) -> Owed | None:
        """
        Tell because of which neighbor something is kept that others say, or are to answer.

        What comes from further away, or goes there, has a bound at the one behind whom that is.
        """
        if item.came_from is None and not item.refuses_passing:
            return None
        if item.type in NEWS:
            return link.owed if item.destination == link.connection.bus_id else None
        asker = self._endpoints.get(item.source) if item.source == item.came_from else None
        back = None if asker is None else asker.control_link
        return None if back is None else back.owed

    def takes_all(self, items: Sequence[Routed]) -> bool:
        """Tell whether all parts of an answer may be kept on the way that they go."""
        hop = self._hop_of(items[0])
        link = None if isinstance(hop, Status) else hop.control_link
        return link is None or link.owed.takes(items)

    def _hop_of(self, item: Routed) -> Endpoint | Status:
        if self._context.mode is Mode.TEMPORARY:
            # The one node that we are registered with asks in our stead.
            return next(iter(self._endpoints.values()), Status.NOT_CONNECTED)
        target = item.destination
        direct = self._endpoints.get(target)
        if direct is not None and direct.control_link is not None and target != item.came_from:
            # Whether data may take this way is no matter.
            return direct
        hop = self._traffic.hop_to(target, came_from=item.came_from)
        if hop is Status.LOOP and item.came_from is not None:
            return self._traffic.stragglers.former_way(target, item.came_from)
        return hop

    def forward(self, link: Link, frame: bytes, head: Head) -> Status | None:
        """
        Pass a routed frame on by its head alone, known or not.

        :returns: None when it was taken; it is then discharged when the next hop has it. Else
            why it was not, and it is still to be answered or discharged.
        """
        source = head[5]
        if not self._traffic.vouches(link, source):
            return Status.SOURCE_REFUSED
        rights = self._context.rights
        if rights is not None and rights.refuses_passing(head[1], source) is not None:
            return Status.NO_RIGHT
        if head[3] <= 1:
            return Status.HOP_LIMIT
        return self.route(
            Routed(
                frame=frame,
                type=head[1],
                source=source,
                destination=head[6],
                sequence=head[7],
                hop_limit=head[3] - 1,
                custody=Custody(link, head[9]),
                came_from=link.connection.bus_id,
            )
        )

    def pass_on(self, link: Link, frame: bytes, head: Head) -> None:
        """Forward something of which nobody is told when it has no way; it is counted."""
        if self.forward(link, frame, head) is not None:
            self._count_dropped(frame)
            link.discharge(head[9])

    def pass_on_response(self, link: Link, frame: bytes, head: Head) -> None:
        """
        Pass on what became of something; that we were not believed we say in our own name.

        Who refuses a source tells it to whom it got the frame from, that is us, and perhaps it is
        nobody from whom those we got it from take anything.
        """
        response = None
        if head[5] == link.connection.bus_id and _status_in(frame, head) in _TOLD_TO_THE_BRINGER:
            response = _read_response(frame)
        if response is None:
            self.pass_on(link, frame, head)
            return
        context = self._context
        ours = attrs.evolve(
            response, source=context.bus_id, epoch=context.epoch, hop_limit=context.config.hops
        )
        item = Routed.of(ours, Custody(link, head[9]))
        item.came_from = link.connection.bus_id
        self.route(item)

    def give_back(self, link: Link, item: Routed) -> None:
        """Give an answer to the neighbor that has brought the question, whoever asks it."""
        endpoint = link.connection.endpoint
        back = None if endpoint is None else endpoint.control_link
        status = Status.NO_ROUTE if back is None else self.hand(back, item)
        if status is not None:
            self.drop(item)
        if back is not None and status is Status.OVERLOADED:
            # It brings more of what is not believed than it acknowledges refusals of.
            self.hold(back)

    def pass_on_unknown(self, link: Link, frame: bytes, head: Head) -> None:
        """Forward something that we do not know; its source is told when it has no way."""
        if head[6] == self._context.bus_id:
            self._traffic.refuse(link, head, Status.UNKNOWN_MANDATORY)
            return
        status = self.forward(link, frame, head)
        if status is not None:
            self._traffic.refuse(link, head, status)

    def lost(self, item: Routed, status: Status) -> None:
        """Take back what a dead link held: news go another way, a request is answered."""
        if item.type in NEWS:
            self.route(item)
        elif item.type == MessageType.COMMAND_REQUEST:
            self.command_lost(item, status)
        elif item.custody is not None:
            item.custody.discharge()

    def retry_soon(self) -> None:
        """Try all that is parked again, once at the end of this turn however much has changed."""
        if self._parked and not self._retry_asked:
            self._retry_asked = True
            self._context.turn.at_end(self.retry_parked)

    def retry_parked(self) -> None:
        """Try all that is parked again; give up and count those whose time is over."""
        self._retry_asked = False
        now = self._context.now
        parked, self._parked = self._parked, []
        for place in parked:
            status = self._try_route(place.item)
            if status is None:
                continue
            if place.until <= now or not self._may_wait_on(place.item, status):
                self._give_up(place.item, status)
            else:
                self._parked.append(place)
        self._parked_bytes = sum(place.item.size_bytes for place in self._parked)

    def _may_wait_on(self, item: Routed, status: Status) -> bool:
        if item.type in NEWS:
            return item.may_wait
        # Who was dialled is there before there is a way for data to it.
        return status is Status.NOT_CONNECTED or self._is_prospective(item, status)

    def _give_up(self, item: Routed, status: Status) -> None:
        if item.type in NEWS:
            self.drop(item)
        else:
            self.command_lost(item, status)

    def drop(self, item: Routed) -> None:
        """Give up an answer that cannot be kept; that is counted."""
        self._count_dropped(item.frame)
        if item.custody is not None:
            item.custody.discharge()

    def _count_dropped(self, frame: bytes) -> None:
        self._context.statistics.responses_dropped += 1
        show_dropped(self._context.observer, frame)

    def close(self) -> None:
        """Give up what still waits for a way: the node stops."""
        parked, self._parked = self._parked, []
        for place in parked:
            self._give_up(place.item, Status.CLOSING)

    @property
    def parked(self) -> int:
        """How many news and requests wait for a way."""
        return len(self._parked)
