"""
Bus ids, and the ranges of them that hang below a node.

A bus id is an unsigned 64-bit number. 0 is nobody's: it stands for a *temporary* node, which dials
and asks but cannot be sent to, so no range contains it.

A subnet is a prefix and the number of its free *suffix* bits: ``0x12345678/16`` is
0x12340000-0x1234ffff. Ranges made so are aligned to their width, hence any two of them are either
apart or one lies inside the other; all that follows rests on this:

1. In a list sorted by last id, narrower first, the first entry that contains an id is the
   narrowest that does.
2. Two lists conflict when two of their entries overlap, which is the same as one containing the
   other; every pair is looked at.
3. A list has one shortest form: no entry inside another, no two that make one twice as wide.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NewType

import attrs

from atbus.errors import BusIdError, LocalProtocolError

BusId = NewType("BusId", int)

#: Says "I am a temporary node"; no node can be reached under it.
TEMPORARY: Final = BusId(0)

#: Asks the upstream for a free id, in a configuration; it is not an id.
AUTO: Final = "auto"

ID_BITS: Final = 64
ID_MAX: Final = 2**ID_BITS - 1

#: A subnet of 64 free bits would be everybody, and hold no prefix at all.
MASK_BITS_MAX: Final = ID_BITS - 1

#: Bits for each part of a dotted id, most significant first, unless told otherwise.
DOTTED_MASK: Final = "8.8.8.8"

# Zeros apart, 20 decimal or 16 hexadecimal digits write every id; more are not worth reading.
_DECIMAL = re.compile(r"0{0,64}[0-9]{1,20}")
_HEXADECIMAL = re.compile(r"0[xX]0{0,64}[0-9a-fA-F]{1,16}")


def parse_bus_id(value: int | str, mask: str = DOTTED_MASK) -> BusId:
    """
    Read a bus id as people write it.

    :param value: A number, or a text: decimal, hexadecimal (``0x..``), or dotted (``1.2.3.4``).
    :param mask: How many bits each part of a dotted id has, most significant first.
    :returns: The id; 0 (`TEMPORARY`) is one, ``"auto"`` is not.
    :raises BusIdError: When it is none of these, or does not fit 64 bits or its mask.
    """
    if isinstance(value, bool):
        raise BusIdError(str(value), "a truth value is not a number")
    if isinstance(value, int):
        number = value
    elif _DECIMAL.fullmatch(value):
        number = int(value)
    elif _HEXADECIMAL.fullmatch(value):
        number = int(value, 16)
    elif "." in value:
        number = _parse_dotted(value, mask)
    else:
        raise BusIdError(value, "expected a decimal, 0x.. or dotted number")
    if not 0 <= number <= ID_MAX:
        raise BusIdError(str(value), "outside 0..2**64-1")
    return BusId(number)


def check_bus_id(value: object) -> None:
    """
    Refuse what cannot be the id of a node.

    Equal is not enough: ``256.0`` finds what belongs to 256, and fits into no frame.

    :param value: What a program gave as one.
    :raises LocalProtocolError: It is no number, or out of bounds; 0 is.
    """
    if not (isinstance(value, int) and 0 < value <= ID_MAX):
        raise LocalProtocolError(f"{value!r} is not a bus id")


def check_bus_ids(values: object) -> None:
    """
    Refuse what cannot be a collection of ids of nodes.

    :param values: What a program gave as one; a text is none, though it has letters.
    :raises LocalProtocolError: It is none, or one in it is no id.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Collection):
        raise LocalProtocolError(f"{values!r:.60} is not a collection of bus ids")
    for value in values:
        check_bus_id(value)


def format_bus_id(bus_id: int) -> str:
    """
    Write a bus id as atbus does everywhere.

    :param bus_id: The id.
    :returns: Lower-case hexadecimal with ``0x`` and without leading zeros.
    """
    return f"{bus_id:#x}"


