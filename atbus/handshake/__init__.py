"""
Registration, as machines: how two nodes become endpoints of each other.

* `active`: the side that dialled a stream.
* `passive_stream`: the side that accepted it.
* `passive_ring`: a mem or shm channel to an endpoint that is registered already.

Nothing here does I/O, reads a clock or makes randomness: bytes, ``now`` and nonces come in as
arguments, effects go out as values. ``docs/design/registration.rst`` draws the conversations.
"""

from __future__ import annotations
