"""Who is told what when nodes and links of a bus come and go."""

from __future__ import annotations

from atbus import limits
from atbus.routing.batch import Removal
from atbus.routing.sync_terms import TableMode
from tests.simulation.routes import RouteTests


class ComingTests(RouteTests):
    """Nodes and links that are new."""

    def test_a_new_child(self) -> None:
        """
        Its parent tells upstream, other children and peers exactly once each, and not the child.

        Scenario: BB5
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (4, 2), (5, 1))
        self.peers(nodes[2], nodes[5])
        self.calm()
        self.below(nodes[2], 9)
        self.run_for()
        from_parent = [pair for pair in self.tellers_of(9) if pair[0] == 2]
        self.assertEqual(sorted(from_parent), [(2, 1), (2, 3), (2, 4), (2, 5)])

    def test_news_from_above(self) -> None:
        """
        What the upstream tells goes to children only.

        Scenario: BB6
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (5, 1))
        self.peers(nodes[2], nodes[5])
        self.calm()
        self.below(nodes[1], 9)
        self.run_for()
        from_middle = [pair for pair in self.tellers_of(9) if pair[0] == 2]
        self.assertEqual(from_middle, [(2, 3)])

    def test_news_from_a_peer(self) -> None:
        """
        What a peer tells goes to children, not to the upstream and not to other peers.

        Scenario: BB7
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (5, 1), (6, 1))
        self.peers(nodes[2], nodes[5])
        self.peers(nodes[2], nodes[6])
        self.calm()
        self.below(nodes[5], 9)
        self.run_for()
        from_middle = [pair for pair in self.tellers_of(9) if pair[0] == 2]
        self.assertEqual(from_middle, [(2, 3)])

    def test_new_peers(self) -> None:
        """
        Two that become peers tell each other what is below them; the upstream hears nothing new.

        Scenario: BB8
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (5, 1), (6, 5))
        self.peers(nodes[2], nodes[5])
        self.run_for()
        self.assertEqual({word.bus_id for word in self.told(2, 5)}, {2, 3})
        self.assertEqual({word.bus_id for word in self.told(5, 2)}, {5, 6})
        self.assertEqual(self.told(2, 1) + self.told(5, 1), [])
        machine = nodes[2].machine
        assert machine is not None
        self.assertEqual(self.ids(nodes[2]), [1, 3, 5, 6])
        self.assertEqual(machine.known.tellers(6), (1, 5))
        self.assertEqual(self.told(2, 3), [])

    def test_all_of_it_at_first(self) -> None:
        """
        A node that comes with a subtree tells all of it upwards, and all from above downwards.

        Scenario: BB27
        """
        nodes = self.tree((1, 0), (7, 1), (2, 0), (3, 2), (4, 3))
        self.world.connect(nodes[2], nodes[1])
        self.run_for()
        self.assertEqual({word.bus_id for word in self.told(2, 1)}, {2, 3, 4})
        self.assertEqual(self.ids(nodes[4]), [1, 2, 3, 7])

    def test_roots(self) -> None:
        """
        Two roots that are connected know each other's trees, and so do their children; the ends of
        a chain of three do not.

        Scenario: BB26
        """
        nodes = self.tree((1, 0), (11, 1), (2, 0), (12, 2), (3, 0), (13, 3))
        self.peers(nodes[1], nodes[2])
        self.peers(nodes[2], nodes[3])
        self.run_for()
        self.assertEqual(self.ids(nodes[11]), [1, 2, 12])
        self.assertEqual(self.ids(nodes[12]), [1, 2, 3, 11, 13])
        self.assertEqual(self.ids(nodes[13]), [2, 3, 12])

    def test_a_subtree_moves(self) -> None:
        """
        A subtree that moves away is withdrawn from the upstream and the peers at its old place.

        Scenario: BB32
        """
        nodes = self.tree((1, 0), (2, 1), (3, 1), (4, 2), (5, 4), (6, 1))
        self.peers(nodes[2], nodes[6])
        self.calm()
        self.world.cut(self.line(nodes[4], nodes[2]), (0.0, 0.0))
        self.world.connect(nodes[4], nodes[3])
        self.run_for()
        for above in (1, 6):
            last = {word.bus_id: word for word in self.told(2, above)}
            self.assertIsInstance(last[4], Removal)
            self.assertIsInstance(last[5], Removal)
        self.assertEqual(self.ids(nodes[6]), [1, 2, 3, 4, 5])
        table = nodes[6].table
        self.assertEqual(table[4].upstream_id, 3)

    def test_an_old_neighbor(self) -> None:
        """
        A node without route tables is asked nothing; it is listed by its parent, with one that has
        its table switched off.

        Scenario: BB23
        """
        nodes = self.tree((1, 0), (2, 1))
        old = self.world.add(8, TableMode.FULL, tells=False)
        off = self.node(9, TableMode.OFF)
        self.world.connect(old, nodes[2])
        self.world.connect(off, nodes[2])
        self.run_for()
        self.assertEqual(self.told(8, 2) + self.told(2, 8) + self.told(9, 2), [])
        self.assertEqual(self.ids(nodes[1]), [2, 8, 9])
        self.assertEqual(self.ids(off), [2])


