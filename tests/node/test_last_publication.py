"""Subscriptions that end with a publication, and who fetches from them."""

from __future__ import annotations

from itertools import product

from twisted.internet.defer import Deferred

from atbus.node.subscription import Subscription
from tests.node.bus import BusTests


class LastPublicationTests(BusTests):
    """``unsubscribe(after=)`` where publications wait to be fetched."""

    def setUp(self) -> None:
        super().setUp()
        self.hub, self.other = self.pair()

    def fetch(self, subscription: Subscription, found: list[bytes]) -> Deferred[None]:
        """Fetch everything."""

        async def fetch() -> None:
            found.extend([each.payload async for each in subscription])

        return Deferred.fromCoroutine(fetch())

    def test_all_of_so_many(self) -> None:
        """
        It gives all of so many, the last one as well, and nothing more.

        So it is whether they are waited for or have come before, are published here or elsewhere.
        """
        for publisher, count, early in product((self.hub, self.other), (1, 2, 3), (0, 1, 5)):
            subscription = self.hub.subscribe("a")
            self.network.result_of(subscription.everywhere())
            subscription.unsubscribe(after=count)
            for number in range(early):
                publisher.publish("a", b"%d" % number)
            self.network.settle()
            found: list[bytes] = []
            done = self.fetch(subscription, found)
            for number in range(early, 5):
                publisher.publish("a", b"%d" % number)
                self.network.settle()
            self.successResultOf(done)
            self.assertEqual(found, [b"0", b"1", b"2"][:count], (publisher, count, early))
            self.assertEqual((subscription.taken, subscription.waiting_count), (count, 0))

    def test_many_at_once(self) -> None:
        """So it is as well when they come in one frame, or are published at once."""
        for publisher in (self.hub, self.other):
            subscription = self.hub.subscribe("a")
            self.network.result_of(subscription.everywhere())
            subscription.unsubscribe(after=2)
            found: list[bytes] = []
            done = self.fetch(subscription, found)
            publisher.publish_many("a", [b"0", b"1", b"2"])
            self.network.settle()
            self.successResultOf(done)
            self.assertEqual(found, [b"0", b"1"])

    def test_the_last_one_is_announced(self) -> None:
        """Who waits with ``arrival`` for the last one can fetch it when that fires."""
        subscription = self.hub.subscribe("a")
        subscription.unsubscribe(after=1)
        found: list[bytes] = []

        def fetch(_: None) -> None:
            found.extend(each.payload for each in subscription.fetch(10, 1_000))

        subscription.arrival().addCallback(fetch)
        self.hub.publish("a", b"1")
        self.assertEqual((found, subscription.closed), ([b"1"], True))

    def test_drained(self) -> None:
        """
        A drain of what has ended with a publication ends when that has been fetched.

        One that is asked for when the last one has just been fetched has nothing to wait for.
        """
        subscription = self.hub.subscribe("a")
        subscription.unsubscribe(after=1)
        self.hub.publish("a", b"1")
        drained = subscription.drain()
        self.assertNoResult(drained)
        found: list[bytes] = []
        self.successResultOf(self.fetch(subscription, found))
        self.assertEqual(found, [b"1"])
        self.successResultOf(drained)

        waited_for = self.hub.subscribe("a")
        waited_for.unsubscribe(after=1)
        ended: list[bool] = []

        async def fetch() -> None:
            async for _ in waited_for:
                ended.append(waited_for.closed)
                await waited_for.drain()

        done = Deferred.fromCoroutine(fetch())
        self.hub.publish("a", b"2")
        self.successResultOf(done)
        self.assertEqual(ended, [True])
