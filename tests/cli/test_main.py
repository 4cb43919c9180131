"""The command itself: help, mistakes, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from atbus import __version__
from atbus.cli.main import atbus as group
from atbus.cli.outcome import ExitCode
from tests.cli.bus_case import ROOT

COMMANDS = tuple(group.commands)

LIST_MODULES = """
import sys
from atbus.cli.main import run
code = run(sys.argv[1:])
print("loaded:", *sorted(sys.modules))
sys.exit(code)
"""


def atbus(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "atbus", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "ATBUS_URL"},
    )


class HelpTests(SynchronousTestCase):
    """What is there without a bus."""

    def loaded(self, *words: str) -> set[str]:
        run = subprocess.run(
            [sys.executable, "-c", LIST_MODULES, *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(run.stdout.rpartition("loaded:")[2].split())

    def test_help_loads_nothing_heavy(self) -> None:
        """``--help`` is there at once: neither Twisted nor rich nor a part of the bus is loaded."""
        for words in (["--help"], ["ping", "--help"], ["demo", "--help"], ["config", "--help"]):
            heavy = {
                module
                for module in self.loaded(*words)
                if module.startswith(
                    ("twisted", "rich", "construct", "OpenSSL", "asyncio", "atbus.node")
                )
            }
            self.assertEqual(heavy, set(), words)

    def test_help_lists_the_commands(self) -> None:
        """``--help`` names every command, with what it is for."""
        text = atbus("--help").stdout
        self.assertEqual(len(COMMANDS), 23)
        for command in COMMANDS:
            self.assertRegex(text, rf"\n  {command} +[A-Z]")

    def test_version(self) -> None:
        """``--version`` says what is installed."""
        self.assertEqual(atbus("--version").stdout, f"atbus {__version__}\n")


class MistakeTests(SynchronousTestCase):
    """Commands that cannot be understood."""

    def test_usage(self) -> None:
        """A wrong command line ends with 2, and says what is wrong on stderr only."""
        for words, part in (
            (["frobnicate"], "No such command"),
            (["ping"], "Missing argument"),
            (["ping", "0"], "temporary node"),
            (["ping", "12x"], "not a bus id"),
            (["nodes"], "ATBUS_URL"),
            (["nodes", "--via", "tcp:1"], "not an address"),
            (["nodes", "--via", "shm://x"], "cannot be dialed"),
            (["nodes", "--via", "ipv4://127.0.0.1:0"], "cannot be dialed"),
            (["demo", "--seconds", "0"], "--seconds"),
        ):
            run = atbus(*words)
            self.assertEqual((run.returncode, run.stdout), (ExitCode.USAGE, ""), words)
            self.assertIn(part, run.stderr)

    def test_what_is_wrong_is_named_as_it_was_given(self) -> None:
        """The sentence names the option, not what it is called inside, and says it once."""
        for words, sentence in (
            (["--via", "tls+ipv4://127.0.0.1:1"], "atbus: --via: tls+ipv4://127.0.0.1:1 needs"),
            (["--via", "unix:///x", "--token", ""], "atbus: --token[0]: an access token is empty"),
            (["--via", "unix:///x", "--timeout", "nan"], "'--timeout': 'nan' is not a number"),
        ):
            ended = atbus("nodes", *words)
            self.assertEqual(ended.returncode, ExitCode.USAGE)
            self.assertEqual(ended.stderr.count(sentence), 1, ended.stderr)
            self.assertEqual(ended.stderr.count("access token"), sentence.count("access token"))

    def test_closed_streams(self) -> None:
        """Where a standard stream is closed nothing is read and written, and nothing fails."""
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            command = f'exec "$0" -m atbus config default {closed}'
            ended = subprocess.run(
                ["/bin/sh", "-c", command, sys.executable],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual((ended.returncode, ended.stderr), (ExitCode.DONE, ""), closed)
            self.assertEqual(ended.stdout == "", " >&-" in f" {closed}", closed)

    def test_usage_for_programs(self) -> None:
        """With ``-o json`` a mistake is told as JSON on stdout, however the option is written."""
        for option in (["-o", "json"], ["-ojson"], ["--output=json"]):
            run = atbus("ping", "12x", *option)
            self.assertEqual((run.returncode, run.stderr), (2, ""))
            error = json.loads(run.stdout)["error"]
            self.assertEqual((error["code"], error["error"]), (2, "USAGE"))
            self.assertIn("not a bus id", error["message"])


class StdoutTests(SynchronousTestCase):
    """Where the output goes."""

    def write_to(self, stdout: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "atbus", "config", "default"],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    def test_a_broken_pipe_is_silent(self) -> None:
        """Nobody is told that ``atbus ... | head`` has read enough."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            run = self.write_to(writer)
        finally:
            os.close(writer)
        self.assertEqual((run.returncode, run.stderr), (ExitCode.FAILED, ""))

    def test_a_full_disk_is_told(self) -> None:
        """Output that cannot be written is a failure, in one line."""
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            run = self.write_to(full)
        finally:
            os.close(full)
        self.assertEqual(run.returncode, ExitCode.FAILED)
        self.assertRegex(run.stderr, r"\Aatbus: .*No space left on device\n\Z")
