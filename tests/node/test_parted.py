"""Questions whose ways part at nodes further on, and that nobody gets."""

from __future__ import annotations

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.subjects import bounds
from atbus.wire import codec
from atbus.wire.extras import read_tally
from atbus.wire.messages import Flags
from tests.node.garden import watch
from tests.node.grove import GroveTests, address_of, id_of

ASKER = "1311"
#: Where the ways of its questions part: three nodes in a row.
FORKS = ("1", "11", "12", "111", "112", "121", "122")
ENDS = ("1111", "1112", "1121", "1122", "1211", "1212", "1221", "1222")
OF_121 = ("1211", "1212")
TREE = ("1", "11", "12", "13", "131", *FORKS[3:], *ENDS, ASKER)

REQUEST = int(Flags.REQUEST)


class PartedTests(GroveTests):
    """
    The asker is below two nodes that pass on only; the ends are behind three where ways part::

        1 --+-- 11 --+-- 111 -- 1111, 1112
            |        `-- 112 -- 1121, 1122
            +-- 12 --+-- 121 -- 1211, 1212
            |        `-- 122 -- 1221, 1222
            `-- 13 ----- 131 -- 1311
    """

    def check_told(self, *places: str, asker: str = ASKER) -> None:
        """Let some leave; who asks then is told at once, once, and nobody counts any more."""
        self.leave(*places)
        self.missed.clear()
        began = self.network.clock.seconds()
        self.ask(asker)
        asking = self.at[asker].request_subject("q")
        error = self.failure_of(asking, Undeliverable)
        self.assertIs(error.status, Status.NO_RESPONDERS)
        self.assertLess(self.network.clock.seconds() - began, 0.5)
        self.network.settle()
        self.assertEqual((self.missed, self.tallies()), ([b"?"], {}), places)
        self.tell()

    def test_one_node_further_on(self) -> None:
        """The ways part once."""
        self.plant(*TREE)
        for places in (("1111", "1112"), ("1111", "1222"), ("11", "12"), ("1", "11", "12", "13")):
            self.check_told(*places)

    def test_two_and_three_in_a_row(self) -> None:
        """The ways part at two nodes in a row, and at three."""
        self.plant(*TREE)
        self.check_told("1111", "1112", "1121")
        self.check_told("1111", "1121", "1211")
        self.check_told(*ENDS)
        self.check_told(*TREE)

    def test_whoever_asks(self) -> None:
        """It is no matter where the question begins: above, among those who left, or below."""
        self.plant(*TREE)
        for asker in ("1", "11", "111", "1111", "13"):
            self.check_told(*ENDS, asker=asker)

    def test_queue_groups(self) -> None:
        """All members of groups have left: groups that share branches, and that do not."""
        self.plant(*TREE)
        for places in (
            ("1111:a", "1112:b"),
            ("1111:a", "1112:a", "1211:b", "1212:b"),
            ("1111:a", "1112:b", "1121:c", "1122:d", "1211:e", "1222:f"),
            [f"{path}:{queue}" for path in ENDS for queue in "ab"],
        ):
            # Members are drawn.
            for _ in range(4):
                self.check_told(*places)

    def test_groups_beside_plain_subscribers(self) -> None:
        """
        Groups and others have left.

        A branch that others are on as well is tried for a group that another branch has handed
        back: its two words are about different things.
        """
        self.plant(*TREE)
        for places in (
            ("1111", "1112:a"),
            ("1111", "1112", "1111:a", "1112:a"),
            ("11", "12", "11:a", "12:a"),
            ("1", "11", "12", "1111:a", "1222:a", "1211:b"),
            [*ENDS, *(f"{path}:a" for path in ENDS)],
        ):
            for _ in range(4):
                self.check_told(*places)
                self.check_told(*places, asker="1")

    def test_one_of_them_has_it(self) -> None:
        """Whoever of those at the end has the question, nobody says that nobody has."""
        self.plant(*TREE)
        for holder in ENDS:
            held = self.listen(holder, late=True)
            self.leave(*(path for path in ENDS if path != holder))
            self.ask(ASKER)
            asking = self.at[ASKER].request_subject("q", b"r")
            self.network.settle(0.5)
            held.unsubscribe()
            self.network.settle(limits.REQUEST_SECONDS - 1)
            self.assertNoResult(asking)
            self.assertIs(self.failure_of(asking, Undeliverable).status, Status.TIMEOUT)
            self.assertEqual((self.missed, self.taken), ([], {b"?", b"r"}), holder)
            self.taken.clear()
            self.network.settle(2 * limits.REQUEST_SECONDS)
            self.assertEqual(self.tallies(), {})
            self.tell()

    def test_one_of_a_group_is_there(self) -> None:
        """All but one member have left, so the group is handed back until that one is found."""
        self.plant(*TREE)
        for holder in ENDS:
            held = self.listen(holder, "a")
            self.leave(*(f"{path}:{queue}" for path in ENDS for queue in "ab" if path != holder))
            questions = {b"%d" % number for number in range(8)}
            for each in questions:
                self.ask(ASKER, each)
            self.network.settle()
            self.assertEqual((self.missed, self.taken), ([], questions), holder)
            self.taken.clear()
            held.unsubscribe()
            self.tell()

    def test_somebody_where_it_parts(self) -> None:
        """One who listens at a node between has it, and those behind have left."""
        self.plant(*TREE)
        for holder in FORKS:
            held = self.listen(holder, late=True)
            self.leave(*ENDS)
            self.ask(ASKER)
            self.network.settle(2 * limits.REQUEST_SECONDS)
            self.assertEqual((self.missed, self.taken, self.tallies()), ([], {b"?"}, {}), holder)
            self.taken.clear()
            held.unsubscribe()
            self.tell()

    def test_each_node_says_it_once(self) -> None:
        """Of so many ends the asker hears one word: each node where ways part says one."""
        self.plant(*TREE)
        self.leave(*ENDS)
        before = self.words()
        self.ask(ASKER)
        self.network.settle()
        self.assertEqual(self.words() - before, len(ENDS) + len(FORKS))

    def test_a_second_word(self) -> None:
        """What a node says twice of what is counted elsewhere counts once."""
        self.plant("1", "11", "12", "13")
        for path in ("11", "12"):
            self.listen(path, late=True)
        self.network.settle()
        self.ask("13")
        self.network.settle()
        counting = self.at["1"]._parts.subjects.publishing.counting
        number = counting._number - 1
        for _ in range(2):
            counting.said(number, id_of("11"))
            counting.said(number + 1, id_of("12"))
        self.network.settle()
        self.assertEqual((self.missed, self.tallies()), ([], {"1": 1}))
        counting.said(number, id_of("12"))
        self.network.settle()
        self.assertEqual((self.missed, self.tallies()), ([b"?"], {}))

    def test_a_link_that_is_lost(self) -> None:
        """
        A link dies while the question is on it, at an end and between two nodes that pass it on.

        It may have arrived, so nobody says that nobody has it.
        """
        self.plant(*TREE)
        for above, below in (("111", "1112"), ("12", "122")):
            self.leave(*(path for path in ENDS if self.at[path] not in self.dead))
            self.network.split(self.at[above], self.at[below])
            asking = self.at[ASKER].request_subject("q")
            self.ask(ASKER)
            self.network.settle(0.5)
            self.kill(self.at[below])
            self.network.heal(self.at[above], self.at[below])
            self.assertIs(self.failure_of(asking, Undeliverable).status, Status.TIMEOUT)
            self.network.settle(limits.REQUEST_SECONDS)
            self.assertEqual((self.missed, self.tallies()), ([], {}))
            self.tell()

    def test_longer_than_a_frame(self) -> None:
        """A question that travels in pieces is counted like any other."""
        self.plant(*TREE)
        self.leave("1111", "1112", "1211")
        question = bytes(3 * limits.FRAME_BYTES_NEAR)
        self.ask(ASKER, question)
        self.network.settle()
        self.assertEqual(self.missed, [question])

    def test_no_question(self) -> None:
        """For what wants no answer nothing is counted, and nothing is said."""
        self.plant(*TREE)
        self.leave(*ENDS)
        before = self.words()
        counts = {path: self.at[path]._parts.subjects.publishing.counting for path in FORKS}
        numbers = {path: each._number for path, each in counts.items()}
        self.at[ASKER].publish("q", b"")
        self.at[ASKER].publish_many("q", [b"", b""])
        self.network.settle()
        self.assertEqual({path: each._number for path, each in counts.items()}, numbers)
        self.assertEqual(self.words(), before)

    def test_too_many(self) -> None:
        """
        A node counts for so many questions at once; of more it forgets the first.

        Nothing else happens to these: who asked waits for his deadline.
        """
        self.patch(bounds, "PARTED_QUESTIONS_MAX", 3)
        self.plant("1", "11", "12", "13")
        held = [self.listen(path, late=True) for path in ("11", "12")]
        self.network.settle()
        for number in range(3):
            self.ask("13", b"%d" % number)
        self.network.settle()
        self.assertEqual(self.tallies(), {"1": 3})
        self.hush()
        for each in held:
            each.unsubscribe()
        for name in (b"late", b"later"):
            self.ask("13", name)
            self.network.settle()
        self.assertEqual((self.missed, self.taken), ([b"late", b"later"], {b"0", b"1", b"2"}))
        self.assertEqual(self.tallies(), {"1": 2})
        asked = [self.at["13"].request_subject("q", b"%d" % number) for number in range(4)]
        causes = [self.failure_of(each, Undeliverable).status for each in asked]
        self.assertEqual(causes, [Status.TIMEOUT, *[Status.NO_RESPONDERS] * 3])

    def test_a_node_that_stops(self) -> None:
        """Who stops while it counts says nothing more."""
        self.plant("1", "11", "12", "13", "131")
        for path in ("11", "12"):
            self.listen(path, late=True)
        self.network.settle()
        self.ask("131")
        self.network.settle()
        self.assertEqual(self.tallies(), {"1": 1})
        self.network.stop(self.at["1"])
        self.assertEqual((self.missed, self.tallies()), ([], {}))


