"""A better data stream between siblings, beside memory, and beside other neighbors."""

from __future__ import annotations

from atbus.busid import BusId
from atbus.errors import Status
from atbus.node.endpoint import Gate
from atbus.testing.network import VirtualChannel
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests, Keeper
from tests.node.test_path_change import ONE, TWO, TWO_ADDRESS, PathTests

UNIX = "unix:///run/root.sock"


class SiblingTests(PathTests):
    """Two siblings that are connected directly, or are about to be."""

    def test_before_the_way_is_open(self) -> None:
        """
        A better stream that is registered while the FLUSH is on its way through the proxy is the
        one that opens; nothing is overtaken.
        """
        north, one, two = self.siblings()
        stuck = self.data_channel(north, two)
        stuck.stall()
        self.talk(one, TWO, 5)
        one.connect(TWO_ADDRESS)
        self.talk(one, TWO, 30)
        self.assertIs(one.endpoints[BusId(TWO)].gate, Gate.FLUSHING)
        unix = self.network.result_of(two.listen(UNIX))
        one._parts.dialer.connect_data(one.endpoints[BusId(TWO)], unix)
        self.talk(one, TWO, 30)
        stuck.resume()
        self.talk(one, TWO, 30)
        self.network.settle()
        self.assertEqual(str(one.next_hop(TWO).address), UNIX)
        self.assertEqual(len(one.endpoints[BusId(TWO)].data), 1)
        self.assert_all_in_order(two, ONE)
        self.assertEqual(self.given_up(one), [])

    def test_a_leave_while_it_changes(self) -> None:
        """
        Siblings that part while one changes to a better stream: what waited goes over the old one,
        what comes later through the proxy, behind it.
        """
        north, one, two = self.connected()
        stuck = self.data_channel(one, two)
        stuck.stall()
        self.talk(one, TWO, 5)
        self.network.result_of(two.listen(UNIX))
        self.talk(one, TWO, 50)
        self.assertIs(one.endpoints[BusId(TWO)].gate, Gate.CHANGING)
        leaving = one.disconnect(TWO)
        self.assertIs(one.endpoints[BusId(TWO)].gate, Gate.RETURNING)
        self.talk(one, TWO, 10)
        stuck.resume()
        self.network.result_of(leaving)
        self.talk(one, TWO, 10)
        self.network.settle()
        self.assert_all_in_order(two, ONE)
        self.assertEqual(self.mail[one].fates, [])
        self.assertEqual(self.given_up(one), [])
        self.assertGreater(north.statistics.forwarded_messages, 0)


class OtherTests(BusTests):
    """Of several channels and several neighbors."""

    def test_beside_memory(self) -> None:
        """While data takes memory a better stream takes the place of the one that stands by."""
        root = self.root(listen=[ROOT_ADDRESS, "mem://root"])
        child = self.child(listen=["mem://child"])
        self.network.start(root, child)
        self.network.settle()
        root.receiver = Keeper()
        self.network.result_of(root.listen(UNIX))
        for number in range(50):
            child.send(ROOT, b"%d" % number)
            self.network.settle(0.01)
        self.network.settle()
        for node, other in ((root, CHILD), (child, ROOT)):
            endpoint = node.endpoints[BusId(other)]
            self.assertEqual([str(stream.address) for stream in endpoint.data], [UNIX])
            told = self.diaries[node].of("on_channel_changed")
            self.assertEqual([c.address.scheme.value for _, c in told], ["mem"])
        endpoint = child.endpoints[BusId(ROOT)]
        assert endpoint.ring is not None
        endpoint.ring.abort(Status.LINK_LOST, "broken")
        self.network.settle(0.01)
        child.send(ROOT, b"50")
        self.network.settle()
        self.assertEqual(str(child.next_hop(ROOT).address), UNIX)
        self.assertEqual(root.receiver.payloads, [b"%d" % number for number in range(51)])

    def test_announced_while_it_registers(self) -> None:
        """A socket that comes while a neighbor registers is told to it behind the registration."""
        root, child = self.root(), self.child()
        self.network.start(root)
        starting = child.start()
        self.network.clock.run_until(lambda: bool(root._parts.dialer.connections))
        self.assertEqual(self.ids(root), [])
        root.listen(UNIX)
        self.network.result_of(starting)
        self.network.settle()
        for node, other in ((root, CHILD), (child, ROOT)):
            self.assertTrue(str(node.next_hop(other).address).startswith("unix"))

    def test_memory_goes_while_a_stream_is_left(self) -> None:
        """What is sent when the memory is gone takes the better stream, not the one just left."""
        root = self.root(listen=[ROOT_ADDRESS, "mem://root"])
        child = self.child()
        self.network.start(root, child)
        self.network.settle()
        root.receiver = Keeper()
        endpoint = child.endpoints[BusId(ROOT)]
        [old] = endpoint.data
        root.listen(UNIX)
        self.network.clock.run_until(lambda: old.is_left)
        assert endpoint.ring is not None
        endpoint.ring.abort(Status.LINK_LOST, "broken")
        self.network.settle(0.0001)
        self.assertIsNone(old.closed)
        self.assertEqual(str(child.next_hop(ROOT).address), UNIX)
        child.send(ROOT, b"1")
        self.network.settle()
        self.assertEqual(root.receiver.payloads, [b"1"])

    def test_the_stream_of_another_neighbor(self) -> None:
        """When the stream to one neighbor breaks, the change of channel to another one goes on."""
        root = self.root(listen=[ROOT_ADDRESS, "mem://root"])
        one, two = self.child(listen=["mem://auto"]), self.child(CHILD + 1)
        self.network.start(root, one, two)
        self.network.settle()
        endpoint = root.endpoints[BusId(CHILD)]
        root._parts.paths.change_channel(endpoint, None)
        self.assertIs(endpoint.gate, Gate.CHANGING)
        [stream] = root.endpoints[BusId(CHILD + 1)].data
        assert isinstance(stream.channel, VirtualChannel)
        stream.channel.hang_up()
        self.assertIs(endpoint.gate, Gate.CHANGING)
        self.network.settle(0.1)
        told = self.diaries[root].of("on_channel_changed")
        self.assertEqual([c.address.scheme.value for _, c in told], ["mem", "ipv4"])
        self.network.settle(5)
