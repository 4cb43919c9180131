"""
Check the table about clients of NATS; the gateway, which is above the node, reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final

from atbus.errors import SubjectError
from atbus.node.reading_cluster import cluster_faults
from atbus.node.reading_leafs import leaf_faults
from atbus.subjects.pattern import parse_pattern, parse_subject

_LISTENERS: Final = ("listen", "leaf_listen", "monitor", "websocket")
_TEXTS: Final = (
    *("name", "user", "password", "token", "account", "no_auth_user", "operator"),
    *("certificate_file", "key_file", "ca_file"),
    *("leaf_user", "leaf_password"),
)
_TRUTHS: Final = ("allow_insecure", "tls_verify", "tls_optional", "separate_accounts")
_TEXT_LISTS: Final = ("advertise", "websocket_advertise", "accounts")

# For each number its bounds; whole ones first.
_COUNTS: Final = {
    "payload_bytes_max": (1, 64 * 1024 * 1024),
    "line_bytes_max": (256, 1024 * 1024),
    "pending_bytes_max": (1024, 2**40),
    "connections_max": (1, 1_000_000),
    "subscriptions_max": (0, 10_000_000),
    "pings_max": (1, 100),
}
_SECONDS: Final = {
    "ping_seconds": (0.01, 86_400),
    "write_seconds": (0.01, 86_400),
    "authentication_seconds": (0.01, 3_600),
    "tls_seconds": (0.01, 3_600),
    "lame_duck_seconds": (0, 86_400),
    "lame_duck_grace_seconds": (0, 86_400),
}
_KEYS: Final = frozenset(
    {
        *_LISTENERS,
        *_TEXTS,
        *_TRUTHS,
        *_TEXT_LISTS,
        *_COUNTS,
        *_SECONDS,
        *("users", "nkeys", "permissions", "tls_first", "cluster"),
        *("leaf_remotes", "leaf_users", "leaf_nkeys"),
    }
)
_RIGHTS: Final = frozenset({"publish", "subscribe", "responses", "responses_seconds"})
#: How long a client may be waited for that perhaps begins TLS.
_FIRST_SECONDS: Final = (0.001, 60)
_UNITS: Final = {
    **dict.fromkeys(("us", "\u00b5s", "\u03bcs"), 1e-6),
    "ns": 1e-9,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3_600.0,
}
_PART: Final = rf"([0-9]{{1,20}}(?:\.[0-9]{{0,20}})?|\.[0-9]{{1,20}})({'|'.join(_UNITS)})"
_DURATION: Final = re.compile(f"(?:{_PART}){{1,8}}")
_DURATION_PART: Final = re.compile(_PART)
# What nats-server takes for the hash of a password; what is one; and what it may cost, as the power
# of two by which it is told: the last one takes two seconds.
_HASH: Final = re.compile(r"\$2[a-z]?\$(\d\d)\$")
_WHOLE_HASH: Final = re.compile(_HASH.pattern + r"[./A-Za-z0-9]{53}")
_HASH_COSTS: Final = (4, 15)
_LISTENER: Final = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:]+\]|):\d{1,5}")
_LOOPBACK: Final = re.compile(r"(?:127\.[\d.]+|localhost|\[::1\]):\d+")


def nats_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Check the table of the gateway.

    :param table: What was given; empty for no gateway.
    :returns: What is wrong with it, each beginning with the place.
    """
    if not table:
        return
    yield from (f".{key}: unknown" for key in table if key not in _KEYS)
    yield from _faults_in_values(table)
    if not table.keys() & {"listen", "websocket", "leaf_listen", "leaf_remotes", "cluster"}:
        yield ".listen: without it there is nothing that a client could reach"
    for key in _LISTENERS:
        address = table.get(key, "127.0.0.1:0")
        if not isinstance(address, str) or not _LISTENER.fullmatch(address):
            yield f".{key}: expected an address such as 127.0.0.1:4222"
        elif not _LOOPBACK.fullmatch(address) and not _is_protected(table, key):
            yield (
                f".{key}: not on loopback, what passes can be read by others; "
                "give it TLS, or say allow_insecure = true"
            )
    yield from _faults_in_users(table)
    yield from leaf_faults(table)
    yield from cluster_faults(table)
    if bool(table.get("certificate_file")) != bool(table.get("key_file")):
        yield ".key_file: certificate_file and key_file go together"
    for key in ("tls_verify", "tls_optional", "tls_first"):
        if table.get(key) and not table.get("certificate_file"):
            yield f".{key}: there is no TLS without certificate_file"
    if table.get("tls_verify") and not table.get("ca_file"):
        yield ".tls_verify: without ca_file nobody is believed"


