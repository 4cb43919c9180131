"""
NATS's keys: Ed25519, written in base32 so that people see what each is for.

A key's text is the base32, without padding, of a byte for its kind, the 32 bytes of the public key,
and a CRC-16 of both.
"""

from __future__ import annotations

import base64
import binascii
import enum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)


class Kind(enum.IntEnum):
    """Whose key it is; the value is the first byte, which makes the first letter."""

    OPERATOR = 14 << 3
    SERVER = 13 << 3
    ACCOUNT = 0
    USER = 20 << 3


_SEED: Final = 18 << 3
_SEED_HEAD_BYTES: Final = 2
_KEY_BYTES: Final = 32
_CRC_BYTES: Final = 2


def write_key(kind: Kind, public_key: bytes) -> str:
    """
    Write a public key.

    :param public_key: Its 32 bytes.
    :returns: The text: 56 letters.
    """
    body = bytes([kind]) + public_key
    body += binascii.crc_hqx(body, 0).to_bytes(_CRC_BYTES, "little")
    return base64.b32encode(body).decode().rstrip("=")


def read_key(text: str, kind: Kind) -> bytes:
    """
    Read a public key.

    :param text: As `write_key` writes it.
    :param kind: What it has to be for.
    :returns: Its 32 bytes.
    :raises ValueError: It is none of that kind.
    """
    try:
        body = _unpack(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no key: {error}") from error
    if len(body) != 1 + _KEY_BYTES or body[0] != kind:
        raise ValueError(f"{text!r} is no key of the kind {kind.name.lower()}")
    return body[1:]


def _unpack(text: str) -> bytes:
    try:
        body = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as error:
        raise ValueError("it is not base32") from error
    body, crc = body[:-_CRC_BYTES], body[-_CRC_BYTES:]
    if binascii.crc_hqx(body, 0) != int.from_bytes(crc, "little"):
        raise ValueError("its check does not fit")
    return body


class SigningKey:
    """
    The private key of a user.

    :param seed: Its text: ``"SU..."``. It is in no error.
    :raises ValueError: It is none of a user.
    """

    def __init__(self, seed: str) -> None:
        body = _unpack(seed)
        head = bytes([_SEED | Kind.USER >> 5, (Kind.USER & 31) << 3])
        if len(body) != _SEED_HEAD_BYTES + _KEY_BYTES or body[:_SEED_HEAD_BYTES] != head:
            raise ValueError("it is not the seed of a user")
        self._key = Ed25519PrivateKey.from_private_bytes(body[_SEED_HEAD_BYTES:])
        #: The text of its public key.
        self.public_text = write_key(Kind.USER, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Sign a text; in base64 for addresses, without padding."""
        return base64.urlsafe_b64encode(self._key.sign(text.encode())).decode().rstrip("=")


def is_signed(public_key: bytes, signed: bytes, signature: bytes) -> bool:
    """
    Verify a signature.

    :param public_key: 32 bytes.
    :param signed: What was signed.
    :param signature: What is said to be the signature.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def read_base64(text: str) -> bytes:
    """
    Read base64 in either alphabet, with padding or without.

    :raises ValueError: It is not.
    """
    usual = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(usual + "=" * (-len(usual) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text!r} is not base64") from error
