"""NATS's client for JavaScript at gateways of real processes."""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from twisted.internet.defer import Deferred

from atbus.nats.nkeys import Kind
from tests.chaos.case import need
from tests.documents import captioned_blocks, commands
from tests.interop.two_gateways import PAGE, SHORT_GRACE, TwoGateways
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
            # Trial knows no end of a class.
            atexit.register(shutil.rmtree, folder)
            self._install(str(npm), folder)
        self.environment["NODE_PATH"] = str(folder / "node_modules")

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
        _, (root, child, _, by_websocket) = await self.begin(doors=("nats", "ws"))
        for there in (child, by_websocket):
            client = self.run_client("basics", root, there)
            for line in ("nobody answers", "passed"):
                await client.says(line)
            self.assertEqual(await client.ends(), 0)

    def test_over_websocket_with_tls(self) -> Deferred[None]:
        """Clients for browsers do all of that, and go on at another gateway."""
        return Deferred.fromCoroutine(self.over_websocket_with_tls())

    async def over_websocket_with_tls(self) -> None:
        lines, authority = self.certified()
        (_, child), urls = await self.begin(*lines, doors=("wss",))
        self.environment["NODE_EXTRA_CA_CERTS"] = authority
        client = self.run_client("basics", *urls)
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)
        await self.goes_on(self.run_client("reconnect", urls[1]), child, signal.SIGKILL)

    def test_logins(self) -> Deferred[None]:
        """Over TLS a password, a key and a token open the gateway, and open only what they may."""
        return Deferred.fromCoroutine(self.logins())

    async def logins(self) -> None:
        lines, authority = self.certified()
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        key, voucher = Key(Kind.USER), operator.token(operator, "operator")
        _, urls = await self.begin(
            *lines,
            "users = [ { user = 'shop', password = 'secret', permissions = { publish = "
            "['orders.>'] } } ]",
            f"nkeys = [ {{ nkey = '{key.text}' }} ]",
            f"operator = '{voucher}'",
            f"accounts = ['{operator.token(account, 'account')}']",
            child=("tls_first = true",),
        )
        shown = self.write("user.creds", user.credentials(account.token(user, "user")))
        client = self.run_client("logins", *urls, authority, key.seed, str(shown))
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)

    def test_the_page(self) -> Deferred[None]:
        """The one program in the how-to answers at one gateway, the other one asks at another."""
        return Deferred.fromCoroutine(self.the_page())

    async def the_page(self) -> None:
        _, (root, child, by_websocket, _) = await self.begin(doors=("nats", "ws"))
        # Only what the page has installed shall be found.
        del self.environment["NODE_PATH"]
        self.environment["npm_config_ignore_scripts"] = "true"
        self.from_page("adder.mjs", child)
        await self.installs("npm install nats@2")
        await self.adds(root, lambda: self.types("node adder.mjs"))
        self.from_page("asker.mjs", by_websocket)
        self.write("websocket.cjs", captioned_blocks(PAGE)["websocket.cjs"])
        await self.installs("npm install nats.ws@1 ws@8")
        asker = self.types("node --require ./websocket.cjs asker.mjs")
        await asker.says("^7\n")
        self.assertEqual(await asker.ends(), 0)

    def types(self, command: str) -> NodeProcess:
        """Give a command of the page to a shell."""
        self.assertIn(command, commands(PAGE))
        return self.run_program(command, "/bin/sh", "-c", f"exec {command}")

    async def installs(self, command: str) -> None:
        """Give one that asks the registry."""
        for _ in range(_ATTEMPTS):
            npm = self.types(command)
            if await npm.ends() == 0:
                return
        need(False, f"the packages of npm: {npm.output}")

    def test_a_gateway_dies(self) -> Deferred[None]:
        """A client goes on at the other gateway, which it has never been told of by its user."""
        return Deferred.fromCoroutine(self.a_gateway_dies())

    async def a_gateway_dies(self) -> None:
        (_, child), urls = await self.begin()
        await self.goes_on(self.run_client("reconnect", urls[1]), child, signal.SIGKILL)

    def test_a_gateway_is_taken_away(self) -> Deferred[None]:
        """Told to drain, a gateway sends its clients to the other one."""
        return Deferred.fromCoroutine(self.a_gateway_is_taken_away())

    async def a_gateway_is_taken_away(self) -> None:
        (_, child), urls = await self.begin(*SHORT_GRACE)
        await self.goes_on(self.run_client("reconnect", urls[1]), child, signal.SIGUSR2)
        self.assertTrue(child.running)
