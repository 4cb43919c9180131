"""
One client that is connected: its session, what waits to be sent to it, and its end.

Theory of operation. What is to be sent is collected and written once per turn, or when a piece of
input has been dealt with. While the transport takes no more, it is kept here, and counted: a client
for whom too much waits, or who takes not one byte for too long, is closed without a word, as NATS
does. Publishers for such a client are read more slowly before it comes to that.

A client may say very much in few bytes. What is not dealt with after some milliseconds waits for
the next turn, in order, and nothing more is read of the client until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.interfaces import IDelayedCall

from atbus.errors import SubjectError
from atbus.nats import bounds
from atbus.nats.authentication import User
from atbus.nats.effects import (
    Attach,
    Close,
    Connected,
    Detach,
    Effect,
    Subscription,
    Terms,
    Write,
)
from atbus.nats.faults import Fault, Reason
from atbus.nats.grammar import Publish, PublishRun
from atbus.nats.renewable import RenewableSession
from atbus.nats.unpublished import unsubscribable
from atbus.nats.write_deadline import WriteDeadline
from atbus.node.context import Alarm
from atbus.node.publication import Publication, PublicationRun
from atbus.subjects.pattern import OWN_SUBJECTS

if TYPE_CHECKING:
    from atbus.nats.gateway import Gateway
    from atbus.node.subscription import Subscription as BusSubscription

#: What is handed to a transport at once, when there is more.
PIECE_BYTES: Final = 256 * 1024

#: From this share of what may wait on, publishers are slowed down.
_STALL_SHARE: Final = 0.75


class Wire(Protocol):
    """What carries the bytes of one client."""

    def write(self, data: bytes) -> None:
        """Send."""

    def close(self) -> None:
        """Close when everything is sent."""

    def abort(self) -> None:
        """Close at once."""

    def taken_bytes(self) -> int:
        """Tell how much the other side has taken of what was sent."""

    def pause_reading(self) -> None:
        """Read nothing for a while."""

    def resume_reading(self) -> None:
        """Read again."""


class _NoWire:
    """Carries nothing any more: a client that has ended is remembered, its connection is not."""

    def write(self, data: bytes) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    abort = pause_reading = resume_reading = close

    def taken_bytes(self) -> int:
        """Tell of nothing."""
        return 0


_NO_WIRE: Final = _NoWire()


class Client:
    """
    One client.

    :param gateway: Whose it is.
    :param wire: Carries its bytes.
    :param session: Its side of the protocol.
    :param number: Its id, unique in the gateway's life.
    :param peer: Its host and its port.
    :param kind: How it is connected: "nats" or "websocket".
    """

    def __init__(
        self,
        gateway: Gateway,
        wire: Wire,
        session: RenewableSession,
        *,
        number: int,
        peer: tuple[str, int],
        kind: str = "nats",
    ) -> None:
        self.session = session
        self.number = number
        self.peer = peer
        self.kind = kind
        #: Since 1970, seconds: when it began, and when it ended.
        self.started = gateway.wall_seconds()
        self.stopped: float | None = None
        self.reason: Reason | None = None
        #: The version and the cipher of TLS, when there is TLS.
        self.tls: tuple[str, str] | None = None
        #: Bytes that wait here.
        self.pending_bytes = 0
        self.attached: dict[Subscription, BusSubscription] = {}
        #: How its subjects are called on the bus.
        self.names = gateway.names_of("")
        self._gateway = gateway
        # On the gateway's clock: when it began, and when it was active last. How much has been
        # noted of what it did, and of what it got.
        self._began = self._active = gateway.now
        self._noted_acts = self._noted_deliveries = 0
        self._changes = 0
        self._wire = wire
        self._out: list[bytes | memoryview] = []
        self._is_dirty = False
        self._is_held = False
        # Nothing more is sent; and: what was to be sent is.
        self._is_closing = self._is_closed = False
        self._alarm = Alarm(gateway.timers, self._tick)
        self._patience = WriteDeadline(
            gateway.timers,
            gateway.settings.write_seconds,
            lambda: self.taken_bytes,
            partial(self.give_up, Reason.SLOW_CONSUMER_TIME),
        )
        # Until when nothing is read; and what came meanwhile, and waits behind what is unread.
        self._pause: IDelayedCall | None = None
        self._behind: list[bytes] = []

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return self.stopped is not None

    @property
    def active(self) -> float:
        """When it published, subscribed or got something last; seconds since 1970."""
        return self.started + self._active - self._began

    @property
    def taken_bytes(self) -> int:
        """How much it has taken of what was sent to it, with what carries that."""
        return self._wire.taken_bytes()

    def open(self, info: bytes) -> None:
        """
        Greet the client.

        :param info: The INFO line; empty when it was sent already.
        """
        self._perform(self.session.open(info, self._gateway.now))
        self._alarm.set(self.session.deadline)
        self.flush()

    # From the client.

    def received(self, data: bytes) -> None:
        """Take what came, and send what it brought about, to whoever it is."""
        if self._has_rest or self.session.is_waiting:
            self._behind.append(data)
        else:
            self._take(data)

    @property
    def _has_rest(self) -> bool:
        session = self.session
        is_behind = bool(self._behind) and not session.closed and not session.is_waiting
        return session.is_unread or is_behind

    def _take(self, data: bytes) -> None:
        """Deal with what came, or with what there is time for."""
        gateway, session = self._gateway, self.session
        now = gateway.seconds()
        gateway.is_arriving = True
        try:
            self._perform(session.receive(data, now))
            while self._has_rest and gateway.seconds() - now <= bounds.READ_SECONDS:
                self._perform(session.receive(self._next_behind(), now))
        finally:
            gateway.is_arriving = False
            gateway.flush()
        acts = session.counts.in_messages + self._changes
        if acts != self._noted_acts:
            self._noted_acts, self._active = acts, now
        if gateway.is_stalled:
            # Some of its subscribers are behind.
            gateway.is_stalled = False
            self._read_later(bounds.STALL_SECONDS)
        if self._has_rest:
            self._read_later(0)
        elif session.is_waiting:
            self._wire.pause_reading()

    def _next_behind(self) -> bytes:
        """Give what comes next, nothing as long as the session has something unread."""
        if self.session.is_unread:
            return b""
        behind, self._behind = self._behind, []
        return b"".join(behind)

    def _perform(self, effects: Iterable[Effect]) -> None:
        gateway = self._gateway
        for effect in effects:
            kind = type(effect)
            if kind is Publish:
                gateway.publish(self, effect)  # type: ignore[arg-type]  # that was asked above
                continue
            match effect:
                case Write():
                    self.send(effect.data)
                case PublishRun():
                    gateway.publish_run(self, effect)
                case Attach():
                    self._attach(effect.subscription)
                case Detach():
                    self._detach(effect.subscription)
                case Connected():
                    self._connected()
                case Close():
                    self.close(effect.fault.reason)

    def _connected(self) -> None:
        self._alarm.set(self.session.deadline)
        self.take_account()
        for subscription, attached in self.attached.items():
            attached.accepts = self._acceptance(subscription)

    def renew(self, terms: Terms) -> None:
        """
        Let other terms hold for it from now on.

        :param terms: They.
        """
        self._patience.seconds = self._gateway.settings.write_seconds
        self.session.renew(terms, self._gateway.now)
        self._alarm.set(self.session.deadline)

    def become(self, verdict: User | Fault) -> None:
        """
        Go on as who it is by now, or end.

        :param verdict: Its user, or what it is told before it is closed.
        """
        if isinstance(verdict, Fault):
            self.refuse(verdict)
        else:
            self._perform(self.session.become_now(verdict))

    def decided(self, verdict: User | Fault | None) -> None:
        """
        Go on with what it has said behind CONNECT, now that it is known who it is.

        :param verdict: As for `Session.decide`.
        """
        self._perform(self.session.decide(verdict))
        if self._pause is None:
            self._go_on()

    def take_account(self) -> None:
        """Use the subjects of the account of which the client is now."""
        user = self.session.user
        account = "" if user is None else user.account
        if account == self.names.account:
            return
        self.names = self._gateway.names_of(account)
        for subscription in list(self.attached):
            self._detach(subscription)
            self._attach(subscription)

    def _tick(self) -> None:
        self._perform(self.session.tick(self._gateway.now))
        self._alarm.set(self.session.deadline)
        self._gateway.flush()

    # Subscriptions.

    def _attach(self, subscription: Subscription) -> None:
        self._changes += 1
        try:
            self.attached[subscription] = self._gateway.node.subscribe(
                self.names.prefix + subscription.pattern,
                partial(self._deliver, subscription),
                queue=subscription.queue,
                accepts=self._acceptance(subscription),
                run_callback=partial(self._deliver_run, subscription),
                name=f"client {self.number}, {subscription.sid.decode(errors='replace')}",
            )
        except SubjectError:
            # Too long only with what stands before it.
            self.session.subscriptions.pop(subscription.sid, None)
            self.send(unsubscribable(subscription.raw_pattern, subscription.queue.encode()))

    def _acceptance(self, subscription: Subscription) -> Callable[[Publication], bool] | None:
        """Give what is to be asked before each delivery; None when there is nothing to ask."""
        session = self.session
        first = subscription.pattern.partition(".")[0]
        names = self.names
        sees_ours = not names.prefix and first in ("*", ">", OWN_SUBJECTS)
        if session.options.echo and session.rights.receives_freely and not sees_ours:
            return None

        def accepts(publication: Publication) -> bool:
            subject = publication.subject
            if sees_ours and subject.partition(".")[0] == OWN_SUBJECTS:
                return False
            return session.accepts(
                subscription, names.for_client(subject), is_own=publication.origin is self
            )

        return accepts

    def _detach(self, subscription: Subscription) -> None:
        attached = self.attached.pop(subscription, None)
        if attached is not None:
            self._changes += not self.session.closed
            attached.unsubscribe()

    def _deliver(self, subscription: Subscription, publication: Publication) -> None:
        session = self.session
        if session.closed:
            return
        subject, reply_to = publication.subject, publication.reply_to
        if self.names.prefix:
            subject, reply_to = map(self.names.for_client, (subject, reply_to))
        reply = reply_to.encode()
        if reply and session.rights.may_answer:
            session.rights.asked(reply, self._gateway.now)
        self.send(
            session.deliver(
                subscription,
                *(subject.encode(), reply),
                *(publication.header_block, publication.payload),
            )
        )
        if subscription.delivered == subscription.most:
            self._detach(subscription)

    def _deliver_run(self, subscription: Subscription, run: PublicationRun) -> None:
        session = self.session
        if session.closed:
            return
        if not subscription.most:
            subject = self.names.for_client(run.subject).encode()
            self.send(session.deliver_run(subscription, subject, run.payloads))
            return
        for publication in run.publications:
            if subscription not in self.attached:
                break
            self._deliver(subscription, publication)

    def unheard(self, reply: bytes) -> None:
        """Tell the client that nobody got what it asked for, if it wants to know."""
        self.send(self.session.nobody_got(reply))

    def inform(self, info: bytes) -> None:
        """Tell the client what is new in INFO."""
        self._perform(self.session.inform(info))

    # To the client.

    def send(self, data: bytes) -> None:
        """Send at the end of this turn."""
        if not data or self._is_closing:
            return
        self._out.append(data)
        self.pending_bytes = pending_bytes = self.pending_bytes + len(data)
        gateway = self._gateway
        if not self._is_dirty:
            self._is_dirty = True
            gateway.note_dirty(self)
        if pending_bytes > gateway.stall_bytes:
            gateway.is_stalled = True
            if pending_bytes > gateway.settings.pending_bytes_max:
                self.give_up(Reason.SLOW_CONSUMER_BYTES)

    def flush(self) -> None:
        """Write what waits, as far as the transport takes it."""
        self._is_dirty = False
        delivered = self.session.counts.out_messages
        if delivered != self._noted_deliveries:
            self._noted_deliveries, self._active = delivered, self._gateway.now
        while self._out and not self._is_held and self.stopped is None:
            self._wire.write(self._next_piece())
        if self._is_closing and not self._out and not self._is_closed:
            self._is_closed = True
            self._wire.close()

    def _next_piece(self) -> bytes:
        """Take what is to be written next; of what is long nothing is copied but that."""
        out = self._out
        if self.pending_bytes <= PIECE_BYTES:
            data = out[0] if len(out) == 1 else b"".join(out)
            self._out, self.pending_bytes = [], 0
            return data if type(data) is bytes else bytes(data)
        size = count = 0
        while size < PIECE_BYTES:
            size += len(out[count])
            count += 1
        last = memoryview(out[count - 1])
        end = len(last) - (size - PIECE_BYTES)
        data = b"".join((*out[: count - 1], last[:end]))
        out[:count] = [last[end:]] if end < len(last) else []
        self.pending_bytes -= PIECE_BYTES
        return data

    def hold(self) -> None:
        """The transport has enough; it says when it can take more."""
        self._is_held = True
        self._patience.begin()

    def release(self) -> None:
        """The transport has sent what it had."""
        self._is_held = False
        self._patience.end()
        self.flush()

    def _read_later(self, seconds: float) -> None:
        """Read nothing of this client for a moment."""
        if self._pause is None and not self.is_gone:
            self._wire.pause_reading()
            self._pause = self._gateway.timers.callLater(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if self._has_rest:
            self._take(self._next_behind())
        if self._pause is None and not self.session.is_waiting:
            self._wire.resume_reading()

    # The end.

    def close(self, reason: Reason) -> None:
        """Close when everything is sent, or when that takes too long."""
        if self._is_closing:
            return
        self.reason = self.reason or reason
        self._perform(self.session.end())
        self._alarm.set(None)
        self._gateway.note_dirty(self)
        self._is_closing = True
        self._patience.limit()

    def refuse(self, fault: Fault) -> None:
        """Tell the client what is wrong, and close."""
        self._perform(self.session.end(fault))

    def give_up(self, reason: Reason) -> None:
        """Close at once; what waits is lost."""
        if self.is_gone:
            return
        if self.reason is None:
            self.reason = reason
            self._gateway.note_slow(self)
        self._perform(self.session.end())
        self._is_closing = True
        self._out, self.pending_bytes = [], 0
        self._wire.abort()

    def lost(self, reason: Reason = Reason.CLIENT_CLOSED) -> None:
        """The connection has ended."""
        if self.is_gone:
            return
        self.stopped = self._gateway.wall_seconds()
        self.reason = self.reason or reason
        self._perform(self.session.end())
        self._alarm.set(None)
        self._patience.stop()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._behind.clear()
        self._out, self.pending_bytes = [], 0
        self._is_closing = True
        self._wire = _NO_WIRE  # Thousands are remembered, and a connection is much more.
        self._gateway.note_gone(self)
