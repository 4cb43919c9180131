"""
What a client is sent when it gets several messages at once.
"""

from __future__ import annotations

from collections.abc import Sequence


def write_run(subject: bytes, sid: bytes, payloads: Sequence[bytes], sizes: list[int]) -> bytes:
    """
    Write messages on one subject, without reply subject and headers.

    :param sid: Of the subscription that gets them.
    :param sizes: Of the payloads, bytes.
    """
    size = sizes[0]
    if sizes.count(size) == len(sizes):
        head = b"MSG %b %b %d\r\n" % (subject, sid, size)
        return b"%b%b\r\n" % (head, (b"\r\n" + head).join(payloads))
    return b"".join(
        [
            b"MSG %b %b %d\r\n%b\r\n" % (subject, sid, size, payload)
            for size, payload in zip(sizes, payloads, strict=True)
        ]
    )
