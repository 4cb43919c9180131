"""What a client over WebSocket sends and hears, by the byte."""

from __future__ import annotations

UPGRADE = (
    b"GET /any HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    content: bytes, opcode: int = BINARY, *, is_last: bool = True, says: int | None = None
) -> bytes:
    """
    Write a frame as a client sends it.

    :param content: What is in it.
    :param is_last: Whether its message ends with it.
    :param says: How long it says that it is, if that is not so.
    """
    size = len(content) if says is None else says
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    mask = b"\x01\x20\x03\x40" * (len(content) // 4 + 1)
    masked = bytes(each ^ other for each, other in zip(content, mask, strict=False))
    return bytes((opcode | (0x80 if is_last else 0),)) + length + mask[:4] + masked


def frames_in(heard: bytes) -> list[tuple[int, bytes]]:
    """Take apart what a server sends: the opcode and the content of each frame."""
    found = []
    while heard:
        opcode, size = heard[0] & 0x0F, heard[1]
        begin = 2 + {126: 2, 127: 8}.get(size, 0)
        if begin > 2:
            size = int.from_bytes(heard[2:begin], "big")
        found.append((opcode, heard[begin : begin + size]))
        heard = heard[begin + size :]
    return found
