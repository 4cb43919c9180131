"""NATS's client for C at gateways of real processes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.chaos.case import need
from tests.interop.two_gateways import TwoGateways

SOURCE = Path(__file__).with_name("nats_client.c")


class NatsCTests(TwoGateways):
    """A program that is compiled for the test."""

    def compile(self) -> str:
        """
        Compile the program.

        :raises SkipTest: There is no compiler, or not the library; AssertionError where they have
            to be there.
        """
        program = str(self.folder / "client")
        compiler = shutil.which("gcc")
        there = compiler is not None and Path("/usr/include/nats/nats.h").exists()
        need(there, "gcc with NATS's client (Debian: gcc, libnats-dev)")
        subprocess.run(
            [str(compiler), "-Wall", "-Werror", "-o", program, str(SOURCE), "-lnats"], check=True
        )
        return program

    def test_questions_and_answers(self) -> Deferred[None]:
        """Requests to a queue group at another gateway, and one that nobody answers."""
        return Deferred.fromCoroutine(self.questions_and_answers(self.compile()))

    async def questions_and_answers(self, program: str) -> None:
        _, urls = await self.begin()
        client = self.run_program("client", program, *urls)
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)
