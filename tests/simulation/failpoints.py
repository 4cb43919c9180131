"""
Named moments of the protocol at which a node is killed or a connection breaks.

A moment is the instant in which a frame of one type goes out, for the how manyth time on the whole
bus, and whether what happens does so before or after it: ``before FLUSH 3``, ``after HELLO 1``.
There is nothing of it in the code that is tested: channels of the virtual network see all frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from unittest import mock

import attrs

from atbus.testing.channel import VirtualChannel
from atbus.wire.head import peek
from atbus.wire.messages import MessageType
from tests.simulation.model import Life
from tests.simulation.world import World

_BACK_SECONDS: Final = 10.0


@attrs.define(eq=False)
class Failpoint:
    """
    Something that happens once.

    :param type: Of the frame.
    :param number: Which of them, from 1.
    :param after: Whether that frame still goes out.
    :param kills: Whether its node is killed; else the connection breaks.
    """

    type: MessageType
    number: int
    after: bool
    kills: bool
    has_happened: bool = attrs.field(init=False, default=False)
    _seen: int = attrs.field(init=False, default=0)

    def __str__(self) -> str:
        moment = f"{'after' if self.after else 'before'} {self.type.name} {self.number}"
        return f"{'kill' if self.kills else 'cut'} {moment}"

    @contextmanager
    def armed(self, world: World) -> Iterator[None]:
        """
        Let it happen while the context lasts.

        :param world: Whose nodes are to come back when they were killed.
        """
        send = VirtualChannel.send

        def look(channel: VirtualChannel, frames: Sequence[bytes]) -> None:
            for place, frame in enumerate(frames):
                self._seen += peek(frame)[1] == self.type
                if self._is_due(world):
                    self.has_happened = True
                    send(channel, frames[: place + self.after])
                    self._happen(world, channel)
                    frames = frames[place + self.after :]
                    break
            send(channel, frames)

        with mock.patch.object(VirtualChannel, "send", look):
            yield

    def _is_due(self, world: World) -> bool:
        # There has to be time to come back before everybody is told to stop.
        last_at = world.quiet_at + _BACK_SECONDS
        may_happen = not self.has_happened and world.network.clock.seconds() < last_at
        return may_happen and self._seen == self.number

    def _happen(self, world: World, channel: VirtualChannel) -> None:
        """Let nothing more out; what the node does until this turn is over nobody is told of."""
        if not self.kills:
            channel.stall()
            channel.carry(channel.other.hang_up)
            world.note(str(self))
            world.network.clock.callLater(0, channel.hang_up)
            return
        for each in channel.process.channels:
            each.stall()
        for life in world.nodes.values():
            if world.network.process_of(life.node) is channel.process:
                world.network.clock.callLater(0, self._kill, world, life)

    def _kill(self, world: World, life: Life) -> None:
        world.note(str(self))
        if not life.killed:
            world.end(life, world.network.kill)
