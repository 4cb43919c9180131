"""Frames that a neighbor gives back, and those that it only says it does."""

from __future__ import annotations

import attrs

from atbus.errors import Status
from atbus.routing.record import Record, Stamp
from atbus.routing.registry import Feeder
from atbus.wire.messages import Data
from tests.node.test_drain import NORTH, ONE, TWO
from tests.node.test_stragglers import EAST, FAR, MovingBus


class GivenBackTests(MovingBus):
    """A node has moved, and what was sent to it comes back from where it was."""

    def test_security_given_back_once(self) -> None:
        """Who has given it away does not give it back in its turn: then there is no way."""
        top, north, two = self.moving()
        self.network.start(self.proxy(EAST))
        far = self.leaf_of(FAR, EAST)
        stuck = self.data_channel(top, north)
        stuck.stall()
        waiting = far.deliver(TWO, b"late")
        self.move(two)
        # The top believes again that the target is where it was.
        back = Record(bus_id=TWO, upstream_id=NORTH, stamp=Stamp(2**32 - 1, 1))
        top._parts.topology.claim(Feeder.ETCD, [back])
        self.assertEqual(top.next_hop(TWO).id, NORTH)
        stuck.resume()
        self.assertIs(self.ended(waiting), Status.LOOP)
        counted = top.statistics.refused[Status.LOOP] + north.statistics.refused[Status.LOOP]
        self.assertEqual(counted, 1)

    def test_security_frames_given_back(self) -> None:
        """A neighbor may bring nothing in the name of others that it has not got from us."""
        top, north, _ = self.moving()
        self.network.start(self.proxy(EAST))
        far = self.leaf_of(FAR, EAST)
        far.send(TWO, b"1")
        self.network.settle()
        self.data_channel(top, north).stall()
        sequence = far.send(TWO, b"2")
        self.network.settle()
        link = top.endpoints[NORTH].data_link
        assert link is not None
        self.assertEqual(len(link.outgoing), 1)
        epoch = far._parts.context.epoch
        frame = Data(
            source=FAR, destination=TWO, sequence=sequence, epoch=epoch, messages=((0, b"2"),)
        )
        self.assertTrue(self.returned(top, NORTH, frame))
        self.assertFalse(self.returned(top, EAST, frame))
        for other in (
            attrs.evolve(frame, source=EAST),
            attrs.evolve(frame, destination=ONE),
            attrs.evolve(frame, sequence=sequence + 1),
            attrs.evolve(frame, sequence=sequence - 1),
            attrs.evolve(frame, epoch=epoch + 1),
        ):
            self.assertFalse(self.returned(top, NORTH, other), other)
