"""
Servers of NATS as leafs of a node, and a node as a leaf of theirs: connections and who has them.

A connection is one place beside the neighbors of the node (`atbus.node.beyond`). Of the gateways
that are told of the same remote only the one with the lowest bus id serves. Each makes itself known
by a subscription that nobody publishes to, so the others learn of it, and of its end, as of any
interest. Who has the lowest id waits until the whole bus knows that before it dials, and who is not
it any more closes at once: so two never serve at a time, but while a bus that was cut is joined.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.errors import AtbusError
from atbus.nats import bounds
from atbus.nats.accounts import OWN_SUBJECTS
from atbus.nats.leaf_grammar import write_interest, write_message
from atbus.nats.leaf_session import LOOP_SUBJECTS, Effect, LeafSession
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.server_session import Answered, Close, Opened, StartTls, Write
from atbus.node.context import Alarm
from atbus.subjects.pattern import INBOX, inbox_owner

if TYPE_CHECKING:
    from atbus.nats.leaf_settings import Remote
    from atbus.nats.leafs import Leafs
    from atbus.node.publication import Publication
    from atbus.node.publishing import Passing
    from atbus.node.subscription import Subscription
    from atbus.wire.messages import Interest as Told

#: Candidates for a remote are known by the interest in this, its key and their id.
CANDIDATES: Final = f"{OWN_SUBJECTS}.nats.leafs"

_KEY_BYTES: Final = 8
_OWN: Final = len(OWN_SUBJECTS)


class LeafLink(Protocol):
    """
    One connection between leafs.

    :param session: Our side of it.
    :param tls_context: What to begin TLS with; None for none.
    :param ended: Called once with why it has ended, and whether that will last.
    """

    transport: Any

    def __init__(
        self,
        leafs: Leafs,
        session: LeafSession,
        tls_context: Any,
        ended: Callable[[str, bool], None] | None = None,
    ) -> None:
        self.session = session
        self.name = ""
        self.in_messages = self.out_messages = self.in_bytes = self.out_bytes = 0
        self.interests: dict[tuple[str, str], int] = {}
        self._leafs = leafs
        self._tls_context = tls_context
        self._ended = ended
        self._place: int | None = None
        self._reason, self._is_lasting = "", False
        # What is wanted for answers only, the latest last.
        self._expected: OrderedDict[str, None] = OrderedDict()
        self._alarm = Alarm(leafs.timers, self._tick)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_held = False

    @property
    def takes_part(self) -> bool:
        """Whether publications cross."""
        return self._place is not None

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.setTcpNoDelay(True)
        peer = self.transport.getPeer()
        self.name = f"{peer.host}:{peer.port}"
        self._leafs.links.append(self)
        self.transport.registerProducer(self, True)
        self._perform(self.session.open(self._leafs.now))

    def dataReceived(self, data: bytes) -> None:
        """Take what the other side has sent."""
        self._perform(self.session.receive(data, self._leafs.now))

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended."""
        self._leave()
        self._alarm.set(None)
        self._leafs.links.remove(self)
        if self._ended is not None:
            self._ended(self._reason or "the other side has closed", self._is_lasting)

    def close(self, reason: str) -> None:
        """Take part no longer, at once, and close when everything is sent."""
        self._reason = self._reason or reason
        self._leave()
        self.flush()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _leave(self) -> None:
        self.session.end()
        place, self._place = self._place, None
        if place is not None:
            self._leafs.beyond.close(place)

    def _tick(self) -> None:
        self._perform(self.session.tick(self._leafs.now))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Message():
                    self._arrived(effect)
                case Interest(subject=subject, queue=queue, weight=weight):
                    self._interested(subject, queue, weight)
                case Write(data=data):
                    self._send(data)
                case StartTls():
                    self.flush()
                    self.transport.startTLS(self._tls_context)
                case Opened():
                    self._place = self._leafs.beyond.open(self)
                    self._leafs.log.info("leaf {name} takes part", name=self.name)
                case Answered(barrier=barrier) if self._place is not None:
                    self._leafs.beyond.answered(self._place, barrier)
                case Close(reason=reason, is_lasting=is_lasting):
                    self._is_lasting = is_lasting
                    self._leafs.log.warn(
                        "leaf {name} is closed: {reason}", name=self.name, reason=reason
                    )
                    self.close(reason)
        self._alarm.set(self.session.deadline)
        self.flush()

    def _interested(self, subject: str, queue: str, weight: int) -> None:
        if self._place is None or subject.startswith(OWN_SUBJECTS):
            return
        if weight:
            self.interests[subject, queue] = weight
        else:
            self.interests.pop((subject, queue), None)
        self._leafs.beyond.heard(self._place, subject, queue, weight)

    def _arrived(self, message: Message) -> None:
        subject, reply, queues, header, payload = message
        if self._place is None or OWN_SUBJECTS in (subject[:_OWN], reply[:_OWN]):
            # Also not by way of an answer.
            return
        self.in_messages += 1
        self.in_bytes += len(header) + len(payload)
        self._leafs.beyond.publish(
            self._place, subject, payload, reply_to=reply, header_block=header, queues=queues
        )

    # For the node.

    def told(self, message: Told) -> None:
        """Pass on who wants what."""
        lines = [
            write_interest(Interest(entry.subject, entry.queue, entry.weight))
            for entry in message.entries
            if not entry.subject.startswith(OWN_SUBJECTS)
        ]
        for entry in message.entries:
            if not entry.queue:
                self._expected.pop(entry.subject, None)
        self._send(b"".join(lines))
        if message.barrier:
            self._perform(self.session.ask(message.barrier))

    def take(self, publication: Publication, passing: Passing) -> None:
        """Pass on a publication; what cannot be given back is given up."""
        subject, reply = publication.subject, publication.reply_to
        if passing.handed_back or subject.startswith((OWN_SUBJECTS, LOOP_SUBJECTS)):
            return
        if reply:
            # Who answers at once must know of the interest in the answer.
            self._leafs.beyond.talk.flush()
        owner = inbox_owner(reply) if reply else 0
        if owner:
            self._expect(f"{INBOX}.{owner:x}.*")
        elif reply and self._place and not self._leafs.beyond.is_wanted(self._place, reply):
            # The question was faster than the interest in its answer.
            self._expect(reply)
        self.out_messages += 1
        self.out_bytes += publication.size_bytes
        self._send(
            write_message(
                Message(
                    subject, reply, passing.queues, publication.header_block, publication.payload
                )
            )
        )

    def _expect(self, pattern: str) -> None:
        """Let answers come back for which there is no interest, or none yet."""
        if pattern in self._expected:
            self._expected.move_to_end(pattern)
            return
        self._expected[pattern] = None
        self._send(write_interest(Interest(pattern, "", 1)))
        if len(self._expected) > bounds.LEAF_INBOXES_MAX:
            last, _ = self._expected.popitem(last=False)
            self._send(write_interest(Interest(last, "", 0)))

    # To the other side.

    def _send(self, data: bytes) -> None:
        if not data:
            return
        if not self._waiting:
            self._leafs.timers.callLater(0, self.flush)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > bounds.LEAF_PENDING_BYTES:
            self._reason = "it is too slow"
            self._leafs.log.warn("leaf {name} is closed: it is too slow", name=self.name)
            self._waiting, self._waiting_bytes = [], 0
            self._leave()
            self.transport.abortConnection()

    def flush(self) -> None:
        """Write what waits, unless the transport has enough."""
        if self._waiting and not self._is_held:
            data, self._waiting, self._waiting_bytes = b"".join(self._waiting), [], 0
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """The transport has enough to send."""
        self._is_held = True

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        self._is_held = False
        self.flush()

    def stopProducing(self) -> None:
        """The transport sends nothing any more."""
        self._is_held = True


