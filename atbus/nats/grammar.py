"""
Bytes of a client into operations, a buffer at a time.

It reads a portion at a time: many operations may be in few bytes, and others wait for all that are
read at once.

A control line ends with LF, or CR LF; its words stand between any run of blanks; verbs may be
written in either case. A payload follows its line and is followed by CR LF. What cannot become an
operation any more is a fault as soon as that is certain, which may be before its line is complete.

Where a line is malformed in its arguments a client is told nothing, where it has a verb that nobody
knows it is told so: as NATS does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from atbus.nats import bounds
from atbus.nats.faults import Fault
from atbus.nats.heard_info import is_info
from atbus.nats.words import split, split_publication


class Publish(NamedTuple):
    """
    PUB, or HPUB.

    :param header: Its header block, up to and with the empty line; None for PUB.
    """

    subject: bytes
    reply: bytes
    header: bytes | None
    payload: bytes


class PublishRun(NamedTuple):
    """PUB several times in a row, on one subject and without a reply subject."""

    subject: bytes
    payloads: list[bytes]


class Subscribe(NamedTuple):
    """SUB; *queue* is empty for none."""

    subject: bytes
    queue: bytes
    sid: bytes


class Unsubscribe(NamedTuple):
    """UNSUB; *most* is 0 for "at once"."""

    sid: bytes
    most: int


class Connect(NamedTuple):
    """CONNECT with its options, a text in JSON."""

    options: bytes


class Ping(NamedTuple):
    """PING."""


class Pong(NamedTuple):
    """PONG."""


class Broken(NamedTuple):
    """
    The end of what can be understood.

    :param subject: On what was to be published, when all but the payload was in order.
    """

    fault: Fault
    subject: bytes | None = None


Operation: TypeAlias = (
    Publish | PublishRun | Subscribe | Unsubscribe | Connect | Ping | Pong | Broken
)

_VERBS: Final = (
    *(b"PUB", b"HPUB", b"SUB", b"UNSUB", b"PING", b"PONG"),
    *(b"CONNECT", b"INFO", b"+OK", b"-ERR"),
)
_BLANKS: Final = b" \t"
_SIZE_DIGITS_MAX: Final = 9
_COUNT_MAX: Final = bounds.PORTION_OPERATIONS
_PUB: Final = b"PUB "
_END: Final = b"\r\n"


class Grammar:
    """
    What one client sends.

    :param payload_bytes_max: The most that a payload may have, with its headers.
    :param line_bytes_max: The most that a control line may have behind its verb.
    :param awaits_connect: Whether anything but CONNECT is a fault until that has come.
    :param knows_headers: Whether HPUB is none.
    """

    def __init__(
        self,
        payload_bytes_max: int = bounds.PAYLOAD_BYTES,
        line_bytes_max: int = bounds.LINE_BYTES,
        *,
        awaits_connect: bool = False,
        knows_headers: bool = True,
    ) -> None:
        self.knows_headers = knows_headers
        self.payload_bytes_max = payload_bytes_max
        self.line_bytes_max = line_bytes_max
        self.awaits_connect = awaits_connect
        # What is not complete, in pieces, and how many bytes are needed to go on.
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._needed_bytes = 0
        self._broken = False
        #: Whether a portion has ended, and there is more to read.
        self.is_unread = False
        #: Whether the first letter of all may be that of a CONNECT.
        self.may_be_login = True
        self._is_new = True

    def feed(self, data: bytes) -> list[Operation]:
        """
        Take what has arrived.

        :param data: Any piece of the stream; nothing, to go on with what is unread.
        :returns: What is complete now, `bounds.PORTION_OPERATIONS` at most, and nothing behind a
            CONNECT, which may change how that is to be read; where there is more, it `is_unread`.
            After `Broken`, which is the last one, everything is ignored.
        """
        if self._broken or not (data or self.is_unread):
            return []
        self.is_unread = False
        if self._is_new:
            self._is_new, self.may_be_login = False, data[:1] in (b"C", b"c")
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed_bytes:
                return []
            data = b"".join(self._held)
            self._held = []
        found: list[Operation] = []
        if self.awaits_connect and data[:1] not in (b"C", b"c"):
            self._broken = True
            return [Broken(Fault.NOT_AUTHORIZED)]
        position = self._read(data, found)
        if found and type(found[-1]) is Broken:
            self._broken = True
            self.is_unread = False
        elif position < len(data):
            rest = data[position:]
            if not self.is_unread and not self._needed_bytes:
                rest = _without_end(rest)
            self._held = [rest]
            self._held_bytes = len(rest)
            self._needed_bytes -= position
        return found

    def end(self) -> None:
        """
        Forget what is not complete or unread, and ignore what comes from now on.

        What is told of a client is remembered for long after its end; a payload of which the last
        byte never came would be as well.
        """
        self._broken, self.is_unread = True, False
        self._held, self._held_bytes = [], 0

    def _read(self, data: bytes, found: list[Operation]) -> int:
        """
        Read a portion of operations that are complete.

        :returns: Where what is not read begins.
        """
        position = done = 0
        while done < _COUNT_MAX:
            done += 1
            end = data.find(b"\n", position)
            if end < 0:
                self._needed_bytes = 0
                if position < len(data):
                    self._judge_begun(data[position:], found)
                return position
            line = data[position:end]
            if (
                line[:4] == _PUB
                and len(line) <= self.line_bytes_max
                and not (11 in line or 12 in line or 13 in line[:-1])
                and len(words := line.split()) > 1
            ):
                # What `_read_line` does, without a call: this is what there is most of.
                count = len(words)
                size = words[-1]
                if not 3 <= count <= 4 or not size.isdigit() or len(size) > _SIZE_DIGITS_MAX:
                    found.append(Broken(Fault.MALFORMED))
                    return position
                start = end + 1
                stop = start + int(size)
                if data[stop : stop + 2] != _END or stop - start > self.payload_bytes_max:
                    self._judge_payload(data, (start, stop), words[1], found)
                    return position
                if count == 4:
                    found.append(Publish(words[1], words[2], None, data[start:stop]))
                    position = stop + 2
                elif stop + 2 == len(data) and not found:
                    # It came alone.
                    found.append(Publish(words[1], b"", None, data[start:stop]))
                    return stop + 2
                else:
                    before, each = position, stop + 2 - position
                    most = before + (_COUNT_MAX - done + 1) * bounds.PORTION_ALIKE * each
                    position = _read_alike(data, before, (start, stop), words[1], found, most)
                    done += (position - before) // (each * bounds.PORTION_ALIKE)
                continue
            taken = self._read_line(data, position, end, found)
            if taken <= position:
                return position
            position = taken
            kind = type(found[-1]) if found else None
            if kind is Broken:
                return position
            if kind is Connect:
                break
        self._needed_bytes = position
        self.is_unread = position < len(data)
        return position

    def _judge_begun(self, begun: bytes, found: list[Operation]) -> None:
        """Find out whether a line that is not complete can become one."""
        upper = begun[: len(b"CONNECT")].upper()
        for verb in _VERBS:
            if upper.startswith(verb):
                if len(begun) > len(verb) and not _may_follow(verb, begun[len(verb)]):
                    break
                argument = begun[len(verb) :].lstrip(_BLANKS).removesuffix(b"\r")
                if verb not in _ENDLESS and len(argument) > self.line_bytes_max:
                    found.append(Broken(Fault.LINE_TOO_LONG))
                return
            if verb.startswith(upper):
                return
        found.append(Broken(Fault.UNKNOWN_OPERATION))

    def _judge_payload(
        self, data: bytes, payload: tuple[int, int], subject: bytes, found: list[Operation]
    ) -> None:
        """
        Find out what a payload lacks: nothing but more of it, or sense.

        :param payload: Where it begins and ends.
        """
        start, stop = payload
        if stop - start > self.payload_bytes_max:
            found.append(Broken(Fault.PAYLOAD_TOO_LARGE))
        elif not _END.startswith(data[stop : stop + 2]):
            found.append(Broken(Fault.UNKNOWN_OPERATION, subject))
        else:
            self._needed_bytes = stop + (1 if len(data) <= stop else 2)

    def _read_line(self, data: bytes, position: int, end: int, found: list[Operation]) -> int:
        """
        Read one line, and the payload if it has one.

        :returns: Where the next operation begins; *position* when this one is not complete.
        """
        line = data[position:end]
        upper = line[: len(b"CONNECT")].upper()
        verb = next((verb for verb in _VERBS if upper.startswith(verb)), None)
        # At the end of the line, that end follows.
        if verb is None or not _may_follow(verb, data[position + len(verb)]):
            found.append(Broken(Fault.UNKNOWN_OPERATION))
            return end + 1
        if verb in _ENDLESS:
            found += _ENDLESS[verb]
            return end + 1
        argument = line[len(verb) :].lstrip(_BLANKS)
        if not argument:
            # LF as the first letter of what follows a verb does not end it.
            end = data.find(b"\n", end + 1)
            if end < 0:
                self._needed_bytes = 0
                self._judge_begun(data[position:], found)
                return position
            argument = data[position + len(verb) : end].lstrip(_BLANKS)
        if b"\r" in argument[1:]:
            # The last letter, as a rule a CR, is none of it when there is a CR anywhere.
            argument = argument[:-1]
        if len(argument) > self.line_bytes_max:
            found.append(Broken(Fault.LINE_TOO_LONG))
            return end + 1
        if verb in (b"PUB", b"HPUB"):
            words = split_publication(argument)
            return self._read_publish(data, position, end, words, verb, found)
        if verb == b"INFO" and is_info(argument):
            return end + 1
        found.append(_READERS[verb](argument))
        # If it was awaited it is this one, for nothing else has come this far.
        self.awaits_connect = False
        return end + 1

    def _read_publish(
        self,
        data: bytes,
        position: int,
        end: int,
        words: list[bytes],
        verb: bytes,
        found: list[Operation],
    ) -> int:
        sizes = 2 if verb == b"HPUB" else 1
        if sizes == 2 and not self.knows_headers:
            found.append(Broken(Fault.MALFORMED))
            return end + 1
        if not sizes + 1 <= len(words) <= sizes + 2:
            found.append(Broken(Fault.MALFORMED))
            return end + 1
        numbers = [_read_size(word) for word in words[-sizes:]]
        head_bytes = numbers[0] if sizes == 2 else 0
        if min(numbers) < 0 or head_bytes > numbers[-1]:
            found.append(Broken(Fault.MALFORMED))
            return end + 1
        start = end + 1
        stop = start + numbers[-1]
        if numbers[-1] > self.payload_bytes_max or data[stop : stop + 2] != _END:
            self._judge_payload(data, (start, stop), words[0], found)
            return position
        reply = words[1] if len(words) == sizes + 2 else b""
        header = data[start : start + head_bytes] if sizes == 2 else None
        found.append(Publish(words[0], reply, header, data[start + head_bytes : stop]))
        return stop + 2


def _read_alike(
    data: bytes,
    position: int,
    payload: tuple[int, int],
    subject: bytes,
    found: list[Operation],
    most: int,
) -> int:
    """
    Read a PUB that is complete, and those behind it that have the same control line.

    :param payload: Where that of the first one begins and ends.
    :param most: Where the last one ends at the latest.
    :returns: Where the next operation begins.
    """
    start, stop = payload
    size = stop - start
    line = data[position:start]
    payloads = [data[start:stop]]
    position = stop + len(_END)
    while position < most and data.startswith(line, position):
        start = position + len(line)
        stop = start + size
        if data[stop : stop + 2] != _END:
            break
        payloads.append(data[start:stop])
        position = stop + len(_END)
    before = found[-1] if found else None
    if type(before) is PublishRun and before.subject == subject:
        before.payloads.extend(payloads)
    elif type(before) is Publish and before[:3] == (subject, b"", None):
        found[-1] = PublishRun(subject, [before.payload, *payloads])
    elif len(payloads) == 1:
        found.append(Publish(subject, b"", None, payloads[0]))
    else:
        found.append(PublishRun(subject, payloads))
    return position


_NEED_BLANK: Final = frozenset({b"PUB", b"HPUB", b"SUB", b"UNSUB", b"-ERR"})

# What has no argument; anything may stand behind it, in any length, and is not kept.
_ENDLESS: Final[dict[bytes, tuple[Operation, ...]]] = {
    b"PING": (Ping(),),
    b"PONG": (Pong(),),
    b"+OK": (),
}


def _may_follow(verb: bytes, letter: int) -> bool:
    return verb not in _NEED_BLANK or letter in _BLANKS


def _without_end(begun: bytes) -> bytes:
    """Leave out what stands behind a verb that has no argument, in a line that is not complete."""
    upper = begun[: len(b"PING")].upper()
    return next((begun[: len(verb)] for verb in _ENDLESS if upper.startswith(verb)), begun)


def _read_size(word: bytes) -> int:
    """Read a number of bytes; -1 for what is none."""
    if len(word) > _SIZE_DIGITS_MAX or not word.isdigit():
        return -1
    return int(word)


def _read_subscribe(argument: bytes) -> Operation:
    match split(argument):
        case [subject, sid]:
            return Subscribe(subject, b"", sid)
        case [subject, queue, sid]:
            return Subscribe(subject, queue, sid)
    return Broken(Fault.MALFORMED)


def _read_unsubscribe(argument: bytes) -> Operation:
    match split(argument):
        case [sid]:
            return Unsubscribe(sid, 0)
        case [sid, most]:
            # What is no number ends the subscription, as in NATS.
            return Unsubscribe(sid, max(0, _read_size(most)))
    return Broken(Fault.MALFORMED)


_READERS: Final[dict[bytes, Callable[[bytes], Operation]]] = {
    b"SUB": _read_subscribe,
    b"UNSUB": _read_unsubscribe,
    b"CONNECT": Connect,
    b"-ERR": lambda _: Broken(Fault.CLIENT_ERROR),
    b"INFO": lambda _: Broken(Fault.MALFORMED),
}
