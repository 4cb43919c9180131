"""
The NATS gateway beside a nats-server: ``python -m benchmarks.nats_gateway``.

The same clients, made of nothing but bytes and sockets, talk to both in one run, one directly after
the other, several rounds. A rate is that of one publisher and one subscriber; a round trip is one
request that another client answers. Beside each figure of the gateway stands its share of
nats-server's, and what a message costs the gateway in processor time, which does not depend on who
else uses the machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

#: For each payload in bytes the messages of one measurement.
COUNTS = {16: 200_000, 1_024: 100_000, 16_384: 10_000, 65_536: 3_000}
TRIPS = 2_000
ROUNDS = 5
#: What of nats-server's rate is wanted at the smallest size and from 16 KiB on; and of its trips.
SHARES = {16: 0.1, 16_384: 1.0, 65_536: 1.0}
TRIP_FACTOR = 1.5

_QUIET = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
_TICKS = os.sysconf("SC_CLK_TCK")
_BINARY = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")


class Peer:
    """
    One client.

    :param port: Where it connects.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.line()

    def line(self) -> bytes:
        """Take one line that is not the question whether we are there, which is answered."""
        while True:
            while b"\r\n" not in self._buffer:
                self._buffer += self._more()
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            if line != b"PING":
                return line
            self.socket.sendall(b"PONG\r\n")

    def take(self, size: int) -> None:
        """Take so many bytes, whatever they are."""
        data, self._buffer = self._buffer, b""
        while size > len(data):
            size -= len(data)
            data = self._more()
        self._buffer = data[size:]

    def _more(self) -> bytes:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server has closed the connection")
        return data

    def flush(self) -> None:
        """Wait until everything before is dealt with."""
        self.socket.sendall(b"PING\r\n")
        while self.line() != b"PONG":
            pass


