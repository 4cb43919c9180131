"""
What is to be known of one option of a configuration, and the kinds of options that come often.
"""

from __future__ import annotations

from typing import Final

import attrs

# Shorter times are met by no scheduler, longer ones are mistakes of the unit.
SECONDS_MIN: Final = 0.001
SECONDS_MAX: Final = 86_400.0

# More bytes than any machine has.
BYTES_MAX: Final = 2**50


@attrs.frozen(kw_only=True)
class Option:
    """
    What is to be known of one option.

    :param kind: What its value is, in the words of the reference.
    :param meaning: What it does, in a sentence or two.
    :param key: Where it stands in a file, dotted; None when under its own name.
    :param unit: The unit of a number.
    :param least: The smallest number that makes sense.
    :param most: The largest number that makes sense.
    :param reloadable: Whether it may change while the node runs.
    :param secret: Whether its value must never be shown.
    """

    kind: str
    meaning: str
    key: str | None = None
    unit: str = ""
    least: float | None = None
    most: float | None = None
    reloadable: bool = False
    secret: bool = False

    def fault_in(self, value: object) -> str | None:
        """
        Compare a number with its bounds.

        :param value: The value as its reader made it.
        :returns: What is wrong with it, to stand behind the name of the option, or None; None
            also when it is not a number.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        unit = f" {self.unit}" if self.unit else ""
        if self.least is not None and value < self.least:
            return f": must be at least {_plain(self.least)}{unit}, not {_plain(value)}"
        if self.most is not None and value > self.most:
            return f": must be at most {_plain(self.most)}{unit}, not {_plain(value)}"
        return None


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def seconds(meaning: str, key: str | None = None, *, least: float = SECONDS_MIN) -> Option:
    return Option(
        kind="number",
        meaning=meaning,
        key=key,
        unit="seconds",
        least=least,
        most=SECONDS_MAX,
        reloadable=True,
    )


def size(meaning: str, key: str, *, least: int = 1, most: int = BYTES_MAX) -> Option:
    return Option(
        kind="integer",
        meaning=meaning,
        key=key,
        unit="bytes",
        least=least,
        most=most,
        reloadable=True,
    )


def count(meaning: str, key: str, *, least: int = 1, most: int) -> Option:
    return Option(kind="integer", meaning=meaning, key=key, least=least, most=most, reloadable=True)


def switch(meaning: str, *, reloadable: bool) -> Option:
    return Option(kind="boolean", meaning=meaning, reloadable=reloadable)
