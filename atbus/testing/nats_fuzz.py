"""
Hostile clients of the NATS gateway, for `atbus.testing.hostile`.

An input is a conversation that a client could have, damaged, cut into chunks and taken by a
session. Whatever it is, the session goes on or says by which fault it ends, and asks for nothing
after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Final

from atbus.nats.authentication import User
from atbus.nats.effects import Attach, Close, Terms
from atbus.nats.grammar import Publish
from atbus.nats.session import Session

_SENTENCES: Final = (
    b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n',
    b'CONNECT {"protocol":1,"echo":false,"user":"a","pass":"b"}\r\n',
    b"PING\r\n",
    b"PONG\r\n",
    b"SUB orders.* workers 1\r\n",
    b"SUB _INBOX.x.> 22\r\n",
    b"UNSUB 1 5\r\n",
    b"PUB orders.eu _INBOX.x.1 5\r\nhello\r\n",
    b"PUB orders.eu 0\r\n\r\n",
    b"HPUB orders.eu 22 27\r\nNATS/1.0\r\nA: b\r\n\r\nhello\r\n",
)
_LETTERS: Final = b"\r\n \t.*>{}\"'0-9PUBHSX\x00\xff\xc3"
_DAMAGES_MAX: Final = 3
_SENTENCES_MAX: Final = 6


def hostile_client(random: Random) -> bytes:
    """
    Make a conversation, and damage it.

    :param random: Draws.
    :returns: What the client sends.
    """
    said = b"".join(random.choice(_SENTENCES) for _ in range(random.randint(1, _SENTENCES_MAX)))
    return damaged(random, said)


def damaged(random: Random, text: bytes) -> bytes:
    """
    Damage lines of text.

    :param random: Draws.
    :param text: Not empty.
    :returns: It, with up to three places that are not as they were.
    """
    said = bytearray(text)
    for _ in range(random.randint(0, _DAMAGES_MAX)):
        place = random.randrange(len(said))
        match random.randrange(4):
            case 0:
                said[place] = random.choice(_LETTERS)
            case 1:
                del said[place : place + random.randint(1, 12)]
                said = said or bytearray(b"\n")
            case 2:
                said[place:place] = bytes([random.choice(_LETTERS)]) * random.choice((1, 2, 5000))
            case _:
                said[place] ^= 1 << random.randrange(8)
    return bytes(said)


def take(pieces: Sequence[bytes], *, needs_login: bool) -> str:
    """
    Take what a client sends, as a gateway does.

    :param pieces: The chunks.
    :param needs_login: Whether it has to say who it is.
    :returns: What became of the client.
    :raises AssertionError: The session did what none may do.
    """
    session = Session(Terms(needs_login=needs_login), lambda _: User())
    session.open(b"", 0.0)
    attached = 0
    ending: Close | None = None
    chunks = deque(pieces)
    while chunks or session.is_unread:
        for effect in session.receive(b"" if session.is_unread else chunks.popleft(), 1.0):
            if ending is not None:
                raise AssertionError(f"{effect!r} after the end")
            match effect:
                case Attach():
                    attached += 1
                case Publish() if needs_login and not session.connected:
                    raise AssertionError("somebody has published who is not known")
                case Close():
                    ending = effect
    if len(session.subscriptions) > attached:
        raise AssertionError("there are more subscriptions than have begun")
    return "client stays" if ending is None else f"client {ending.fault.name}"
