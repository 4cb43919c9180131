"""Clients of one gateway without a bus: sessions, and what their effects are for each other."""

from __future__ import annotations

from collections.abc import Iterable

from atbus.errors import SubjectError
from atbus.nats.authentication import User
from atbus.nats.connect_options import ConnectOptions
from atbus.nats.effects import Attach, Close, Detach, Effect, Subscription, Terms, Write
from atbus.nats.grammar import Publish, PublishRun
from atbus.nats.session import Session
from atbus.subjects.pattern import matches, parse_pattern, parse_subject
from tests.nats.transcripts import EOF


class Yard:
    """
    All sessions of a test.

    :param terms: Of each.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self.user: User | None = User()
        self.now = 0.0
        self._heard: dict[Session, list[bytes]] = {}
        self._attached: list[tuple[Session, Subscription]] = []

    def client(self) -> Session:
        """Let somebody connect."""
        session = Session(self.terms, self._judge)
        self._heard[session] = []
        self._perform(session, session.open(b"", self.now))
        return session

    def _judge(self, _: ConnectOptions) -> User | None:
        return self.user

    def says(self, session: Session, data: bytes) -> None:
        """Let a client send."""
        self._perform(session, session.receive(data, self.now))
        while session.is_unread:
            self._perform(session, session.receive(b"", self.now))

    def passes(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        until = self.now + seconds
        while True:
            due = [each.deadline for each in self._heard if each.deadline is not None]
            if not due or min(due) > until:
                break
            self.now = max(self.now, min(due))
            for session in list(self._heard):
                if session.deadline is not None and session.deadline <= self.now:
                    self._perform(session, session.tick(self.now))
        self.now = until

    def performs(self, session: Session, effects: list[Effect]) -> None:
        """Carry out what a session asked for outside of `says`."""
        self._perform(session, effects)

    def hears(self, session: Session) -> bytes:
        """Give what a client got since it was last asked."""
        heard, self._heard[session] = b"".join(self._heard[session]), []
        return heard

    def _perform(self, session: Session, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Write():
                    self._heard[session].append(effect.data)
                case Attach():
                    self._attached.append((session, effect.subscription))
                case Detach():
                    self._attached.remove((session, effect.subscription))
                case Close():
                    self._heard[session].append(EOF)
                case PublishRun():
                    for payload in effect.payloads:
                        self._publish(session, Publish(effect.subject, b"", None, payload))
                case Publish():
                    self._publish(session, effect)

    def _publish(self, publisher: Session, message: Publish) -> None:
        served: set[str] = set()
        nobody = True
        tokens: tuple[str, ...] | None
        try:
            tokens = parse_subject(message.subject.decode(), literal_wildcards=True)
        except SubjectError:
            tokens = None
        for session, subscription in list(self._attached):
            if tokens is None or not matches(parse_pattern(subscription.pattern), tokens):
                continue
            if subscription.queue in served or not session.accepts(
                subscription, message.subject.decode(), is_own=session is publisher
            ):
                continue
            if subscription.queue:
                served.add(subscription.queue)
            nobody = False
            if message.reply and session.rights.may_answer:
                session.rights.asked(message.reply, self.now)
            self._heard[session].append(
                session.deliver(
                    subscription,
                    message.subject,
                    message.reply,
                    message.header or b"",
                    message.payload,
                )
            )
            if subscription.delivered == subscription.most:
                self._attached.remove((session, subscription))
        if nobody:
            self._heard[publisher].append(publisher.nobody_got(message.reply))
