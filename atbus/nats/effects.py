"""
What sessions ask of their gateway, and what passes between the two.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import attrs

from atbus.nats import bounds
from atbus.nats.authentication import Limits
from atbus.nats.faults import Fault
from atbus.nats.grammar import Publish, PublishRun


class Subscription:
    """
    One subscription of a client.

    :param sid: The name that the client has given it.
    :param pattern: What it is interested in.
    :param queue: Its queue group; empty for none.
    """

    __slots__ = ("delivered", "most", "pattern", "queue", "raw_pattern", "sid")

    def __init__(self, sid: bytes, pattern: str, queue: str, raw_pattern: bytes) -> None:
        self.sid = sid
        self.pattern = pattern
        self.queue = queue
        self.raw_pattern = raw_pattern
        #: How many messages it got, and after how many it ends; 0 for never.
        self.delivered = 0
        self.most = 0


class Write(NamedTuple):
    """Send bytes to the client."""

    data: bytes


class Attach(NamedTuple):
    """A subscription begins."""

    subscription: Subscription


class Detach(NamedTuple):
    """A subscription ends."""

    subscription: Subscription


class Close(NamedTuple):
    """Close the connection when everything is sent."""

    fault: Fault


class Connected(NamedTuple):
    """The client has said who it is, perhaps not for the first time."""


Effect: TypeAlias = Write | Publish | PublishRun | Attach | Detach | Close | Connected


@attrs.frozen(kw_only=True)
class Terms:
    """
    What holds for a client.

    :param needs_login: Whether it must say who it is before anything else.
    :param awaits_word: Whether it must say something, whatever that is, in the time for a login.
    :param subscriptions_max: How many it may have; 0 for any number.
    :param first_ping_seconds: After its begin; drawn, so that not all come at once.
    """

    needs_login: bool = False
    awaits_word: bool = False
    payload_bytes_max: int = bounds.PAYLOAD_BYTES
    line_bytes_max: int = bounds.LINE_BYTES
    subscriptions_max: int = 0
    ping_seconds: float = bounds.PING_SECONDS
    pings_max: int = bounds.PINGS_MAX
    first_ping_seconds: float = bounds.FIRST_PING_SECONDS
    login_seconds: float = bounds.AUTHENTICATION_SECONDS

    @property
    def limits(self) -> Limits:
        """What a client may have that has no limits of its own."""
        return Limits(
            subscriptions=self.subscriptions_max or None, payload_bytes=self.payload_bytes_max
        )


class Counts:
    """What has passed, messages and bytes of headers and payloads."""

    __slots__ = ("in_bytes", "in_messages", "out_bytes", "out_messages")

    def __init__(self) -> None:
        self.in_messages = self.in_bytes = self.out_messages = self.out_bytes = 0
