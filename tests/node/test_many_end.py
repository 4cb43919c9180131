"""What it costs a node that many neighbors end at the same moment."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from atbus.node.courier import Courier
from atbus.node.node import Node
from atbus.node.outbox import Routed
from atbus.subjects import bounds
from atbus.testing.network import VirtualNetwork
from tests.node.bus import CHILD, BusTests


class ManyEndTests(BusTests):
    """A root below which all end at once, with all that belongs to them."""

    def children(self, count: int) -> tuple[Node, list[Node]]:
        """Start a root and so many children, that want something and ask whether it is known."""
        root = self.root()
        children = [self.child(CHILD + number) for number in range(count)]
        self.network.start(root, *children)
        self.network.settle(1)
        # It answers nothing, so all questions stay open.
        self.network.freeze(children[-1])
        for child in children[:-1]:
            for number in range(4):
                subscription = child.subscribe(f"{child.bus_id}.{number}", lambda _: None)
                subscription.everywhere().addErrback(lambda _: None)
        self.network.settle(1)
        for child in children:
            root.deliver(child.bus_id, b"x").addErrback(lambda _: None)
            # What is answered finds nobody.
            for other in (children[0], children[1]):
                if other is not child:
                    child.deliver(other.bus_id, b"x").addErrback(lambda _: None)
        self.network.settle(self.network.delay_seconds / 2)
        return root, children

    def work(self, count: int) -> int:
        """Say how many lines are run when so many end."""
        root, children = self.children(count)
        self.assertEqual(len(root.endpoints), count)
        self.assertEqual(len(root._parts.subjects.talk._barriers), 4 * (count - 1))
        for child in children:
            self.kill(child)
        lines = 0

        def traced(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal lines
            lines += event == "line"
            return traced

        before = sys.gettrace()
        sys.settrace(traced)
        try:
            self.network.settle(2 * self.network.delay_seconds)
        finally:
            sys.settrace(before)
        self.assertEqual(len(root.endpoints), 0)
        self.assertEqual(len(root._parts.subjects.talk._barriers), 0)
        return lines

    def test_each_costs_what_belongs_to_it(self) -> None:
        """Twice as many cost twice as much, and not four times: nobody walks over all others."""
        few = self.work(20)
        self.end()
        self.begin(VirtualNetwork())
        self.assertLess(self.work(40), 2.4 * few)

    def test_losses_are_told_together(self) -> None:
        """
        LOSSES_SECONDS: of neighbors that end one after the other, the others hear at once of the
        first, and of all that follow soon together.
        """
        root = self.root()
        children = [self.child(CHILD + number) for number in range(20)]
        self.network.start(root, *children)
        for child in children[:-1]:
            child.subscribe(f"{child.bus_id}", lambda _: None)
        self.network.settle(1)
        told: list[str] = []
        talk = root._parts.subjects.talk
        tell = talk._tell

        def counted(bus_id: int, message: Any) -> None:
            if bus_id == children[-1].bus_id:
                told.append("; ".join(entry.subject for entry in message.entries))
            tell(bus_id, message)

        talk._tell = counted  # type: ignore[method-assign]
        for child in children[:-1]:
            self.kill(child)
            self.network.settle(bounds.LOSSES_SECONDS / 100)
        self.network.settle(bounds.LOSSES_SECONDS)
        first, *others = [f"{child.bus_id}" for child in children[:-1]]
        self.assertEqual(told, [first, "; ".join(others)])

    def test_what_waits_is_tried_once(self) -> None:
        """However much changes in one turn, what has no way is tried once at the end of it."""
        root, child = self.pair()
        tried: list[Routed] = []
        try_route = Courier._try_route

        def counted(courier: Courier, item: Routed) -> Any:
            tried.append(item)
            return try_route(courier, item)

        traffic = root._parts.traffic
        child.deliver(root.bus_id, b"x").addErrback(lambda _: None)
        self.network.settle(self.network.delay_seconds / 2)
        self.kill(child)
        self.network.settle(2 * self.network.delay_seconds)
        self.assertEqual(traffic.courier.parked, 1)
        self.patch(Courier, "_try_route", counted)
        for _ in range(10):
            traffic.changed()
        self.network.settle(0.001)
        self.assertEqual(len(tried), 1)
        # And again when more has changed.
        traffic.changed()
        self.network.settle(0.001)
        self.assertEqual(len(tried), 2)