class GoingTests(RouteTests):
    """Nodes and links that are gone."""

    def test_a_child_dies(self) -> None:
        """
        After its grace it is reported, the deepest of its descendants first.

        Scenario: BB10
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 1))
        self.world.kill(nodes[3])
        self.run_for(limits.CHILD_GRACE_SECONDS - 0.2)
        self.assertEqual(self.removals(), [])
        self.run_for(1.0)
        self.assertEqual([word.bus_id for word in self.told(2, 1)], [5, 4, 3])
        dead = [word.dead for word in self.told(2, 1) if isinstance(word, Removal)]
        self.assertEqual(dead, [False, False, True])
        self.assertEqual(self.ids(nodes[6]), [1, 2])

    def test_a_short_break(self) -> None:
        """
        A child that is back within its grace is not mentioned to anybody.

        Scenario: BB10
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (4, 3), (6, 1))
        news = dict(nodes[6].news)
        self.world.cut(self.line(nodes[3], nodes[2]), (0.0, 0.0))
        self.run_for(0.5)
        self.world.connect(nodes[3], nodes[2])
        self.run_for(20)
        self.assertEqual(self.told(2, 1), [])
        self.assertEqual(self.told(3, 4), [])
        self.assertEqual(dict(nodes[6].news), news)

    def test_a_peer_link_is_lost(self) -> None:
        """
        What the parent still lists stays, by another way; when it does not, it is gone.

        Scenario: BB12
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (5, 1), (6, 5))
        line = self.peers(nodes[2], nodes[5])
        self.calm()
        machine = nodes[2].machine
        assert machine is not None
        self.assertEqual(machine.known.tellers(6), (1, 5))
        self.world.cut(line, (0.0, 0.0))
        self.run_for()
        self.assertEqual((machine.known.tellers(6), self.removals()), ((1,), []))
        self.world.stop(nodes[6])
        self.run_for()
        self.assertEqual(self.ids(nodes[2]), [1, 3, 5])
        self.assertEqual(self.ids(nodes[3]), [1, 2, 5])

    def test_the_parent_is_lost(self) -> None:
        """
        What it told is kept and marked, nothing is withdrawn; after the grace it is, downwards.

        Scenario: BB13
        """
        nodes = self.tree((1, 0), (7, 1), (2, 1), (3, 2), (5, 1), (6, 5))
        self.peers(nodes[2], nodes[5])
        self.calm()
        self.world.cut(self.line(nodes[2], nodes[1]), (0.0, 0.0))
        self.run_for(limits.PARENT_GRACE_SECONDS - 1)
        machine = nodes[2].machine
        assert machine is not None
        self.assertEqual(
            (self.ids(nodes[2]), self.ids(nodes[3])), ([1, 3, 5, 6, 7], [1, 2, 5, 6, 7])
        )
        self.assertEqual((machine.known.tellers(7), machine.known.tellers(6)), ((), (5,)))
        self.assertEqual([each for each in self.removals() if each[0] == 2], [])
        self.run_for(3)
        self.assertEqual((self.ids(nodes[2]), self.ids(nodes[3])), ([3, 5, 6], [2, 5, 6]))

    def test_the_parent_returns_with_less(self) -> None:
        """
        What it does not list any more is removed once; of the rest nothing is heard.

        Scenario: BB14
        """
        nodes = self.tree((1, 0), (7, 1), (8, 1), (2, 1), (3, 2))
        self.world.cut(self.line(nodes[2], nodes[1]), (0.0, 0.0))
        self.run_for(0.5)
        self.world.stop(nodes[7])
        self.run_for(20)
        self.said.clear()
        before = dict(nodes[3].news)
        self.world.connect(nodes[2], nodes[1])
        self.run_for()
        about_others = [word for word in self.told(2, 3) if word.bus_id != 2]
        self.assertEqual([word.bus_id for word in about_others], [7])
        self.assertEqual(nodes[3].news["forget"], before.get("forget", 0) + 1)
        self.assertEqual(self.ids(nodes[3]), [1, 2, 8])

    def test_the_parent_returns_late(self) -> None:
        """
        After the grace everything is added again; no tombstone is in the way.

        Scenario: BB15
        """
        nodes = self.tree((1, 0), (7, 1), (2, 1), (3, 2))
        self.world.cut(self.line(nodes[2], nodes[1]), (0.0, 0.0))
        self.run_for(limits.PARENT_GRACE_SECONDS + 10)
        self.assertEqual(self.ids(nodes[3]), [2])
        self.world.connect(nodes[2], nodes[1])
        self.run_for()
        self.assertEqual(self.ids(nodes[3]), [1, 2, 7])
        self.assertEqual(self.ids(nodes[7]), [1, 2, 3])

    def test_a_node_without_upstream_and_with_a_peer(self) -> None:
        """
        A node that loses its upstream stays visible to the children of its peer.

        Scenario: BB29
        """
        nodes = self.tree((1, 0), (2, 1), (5, 1), (6, 5))
        self.peers(nodes[2], nodes[5])
        self.calm()
        self.world.cut(self.line(nodes[2], nodes[1]), (0.0, 0.0))
        self.run_for(20)
        self.assertIn(2, nodes[6].table)
        self.assertNotIn(2, nodes[1].table)
        (late,) = self.below(nodes[5], 8)
        self.run_for()
        self.assertIn(2, late.table)

    def test_a_report_against_a_connection(self) -> None:
        """
        A node that its parent reports dead, and that a peer is still connected to, stays known to
        that peer and below it; and it says itself that it lives.

        Scenario: BB16, BB33
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (5, 1), (6, 5))
        self.peers(nodes[3], nodes[5])
        self.calm()
        line = self.line(nodes[3], nodes[2])
        line.ends.discard(nodes[3].key)
        self.world.cut(line, (0.0, 0.0))
        self.run_for(4)
        self.assertIn(3, nodes[5].table)
        self.assertIn(3, nodes[6].table)
        self.assertNotIn(3, nodes[1].table)
        contradiction = [word for word in self.told(5, 3) if word.bus_id == 3]
        self.assertEqual([isinstance(word, Removal) for word in contradiction], [True])
        self.assertGreater(nodes[6].table[3].stamp.seq, 2)
        machine = nodes[3].machine
        assert machine is not None
        machine.lost(2, self.world.now)
        self.world.connect(nodes[3], nodes[2])
        self.run_for()
        self.assertIn(3, nodes[1].table)

    def test_a_clean_stop(self) -> None:
        """
        A node that stops is dropped everywhere at once; its upstream does not report it again.

        Scenario: BB34
        """
        nodes = self.tree((1, 0), (2, 1), (3, 2), (4, 2), (5, 1), (6, 5))
        self.peers(nodes[3], nodes[5])
        self.calm()
        self.world.stop(nodes[3])
        self.run_for(0.4)
        for bus_id in (1, 2, 4, 5, 6):
            self.assertNotIn(3, nodes[bus_id].table)
        self.run_for(10)
        counts = self.per_direction(3)
        self.assertEqual(set(counts.values()), {1})
        self.assertEqual({word.dead for _, _, word in self.removals()}, {True})

    def test_one_end_notices_late(self) -> None:
        """
        One end of a link notices its loss a ping timeout before the other; no ghost remains.

        Scenario: BB36
        """
        for first in (0, 1):
            with self.subTest(first=first):
                self.setUp()
                nodes = self.tree((1, 0), (2, 1), (3, 2), (4, 3), (5, 1))
                line = self.line(nodes[3], nodes[2])
                line.is_cut = True
                line.passes.clear()
                early, late = (nodes[3], nodes[2]) if first else (nodes[2], nodes[3])
                self.world._notice(line, early.key)
                if first:
                    self.world.connect(nodes[3], nodes[5])
                self.run_for(24)
                self.world._notice(line, late.key)
                self.run_for(10)
                if not first:
                    self.world.connect(nodes[3], nodes[5])
                    self.run_for(10)
                self.assertEqual(self.ids(nodes[1]), [2, 3, 4, 5])
                self.assertEqual(nodes[2].table[3].upstream_id, 5)
                self.tearDown()

    def test_two_processes_with_one_id(self) -> None:
        """
        Two processes with one id under different parents: the older one says so, the table shows
        the newer; when that ends the older one is back.

        Scenario: BB17
        """
        nodes = self.tree((1, 0), (2, 1), (3, 1))
        older = self.world.add(9, TableMode.FULL, process="older")
        self.world.connect(older, nodes[2])
        self.run_for()
        newer = self.world.add(9, TableMode.FULL, process="newer")
        newer.epoch = 4
        self.world.start(newer)
        self.world.connect(newer, nodes[3])
        self.run_for()
        self.assertEqual([alarm.process for alarm in older.alarms], ["newer"])
        self.assertEqual(newer.alarms, [])
        self.assertEqual({nodes[each].table[9].process for each in (1, 2, 3)}, {"newer"})
        self.world.kill(newer)
        self.run_for(10)
        self.assertEqual({nodes[each].table[9].process for each in (1, 2, 3)}, {"older"})


class ModeTests(RouteTests):
    """How much nodes want to know."""

    def test_leaves_know_their_upstream(self) -> None:
        """Leaves ask for nothing and are told of nothing; those above them know everybody."""
        nodes = self.tree((1, 0), (2, 1), (3, 1))
        leaves = [self.node(bus_id, TableMode.UPSTREAM) for bus_id in (21, 22, 31)]
        for leaf in leaves:
            self.world.connect(leaf, nodes[leaf.bus_id // 10])
        self.run_for()
        self.assertEqual([self.ids(leaf) for leaf in leaves], [[2], [2], [3]])
        self.assertEqual(self.ids(nodes[2]), [1, 3, 21, 22, 31])
        self.assertEqual([said for said in self.said if said.receiver > 9], [])

    def test_a_leaf_gets_a_child(self) -> None:
        """By itself a leaf knows its upstream only, and everything from its first child on."""
        nodes = self.tree((1, 0), (2, 1))
        leaf = self.node(5, TableMode.AUTO)
        self.world.connect(leaf, nodes[1])
        self.run_for()
        self.assertEqual(self.ids(leaf), [1])
        self.below(leaf, 6)
        self.run_for()
        self.assertEqual(self.ids(leaf), [1, 2, 6])
