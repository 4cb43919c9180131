"""The example that runs under twistd."""

from __future__ import annotations

import signal
import sys

from twisted.internet.utils import getProcessOutputAndValue

from tests.examples.test_programs import EXAMPLES
from tests.processes.harness import UP, ProcessCase


class EchoServiceTests(ProcessCase):
    """The service as a process, asked with the command line."""

    async def test_a_question_from_the_command_line(self) -> None:
        """It answers as its settings say, and stops in good order."""
        for name in ("echo.toml", "echo_service.py"):
            text = (EXAMPLES / name).read_text(encoding="utf-8")
            self.write(name, text.replace("/tmp/atbus-echo", "{folder}"))
        echo = self.start("echo")
        await echo.says(UP)
        via = f"unix://{self.folder}/echo.sock"
        words = ["-m", "atbus", "request", "--via", via, "--timeout", "30", "0x200", "hello"]
        out, errors, code = await getProcessOutputAndValue(
            sys.executable, words, reactor=self.reactor
        )
        self.assertEqual((out.strip(), code), (b"HELLO!!", 0), errors)
        await echo.says("asked by 0x200")
        self.assertEqual(await echo.stops(), -signal.SIGTERM)
