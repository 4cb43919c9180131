"""NATS's client for C at gateways of real processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred

from tests.chaos.case import need
from tests.interop.two_gateways import SHORT_GRACE, TwoGateways

SOURCE = Path(__file__).with_name("nats_client.c")


class NatsCTests(TwoGateways):
    """A program that is compiled for the test."""

    def compile(self, source: str = str(SOURCE)) -> str:
        """
        Compile a program.

        :raises SkipTest: There is no compiler, or not the library; AssertionError where they have
            to be there.
        """
        program = str(self.folder / "client")
        compiler = shutil.which("gcc")
        there = compiler is not None and Path("/usr/include/nats/nats.h").exists()
        need(there, "gcc with NATS's client (Debian: gcc, libnats-dev)")
        subprocess.run(
            [str(compiler), "-Wall", "-Werror", "-o", program, source, "-lnats"], check=True
        )
        return program

    def test_questions_and_answers(self) -> Deferred[None]:
        """Requests to a queue group at another gateway, one that nobody answers, and drain."""
        return Deferred.fromCoroutine(self.questions_and_answers(self.compile()))

    async def questions_and_answers(self, program: str) -> None:
        _, urls = await self.begin()
        client = self.run_program("client", program, "basics", *urls)
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)

    def test_the_page(self) -> Deferred[None]:
        """The program in the how-to answers whoever asks at another gateway."""
        return Deferred.fromCoroutine(self.the_page())

    async def the_page(self) -> None:
        _, urls = await self.begin()
        program = self.compile(self.from_page("adder.c", urls[1]))
        await self.adds(urls[0], lambda: self.run_program("adder", program))

    def test_a_gateway_dies(self) -> Deferred[None]:
        """A client goes on at the other gateway, which it has never been told of by its user."""
        return Deferred.fromCoroutine(self.a_gateway_dies(self.compile()))

    async def a_gateway_dies(self, program: str) -> None:
        (_, child), urls = await self.begin()
        client = self.run_program("client", program, "reconnect", urls[1])
        await self.goes_on(client, child, signal.SIGKILL)

    def test_a_gateway_is_taken_away(self) -> Deferred[None]:
        """Told to drain, a gateway sends its clients to the other one."""
        return Deferred.fromCoroutine(self.a_gateway_is_taken_away(self.compile()))

    async def a_gateway_is_taken_away(self, program: str) -> None:
        (_, child), urls = await self.begin(*SHORT_GRACE)
        client = self.run_program("client", program, "reconnect", urls[1])
        await self.goes_on(client, child, signal.SIGUSR2)
        self.assertTrue(child.running)
