"""
Which of several nodes each node chooses, so that the load spreads and little moves.

Rendezvous hashing: every pair of a chooser and a candidate has a number, and the chooser prefers
candidates with larger ones. Each candidate is the first choice of as many nodes as any other; when
one goes, only those who had chosen it choose anew, and spread over the rest; when one comes, only
those move that choose it now. Nobody has to know of the others, and everybody agrees.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from atbus.address import Address
from atbus.routing.record import Record
from atbus.routing.table import Table

_PAIR: Final = struct.Struct("<QQ")


@attrs.frozen
class Candidate:
    """
    Where somebody may listen who could be the upstream of a node.

    :param address: Where.
    :param expected_id: The only id that may answer there, for whoever was found by a record: that
        is a hint, and anybody may listen at its address. 0 where the address is all that is known.
    """

    address: Address
    expected_id: int = 0


def rendezvous(chooser: int, candidates: Iterable[int]) -> tuple[int, ...]:
    """
    Put candidates in the order in which a node prefers them.

    :param chooser: The node's id, or any number that is its own.
    :param candidates: Ids; an id that comes twice counts once.
    :returns: The ids, the preferred one first; the same whatever the order of the candidates.
    """
    return tuple(
        sorted(set(candidates), key=lambda each: (_weight(chooser, each), each), reverse=True)
    )


def spread(chooser: int, addresses: Iterable[Address]) -> list[Address]:
    """
    Put addresses in the order in which a node prefers them, as `rendezvous` does with ids.

    :param chooser: The node's id, or any number that is its own.
    :param addresses: They.
    :returns: The same, each once, whatever their order.
    """
    key = chooser.to_bytes(8, "little")

    def weight(address: Address) -> tuple[bytes, str]:
        text = str(address)
        return hashlib.blake2b(text.encode(), digest_size=8, key=key).digest(), text

    return sorted(set(addresses), key=weight, reverse=True)


def upstreams_by_labels(
    table: Table, labels: Mapping[str, str], chooser: int
) -> tuple[Record, ...]:
    """
    Find the nodes that could be the upstream of this one, by what is known of them.

    Not those that are leaving, nor this node itself, nor what is below it.

    :param table: What is known.
    :param labels: Each with the value that an upstream has.
    :param chooser: This node's id, or any number that is its own.
    :returns: Their records, in the order of preference (`rendezvous`).
    """
    registry = table.registry
    wanted = labels.items()
    found = {
        record.bus_id: record
        for record in registry
        if record.bus_id != table.own_id
        and not record.is_draining
        and all(record.label(key) == value for key, value in wanted)
        and not registry.tree.is_below(record.bus_id, table.own_id)
    }
    return tuple(found[bus_id] for bus_id in rendezvous(chooser, found))


def _weight(chooser: int, candidate: int) -> int:
    digest = hashlib.blake2b(_PAIR.pack(chooser, candidate), digest_size=8).digest()
    return int.from_bytes(digest, "little")
