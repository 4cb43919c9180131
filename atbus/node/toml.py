"""
A node's configuration as a TOML file.

Four lines make a node::

    id = "0x12340001"
    listen = ["ipv4://127.0.0.1:0", "unix:///run/service.sock"]
    upstream = "ipv4://10.0.0.1:7000"
    subnets = ["0/8"]

What belongs to a node is written flat; what is seldom touched stands in tables: ``[limits]``,
``[heartbeat]``, ``[retry]``, ``[pending]``, ``[application]``. `Option.key` says where.

The file is only rearranged here; all values are read and checked by `NodeConfig`, and its faults
are given the names that they have in the file. A key that nobody knows is a fault as well, since it
is most often a misspelled one.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from atbus.address import Address
from atbus.busid import Subnet, format_bus_id
from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.node.option import OPTIONS, TABLES_WITH_SECRETS, Option
from atbus.node.reading import is_secret
from atbus.node.reading_rights import plain_range, plain_right
from atbus.node.reading_sources import NOBODY_ASSIGNS
from atbus.node.reading_topology import plain_record, plain_rule
from atbus.rights import RightsRule
from atbus.routing.policy import Rule
from atbus.routing.record import Record

KEYS: Final = {option.key or name: name for name, option in OPTIONS.items()}
"""For each dotted key of a file the name of its option."""

TABLES: Final = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS if "." in key))
"""The tables of a file."""


def load_config(
    path: str | os.PathLike[str], overrides: Sequence[str] = (), *, drawn_id: int | None = None
) -> NodeConfig:
    """
    Read a configuration from a file.

    :param path: The file, in UTF-8.
    :param overrides: Lines as in the file, with dotted keys (``limits.hops=4``,
        ``labels.region="eu"``), each stronger than the file and the ones before it.
    :param drawn_id: See `parse_config`.
    :returns: The configuration.
    :raises ConfigurationError: When it cannot be read or used; names every fault.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not in UTF-8: {error}"]) from error
    try:
        return parse_config(text, overrides, drawn_id=drawn_id)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: {error}"]) from error


def parse_config(
    text: str, overrides: Sequence[str] = (), *, drawn_id: int | None = None
) -> NodeConfig:
    """
    Read a configuration from a text.

    :param text: What would stand in a file.
    :param overrides: See `load_config`.
    :param drawn_id: What the first node of a bus, which nobody can assign an id, is to have in
        place of ``"auto"`` if it has a gateway: clients do not ask for its id.
    :returns: The configuration.
    :raises tomllib.TOMLDecodeError: When the text is not TOML; names line and column.
    :raises ConfigurationError: When it cannot be used; names every fault.
    """
    document = tomllib.loads(text)
    faults: list[str] = []
    for override in overrides:
        try:
            _merge(document, _parse_override(override))
        except ValueError as fault:
            faults.append(f"--set {_redacted(override)}: {fault}")
    arguments: dict[str, Any] = {}
    faults.extend(_sort_into(arguments, document))
    try:
        config = _make(arguments, drawn_id)
    except ConfigurationError as error:
        raise ConfigurationError([*faults, *map(_name_as_in_file, error.faults)]) from None
    if faults:
        raise ConfigurationError(faults)
    return config


def _make(arguments: dict[str, Any], drawn_id: int | None) -> NodeConfig:
    try:
        return NodeConfig(**arguments)
    except ConfigurationError as error:
        if drawn_id is None or NOBODY_ASSIGNS not in error.faults or not arguments.get("nats"):
            raise
    return NodeConfig(**(arguments | {"id": drawn_id}))


def dump(config: NodeConfig) -> str:
    """
    Write a configuration as a file that explains itself.

    What differs from the default is set, the rest is there as a comment. Secrets are left out:
    access tokens, and settings of the application whose names sound like one.

    :param config: The configuration.
    :returns: The text of the file.
    """
    given, defaults = config.given(), NodeConfig().given()
    table, lines = "", []
    for key, name in sorted(KEYS.items(), key=lambda item: "." in item[0]):
        here, _, last = key.rpartition(".")
        if here != table:
            table = here
            lines += ["", f"[{table}]"]
        lines += ["", *_explain(OPTIONS[name])]
        lines.append(_write_line(last, name, given[name], set_=given[name] != defaults[name]))
    return "\n".join([*_HEAD, *lines, ""])


def dump_default() -> str:
    """
    Write the file of a node that has been told nothing.

    :returns: All options with their defaults, as comments.
    """
    return dump(NodeConfig())


def plain_values(config: NodeConfig) -> dict[str, Any]:
    """
    Give a configuration to a program: what `dump` would write, read again.

    :param config: The configuration.
    :returns: For each dotted key of a file its value in texts, numbers, lists and tables; None
        when there is none and for what is secret.
    """
    given = config.given()
    lines = {key: _write_line("it", name, given[name], set_=True) for key, name in KEYS.items()}
    return {key: tomllib.loads(line).get("it") for key, line in lines.items()}


