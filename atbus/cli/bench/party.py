"""
One process of a measurement: ``python -m atbus.cli.bench.party TASK...``.

Usually it has one task; with several, as nodes that share the memory of one process have, each line
says which it is about. It speaks with the command that started it in lines of JSON: it says when it
is up, and the address that it listens at; a sender is told to go, and says what it sent; everybody
else is told how many messages there were for it, waits for them, and says what came. When its stdin
ends, so does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.busid import format_bus_id
from atbus.cli.bench.arrivals import Arrivals, Messages, Times
from atbus.cli.bench.certificates import tls_options
from atbus.cli.bench.task import ONE_WAY, TOP, Task, read_line
from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.events import Fate
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node

#: No message for so long: what is missing will not come; what cannot be sent never will.
QUIET_SECONDS: Final = 10.0

_MEASURED, _FIRST = 1, 0
# What a program offers in one turn that has much to say. A longer turn only keeps others waiting.
_BURST_BYTES: Final = 256 * 1024
_BURST_MAX: Final = 500
# A full queue is tried again after this, and so is a rate that has no message due.
_PAUSE_SECONDS: Final = 0.001
_LINE_BYTES_MAX: Final = 1 << 26
# Memory is given to who sends 64 KiB in a second: so much every so often, for so long at most.
_WARM_BYTES: Final = 8_192
_WARM_SECONDS: Final = 0.05
_WARM_SECONDS_MAX: Final = 120


class Party:
    """
    What all have in common: a node, and what the process has used.

    :param task: What to do.
    :param reactor: The process's.
    """

    def __init__(self, task: Task, reactor: Any) -> None:
        wishes = task.wishes
        self.task = task
        self.reactor = reactor
        self.messages = Messages(wishes.size)
        usual = NodeConfig()
        listen = [task.listen] if task.listen else []
        if wishes.channel in ONE_WAY:
            listen.append(f"{wishes.channel}://auto")
        self.node = Node(
            NodeConfig(
                id=task.bus_id,
                listen=listen,
                # One from each of the others.
                shm_lanes_max=wishes.targets + 1,
                upstream=task.upstream or None,
                subnets=[(0, 16)] if task.bus_id == TOP else [],
                # What is to go through a relay must not find a shorter way.
                direct_notice=False,
                **tls_options(task),
                message_bytes_max=max(wishes.size, usual.message_bytes_max),
            ),
            reactor,
        )
        self._used_before = 0.0
        self._forwarded_before = 0
        self.node.on_command(self._commanded)

    def begin(self) -> None:
        """Count processor time, and what passes, from here."""
        self._used_before = _used_seconds()
        self._forwarded_before = self.node.statistics.forwarded_messages

    def _commanded(self, _source: int, _words: tuple[bytes, ...]) -> list[bytes]:
        """Begin when the sender does."""
        self.begin()
        return []

    def told(self, line: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
        """
        Do what the command says.

        :param line: It.
        :param say: Takes the report when there is one.
        """
        say(self.report())

    def report(self) -> dict[str, Any]:
        """Say what this process has done."""
        return {
            "process": os.getpid(),
            "forwarded": self.node.statistics.forwarded_messages - self._forwarded_before,
            "cpu_seconds": _used_seconds() - self._used_before,
            "peak_bytes": _peak_bytes(),
        }


@implementer(IMessageReceiver)
class Target(Party):
    """Takes messages, checks them, and answers requests with what they said."""

    def __init__(self, task: Task, reactor: Any) -> None:
        super().__init__(task, reactor)
        wishes = task.wishes
        self.arrivals = Arrivals(self.messages, wishes.count // wishes.targets)
        self._take = self.arrivals.take
        self._expected = -1
        self._say: Callable[[dict[str, Any]], None] | None = None
        self.node.receiver = self
        self.node.on_request(self._asked)

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Check one message."""
        if kind != _FIRST:
            self._take(payload)
            if self.arrivals.received == self._expected:
                self._finish()
        elif payload and self.task.wishes.work == "request":
            # Answers have memory of their own, which is given to who sends much.
            with contextlib.suppress(Undeliverable):
                self.node.send(source, payload, _FIRST)

    def _asked(self, _source: int, payload: bytes) -> bytes:
        # The first question only makes the way.
        if payload:
            self._take(payload)
        return payload

    def told(self, line: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
        """Wait until all is there that was sent, or nothing comes any more."""
        self._expected = line["sent"]
        self._say = say
        if self.arrivals.received >= self._expected:
            self._finish()
        else:
            self._watch(self.arrivals.received)

    def _watch(self, seen: int) -> None:
        def look() -> None:
            if self._say is None:
                return
            if self.arrivals.received == seen:
                self._finish()
            else:
                self._watch(self.arrivals.received)

        self.reactor.callLater(QUIET_SECONDS, look)

    def _finish(self) -> None:
        say, self._say = self._say, None
        if say is not None:
            say(self.report())

    def report(self) -> dict[str, Any]:
        """Say what came."""
        return super().report() | self.arrivals.report()


@implementer(IMessageReceiver)
class Sender(Party):
    """Offers messages in turn to all targets."""

    def __init__(self, task: Task, reactor: Any) -> None:
        super().__init__(task, reactor)
        self.node.receiver = self
        self.node.events.on_forward_response.observe(self._heard)
        self._sent = dict.fromkeys(task.targets, 0)
        self._place = 0
        self._lost: Counter[str] = Counter()
        self._times = Times()
        self._answered = 0
        self._say: Callable[[dict[str, Any]], None] = lambda _: None
        self._began_ns = self._moved_ns = self._ended_ns = 0

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        """Take no note: what comes back only makes the way."""

    def told(self, line: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
        """Make the ways, then go."""
        self._say = say
        Deferred.fromCoroutine(self._make_ways()).addCallbacks(lambda _: self._go(), self._broken)

    async def _make_ways(self) -> None:
        """Let each target confirm a message; wait until data takes the memory it is to take."""
        node, wishes = self.node, self.task.wishes
        first: Callable[[int, bytes, int], Deferred[Any]] = (
            node.request if wishes.work == "request" else node.deliver
        )
        for target in self.task.targets:
            await first(target, b"", _FIRST)
        if wishes.channel in ONE_WAY:
            await self._fill_memory(first)
        # What it costs to make the ways is not measured.
        for other in (*self.task.targets, *([TOP] if wishes.work == "relay" else [])):
            await node.command(other, b"begin")

    async def _fill_memory(self, first: Callable[[int, bytes, int], Deferred[Any]]) -> None:
        """Send until data takes the memory that it is to take; nothing of that is left then."""
        node, wishes = self.node, self.task.wishes
        status = json.loads(b"".join(await node.command(node.bus_id, b"atbus.status")))
        if wishes.channel == "shm" and status["shared_memory"] != "on":
            raise LocalProtocolError(status["shared_memory"])
        until_ns = time.monotonic_ns() + _WARM_SECONDS_MAX * 10**9
        while not await self._takes_memory():
            if time.monotonic_ns() > until_ns:
                raise Undeliverable(Status.TIMEOUT, self.task.targets[0])
            with contextlib.suppress(Undeliverable):
                for target in self.task.targets:
                    node.send(target, bytes(_WARM_BYTES), _FIRST)
            await deferLater(self.reactor, _WARM_SECONDS)
        # Behind everything that was sent before.
        for target in self.task.targets:
            await first(target, b"", _FIRST)

    async def _takes_memory(self) -> bool:
        """Ask all who send something whether it takes memory."""
        wishes, channel = self.task.wishes, self.task.wishes.channel
        tellers = {
            "relay": (self.node.bus_id, TOP),
            "request": (self.node.bus_id, *self.task.targets),
        }
        for teller in tellers.get(wishes.work, (self.node.bus_id,)):
            answer = await self.node.command(teller, b"atbus.links")
            links = json.loads(b"".join(answer))
            used = {each["id"] for each in links if each["used"] and each["channel"] == channel}
            neighbors = self.task.targets if teller == TOP else (TOP,)
            if not used.issuperset(format_bus_id(neighbor) for neighbor in neighbors):
                return False
        return True

    def _broken(self, failure: Failure) -> None:
        error: Any = failure.value
        self._fail(error.status.name if isinstance(error, Undeliverable) else str(error))
        self._done()

    def _go(self) -> None:
        self.begin()
        self._began_ns = self._moved_ns = time.monotonic_ns()
        if self.task.wishes.work in ("send", "relay"):
            self._push()
        else:
            for _ in range(min(self.task.wishes.window, self.task.wishes.count)):
                self._ask()

    # Without waiting for answers.

    def _push(self) -> None:
        wishes, targets = self.task.wishes, self.task.targets
        burst = self._due(min(_BURST_MAX, max(1, _BURST_BYTES // wishes.size)))
        send, make, sent = self.node.send, self.messages.make, self._sent
        now = time.monotonic_ns()
        place = before = self._place
        end = place + burst
        pause = 0.0 if burst else _PAUSE_SECONDS
        try:
            while place < end:
                target = targets[place % len(targets)]
                number = sent[target]
                send(target, make(number, now), _MEASURED)
                sent[target] = number + 1
                place += 1
        except Undeliverable as refusal:
            if refusal.status is not Status.BACKPRESSURE or self._is_stuck(now):
                self._fail(refusal.status.name)
                place = wishes.count
            pause = _PAUSE_SECONDS
        if place > before or not burst:
            self._moved_ns = now
        self._place = place
        if place < wishes.count:
            self.reactor.callLater(pause, self._push)
        else:
            self._done()

    def _due(self, burst: int) -> int:
        """Say how many messages may be offered now."""
        wishes = self.task.wishes
        left = wishes.count - self._place
        if wishes.rate:
            passed_seconds = (time.monotonic_ns() - self._began_ns) / 1e9
            left = min(left, int(passed_seconds * wishes.rate) + 1 - self._place)
        return max(0, min(burst, left))

    def _is_stuck(self, now_ns: int) -> bool:
        return now_ns - self._moved_ns > QUIET_SECONDS * 1e9

    def _heard(self, fate: Fate) -> None:
        if fate.status is not Status.OK and self.task.wishes.work in ("send", "relay"):
            self._lost[fate.status.name] += fate.count

    # Waiting for answers.

    def _ask(self) -> None:
        wishes, targets = self.task.wishes, self.task.targets
        target = targets[self._place % len(targets)]
        self._place += 1
        number = self._sent[target]
        self._sent[target] = number + 1
        began_ns = time.monotonic_ns()
        payload = self.messages.make(number, began_ns)
        answer: Deferred[Any]
        if wishes.work == "request":
            answer = self.node.request(target, payload, _MEASURED, QUIET_SECONDS)
        else:
            answer = self.node.deliver(target, payload, _MEASURED, QUIET_SECONDS)
        answer.addCallback(self._answer, payload, began_ns).addErrback(self._no_answer)
        answer.addCallback(self._next)

    def _answer(self, answer: object, payload: bytes, began_ns: int) -> None:
        self._times.add(time.monotonic_ns() - began_ns)
        if self.task.wishes.work == "request" and answer != payload:
            self._fail("REPLY_DAMAGED")

    def _no_answer(self, failure: Failure) -> None:
        failure.trap(Undeliverable)
        error: Any = failure.value
        self._fail(error.status.name)

    def _next(self, _: object) -> None:
        self._answered += 1
        if self._place < self.task.wishes.count:
            # Not from in here: what is refused at once would call itself for ever.
            self.reactor.callLater(0, self._ask_next)
        elif self._answered == self.task.wishes.count:
            self._done()

    def _ask_next(self) -> None:
        # Of several answers in one turn each has found that there is more to ask.
        if self._place < self.task.wishes.count:
            self._ask()

    def _fail(self, why: str) -> None:
        self._lost[why] += 1

    def _done(self) -> None:
        self._ended_ns = time.monotonic_ns()
        self._say(self.report())

    def report(self) -> dict[str, Any]:
        """Say what was sent, and what became of it."""
        return super().report() | {
            "sent": {str(target): count for target, count in self._sent.items()},
            "failed": self._lost,
            "times": self._times.counts,
            "began_ns": self._began_ns,
            "ended_ns": self._ended_ns,
        }


class Lines(LineOnlyReceiver):
    """
    The process that started this one, at stdin and stdout.

    :param parties: Do what it says.
    """

    delimiter = b"\n"
    MAX_LENGTH = _LINE_BYTES_MAX

    def __init__(self, *parties: Party) -> None:
        self._parties = parties

    def connectionMade(self) -> None:  # Twisted's name
        """Start the nodes, and say so."""
        for place, party in enumerate(self._parties):
            party.node.start().addCallbacks(self._up, self._down, (place,))

    def lineReceived(self, line: bytes) -> None:  # Twisted's name
        """Do what a line says."""
        try:
            values = read_line(line)
        except ValueError as error:
            self._down(Failure(error))
            return
        place = values.get("place", 0)
        self._parties[place].told(values, partial(self._say, place))

    def connectionLost(self, reason: Failure | None = None) -> None:  # Twisted's name
        """End this process; nobody is left to hear of it."""
        reactor = self._parties[0].reactor
        if reactor.running:
            reactor.stop()

    def _up(self, _: object, place: int) -> None:
        party = self._parties[place]
        party.begin()
        addresses = [str(each) for each in party.node.addresses if each.is_duplex]
        self._say(place, {"addresses": addresses})

    def _down(self, failure: Failure) -> None:
        print(failure.getErrorMessage(), file=sys.stderr, flush=True)
        self._parties[0].reactor.stop()

    def _say(self, place: int, values: dict[str, Any]) -> None:
        line = json.dumps({"place": place, **values})
        self.sendLine(line.encode("ascii"))  # type: ignore[no-untyped-call]


def make(task: Task, reactor: Any) -> Party:
    """
    Make what a task asks for.

    :param task: Of one process.
    :param reactor: The process's.
    :returns: It, with a node that is not started.
    """
    kinds: dict[str, type[Party]] = {"sender": Sender, "target": Target}
    return kinds.get(task.role, Party)(task, reactor)


def _used_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_bytes() -> int:
    # Not ru_maxrss: a process inherits that from the one that started it.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Take part."""
    from twisted.internet import reactor

    # An interrupt from the keyboard is for the command, which ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parties = [make(Task.from_json(text), reactor) for text in sys.argv[1:]]
    StandardIO(Lines(*parties), reactor=reactor)
    the_reactor: Any = reactor
    the_reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
