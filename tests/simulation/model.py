"""
What a bus has promised, and whether it kept it: a model that shares no code with the bus.

Every message has a number in its payload, so that nothing has to be believed about sequences: the
model knows who sent it, who was given it, and what the sender was told. From this it judges:

* No message arrives twice, at the wrong node, or with another content.
* A message of a node that lives has one fate: it arrived, or one failure was told. Only an
  ``UNCERTAIN`` one may have arrived all the same.
* Messages of one sender arrive at one receiver in the order of sending; what was reported uncertain
  may come late.
* What was asked ended, in accordance with what happened.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from atbus.errors import Undeliverable
from atbus.node.events import Fate
from atbus.node.node import Node

# Failures of messages that have, or may have, arrived all the same.
_UNKNOWING = frozenset({"UNCERTAIN", "HANDLER_FAILED"})
# Ends of a question that say nothing about what became of the message.
_IMPATIENT = frozenset({"TIMEOUT", "CLOSING", "cancelled"})


@attrs.define(eq=False)
class Life:
    """One life of one node, from its start to its end."""

    node: Node
    bus_id: int
    number: int
    killed: bool = False
    stopped: bool = False


@attrs.define(eq=False)
class Message:
    """One message that was accepted."""

    number: int
    origin: Life
    target: int
    sequence: int
    digest: bytes
    arrivals: list[tuple[Life, int]] = attrs.field(factory=list)
    fates: list[str] = attrs.field(factory=list)
    confirmations: int = 0
    asked: str = ""
    answer: str = ""

    def __str__(self) -> str:
        where = ", ".join(f"{life.bus_id:x}#{life.number}" for life, _ in self.arrivals)
        return (
            f"message {self.number} from {self.origin.bus_id:x}#{self.origin.number} "
            f"to {self.target:x}, sequence {self.sequence & 0xFFFFFFFF}: arrived at [{where}], "
            f"told {self.fates}, {self.asked} {self.answer}"
        )


class Model:
    """Everything that happened on one bus."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.messages: dict[int, Message] = {}
        self.faults: list[str] = []
        self.refused: Counter[str] = Counter()
        self._by_sequence: dict[tuple[Life, int, int], Message] = {}
        self._clock = 0

    def born(self, node: Node) -> Life:
        """Watch a node that has not started yet."""
        bus_id = node.config.id
        number = sum(1 for life in self.lives if life.bus_id == bus_id)
        life = Life(node, bus_id, number)
        self.lives.append(life)
        node.events.on_forward_response.observe(lambda fate: self.told(life, fate))
        return life

    @staticmethod
    def payload(number: int, size: int) -> bytes:
        """Make the content of a message."""
        return b"%d:" % number + bytes((number * 7 + place) % 251 for place in range(size % 97)) * (
            size // 97 + 1
        )

    # What happens.

    def sent(self, life: Life, target: int, sequence: int, payload: bytes) -> None:
        """Note that a message was accepted."""
        number = _number_of(payload)
        message = Message(number, life, target, sequence, _digest(payload))
        if number in self.messages:
            self.faults.append(f"number {number} was used twice")
        if (life, target, sequence) in self._by_sequence:
            self.faults.append(f"{message}: its sequence was used twice")
        self.messages[number] = message
        self._by_sequence[life, target, sequence] = message

    def arrived(self, life: Life, source: int, payload: bytes) -> None:
        """Note that a node's program was given a message."""
        self._clock += 1
        message = self.messages.get(_number_of(payload))
        if message is None or message.digest != _digest(payload):
            self.faults.append(f"{life.bus_id:x} got something nobody has sent: {payload[:20]!r}")
            return
        message.arrivals.append((life, self._clock))
        if (life.bus_id, source) != (message.target, message.origin.bus_id):
            self.faults.append(f"{message}: it is not for {life.bus_id:x}, or not from {source:x}")

    def late(self, life: Life, source: int, sequence: int) -> None:
        """Note that a reply came for which nobody waited any more."""
        for origin in self.lives:
            message = self._by_sequence.get((origin, life.bus_id, sequence))
            if message is not None and origin.bus_id == source:
                self._clock += 1
                message.arrivals.append((life, self._clock))

    def told(self, life: Life, fate: Fate) -> None:
        """Note what a node was told of its messages."""
        for sequence in range(fate.first_sequence, fate.first_sequence + fate.count):
            message = self._by_sequence.get((life, fate.target, sequence))
            if message is None:
                self.faults.append(f"{life.bus_id:x} was told of what it never sent: {fate}")
            elif fate.status.name == "OK":
                message.confirmations += 1
            else:
                message.fates.append(fate.status.name)

    def asks(self, number: int, kind: str, waiting: Deferred[Any]) -> None:
        """Watch a question about a message that was accepted, if it was."""
        message = self.messages.get(number)
        if message is not None:
            message.asked = kind
        waiting.addBoth(self._ended, number)

    def _ended(self, result: object, number: int) -> None:
        answer = "OK"
        if isinstance(result, Failure):
            error = result.trap(Undeliverable, CancelledError) and result.value
            answer = error.status.name if isinstance(error, Undeliverable) else "cancelled"
        message = self.messages.get(number)
        if message is None:
            self.refused[answer] += 1
            if answer == "OK":
                self.faults.append(f"question {number} was answered and never sent")
        else:
            message.answer = answer

    # What follows from it.

    def verdict(self, given_up: Collection[tuple[int, int]] = ()) -> list[str]:
        """
        Judge.

        :param given_up: Who has said that it gave up the order of messages, and towards whom.
        :returns: What is wrong.
        """
        found = list(self.faults)
        for message in self.messages.values():
            found += [f"{fault}: {message}" for fault in _judge(message)]
        found += self._disorder(set(given_up))
        return found

    def _disorder(self, given_up: set[tuple[int, int]]) -> Iterator[str]:
        """Look for messages that were overtaken."""
        last: dict[tuple[Life, Life], tuple[int, Message]] = {}
        arrivals = [
            (at, life, message)
            for message in self.messages.values()
            for life, at in message.arrivals
        ]
        for _, life, message in sorted(arrivals, key=lambda arrival: arrival[0]):
            pair = (message.origin, life)
            sequence, previous = last.get(pair, (0, message))
            if message.sequence > sequence:
                last[pair] = (message.sequence, message)
            elif not (
                message.origin.killed
                or "UNCERTAIN" in message.fates
                or _was_given_up(message.origin.bus_id, message.target, given_up)
            ):
                yield f"overtaken by message {previous.number}: {message}"

    def counts(self) -> Counter[str]:
        """Count what became of messages, to see that a simulation is worth something."""
        counts: Counter[str] = Counter()
        for message in self.messages.values():
            counts[message.fates[0] if message.fates else "delivered"] += 1
        return counts


