"""
Questions on subjects, and the answers to them.

An answer is a publication to the inbox of who asked: ``_INBOX``, the node's bus id, and a token
that is drawn anew for each question. An inbox is not subscribed to; whoever publishes to one knows
from its name where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred

from atbus.errors import AtbusError, Status, Undeliverable
from atbus.node.context import Alarm
from atbus.node.publication import Publication
from atbus.routing.answers import Expectations, check_seconds
from atbus.subjects import bounds
from atbus.subjects.pattern import inbox_of
from atbus.wire.headers import read_status

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.publishing import Publishing

_TOKEN_BITS = 64


@attrs.define(eq=False)
class _Question:
    """
    One question that is open.

    :param subject: What it is asked on, for people.
    :param one: Who waits for one answer; None when there may be many.
    :param many: Who waits for all that come, with what has come.
    """

    deadline: float
    subject: str
    one: Deferred[Publication] | None = None
    many: Deferred[list[Publication]] | None = None
    count_max: int = 1
    quiet_seconds: float = 0.0
    answers: list[Publication] = attrs.field(factory=list)


class Inquiries:
    """The questions of one node that are open."""

    def __init__(self, context: Context, publishing: Publishing) -> None:
        self._context = context
        self._publishing = publishing
        self._open: Expectations[str, _Question] = Expectations(bounds.INQUIRIES_MAX)
        self._alarm = Alarm(context.timers, self._expire)

    def ask(
        self, subject: str, payload: bytes, kind: int, header_block: bytes, timeout: float
    ) -> Deferred[Publication]:
        """Ask, and wait for the first answer; see `Node.request_subject`."""
        check_seconds(timeout)
        inbox = self._new_inbox()
        waiting: Deferred[Publication] = Deferred(lambda _: self._forget(inbox))
        question = _Question(self._context.now + timeout, subject, one=waiting)
        self._ask(inbox, question, subject, payload, kind, header_block)
        return waiting

    def ask_many(
        self,
        subject: str,
        payload: bytes,
        kind: int,
        header_block: bytes,
        count_max: int,
        timeout: float,
        quiet_seconds: float,
    ) -> Deferred[list[Publication]]:
        """Ask, and wait for many answers; see `Node.request_many`."""
        check_seconds(timeout)
        check_seconds(quiet_seconds)
        inbox = self._new_inbox()
        waiting: Deferred[list[Publication]] = Deferred(lambda _: self._forget(inbox))
        question = _Question(
            self._context.now + timeout,
            subject,
            many=waiting,
            count_max=count_max,
            quiet_seconds=quiet_seconds,
        )
        self._ask(inbox, question, subject, payload, kind, header_block)
        return waiting

    def _new_inbox(self) -> str:
        token = self._context.random.getrandbits(_TOKEN_BITS)
        return inbox_of(self._context.bus_id, token)

    def _ask(
        self,
        inbox: str,
        question: _Question,
        subject: str,
        payload: bytes,
        kind: int,
        header_block: bytes,
    ) -> None:
        if self._open.add(inbox, question, question.deadline) is not None:
            self._fail(question, Status.BUFFER_LIMIT)
            return
        self._set_alarm()
        try:
            self._publishing.publish(
                subject,
                payload,
                kind,
                reply_to=inbox,
                header_block=header_block,
                unheard=lambda: self._unheard(inbox),
            )
        except Undeliverable as error:
            self._forget(inbox)
            self._fail(question, error.status, error.detail)
        except AtbusError:
            self._forget(inbox)
            raise

    # What comes back.

    def take(self, publication: Publication) -> bool:
        """
        Take what was published to an inbox of this node.

        :returns: Whether anybody waited for it.
        """
        inbox = publication.subject
        question = self._open.resolve(inbox)
        if question is None:
            return False
        if read_status(publication.header_block).startswith("503") and not publication.payload:
            # How a NATS server says that nobody is there.
            self._fail(question, Status.NO_RESPONDERS)
        elif question.one is not None:
            question.one.callback(publication)
        else:
            question.answers.append(publication)
            if len(question.answers) < question.count_max:
                quiet = self._context.now + question.quiet_seconds
                self._open.add(inbox, question, min(question.deadline, quiet))
            else:
                self._end(question)
        self._set_alarm()
        return True

    def _unheard(self, inbox: str) -> None:
        question = self._open.resolve(inbox)
        if question is not None:
            self._fail(question, Status.NO_RESPONDERS)
            self._set_alarm()

    def _expire(self) -> None:
        for _, question in self._open.expire(self._context.now):
            if question.answers:
                self._end(question)
            else:
                self._fail(question, Status.TIMEOUT)
        self._set_alarm()

    def close(self) -> None:
        """End every open question: the node stops."""
        self._alarm.set(None)
        for _, question in self._open.clear():
            self._fail(question, Status.CLOSING)

    def __len__(self) -> int:
        """Count the questions that are open."""
        return len(self._open)

    def _forget(self, inbox: str) -> None:
        self._open.resolve(inbox)
        self._set_alarm()

    @staticmethod
    def _end(question: _Question) -> None:
        if question.many is not None:
            question.many.callback(question.answers)

    def _fail(self, question: _Question, status: Status, detail: str = "") -> None:
        about = detail or f"asked on {question.subject}"
        error = Undeliverable(status, 0, 0, self._context.bus_id, about)
        waiting: Deferred[Publication] | Deferred[list[Publication]] | None = question.one
        if waiting is None:
            waiting = question.many
        if waiting is not None:
            waiting.errback(error)

    def _set_alarm(self) -> None:
        self._alarm.set(self._open.deadline)
