"""
How the options about rights are read: rules, and ranges of ids.

As in `atbus.node.reading` nothing is raised; what cannot be read becomes an `Unreadable` in its
place. A right that is misspelled must not be given, nor a denial be lost: a key that nobody knows
is a fault, and so is a rule that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar, cast

import attrs

from atbus.busid import Subnet, format_bus_id, parse_bus_id
from atbus.errors import AtbusError
from atbus.node.reading import Unreadable
from atbus.rights import ALL_IDS, POSITIONS, Kind, RightsRule
from atbus.subjects.pattern import parse_pattern

T = TypeVar("T")

_ACTIONS: Final = {"allow": True, "deny": False}
_EVERYBODY: Final = "*"


def read_rights(value: Iterable[RightsRule | Mapping[str, Any]]) -> tuple[RightsRule, ...]:
    """
    Read the rules of what nodes may do.

    :param value: Rules, or tables of an action, of whom it is about, and of what.
    :returns: The rules, with an `Unreadable` in the place of each that is none.
    """
    return _each(value, _rule, "a list of tables")


def read_ranges(value: Iterable[Subnet | str]) -> tuple[Subnet, ...]:
    """
    Read ids and ranges of ids.

    :param value: Such as ``0x1234`` and ``0x1200/8``.
    :returns: The ranges, with an `Unreadable` in the place of each that is none.
    """
    return _each(value, parse_range, "a list of ids and ranges")


def parse_range(value: object) -> Subnet:
    """
    Read an id, or a range of ids.

    :param value: A text, or a range that is read already.
    :returns: The range.
    :raises TypeError: It is neither.
    :raises ValueError: The text is not an id and not a range.
    """
    if isinstance(value, Subnet):
        return value
    if not isinstance(value, str):
        raise TypeError(f": expected a text such as '0x1234' or '0x1200/8', got {value!r:.40}")
    return Subnet.parse(value) if "/" in value else Subnet(parse_bus_id(value), 0)


def plain_right(rule: RightsRule) -> dict[str, object]:
    """
    Write a rule as a table that `read_rights` reads.

    :param rule: The rule.
    :returns: What it says, without what it does not.
    """
    names = {position: name for name, position in POSITIONS.items()}
    table: dict[str, object] = {
        "name": rule.name,
        "ids": [plain_range(each) for each in rule.ids],
        "temporary": rule.temporary,
        "labels": {key: list(values) for key, values in rule.labels},
        "register": [names[position] for position in rule.register],
        "send": [_EVERYBODY] if rule.send == ALL_IDS else [plain_range(each) for each in rule.send],
        "publish": [".".join(pattern) for pattern in rule.publish],
        "subscribe": [".".join(pattern) for pattern in rule.subscribe],
        "commands": list(rule.commands),
        "streams": list(rule.streams),
    }
    said = {key: value for key, value in table.items() if value not in (None, "", [], {})}
    return {"action": "allow" if rule.allows else "deny", **said}


def plain_range(ids: Subnet) -> str:
    """
    Write a range as `parse_range` reads it.

    :param ids: The range.
    :returns: The id alone when there is one.
    """
    return str(ids) if ids.mask_bits else format_bus_id(ids.first)


def _each(value: object, read: Callable[[Any], T], what: str) -> tuple[T, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return cast("tuple[T, ...]", Unreadable((f": expected {what}",)))
    items: list[T] = []
    for item in value:
        try:
            items.append(read(item))
        except (AtbusError, ValueError, TypeError) as fault:
            text = str(fault)
            items.append(cast("T", Unreadable((text if text[:1] in ":." else f": {text}",))))
    return tuple(items)


_KEYS: Final = frozenset(attrs.fields_dict(RightsRule)) - {"allows"} | {"action"}


def _rule(table: object) -> RightsRule:
    if isinstance(table, RightsRule):
        return table
    if not isinstance(table, Mapping):
        raise TypeError(": expected a table")
    for key in table:
        if key not in _KEYS:
            raise ValueError(f".{key}: unknown; one of {', '.join(sorted(_KEYS))}")
    if table.get("action") not in _ACTIONS:
        raise ValueError(f".action: must be one of allow, deny, not {table.get('action')!r:.40}")
    if not any(kind.value in table for kind in Kind):
        kinds = ", ".join(kind.value for kind in Kind)
        raise ValueError(f": it says nothing; give one of {kinds}")
    temporary = table.get("temporary")
    if not isinstance(temporary, bool | None):
        raise TypeError(".temporary: expected true or false")
    return RightsRule(
        allows=_ACTIONS[table["action"]],
        name=_text(".name", table.get("name", "")),
        ids=_list(table, "ids", parse_range),
        temporary=temporary,
        labels=_labels(table.get("labels", {})),
        register=_list(table, "register", _position),
        send=_targets(table),
        publish=_list(table, "publish", parse_pattern),
        subscribe=_list(table, "subscribe", parse_pattern),
        commands=_list(table, "commands", str),
        streams=_list(table, "streams", str),
    )


def _list(table: Mapping[str, Any], key: str, read: Callable[[str], T]) -> tuple[T, ...]:
    value = table.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not value:
        # An empty list would say as much as none, and look as if it said the opposite.
        raise TypeError(f".{key}: expected a list with something in it, or nothing at all")
    items = []
    for place, text in enumerate(value):
        try:
            items.append(read(_text("", text)))
        except (ValueError, TypeError) as fault:
            raise ValueError(f".{key}[{place}]: {str(fault).removeprefix(': ')}") from fault
    return tuple(items)


def _targets(table: Mapping[str, Any]) -> tuple[Subnet, ...]:
    if table.get("send") in ([_EVERYBODY], (_EVERYBODY,)):
        return ALL_IDS
    return _list(table, "send", parse_range)


def _position(text: str) -> Any:
    if text not in POSITIONS:
        raise ValueError(f"must be one of {', '.join(POSITIONS)}, not {text!r:.40}")
    return POSITIONS[text]


def _labels(value: object) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(".labels: expected a table")
    wanted = {}
    for key, given in value.items():
        texts = (given,) if isinstance(given, str) else given
        if not isinstance(texts, list | tuple) or not texts:
            raise TypeError(f".labels.{key}: expected a text, or a list of texts")
        wanted[key] = tuple(_text(f".labels.{key}", text) for text in texts)
    return wanted


def _text(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{place}: expected a text")
    return value
