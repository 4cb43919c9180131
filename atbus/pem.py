"""
Files in PEM that somebody may be writing just now.

Such a file is a row of blocks, and what reads them passes over a block that has no end: half a file
of authorities is a shorter one. So it is looked at first whether each block is whole. Whether one
is missing altogether nobody can tell, so whoever replaces a file does it as a whole.
"""

from __future__ import annotations

import re
from typing import Final

_BEGIN: Final = b"-----BEGIN "
_DASHES: Final = b"-----"
_KEY: Final = re.compile(
    rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL
)
# In PKCS 8, and in the older form.
_ENCRYPTED: Final = re.compile(rb"^(?:-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED)", re.MULTILINE)


def whole(text: bytes) -> bytes:
    """
    Make sure that a text does not end within a block.

    :param text: What a file has.
    :returns: The same.
    :raises ValueError: A block of it has no end.
    """
    tail, *blocks = text.split(_BEGIN)
    for block in blocks:
        label, _, body = block.partition(_DASHES)
        _, end, tail = body.partition(_DASHES + b"END " + label + _DASHES)
        if not end:
            raise ValueError("it ends too early, as if it were being written")
    # A line that was about to become the beginning of another.
    if _DASHES in tail or tail.endswith(b"-"):
        raise ValueError("it ends too early, as if it were being written")
    return text


def open_to_us(text: bytes) -> bytes:
    """
    Make sure that no key in a text is encrypted.

    OpenSSL would ask for its password on the terminal, if there is one, and the whole process would
    wait for somebody to type it.

    :param text: What a file has.
    :returns: The same.
    :raises ValueError: One is.
    """
    if _ENCRYPTED.search(text):
        raise ValueError("the key is encrypted, and nobody is asked for its password")
    return text


def keys_in(text: bytes) -> list[bytes]:
    """
    Give the private keys in a text.

    :param text: What a file has.
    :returns: Each of them, in PEM; the text itself when it has none.
    :raises ValueError: One is encrypted.
    """
    return [each.group() for each in _KEY.finditer(open_to_us(text))] or [text]