def plain_listeners(table: Mapping[str, Any]) -> Iterator[str]:
    """
    Tell where other hosts reach the gateway without TLS.

    :param table: Its table, without faults; empty for no gateway.
    :returns: The options, with their values.
    """
    for key in _LISTENERS:
        address = table.get(key)
        if address and not _LOOPBACK.fullmatch(address) and not _is_encrypted(table, key):
            yield f"nats.{key} {address}"
    cluster = table.get("cluster", {})
    address = cluster.get("listen")
    if address and not _LOOPBACK.fullmatch(address) and not cluster.get("certificate_file"):
        yield f"nats.cluster.listen {address}"


def _is_protected(table: Mapping[str, Any], key: str) -> bool:
    return table.get("allow_insecure") is True or _is_encrypted(table, key)


def _is_encrypted(table: Mapping[str, Any], key: str) -> bool:
    has_tls = bool(table.get("certificate_file")) and not table.get("tls_optional")
    return has_tls and key != "monitor"


def _faults_in_values(table: Mapping[str, Any]) -> Iterator[str]:
    for key in _TEXTS:
        if not isinstance(table.get(key, ""), str):
            yield f".{key}: expected a text"
    for key in _TRUTHS:
        if not isinstance(table.get(key, True), bool):
            yield f".{key}: expected true or false"
    for key in _TEXT_LISTS:
        if not _is_texts(table.get(key, ())):
            yield f".{key}: expected a list of texts"
    yield from _faults_in_tls_first(table.get("tls_first", False))
    for key, bounds in _COUNTS.items():
        number = table.get(key, bounds[0])
        if not isinstance(number, int) or isinstance(number, bool):
            yield f".{key}: expected an integer"
        elif not bounds[0] <= number <= bounds[1]:
            yield f".{key}: must be {bounds[0]} to {bounds[1]}, not {number}"
    for key, limits in _SECONDS.items():
        seconds = table.get(key, limits[0])
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            yield f".{key}: expected a number"
        elif not limits[0] <= seconds <= limits[1]:
            yield f".{key}: must be {limits[0]} to {limits[1]} seconds, not {seconds}"


def _faults_in_tls_first(first: object) -> Iterator[str]:
    if isinstance(first, bool) or first == "auto":
        return
    seconds = seconds_in(first) if isinstance(first, str) else None
    if seconds is None:
        yield '.tls_first: expected true, false, "auto" or a duration such as "250ms"'
    elif not _FIRST_SECONDS[0] <= seconds <= _FIRST_SECONDS[1]:
        yield f".tls_first: must be 1ms to {_FIRST_SECONDS[1]}s, not {first}"


def seconds_in(text: str) -> float | None:
    """
    Tell how long a duration is that is written as in the configuration of nats-server.

    :param text: Such as ``250ms`` and ``1m30s``.
    :returns: Seconds; None when it is no duration.
    """
    if _DURATION.fullmatch(text) is None:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))


def _faults_in_users(table: Mapping[str, Any]) -> Iterator[str]:
    may_have = {"permissions", "account"}
    for list_name, needed, further in (
        ("users", {"user", "password"}, may_have),
        ("nkeys", {"nkey"}, may_have),
        ("leaf_users", {"user", "password"}, {"permissions"}),
        ("leaf_nkeys", {"nkey"}, {"permissions"}),
    ):
        entries = table.get(list_name, ())
        if not isinstance(entries, list | tuple):
            yield f".{list_name}: expected a list of tables"
            continue
        for index, entry in enumerate(entries):
            place = f".{list_name}[{index}]"
            if not isinstance(entry, Mapping):
                yield f"{place}: expected a table"
            else:
                yield from _faults_in_user(place, entry, needed, further)
    yield from _faults_in_passwords(table)
    yield from _faults_in_names(table)
    yield from _faults_in_rights(".permissions", table.get("permissions", {}))
    yield from _faults_in_account(".account", table.get("account"))
    if bool(table.get("user")) != bool(table.get("password")):
        yield ".password: user and password go together"
    for key in ("accounts", "separate_accounts"):
        if table.get(key) and not table.get("operator"):
            yield f".{key}: there is no operator who vouches for them"


