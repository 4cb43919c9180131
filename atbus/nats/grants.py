"""
What a user's token, or the template of the key that signed it, gives to a user.

What is not understood in it may be a restriction, so nobody comes in with it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from atbus.nats import bounds
from atbus.nats.authentication import Limits, Origin
from atbus.nats.permissions import Entry, Permissions, Rules, only_listed, read_entry
from atbus.subjects.pattern import ANY, REST

#: What NATS's programs write for "as many as you like".
UNLIMITED: Final = -1

#: Everything in a template; a user's token has some more.
GRANT_KEYS: Final = frozenset(
    {
        *("pub", "sub", "resp", "src", "times", "times_location"),
        *("subs", "data", "payload", "bearer_token", "allowed_connection_types"),
    }
)

#: How connections are called in tokens.
_TYPES: Final = {"nats": "STANDARD", "websocket": "WEBSOCKET"}

# What NATS means by an answer of which nothing is said: one, within two minutes.
_RESPONSES: Final = 1
_RESPONSES_SECONDS: Final = 120.0
#: Durations are written in nanoseconds, as Go's are.
_SECOND: Final = 1e9

_NETWORK: Final = re.compile(r"[0-9A-Fa-f:.]+/\d{1,3}")
_TIME: Final = re.compile(r"\d{1,2}:\d\d:\d\d")
_INTEGER_MAX: Final = 2**63 - 1

_Network: TypeAlias = IPv4Network | IPv6Network
#: Makes subjects of a list with gaps; and whether one that cannot be made is a fault.
Fill: TypeAlias = Callable[[list[str], bool], list[str]]


@attrs.frozen(kw_only=True)
class Grant:
    """
    What one user may do, when, and from where.

    :param permissions: None when nothing is said of them.
    :param networks: From where the user may come; empty for anywhere.
    :param times: Begins and ends in a day, of which one must be now; empty for always.
    :param zone: Where it is that time; None for here.
    :param types: Which kinds of connections it may have; empty for every one.
    :param is_bearer: Whether who has the token need not have the key.
    """

    permissions: Permissions | None
    limits: Limits
    networks: tuple[_Network, ...] = ()
    times: tuple[tuple[time, time], ...] = ()
    zone: ZoneInfo | None = None
    types: frozenset[str] = frozenset()
    is_bearer: bool = False

    def check(self, origin: Origin) -> None:
        """
        Check that a user may come from somewhere.

        :raises ValueError: It may not.
        """
        if self.types and _TYPES.get(origin.kind) not in self.types:
            raise ValueError(f"only connections of types {sorted(self.types)} are allowed")
        if self.networks and not _is_in(origin.host, self.networks):
            raise ValueError(f"{origin.host} is not among the addresses that are allowed")

    def ends_at(self, wall_seconds: float) -> float | None:
        """
        Find when the time ends at which the user may be here.

        :param wall_seconds: Now, since 1970.
        :returns: Likewise; None for never.
        :raises ValueError: It may not be here now.
        """
        if not self.times:
            return None
        today = datetime.fromtimestamp(wall_seconds, self.zone).date()
        for begin, end in self.times:
            # One over midnight has begun yesterday, or ends tomorrow.
            over = timedelta(days=1 if begin > end else 0)
            for day in (today - over, today):
                ends = self._at(day + over, end)
                if self._at(day, begin) < wall_seconds < ends:
                    return ends
        raise ValueError("it is not a time that is allowed")

    def _at(self, day: date, moment: time) -> float:
        return datetime.combine(day, moment, self.zone).timestamp()


def read_grant(table: Mapping[str, Any], *, missing: int, fill: Fill | None = None) -> Grant:
    """
    Read what is given.

    :param table: A user's token, or a template.
    :param missing: The number that a limit has of which nothing is said.
    :param fill: Makes subjects of those with gaps; None to leave them.
    :returns: It.
    :raises ValueError: Something is not understood.
    """
    zone, times = read_text(table, "times_location"), table.get("times") or []
    if not isinstance(times, list):
        raise ValueError("times are a list")  # noqa: TRY004 - one kind of fault
    return Grant(
        permissions=read_rights(table, fill),
        limits=read_limits(table, missing=missing),
        networks=_read_networks(table.get("src")),
        times=tuple(map(_read_range, times)),
        zone=_read_zone(zone) if zone not in ("", "Local") else None,
        types=frozenset(map(str.upper, read_texts(table, "allowed_connection_types"))),
        is_bearer=read_flag(table, "bearer_token"),
    )


def says_something(table: Mapping[str, Any]) -> bool:
    """Tell whether a token gives, or limits, something itself."""
    given = {key: table[key] for key in GRANT_KEYS if key in table}
    for side in ("pub", "sub"):
        if not given.get(side):
            given.pop(side, None)
    return any(value or key == "resp" for key, value in given.items() if value is not None)


# Parts of it.


def read_rights(table: Mapping[str, Any], fill: Fill | None = None) -> Permissions | None:
    """
    Read what may be published and subscribed to.

    :returns: None when nothing is said of that.
    :raises ValueError: It is not understood.
    """
    publish, subscribe = (_read_side(table, name, fill) for name in ("pub", "sub"))
    response = table.get("resp")
    if publish == subscribe == response is None:
        return None
    for entry in (*(publish.allow or ()), *publish.deny) if publish else ():
        if entry.queue:
            raise ValueError("nobody publishes to a queue group")
    permissions = Permissions(publish=publish or Rules(), subscribe=subscribe or Rules())
    if response is None:
        return permissions
    known(read_table(table, "resp"), {"max", "ttl"}, "resp")
    most, seconds = read_integer(response, "max", 0), read_integer(response, "ttl", 0) / _SECOND
    return attrs.evolve(
        permissions,
        publish=only_listed(permissions.publish),
        responses=most or _RESPONSES,
        responses_seconds=max(seconds, 0.0) if seconds else _RESPONSES_SECONDS,
    )


def _read_side(table: Mapping[str, Any], name: str, fill: Fill | None) -> Rules | None:
    side = read_table(table, name)
    known(side, {"allow", "deny"}, name)
    given = {key: read_texts(side, key) for key in ("allow", "deny")}
    if not (given["allow"] or given["deny"]):
        return None
    lists = {key: fill(each, key == "deny") if fill else each for key, each in given.items()}
    # An empty list beside one of what is denied allows nothing, and so does one without subjects.
    allow = None if side.get("allow") is None else _entries(lists["allow"])
    return Rules(allow, _entries(lists["deny"]))


def _entries(texts: Iterable[str]) -> tuple[Entry, ...]:
    return tuple(map(read_entry, texts))


def read_limits(table: Mapping[str, Any], *, missing: int) -> Limits:
    """
    Read what a client may have at most.

    :param missing: The number where there is none.
    :raises ValueError: They are no numbers.
    """
    # Nobody counts "data", nats-server neither.
    subscriptions, payload, _ = (
        read_limit(table, name, missing) for name in ("subs", "payload", "data")
    )
    return Limits(subscriptions=subscriptions, payload_bytes=payload)


def read_limit(table: Mapping[str, Any], name: str, missing: int) -> int | None:
    """
    Read a limit; None for none.

    :param missing: The number where there is none.
    :raises ValueError: It is no number that is one.
    """
    number = read_integer(table, name, missing)
    if number < UNLIMITED:
        raise ValueError(f"{name} is {number}")
    return None if number == UNLIMITED else number


def _read_networks(given: object) -> tuple[_Network, ...]:
    if isinstance(given, str):
        given = [each for text in given.split(",") if (each := text.strip())]
    networks = []
    for text in read_texts({"src": given}, "src"):
        if not _NETWORK.fullmatch(text):
            raise ValueError(f"{text!r} is no network")
        network = ip_network(text, strict=False)
        inner = getattr(network.network_address, "ipv4_mapped", None)
        if inner is not None:
            network = ip_network((inner, network.prefixlen - 96))
        networks.append(network)
    return tuple(networks)


def _is_in(host: str, networks: Iterable[_Network]) -> bool:
    address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


def _read_range(given: object) -> tuple[time, time]:
    if not isinstance(given, dict):
        raise ValueError("a time is an object with start and end")  # noqa: TRY004 - likewise
    known(given, {"start", "end"}, "times")
    begin, end = (read_text(given, name) for name in ("start", "end"))
    for text in (begin, end):
        if not _TIME.fullmatch(text):
            raise ValueError(f"{text!r} is no time of a day")
    # One digit is enough for an hour.
    return time.fromisoformat(begin.rjust(8, "0")), time.fromisoformat(end.rjust(8, "0"))


def _read_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as fault:
        raise ValueError(f"no time zone {name!r} is known here") from fault


# Subjects with gaps.


@attrs.frozen(kw_only=True)
class Gaps:
    """
    What fills the gaps in the subjects of a template: ``{{name()}}`` and others.

    :param values: By the names of the functions that have no argument.
    :param tags: Likewise of those that have one; a tag begins with what the argument is, and ``:``.
    """

    values: Mapping[str, str]
    tags: Mapping[str, Iterable[str]]

    def fill(self, entries: list[str], must: bool) -> list[str]:
        """
        Make subjects, one for each way to fill the gaps.

        :param entries: A list; where nothing has a gap it stays as it is.
        :param must: Whether a subject that cannot be made is a fault; otherwise it is left out.
        :returns: The list for this user.
        :raises ValueError: A gap is not understood, or there are too many ways.
        """
        if not any(map(_is_gap, ".".join(entries).split("."))):
            return entries
        filled: list[str] = []
        for entry in entries:
            choices = [self._choices(token) for token in entry.split(".")]
            if len(filled) + math.prod(map(len, choices)) > bounds.TEMPLATE_SUBJECTS_MAX:
                raise ValueError("a template stands for too many subjects")
            subjects = list(map(".".join, itertools.product(*choices)))
            if " " in entry:
                # nats-server knows no queue groups here.
                subjects = []
            if must and not subjects:
                raise ValueError(f"nothing is known that fills the gaps in {entry!r}")
            filled += subjects
        return filled

    def _choices(self, token: str) -> list[str]:
        if not _is_gap(token):
            return [token]
        function, _, argument = token[2:-2].lower().partition("(")
        if argument == ")" and function in self.values:
            found = [self.values[function]]
        elif argument.endswith(")") and function in self.tags:
            start = f"{argument[:-1]}:"
            found = [tag[len(start) :] for tag in self.tags[function] if tag.startswith(start)]
        else:
            raise ValueError(f"{token!r} is not understood")
        return [each for each in found if _is_literal(each)]


def _is_gap(token: str) -> bool:
    return token.startswith("{{") and token.endswith("}}")


def _is_literal(value: str) -> bool:
    # A name is drawn up by somebody who may give less than a wildcard would.
    is_one_word = value.split() == [value]
    return is_one_word and not any(each in ("", ANY, REST) for each in value.split("."))


# What tokens are made of.


def known(table: Mapping[str, Any], names: Iterable[str], place: str) -> None:
    """
    Check that nothing is in a part of a token but what is understood.

    :param place: What it is called.
    :raises ValueError: There is more.
    """
    more = sorted(set(table) - set(names))
    if more:
        raise ValueError(f"{more[0]!r} in {place} is not understood")


def read_table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """
    Read a part that is an object; an empty one where there is none.

    :raises ValueError: It is something else.
    """
    part = table.get(name)
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise ValueError(f"{name} is no object")  # noqa: TRY004 - one kind of fault
    return part


def read_texts(table: Mapping[str, Any], name: str) -> list[str]:
    """
    Read a list of texts; an empty one where there is none.

    :raises ValueError: It is something else.
    """
    texts = table.get(name)
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise ValueError(f"{name} is no list of texts")
    return texts


def read_text(table: Mapping[str, Any], name: str) -> str:
    """
    Read a text; an empty one where there is none.

    :raises ValueError: It is something else.
    """
    text = table.get(name)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{name} is no text")
    return text or ""


def read_flag(table: Mapping[str, Any], name: str) -> bool:
    """
    Read what is true or false; the latter where it is missing.

    :raises ValueError: It is something else.
    """
    flag = table.get(name)
    if flag is not None and not isinstance(flag, bool):
        raise ValueError(f"{name} is not true or false")
    return flag is True


def read_integer(table: Mapping[str, Any], name: str, missing: int) -> int:
    """
    Read an integer.

    :param missing: What it is where there is none.
    :raises ValueError: It is something else.
    """
    number = table.get(name, missing)
    if type(number) is not int or abs(number) > _INTEGER_MAX:
        raise ValueError(f"{name} is no integer")
    return number


def read_moment(table: Mapping[str, Any], name: str) -> float:
    """
    Read a time since 1970, seconds; 0 where there is none.

    :raises ValueError: It is something else.
    """
    moment = table.get(name) or 0
    if type(moment) not in (int, float) or not abs(moment) <= _INTEGER_MAX:
        raise ValueError(f"{name} is no time")
    return float(moment)
