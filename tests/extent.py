"""How often something is done: a little in ``make test``, much in ``make chaos``."""

from __future__ import annotations

import os

LONG = os.environ.get("ATBUS_CHAOS") == "long"
"""Whether there is time."""


def is_soon(took_seconds: float, seconds: float) -> bool:
    """
    Tell whether something that a node does by itself was fast enough.

    Only ``make chaos`` looks: it has a machine for itself. Elsewhere whatever has happened at last
    may have taken as long as it wanted to.
    """
    return not LONG or took_seconds <= seconds


def extent(short: int, long: int) -> int:
    """Say how often something is done, depending on how much time there is."""
    return long if LONG else short
