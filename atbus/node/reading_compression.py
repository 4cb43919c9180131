"""
How the options about compression are read.

As in `atbus.node.reading` nothing is raised; what cannot be read becomes an `Unreadable` in its
place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from atbus.node.reading import Unreadable
from atbus.wire.compression import ALGORITHMS, algorithm_named, is_there


def read_compression(value: Iterable[str]) -> tuple[str, ...]:
    """
    Read names of algorithms.

    :param value: The names.
    :returns: The same, with an `Unreadable` in the place of each that is none, or cannot be used
        in this installation.
    """
    if not _is_list(value):
        return _no_list("texts")
    return tuple(_read_name(name) for name in value)


def read_kinds(value: Iterable[int]) -> tuple[int, ...]:
    """
    Read kinds of messages.

    :param value: Integers of 32 bits.
    :returns: The same, with an `Unreadable` in the place of each that is none.
    """
    if not _is_list(value):
        return _no_list("integers")
    return tuple(_read_kind(kind) for kind in value)


def _read_name(name: Any) -> str:
    algorithm = algorithm_named(name) if isinstance(name, str) else None
    if algorithm is None:
        fault = f": must be one of {', '.join(ALGORITHMS)}, not {name!r:.40}"
        return cast(str, Unreadable((fault,)))
    if not is_there(algorithm):
        return cast(str, Unreadable((f": {name} is not installed; pip install atbus[{name}]",)))
    return str(name)


def _read_kind(kind: Any) -> int:
    if isinstance(kind, bool) or not isinstance(kind, int) or not -(2**31) <= kind < 2**31:
        return cast(int, Unreadable((f": expected a kind, -2**31 to 2**31 - 1, got {kind!r:.40}",)))
    return kind


def _is_list(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _no_list(of: str) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", Unreadable((f": expected a list of {of}",)))
