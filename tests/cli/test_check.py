"""``check config``, ``check cert`` and ``check link``."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.check import Verdict
from atbus.cli.main import atbus
from tests.channels.certificates import Files
from tests.cli.bus_case import BusTestCase

PLAIN = """
id = "0x12340001"
listen = ["ipv4://0.0.0.0:7000", "unix:///run/x.sock"]
allow_insecure = true
"""


class FileTests(SynchronousTestCase):
    """What is looked at without a bus."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.files = Files(self.folder)

    def check(self, *words: str) -> tuple[int, str]:
        result: Result = CliRunner().invoke(atbus, ["check", *words], standalone_mode=False)
        self.assertIsNone(result.exception, result.output)
        return result.return_value, result.stdout.strip()

    def config(self, text: str) -> tuple[int, str]:
        path = self.folder / "node.toml"
        path.write_text(text)
        return self.check("config", str(path))

    def test_config(self) -> None:
        """A good file, one that listens in the open, and several that no node starts with."""
        code, said = self.config("id = 5\n")
        self.assertEqual((code, said.partition(":")[0]), (Verdict.OK, "OK"))
        code, said = self.config(PLAIN)
        self.assertEqual(code, Verdict.WARNING)
        self.assertTrue(said.endswith("without TLS at ipv4://0.0.0.0:7000"), said)
        for text, fault in (
            ("idd = 5\n", "idd: unknown"),
            ("id = 5\ndenied_file = '/no/such'\n", "denied_file: /no/such: No such file"),
            ("[tls]\ncertificate = '/no'\nkey = '/no'\nauthorities = '/no'\n", "tls.certificate"),
        ):
            code, said = self.config(text)
            self.assertEqual(code, Verdict.CRITICAL)
            self.assertIn(fault, said)
        self.assertEqual(self.check("config", str(self.folder / "none"))[0], Verdict.CRITICAL)

    def cert(self, lifetime: timedelta, *words: str) -> tuple[int, str]:
        options = self.files.options(self.files.issue(lifetime=lifetime))
        given = ("--realm", "test", "--authorities", options.authorities, *words)
        return self.check("cert", options.certificate, *given)

    def test_cert(self) -> None:
        """A certificate that is good, one that is so for a week, and several that are of no use."""
        self.assertEqual(self.cert(timedelta(days=30))[0], Verdict.OK)
        code, said = self.cert(timedelta(days=7))
        self.assertEqual((code, said.partition(":")[0]), (Verdict.WARNING, "WARNING"))
        self.assertEqual(self.cert(timedelta(days=7), "--days", "3")[0], Verdict.OK)
        code, said = self.cert(timedelta(minutes=-1))
        self.assertEqual((code, "it has expired" in said), (Verdict.CRITICAL, True))
        code, said = self.cert(timedelta(days=30), "--realm", "other")
        self.assertEqual((code, "of the realm test, not other" in said), (Verdict.CRITICAL, True))
        self.files.new_authority("other")
        other = str(self.folder / "other.pem")
        code, said = self.cert(timedelta(days=30), "--authorities", other)
        self.assertEqual((code, "has signed it" in said), (Verdict.CRITICAL, True))
        code, said = self.check("cert", str(self.folder / "none.pem"))
        self.assertEqual((code, "No such file" in said), (Verdict.UNKNOWN, True))

    def test_for_programs(self) -> None:
        """The same as JSON."""
        path = self.folder / "node.toml"
        path.write_text("id = 5\n")
        code, said = self.check("config", str(path), "-o", "json")
        told = json.loads(said)
        self.assertEqual((told["verdict"], told["code"], code), ("OK", 0, 0))


class LinkTests(BusTestCase):
    """What is asked of a node."""

    async def test_link(self) -> None:
        """A connected node, one that is not, and a bus that is not there."""
        await self.start_bus()
        ended = await self.atbus("check", "link", "0x10100")
        self.assertEqual(ended.code, Verdict.OK, ended.err)
        self.assertTrue(ended.out.startswith("OK: 0x10100: unix, for "), ended.out)
        ended = await self.atbus("check", "link", "0x10101")
        self.assertEqual((ended.code, ended.out), (2, "CRITICAL: no connection to 0x10101\n"))
        ended = await self.atbus("check", "link", "0x10101", via=0x99)
        self.assertEqual(ended.code, Verdict.UNKNOWN)
        self.assertTrue(ended.out.startswith("UNKNOWN: "), ended.out)
