"""
How the value of each kind of option is read.

A reader makes the value that the rest of atbus wants from what people write. It never raises:
what it cannot read becomes an `Unreadable`, which stands in the value's place until all the other
options have been read too, so that a person learns every fault at once. Faults name types, places
and addresses; they never show a value that could be a secret.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeVar, cast

import attrs

from atbus.address import Address, parse_address
from atbus.busid import Subnet
from atbus.wire.messages import Mode

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V_co = TypeVar("V_co", covariant=True)

SubnetText = str | tuple[int | str, int] | Subnet
"""How a subnet may be written: ``"0x12340000/16"``, ``(0x12340000, 16)`` or a `Subnet`."""

GivenSubnet = Subnet | tuple[int | str, int]
"""A subnet taken apart, but not yet read: its prefix may be 0, or dotted."""


_SECRET_NAME: Final = re.compile(
    r"secret|passw|token|credential|private|(^|[_-])key$", re.IGNORECASE
)


@attrs.frozen
class Unreadable:
    """
    Stand in the place of a value, or of one item of a list, that could not be read.

    :param faults: What is wrong; each goes directly behind the name of the option or item, so it
        begins with a colon or with a place further inside.
    """

    faults: tuple[str, ...]


def is_secret(key: str) -> bool:
    """
    Tell whether what stands under a key is never shown.

    :param key: As a table of a configuration has it.
    """
    return _SECRET_NAME.search(key) is not None


class FrozenMapping(Mapping[K, V_co]):
    """
    A mapping that cannot change, can be hashed, copied and pickled; what is secret is not shown.

    :param items: What is in it; copied.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V_co] = MappingProxyType({})) -> None:
        self._items: Final[dict[K, V_co]] = dict(items)

    def __getitem__(self, key: K) -> V_co:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        shown = (
            f"{key!r}: {'...' if is_secret(str(key)) else repr(self._items[key])}" for key in self
        )
        return f"{{{', '.join(shown)}}}"


def read_boolean(value: bool) -> bool:
    """
    Read a switch.

    :param value: True or False; numbers and texts are not switches.
    :returns: The same, or an `Unreadable`.
    """
    return value if isinstance(value, bool) else _expected(bool, "a boolean", value)


def read_boolean_or_none(value: bool | None) -> bool | None:
    """
    Read a switch that may be left out.

    :param value: True, False or None.
    :returns: The same, or an `Unreadable`.
    """
    return None if value is None else read_boolean(value)


def read_integer(value: int) -> int:
    """
    Read a whole number.

    :param value: An integer.
    :returns: The same, or an `Unreadable`.
    """
    return value if _is_integer(value) else _expected(int, "an integer", value)


def read_number(value: float) -> float:
    """
    Read a number.

    :param value: An integer or a finite float.
    :returns: The float, or an `Unreadable`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _expected(float, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        return _unreadable(float, ": expected a finite number, got an integer beyond all bounds")
    return number if math.isfinite(number) else _expected(float, "a finite number", value)


def read_number_or_none(value: float | None) -> float | None:
    """
    Read a number that may be left out.

    :param value: An integer, a finite float, or None.
    :returns: The float, None, or an `Unreadable`.
    """
    return None if value is None else read_number(value)


def read_integer_or_none(value: int | None) -> int | None:
    """
    Read a whole number that may be left out.

    :param value: An integer or None.
    :returns: The same, or an `Unreadable`.
    """
    return None if value is None else read_integer(value)


def read_text(value: str) -> str:
    """
    Read a text that can be printed on one line.

    :param value: A text.
    :returns: The same, or an `Unreadable`.
    """
    if not isinstance(value, str):
        return _expected(str, "a text", value)
    fault = _fault_in_text(value)
    return value if fault is None else _unreadable(str, f": {fault}")


def read_path_or_none(value: str | os.PathLike[str] | None) -> str | None:
    """
    Read the path of a file that may be left out.

    :param value: A text, a path object, or None.
    :returns: The path as text, None, or an `Unreadable`.
    """
    if value is None:
        return None
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if path == "":
        return _unreadable(str, ": the path of a file is empty; leave it out")
    return read_text(path)


def read_id(value: int | str) -> int | str:
    """
    Check that a bus id is written as one can be; the mask to read it by comes later.

    :param value: A number or a text.
    :returns: The same, or an `Unreadable`.
    """
    if isinstance(value, str) or _is_integer(value):
        return value
    return _expected(int, "an integer or a text", value)


def read_mode(value: Mode | None) -> Mode | None:
    """
    Read the mode that a copied configuration had.

    :param value: A `Mode` or None.
    :returns: The same, or an `Unreadable`.
    """
    return value if value is None or isinstance(value, Mode) else _expected(Mode, "a Mode", value)


def read_address_or_none(value: Address | str | None) -> Address | None:
    """
    Read an address that may be left out.

    :param value: An address, parsed or not, or None.
    :returns: The address, None, or an `Unreadable`.
    """
    try:
        return None if value is None else _address(value)
    except _FAULTS as fault:
        return _unreadable(Address, f": {fault}")


def read_addresses(value: Iterable[Address | str]) -> tuple[Address, ...]:
    """
    Read a list of addresses.

    :param value: Addresses, parsed or not.
    :returns: The addresses, with an `Unreadable` in the place of each that is none.
    """
    return _each(value, _address)


def read_subnets(value: Iterable[SubnetText]) -> tuple[GivenSubnet, ...]:
    """
    Take subnets apart as far as it goes without the node's own id and mask.

    :param value: Subnets; see `SubnetText`.
    :returns: For each the `Subnet`, or its prefix and mask bits, or an `Unreadable`.
    """
    return _each(value, _subnet)


def read_labels(value: Mapping[str, str]) -> FrozenMapping[str, str]:
    """
    Read labels.

    :param value: Texts under texts.
    :returns: The labels, or an `Unreadable`.
    """
    if not isinstance(value, Mapping):
        return _expected(FrozenMapping, "a table of texts", value)
    faults = []
    for key, text in value.items():
        fault = next(filter(None, (_fault_in_text(key), _fault_in_text(text))), None)
        if fault is not None or key == "":
            faults.append(f".{key}: {fault}" if fault else ": a label needs a name")
    return _unreadable(FrozenMapping, *faults) if faults else FrozenMapping(value)


def read_tokens(value: Iterable[bytes | str]) -> tuple[bytes, ...]:
    """
    Read access tokens; no fault shows one.

    :param value: Texts or bytes; texts become UTF-8.
    :returns: The tokens, with an `Unreadable` in the place of each that is none.
    """
    return _each(value, _token)


def read_application(value: str | None) -> str | None:
    """
    Read where the application is that runs in the node's process.

    :param value: ``"module:callable"`` or None.
    :returns: The same, or an `Unreadable`.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return _expected(str, "a text", value)
    if _APPLICATION.fullmatch(value) is None:
        fault = f": {value!r} does not name a callable as 'package.module:callable' does"
        return _unreadable(str, fault)
    return value


