"""A gateway hands its membership of a cluster over, as one that is a leaf hands its server over."""

from __future__ import annotations

from typing import Any, ClassVar

from atbus.nats import bounds
from atbus.nats.routes import Routes
from atbus.node.node import Node
from tests.nats import test_handover, test_leaving, test_stalls, test_three_gateways
from tests.nats.harbor import DOOR, Caller
from tests.nats.test_routes import info
from tests.node.bus import CHILD, SIBLING

PORT, OURS = 6222, 6223
CONNECT = b'CONNECT {"cluster":"C1"}\r\n'


def cluster(port: int, *routes: str) -> dict[str, Any]:
    """Give what a member is told."""
    told = {"name": "C1", "listen": f"127.0.0.1:{port}", "routes": [*routes]}
    return {**DOOR, "cluster": told}


class MemberCase(test_handover.HandoverCase):
    """The server is a member of a cluster, and so is the gateway that serves."""

    port = PORT
    hub_nats: ClassVar[dict[str, Any]] = cluster(PORT)
    nats: ClassVar[dict[str, Any]] = cluster(OURS, f"127.0.0.1:{PORT}")

    def links_of(self, node: Node) -> Routes:
        """Give its routes."""
        routes = self.gateways[node].routes
        assert routes is not None
        return routes

    def assert_order(self) -> None:
        """All came once, and in order."""
        for _ in range(20):
            self.say()
        for heard in self.listen():
            self.assertEqual(sorted(heard), [*range(self.said)])
            for client in self.clients:
                numbers = [each for each in heard if self.said_by[each] is client]
                self.assertEqual(numbers, sorted(numbers))
        super().end()


class OrderTests(MemberCase, test_handover.OrderTests):
    """One with a lower id joins: all comes once, in order, and is answered."""


class ThreadTests(MemberCase, test_stalls.ThreadTests):
    """A member stands still for a moment between drawing and writing."""


class StopTests(MemberCase, test_leaving.LeavingCase, test_handover.OrderTests):
    """The one that serves stops: likewise."""


class LameDuckTests(MemberCase, test_leaving.LeavingCase):
    """The one that serves lets its clients go elsewhere, and servers theirs."""

    def change(self) -> None:
        """Let it begin with that."""
        self.gateways[self.taker].lame_duck()

    def is_handed_over(self) -> bool:
        """Tell whether the next one serves, alone."""
        return self.serving == [SIBLING]

    def test_nothing_is_lost(self) -> None:
        """It leaves the cluster in order."""
        self.grow()
        self.subscribe()
        self.change()
        self.say_until(self.is_handed_over)
        self.assert_order()


class FaultTests(MemberCase, test_handover.FaultTests):
    """Where it does not come to a good end there is a member again soon."""

    def forget_how(self) -> None:
        """Let the taker be one that knows nothing of it."""
        routes = self.links_of(self.taker)
        routes._candidacy._mark = f".{routes._own_id}"


class OtherServerTests(MemberCase):
    """There is a second server, made of nothing but bytes."""

    pace_seconds = 0.005

    def joins(self, node: Node, server_id: str) -> Caller:
        """Let it join a gateway, which has its only port for routes."""
        [port] = [
            each
            for each in self.quays[node].ports
            if each.getHost().port == OURS  # type: ignore[attr-defined]  # of an address on TCP
        ]
        server = Caller(self.network.clock, port)
        server.says(CONNECT + info(server_id))
        return server

    def answer(self, server: Caller) -> None:
        """Let it show that it knows what it was told."""
        server.says(b"PONG\r\n" * server.hears().count(b"PING\r\n"))

    def begin_with_another(self) -> Caller:
        """Let it be there before the next gateway comes."""
        self.grow()
        self.subscribe()
        other = self.joins(self.giver, "A")
        self.network.settle(0.1)
        self.assertIn("A", self.links_of(self.giver).members)
        self.answer(other)
        return other

    def test_it_does_not_come(self) -> None:
        """The taker does not wait for it for ever, and nothing of the others is lost."""
        other = self.begin_with_another()
        self.change()

        def is_handed_over() -> bool:
            self.answer(other)
            return self.is_handed_over()

        began = self.network.clock.seconds()
        self.say_until(is_handed_over)
        took = self.network.clock.seconds() - began
        self.assertGreater(took, bounds.HANDOVER_ASKED_SECONDS)
        self.assertLess(took, bounds.HANDOVER_SECONDS)
        self.assert_order()

    def test_it_ends_meanwhile(self) -> None:
        """Who is gone is waited for no longer."""
        other = self.begin_with_another()
        self.change()
        succession = self.links_of(self.giver)._succession
        while not succession.is_asked:
            self.answer(other)
            self.say()
        # It is to say that it knows of the mark, and will not.
        other.hangs_up()
        began = self.network.clock.seconds()
        self.say_until(self.is_handed_over)
        self.assertLess(self.network.clock.seconds() - began, 3.0)
        self.assert_order()

    def test_a_new_one_waits(self) -> None:
        """One of which the giver has not told is let in as soon as the taker is through."""
        self.grow()
        self.change()
        self.until(lambda: self.serving == [SIBLING, CHILD])
        refused = self.joins(self.taker, "A")
        self.assertNotIn("A", self.links_of(self.taker).members)
        self.until(lambda: refused.is_gone)
        self.until(self.is_handed_over)
        self.joins(self.taker, "A")
        self.assertIn("A", self.links_of(self.taker).members)
        super().end()


class ThirdTests(MemberCase, test_three_gateways.ThirdTests):
    """A third one that joins while the one hands over to the other waits until that is through."""

    # Servers do not tell who has joined a mark: the third one asks the two one after the other.
    late_seconds = 2 * bounds.HANDOVER_SECONDS + 3.0
