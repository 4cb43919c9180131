"""
How the options about other nodes are read: records and policies.

As in `atbus.node.reading` nothing is raised; what cannot be read becomes an `Unreadable` in its
place. A policy that is misspelled must not allow what it was to deny, so a key that nobody knows is
a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

import attrs

from atbus.address import Address, as_address
from atbus.busid import Subnet, format_bus_id, parse_bus_id
from atbus.errors import AtbusError
from atbus.node.reading import Unreadable
from atbus.routing.policy import Action, Rule
from atbus.routing.record import Record
from atbus.wire.messages import NodeFlag

T = TypeVar("T")


def read_records(value: Iterable[Record | Mapping[str, Any]]) -> tuple[Record, ...]:
    """
    Read records of nodes.

    :param value: Records, or tables of what is known of a node.
    :returns: The records, with an `Unreadable` in the place of each that is none.
    """
    return _each(value, Record, _record)


def read_rules(value: Iterable[Rule | Mapping[str, Any]]) -> tuple[Rule, ...]:
    """
    Read the rules of a policy.

    :param value: Rules, or tables of an action and its conditions.
    :returns: The rules, with an `Unreadable` in the place of each that is none.
    """
    return _each(value, Rule, _rule)


def plain_record(record: Record) -> dict[str, object]:
    """
    Write a record as a table that `read_records` reads.

    :param record: The record.
    :returns: What it says, without what it does not.
    """
    table: dict[str, object] = {"id": format_bus_id(record.bus_id)}
    if record.upstream_id:
        table["upstream"] = format_bus_id(record.upstream_id)
    if record.is_proxy:
        table["proxy"] = True
    said = {
        "subnets": [str(subnet) for subnet in record.subnets],
        "labels": dict(record.labels),
        "addresses": list(record.addresses),
        "hostname": record.host,
    }
    return table | {key: value for key, value in said.items() if value}


def plain_rule(rule: Rule) -> dict[str, object]:
    """
    Write a rule as a table that `read_rules` reads.

    :param rule: The rule.
    :returns: Its action and its conditions.
    """
    table: dict[str, object] = {"action": rule.action.value}
    for key in _RULE_KEYS - {"action"}:
        value = getattr(rule, key)
        if key in _WANTED_KEYS:
            value = {name: list(values) for name, values in value}
        if value not in (None, "", (), {}):
            table[key] = value
    return dict(sorted(table.items()))


_RULE_KEYS: Final = frozenset(attrs.fields_dict(Rule))
_WANTED_KEYS: Final = frozenset({"labels", "own_labels"})
_RECORD_KEYS: Final = frozenset(
    {"id", "upstream", "subnets", "labels", "addresses", "hostname", "proxy"}
)


def _each(value: object, kind: type[T], read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return cast("tuple[T, ...]", Unreadable((": expected a list of tables",)))
    items: list[T] = []
    for item in value:
        if isinstance(item, kind):
            items.append(item)
            continue
        try:
            if not isinstance(item, Mapping):
                raise TypeError(": expected a table")
            items.append(read(item))
        except (AtbusError, ValueError, TypeError) as fault:
            text = str(fault)
            items.append(cast("T", Unreadable((text if text[:1] in ":." else f": {text}",))))
    return tuple(items)


def _record(table: Mapping[str, Any]) -> Record:
    _check_keys(table, _RECORD_KEYS)
    if "id" not in table:
        raise ValueError(": a record is about a node: id is missing")
    return Record(
        bus_id=parse_bus_id(_of(table, "id", int | str)),
        upstream_id=parse_bus_id(_of(table, "upstream", int | str, 0)),
        subnets=tuple(Subnet.parse(text) for text in _texts(table, "subnets")),
        labels={key: _text(f".labels.{key}", value) for key, value in _table(table, "labels")},
        addresses=tuple(str(_dialable(text)) for text in _texts(table, "addresses")),
        node_flags=int(NodeFlag.PROXY) if _of(table, "proxy", bool, False) else 0,
        host=_of(table, "hostname", str, ""),
    )


def _rule(table: Mapping[str, Any]) -> Rule:
    _check_keys(table, _RULE_KEYS)
    actions = ", ".join(action.value for action in Action)
    if "action" not in table:
        raise ValueError(f": action is missing; one of {actions}")
    try:
        action = Action(table["action"])
    except ValueError:
        raise ValueError(f".action: must be one of {actions}, not {table['action']!r}") from None
    conditions: dict[str, Any] = {key: dict(_wanted(table, key)) for key in _WANTED_KEYS}
    conditions |= {key: _of(table, key, bool) for key in _TRUTHS}
    conditions["same_labels"] = tuple(_texts(table, "same_labels"))
    return Rule(action=action, name=_of(table, "name", str, ""), **conditions)


_TRUTHS: Final = ("same_host", "same_process", "same_upstream", "proxy", "own_proxy")


def _check_keys(table: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f".{key}: unknown; one of {', '.join(sorted(known))}")


def _of(table: Mapping[str, Any], key: str, kind: Any, default: Any = None) -> Any:
    if key not in table:
        return default
    value = table[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f".{key}: expected {_KINDS[kind]}")
    return value


_KINDS: Final = {int | str: "a number or a text", str: "a text", bool: "true or false"}


def _text(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{place}: expected a text")
    return value


def _texts(table: Mapping[str, Any], key: str) -> list[str]:
    value = table.get(key, ())
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise TypeError(f".{key}: expected a list of texts")
    return [_text(f".{key}[{place}]", text) for place, text in enumerate(value)]


def _table(table: Mapping[str, Any], key: str) -> Iterable[tuple[str, object]]:
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise TypeError(f".{key}: expected a table")
    return value.items()


def _wanted(table: Mapping[str, Any], key: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, value in _table(table, key):
        values = (value,) if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not values:
            raise TypeError(f".{key}.{name}: expected a text, or a list of texts")
        yield name, tuple(_text(f".{key}.{name}[{n}]", text) for n, text in enumerate(values))


def _dialable(text: str) -> Address:
    address = as_address(text)
    if not address.is_dialable:
        raise ValueError(f".addresses: {address} names no place to connect to")
    return address