def read_settings(value: Mapping[str, object]) -> FrozenMapping[str, object]:
    """
    Freeze the settings of an application, all the way down.

    :param value: Anything TOML can say; lists become tuples.
    :returns: The settings, or an `Unreadable`.
    """
    if not isinstance(value, Mapping):
        return _expected(FrozenMapping, "a table", value)
    return FrozenMapping({key: _freeze(item) for key, item in value.items()})


_FAULTS: Final = (ValueError, TypeError)

_BITS: Final = re.compile(r"[0-9]{1,3}")

_NAME: Final = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_APPLICATION: Final = re.compile(f"{_NAME}:{_NAME}")

# Longer texts are mistakes: names and labels travel in every registration.
_TEXT_LETTERS_MAX: Final = 255


def _each(value: object, read: Callable[[object], T]) -> tuple[T, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return _expected(tuple, "a list", value)
    items: list[T] = []
    for item in value:
        try:
            items.append(read(item))
        except _FAULTS as fault:
            items.append(cast(T, Unreadable((f": {fault}",))))
    return tuple(items)


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise TypeError(f"expected an address, got {_kind(value)}")
    return parse_address(value)


def _subnet(value: object) -> GivenSubnet:
    if isinstance(value, Subnet):
        return value
    if isinstance(value, str):
        prefix, _, suffix = value.partition("/")
        if not _BITS.fullmatch(suffix):
            raise ValueError(f"{value!r} is not a subnet such as '0x12340000/16'")
        return prefix, int(suffix)
    if not isinstance(value, tuple | list):
        raise TypeError(f"expected a subnet such as '0x12340000/16', got {_kind(value)}")
    if len(value) == 2:
        start, bits = value
        if (isinstance(start, str) or _is_integer(start)) and _is_integer(bits):
            return start, bits
    raise ValueError("a subnet written as a list has a prefix and a number of bits: (0, 16)")


def _token(value: object) -> bytes:
    token = value.encode() if isinstance(value, str) else value
    if not isinstance(token, bytes):
        raise TypeError(f"expected a text or bytes, got {_kind(value)}")
    if not token:
        raise ValueError("an access token is empty; leave it out")
    return token


def _freeze(value: object) -> object:
    if isinstance(value, Mapping):
        return FrozenMapping({key: _freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_freeze(item) for item in value)
    return value


def _fault_in_text(value: object) -> str | None:
    if not isinstance(value, str):
        return f"expected a text, got {_kind(value)}"
    if len(value) > _TEXT_LETTERS_MAX:
        return f"{len(value)} letters are more than {_TEXT_LETTERS_MAX}"
    return None if value.isprintable() else f"{value!r} has letters that cannot be printed"


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _expected(as_type: type[T], what: str, value: object) -> T:
    return _unreadable(as_type, f": expected {what}, got {_kind(value)}")


def _unreadable(_as_type: type[T], *faults: str) -> T:
    # The one lie to the type checker; NodeConfig never lets such a value out.
    return cast(T, Unreadable(faults))


def _kind(value: object) -> str:
    # Types, not values: the value may be a secret.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    for types, kind in _KINDS:
        if isinstance(value, types):
            return kind
    return f"a value of type {type(value).__name__}"


_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (type(None), "nothing"),
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a number with a fraction"),
    (str, "a text"),
    (bytes, "bytes"),
    (Mapping, "a table"),
    ((list, tuple), "a list"),
)
