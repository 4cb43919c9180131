"""
How much shared memory many processes take that all talk to all.

So many processes with one node each, every one connected to every other over unix sockets, and each
offers lanes to all that could have one. What is counted is what the kernel has allocated for them,
seen from outside: each memory once, whoever holds it.

    $ .venv/bin/python -m benchmarks.lane_memory
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from atbus.node import lanes as lanes_module
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from benchmarks.topology import table_of

COUNTS = (8, 64)
AIM_BYTES = 256 << 20
_BLOCK_BYTES = 512
_PATIENCE_SECONDS = 600.0
_HANDSHAKE_SECONDS = 60.0
_SETTLE_SECONDS = 2.0
_FIRST_ID = 0x10000


@attrs.frozen(kw_only=True)
class Use:
    """
    What one such bus takes.

    :param processes: Each with a node.
    :param lanes: That were offered and taken.
    :param mebibytes: Of memory that the kernel has allocated for them.
    :param part: Of what the aim allows.
    """

    processes: int
    lanes: int
    mebibytes: float
    part: float


def allocated_bytes(pids: Sequence[int]) -> int:
    """
    Count the memory of the lanes that processes hold, each memory once.

    :param pids: The processes.
    :returns: Bytes that the kernel has allocated.
    """
    found: dict[int, int] = {}
    for pid in pids:
        for place in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if str(place.readlink()).startswith("/memfd:atbus"):
                    memory = place.stat()
                    found[memory.st_ino] = memory.st_blocks * _BLOCK_BYTES
    return sum(found.values())


def measure(count: int) -> Use:
    """
    Start a bus, wait until nobody can be given a lane any more, and count.

    :param count: Processes.
    :returns: What they take.
    :raises TimeoutError: When that does not happen.
    """
    with tempfile.TemporaryDirectory(prefix="atbus-") as directory:
        pids = [_fork(Path(directory), number, count) for number in range(count)]
        try:
            lanes = sum(_told(Path(directory), number) for number in range(count))
            taken = _settled(pids)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    return Use(processes=count, lanes=lanes, mebibytes=taken / (1 << 20), part=taken / AIM_BYTES)


def _settled(pids: Sequence[int]) -> int:
    """Count when nothing changes any more: a lane that was given up may still be on its way."""
    before, taken = -1, allocated_bytes(pids)
    end = time.monotonic() + _PATIENCE_SECONDS
    while before != taken and time.monotonic() < end:
        time.sleep(_SETTLE_SECONDS)
        before, taken = taken, allocated_bytes(pids)
    return taken


def _told(directory: Path, number: int) -> int:
    """Wait for what a process says: how many lanes it reads."""
    path = directory / f"{number}.lanes"
    end = time.monotonic() + _PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"process {number} has not got its lanes")
        time.sleep(0.1)
    return int(path.read_text(encoding="ascii"))


def _fork(directory: Path, number: int, count: int) -> int:
    pid = os.fork()
    if not pid:
        try:
            _run(directory, number, count)
        finally:
            os._exit(1)
    return pid


def _run(directory: Path, number: int, count: int) -> None:
    """Be one of the processes, until it is killed."""
    # Each process has its own.
    from twisted.internet import reactor  # noqa: PLC0415

    config = NodeConfig(
        id=_FIRST_ID + number,
        listen=[f"unix://{directory}/{number}.sock", "shm://auto"],
        handshake_seconds=_HANDSHAKE_SECONDS,
    )
    # So many processes are busy: no offer is taken back because one of them is late.
    lanes_module.LANE_OFFER_SECONDS = _PATIENCE_SECONDS  # type: ignore[misc]
    node = Node(config, reactor=reactor)
    expected = min(count - 1, config.shm_lanes_max, config.shm_bytes_max // config.shm_lane_bytes)

    async def start() -> None:
        # One after the other: so many at once would be too slow for each other's patience.
        before = directory / f"{number - 1}.ready"
        while number and not before.exists():
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.05, turn.callback, None)
            await turn
        await node.start()
        for other in range(number):
            await node.connect(f"unix://{directory}/{other}.sock")
        (directory / f"{number}.ready").touch()

    def offer() -> None:
        if not (directory / f"{count - 1}.ready").exists():
            return
        # Without the traffic that would deserve them.
        lanes = node._parts.lanes  # noqa: SLF001
        for endpoint in list(node.endpoints.values()):
            # Whoever has one or is beyond the budget gets none.
            lanes._offer(endpoint)  # noqa: SLF001
        read = [lane for lane in lanes if lane.is_read and lane.ring is not None]
        if len(node.endpoints) == count - 1 and len(read) == expected:
            hidden = directory / f"{number}.part"
            hidden.write_text(str(len(read)), encoding="ascii")
            hidden.rename(directory / f"{number}.lanes")
            calling.stop()

    Deferred.fromCoroutine(start()).addErrback(lambda failure: failure.printTraceback())
    calling = LoopingCall(offer)
    calling.start(0.5)
    reactor.run()


def uses(counts: Sequence[int]) -> Iterator[Use]:
    """Measure one bus after another."""
    for count in counts:
        yield measure(count)


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Measure and print.

    :param arguments: Words of the command line.
    """
    parser = argparse.ArgumentParser(description="How much shared memory a bus takes.")
    parser.add_argument("--quick", action="store_true", help="the small bus only")
    quick = parser.parse_args(arguments).quick
    print(table_of(list(uses(COUNTS[:1] if quick else COUNTS))))


if __name__ == "__main__":
    main()
