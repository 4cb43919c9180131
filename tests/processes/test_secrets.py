"""Whole processes that have secrets, on which as much as possible goes wrong: none writes one."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import sys
from pathlib import Path

from twisted.internet.threads import deferToThread

from atbus.busid import Subnet
from atbus.channels.tls_files import TlsOptions
from atbus.handshake.certificate import CertificateIdentity
from atbus.nats.nkeys import Kind
from tests.channels.certificates import Files, tls_table
from tests.nats.signing import Key
from tests.processes.harness import PATIENCE_SECONDS, UP, NodeProcess, ProcessCase

ROOT, GOOD, BAD = 0x12340000, 0x12340101, 0x12340102

#: What nobody may read anywhere; "kanarie" is in nothing else.
TOKEN, NEW_TOKEN, WRONG_TOKEN, PASSWORD, WRONG_PASSWORD, LOGIN_TOKEN = (
    f"kanarie-{what}-0123456789abcdef"
    for what in ("token", "new-token", "wrong-token", "password", "wrong-password", "login-token")
)
APPLICATION = '[application]\ncallable = "tests.processes.confessor:confess"\n'


class SecretTests(ProcessCase):
    """Nodes over TLS with tokens, gateways with passwords and with an operator."""

    def setUp(self) -> None:
        super().setUp()
        self.files = Files(self.folder)
        self.environment = {"PYTHONASYNCIODEBUG": "1", "PYTHONFAULTHANDLER": "1"}
        operator, account = Key(Kind.OPERATOR), Key(Kind.ACCOUNT)
        self.user, other = Key(Kind.USER), Key(Kind.ACCOUNT)
        self.jwt = account.token(self.user, "user")
        self.bad_jwt = other.token(self.user, "user")
        chain = operator.token(operator, "operator")
        accounts = [operator.token(account, "account")]
        self.operator = f"operator = {json.dumps(chain)}\naccounts = {json.dumps(accounts)}\n"

    def file_of(self, bus_id: int, bits: int, token: str, *lines: str) -> str:
        """Write the configuration of a node; the last lines begin tables."""
        identity = CertificateIdentity("test", Subnet(bus_id, bits))
        options = self.files.options(self.files.issue(identity))
        self.keys = [*getattr(self, "keys", ()), options]
        tables = [each for each in lines if each.startswith("[")]
        own = [each for each in lines if each not in tables]
        head = [f'id = "{bus_id:#x}"', f'access_tokens = ["{token}"]', *own]
        return "\n".join([*head, *tables, APPLICATION, tls_table(options)])

    async def test_nothing_secret_is_written(self) -> None:
        """
        Whatever fails - tokens, logins, configurations, before and after they change - and all
        that the processes show of themselves at their end has no secret in it.
        """
        listen = 'subnets = ["0/16"]\nlisten = ["tls+ipv4://127.0.0.1:0"]'
        anna = f'{{user = "anna", password = "{PASSWORD}"}}'
        logins = f'[nats]\nlisten = "127.0.0.1:0"\nusers = [{anna}]'
        text = self.file_of(ROOT, 16, TOKEN, listen, logins)
        root = self.start("root", text)
        await root.says(UP)
        port = int((await root.says(r"tls\+ipv4://127\.0\.0\.1:(\d+)"))[1])
        upstream = f'upstream = "tls+ipv4://127.0.0.1:{port}"'
        tokens = f'[nats]\nlisten = "127.0.0.1:0"\n{self.operator}'
        good = self.start("good", self.file_of(GOOD, 0, TOKEN, upstream, tokens))
        bad = self.start("bad", self.file_of(BAD, 0, WRONG_TOKEN, upstream))
        await good.says(UP)
        await root.says("ACCESS_DENIED")
        await self.log_in(root, good)
        for changed, answer in (
            (text.replace(TOKEN, NEW_TOKEN), "runs with another access_tokens"),
            (text.replace(TOKEN, NEW_TOKEN * 99), "keeps its configuration"),
            (text.replace(f'["{TOKEN}"]', f'["{TOKEN}'), "keeps its configuration"),
            (text.replace("password =", "pasword ="), "keeps its configuration"),
        ):
            self.write("root.toml", changed)
            root.kill(signal.SIGHUP)
            await root.says(answer)
        said = [await self.tools(text)]
        for each in (good, bad, root):
            await each.stops()
            said.append(each.output)
            self.assertIn("confessed ", each.output)
        self.assertRegex(root.output, r"confessed \d{3,} objects")
        secrets = self.secrets()
        self.assertGreater(len(secrets), 15)
        # It would be found.
        self.assertEqual(found_in(f"x {TOKEN} y", secrets), [TOKEN])
        for output in said:
            lines = [line[-400:] for line in output.splitlines() if found_in(line, secrets)]
            self.assertEqual((found_in(output, secrets), lines[:3]), ([], []))

    async def log_in(self, root: NodeProcess, good: NodeProcess) -> None:
        """Log in to both gateways as it should be, and in as many wrong ways as there are."""
        place = r"nats listen: 127\.0\.0\.1:(\d+)"
        ports = [int(re.findall(place, each.output)[0]) for each in (root, good)]
        anna = {"user": "anna", "verbose": True}
        for port, options, is_good in (
            (ports[0], {**anna, "pass": PASSWORD}, True),
            (ports[0], {**anna, "pass": WRONG_PASSWORD}, False),
            (ports[0], {"auth_token": LOGIN_TOKEN, "verbose": True}, False),
            (ports[0], {**anna, "pass": PASSWORD, "jwt": self.jwt}, None),
            (ports[1], {"jwt": self.jwt, "sig": "", "verbose": True}, True),
            (ports[1], {"jwt": self.bad_jwt, "sig": "", "verbose": True}, False),
            (ports[1], {"jwt": self.jwt, "sig": "bm8", "verbose": True}, False),
        ):
            heard = await deferToThread(log_in, port, options, self.user)
            if is_good is not None:
                self.assertEqual(heard.startswith("+OK"), is_good, (options, heard))
            self.assertEqual(found_in(heard, self.secrets()), [])

    async def tools(self, text: str) -> str:
        """Give all that the command says of such configurations, good and bad."""
        said = ""
        self.write("good-one.toml", text)
        self.write("bad-one.toml", text.replace(f'["{TOKEN}"]', f'["{TOKEN}'))
        for words in (("config", "show", "good-one.toml"), ("check", "config", "bad-one.toml")):
            tool = self.run_program(words[1], sys.executable, "-m", "atbus", *words)
            await tool.ends()
            said += tool.output
        self.assertIn("access_tokens", said)
        return said

    def secrets(self) -> dict[str, tuple[str, ...]]:
        """Give each secret, with the forms in which it might be written."""
        keys: list[TlsOptions] = self.keys
        bodies = [line for each in keys for line in Path(each.key).read_text().splitlines()[1:-1]]
        plain = (TOKEN, NEW_TOKEN, WRONG_TOKEN, PASSWORD, WRONG_PASSWORD, LOGIN_TOKEN)
        signed = [part for each in (self.jwt, self.bad_jwt) for part in each.split(".")[1:]]
        return {
            each: (each, each.encode().hex(), base64.b64encode(each.encode()).decode()[:24])
            for each in (*plain, *signed, *bodies, self.user.seed)
        }


def found_in(output: str, secrets: dict[str, tuple[str, ...]]) -> list[str]:
    """List the secrets that were written, in whatever form."""
    return [each for each, forms in secrets.items() if any(form in output for form in forms)]


def log_in(port: int, options: dict[str, object], user: Key) -> str:
    """Log in to a gateway; give what it says to that."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(PATIENCE_SECONDS)
        greeting = b""
        while b"\r\n" not in greeting:
            greeting += client.recv(65_536)
        if options.get("sig") == "":
            nonce = json.loads(greeting[5:])["nonce"]
            options = {**options, "sig": user.sign(nonce)}
        client.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
        return client.recv(65_536).decode()
