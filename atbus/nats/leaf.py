"""
Servers of NATS as leafs of a node, and a node as a leaf of theirs: who accepts and who dials.

Of the gateways that are told of the same remote only one serves (`atbus.nats.candidacy`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.nats import bounds
from atbus.nats.candidacy import Candidacy
from atbus.nats.candidate import GIVES_WAY, Candidate
from atbus.nats.handed_link import HandedLink
from atbus.nats.handover import Giving, Taking
from atbus.nats.joining import Staying
from atbus.nats.leaf_grammar import write_interest, write_message
from atbus.nats.leaf_session import LOOP_SUBJECTS, LeafSession
from atbus.nats.loops import Loops
from atbus.nats.reunion import Reunion
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.succession import TAKES_OVER, Succession
from atbus.subjects.interest import Side
from atbus.subjects.pattern import OWN_SUBJECTS
from atbus.wire.messages import Interest as Told

if TYPE_CHECKING:
    from atbus.nats.handover_terms import Ready
    from atbus.nats.leaf_settings import Remote
    from atbus.nats.leafs import Leafs, Outfit

#: Candidates for a remote are known by the interest in this, its key and their id.
CANDIDATES: Final = f"{OWN_SUBJECTS}.nats.leafs"


class LeafLink(HandedLink):
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
        self._loops = Loops(self, leafs.timers)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended."""
        self._loops.stop()
        super().connectionLost(reason)

    def told(self, message: Told) -> None:
        """Pass on who wants what, but what finds loops as far as that is put off."""
        entries = self._loops.sift(message.entries)
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

    def _take_part(self) -> None:
        super()._take_part()
        self.joined()

    @property
    def is_taking(self) -> bool:
        """Whether it takes over, or has just done so."""
        return isinstance(self.handover, Taking | Staying)

    @property
    def taking(self) -> Taking | None:
        """How it takes over, if it does."""
        return self.handover if isinstance(self.handover, Taking) else None

    def give(
        self, mark: str, is_ready: Callable[[], object], is_done: Callable[[], object]
    ) -> Giving:
        """Hand the server over."""
        giving = self.handover = Giving(self, mark, is_ready, is_done)
        return giving

    def take_over(self, terms: Ready, joined: Callable[[], object]) -> None:
        """Take the server over, when it takes part."""
        self.handover = Taking(self, terms.mark, terms.inboxes, joined)

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


class Solicitor(Candidate, ClientFactory):
    """
    Keeps a connection to one remote, while it is this node's turn.

    :param outfit: Where, and with what.
    """

    noisy = False
    _log = Logger(namespace="atbus.nats")

    def __init__(self, leafs: Leafs, outfit: Outfit) -> None:
        super().__init__()
        self.outfit = outfit
        self.link: LeafLink | None = None
        self._leafs = leafs
        self._timers = leafs.timers
        self._place = self.remote.places[0]
        self._candidacy = Candidacy(
            leafs.node,
            leafs.timers,
            CANDIDATES,
            "\n".join(sorted(self.remote.places)),
            self.look,
            TAKES_OVER,
        )
        node, timers, give_way = leafs.node, leafs.timers, self._give_way
        halves = Reunion(node, timers, self._candidacy.key, give_way)
        self._succession = Succession(
            node, timers, self._candidacy, self._dial_in_turn, give_way, halves
        )
        self._attempts = 0
        # How many of them in a row have come to nothing, and when the last one began.
        self._vain = 0
        self._dialed_at = 0.0
        self._connector: Any = None

    @property
    def remote(self) -> Remote:
        """Where it is."""
        return self.outfit.remote

    @property
    def _party(self) -> LeafLink | None:
        return self.link

    @property
    def _is_connected(self) -> bool:
        return self._connector is not None

    def _hang_up(self, reason: str) -> None:
        if self.link is not None:
            self.link.close(reason)
        elif self._connector is not None:
            self._connector.disconnect()

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
        if reason == GIVES_WAY:
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
