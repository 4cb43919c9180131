"""
Whom a listener lets begin a registration, before anything is known of him but where he comes from.

A stranger costs a node a connection and about a millisecond. So there are only so many at once, so
many in a second, and so many from one address; and who has broken the protocol several times, or
begun TLS many times for nothing, is not listened to for a while. Whoever is on this host - a unix
socket, a loopback address - is not counted by address, for all of them have the same one.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from typing import Final

import attrs

from atbus import limits
from atbus.handshake import bounds

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


class _Offences:
    """
    What addresses have done that is forgiven so often.

    :param most: How often in a minute.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # When, by origin; the last one that did it behind.
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, origin: str, now: float) -> bool:
        """
        Count one.

        :param origin: Who.
        :param now: The time, seconds.
        :returns: Whether it was one too many; then counting begins anew.
        """
        times = self._times.setdefault(origin, deque(maxlen=self._most))
        self._times.move_to_end(origin)
        times.append(now)
        if len(times) == self._most and now - times[0] <= _MINUTE_SECONDS:
            del self._times[origin]
            return True
        if len(self._times) > limits.LOG_SUBJECTS_MAX:
            self._times.popitem(last=False)
        return False


@attrs.define(eq=False)
class Doorkeeper:
    """
    Count strangers.

    :param per_second: How many may begin in a second; as many may come at once.
    :param ban_seconds: How long nobody listens to who was not forgiven any more.
    """

    per_second: float = limits.HANDSHAKES_PER_SECOND
    ban_seconds: float = limits.BAN_SECONDS
    _left: float = attrs.field(init=False)
    _reckoned_at: float = attrs.field(init=False, default=0.0)
    _breaches: _Offences = attrs.field(init=False)
    _bad_handshakes: _Offences = attrs.field(init=False)
    # By origin, the last one behind: until when, and why.
    _banned: OrderedDict[str, tuple[float, str]] = attrs.field(init=False, factory=OrderedDict)

    def __attrs_post_init__(self) -> None:
        self._left = self.per_second
        self._breaches = _Offences(limits.BREACHES_PER_MINUTE)
        self._bad_handshakes = _Offences(bounds.BAD_HANDSHAKES_PER_MINUTE)

    def refuses(self, origin: str, now: float) -> str | None:
        """
        Tell why somebody may not begin; who may is counted.

        :param origin: What `origin_of` gave.
        :param now: The time, seconds.
        :returns: The reason, or None.
        """
        until, why = self._banned.get(origin, (now, ""))
        if now < until:
            return f"{origin} {why}"
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
        if origin and self._breaches.note(origin, now):
            self._ban(origin, now, "has broken the protocol too often")

    def bad_handshake(self, origin: str, now: float) -> None:
        """
        Note that somebody's TLS handshake was for nothing.

        :param origin: What `origin_of` gave; who is on this host is not counted.
        :param now: The time, seconds.
        """
        if origin and self._bad_handshakes.note(origin, now):
            self._ban(origin, now, "has begun too many TLS handshakes for nothing")

    def _ban(self, origin: str, now: float, why: str) -> None:
        self._banned[origin] = (now + self.ban_seconds, why)
        self._banned.move_to_end(origin)
        if len(self._banned) > limits.LOG_SUBJECTS_MAX:
            self._banned.popitem(last=False)
