"""Who is told which documents, by whom, and when they go."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import format_bus_id
from atbus.routing import offers as offers_module
from atbus.routing.offers import Offers
from atbus.routing.table import Position
from atbus.wire import bounds
from atbus.wire.bounds import SERVICE_VALUE_BYTES
from atbus.wire.messages import ServiceBatch, ServiceEntry
from tests.discovery.bus.boards import Village

TOP, LEFT, RIGHT, LEAF, OTHER = 1, 2, 3, 0x20, 0x30
KEY = f"bus/service/leaf-{format_bus_id(LEAF)}"


class TreeTests(SynchronousTestCase):
    """Two proxies below one node, a leaf below each of them."""

    def setUp(self) -> None:
        self.village = Village()
        for bus_id in (TOP, LEFT, RIGHT, LEAF, OTHER):
            self.village.board(bus_id)
        for lower, upper in ((LEFT, TOP), (RIGHT, TOP), (LEAF, LEFT), (OTHER, RIGHT)):
            self.village.connect(lower, upper)
        self.boards = self.village.boards

    def put(self, value: bytes) -> None:
        """Let the leaf offer something."""
        self.boards[LEAF].put(LEAF, KEY, value)

    def seen_by(self, bus_id: int) -> bytes | None:
        """Say what a node knows of that."""
        posted = self.boards[bus_id].get(KEY)
        return None if posted is None else posted.value

    @property
    def seen(self) -> set[bytes | None]:
        """What all nodes know of it."""
        return {self.seen_by(bus_id) for bus_id in self.boards}

    def test_everybody_is_told_once(self) -> None:
        """What a leaf offers crosses every link once; so does what replaces it, and its end."""
        for value in (b"one", b"two"):
            before = self.village.entries
            self.put(value)
            self.assertEqual(self.seen, {value})
            self.assertEqual(self.village.entries - before, 4)
        self.boards[LEAF].remove(KEY)
        self.assertEqual(self.seen, {None})
        self.assertEqual(self.village.entries, 12)

    def test_peers_are_one_hop(self) -> None:
        """A peer is told what is below its peer, and tells it below itself and not above."""
        self.village.cut(RIGHT, TOP, in_order=True)
        self.village.connect(RIGHT, LEFT, Position.PEER)
        self.put(b"one")
        self.assertEqual(self.seen, {b"one"})
        self.village.cut(LEFT, TOP, in_order=True)
        self.village.connect(RIGHT, TOP)
        self.assertIsNone(self.seen_by(TOP))
        self.assertEqual(self.seen_by(OTHER), b"one")

    def test_a_short_break_is_not_noticed(self) -> None:
        """A node that is back within the grace is there all the time."""
        self.put(b"one")
        self.village.cut(LEAF, LEFT)
        self.village.advance(limits.CHILD_GRACE_SECONDS / 2)
        self.assertEqual(self.seen_by(OTHER), b"one")
        self.village.connect(LEAF, LEFT)
        self.village.advance(limits.CHILD_GRACE_SECONDS)
        self.assertEqual(self.seen_by(OTHER), b"one")
        self.assertTrue(self.boards[LEFT].is_complete)

    def test_what_was_withdrawn_during_a_break(self) -> None:
        """What a node does not repeat when it is back is gone everywhere."""
        self.put(b"one")
        self.village.cut(LEAF, LEFT)
        self.boards[LEAF].remove(KEY)
        self.assertEqual(self.seen_by(OTHER), b"one")
        self.village.connect(LEAF, LEFT)
        self.assertEqual(self.seen, {None})

    def test_a_crash(self) -> None:
        """What a node offered that does not come back is gone after the grace, everywhere."""
        self.put(b"one")
        self.village.cut(LEAF, LEFT)
        self.assertFalse(self.boards[LEFT].is_complete)
        self.village.advance(limits.CHILD_GRACE_SECONDS)
        self.assertEqual(self.seen_by(OTHER), None)
        self.assertEqual(self.seen_by(TOP), None)
        self.assertTrue(self.boards[LEFT].is_complete)

    def test_leaving_in_good_order(self) -> None:
        """What a node offered that leaves is gone at once."""
        self.put(b"one")
        self.village.cut(LEAF, LEFT, in_order=True)
        self.assertIsNone(self.seen_by(OTHER))

    def test_an_upstream_that_is_away(self) -> None:
        """Without its upstream a node knows the rest of the bus for as long as its routes."""
        self.put(b"one")
        self.village.cut(RIGHT, TOP)
        self.village.advance(limits.PARENT_GRACE_SECONDS - 1)
        self.assertEqual(self.seen_by(OTHER), b"one")
        self.village.advance(1)
        self.assertIsNone(self.seen_by(OTHER))

    def test_an_upstream_that_stops(self) -> None:
        """What an upstream offered itself goes with it; the rest stays until another has told."""
        key = f"bus/service/{format_bus_id(RIGHT)}"
        self.put(b"one")
        self.boards[RIGHT].put(RIGHT, key, b"proxy")
        self.village.cut(OTHER, RIGHT, in_order=True)
        self.assertIsNone(self.boards[OTHER].get(key))
        self.assertEqual(self.seen_by(OTHER), b"one")
        self.village.cut(LEAF, LEFT, in_order=True)
        self.village.connect(OTHER, LEFT)
        self.assertIsNone(self.seen_by(OTHER))
        self.assertTrue(self.boards[OTHER].is_complete)

    def test_another_way(self) -> None:
        """A leaf that moves is known all the time, and its former proxy is not believed longer."""
        self.put(b"one")
        self.village.connect(LEAF, RIGHT)
        self.village.cut(LEAF, LEFT, in_order=True)
        self.assertEqual(self.seen, {b"one"})
        self.boards[LEAF].remove(KEY)
        self.assertEqual(self.seen, {None})

    def test_late_words_of_a_former_life(self) -> None:
        """Of two who tell of one key the later life of its node counts, then the later word."""
        self.put(b"new")
        stale = ServiceEntry(bus_id=LEAF, epoch=0, seq=9, key=KEY, value=b"old")
        self.village.send(OTHER, RIGHT, ServiceBatch(services=(stale,)))
        self.assertEqual(self.seen_by(TOP), b"new")
        self.assertEqual(self.seen_by(RIGHT), b"new")

    def test_what_breaks_a_bound(self) -> None:
        """A document under another node's key is left out, and counted; the next one is not."""
        lie = ServiceEntry(bus_id=OTHER, epoch=9, seq=9, key=KEY, value=b"lie")
        key = f"bus/service/{format_bus_id(OTHER)}"
        true = ServiceEntry(bus_id=OTHER, epoch=9, seq=9, key=key, value=b"true")
        self.village.send(OTHER, RIGHT, ServiceBatch(services=(lie, true)))
        self.assertEqual(self.boards[RIGHT].ignored, 1)
        self.assertEqual(self.seen, {None})
        self.assertIsNotNone(self.boards[LEAF].get(key))