class PeersTests(GroveTests):
    """
    Two nodes under one are connected with each other::

        1 --+-- 11 ---- 111
            |   |
            +-- 13 --+- 131
            |        `- 132
            `-- 12
    """

    def setUp(self) -> None:
        super().setUp()
        self.plant("1", "11", "12", "13", "111", "131", "132")
        self.network.result_of(self.at["11"].connect(address_of("13")))
        self.network.settle()

    def test_each_has_it_once(self) -> None:
        """Whoever asks: all ways end, and each end says it once."""
        for asker in self.at:
            self.leave("1", "11", "12", "13", "111", "131", "132")
            before = self.words()
            self.ask(asker)
            self.network.settle()
            self.assertEqual((self.missed, self.tallies()), ([b"?"], {}), asker)
            self.assertLess(self.words() - before, len(self.at))
            self.missed.clear()
            self.tell()

    def test_a_peer_on_two_branches(self) -> None:
        """
        A peer gets one group from its peer and another by way of the one above both.

        What it says of the one is not taken for what it says of the other.
        """
        for _ in range(12):
            for asker in ("111", "11"):
                self.leave(*(f"{path}:{queue}" for path in ("131", "12") for queue in "abc"))
                self.ask(asker)
                self.network.settle()
                self.assertEqual((self.missed, self.tallies()), ([b"?"], {}), asker)
                self.missed.clear()
                self.tell()

    def test_a_group_comes_back_and_goes_on_where_it_is_believed(self) -> None:
        """
        A member below a peer is not asked by who may not speak for the source there.

        The group goes back to where it came from, and from there to that member.
        """
        self.listen("111", "a")
        for asker in ("1", "12"):
            self.leave("131:a")
            for number in range(20):
                self.ask(asker, b"%s %d" % (asker.encode(), number))
            self.network.settle()
            self.tell()
        self.assertEqual((self.missed, len(self.taken)), ([], 40))
        refused = [
            node.statistics.publications_dropped[Status.SOURCE_REFUSED]
            for node in self.at.values()
        ]
        self.assertEqual(refused, [0] * len(self.at))


