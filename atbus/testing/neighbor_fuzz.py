"""
Hostile neighbors of a whole node, for `atbus.testing.hostile`.

An input is what a registered neighbor, below or above a node, says to it: frames of every type,
whole and damaged, that bear its own id or that of others, and their news of routes, interest,
lanes, fragments, streams, commands, services, zones and siblings. Whatever it is, nothing of the
node fails: no exception gets as far as a log, and another neighbor is answered as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random
from typing import Any, Final

from atbus.busid import Subnet
from atbus.node.node import Node
from atbus.testing.conversation import make_terms
from atbus.testing.examples import example_messages
from atbus.testing.logged import logged_errors
from atbus.testing.mutation import mutate
from atbus.testing.network import VirtualNetwork
from atbus.testing.stranger import Stranger
from atbus.testing.text_readers import compressed_frames
from atbus.wire import codec
from atbus.wire.compression import ALGORITHMS, is_there
from atbus.wire.extras import counted_extra, zone_extra
from atbus.wire.messages import (
    Capability,
    CommandRequest,
    Interest,
    InterestEntry,
    Message,
    Publish,
    RegisterRequest,
    Role,
)

_OURS, _THEIRS, _GOOD, _ABOVE = 0x10000, 0x10001, 0x10002, 0x1
_ADDRESS: Final = "ipv4://10.0.0.1:1"
_ABOVE_ADDRESS: Final = "ipv4://10.0.0.2:1"
_IDS: Final = (0, 1, 5, _OURS, _THEIRS, _GOOD, (1 << 64) - 1)
_COMMANDS: Final = (
    *(b"status", b"nodes", b"links", b"shm", b"routes", b"route", b"explain", b"records", b"ping"),
    *(b"send", b"request", b"command", b"trace", b"subscriptions", b"interests", b"services"),
    *(b"select", b"subscribe", b"publish", b"", b"x"),
)
_WORDS: Final = (
    *(b"", b"0x10002", b"0x10000", b"5", b"-1", b"1e9", b"nan", b"inf", b"a.>", b"a..b", b"9" * 30),
    *(b"\xff\xfe", b"{}", b"name=value", b"*", b" ", b"\0", b"0x5/0", b"true"),
)
_ZONE: Final = "eu"
_FRAMES_MAX: Final = 8
_WORDS_MAX: Final = 4
_SECONDS: Final = 0.2


class Neighborhood:
    """
    A node, a hostile neighbor and a good one, on a network of their own.

    :param random: Draws.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        network = self._network = VirtualNetwork()
        capabilities = sum(Capability) if random.random() < 0.8 else 0
        algorithms = [name for name, each in ALGORITHMS.items() if is_there(each)]
        options: dict[str, Any] = {
            "listen": [_ADDRESS],
            "subnets": [(0, 16)],
            "compression": algorithms if random.random() < 0.8 else [],
            "labels": {"zone": _ZONE},
            "queue_policy": "nearest",
        }
        if random.random() < 0.3:
            self._id = _ABOVE
            request = RegisterRequest(host="h", process="h:1:1", subnets=(Subnet(0, 32),))
            terms = make_terms(_ABOVE, capabilities=capabilities, request=request)
            self._hostile = Stranger(network, terms).listen(_ABOVE_ADDRESS)
            options["upstream"] = _ABOVE_ADDRESS
        else:
            self._id = _THEIRS
            terms = make_terms(_THEIRS, capabilities=capabilities)
            self._hostile = Stranger(network, terms)
        self._node = self._make(_OURS, **options)
        self._says = [self._hostile]
        if self._id == _THEIRS:
            self._hostile.dial(_ADDRESS)
            terms = make_terms(_THEIRS, capabilities=capabilities, role=Role.DATA)
            self._says.append(Stranger(network, terms).dial(_ADDRESS))
        self._good = self._make(_GOOD, upstream=_ADDRESS)
        self._good.subscribe("jobs.>", lambda _: None, queue="workers")
        self._frames = [self._frame() for _ in range(random.randint(1, _FRAMES_MAX))]

    def _make(self, bus_id: int, **options: Any) -> Node:
        node = self._network.node(id=bus_id, allow_insecure=True, **options)
        # Not until it is up: who talks by hand above it has no second connection for its data.
        node.start().addErrback(lambda _: None)
        self._network.settle(_SECONDS)
        return node

    def _frame(self) -> bytes:
        """Draw what it says next: a frame as it should be, or a damaged one."""
        random = self._random
        frame = bytearray(self._command() if random.random() < 0.1 else random.choice(_frames()))
        if random.random() < 0.8:
            frame[8:16] = (self._id if random.random() < 0.8 else random.choice(_IDS)).to_bytes(
                8, "little"
            )
            frame[16:24] = random.choice((*_IDS, _OURS, _OURS, _GOOD)).to_bytes(8, "little")
        whole = bytes(frame)
        return whole if random.random() < 0.4 else mutate(random, whole, _frames())

    def _command(self) -> bytes:
        random = self._random
        words = [random.choice(_WORDS) for _ in range(random.randint(0, _WORDS_MAX))]
        request = CommandRequest(
            source=self._id,
            destination=_OURS,
            sequence=random.randrange(1 << 32),
            epoch=1,
            hop_limit=9,
            arguments=(b"atbus." + random.choice(_COMMANDS), *words),
        )
        return codec.encode(request)

    def listen(self) -> str:
        """
        Have the node hear all of it.

        :returns: What is counted.
        :raises AssertionError: Something of the node failed.
        """
        with logged_errors() as errors:
            for place, frame in enumerate(self._frames):
                # Control and data, in turn.
                hostile = self._says[place % len(self._says)]
                if hostile.ended is None and frame:
                    hostile.say_raw(frame)
            self._network.settle(_SECONDS)
            if errors:
                raise AssertionError("; ".join(errors))
            (line,) = self._network.result_of(self._good.command(_OURS, b"atbus.status"))
            if not line.startswith(b"{"):
                raise AssertionError(f"the node answers {line!r}")
        return "neighbor stays" if self._hostile.ended is None else "neighbor ends"


def hostile_registered(random: Random) -> tuple[bytes, Callable[[], str]]:
    """
    Make a neighborhood, and what the hostile neighbor says in it.

    :param random: Draws.
    :returns: How it is drawn, and what has it read.
    """
    number = random.randrange(1 << 32)
    # What the bus costs is not what the input costs.
    made = [Neighborhood(Random(number))]

    def listen() -> str:
        return (made.pop() if made else Neighborhood(Random(number))).listen()

    return b"%d" % number, listen


@cache
def _frames() -> Sequence[bytes]:
    messages = [*example_messages().values(), *_about_groups()]
    return [*map(codec.encode, messages), *compressed_frames()]


def _about_groups() -> Iterator[Message]:
    """Make messages about members of a group: in one zone, and besides those at some nodes."""
    extras = (zone_extra(_ZONE),)
    counted = (counted_extra((_GOOD, _THEIRS, 0)),)
    entries = (InterestEntry(subject="jobs.>", queue="workers", weight=2),)
    yield Interest(entries=entries)
    yield Interest(entries=entries, extras=extras)
    for number, each in enumerate((extras, counted, extras + counted), start=3):
        yield Publish(
            sequence=number,
            epoch=3,
            hop_limit=9,
            subject="jobs.resize",
            queues=("workers",),
            messages=((0, b"one"),),
            extras=each,
        )
