"""Every bound of atbus, with its reason."""

from __future__ import annotations

from typing import Final

ADDRESS_BYTES: Final = 512
