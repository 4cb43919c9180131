"""
Whether a neighbor lives.

1. A ping goes out every interval, a tenth more or less by lot, so that the pings of many links
   do not march in step.
2. Any frame from the neighbor is life, not only the pong. Pings sent since the last sign of life
   are unanswered.
3. The neighbor is dead when ``tolerance + 1`` pings are unanswered and as many intervals have
   passed since the last sign of life: 24 s with the defaults, 8 s and 2, never later. To keep that
   word whatever the lots say, the pings that follow an unanswered one share evenly the time that
   is left, which is an interval or less for each. (With a tolerance of 0 it takes a little longer,
   for the only ping must have time to be answered.)
4. A node whose own loop was late by more than half an interval accuses nobody for an interval: the
   proof of life may lie unread in a buffer. A tick that comes late is such a proof against
   ourselves, also when nobody measured the lag. But whoever keeps a node busy must not keep the
   dead alive: between two ticks everything is read that has come, so who has left four times as
   many pings unanswered as would do (`bounds.UNANSWERED_FACTOR`) is dead, whoever lags.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from atbus.errors import Status
from atbus.limits import HEARTBEAT_JITTER, SELF_LAG_FRACTION
from atbus.routing import bounds

# The last ping has no less of an interval than this to be answered; it matters where the
# tolerance is 0.
_SHARE_MIN = 0.25


@attrs.frozen
class SendPing:
    """
    Send PING on the control connection.

    :param sequence: The sequence to send it under; the pong repeats it.
    """

    sequence: int


@attrs.frozen
class DeclareDead:
    """
    Close every connection to the neighbor; it does not answer.

    :param status: Why.
    """

    status: Status


Effect: TypeAlias = SendPing | DeclareDead


# Assigned to with every read: what validates the first values must not stand in the way of those.
@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Heartbeat:
    """
    The pings to one neighbor.

    :param interval_seconds: Time between two pings.
    :param tolerance: How many pings may go unanswered; one more is death.
    """

    interval_seconds: float = attrs.field(validator=attrs.validators.gt(0))
    tolerance: int = attrs.field(validator=attrs.validators.ge(0))
    #: When the neighbor last gave a sign of life, seconds.
    heard_at: float = attrs.field(default=0.0, init=False)
    #: The last round trip, seconds; None before the first pong.
    rtt_seconds: float | None = attrs.field(default=None, init=False)
    #: How many pings were sent since the last sign of life.
    unanswered: int = attrs.field(default=0, init=False)
    _open: bool = attrs.field(default=False, init=False)
    _sequence: int = attrs.field(default=0, init=False)
    # When the last ping went out; None when its pong came.
    _pinged_at: float | None = attrs.field(default=None, init=False)
    # When to act next if the neighbor has given a sign of life since the last ping, and if not.
    _due_if_heard: float = attrs.field(default=0.0, init=False)
    _due_if_silent: float = attrs.field(default=0.0, init=False)
    # Our own loop lagged: nobody is accused before this.
    _patient_until: float = attrs.field(default=float("-inf"), init=False)

    @property
    def deadline(self) -> float | None:
        """When to tick next, seconds; a sign of life moves it. None before `open`, after death."""
        if not self._open:
            return None
        return self._due_if_silent if self.unanswered else self._due_if_heard

    def open(self, now: float, jitter: float = 0.5) -> list[Effect]:
        """
        Begin: the neighbor has just registered, which is a sign of life.

        :param now: The time, seconds.
        :param jitter: A number drawn evenly between 0 and 1.
        :returns: No effects; the first ping is due an interval later.
        """
        self._open = True
        self.heard_at = now
        self._due_if_heard = now + self._spacing(jitter)
        return []

    def heard(self, now: float) -> None:
        """
        Take any frame from the neighbor for a sign of life.

        :param now: The time, seconds.
        """
        self.heard_at = now
        self.unanswered = 0

    def ponged(self, sequence: int, now: float) -> float | None:
        """
        Receive a pong, which is a sign of life whatever it answers.

        :param sequence: Which ping it answers.
        :param now: The time, seconds.
        :returns: The round trip in seconds, or None when it does not answer the last ping.
        """
        self.heard(now)
        if sequence != self._sequence or self._pinged_at is None:
            return None
        self.rtt_seconds = now - self._pinged_at
        self._pinged_at = None
        return self.rtt_seconds

    def tick(self, now: float, jitter: float = 0.5, lag_seconds: float = 0.0) -> list[Effect]:
        """
        Do what is due.

        :param now: The time, seconds.
        :param jitter: A number drawn evenly between 0 and 1.
        :param lag_seconds: By how much our own loop was late at worst since the last tick.
        :returns: The ping to send, or the death to declare; nothing before the deadline.
        """
        deadline = self.deadline
        if deadline is None:
            return []
        if max(lag_seconds, now - deadline) > SELF_LAG_FRACTION * self.interval_seconds:
            self._patient_until = now + self.interval_seconds
        if now < deadline:
            return []
        most = self.tolerance + 1
        if now < self._patient_until:
            most *= bounds.UNANSWERED_FACTOR
        if self.unanswered >= most:
            self._open = False
            return [DeclareDead(Status.HEARTBEAT_LOST)]
        self._sequence += 1
        self.unanswered += 1
        self._pinged_at = now
        self._due_if_heard = now + self._spacing(jitter)
        self._due_if_silent = self._due_in_silence(now)
        return [SendPing(self._sequence)]

    def _due_in_silence(self, now: float) -> float:
        """Say when to ping again or, after the last ping, when to declare the death."""
        dead_at = self.heard_at + (self.tolerance + 1) * self.interval_seconds
        dead_at = max(dead_at, self._patient_until, now + _SHARE_MIN * self.interval_seconds)
        pings_left = self.tolerance + 1 - self.unanswered
        if pings_left <= 0:
            return dead_at
        return now + (dead_at - now) / (pings_left + 1)

    def _spacing(self, jitter: float) -> float:
        return self.interval_seconds * (1 + HEARTBEAT_JITTER * (2 * jitter - 1))
