"""NATS's client for Go at gateways of real processes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.chaos.case import need
from tests.documents import commands
from tests.interop.two_gateways import PAGE, TwoGateways

#: Where Debian puts packages of Go.
PACKAGES = Path("/usr/share/gocode")


class NatsGoTests(TwoGateways):
    """A program that is compiled for the test."""

    def compile(self) -> None:
        """
        Compile the program as the page says, with the client that Debian has.

        :raises SkipTest: There is no compiler, or not the client; AssertionError where they have
            to be there.
        """
        compiler = shutil.which("go")
        client = PACKAGES / "src/github.com/nats-io/nats.go"
        need(
            compiler is not None and client.exists(),
            "Go with NATS's client (Debian: golang-go, golang-github-nats-io-go-nats-dev)",
        )
        given = commands(PAGE)
        [command] = [each for each in given if each.startswith("GO111MODULE=off GOPATH=")]
        environment = {"PATH": "/usr/bin:/bin", "GOCACHE": str(self.folder / "cache")}
        words = ["/bin/sh", "-c", command]
        subprocess.run(words, env=environment, cwd=self.folder, check=True)

    def test_the_page(self) -> Deferred[None]:
        """The program in the how-to answers whoever asks at another gateway."""
        return Deferred.fromCoroutine(self.the_page())

    async def the_page(self) -> None:
        _, urls = await self.begin()
        self.from_page("adder.go", urls[1])
        self.compile()
        await self.adds(urls[0], lambda: self.run_program("adder", "/bin/sh", "-c", "exec ./adder"))
