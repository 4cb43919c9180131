"""How much of everything that is said to each neighbor a configuration may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from atbus import limits

if TYPE_CHECKING:
    from atbus.node.config import NodeConfig


def count_faults(config: NodeConfig) -> Iterator[str]:
    """
    Tell of what a configuration has too much.

    :param config: The node's configuration.
    :returns: The faults, by option.
    """
    for name, most in (
        ("listen", limits.ADDRESSES_MAX),
        ("subnets", limits.SUBNETS_MAX),
        ("access_tokens", limits.ACCESS_TOKENS_MAX),
        ("labels", limits.LABELS_MAX),
    ):
        count = len(getattr(config, name))
        if count > most:
            yield f"{name}: {count} are more than {most}"
    for index, token in enumerate(config.access_tokens):
        # What cannot be read is a fault of its own.
        if isinstance(token, bytes) and len(token) > limits.ACCESS_TOKEN_BYTES:
            yield f"access_tokens[{index}]: longer than {limits.ACCESS_TOKEN_BYTES} bytes"
    size = sum(len(text.encode()) for pair in config.labels.items() for text in pair)
    if size > limits.LABELS_BYTES:
        yield f"labels: {size} bytes are more than {limits.LABELS_BYTES}"
    if not 0 < len(config.hostname.encode()) <= limits.HOST_BYTES:
        yield f"hostname: must have 1 to {limits.HOST_BYTES} bytes"
