"""Nodes that have moved are still spoken for from where they were."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.former_places import FormerPlaces

LEAF, PROXY, OTHER = 0x101, 0x11, 0x12


class FormerPlacesTests(SynchronousTestCase):
    """What was below whom until a moment ago."""

    def test_a_move_is_remembered_for_a_while(self) -> None:
        """Whoever asks about a node, or about what is above another, learns of it in time."""
        places = FormerPlaces(20.0, 10, 4)
        self.assertEqual(places.upstreams((LEAF,), 0.0), [])
        places.moved(LEAF, PROXY, 1.0)
        self.assertEqual(places.upstreams((0x999, LEAF, OTHER), 20.9), [PROXY])
        self.assertEqual(places.upstreams((0x999, OTHER), 2.0), [])
        self.assertEqual(places.upstreams((LEAF,), 21.0), [])

    def test_who_was_below_nobody(self) -> None:
        """A node that had no upstream has no former place."""
        places = FormerPlaces(20.0, 10, 4)
        places.moved(LEAF, 0, 1.0)
        self.assertEqual(places.upstreams((LEAF,), 1.0), [])

    def test_they_are_counted(self) -> None:
        """The move longest ago is forgotten first; one that is repeated is the newest."""
        places = FormerPlaces(20.0, 2, 4)
        for bus_id in (LEAF, 0x102, LEAF, 0x103):
            places.moved(bus_id, PROXY, 1.0)
        self.assertEqual(places.upstreams((LEAF, 0x103), 1.0), [PROXY, PROXY])
        self.assertEqual(places.upstreams((0x102,), 1.0), [])

    def test_who_moves_on(self) -> None:
        """Of a node that moves again every place counts for its time, the last one first."""
        places = FormerPlaces(20.0, 10, 4)
        places.moved(LEAF, PROXY, 1.0)
        places.moved(LEAF, OTHER, 11.0)
        self.assertEqual(places.upstreams((LEAF,), 20.9), [OTHER, PROXY])
        self.assertEqual(places.upstreams((LEAF,), 21.0), [OTHER])
        places.moved(LEAF, PROXY, 22.0)
        self.assertEqual(places.upstreams((LEAF,), 22.0), [PROXY, OTHER])
        self.assertEqual(places.upstreams((LEAF,), 31.0), [PROXY])

    def test_so_many_of_one(self) -> None:
        """Of a node that never rests the last places are remembered."""
        places = FormerPlaces(20.0, 10, 3)
        for place in (1, 2, 3, 4, 3):
            places.moved(LEAF, place, 1.0)
        self.assertEqual(places.upstreams((LEAF,), 1.0), [3, 4, 2])
