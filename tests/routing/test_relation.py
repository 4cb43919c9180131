"""The names of relations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.relation import Relation


class RelationTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Relations are printed by the names that libatbus's users know."""
        self.assertEqual(
            [str(relation) for relation in Relation],
            [
                "Self",
                "ImmediateUpstream",
                "TransitiveUpstream",
                "ImmediateDownstream",
                "TransitiveDownstream",
                "SameUpstreamPeer",
                "OtherUpstreamPeer",
                "Invalid",
            ],
        )

    def test_directions(self) -> None:
        """A node other than ourselves that we know is above, below or beside us, and only that."""
        for relation in Relation:
            directions = [relation.is_upstream, relation.is_downstream, relation.is_peer]
            is_elsewhere = relation not in (Relation.SELF, Relation.INVALID)
            self.assertEqual(sum(directions), int(is_elsewhere), str(relation))
