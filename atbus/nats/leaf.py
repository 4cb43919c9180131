"""
Servers of NATS as leafs of a node, and a node as a leaf of theirs: who accepts and who dials.

Of the gateways that are told of the same remote only one serves (`atbus.nats.candidacy`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.nats import bounds
from atbus.nats.candidacy import Candidacy
from atbus.nats.leaf_grammar import write_interest, write_message
from atbus.nats.leaf_session import LOOP_SUBJECTS, LeafSession
from atbus.nats.loops import Loops
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.server_link import ServerLink
from atbus.nats.succession import TAKES_OVER, Succession
from atbus.subjects.interest import Side, Wanted
from atbus.subjects.pattern import OWN_SUBJECTS
from atbus.wire.messages import Interest as Told
from atbus.wire.messages import InterestEntry

if TYPE_CHECKING:
    from atbus.nats.leaf_settings import Remote
    from atbus.nats.leafs import Leafs, Outfit
    from atbus.node.publication import Passing, Publication

#: Why we hang up when it is not our turn any more.
_GIVES_WAY: Final = "another gateway serves"

#: Candidates for a remote are known by the interest in this, its key and their id.
CANDIDATES: Final = f"{OWN_SUBJECTS}.nats.leafs"


# Handovers have the ones before that.
_BARRIERS_BEFORE: Final = -1024


class LeafLink(ServerLink):
    """One connection between leafs."""

    kind = "leaf"
    side = Side.BELOW
    hidden = (LOOP_SUBJECTS,)

    def __init__(
        self,
        leafs: Leafs,
        session: LeafSession,
        tls_context: Any,
        ended: Callable[[str, bool], None] | None = None,
        *,
        number: int,
    ) -> None:
        super().__init__(leafs, session, tls_context, ended)
        self.number = number
        self.session = session
        #: Tells whether another gateway may have been connected to the same server until now.
        self.has_rivals: Callable[[], bool] = lambda: False
        #: Called when it takes part.
        self.joined: Callable[[], object] = lambda: None
        #: Called when a handover is through, and another one may begin.
        self.freed: Callable[[], object] = lambda: None
        self._loops = Loops(self, leafs.timers)
        self._later: list[IDelayedCall] = []
        # What the server has been asked, and who waits for it.
        self._barrier = _BARRIERS_BEFORE
        self._asked: dict[int, Deferred[None]] = {}

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended."""
        self._loops.stop()
        for call in self._later:
            if call.active():
                call.cancel()
        super().connectionLost(reason)

    def told(self, message: Told) -> None:
        """Pass on who wants what, but what finds loops as far as that is put off."""
        entries = self._loops.sift(message.entries)
        if self.handover is not None:
            # The server tells the one gateway what the other one asks it for. So the bus seems to
            # want the answers that are expected, and then no more; but they are still to come.
            entries = [each for each in entries if each.queue or each.subject not in self._expected]
        super().told(attrs.evolve(message, entries=tuple(entries)))

    @property
    def cluster(self) -> int:
        """The number of the cluster of a server that is our leaf; 0 for none."""
        return self.session.cluster

    @property
    def hides_loops(self) -> bool:
        """Whether another gateway is connected for longer than it takes to hear of this one."""
        handover = self.handover
        return handover is not None and (not handover.is_alone or self.has_rivals())

    def tell_loop(self, subject: str) -> None:
        """Tell the server now what finds a loop, if the bus still wants it."""
        if self._place is not None and self._owner.beyond.is_wanted(self._place, subject):
            self._send(self._written(Interest(subject, "", 1)))

    def is_looped(self) -> None:
        """End: what is said to the server comes back over the bus."""
        self._perform(self.session.is_looped())

    def _interested(self, subject: str, queue: str, weight: int) -> None:
        super()._interested(subject, queue, weight)
        if weight:
            self._loops.heard(subject)

    # While the server is handed over.

    @property
    def asked(self) -> list[Wanted]:
        """What the server is asked for, but what finds loops."""
        place = self._place
        told = () if place is None else self._owner.beyond.told_to(place)
        found = dict.fromkeys(
            wanted
            for wanted in told
            if self._may_tell(*wanted)
            and not wanted.pattern.startswith((OWN_SUBJECTS, LOOP_SUBJECTS))
        )
        return list(found | dict.fromkeys(Wanted(pattern) for pattern in self._expected))

    @property
    def expected(self) -> Collection[str]:
        """What it is asked for because of answers; only to be read."""
        return self._expected

    def say(self, interests: Iterable[Interest]) -> None:
        """Tell the server of interest."""
        self._send(b"".join(map(self._written, interests)))

    def ask(self, barrier: int) -> None:
        """Ask the server when it knows what it was told; `Handover.passed` hears of it."""
        self._perform(self._session.ask(barrier, self._owner.now))

    def known(self) -> Deferred[None]:
        """Ask the server when it knows what it was told; fires then, unless the connection ends."""
        self._barrier -= 1
        known: Deferred[None] = Deferred()
        self._asked[self._barrier] = known
        self.ask(self._barrier)
        return known

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something, unless the connection ends before."""
        self._later = [each for each in self._later if each.active()]
        self._later.append(self._owner.timers.callLater(seconds, call))

    def pause(self, seconds: float) -> Deferred[None]:
        """Wait, unless the connection ends before."""
        waiting: Deferred[None] = Deferred()
        self.later(seconds, lambda: waiting.callback(None))
        return waiting

    def settled(self) -> Deferred[None]:
        """
        Wait until all has come that the server had matched, unless the connection ends before.

        The server is asked in the end: a process that has stood still finds its clock to be late
        before it reads what has come meanwhile.
        """
        waiting = self.pause(bounds.HANDOVER_GRACE_SECONDS)
        return waiting.addCallback(lambda _: self.known())

    @property
    def is_free(self) -> bool:
        """Whether a handover may begin."""
        return self.handover is None or self.handover.is_alone

    def may_join(self, mark: str) -> bool:
        """Tell whether the server lets us join a group wherever the bus wants something."""
        asked = [wanted.pattern for wanted in self.asked if not wanted.queue]
        return len(asked) <= bounds.HANDOVER_INTERESTS_MAX and all(
            self._may_tell(pattern, mark) for pattern in asked
        )

    def expect(self, pattern: str) -> None:
        """Let answers come."""
        self._expect(pattern)

    def put_on_bus(
        self, message: Message, *, queues_only: bool, served: tuple[int, ...] = ()
    ) -> tuple[int, int, int]:
        """
        Publish what the server has sent.

        :param served: The branches whose plain subscribers are not to get it.
        :returns: Who has published it, in which epoch, and its number; 0 when it is dropped.
        """
        beyond, place = self._owner.beyond, self._place
        if place is None:
            return *beyond.source, 0
        subject, reply, queues, header, payload = message
        number = beyond.publish(
            place,
            subject,
            payload,
            reply_to=reply,
            header_block=header,
            queues=queues,
            queues_only=queues_only,
            served=served,
        )
        return *beyond.source, number

    def wanted(self, subject: str) -> list[Wanted]:
        """List as what the server wants a subject: the patterns and groups that match."""
        place = self._place
        return [] if place is None else self._owner.beyond.wanted_by(place, subject)

    def hand_back(self, publication: Publication, passing: Passing) -> None:
        """Let others serve the groups that a publication is for, if that was not tried before."""
        if passing.handed_back:
            self.gave_up(1)
        elif self._place is not None:
            self._owner.beyond.hand_back(self._place, publication, passing)

    def gave_up(self, count: int) -> None:
        """Count what was kept and is lost."""
        self._owner.beyond.gave_up(count)

    def tell_bus(self) -> None:
        """Tell the bus all that the server wants."""
        if self._place is not None:
            for (subject, queue), weight in self.interests.items():
                if self._may_pass_on(subject, queue):
                    self._owner.beyond.heard(self._place, subject, queue, weight)

    def withdraw_groups(self) -> None:
        """Let the bus find members of groups in another way."""
        for subject, queue in self.interests:
            if queue and self._place is not None:
                self._owner.beyond.heard(self._place, subject, queue, 0)

    def tell_loops(self) -> None:
        """Tell the server what finds loops, which was put off."""
        place = self._place
        told = {} if place is None else self._owner.beyond.told_to(place)
        entries = [
            InterestEntry(subject=wanted.pattern, queue="", weight=weight)
            for wanted, weight in told.items()
            if wanted.pattern.startswith(LOOP_SUBJECTS)
        ]
        self.told(Told(entries=tuple(entries)))

    def _take_part(self) -> None:
        super()._take_part()
        self.joined()

    def _told_as(self, interest: Interest) -> bytes:
        if self.handover is None:
            return self._written(interest)
        return b"".join(map(self._written, self.handover.told_as(interest)))

    def _may_pass_on(self, subject: str, queue: str) -> bool:
        return self.handover is None or self.handover.passes_on(queue)

    def _passed(self, barrier: int) -> None:
        known = self._asked.pop(barrier, None)
        if known is not None:
            known.callback(None)
        elif self.handover is not None and self._place is not None:
            self.handover.passed(barrier)

    def judge_again(self) -> None:
        """End the connection if the leaf may not be here any more, or not as it is."""
        self._perform(self.session.judge_again())

    # The dialect, and the rights.

    def _may_tell(self, subject: str, queue: str) -> bool:
        return self.session.may_tell(subject, queue)

    def _may_send(self, subject: str) -> bool:
        return self.session.may_send(subject)

    def _written(self, what: Interest | Message) -> bytes:
        return write_interest(what) if isinstance(what, Interest) else write_message(what)


class Solicitor(ClientFactory):
    """
    Keeps a connection to one remote, while it is this node's turn.

    :param outfit: Where, and with what.
    """

    noisy = False
    _log = Logger(namespace="atbus.nats")

    def __init__(self, leafs: Leafs, outfit: Outfit) -> None:
        self.outfit = outfit
        self.link: LeafLink | None = None
        self._leafs = leafs
        self._place = self.remote.places[0]
        self._candidacy = Candidacy(
            leafs.node,
            leafs.timers,
            CANDIDATES,
            "\n".join(sorted(self.remote.places)),
            self.look,
            TAKES_OVER,
        )
        self._succession = Succession(
            leafs.node, leafs.timers, self._candidacy, self._dial_in_turn, self._give_way
        )
        self._attempts = 0
        # How many of them in a row have come to nothing, and when the last one began.
        self._vain = 0
        self._dialed_at = 0.0
        self._connector: Any = None
        self._next: IDelayedCall | None = None
        # Who waits for our end, and for how long we wait with it.
        self._awaiting: list[Deferred[None]] = []
        self._patience: list[IDelayedCall] = []

    @property
    def remote(self) -> Remote:
        """Where it is."""
        return self.outfit.remote

    def start(self) -> None:
        """Make ourselves known as a candidate, then serve if it is our turn."""
        self._candidacy.start()

    @property
    def is_leaving(self) -> bool:
        """Whether it waits for another gateway to take over, after which it ends."""
        return bool(self._awaiting)

    def stop(self) -> Deferred[None]:
        """
        End, when another gateway has taken over; at once where none does.

        :returns: Fires then; never fails.
        """
        if not self.is_leaving and not self._candidacy.is_standing:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._awaiting.append(gone)
        if len(self._awaiting) == 1:
            self._set_patience(bounds.HANDOVER_SECONDS, self.stop_at_once)
            self._leave()
        return gone

    def _leave(self) -> None:
        """Let another gateway take over, as soon as we have taken over ourselves."""
        link = self.link
        if link is not None and self._succession.is_taking_over(link):
            if not self._is_waiting:
                self._next = self._leafs.timers.callLater(
                    bounds.HANDOVER_GRACE_SECONDS, self._leave
                )
            return
        # One that cannot take over dials when it hears of us no more. That is at the end of this
        # turn, when we have hung up.
        is_new = self._candidacy.is_standing
        self._candidacy.leave()
        if not self._succession.gives_way():
            self.stop_at_once()
        elif is_new:
            self._set_patience(bounds.HANDOVER_ASKED_SECONDS, self._unless_asked)

    def _unless_asked(self) -> None:
        if not self._succession.is_asked:
            self.stop_at_once()

    def _set_patience(self, seconds: float, call: Callable[[], object]) -> None:
        self._patience.append(self._leafs.timers.callLater(seconds, call))

    def stop_at_once(self) -> None:
        """End; the others take over when they hear of it."""
        self._candidacy.stop()
        for call in (self._next, *self._patience):
            if call is not None and call.active():
                call.cancel()
        self._succession.ended()
        self._hang_up("the node stops")
        awaiting, self._awaiting = self._awaiting, []
        for gone in awaiting:
            gone.callback(None)

    def look(self) -> None:
        """Dial or take over if it is our turn, let another one take over if it is not."""
        if self.is_leaving:
            self._leave()
            return
        succession = self._succession
        if not self._candidacy.is_ours:
            if not succession.gives_way():
                self._give_way()
            return
        succession.stays()
        is_idle = self._connector is None and not self._is_waiting and not succession.is_asking
        if self._candidacy.may_begin and is_idle and not succession.asks():
            self._dial()

    @property
    def _is_waiting(self) -> bool:
        return self._next is not None and self._next.active()

    def _give_way(self) -> None:
        self._hang_up(_GIVES_WAY)

    def _hang_up(self, reason: str) -> None:
        if self.link is not None:
            self.link.close(reason)
        elif self._connector is not None:
            self._connector.disconnect()

    def _dial_in_turn(self) -> None:
        """Dial, if it is still our turn."""
        if self._candidacy.is_standing and self._candidacy.is_ours and self._connector is None:
            self._dial()

    def _dial(self) -> None:
        self._place = self.remote.places[self._attempts % len(self.remote.places)]
        self._attempts += 1
        self._dialed_at = self._leafs.timers.seconds()
        host, _, port = self._place.rpartition(":")
        self._connector = self._leafs.reactor.connectTCP(host.strip("[]"), int(port), self)

    def buildProtocol(self, addr: IAddress | None) -> LeafLink:
        """Make our side of the connection."""
        session = self._leafs.dialing(self.outfit)
        # It may have been told other places since it dialed.
        context = self.outfit.contexts.get().get(self._place)
        number = self._leafs.next_number()
        self.link = LeafLink(self._leafs, session, context, self._ended, number=number)
        self.link.has_rivals = self._has_rivals
        self._succession.prepare(self.link)
        self.link.joined = self._joined
        self.link.freed = self.look
        return self.link

    def _joined(self) -> None:
        assert self.link is not None
        self._succession.joined(self.link)

    def _has_rivals(self) -> bool:
        # One that has handed over is no candidate any more, and may still be connected.
        return self._candidacy.has_rivals or self._succession.has_others

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody is there; try the next place."""
        self._ended(reason.getErrorMessage(), False)

    def _ended(self, reason: str, is_lasting: bool) -> None:
        lasted_seconds = self._leafs.timers.seconds() - self._dialed_at
        # Who hangs up at once has been dialed in vain as well, or two of them kept us busy.
        if self.link is not None and lasted_seconds >= bounds.LEAF_RETRY_SECONDS:
            self._vain = 0
        self._vain += 1
        self.link = self._connector = None
        self._succession.ended()
        if self.is_leaving:
            self.stop_at_once()
        if not self._candidacy.is_standing:
            return
        # What was complained of may have been that another gateway served as well.
        is_lasting = is_lasting and not self._candidacy.has_rivals
        wait = 0.0
        if reason == _GIVES_WAY:
            # It may be our turn again already, and the other one waits for us to take over.
            wait = 0.0
        elif is_lasting:
            wait = bounds.LEAF_LASTING_SECONDS
        elif self._vain % len(self.remote.places) == 0:
            wait = bounds.LEAF_RETRY_SECONDS
        self._log.info("nats leaf remote: {reason}", reason=reason)
        self._next = self._leafs.timers.callLater(
            wait * self._leafs.random.uniform(1.0, 1.1), self.look
        )
