"""What a relay keeps because its neighbors ask others, and acknowledge next to nothing."""

from __future__ import annotations

from atbus import limits
from atbus.node.link import Link
from atbus.node.outbox import Routed
from tests.node.crowd import CrowdCase


class CrowdTests(CrowdCase):
    """A good neighbor beside few and many of them."""

    def test_a_few(self) -> None:
        """Who stands beside two that acknowledge nothing is answered every time."""
        self.crowd(2)
        self.check(self.asked())

    def test_a_few_that_are_slow(self) -> None:
        """So is who stands beside four of which each acknowledges a little."""
        self.crowd(4)
        self.check(self.asked(acknowledge=True))

    def test_many_at_once(self) -> None:
        """When many begin in one moment some answers fail in the first second, and none later."""
        self.crowd(32)
        self.check(self.asked(), late=4)

    def test_the_end_of_the_way(self) -> None:
        """What is kept on a link to the root because of them goes with that link as well."""
        self.crowd(4)
        self.asked(acknowledge=True)
        links = [self.relay.endpoints[each.bus_id].control_link for each in self.hostile]
        owing = [link for link in links if link is not None]
        self.assertEqual(len(owing), 4)
        for link in owing:
            self.assertGreater(link.owed.passing_bytes, self.kept_on(link))
        self.kill(self.above)
        self.network.settle(0.1)
        for link in owing:
            self.assertEqual(link.owed.passing_bytes, self.kept_on(link))

    def kept_on(self, link: Link) -> int:
        """Count what passes and is kept on one link."""
        items = [each for each in link.outgoing if isinstance(each, Routed) and each.debtor]
        return sum(each.size_bytes + limits.WAITING_FRAME_BYTES for each in items)
