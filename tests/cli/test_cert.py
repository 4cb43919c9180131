"""``cert new-ca``, ``cert new-node``, ``cert show`` and ``cert check``."""

from __future__ import annotations

import base64
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

from click import BadParameter
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels.authority import Authority
from atbus.channels.credentials import Credentials
from atbus.channels.tls_files import TlsOptions
from atbus.cli.main import atbus
from atbus.cli.outcome import CommandFailed, ExitCode
from tests.channels.certificates import DAY, signed_again

HEADS = ["subject", "issuer", "serial", "uris", "hosts", "from", "until"]
AUTHORITY = ["authority.key", "authority.pem"]


class CertTests(SynchronousTestCase):
    """The certificates of a small bus, made and looked at."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.cert("new-ca", str(self.folder), "--realm", "eu")

    def cert(self, *words: str) -> Result:
        return CliRunner().invoke(atbus, ["cert", *words], standalone_mode=False)

    def node(self, *words: str) -> Path:
        result = self.cert("new-node", str(self.folder), *words, "--realm", "eu", "-o", "json")
        self.assertIs(result.exception, None)
        return Path(json.loads(result.stdout)["certificate"])

    def failure(self, *words: str) -> CommandFailed:
        result = self.cert(*words)
        assert isinstance(result.exception, CommandFailed), result.output
        return result.exception

    def test_a_working_set(self) -> None:
        """What the two commands make is all that a node needs for TLS."""
        path = self.node("0x12340000", "--bits", "16", "--host", "proxy.example")
        self.assertEqual(str(self.credentials(path).identity), "atbus://eu/0x12340000/16")

    def test_keys_are_for_their_owner(self) -> None:
        """Private keys can be read by nobody else, and nothing is overwritten."""
        key = self.node("5").with_suffix(".key")
        for path in (key, self.folder / "authority.key"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        before = key.read_bytes()
        failure = self.failure("new-node", str(self.folder), "5")
        self.assertIn("exists", failure.message)
        self.assertEqual(key.read_bytes(), before)

    def test_times_without_end(self) -> None:
        """A certificate ends within a century, at a time that is one."""
        for days in ("nan", "inf", "1e9", "-1e9"):
            for words in (["new-ca", self.mktemp()], ["new-node", str(self.folder), "7"]):
                result = self.cert(*words, "--days", days)
                self.assertIsInstance(result.exception, BadParameter)

    def test_show(self) -> None:
        """It prints whose the certificate is, for which hosts, and until when."""
        path = self.node("0x5", "--host", "a.example", "--host", "10.0.0.1", "--days", "3")
        shown = json.loads(self.cert("show", str(path), "-o", "json").stdout)
        self.assertEqual(shown["uris"], ["atbus://eu/0x5/0"])
        self.assertEqual(shown["hosts"], ["a.example", "10.0.0.1"])
        text = self.cert("show", str(path)).stdout
        self.assertIn("atbus://eu/0x5/0", text)
        self.assertIn("10.0.0.1", text)

    def test_check(self) -> None:
        """A certificate that is good for long enough ends with 0, any other with 1 and why."""
        authorities = ["--authorities", str(self.folder / "authority.pem")]
        good = self.cert("check", str(self.node("0x5")), "--realm", "eu", *authorities)
        self.assertIs(good.exception, None)
        self.assertIn("good for 365.0 days", good.stderr)
        other = Path(self.mktemp())
        self.cert("new-ca", str(other))
        short = str(self.node("0x6", "--days", "3"))
        for words, fault in (
            ((short, "--realm", "eu"), "expires in 3.0 days"),
            (
                (short, "--realm", "eu", "--days", "1", "--authorities", f"{other}/authority.pem"),
                "has signed it",
            ),
            ((short, "--days", "1"), "of the realm eu, not atbus"),
            ((str(self.node("0x7", "--days", "-1")), "--realm", "eu"), "it has expired"),
            ((str(self.folder / "authority.pem"), "--realm", "eu"), "no name atbus://"),
        ):
            failure = self.failure("check", *words)
            self.assertEqual(failure.code, ExitCode.FAILED)
            self.assertIn(fault, " ".join(failure.faults))

    def credentials(self, path: Path) -> Credentials:
        """Read them as a node does."""
        authorities, key = self.folder / "authority.pem", path.with_suffix(".key")
        return Credentials(
            TlsOptions(
                certificate=str(path), key=str(key), authorities=str(authorities), realm="eu"
            )
        )

    def test_renew(self) -> None:
        """A certificate is made anew with the same names and key, and a node takes it as it is."""
        hosts = ("--host", "proxy.example", "--host", "192.0.2.1")
        path = self.node("0x12340000", "--bits", "16", *hosts, "--days", "1")
        key = path.with_suffix(".key")
        failure = self.failure("new-node", str(self.folder), "0x12340000", "--bits", "16")
        self.assertIn(f"exists; atbus cert renew {path}", failure.message)
        self.assertEqual(self.failure("check", str(path), "--realm", "eu").code, ExitCode.FAILED)
        credentials = self.credentials(path)
        before = key.stat()
        seen: list[bool] = []
        replace = Path.replace

        def look(beside: Path, target: Path) -> Path:
            # Before each file is replaced, and when one is and the other is not.
            seen.append(credentials.refresh())
            replace(beside, target)
            seen.append(credentials.refresh())
            # Who runs has a pair that fits, and so has who starts just now.
            for each in (credentials, self.credentials(path)):
                self.assertEqual(each.faults, [])
                self.assertEqual(str(each.identity), "atbus://eu/0x12340000/16")
            return target

        with mock.patch.object(Path, "replace", look):
            self.assertIs(self.cert("renew", str(path), "--days", "30").exception, None)
        self.assertEqual((seen, credentials.faults, key.stat()), ([False, True], [], before))
        self.assertEqual(self.cert("check", str(path), "--realm", "eu").exception, None)
        shown = json.loads(self.cert("show", str(path), "-o", "json").stdout)
        self.assertEqual(shown["hosts"], ["proxy.example", "192.0.2.1"])
        # With another key both keys are there until the certificate is the new one.
        seen.clear()
        with mock.patch.object(Path, "replace", look):
            self.assertIs(self.cert("renew", str(path), "--new-key").exception, None)
        self.assertEqual((seen, credentials.faults), ([False, True] * 3, []))
        self.assertEqual(key.read_text().count("BEGIN"), 1)
        self.assertNotEqual(key.stat().st_ino, before.st_ino)
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
        self.assertEqual([each.name for each in self.folder.glob(".*")], [])

    def test_what_cannot_be_renewed(self) -> None:
        """A certificate of somebody else, or without its key, stays what it is."""
        path = self.node("0x5")
        before, key = path.read_bytes(), path.with_suffix(".key")
        other = Path(self.mktemp())
        self.cert("new-ca", str(other), "--realm", "eu")
        self.cert("new-node", str(other), "0x5", "--realm", "eu")
        for name in ("authority.pem", "authority.key"):
            (self.folder / name).rename(self.folder / f"our.{name}")
            (self.folder / name).write_bytes((other / name).read_bytes())
        self.assertIn("has not signed it", self.failure("renew", str(path)).message)
        for name in ("authority.pem", "authority.key"):
            (self.folder / f"our.{name}").rename(self.folder / name)
        error = self.failure("renew", str(self.folder / "authority.pem"))
        self.assertIn("does not name the ids", error.message)
        key.unlink()
        self.assertIn("No such file", self.failure("renew", str(path)).message)
        self.assertEqual(path.read_bytes(), before)

    def test_a_certificate_that_cannot_be_read(self) -> None:
        """One that is damaged inside is told of in a sentence, whoever looks at it."""
        path = self.node("0x5")
        der = x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
        # A version that there is none of.
        damaged = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x22", 1)
        body = base64.encodebytes(damaged).decode()
        path.write_text(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
        for command in ("show", "check"):
            message = self.failure(command, str(path)).message
            self.assertIn("not a valid X509 version", message)
            self.assertIn(str(path), message)

    def test_faults(self) -> None:
        """Ids, realms and files that are none are told before anything is written."""
        for words, fault in (
            (("new-node", str(self.folder), "zwei"), "zwei"),
            (("new-node", str(self.folder), "0x5", "--bits", "64"), "64 mask bits"),
            (("new-node", str(self.folder), "0x5", "--realm", "E U"), "E U"),
            (("new-node", str(self.folder), "0x205", "--bits", "8"), "0x205; the one"),
            (("new-node", str(self.folder), "0x205", "--bits", "8"), "it does at 0x200"),
            *(
                (("new-node", str(self.folder), "0x5", "--host", host), repr(host))
                for host in ("bad host", "", "10.0.0.300", "a..b", "b\u00e4d", "a/b", "*.*.c")
            ),
            (("new-node", self.mktemp(), "0x5"), "No such file"),
            (("show", self.mktemp()), "No such file"),
            (("show", str(self.folder / "authority.key")), "authority.key"),
            (("new-ca", str(self.folder)), "exists"),
        ):
            self.assertIn(fault, self.failure(*words).message)
        self.assertEqual(sorted(each.name for each in self.folder.iterdir()), AUTHORITY)

    def test_an_authority_that_nobody_would_believe(self) -> None:
        """With a key that does not fit, or of an authority that is none or has ended, no node."""
        other = Path(self.mktemp())
        self.cert("new-ca", str(other), "--realm", "eu")
        node = self.node("0x5")
        ended = Path(self.mktemp())
        self.cert("new-ca", str(ended), "--realm", "eu", "--days", "-1")
        for pem, key, fault in (
            (other / "authority.pem", self.folder / "authority.key", "not that of the certificate"),
            (node, node.with_suffix(".key"), "is not that of an authority"),
            (ended / "authority.pem", ended / "authority.key", "has expired"),
        ):
            folder = Path(self.mktemp())
            folder.mkdir()
            (folder / "authority.pem").write_bytes(pem.read_bytes())
            (folder / "authority.key").write_bytes(key.read_bytes())
            failure = self.failure("new-node", str(folder), "0x6", "--realm", "eu")
            self.assertIn(fault, failure.message)
            self.assertIn("authority.pem", failure.message)
            self.assertEqual(sorted(each.name for each in folder.iterdir()), AUTHORITY)

    def test_an_authority_is_not_half_made(self) -> None:
        """Who has put the key elsewhere does not get one that does not fit in its place."""
        (self.folder / "authority.key").unlink()
        self.assertIn("exists", self.failure("new-ca", str(self.folder)).message)
        self.assertEqual([each.name for each in self.folder.iterdir()], ["authority.pem"])
        file = self.folder / "authority.pem"
        self.assertIn("File exists", self.failure("new-ca", str(file)).message)

    def test_encrypted_keys(self) -> None:
        """A key with a password, of the authority or of a node, is told of; nobody asks for it."""
        path = self.node("0x5")
        before = path.read_bytes()
        for name, words in (
            ("0x5.key", ("renew", str(path))),
            ("authority.key", ("new-node", str(self.folder), "0x6", "--realm", "eu")),
        ):
            key = load_pem_private_key((self.folder / name).read_bytes(), None)
            encrypted = key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
            )
            (self.folder / name).write_bytes(encrypted)
            self.assertIn("the key is encrypted", self.failure(*words).message)
        self.assertEqual(path.read_bytes(), before)
        self.assertFalse((self.folder / "0x6.pem").exists())

    def test_what_strangers_have_written(self) -> None:
        """Names in a certificate cannot pretend to be lines of ours, nor move a cursor."""
        key = ec.generate_private_key(ec.SECP256R1())
        said = "x\x1b[2J\nuris  atbus://eu/0x0/8"
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, said)])
        now = datetime.now(tz=UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), 5, now, now + DAY)
        names = x509.SubjectAlternativeName([x509.DNSName("a\nhosts  b\x1b")])
        certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
        path = self.folder / "stranger.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        lines = self.cert("show", str(path)).stdout.splitlines()
        heads = [line.split()[0] for line in lines]
        self.assertEqual(heads, HEADS)
        self.assertTrue(all(line.isprintable() for line in lines))

    def test_one_behind_has_expired(self) -> None:
        """What stands behind a certificate in its file is looked at even if nobody is believed."""
        path, ended = self.node("0x5"), self.node("0x6", "--days", "-1")
        path.write_bytes(path.read_bytes() + ended.read_bytes())
        failure = self.failure("check", str(path), "--realm", "eu")
        self.assertEqual(failure.faults, ("one behind it in the file has expired",))

    def test_a_key_that_nobody_takes(self) -> None:
        """A key that TLS 1.3 has no use for is told, whether or not anybody is believed."""
        path, pem = self.node("0x5"), self.folder / "authority.pem"
        authority = Authority(pem.read_bytes(), pem.with_suffix(".key").read_bytes())
        key = ec.generate_private_key(ec.SECP256K1())
        path.write_bytes(signed_again(authority, path.read_bytes(), key))
        for words in ((), ("--authorities", str(pem))):
            failure = self.failure("check", str(path), "--realm", "eu", *words)
            self.assertEqual(failure.faults, ("its key is of a kind that TLS 1.3 does not know",))

    def test_hosts(self) -> None:
        """Names, a whole domain, and addresses of both families are what others may dial."""
        hosts = ("proxy_1.example", "localhost", "*.example", "192.0.2.1", "2001:db8::1")
        words = (word for host in hosts for word in ("--host", host))
        shown = self.cert("show", str(self.node("0x5", *words)), "-o", "json").stdout
        self.assertEqual(json.loads(shown)["hosts"], list(hosts))
