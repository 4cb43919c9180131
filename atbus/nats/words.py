"""
The words of a control line, which blanks and tabs separate: other bytes that are blanks in a text
belong to the words, as in nats-server.
"""

from __future__ import annotations

import re
from typing import Final

_BETWEEN_BLANKS: Final = re.compile(rb"[^ \t]+")
_BETWEEN_ANY: Final = re.compile(rb"[^ \t\r\n]+")
_VERTICAL_TAB, _FORM_FEED = b"\v\f"


def split(text: bytes) -> list[bytes]:
    """
    Give the words of a line; a CR in it separates them as well.

    :param text: The line, or what is behind its verb.
    """
    if _VERTICAL_TAB in text or _FORM_FEED in text:
        return _BETWEEN_ANY.findall(text)
    return text.split()


def split_publication(text: bytes) -> list[bytes]:
    """
    Give the words of a line in front of a client's payload, to which a CR or LF in it belongs.

    :param text: What is behind its verb.
    """
    return _BETWEEN_BLANKS.findall(text)
