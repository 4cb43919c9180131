"""NATS's client for Go at gateways of real processes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.chaos.case import need
from tests.interop.two_gateways import TwoGateways

#: Where Debian puts packages of Go.
PACKAGES = Path("/usr/share/gocode")


class NatsGoTests(TwoGateways):
    """A program that is compiled for the test."""

    def compile(self, source: str) -> str:
        """
        Compile a program with the client that Debian has.

        :raises SkipTest: There is no compiler, or not the client; AssertionError where they have
            to be there.
        """
        compiler = shutil.which("go")
        client = PACKAGES / "src/github.com/nats-io/nats.go"
        need(
            compiler is not None and client.exists(),
            "Go with NATS's client (Debian: golang-go, golang-github-nats-io-go-nats-dev)",
        )
        program = str(self.folder / "adder")
        environment = {
            "PATH": "/usr/bin:/bin",
            "GO111MODULE": "off",
            "GOPATH": str(PACKAGES),
            "GOCACHE": str(self.folder / "cache"),
        }
        words = [str(compiler), "build", "-o", program, source]
        subprocess.run(words, env=environment, check=True)
        return program

    def test_the_page(self) -> Deferred[None]:
        """The program in the how-to answers whoever asks at another gateway."""
        return Deferred.fromCoroutine(self.the_page())

    async def the_page(self) -> None:
        _, urls = await self.begin()
        program = self.compile(self.from_page("adder.go", urls[1]))
        await self.adds(urls[0], lambda: self.run_program("adder", program))
