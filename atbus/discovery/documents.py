"""
What stands in a registry, and under which keys.

Below a prefix of ours, which ends with a slash::

    topology/0x12345678             the record of a node
    service/battle-7-0x12345678     the service of the node named battle-7

A record has its id alone for a key, so that there can be one only. A service has its name as well,
for people who look: with everything but letters, digits, ``-``, ``.``, ``_`` and ``~`` as in a URL.
What is written is one JSON object, with the id that the key has, and with the `Author`, by
which a node knows what a former life of it has left.

Everything that is read here may have been written by anybody. `DocumentError` is all that reading
raises.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

import attrs

from atbus import limits
from atbus.busid import ID_MAX, Subnet, format_bus_id, parse_bus_id
from atbus.discovery import bounds
from atbus.errors import AtbusError, BusIdError, RecordError, printable
from atbus.routing.record import Record, Stamp
from atbus.routing.services import Service

FORMAT: Final = 1
"""Of the documents; one that cannot be read by those who know this one has another number."""


class Kind(enum.Enum):
    """What a key is about; the value is its folder."""

    TOPOLOGY = "topology"
    SERVICE = "service"


@attrs.define(slots=False, eq=False)
class DocumentError(AtbusError):
    """
    Something in a registry that cannot be used.

    :param key: Where it stands.
    :param fault: What is wrong with it.
    """

    key: str
    fault: str

    def __str__(self) -> str:
        return f"{printable(self.key)}: {printable(self.fault)}"


@attrs.frozen
class Author:
    """
    Who writes a document.

    :param identity: Of the node: the same in its next life, and in no other node's.
    :param process: Of this life; a form of words that the next one can tell from its own.
    """

    identity: str
    process: str = ""


@attrs.frozen
class Key:
    """
    What a key says.

    :param kind: What it is about.
    :param bus_id: The node; 0 for a service that has none.
    :param name: The name in it; empty for a record.
    """

    kind: Kind
    bus_id: int
    name: str = ""


def normal_prefix(path: str) -> str:
    """
    Make a prefix of a path.

    :param path: Any; one that ends with a slash, of either kind, stays as it is.
    :returns: It, with a slash at its end.
    """
    return path if path.endswith(("/", "\\")) else f"{path}/"


def topology_key(prefix: str, bus_id: int) -> bytes:
    """
    Say where a record stands.

    :param prefix: Ours.
    :param bus_id: Whose.
    :returns: The key.
    """
    return f"{prefix}{Kind.TOPOLOGY.value}/{format_bus_id(bus_id)}".encode()


def service_key(prefix: str, bus_id: int, name: str) -> bytes:
    """
    Say where a service stands.

    :param prefix: Ours.
    :param bus_id: Whose.
    :param name: Its name; may be empty.
    :returns: The key.
    """
    title = f"{quote(name, safe='')}-" if name else ""
    return f"{prefix}{Kind.SERVICE.value}/{title}{format_bus_id(bus_id)}".encode()


def read_key(prefix: str, key: bytes) -> Key:
    """
    Read a key.

    :param prefix: Ours.
    :param key: The key.
    :returns: What it says.
    :raises DocumentError: It says nothing that we understand.
    """
    try:
        text = key.decode()
    except UnicodeDecodeError as fault:
        raise DocumentError(repr(key[: limits.LOGGED_INPUT_BYTES]), "not UTF-8") from fault
    shown = text[: limits.DETAIL_BYTES]
    folder, slash, rest = text.removeprefix(prefix).partition("/")
    if not text.startswith(prefix) or not slash:
        raise DocumentError(shown, "not one of our folders")
    if len(key) > bounds.REGISTRY_KEY_BYTES:
        raise DocumentError(shown, f"a key of {len(key)} bytes")
    name, _, number = rest.rpartition("-")
    try:
        kind = Kind(folder)
        bus_id = _read_id(number)
        name = unquote(name, errors="strict")
    except (ValueError, UnicodeDecodeError) as fault:
        raise DocumentError(shown, "not the key of a node") from fault
    if kind is Kind.TOPOLOGY and (name or not bus_id):
        raise DocumentError(shown, "not the key of a record")
    return Key(kind, bus_id, name)


def write_record(record: Record, author: Author) -> bytes:
    """
    Write a record.

    :param record: It.
    :param author: The node that writes it.
    :returns: What stands in the registry; the same record gives the same bytes.
    """
    document = _head(record.bus_id, author) | {
        "epoch": record.stamp.epoch,
        "seq": record.stamp.seq,
        "upstream": format_bus_id(record.upstream_id),
        "subnets": [f"{format_bus_id(each.last)}/{each.mask_bits}" for each in record.subnets],
        "labels": dict(record.labels),
        "addresses": list(record.addresses),
        "flags": record.node_flags,
        "host": record.host,
        "process": record.process,
    }
    return _dump(document)


def read_record(key: Key, value: bytes) -> Record:
    """
    Read a record.

    :param key: What its key says.
    :param value: What stands in the registry.
    :returns: The record.
    :raises DocumentError: It is none, or not that of the node in its key.
    """
    reader = _Reader(f"{key.kind.value}/{format_bus_id(key.bus_id)}", value)
    reader.same_id(key)
    try:
        return Record(
            bus_id=key.bus_id,
            stamp=Stamp(reader.number("epoch"), reader.number("seq")),
            upstream_id=reader.id("upstream"),
            subnets=tuple(Subnet.parse(text) for text in reader.texts("subnets")),
            labels=reader.labels(),
            addresses=reader.texts("addresses"),
            node_flags=reader.number("flags"),
            host=reader.text("host"),
            process=reader.text("process"),
        )
    except (RecordError, BusIdError) as fault:
        raise DocumentError(reader.key, str(fault)) from fault


def write_service(service: Service, author: Author) -> bytes:
    """
    Write a service.

    :param service: It.
    :param author: The node that writes it.
    :returns: What stands in the registry; the same service gives the same bytes.
    """
    document = _head(service.bus_id, author) | {"labels": dict(service.labels)}
    for field in attrs.fields(Service):
        value = getattr(service, field.name)
        if field.name not in ("bus_id", "labels") and value != field.default:
            document[field.name] = list(value) if isinstance(value, tuple) else value
    return _dump(document)


def read_service(key: Key, value: bytes) -> Service:
    """
    Read a service.

    :param key: What its key says.
    :param value: What stands in the registry.
    :returns: The service.
    :raises DocumentError: It is none, or not that of the node in its key.
    """
    reader = _Reader(f"{key.kind.value}/{key.name}-{format_bus_id(key.bus_id)}", value)
    reader.same_id(key)
    if reader.text("name") != key.name:
        raise DocumentError(reader.key, f"the name in it is {reader.text('name')!r}")
    texts = {name: reader.text(name) for name in _SERVICE_TEXTS}
    try:
        return Service(
            bus_id=key.bus_id,
            name=key.name,
            labels=reader.labels(),
            gateways=reader.texts("gateways"),
            addresses=reader.texts("addresses"),
            pod_index=reader.number("pod_index"),
            **texts,
        )
    except RecordError as fault:
        raise DocumentError(reader.key, str(fault)) from fault


def author_of(value: bytes) -> Author:
    """
    Look who has written a document.

    :param value: What stands in the registry.
    :returns: The author; texts are empty that are not there or cannot be read.
    """
    try:
        reader = _Reader("", value)
        return Author(reader.text("identity"), reader.text("writer"))
    except DocumentError:
        return Author("")


_SERVICE_TEXTS: Final = (
    *("type", "namespace", "api_version", "kind", "group", "service_subset"),
    *("uid", "version", "data"),
)


def _head(bus_id: int, author: Author) -> dict[str, Any]:
    """Begin a document: what it is about, and who writes it."""
    return {
        "format": FORMAT,
        "id": format_bus_id(bus_id),
        "identity": author.identity,
        "writer": author.process,
    }


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _read_id(text: str) -> int:
    """Read an id in the one form in which it stands in keys."""
    number = int(text, 16) if len(text) <= len(format_bus_id(ID_MAX)) else -1
    if not 0 <= number <= ID_MAX or format_bus_id(number) != text:
        raise ValueError("not an id in its one form")
    return number


class _Reader:
    """The parts of one document."""

    def __init__(self, key: str, value: bytes) -> None:
        self.key = key
        if len(value) > bounds.REGISTRY_VALUE_BYTES:
            self._fail(f"{len(value)} bytes, {bounds.REGISTRY_VALUE_BYTES} are allowed")
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise DocumentError(key, "not a JSON object")
        self._document: dict[str, Any] = document
        if document.get("format", FORMAT) != FORMAT:
            self._fail(f"format {str(document['format'])[:20]} is not known here")

    def _fail(self, fault: str) -> None:
        raise DocumentError(self.key, fault)

    def same_id(self, key: Key) -> None:
        """Make sure that nobody speaks under another's key."""
        if self.id("id") != key.bus_id:
            self._fail(f"the id in it is {format_bus_id(self.id('id'))}")

    def id(self, name: str) -> int:
        try:
            return parse_bus_id(self.text(name) or 0)
        except BusIdError as fault:
            raise DocumentError(self.key, f"{name}: {fault}") from fault

    def text(self, name: str) -> str:
        value = self._document.get(name, "")
        if not isinstance(value, str):
            raise DocumentError(self.key, f"{name}: not a text")
        return value

    def number(self, name: str) -> int:
        value = self._document.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool):
            raise DocumentError(self.key, f"{name}: not an integer")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._document.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise DocumentError(self.key, f"{name}: not a list of texts")
        return tuple(value)

    def labels(self) -> dict[str, str]:
        value = self._document.get("labels", {})
        if not isinstance(value, dict) or not all(isinstance(it, str) for it in value.values()):
            raise DocumentError(self.key, "labels: not texts")
        return value