def _judge(message: Message) -> Iterable[str]:
    arrivals = len(message.arrivals)
    if arrivals > 1:
        yield "arrived twice"
    if len(message.fates) > 1:
        yield "failed twice"
    if message.confirmations > 1:
        yield "confirmed twice"
    if message.confirmations and not arrivals:
        yield "confirmed and never arrived"
    if message.confirmations and message.fates:
        yield "confirmed and failed"
    if arrivals and set(message.fates) - _UNKNOWING:
        yield "failed, and arrived"
    if message.asked and message.answer == "OK" and not arrivals:
        yield "answered and never arrived"
    if arrivals and message.answer not in _UNKNOWING | _IMPATIENT | {"OK", ""}:
        yield "its question failed for sure, and it arrived"
    if message.origin.killed:
        return
    if not arrivals and not message.fates:
        yield "lost without a word"
    if message.asked and not message.answer:
        yield "its question never ended"


def _was_given_up(origin: int, target: int, given_up: set[tuple[int, int]]) -> bool:
    """Tell whether a node, or its proxy, said that order towards a node, or its proxy, is over."""
    givers = {origin, origin & ~0xFF}
    towards = {target, target & ~0xFF}
    return any(giver in givers and toward in towards for giver, toward in given_up)


def _number_of(payload: bytes) -> int:
    head, _, _ = payload[:24].partition(b":")
    return int(head) if head.isdigit() else -1


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=8).digest()
