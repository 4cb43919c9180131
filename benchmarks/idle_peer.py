"""
How much memory a node takes for a neighbor that says nothing.

One process with a node that listens, and another one with many nodes that register with it. What is
counted is what the first one has for all of them, once nothing moves any more: what Python has
allocated (``traced``), or by how much the resident memory has grown, which alone shows what OpenSSL
takes.

    $ .venv/bin/python -m benchmarks.idle_peer
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from atbus.cli.bench.certificates import REALM, write_certificates
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from benchmarks.topology import table_of

AIM_BYTES = 16 << 10
TLS_AIM_BYTES = 48 << 10
# By channel, how many nodes register, and whether Python's memory is traced.
RUNS = (("unix", 100, True), ("unix", 400, False), ("tcp", 400, False), ("tls", 200, False))
#: Registered before anything is counted: what the first ones bring into being serves all.
FIRST = 10
_HUB_ID = 0x10000
_PATIENCE_SECONDS = 600.0
_HANDSHAKE_SECONDS = 60.0
# Of what is seen in some looks in a row the least counts: something may be on its way.
_LOOK_SECONDS = 0.5
_LOOKS = 4


@attrs.frozen(kw_only=True)
class Use:
    """
    What a node takes for one idle neighbor.

    :param channel: Over which it is connected.
    :param peers: How many there are.
    :param counted: What is counted.
    :param kibibytes: For each.
    :param part: Of what the aim allows.
    """

    channel: str
    peers: int
    counted: str
    kibibytes: float
    part: float


def measure(channel: str, peers: int, *, is_traced: bool) -> Use:
    """
    Let nodes register, wait until nothing moves any more, and count.

    :param channel: unix, tcp or tls.
    :param peers: How many.
    :param is_traced: Whether to count what Python has allocated, not the resident memory.
    :returns: What each takes.
    """
    counted = "traced" if is_traced else "resident"
    with tempfile.TemporaryDirectory(prefix="atbus-") as folder:
        if channel == "tls":
            write_certificates(Path(folder))
        told = subprocess.run(
            _command("--hub", channel, folder, str(peers), counted),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )
    taken = int(told.stdout) / peers
    aim = TLS_AIM_BYTES if channel == "tls" else AIM_BYTES
    return Use(
        channel=channel, peers=peers, counted=counted, kibibytes=taken / 1024, part=taken / aim
    )


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.idle_peer", *words]


def _options(channel: str, folder: str) -> dict[str, Any]:
    options: dict[str, Any] = {"handshake_seconds": _HANDSHAKE_SECONDS}
    if channel == "tls":
        options |= {
            "tls_certificate": Path(folder) / "node.pem",
            "tls_key": Path(folder) / "node.key",
            "tls_authorities": Path(folder) / "authority.pem",
            "tls_realm": REALM,
        }
    return options


def _used_bytes(counted: str) -> int:
    gc.collect()
    if counted == "traced":
        return tracemalloc.get_traced_memory()[0]
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Hub:
    """The node that all others register with."""

    def __init__(self, reactor: Any, channel: str, folder: str, counted: str) -> None:
        places = {
            "unix": f"unix://{folder}/hub.sock",
            "tcp": "ipv4://127.0.0.1:0",
            "tls": "tls+ipv4://127.0.0.1:0",
        }
        self._reactor = reactor
        self._channel, self._folder, self._counted = channel, folder, counted
        options = _options(channel, folder)
        config = NodeConfig(id=_HUB_ID, listen=[places[channel]], subnets=["0/16"], **options)
        self._node = Node(config, reactor=reactor)
        self._registering: list[subprocess.Popen[bytes]] = []

    async def count(self, peers: int) -> int:
        """Give how many bytes so many neighbors take."""
        try:
            await self._node.start()
            await self._admit(0, FIRST)
            before = 0
            if self._counted == "traced":
                tracemalloc.start()
            else:
                before = await self._settled()
            await self._admit(FIRST, peers)
            return await self._settled() - before
        finally:
            for process in self._registering:
                process.kill()
                process.wait()

    def _start(self, first: int, count: int) -> None:
        address = str(self._node.addresses[0])
        words = "--peers", self._channel, self._folder, str(count), address, str(first)
        self._registering.append(subprocess.Popen(_command(*words)))

    async def _admit(self, first: int, count: int) -> None:
        self._start(first, count)
        while sum(e.available for e in self._node.endpoints.values()) < first + count:
            await self._wait(0.1)

    async def _settled(self) -> int:
        """Give the least that is in use until it does not become less any more."""
        least = _used_bytes(self._counted)
        looks = 0
        while looks < _LOOKS:
            await self._wait(_LOOK_SECONDS)
            used = _used_bytes(self._counted)
            looks = 0 if used < least else looks + 1
            least = min(least, used)
        return least

    async def _wait(self, seconds: float) -> None:
        turn: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, turn.callback, None)
        await turn


def _be_hub(reactor: Any, channel: str, folder: str, peers: int, counted: str) -> None:
    hub = _Hub(reactor, channel, folder, counted)
    counting = Deferred.fromCoroutine(hub.count(peers)).addCallback(print)
    counting.addErrback(lambda failure: failure.printTraceback())
    counting.addBoth(lambda _: reactor.stop())


def _be_peers(reactor: Any, options: dict[str, Any], address: str, numbers: Iterable[int]) -> None:
    nodes = [
        Node(NodeConfig(id=_HUB_ID + 1 + number, upstream=address, **options), reactor=reactor)
        for number in numbers
    ]

    async def start() -> None:
        for node in nodes:
            await node.start()

    Deferred.fromCoroutine(start()).addErrback(lambda failure: failure.printTraceback())
    hub = os.getppid()
    LoopingCall(lambda: os.getppid() == hub or reactor.stop()).start(1.0)


def uses(runs: Iterable[tuple[str, int, bool]]) -> Iterator[Use]:
    """Measure one channel after another."""
    for channel, peers, is_traced in runs:
        yield measure(channel, peers, is_traced=is_traced)


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure and print.

    :param arguments: Words of the command line.
    """
    parser = argparse.ArgumentParser(description="What a node takes for an idle neighbor.")
    parser.add_argument("--quick", action="store_true", help="what is traced only")
    parser.add_argument("--hub", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--peers", nargs=5, help=argparse.SUPPRESS)
    read = parser.parse_args(arguments)
    if not (read.hub or read.peers):
        print(table_of(list(uses(RUNS[:1] if read.quick else RUNS))))
        return
    # The other processes have one each.
    from twisted.internet import reactor  # noqa: PLC0415

    if read.hub:
        channel, folder, count, counted = read.hub
        reactor.callWhenRunning(_be_hub, reactor, channel, folder, int(count), counted)
    else:
        channel, folder, count, address, first = read.peers
        numbers = range(int(first), int(first) + int(count))
        options = _options(channel, folder)
        reactor.callWhenRunning(_be_peers, reactor, options, address, numbers)
    reactor.run()


if __name__ == "__main__":
    main()
