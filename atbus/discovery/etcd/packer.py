"""
What is said to etcd and what it says, as values: JSON on one side, `attrs` classes on the other.

Three things are peculiar to the gateway: keys and values are base64; integers of 64 bits come as
text from some versions and as numbers from others; what is zero or empty is left out. Answers are
hostile input: `EtcdUnreadable` is all that reading them raises, and whoever reads them has bounded
their length before.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs

from atbus.discovery.etcd.faults import EtcdRefused, EtcdUnreadable, cause_of

Document: TypeAlias = Mapping[str, Any]
"""A JSON object."""

NUMBER_MAX: Final = 2**64 - 1
NUMBER_MIN: Final = -(2**63)

#: As the end of a range: everything from its beginning on.
TO_THE_END: Final = b"\0"

# Enough of a wrong value to recognize it.
_QUOTED_LETTERS: Final = 40

# The longest number of 64 bits has 20 digits; int() would take thousands, slowly.
_DIGITS_MAX: Final = 20


class EventKind(enum.Enum):
    """What happened to a key."""

    PUT = 0
    DELETE = 1


@attrs.frozen(kw_only=True)
class Header:
    """
    What stands at the head of each answer.

    :param cluster_id: Which cluster.
    :param member_id: Which of its servers.
    :param revision: How many changes the store had seen.
    :param raft_term: How many leaders there have been.
    """

    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0

    @classmethod
    def parse(cls, document: Document) -> Header:
        """
        Read a header.

        :param document: The object under ``header``.
        :returns: The header.
        :raises EtcdUnreadable: When a number in it is none.
        """
        return cls(**{name: read_number(document, name) for name in _HEADER})

    def document(self) -> dict[str, Any]:
        """
        Write the header as etcd does.

        :returns: An object for JSON.
        """
        return {name: str(getattr(self, name)) for name in _HEADER}


@attrs.frozen(kw_only=True)
class KeyValue:
    """
    A key with what is stored under it.

    :param key: The key.
    :param value: The value; empty for a key that was deleted.
    :param create_revision: When the key came into being, since it was last deleted; grows from
        owner to owner, so it serves as a fencing number.
    :param mod_revision: When it was last written.
    :param version: How often it was written since it came into being.
    :param lease: The lease it is bound to; 0 for none.
    """

    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    @classmethod
    def parse(cls, document: Document) -> KeyValue:
        """
        Read a key and its value.

        :param document: An object of ``kvs``, or that under ``kv`` in an event.
        :returns: Both.
        :raises EtcdUnreadable: When something in it is not what it should be.
        """
        return cls(
            key=read_bytes(document, "key"),
            value=read_bytes(document, "value"),
            **{name: read_number(document, name) for name in _NUMBERS_OF_KEYS},
        )

    def document(self) -> dict[str, Any]:
        """
        Write key and value as etcd does.

        :returns: An object for JSON.
        """
        numbers = {name: str(getattr(self, name)) for name in _NUMBERS_OF_KEYS}
        return {"key": encode(self.key), "value": encode(self.value), **numbers}


@attrs.frozen
class Event:
    """
    One change of one key.

    :param kind: What happened.
    :param item: The key and what it has now; for a deletion only the key and when.
    """

    kind: EventKind
    item: KeyValue


@attrs.frozen(kw_only=True)
class RangeAnswer:
    """
    The keys of a range.

    :param header: Its revision is that of the whole store when the keys were read.
    :param items: In the order of their keys.
    :param more: Whether there are more, beyond the limit that was asked for.
    """

    header: Header
    items: tuple[KeyValue, ...]
    more: bool = False


@attrs.frozen(kw_only=True)
class WatchAnswer:
    """
    One line of a watch.

    :param header: The revision up to which everything has been told.
    :param created: Whether this says that the watch begins.
    :param canceled: Whether this says that it has ended.
    :param compact_revision: When it ended because the history was compacted: up to where.
    :param reason: Why it ended, in words.
    :param events: In the order in which they happened.
    """

    header: Header
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    reason: str = ""
    events: tuple[Event, ...] = ()


_HEADER: Final = ("cluster_id", "member_id", "revision", "raft_term")
_NUMBERS_OF_KEYS: Final = ("create_revision", "mod_revision", "version", "lease")


# Texts and numbers.


def encode(data: bytes) -> str:
    """
    Write a key or a value.

    :param data: Any bytes.
    :returns: Base64.
    """
    return base64.b64encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """
    Read a key or a value.

    :param text: Base64.
    :returns: The bytes.
    :raises EtcdUnreadable: When it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EtcdUnreadable(f"not base64: {text[:_QUOTED_LETTERS]!r}") from error


