"""
What the tables of all registries have in common, and how that is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

PREFIX: Final = "/atbus/"
"""Below what a bus keeps its keys, unless it is told otherwise."""

START_SECONDS: Final = 5.0
"""How long a start waits for a registry unless told otherwise; libatbus's number."""


def faults_in_kinds(
    table: Mapping[str, Any],
    texts: Iterable[str],
    truths: Iterable[str],
    seconds: Mapping[str, tuple[float, float]],
) -> Iterator[str]:
    """
    Check what is the same for all registries: what kind of value each key has, and the login.

    :param table: What was given.
    :param texts: The keys with texts.
    :param truths: The keys with truth values.
    :param seconds: The keys with times, with the least and the most.
    :returns: What is wrong, each beginning with the place.
    """
    for key in texts:
        text = table.get(key, "")
        if not isinstance(text, str) or not text.isprintable():
            yield f".{key}: expected a text that can be printed"
    yield from (
        f".{key}: expected true or false"
        for key in truths
        if not isinstance(table.get(key, True), bool)
    )
    for key, (least, most) in seconds.items():
        number = table.get(key, least)
        if isinstance(number, bool) or not isinstance(number, int | float):
            yield f".{key}: expected a number"
        elif not least <= number <= most:
            yield f".{key}: must be {least} to {most} seconds, not {number}"
    if table.get("key_file") and not table.get("certificate_file"):
        yield ".key_file: without certificate_file it has nothing to belong to"
    if table.get("password") and not table.get("user"):
        yield ".password: it is nobody's, for there is no user"