def format_dotted(bus_id: int, mask: str = DOTTED_MASK) -> str:
    """
    Write a bus id in parts.

    :param bus_id: The id.
    :param mask: How many bits each part has, most significant first.
    :returns: The parts in decimal with dots between; `parse_bus_id` with this mask reads it back.
    :raises BusIdError: When the id has more bits than the mask, or the mask is none.
    """
    widths = _parse_mask(mask)
    if bus_id >> sum(widths):
        raise BusIdError(format_bus_id(bus_id), f"more bits than the mask {mask}")
    parts: list[str] = []
    remaining = bus_id
    for width in reversed(widths):
        parts.append(str(remaining & ((1 << width) - 1)))
        remaining >>= width
    return ".".join(reversed(parts))


def _parse_dotted(text: str, mask: str) -> int:
    widths = _parse_mask(mask)
    parts = text.split(".")
    if len(parts) != len(widths):
        raise BusIdError(text, f"{len(parts)} parts where the mask {mask} has {len(widths)}")
    number = 0
    for part, width in zip(parts, widths, strict=True):
        if not _DECIMAL.fullmatch(part):
            raise BusIdError(text, "a part is not a decimal number")
        if int(part) >> width:
            raise BusIdError(text, f"a part does not fit its {width} bits")
        number = number << width | int(part)
    return number


def _parse_mask(mask: str) -> list[int]:
    parts = mask.split(".")
    if not all(_DECIMAL.fullmatch(part) for part in parts):
        raise BusIdError(mask, "a mask is a list of bit counts with dots between")
    widths = [int(part) for part in parts]
    if 0 in widths or sum(widths) > ID_BITS:
        raise BusIdError(mask, f"each part of a mask has a bit or more, all have at most {ID_BITS}")
    return widths


@attrs.frozen(order=True, repr=False)
class Subnet:
    """
    A range of bus ids: all that share a prefix.

    Subnets of the same ids are equal, however the prefix was written. They sort by their last
    id, the narrower first when that is the same.

    :param prefix: Any id of the range.
    :param mask_bits: How many low bits are free, 0..63.
    :raises BusIdError: When either is outside its bounds.
    """

    last: BusId = attrs.field(init=False)
    first: BusId = attrs.field(alias="prefix", eq=False, converter=BusId)
    mask_bits: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.mask_bits <= MASK_BITS_MAX:
            fault = f"{self.mask_bits} mask bits, outside 0..{MASK_BITS_MAX}"
            raise BusIdError(format_bus_id(self.first), fault)
        if not 0 <= self.first <= ID_MAX:
            raise BusIdError(format_bus_id(self.first), "a prefix outside 0..2**64-1")
        free = (1 << self.mask_bits) - 1
        # The class is frozen; only here, before anybody has seen the value, is it completed.
        object.__setattr__(self, "last", BusId(self.first | free))
        object.__setattr__(self, "first", BusId(self.last - free))

    @classmethod
    def parse(cls, text: str, mask: str = DOTTED_MASK) -> Subnet:
        """
        Read a subnet as people write it.

        :param text: ``prefix/bits``: the prefix as in `parse_bus_id`, the bits in decimal.
        :param mask: How many bits each part of a dotted prefix has.
        :returns: The subnet.
        :raises BusIdError: When it is not written so, or out of bounds.
        """
        prefix, slash, bits = text.partition("/")
        if not slash or not _DECIMAL.fullmatch(bits):
            raise BusIdError(text, "expected prefix/bits")
        return cls(parse_bus_id(prefix, mask), int(bits))

    def contains(self, bus_id: int) -> bool:
        """
        Tell whether an id belongs to this range.

        :param bus_id: The id.
        :returns: Whether it does; never for 0.
        """
        return self.first <= bus_id <= self.last and bus_id != TEMPORARY

    def contains_subnet(self, other: Subnet) -> bool:
        """
        Tell whether all of another range belongs to this one.

        :param other: The other range; the same range counts.
        :returns: Whether it does.
        """
        return self.first <= other.first and other.last <= self.last

    def overlaps(self, other: Subnet) -> bool:
        """
        Tell whether the ranges have anything in common.

        :param other: The other range.
        :returns: Whether they do; the order of the two does not matter.
        """
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{format_bus_id(self.first)}/{self.mask_bits}"

    def __repr__(self) -> str:
        return f"Subnet({format_bus_id(self.first)}, {self.mask_bits})"


