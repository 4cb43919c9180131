"""
One client's side of the protocol: bytes in, effects out.

Theory of operation. The client is greeted with INFO, and says in CONNECT who it is and what it
wants; a client of an open gateway need not. Everything is dealt with in the order in which it came,
within one read as well: what is published has been carried out before the next operation, which may
change who gets it, is looked at; and what a PONG answers has happened before. Until the first PONG
nothing is sent that was not asked for, because clients take the first line behind their PING for
its answer.

Publications and subscriptions are the gateway's to carry out; what a subscription gets comes back
through `Session.deliver`, which writes it down for this client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from atbus.nats.authentication import Unproven, User
from atbus.nats.connect_options import ConnectOptions, read_connect
from atbus.nats.deliveries import write_run
from atbus.nats.effects import (
    Attach,
    Close,
    Connected,
    Counts,
    Detach,
    Effect,
    Subscription,
    Terms,
    Write,
)
from atbus.nats.faults import Fault, error_line
from atbus.nats.grammar import (
    Broken,
    Connect,
    Grammar,
    Operation,
    Ping,
    Pong,
    Publish,
    PublishRun,
    Subscribe,
    Unsubscribe,
)
from atbus.nats.raw_subjects import (
    is_answer_of_servers,
    is_literal,
    is_of_servers,
    is_subscribable,
    matches_raw,
)
from atbus.nats.rights import Rights
from atbus.nats.unpublished import refused, refused_reply, unsubscribable, violation

#: What is sent to who asked for an answer when nobody got the question, behind subject and sid; as
#: of the version that INFO says. Since 2.12 servers name the subject of the question in a header.
_NOBODY: Final = b" 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"

_OK: Final = b"+OK\r\n"
_PING: Final = b"PING\r\n"
_PONG: Final = b"PONG\r\n"


class Session:
    """
    One client.

    :param terms: What holds for it.
    :param judge: Says as whom a client with these options is let in, or what it is told; or that
        this is not known yet, and will be said to `decide`.
    :param allows: Says whether anybody may subscribe to a pattern here, whoever he is.
    """

    def __init__(
        self,
        terms: Terms,
        judge: Callable[[ConnectOptions], User | Unproven | Fault | None],
        allows: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.options = ConnectOptions()
        self.user: User | None = None
        self.subscriptions: dict[bytes, Subscription] = {}
        self.counts = Counts()
        #: The last round trip, seconds; until there was one, how long CONNECT took to come, and
        #: None before that.
        self.round_trip_seconds: float | None = None
        #: When something was last heard of the client that was more than a PONG.
        self.heard_at = 0.0
        self.connected = False
        self.closed = False
        #: Whether it has said who it is, and that is not decided; until then nothing is received.
        self.is_waiting = False
        self._terms = terms
        self._judge = judge
        self._allows = allows
        self._grammar = Grammar(
            *(terms.payload_bytes_max, terms.line_bytes_max),
            awaits_connect=terms.needs_login,
            knows_headers=self.options.headers,
        )
        #: What it may do.
        self.rights = Rights()
        self._limits = terms.limits
        self._awaits_login = terms.needs_login
        self._has_ponged = False
        self._news: bytes | None = None
        self._pings_out = 0
        self._pinged_at = 0.0
        self._is_measured = False
        self._opened_at = 0.0
        self._next_ping = 0.0
        self._login_until: float | None = None

    def open(self, info: bytes, now: float) -> list[Effect]:
        """
        Greet the client.

        :param info: The INFO line; empty when it has been sent already, in front of TLS.
        :param now: Seconds.
        """
        self.heard_at = self._opened_at = now
        self._next_ping = now + min(self._terms.first_ping_seconds, self._terms.ping_seconds)
        if self._awaits_login or self._terms.awaits_word:
            self._login_until = now + self._terms.login_seconds
        return [Write(info)] if info else []

    @property
    def is_unread(self) -> bool:
        """Whether `receive` has left something; it goes on when it is called again."""
        return self._grammar.is_unread and not self.closed and not self.is_waiting

    @property
    def deadline(self) -> float | None:
        """When `tick` is to be called; None when the session is over."""
        if self.closed:
            return None
        times = [self._next_ping]
        if self._login_until is not None:
            times.append(self._login_until)
        if self.user is not None and self.user.expires is not None:
            times.append(self.user.expires)
        return min(times)

    def tick(self, now: float) -> list[Effect]:
        """
        Do what is due.

        :param now: Seconds.
        """
        effects: list[Effect] = []
        if self.closed:
            return effects
        if self._login_until is not None and now >= self._login_until:
            self._close(Fault.AUTHENTICATION_TIMEOUT, effects)
        elif self.user is not None and self.user.expires is not None and now >= self.user.expires:
            self._close(Fault.AUTHENTICATION_EXPIRED, effects)
        elif now >= self._next_ping:
            self._next_ping = now + self._terms.ping_seconds
            is_due = not self._is_measured or now - self.heard_at >= self._terms.ping_seconds
            # Who waits is not read, so its answer would not be either.
            if is_due and not self.is_waiting:
                self._ping(now, effects)
        return effects

    def _ping(self, now: float, effects: list[Effect]) -> None:
        if self._pings_out >= self._terms.pings_max:
            self._close(Fault.STALE, effects)
            return
        self._pings_out += 1
        self._pinged_at = now
        effects.append(Write(_PING))

    def receive(self, data: bytes, now: float) -> Iterator[Effect]:
        """
        Take what the client has sent.

        :param data: Any piece of it; nothing, to go on with what is unread.
        :param now: Seconds.
        :returns: What is to be done, in this order. Each is to be carried out before the next one
            is asked for: what that is may depend on what comes of it. There may be more than
            that: it `is_unread`.
        """
        if self.closed:
            return
        effects: list[Effect] = []
        operations = self._grammar.feed(data)
        if not self._grammar.may_be_login and not self._awaits_login:
            # It is somebody without that.
            self._login_until = None
        for operation in operations:
            goes = False
            if type(operation) is Publish:
                self.heard_at = now
                goes = self._publish(operation, now, effects)
            elif type(operation) is PublishRun:
                self.heard_at = now
                goes = self._publish_run(operation, now, effects)
            else:
                self._obey(operation, now, effects)
            if effects:
                yield from effects
                effects.clear()
            if goes:
                yield operation  # type: ignore[misc]  # one of the first two
            # What came of them may have ended it, too.
            if self.closed:
                return

    def _publish(self, message: Publish, now: float, effects: list[Effect]) -> bool:
        """
        Look at a publication.

        :param effects: Gets what is done before it.
        :returns: Whether it is to be carried out.
        """
        counts, options = self.counts, self.options
        subject, reply, header, payload = message
        counts.in_messages += 1
        counts.in_bytes += len(payload)
        if header is not None:
            counts.in_bytes += len(header)
        if options.pedantic and not is_literal(subject):
            effects.append(Write(error_line("Invalid Publish Subject")))
        rights = self.rights
        if is_of_servers(subject) or not (
            rights.publishes_freely or rights.may_publish(subject, now)
        ):
            effects.append(Write(refused(subject)))
            return False
        if reply and is_answer_of_servers(reply):
            effects.append(Write(refused_reply(reply)))
            return False
        if options.verbose:
            effects.append(Write(_OK))
        return True

    def _publish_run(self, run: PublishRun, now: float, effects: list[Effect]) -> bool:
        """Look at publications, likewise; if not all are to be carried out, effects has some."""
        counts, options = self.counts, self.options
        subject, payloads = run
        if (
            options.verbose
            or not self.rights.publishes_freely
            or is_of_servers(subject)
            or (options.pedantic and not is_literal(subject))
        ):
            # Each may have an answer of its own.
            for payload in payloads:
                message = Publish(subject, b"", None, payload)
                if self._publish(message, now, effects):
                    effects.append(message)
            return False
        counts.in_messages += len(payloads)
        counts.in_bytes += sum(map(len, payloads))
        return True

    def _obey(self, operation: Operation, now: float, effects: list[Effect]) -> None:
        if not isinstance(operation, Pong):
            self.heard_at = now
        match operation:
            case Ping():
                self._answer_ping(effects)
            case Pong():
                if self._pings_out:
                    self.round_trip_seconds = now - self._pinged_at
                    self._is_measured = True
                self._pings_out = 0
            case Subscribe():
                self._subscribe(operation, effects)
            case Unsubscribe():
                self._unsubscribe(operation, effects)
            case Connect():
                if self.round_trip_seconds is None:
                    self.round_trip_seconds = now - self._opened_at
                self._connect(operation, effects)
            case Broken(subject=subject):
                if subject is not None and self.options.pedantic and not is_literal(subject):
                    effects.append(Write(error_line("Invalid Publish Subject")))
                self._close(operation.fault, effects)

    def _answer_ping(self, effects: list[Effect]) -> None:
        effects.append(Write(_PONG))
        if not self._has_ponged:
            self._has_ponged = True
            if self._news is not None and self.options.protocol >= 1:
                effects.append(Write(self._news))
            self._news = None

    def inform(self, info: bytes) -> list[Effect]:
        """
        Tell the client that something of INFO is different now.

        :param info: The line; only who understands it gets it, and not before its first PONG.
        """
        if self.closed or (self.connected and self.options.protocol < 1):
            return []
        if not self._has_ponged:
            self._news = info
            return []
        return [Write(info)] if self.options.protocol >= 1 else []

    def _connect(self, operation: Connect, effects: list[Effect]) -> None:
        try:
            options = read_connect(operation.options, self.options)
        except ValueError:
            self._close(Fault.MALFORMED, effects)
            return
        self.options = options
        self._grammar.knows_headers = options.headers
        self._login_until = None
        verdict = self._judge(options)
        if isinstance(verdict, Unproven):
            self.is_waiting = True
        else:
            self._admit(verdict, effects)

    def decide(self, verdict: User | Fault | None) -> list[Effect]:
        """
        Go on, now that it is known who the client is.

        :param verdict: As whom it is let in, or what it is told; None for the usual.
        """
        effects: list[Effect] = []
        if self.is_waiting and not self.closed:
            self._admit(verdict, effects)
        self.is_waiting = False
        return effects

    def _admit(self, user: User | Fault | None, effects: list[Effect]) -> None:
        options = self.options
        if not isinstance(user, User) or options.account or options.new_account:
            self._close(user if isinstance(user, Fault) else Fault.NOT_AUTHORIZED, effects)
            return
        if options.protocol not in (0, 1):
            self._close(Fault.PROTOCOL_VERSION, effects)
            return
        if options.no_responders and not options.headers:
            self._close(Fault.NO_RESPONDERS_WITHOUT_HEADERS, effects)
            return
        self._awaits_login = False
        self.connected = True
        self.become(user)
        effects.append(Connected())
        if options.verbose:
            effects.append(Write(_OK))
        if not user.limits.allow_another(len(self.subscriptions)):
            self._close(Fault.TOO_MANY_SUBSCRIPTIONS, effects)

    def become(self, user: User) -> None:
        """
        Give the client a user's rights.

        :param user: As whom it is let in.
        """
        # The right to answer comes from what is got with these.
        self.user = user
        self.rights = Rights(user.permissions)
        self._take_limits(user)

    def _take_limits(self, user: User) -> None:
        self._limits = self._terms.limits.within(user.limits)
        self._grammar.payload_bytes_max = self._limits.payload_bytes or 0

    def _subscribe(self, operation: Subscribe, effects: list[Effect]) -> None:
        pattern = operation.subject.decode(errors="replace")
        queue = operation.queue.decode(errors="replace")
        may = self.rights.permissions.may_subscribe(pattern, queue)
        if not (may and self._allows(pattern)):
            effects.append(Write(error_line(violation(operation.subject, operation.queue))))
            return
        if not self._limits.allow_another(len(self.subscriptions)):
            effects.append(Write(error_line("maximum subscriptions exceeded")))
            return
        if operation.sid not in self.subscriptions:
            if not is_subscribable(operation.subject, operation.queue):
                effects.append(Write(unsubscribable(operation.subject, operation.queue)))
                return
            subscription = Subscription(operation.sid, pattern, queue, operation.subject)
            self.subscriptions[operation.sid] = subscription
            effects.append(Attach(subscription))
        if self.options.verbose:
            effects.append(Write(_OK))

    def _unsubscribe(self, operation: Unsubscribe, effects: list[Effect]) -> None:
        subscription = self.subscriptions.get(operation.sid)
        if subscription is not None:
            if operation.most > subscription.delivered:
                subscription.most = operation.most
            else:
                del self.subscriptions[operation.sid]
                effects.append(Detach(subscription))
        if self.options.verbose:
            effects.append(Write(_OK))

    def accepts(self, subscription: Subscription, subject: str, *, is_own: bool) -> bool:
        """
        Tell whether a subscription may get a message.

        :param subscription: One of this client.
        :param subject: What the message was published on.
        :param is_own: Whether this client has published it.
        """
        if self.closed or (is_own and not self.options.echo):
            return False
        rights = self.rights
        return rights.receives_freely or rights.permissions.may_receive(
            subject, subscription.queue
        )

    def deliver(
        self,
        subscription: Subscription,
        subject: bytes,
        reply: bytes,
        header: bytes,
        payload: bytes,
    ) -> bytes:
        """
        Write a message for the client, of which the subscription has got one more by that.

        :param subscription: Whose message it is. When it has got the last one, it is gone
            from `subscriptions`.
        :param reply: Empty for none.
        :param header: A header block; empty for none, and left out for who knows no headers.
        :returns: What is to be sent.
        """
        counts = self.counts
        size = len(payload)
        counts.out_messages += 1
        subscription.delivered += 1
        if subscription.delivered == subscription.most:
            self.subscriptions.pop(subscription.sid, None)
        if reply:
            reply += b" "
        if header and self.options.headers:
            head = len(header)
            counts.out_bytes += size + head
            return b"HMSG %b %b %b%d %d\r\n%b%b\r\n" % (
                *(subject, subscription.sid, reply, head, head + size),
                *(header, payload),
            )
        counts.out_bytes += size
        return b"MSG %b %b %b%d\r\n%b\r\n" % (subject, subscription.sid, reply, size, payload)

    def deliver_run(
        self, subscription: Subscription, subject: bytes, payloads: Sequence[bytes]
    ) -> bytes:
        """
        Write messages for the client on one subject, without reply subject and headers.

        :param subscription: Whose they are; it has no last message.
        :returns: What is to be sent.
        """
        counts = self.counts
        sizes = list(map(len, payloads))
        counts.out_messages += len(payloads)
        counts.out_bytes += sum(sizes)
        subscription.delivered += len(payloads)
        return write_run(subject, subscription.sid, payloads, sizes)

    def nobody_got(self, reply: bytes) -> bytes:
        """
        Write that a request had no responders.

        :param reply: Where the answer was wanted.
        :returns: What is to be sent; empty when the client does not want to know.
        """
        if not reply or not self.options.no_responders or self.closed:
            return b""
        for subscription in self.subscriptions.values():
            if not subscription.queue and matches_raw(subscription.raw_pattern, reply):
                return b"HMSG %b %b%b" % (reply, subscription.sid, _NOBODY)
        return b""

    def end(self, fault: Fault | None = None) -> list[Effect]:
        """
        End the session.

        :param fault: What the client is told; None when it is gone already, or told nothing.
        :returns: What is to be done; its subscriptions are detached.
        """
        effects: list[Effect] = []
        if not self.closed:
            self._close(fault, effects)
        return effects

    def _close(self, fault: Fault | None, effects: list[Effect]) -> None:
        self.closed = True
        self._grammar.end()
        self.rights.end()
        self.options = self.options.remembered()
        effects.extend(map(Detach, self.subscriptions.values()))
        self.subscriptions = {}
        if fault is not None:
            if fault.text:
                effects.append(Write(error_line(fault.text)))
            effects.append(Close(fault))
