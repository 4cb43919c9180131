"""A data stream that is better than the one in use: dialled, changed to, and left again."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

from twisted.python.failure import Failure

from atbus import limits
from atbus.address import Address, parse_address
from atbus.busid import BusId
from atbus.errors import Status, Undeliverable
from atbus.node import bounds
from atbus.node.connection import Connection
from atbus.node.endpoint import Gate
from atbus.node.events import Fate
from atbus.node.node import Node
from atbus.node.outbox import Notice
from atbus.testing.network import VirtualChannel
from atbus.wire.messages import AddressUpdate
from tests.extent import extent
from tests.node.bus import CHILD, ROOT, BusTests, Keeper

UNIX = "unix:///run/root.sock"


class BetterStreamCase(BusTests):
    """A child that has registered over TCP; both sides send, and number what they send."""

    def setUp(self) -> None:
        super().setUp()
        self.sent = 0
        # What became of the messages that a node has sent, by number.
        self.told: dict[Node, dict[int, Status]] = {}

    def over_tcp(self) -> tuple[Node, Node]:
        """Start a root that listens at TCP, and a child."""
        root, child = self.pair()
        root.receiver, child.receiver = Keeper(), Keeper()
        self.root_node, self.child_node = root, child
        return root, child

    def announce(self) -> None:
        """Let the root listen at a unix socket."""
        self.network.result_of(self.root_node.listen(UNIX))

    def streams(self, node: Node) -> list[Connection]:
        """Give the data streams of a node to the other one."""
        other = CHILD if node is self.root_node else ROOT
        return node.endpoints[BusId(other)].data

    def used(self, node: Node) -> str:
        """Say which scheme a node's data takes."""
        other = CHILD if node is self.root_node else ROOT
        connection = node.next_hop(other).connection
        return "" if connection is None else connection.address.scheme.value

    def gate(self, node: Node) -> Gate:
        """Give the gate of a node to the other one."""
        other = CHILD if node is self.root_node else ROOT
        return node.endpoints[BusId(other)].gate

    def channel(self, node: Node, scheme: str) -> VirtualChannel:
        """Give the channel of a node's data stream of a scheme."""
        [found] = [s for s in self.streams(node) if s.address.scheme.value == scheme]
        assert isinstance(found.channel, VirtualChannel)
        return found.channel

    def talk(self, turns: int, seconds: float = 0.0007) -> None:
        """Send one message after the other, both ways; what becomes of each is asked for."""
        for _ in range(turns):
            self.deliver(self.child_node, ROOT)
            self.deliver(self.root_node, CHILD)
            self.sent += 1
            self.network.settle(seconds)

    def talk_until_unix(self) -> None:
        """Send, until both take the unix socket."""
        for _ in range(100):
            if [self.used(node) for node in (self.root_node, self.child_node)] == ["unix"] * 2:
                return
            self.talk(3, 0.02)
        raise AssertionError("data does not change over")

    def deliver(self, node: Node, target: int) -> None:
        """Send one message, and note what becomes of it."""
        told, number = self.told.setdefault(node, {}), self.sent

        def failed(failure: Failure) -> None:
            failure.trap(Undeliverable)
            assert isinstance(failure.value, Undeliverable)
            told[number] = failure.value.status

        def arrived(fate: Fate) -> None:
            told[number] = fate.status

        node.deliver(target, b"%d" % number).addCallbacks(arrived, failed)

    def assert_all_in_order(self) -> None:
        """Assert that every message of `talk` has arrived, in order, and is known to have."""
        expected = [b"%d" % number for number in range(self.sent)]
        for node in (self.root_node, self.child_node):
            assert isinstance(node.receiver, Keeper)
            self.assertEqual(node.receiver.payloads, expected)
            self.assertEqual(node.statistics.order_given_up, 0)
            all_well = dict.fromkeys(range(self.sent), Status.OK)
            self.assertEqual(self.told[node], all_well)

    def received(self, node: Node) -> list[int]:
        """Give the numbers of what a node has received."""
        assert isinstance(node.receiver, Keeper)
        return [int(payload) for payload in node.receiver.payloads]

    def assert_known(self, *others: Status) -> None:
        """
        Assert that what has arrived came once, in order but for what is told to be uncertain, and
        that nobody was told otherwise.

        :param others: What may have been told of some, besides that nobody knows.
        """
        for node, source in ((self.root_node, self.child_node), (self.child_node, self.root_node)):
            numbers, told = self.received(node), self.told[source]
            self.assertEqual(len(numbers), len(set(numbers)))
            # What was on a channel that broke may still come.
            most = accumulate(numbers, max)
            late = [number for number, last in zip(numbers, most, strict=True) if number < last]
            self.assertEqual({told[n] for n in late} - {Status.UNCERTAIN}, set())
            self.assertEqual(sorted(told), list(range(self.sent)))
            self.assertEqual(set(told.values()) - {Status.OK, Status.UNCERTAIN, *others}, set())
            taken = {number for number, status in told.items() if status is Status.OK}
            self.assertEqual(taken - set(numbers), set())
            refused = {n for n, status in told.items() if status is Status.NOT_CONNECTED}
            self.assertEqual(refused & set(numbers), set())

    def changes(self, node: Node) -> list[str]:
        """Give the schemes to which a node's data has changed."""
        told = self.diaries[node].of("on_channel_changed")
        return [connection.address.scheme.value for _, connection in told]

    def hide(self) -> None:
        """Let nobody reach the unix socket any more; it stays announced."""
        self.network.unreachable.add(self.unix)

    def break_it(self) -> None:
        """Let the unix socket and the stream over it go, and both sides know of it."""
        self.hide()
        self.channel(self.child_node, "unix").abort("broken")
        self.network.settle(1.5 * self.network.delay_seconds)

    @property
    def unix(self) -> Address:
        """The address of the unix socket."""
        return next(a for a in self.network.listeners if str(a) == UNIX)

    def dials(self) -> int:
        """Count the dials of the unix socket."""
        return sum(str(address) == UNIX for address in self.network.dials)


