"""
Hostile ends of streams, for `atbus.testing.hostile`.

An input is what another node says about streams: openings, data, credit and ends that follow no
rule, with numbers, offsets and lives of their own, damaged now and then, while a program at this
end opens streams, writes, reads or does not, and leaves. Whatever it is: the program gets bytes in
order and hears of each end once, the other node gets no byte that it gave no leave for, no more
waits here than windows allow, and in the end nothing is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

from atbus.errors import RemoteProtocolError, Status
from atbus.stream import bounds
from atbus.stream.effects import (
    Due,
    Effect,
    Ended,
    Finished,
    Key,
    Offered,
    Received,
    Send,
)
from atbus.stream.exchange import Exchange
from atbus.testing.nats_fuzz import damaged
from atbus.wire import codec
from atbus.wire.messages import (
    Message,
    StreamClose,
    StreamCredit,
    StreamData,
    StreamHalfClose,
    StreamOpen,
    StreamReset,
)

_PEERS: Final = (0x20, 0x21)
_MESSAGES_MAX: Final = 20
_NUMBERS: Final = (0, 1, 2, bounds.STREAM_ID_MAX, bounds.STREAM_ID_MAX + 1, (1 << 32) - 1)
_PLACES: Final = (0, 1, 5, 4_000, bounds.WINDOW_BYTES, (1 << 63), (1 << 64) - 1)
_EPOCHS: Final = (0, 3, 3, 3, 4, (1 << 32) - 1)
_SERVICES: Final = ("", "web", "x" * bounds.SERVICE_BYTES, "x" * (bounds.SERVICE_BYTES + 1), "\0")
_SIZES: Final = (1, 5, 4_000)


def hostile_end(random: Random) -> tuple[bytes, Callable[[], str]]:
    """
    Make what other nodes say, and what the program does meanwhile.

    :param random: Draws.
    :returns: What is said, as frames, and what has it read.
    """
    count, seed = random.randint(1, _MESSAGES_MAX), random.randrange(1 << 32)
    story = _Story(Random(seed))
    frames = [story.say() for _ in range(count)]
    return b"".join(frames), lambda: _take(frames, Random(seed))


class _Story:
    """Draws what is said: often what would be right, if it came at the right time."""

    def __init__(self, random: Random) -> None:
        self._random = random
        # Where the data of a stream is, if all of it is taken.
        self._places: dict[tuple[Any, ...], int] = {}

    def say(self) -> bytes:
        """Draw one frame."""
        random = self._random
        frame = codec.encode(self._message())
        return damaged(random, frame) if random.random() < 0.05 else frame

    def _message(self) -> Message:
        random = self._random
        which: dict[str, Any] = {
            "source": random.choice(_PEERS),
            "destination": 1,
            "epoch": random.choice(_EPOCHS),
            "stream_id": random.choice(_NUMBERS),
        }
        if random.random() < 0.3:
            credit, service = random.choice(_PLACES), random.choice(_SERVICES)
            return StreamOpen(service=service, credit=credit, **which)
        which["from_opener"] = random.random() < 0.6
        name = tuple(which.values())
        place = self._places.get(name, 0) % (1 << 64)
        if random.random() < 0.2:
            place = random.choice(_PLACES)
        draw = random.random()
        if draw < 0.5:
            data = bytes(random.choice(_SIZES))
            self._places[name] = place + len(data)
            return StreamData(offset=place, data=data, **which)
        if draw < 0.7:
            return StreamCredit(limit=random.choice(_PLACES), **which)
        if draw < 0.85:
            return StreamHalfClose(final_offset=place, **which)
        if draw < 0.95:
            return StreamClose(**which)
        return StreamReset(status=random.choice(list(Status)), detail="x", **which)


class _Program:
    """Does something with every stream, and looks at what it gets."""

    def __init__(self, random: Random) -> None:
        self.now = 0.0
        self.outcomes: set[str] = set()
        self._random = random
        self._exchange = Exchange(7)
        # How far it may send; what the opening that is being looked at says of that.
        self._limits: dict[Key, int] = {}
        self._credit = 0
        self._living: dict[Key, bool] = {}

    def hear(self, message: Message) -> None:
        """Take what is said."""
        allowed = 1 + len(self._exchange)
        match message:
            case StreamOpen(credit=credit):
                self._credit = credit
            case StreamCredit():
                key = Key(message.source, not message.from_opener, message.stream_id)
                self._limits[key] = max(message.limit, self._limits.get(key, 0))
        effects = self._exchange.receive(message, self.now)
        if sum(isinstance(effect, Send) for effect in effects) > allowed:
            raise AssertionError("one frame is answered with many")
        self.perform(effects)

    def act(self) -> None:
        """Do something."""
        random, exchange = self._random, self._exchange
        self.now += random.choice((0.0, 0.0, 1.0, 31.0))
        keys = exchange.open_keys
        if not keys or random.random() < 0.2:
            key, effects = exchange.open(random.choice(_PEERS), "web", self.now)
            self._living[key] = True
            self.perform(effects)
            return
        key = random.choice(keys)
        if random.random() < 0.2:
            exchange.pause(key)
            return
        acts: tuple[Callable[[], list[Effect]], ...] = (
            lambda: exchange.write(key, bytes(random.choice((1, 100_000))), self.now),
            lambda: exchange.finish(key, self.now),
            lambda: exchange.leave(key, self.now),
            lambda: exchange.resume(key, self.now),
            lambda: exchange.refuse(key, Status.DISCONNECTED, "", self.now),
            lambda: exchange.tick(self.now),
        )
        self.perform(random.choice(acts)())

    def perform(self, effects: list[Effect]) -> None:
        """
        Do what is asked for.

        :raises AssertionError: It must not be.
        """
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            key = effect.key
            match effect:
                case Send(message=message):
                    codec.encode(message)
                    if isinstance(message, StreamData):
                        end = message.offset + len(message.data)
                        if end > self._limits.get(key, 0):
                            raise AssertionError(f"{end} bytes sent without leave")
                case Due():
                    todo.extend(self._exchange.go_on(key, self.now))
                case Offered():
                    self.outcomes.add("offered")
                    self._limits[key] = self._credit
                    self._living[key] = True
                    todo.extend(self._exchange.accept(key, self.now))
                case Received() | Finished():
                    self.outcomes.add("read")
                    if not self._living.get(key):
                        raise AssertionError(f"{effect} of a stream that is none")
                case Ended():
                    if not self._living.pop(key, False):
                        raise AssertionError(f"{effect} of a stream that is none")
        if self._exchange.held_bytes > len(self._exchange) * (bounds.WINDOW_BYTES + 3_000_000):
            raise AssertionError("more waits than there may be")

    def end(self) -> None:
        """
        Let all time pass.

        :raises AssertionError: Something is left.
        """
        for _ in range(3):
            self.now += bounds.SILENCE_SECONDS
            self.perform(self._exchange.tick(self.now))
        if len(self._exchange) or self._living or self._exchange.deadline is not None:
            raise AssertionError("streams are left")


def _take(frames: list[bytes], random: Random) -> str:
    program = _Program(random)
    for frame in frames:
        try:
            message = codec.decode(frame)
        except RemoteProtocolError:
            program.outcomes.add("malformed")
            continue
        program.hear(message)
        program.act()
    program.end()
    for outcome in ("read", "offered", "malformed"):
        if outcome in program.outcomes:
            return f"stream {outcome}"
    return "stream refused"
