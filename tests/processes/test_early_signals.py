"""Processes that get a signal while they still load their modules."""

from __future__ import annotations

import os
import signal
import sys

from tests.processes.harness import NodeProcess, ProcessCase

# Python imports this file before anything else; who imports the module waits for the test.
WAIT = """
import sys
class Wait:
    def find_spec(self, name, path, target=None):
        if name == "MODULE":
            print("is loading", flush=True)
            open("go").close()
sys.meta_path.insert(0, Wait())
"""

NODE = """
id = "0x10000"
listen = ["unix://{folder}/node.sock"]
access_tokens = ["TOKEN"]
"""


class EarlySignalsTests(ProcessCase):
    """Whoever starts a process may change their mind at once."""

    def hold(self, module: str) -> None:
        """Let processes wait where they import a module, until the file ``go`` is written."""
        self.write("sitecustomize.py", WAIT.replace("MODULE", module))
        self.run_program("mkfifo", "/usr/bin/mkfifo", "go")

    async def loading(self, module: str, *words: str) -> NodeProcess:
        """Start a process that has a signal to get."""
        self.hold(module)
        self.assertEqual(await self.processes[-1].ends(), 0)
        process = self.run_program("early", *words) if words else self.start("node", NODE)
        await process.says("is loading\n")
        return process

    async def test_a_node_is_interrupted(self) -> None:
        """``twistd atbus`` ends by SIGINT and by SIGTERM, and writes nothing."""
        for number in (signal.SIGINT, signal.SIGTERM):
            node = await self.loading("atbus.cli.twistd")
            self.assertEqual(await node.stops(number), -number)
            self.assertEqual(node.output, "is loading\n")
            (self.folder / "go").unlink()

    async def test_a_command_is_interrupted(self) -> None:
        """So does the ``atbus`` command, before it knows what it is to do."""
        for number in (signal.SIGINT, signal.SIGTERM):
            words = (sys.executable, "-m", "atbus", "--version")
            command = await self.loading("click", *words)
            self.assertEqual(await command.stops(number), -number)
            self.assertEqual(command.output, "is loading\n")
            (self.folder / "go").unlink()

    async def test_a_command_that_runs(self) -> None:
        """A command that has been loaded says that it was interrupted, and ends with 130."""
        words = (sys.executable, "-m", "atbus", "status", "--via", "unix:///nobody")
        command = await self.loading("twisted", *words)
        self.assertEqual(await command.stops(signal.SIGINT), 130)
        self.assertEqual(command.output.split("\n", 1)[1].strip(), "atbus: interrupted")

    async def test_what_is_for_the_node(self) -> None:
        """
        A node that is to read its file again before it has read it once does so when it is up.

        One that is to let those below it move has nobody there.
        """
        node = await self.loading("atbus.node.node")
        for number in (signal.SIGHUP, signal.SIGUSR2):
            node.kill(number)
        # Open to read as well, for who would only write waits for a process that may have ended.
        self.addCleanup(os.close, os.open(self.folder / "go", os.O_RDWR))
        await node.says("0x10000 is running\n")
        await node.says("0x10000 finds nothing new in its configuration\n")
        self.write("node.toml", NODE.replace("TOKEN", "other"))
        node.kill(signal.SIGHUP)
        await node.says("0x10000 runs with another access_tokens\n")
        self.assertEqual(await node.stops(), -signal.SIGTERM)
