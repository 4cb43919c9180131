"""Gateways of one bus that are members of a cluster of real servers, one after the other."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred

from atbus.nats.gateway import Gateway
from tests.interop.nats_server import NEWER_BINARY
from tests.interop.test_nats_clusters import ClusterCase, members
from tests.interop.test_nats_leafs import HandoverCase
from tests.nats.sockets import Talker

SERVERS = 3


class MembersOfDebianTests(HandoverCase, ClusterCase):
    """
    The same as with leafs, with clients at two of three servers 2.9.

    Gateways are told of the third server alone. Who is at the second one gets everything that is
    said at the first one over the route between them, and never over the bus.
    """

    def world(self) -> tuple[int, dict[str, Any]]:
        """Start the cluster."""
        told = self.member("one")
        two, three = (self.member(name, told.route_port) for name in ("two", "three"))
        self.aside = three.port
        return two.port, {"cluster": self.joins(told)}

    async def begin(self) -> None:
        """Let somebody else listen as well, and talk to both."""
        await super().begin()
        self.third = await self.client(self.aside)
        self.third.says(b"SUB down 8\r\nSUB up 9\r\nSUB open.third 2\r\nPING\r\n")
        await self.third.hears(b"PONG\r\n")
        for hears, says, _ in self.directions:
            hears.says(b"SUB side 8\r\nSUB open.side 9\r\nPING\r\n")
            await hears.hears(b"PONG\r\n")
            await self.says_until_heard(self.third, hears, b"open.side")
            await self.says_until_heard(says, self.third, b"open.third")

    def talk(self) -> None:
        """Let the third one say something as well."""
        super().talk()
        self.third.says(b"PUB side 6\r\n%06d\r\n" % self.count)

    async def check(self) -> None:
        """What the third one has heard, and has said, came once and in order, too."""
        await super().check()
        for (hears, says, subject), sid in zip(self.directions, (8, 9), strict=True):
            await self.came(says, self.third, subject, sid)
            await self.came(self.third, hears, b"side", 8)

    async def came(self, says: Talker, hears: Talker, subject: bytes, sid: int) -> None:
        """Compare what somebody has heard with what was said."""
        says.says(b"PUB %s 4\r\nlast\r\n" % subject)
        last = b"MSG %s %d 4\r\nlast\r\n" % (subject, sid)
        await self.met(lambda: last in hears.heard)
        found = re.findall(rb"MSG %s %d 6\r\n(\d{6})" % (subject, sid), hears.heard)
        self.assertEqual([int(each) for each in found], [*range(1, self.count + 1)], subject)

    def test_lower_ones_join(self) -> Deferred[None]:
        """Gateways join, each with a lower id: each message comes once and in order."""
        return Deferred.fromCoroutine(self.lower_ones_join())

    def test_the_lowest_stop(self) -> Deferred[None]:
        """The gateways stop, the lowest first: likewise."""
        return Deferred.fromCoroutine(self.the_lowest_stop())

    @staticmethod
    def serves(gateway: Gateway | None) -> bool:
        """Tell whether a gateway has a route to each server."""
        return gateway is not None and members(gateway) == SERVERS


class MembersOfNewerTests(MembersOfDebianTests):
    """The same in a cluster of the newest version."""

    binary = NEWER_BINARY
