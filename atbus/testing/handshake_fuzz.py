"""
Hostile strangers who register, for `atbus.testing.hostile`.

An input is a registration of two nodes that have a token, of which frames are damaged, doubled,
left out or exchanged on their way to either side. Whatever it is, nobody who heard another HELLO
than was said registers, and each registration comes to an end.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from atbus import limits
from atbus.errors import MalformedFrame, RemoteProtocolError, Status
from atbus.testing.conversation import HandshakeEnd, HandshakePair, make_terms
from atbus.testing.mutation import mutate
from atbus.wire import codec
from atbus.wire.messages import Hello, MessageType, Mode, RegisterRequest, RegisterResponse

_TOKEN: Final = b"the token of the bus"
_TURNS_MAX: Final = 12
_HELLO: Final = bytes([MessageType.HELLO])
_OTHERS: Final = tuple(
    codec.encode(message)
    for message in (
        Hello(source=7, version_min=1, version_max=1, nonce=bytes(16), frame_max=4096),
        RegisterRequest(host="h", process="h:7:1", labels={"a": "b"}, proofs=(bytes(32),)),
        RegisterResponse(status=Status.OK),
    )
)


def hostile_stranger(random: Random) -> tuple[bytes, Callable[[], str]]:
    """
    Choose what happens to a registration.

    :param random: Draws.
    :returns: How it is drawn, and what has it read.
    """
    number = random.randrange(1 << 32)
    return b"%d" % number, lambda: _run(Random(number))


def _run(random: Random) -> str:
    mode = random.choice((Mode.NODE, Mode.NODE, Mode.TEMPORARY))
    pair = HandshakePair(
        make_terms(0 if mode is Mode.TEMPORARY else 1, mode=mode, tokens=(_TOKEN,)),
        make_terms(2, tokens=(_TOKEN,)),
    )
    pair.open()
    victims = {random.randrange(8) for _ in range(random.randint(1, 2))}
    deceived: set[HandshakeEnd] = set()
    heard = 0
    for _ in range(_TURNS_MAX):
        for end in pair.ends:
            # What comes after a registration is not the machine's.
            if not end.incoming or end.hung_up or end.registered:
                continue
            if heard in victims:
                _damage(random, end, deceived)
            heard += 1
            _deliver(end, pair.now)
    pair.now += limits.HANDSHAKE_SECONDS + 1
    for end in pair.ends:
        end.perform(end.machine.tick(pair.now), pair.now)
        if not end.machine.finished:
            raise AssertionError("a registration does not end")
        if end in deceived and end.registered is not None:
            raise AssertionError("somebody has registered who heard another HELLO")
    return "handshake done" if all(end.registered for end in pair.ends) else "handshake refused"


def _damage(random: Random, end: HandshakeEnd, deceived: set[HandshakeEnd]) -> None:
    """Change what comes next, and note when that is the HELLO."""
    frame = end.incoming[0]
    if frame is None:
        return
    match random.randrange(6):
        case 0:
            end.incoming.appendleft(frame)
        case 1:
            end.incoming[0] = random.choice(_OTHERS)
        case 2:
            end.incoming.rotate(1)
        case _:
            end.incoming[0] = mutate(random, frame, _OTHERS)
    changed = end.incoming[0]
    if changed and frame[4:5] == changed[4:5] == _HELLO and changed != frame:
        deceived.add(end)


def _deliver(end: HandshakeEnd, now: float) -> None:
    """Hand over one frame, as a channel does: what cannot be read ends it."""
    frame = end.incoming[0]
    try:
        if frame is not None and len(frame) < codec.HEAD_SIZE:
            # None is cut out of a stream.
            raise MalformedFrame(f"{len(frame)} bytes")
        end.deliver(now)
    except RemoteProtocolError as error:
        end.perform(end.machine.lost(error.status, error.detail), now)
        end.hang_up()
