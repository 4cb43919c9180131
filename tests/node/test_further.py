"""Queue groups that branch after branch hands back, while one member is somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, permutations

from atbus.node.node import Node
from atbus.subjects import bounds
from tests.node.grove import GroveTests, address_of

TREE = ("1", "11", "12", "13", "111", "112", "121", "131")


class FurtherTests(GroveTests):
    """
    Those of a group who have left are known everywhere still; one member is there::

        1 --+-- 11 --+-- 111        111 and 121 are peers, and 11 and 12
            |        `-- 112
            +-- 12 ----- 121
            `-- 13 ----- 131
    """

    def plant_peers(self, *old: str, zones: Mapping[str, str] | None = None) -> None:
        """Plant the tree, with two links beside it."""
        self.plant(*TREE, old=old, zones=zones)
        for one, other in (("111", "121"), ("11", "12")):
            self.network.result_of(self.at[one].connect(address_of(other)))
        self.network.settle()

    def check_found(self, asker: str, holder: str, *places: str) -> None:
        """Let some of the group leave; whoever is left gets all, by whatever way they are drawn."""
        held = self.listen(holder, "g")
        self.leave(*(f"{path}:g" for path in places))
        sent = {b"%d" % number for number in range(12)}
        for each in sent:
            self.ask(asker, each)
        self.network.settle()
        what = (asker, holder, places)
        self.assertEqual((self.missed, self.taken), ([], sent), what)
        self.taken.clear()
        held.unsubscribe()
        self.tell()

    def test_one_has_left(self) -> None:
        """Whoever has left, and whoever is left, gets what is published anywhere else."""
        self.plant_peers()
        for gone in ("111", "121", "12", "1"):
            for holder in ("112", "13", "131"):
                for asker in ("111", "112", "121", "131"):
                    self.check_found(asker, holder, gone)

    def test_a_peer_hands_it_back(self) -> None:
        """What came from below and went to a peer in vain goes up, and to members there."""
        self.plant_peers()
        self.check_found("112", "131", "12", "121")

    def test_from_below_a_peer(self) -> None:
        """A peer that gets it back from below, and has nobody, gives it back as well."""
        self.plant_peers()
        self.check_found("112", "112", "121")
        self.check_found("111", "13", "121")

    def test_all_but_one_have_left(self) -> None:
        """So it goes until the last one is found, more than a dozen nodes further on."""
        self.plant_peers()
        for holder in ("112", "131"):
            self.check_found("111", holder, *(each for each in TREE if each != holder))

    def test_for_the_sake_of_a_zone(self) -> None:
        """Whoever was passed over for who is near gets it when all who are near have left."""
        near = ("1", "111", "12", "131")
        self.plant_peers(zones={path: "x" if path in near else "y" for path in TREE})
        for asker, *gone in islice(permutations(near), 0, None, 5):
            for holder in ("11", "112", "121", "13"):
                self.check_found(asker, holder, *gone)

    def test_twice_at_most(self) -> None:
        """Who was passed over is tried once more, and no more: once with the zone, once without."""
        places = ("13", "14", "121", "122", "123")
        zones = {path: "x" if path in ("1", "13", "121") else "y" for path in ("12", *places)}
        self.plant("1", "12", *places, zones=zones | {"1": "x"})
        self.leave(*(f"{path}:g" for path in places))
        for number in range(40):
            before = self.forwarded()
            self.ask("1", b"%d" % number)
            self.network.settle(0.5)
            self.assertLessEqual(self.forwarded() - before, 4 * 6)
        self.assertEqual((len(self.missed), self.tallies()), (40, {}))

    def test_nobody_is_left_in_any_zone(self) -> None:
        """Where all have left, near and elsewhere, it is said at once, once, with zones as well."""
        self.plant_peers(zones={path: "xy"[number % 2] for number, path in enumerate(TREE)})
        self.leave(*(f"{path}:g" for path in TREE))
        for asker in TREE:
            self.ask(asker)
            self.network.settle(1.0)
            self.assertEqual((self.missed, self.taken, self.tallies()), ([b"?"], set(), {}), asker)
            self.missed.clear()

    def test_nobody_is_left(self) -> None:
        """Where all have left it is said at once, once, and nothing is on its way any more."""
        self.plant_peers()
        self.leave(*(f"{path}:g" for path in TREE))
        for asker in ("111", "131", "1"):
            self.ask(asker)
            self.network.settle(1.0)
            self.assertEqual((self.missed, self.taken, self.tallies()), ([b"?"], set(), {}))
            self.missed.clear()

    def test_what_is_forgotten(self) -> None:
        """What nodes do not remember goes on as far as its hop limit, and is at its end there."""
        self.patch(bounds, "ENTRUSTED_REMEMBERED_MAX", 0)
        self.plant_peers()
        self.leave(*(f"{path}:g" for path in TREE))
        for asker in TREE:
            before = self.forwarded()
            self.ask(asker)
            self.network.settle(1.0)
            self.assertLessEqual(self.forwarded() - before, self.at["1"].config.hops)

    def test_an_earlier_release_on_the_way(self) -> None:
        """It is not given what it would give up without a word: that is said at once, as ever."""
        self.plant_peers("11")
        self.leave(*(f"{path}:g" for path in ("131", "13", "1")))
        self.ask("112")
        self.network.settle(1.0)
        self.assertEqual((self.missed, self.tallies()), ([b"?"], {}))

    def test_an_earlier_release_and_zones(self) -> None:
        """Nor does anything go back to it for the sake of a zone; whoever is left has it."""
        zones = {"11": "x", "12": "y", "121": "x", "122": "y", "13": "x"}
        self.plant("1", *zones, old=["1"], zones=zones)
        self.listen("122", "g")
        self.leave("121:g", "13:g")
        for number in range(20):
            self.ask("11", b"%d" % number)
        self.network.settle(2.0)
        # From the root, and for each that went there to 121 and then to 122; nothing upwards.
        got = self.at["122"].endpoints[self.at["12"].bus_id].in_publications
        back = self.at["1"].endpoints[self.at["12"].bus_id].in_publications
        self.assertEqual((got, back), (20, 0))

    def forwarded(self) -> int:
        """Count what nodes have passed on."""
        nodes: list[Node] = [*self.at.values()]
        return sum(node.statistics.publications_forwarded for node in nodes)
