"""``config check``, ``config show``, ``config memory`` and ``config default``."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.cli.main import atbus
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.node.option import OPTIONS

GOOD = """
id = "0x12340001"
listen = ["ipv4://127.0.0.1:7000"]
access_tokens = ["a secret"]
limits.hops = 4
"""
BAD = """
id = "0x123x"
listen = ["tcp://127.0.0.1:7000"]
hopes = 4
"""


class ConfigTests(SynchronousTestCase):
    """Configuration files without a node."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def config(self, *words: str, text: str = GOOD) -> Result:
        self.path.write_text(text, encoding="utf-8")
        return CliRunner().invoke(atbus, ["config", *words], standalone_mode=False)

    def failure(self, *words: str, text: str) -> CommandFailed:
        result = self.config(*words, text=text)
        assert isinstance(result.exception, CommandFailed), result.output
        return result.exception

    def test_a_good_file(self) -> None:
        """A file that a node can be started with is said to be valid, and of whom."""
        result = self.config("check", str(self.path))
        self.assertIs(result.exception, None)
        self.assertEqual(result.stdout, "")
        self.assertIn("valid configuration of node 0x12340001", result.stderr)
        result = self.config("check", str(self.path), "-o", "json")
        self.assertEqual(json.loads(result.stdout)["valid"], True)

    def test_every_fault_is_told(self) -> None:
        """Of a bad file all faults are told at once, and the exit code is 2."""
        failure = self.failure("check", str(self.path), text=BAD)
        self.assertEqual((failure.code, len(failure.faults)), (ExitCode.USAGE, 3))
        told = "\n".join(failure.faults)
        for part in ("id", "listen[0]", "hopes"):
            self.assertIn(part, told)

    def test_a_missing_file(self) -> None:
        """A file that is not there is a fault like any other."""
        failure = self.failure("check", "/no/such.toml", text="")
        self.assertIn("No such file", failure.faults[0])

    def test_certificates_that_cannot_be_used(self) -> None:
        """Files that the configuration names are looked into, for the node would be as well."""
        missing = [f"tls.{name}='/no/{name}'" for name in ("certificate", "key", "authorities")]
        sets = [word for line in missing for word in ("--set", line)]
        failure = self.failure("check", str(self.path), *sets, text=GOOD)
        self.assertEqual((failure.code, len(failure.faults)), (ExitCode.USAGE, 3))
        self.assertIn("tls.key: /no/key: No such file", " ".join(failure.faults))
        self.assertIs(self.config("show", str(self.path), *sets).exception, None)

    def test_files_of_the_gateway(self) -> None:
        """So are those of the gateway: for clients, for each remote, and for routes."""
        files = "certificate_file = '/no/c'\nkey_file = '/no/k'\n"
        cluster = f"[nats.cluster]\nname = 'c'\nlisten = '127.0.0.1:0'\n{files}"
        remote = "[[nats.leaf_remotes]]\nurls = ['127.0.0.1:7422']\n"
        for table, fault in (
            (files, "nats: /no/c: No such file"),
            (f"{remote}{files}", "nats: /no/c: No such file"),
            (f"{remote}nkey_file = '/no/seed'\n", "/no/seed: No such file"),
            (cluster, "nats: /no/c: No such file"),
        ):
            text = f"{GOOD}\n[nats]\nlisten = '127.0.0.1:0'\n{table}"
            failure = self.failure("check", str(self.path), text=text)
            self.assertIn(fault, failure.faults[0])

    def test_overrides(self) -> None:
        """``--set`` is stronger than the file, here as it is for the node."""
        result = self.config("show", str(self.path), "--set", "limits.hops=9", "-o", "json")
        self.assertEqual(json.loads(result.stdout)["limits.hops"], 9)
        failure = self.failure("check", str(self.path), "--set", "limits.hops=900", text=GOOD)
        self.assertIn("limits.hops", failure.faults[0])

    def test_show(self) -> None:
        """The file is shown as it is understood, and without its secrets."""
        text = self.config("show", str(self.path)).stdout
        self.assertNotIn("a secret", text)
        shown = tomllib.loads(text)
        self.assertEqual((shown["id"], shown["limits"]), ("0x12340001", {"hops": 4}))
        values = json.loads(self.config("show", str(self.path), "-o", "json").stdout)
        self.assertEqual((values["id"], values["access_tokens"]), ("0x12340001", None))
        self.assertEqual(values["listen"], ["ipv4://127.0.0.1:7000"])

    def test_memory(self) -> None:
        """What others can make a node hold is listed, the largest first, with its sum."""
        lines = self.config("memory", str(self.path)).stdout.splitlines()
        self.assertEqual(lines[0].split(), ["WHAT", "MOST", "OPTION"])
        self.assertIn("limits.interest_bytes", lines[1])
        self.assertTrue(lines[-1].startswith("all together"), lines[-1])
        told = json.loads(self.config("memory", str(self.path), "-o", "json").stdout)
        self.assertEqual(told["most_bytes"], sum(part["most_bytes"] for part in told["parts"]))
        less = self.config(
            *("memory", str(self.path), "--set", "limits.interest_bytes=4194304", "-o", "json")
        )
        saved = told["most_bytes"] - json.loads(less.stdout)["most_bytes"]
        self.assertEqual(saved, 4 * (limits.INTEREST_BYTES - 4_194_304))

    def test_default(self) -> None:
        """The default file is one that can be read, and names every option."""
        text = self.config("default").stdout
        self.assertEqual(self.config("check", str(self.path), text=text).exception, None)
        values = json.loads(self.config("default", "-o", "json").stdout)
        self.assertEqual(len(values), len(OPTIONS))
        self.assertEqual(values["limits.hops"]["default"], 16)
        self.assertTrue(all(option["meaning"] for option in values.values()))

    def test_a_path_is_bytes(self) -> None:
        """A file name need not be text."""
        name = os.fsdecode(b"no\xffsuch.toml")
        failure = self.failure("check", name, text="")
        self.assertIs(failure.code, ExitCode.USAGE)
