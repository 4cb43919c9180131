"""
What both kinds of connections between servers of NATS do alike, as values: the clock of a session.

Who does not say in time who it is, is closed. PINGs go out after silence, and too many without an
answer end the connection; a PING may have a barrier, which its PONG passes.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import attrs

from atbus.nats import bounds
from atbus.nats.faults import error_line
from atbus.nats.server_grammar import Common, ServerGrammar

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"


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


ServerEffect: TypeAlias = Write | StartTls | Opened | Answered | Close
T = TypeVar("T")
E = TypeVar("E")


class State(enum.Enum):
    """How far the connection is."""

    GREETING = "greeting"
    JOINING = "joining"
    OPEN = "open"
    CLOSED = "closed"


@attrs.frozen(kw_only=True)
class Patience:
    """How long is waited for the other side, seconds."""

    ping_seconds: float = bounds.LEAF_PING_SECONDS
    pings_max: int = bounds.PINGS_MAX
    login_seconds: float = bounds.LEAF_LOGIN_SECONDS


class ServerSession(ABC, Generic[T, E]):
    """
    One side of a connection between servers.

    :param grammar: The dialect: *T* are its own operations, *E* the effects of its own.
    """

    def __init__(self, grammar: ServerGrammar[T], patience: Patience) -> None:
        self.state = State.GREETING
        #: What the other side says of itself, the latest.
        self.peer: dict[str, Any] = {}
        #: When to tick next, seconds.
        self.deadline: float | None = None
        self._grammar = grammar
        self._patience = patience
        self._pings = 0
        #: How long the last PING was on its way and its answer back; None before the first answer.
        self.round_trip_seconds: float | None = None
        # For each PING without an answer its barrier, 0 for none, and when it was sent.
        self._asked: list[tuple[int, float]] = []
        self._now = 0.0

    @property
    def held_bytes(self) -> int:
        """How much is held of what is not complete, bytes."""
        return self._grammar.held_bytes

    @abstractmethod
    def _greet(self) -> list[E | ServerEffect]:
        """Say what is said unasked."""

    @abstractmethod
    def _take(self, operation: T | Common) -> list[E | ServerEffect]:
        """Take one operation."""

    def open(self, now: float) -> list[E | ServerEffect]:
        """Begin; the connection is there."""
        self._now = now
        self.deadline = now + self._patience.login_seconds
        return self._greet()

    def receive(self, data: bytes, now: float) -> list[E | ServerEffect]:
        """
        Take what has arrived.

        :returns: What is to be done, in order.
        """
        self._now = now
        effects: list[E | ServerEffect] = []
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
            self.deadline = now + self._patience.ping_seconds
        return effects

    def ask(self, barrier: int, now: float) -> list[E | ServerEffect]:
        """Find out when the other side knows all that was sent to it before."""
        self._asked.append((barrier, now))
        return [Write(PING)]

    def tick(self, now: float) -> list[E | ServerEffect]:
        """Do what is due."""
        if self.deadline is None or now < self.deadline or self.state is State.CLOSED:
            return []
        if self.state is not State.OPEN:
            return self._end("it has not said who it is", "Authentication Timeout")
        if self._pings >= self._patience.pings_max:
            return self._end("it does not answer", "Stale Connection")
        self._pings += 1
        self.deadline = now + self._patience.ping_seconds
        self._asked.append((0, now))
        return [Write(PING)]

    def end(self) -> None:
        """Note that the connection has ended."""
        self.state = State.CLOSED
        self.deadline = None

    def _passed(self) -> list[E | ServerEffect]:
        """Take note of a PONG."""
        if not self._asked:
            return []
        barrier, asked_at = self._asked.pop(0)
        self.round_trip_seconds = self._now - asked_at
        return [Answered(barrier)] if barrier else []

    def _end(
        self, reason: str, text: str = "", *, is_lasting: bool = False
    ) -> list[E | ServerEffect]:
        self.end()
        told: list[E | ServerEffect] = [Write(error_line(text))] if text else []
        return [*told, Close(reason, is_lasting)]