def parse(data: bytes) -> dict[str, Any]:
    """
    Read an answer.

    :param data: A JSON object, as bytes.
    :returns: It.
    :raises EtcdUnreadable: When it is anything else.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EtcdUnreadable(f"not JSON: {data[:_QUOTED_LETTERS]!r}") from error
    if not isinstance(document, dict):
        raise EtcdUnreadable(f"not an object: {data[:_QUOTED_LETTERS]!r}")
    return document


def read_number(document: Document, name: str) -> int:
    """
    Read an integer of up to 64 bits.

    :param document: An object.
    :param name: Where it is in it.
    :returns: The integer; 0 when it is not there.
    :raises EtcdUnreadable: When something else is there.
    """
    value = document.get(name)
    if value is None:
        return 0
    number = value
    if isinstance(value, str) and len(value) <= _DIGITS_MAX and value.isascii():
        digits = value.removeprefix("-")
        number = int(value) if digits.isdigit() else None
    if isinstance(number, bool) or not isinstance(number, int):
        raise EtcdUnreadable(f"{name}: not a number: {str(value)[:_QUOTED_LETTERS]!r}")
    if not NUMBER_MIN <= number <= NUMBER_MAX:
        raise EtcdUnreadable(f"{name}: has more than 64 bits")
    return number


def read_bytes(document: Document, name: str) -> bytes:
    """
    Read a key or a value.

    :param document: An object.
    :param name: Where it is in it.
    :returns: The bytes; empty when it is not there.
    :raises EtcdUnreadable: When something else is there.
    """
    return decode(read_text(document, name))


def read_text(document: Document, name: str) -> str:
    """
    Read a text.

    :param document: An object.
    :param name: Where it is in it.
    :returns: The text; empty when it is not there.
    :raises EtcdUnreadable: When something else is there.
    """
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise EtcdUnreadable(f"{name}: not a text")
    return value


def read_object(document: Document, name: str) -> dict[str, Any]:
    """
    Read an object.

    :param document: An object.
    :param name: Where it is in it.
    :returns: The inner object; an empty one when it is not there.
    :raises EtcdUnreadable: When something else is there.
    """
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EtcdUnreadable(f"{name}: not an object")
    return value


def read_objects(document: Document, name: str) -> list[dict[str, Any]]:
    """
    Read a list of objects.

    :param document: An object.
    :param name: Where it is in it.
    :returns: The list; an empty one when it is not there.
    :raises EtcdUnreadable: When something else is there, or in it.
    """
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise EtcdUnreadable(f"{name}: not a list of objects")
    return value


# Requests.


def range_end(prefix: bytes) -> bytes:
    """
    Give the end of the range that holds every key with a prefix, and no other.

    :param prefix: The prefix.
    :returns: The first key after all of them; `TO_THE_END` when none is after them.
    """
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return TO_THE_END
    return stem[:-1] + bytes([stem[-1] + 1])


def prefix_range(prefix: bytes) -> dict[str, Any]:
    """
    Ask about every key with a prefix.

    :param prefix: The prefix; empty for all keys.
    :returns: The part of a request that says so.
    """
    # An empty key stands for no key, so everything begins at the smallest one there can be.
    return {"key": encode(prefix or b"\0"), "range_end": encode(range_end(prefix))}


def put_if_unchanged(key: bytes, value: bytes, lease: int, mod_revision: int) -> dict[str, Any]:
    """
    Ask to write a key, unless somebody else has written it meanwhile.

    :param key: The key.
    :param value: The new value.
    :param lease: What to bind it to; 0 for nothing.
    :param mod_revision: When the key was last written, as far as we know; 0 when it was not there.
    :returns: A transaction.
    """
    put = {"key": encode(key), "value": encode(value), "lease": str(lease)}
    return _unless_changed(key, mod_revision, {"request_put": put})


def delete_if_unchanged(key: bytes, mod_revision: int) -> dict[str, Any]:
    """
    Ask to delete one key, unless somebody else has written it meanwhile.

    :param key: The key; those that begin with it stay.
    :param mod_revision: When we have last written it.
    :returns: A transaction.
    """
    return _unless_changed(key, mod_revision, {"request_delete_range": {"key": encode(key)}})


def _unless_changed(key: bytes, mod_revision: int, action: Document) -> dict[str, Any]:
    # The revision of a key that is not there is 0.
    same = {
        "key": encode(key),
        "target": "MOD",
        "result": "EQUAL",
        "mod_revision": str(mod_revision),
    }
    look = {"request_range": {"key": encode(key)}}
    return {"compare": [same], "success": [action], "failure": [look]}


def watch_request(prefix: bytes, start_revision: int) -> dict[str, Any]:
    """
    Ask to be told of each change of keys with a prefix.

    :param prefix: The prefix.
    :param start_revision: The first change that is of interest.
    :returns: A request.
    """
    details = {**prefix_range(prefix), "start_revision": str(start_revision)}
    return {"create_request": {**details, "progress_notify": True}}


# Answers.


def parse_range(document: Document) -> RangeAnswer:
    """
    Read the answer to a range.

    :param document: The answer.
    :returns: It, as a value.
    :raises EtcdUnreadable: When something in it is not what it should be, or it has no header.
    """
    return RangeAnswer(
        header=_header(document),
        items=tuple(KeyValue.parse(item) for item in read_objects(document, "kvs")),
        more=document.get("more") is True,
    )


def parse_write(document: Document) -> tuple[int, RangeAnswer | None]:
    """
    Read the answer to a transaction that writes or deletes unless something has changed.

    :param document: The answer.
    :returns: The revision of the store; and, when nothing was done, what is there instead.
    :raises EtcdUnreadable: When something in it is not what it should be.
    """
    header = _header(document)
    if document.get("succeeded") is True:
        return header.revision, None
    for answer in read_objects(document, "responses"):
        there = dict(read_object(answer, "response_range"))
        there.setdefault("header", header.document())
        return header.revision, parse_range(there)
    raise EtcdUnreadable("a transaction that neither succeeded nor says what is there")


def parse_watch(line: bytes) -> WatchAnswer:
    """
    Read one line of a watch.

    :param line: Without its end.
    :returns: It, as a value.
    :raises EtcdRefused: When the line says that the server will not go on.
    :raises EtcdUnreadable: When it is not such a line.
    """
    document = parse(line)
    if document.get("error") is not None:
        error = read_object(document, "error")
        code, words = read_number(error, "grpc_code"), read_text(error, "message")
        raise EtcdRefused(f"watch: {words}", cause=cause_of(code, words), code=code)
    result = read_object(document, "result")
    return WatchAnswer(
        header=_header(result),
        created=result.get("created") is True,
        canceled=result.get("canceled") is True,
        compact_revision=read_number(result, "compact_revision"),
        reason=read_text(result, "cancel_reason"),
        events=tuple(_parse_event(event) for event in read_objects(result, "events")),
    )


def _parse_event(document: Document) -> Event:
    kind = document.get("type")
    if kind in (None, "PUT", 0):
        return Event(EventKind.PUT, KeyValue.parse(read_object(document, "kv")))
    if kind in ("DELETE", 1):
        return Event(EventKind.DELETE, KeyValue.parse(read_object(document, "kv")))
    raise EtcdUnreadable(f"type: no kind of event: {str(kind)[:_QUOTED_LETTERS]!r}")


def _header(document: Document) -> Header:
    if "header" not in document:
        raise EtcdUnreadable("an answer without a header")
    return Header.parse(read_object(document, "header"))
