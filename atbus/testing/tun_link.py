"""
Join two namespaces by a network that is as bad as one likes: real packets, reproducible weather.

Each namespace gets a TUN device, and what is written into one comes out of the other when and if
the weather (`atbus.testing.weather`) says so. Which packets suffer follows from a seed, which a
kernel's queueing discipline does not offer::

    with Namespace() as here, Namespace() as there:
        link = TunLink(reactor, here, there, seed=1)
        link.start()
        link.weather(Weather(delay_seconds=0.15, loss=0.2, bytes_per_second=8_000))
        ...                     # here is 10.119.0.1, there 10.119.0.2, from the other one
        link.cut(Way.TO_THERE)  # nothing arrives there; what comes from there does
        link.stop()

The reactor carries the packets, so that it should have little else to do. Linux, as root.
"""

from __future__ import annotations

import enum
import os
import socket
import subprocess
import sys
from random import Random
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.channels.timers import MonotonicTimers
from atbus.testing import tun_device
from atbus.testing.namespace import Namespace
from atbus.testing.weather import PacketPath, Weather

_MTU = 1500

_PACKETS_A_TURN = 256

_NOTHING = Weather(loss=1.0)


class Way(enum.Enum):
    """A way over the link."""

    TO_HERE = enum.auto()
    TO_THERE = enum.auto()


class TunLink:
    """
    Carry packets between two namespaces.

    :param reactor: It reads the devices.
    :param here: One namespace.
    :param there: The other one.
    :param seed: What happens to the packets, besides their times, follows from it.
    :param network: The first three numbers of the addresses; links of one namespace need different
        ones.
    """

    def __init__(
        self,
        reactor: Any,
        here: Namespace,
        there: Namespace,
        *,
        seed: int = 0,
        network: str = "10.119.0",
    ) -> None:
        self.here_address = f"{network}.1"
        """Where *here* is reached from *there*, and from itself."""
        self.there_address = f"{network}.2"
        """Where *there* is reached."""
        self.paths = {way: PacketPath(Random(f"{seed} {way.name}")) for way in Way}
        """The two ways; their counters tell what was carried and lost."""
        self._reactor = reactor
        self._ends = {Way.TO_HERE: here, Way.TO_THERE: there}
        self._devices: list[_Device] = []
        self._ways: list[_Carrier] = []
        self._fair: dict[Way, Weather] = {}

    def start(self) -> None:
        """
        Make the devices, and let packets pass.

        :raises OSError: There is no TUN device on this machine, or its name is taken.
        """
        addresses = {Way.TO_HERE: self.here_address, Way.TO_THERE: self.there_address}
        devices = {}
        for way, namespace in self._ends.items():
            peer = addresses[Way.TO_THERE if way is Way.TO_HERE else Way.TO_HERE]
            device = devices[way] = _Device(namespace, addresses[way], peer)
            self._devices.append(device)
        timers = MonotonicTimers(self._reactor)
        for way, source in ((Way.TO_HERE, Way.TO_THERE), (Way.TO_THERE, Way.TO_HERE)):
            carrier = _Carrier(timers, self.paths[way], devices[source], devices[way])
            self._ways.append(carrier)
            self._reactor.addReader(carrier)

    def stop(self) -> None:
        """Carry nothing more, and remove the devices."""
        for carrier in self._ways:
            self._reactor.removeReader(carrier)
            carrier.stop()
        for device in self._devices:
            os.close(device.descriptor)
        self._ways.clear()
        self._devices.clear()

    def weather(self, weather: Weather, *ways: Way) -> None:
        """
        Let the weather be different from now on.

        :param weather: How it is.
        :param ways: On which ways; left out, on both. A way that was cut is open again.
        """
        for way in ways or Way:
            self._fair.pop(way, None)
            self.paths[way].weather = weather

    def cut(self, *ways: Way) -> None:
        """
        Let nothing set out any more, as if a cable were cut: nobody is told.

        :param ways: On which ways; left out, on both.
        """
        for way in ways or Way:
            self._fair.setdefault(way, self.paths[way].weather)
            self.paths[way].weather = _NOTHING

    def mend(self, *ways: Way) -> None:
        """
        Undo `cut`: the weather is what it was before.

        :param ways: On which ways; left out, on both.
        """
        for way in ways or Way:
            self.paths[way].weather = self._fair.pop(way, self.paths[way].weather)


class _Device:
    """A TUN device inside of a namespace, and its descriptor, which works from everywhere."""

    def __init__(self, namespace: Namespace, address: str, peer: str) -> None:
        name = f"atbus{address.split('.')[2]}"
        self.descriptor = _open_inside(namespace, name)
        try:
            namespace.run("ip", "address", "add", address, "peer", peer, "dev", name)
            namespace.run("ip", "link", "set", name, "up", "mtu", str(_MTU))
        except OSError:
            os.close(self.descriptor)
            raise


def _open_inside(namespace: Namespace, name: str) -> int:
    """Open a device inside: a process that goes there hands us the descriptor."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, its:
        word = str(its.fileno())
        # Isolated, or the modules beside that file would hide those of the standard library.
        opener = [sys.executable, "-I", tun_device.__file__, word, name]
        done = subprocess.run(  # noqa: S603  # a list of words, no shell
            namespace.command(*opener),
            pass_fds=[its.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            message = f"the device {name} cannot be made: {done.stderr.strip()}"
            raise OSError(message)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    os.set_blocking(descriptors[0], False)
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


@implementer(IReadDescriptor)
class _Carrier:
    """Reads the packets of one device, and writes into the other one what arrives."""

    def __init__(
        self, timers: MonotonicTimers, path: PacketPath, source: _Device, target: _Device
    ) -> None:
        self._timers = timers
        self._path = path
        self._source = source
        self._target = target
        self._call: IDelayedCall | None = None
        self._due_at: float | None = None

    def fileno(self) -> int:
        return self._source.descriptor

    def logPrefix(self) -> str:
        return "tun link"

    def connectionLost(self, reason: Failure) -> None:
        """It is not a connection."""

    def doRead(self) -> None:
        now = self._timers.seconds()
        for _ in range(_PACKETS_A_TURN):
            try:
                packet = os.read(self._source.descriptor, 65_536)
            except BlockingIOError:
                break
            self._path.offer(packet, now)
        self._deliver()

    def _deliver(self) -> None:
        for packet in self._path.due(self._timers.seconds()):
            try:
                os.write(self._target.descriptor, packet)
            except OSError:
                # The device's own queue is full, or a turned bit has made this no packet at all.
                self._path.lost += 1
        self._plan()

    def _plan(self) -> None:
        due_at = self._path.deadline
        if due_at == self._due_at and self._call is not None and self._call.active():
            return
        self.stop()
        self._due_at = due_at
        if due_at is not None:
            wait = max(0.0, due_at - self._timers.seconds())
            self._call = self._timers.callLater(wait, self._deliver)

    def stop(self) -> None:
        """Wait for nothing more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