def merge_subnets(subnets: Iterable[Subnet]) -> tuple[Subnet, ...]:
    """
    Write ranges in the shortest way.

    :param subnets: Any ranges in any order.
    :returns: The same ids, sorted; no range inside another, no two that could be one.
    """
    merged: list[Subnet] = []
    # From the left, wide before narrow: whatever lies inside an earlier range follows it at once.
    for subnet in sorted(subnets, key=lambda each: (each.first, -each.mask_bits)):
        if merged and merged[-1].contains_subnet(subnet):
            continue
        merged.append(subnet)
        while len(merged) > 1 and _make_one(merged[-2], merged[-1]):
            merged[-2:] = [Subnet(merged[-2].first, merged[-2].mask_bits + 1)]
    return tuple(merged)


def _make_one(left: Subnet, right: Subnet) -> bool:
    if left.mask_bits != right.mask_bits or left.mask_bits == MASK_BITS_MAX:
        return False
    return left.first ^ right.first == 1 << left.mask_bits


def find_subnet(subnets: Sequence[Subnet], bus_id: int) -> Subnet | None:
    """
    Find the narrowest range that an id belongs to.

    :param subnets: *Sorted* ranges, which may lie inside each other.
    :param bus_id: The id.
    :returns: The range, or None; always None for 0 and for what is no id at all.
    """
    if not TEMPORARY < bus_id <= ID_MAX:
        return None
    position = 0
    key = (bus_id, 0)
    while True:
        position = bisect_left(subnets, key, lo=position, key=_sort_key)
        if position == len(subnets):
            return None
        candidate = subnets[position]
        if candidate.contains(bus_id):
            return candidate
        # The candidate lies to the right of the id. What contains the id and comes later in the
        # list contains the candidate too, so it ends where the smallest range around both ends,
        # or later. The width grows at each turn: at most 64 turns however long the list.
        width = (bus_id ^ candidate.last).bit_length()
        key = (bus_id | ((1 << width) - 1), width)


def _sort_key(subnet: Subnet) -> tuple[int, int]:
    return subnet.last, subnet.mask_bits


def covers(outer: Collection[Subnet], inner: Iterable[Subnet]) -> bool:
    """
    Tell whether one node's ranges lie inside another's.

    :param outer: The ranges that should contain.
    :param inner: The ranges that should be contained, each by one of *outer*.
    :returns: Whether they are; an empty *inner* always is.
    """
    return all(any(one.contains_subnet(each) for one in outer) for each in inner)


def first_conflict(
    new: Iterable[Subnet], existing: Collection[Subnet]
) -> tuple[Subnet, Subnet] | None:
    """
    Look for ids that two lists of ranges both claim.

    :param new: The ranges that somebody wants.
    :param existing: The ranges that are taken.
    :returns: The first overlapping pair, as (new, existing), or None.
    """
    for wanted in new:
        for taken in existing:
            if wanted.overlaps(taken):
                return wanted, taken
    return None


def own_subnets(bus_id: int, configured: Iterable[tuple[int, int]]) -> tuple[Subnet, ...]:
    """
    Work out the ranges of a node from its configuration.

    :param bus_id: The node's id.
    :param configured: Pairs of prefix and mask bits; a prefix of 0 means the node's own id.
    :returns: The shortest form, which always contains the node; nothing for a temporary node.
    :raises BusIdError: When a pair is out of bounds.
    """
    if bus_id == TEMPORARY:
        return ()
    subnets = [Subnet(prefix or bus_id, mask_bits) for prefix, mask_bits in configured]
    return merge_subnets([Subnet(bus_id, 0), *subnets])


def subnets_under(bus_id: int, announced: Iterable[Subnet]) -> tuple[Subnet, ...]:
    """
    Work out the ranges of a node that announced them before it had an id.

    :param bus_id: The id that it was given.
    :param announced: What it announced; a range from 0 on means one of that size around its id.
    :returns: The shortest form, which always contains the node.
    """
    return own_subnets(bus_id, [(each.first, each.mask_bits) for each in announced])
