"""
Scripts of clients, drawn from a seed, and their answers as far as these are determined.

What is said in one write is carried out in its order: who gets a publication, and what that counts
for, depends on what was said before it and on nothing behind it. A script holds what changes that
between publications; its last sentence may be the one that ends the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Final

_LOGIN: Final = b'"user":"u","pass":"p"'
_BEGINNINGS: Final = (
    b'CONNECT {%b,"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n',
    b'CONNECT {%b,"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n',
    b'CONNECT {%b,"verbose":true,"pedantic":true,"headers":true}\r\n',
    b'CONNECT {%b,"echo":false,"verbose":false,"headers":true,"no_responders":true}\r\n',
)
_OPTIONS: Final = (
    *(b'"verbose":true', b'"verbose":false', b'"pedantic":true', b'"pedantic":false'),
    *(b'"echo":false', b'"echo":true', b'"headers":true', b'"no_responders":true'),
    b'"headers":false,"no_responders":false',
)
# Somebody else listens to "a", nobody else to "n" and "r".
_SUBJECTS: Final = (b"a.1", b"a.2", b"a", b"n.1", b"n.2", b"a.*", b"r.1")
_PATTERNS: Final = (b"a.1", b"a.*", b"a.>", b"a", b"n.1", b"n.*", b"r.1", b"r.*", b">")
_REPLIES: Final = (b"r.1", b"r.2", b"a.1")
_HEADERS: Final = (b"NATS/1.0\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n", b"")
_ENDINGS: Final = (
    *(b"PUB a x\r\n", b"FOO\r\n", b"SUB a\r\n", b"-ERR\r\n", b"CONNECT []\r\n", b"\r\n"),
    *(b"PUB a.1 1\r\nxx\r\n", b"HPUB a.1 3 2\r\nxx\r\n", b"UNSUB\r\n"),
    *(b'CONNECT {"protocol":5}\r\n', b'CONNECT {"account":"b"}\r\n'),
    b'CONNECT {"headers":false,"no_responders":true}\r\n',
)
_SENTENCES_MAX: Final = 12
_ALIKE_MAX: Final = 5
#: What is a delivery: subject, sid, perhaps where an answer is awaited, and sizes.
_DELIVERY: Final = re.compile(rb"(H?)MSG \S+ (\S+) (?:\S+ )?(?:\d+ )?(\d+)\r\n")
_NOBODY: Final = b"NATS/1.0 503\r\n"


def script(seed: int, *, connects_again: bool = True) -> bytes:
    """
    Make a script.

    :param seed: The same for the same script.
    :param connects_again: Whether it may hold more than one CONNECT.
    :returns: What the client sends.
    """
    random = Random(seed)
    said = [random.choice(_BEGINNINGS) % _LOGIN]
    kinds = 16 if connects_again else 15
    said += [_sentence(random, kinds) for _ in range(random.randint(2, _SENTENCES_MAX))]
    if random.random() < 0.25:
        endings = [each for each in _ENDINGS if connects_again or not each.startswith(b"CONNECT")]
        said.append(random.choice(endings))
    return b"".join(said)


def _sentence(random: Random, kinds: int) -> bytes:
    sid = random.randint(1, 4)
    match random.randrange(kinds):
        case 0 | 1 | 2 | 3:
            # Each has its own group, or which of the members gets something would be open.
            queue = b" q%d" % sid if random.random() < 0.25 else b""
            return b"SUB %b%b %d\r\n" % (random.choice(_PATTERNS), queue, sid)
        case 4 | 5 | 6 | 7 | 8 | 9:
            return _publications(random)
        case 10:
            header, reply = random.choice(_HEADERS), _reply(random)
            sizes = (len(header), len(header) + 2)
            subject = random.choice(_SUBJECTS)
            return b"HPUB %b %b%d %d\r\n%bhi\r\n" % (subject, reply, *sizes, header)
        case 11 | 12 | 13:
            most = b" %d" % random.randrange(5) if random.random() < 0.7 else b""
            return b"UNSUB %d%b\r\n" % (sid, most)
        case 14:
            return b"PING\r\n"
        case _:
            options = random.sample(_OPTIONS, random.randint(1, 2))
            return b"CONNECT {%b}\r\n" % b",".join([_LOGIN, *options])


def _publications(random: Random) -> bytes:
    """Some on one subject in a row."""
    subject, reply = random.choice(_SUBJECTS), _reply(random)
    count = random.choice((1, 1, 2, random.randint(1, _ALIKE_MAX)))
    return b"".join(
        b"PUB %b %b1\r\n%b\r\n" % (subject, reply, random.choice((b"x", b"y", b"z")))
        for _ in range(count)
    )


def _reply(random: Random) -> bytes:
    return random.choice(_REPLIES) + b" " if random.random() < 0.4 else b""


def determined(heard: bytes) -> bytes:
    """
    Bring what is not determined into one form, and leave everything else.

    Which subscription of a client gets a message first is open, and which one hears that nobody is
    there; the order of what each of them gets is not, nor where answers stand between.

    :param heard: All that a client heard.
    """
    found: list[bytes] = []
    row: list[tuple[bytes, bytes]] = []
    for sid, sentence in _sentences(heard):
        if sid:
            row.append((sid, sentence))
            continue
        found += [each for _, each in sorted(row, key=lambda each: each[0])]
        row.clear()
        found.append(sentence)
    return b"".join([*found, *(each for _, each in sorted(row, key=lambda each: each[0]))])


def _sentences(heard: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give each with the sid if it is a message, without one otherwise."""
    place = 0
    while place < len(heard):
        delivery = _DELIVERY.match(heard, place)
        if delivery is None:
            end = heard.find(b"\n", place) + 1 or len(heard)
            yield b"", heard[place:end]
        else:
            end = delivery.end() + int(delivery[3]) + 2
            sentence = heard[place:end]
            if delivery[1] and _NOBODY in sentence:
                yield b"", sentence.replace(b" %b " % delivery[2], b" ? ", 1)
            else:
                yield delivery[2], sentence
        place = end

