"""
What nats-server 2.9 and 2.15 answer at their port for leafs, as it was heard.

A script is what somebody sends there after INFO has come; the answer is all that follows INFO, but
for a second INFO and for what a server wants itself. Those that end with `EOF` were closed by the
server.
"""

from __future__ import annotations

import re
from typing import Final

from tests.nats.transcripts import EOF, UNKNOWN, Transcript

LEAF: Final = b'CONNECT {"name":"far","version":"2.9.10","headers":true}\r\n'
STRANGER: Final = b"-ERR 'Authorization Violation'\r\n" + EOF

LEAF_TRANSCRIPTS: Final = (
    Transcript("a leaf", LEAF + b"PING\r\n", b"PONG\r\n"),
    Transcript("a client", b'CONNECT {"lang":"go"}\r\n',
        b"-ERR 'attempted to connect to leaf node port'\r\n" + EOF),
    Transcript("interest of a stranger", b"LS+ a\r\n", STRANGER),
    Transcript("a PING of a stranger", b"PING\r\n", STRANGER),
    Transcript("CONNECT that is no JSON", b"CONNECT {bad\r\n", EOF),
    Transcript("an unknown verb", LEAF + b"FOO\r\n", UNKNOWN),
    Transcript("a verb of clients and servers", LEAF + b"MSG a 1 2\r\nhi\r\n", UNKNOWN),
    Transcript("no interest in anything", LEAF + b"LS+\r\n", UNKNOWN),
    Transcript("a group without members", LEAF + b"LS+ a q\r\n", EOF),
    Transcript("interest of four words", LEAF + b"LS+ a q 1 2\r\n", EOF),
    Transcript("a size that is none", LEAF + b"LMSG a x\r\nhi\r\n", EOF),
    Transcript("more than the size", LEAF + b"LMSG a 2\r\nhiX\r\n", UNKNOWN),
    Transcript("interest comes and goes",
        LEAF + b"LS+ a\r\nLS+ b q 2\r\nLS- b q\r\nLS- a\r\nPING\r\n", b"PONG\r\n"),
    Transcript("messages that nobody wants",
        LEAF + b"LMSG a 2\r\nhi\r\nLMSG a r 2\r\nhi\r\nLMSG a | q 2\r\nhi\r\n"
        b"LMSG a + r q 2\r\nhi\r\nHMSG a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPING\r\n", b"PONG\r\n"),
    Transcript("nothing comes back", LEAF + b"LS+ a\r\nLMSG a 2\r\nhi\r\nPING\r\n", b"PONG\r\n"),
)


def stripped(heard: bytes) -> bytes:
    """Leave out of an answer what one server says in other words than another one."""
    return re.sub(rb"INFO {.*}\s*\r\n|LS\+ \$[\w.>*-]+\r\n|PING\r\n", b"", heard)
