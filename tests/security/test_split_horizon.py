"""What somebody tells does not come back to him, by whatever way."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.subjects.interest import Interests, Side
from atbus.wire.messages import Interest, InterestEntry
from tests.routing.route_talk import DOWN, PEER, UP, Talk, record

SIDES = {2: DOWN, 3: DOWN, 4: PEER, 5: UP}
STANDS = {DOWN: Side.BELOW, PEER: Side.BESIDE, UP: Side.ABOVE}
SUBJECTS = {2: "a", 3: "b", 4: "c", 5: "d"}


class HorizonTests(SynchronousTestCase):
    """A node between others tells each of them what the others tell."""

    def test_security_split_horizon(self) -> None:
        """
        Neither routes nor interest go back to whoever has told them; and what an upstream or a peer
        tells goes down only, so it cannot come back to it by way of another neighbor.
        """
        routes = {2: {1, 3, 30, 4, 40, 5, 50}, 3: {1, 2, 20, 4, 40, 5, 50}}
        above = {1, 2, 20, 3, 30}
        self.assertEqual(self.routes_told(), {**routes, 4: above, 5: above})
        interest = {2: {"b", "c", "d"}, 3: {"a", "c", "d"}, 4: {"a", "b"}, 5: {"a", "b"}}
        self.assertEqual(self.interest_told(), interest)

    def routes_told(self) -> dict[int, set[int]]:
        """Let each neighbor tell of a node of its own; give of whom each is told."""
        talk = Talk()
        for bus_id, position in SIDES.items():
            talk.neighbor(bus_id, position, record(bus_id * 10, upstream_id=bus_id))
        talk.wait(10)
        return {each: {word.bus_id for word in talk.take(each)} for each in SIDES}

    def interest_told(self) -> dict[int, set[str]]:
        """Let each neighbor want a subject of its own; give of which each is told."""
        interests = Interests()
        for bus_id, position in SIDES.items():
            interests.open(bus_id, STANDS[position])
        for bus_id, subject in SUBJECTS.items():
            wanted = InterestEntry(subject=subject, queue="", weight=1)
            interests.heard(bus_id, Interest(entries=(wanted,)))
        told: dict[int, set[str]] = {each: set() for each in SIDES}
        for bus_id, message in interests.changes():
            told[bus_id] |= {entry.subject for entry in message.entries}
        for bus_id in SIDES:
            # As when its connection opens anew.
            again = {each.subject for said in interests.replay(bus_id) for each in said.entries}
            self.assertEqual(again, told[bus_id])
        return told