class EarlierTests(GroveTests):
    """The same tree, in which a node knows of no tallies, as in earlier releases."""

    def ends_at_once(self, *places: str) -> bool:
        """Let some leave, ask, and tell whether the question fails at once; or else in time."""
        self.leave(*places)
        error = self.failure_of(self.at[ASKER].request_subject("q"), Undeliverable)
        self.tell()
        self.assertIn(error.status, (Status.NO_RESPONDERS, Status.TIMEOUT))
        return error.status is Status.NO_RESPONDERS

    def test_where_it_parts(self) -> None:
        """The node where the ways part does not count: the deadline ends it, as there."""
        self.plant(*TREE, old=["1"])
        self.assertFalse(self.ends_at_once(*ENDS))
        self.assertFalse(self.ends_at_once("1111", "1211"))
        self.assertTrue(self.ends_at_once("1111", "1112", "1121"))

    def test_one_of_several_branches(self) -> None:
        """One branch begins at a node that would tell the wrong one: none is counted."""
        self.plant(*TREE, old=["11"])
        self.assertFalse(self.ends_at_once(*ENDS))
        self.leave("1111", "1211")
        self.ask(ASKER)
        self.network.settle()
        # What cannot come to its end is not begun.
        self.assertEqual((self.missed, self.tallies()), ([], {}))
        self.tell()
        # On the only way it does no harm, neither before the ways part nor when it is no branch.
        self.assertTrue(self.ends_at_once("1111", "1112"))
        self.assertTrue(self.ends_at_once("1211", "1222"))

    def test_behind_a_branch(self) -> None:
        """It is further on a branch: it is not asked to say anything, so it does not count here."""
        self.plant(*TREE, old=["1211"])
        for _ in range(2):
            self.assertFalse(self.ends_at_once("1111", "1121", "1211"))
        self.assertFalse(self.ends_at_once("1111", "1211", "1212"))
        self.assertFalse(self.ends_at_once("1111:a", "1211:b"))
        self.assertTrue(self.ends_at_once("1111", "1212"))

    def test_what_goes_to_it(self) -> None:
        """It gets what it knows: REQUEST where it is to tell the source, and never a tally."""
        self.plant(*TREE, old=["1211"])
        crossings = {end: watch(self.network, self.at["121"], self.at[end]) for end in OF_121}
        for ends, flags in (
            (("1211",), {"1211": REQUEST}),
            (("1111", "1212"), {"1212": REQUEST}),
            (("1111", "1211"), {"1211": 0}),
            (("1111", "1211", "1212"), {"1211": 0, "1212": 0}),
        ):
            self.leave(*ends)
            self.ask(ASKER)
            self.network.settle()
            frames = {
                end: codec.decode(frame) for end, found in crossings.items() for _, frame in found
            }
            self.assertEqual({end: int(each.flags) for end, each in frames.items()}, flags, ends)
            tallies = {end for end, each in frames.items() if read_tally(each.extras)}
            self.assertEqual(tallies, {"1212"} if flags == {"1212": REQUEST} else set())
            for each in crossings.values():
                each.clear()
            self.tell()

    def test_before_the_ways_part(self) -> None:
        """It asks, or is on the way to where the ways part: then it is as everywhere."""
        self.plant(*TREE, old=[ASKER, "131"])
        self.assertTrue(self.ends_at_once(*ENDS))
        self.assertTrue(self.ends_at_once("1111:a", "1211:b"))

    def test_wherever_it_is(self) -> None:
        """Whoever has the question, and whichever node is old, nobody says that nobody has it."""
        for old in TREE:
            self.plant(*TREE, old=[old])
            for holder in ("1111", "1222"):
                held = self.listen(holder, late=True)
                groups = [f"{path}:a" for path in ENDS]
                self.leave(*(path for path in (*ENDS, *groups, *FORKS) if path != holder))
                for asker in (ASKER, "1", "1121"):
                    self.ask(asker, asker.encode())
                self.network.settle()
                self.assertEqual((self.missed, len(self.taken)), ([], 3), (old, holder))
                self.taken.clear()
                held.unsubscribe()
                self.tell()
            self.end()
            self.setUp()
