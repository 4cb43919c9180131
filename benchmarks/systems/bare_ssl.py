"""
Python's ``ssl`` alone: blocking sockets, a length before each message, and nothing else.

It promises nothing of what atbus does, and shows what TLS itself costs a program in Python: with no
event loop, and with a burst of messages in one call of the library.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

from benchmarks.job import Arrivals, Job

_LENGTH = struct.Struct("<I")
_HOST = "127.0.0.1"
# Written at a time, and the most that is read: the library gives a record, 16 KiB, for each call.
_BURST_BYTES = 64 * 1024


def receive(job: Job) -> None:
    """Take messages."""
    arrivals = Arrivals(job)
    context = _context(job, ssl.Purpose.CLIENT_AUTH)
    with socket.create_server((_HOST, job.port)) as listener:
        job.ready()
        plain, _ = listener.accept()
    with context.wrap_socket(plain, server_side=True) as connection:
        for payload in _messages(connection):
            arrivals.take(payload)


def send(job: Job) -> None:
    """Send as fast as the socket takes messages."""
    context = _context(job, ssl.Purpose.SERVER_AUTH)
    payloads = job.payloads()
    mask = len(payloads) - 1
    burst = max(1, _BURST_BYTES // job.size)
    head = _LENGTH.pack(job.size)
    plain = socket.create_connection((_HOST, job.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(plain, server_hostname=_HOST) as connection:
        job.wait()
        for begin in range(0, job.share, burst):
            pieces = []
            for place in range(begin, min(job.share, begin + burst)):
                pieces += (head, payloads[place & mask])
            connection.sendall(b"".join(pieces))
        connection.unwrap()


def _context(job: Job, purpose: ssl.Purpose) -> ssl.SSLContext:
    """Make what a side needs to prove itself and to check the other, as a node's TLS does."""
    folder = Path(job.path).parent
    context = ssl.create_default_context(purpose, cafile=str(folder / "authority.pem"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "node.pem", folder / "node.key")
    return context


def _messages(connection: ssl.SSLSocket) -> Iterator[bytes]:
    """Cut what comes into messages, until the other side says that it was all."""
    buffer = bytearray(2 * _BURST_BYTES)
    kept = bytearray()
    while count := connection.recv_into(buffer):
        kept += memoryview(buffer)[:count]
        begin = 0
        while len(kept) - begin >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(kept, begin)
            end = begin + _LENGTH.size + size
            if end > len(kept):
                break
            yield bytes(memoryview(kept)[begin + _LENGTH.size : end])
            begin = end
        del kept[:begin]
