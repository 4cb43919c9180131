"""
Lanes, memory, unix sockets and TCP carry frames one way under one contract.

The tests are `atbus.testing.one_way.OneWayContract`; what they show for each of the four is:

Scenario: D2, D10, D14, D16, D18, D19
"""

from __future__ import annotations

import itertools
import os

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.lane_channel import Fence
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.channels.schemes import Channels
from atbus.testing.one_way import OneWayContract
from atbus.testing.recording import Reception, RecordingReceiver
from tests.channels.sockets import SocketTests

_names = itertools.count()


class WayTests(SocketTests):
    """What all of them need."""

    def patience(self) -> ChannelOptions:
        """Give options for a machine that is busy with other things."""
        seconds = float(OneWayContract.timeout)
        return ChannelOptions(
            frame_limit=1 << 20,
            allow_insecure=True,
            connect_timeout_seconds=seconds,
            write_deadline_seconds=seconds,
            linger_seconds=seconds,
        )

    def end_later(self, *ends: RecordingReceiver) -> None:
        """End both channels when the test is over."""

        async def end() -> None:
            for each in ends:
                if not each.ends:
                    each.channel.abort("the test is over")
                await each.end()

        self.addCleanup(lambda: Deferred.fromCoroutine(end()))

    async def dialled(self, address: Address, reader: RecordingReceiver) -> RecordingReceiver:
        """Listen, dial, and give the dialling end."""
        channels = Channels(self.reactor, self.patience(), self.timers)
        reception = Reception(lambda: reader)
        listener = await channels.listen(address, reception)
        self.addCleanup(listener.stop)
        writer = RecordingReceiver()
        await channels.connect(listener.address, writer)
        await reception.guests(1)
        self.end_later(writer, reader)
        return writer


class LaneTests(OneWayContract, WayTests):
    """Lanes of shared memory keep the contract."""

    def setUp(self) -> None:
        super().setUp()
        self.fence = Fence()
        self.addCleanup(self.fence.close)

    async def make_way(self, reader: RecordingReceiver) -> RecordingReceiver:
        place = Address(Scheme.SHM, "reader")
        size_bytes = limits.LANE_BYTES
        lane = IncomingLane(self.reactor, place, "writer", self.timers, self.fence, size_bytes)
        memory, bell = (os.dup(each) for each in lane.descriptors)
        ends = OutgoingLane(
            place,
            "reader",
            self.timers,
            self.patience(),
            self.fence,
            (memory, bell),
            size_bytes=lane.size_bytes,
            record_max=lane.record_max,
        )
        # Between nodes the word goes over the stream.
        lane.tell_room = ends.nudge
        writer = RecordingReceiver()
        ends.start(writer)
        lane.start(reader)
        self.end_later(writer, reader)
        return writer


class MemoryTests(OneWayContract, WayTests):
    """Memory between the nodes of one process keeps the contract."""

    async def make_way(self, reader: RecordingReceiver) -> RecordingReceiver:
        return await self.dialled(Address(Scheme.MEM, f"{self.id()}-{next(_names)}"), reader)


class UnixTests(OneWayContract, WayTests):
    """Unix sockets keep the contract."""

    async def make_way(self, reader: RecordingReceiver) -> RecordingReceiver:
        return await self.dialled(self.unix_address(), reader)


class TcpTests(OneWayContract, WayTests):
    """TCP keeps the contract."""

    async def make_way(self, reader: RecordingReceiver) -> RecordingReceiver:
        return await self.dialled(Address(Scheme.IPV4, "127.0.0.1", 0), reader)
