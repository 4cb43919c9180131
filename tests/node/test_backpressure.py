"""Neighbors that do not read: what is bounded, and what is said."""

from __future__ import annotations

from twisted.python.failure import Failure

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.wire.messages import MessageType
from tests.node.bus import CHILD, SIBLING
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests

HARD = 200_000


def status_of(failure: Failure) -> Status:
    """Give why something was refused."""
    failure.trap(Undeliverable)
    assert isinstance(failure.value, Undeliverable)
    return failure.value.status


class OwnTests(MailTests):
    """Messages that begin at a node whose neighbor does not read."""

    def stuck(self) -> tuple[Node, Node]:
        """Start a root and a child; the child's data is not taken."""
        root, child = self.pair(queued_bytes_hard=HARD, queued_bytes_soft=HARD // 2)
        self.data_channel(child, root).stall()
        return root, child

    def fill(self, child: Node, size: int) -> int:
        """Send until a message is refused; how many were accepted."""
        count = 0
        while True:
            try:
                child.send(ROOT, count.to_bytes(4, "little") + bytes(size - 4))
            except Undeliverable as error:
                self.assertIs(error.status, Status.BACKPRESSURE)
                return count
            count += 1
            if count % 7 == 0:
                self.network.settle(0.001)

    def test_refused_by_name_at_the_hard_limit(self) -> None:
        """
        Beyond the limit messages are refused; those accepted before arrive when the neighbor reads.

        Scenario: D19, D20
        """
        root, child = self.stuck()
        count = self.fill(child, 1_000)
        self.assertTrue(HARD * 0.9 < count * 1_000 <= HARD, count)
        self.assertEqual(self.refused(child, ROOT, bytes(1_000)), "BACKPRESSURE")
        self.assertIs(self.ended(child.deliver(ROOT, bytes(1_000))), Status.BACKPRESSURE)
        child.send(CHILD, b"to self")
        self.assertEqual(self.mail[child].payloads, [b"to self"])
        self.data_channel(child, root).resume()
        self.network.settle()
        numbers = [int.from_bytes(p[:4], "little") for p in self.mail[root].payloads]
        self.assertEqual(numbers, list(range(count)))
        child.send(ROOT, b"on")
        self.network.settle()
        self.assertEqual(self.mail[root].payloads[-1], b"on")
        self.assert_quiet(root, child)

    def test_the_limit_is_of_bytes(self) -> None:
        """Large and small messages count by their size, and each frame that waits by its own."""
        _, child = self.stuck()
        many = self.fill(child, 100)
        self.assertTrue(HARD * 0.75 < many * 108 <= HARD, many)

    def test_a_message_of_many_frames_is_taken_whole_or_not(self) -> None:
        """A message that does not fit any more is refused before any part of it is sent."""
        root, child = self.stuck()
        child.send(ROOT, bytes(100_000))
        self.network.settle(0.01)
        sequence = child.send(ROOT, b"small")
        self.assertEqual(self.refused(child, ROOT, bytes(150_000)), "BACKPRESSURE")
        self.assertEqual(child.send(ROOT, b"next"), sequence + 1)
        self.data_channel(child, root).resume()
        self.network.settle()
        self.assertEqual([len(p) for p in self.mail[root].payloads], [100_000, 5, 4])

    def test_a_message_larger_than_the_queue(self) -> None:
        """
        A message longer than all that may be queued is taken while the queue is not long.

        What is sent behind it has the usual room, and arrives behind it.
        """
        root, child = self.pair(queued_bytes_hard=400_000, queued_bytes_soft=100_000)
        self.data_channel(child, root).stall()
        child.send(ROOT, bytes(1_000_000))
        self.network.settle(0.01)
        self.assertEqual(self.refused(child, ROOT, bytes(1_000_000)), "BACKPRESSURE")
        count = 0
        while not count or not self.refuses(child, 1_000):
            count += 1
        self.assertTrue(100 < count < 400, count)
        self.data_channel(child, root).resume()
        self.network.settle()
        sizes = [len(payload) for payload in self.mail[root].payloads]
        self.assertEqual(sizes, [1_000_000] + [1_000] * (count - 1))

    def test_a_large_message_beside_small_ones(self) -> None:
        """
        As long as a target is writable, a message of any length is taken: one whose sender sends
        small ones all the time as well does not wait for a queue that is never empty.
        """
        root, child = self.pair(queued_bytes_hard=400_000, queued_bytes_soft=100_000)
        self.data_channel(child, root).stall()
        for _ in range(40):
            child.send(ROOT, bytes(1_000))
        self.network.settle(0.01)
        self.assertTrue(child.writable(ROOT).called)
        child.send(ROOT, bytes(1_000_000))
        self.assertEqual(self.refused(child, ROOT, bytes(1_000_000)), "BACKPRESSURE")
        waiting = child.writable(ROOT)
        self.assertFalse(waiting.called)
        self.data_channel(child, root).resume()
        self.network.result_of(waiting)
        child.send(ROOT, bytes(1_000_000))
        self.network.settle()
        sizes = [len(payload) for payload in self.mail[root].payloads]
        self.assertEqual(sizes, [1_000] * 40 + [1_000_000] * 2)

    def refuses(self, node: Node, size: int) -> bool:
        """Send to the root, and tell whether it was refused."""
        try:
            node.send(ROOT, bytes(size))
        except Undeliverable:
            return True
        return False

    def test_room_comes_back_with_the_first_bytes(self) -> None:
        """A queue that drains slowly takes what fits, not only when it is empty."""
        root, child = self.stuck()
        self.fill(child, 1_000)
        channel = self.data_channel(child, root)
        frame = channel._queue.pop(0)
        channel.sent.append(frame)
        channel.carry(lambda: channel.other.arrive([frame]))
        child.send(ROOT, bytes(len(frame) - 200))
        self.assertEqual(self.refused(child, ROOT, bytes(1_000)), "BACKPRESSURE")

    def test_a_slow_endpoint_is_named(self) -> None:
        """Above the soft limit an event names the endpoint, once until it has caught up."""
        root, child = self.stuck()
        self.fill(child, 1_000)
        slow = self.diaries[child].of("on_slow_endpoint")
        self.assertEqual([endpoint.bus_id for endpoint, _ in slow], [ROOT])
        self.data_channel(child, root).resume()
        self.network.settle()
        self.data_channel(child, root).stall()
        self.fill(child, 1_000)
        self.assertEqual(len(self.diaries[child].of("on_slow_endpoint")), 2)
        self.data_channel(child, root).resume()

    def test_control_has_its_own_way(self) -> None:
        """While data is stuck, commands and pings are not."""
        root, child = self.stuck()
        self.fill(child, 1_000)
        self.assertEqual(len(self.ended(child.command(ROOT, b"atbus.ping"), 1)), 1)
        self.network.settle(20)
        self.assertEqual(child.state, "running")
        self.assertIn(CHILD, root.endpoints)

    def test_a_control_connection_that_is_stuck(self) -> None:
        """Commands to a neighbor that does not read are refused before they fill the memory."""
        root, child = self.pair(queued_bytes_hard=HARD, queued_bytes_soft=HARD)
        self.control_channel(child, root).stall()
        waiting = [child.command(ROOT, b"x", bytes(30_000)) for _ in range(20)]
        ends: list[object] = []
        for each in waiting:
            each.addErrback(status_of).addCallback(ends.append)
        self.network.settle(0.1)
        self.assertEqual(set(ends), {Status.BUFFER_LIMIT})
        self.assertTrue(10 <= len(ends) <= 15, len(ends))
        self.control_channel(child, root).resume()
        self.network.settle()


class RelayTests(MailTests):
    """Messages that pass through a node whose neighbor does not read."""

    def test_answered_by_name_at_the_hard_limit(self) -> None:
        """
        A relay answers what it has no room for, in its own name; the rest arrives, in order.

        Scenario: D19
        """
        root, north, _ = self.proxies(queued_bytes_hard=HARD, queued_bytes_soft=HARD)
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        three = self.leaf(NORTH + 3)
        # It does not understand that it should pause.
        del one._parts.registrar.readers[MessageType.FLOW]
        self.data_channel(north, two).stall()
        sequences = []
        for number in range(200):
            payload = number.to_bytes(4, "little") + bytes(5_000)
            sequences.append(one.send(NORTH + 2, payload))
            one.send(NORTH + 3, b"%d" % number)
            self.network.settle(0.003)
        told = {fate.first_sequence for fate in self.mail[one].fates}
        self.assertEqual(set(self.mail[one].statuses()), {"BUFFER_LIMIT"})
        self.assertEqual({fate.gave_up_at for fate in self.mail[one].fates}, {NORTH})
        self.assertTrue(70 <= len(told) <= 100, len(told))
        self.assertEqual(self.mail[three].payloads, [b"%d" % number for number in range(200)])
        self.data_channel(north, two).resume()
        self.network.settle()
        arrived = [letter.sequence for letter in self.mail[two].letters]
        self.assertEqual(arrived, [each for each in sequences if each not in told])
        self.assert_quiet(root, north, one, two, three)

    def test_one_that_is_stuck_hinders_no_other(self) -> None:
        """
        While one destination is stuck, those behind other links get their messages.

        Scenario: D20
        """
        _, _, south = self.proxies(queued_bytes_hard=HARD, queued_bytes_soft=HARD)
        one = self.leaf(NORTH + 1)
        targets = [self.leaf(SOUTH + number) for number in range(1, 6)]
        self.data_channel(south, targets[0]).stall()
        for number in range(50):
            for target in targets:
                one.send(target.bus_id, b"%d" % number)
            self.network.settle(0.002)
        self.network.settle(0.1)
        for target in targets[1:]:
            self.assertEqual(len(self.mail[target].letters), 50)
        self.data_channel(south, targets[0]).resume()
        self.network.settle()
        self.assertEqual(len(self.mail[targets[0]].letters), 50)

    def test_a_full_window_of_frames(self) -> None:
        """A link takes only so many frames that nobody has answered for; then it is full."""
        root, child = self.pair()
        link = child.endpoints[ROOT].data_link
        back = root.endpoints[CHILD].data_link
        assert link is not None
        assert back is not None
        link.outgoing.window = back.outgoing.window = 3
        self.network.freeze(root)
        for _ in range(3):
            child.send(ROOT, b"x")
            self.network.settle(0.001)
        self.assertEqual(self.refused(child, ROOT), "BACKPRESSURE")
        self.network.thaw(root)
        self.network.settle()
        child.send(ROOT, b"x")
        self.network.settle()
        self.assertEqual(len(self.mail[root].letters), 4)

    def test_commands_and_answers_pass_a_full_window(self) -> None:
        """What is not data is bounded in bytes; a full window of frames does not hold it back."""
        root, child = self.pair()
        link = child.endpoints[ROOT].control_link
        assert link is not None
        link.outgoing.window = 1
        self.network.freeze(root)
        waiting = []
        for _ in range(3):
            waiting.append(child.command(ROOT, b"atbus.ping"))
            self.network.settle(0.01)
        self.network.thaw(root)
        self.assertEqual([len(self.ended(each, 1)) for each in waiting], [1, 1, 1])

    def test_answers_pass_full_windows(self) -> None:
        """Two nodes whose windows are full towards each other still answer each other."""
        root, child, other = self.root(), self.child(), self.child(SIBLING)
        self.network.start(root, child, other)
        self.network.settle()
        for one, two in ((root, child), (child, root), (root, other), (other, root)):
            endpoint = one.endpoints[two.bus_id]
            for link in (endpoint.data_link, endpoint.control_link):
                assert link is not None
                link.outgoing.window = 2
        fates = []
        for _ in range(30):
            for source, target in ((child, SIBLING), (other, CHILD), (child, 0x10FFF)):
                try:
                    source.send(target, b"x")
                except Undeliverable as error:
                    fates.append(error.status)
            self.network.settle(0.001)
        self.network.settle(5)
        told = self.mail[child].statuses() + self.mail[other].statuses()
        arrived = len(self.mail[child].letters) + len(self.mail[other].letters)
        self.assertEqual(arrived + len(told) + len(fates), 90)
        self.assertEqual(set(fates) - {Status.BACKPRESSURE}, set())
        self.assertEqual(set(told) - {"NO_ROUTE", "BUFFER_LIMIT"}, set())
        self.assert_quiet(root, child, other)
