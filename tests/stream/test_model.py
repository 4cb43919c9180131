"""Two exchanges and a bus between them that may do what a bus may do."""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.stream import bounds
from atbus.stream.effects import Due, Effect, Ended, Finished, Key, Offered, Opened, Received, Send
from atbus.stream.exchange import Exchange

A, B = 0x10, 0x20
SIZES = (1, 100, bounds.CHUNK_BYTES * 3, 200_000)
SIDES = st.sampled_from([A, B])


def other(side: int) -> int:
    """Give the other node."""
    return B if side == A else A


class End:
    """What a program knows of one end."""

    def __init__(self) -> None:
        self.wrote = bytearray()
        self.got = bytearray()
        self.finished = self.left = self.is_finished = False
        self.paused = False
        self.ended: Status | None = None


class Pair(RuleBasedStateMachine):
    """
    Two nodes that open streams to each other, write, read, stall, leave and die.

    What is said arrives in order, or its sender is told that it perhaps did not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epochs = {A: 1, B: 1}
        self.exchanges = {A: Exchange(1), B: Exchange(1)}
        self.wires: dict[int, deque[Any]] = {A: deque(), B: deque()}
        # By side and stream, of the present life.
        self.ends: dict[int, dict[Key, End]] = {A: {}, B: {}}
        self.due: dict[int, list[Key]] = {A: [], B: []}

    def perform(self, side: int, effects: list[Effect]) -> None:
        """Do what an exchange asks for, and be the program."""
        todo = deque(effects)
        while todo:
            effect = todo.popleft()
            end = self.ends[side].get(effect.key)
            match effect:
                case Send(message=message):
                    sent = attrs.evolve(message, source=side, epoch=self.epochs[side])
                    self.wires[side].append(sent)
                case Due(key=key):
                    self.due[side].append(key)
                case Offered(key=key):
                    self.ends[side][key] = End()
                    todo.extend(self.exchanges[side].accept(key, self.now))
                case Received(data=data):
                    assert end is not None
                    assert end.ended is None
                    assert not end.paused
                    assert not end.left
                    end.got += data
                case Finished():
                    assert end is not None
                    assert not end.is_finished
                    end.is_finished = True
                case Ended(status=status):
                    assert end is not None
                    assert end.ended is None
                    end.ended = status
                case Opened():
                    assert end is not None

    def open_keys(self, side: int) -> list[Key]:
        """Give the streams whose programs have not heard of their end."""
        return [key for key, end in self.ends[side].items() if end.ended is None]

    @rule(side=SIDES)
    def open(self, side: int) -> None:
        """Open a stream."""
        key, effects = self.exchanges[side].open(other(side), "x", self.now)
        self.ends[side][key] = End()
        self.perform(side, effects)

    @rule(side=SIDES, data=st.data(), size=st.sampled_from(SIZES))
    def write(self, side: int, data: Any, size: int) -> None:
        """Write to one."""
        if keys := self.open_keys(side):
            key = data.draw(st.sampled_from(keys))
            end = self.ends[side][key]
            text = bytes((len(end.wrote) + place) % 251 for place in range(size))
            if not (end.finished or end.left):
                end.wrote += text
            self.perform(side, self.exchanges[side].write(key, text, self.now))

    @rule(side=SIDES, data=st.data(), how=st.sampled_from(["finish", "leave", "abort"]))
    def close(self, side: int, data: Any, how: str) -> None:
        """End one, in one of three ways."""
        if keys := self.open_keys(side):
            key = data.draw(st.sampled_from(keys))
            end, exchange = self.ends[side][key], self.exchanges[side]
            if how == "finish":
                end.finished = True
                self.perform(side, exchange.finish(key, self.now))
            elif how == "leave":
                end.left = True
                self.perform(side, exchange.leave(key, self.now))
            else:
                self.perform(side, exchange.refuse(key, Status.DISCONNECTED, "", self.now))

    @rule(side=SIDES, data=st.data())
    def stall_or_read(self, side: int, data: Any) -> None:
        """Stop reading one, or begin again."""
        if keys := self.open_keys(side):
            key = data.draw(st.sampled_from(keys))
            end = self.ends[side][key]
            end.paused = not end.paused
            if end.paused:
                self.exchanges[side].pause(key)
            else:
                self.perform(side, self.exchanges[side].resume(key, self.now))

    @rule(side=SIDES, count=st.integers(1, 40))
    def arrive(self, side: int, count: int) -> None:
        """Let what a side has said arrive, and the turn end."""
        for _ in range(min(count, len(self.wires[side]))):
            message = self.wires[side].popleft()
            target = other(side)
            self.perform(target, self.exchanges[target].receive(message, self.now))
            self.turn(target)

    def turn(self, side: int) -> None:
        """End a turn."""
        due, self.due[side] = self.due[side], []
        for key in due:
            self.perform(side, self.exchanges[side].go_on(key, self.now))

    @rule(side=SIDES)
    def end_turn(self, side: int) -> None:
        """End a turn."""
        self.turn(side)

    @precondition(lambda self: self.wires[A] or self.wires[B])
    @rule(side=SIDES, told=st.booleans())
    def lose(self, side: int, told: bool) -> None:
        """Lose the next thing that a side has said; it is told so, or will hear nothing more."""
        if self.wires[side]:
            lost = self.wires[side].popleft()
            if told:
                effects = self.exchanges[side].told(
                    other(side), lost.sequence, Status.UNCERTAIN, "", self.now
                )
                self.perform(side, effects)

    @rule(side=SIDES)
    def hold_and_release(self, side: int) -> None:
        """Let a way take nothing for a moment."""
        self.exchanges[side].hold(other(side))
        self.turn(side)
        self.perform(side, self.exchanges[side].release(other(side), self.now))

    @rule(seconds=st.sampled_from([1.0, 20.0, 40.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for side in (A, B):
            self.perform(side, self.exchanges[side].tick(self.now))

    @rule(side=SIDES)
    def die(self, side: int) -> None:
        """End a node, and begin its next life; what it has said may still arrive."""
        self.epochs[side] += 1
        self.exchanges[side] = Exchange(self.epochs[side])
        self.ends[side] = {}
        self.due[side] = []

    @invariant()
    def what_came_was_written(self) -> None:
        """Every byte in its place, none twice, none of another stream; and within the bounds."""
        for side in (A, B):
            for key, end in self.ends[side].items():
                text = bytes(place % 251 for place in range(len(end.got)))
                assert bytes(end.got) == text
                far = self.ends[other(side)].get(Key(side, not key.ours, key.stream_id))
                if far is not None and end.is_finished:
                    assert end.got == far.wrote
                    assert far.finished or far.left
            held = self.exchanges[side]
            unread = sum(end.unread_bytes for end in held._ends.values())
            assert unread <= len(held) * bounds.WINDOW_BYTES

    def teardown(self) -> None:
        """In the end all that was said arrives, time passes, and nothing is left that has left."""
        for side in (A, B):
            for key in self.open_keys(side):
                self.ends[side][key].left = True
                self.perform(side, self.exchanges[side].leave(key, self.now))
        for _ in range(400):
            for side in (A, B):
                self.turn(side)
                self.arrive(side, 1_000)
                self.perform(side, self.exchanges[side].tick(self.now))
            self.now += 1.0
        for side in (A, B):
            assert len(self.exchanges[side]) == 0
            assert self.open_keys(side) == []
            for key, end in self.ends[side].items():
                far = self.ends[other(side)].get(Key(side, not key.ours, key.stream_id))
                if end.ended is Status.OK and far is not None and not far.left:
                    assert far.got == end.wrote


class ModelTests(SynchronousTestCase):
    """What must hold whatever the programs and the bus do."""

    def test_whatever_happens(self) -> None:
        """What came was written, in order, once; in the end nothing is left."""
        run_state_machine_as_test(
            Pair, settings=settings(deadline=None, max_examples=60, stateful_step_count=40)
        )