_HEAD: Final = (
    "# A node of atbus. A line that begins with # and a name shows a default.",
    "# Most nodes need no more than these:",
    "#",
    '#     id = "0x12340001"',
    '#     listen = ["ipv4://127.0.0.1:0", "unix:///run/service.sock"]',
    '#     upstream = "ipv4://10.0.0.1:7000"',
    '#     subnets = ["0/8"]',
)

# A host and a port. A time of day, which is a value of TOML, has more colons.
_PLACE: Final = re.compile(r"(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:]+\]):\d{1,5}")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

# Two options that mean the same thing: an override of one must not meet the other in the file.
_TWINS: Final = {"upstream": "upstreams", "upstreams": "upstream"}

_COMMENT_LETTERS: Final = 90


def _parse_override(text: str) -> dict[str, Any]:
    key, equals, _ = text.partition("=")
    if not equals or not key.strip():
        raise ValueError("expected key=value")
    if "\n" in text or "\r" in text:
        raise ValueError("more than one line")
    name, _, value = text.partition("=")
    if _PLACE.fullmatch(value.strip()):
        # No shell needs quotes for these, and they mean nothing else.
        text = f'{name}="{value.strip()}"'
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        # What tomllib says counts columns in a line that nobody wrote.
        raise ValueError('not a value of TOML; texts stand in quotes: name="proxy"') from None


def _redacted(override: str) -> str:
    # The value could be a token.
    key, equals, _ = override.partition("=")
    return f"{key}=..." if equals else key


def _merge(document: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        there = document.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            _merge(there, value)
        else:
            document[key] = value
            document.pop(_TWINS.get(key, ""), None)


def _sort_into(arguments: dict[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    for key, value in document.items():
        if key in KEYS:
            arguments[KEYS[key]] = value
        elif key not in TABLES:
            yield _unknown(key)
        elif not isinstance(value, Mapping):
            yield f"{key}: expected a table"
        else:
            for inner in value:
                dotted = f"{key}.{inner}"
                if dotted in KEYS:
                    arguments[KEYS[dotted]] = value[inner]
                else:
                    yield _unknown(dotted)


def _unknown(key: str) -> str:
    # Under its own name, under the name that it has in its table, and the tables themselves.
    places = {table: f"[{table}]" for table in TABLES}
    places |= {dotted.rpartition(".")[2]: dotted for dotted in KEYS}
    places |= {name: dotted for dotted, name in KEYS.items()} | {dotted: dotted for dotted in KEYS}
    for written in (key, key.rpartition(".")[2]):
        near = difflib.get_close_matches(written, places, n=1, cutoff=0.7)
        if near:
            return f"{key}: unknown; did you mean {places[near[0]]}?"
    return f"{key}: unknown"


def _name_as_in_file(fault: str) -> str:
    name = re.split(r"[^\w]", fault, maxsplit=1)[0]
    key = OPTIONS[name].key if name in OPTIONS else None
    return fault if key is None else key + fault.removeprefix(name)


def _explain(option: Option) -> list[str]:
    notes = [note for note in (option.kind, option.unit) if note]
    text = f"{option.meaning} ({', '.join(notes)})"
    return [f"# {line}" for line in textwrap.wrap(text, _COMMENT_LETTERS - 2)]


def _write_line(key: str, name: str, value: object, *, set_: bool) -> str:
    if set_ and OPTIONS[name].secret:
        return f"#{key} = [...]  # {len(value) if isinstance(value, tuple) else 1}, not shown"
    if value is None:
        return f"#{key} ="
    if name == "id" and not isinstance(value, str):
        text = f'"{value:#x}"'
    elif name in {"subnets", "accept_subnets", "reserved_subnets"}:
        text = f"[{', '.join(map(_write_subnet, value))}]" if isinstance(value, tuple) else ""
    else:
        text = _write(_without_secrets(value) if name in TABLES_WITH_SECRETS else value)
    return f"{key} = {text}" if set_ else f"#{key} = {text}"


def _write_subnet(subnet: Subnet | tuple[int | str, int]) -> str:
    if isinstance(subnet, Subnet):
        # By its last id: the first may be 0, which would be the node's own.
        subnet = subnet.last, subnet.mask_bits
    prefix, bits = subnet
    if not isinstance(prefix, str):
        prefix = format_bus_id(prefix) if prefix else "0"
    return _write(f"{prefix}/{bits}")


def _write(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return str(value)
        case int() | float():
            return repr(value)
        case Record():
            return _write(plain_record(value))
        case Rule():
            return _write(plain_rule(value))
        case RightsRule():
            return _write(plain_right(value))
        case Subnet():
            return _write(plain_range(value))
        case Mapping():
            pairs = (f"{_write_key(key)} = {_write(value[key])}" for key in value)
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_write, value))}]"
        case str() | Address():
            # The escapes of JSON are among those of TOML, but it lets DEL stand.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _write_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _write(key)


def _without_secrets(value: object) -> object:
    if isinstance(value, Mapping):
        safe = (key for key in value if not is_secret(key))
        return {key: _without_secrets(value[key]) for key in safe}
    if isinstance(value, tuple):
        return tuple(_without_secrets(item) for item in value)
    return value
