"""
Subjects as clients write them: bytes, which need not be any subject at all.
"""

from __future__ import annotations

from typing import Final
from unicodedata import category

from atbus.errors import SubjectError
from atbus.subjects.pattern import ANY, REST, check_queue, parse_pattern

#: How subjects begin on which servers let no client publish: answers on their way between clusters.
_OF_SERVERS: Final = b"_GR_."
#: How reply subjects begin that they take from no client: those, answers of services of other
#: accounts, and what is acknowledged to a stream.
_ANSWERS_OF_SERVERS: Final = (b"_GR_.", b"_R_.", b"$JS.ACK.")
#: Letters that have an escape of their own in Go.
_SHORT: Final = {
    '"': '\\"', "\\": "\\\\",
    **dict(zip("\a\b\f\n\r\t\v", ("\\" + each for each in "abfnrtv"), strict=True)),
}
#: How bytes that are no letter are read: as letters from here on.
_ESCAPED: Final = 0xDC00
_SPACE: Final = 0x20
_DELETE: Final = 0x7F
_SHORT_CODES: Final = 0xFFFF
#: The one of them that need not go on behind that.
_WHOLE: Final = b"_R_."


def is_of_servers(subject: bytes) -> bool:
    """Tell whether a subject is one on which no client may publish, whatever its rights."""
    return subject.startswith(_OF_SERVERS) and subject != _OF_SERVERS


def is_answer_of_servers(reply: bytes) -> bool:
    """Tell whether a reply subject is one that no client may name, whatever its rights."""
    return reply.startswith(_ANSWERS_OF_SERVERS) and (
        reply == _WHOLE or reply not in _ANSWERS_OF_SERVERS
    )


def is_literal(subject: bytes) -> bool:
    """Tell whether each token of a subject to publish on means itself, and is not empty."""
    tokens = subject.split(b".")
    return b"" not in tokens and b"*" not in tokens and b">" not in tokens


def is_subscribable(pattern: bytes, queue: bytes) -> bool:
    """
    Tell whether one can subscribe to a pattern.

    :param queue: The group in which one would; empty for none.
    """
    try:
        parse_pattern(pattern.decode())
        if queue:
            check_queue(queue.decode())
    except (SubjectError, UnicodeDecodeError):
        return False
    return True


def is_pattern(pattern: bytes) -> bool:
    """Tell whether a nats-server takes it for a pattern: any bytes, but with tokens in order."""
    tokens = pattern.split(b".")
    return b"" not in tokens and b">" not in tokens[:-1]


def matches_raw(pattern: bytes, subject: bytes) -> bool:
    """Tell whether a pattern stands for a subject."""
    if pattern == subject:
        return True
    wanted = pattern.decode(errors="replace").split(".")
    there = subject.decode(errors="replace").split(".")
    if wanted[-1] == REST and len(there) >= len(wanted):
        wanted = wanted[:-1]
        there = there[: len(wanted)]
    return len(wanted) == len(there) and all(
        mine in (ANY, theirs) for mine, theirs in zip(wanted, there, strict=True)
    )


def quoted(subject: bytes) -> str:
    """Write a subject as it stands in the text of an error: as Go writes a text in quotes."""
    return f'"{"".join(map(_shown, subject.decode(errors="surrogateescape")))}"'


def _shown(letter: str) -> str:
    code = ord(letter)
    if letter in _SHORT:
        return _SHORT[letter]
    if _ESCAPED <= code < _ESCAPED + 256:
        return f"\\x{code - _ESCAPED:02x}"
    if letter == " " or category(letter)[0] in "LMNPS":
        return letter
    if code < _SPACE or code == _DELETE:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _SHORT_CODES else f"\\U{code:08x}"
