"""What was found out for one neighbor does not hold for another one when something is different."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from tests.routing.route_talk import DOWN, OWN, PEER, UP, Talk, dead, gone, record


class SharingTests(SynchronousTestCase):
    """Two leaves that are told the same, until they are not."""

    def setUp(self) -> None:
        self.talk = Talk()
        self.talk.neighbor(2, UP, record(7, upstream_id=2))
        self.talk.neighbor(3, PEER)
        for each in (4, 5):
            self.talk.neighbor(each, DOWN)
        self.talk.wait(5)
        self.talk.forget_sent()

    def test_tells_of_it_now(self) -> None:
        """Who tells of a node that it was told of is told that we do so no more; others are not."""
        talk = self.talk
        ranges = (Subnet(7, 0),)
        talk.say(3, attrs.evolve(record(3, 2), subnets=ranges))
        talk.say(5, attrs.evolve(record(5, 2, upstream_id=OWN), subnets=ranges))
        talk.wait(1)
        talk.forget_sent()
        talk.say(3, record(7, upstream_id=2))
        talk.wait(1)
        self.assertEqual((talk.take(4), talk.take(5)), ([], []))
        talk.say(5, record(7, upstream_id=2))
        talk.wait(1)
        self.assertEqual((talk.take(4), talk.take(5)), ([], [gone(7, 1)]))

    def test_another_record_of_ourselves(self) -> None:
        """Who asks after our own record has changed is told the new one."""
        self.talk.available(6, DOWN)
        self.talk.subscribe(6)
        self.assertIn(self.talk.machine.own, self.talk.take(6))
        content = attrs.evolve(record(OWN, seq=0), labels=(("a", "b"),))
        self.talk.do(self.talk.machine.describe(content, self.talk.now))
        self.talk.available(8, DOWN)
        self.talk.subscribe(8)
        self.talk.wait(1)
        own = [word for word in self.talk.take(8) if word.bus_id == OWN]
        self.assertEqual(own, [self.talk.machine.own])
        self.assertEqual(self.talk.machine.own.labels, content.labels)

    def test_another_stamp_of_a_death(self) -> None:
        """Who hears late that a node is dead hears up to which stamp it is by then."""
        talk = self.talk
        talk.say(3, record(9, upstream_id=3))
        talk.say(2, record(9, upstream_id=3))
        talk.wait(1)
        talk.slow.add(5)
        for seq in (2, 3):
            talk.say(2, record(2, seq))
            talk.wait(1)
        talk.forget_sent()
        talk.say(2, dead(9, 1))
        talk.wait(1)
        self.assertEqual((talk.take(4), talk.take(5)), ([dead(9, 1)], []))
        talk.say(3, dead(9, 3))
        talk.wait(1)
        talk.do(talk.machine.sent(5, talk.now))
        self.assertEqual(talk.take(5), [dead(9, 3)])

    def test_a_teller_on_another_side(self) -> None:
        """What was found out while a neighbor stood beside us does not hold when it is below us."""
        talk = self.talk
        talk.neighbor(6, PEER)
        talk.wait(5)
        talk.say(3, record(3, 2), record(9, upstream_id=3))
        talk.wait(3)
        # It is told nothing from the second time on, as the first has not left.
        talk.slow.add(6)
        told: list[list[int]] = []
        for position in (DOWN, PEER, DOWN):
            talk.forget_sent()
            talk.available(3, position)
            talk.wait(60)
            told.append(sorted(word.bus_id for word in talk.take(2)))
        self.assertEqual(told, [[3, 9], [3, 9], [3, 9]])
