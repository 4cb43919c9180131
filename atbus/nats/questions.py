"""
What stands behind the ``?`` of a question to a monitor, read as nats-server reads it.
"""

from __future__ import annotations

import re
from typing import Final

from atbus.nats.raw_subjects import quoted

Arguments = dict[str, str]

#: Asked for like that, details come as well.
DETAIL: Final = "detail"

_LIMIT: Final = 1_024
_FLAGS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("", "0", "f", "F", "false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_INTEGER_BITS: Final = 63
_DIGITS: Final = re.compile(r"[0-9]+")
_ID_BITS: Final = 64
_DIGITS_MAX: Final = 21


class BadArgument(ValueError):
    """Something was asked that cannot be answered; the text says what."""


def read_flag(arguments: Arguments, name: str) -> bool:
    """
    Read whether something is asked for.

    :raises BadArgument: It is none of the words for yes and no.
    """
    text = arguments.get(name, "")
    if text not in _FLAGS:
        raise _misread("boolean", name, "ParseBool", text)
    return _FLAGS[text]


def read_subscriptions(arguments: Arguments, *, has_details: bool = False) -> str:
    """
    Read how much of what is subscribed to is asked for.

    :param has_details: Whether the page can tell details.
    :returns: Empty for nothing, `DETAIL` for details, another word for the names.
    :raises BadArgument: It is none of the words for that.
    """
    if has_details and arguments.get("subs", "").lower() == DETAIL:
        return DETAIL
    return "names" if read_flag(arguments, "subs") else ""


def read_number(arguments: Arguments, name: str) -> int:
    """
    Read a number; 0 where there is none.

    :raises BadArgument: It is no integer of 64 bits.
    """
    text = arguments.get(name, "") or "0"
    if not _INTEGER.fullmatch(text):
        raise _misread("int", name, "Atoi", text)
    number = _bounded(text)
    if not -1 << _INTEGER_BITS <= number < 1 << _INTEGER_BITS:
        raise _misread("int", name, "Atoi", text, "value out of range")
    return number


def read_id(arguments: Arguments, name: str) -> int:
    """
    Read the number of something; 0 where there is none.

    :raises BadArgument: It is no integer of 64 bits without a sign.
    """
    text = arguments.get(name, "") or "0"
    if not _DIGITS.fullmatch(text):
        raise _misread("uint64", name, "ParseUint", text)
    number = _bounded(text)
    if number >> _ID_BITS:
        raise _misread("uint64", name, "ParseUint", text, "value out of range")
    return number


def _bounded(text: str) -> int:
    """Give a number; of one with more digits than any that is good it counts only that it is."""
    sign, digits = ("-" if text[0] == "-" else ""), text.lstrip("+-").lstrip("0")
    return int(sign + (digits[:_DIGITS_MAX] or "0"))


def _misread(
    kind: str, name: str, reader: str, text: str, why: str = "invalid syntax"
) -> BadArgument:
    """Make a fault with the words of Go, in which nats-server reads."""
    read = f"strconv.{reader}: parsing {quoted(text.encode(errors='surrogateescape'))}: {why}"
    return BadArgument(f"Error decoding {kind} for '{name}': {read}")


def read_range(arguments: Arguments) -> tuple[int, int]:
    """
    Read which part of a list is asked for: where it begins, and how much there may be.

    :raises BadArgument: One of both is no integer.
    """
    offset, limit = read_number(arguments, "offset"), read_number(arguments, "limit")
    return max(offset, 0), limit if limit > 0 else _LIMIT
