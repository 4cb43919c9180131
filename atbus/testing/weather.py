"""
Decide what becomes of the packets of a bad network: late, lost, twice, out of order, spoiled.

`Weather` says how bad it is, `PacketPath` carries packets one way. Neither does I/O or reads a
clock: what happens depends on the weather, the seed and the times that are given, nothing else, so
that a failure can be had again. `atbus.testing.tun_link` lets real packets through it.
"""

from __future__ import annotations

import heapq
from random import Random
from typing import Any

import attrs

_QUEUE_BYTES = 65_536


def _share(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0.0 <= value <= 1.0:
        message = f"{attribute.name}: must be a share between 0 and 1, not {value!r}"
        raise ValueError(message)


def _not_negative(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value >= 0.0:
        message = f"{attribute.name}: must not be negative, not {value!r}"
        raise ValueError(message)


def _positive(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        message = f"{attribute.name}: must be positive, not {value!r}"
        raise ValueError(message)


@attrs.frozen(kw_only=True)
class Weather:
    """
    How bad a network is, one way.

    :param delay_seconds: What every packet takes at least, after it has been sent off.
    :param jitter_seconds: What it takes at most besides. Packets may overtake each other then.
    :param loss: The share of packets that is lost.
    :param duplication: The share of packets that arrives twice, each at its own time.
    :param corruption: The share of packets that has one bit turned over.
    :param bytes_per_second: How fast packets are sent off; None: at once.
    :param queue_bytes: How many bytes may wait to be sent off; what comes then is lost.
    :raises ValueError: A share is not between 0 and 1, a time is negative, or a rate is not
        positive; the message names it.
    """

    delay_seconds: float = attrs.field(default=0.0, validator=_not_negative)
    jitter_seconds: float = attrs.field(default=0.0, validator=_not_negative)
    loss: float = attrs.field(default=0.0, validator=_share)
    duplication: float = attrs.field(default=0.0, validator=_share)
    corruption: float = attrs.field(default=0.0, validator=_share)
    bytes_per_second: float | None = attrs.field(default=None, validator=_positive)
    queue_bytes: int = attrs.field(default=_QUEUE_BYTES, validator=_positive)


FAIR = Weather()
"""Everything arrives, in order, at once."""


class PacketPath:
    """
    Carry packets one way through a weather, which may be changed at any time.

    A packet that is on its way arrives by the weather in which it was offered.

    :param random: What decides; the same numbers make the same weather.
    :param weather: How bad it is at first.
    """

    def __init__(self, random: Random, weather: Weather = FAIR) -> None:
        self.weather = weather
        self.carried = 0
        """How many packets have arrived, copies among them."""
        self.lost = 0
        """How many were lost, or found the queue full."""
        self._random = random
        self._free_at = 0.0
        self._number = 0
        self._under_way: list[tuple[float, int, bytes]] = []

    @property
    def deadline(self) -> float | None:
        """When the next packet arrives; None while none is on its way."""
        return self._under_way[0][0] if self._under_way else None

    def offer(self, packet: bytes, now: float) -> None:
        """
        Let a packet set out.

        :param packet: Its bytes; kept, not copied.
        :param now: The time, seconds.
        """
        weather = self.weather
        # Each packet takes as many draws whatever they decide, so that a change of one share does
        # not change what the others do to the packets that follow.
        lost, copied, spoiled, *jitters = (self._random.random() for _ in range(5))
        place = self._random.randrange(max(1, len(packet) * 8))
        left_at = self._send_off(len(packet), now)
        if left_at is None or lost < weather.loss:
            self.lost += 1
            return
        if spoiled < weather.corruption and packet:
            packet = _turned_over(packet, place)
        for jitter in jitters if copied < weather.duplication else jitters[:1]:
            wait = weather.delay_seconds + weather.jitter_seconds * jitter
            self._number += 1
            heapq.heappush(self._under_way, (left_at + wait, self._number, packet))

    def _send_off(self, size: int, now: float) -> float | None:
        """Find when the packet has left the queue; None: the queue is full."""
        rate = self.weather.bytes_per_second
        if rate is None:
            return now
        begin = max(now, self._free_at)
        if (begin - now) * rate > self.weather.queue_bytes:
            return None
        self._free_at = begin + size / rate
        return self._free_at

    def due(self, now: float) -> list[bytes]:
        """
        Take what has arrived.

        :param now: The time, seconds.
        :returns: Packets, in the order in which they arrive.
        """
        arrived = []
        while self._under_way and self._under_way[0][0] <= now:
            arrived.append(heapq.heappop(self._under_way)[2])
        self.carried += len(arrived)
        return arrived


def _turned_over(packet: bytes, bit: int) -> bytes:
    spoiled = bytearray(packet)
    spoiled[bit // 8] ^= 1 << bit % 8
    return bytes(spoiled)
