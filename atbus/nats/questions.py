"""
What stands behind the ``?`` of a question to a monitor, read as nats-server reads it.
"""

from __future__ import annotations

import re
from typing import Final

Arguments = dict[str, str]

#: Asked for like that, details come as well.
DETAIL: Final = "detail"

_LIMIT: Final = 1_024
_FLAGS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("", "0", "f", "F", "false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_INTEGER_BITS: Final = 63


class BadArgument(ValueError):
    """Something was asked that cannot be answered; the text says what."""


def read_flag(arguments: Arguments, name: str) -> bool:
    """
    Read whether something is asked for.

    :raises BadArgument: It is none of the words for yes and no.
    """
    text = arguments.get(name, "")
    if text not in _FLAGS:
        raise BadArgument(f"Error decoding boolean for {name!r}: {text!r}")
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
    number = int(text) if _INTEGER.fullmatch(text) else None
    if number is None or not -1 << _INTEGER_BITS <= number < 1 << _INTEGER_BITS:
        raise BadArgument(f"Error decoding int for {name!r}: {text!r}")
    return number


def read_range(arguments: Arguments) -> tuple[int, int]:
    """
    Read which part of a list is asked for: where it begins, and how much there may be.

    :raises BadArgument: One of both is no integer.
    """
    offset, limit = read_number(arguments, "offset"), read_number(arguments, "limit")
    return max(offset, 0), limit if limit > 0 else _LIMIT
