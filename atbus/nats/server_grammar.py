"""
What connections between servers of NATS have in common, leafs and routes alike: lines and payloads.

PING, PONG, INFO, CONNECT, +OK and -ERR are those of clients. Interest and messages have verbs of
their own in each dialect, and the same words behind them: ``subject [queue weight]``, and ``subject
[reply] size``; where a message is for queue groups, ``subject | queue... size``, or with a reply
``subject + reply queue... size``. With headers the verb is HMSG, and the size of the headers stands
before that of everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from json import JSONDecodeError
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from atbus.nats import bounds
from atbus.nats.words import split


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


class Refused(NamedTuple):
    """-ERR: what the other side complains of."""

    text: str


class Broken(NamedTuple):
    """The end of what can be understood; *is_known*: but for what stands behind its verb."""

    line: bytes
    is_known: bool = False


class _MalformedError(ValueError):
    """Behind a verb stands what makes no sense there."""


class Interest(NamedTuple):
    """Who wants what; a *weight* of 0 takes it back, *queue* is empty for none."""

    subject: str
    queue: str
    weight: int


class Message(NamedTuple):
    """A message, and the queue groups of which one member is to get it."""

    subject: str
    reply: str
    queues: tuple[str, ...]
    header: bytes
    payload: bytes


Common: TypeAlias = Info | Connect | Ping | Pong | Refused | Broken
T = TypeVar("T")

#: Reads a line of a dialect: its verb, its words, everything that is there, and where in that the
#: line's payload would begin. It gives what the line is and where the next one begins; None for a
#: payload that ends behind what is there. What makes no sense is a `ValueError`.
Reader: TypeAlias = Callable[[bytes, Sequence[bytes], bytes, int], tuple[T | None, int]]

_END: Final = b"\r\n"
_SIZE_DIGITS_MAX: Final = 9


class ServerGrammar(Generic[T]):
    """
    What the other server sends.

    :param read: Reads what only one dialect has.
    """

    def __init__(self, read: Reader[T]) -> None:
        #: How much is held of what is not complete, bytes.
        self.held_bytes = 0
        #: How much has to be held until it can be, bytes; 0 when that is not known.
        self.needed_bytes = 0
        self._read_own = read
        self._held: list[bytes] = []
        self._broken = False

    def feed(self, data: bytes) -> list[T | Common]:
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
        found: list[T | Common] = []
        position = self.needed_bytes = 0
        while (end := data.find(b"\n", position)) >= 0:
            operation, after = self._read(data, position, end)
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

    def _read(self, data: bytes, position: int, end: int) -> tuple[T | Common | None, int]:
        """
        Read one line, and the payload if it has one.

        :returns: What it is, None for nothing, and where the next one begins; that is behind the
            end of *data* when this one is not complete.
        """
        line = data[position:end].rstrip(b"\r")
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        try:
            if verb in _COMMON_VERBS:
                return _read_common(verb, argument), end + 1
            return self._read_own(verb, split(argument), data, end + 1)
        except (ValueError, RecursionError) as error:
            is_known = isinstance(error, _MalformedError | JSONDecodeError)
            return Broken(line[: bounds.LINE_BYTES], is_known), end + 1


_COMMON_VERBS: Final = frozenset((b"PING", b"PONG", b"+OK", b"-ERR", b"INFO", b"CONNECT"))


def _read_common(verb: bytes, argument: bytes) -> Common | None:
    match verb:
        case b"PING":
            return Ping()
        case b"PONG":
            return Pong()
        case b"-ERR":
            return Refused(argument.decode(errors="replace").strip().strip("'"))
        case b"INFO" | b"CONNECT":
            fields = json.loads(argument)
            if not isinstance(fields, dict):
                raise ValueError("no object")  # noqa: TRY004 - whatever is wrong is wrong likewise
            return Info(fields) if verb == b"INFO" else Connect(fields)
    return None


def read_interest(words: Sequence[bytes], *, is_wanted: bool) -> Interest:
    """
    Read who wants what.

    :param words: Without what the dialect has before the subject.
    :raises ValueError: It makes no sense.
    """
    match [word.decode() for word in words]:
        case []:
            raise ValueError("nothing")
        case [subject]:
            return Interest(subject, "", int(is_wanted))
        case [subject, queue] if not is_wanted:
            return Interest(subject, queue, 0)
        case [subject, queue, weight] if is_wanted and weight.isdecimal():
            return Interest(subject, queue, max(1, int(weight)))
    raise _MalformedError("no subject, or no queue group")


def read_message(
    words: Sequence[bytes], data: bytes, start: int, *, is_headed: bool
) -> tuple[Message | None, int]:
    """
    Read a message.

    :param words: Without what the dialect has before the subject.
    :param data: Where its payload is in, from *start* on.
    :returns: None when it is not all there, and where the next line begins.
    :raises ValueError: It makes no sense.
    """
    count = 2 if is_headed else 1
    sizes = words[-count:]
    names = [word.decode() for word in words[:-count]]
    if not names or not all(len(s) <= _SIZE_DIGITS_MAX and s.isdigit() for s in sizes):
        raise _MalformedError("no size")
    total, header_bytes = int(sizes[-1]), int(sizes[0]) if is_headed else 0
    if header_bytes > total or total > bounds.LEAF_PAYLOAD_BYTES:
        raise _MalformedError("a size that cannot be")
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
    raise _MalformedError("too many words")


def interest_line(begin: str, interest: Interest) -> bytes:
    """
    Write who wants what.

    :param begin: The verb, and what the dialect has before the subject.
    """
    subject, queue, weight = interest
    words = [begin, subject]
    if queue:
        words.append(queue)
        if weight:
            words.append(str(weight))
    return " ".join(words).encode() + _END


def message_text(begin: str, message: Message) -> bytes:
    """
    Write a message.

    :param begin: The verb, and what the dialect has before the subject.
    """
    subject, reply, queues, header, payload = message
    words = [begin, subject]
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
