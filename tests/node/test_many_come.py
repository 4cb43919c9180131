"""What it costs a node that many are registered when one more comes."""

from __future__ import annotations

from atbus.node import judging
from atbus.node.endpoint import Endpoint
from atbus.routing.applicant import Registered
from atbus.routing.table import Position
from tests.node.bus import CHILD, BusTests


class ManyComeTests(BusTests):
    """A root whose children come one after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.described: list[int] = []
        describe = judging._as_registered

        def counted(endpoint: Endpoint) -> Registered:
            self.described.append(endpoint.bus_id)
            return describe(endpoint)

        self.patch(judging, "_as_registered", counted)

    def test_those_who_are_there_are_as_they_were(self) -> None:
        """Who is registered is described to the rules once more only when something has changed."""
        root = self.root()
        self.network.start(root)
        for number in range(10):
            self.network.start(self.child(CHILD + number))
            self.network.settle()
        # Each is described to those behind it, once: control and data of a child make no change.
        seen = {each: self.described.count(each) for each in range(CHILD, CHILD + 9)}
        self.assertEqual(set(seen.values()), {1}, seen)
        known = root._parts.registrar.judge._registered()
        self.assertEqual([each.bus_id for each in known], [CHILD + number for number in range(10)])

    def test_who_has_changed(self) -> None:
        """Who comes back is described as he is then, and who is gone is forgotten."""
        root = self.root()
        one, other = self.child(), self.child(CHILD + 1)
        self.network.start(root, one, other)
        self.network.settle()
        self.network.result_of(one.stop())
        self.network.settle()
        judge = root._parts.registrar.judge
        self.assertEqual([each.bus_id for each in judge._described], [other.bus_id])
        self.assertEqual([each.bus_id for each in judge._registered()], [other.bus_id])
        again = self.child()
        self.network.start(again)
        self.network.settle()
        [_, newest] = judge._registered()
        self.assertEqual((newest.bus_id, newest.epoch), (CHILD, again.epoch))
        self.assertIsNotNone(newest.control_dialled)

    def test_what_the_rules_go_by(self) -> None:
        """Who stands elsewhere now, or has another control stream or none, is described so."""
        root, child = self.pair()
        judge, endpoint = root._parts.registrar.judge, root.endpoints[child.bus_id]
        [before] = judge._registered()
        position, control = endpoint.position, endpoint.control
        for changed, name, value in (
            ("position", "position", Position.PEER),
            ("control", "control_dialled", None),
        ):
            setattr(endpoint, changed, value)
            self.assertEqual(getattr(judge._registered()[0], name), value)
        endpoint.position, endpoint.control = position, control
        self.assertEqual(judge._registered(), [before])
