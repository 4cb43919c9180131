"""Read docs/reference/wire-protocol.rst: its tables, its sections of messages, its vectors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from atbus.busid import Subnet
from atbus.errors import Status
from atbus.wire.messages import (
    MESSAGE_CLASSES,
    Extra,
    FlowAction,
    FlowScope,
    InterestEntry,
    Message,
    MessageType,
    Mode,
    Role,
    RouteOperation,
    RouteRecord,
    ServiceEntry,
)

PATH = Path(__file__).resolve().parents[2] / "docs" / "reference" / "wire-protocol.rst"

_SECTION = re.compile(r"^(\d+\.\d+) ([A-Z_]+)\n~+\n", re.MULTILINE)
_BLOCK = re.compile(r"^\.\. code-block:: text\n\n((?:   .*\n|\n)+)", re.MULTILINE)
_NAMES: Mapping[str, Any] = {
    "action": FlowAction,
    "mode": Mode,
    "operation": RouteOperation,
    "role": Role,
    "scope": FlowScope,
    "status": Status,
}
_ENTRIES: Mapping[str, Any] = {
    "records": RouteRecord,
    "entries": InterestEntry,
    "services": ServiceEntry,
}


@attrs.frozen(kw_only=True)
class Vector:
    """
    A golden vector.

    :param message: Its values.
    :param frame: The link's frame number.
    :param ack: The link's acknowledgement.
    :param raw: The frame they become.
    """

    message: Message
    frame: int
    ack: int
    raw: bytes


@attrs.frozen(kw_only=True)
class Section:
    """
    The section of one message.

    :param number: As printed.
    :param name: The message.
    :param fields: The list at its top: number, direction and so on.
    :param tables: Pairs of type and field, table after table.
    :param vectors: Its golden vectors.
    """

    number: str
    name: str
    fields: Mapping[str, str]
    tables: tuple[tuple[tuple[str, str], ...], ...]
    vectors: tuple[Vector, ...]


@cache
def text() -> str:
    """
    Read the document.

    :returns: All of it.
    """
    return PATH.read_text(encoding="utf-8")


@cache
def sections() -> tuple[Section, ...]:
    """
    Read the sections of section 7.

    :returns: One for each message, in order.
    """
    chapter = text()[text().index("\n7. Messages\n") : text().index("\n8. Closing\n")]
    heads = list(_SECTION.finditer(chapter))
    ends = [head.start() for head in heads[1:]] + [len(chapter)]
    return tuple(
        _section(head[1], head[2], chapter[head.end() : end])
        for head, end in zip(heads, ends, strict=True)
    )


def chapter_table(title: str) -> list[list[str]]:
    """
    Read the first table of a chapter.

    :param title: The chapter's heading.
    :returns: Its rows, without the header and without markup.
    """
    start = text().index(f"\n{title}\n")
    return next(_tables(text()[start:]))


def proof_block() -> list[str]:
    """
    Read the example of proofs.

    :returns: Its lines.
    """
    for block in _BLOCK.finditer(text()):
        lines = [line.strip() for line in block[1].strip().splitlines()]
        if lines[0] == "PROOF":
            return lines
    raise AssertionError("no example of proofs")


def _section(number: str, name: str, body: str) -> Section:
    fields = dict(re.findall(r"^:([^:]+): (.*(?:\n   .*)*)", body, re.MULTILINE))
    return Section(
        number=number,
        name=name,
        fields=fields,
        tables=tuple(tuple((row[0], row[1]) for row in table) for table in _tables(body)),
        vectors=tuple(_vector(block[1]) for block in _BLOCK.finditer(body)),
    )


def _tables(body: str) -> Iterator[list[list[str]]]:
    lines = iter(body.splitlines())
    for line in lines:
        if not re.fullmatch(r"=+(  =+)+", line):
            continue
        spans = [(match.start(), match.end()) for match in re.finditer("=+", line)]
        next(lines)  # the header
        next(lines)  # the bar below it
        rows = []
        for row in lines:
            if row.startswith("="):
                break
            cells = [row[start:end].strip("`\\ ") for start, end in spans]
            if cells[0]:
                rows.append(cells)
        yield rows


def _vector(block: str) -> Vector:
    lines = [line.strip() for line in block.strip().splitlines()]
    bar = lines.index("--")
    values: dict[str, Any] = {}
    for line in lines[1:bar]:
        name, _, value = line.partition("=")
        _put(values, name.strip(), value.strip())
    frame, ack = values.pop("frame", 0), values.pop("ack", 0)
    for name, entry_class in _ENTRIES.items():
        if name in values:
            values[name] = tuple(entry_class(**entry) for entry in values[name])
    if "messages" in values:
        values["messages"] = tuple(values["messages"])
    return Vector(
        message=MESSAGE_CLASSES[MessageType[lines[0]]](**values),
        frame=frame,
        ack=ack,
        raw=bytes.fromhex(" ".join(lines[bar + 1 :])),
    )


def _put(values: dict[str, Any], name: str, value: str) -> None:
    place = re.fullmatch(r"(\w+)\[(\d+)\](?:\.(\w+))?", name)
    if place is None:
        values[name] = _value(name, value)
        return
    entries = values.setdefault(place[1], [])
    if place[3] is None:
        entries.append(_value(place[1], value))
        return
    if len(entries) == int(place[2]):
        entries.append({})
    entries[-1][place[3]] = _value(place[3], value)


def _value(name: str, value: str) -> Any:
    if name in _NAMES:
        return _NAMES[name][value]
    literal = ast.literal_eval(re.sub(r"h'([0-9a-f]*)'", _bytes_literal, value))
    match name:
        case "subnets":
            return tuple(Subnet(*pair) for pair in literal)
        case "extras":
            return tuple(Extra(*pair) for pair in literal)
    return literal


def _bytes_literal(match: re.Match[str]) -> str:
    return repr(bytes.fromhex(match[1]))
