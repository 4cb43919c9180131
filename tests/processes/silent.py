"""
A program that connects many times and says nothing: ``silent COUNT PORT...``.

It writes ``connected`` when it has connected, and ``gone`` when the other side has ended all of it,
with the time that that took.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import time

_SPARE_DESCRIPTORS = 64


def main() -> None:
    """Connect in turn to each of the ports, and wait for the end."""
    count, *ports = map(int, sys.argv[1:])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, count + _SPARE_DESCRIPTORS), most))
    waiting = selectors.DefaultSelector()
    for number in range(count):
        stranger = socket.create_connection(("127.0.0.1", ports[number % len(ports)]))
        waiting.register(stranger, selectors.EVENT_READ)
    began = time.monotonic()  # noqa: TID251  # a program without a reactor
    sys.stdout.write(f"connected {count}\n")
    sys.stdout.flush()
    while waiting.get_map():
        for key, _ in waiting.select():
            stranger = key.fileobj  # type: ignore[assignment]  # what was registered
            try:
                is_over = not stranger.recv(4096)
            except ConnectionError:
                is_over = True
            if is_over:
                waiting.unregister(stranger)
                stranger.close()
    took_seconds = time.monotonic() - began  # noqa: TID251  # a program without a reactor
    sys.stdout.write(f"gone {count} after {took_seconds:.2f} s\n")


if __name__ == "__main__":
    main()
