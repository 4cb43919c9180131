"""
Everything that carries frames keeps the contract of channels: memory, shared memory, unix sockets
and TCP.

The tests are `atbus.testing.channels.ChannelContract`, and each of them runs against each of these.
A lane of shared memory goes one way and is not dialled: what keeps the contract is a lane in each
direction with the stream over which they were offered, as between two nodes
(`tests.channels.paired_lanes`). What a single lane does is in `tests.channels.test_one_way`. What
the tests show for each is:

Scenario: D2, D3, D4, D5, D6, D8, D10, D14, D16, D18, D19, D20, D22
"""

from __future__ import annotations

import itertools

from atbus.address import Address, Scheme
from atbus.channels.interfaces import ChannelOptions, IChannelScheme
from atbus.channels.schemes import Channels
from atbus.testing.channels import ChannelContract
from tests.channels.paired_lanes import PairedLanes
from tests.channels.sockets import SocketTests


class MemoryTests(ChannelContract, SocketTests):
    """Channels between nodes of one process keep the contract."""

    def setUp(self) -> None:
        self._names = itertools.count()
        super().setUp()

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        return Channels(self.reactor, options, self.timers)

    def make_address(self) -> Address:
        return Address(Scheme.MEM, f"{self.id()}-{next(self._names)}")


class LaneTests(ChannelContract, SocketTests):
    """Lanes of shared memory in both directions, with their stream, keep the contract."""

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        streams = Channels(self.reactor, options, self.timers)
        return PairedLanes(streams, self.reactor, options, self.timers)

    def make_address(self) -> Address:
        return self.unix_address()


class UnixTests(ChannelContract, SocketTests):
    """
    Unix sockets keep the contract.

    Scenario: D9
    """

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        return Channels(self.reactor, options, self.timers)

    def make_address(self) -> Address:
        return self.unix_address()


class Ipv4Tests(ChannelContract, SocketTests):
    """TCP over IPv4 keeps the contract."""

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        return Channels(self.reactor, options, self.timers)

    def make_address(self) -> Address:
        return Address(Scheme.IPV4, "127.0.0.1", 0)


class Ipv6Tests(ChannelContract, SocketTests):
    """TCP over IPv6 keeps the contract."""

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        return Channels(self.reactor, options, self.timers)

    def make_address(self) -> Address:
        return Address(Scheme.IPV6, "::1", 0)


class DnsTests(ChannelContract, SocketTests):
    """TCP by name keeps the contract."""

    def make_scheme(self, options: ChannelOptions) -> IChannelScheme:
        return Channels(self.reactor, options, self.timers)

    def make_address(self) -> Address:
        return Address(Scheme.DNS, "localhost", 0)
