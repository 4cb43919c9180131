"""Twisted producers that stream to a node."""

from __future__ import annotations

from io import BytesIO

from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer
from twisted.protocols.basic import FileSender
from zope.interface import implementer
from zope.interface.verify import verifyObject

from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.node.node import Node
from atbus.node.outlet import Outlet
from atbus.testing.network import VirtualNetwork
from tests.node.flow_case import SMALL, FlowCase
from tests.node.mail import NORTH, ROOT, SOUTH


@implementer(IPushProducer)
class Pump:
    """Writes so often until it is told to pause, and goes on when it is told to."""

    def __init__(
        self, network: VirtualNetwork, outlet: Outlet, count: int, *, deaf: bool = False
    ) -> None:
        self.count = count
        self.pauses = 0
        self.number = 0
        self.stopped = False
        self._network = network
        self._outlet = outlet
        self._deaf = deaf
        self._paused = False
        outlet.registerProducer(self, True)
        self._tick()

    def _tick(self) -> None:
        while not self._paused and not self.stopped and self.number < self.count:
            self.number += 1
            self._outlet.write(self.number.to_bytes(4, "little") + bytes(3_000))
            if self.number % 4 == 0:
                self._network.clock.callLater(0.001, self._tick)
                return
        if self.number == self.count:
            self.number += 1
            self._outlet.unregisterProducer()

    def pauseProducing(self) -> None:
        """Take note that it is to pause."""
        self.pauses += 1
        self._paused = not self._deaf

    def resumeProducing(self) -> None:
        """Go on."""
        if self._paused:
            self._paused = False
            self._network.clock.callLater(0, self._tick)

    def stopProducing(self) -> None:
        """Write nothing more."""
        self.stopped = True


@implementer(IPullProducer)
class Bucket:
    """Gives a piece whenever it is asked."""

    def __init__(self, outlet: Outlet, count: int) -> None:
        self.left = count
        self.stopped = False
        self._outlet = outlet
        outlet.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Give one."""
        self.left -= 1
        self._outlet.write(self.left.to_bytes(4, "little") + bytes(3_000))
        if not self.left:
            self._outlet.unregisterProducer()

    def stopProducing(self) -> None:
        """Give none."""
        self.stopped = True


class OutletTests(FlowCase):
    """What is written to a consumer arrives as messages."""

    def numbers(self, node: Node) -> list[int]:
        """Give what a node received, as numbers."""
        return [int.from_bytes(p[:4], "little") for p in self.mail[node].payloads]

    def test_is_a_consumer(self) -> None:
        """It has what a Twisted program expects of one."""
        root, child = self.pair()
        outlet = child.outlet(ROOT, kind=7)
        verifyObject(IConsumer, outlet)
        outlet.write(b"x")
        self.network.settle()
        self.assertEqual([letter.kind for letter in self.mail[root].letters], [7])
        outlet.unregisterProducer()
        self.assertIsNone(self.successResultOf(outlet.done))

    def test_a_push_producer_is_paused_and_resumed(self) -> None:
        """Over three hops a producer goes as fast as its target, and nothing is lost."""
        root, north, south, (two,) = self.chain(hard=2_000_000)
        one = self.leaf(NORTH + 1, **SMALL)
        outlet = one.outlet(SOUTH + 1)
        pump = Pump(self.network, outlet, 300)
        for _ in range(6):
            self.data_channel(south, two).stall()
            self.network.settle(0.3)
            self.data_channel(south, two).resume()
            self.network.settle(0.02)
        self.assertIsNone(self.ended(outlet.done))
        self.network.settle()
        self.assertEqual(self.numbers(two), list(range(1, 301)))
        self.assertGreater(pump.pauses, 1)
        self.assertEqual(self.mail[one].fates, [])
        self.assert_quiet(root, north, south, one, two)

    def test_a_pull_producer_is_asked(self) -> None:
        """A pull producer is asked for as much as the target takes."""
        root, child = self.pair(**SMALL)
        self.data_channel(child, root).stall()
        outlet = child.outlet(ROOT)
        bucket = Bucket(outlet, 300)
        self.network.settle(1)
        self.assertTrue(100 < bucket.left < 299, bucket.left)
        self.data_channel(child, root).resume()
        self.assertIsNone(self.ended(outlet.done))
        self.network.settle()
        self.assertEqual(self.numbers(root), list(range(299, -1, -1)))

    def test_a_file(self) -> None:
        """Twisted's own sender of files streams to a node."""
        root, child = self.pair()
        content = bytes(range(256)) * 2_000
        outlet = child.outlet(ROOT)
        FileSender().beginFileTransfer(BytesIO(content), outlet)
        self.assertIsNone(self.ended(outlet.done))
        self.network.settle()
        self.assertEqual(b"".join(self.mail[root].payloads), content)

    def test_what_is_written_all_the_same_is_kept(self) -> None:
        """A producer that goes on a little loses nothing; one that never pauses is stopped."""
        root, child = self.pair(**SMALL)
        self.data_channel(child, root).stall()
        outlet = child.outlet(ROOT)
        pump = Pump(self.network, outlet, 200, deaf=True)
        self.network.settle(0.2)
        self.assertEqual(pump.number, 201)
        self.data_channel(child, root).resume()
        self.assertIsNone(self.ended(outlet.done))
        self.network.settle()
        self.assertEqual(self.numbers(root), list(range(1, 201)))
        self.data_channel(child, root).stall()
        outlet = child.outlet(ROOT)
        outlet.done.addErrback(lambda failure: failure.value)
        with self.assertRaises(Undeliverable) as caught:
            for _ in range(1_000):
                outlet.write(bytes(3_000))
        self.assertIs(caught.exception.status, Status.BUFFER_LIMIT)
        self.assertIs(self.successResultOf(outlet.done), caught.exception)
        self.assertRaises(Undeliverable, outlet.write, b"x")
        self.data_channel(child, root).resume()

    def test_the_target_goes_away(self) -> None:
        """The producer is stopped, and the end tells why."""
        root, child = self.pair(**SMALL)
        self.data_channel(child, root).stall()
        outlet = child.outlet(ROOT)
        pump = Pump(self.network, outlet, 500)
        self.network.settle(0.2)
        self.kill(root)
        self.assertIs(self.ended(outlet.done), Status.NO_ROUTE)
        self.assertTrue(pump.stopped)
        outlet = child.outlet(ROOT)
        self.assertRaises(Undeliverable, outlet.write, b"x")
        self.assertIs(self.ended(outlet.done), Status.NO_ROUTE)

    def test_can_be_cancelled(self) -> None:
        """Cancelling stops the producer and lets go of what was kept."""
        root, child = self.pair(**SMALL)
        self.data_channel(child, root).stall()
        outlet = child.outlet(ROOT)
        pump = Pump(self.network, outlet, 500)
        self.network.settle(0.2)
        outlet.done.cancel()
        self.failureResultOf(outlet.done)
        self.assertTrue(pump.stopped)
        self.data_channel(child, root).resume()
        self.network.settle()
        self.assertEqual(len(self.mail[root].letters), child.statistics.sent_messages)

    def test_one_producer(self) -> None:
        """A second producer is refused, as every consumer does."""
        _, child = self.pair()
        outlet = child.outlet(ROOT)
        Pump(self.network, outlet, 1)
        self.assertRaises(LocalProtocolError, Pump, self.network, outlet, 1)
