"""
Connections between this node and servers of NATS, leafs and routes alike: what they do and who has
them.

A connection is one place beside the neighbors of the node (`atbus.node.beyond`) for as long as it
takes part. It tells what the bus wants and passes on what the other side wants, carries
publications in both directions, and lets answers come back for which there is no interest yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.nats import bounds
from atbus.nats.portions import Portions
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.server_session import Answered, Close, Opened, ServerSession, StartTls, Write
from atbus.nats.write_deadline import WriteDeadline
from atbus.node.context import Alarm
from atbus.subjects.pattern import INBOX, OWN_SUBJECTS, inbox_owner

if TYPE_CHECKING:
    from atbus.nats.gateway import Gateway
    from atbus.nats.handover import Handover
    from atbus.node.publication import Passing, Publication
    from atbus.node.report import ServerReport
    from atbus.subjects.interest import Side
    from atbus.wire.messages import Interest as Told

_OWN: Final = len(OWN_SUBJECTS)

#: How connections end without a fault of anybody.
_CLOSED: Final = (ConnectionDone, ConnectionLost, ConnectionAborted)


class ServerLinks:
    """
    All connections of one kind that a gateway has.

    :param gateway: Whose they are.
    :param random: Spreads attempts.
    """

    def __init__(self, gateway: Gateway, random: Random) -> None:
        self.node = gateway.node
        self.beyond = gateway.node.beyond
        self.taken_bytes = gateway.taken_bytes
        self._gateway = gateway
        self.reactor = gateway.reactor
        self.timers = gateway.timers
        self.random = random
        self.links: list[Any] = []
        self.log = Logger(namespace="atbus.nats")
        self._count = 0

    def next_number(self) -> int:
        """Count one more connection."""
        self._count += 1
        return self._count

    @property
    def now(self) -> float:
        """The time on our clock, seconds."""
        return float(self.timers.seconds())

    @property
    def write_seconds(self) -> float:
        """How long the other side may take nothing of what waits for it."""
        return self._gateway.settings.write_seconds

    @property
    def ping_seconds(self) -> float:
        """When the other side is asked whether it is alive, ..."""
        return min(self._gateway.settings.ping_seconds, bounds.LEAF_PING_SECONDS)

    @property
    def pings_max(self) -> int:
        """... and how many of these questions may be without an answer."""
        return self._gateway.settings.pings_max


class ServerLink(Protocol):
    """
    One connection.

    :param owner: All of its kind.
    :param session: Our side of it.
    :param tls_context: What to begin TLS with; None for none.
    :param ended: Called once with why it has ended, and whether that will last.
    """

    #: What it is called in the log.
    kind: ClassVar[str]
    #: Where the other side stands, as far as subjects are concerned.
    side: ClassVar[Side]
    #: How subjects begin that do not cross, besides our own.
    hidden: ClassVar[tuple[str, ...]] = ()

    transport: Any

    def __init__(
        self,
        owner: ServerLinks,
        session: ServerSession[Any, Any],
        tls_context: Any,
        ended: Callable[[str, bool], None] | None = None,
    ) -> None:
        self.name = ""
        self.in_messages = self.out_messages = self.in_bytes = self.out_bytes = 0
        self.interests: dict[tuple[str, str], int] = {}
        self._owner = owner
        self._session = session
        self._tls_context = tls_context
        self._ended = ended
        self._place: int | None = None
        #: How the server is handed over to another gateway, or by one, while that lasts.
        self.handover: Handover | None = None
        #: The branch that is not to get what the server sends, for another gateway gives it that.
        self.served: tuple[int, ...] = ()
        self._reason, self._is_lasting = "", False
        # What is wanted for answers only, the latest last.
        self._expected: OrderedDict[str, None] = OrderedDict()
        self._alarm = Alarm(owner.timers, self._tick)
        #: When the other side has said something last.
        self.heard_at = 0.0
        #: What is not given to the transport yet.
        self.waiting_bytes = 0
        self._waiting: list[bytes] = []
        self._is_held = self._is_closing = False
        self._patience = WriteDeadline(
            owner.timers,
            owner.write_seconds,
            lambda: owner.taken_bytes(self.transport),
            partial(self._give_up, "it takes nothing"),
        )
        # What was read and not dealt with yet; while we rest from that, nothing is read.
        self._unread = Portions()
        self._rest: IDelayedCall | None = None

    def _written(self, what: Interest | Message) -> bytes:
        """Write interest or a message in the dialect of this kind."""
        raise NotImplementedError

    def _may_tell(self, subject: str, queue: str) -> bool:
        """Tell whether the other side may be told that somebody wants something."""
        return True

    def _may_send(self, subject: str) -> bool:
        """Tell whether the other side may get a message."""
        return True

    @property
    def cluster(self) -> int:
        """The number of the cluster whose servers serve each other; 0 for none."""
        return 0

    @property
    def takes_part(self) -> bool:
        """Whether publications cross."""
        return self._place is not None

    def connectionMade(self) -> None:
        """Begin."""
        self.transport.setTcpNoDelay(True)
        peer = self.transport.getPeer()
        self.name = f"{peer.host}:{peer.port}"
        self.heard_at = self._owner.now
        self._owner.links.append(self)
        self.transport.registerProducer(self, True)
        self._perform(self._session.open(self._owner.now))

    def dataReceived(self, data: bytes) -> None:
        """Take what the other side has sent, as much of it as there is time for in a turn."""
        self.heard_at = self._owner.now
        self._unread.add(data)
        if self._rest is None:
            self._read_on()

    def _read_on(self) -> None:
        owner = self._owner
        began = owner.now
        while self._unread and self._rest is None:
            self._perform(self._session.receive(self._unread.take(), owner.now))
            if self._unread and owner.now - began > bounds.READ_SECONDS:
                self.transport.pauseProducing()
                self._rest = owner.timers.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        self._read_on()
        if self._rest is None:
            self.transport.resumeProducing()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended."""
        self._leave()
        self._alarm.set(None)
        self._patience.stop()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._owner.links.remove(self)
        fault = "" if reason is None or reason.check(*_CLOSED) else reason.getErrorMessage()
        if self._ended is not None:
            why = self._reason or fault or "the other side has closed"
            self._ended(why, self._is_lasting)
        elif fault and not self._reason:
            # Who dials tells of it otherwise: nobody wants to read the same every second.
            self._log_end(fault)

    def close(self, reason: str) -> None:
        """Take part no longer, at once; close when everything is sent, or that takes too long."""
        self._reason = self._reason or reason
        self._leave()
        if self._is_closing:
            return
        self._is_held = False
        self.flush()
        self._is_closing = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._patience.limit()

    def _leave(self) -> None:
        self._session.end()
        self._unread.clear()
        place, self._place = self._place, None
        if place is not None:
            self._owner.beyond.close(place)

    def _tick(self) -> None:
        self._perform(self._session.tick(self._owner.now))

    def _perform(self, effects: Sequence[object]) -> None:
        for effect in effects:
            self._perform_one(effect)
        self._alarm.set(self._session.deadline)
        self.flush()

    def _perform_one(self, effect: object) -> None:
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
                self._take_part()
            case Answered(barrier=barrier) if barrier < 0:
                self._passed(barrier)
            case Answered(barrier=barrier) if self._place is not None:
                self._owner.beyond.answered(self._place, barrier)
            case Close(reason=reason, is_lasting=is_lasting):
                self._is_lasting = is_lasting
                self._log_end(reason)
                self.close(reason)

    @property
    def peer_name(self) -> str:
        """What the other side calls itself."""
        peer = self._session.peer
        # Who has dialed a leaf's hub is a name, all others are servers.
        name = peer.get("server_name") or peer.get("name") or ""
        return str(name)

    def _take_part(self) -> None:
        self._place = self._owner.beyond.open(self, self.side, self.cluster)
        if self.cluster:
            self.served = (self.cluster,)
        self._owner.log.info(
            "{kind} {name} takes part: {peer!r:.80}",
            kind=self.kind,
            name=self.name,
            peer=self.peer_name,
        )

    def _interested(self, subject: str, queue: str, weight: int) -> None:
        if self._place is None or subject.startswith(OWN_SUBJECTS):
            return
        if weight:
            self.interests[subject, queue] = weight
        else:
            self.interests.pop((subject, queue), None)
        if self._may_pass_on(subject, queue):
            self._owner.beyond.heard(self._place, subject, queue, weight)

    def _may_pass_on(self, subject: str, queue: str) -> bool:
        """Tell whether the bus is to hear that the other side wants something."""
        return True

    def _passed(self, barrier: int) -> None:
        """The other side knows what it was told before a barrier of our own; these are negative."""

    def _arrived(self, message: Message) -> None:
        subject, reply, queues, header, payload = message
        if self._place is None or OWN_SUBJECTS in (subject[:_OWN], reply[:_OWN]):
            # Also not by way of an answer.
            return
        self.in_messages += 1
        self.in_bytes += len(header) + len(payload)
        if self.handover is not None:
            self.handover.arrived(message)
            return
        self._owner.beyond.publish(
            self._place,
            subject,
            payload,
            reply_to=reply,
            header_block=header,
            queues=queues,
            served=self.served,
        )

    # For the node.

    def report(self) -> ServerReport | None:
        """Describe it; only members of one cluster are listed beside the links of nodes."""
        return None

    def told(self, message: Told) -> None:
        """Pass on who wants what."""
        lines = [
            self._told_as(Interest(entry.subject, entry.queue, entry.weight))
            for entry in message.entries
            if not entry.subject.startswith(OWN_SUBJECTS)
            and self._may_tell(entry.subject, entry.queue)
            # A server that is told twice counts twice, and tells others for ever.
            and not (entry.weight and not entry.queue and entry.subject in self._expected)
        ]
        for entry in message.entries:
            if not entry.queue:
                self._expected.pop(entry.subject, None)
        self._send(b"".join(lines))
        if message.barrier:
            self._perform(self._session.ask(message.barrier, self._owner.now))

    def _told_as(self, interest: Interest) -> bytes:
        """Write what the other side is told of an interest."""
        return self._written(interest)

    def may_have(self, subject: str) -> bool:
        """Tell whether the other side may get what is published on a subject."""
        return not subject.startswith((OWN_SUBJECTS, *self.hidden)) and self._may_send(subject)

    def take(self, publication: Publication, passing: Passing) -> None:
        """Pass on a publication; what cannot be given back is given up."""
        queues = passing.queues
        if self.handover is not None:
            if not self.handover.takes(publication, passing):
                return
            queues = self.handover.queues_of(passing)
        subject, reply = publication.subject, publication.reply_to
        if passing.came_from == self._place or not self.may_have(subject):
            return
        if reply:
            # Who answers at once must know of the interest in the answer.
            self._owner.beyond.talk.flush()
        owner = inbox_owner(reply) if reply else 0
        if owner:
            self._expect(f"{INBOX}.{owner:x}.*")
        elif reply and self._place and not self._owner.beyond.is_wanted(self._place, reply):
            # The question was faster than the interest in its answer.
            self._expect(reply)
        self.out_messages += 1
        self.out_bytes += publication.size_bytes
        self._send(
            self._written(
                Message(subject, reply, queues, publication.header_block, publication.payload)
            )
        )

    def _expect(self, pattern: str) -> None:
        """Let answers come back for which there is no interest, or none yet."""
        if pattern in self._expected:
            self._expected.move_to_end(pattern)
            return
        if not self._may_tell(pattern, ""):
            return
        self._expected[pattern] = None
        self._send(self._told_as(Interest(pattern, "", 1)))
        if len(self._expected) > bounds.LEAF_INBOXES_MAX:
            last, _ = self._expected.popitem(last=False)
            self._send(self._told_as(Interest(last, "", 0)))

    # To the other side.

    def _send(self, data: bytes) -> None:
        if not data or self._is_closing:
            return
        if not self._waiting:
            self._owner.timers.callLater(0, self.flush)
        self._waiting.append(data)
        self.waiting_bytes += len(data)
        if self.waiting_bytes > bounds.LEAF_PENDING_BYTES:
            self._give_up("too much waits for it")

    def _give_up(self, reason: str) -> None:
        """Close at once; what waits is lost."""
        if not self._is_closing:
            self._log_end(reason)
        self._reason = self._reason or reason
        self._waiting, self.waiting_bytes = [], 0
        self._is_closing = True
        self._leave()
        self.transport.abortConnection()

    def _log_end(self, reason: str) -> None:
        self._owner.log.warn(
            "{kind} {name} is closed: {reason}", kind=self.kind, name=self.name, reason=reason
        )

    def flush(self) -> None:
        """Write what waits, unless the transport has enough."""
        if self._waiting and not self._is_held:
            data, self._waiting, self.waiting_bytes = b"".join(self._waiting), [], 0
            self.transport.write(data)

    def pauseProducing(self) -> None:
        """The transport has enough to send."""
        self._is_held = True
        self._patience.begin()

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        self._is_held = False
        self._patience.end()
        self.flush()

    def stopProducing(self) -> None:
        """The transport sends nothing any more."""
        self._is_held = True
