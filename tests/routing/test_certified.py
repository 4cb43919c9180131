"""What a neighbor may tell whose certificate names a range of ids."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import BusId, Subnet
from atbus.errors import Status
from atbus.routing.batch import Word
from atbus.routing.sync_terms import Contested, Ignored
from atbus.routing.table import Position
from tests.routing.route_talk import DOWN, OWN, PEER, UP, Talk, dead, record
from tests.routing.test_table import (
    ABOVE,
    BEHIND_FAR,
    BEHIND_PROXY,
    FAR,
    PROXY_BELOW,
    REGION,
    proxy_table,
)


class CertifiedTests(SynchronousTestCase):
    """A neighbor whose certificate names a range tells of nodes."""

    def heard(self, position: Position, *words: Word) -> Talk:
        """Let neighbor 2, whose certificate names 2 and 3, tell something; 7 is beside it."""
        talk = Talk()
        talk.neighbor(7, DOWN)
        talk.available(2, position, certified=Subnet(2, 1))
        upstream_id = OWN if position is DOWN else 0
        talk.answer(2, record(2, upstream_id=upstream_id), *words)
        return talk

    def test_outside(self) -> None:
        """Of others nothing is believed, the first one is named; nor are they said to be dead."""
        for position in (DOWN, PEER):
            words = (record(3, 1, 2), record(4, 1, 2), record(5, 1, 4), record(7, 9, 2, epoch=9))
            talk = self.heard(position, *words)
            self.assertEqual(talk.ids, [2, 3, 7])
            first = Ignored(2, Status.SOURCE_REFUSED, 1, 4)
            self.assertEqual(talk.other, [first, *[Ignored(2, Status.SOURCE_REFUSED, 1)] * 2])
            talk.say(2, dead(7, 9, epoch=9), record(4, 2, 3))
            self.assertEqual(talk.ids, [2, 3, 7])

    def test_too_wide_a_range(self) -> None:
        """A range that the certificate does not name is not believed, of itself and of others."""
        for bus_id in (2, 3):
            said = record(bus_id, 2, 2 if bus_id == 3 else OWN)
            talk = self.heard(DOWN, attrs.evolve(said, subnets=(Subnet(2, 4),)))
            self.assertEqual(talk.other, [Ignored(2, Status.SOURCE_REFUSED, 1, bus_id)])

    def test_the_upstream(self) -> None:
        """The upstream tells of everybody, whatever its certificate names."""
        talk = self.heard(UP, record(4), record(5, 1, 4))
        self.assertEqual(talk.ids, [2, 4, 5, 7])
        self.assertFalse(any(isinstance(each, Ignored) for each in talk.other))


class ContestedTests(SynchronousTestCase):
    """Somebody tells of a newer life of a node that is registered here."""

    def test_told_once(self) -> None:
        """It is said who tells it, once for each registration, whether it is true or not."""
        talk = Talk()
        talk.neighbor(3, DOWN)
        talk.neighbor(2, PEER, record(3, 1, 2, epoch=9))
        newer = Contested(3, 2, "3.9")
        self.assertEqual([each for each in talk.other if isinstance(each, Contested)], [newer])
        talk.say(2, record(3, 2, 2, epoch=9))
        self.assertEqual(talk.other.count(newer), 1)
        talk.available(3, DOWN, epoch=8)
        talk.say(2, record(3, 3, 2, epoch=9))
        self.assertEqual(talk.other.count(newer), 2)

    def test_nothing_new(self) -> None:
        """Who moves, whose life is older, and whose link is lost, is not contested."""
        talk = Talk()
        for bus_id in (3, 4):
            talk.neighbor(bus_id, DOWN)
        talk.lose(4)
        talk.neighbor(2, PEER, record(3, 9, 2), record(4, 1, 2, epoch=9))
        talk.available(3, DOWN, epoch=10)
        talk.say(2, record(3, 1, 2, epoch=9))
        self.assertEqual([each for each in talk.other if isinstance(each, Contested)], [])


class SpeakingTests(SynchronousTestCase):
    """In whose name it may send."""

    def test_who_has_a_certificate(self) -> None:
        """
        It speaks for nobody that its certificate does not name, whoever is below it by records or
        ranges; the upstream and who passes on what that says speak for all.
        """
        table = proxy_table()
        for bus_id in (PROXY_BELOW, FAR, REGION):
            known = table.get(BusId(bus_id))
            assert known is not None
            table.add(attrs.evolve(known, certified=Subnet(bus_id, 0)))
        self.assertTrue(table.may_speak(PROXY_BELOW, PROXY_BELOW))
        self.assertFalse(table.may_speak(PROXY_BELOW, BEHIND_PROXY))
        self.assertFalse(table.may_speak(FAR, BEHIND_FAR))
        self.assertTrue(table.may_speak(REGION, ABOVE))
        known = table.get(BusId(PROXY_BELOW))
        assert known is not None
        table.add(attrs.evolve(known, certified=Subnet(PROXY_BELOW, 8)))
        self.assertTrue(table.may_speak(PROXY_BELOW, BEHIND_PROXY))
        known = table.get(BusId(FAR))
        assert known is not None
        table.add(attrs.evolve(known, passes=True))
        self.assertTrue(table.may_speak(FAR, ABOVE))
