"""
The NATS gateway beside a nats-server: ``python -m benchmarks.nats_gateway``.

The same clients, made of nothing but bytes and sockets, talk to both in one run, one directly after
the other, several rounds; who is first alternates. A rate is that of one publisher and one
subscriber; a round trip is one request that another client answers. What a message costs the
gateway in processor time hardly depends on who else uses the machine.

``python -m benchmarks.runner`` does the same, and puts it into the manual.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter

import attrs

from benchmarks.ratios import Spread, spread

#: For each payload in bytes the messages of one measurement.
COUNTS = {16: 200_000, 1_024: 100_000, 16_384: 10_000, 65_536: 3_000}
TRIPS = 2_000
ROUNDS = 5
#: What of nats-server's rate is wanted at the smallest size and from 16 KiB on.
SHARES = {16: 0.1, 16_384: 1.0, 65_536: 1.0}
#: A round trip may take half as long again as through nats-server.
TRIP_SHARE = 1 / 1.5
TRIP_BYTES = 16
#: No further round is begun after that.
SECONDS_MAX = 75.0

_QUIET = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
_TICKS = os.sysconf("SC_CLK_TCK")
_BINARY = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")


@attrs.frozen(kw_only=True)
class Figures:
    """
    What came of one work, round by round.

    :param size: Of a payload, bytes.
    :param is_trip: Whether they are microseconds, of a request and its answer, instead of rates.
    :param aim: The ratio that is wanted; 0 for any.
    :param spent_us: The gateway's processor time for one message, or one round trip.
    """

    size: int
    is_trip: bool = False
    aim: float = 0.0
    ours: list[float] = attrs.field(factory=list)
    theirs: list[float] = attrs.field(factory=list)
    spent_us: list[float] = attrs.field(factory=list)

    @property
    def name(self) -> str:
        """What was done."""
        return "request round trip, p50" if self.is_trip else "one publisher, one subscriber"

    @property
    def unit(self) -> str:
        """Of what ours and theirs are."""
        return "us" if self.is_trip else "messages/s"

    @property
    def ratio(self) -> Spread:
        """How many times better the gateway is."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return spread([b / a if self.is_trip else a / b for a, b in pairs])


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


def absence() -> str:
    """Say why nothing can be measured; empty when it can."""
    return "" if _BINARY else "there is no program nats-server (Debian: nats-server)"


def version() -> str:
    """Say which nats-server is measured, such as "2.9.10"; empty when there is none."""
    if not _BINARY:
        return ""
    said = subprocess.run([_BINARY, "--version"], capture_output=True, text=True, check=True)
    return said.stdout.strip().rpartition("v")[2]


def measure(rounds: int, *, quick: bool = False) -> list[Figures]:
    """
    Measure both servers.

    :param rounds: At most; none is begun after `SECONDS_MAX`.
    :param quick: With a tenth of the messages.
    """
    found = [Figures(size=size, aim=SHARES.get(size, 0.0)) for size in COUNTS]
    found.append(Figures(size=TRIP_BYTES, is_trip=True, aim=TRIP_SHARE))
    twistd = str(Path(sys.executable).with_name("twistd"))
    ours = [
        *(twistd, "-n", "--pidfile=", "atbus", "--id", "0x10001"),
        *("--set", "nats.listen=127.0.0.1:0"),
    ]
    theirs = [_BINARY or "", "-a", "127.0.0.1", "-p", "-1"]
    began = monotonic()
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        server(ours, r"nats listen: [\d.]+:(\d+)", one) as near,
        server(theirs, r"client connections on [\d.]+:(\d+)[^$]*is ready", other) as far,
    ):
        for number in range(rounds):
            if number and monotonic() - began > SECONDS_MAX:
                print(f"NATS gateway: time is over after {number} rounds", flush=True)
                break
            for figures in found:
                count = TRIPS if figures.is_trip else COUNTS[figures.size]
                _pair(figures, near, far, count // 10 if quick else count, number)
    return found


def _pair(
    figures: Figures, near: tuple[int, int], far: tuple[int, int], count: int, number: int
) -> None:
    """Measure one after the other."""
    places = [(near, figures.ours), (far, figures.theirs)]
    for (port, pid), into in places if number % 2 == 0 else reversed(places):
        before = processor_seconds(pid)
        into.append(trip(port, count) if figures.is_trip else rate(port, figures.size, count))
        if into is figures.ours:
            figures.spent_us.append((processor_seconds(pid) - before) / count * 1e6)


def lines_of(found: Iterable[Figures]) -> Iterator[str]:
    """Write what came out for people, and whether it is what is wanted."""
    for figures in found:
        ours, theirs, spent_us = map(
            statistics.median, (figures.ours, figures.theirs, figures.spent_us)
        )
        ratio = figures.ratio
        aim = f", wanted {figures.aim:.2f}" if figures.aim else ""
        missed = ", missed" if ratio.median < figures.aim else ""
        yield (
            f"{figures.size:>6} B, {figures.name}: gateway {ours:,.0f}, nats-server "
            f"{theirs:,.0f} {figures.unit}, {ratio.median:.2f} times better ({ratio.low:.2f}-"
            f"{ratio.high:.2f}){aim}{missed}; gateway {spent_us:.2f} us of processor time"
        )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nats_gateway")
    parser.add_argument("--quick", action="store_true", help="a rough look")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at most so many")
    options = parser.parse_args()
    if absence():
        print(absence())
        return 0
    found = measure(1 if options.quick else options.rounds, quick=options.quick)
    print("\n".join(lines_of(found)))
    print(f"beside nats-server {version()}")
    Path("build").mkdir(exist_ok=True)
    written = [{**attrs.asdict(figures), "nats_server": version()} for figures in found]
    text = json.dumps(written, indent=1)
    Path("build/nats.json").write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
