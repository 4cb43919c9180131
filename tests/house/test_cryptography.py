"""Where cryptography of others is used; there is none of our own."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels.tls_layer import TlsLayer
from tests.house.repository import ROOT, parse, python_files

#: What hides, proves or verifies something; hashes that only tell things apart are others.
MEANS: Final = frozenset({"OpenSSL", "cryptography", "hmac", "service_identity", "ssl"})
#: Who does, and what. Whoever adds a place says here what it is for.
PLACES: Final = {
    # TLS of the bus: Twisted's layer, OpenSSL below it, and whom a certificate names.
    "channels/tls.py": {"OpenSSL", "service_identity"},
    "channels/tls_layer.py": {"OpenSSL"},
    "channels/credentials.py": {"OpenSSL", "cryptography"},
    "channels/tls_files.py": {"OpenSSL", "cryptography"},
    "channels/outlook.py": {"OpenSSL", "cryptography"},
    # An authority for tests and small deployments, and what it has made.
    "channels/authority.py": {"cryptography"},
    "cli/cert.py": {"cryptography"},
    # A proof of a token: HMAC over what both sides have said.
    "handshake/access_token.py": {"hmac"},
    # Passwords and keys of clients of NATS are compared, and signatures verified.
    "nats/authentication.py": {"hmac"},
    "nats/nkeys.py": {"cryptography"},
    # What certificates of a gateway say.
    "nats/own_certificate.py": {"cryptography"},
    "nats/tls.py": {"cryptography"},
    "nats/routes.py": {"hmac"},
    # Connections to registries, by their libraries.
    "discovery/etcd/connections.py": {"OpenSSL"},
    "discovery/etcd/gateway.py": {"OpenSSL"},
    "discovery/zookeeper/options.py": {"ssl"},
    # What went wrong, and which version is there, for people.
    "cli/session.py": {"ssl"},
    "cli/twistd.py": {"OpenSSL"},
}


def imports_of(path: Path) -> set[str]:
    """Find the top-level modules that a source imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            found.add(node.module.partition(".")[0])
    return found


class CryptographyTests(SynchronousTestCase):
    def test_each_place_is_known(self) -> None:
        """Nothing but what is listed hides, proves or verifies anything, and by these means."""
        found: dict[str, set[str]] = defaultdict(set)
        for path in python_files("atbus"):
            place = path.relative_to(ROOT / "atbus").as_posix()
            used = imports_of(path) & MEANS
            if used and not place.startswith("testing/"):
                found[place] |= used
        self.assertEqual(dict(found), PLACES)

    def test_twisted_speaks_tls(self) -> None:
        """The layer that speaks TLS is Twisted's."""
        self.assertTrue(issubclass(TlsLayer, TLSMemoryBIOProtocol))
