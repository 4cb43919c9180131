"""Programs that wait until they may go on."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred

from atbus.errors import Status
from atbus.node.node import Node
from tests.node.flow_case import SMALL, FlowCase
from tests.node.mail import NORTH, ROOT, SOUTH


class WritableTests(FlowCase):
    """Programs that wait until they may go on."""

    def full(self) -> tuple[Node, Node]:
        """Start a pair of which one does not read, and send until nothing more is accepted."""
        root, child = self.pair(**SMALL)
        self.data_channel(child, root).stall()
        while self.offer(child, ROOT, bytes(1_000)):
            self.network.settle(0.001)
        return root, child

    def test_at_once_when_nothing_is_in_the_way(self) -> None:
        """A target that takes messages need not be waited for."""
        _, child = self.pair()
        self.assertIsNone(self.successResultOf(child.writable(ROOT)))

    def test_waits_until_half_is_gone(self) -> None:
        """It ends when the queue is short again, and events tell the same."""
        root, child = self.full()
        told: list[tuple[str, int]] = []
        child.events.on_writable.observe(lambda target: told.append(("writable", target)))
        child.events.on_backpressure.observe(lambda target: told.append(("full", target)))
        waiting = child.writable(ROOT)
        self.network.settle(1)
        self.assertNoResult(waiting)
        self.data_channel(child, root).resume()
        self.assertIsNone(self.ended(waiting, 0.01))
        self.assertEqual(told, [("writable", ROOT)])
        self.data_channel(child, root).stall()
        while self.offer(child, ROOT, bytes(1_000)):
            self.network.settle(0.001)
        self.offer(child, ROOT, bytes(1_000))
        self.assertEqual(told, [("writable", ROOT), ("full", ROOT)])
        self.data_channel(child, root).resume()

    def test_fails_when_there_is_no_way(self) -> None:
        """A target that goes ends the waiting, by name."""
        root, child = self.full()
        waiting = child.writable(ROOT)
        self.kill(root)
        self.assertIs(self.ended(waiting), Status.NO_ROUTE)
        self.assertIs(self.ended(child.writable(ROOT)), Status.NO_ROUTE)

    def test_fails_when_the_node_stops(self) -> None:
        """So does the end of the node itself."""
        root, child = self.full()
        waiting = child.writable(ROOT)
        stopping = child.stop()
        self.assertIs(self.ended(waiting, 0.1), Status.CLOSING)
        self.data_channel(child, root).resume()
        self.network.result_of(stopping)
        self.assertIs(self.ended(child.writable(ROOT)), Status.NOT_STARTED)

    def test_can_be_cancelled(self) -> None:
        """Who does not want to wait any more is not called again."""
        root, child = self.full()
        one, two = child.writable(ROOT), child.writable(ROOT)
        one.cancel()
        self.failureResultOf(one)
        self.data_channel(child, root).resume()
        self.assertIsNone(self.ended(two, 1))

    def test_a_stream_of_waits(self) -> None:
        """A program that waits before each message is never refused and loses nothing."""
        root, north, south, (two,) = self.chain(hard=4_000_000)
        one = self.leaf(NORTH + 1, **SMALL)

        async def talk() -> None:
            for number in range(400):
                await one.writable(SOUTH + 1)
                one.send(SOUTH + 1, self.number(number, 3_000))

        self.data_channel(south, two).stall()
        talking = Deferred.fromCoroutine(talk())
        for _ in range(5):
            self.network.settle(0.5)
            self.data_channel(south, two).resume()
            self.network.settle(0.01)
            self.data_channel(south, two).stall()
        self.data_channel(south, two).resume()
        self.network.result_of(talking)
        self.network.settle()
        self.assertEqual(len(self.mail[two].letters), 400)
        self.assertEqual(one.statistics.refused, Counter())
        self.assert_quiet(root, north, south, one, two)
