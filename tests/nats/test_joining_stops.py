"""The halves of a bus are joined while one of those who take part stops, or stands still."""

from __future__ import annotations

from functools import partial

from atbus.nats import bounds
from tests.nats.test_joining import ABOVE, JoinCase
from tests.node.bus import CHILD

#: Longer than what a gateway waits with telling a server of a loop.
STALL_SECONDS = 1.2


class StallTests(JoinCase):
    """Whoever stands still, whenever: nothing is lost, nothing comes twice, and all is in order."""

    pace = 0.005

    def test_the_server(self) -> None:
        """The one that both gateways are connected to."""
        self.stalls(0)

    def test_the_upper_end(self) -> None:
        """The node above the link."""
        self.stalls(1)

    def test_the_lower_end(self) -> None:
        """The node below the link."""
        self.stalls(2)

    def test_the_upper_gateway(self) -> None:
        """The one that stays, then one that leaves."""
        self.stalls(3)

    def test_the_lower_gateway(self) -> None:
        """The other one."""
        self.stalls(4)

    def stalls(self, place: int) -> None:
        """Join, with a stall at one of two moments."""
        for upper, seconds in ((CHILD, 0.02), (ABOVE, 0.08)):
            self.cut(0, upper)
            self.join()
            self.say_until(self.is_joining)
            began = self.network.clock.seconds()
            self.say_until(partial(self.is_past, began + seconds))
            self.assertFalse(self.is_joined())
            self.network.freeze(self.places[place])
            began = self.network.clock.seconds()
            self.say_until(partial(self.is_past, began + STALL_SECONDS))
            self.assertFalse(self.is_joined())
            self.network.thaw(self.places[place])
            self.say_until(self.is_joined)
            for _ in range(50):
                self.say()
            for heard in self.listen():
                self.assertEqual(sorted(heard), [*range(self.said)])
                for client in self.clients:
                    numbers = [each for each in heard if self.said_by[each] is client]
                    self.assertEqual(numbers, sorted(numbers))
            self.goes_on()


class StopTests(JoinCase):
    """A gateway that stops in good order while halves are joined."""

    pace = 0.001

    def test_one_that_stays_stops(self) -> None:
        """It is through with the join first, or leaves the other one the whole."""
        self.stops(0, 1)

    def test_one_that_leaves_stops(self) -> None:
        """That is what it does anyhow."""
        self.stops(1, 0)

    def test_the_loop_of_before(self) -> None:
        """That there was one while they were joined is not told while the server is handed over."""
        for seconds in (0.1, 0.12, 0.14):
            self.patch(bounds, "LEAF_RIVAL_SECONDS", seconds)
            self.cut()
            self.join()
            self.say_until(self.is_joining)
            self.stop(0, 1)

    def test_one_that_should_stay_stops_before(self) -> None:
        """Then the other one asks it, and stays."""
        self.cut()
        [solicitor] = self.gateways[self.rivals[0]].leafs._solicitors
        self.patch(solicitor._succession._reunion, "_look", lambda: None)
        self.join()
        self.say_until(lambda: solicitor._candidacy.has_rivals)
        self.assertFalse(self.is_joining())
        self.stop(0, 1)

    def stops(self, who: int, other: int) -> None:
        """Let a gateway stop at different moments."""
        for after in (0.0, 0.03, 0.06, 0.08, 0.1, 0.2):
            self.cut()
            self.join()
            began = self.network.clock.seconds()
            self.say_until(self.is_joining)
            self.say_until(partial(self.is_past, began + after))
            self.stop(who, other)

    def stop(self, who: int, other: int) -> None:
        """Let a gateway stop: nothing is lost, nothing comes twice."""
        began = self.network.clock.seconds()
        stopped: list[None] = []
        self.gateways[self.rivals[who]].leafs.stop().addCallback(stopped.append)
        self.say_until(lambda: self.serving == [self.rivals[other]] and bool(stopped))
        self.assertFalse(self.is_past(began + bounds.HANDOVER_ASKED_SECONDS))
        for _ in range(50):
            self.say()
        for heard in self.listen():
            self.assertEqual(sorted(heard), [*range(self.said)])
        self.goes_on()