class OffersTests(SynchronousTestCase):
    """One node."""

    def test_who_may_not_speak_is_not_believed(self) -> None:
        """What nobody may say is not known, until he may."""
        allowed: set[int] = set()
        offers = Offers(1, lambda _, bus_id: bus_id in allowed)
        offers.open(LEFT, Position.DOWNSTREAM, 65_536)
        entry = ServiceEntry(bus_id=LEAF, epoch=1, seq=1, key=KEY, value=b"one")
        offers.heard(LEFT, ServiceBatch(services=(entry,)))
        offers.recheck()
        self.assertIsNone(offers.get(KEY))
        self.assertEqual(list(offers.changes()), [])
        allowed.add(LEAF)
        offers.recheck()
        posted = offers.get(KEY)
        self.assertEqual(posted and posted.value, b"one")
        self.assertEqual(len(offers.news()), 1)

    def test_what_does_not_fit_is_not_told(self) -> None:
        """A neighbor with short frames is told what fits into one, and in several what is more."""
        offers = Offers(1, lambda *_: True)
        offers.put(LEAF, KEY, bytes(SERVICE_VALUE_BYTES))
        for number in range(10):
            offers.put(LEAF, f"bus/service/{number}-{format_bus_id(LEAF)}", bytes(1_000))
        batches = offers.open(LEFT, Position.UPSTREAM, limits.FRAME_BYTES_MIN)
        self.assertEqual(sum(len(batch.services) for batch in batches), 10)
        self.assertEqual([batch.last for batch in batches], [False] * 3 + [True])
        self.assertEqual(offers.untold, 1)

    def test_what_is_ours_alone(self) -> None:
        """A private document is told to nobody."""
        offers = Offers(1, lambda *_: True)
        offers.put(LEAF, KEY, b"one", private=True)
        self.assertEqual(
            offers.open(LEFT, Position.DOWNSTREAM, 65_536), [ServiceBatch(replay=True, last=True)]
        )
        self.assertIsNotNone(offers.get(KEY))

    def test_one_neighbor_has_so_much_room(self) -> None:
        """
        Beyond so many documents, and so many bytes, what is new is left out and counted; what is
        written anew or withdrawn counts for what it is.
        """

        def told(*values: tuple[int, int]) -> int:
            before = offers.ignored
            for number, size in values:
                key = f"bus/service/{number}-{format_bus_id(LEAF)}"
                self.seq += 1
                entry = ServiceEntry(
                    bus_id=LEAF, epoch=1, seq=self.seq, key=key, value=bytes(size)
                )
                offers.heard(LEFT, ServiceBatch(services=(entry,)))
            return offers.ignored - before

        self.seq = 0
        self.patch(offers_module, "SERVICES_PER_NEIGHBOR_MAX", 4)
        self.patch(bounds, "SERVICES_PER_NEIGHBOR_BYTES", 1_000)
        offers = Offers(1, lambda *_: True)
        offers.open(LEFT, Position.DOWNSTREAM, 65_536)
        self.assertEqual(told((1, 600), (2, 400), (3, 1)), 1)
        self.assertEqual(told((1, 500), (3, 100), (3, 101)), 1)
        self.assertEqual(told((1, 0), (1, 500), (1, 501)), 1)
        self.assertEqual(told((1, 0), (2, 0), (3, 0)), 0)
        self.assertEqual(told((1, 1), (2, 1), (3, 1), (4, 1), (5, 1)), 1)
        self.assertEqual(len(offers), 4)
        offers.lost(LEFT, 0.0, in_order=True)
        offers.open(LEFT, Position.DOWNSTREAM, 65_536)
        self.assertEqual(told((1, 1_000)), 0)

    def test_strangers(self) -> None:
        """Who does not take part, or not any more, tells nothing."""
        offers = Offers(1, lambda *_: True)
        entry = ServiceEntry(bus_id=LEAF, epoch=1, seq=1, key=KEY, value=b"one")
        offers.heard(LEFT, ServiceBatch(services=(entry,)))
        self.assertEqual((len(offers), offers.ignored), (0, 1))
