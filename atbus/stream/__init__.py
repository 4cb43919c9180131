"""
Streams: any protocol of Twisted over the bus.

1. `end` is one end of a stream, `exchange` all streams of a node: both without I/O or a clock.
   `effects` is what they ask for.
2. `station` performs that for one node, over `atbus.node.stream_port`.
3. `transport`, `endpoints` and `strings` are what programs see: Twisted's interfaces.
"""

from __future__ import annotations

from atbus.stream.endpoints import BusAddress, BusClientEndpoint, BusServerEndpoint
from atbus.stream.faults import StreamLost, StreamRefused

__all__ = ["BusAddress", "BusClientEndpoint", "BusServerEndpoint", "StreamLost", "StreamRefused"]
