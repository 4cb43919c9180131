"""
Whom a listener lets begin a registration, before anything is known of him but where he comes from.

A stranger costs a node a connection and about a millisecond. So there are only so many at once, so
many in a second, and so many from one address; and who has broken the protocol several times is
not listened to for a while. Whoever is on this host - a unix socket, a loopback address - is not
counted by address, for all of them have the same one.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from typing import Final

import attrs

from atbus import limits

_HOST: Final = re.compile(r"(?:tls\+)?(?P<scheme>ipv4|ipv6)://(?P<host>.*):[0-9]+")
_LOOPBACK: Final = ("127.", "::1", "[::1]", "0:0:0:0:0:0:0:1")
_MINUTE_SECONDS: Final = 60.0


def origin_of(peer: str) -> str:
    """
    Say where a stranger comes from.

    :param peer: As its channel says it, such as ``ipv4://192.0.2.1:40712``.
    :returns: Its address without the port; empty for one on this host.
    """
    found = _HOST.fullmatch(peer)
    if found is None or found["host"].startswith(_LOOPBACK):
        return ""
    return found["host"]


@attrs.define(eq=False)
class Doorkeeper:
    """
    Count strangers.

    :param per_second: How many may begin in a second; as many may come at once.
    :param breaches_max: How many breaches of the protocol in a minute are forgiven.
    :param ban_seconds: How long nobody listens then.
    """

    per_second: float = limits.HANDSHAKES_PER_SECOND
    breaches_max: int = limits.BREACHES_PER_MINUTE
    ban_seconds: float = limits.BAN_SECONDS
    _left: float = attrs.field(init=False)
    _reckoned_at: float = attrs.field(init=False, default=0.0)
    # By origin, those that broke the protocol last behind: when they did, and until when it counts.
    _breaches: OrderedDict[str, deque[float]] = attrs.field(init=False, factory=OrderedDict)
    _banned: OrderedDict[str, float] = attrs.field(init=False, factory=OrderedDict)

    def __attrs_post_init__(self) -> None:
        self._left = self.per_second

    def refuses(self, origin: str, now: float) -> str | None:
        """
        Tell why somebody may not begin; who may is counted.

        :param origin: What `origin_of` gave.
        :param now: The time, seconds.
        :returns: The reason, or None.
        """
        until = self._banned.get(origin)
        if until is not None and now < until:
            return f"{origin} has broken the protocol too often"
        self._left = min(self.per_second, self._left + (now - self._reckoned_at) * self.per_second)
        self._reckoned_at = now
        if self._left < 1:
            return f"more than {self.per_second:g} connections in a second"
        self._left -= 1
        return None

    def breach(self, origin: str, now: float) -> None:
        """
        Note that somebody broke the protocol.

        :param origin: What `origin_of` gave; who is on this host is not counted.
        :param now: The time, seconds.
        """
        if not origin:
            return
        times = self._breaches.setdefault(origin, deque(maxlen=self.breaches_max))
        self._breaches.move_to_end(origin)
        times.append(now)
        if len(times) == self.breaches_max and now - times[0] <= _MINUTE_SECONDS:
            del self._breaches[origin]
            self._banned[origin] = now + self.ban_seconds
        for kept in (self._breaches, self._banned):
            while len(kept) > limits.LOG_SUBJECTS_MAX:
                kept.popitem(last=False)
