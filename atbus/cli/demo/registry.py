"""
A registry for the demo: the installed server, started on loopback, and stopped afterwards.

With it, nobody whose upstream is on its own machine is told an address: it finds the proxies of its
region by their labels, and each is the first choice of equally many. All announce themselves, and
all know of each other from the registry.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectError, ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.python.failure import Failure

from atbus.cli.demo.layout import Member, Ports
from atbus.cli.outcome import CommandFailed, ExitCode

#: Debian's place for them. A machine starts three times slower with all that is there.
_JARS: Final = Path("/usr/share/java")
_JAR_NAMES: Final = (
    *("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "commons-cli"),
    *("netty-handler", "netty-common", "netty-transport", "netty-buffer", "netty-codec"),
    "netty-resolver",
)

_PREFIX: Final = "/atbus-demo/"
_LOOK_SECONDS: Final = 0.1
_START_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 60.0
_LOG_LINES_SHOWN: Final = 8


@attrs.frozen(kw_only=True)
class Kind:
    """
    One kind of server.

    :param title: What people call it.
    :param package: Debian's package with it.
    :param command: Gives the words that start it, for a folder and the ports of clients and of
        other servers; None when it is not installed.
    :param options: Gives what a node is told of it, for the port of clients.
    """

    title: str
    package: str
    command: Callable[[Path, int, int], list[str] | None]
    options: Callable[[int], dict[str, Any]]


def _etcd(folder: Path, port: int, peer_port: int) -> list[str] | None:
    binary = shutil.which("etcd")
    if binary is None:
        return None
    clients, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        binary,
        "--name=demo",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=demo={peers}",
    ]


def _zookeeper(folder: Path, port: int, _peer_port: int) -> list[str] | None:
    java = shutil.which("java")
    if java is None or not (_JARS / "zookeeper.jar").exists():
        return None
    config = folder / "zoo.cfg"
    lines = [
        "tickTime=500",
        f"dataDir={folder / 'zookeeper'}",
        f"clientPort={port}",
        "clientPortAddress=127.0.0.1",
        "admin.enableServer=false",
        "maxClientCnxns=0",
    ]
    config.write_text("\n".join(lines), encoding="utf-8")
    return [
        java,
        *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *("-cp", ":".join(str(_JARS / f"{name}.jar") for name in _JAR_NAMES)),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        str(config),
    ]


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "etcd": Kind(
            title="etcd",
            package="etcd-server",
            command=_etcd,
            options=lambda port: {
                "discovery.etcd.endpoints": [f"http://127.0.0.1:{port}"],
                "discovery.etcd.prefix": _PREFIX,
            },
        ),
        "zookeeper": Kind(
            title="ZooKeeper",
            package="zookeeper",
            command=_zookeeper,
            options=lambda port: {
                "discovery.zookeeper.servers": [f"127.0.0.1:{port}"],
                "discovery.zookeeper.prefix": _PREFIX,
            },
        ),
    }
)
"""What ``--discovery`` can name."""


class _Server(ProcessProtocol):
    """The process of the server."""

    transport: IProcessTransport

    def __init__(self) -> None:
        self.exit_text = ""
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:  # Twisted's name
        self.exit_text = str(reason.value)
        self.ended.callback(None)

    def signal(self, name: str) -> None:
        """Send it a signal, if it is there."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(name)


class Registry:
    """
    The registry of one demo.

    :param kind: One of `KINDS`.
    :param reactor: Twisted's.
    :param timers: The clock.
    :param folder: Where its data and its log are.
    :param ports: Where it listens.
    """

    def __init__(self, kind: str, reactor: Any, timers: Any, folder: Path, ports: Ports) -> None:
        self.kind = KINDS[kind]
        self._reactor = reactor
        self._timers = timers
        self._folder = folder
        self._port = ports.of("registry")
        self._peer_port = ports.of("registry peers")
        self._server: _Server | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.kind.title} on 127.0.0.1:{self._port}"

    @property
    def log_path(self) -> Path:
        """Where what it says is written."""
        return self._folder / "registry.log"

    def tell(self, lines: dict[str, Any], member: Member) -> None:
        """
        Let a member use it.

        :param lines: The options of its configuration, by their keys in a file; changed.
        :param member: Who.
        """
        lines |= self.kind.options(self._port)
        lines["service.type"] = "service" if member.is_service else "proxy"
        if not member.remote and lines.pop("upstreams", None) is not None:
            lines["upstream_labels.role"] = "proxy"
            lines["upstream_labels.region"] = member.region

    async def start(self) -> None:
        """
        Start the server, and wait until it takes connections.

        :raises CommandFailed: It is not installed, or does not start.
        """
        words = self.kind.command(self._folder, self._port, self._peer_port)
        if words is None:
            title, package = self.kind.title, self.kind.package
            text = f"{title} is not installed (Debian: apt-get install {package})"
            raise CommandFailed(ExitCode.USAGE, "NO_SERVER", text)
        self._server = server = self._launch(words)
        for _ in range(int(_START_SECONDS / _LOOK_SECONDS)):
            if server.exit_text:
                break
            if await self._listens():
                return
            await self._pause(_LOOK_SECONDS)
        text = f"{self.kind.title} does not start: {server.exit_text or 'it takes too long'}"
        raise CommandFailed(ExitCode.FAILED, "NOT_STARTED", text, self._last_words())

    def _launch(self, words: Sequence[str]) -> _Server:
        # With setpriv it does not outlive a demo that was killed.
        tie = shutil.which("setpriv")
        command = [*([tie, "--pdeathsig=KILL", "--"] if tie else []), *words]
        # The variables of the user's own etcd would overrule the arguments.
        environment = {key: text for key, text in os.environ.items() if not key.startswith("ETCD")}
        server = _Server()
        log = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._reactor.spawnProcess(
                server,
                command[0],
                command,
                env=environment,
                path=str(self._folder),
                childFDs={0: "w", 1: log, 2: log},
            )
        finally:
            os.close(log)
        return server

    async def _listens(self) -> bool:
        place = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port, timeout=5)
        try:
            connection: Any = await place.connect(Factory.forProtocol(Protocol))
        except ConnectError:
            return False
        connection.transport.loseConnection()
        return True

    async def _pause(self, seconds: float) -> None:
        over: Deferred[None] = Deferred()
        call = self._timers.callLater(seconds, over.callback, None)
        try:
            await over
        finally:
            if call.active():
                call.cancel()

    def _last_words(self) -> tuple[str, ...]:
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return tuple(text.splitlines()[-_LOG_LINES_SHOWN:])

    async def stop(self) -> None:
        """Stop the server, if it was started; twice does no harm."""
        server, self._server = self._server, None
        if server is None:
            return
        server.signal("TERM")
        patience = self._timers.callLater(_STOP_SECONDS, server.signal, "KILL")
        await server.ended
        if patience.active():
            patience.cancel()
