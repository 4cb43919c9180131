"""
Real ZooKeeper servers on loopback, for tests: Debian's ``zookeeper``, in folders of their own.

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
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SkipTest, TestCase

from atbus.channels.timers import MonotonicTimers
from tests.interop.waiting import PATIENCE_SECONDS
from tests.standstill import freeze, thaw

JAVA = shutil.which("java")

JARS = Path("/usr/share/java")

# With all that Debian has in that folder, a server starts three times slower.
NAMES = (
    *("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "commons-cli"),
    *("netty-handler", "netty-common", "netty-transport", "netty-buffer", "netty-codec"),
    "netty-resolver",
)

TICK_MILLISECONDS = 500
"""A session lives for two of these at least."""

_ATTEMPTS = 5

_SECURE = (
    "secureClientPortAddress=127.0.0.1",
    "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
)

_LOOK_SECONDS = 0.05

# Below those that the system chooses from (ip_local_port_range).
_QUIET_PORTS = range(20_000, 32_000)


def require_zookeeper() -> None:
    """
    Skip the tests where there is no ZooKeeper, unless there has to be one.

    :raises SkipTest: There is none.
    :raises AssertionError: There is none, and there has to be.
    """
    if JAVA is None or not (JARS / "zookeeper.jar").exists():
        why = "there is no ZooKeeper on this machine (Debian: apt-get install zookeeper)"
        if os.environ.get("ATBUS_REQUIRE_SERVERS"):
            raise AssertionError(why)
        raise SkipTest(why)


def quiet_ports(count: int) -> list[int]:
    """
    Find ports that nobody listens on, and that the system gives to nobody who asks for any.

    A server that is killed and started again needs its port again. Had the system chosen it, a
    client that tries to connect meanwhile might be given the same one for its own end.

    :param count: How many, all different.
    :returns: They; somebody else may be faster.
    """
    ports: list[int] = []
    for port in Random().sample(_QUIET_PORTS, len(_QUIET_PORTS)):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            break
    return ports


class ZooKeeperServer:
    """
    One server.

    :param folder: Where its data are.
    :param client_port: Where it is asked.
    :param secure_port: Where it is asked over TLS; 0 for nowhere.
    :param number: Its number in the ensemble.
    :param ensemble: Lines about all members; none when it is alone.
    :param lines: Further ones for its configuration.
    :param flags: For the Java machine.
    """

    def __init__(
        self,
        folder: Path,
        client_port: int,
        secure_port: int = 0,
        *,
        number: int = 1,
        ensemble: Sequence[str] = (),
        lines: Sequence[str] = (),
        flags: Sequence[str] = (),
    ) -> None:
        self.address = f"127.0.0.1:{client_port}"
        self.secure_address = f"127.0.0.1:{secure_port}"
        self._port = client_port
        self._folder = folder / str(number)
        self._number = number
        self._config = [
            f"tickTime={TICK_MILLISECONDS}",
            # A session may outlive whatever a busy machine takes to start a server anew.
            "maxSessionTimeout=600000",
            "initLimit=40",
            "syncLimit=20",
            f"dataDir={self._folder}",
            f"clientPort={client_port}",
            "clientPortAddress=127.0.0.1",
            "admin.enableServer=false",
            "4lw.commands.whitelist=srvr",
            "maxClientCnxns=0",
            *ensemble,
            *([f"secureClientPort={secure_port}", *_SECURE] if secure_port else []),
            *lines,
        ]
        # With setpriv no server outlives a test run that was killed.
        tie = shutil.which("setpriv")
        self._command = [
            *([tie, "--pdeathsig=KILL", "--"] if tie else []),
            str(JAVA),
            *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            # A test kills servers, not machines: what is written need not be on the disk.
            "-Dzookeeper.forceSync=no",
            *flags,
            *("-cp", ":".join(str(JARS / f"{name}.jar") for name in NAMES)),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(self._folder / "zoo.cfg"),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._log: list[bytes] = []
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
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "zoo.cfg").write_text("\n".join(self._config), encoding="utf-8")
        (self._folder / "myid").write_text(str(self._number), encoding="utf-8")
        self._log.clear()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        self._log.extend(self._process.stderr)

    def wait(self) -> bool:
        """
        Wait until it serves.

        :returns: Whether it does; otherwise it has ended, or it takes too long.
        """
        assert self._process is not None
        pause = threading.Event()
        for _ in range(round(PATIENCE_SECONDS / _LOOK_SECONDS)):
            if self._process.poll() is not None:
                return False
            if self._serves():
                return True
            pause.wait(_LOOK_SECONDS)
        return False

    def _serves(self) -> bool:
        """Ask it; somebody else who may have its port does not answer like this."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), 5.0) as asking:
                asking.settimeout(5.0)
                asking.sendall(b"srvr")
                answer = b""
                while piece := asking.recv(4096):
                    answer += piece
        except OSError:
            return False
        return b"Zookeeper version" in answer and b"Mode:" in answer

    def wipe(self) -> None:
        """Lose what it has stored."""
        shutil.rmtree(self._folder)

    def freeze(self) -> None:
        """Stop its process, and wait until it has stopped."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let its process go on."""
        thaw(self.pid)

    def kill(self) -> None:
        """End it at once, also when it is frozen; twice does no harm."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._reader is not None
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None


def start_zookeeper(
    folder: Path, count: int = 1, *, secure: bool = False, **options: Any
) -> list[ZooKeeperServer]:
    """
    Start an ensemble.

    :param folder: Where its data are.
    :param count: How many servers.
    :param secure: Whether they are asked over TLS as well.
    :param options: See `ZooKeeperServer`.
    :returns: The servers; whoever starts them stops them.
    :raises AssertionError: They do not start.
    """
    output = ""
    for attempt in range(_ATTEMPTS):
        ports = quiet_ports(4 * count)
        members = [
            f"server.{number + 1}=127.0.0.1:{ports[4 * number + 1]}:{ports[4 * number + 2]}"
            for number in range(count)
        ]
        servers = [
            ZooKeeperServer(
                folder / str(attempt),
                ports[4 * number],
                ports[4 * number + 3] if secure else 0,
                number=number + 1,
                ensemble=members if count > 1 else (),
                **options,
            )
            for number in range(count)
        ]
        for server in servers:
            server.start()
        ready = [server.wait() for server in servers]
        if all(ready):
            return servers
        output = "\n".join(server.output[-2000:] for server in servers)
        for server in servers:
            server.kill()
    raise AssertionError(f"ZooKeeper does not start:\n{output}")


class _Shared:
    """The servers of one class of tests: they are stopped when the next class comes, or the end."""

    def __init__(self) -> None:
        self._owner: type[TestCase] | None = None
        self._servers: list[ZooKeeperServer] = []
        self._folder: Path | None = None

    def servers_of(
        self,
        owner: type[TestCase],
        count: int,
        options: Callable[[Path], dict[str, Any]],
    ) -> list[ZooKeeperServer]:
        if self._owner is not owner:
            self.stop()
            self._folder = Path(tempfile.mkdtemp(prefix="atbus-zookeeper-"))
            self._servers = start_zookeeper(self._folder, count, **options(self._folder))
            self._owner = owner
        return self._servers

    def stop(self) -> None:
        self._owner = None
        for server in self._servers:
            server.kill()
        self._servers = []
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None


_shared = _Shared()
atexit.register(_shared.stop)


def one_zookeeper(owner: type[TestCase]) -> ZooKeeperServer:
    """
    Give a class of tests one server.

    :param owner: The class, which may need other servers as well.
    :returns: The server; it is stopped when the next class comes, or the end.
    :raises SkipTest: There is none; see `require_zookeeper`.
    """
    require_zookeeper()
    (server,) = _shared.servers_of(owner, 1, lambda _: {})
    return server


class ZooKeeperCase(TestCase):
    """Tests that share one server, or several."""

    timeout = 900
    #: How many servers.
    count = 1

    @classmethod
    def server_options(cls, folder: Path) -> dict[str, Any]:
        """
        Say what is special about the servers of this class.

        :param folder: For their files.
        :returns: See `ZooKeeperServer`.
        """
        return {}

    def setUp(self) -> None:
        require_zookeeper()
        case = type(self)
        self.servers = _shared.servers_of(case, case.count, case.server_options)
        from twisted.internet import reactor  # noqa: TID251  # real servers, real sockets

        self.reactor: Any = reactor
        self.timers: IReactorTime = MonotonicTimers(reactor)
        self.addCleanup(self.timers.stop)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the servers are."""
        return tuple(server.address for server in self.servers)

    @property
    def prefix_text(self) -> str:
        """Below what the keys of this test stand."""
        return f"/{self.id()}/"

    async def passes(self, seconds: float) -> None:
        """
        Let time pass on servers, whose clocks nobody can move.

        :param seconds: How much.
        """
        passed: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, passed.callback, None)
        await passed
