"""The way from other threads to the reactor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery.zookeeper.bounds import ARRIVALS_PER_TURN
from atbus.discovery.zookeeper.crossing import Crossing


class Turns:
    """A reactor that is woken by threads, and turns when it is told to."""

    def __init__(self) -> None:
        self.woken: list[Callable[[], object]] = []

    def callFromThread(self, callable: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Note what is to be called in the next turn."""
        self.woken.append(lambda: callable(*args, **kwargs))

    def turn(self) -> None:
        """Make the calls that are there now."""
        woken, self.woken = self.woken, []
        for call in woken:
            call()


class CrossingTests(SynchronousTestCase):
    """Calls that come from other threads."""

    def setUp(self) -> None:
        self.turns = Turns()
        self.crossing = Crossing(self.turns)  # type: ignore[arg-type]
        self.made: list[int] = []

    def put(self, count: int) -> None:
        """Put calls from a thread, and wait for its end."""

        def put() -> None:
            for number in range(count):
                self.crossing.put(partial(self.made.append, number))

        thread = Thread(target=put)
        thread.start()
        thread.join()

    def test_calls_are_made_in_order_and_by_the_reactor(self) -> None:
        """Nothing is called in the thread that asks; the reactor is woken once for many."""
        self.put(10)
        self.assertEqual((self.made, len(self.turns.woken)), ([], 1))
        self.turns.turn()
        self.assertEqual(self.made, list(range(10)))

    def test_a_turn_has_an_end(self) -> None:
        """However many come, one turn of the reactor makes a bounded number of them."""
        count = 2 * ARRIVALS_PER_TURN + 1
        self.put(count)
        self.turns.turn()
        self.assertEqual(len(self.made), ARRIVALS_PER_TURN)
        self.turns.turn()
        self.turns.turn()
        self.assertEqual(self.made, list(range(count)))
        self.assertEqual(self.turns.woken, [])

    def test_what_comes_later_wakes_it_again(self) -> None:
        """When all is done the next call wakes the reactor anew."""
        for _ in range(2):
            self.put(1)
            self.turns.turn()
        self.assertEqual(self.made, [0, 0])

    def test_a_call_may_ask_for_another(self) -> None:
        """What a call puts is made after it, without another thread."""
        self.crossing.put(lambda: self.crossing.put(lambda: self.made.append(1)))
        self.turns.turn()
        self.assertEqual(self.made, [1])
