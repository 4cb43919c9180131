"""The same streams on uvloop's event loop."""

from __future__ import annotations

import uvloop

from benchmarks.systems import streams
from benchmarks.systems.streams import echo, ping, receive, relay, send

__all__ = ["echo", "ping", "receive", "relay", "send"]

streams.run = uvloop.run
