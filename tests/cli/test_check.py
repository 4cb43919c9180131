"""``check config``, ``check cert`` and ``check link``."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.channels.authority import Issued
from atbus.channels.tls_files import TlsOptions
from atbus.cli.check import Verdict
from atbus.cli.main import atbus
from atbus.errors import Status
from atbus.nats.nkeys import Kind
from atbus.node.config import NodeConfig
from atbus.node.footprint import holdings
from atbus.node.node import Node
from tests.channels.certificates import Files, tls_table
from tests.cli.bus_case import BusTestCase
from tests.nats.signing import Key

NO_FILES = "certificate_file = '/no'\nkey_file = '/no'\n"

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
            (f"id = 5\n[nats]\nlisten = '127.0.0.1:0'\n{NO_FILES}", "nats: /no: No such file"),
            ("[tls]\ncertificate = '/no'\nkey = '/no'\nauthorities = '/no'\n", "tls.certificate"),
            ("id = 5\n[application]\ncallable = 'no.such:x'\n", "no.such cannot be imported"),
        ):
            code, said = self.config(text)
            self.assertEqual(code, Verdict.CRITICAL)
            self.assertIn(fault, said)
        none = self.folder / "none"
        code, said = self.check("config", str(none))
        self.assertEqual((code, said), (2, f"CRITICAL: {none}: No such file or directory"))

    def test_little_memory(self) -> None:
        """What others can make a node hold is more than it has, or is not, or nobody asked."""
        path = self.folder / "node.toml"
        path.write_text("id = 5\n")
        most_bytes = sum(each.most_bytes for each in holdings(NodeConfig(id=5)))
        for words in ((), ("--memory", f"{most_bytes}")):
            self.assertEqual(self.check("config", str(path), *words)[0], Verdict.OK)
        code, said = self.check("config", str(path), "--memory", f"{most_bytes - 1}")
        self.assertEqual(code, Verdict.WARNING)
        self.assertEqual(said, f"WARNING: {path}: others can make it hold {most_bytes} bytes")

    def test_an_application_lies_beside(self) -> None:
        """As by twistd it is found in the current directory, which is on the path only then."""
        (self.folder / "beside_check.py").write_text("def main(node, settings):\n    return None\n")
        self.addCleanup(sys.modules.pop, "beside_check", None)
        path = self.folder / "node.toml"
        path.write_text("id = 5\n[application]\ncallable = 'beside_check:main'\n")
        config = path.resolve()
        before = list(sys.path)
        self.assertEqual(self.check("config", str(config))[0], Verdict.CRITICAL)
        with contextlib.chdir(self.folder):
            self.assertEqual(self.check("config", str(config))[0], Verdict.OK)
        self.assertEqual(sys.path, before)

    def test_config_with_tls(self) -> None:
        """What other nodes would refuse is told before they do."""

        def told(issued: Issued, **how: str) -> tuple[int, str]:
            return self.config("id = 5\n" + tls_table(self.files.options(issued, **how)))

        self.assertEqual(told(self.files.issue())[0], Verdict.OK)
        code, said = told(self.files.issue(lifetime=timedelta(minutes=-1)))
        self.assertEqual((code, "it has expired" in said), (Verdict.CRITICAL, True))
        foreign = self.files.issue(authority=self.files.new_authority("other"))
        code, said = told(foreign)
        self.assertEqual((code, "its authority is not" in said), (Verdict.WARNING, True))
        revoked = self.folder / "revoked.pem"
        revoked.write_bytes(self.files.authority.revoke([], timedelta(minutes=-1)))
        code, said = told(self.files.issue(), revoked=str(revoked))
        self.assertEqual((code, "list has expired" in said), (Verdict.CRITICAL, True))

    def test_several_warnings(self) -> None:
        """A key that every user may read is told, with all else that there is to be told."""
        text = "id = 5\n" + tls_table(self.files.options(self.files.issue()))
        key = next(self.folder.glob("*.key"))
        for mode in (0o600, 0o640):
            key.chmod(mode)
            self.assertEqual(self.config(text)[0], Verdict.OK)
        key.chmod(0o644)
        code, said = self.config(text)
        self.assertEqual(code, Verdict.WARNING)
        self.assertTrue(said.endswith(f"{key.name}: every user of this host may read it"), said)
        gateway = f"certificate_file = '{key.with_suffix('.pem')}'\nkey_file = '{key}'\n"
        code, said = self.config(f"id = 5\n[nats]\nlisten = '127.0.0.1:0'\n{gateway}")
        self.assertEqual((code, f"{key.name}: every user" in said), (Verdict.WARNING, True), said)
        foreign = self.files.issue(authority=self.files.new_authority("other"))
        expired = self.files.issue(lifetime=timedelta(minutes=-1))
        for issued, verdict, fault in (
            (foreign, Verdict.WARNING, "its authority is not"),
            (expired, Verdict.CRITICAL, "it has expired"),
        ):
            options = self.files.options(issued)
            Path(options.key).chmod(0o644)
            code, said = self.config(PLAIN.replace("0x12340001", "5") + tls_table(options))
            self.assertEqual(code, verdict)
            parts = [fault, "every user of this host may read it", "without TLS at ipv4://0.0.0.0"]
            places = [said.find(part) for part in parts]
            self.assertEqual((places, -1 in places), (sorted(places), False), said)

    def test_secrets_for_everybody(self) -> None:
        """Every user may read a file that names secrets, and not one that has some."""
        file = self.folder / "secret.toml"

        def told(text: str, mode: int) -> tuple[int, str]:
            file.write_text(f"id = 5\n{text}", encoding="utf-8")
            file.chmod(mode)
            return self.check("config", str(file))

        listen = "[nats]\nlisten = '127.0.0.1:0'\n"
        etcd = "[discovery.etcd]\nendpoints = ['http://127.0.0.1:2379']\n"
        leaf = f"{listen}[[nats.leaf_remotes]]\nurls = ['127.0.0.1:7422']\n"
        for text in (
            "access_tokens = ['secret']",
            f"{listen}[[nats.users]]\nuser = 'a'\npassword = 'secret'",
            f"{leaf}user = 'a'\npassword = 'secret'",
            f"{etcd}user = 'a'\npassword = 'secret'",
        ):
            code, said = told(text, 0o644)
            self.assertEqual(code, Verdict.WARNING, said)
            self.assertIn("it has secrets, and every user of this host may read it", said)
            self.assertEqual(told(text, 0o640)[0], Verdict.OK)
        credentials = self.folder / "user.creds"
        credentials.write_text(Key(Kind.USER).credentials("a.b.c"))
        credentials.chmod(0o600)
        for text in (
            "",
            "access_tokens = []",
            f"{leaf}credentials_file = '{credentials}'",
        ):
            code, said = told(text, 0o644)
            self.assertEqual(code, Verdict.OK, said)

    def gateway(self, issued: Issued | None = None, **keys: str) -> tuple[TlsOptions, str]:
        """Write the files of a gateway, and what a configuration says of it."""
        options = self.files.options(issued)
        table = {"certificate_file": options.certificate, "key_file": options.key, **keys}
        lines = "".join(f"{key} = '{value}'\n" for key, value in table.items())
        return options, f"id = 5\n[nats]\n{lines}"

    def test_listeners_of_a_gateway(self) -> None:
        """What others reach of a gateway in the clear is told as well; what is encrypted is not."""
        plain = "allow_insecure = true\nlisten = '0.0.0.0:1'\nmonitor = '127.0.0.1:2'\n"
        code, said = self.config(f"id = 5\n[nats]\n{plain}")
        self.assertEqual((code, said[-31:]), (1, "without TLS at nats.listen 0.0.0.0:1"[-31:]))
        cluster = "[nats.cluster]\nname = 'x'\nlisten = '0.0.0.0:3'\n"
        code, said = self.config(f"id = 5\n[nats]\n{plain}{cluster}")
        self.assertEqual((code, said.endswith("nats.cluster.listen 0.0.0.0:3")), (1, True), said)
        _, text = self.gateway(listen="0.0.0.0:1", websocket="0.0.0.0:2")
        self.assertEqual(self.config(text)[0], Verdict.OK)
        # Who comes may do without, and browsers of the monitor have to.
        code, said = self.config(f"{text}tls_optional = true\nallow_insecure = true\n")
        self.assertEqual((code, said.count("nats.")), (1, 2), said)
        code, said = self.config(f"{text}monitor = '0.0.0.0:3'\nallow_insecure = true\n")
        self.assertEqual((code, said.endswith("at nats.monitor 0.0.0.0:3")), (1, True), said)

    def test_certificates_of_a_gateway(self) -> None:
        """One that has ended, or has not begun, is believed by no client."""
        hows: list[dict[str, Any]] = [
            {"lifetime": timedelta(minutes=-1)},
            {"begins_in": timedelta(hours=1)},
        ]
        for how in hows:
            options, text = self.gateway(self.files.issue(**how), listen="127.0.0.1:0")
            code, said = self.config(text)
            fault = f"{options.certificate}: it has expired, or is not valid yet"
            self.assertEqual((code, fault in said), (Verdict.CRITICAL, True), said)
        options = self.files.options()
        remote = f"certificate_file = '{options.certificate}'\nkey_file = '{options.key}'\n"
        text = f"id = 5\n[[nats.leaf_remotes]]\nurls = ['a.example:1']\ntls = true\n{remote}"
        self.assertEqual(self.config(text)[0], Verdict.OK)
        Path(options.key).chmod(0o644)
        code, said = self.config(text)
        self.assertEqual((code, f"{options.key}: every user" in said), (1, True), said)

    def test_files_for_registries(self) -> None:
        """A node does not start without them, so a configuration that names others is not good."""
        options = self.files.options()
        own = f"certificate_file = '{options.certificate}'\nkey_file = '{options.key}'\n"
        for name, servers in (
            ("etcd", "endpoints = ['https://127.0.0.1:1']"),
            ("zookeeper", "servers = ['127.0.0.1:1']"),
        ):
            table = f"id = 5\n[discovery.{name}]\n{servers}\n"
            good = f"{table}ca_file = '{options.authorities}'\n{own}"
            self.assertEqual(self.config(good)[0], Verdict.OK)
            lost = "/missing.pem"
            for text in (f"{table}ca_file = '{lost}'\n", good.replace(options.key, lost)):
                code, said = self.config(text)
                self.assertEqual((code, f": discovery.{name}." in said), (2, True), said)
                self.assertIn(lost, said)

    def test_keys_with_a_password(self) -> None:
        """Nobody is asked for a password, on the terminal or elsewhere: the file is not good."""
        key = load_pem_private_key(self.files.issue().key, None)
        encrypted = self.folder / "encrypted.key"
        encrypted.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        )
        _, text = self.gateway(listen="127.0.0.1:0", key_file=str(encrypted))
        options = self.files.options(key=str(encrypted))
        own = f"certificate_file = '{options.certificate}'\nkey_file = '{encrypted}'\n"
        own += f"ca_file = '{options.authorities}'\n"
        for each in (
            text,
            "id = 5\n" + tls_table(options),
            f"id = 5\n[discovery.etcd]\nendpoints = ['https://127.0.0.1:1']\n{own}",
            f"id = 5\n[discovery.zookeeper]\nservers = ['127.0.0.1:1']\n{own}",
        ):
            code, said = self.config(each)
            fault = f"{encrypted}: the key is encrypted"
            self.assertEqual((code, fault in said), (Verdict.CRITICAL, True), said)

    def test_a_contradiction(self) -> None:
        """A node cannot listen at one place twice, nor hang below itself alone."""
        one, other = "unix:///x", "unix:///y"
        for listens, upstreams, fault in (
            ([one, other, one], [], f"listen[2]: {one} is listen[0] as well"),
            ([one, other], [other, one], f"upstreams: {other} is where this node listens itself"),
            # Several take what the kernel gives them, and one of several proxies is we.
            (["ipv4://127.0.0.1:0"] * 2, [], ""),
            ([one], [one, other], ""),
        ):
            code, said = self.config(f"id = 5\nlisten = {listens}\nupstreams = {upstreams}\n")
            verdict = Verdict.CRITICAL if fault else Verdict.OK
            self.assertEqual((code, said.endswith(fault)), (verdict, True), said)

    def test_one_line(self) -> None:
        """Whatever a name has in it, a verdict is one line."""
        for words in (("cert", "x\nOK: y"), ("config", "x\nOK: y\x1b[1m")):
            code, said = self.check(*words)
            self.assertEqual((code, said.isprintable()), (Verdict.CRITICAL, True), said)
        code, said = self.config('"a\\nOK: b" = 1\n')
        self.assertEqual((code, said.isprintable()), (Verdict.CRITICAL, True), said)

    def test_an_answer_that_makes_no_sense(self) -> None:
        """Of a link that nobody can tell of nothing is known."""
        words = ("link", "0x5", "--via", "unix:///x")
        for links in ({"error": 1}, [1], None, [{"id": "0x5"}]):
            with mock.patch("atbus.cli.session.ask", return_value=links):
                code, said = self.check(*words)
            self.assertEqual((code, said.partition(":")[0]), (Verdict.UNKNOWN, "UNKNOWN"))

    def test_cert_that_is_behind_another(self) -> None:
        """What stands in the file behind a certificate does not vouch for it."""
        foreign = self.files.issue(authority=self.files.new_authority("other"))
        both = Issued(foreign.certificate + self.files.issue().certificate, foreign.key)
        options = self.files.options(both)
        given = ("--realm", "test", "--authorities", options.authorities)
        code, said = self.check("cert", options.certificate, *given)
        self.assertEqual((code, "has signed it" in said), (Verdict.CRITICAL, True))
        listens = self.files.issue(purposes=[ExtendedKeyUsageOID.SERVER_AUTH])
        path = self.files.options(listens).certificate
        for words in (given, ("--realm", "test")):
            code, said = self.check("cert", path, *words)
            self.assertEqual((code, "clientAuth" in said), (Verdict.CRITICAL, True))

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

    def test_files_that_no_node_could_read(self) -> None:
        """They are what monitoring has to be told of, whichever command is asked about them."""
        nonsense, good = self.folder / "nonsense", self.files.options()
        nonsense.write_bytes(b"\xff\xfe")
        for path, why in (
            (str(self.folder / "none"), "No such file"),
            (str(self.folder), "Is a directory"),
            (str(nonsense), ""),
        ):
            for command in (
                ("config", path),
                ("cert", path),
                ("cert", good.certificate, "--realm", "test", "--authorities", path),
            ):
                code, said = self.check(*command)
                self.assertEqual((code, why in said), (Verdict.CRITICAL, True), (command, said))
                self.assertTrue(said.startswith(f"CRITICAL: {path}: ") or not why, said)

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

    async def two(self, *more: str) -> tuple[Node, Node]:
        """Start a node and one below it that data can flow to, which takes its time for ever."""
        for patience in ("WRITE_DEADLINE_SECONDS", "DATA_CONNECTION_SECONDS"):
            self.patch(limits, patience, 1e6)
        root = await self.start_node(
            0x10000,
            subnets=[(0, 16)],
            listen=[self.address(0x10000), *more],
            queued_bytes_soft=100_000,
        )
        child = await self.start_node(0x10001, upstream=[self.address(0x10000), *more][-1])
        await root.deliver(child.bus_id, b"x")
        return root, child

    async def warning(self) -> str:
        """Ask for the link, which is to be looked at; gives what is said of it."""
        ended = await self.atbus("check", "link", "0x10001")
        self.assertEqual(ended.code, Verdict.WARNING, ended.out + ended.err)
        verdict, name, why = ended.out.strip().split(": ")
        self.assertEqual((verdict, name), ("WARNING", "0x10001"))
        return why

    async def test_who_does_not_read(self) -> None:
        """A neighbor for which more waits than should is something to look at."""
        root, child = await self.two()
        link = child.endpoints[root.bus_id].data_link
        assert link is not None
        assert link.connection.channel is not None
        link.connection.channel.pause_reading()
        slow: list[int] = []
        root.events.on_slow_endpoint.observe(lambda endpoint, _: slow.append(endpoint.bus_id))
        while not slow:
            await root.writable(child.bus_id)
            root.send(child.bus_id, bytes(10_000))
            await deferLater(self.reactor, 0)
        self.assertEqual(await self.warning(), "does not take what it is sent")
        link.connection.channel.resume_reading()

    async def test_no_way_for_data(self) -> None:
        """So is one that commands reach, and messages do not."""
        other = f"unix://{self.folder}/other.sock"
        root, child = await self.two(other)
        (self.folder / "other.sock").unlink()
        for connection in child.endpoints[root.bus_id].data:
            connection.abort(Status.GOODBYE, "seen enough")
        while root.endpoints[child.bus_id].data_link is not None:
            await deferLater(self.reactor, 0.01)
        self.assertEqual(await self.warning(), "no way for data")
