"""Bounds of what somebody may cost who has not proven who he is; `atbus.limits` has the others."""

from __future__ import annotations

from typing import Final

#: TLS handshakes of one address in a minute that come to nothing before it is not listened to: a
#: millisecond each. A host with a certificate that is over dials about eight times in its first
#: minute and twice in each that follows, and it may run several nodes.
BAD_HANDSHAKES_PER_MINUTE: Final = 30
