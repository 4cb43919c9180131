"""
What a subject is, and what a pattern of subjects is.

A subject is a row of tokens joined by dots: ``orders.eu.new``. In a pattern a token ``*`` stands
for just one token, and ``>``, which may only be the last, for one or more. Inside a longer token
both are ordinary letters. A subject to publish is literal, so it must not have such tokens either,
unless it comes from a NATS client, where they mean themselves.

The rules are NATS's (its design record 6), with two bounds of our own (`atbus.limits`).
"""

from __future__ import annotations

import re
from typing import Final

from atbus import limits
from atbus.busid import ID_MAX
from atbus.errors import SubjectError

#: A token of a pattern that stands for any one token.
ANY: Final = "*"
#: The last token of a pattern, which stands for one or more tokens.
REST: Final = ">"

#: The first token of subjects for answers, by custom.
INBOX: Final = "_INBOX"

#: The first token of the subjects that belong to the bus itself.
OWN_SUBJECTS: Final = "$ATBUS"

# White space separates words of the NATS protocol, and control characters break lines.
_NO_LETTERS: Final = re.compile(r"[\s\x00-\x1f\x7f]")


def parse_pattern(text: str) -> tuple[str, ...]:
    """
    Read a pattern to subscribe to.

    :param text: Such as ``orders.*.new`` or ``orders.>``.
    :returns: Its tokens.
    :raises SubjectError: It is not one.
    """
    tokens = _tokens(text)
    if REST in tokens[:-1]:
        raise SubjectError(text, f"{REST} may only be the last token")
    return tokens


def parse_subject(text: str, *, literal_wildcards: bool = False) -> tuple[str, ...]:
    """
    Read a subject to publish on.

    :param text: Such as ``orders.eu.new``.
    :param literal_wildcards: Whether tokens ``*`` and ``>`` mean themselves, instead of being
        taken for a mistake.
    :returns: Its tokens.
    :raises SubjectError: It is not one.
    """
    tokens = _tokens(text)
    if not literal_wildcards and (ANY in tokens or REST in tokens):
        raise SubjectError(text, f"only a pattern may have the tokens {ANY} and {REST}")
    return tokens


def check_queue(name: str) -> str:
    """
    Check the name of a queue group.

    :param name: Any text without white space.
    :returns: The same.
    :raises SubjectError: It is empty, too long, or has white space.
    """
    _check_letters(name)
    if not name:
        raise SubjectError(name, "a queue group has a name")
    return name


def matches(pattern: tuple[str, ...], subject: tuple[str, ...]) -> bool:
    """
    Tell whether a subject is one of those that a pattern stands for.

    :param pattern: Tokens from `parse_pattern`.
    :param subject: Tokens from `parse_subject`.
    :returns: Whether they match.
    """
    if pattern[-1] == REST:
        if len(subject) < len(pattern):
            return False
        pattern = pattern[:-1]
        subject = subject[: len(pattern)]
    return len(pattern) == len(subject) and all(
        wanted in (ANY, token) for wanted, token in zip(pattern, subject, strict=True)
    )


def covers(pattern: tuple[str, ...], narrower: tuple[str, ...]) -> bool:
    """
    Tell whether a pattern stands for every subject that another one stands for.

    :param pattern: Tokens from `parse_pattern`.
    :param narrower: Tokens of the other one; those of a subject are a pattern that stands for one.
    :returns: Whether it does; equal patterns cover each other.
    """
    if pattern[-1] == REST:
        if len(narrower) < len(pattern):
            return False
        pattern = pattern[:-1]
        narrower = narrower[: len(pattern)]
    elif narrower[-1] == REST:
        return False
    return len(pattern) == len(narrower) and all(
        wanted in (ANY, token) for wanted, token in zip(pattern, narrower, strict=True)
    )


def overlaps(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """
    Tell whether there is a subject that two patterns both stand for.

    :param one: Tokens from `parse_pattern`.
    :param other: Tokens from `parse_pattern`.
    :returns: Whether there is; the order of the two does not matter.
    """
    for here, there in zip(one, other, strict=False):
        if REST in (here, there):
            return True
        if here != there and ANY not in (here, there):
            return False
    return len(one) == len(other)


def inbox_of(bus_id: int, token: int) -> str:
    """
    Name a subject for the answers to one question of a node.

    :param bus_id: The node that asks.
    :param token: Of this question, 64 bits.
    :returns: The subject; `inbox_owner` reads the node out of it.
    """
    return f"{INBOX}.{bus_id:x}.{token:016x}"


def inbox_owner(subject: str) -> int:
    """
    Read whose inbox a subject is.

    :returns: The bus id; 0 if it is no node's inbox, but perhaps that of a NATS client.
    """
    if not isinstance(subject, str) or not subject.startswith(INBOX):
        return 0
    tokens = subject.split(".")
    if len(tokens) != _INBOX_TOKENS or len(tokens[2]) != _INBOX_TOKEN_LETTERS:
        return 0
    try:
        bus_id = int(tokens[1], 16)
    except ValueError:
        return 0
    letters = _INBOX_TOKEN_LETTERS
    is_ours = 0 < bus_id <= ID_MAX and subject[:-letters] == inbox_of(bus_id, 0)[:-letters]
    return bus_id if is_ours else 0


def _tokens(text: str) -> tuple[str, ...]:
    _check_letters(text)
    tokens = tuple(text.split("."))
    if "" in tokens:
        raise SubjectError(text, "a token between dots must not be empty")
    if len(tokens) > limits.SUBJECT_TOKENS_MAX:
        raise SubjectError(
            text, f"{len(tokens)} tokens, at most {limits.SUBJECT_TOKENS_MAX} are allowed"
        )
    return tokens


def _check_letters(text: str) -> None:
    if not isinstance(text, str):
        raise SubjectError(repr(text), f"it is a text, not {type(text).__name__}")
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise SubjectError(text, "half a surrogate pair is no letter") from error
    if size_bytes > limits.SUBJECT_BYTES:
        raise SubjectError(text, f"{size_bytes} bytes, at most {limits.SUBJECT_BYTES} are allowed")
    found = _NO_LETTERS.search(text)
    if found is not None:
        raise SubjectError(text, f"{found[0]!r} is white space or a control character")


_INBOX_TOKENS: Final = 3
_INBOX_TOKEN_LETTERS: Final = 16
