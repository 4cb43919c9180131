"""
Messages made smaller where they begin, and made what they were where they end.

A message is compressed by the node that sends it, when it is long enough, none of the kinds that
are kept apart, and its next hop can do it; for a target on this host it is not. Relays pass it on
as it is, and restore it only for a neighbor that cannot. Nothing is compressed, and nothing is
restored, before both sides of a connection have registered each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from atbus import limits
from atbus.address import Locality
from atbus.errors import RemoteProtocolError, Status
from atbus.node import bounds
from atbus.node.outbox import Relayed, Run
from atbus.wire.compression import (
    CAPABILITIES,
    algorithm_in,
    algorithm_of,
    choose,
    compression_extra,
    ratio_of,
    restore,
    restore_payload,
    squeeze,
)
from atbus.wire.head import peek
from atbus.wire.messages import CompressionAlgorithm, ExtraType, Flags
from atbus.wire.runs import TABLE_ENTRY

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.link import Link

_COMPRESSED = int(Flags.COMPRESSED)
_ENTRY_BYTES = TABLE_ENTRY.size


def squeeze_runs(context: Context, hop: Endpoint, runs: Iterable[Run]) -> int:
    """
    Make the messages of runs smaller that are on their way to a next hop.

    :param hop: Who gets them.
    :param runs: With one message, or a piece of one, each.
    :returns: How many bytes were saved.
    """
    saved_bytes = 0
    config = context.config
    algorithm = choose(hop.peer.capabilities)
    if algorithm is None or not config.compression:
        return 0
    for run in runs:
        payload = run.payloads[0]
        if len(payload) < config.compression_least_bytes:
            continue
        if run.kinds[0] in config.compression_except_kinds or _is_near(hop, run.target):
            continue
        small = squeeze(payload, algorithm)
        if small is not None:
            run.payloads = [small]
            run.size_bytes -= len(payload) - len(small)
            run.flags |= _COMPRESSED
            run.extras = (*run.extras, compression_extra(algorithm))
            saved_bytes += len(payload) - len(small)
    return saved_bytes


def _is_near(hop: Endpoint, target: int) -> bool:
    """Tell whether a message goes to a node of this host and no further."""
    link = hop.data_link
    if hop.bus_id != target or link is None:
        return False
    return link.connection.address.locality < Locality.NETWORK


def suit(item: Run | Relayed, capabilities: int) -> Status | None:
    """
    Restore what is compressed in a way that the next hop does not understand.

    What is compressed in a way that nobody has agreed on goes on as it is: its destination says so.

    :param item: A compressed one; changed in place.
    :param capabilities: What was agreed with the next hop.
    :returns: None, or why it cannot be restored.
    """
    agreed = agreed_algorithms(capabilities)
    try:
        if isinstance(item, Run):
            if algorithm_of(item.extras) not in agreed:
                _restore_run(item)
        elif _how(item) in set(_agreed_before(item)) - set(agreed):
            restore_relayed(item)
    except RemoteProtocolError as error:
        return error.status
    return None


def restore_relayed(item: Relayed) -> None:
    """
    Restore a frame of somebody else's.

    :param item: Changed in place.
    :raises RemoteProtocolError: It is not what it says.
    """
    item.frame = restore(item.frame, _agreed_before(item))
    item.flags &= ~_COMPRESSED
    item.size_bytes = len(item.frame)


def _agreed_before(item: Relayed) -> tuple[CompressionAlgorithm, ...]:
    """Name what was agreed with the neighbor that a frame came from."""
    peer = item.custody.link.connection.peer
    return () if peer is None else agreed_algorithms(peer.capabilities)


def _how(item: Relayed) -> CompressionAlgorithm | None:
    try:
        return algorithm_in(item.frame)
    except RemoteProtocolError:
        return None


def _restore_run(run: Run) -> None:
    """Restore a run of our own that takes another way than it was made for."""
    algorithm = algorithm_of(run.extras)
    if run.payloads:
        run.payloads = [restore_payload(payload, algorithm) for payload in run.payloads]
        run.size_bytes = sum(map(len, run.payloads)) + _ENTRY_BYTES * run.count
    else:
        run.restore_packed((algorithm,))
    run.flags &= ~_COMPRESSED
    run.extras = tuple(each for each in run.extras if each.type != ExtraType.COMPRESSION)


class Restorer:
    """
    Make compressed frames for this node what they were.

    :param context: The node's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._warned_at: float | None = None

    def restore(self, link: Link, frame: bytes) -> bytes:
        """
        Restore a frame that came over a link.

        :param frame: Its flag COMPRESSED is set.
        :returns: What it was before somebody compressed it.
        :raises RemoteProtocolError: It is not what it says, or was not agreed.
        """
        peer = link.connection.peer
        capabilities = 0 if peer is None else peer.capabilities
        restored = restore(frame, agreed_algorithms(capabilities))
        if ratio_of(frame, restored) > bounds.COMPRESSION_RATIO_ALARM:
            self._suspect(link, frame, restored)
        return restored

    def _suspect(self, link: Link, frame: bytes, restored: bytes) -> None:
        """Say that somebody compresses better than data can be; now and then, and counted."""
        context = self._context
        context.statistics.suspicious_ratios += 1
        now = context.now
        if self._warned_at is None or now - self._warned_at >= limits.LOG_INTERVAL_SECONDS:
            self._warned_at = now
            context.log.warn(
                "{connection}: {size} bytes of {source} were compressed to {small}",
                connection=link.connection,
                source=f"{peek(frame)[5]:#x}",
                size=len(restored),
                small=len(frame),
            )


def agreed_algorithms(capabilities: int) -> tuple[CompressionAlgorithm, ...]:
    """
    Name the algorithms that two nodes have agreed on.

    :param capabilities: What both have.
    :returns: The algorithms.
    """
    return tuple(each for each, capability in CAPABILITIES.items() if capabilities & capability)
