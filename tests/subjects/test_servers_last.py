"""Queue groups with members at servers that cannot be told that only a group is meant."""

from __future__ import annotations

import random
from collections import Counter

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import ID_MAX
from atbus.subjects.distribution import Distributor, Incoming
from atbus.subjects.interest import Interests, Side
from atbus.wire.messages import Interest, InterestEntry


class ServersLastTests(SynchronousTestCase):
    """A node with two others below it, and a server."""

    def test_a_server_with_plain_subscribers(self) -> None:
        """
        A leaf that is no node gets what is for a group alone if nobody else is a member, when it
        has plain subscribers; these cannot be left out there.
        """
        interests = Interests()
        for place, side in ((4, Side.BELOW), (5, Side.BELOW), (ID_MAX + 1, Side.BELOW)):
            interests.open(place, side)
        server, member = ID_MAX + 1, 5
        group = InterestEntry(subject="a", queue="g", weight=1)
        for place in (server, member):
            interests.heard(place, Interest(entries=(group,)))
        distributor = Distributor(interests, random.Random(1).randrange)
        alone = Incoming(subject=("a",), came_from=4, queues=("g",), queues_only=True)
        back = attrs.evolve(alone, queues_only=False, handed_back=True)

        def chosen(incoming: Incoming) -> Counter[int]:
            found = (distributor.distribute(incoming).branches for _ in range(200))
            return Counter(branch.neighbor for branches in found for branch in branches)

        for incoming in (alone, back):
            self.assertEqual(sorted(chosen(incoming)), [member, server])
        plain = InterestEntry(subject=">", weight=1)
        interests.heard(server, Interest(entries=(plain,)))
        for incoming in (alone, back):
            self.assertEqual(chosen(incoming), {member: 200})
        interests.heard(member, Interest(entries=(attrs.evolve(group, weight=0),)))
        for incoming in (alone, back):
            self.assertEqual(chosen(incoming), {server: 200})