def publish(port: int, size: int, count: int) -> None:
    """Publish as fast as the server takes it."""
    peer = Peer(port)
    peer.socket.sendall(_QUIET)
    message = b"PUB bench %d\r\n%b\r\n" % (size, b"x" * size)
    batch = max(1, 65_536 // len(message))
    while count > 0:
        peer.socket.sendall(message * min(batch, count))
        count -= batch
    peer.flush()


def answer(port: int, is_ready: object) -> None:
    """Answer requests until the connection ends."""
    peer = Peer(port)
    peer.socket.sendall(_QUIET + b"SUB ask 1\r\n")
    peer.flush()
    is_ready.set()  # type: ignore[attr-defined]  # an event of multiprocessing
    while True:
        reply = peer.line().split()[3]
        peer.take(18)
        peer.socket.sendall(b"PUB %b 16\r\n%b\r\n" % (reply, b"y" * 16))


def rate(port: int, size: int, count: int) -> float:
    """Measure messages per second from one publisher to one subscriber."""
    peer = Peer(port)
    peer.socket.sendall(_QUIET + b"SUB bench 1\r\n")
    peer.flush()
    length = len(b"MSG bench 1 %d\r\n" % size) + size + 2
    publisher = multiprocessing.Process(target=publish, args=(port, size, count))
    publisher.start()
    peer.take(length)
    began = perf_counter()
    peer.take(length * (count - 1))
    seconds = perf_counter() - began
    publisher.join()
    peer.socket.close()
    return (count - 1) / seconds


def trip(port: int, count: int) -> float:
    """Measure the median of request round trips, in microseconds."""
    is_ready = multiprocessing.Event()
    answerer = multiprocessing.Process(target=answer, args=(port, is_ready), daemon=True)
    answerer.start()
    is_ready.wait(60)
    peer = Peer(port)
    peer.socket.sendall(_QUIET + b"SUB _INBOX.b 1\r\n")
    peer.flush()
    seconds = []
    for _ in range(count):
        began = perf_counter()
        peer.socket.sendall(b"PUB ask _INBOX.b 16\r\n%b\r\n" % (b"x" * 16))
        peer.line()
        peer.take(18)
        seconds.append(perf_counter() - began)
    answerer.terminate()
    answerer.join()
    peer.socket.close()
    return statistics.median(seconds) * 1e6


@contextmanager
def server(words: list[str], pattern: str, folder: str) -> Iterator[tuple[int, int]]:
    """Start a server; give its port and its process id."""
    with (Path(folder) / "log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder)
        try:
            while True:
                match = re.search(pattern, (Path(folder) / "log").read_text(encoding="utf-8"))
                if match is not None:
                    break
                if process.poll() is not None:
                    raise RuntimeError((Path(folder) / "log").read_text(encoding="utf-8"))
            yield int(match[1]), process.pid
        finally:
            process.kill()
            process.wait()


def processor_seconds(pid: int) -> float:
    """Give the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure(*, quick: bool) -> dict[str, dict[str, list[float]]]:
    """Measure both servers, round by round."""
    found: dict[str, dict[str, list[float]]] = {"gateway": {}, "nats-server": {}}
    twistd = str(Path(sys.executable).with_name("twistd"))
    ours = [
        *(twistd, "-n", "--pidfile=", "atbus", "--id", "0x10001"),
        *("--set", "nats.listen=127.0.0.1:0"),
    ]
    theirs = [_BINARY or "", "-a", "127.0.0.1", "-p", "-1"]
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        server(ours, r"nats listen: [\d.]+:(\d+)", one) as (port, pid),
        server(theirs, r"client connections on [\d.]+:(\d+)[^$]*is ready", other) as (peer, _),
    ):
        for _ in range(1 if quick else ROUNDS):
            for size, full in COUNTS.items():
                count = full // 10 if quick else full
                for name, place in (("gateway", port), ("nats-server", peer)):
                    before = processor_seconds(pid)
                    per_second = rate(place, size, count)
                    figures = found[name]
                    figures.setdefault(f"{size} B", []).append(per_second)
                    if name == "gateway":
                        spent = (processor_seconds(pid) - before) / count * 1e6
                        figures.setdefault(f"{size} B, us", []).append(spent)
            for name, place in (("gateway", port), ("nats-server", peer)):
                trips = trip(place, TRIPS // 10 if quick else TRIPS)
                found[name].setdefault("request p50", []).append(trips)
    return found


def main() -> int:
    """Run from the command line, and say which shares are missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nats_gateway")
    parser.add_argument("--quick", action="store_true", help="a rough look")
    options = parser.parse_args()
    if _BINARY is None:
        print("nats-server is absent (Debian: apt-get install nats-server)")
        return 0
    found = measure(quick=options.quick)
    missed = []
    for size in COUNTS:
        ours, theirs = (
            statistics.median(found[name][f"{size} B"]) for name in ("gateway", "nats-server")
        )
        cost = statistics.median(found["gateway"][f"{size} B, us"])
        wanted = SHARES.get(size)
        if wanted is not None and ours < wanted * theirs:
            missed.append(f"{size} B")
        aim = "" if wanted is None else f", wanted {wanted:g}"
        print(
            f"{size:>6} B: gateway {ours:>9,.0f}/s, nats-server {theirs:>9,.0f}/s, "
            f"ratio {ours / theirs:.3f}{aim}; gateway {cost:.2f} us of processor time a message"
        )
    ours, theirs = (
        statistics.median(found[name]["request p50"]) for name in ("gateway", "nats-server")
    )
    if ours > TRIP_FACTOR * theirs:
        missed.append("request")
    print(
        f"request: gateway {ours:.0f} us, nats-server {theirs:.0f} us, "
        f"ratio {ours / theirs:.2f}, wanted {TRIP_FACTOR:g} at most"
    )
    Path("build").mkdir(exist_ok=True)
    Path("build/nats.json").write_text(json.dumps(found), encoding="utf-8")
    print(f"missed: {', '.join(missed)}" if missed else "every share is reached")
    return 0


if __name__ == "__main__":
    sys.exit(main())
