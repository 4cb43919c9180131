"""A gateway that stops hands the server that it serves over to the next one."""

from __future__ import annotations

from functools import partial

from atbus.nats import bounds
from atbus.nats.succession import Succession
from tests.nats import test_handover
from tests.node.bus import CHILD, SIBLING


class LeavingCase(test_handover.HandoverCase):
    """The gateway that serves is the one that will stop, and another one waits."""

    def grow(self, seed: int = 0) -> None:
        """Begin when it serves, and has done so for long."""
        super().grow(seed)
        self.network.start(self.taker)
        self.until(lambda: self.serving == [CHILD])
        self.network.settle(2.0)

    def change(self) -> None:
        """Let it stop."""
        self.stopped: list[float] = []
        self.stopping = self.gateways[self.taker].stopService()
        self.stopping.addCallback(lambda _: self.stopped.append(self.network.clock.seconds()))

    def is_handed_over(self) -> bool:
        """Tell whether the next one serves, alone."""
        return self.serving == [SIBLING] and bool(self.stopped)


class OrderTests(LeavingCase, test_handover.OrderTests):
    """As when one with a lower id joins: all comes once, in order, and is answered."""

    def test_soon_after_it_has_taken_over(self) -> None:
        """Who has just taken over hands over when it is through; who gave way dials at once."""
        for after in (0.0, 0.1, 0.26):
            super(LeavingCase, self).grow()
            self.subscribe()
            self.network.start(self.taker)
            self.say_until(lambda: self.serving == [SIBLING, CHILD])
            began = self.network.clock.seconds()
            self.say_until(partial(self.is_past, began + after))
            self.change()
            self.say_until(self.is_handed_over)
            self.assertLess(self.network.clock.seconds() - began, 1.4)
            for _ in range(20):
                self.say()
            for heard in self.listen():
                self.assertEqual(sorted(heard), [*range(self.said)])
            super().end()


class BoundTests(LeavingCase):
    """A stop takes no longer than so, and no time where there is nobody to wait for."""

    def stops(self, seconds: float) -> None:
        """It has stopped so long after it was told to."""
        began = self.network.clock.seconds()
        self.change()
        if seconds:
            self.network.settle(seconds - 0.01)
            self.assertEqual(self.stopped, [])
            self.network.settle(0.02)
        self.assertEqual(len(self.stopped), 1)
        self.assertLess(self.stopped[0] - began, seconds + 0.01)
        self.assertNotIn(CHILD, self.serving)

    def test_nobody_else_can_serve(self) -> None:
        """It is over in the same turn."""
        self.grow()
        self.network.result_of(self.gateways[self.giver].stopService())
        self.network.settle(1.0)
        self.stops(0.0)
        super().end()

    def test_it_does_not_serve(self) -> None:
        """Nor has one anything to hand over that waits for its turn."""
        self.grow()
        fired: list[None] = []
        self.gateways[self.giver].leave_servers().addCallback(fired.append)
        self.assertEqual(fired, [None])
        super().end()

    def test_the_next_one_knows_nothing_of_it(self) -> None:
        """An older one dials when it hears of the end; who stops has hung up by then."""
        self.grow()
        [solicitor] = self.gateways[self.giver].leafs._solicitors
        candidacy = solicitor._candidacy
        candidacy.leave()
        candidacy._mark = ""
        candidacy.start()
        self.network.settle(1.0)
        self.subscribe()
        self.stops(0.0)
        self.until(self.is_handed_over, 1.0)
        self.network.settle(0.5)
        self.goes_on_alone()
        super().end()

    def goes_on_alone(self) -> None:
        """From now on everything comes once."""
        first = self.said
        for _ in range(20):
            self.say()
        for heard in self.listen():
            wanted = [*range(first, self.said)]
            self.assertEqual([each for each in sorted(heard) if each >= first], wanted)

    def test_the_next_one_is_dead(self) -> None:
        """Nobody knows it yet, so it is waited for, but not for long."""
        self.grow()
        self.network.freeze(self.giver)
        self.stops(bounds.HANDOVER_ASKED_SECONDS)
        self.network.thaw(self.giver)
        super().end()

    def test_the_next_one_dies(self) -> None:
        """When it has asked already it is waited for a little longer."""
        self.grow()
        self.patch(Succession, "prepare", lambda *_: None)
        self.quays[self.giver].dial = lambda _, __: self.quays[self.giver]
        self.stops(bounds.HANDOVER_SECONDS)
        super().end()

    def test_the_next_one_ends(self) -> None:
        """When nobody else is left it is waited for no longer, and what was kept is passed on."""
        for after in (0.1, 0.26, 0.3):
            self.grow()
            self.subscribe()
            self.change()
            self.network.settle(after)
            began = self.network.clock.seconds()
            self.gateways[self.giver].leafs.stop_at_once()
            self.until(lambda: bool(self.stopped), 0.1)
            self.assertLess(self.stopped[0] - began, 0.1)
            super().end()

    def test_it_hangs_up_late(self) -> None:
        """Until then there is a loop over the server, of which that is not told."""
        self.grow()
        self.subscribe()
        [solicitor] = self.gateways[self.taker].leafs._solicitors
        succession = solicitor._succession
        later = partial(self.network.clock.callLater, 0.5, succession._hang_up)
        self.patch(succession, "_hang_up", later)
        self.change()
        self.until(self.is_handed_over, 2.0)
        self.network.settle(2.0)
        self.assertEqual(self.serving, [SIBLING])
        self.goes_on_alone()
        super().end()

    def test_it_is_told_twice(self) -> None:
        """Both are told when it is done."""
        self.grow()
        fired: list[None] = []
        self.gateways[self.taker].leave_servers().addCallback(fired.append)
        self.network.settle(0.1)
        self.change()
        self.assertEqual((fired, self.stopped), ([], []))
        self.until(self.is_handed_over, 1.0)
        self.assertEqual(fired, [None])
        super().end()

    def test_at_once(self) -> None:
        """Who can wait no longer hangs up."""
        self.grow()
        self.change()
        self.network.settle(0.1)
        self.gateways[self.taker].leafs.stop_at_once()
        self.network.settle(0.01)
        self.assertEqual(len(self.stopped), 1)
        self.assertEqual(self.serving, [])
        super().end()
