"""
What a process does with memory that it has freed: keep some, for the next large message.

Frames and messages come and go by the hundred kilobytes. The C library gives such memory back to
the kernel at once and asks for it again at once, page by page; which of them it does that with
depends on what lies beside them, so that one and the same program is fast today and slow tomorrow.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Final

# Larger ones come rarely, and are not worth being kept.
_KEPT_ONE_BYTES: Final = 4 * 1024 * 1024
# A few reads and the messages that they bring; that much an idle process may hold for nothing.
_KEPT_BYTES: Final = 16 * 1024 * 1024

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

# Whoever sets one of these in the environment has decided already.
_DECIDED: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """
    Let the process keep up to 16 MiB that it has freed.

    Only for who owns the process: it holds for everything in it. Another C library than GNU's, and
    a process whose environment sets the allocator, are left alone.

    :param environment: Of the process.
    :returns: Whether it does now.
    """
    if any(name in environment for name in _DECIDED):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept_one = mallopt(_M_MMAP_THRESHOLD, _KEPT_ONE_BYTES)
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES) and kept_one)
