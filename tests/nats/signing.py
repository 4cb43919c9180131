"""Keys and tokens of NATS, for tests: what an operator's tools make."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atbus.nats.nkeys import Kind, write_key

CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{token}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""


#: What NATS's programs write where there is to be no limit; one that is missing is zero.
UNLIMITED = dict.fromkeys(("subs", "data", "payload"), -1)
UNLIMITED_ACCOUNT = {
    **UNLIMITED,
    **dict.fromkeys(("imports", "exports", "conn", "leaf"), -1),
    "wildcards": True,
}


class Key:
    """
    A private key.

    :param kind: What it is for.
    """

    def __init__(self, kind: Kind) -> None:
        self._private = Ed25519PrivateKey.generate()
        self._kind = kind
        self.text = write_key(kind, self._private.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        """The text of the private key."""
        body = bytes([0x90 | self._kind >> 5, (self._kind & 31) << 3])
        body += self._private.private_bytes_raw()
        body += binascii.crc_hqx(body, 0).to_bytes(2, "little")
        return base64.b32encode(body).decode().rstrip("=")

    def credentials(self, token: str) -> str:
        """Write the file that a user gets, with the token in it."""
        return CREDENTIALS.format(token=token, seed=self.seed)

    def sign(self, text: str) -> str:
        """Sign a text; as clients write it: base64 for addresses, without padding."""
        return _base64(self._private.sign(text.encode()))

    def token(
        self, subject: Key, kind: str, *, old: bool = False, bare: bool = False, **claims: Any
    ) -> str:
        """
        Vouch for another key.

        :param subject: It.
        :param kind: What the token is about.
        :param old: Whether to sign as the first version did.
        :param bare: Whether there are only the limits that are given, and not otherwise none.
        :param claims: ``exp``, ``nbf``, ``iat`` and ``name`` as they are, all others as NATS's.
        """
        if not bare:
            unlimited: dict[str, dict[str, Any]] = {
                "user": {**UNLIMITED},
                "account": {"limits": UNLIMITED_ACCOUNT},
            }
            claims = {**unlimited.get(kind, {}), **claims}
        facts = {"iss": self.text, "sub": subject.text, "iat": claims.pop("iat", 1)}
        facts |= {key: claims.pop(key) for key in ("exp", "nbf", "name") if key in claims}
        facts["nats"] = {"type": kind, "version": 2} | claims
        head = _part({"typ": "JWT", "alg": "ed25519" if old else "ed25519-nkey"})
        body = _part(facts)
        return f"{head}.{body}.{self.sign(body if old else f'{head}.{body}')}"


def _part(facts: dict[str, Any]) -> str:
    return _base64(json.dumps(facts).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
