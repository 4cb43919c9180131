"""
Bytes of a connection between leafs into operations, and back.

Interest is ``LS+ subject [queue weight]`` and ``LS- subject [queue]``. A message is ``LMSG subject
[reply] size``; where it is for queue groups, ``LMSG subject | queue... size``, or with a reply
``LMSG subject + reply queue... size``. With headers it is HMSG, which has the size of the headers
before that of everything. PING, PONG, INFO, CONNECT, +OK and -ERR are those of clients.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from atbus.nats import bounds


class Info(NamedTuple):
    """INFO."""

    fields: dict[str, Any]


class Connect(NamedTuple):
    """CONNECT."""

    fields: dict[str, Any]


class Ping(NamedTuple):
    """PING."""


class Pong(NamedTuple):
    """PONG."""


class Interest(NamedTuple):
    """LS+, or LS- with a *weight* of 0; *queue* is empty for none."""

    subject: str
    queue: str
    weight: int


class Message(NamedTuple):
    """LMSG or HMSG."""

    subject: str
    reply: str
    queues: tuple[str, ...]
    header: bytes
    payload: bytes


class Refused(NamedTuple):
    """-ERR: what the other side complains of."""

    text: str


class Broken(NamedTuple):
    """The end of what can be understood."""

    line: bytes


Operation: TypeAlias = Info | Connect | Ping | Pong | Interest | Message | Refused | Broken

_END: Final = b"\r\n"
_SIZE_DIGITS_MAX: Final = 9


class LeafGrammar:
    """What the other end of a connection between leafs sends."""

    def __init__(self) -> None:
        #: How much is held of what is not complete, bytes.
        self.held_bytes = 0
        #: How much has to be held until it can be, bytes; 0 when that is not known.
        self.needed_bytes = 0
        self._held: list[bytes] = []
        self._broken = False

    def feed(self, data: bytes) -> list[Operation]:
        """
        Take what has arrived.

        :param data: Any piece of the stream.
        :returns: What is complete now. After `Broken`, the last one, everything is ignored.
        """
        if self._broken:
            return []
        self._held.append(data)
        self.held_bytes += len(data)
        if self.held_bytes < self.needed_bytes:
            return []
        data = b"".join(self._held)
        found: list[Operation] = []
        position = self.needed_bytes = 0
        while (end := data.find(b"\n", position)) >= 0:
            operation, after = _read(data, position, end)
            if operation is None and after > len(data):
                self.needed_bytes = after - position
                break
            position = after
            if operation is not None:
                found.append(operation)
            if isinstance(operation, Broken):
                break
        else:
            if len(data) - position > bounds.LEAF_LINE_BYTES:
                found.append(Broken(data[position : position + bounds.LINE_BYTES]))
        self._broken = bool(found) and isinstance(found[-1], Broken)
        rest = b"" if self._broken else data[position:]
        self._held, self.held_bytes = [rest], len(rest)
        return found


def _read(data: bytes, position: int, end: int) -> tuple[Operation | None, int]:
    """
    Read one line, and the payload if it has one.

    :returns: What it is, None for nothing, and where the next one begins; that is behind the end of
        *data* when this one is not complete.
    """
    line = data[position:end].rstrip(b"\r")
    verb, _, argument = line.partition(b" ")
    verb = verb.upper()
    try:
        if verb in (b"LMSG", b"HMSG"):
            return _read_message(data, end + 1, argument.split(), headers=verb == b"HMSG")
        return _read_line(verb, argument), end + 1
    except (ValueError, UnicodeDecodeError, RecursionError):
        return Broken(line[: bounds.LINE_BYTES]), end + 1


def _read_line(verb: bytes, argument: bytes) -> Operation | None:
    match verb:
        case b"LS+" | b"LS-":
            return _read_interest(argument.decode().split(), is_wanted=verb == b"LS+")
        case b"PING":
            return Ping()
        case b"PONG":
            return Pong()
        case b"+OK":
            return None
        case b"-ERR":
            return Refused(argument.decode(errors="replace").strip().strip("'"))
        case b"INFO" | b"CONNECT":
            fields = json.loads(argument)
            if not isinstance(fields, dict):
                raise ValueError("no object")  # noqa: TRY004 - whatever is wrong is wrong likewise
            return Info(fields) if verb == b"INFO" else Connect(fields)
    raise ValueError("an unknown verb")


def _read_interest(words: Sequence[str], *, is_wanted: bool) -> Interest:
    match words:
        case [subject]:
            return Interest(subject, "", int(is_wanted))
        case [subject, queue] if not is_wanted:
            return Interest(subject, queue, 0)
        case [subject, queue, weight] if is_wanted and weight.isdecimal():
            return Interest(subject, queue, max(1, int(weight)))
    raise ValueError("no subject, or no queue group")


def _read_message(
    data: bytes, start: int, words: Sequence[bytes], *, headers: bool
) -> tuple[Operation | None, int]:
    count = 2 if headers else 1
    sizes = words[-count:]
    names = [word.decode() for word in words[:-count]]
    if not names or not all(len(s) <= _SIZE_DIGITS_MAX and s.isdigit() for s in sizes):
        raise ValueError("no size")
    total, header_bytes = int(sizes[-1]), int(sizes[0]) if headers else 0
    if header_bytes > total or total > bounds.LEAF_PAYLOAD_BYTES:
        raise ValueError("a size that cannot be")
    subject, reply, queues = _read_names(names)
    stop = start + total
    if len(data) < stop + len(_END):
        return None, stop + len(_END)
    if data[stop : stop + len(_END)] != _END:
        raise ValueError("the payload has another length")
    middle = start + header_bytes
    message = Message(subject, reply, queues, data[start:middle], data[middle:stop])
    return message, stop + len(_END)


def _read_names(names: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    match names:
        case [subject]:
            return subject, "", ()
        case [subject, "|", *queues] if queues:
            return subject, "", tuple(queues)
        case [subject, "+", reply, *queues]:
            return subject, reply, tuple(queues)
        case [subject, reply] if reply not in ("|", "+"):
            return subject, reply, ()
    raise ValueError("too many words")


def write_interest(interest: Interest) -> bytes:
    """Write LS+ or LS-."""
    subject, queue, weight = interest
    words = ["LS+" if weight else "LS-", subject]
    if queue:
        words.append(queue)
        if weight:
            words.append(str(weight))
    return " ".join(words).encode() + _END


def write_message(message: Message) -> bytes:
    """Write LMSG or HMSG."""
    subject, reply, queues, header, payload = message
    words = ["HMSG" if header else "LMSG", subject]
    if queues:
        words += ["+", reply, *queues] if reply else ["|", *queues]
    elif reply:
        words.append(reply)
    if header:
        words.append(str(len(header)))
    words.append(str(len(header) + len(payload)))
    return b"".join((" ".join(words).encode(), _END, header, payload, _END))


def write_object(verb: str, fields: dict[str, Any]) -> bytes:
    """Write INFO or CONNECT."""
    return f"{verb} {json.dumps(fields, separators=(',', ':'))}".encode() + _END
