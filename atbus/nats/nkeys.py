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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Kind(enum.IntEnum):
    """Whose key it is; the value is the first byte, which makes the first letter."""

    OPERATOR = 14 << 3
    SERVER = 13 << 3
    ACCOUNT = 0
    USER = 20 << 3


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
        body = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{text!r} is no key") from error
    if len(body) != 1 + _KEY_BYTES + _CRC_BYTES or body[0] != kind:
        raise ValueError(f"{text!r} is no key of the kind {kind.name.lower()}")
    crc = int.from_bytes(body[-_CRC_BYTES:], "little")
    if binascii.crc_hqx(body[:-_CRC_BYTES], 0) != crc:
        raise ValueError(f"{text!r} is no key: its check does not fit")
    return body[1:-_CRC_BYTES]


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