def _faults_in_user(
    place: str, entry: Mapping[str, Any], needed: set[str], further: set[str]
) -> Iterator[str]:
    for key in sorted(needed):
        if not isinstance(entry.get(key), str) or not entry.get(key):
            yield f"{place}.{key}: expected a text"
    yield from _faults_in_account(f"{place}.account", entry.get("account"))
    yield from (f"{place}.{key}: unknown" for key in sorted(entry.keys() - needed - further))
    rights = entry.get("permissions", {})
    yield from _faults_in_rights(f"{place}.permissions", rights)
    if place.startswith(".leaf") and isinstance(rights, Mapping) and "responses" in rights:
        # The hub says what may be published before anything is asked.
        yield f"{place}.permissions.responses: a leaf answers where it may publish"


def _faults_in_passwords(table: Mapping[str, Any]) -> Iterator[str]:
    """As a password a hash that is not understood would let in whoever has read it."""
    places: list[tuple[str, str, str, object]] = [
        *((".", "user", "password", table), (".", "leaf_user", "leaf_password", table)),
        *((".", "token", "token", table), (".cluster.", "user", "password", table.get("cluster"))),
    ]
    for name in ("users", "leaf_users"):
        entries = table.get(name, ())
        if isinstance(entries, list | tuple):
            places += [
                (f".{name}[{index}].", "user", "password", entry)
                for index, entry in enumerate(entries)
            ]
    for place, user, key, entry in places:
        if not isinstance(entry, Mapping):
            continue
        password = entry.get(key)
        if isinstance(password, str) and (hashed := _HASH.match(password)):
            whose = f"that of {entry[user]!r}" if user != key and user in entry else "it"
            is_of_clients = key in ("password", "token") and place != ".cluster."
            is_of_clients = is_of_clients and not place.startswith(".leaf")
            fault = _fault_in_hash(password, int(hashed[1])) if is_of_clients else _NO_HASHES
            if fault:
                yield f"{place}{key}: {whose} is a hash (bcrypt), {fault}"


_NO_HASHES: Final = "which is not understood for servers; what is hashed has to be written"


def _fault_in_hash(hashed: str, cost: int) -> str:
    """Say what is wrong with the hash of a client's password; nothing where it can be used."""
    if not _WHOLE_HASH.fullmatch(hashed):
        return "and not a whole one"
    if not _HASH_COSTS[0] <= cost <= _HASH_COSTS[1]:
        return f"whose cost must be {_HASH_COSTS[0]} to {_HASH_COSTS[1]}, not {cost}"
    if find_spec("bcrypt") is None:
        return "for which bcrypt is needed (pip install atbus[bcrypt])"
    return ""


def _faults_in_names(table: Mapping[str, Any]) -> Iterator[str]:
    users = table.get("users", ())
    entries = (table, *users) if isinstance(users, list | tuple) else (table,)
    names = {entry.get("user") for entry in entries if isinstance(entry, Mapping)}
    if table.get("no_auth_user") and table["no_auth_user"] not in names:
        yield ".no_auth_user: there is no user of that name"


def _faults_in_account(place: str, name: object) -> Iterator[str]:
    if name is None:
        return
    try:
        if not isinstance(name, str) or len(parse_subject(name)) > 1:
            raise SubjectError(str(name), "")
    except SubjectError:
        yield f"{place}: expected a text that is one token of a subject"


def _faults_in_rights(place: str, rights: object) -> Iterator[str]:
    if not isinstance(rights, Mapping):
        yield f"{place}: expected a table"
        return
    yield from (f"{place}.{key}: unknown" for key in sorted(rights.keys() - _RIGHTS))
    for key in ("publish", "subscribe"):
        side = rights.get(key, ())
        lists = side if isinstance(side, Mapping) else {"allow": side}
        yield from (
            f"{place}.{key}.{name}: unknown" for name in sorted(lists.keys() - {"allow", "deny"})
        )
        for name in ("allow", "deny"):
            subjects = lists.get(name, ())
            if not _is_texts(subjects):
                yield f"{place}.{key}: expected a list of subjects"
            else:
                yield from _faults_in_subjects(f"{place}.{key}", subjects)
    for key in ("responses", "responses_seconds"):
        number = rights.get(key, 0)
        if isinstance(number, bool) or not isinstance(number, int | float):
            yield f"{place}.{key}: expected a number"


def _faults_in_subjects(place: str, subjects: Sequence[str]) -> Iterator[str]:
    for text in subjects:
        words = text.split()
        try:
            if not 1 <= len(words) <= 2:
                raise SubjectError(text, "expected a subject, and perhaps a queue group")
            for word in words:
                parse_pattern(word)
        except SubjectError as fault:
            yield f"{place}: {fault}"


def _is_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
