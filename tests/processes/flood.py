"""
A program that connects without end and says nothing: ``flood HOST PER_SECOND PORT...``.

It comes from an address of its own, and writes ``flooding`` when it has connected a thousand times.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import deque
from typing import Final

_SLICE_SECONDS: Final = 0.01
_KEPT: Final = 500


def main() -> None:
    """Connect in turn to each of the ports, and keep the latest connections."""
    host, (per_second, *ports) = sys.argv[1], map(int, sys.argv[2:])
    kept: deque[socket.socket] = deque()
    begun, count = time.monotonic(), 0  # noqa: TID251  # a program without a reactor
    while True:
        wanted = (time.monotonic() - begun) * per_second  # noqa: TID251  # as above
        while count < wanted:
            stranger = socket.socket()
            stranger.setblocking(False)
            stranger.bind((host, 0))
            stranger.connect_ex(("127.0.0.1", ports[count % len(ports)]))
            kept.append(stranger)
            if len(kept) > _KEPT:
                kept.popleft().close()
            count += 1
            if count == 1_000:
                sys.stdout.write("flooding\n")
                sys.stdout.flush()
        time.sleep(_SLICE_SECONDS)  # noqa: TID251  # as above


if __name__ == "__main__":
    main()
