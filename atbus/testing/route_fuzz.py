"""
Hostile members of a cluster of NATS, which dial the gateway or are dialed by it, for
`atbus.testing.hostile`: as leafs (`atbus.testing.leaf_fuzz`), in the dialect of routes.

What is asserted is the same; and what a member tells of others is no matter of strangers either.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from atbus.nats.route_session import RouteSession, RouteTerms
from atbus.testing.leaf_fuzz import take_server
from atbus.testing.nats_fuzz import damaged

_INFO: Final = b'INFO {"server_id":"THEM","server_name":"srv","cluster":"C1","headers":true}\r\n'
_BEGINNINGS: Final = (
    _INFO + b"PONG\r\n",
    b'CONNECT {"name":"THEM","user":"a","pass":"b","cluster":"C1"}\r\n' + _INFO + b"PING\r\n",
    b"",
)
_SENTENCES: Final = (
    _INFO,
    b'INFO {"server_id":"THEM","cluster":"C1","ldm":true,"connect_urls":["10.0.0.1:4222"]}\r\n',
    b'INFO {"server_id":"NEW","cluster":"C1","ip":"nats-route://10.0.0.7:6222/"}\r\n',
    b'INFO {"server_id":"US","cluster":"C1"}\r\n',
    b'INFO {"server_id":"THEM","cluster":"C2"}\r\n',
    b'CONNECT {"name":"THEM","cluster":"C1"}\r\n',
    b'CONNECT {"cluster":"C2","lang":"go"}\r\n',
    b"PING\r\n",
    b"PONG\r\n",
    b"+OK\r\n",
    b"-ERR 'Stale Connection'\r\n",
    b"RS+ $G orders.*\r\n",
    b"RS+ $G orders.> workers 3\r\n",
    b"RS+ $SYS $SYS.REQ.*\r\n",
    b"RS- $G orders.*\r\n",
    b"RS- $G orders.> workers\r\n",
    b"LS+ C3 $G orders.* workers 2\r\n",
    b"LS- $G orders.* workers\r\n",
    b"RMSG $G orders.eu 5\r\nhello\r\n",
    b"RMSG $G orders.eu _INBOX.x.1 0\r\n\r\n",
    b"RMSG $G orders.eu | workers others 5\r\nhello\r\n",
    b"RMSG $G orders.eu + _INBOX.x.1 workers 5\r\nhello\r\n",
    b"HMSG $G orders.eu 18 23\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n",
    b"HMSG $G orders.eu + r workers 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    b"LMSG C3 $G orders.eu 12 17\r\nNATS/1.0\r\n\r\nhello\r\n",
    b"RMSG $SYS $SYS.x 2\r\nok\r\n",
    b"RMSG $G orders.eu 60000000\r\n",
)
_SENTENCES_MAX: Final = 6


def hostile_member(random: Random) -> bytes:
    """
    Make a conversation, and damage it.

    :param random: Draws.
    :returns: What the other side sends.
    """
    said = random.choice(_BEGINNINGS)
    said += b"".join(random.choice(_SENTENCES) for _ in range(random.randint(1, _SENTENCES_MAX)))
    return damaged(random, said)


def take_member(pieces: Sequence[bytes], *, dials: bool) -> str:
    """
    Take what the other side sends, as a gateway does.

    :param pieces: The chunks.
    :param dials: Whether it has dialed us.
    :returns: What became of it.
    :raises AssertionError: The session did what none may do.
    """
    terms = RouteTerms(
        info={"server_id": "US", "cluster": "C1"}, connect=None if dials else {"user": "u"}
    )
    return take_server("route", RouteSession(terms), pieces)
