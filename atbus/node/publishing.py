"""
What becomes of a publication at this node, whether it begins here or comes from a neighbor.

Whom it is for is decided in `atbus.subjects.distribution`. This checks what the program says, gives
it to the subscribers here and to the neighbors that are named, and hands back or gives up what
finds nobody. Who asks a question that nobody can answer is told by the last node that knows:

1. A question that nobody has got where it begins is marked as *sole* on each branch that it goes
   to. Further on it stays so while nobody has got it, unless it parts and cannot be counted.
2. Whoever gets such a one and finds nobody says so, in its own name, to the last node that counts
   (`atbus.node.counting`): who asked, or where it has parted since. Of what is lost, given up or
   came before nobody says so; the deadline of who asked ends it. That the interest is gone proves
   nothing: who drains wants nothing more and answers still.
3. A node may be on two branches of another one that counts: it is a peer, and below who is above
   both; or it is tried for a group that somebody has handed back. Such a branch is counted apart.
4. An answer for which there is no interest yet goes back the way that the question came: interest
   and questions travel on two connections, and the question may be first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from atbus import limits
from atbus.errors import LocalProtocolError, Status, SubjectError, Undeliverable
from atbus.node.counting import Counting, Unheard
from atbus.node.publication import Passing, Publication, PublicationRun
from atbus.node.sending import check_kind
from atbus.node.subscribers import Subscribers, Way
from atbus.subjects import bounds
from atbus.subjects.distribution import Branch, Distributor, Incoming
from atbus.subjects.duplicates import Duplicates
from atbus.subjects.entrusted import Entrusted, Errand
from atbus.subjects.interest import HERE
from atbus.subjects.pattern import inbox_owner

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.sending import Sender
    from atbus.node.spreading import Spreading
    from atbus.wire.messages import Tally


class Publishing:
    """
    Publish, and pass on.

    :param sender: Knows why nothing may be published now, if that is so.
    """

    def __init__(
        self,
        context: Context,
        subscribers: Subscribers,
        distributor: Distributor,
        sender: Sender,
    ) -> None:
        # Set by the node, which wires its parts: the way to neighbors, ...
        self.spreading: Spreading
        # ... and who takes what comes to an inbox of this node.
        self.to_inbox: Callable[[Publication], bool]
        #: How many publications began here.
        self.sequence = 0
        self._context = context
        self._subscribers = subscribers
        self._distributor = distributor
        self._sender = sender
        self._seconds = context.timers.seconds
        self._bytes_max = context.config.message_bytes_max
        self._duplicates = Duplicates()
        # Those that went on with groups to serve, so that nobody hands back what he made up.
        self._entrusted = Entrusted()
        self.has_entrusted = self._entrusted.knows
        # By the reply subject of a question: which neighbor it came from.
        self._askers: OrderedDict[str, int] = OrderedDict()
        #: Who has not got the questions that begin here, or part here.
        self.counting = Counting(context)

    def reconfigure(self) -> None:
        """Publish as many bytes at once as the configuration allows now."""
        self._bytes_max = self._context.config.message_bytes_max

    def publish(
        self,
        subject: str,
        payload: bytes,
        kind: int = 0,
        *,
        reply_to: str = "",
        header_block: bytes = b"",
        origin: object = None,
        unheard: Unheard | None = None,
        literal: bool = False,
        is_answer: bool = False,
    ) -> int:
        """
        Publish once; see `Node.publish`.

        :param header_block: As it travels.
        :param is_answer: Whether somebody waits for it: then it may leave also while we stop.
        :returns: Its sequence.
        :raises SubjectError: One of the subjects is none.
        :raises LocalProtocolError: The payload or the kind is none.
        :raises Undeliverable: It was not accepted.
        """
        subscribers, context = self._subscribers, self._context
        way = subscribers.way(subject, literal=literal)
        if reply_to:
            # The answer will ask for it as well.
            subscribers.way(reply_to, literal=literal)
        if type(payload) is not bytes:
            payload = _as_bytes(payload)
        bus_id = context.bus_id
        size_bytes = len(payload) + len(header_block)
        if self._sender.refusal is not None or not bus_id or kind or size_bytes > self._bytes_max:
            self._check(size_bytes, kind, is_answer=is_answer)
        if context.rights is not None:
            self._check_rights(way)
        self.sequence = sequence = self.sequence + 1
        publication = Publication(
            subject, payload, reply_to, header_block, kind, bus_id, sequence, origin
        )
        context.statistics.published_messages += 1
        if subscribers.delivering:
            subscribers.later(lambda: self._go(publication, unheard, literal))
        else:
            self._go_by(way, publication, unheard)
            subscribers.run_later()
        return sequence

    def publish_many(
        self,
        subject: str,
        payloads: Sequence[bytes],
        kind: int = 0,
        *,
        origin: object = None,
        literal: bool = False,
    ) -> int:
        """
        Publish several times on one subject; see `Node.publish_many`.

        :returns: The sequence of the first one.
        :raises SubjectError: The subject is none.
        :raises LocalProtocolError: A payload or the kind is none.
        :raises Undeliverable: They were not accepted.
        """
        subscribers, context = self._subscribers, self._context
        way = subscribers.way(subject, literal=literal)
        if not isinstance(payloads, Iterable):
            raise LocalProtocolError(f"{payloads!r:.60} is not a sequence of payloads")
        payloads = [each if type(each) is bytes else _as_bytes(each) for each in payloads]
        self._check(max(map(len, payloads), default=0), kind, is_answer=False)
        if context.rights is not None:
            self._check_rights(way)
        first = self.sequence + 1
        if not payloads:
            return first
        self.sequence += len(payloads)
        context.statistics.published_messages += len(payloads)
        run = PublicationRun(subject, payloads, kind, context.bus_id, first, origin)
        if subscribers.delivering:
            subscribers.later(lambda: self._go_all(run, literal))
        else:
            self._go_all(run, literal)
            subscribers.run_later()
        return first

    def _check(self, size_bytes: int, kind: int, *, is_answer: bool) -> None:
        refusal = self._sender.refusal
        if refusal is not None and not (is_answer and refusal is Status.CLOSING):
            raise self._refused(refusal)
        if not self._context.bus_id:
            raise self._refused(Status.NOT_REGISTERED, "a node without id publishes nothing")
        if size_bytes > self._bytes_max:
            raise self._refused(
                Status.MESSAGE_TOO_LARGE, f"{size_bytes} bytes, the limit is {self._bytes_max}"
            )
        check_kind(kind)

    def _check_rights(self, way: Way) -> None:
        refusal = self._lacks_right(self._context.bus_id, way)
        if refusal is not None:
            raise self._refused(Status.NO_RIGHT, refusal)

    def _lacks_right(self, source: int, way: Way) -> str | None:
        """Say why a node may not publish; answers to who asked are free."""
        rights = self._context.rights
        if rights is None or way.owner:
            return None
        return rights.refuses_publication(rights.who(source), way.tokens)

    def _refused(self, status: Status, detail: str = "") -> Undeliverable:
        self.dropped(status)
        return Undeliverable(status, 0, 0, self._context.bus_id, detail)

    def dropped(self, status: Status, count: int = 1) -> None:
        """Count publications that somebody does not get."""
        self._context.statistics.publications_dropped[status] += count

    def answer(self, publication: Publication, payload: bytes) -> None:
        """Publish what a subscriber has returned to who asked, if anybody did."""
        if publication.reply_to:
            self.publish(publication.reply_to, payload, literal=True, is_answer=True)

    # On its way.

    def _go(self, publication: Publication, unheard: Unheard | None, literal: bool) -> None:
        """Go on with a publication that waited for a callback; its way may be another now."""
        way = self._subscribers.way(publication.subject, literal=literal)
        self._go_by(way, publication, unheard)

    def _go_by(self, way: Way, publication: Publication, unheard: Unheard | None) -> None:
        context = self._context
        started = self._seconds()
        if way.is_simple and way.plain:
            heard = self._subscribers.deliver(publication, way.plain)
            if not heard and unheard is not None:
                # All who are interested have refused it.
                self.dropped(Status.NO_RESPONDERS)
                self.counting.call(unheard)
        else:
            passing = Passing(epoch=context.epoch, hop_limit=context.config.hops)
            if unheard is not None:
                self.counting.ask(publication.sequence, unheard)
            branches = self._spread(way, publication, passing)
            if unheard is not None:
                self.counting.asked(publication.sequence, branches)
        spent = self._seconds() - started
        if spent > limits.LAG_SECONDS:
            context.events.on_lag(spent, f"subscribers of {publication.subject}")

    def _go_all(self, run: PublicationRun, literal: bool) -> None:
        """Go on with a run: all at once where nothing has to be asked for each of them."""
        context = self._context
        way = self._subscribers.way(run.subject, literal=literal)
        started = context.now
        passing = Passing(epoch=context.epoch, hop_limit=context.config.hops)
        self._spread_run(way, run, passing)
        spent = context.now - started
        if spent > limits.LAG_SECONDS:
            context.events.on_lag(spent, f"subscribers of {run.subject}")

    def run_arrived(self, run: PublicationRun, passing: Passing) -> None:
        """Take publications that came from a neighbor in one frame."""
        if self._subscribers.delivering:
            self._subscribers.later(lambda: self._take_all(run, passing))
        else:
            self._take_all(run, passing)
            self._subscribers.run_later()

    def _take_all(self, run: PublicationRun, passing: Passing) -> None:
        way: Way | None
        try:
            way = self._subscribers.way(run.subject, literal=True)
        except SubjectError:
            way = None
        is_plain = not (passing.queues or passing.queues_only or passing.handed_back)
        if way is None or way.owner or not is_plain:
            for publication in run.publications:
                self._take(publication, passing)
        elif self._lacks_right(run.source, way) is not None:
            self.dropped(Status.NO_RIGHT, len(run))
        elif self._are_all_new(run, passing):
            self._spread_run(way, run, passing)
        else:
            for publication in run.publications:
                self._take(publication, passing)

    def _are_all_new(self, run: PublicationRun, passing: Passing) -> bool:
        """Note a run when nothing of it came before; if something did, nothing is noted."""
        return run.source != self._context.bus_id and self._duplicates.are_new(
            run.source, passing.epoch, run.sequence, len(run)
        )

    def _spread_run(self, way: Way, run: PublicationRun, passing: Passing) -> None:
        """Give publications to everybody they are for, all at once unless groups share them."""
        if way.is_simple and way.plain:
            self._subscribers.deliver_run(run, way.plain)
            return
        if way.owner or not self._distributor.is_plain(way.tokens):
            self._spread_each(run, passing)
            return
        what = self._distributor.distribute(
            Incoming(
                subject=way.tokens,
                came_from=passing.came_from,
                served=passing.served,
                source=run.source, ours=run.source == self._context.bus_id,
            )
        )
        if what.nobody:
            # Unless they are answers, and who asked is known.
            self._spread_each(run, passing)
            return
        if what.barred:
            self.dropped(Status.NO_RIGHT, what.barred * len(run))
        if what.here:
            self._subscribers.deliver_run(run, way.plain)
        if what.branches and passing.hop_limit <= 0:
            self.dropped(Status.HOP_LIMIT, len(run))
            return
        for branch in what.branches:
            onward = attrs.evolve(passing, served=branch.served, is_sole=False)
            self.spreading.send_run(run, onward, branch.neighbor)

    def _spread_each(self, run: PublicationRun, passing: Passing) -> None:
        for publication in run.publications:
            # After a subscriber had the last one it may be another.
            way = self._subscribers.way(run.subject, literal=True)
            self._spread(way, publication, passing)

    def arrived(self, publication: Publication, passing: Passing) -> None:
        """Take a publication that came from a neighbor."""
        if self._subscribers.delivering:
            self._subscribers.later(lambda: self._take(publication, passing))
        else:
            self._take(publication, passing)
            self._subscribers.run_later()

    def _take(self, publication: Publication, passing: Passing) -> None:
        try:
            way = self._subscribers.way(publication.subject, literal=True)
        except SubjectError:
            self.dropped(Status.MALFORMED_FRAME)
            return
        if self._lacks_right(publication.source, way) is not None:
            self.dropped(Status.NO_RIGHT)
            return
        known = self._recognized(publication, passing)
        if known is None:
            return
        if publication.reply_to and not inbox_owner(publication.reply_to):
            self._remember_asker(publication.reply_to, passing.came_from)
        if way.is_simple and way.plain and not (known.queues or known.queues_only):
            # Nobody else can want it, nor any group.
            self._subscribers.deliver(publication, way.plain)
        elif known.handed_back:
            self._look_further(way, publication, known)
        else:
            self._spread(way, publication, known)

    def _recognized(self, publication: Publication, passing: Passing) -> Passing | None:
        """Leave out what came before; None when nothing is left."""
        source = publication.source
        if passing.begins_here or passing.handed_back or passing.queues_only:
            return passing
        if source != self._context.bus_id and self._duplicates.is_new(
            source, passing.epoch, publication.sequence
        ):
            return passing
        self._context.statistics.publications_repeated += 1
        return attrs.evolve(passing, queues_only=True) if passing.queues else None

    def _remember_asker(self, reply_to: str, neighbor: int) -> None:
        self._askers[reply_to] = neighbor
        self._askers.move_to_end(reply_to)
        if len(self._askers) > bounds.ASKERS_REMEMBERED_MAX:
            self._askers.popitem(last=False)

    def _look_further(self, way: Way, publication: Publication, passing: Passing) -> None:
        """Find others for what has been handed back, or give it to who has entrusted us with it."""
        errand = self._entrusted.back(
            _number(publication, passing),
            passing.queues,
            Errand(passing.came_from, passing.hop_limit, zone=passing.zone),
            ours=publication.source == self._context.bus_id,
        )
        if errand is not None:
            onward = attrs.evolve(passing, hop_limit=errand.hop_limit, zone=errand.zone)
            self._spread(way, publication, onward, errand)
        elif passing.hop_limit > 0:
            self.spreading.send(publication, attrs.evolve(passing, zone=""), passing.came_from)
        else:
            self.dropped(Status.HOP_LIMIT)

    def _spread(
        self, way: Way, publication: Publication, passing: Passing, errand: Errand | None = None
    ) -> int:
        """
        Give a publication to everybody it is for.

        :param errand: From whom we have what is handed back.
        :returns: How many branches will say so when nobody there has got it; 0 when that is no
            matter, because somebody has it, or nobody was found.
        """
        if way.owner:
            self._to_inbox(way.owner, publication, passing)
            return 0
        what = self._distributor.distribute(
            Incoming(
                subject=way.tokens,
                came_from=passing.came_from,
                queues=passing.queues,
                served=passing.served,
                queues_only=passing.queues_only,
                handed_back=passing.handed_back,
                source=publication.source, ours=publication.source == self._context.bus_id,
                absent=way.absent(publication),
                zone=passing.zone,
                only=self.spreading.believer(publication) if passing.handed_back else None,
                counted=passing.counted,
                by=HERE if errand is None else errand.by,
                tried=() if errand is None else errand.tried,
                left=() if errand is None else errand.left,
                far=errand is not None and errand.far,
            )
        )
        if what.barred:
            self.dropped(Status.NO_RIGHT, what.barred)
        heard = self._subscribers.deliver(publication, way.plain) if what.here else 0
        for queue in what.queues_here:
            heard += self._subscribers.deliver_to_one(publication, way.groups[queue])
        branches = [*what.branches]
        if what.unserved:
            # Earlier releases do not take back what was handed back before.
            takes = self.counting.counts
            branches += [each for each in what.back if errand is None or takes(each.neighbor)]
        elif what.nobody:
            branches += self._towards_asker(publication, passing)
        if branches and passing.hop_limit <= 0:
            self.dropped(Status.HOP_LIMIT)
            return 0
        told: dict[int, Tally | None] = {}
        if passing.is_sole and not heard:
            if not branches:
                self._nobody(publication, passing)
                return 0
            told = self.counting.told(publication, passing, [each.neighbor for each in branches])
        for branch in branches:
            self._send(publication, passing, branch, told, errand)
        return len(told)

    def _send(
        self,
        publication: Publication,
        passing: Passing,
        branch: Branch,
        told: dict[int, Tally | None],
        errand: Errand | None,
    ) -> None:
        if errand is None and passing.came_from != HERE:
            errand = Errand(passing.came_from, passing.hop_limit, zone=passing.zone)
        elif errand is not None:
            errand = errand._replace(far=not branch.zone)
        back = errand is not None and branch.neighbor == errand.by
        if branch.queues and not back:
            number = _number(publication, passing)
            self._entrusted.add(number, branch.queues, branch.neighbor, errand)
        onward = Passing(
            came_from=passing.came_from,
            epoch=passing.epoch,
            hop_limit=passing.hop_limit,
            queues=branch.queues,
            served=branch.served,
            queues_only=branch.queues_only,
            handed_back=passing.handed_back or back,
            zone=branch.zone,
            counted=branch.counted,
            is_sole=branch.neighbor in told,
            tally=told.get(branch.neighbor),
        )
        self.spreading.send(publication, onward, branch.neighbor)

    def _towards_asker(self, publication: Publication, passing: Passing) -> list[Branch]:
        """Find the way back to who asked, for an answer that nobody seems to want."""
        neighbor = self._askers.get(publication.subject, HERE)
        if neighbor in (HERE, passing.came_from) or passing.queues_only:
            return []
        return [Branch(neighbor=neighbor)]

    def _to_inbox(self, owner: int, publication: Publication, passing: Passing) -> None:
        """Give an answer to who asked, wherever that is."""
        if owner == self._context.bus_id:
            if not self.to_inbox(publication):
                self._context.statistics.late_frames += 1
        elif passing.hop_limit <= 0:
            self.dropped(Status.HOP_LIMIT)
        else:
            self.spreading.send_to(owner, publication, passing)

    def _nobody(self, publication: Publication, passing: Passing) -> None:
        """Tell who asked that nobody is there."""
        self.dropped(Status.NO_RESPONDERS)
        if publication.reply_to or publication.source == self._context.bus_id:
            self.counting.nobody(passing.told(publication))


def _number(publication: Publication, passing: Passing) -> tuple[int, int, int]:
    return publication.source, passing.epoch, publication.sequence


def _as_bytes(payload: object) -> bytes:
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise LocalProtocolError(f"a payload is bytes, not {type(payload).__name__}")
    return bytes(payload)
