"""
Publications on their way to and from neighbors (wire protocol, 7.20).

One PUBLISH frame carries one publication, or several on one subject that were published at once, or
a piece of one that is longer than a frame; its next node puts it together before it passes it on.
A frame is discharged as soon as it has arrived: nobody is told what becomes of a publication, so a
slow branch holds up nobody before it. What a neighbor is too slow for it misses; it is named and
counted. A neighbor of this process is given the objects themselves, beside the head of the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import attrs

from atbus import limits
from atbus.errors import RemoteProtocolError, Status
from atbus.node.context import Alarm
from atbus.node.endpoint import Endpoint
from atbus.node.outbox import Spread
from atbus.node.publication import Passing, Publication, PublicationRun
from atbus.node.publish_frames import (
    HANDED_BACK,
    OVERHEAD_BYTES,
    QUEUES_ONLY,
    cuts,
    flags_of,
    names_bytes,
    passing_of,
)
from atbus.node.publishing import Publishing
from atbus.routing.fragments import Lost, Reassembly, Whole, split
from atbus.routing.table import Position
from atbus.wire import codec
from atbus.wire.extras import (
    counted_extra,
    header_size_extra,
    piece_extra,
    read_header_size,
    read_piece,
    tally_extra,
    zone_extra,
)
from atbus.wire.loose import Frame, LoosePublication, joined
from atbus.wire.messages import Capability, DataResponse, Publish, Tally

if TYPE_CHECKING:
    from atbus.node.beyond import Foreign
    from atbus.node.context import Context
    from atbus.node.link import Link
    from atbus.node.traffic import Traffic
    from atbus.wire.head import Head
    from atbus.wire.messages import Message

_Made: TypeAlias = bytes | LoosePublication


class Spreading:
    """
    The frames of publications.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    """

    def __init__(
        self,
        context: Context,
        endpoints: dict[int, Endpoint],
        traffic: Traffic,
        publishing: Publishing,
    ) -> None:
        self._context = context
        self._endpoints = endpoints
        self._traffic = traffic
        self._publishing = publishing
        #: Neighbors that are no nodes, shared with `atbus.node.beyond`, and gates before those
        #: that are (`atbus.node.gates`).
        self.foreign: dict[int, Foreign] = {}
        # Neighbors that have missed something and have not taken anything since.
        self._slow: set[int] = set()
        # The last frame that was made, and what of, for the next branch.
        self._made: tuple[object, ...] = ()
        self._made_frames: list[_Made] = []
        self._reassembly = Reassembly(
            0,
            source_bytes_max=0,
            message_bytes_max=0,
            count_max=limits.REASSEMBLY_COUNT_MAX,
            seconds=limits.REASSEMBLY_SECONDS,
        )
        self._alarm = Alarm(context.timers, self._expire)
        self.reconfigure()

    def reconfigure(self) -> None:
        """Put together as long publications as the configuration allows now."""
        config = self._context.config
        self._reassembly.resize(config.message_bytes_max, config.queued_bytes_node)

    # To neighbors.

    def may_have(self, neighbor: int, subject: tuple[str, ...]) -> bool:
        """
        Tell whether a neighbor may get what is published on a subject.

        :param subject: Its tokens.
        """
        foreign = self.foreign.get(neighbor)
        if foreign is not None:
            return foreign.may_have(".".join(subject))
        return self.allows(neighbor, subject)

    def allows(self, neighbor: int, subject: tuple[str, ...]) -> bool:
        """Tell whether a node has the right to get what is published on a subject."""
        rights = self._context.rights
        return rights is None or rights.refuses_delivery(rights.who(neighbor), subject) is None

    def send(self, publication: Publication, passing: Passing, neighbor: int) -> None:
        """
        Send a publication to a neighbor that has told of its interest.

        :param passing: What it is to bring along.
        """
        foreign = self.foreign.get(neighbor)
        if foreign is not None:
            foreign.take(publication, passing)
        else:
            self.pass_on(publication, passing, neighbor)

    def pass_on(self, publication: Publication, passing: Passing, neighbor: int) -> None:
        """Send a publication to a neighbor that is a node; nothing stands in its way."""
        endpoint = self._endpoints.get(neighbor)
        if endpoint is None:
            self._publishing.dropped(Status.NOT_CONNECTED)
        elif not self.allows(neighbor, tuple(publication.subject.split("."))):
            # An answer on its way back to who asked.
            self._publishing.dropped(Status.NO_RIGHT)
        else:
            self._submit(endpoint, publication, passing, 0)

    def send_run(self, run: PublicationRun, passing: Passing, neighbor: int) -> None:
        """
        Send publications to a neighbor that has told of its interest, in few frames.

        :param passing: What each of them is to bring along.
        """
        foreign = self.foreign.get(neighbor)
        if foreign is not None:
            for publication in run.publications:
                foreign.take(publication, passing)
            return
        endpoint = self._endpoints.get(neighbor)
        if endpoint is None:
            self._publishing.dropped(Status.NOT_CONNECTED, len(run))
            return
        room = endpoint.frame_bytes_max - OVERHEAD_BYTES - names_bytes(passing, run.subject)
        for start, stop in cuts(run.payloads, room):
            if stop - start == 1:
                self._submit(endpoint, run.publications[start], passing, 0)
                continue
            frame = self._frame(run, start, stop, passing, endpoint)
            item = Spread(frame, passing.hop_limit, size_bytes=len(frame))
            self._taken(endpoint, endpoint.submit(item), passing, stop - start, len(frame))

    def _frame(
        self, run: PublicationRun, start: int, stop: int, passing: Passing, endpoint: Endpoint
    ) -> _Made:
        """Make one frame of some of a run, or take that of the branch before."""
        is_loose = _takes_objects(endpoint)
        key = (run, passing.served, start, endpoint.frame_bytes_max, is_loose)
        if self._made == key and self._made[0] is run:
            return self._made_frames[0]
        message = Publish(
            source=run.source,
            sequence=run.sequence + start,
            epoch=passing.epoch,
            hop_limit=passing.hop_limit,
            subject=run.subject,
            served=passing.served,
            messages=tuple([(run.kind, payload) for payload in run.payloads[start:stop]]),
        )
        frame = LoosePublication.of(message) if is_loose else codec.encode(message)
        self._made, self._made_frames = key, [frame]
        return frame

    def send_to(self, owner: int, publication: Publication, passing: Passing) -> None:
        """Send an answer on the way to the node in whose inbox it belongs."""
        came_from = passing.came_from or None
        hop = self._traffic.hop_to(owner, came_from=came_from)
        if hop is Status.LOOP:
            hop = self._traffic.stragglers.former_way(owner, passing.came_from)
        if isinstance(hop, Status):
            self._publishing.dropped(hop)
        elif not hop.peer.capabilities & Capability.SUBJECTS:
            self._publishing.dropped(Status.NO_ROUTE)
        else:
            self._submit(hop, publication, passing, owner)

    def _submit(
        self, endpoint: Endpoint, publication: Publication, passing: Passing, owner: int
    ) -> None:
        if passing.tally is not None and not _counts(endpoint):
            # It would tell the source, which counts others.
            passing = attrs.evolve(passing, is_sole=False, tally=None)
        frames = self._frames(publication, passing, owner, endpoint)
        items = [Spread(frame, passing.hop_limit, size_bytes=len(frame)) for frame in frames]
        size_bytes = sum(map(len, frames))
        self._taken(endpoint, endpoint.submit_all(items), passing, 1, size_bytes)

    def _taken(
        self,
        endpoint: Endpoint,
        status: Status | None,
        passing: Passing,
        count: int,
        size_bytes: int,
    ) -> None:
        """Count publications that a link has taken, or has not, and name who is slow."""
        statistics = self._context.statistics
        if status is None:
            endpoint.out_publications += count
            endpoint.out_publication_bytes += size_bytes
            if passing.came_from:
                statistics.publications_forwarded += count
            self._slow.discard(endpoint.bus_id)
            return
        self._publishing.dropped(status, count)
        if status is Status.BUFFER_LIMIT and endpoint.bus_id not in self._slow:
            self._slow.add(endpoint.bus_id)
            statistics.slow_endpoints += 1
            link = endpoint.open_link
            queued = endpoint.pending.queued_bytes if link is None else link.queued_bytes
            self._context.events.on_slow_endpoint(endpoint, queued)

    def _frames(
        self, publication: Publication, passing: Passing, owner: int, endpoint: Endpoint
    ) -> list[_Made]:
        """Make the frames of a publication, or take those of the branch before."""
        flags, frame_bytes_max = flags_of(passing), endpoint.frame_bytes_max
        is_loose, tally = _takes_objects(endpoint), passing.tally
        can = bool(endpoint.peer.capabilities & Capability.ZONES)
        zone = passing.zone if can and passing.queues else ""
        counted = passing.counted
        brought = (passing.queues, passing.served, flags, zone, counted, tally)
        key = (publication, brought, frame_bytes_max, is_loose)
        if self._made == key and self._made[0] is publication:
            return self._made_frames
        headers, size_bytes = publication.header_block, publication.size_bytes
        extras = (header_size_extra(len(headers)),) if headers else ()
        extras = (*extras, zone_extra(zone)) if zone else extras
        extras = (*extras, counted_extra(counted)) if counted else extras
        if tally is not None:
            extras = (*extras, tally_extra(tally))
        names = (publication.subject, publication.reply_to)
        room = frame_bytes_max - OVERHEAD_BYTES - names_bytes(passing, *names)
        whole = size_bytes <= room
        pieces: list[tuple[int, bytes | memoryview]]
        if whole and is_loose:
            pieces = [(0, publication.payload)]
        elif whole:
            pieces = [(0, headers + publication.payload)]
        else:
            # Without headers these are views of the payload itself.
            pieces = list(split(headers + publication.payload, room))
        made: list[_Made] = []
        for at, piece in pieces:
            message = Publish(
                source=publication.source,
                destination=owner,
                sequence=publication.sequence,
                epoch=passing.epoch,
                hop_limit=passing.hop_limit,
                flags=flags,
                extras=extras if whole else (*extras, piece_extra(at, size_bytes)),
                subject=publication.subject,
                reply_to=publication.reply_to,
                queues=passing.queues,
                served=passing.served,
                # Also a view of a payload is copied when its frame is made, if one is made.
                messages=((publication.kind, cast("bytes", piece)),),
            )
            if is_loose:
                made.append(LoosePublication.of(message, headers if whole else b""))
            else:
                made.append(codec.encode(message))
        self._made, self._made_frames = key, made
        return made

    def believer(self, publication: Publication) -> int | None:
        """
        Name the only neighbor above or beside us that believes what was handed back to us.

        :returns: The one towards the source, which has entrusted us with it; 0 when there is none,
            None when all do, because the source is here or below.
        """
        hop = self._traffic.hop_to(publication.source)
        if isinstance(hop, Status):
            return None if hop is Status.OK else 0
        return None if hop.position is Position.DOWNSTREAM else hop.bus_id

    def counts(self, neighbor: int) -> bool:
        """Tell whether a neighbor can be named another one to tell that nobody has a question."""
        endpoint = self._endpoints.get(neighbor)
        return endpoint is not None and neighbor not in self.foreign and _counts(endpoint)

    def tell_nobody(self, tally: Tally) -> None:
        """Tell another node that counts that nobody has got a question."""
        node, epoch, number = tally
        self._traffic.respond(None, node, 0, number, 1, epoch, Status.NO_RESPONDERS)

    # From neighbors.

    def publish_received(self, link: Link, frame: Frame, head: Head) -> None:
        """Take a PUBLISH frame when it is known that its neighbor may bring it, or may not."""
        lets_wait = self._traffic.verifier.lets_wait
        if self._is_returned(head) or not lets_wait(link, frame, head, self._read, self._read):
            self._read(link, frame, head)

    def _read(self, link: Link, frame: Frame, head: Head) -> None:
        headers: bytes | None = None
        if isinstance(frame, LoosePublication):
            message: Message | None = frame.message
            headers = frame.header_block or None
        else:
            message = link.read(joined(frame), head)
        if not isinstance(message, Publish):
            return
        link.discharge(head[9])
        endpoint = link.connection.endpoint
        if endpoint is None or endpoint.temporary:
            self._publishing.dropped(Status.NOT_REGISTERED, head[10])
            return
        if not (self._is_returned(head) or self._traffic.vouches(link, message.source)):
            self._publishing.dropped(Status.SOURCE_REFUSED, head[10])
            return
        endpoint.in_publication_bytes += len(frame)
        try:
            headers_bytes = read_header_size(message.extras)
            piece = read_piece(message.extras)
            passing = passing_of(endpoint.bus_id, message)
        except RemoteProtocolError as error:
            link.unreadable(head, error)
            return
        if len(message.messages) > 1 and self._is_run(message, headers_bytes, piece):
            self._run_arrived(endpoint, message, passing)
            return
        for place, (kind, body) in enumerate(message.messages):
            whole: bytes | None = body
            if piece is not None:
                whole = self._reassemble(endpoint.bus_id, message, piece, kind, body)
            if whole is None:
                continue
            if headers is not None:
                self._arrived(endpoint, message, passing, place, kind, whole, headers)
            elif headers_bytes > len(whole):
                self._publishing.dropped(Status.MESSAGE_TOO_LARGE)
            else:
                payload = whole[headers_bytes:] if headers_bytes else whole
                header = whole[:headers_bytes]
                self._arrived(endpoint, message, passing, place, kind, payload, header)

    def _is_run(
        self, message: Publish, headers_bytes: int, piece: tuple[int, int] | None
    ) -> bool:
        """Tell whether the publications of a frame differ in their payloads only."""
        kind = message.messages[0][0]
        return (
            not message.reply_to
            and not headers_bytes
            and piece is None
            and all(each == kind for each, _ in message.messages)
        )

    def _run_arrived(self, endpoint: Endpoint, message: Publish, passing: Passing) -> None:
        config = self._context.config
        payloads = [payload for _, payload in message.messages]
        if max(map(len, payloads)) > config.message_bytes_max:
            self._publishing.dropped(Status.MESSAGE_TOO_LARGE, len(payloads))
            return
        endpoint.in_publications += len(payloads)
        run = PublicationRun(
            message.subject,
            payloads,
            message.messages[0][0],
            message.source,
            message.sequence,
            hops=max(0, config.hops - message.hop_limit),
        )
        self._publishing.run_arrived(run, passing)

    def _is_returned(self, head: Head) -> bool:
        """Tell whether a neighbor gives a publication back that was given to it."""
        return bool(head[2] & HANDED_BACK) and self._publishing.has_entrusted(
            head[5], head[8], head[7]
        )

    def _arrived(
        self,
        endpoint: Endpoint,
        message: Publish,
        passing: Passing,
        place: int,
        kind: int,
        payload: bytes,
        headers: bytes,
    ) -> None:
        context = self._context
        if len(payload) + len(headers) > context.config.message_bytes_max:
            self._publishing.dropped(Status.MESSAGE_TOO_LARGE)
            return
        endpoint.in_publications += 1
        publication = Publication(
            message.subject,
            payload,
            message.reply_to,
            headers,
            kind,
            message.source,
            message.sequence + place,
            None,
            max(0, context.config.hops - message.hop_limit),
        )
        self._publishing.arrived(publication, passing)

    def _reassemble(
        self, neighbor: int, message: Publish, piece: tuple[int, int], kind: int, body: bytes
    ) -> bytes | None:
        """Put a publication together; None while it is not whole."""
        way = message.flags & (QUEUES_ONLY | HANDED_BACK)
        offset, total = piece
        try:
            outcomes = self._reassembly.add(
                (neighbor, message.source, message.epoch << 8 | way),
                message.sequence,
                offset=offset,
                total=total,
                kind=kind,
                payload=body,
                now=self._context.now,
            )
        except RemoteProtocolError:
            self._publishing.dropped(Status.FRAGMENT_LOST)
            return None
        self._alarm.set(self._reassembly.deadline)
        whole = None
        for outcome in outcomes:
            match outcome:
                case Whole(payload=payload):
                    whole = payload
                case Lost(status=status):
                    self._publishing.dropped(status)
        return whole

    def _expire(self) -> None:
        for outcome in self._reassembly.expire(self._context.now):
            if isinstance(outcome, Lost):
                self._publishing.dropped(outcome.status)
        self._alarm.set(self._reassembly.deadline)

    def response_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take the news that nobody has got what this node counts; others are for messages."""
        context = self._context
        is_ours = head[6] == context.bus_id
        if not is_ours or frame[limits.FRAME_HEAD_BYTES + head[11] :][:8] != bytes(8):
            self._traffic.response_received(link, frame, head)
            return
        if (message := link.read(frame, head)) is None:
            return
        link.discharge(head[9])
        if (
            isinstance(message, DataResponse)
            and self._traffic.vouches(link, head[5])
            and context.is_own_epoch(message.origin_epoch)
            and message.status is Status.NO_RESPONDERS
        ):
            self._publishing.counting.said(message.first_sequence, head[5])

    # The end.

    def removed(self, endpoint: Endpoint) -> None:
        """Forget a neighbor that is gone."""
        self._slow.discard(endpoint.bus_id)
        self._reassembly.forget(endpoint.bus_id)

    def close(self) -> None:
        """Let go of everything that is half here."""
        self._alarm.set(None)
        self._made, self._made_frames = (), []


def _takes_objects(endpoint: Endpoint) -> bool:
    """Tell whether what goes to a neighbor now goes through memory, as it is."""
    link = endpoint.open_link
    return link is not None and link.sluice.takes_runs


def _counts(endpoint: Endpoint) -> bool:
    return bool(endpoint.peer.capabilities & Capability.TALLIES)
