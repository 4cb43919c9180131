"""Of all channels between two nodes the best is used, whatever it is and when it comes."""

from __future__ import annotations

from atbus.busid import BusId
from atbus.errors import Status
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests, Keeper

UNIX = "unix:///run/root.sock"


class ChoiceTests(BusTests):
    """Which stream data takes, and what becomes of it when that one goes."""

    def used(self) -> str:
        """Say which scheme the child's data takes."""
        connection = self.nodes[1].next_hop(ROOT).connection
        return "" if connection is None else connection.address.scheme.value

    def test_a_unix_socket_before_tcp(self) -> None:
        """
        A node that registered over TCP, with a neighbor of its host that listens at a unix socket,
        sends its data there; when that is gone, over TCP.

        Scenario: H22
        """
        root, child = self.root(listen=[ROOT_ADDRESS, UNIX]), self.child()
        self.network.start(root, child)
        self.network.settle()
        self.assertEqual(self.used(), "unix")
        root.receiver = Keeper()
        child.send(ROOT, b"1")
        self.network.settle()
        gone = next(each for each in self.network.listeners if str(each) == UNIX)
        self.network.listeners.pop(gone)
        [data] = child.endpoints[BusId(ROOT)].data
        data.abort(Status.LINK_LOST, "broken")
        child.send(ROOT, b"2")
        self.network.settle(5)
        self.assertEqual(self.used(), "ipv4")
        self.assertEqual(root.receiver.payloads, [b"1", b"2"])

    def test_a_socket_of_another_node(self) -> None:
        """
        Where another node answers at the path, as on another host with the same identity, data
        does not go there: it takes TCP.
        """
        impostor = self.node(0x77777, listen=[UNIX])
        root, child = self.root(listen=[ROOT_ADDRESS]), self.child()
        self.nodes[:] = [root, child, impostor]
        self.network.start(impostor, root)
        root._parts.dialer.listeners.append(
            next(each for each in self.network.listeners.values() if str(each.address) == UNIX)
        )
        self.network.start(child)
        self.network.settle(6)
        self.assertEqual(self.used(), "ipv4")
        self.assertNotIn(CHILD, impostor.endpoints)
        root._parts.dialer.listeners.pop()