class ChangeTests(BetterStreamCase):
    """From TCP to a unix socket and back."""

    def test_announced_later(self) -> None:
        """
        A unix socket that is announced while data runs over TCP is dialled by who has dialled
        control; both sides change to it and tell so; then the other stream is ended, empty.
        """
        root, child = self.over_tcp()
        self.talk(20)
        self.announce()
        self.talk(200)
        self.network.settle()
        for node in (root, child):
            self.assertEqual(self.used(node), "unix")
            self.assertEqual(self.changes(node), ["unix"])
            self.assertEqual([s.address.scheme.value for s in self.streams(node)], ["unix"])
            self.assertEqual(node.statistics.closed[Status.REPLACED], 1)
        self.assertEqual(self.dials(), 1)
        self.assert_all_in_order()

    def test_it_goes_and_comes_back(self) -> None:
        """When the unix socket breaks, data goes on over TCP; when it is back, over it again."""
        root, child = self.over_tcp()
        self.announce()
        self.talk(10)
        self.network.settle()
        self.break_it()
        self.talk(20)
        self.network.settle(5)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
        self.network.unreachable.clear()
        for _ in range(20):
            self.talk(3)
            self.network.settle(bounds.BETTER_STREAM_SECONDS_MAX / 20)
        for node in (root, child):
            self.assertEqual(self.used(node), "unix")
            self.assertEqual(self.changes(node), ["unix", "ipv4", "unix"])
            self.assertEqual(len(self.streams(node)), 1)
        self.assert_all_in_order()

    def test_many_changes(self) -> None:
        """
        Data changes between TCP and a unix socket a thousand times under load, both ways: nothing
        is lost, doubled or overtaken, and nothing is left uncertain.
        """
        self.patch(bounds, "BETTER_STREAM_SECONDS", 0.1)
        self.patch(bounds, "BETTER_STREAM_SECONDS_MAX", 0.1)
        root, child = self.over_tcp()
        self.announce()
        wanted = extent(50, 1000)
        for _ in range(wanted // 2):
            self.talk(5, 0.01)
            self.talk_until_unix()
            # Only of what is on its way nobody knows what becomes of it when it breaks.
            self.network.settle(0.5)
            self.break_it()
            self.talk(5, 0.0004)
            self.network.settle(0.1)
            self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
            self.network.unreachable.clear()
        self.network.settle(5)
        self.assertEqual([len(self.streams(root)), len(self.streams(child))], [1, 1])
        self.assert_all_in_order()
        for node in (root, child):
            self.assertEqual(self.changes(node)[:wanted], ["unix", "ipv4"] * (wanted // 2))
            self.assertEqual(self.diaries[node].removed(), [])


class DialTests(BetterStreamCase):
    """How often a better one is dialled."""

    def test_one_that_nobody_reaches(self) -> None:
        """
        What is announced and cannot be reached is tried at longer and longer intervals; the first
        failure is told, and data stays where it is.
        """
        root, child = self.over_tcp()
        self.announce()
        self.hide()
        self.network.settle(bounds.BETTER_STREAM_SECONDS * 3)
        # At once, after one interval, and after two more.
        self.assertEqual(self.dials(), 2)
        self.network.settle(10 * bounds.BETTER_STREAM_SECONDS_MAX)
        before = self.dials()
        self.network.settle(10 * bounds.BETTER_STREAM_SECONDS_MAX)
        self.assertIn(self.dials() - before, (9, 10))
        self.assertEqual(self.diaries[child].errors(), ["CONNECT_FAILED"])
        self.talk(10)
        self.network.settle()
        self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
        self.assert_all_in_order()
        self.network.unreachable.clear()

    def test_one_that_is_announced_again_and_again(self) -> None:
        """However often a neighbor says where it listens, it is not dialled more often for that."""
        root, child = self.over_tcp()
        self.announce()
        self.hide()
        control = root.endpoints[BusId(CHILD)].control_link
        assert control is not None
        for _ in range(100):
            control.put(Notice(AddressUpdate(source=ROOT, addresses=(UNIX,))))
            self.network.settle(bounds.BETTER_STREAM_SECONDS / 50)
        self.assertLessEqual(self.dials(), 3)
        self.assertGreaterEqual(self.dials(), 2)
        self.network.unreachable.clear()
        self.assertIn(ROOT, child.endpoints)

    def test_one_of_several(self) -> None:
        """Of several better addresses one after the other is tried, until one answers."""
        root, child = self.over_tcp()
        dead = [f"unix:///run/dead-{place}" for place in range(3)]
        self.network.unreachable.update(map(parse_address, dead))
        for address in (*dead, UNIX):
            self.network.result_of(root.listen(address))
        self.network.settle(bounds.BETTER_STREAM_SECONDS * 10)
        self.assertEqual([self.used(root), self.used(child)], ["unix"] * 2)
        self.assertEqual(len(self.network.dials), 2 + 4)
        self.network.unreachable.clear()

    def test_one_that_refuses(self) -> None:
        """Where somebody else answers, nothing changes, and the dials are as few."""
        impostor = self.node(0x77777, listen=[UNIX])
        root, child = self.over_tcp()
        self.network.start(impostor)
        unix = next(a for a in self.network.listeners if str(a) == UNIX)
        root._parts.dialer.listeners.append(self.network.listeners[unix])
        self.network.result_of(root.listen("ipv4://10.0.0.1:9"))
        self.talk(10)
        self.network.settle(2 * bounds.BETTER_STREAM_SECONDS_MAX)
        self.assertLess(self.dials(), 8)
        self.assertGreater(self.dials(), 2)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
        self.assertEqual(impostor.endpoints, {})
        self.assert_all_in_order()
        root._parts.dialer.listeners.remove(self.network.listeners[unix])


class MiddleTests(BetterStreamCase):
    """What happens in the middle of a change."""

    def in_the_middle(self) -> tuple[Node, Node]:
        """Let both change to a unix socket, and both FLUSHes not come through."""
        root, child = self.over_tcp()
        self.talk(10)
        self.network.settle()
        self.stuck = [self.channel(node, "ipv4") for node in (root, child)]
        for channel in self.stuck:
            channel.stall()
        self.talk(5)
        self.announce()
        self.talk(50)
        self.assertEqual([self.gate(root), self.gate(child)], [Gate.CHANGING] * 2)
        return root, child

    def go_on(self) -> None:
        """Let come through what was stuck."""
        for channel in self.stuck:
            channel.resume()

    def test_the_better_one_dies(self) -> None:
        """Data goes on over the old one, in order; nothing was lost."""
        root, child = self.in_the_middle()
        self.hide()
        self.channel(child, "unix").abort("broken")
        self.talk(10)
        self.assertEqual([self.gate(root), self.gate(child)], [Gate.OPEN] * 2)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
        self.go_on()
        self.talk(10)
        self.network.settle()
        self.assert_all_in_order()
        self.network.unreachable.clear()
        self.network.settle(4 * bounds.BETTER_STREAM_SECONDS)
        self.assertEqual([self.used(root), self.used(child)], ["unix"] * 2)

    def test_the_old_one_dies(self) -> None:
        """What was on it is uncertain, and told; what waited goes over the better one, in order."""
        root, child = self.in_the_middle()
        self.channel(child, "ipv4").abort("broken")
        self.talk(10)
        self.network.settle(5)
        for node in (root, child):
            self.assertEqual(self.used(node), "unix")
            self.assertEqual(self.changes(node), ["unix"])
        self.assertEqual(self.diaries[child].removed(), [])
        self.assert_known()
        # Only what was stuck is lost: most had not left yet.
        for node in (root, child):
            told = Counter(self.told[node].values())
            self.assertGreater(told[Status.OK], 30)
            self.assertGreater(told[Status.UNCERTAIN], 5)

    def test_the_old_one_is_slow(self) -> None:
        """
        While the FLUSH waits on a stream that is stuck, no order is given up: data stays there, and
        changes over when it flows again.
        """
        root, child = self.in_the_middle()
        self.talk(20, limits.FLUSH_SECONDS / 10)
        self.assertEqual([self.gate(root), self.gate(child)], [Gate.OPEN] * 2)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
        self.go_on()
        self.talk(5)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
        self.network.settle(bounds.CHANGE_AGAIN_SECONDS + 1)
        self.assertEqual([self.used(root), self.used(child)], ["unix"] * 2)
        self.talk(5)
        self.network.settle()
        self.assertEqual([len(self.streams(root)), len(self.streams(child))], [1, 1])
        self.assert_all_in_order()

    def test_only_one_side_has_changed(self) -> None:
        """
        When the better one dies after one side has left the other stream, that is dialled anew;
        both use the new one, and the one that is half left is ended.
        """
        root, child = self.over_tcp()
        self.talk(10)
        self.network.settle()
        stuck = self.channel(child, "ipv4")
        stuck.stall()
        self.announce()
        self.talk(100)
        self.assertEqual([self.used(root), self.gate(child)], ["unix", Gate.CHANGING])
        # What the root has sent has arrived; only answers are on their way.
        self.hide()
        self.channel(child, "unix").abort("broken")
        stuck.resume()
        self.network.settle(0.1)
        self.talk(20)
        self.network.settle(2)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4"] * 2)
        self.assertEqual([len(self.streams(root)), len(self.streams(child))], [1, 1])
        self.assertIsNot(self.channel(child, "ipv4"), stuck)
        self.assertEqual(self.received(root), list(range(130)))
        self.assert_known()
        self.network.unreachable.clear()

    def test_only_the_other_side_is_slow(self) -> None:
        """The stream that who dialled it has left stays until the other side has left it too."""
        root, child = self.over_tcp()
        self.talk(10)
        self.network.settle()
        stuck = self.channel(root, "ipv4")
        stuck.stall()
        self.talk(5)
        self.announce()
        self.talk(50)
        self.network.settle(2 * limits.FLUSH_SECONDS)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4", "unix"])
        self.talk(10)
        self.network.settle()
        self.assertEqual([len(self.streams(root)), len(self.streams(child))], [2, 2])
        stuck.resume()
        self.network.settle(bounds.CHANGE_AGAIN_SECONDS + 1)
        self.assertEqual([self.used(root), self.used(child)], ["unix"] * 2)
        self.assertEqual([len(self.streams(root)), len(self.streams(child))], [1, 1])
        self.assert_all_in_order()

    def test_only_the_other_side_stays(self) -> None:
        """However long one side stays on its stream, who has dialled that does not end it."""
        root, child = self.over_tcp()
        endpoint = root.endpoints[BusId(CHILD)]
        root._parts.paths._stays_until[endpoint] = self.network.clock.seconds() + 5
        self.announce()
        self.talk(400, 0.01)
        self.assertEqual([self.used(root), self.used(child)], ["ipv4", "unix"])
        self.talk(200, 0.01)
        self.network.settle()
        self.assertEqual([self.used(root), self.used(child)], ["unix"] * 2)
        self.assertEqual([len(self.streams(root)), len(self.streams(child))], [1, 1])
        self.assert_all_in_order()

    def test_a_stop(self) -> None:
        """Whoever stops in the middle of a change loses nothing of either side."""
        for who in range(2):
            root, child = self.in_the_middle()
            node = (root, child)[who]
            stopping = node.stop()
            self.network.settle(0.01)
            self.go_on()
            self.network.result_of(stopping)
            self.network.settle()
            self.assert_all_in_order()
            self.network.stop(*(n for n in (root, child) if n is not node))
            self.end()
            self.begin(type(self.network)())
            self.sent, self.told = 0, {}

    def test_a_farewell(self) -> None:
        """Whoever takes leave in the middle of a change loses nothing of either side."""
        root, child = self.in_the_middle()
        leaving = root.disconnect(CHILD)
        self.network.settle(0.01)
        self.go_on()
        self.network.result_of(leaving)
        self.assert_all_in_order()
        self.assertIsNotNone(child)
