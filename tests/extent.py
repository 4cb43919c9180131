"""How often something is done: a little in ``make test``, much in ``make chaos``."""

from __future__ import annotations

import os

LONG = os.environ.get("ATBUS_CHAOS") == "long"
"""Whether there is time."""


def extent(short: int, long: int) -> int:
    """Say how often something is done, depending on how much time there is."""
    return long if LONG else short