class LeafDoor(Factory):
    """
    Accepts leafs.

    :param leafs: Whose they are.
    """

    noisy = False

    def __init__(self, leafs: Leafs) -> None:
        self._leafs = leafs

    def buildProtocol(self, addr: IAddress | None) -> LeafLink | None:
        """Make one side of a connection; None, which closes it, when there are too many."""
        if len(self._leafs.links) >= bounds.LEAFS_MAX:
            self._leafs.log.warn("a leaf is closed: there are {count}", count=bounds.LEAFS_MAX)
            return None
        return self._leafs.accepted()


class Solicitor(ClientFactory):
    """
    Keeps a connection to one remote, while it is this node's turn.

    :param remote: Where, and with what.
    :param tls_contexts: For each of its places what to begin TLS with.
    """

    noisy = False
    _log = Logger(namespace="atbus.nats")

    def __init__(self, leafs: Leafs, remote: Remote, tls_contexts: Mapping[str, Any]) -> None:
        self.remote = remote
        self.link: LeafLink | None = None
        digest = hashlib.blake2b("\n".join(sorted(remote.places)).encode(), digest_size=_KEY_BYTES)
        self._prefix = f"{CANDIDATES}.{digest.hexdigest()}."
        self._leafs = leafs
        self._tls_contexts = tls_contexts
        self._place = remote.places[0]
        self._candidacy: Subscription | None = None
        self._is_known = False
        self._attempts = 0
        self._connector: Any = None
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Make ourselves known as a candidate, then serve if it is our turn."""
        node = self._leafs.node
        subject = f"{self._prefix}{node.bus_id:016x}"
        self._candidacy = node.subscribe(subject, lambda _: None)
        self._leafs.beyond.watchers.append(self.look)
        self._find_out()

    def _find_out(self) -> None:
        if self._candidacy is None:
            return
        self._candidacy.everywhere().addCallbacks(self._known, self._unknown)

    def _known(self, _: None) -> None:
        self._is_known = True
        self.look()

    def _unknown(self, failure: Failure) -> None:
        failure.trap(AtbusError)
        self._next = self._leafs.timers.callLater(bounds.LEAF_RETRY_SECONDS, self._find_out)

    def stop(self) -> None:
        """End; the others take over."""
        if self._candidacy is None:
            return
        self._leafs.beyond.watchers.remove(self.look)
        candidacy, self._candidacy = self._candidacy, None
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._hang_up("the node stops")
        candidacy.unsubscribe()

    def look(self) -> None:
        """Dial if it is our turn, hang up if it is not."""
        own = f"{self._prefix}{self._leafs.node.bus_id:016x}"
        is_ours = min(self._leafs.beyond.wanted_under(self._prefix), default=own) >= own
        if not is_ours:
            self._hang_up("another gateway serves")
        elif self._is_known and self._connector is None and not self._is_waiting:
            self._dial()

    @property
    def _is_waiting(self) -> bool:
        return self._next is not None and self._next.active()

    def _hang_up(self, reason: str) -> None:
        if self.link is not None:
            self.link.close(reason)
        elif self._connector is not None:
            self._connector.disconnect()

    def _dial(self) -> None:
        self._place = self.remote.places[self._attempts % len(self.remote.places)]
        self._attempts += 1
        host, _, port = self._place.rpartition(":")
        self._connector = self._leafs.reactor.connectTCP(host.strip("[]"), int(port), self)

    def buildProtocol(self, addr: IAddress | None) -> LeafLink:
        """Make our side of the connection."""
        session = self._leafs.dialing(self.remote)
        self.link = LeafLink(self._leafs, session, self._tls_contexts[self._place], self._ended)
        return self.link

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody is there; try the next place."""
        self._ended(reason.getErrorMessage(), False)

    def _ended(self, reason: str, is_lasting: bool) -> None:
        self.link = self._connector = None
        if self._candidacy is None:
            return
        wait = bounds.LEAF_LASTING_SECONDS if is_lasting else bounds.LEAF_RETRY_SECONDS
        self._log.info("nats leaf remote: {reason}", reason=reason)
        self._next = self._leafs.timers.callLater(
            wait * self._leafs.random.uniform(1.0, 1.1), self.look
        )
