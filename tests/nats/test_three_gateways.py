"""While a server is handed over a third gateway joins, with a still lower id."""

from __future__ import annotations

from functools import partial

from atbus.nats import bounds
from atbus.nats.handover import Giving
from atbus.nats.succession import Succession
from tests.nats.test_handover import HandoverCase
from tests.node.bus import CHILD, SIBLING


class ThirdTests(HandoverCase):
    """The one that has joined the mark is through first, and hands the server over then."""

    servers = (0x10003, SIBLING)
    pace_seconds = 0.001

    #: When all is over at the latest where nobody says that he is done.
    late_seconds = bounds.HANDOVER_SECONDS + 3.0

    def grow(self, seed: int = 0) -> None:
        """Start the third node as well; its gateway begins when it is told to."""
        super().grow(seed)
        self.third = self.child(CHILD, nats=self.nats)
        self.network.start(self.third)
        self.subscribe()

    def join(self) -> None:
        """Let the third gateway begin."""
        self.gateway(self.third)
        self.ends[self.third] = []
        self.quays[self.third].dial = partial(self.dial, self.third, self.door.factory)

    def is_third(self) -> bool:
        """Tell whether it serves, alone."""
        return self.serving == [CHILD]

    def test_nothing_is_lost(self) -> None:
        """Whenever it comes: everything comes once."""
        for after in (0.0, 0.004, 0.1):
            self.grow()
            self.network.start(self.taker)
            self.say_until(lambda: self.serving == [0x10003, SIBLING])
            began = self.network.clock.seconds()
            self.say_until(partial(self.is_past, began + after))
            self.join()
            self.say_until(self.is_third)
            self.assertLess(self.network.clock.seconds() - began, 2.0)
            for _ in range(20):
                self.say()
            for heard in self.listen():
                self.assertEqual(sorted(heard), [*range(self.said)], after)
            super().end()

    def test_the_giver_says_nothing_more(self) -> None:
        """When they are not through in time the third one dials, and serves alone in the end."""
        self.patch(Giving, "stop", lambda _: None)
        self.grow()
        self.network.start(self.taker)
        self.until(lambda: self.serving == [0x10003, SIBLING])
        self.join()
        self.network.settle(self.late_seconds)
        self.assertTrue(self.is_third())
        self.goes_on()
        super().end()

    def test_two_serve_for_long(self) -> None:
        """It waits so long for them."""
        self.patch(Succession, "_others", ["one", "another"])
        self.grow()
        began = self.network.clock.seconds()
        self.join()
        self.until(self.is_third, bounds.HANDOVER_SECONDS + 2)
        self.assertLess(bounds.HANDOVER_SECONDS - 1, self.network.clock.seconds() - began)
        self.goes_on()
        super().end()
