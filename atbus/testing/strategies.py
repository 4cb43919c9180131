"""
Hypothesis strategies for everything that travels: one for every message of the wire protocol.

Every value that they make may be written: it obeys the bounds of `atbus.limits`, but runs up to
them. `any_message` mixes all types; `of_type` gives the one you want::

    @given(of_type(MessageType.DATA))
    def test_something(self, message): ...
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st

from atbus import limits
from atbus.busid import ID_MAX, MASK_BITS_MAX, BusId, Subnet
from atbus.errors import Status
from atbus.wire.bounds import SERVICE_KEY_BYTES
from atbus.wire.messages import (
    MANDATORY_EXTRA_BIT,
    MESSAGE_CLASSES,
    Extra,
    ExtraType,
    FlowAction,
    FlowScope,
    InterestEntry,
    Message,
    MessageType,
    Mode,
    Role,
    RouteOperation,
    RouteRecord,
    ServiceEntry,
)

M = TypeVar("M", bound=Message)

PAYLOAD_BYTES = 200
"""Enough to reach every branch; how long payloads are makes no difference to the layout."""


def unsigned(bits: int) -> st.SearchStrategy[int]:
    """
    Make unsigned numbers, often the smallest and the largest.

    :param bits: The width on the wire.
    :returns: The strategy.
    """
    top = (1 << bits) - 1
    return st.integers(0, top) | st.sampled_from([0, 1, top])


def texts(bytes_max: int) -> st.SearchStrategy[str]:
    """
    Make texts of any characters that UTF-8 has.

    :param bytes_max: How long they are when encoded, at most.
    :returns: The strategy.
    """
    characters = st.characters(codec="utf-8")
    return st.text(characters, max_size=min(bytes_max, 40)).filter(
        lambda text: len(text.encode()) <= bytes_max
    )


bus_ids = unsigned(64).map(BusId)
kinds = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, -1, -(2**31), 2**31 - 1])
payloads = st.binary(max_size=PAYLOAD_BYTES)
statuses = st.sampled_from(Status)
details = texts(limits.DETAIL_BYTES)
addresses = st.lists(texts(limits.ADDRESS_BYTES), max_size=limits.ADDRESSES_MAX).map(tuple)
blobs = st.lists(payloads, max_size=8).map(tuple)
subnets = st.builds(Subnet, st.integers(0, ID_MAX), st.integers(0, MASK_BITS_MAX))
subnet_lists = st.lists(subnets, max_size=limits.SUBNETS_MAX).map(tuple)
labels = st.dictionaries(texts(12), texts(12), max_size=limits.LABELS_MAX).map(
    lambda mapping: tuple(sorted(mapping.items()))
)
runs = st.lists(st.tuples(kinds, payloads), min_size=1, max_size=12).map(tuple)

extras = st.lists(
    st.builds(
        Extra,
        type=st.sampled_from(ExtraType).map(int) | st.integers(0, MANDATORY_EXTRA_BIT - 1),
        value=st.binary(max_size=40),
    ),
    max_size=3,
).map(tuple)

route_records = st.builds(
    RouteRecord,
    operation=st.sampled_from(RouteOperation),
    bus_id=bus_ids,
    epoch=unsigned(32),
    seq=unsigned(64),
    upstream_id=bus_ids,
    node_flags=unsigned(16),
    subnets=subnet_lists,
    labels=labels,
    addresses=addresses,
    host=texts(limits.HOST_BYTES),
    process=texts(limits.PROCESS_BYTES),
)

interest_entries = st.builds(
    InterestEntry,
    subject=texts(limits.SUBJECT_BYTES),
    queue=texts(limits.SUBJECT_BYTES),
    weight=unsigned(32),
)


service_entries = st.builds(
    ServiceEntry,
    bus_id=bus_ids,
    epoch=unsigned(32),
    seq=unsigned(64),
    key=texts(SERVICE_KEY_BYTES),
    value=st.binary(max_size=PAYLOAD_BYTES),
)


@st.composite
def _pieces(draw: st.DrawFn) -> dict[str, Any]:
    payload = draw(st.binary(min_size=1, max_size=PAYLOAD_BYTES))
    total = draw(st.integers(len(payload), 2**32 - 1))
    return {
        "payload": payload,
        "total": total,
        "offset": draw(st.integers(0, total - len(payload))),
        "kind": draw(kinds),
    }


_ENVELOPE: dict[str, st.SearchStrategy[Any]] = {
    "source": bus_ids,
    "destination": bus_ids,
    "sequence": unsigned(64),
    "epoch": unsigned(32),
    "hop_limit": unsigned(8),
    "flags": unsigned(8),
    "extras": extras,
}

# What a field holds, by its name, where the same name means the same in every message.
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "action": st.sampled_from(FlowAction),
    "addresses": addresses,
    "arguments": blobs,
    "assigned_id": bus_ids,
    "barrier": unsigned(64),
    "capabilities": unsigned(64),
    "count": st.integers(1, 2**32 - 1),
    "continues": st.booleans(),
    "credit": unsigned(64),
    "data": st.binary(min_size=1, max_size=PAYLOAD_BYTES),
    "detail": details,
    "digest": unsigned(64),
    "dump": st.booleans(),
    "early": st.lists(
        st.tuples(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1)), max_size=6
    ).map(tuple),
    "entries": st.lists(interest_entries, max_size=6).map(tuple),
    "epoch": unsigned(32),
    "final_offset": unsigned(64),
    "first_sequence": unsigned(64),
    "frame_max": unsigned(32),
    "from_opener": st.booleans(),
    "gave_up_at": bus_ids,
    "generation": unsigned(32),
    "grace_ms": unsigned(32),
    "host": texts(limits.HOST_BYTES),
    "hostname": texts(limits.HOSTNAME_BYTES),
    "index": unsigned(32),
    "interest_digest": unsigned(64),
    "known_epoch": unsigned(32),
    "known_snapshot_id": unsigned(32),
    "labels": labels,
    "lane": unsigned(32),
    "last": st.booleans(),
    "limit": unsigned(64),
    "lines": blobs,
    "messages": runs,
    "mode": st.sampled_from(Mode),
    "node_flags": unsigned(16),
    "nonce": st.binary(min_size=limits.NONCE_BYTES, max_size=limits.NONCE_BYTES),
    "offset": unsigned(64),
    "origin_epoch": unsigned(32),
    "part": unsigned(32),
    "process": texts(limits.PROCESS_BYTES),
    "proofs": st.lists(
        st.binary(min_size=limits.PROOF_BYTES, max_size=limits.PROOF_BYTES),
        max_size=limits.ACCESS_TOKENS_MAX,
    ).map(tuple),
    "queues": st.lists(texts(limits.SUBJECT_BYTES), max_size=4).map(tuple),
    "record_max": unsigned(32),
    "records": st.lists(route_records, max_size=4).map(tuple),
    "replay": st.booleans(),
    "reply_to": texts(limits.SUBJECT_BYTES),
    "role": st.sampled_from(Role),
    "scope": st.sampled_from(FlowScope),
    "sent_at_us": unsigned(64),
    "served": st.lists(bus_ids, max_size=4).map(tuple),
    "service": texts(100),
    "services": st.lists(service_entries, max_size=4).map(tuple),
    "size_bytes": unsigned(32),
    "snapshot_id": unsigned(32),
    "software": texts(limits.SOFTWARE_BYTES),
    "status": statuses,
    "stream_id": unsigned(32),
    "subject": texts(limits.SUBJECT_BYTES),
    "subject_id": bus_ids,
    "subnets": subnet_lists,
    "table_digest": unsigned(64),
    "target": bus_ids,
    "token": unsigned(64),
    "upstream_id": bus_ids,
    "version_max": unsigned(16),
    "version_min": unsigned(16),
    "want_snapshot": st.booleans(),
    "wanted_id": bus_ids,
}


def _strategy_of(message_class: type[M]) -> st.SearchStrategy[M]:
    names = [name for name in attrs.fields_dict(message_class) if name not in _ENVELOPE]
    if message_class.message_type is MessageType.FRAGMENT:
        return st.builds(
            lambda piece, envelope: message_class(**piece, **envelope),
            _pieces(),
            st.fixed_dictionaries(_ENVELOPE),
        )
    return st.builds(message_class, **_ENVELOPE, **{name: _FIELDS[name] for name in names})


STRATEGIES: Mapping[MessageType, st.SearchStrategy[Any]] = MappingProxyType(
    {message_type: _strategy_of(cls) for message_type, cls in MESSAGE_CLASSES.items()}
)
"""One strategy per type, in the order of the wire protocol."""


def of_type(message_type: MessageType) -> st.SearchStrategy[Any]:
    """
    Make messages of one type.

    :param message_type: Which.
    :returns: The strategy.
    """
    return STRATEGIES[message_type]


def any_message() -> st.SearchStrategy[Message]:
    """
    Make messages of all types.

    :returns: The strategy.
    """
    return st.one_of(*STRATEGIES.values())


def links() -> st.SearchStrategy[tuple[int, int]]:
    """
    Make what a link adds to a message: its frame number and its acknowledgement.

    :returns: A strategy of pairs.
    """
    return st.tuples(unsigned(32), unsigned(32))
