"""Files with which a node proves to a server of NATS who it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.nats.credentials import Credentials, read_credentials
from atbus.nats.leaf_settings import Remote
from atbus.nats.leafs import equip
from atbus.nats.nkeys import Kind, is_signed, read_base64, read_key
from tests.nats.harbor import HarborTests
from tests.nats.signing import Key


class CredentialsTests(SynchronousTestCase):
    """What is read, and what is shown."""

    def read(self, text: str, name: str = "nkey_file") -> Credentials:
        """Read a file with a text in it."""
        path = Path(self.mktemp())
        path.write_text(text)
        options: dict[str, Any] = {name: str(path)}
        return read_credentials(Remote(places=("127.0.0.1:1",), **options))

    def test_a_key(self) -> None:
        """With a key the server's word is signed, and whose key it is is said."""
        key = Key(Kind.USER)
        shown = self.read(f"{key.seed}\n").prove("drawn")
        self.assertEqual((shown.keys(), shown["nkey"]), ({"nkey", "sig"}, key.text))
        public = read_key(key.text, Kind.USER)
        self.assertTrue(is_signed(public, b"drawn", read_base64(shown["sig"])))

    def test_a_token(self) -> None:
        """With a token its key signs, and the token says whose that is."""
        key = Key(Kind.USER)
        shown = self.read(key.credentials("a.b.c"), "credentials_file").prove("drawn")
        self.assertEqual(shown, {"jwt": "a.b.c", "sig": key.sign("drawn")})

    def test_nothing(self) -> None:
        """Who has no such file shows nothing."""
        self.assertEqual(read_credentials(Remote(places=("127.0.0.1:1",))).prove("drawn"), {})

    def test_files_that_cannot_be_used(self) -> None:
        """Each is a fault of the configuration, which names the file and nothing in it."""
        seed = Key(Kind.USER).seed
        for text, name in (
            ("", "nkey_file"),
            ("what", "nkey_file"),
            (seed[:10] + ("A" if seed[10] == "B" else "B") + seed[11:], "nkey_file"),
            (seed[:-4], "nkey_file"),
            (Key(Kind.ACCOUNT).seed, "nkey_file"),
            (seed, "credentials_file"),
            (Key(Kind.ACCOUNT).credentials("a.b.c"), "credentials_file"),
        ):
            with self.assertRaises(ConfigurationError) as caught:
                self.read(text, name)
            self.assertIn("nats.leaf_remotes: ", str(caught.exception))
            self.assertFalse(text and text in str(caught.exception))
        remote = Remote(places=("127.0.0.1:1",), nkey_file=self.mktemp())
        self.assertIn(
            "No such file", str(self.assertRaises(ConfigurationError, read_credentials, remote))
        )


class RenewalTests(HarborTests):
    """Files that change while the gateway runs."""

    def test_the_newest_is_shown(self) -> None:
        """Each connection shows what the file has then; while it is written, what it had before."""
        path = Path(self.mktemp())
        first, second = Key(Kind.USER), Key(Kind.USER)
        path.write_text(first.credentials("a.b.first"))
        remotes = [{"urls": ["127.0.0.1:7422"], "credentials_file": str(path)}]
        leafs = self.gateway(self.node(nats={"leaf_remotes": remotes})).leafs
        [remote] = leafs._settings.remotes
        outfit = equip(remote)
        hello = b'INFO {"client_id":1,"leafnode_urls":[],"nonce":"drawn"}\r\n'
        for text, shown in (
            (first.credentials("a.b.first"), b"a.b.first"),
            ("-----BEGIN", b"a.b.first"),
            (second.credentials("a.b.second"), b"a.b.second"),
        ):
            path.write_text(text)
            session = leafs.dialing(outfit)
            session.open(0.0)
            self.assertIn(shown, repr(list(session.receive(hello, 0.0))).encode())
