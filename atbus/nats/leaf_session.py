"""
One connection between leafs, as values: bytes in, effects out.

Theory of operation. Who accepts (the *hub*) says INFO; who dials begins TLS if one of the two wants
it, and says CONNECT and PING. The hub judges it and says INFO again, marked ``connect_info``; from
then on both tell their interest and send messages. A dialer is open when it hears that, or the
first PONG. PINGs go out after silence; too many without an answer end the connection.

Loops. A hub tells its leafs a subject of its own, ``$LDS.`` and a random word. Interest is passed
on by everybody, so one that is told its own subject has itself behind that leaf: it says so, and
closes. The other side waits long before it tries again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import attrs

from atbus.nats import bounds
from atbus.nats.faults import error_line
from atbus.nats.leaf_grammar import (
    Broken,
    Connect,
    Info,
    Interest,
    LeafGrammar,
    Message,
    Operation,
    Ping,
    Pong,
    Refused,
    write_interest,
    write_object,
)

#: How the subjects begin by which loops are found.
LOOP_SUBJECTS: Final = "$LDS."

#: What servers of NATS ask each other; nothing of it is for the bus.
_SYSTEM_SUBJECTS: Final = "$SYS."

_PING: Final = b"PING\r\n"
_PONG: Final = b"PONG\r\n"


class Write(NamedTuple):
    """Send bytes."""

    data: bytes


class StartTls(NamedTuple):
    """Begin TLS, before anything else is sent."""


class Opened(NamedTuple):
    """The other side takes part from now on."""


class Answered(NamedTuple):
    """The other side knows what it was told before a barrier."""

    barrier: int


class Close(NamedTuple):
    """Close when everything is sent; *is_lasting*: to try again soon is of no use."""

    reason: str
    is_lasting: bool = False


Effect: TypeAlias = Write | StartTls | Opened | Interest | Message | Answered | Close


class State(enum.Enum):
    """How far the connection is."""

    GREETING = "greeting"
    JOINING = "joining"
    OPEN = "open"
    CLOSED = "closed"


@attrs.frozen(kw_only=True)
class LeafTerms:
    """
    What we say of ourselves, and how patient we are.

    :param about: The fields of our INFO, or of our CONNECT.
    :param is_hub: Whether we have accepted the connection.
    :param tls: Whether we have what TLS needs.
    :param needs_tls: Whether there is no connection without it.
    :param loop_subject: Our own; empty for none.
    """

    about: dict[str, Any]
    is_hub: bool
    tls: bool = False
    needs_tls: bool = False
    loop_subject: str = ""
    ping_seconds: float = bounds.LEAF_PING_SECONDS
    pings_max: int = bounds.PINGS_MAX
    login_seconds: float = bounds.LEAF_LOGIN_SECONDS


def _admit_all(_: dict[str, Any]) -> bool:
    return True


class LeafSession:
    """
    One side of a connection between leafs.

    :param judge: Tells by the CONNECT of the other side whether it may come in; hubs only.
    """

    def __init__(
        self, terms: LeafTerms, judge: Callable[[dict[str, Any]], bool] = _admit_all
    ) -> None:
        self.state = State.GREETING
        #: When to tick next, seconds.
        self.deadline: float | None = None
        #: What the other side says of itself.
        self.peer: dict[str, Any] = {}
        self._terms = terms
        self._judge = judge
        self._grammar = LeafGrammar()
        self._pings = 0
        # For each PING without an answer its barrier, 0 for none.
        self._asked: list[int] = []

    @property
    def held_bytes(self) -> int:
        """How much is held of what is not complete, bytes."""
        return self._grammar.held_bytes

    def open(self, now: float) -> list[Effect]:
        """Begin; the connection is there."""
        self.deadline = now + self._terms.login_seconds
        if not self._terms.is_hub:
            return []
        effects: list[Effect] = [Write(write_object("INFO", self._terms.about))]
        if self._terms.needs_tls:
            effects.append(StartTls())
        return effects

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """
        Take what has arrived.

        :returns: What is to be done, in order.
        """
        effects: list[Effect] = []
        for operation in self._grammar.feed(data):
            if self.state is State.CLOSED:
                break
            effects += self._take(operation)
        is_known = self.state in (State.OPEN, State.CLOSED)
        if not is_known and self._grammar.needed_bytes > bounds.LEAF_LINE_BYTES:
            # The message of a stranger is not waited for: it may be of any length.
            effects += self._end("it has not said who it is", "Authorization Violation")
        if self.state is State.OPEN:
            self._pings = 0
            self.deadline = now + self._terms.ping_seconds
        return effects

    def _take(self, operation: Operation) -> list[Effect]:
        match operation:
            case Ping():
                return [Write(_PONG)]
            case Pong():
                return self._answered()
            case Info(fields=fields):
                return [] if self._terms.is_hub else self._informed(fields)
            case Connect(fields=fields):
                return self._connected(fields)
            case Refused(text=text):
                is_lasting = "Loop detected" in text or "same cluster" in text.lower()
                return self._end(f"the other side says: {text}", is_lasting=is_lasting)
            case Broken(line=line):
                return self._end(f"not understood: {line!r}", "Unknown Protocol Operation")
        if self.state is not State.OPEN:
            return self._end("it has not said who it is", "Authorization Violation")
        if isinstance(operation, Interest):
            return self._interested(operation)
        return [operation]

    def _informed(self, fields: dict[str, Any]) -> list[Effect]:
        """A dialer hears the hub's INFO: the first one, or a later one."""
        first = self.state is State.GREETING
        self.peer = fields
        if not first:
            return self._begin() if fields.get("connect_info") else []
        if not fields.get("client_id") or "leafnode_urls" not in fields:
            return self._end("this is no port for leafs", is_lasting=True)
        self.state = State.JOINING
        effects: list[Effect] = []
        if fields.get("tls_required") or self._terms.needs_tls:
            if not self._terms.tls:
                return self._end("it wants TLS, for which nothing is configured", is_lasting=True)
            effects.append(StartTls())
        self._asked.append(0)
        effects.append(Write(write_object("CONNECT", self._terms.about) + _PING))
        return effects

    def _connected(self, fields: dict[str, Any]) -> list[Effect]:
        """A hub hears who has dialed."""
        if not self._terms.is_hub or self.state is not State.GREETING:
            return self._end("CONNECT, where none belongs", "Unknown Protocol Operation")
        self.peer = fields
        if "lang" in fields:
            return self._end("a client", "attempted to connect to leaf node port")
        if not self._judge(fields):
            return self._end("its credentials are not ours", "Authorization Violation")
        about = self._terms.about | {"connect_info": True, "remote_account": "$G"}
        return [Write(write_object("INFO", about)), *self._begin()]

    def _begin(self) -> list[Effect]:
        if self.state is State.OPEN:
            return []
        self.state = State.OPEN
        effects: list[Effect] = [Opened()]
        if self._terms.is_hub and self._terms.loop_subject:
            effects.append(Write(write_interest(Interest(self._terms.loop_subject, "", 1))))
        return effects

    def _interested(self, interest: Interest) -> list[Effect]:
        if interest.subject == self._terms.loop_subject and interest.weight:
            text = 'Loop detected for leafnode account="$G"'
            return self._end("we are behind it ourselves", text, is_lasting=True)
        return [] if interest.subject.startswith(_SYSTEM_SUBJECTS) else [interest]

    def _answered(self) -> list[Effect]:
        effects = self._begin() if self.state is State.JOINING else []
        barrier = self._asked.pop(0) if self._asked else 0
        return [*effects, Answered(barrier)] if barrier else effects

    def ask(self, barrier: int) -> list[Effect]:
        """Find out when the other side knows all that was sent to it before."""
        self._asked.append(barrier)
        return [Write(_PING)]

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        if self.deadline is None or now < self.deadline or self.state is State.CLOSED:
            return []
        if self.state is not State.OPEN:
            return self._end("it has not said who it is", "Authentication Timeout")
        if self._pings >= self._terms.pings_max:
            return self._end("it does not answer", "Stale Connection")
        self._pings += 1
        self.deadline = now + self._terms.ping_seconds
        self._asked.append(0)
        return [Write(_PING)]

    def end(self) -> None:
        """Note that the connection has ended."""
        self.state = State.CLOSED
        self.deadline = None

    def _end(self, reason: str, text: str = "", *, is_lasting: bool = False) -> list[Effect]:
        self.end()
        told: list[Effect] = [Write(error_line(text))] if text else []
        return [*told, Close(reason, is_lasting)]
