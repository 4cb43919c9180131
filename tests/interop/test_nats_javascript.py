"""NATS's client for JavaScript at gateways of real processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from twisted.internet.defer import Deferred

from atbus.nats.nkeys import Kind
from tests.channels.certificates import Files
from tests.chaos.case import need
from tests.interop.two_gateways import TwoGateways
from tests.nats.signing import Key
from tests.processes.harness import NodeProcess

SOURCE = Path(__file__).with_name("javascript")

#: A registry may not answer at once.
_ATTEMPTS = 3


class NatsJavaScriptTests(TwoGateways):
    """Programs with the client from npm, of the version that is locked."""

    _installed: ClassVar[Path | None] = None

    def setUp(self) -> None:
        super().setUp()
        npm = shutil.which("npm")
        need(npm is not None and shutil.which("node"), "Node with npm (Debian: nodejs, npm)")
        folder = self._installed
        if folder is None:
            folder = type(self)._installed = Path(tempfile.mkdtemp(prefix="atbus-npm-"))
            self._install(str(npm), folder)
        self.environment["NODE_PATH"] = str(folder / "node_modules")

    @classmethod
    def tearDownClass(cls) -> None:
        """Forget the packages."""
        if cls._installed is not None:
            shutil.rmtree(cls._installed)
            cls._installed = None

    @staticmethod
    def _install(npm: str, folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCE / name, folder)
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        for _ in range(_ATTEMPTS):
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
        need(False, f"the packages of npm: {done.stderr}")

    def run_client(self, scenario: str, *urls: str) -> NodeProcess:
        """Start the program."""
        node = str(shutil.which("node"))
        return self.run_program("client", node, str(SOURCE / "client.js"), scenario, *urls)

    def test_everything(self) -> Deferred[None]:
        """Publications, headers, groups, requests and drain, from gateway to gateway."""
        return Deferred.fromCoroutine(self.everything())

    async def everything(self) -> None:
        _, urls = await self.begin()
        client = self.run_client("basics", *urls)
        for line in ("nobody answers", "passed"):
            await client.says(line)
        self.assertEqual(await client.ends(), 0)

    def test_logins(self) -> Deferred[None]:
        """Over TLS a password, a key and a token open the gateway, and open only what they may."""
        return Deferred.fromCoroutine(self.logins())

    async def logins(self) -> None:
        files = Files(self.folder)
        ours = files.options()
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        key, voucher = Key(Kind.USER), operator.token(operator, "operator")
        _, urls = await self.begin(
            f'certificate_file = "{ours.certificate}"',
            f'key_file = "{ours.key}"',
            # The machine may be busy with something else.
            "tls_seconds = 60",
            "authentication_seconds = 60",
            "users = [ { user = 'shop', password = 'secret', permissions = { publish = "
            "['orders.>'] } } ]",
            f"nkeys = [ {{ nkey = '{key.text}' }} ]",
            f"operator = '{voucher}'",
            f"accounts = ['{operator.token(account, 'account')}']",
            child=("tls_first = true",),
        )
        shown = self.write("user.creds", user.credentials(account.token(user, "user")))
        authority = str(self.folder / "authority.pem")
        client = self.run_client("logins", *urls, authority, key.seed, str(shown))
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)

    def test_the_page(self) -> Deferred[None]:
        """The program in the how-to answers whoever asks at another gateway."""
        return Deferred.fromCoroutine(self.the_page())

    async def the_page(self) -> None:
        _, urls = await self.begin()
        # A module looks for packages beside itself.
        packages = self.environment["NODE_PATH"]
        (self.folder / "node_modules").symlink_to(packages)
        program = self.from_page("adder.mjs", urls[1])
        node = str(shutil.which("node"))
        await self.adds(urls[0], lambda: self.run_program("adder", node, program))

    def test_a_gateway_dies(self) -> Deferred[None]:
        """A client goes on at the other gateway, which it has never been told of by its user."""
        return Deferred.fromCoroutine(self.a_gateway_dies())

    async def a_gateway_dies(self) -> None:
        (_, child), urls = await self.begin()
        client = self.run_client("reconnect", urls[1])
        await client.says("knows both")
        child.kill(signal.SIGKILL)
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)
