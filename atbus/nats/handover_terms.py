"""
What two gateways tell each other when the one takes a server over from the other.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import attrs

from atbus.nats.server_grammar import Message

#: What the giver is asked for.
BEGIN: Final = b"begin"
FINISH: Final = b"finish"

#: Of each publisher its id, its epoch, its newest number, and which before that.
Rows = tuple[tuple[int, int, int, int], ...]


@attrs.frozen(kw_only=True)
class Ready:
    """
    The other one may join.

    :param mark: The group.
    :param inboxes: What the giver expects answers to.
    :param servers: Which members of a cluster are handed over; none where there is one server.
    """

    mark: str
    inboxes: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    def write(self) -> bytes:
        """Write it for the other one."""
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def read(cls, text: bytes) -> Ready:
        """
        Read what the giver has written.

        :raises ValueError: It does not hand over, or it is not readable.
        """
        facts = _facts(text)
        mark = facts.get("mark")
        if not isinstance(mark, str) or not mark:
            raise ValueError("no mark")
        inboxes, servers = _texts(facts.get("inboxes")), _texts(facts.get("servers", []))
        return cls(mark=mark, inboxes=inboxes, servers=servers)


@attrs.frozen(kw_only=True)
class Done:
    """
    The other one may go on alone.

    :param sent: Which publications the giver has sent: `Duplicates.rows`.
    :param heard: Which of them the server's plain subscribers have got, likewise.
    :param kept: The messages that the other one is to pass on in its place.
    :param inboxes: What it expects answers to.
    """

    sent: Rows = ()
    heard: Rows = ()
    kept: tuple[Message, ...] = ()
    inboxes: tuple[str, ...] = ()

    def write(self) -> bytes:
        """Write it for the other one."""
        sent, heard = (
            [[f"{number:x}" for number in row] for row in rows] for rows in (self.sent, self.heard)
        )
        kept = [
            [each.subject, each.reply, *(_text(block) for block in (each.header, each.payload))]
            for each in self.kept
        ]
        facts = {"sent": sent, "heard": heard, "kept": kept, "inboxes": self.inboxes}
        return json.dumps(facts).encode()

    @classmethod
    def read(cls, text: bytes) -> Done:
        """
        Read what the giver has written.

        :raises ValueError: It is not readable.
        """
        facts = _facts(text)
        sent, heard = (_rows(facts.get(name)) for name in ("sent", "heard"))
        kept = [
            Message(subject, reply, (), b64decode(header), b64decode(payload))
            for subject, reply, header, payload in _lists(facts.get("kept"), 4)
        ]
        inboxes = _texts(facts.get("inboxes"))
        return cls(sent=sent, heard=heard, kept=tuple(kept), inboxes=inboxes)


def write_several(each: Mapping[str, Done]) -> bytes:
    """Write it for the members of a cluster, by their ids."""
    return json.dumps({key: done.write().decode() for key, done in each.items()}).encode()


def read_several(text: bytes) -> dict[str, Done]:
    """
    Read what the giver has written of the members of a cluster.

    :raises ValueError: It is not readable.
    """
    facts = _facts(text)
    _texts([*facts.values()])
    return {key: Done.read(written.encode()) for key, written in facts.items()}


def _text(block: bytes) -> str:
    return b64encode(block).decode()


def _facts(text: bytes) -> dict[str, Any]:
    try:
        facts: Any = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(facts, dict):
        raise ValueError("no object")  # noqa: TRY004 - whatever is wrong is wrong likewise
    return facts


def _rows(found: Any) -> Rows:
    rows: list[tuple[int, int, int, int]] = []
    for row in _lists(found, 4):
        source, epoch, newest, seen = (int(number, 16) for number in row)
        rows.append((source, epoch, newest, seen))
    return tuple(rows)


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("no list of texts")
    return tuple(found)


def _lists(found: Any, length: int) -> list[tuple[str, ...]]:
    if not isinstance(found, list):
        raise ValueError("no list")  # noqa: TRY004 - whatever is wrong is wrong likewise
    rows = [_texts(each) for each in found]
    if any(len(row) != length for row in rows):
        raise ValueError(f"not {length} of each")
    return rows
