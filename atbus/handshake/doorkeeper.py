"""
Whom a listener lets begin a registration, before anything is known of him but where he comes from.

A stranger costs a node a connection and about a millisecond. So there are only so many at once, so
many in a second, and so many from one address; and who has broken the protocol several times, or
begun TLS many times for nothing, is not listened to for a while.

Who comes over the network has one pot of connections, which fills as time goes by. Nobody empties
it for the others: each address has its share. From where a node has registered before more may come
while half of the pot is left, and the last quarter of it is for those addresses alone. Who comes by
a way that no other host has - a unix socket - has another pot, and waits while it is empty. Whoever
is on this host is never banned, for all its nodes have the same address.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from typing import Final, TypeVar

import attrs

from atbus import limits
from atbus.handshake import bounds

T = TypeVar("T")

_HOST: Final = re.compile(r"(?:tls\+)?(?P<scheme>ipv4|ipv6)://(?P<host>.*):[0-9]+")
_MINUTE_SECONDS: Final = 60.0


def account_of(peer: str) -> str:
    """
    Say to whose account somebody comes.

    :param peer: As its channel says it, such as ``ipv4://192.0.2.1:40712``.
    :returns: Its address without the port; of IPv6 the first 64 bits, for whoever has them has all
        that begin so. Empty for who has no address.
    """
    found = _HOST.fullmatch(peer)
    if found is None:
        return ""
    host = found["host"].removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    # All hosts of one wire have the same 64 bits of those that count there only.
    if address.version == 4 or address.is_loopback or address.is_link_local:
        return str(address)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"


def origin_of(peer: str) -> str:
    """
    Say where a stranger comes from.

    :param peer: As for `account_of`.
    :returns: What that gives; empty for one on this host.
    """
    account = account_of(peer)
    return "" if is_here(account) else account


def is_here(account: str) -> bool:
    """
    Tell whether an account is of this host.

    :param account: What `account_of` gave.
    :returns: Whether it is a loopback address, or none.
    """
    return account in {"", "::1"} or account.startswith("127.")


def of_the_most(places: Mapping[T, str]) -> list[T]:
    """
    Say who gives way when there is no place left.

    :param places: Who has one, the oldest first, and to whose account.
    :returns: All of the account with the most places, the oldest first.
    """
    if not places:
        return []
    [(most, _)] = Counter(places.values()).most_common(1)
    return [each for each, account in places.items() if account == most]


@attrs.define(eq=False)
class _Pot:
    """
    Connections that may begin.

    :param per_second: How many come into it in a second; it holds as many.
    """

    per_second: float
    _left: float = attrs.field(init=False)
    _reckoned_at: float = attrs.field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._left = self.per_second

    def left(self, now: float) -> float:
        """Tell how many are in it."""
        grown = self._left + (now - self._reckoned_at) * self.per_second
        self._left, self._reckoned_at = min(self.per_second, grown), now
        return self._left

    def take(self) -> None:
        """Take one out."""
        self._left -= 1


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


class Doorkeeper:
    """
    Count strangers.

    :param per_second: How many may begin in a second over the network; as many may come at once.
    :param local_per_second: The same by other ways.
    :param ban_seconds: How long nobody listens to who was not forgiven any more.
    """

    def __init__(
        self,
        per_second: float = limits.HANDSHAKES_PER_SECOND,
        ban_seconds: float = limits.BAN_SECONDS,
        local_per_second: float = bounds.LOCAL_HANDSHAKES_PER_SECOND,
    ) -> None:
        self._network = _Pot(per_second)
        self._local = _Pot(local_per_second)
        self._ban_seconds = ban_seconds
        # What is left of each account's share, the last one that came behind.
        self._shares: OrderedDict[str, _Pot] = OrderedDict()
        # Accounts that have registered, the last one behind.
        self._known: OrderedDict[str, None] = OrderedDict()
        self._breaches = _Offences(limits.BREACHES_PER_MINUTE)
        self._bad_handshakes = _Offences(bounds.BAD_HANDSHAKES_PER_MINUTE)
        # By origin, the last one behind: until when, and why.
        self._banned: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def refusal(self, account: str, now: float) -> str | None:
        """
        Tell why somebody may not begin; nobody is counted.

        :param account: What `account_of` gave.
        :param now: The time, seconds.
        :returns: The reason, or None.
        """
        until, why = self._banned.get(account, (now, ""))
        if now < until:
            return f"{account} {why}"
        if not account:
            return None if self._local.left(now) >= 1 else _too_many(self._local)
        if self._network.left(now) - 1 >= self._kept_from(account, now):
            return None
        return f"{account}: {_too_many(self._network)}"

    def refuses(self, account: str, now: float) -> str | None:
        """
        Tell why somebody may not begin; who may is counted.

        :param account: What `account_of` gave.
        :param now: The time, seconds.
        :returns: The reason, or None.
        """
        refusal = self.refusal(account, now)
        if refusal is None and account:
            self._network.take()
            share = self._share(account)
            if share.left(now) >= 1:
                share.take()
        elif refusal is None:
            self._local.take()
        return refusal

    def local_room(self, now: float) -> int:
        """
        Tell how many may begin that do not come over the network; nobody is counted.

        :param now: The time, seconds.
        :returns: How many.
        """
        return int(self._local.left(now))

    def registered(self, account: str) -> None:
        """
        Note that somebody was good.

        :param account: What `account_of` gave.
        """
        if account:
            self._known[account] = None
            self._known.move_to_end(account)
            if len(self._known) > bounds.KNOWN_ADDRESSES_MAX:
                self._known.popitem(last=False)

    def _kept_from(self, account: str, now: float) -> float:
        """Tell how many of the network's pot are not for this account."""
        known = account in self._known
        if self._share(account).left(now) >= 1:
            return 0 if known else self._network.per_second * bounds.KEPT_FOR_KNOWN
        return self._network.per_second * bounds.KEPT_FOR_OTHERS if known else math.inf

    def _share(self, account: str) -> _Pot:
        share = self._shares.get(account)
        if share is None:
            share = self._shares[account] = _Pot(bounds.HANDSHAKES_PER_ADDRESS_PER_SECOND)
            # Who is forgotten has a whole share again, as after a second.
            if len(self._shares) > limits.LOG_SUBJECTS_MAX:
                self._shares.popitem(last=False)
        else:
            self._shares.move_to_end(account)
        return share

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
        self._banned[origin] = (now + self._ban_seconds, why)
        self._banned.move_to_end(origin)
        if len(self._banned) > limits.LOG_SUBJECTS_MAX:
            self._banned.popitem(last=False)


def _too_many(pot: _Pot) -> str:
    return f"more than {pot.per_second:g} connections in a second, or than its share"
