"""
Real etcd servers on loopback, for tests: Debian's ``etcd-server``, in folders of their own.

A server that is missing is a skip, and a failure where ``ATBUS_REQUIRE_SERVERS`` is set.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SkipTest, TestCase

from atbus.channels.timers import MonotonicTimers
from tests.interop.waiting import PATIENCE_SECONDS
from tests.standstill import freeze, thaw

BINARY = shutil.which("etcd")

_ATTEMPTS = 5

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

_UNPRIVILEGED = 10_000

_SERVES = b"serving client traffic"


def require_etcd() -> None:
    """
    Skip the tests where there is no etcd, unless there has to be one.

    :raises SkipTest: There is none.
    :raises AssertionError: There is none, and there has to be.
    """
    if BINARY is None:
        why = "there is no etcd on this machine (Debian: apt-get install etcd-server)"
        if os.environ.get("ATBUS_REQUIRE_SERVERS"):
            raise AssertionError(why)
        raise SkipTest(why)


def free_ports(count: int) -> list[int]:
    """
    Find ports that nobody listens on at this moment.

    They are none of those that the system gives to whoever wants any: a server that was killed can
    have its port again, for no connection has got it meanwhile.

    :param count: How many, all different.
    :returns: They; somebody else may be faster.
    """
    first, last = map(int, _EPHEMERAL.read_text(encoding="ascii").split())
    others = [*range(_UNPRIVILEGED, first), *range(last + 1, 2**16)]
    draw = SystemRandom()
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", draw.choice(others)))
            except OSError:
                one.close()
            else:
                sockets.append(one)
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class EtcdServer:
    """
    One server.

    :param folder: Where its data are.
    :param client_port: Where it is asked.
    :param peer_port: Where the others of its cluster talk to it.
    :param name: Its name in the cluster.
    :param members: The whole cluster, as ``name=peer URL``; left out, it is alone.
    :param scheme: How it is asked: http or https.
    :param arguments: Further ones.
    """

    def __init__(
        self,
        folder: Path,
        client_port: int,
        peer_port: int,
        *,
        name: str = "one",
        members: Sequence[str] = (),
        scheme: str = "http",
        arguments: Sequence[str] = (),
    ) -> None:
        self.url = f"{scheme}://127.0.0.1:{client_port}"
        #: Whether a test has made it ask for a user.
        self.is_locked = False
        peer = f"http://127.0.0.1:{peer_port}"
        assert BINARY is not None
        # With setpriv no server outlives a test run that was killed.
        tie = shutil.which("setpriv")
        self._command = [
            *([tie, "--pdeathsig=KILL", "--"] if tie else []),
            BINARY,
            f"--name={name}",
            f"--data-dir={folder / name}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={','.join(members) or f'{name}={peer}'}",
            "--logger=zap",
            "--log-level=info",
            *([] if members else ["--heartbeat-interval=50", "--election-timeout=500"]),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._log: list[bytes] = []
        self._ready = threading.Event()
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        """What it has written."""
        return b"".join(self._log).decode("utf-8", "replace")

    def start(self) -> None:
        """Start it, on what it has stored if it ran before."""
        self._ready.clear()
        self._log.clear()
        # The variables of the one who runs the tests would overrule the arguments.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("ETCD")
        }
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.append(line)
            if _SERVES in line:
                self._ready.set()
        # The end: whoever waits shall not wait longer.
        self._ready.set()

    def wait(self) -> bool:
        """
        Wait until it serves.

        :returns: Whether it does; otherwise it has ended.
        :raises AssertionError: It takes too long.
        """
        if not self._ready.wait(PATIENCE_SECONDS):
            raise AssertionError(f"etcd is not ready:\n{self.output[-3000:]}")
        assert self._process is not None
        return _SERVES in b"".join(self._log) and self._process.poll() is None

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self.stop()

    def freeze(self) -> None:
        """Let it stand still; when this returns, none of its threads does anything any more."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let it go on."""
        thaw(self.pid)

    def stop(self) -> None:
        """End it, also when it is frozen."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.wait()
            assert self._reader is not None
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None


def start_etcd(folder: Path, count: int = 1, **options: Any) -> list[EtcdServer]:
    """
    Start a cluster.

    :param folder: Where its data are.
    :param count: How many servers.
    :param options: See `EtcdServer`.
    :returns: The servers; whoever starts them stops them.
    :raises AssertionError: They do not start.
    """
    output = ""
    for attempt in range(_ATTEMPTS):
        place = folder / str(attempt)
        ports = free_ports(2 * count)
        names = [f"m{number}" for number in range(count)]
        peers = [f"{name}=http://127.0.0.1:{ports[2 * n + 1]}" for n, name in enumerate(names)]
        servers = [
            EtcdServer(
                place,
                ports[2 * number],
                ports[2 * number + 1],
                name=name,
                members=peers if count > 1 else (),
                **options,
            )
            for number, name in enumerate(names)
        ]
        for server in servers:
            server.start()
        ready = [server.wait() for server in servers]
        if all(ready):
            return servers
        output = "\n".join(server.output[-2000:] for server in servers)
        for server in servers:
            server.stop()
    raise AssertionError(f"etcd does not start:\n{output}")


class _Shared:
    """The servers of one class of tests: they are stopped when the next class comes, or the end."""

    def __init__(self) -> None:
        self._owner: type[EtcdCase] | None = None
        self._servers: list[EtcdServer] = []
        self._folder: Path | None = None

    def servers_of(self, owner: type[EtcdCase]) -> list[EtcdServer]:
        if self._owner is not owner:
            self.stop()
            self._folder = Path(tempfile.mkdtemp(prefix="atbus-etcd-"))
            self._servers = start_etcd(self._folder, owner.count, arguments=owner.arguments)
            self._owner = owner
        return self._servers

    def stop(self) -> None:
        self._owner = None
        for server in self._servers:
            server.stop()
        self._servers = []
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None


_shared = _Shared()
atexit.register(_shared.stop)


class EtcdCase(TestCase):
    """Tests that share one server, or several."""

    timeout = 900
    #: How many servers.
    count = 1
    #: Further arguments of them.
    arguments: Sequence[str] = ()

    def setUp(self) -> None:
        require_etcd()
        self.servers = _shared.servers_of(type(self))
        from twisted.internet import reactor  # noqa: TID251  # real servers, real sockets

        self.reactor: Any = reactor
        self.timers: IReactorTime = MonotonicTimers(reactor)
        self.addCleanup(self.timers.stop)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the servers are."""
        return tuple(server.url for server in self.servers)

    def prefix(self, name: str = "") -> bytes:
        """
        Name keys of this test's own.

        :param name: What stands at the end.
        :returns: A prefix.
        """
        return f"/{self.id()}/{name}".encode()

    async def sees(self, condition: Callable[[], bool]) -> None:
        """
        Wait until something is true that nobody tells of.

        :param condition: That.
        """
        began = self.timers.seconds()
        while not condition():
            self.assertLess(self.timers.seconds() - began, PATIENCE_SECONDS, condition)
            await self.passes(0.02)

    async def passes(self, seconds: float) -> None:
        """
        Let time pass on servers, whose clocks nobody can move.

        :param seconds: How much.
        """
        passed: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, passed.callback, None)
        await passed
