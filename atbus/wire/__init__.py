"""
How atbus speaks: messages, their bytes, and the frames they travel in.

`messages` are values; `schema` is the normative layout (``docs/reference/wire-protocol.rst``);
`codec` is the fast road for what is sent often; `framing` cuts a stream into frames. Nothing here
opens a socket or reads a clock.
"""

from __future__ import annotations

from atbus.wire.codec import decode, encode, iter_run, pack_run, patch, peek
from atbus.wire.framing import FrameBuffer
from atbus.wire.messages import Message, MessageType

__all__ = [
    "FrameBuffer",
    "Message",
    "MessageType",
    "decode",
    "encode",
    "iter_run",
    "pack_run",
    "patch",
    "peek",
]
