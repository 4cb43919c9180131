"""
Hostile leafs of the NATS gateway, and hostile hubs that it dials, for `atbus.testing.hostile`.

An input is a conversation between leafs, damaged, cut into chunks and taken by a session. Whatever
it is, nothing of it reaches the bus before the other side has said who it is, and nothing after the
end; and before it has said so, no more is held than a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

from atbus.nats import bounds
from atbus.nats.leaf_session import LeafSession, LeafTerms
from atbus.nats.server_session import Close, Opened, ServerSession, StartTls, State, Write
from atbus.testing.nats_fuzz import damaged

_BEGINNINGS: Final = (
    b'INFO {"client_id":1,"leafnode_urls":[],"headers":true}\r\nPONG\r\n',
    b'CONNECT {"name":"them","user":"a","pass":"b"}\r\nPING\r\n',
    b"",
)
_SENTENCES: Final = (
    b'INFO {"client_id":1,"leafnode_urls":["a:1"],"tls_required":true}\r\n',
    b'INFO {"connect_info":true,"max_payload":1048576}\r\n',
    b'CONNECT {"name":"them"}\r\n',
    b"PING\r\n",
    b"PONG\r\n",
    b"+OK\r\n",
    b"-ERR 'Stale Connection'\r\n",
    b"LS+ orders.*\r\n",
    b"LS+ orders.> workers 3\r\n",
    b"LS+ $LDS.us\r\n",
    b"LS- orders.*\r\n",
    b"LS- orders.> workers\r\n",
    b"LMSG orders.eu 5\r\nhello\r\n",
    b"LMSG orders.eu _INBOX.x.1 0\r\n\r\n",
    b"LMSG orders.eu | workers others 5\r\nhello\r\n",
    b"LMSG orders.eu + _INBOX.x.1 workers 5\r\nhello\r\n",
    b"HMSG orders.eu 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n",
    b"HMSG orders.eu + r workers 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    b"LMSG orders.eu 60000000\r\n",
)
_SENTENCES_MAX: Final = 6
# Nothing of a conversation is longer; a chunk of it is a part.
_CHUNK_BYTES: Final = 40_000


def hostile_leaf(random: Random) -> bytes:
    """
    Make a conversation, and damage it.

    :param random: Draws.
    :returns: What the other side sends.
    """
    said = random.choice(_BEGINNINGS)
    said += b"".join(random.choice(_SENTENCES) for _ in range(random.randint(1, _SENTENCES_MAX)))
    return damaged(random, said)


def take_leaf(pieces: Sequence[bytes], *, is_hub: bool) -> str:
    """
    Take what the other side sends, as a gateway does.

    :param pieces: The chunks.
    :param is_hub: Whether it has dialed us.
    :returns: What became of it.
    :raises AssertionError: The session did what none may do.
    """
    terms = LeafTerms(about={}, is_hub=is_hub, tls=True, loop_subject="$LDS.us")
    return take_server("leaf", LeafSession(terms), pieces)


def take_server(kind: str, session: ServerSession[Any, Any], pieces: Sequence[bytes]) -> str:
    """
    Take what the other side of a connection between servers sends.

    :param kind: What it is called.
    :param session: Our side.
    :param pieces: The chunks.
    :returns: What became of it.
    :raises AssertionError: The session did what none may do.
    """
    session.open(0.0)
    is_open = False
    ending: Close | None = None
    for piece in pieces:
        for effect in session.receive(piece, 1.0):
            if ending is not None:
                raise AssertionError(f"{effect!r} after the end")
            match effect:
                case Opened() if is_open:
                    raise AssertionError("it takes part twice")
                case Opened():
                    is_open = True
                case Close():
                    ending = effect
                case Write() | StartTls():
                    pass
                case _ if not is_open:
                    raise AssertionError(f"{effect!r} of somebody who is not known")
        if not is_open and session.held_bytes > bounds.LEAF_LINE_BYTES + _CHUNK_BYTES:
            raise AssertionError(f"{session.held_bytes} bytes are held of a stranger")
    if (ending is not None) != (session.state is State.CLOSED):
        raise AssertionError(f"{session.state} and {ending!r}")
    return f"{kind} ends" if ending else f"{kind} is {session.state.value}"
