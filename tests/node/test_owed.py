"""Answers and commands that a node keeps until they are acknowledged."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import Status
from atbus.node import bounds
from atbus.node.node import Node
from atbus.node.outbox import Routed
from atbus.node.owed import Owed, Passing
from atbus.routing.budget import Budget
from atbus.wire.messages import CommandRequest, CommandResponse, Data
from tests.node.bus import ROOT_ADDRESS
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests

ANSWER_BYTES = 10_000


def frame() -> Routed:
    """Make an answer that is kept."""
    return Routed.of(CommandResponse(source=1, destination=2, sequence=1, lines=(b"line",)))


def part(budget: Budget) -> Owed:
    """Make the part of a link that nothing passes to."""
    return Owed(budget, Passing(budget.bytes_max))


class PartTests(SynchronousTestCase):
    """What one link keeps."""

    def test_what_is_counted(self) -> None:
        """A frame counts with what it costs besides, until it is acknowledged."""
        budget = Budget(1_000_000)
        owed, item = part(budget), frame()
        owed.keep(item)
        owed.keep(item)
        cost = item.size_bytes + limits.WAITING_FRAME_BYTES
        self.assertEqual((owed.held_bytes, budget.used_bytes), (2 * cost, 2 * cost))
        owed.let_go([item])
        self.assertEqual((owed.held_bytes, budget.used_bytes), (cost, cost))

    def test_the_end_of_a_link(self) -> None:
        """It keeps nothing then, whatever is still queued there and acknowledged."""
        budget = Budget(1_000_000)
        owed, other, item = part(budget), part(budget), frame()
        owed.keep(item)
        for each in (owed, other):
            each.close()
            each.keep(item)
            each.let_go([item])
        self.assertEqual(budget.used_bytes, 0)

    def test_what_is_left_for_words(self) -> None:
        """Where no answer may be kept any more, there is room for words of refusal."""
        owed = part(Budget(8_000))
        while not owed.is_full:
            owed.keep(frame())
        self.assertFalse(owed.takes([frame()]))
        words = 0
        while owed.has_room_for_word(frame().size_bytes):
            owed.keep(frame())
            words += 1
        most = bounds.OWED_WORDS_BYTES // (frame().size_bytes + limits.WAITING_FRAME_BYTES)
        # The more is kept the less may be.
        self.assertIn(words, range(most // 2 - 1, most + 2))


class PassingTests(SynchronousTestCase):
    """What is kept for neighbors of what others say to them."""

    def setUp(self) -> None:
        self.passing = Passing(1_000_000)

    def keep(self, owed: Owed) -> None:
        """Keep as much as may be."""
        while owed.has_room_to_pass(item := self.item(owed)):
            owed.keep(item)

    def item(self, owed: Owed, *, refuses: bool = False) -> Routed:
        """Make what passes to a neighbor."""
        return attrs.evolve(frame(), debtor=owed, refuses_passing=refuses)

    def parts(self, count: int) -> list[Owed]:
        """Make the parts of some links."""
        return [Owed(Budget(1_000_000), self.passing) for _ in range(count)]

    def test_shares(self) -> None:
        """One may have half of a quarter of all, and some together little more than a quarter."""
        few = self.parts(8)
        self.keep(few[0])
        self.assertIn(few[0].passing_bytes, range(124_000, 125_001))
        for each in few:
            self.keep(each)
        self.assertEqual(self.passing.used_bytes, sum(each.passing_bytes for each in few))
        self.assertIn(self.passing.used_bytes, range(245_000, 255_001))

    def test_the_least(self) -> None:
        """However many keep all that they may, one after the other, each has an equal part."""
        many = self.parts(100)
        self.passing.neighbors = many
        for each in many:
            self.keep(each)
            self.assertGreater(each.passing_bytes, 0)
        self.assertLess(self.passing.used_bytes, 250_000 + 62_500)

    def test_until_half_is_free(self) -> None:
        """Who has had no room is asked for nothing more before that."""
        (owed,) = self.parts(1)
        items = []
        while owed.has_room_to_pass(item := self.item(owed)):
            self.assertFalse(owed.is_full_of_passing)
            owed.keep(item)
            items.append(item)
        for _ in range(len(items) // 4):
            self.assertTrue(owed.is_full_of_passing)
            owed.let_go([items.pop()])
        owed.let_go(items)
        self.assertFalse(owed.is_full_of_passing)
        self.assertEqual(self.passing.used_bytes, 0)

    def test_words(self) -> None:
        """That its questions are refused it may be told some times more."""
        self.patch(bounds, "OWED_WORDS_BYTES", 40_000)
        (owed,) = self.parts(1)
        self.keep(owed)
        full_bytes = owed.passing_bytes
        while owed.has_room_to_pass(item := self.item(owed, refuses=True)):
            owed.keep(item)
        # What is left for others shrinks as well.
        self.assertIn(owed.passing_bytes - full_bytes, range(4_000, 10_001))

    def test_questions_on_the_way(self) -> None:
        """They count for who asks, wherever they are kept, until that link ends, or his own."""
        asker, above, late = self.parts(3)
        item, other = self.item(asker), self.item(asker)
        above.keep(item)
        above.keep(other)
        self.assertEqual((asker.passing_bytes, asker.held_bytes), (above.held_bytes, 0))
        self.assertEqual(self.passing.used_bytes, above.held_bytes)
        above.let_go([item])
        asker.close()
        self.assertEqual(self.passing.used_bytes, 0)
        above.let_go([other])
        late.close()
        above.keep(self.item(late))
        self.assertEqual(self.passing.used_bytes, 0)


class OwedTests(MailTests):
    """A root that answers with ten kilobytes, whoever asks; it may keep half a megabyte."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(bounds, "OWED_BYTES_MAX", 500_000)
        self.patch(bounds, "OWED_WORDS_BYTES", 3_000)
        self.executed = 0

    def execute(self, source: int, words: tuple[bytes, ...]) -> list[bytes]:
        """Answer at length."""
        self.executed += 1
        return [bytes(ANSWER_BYTES)]

    def ask(self, asker: Node, to: Node, target: int, count: int) -> int:
        """
        Ask in the name of a node that reads nothing.

        :returns: How many bytes the other one has kept at most.
        """
        most = 0
        for number in range(count):
            command = CommandRequest(
                source=asker.bus_id, destination=target, sequence=number + 1, arguments=(b"x",)
            )
            self.say(asker, to, command, data=False)
            most = max(most, to._parts.context.owed.used_bytes)
        return most

    def started(self) -> tuple[Node, Node, Node]:
        """Start a root and two below it, of which the second never hears anything."""
        root = self.root()
        self.network.start(root)
        root.on_command(self.execute)
        good, owing = self.leaf(ROOT + 1), self.leaf(ROOT + 2)
        self.network.freeze(owing)
        return root, good, owing

    def test_commands_of_who_owes_are_refused(self) -> None:
        """
        Who asks without end and acknowledges nothing is refused by name, in few bytes, before
        anything is executed; then not even that. It is named once, read less, and cut off.
        """
        root, _, owing = self.started()
        most = self.ask(owing, root, ROOT, 45)
        # Until it is read again.
        self.network.settle(bounds.HOLD_SECONDS + limits.SWEEP_SECONDS)
        link = root.endpoints[owing.bus_id].control_link
        assert link is not None
        self.assertLess(most, 500_000 / 2)
        # One was made to see that it is too long.
        self.assertLess(self.executed * ANSWER_BYTES, 500_000 / 2)
        self.assertEqual(root.statistics.refused[Status.OVERLOADED], 45 - self.executed + 1)
        self.assertGreater(root.statistics.responses_dropped, 0)
        self.assertGreater(root.statistics.reading_held, 0)
        named = [each for each in self.diaries[root].errors() if each == Status.OVERLOADED.name]
        self.assertEqual(len(named), 1)
        self.network.settle(limits.SLOW_SECONDS + 2)
        closed = self.diaries[root].of("on_close_connection")
        self.assertEqual([each for each in closed if each[1] is Status.SLOW_CONSUMER], closed)
        self.assertNotEqual(closed, [])
        self.assertNotIn(owing.bus_id, [c.bus_id for c in root._parts.dialer.connections])
        self.assertEqual(root._parts.context.owed.used_bytes, 0)

    def test_who_acknowledges_is_answered_meanwhile(self) -> None:
        """A good neighbor that asks once a second is answered each time, beside one that owes."""
        root, good, owing = self.started()
        for _ in range(8):
            self.ask(owing, root, ROOT, 5)
            self.assertEqual(self.ended(good.command(ROOT, b"x")), [bytes(ANSWER_BYTES)])
        self.assertIn(good.bus_id, root.endpoints)
        self.assertEqual(self.closed(root), [])

    def closed(self, node: Node) -> list[tuple[object, ...]]:
        """Give the connections that a node has closed."""
        return self.diaries[node].of("on_close_connection")

    def test_who_is_slow_stays(self) -> None:
        """
        Of more commands at once than may be answered some are refused; none is lost, the link
        stays, and when it has caught up everything is answered again.
        """
        self.patch(bounds, "OWED_WORDS_BYTES", 30_000)
        root, good, _ = self.started()
        channel = self.control_channel(root, good)
        channel.stall()
        asked: list[Deferred[list[bytes]]] = [
            good.command(ROOT, b"x", timeout=60) for _ in range(50)
        ]
        self.network.settle(limits.WRITE_DEADLINE_SECONDS * 0.9)
        channel.resume()
        self.network.settle(5)
        ends = [self.ended(each) for each in asked]
        self.assertGreater(ends.count([bytes(ANSWER_BYTES)]), 15)
        self.assertEqual({end for end in ends if not isinstance(end, list)}, {Status.OVERLOADED})
        self.assertEqual(self.ended(good.command(ROOT, b"x")), [bytes(ANSWER_BYTES)])
        self.assertEqual(self.closed(root), [])
        self.network.settle(1)
        self.assertEqual(root._parts.context.owed.used_bytes, 0)

    def test_an_answer_that_is_longer_than_what_is_left(self) -> None:
        """It is not begun: who asked is told so instead."""
        root, good, _ = self.started()
        root.on_command(lambda source, words: [bytes(600_000)])
        temporary = self.node(0, upstream=ROOT_ADDRESS)
        self.network.start(temporary)
        for asker in (good, temporary):
            self.assertIs(self.ended(asker.command(ROOT, b"x")), Status.OVERLOADED)
        self.assertEqual(root.statistics.refused[Status.OVERLOADED], 2)

    def test_a_temporary_node_that_owes(self) -> None:
        """It is refused as all others are, and what it has not acknowledged has a bound."""
        root, _, _ = self.started()
        temporary = self.node(0, upstream=ROOT_ADDRESS)
        self.network.start(temporary)
        self.ended(temporary.command(ROOT, b"x"))
        self.network.freeze(temporary)
        (endpoint,) = root._parts.registrar.temporary
        link = endpoint.control_link
        assert link is not None
        most = 0
        for number in range(45):
            command = CommandRequest(source=0, sequence=number + 1, arguments=(b"x",))
            self.say(temporary, root, command, data=False)
            most = max(most, link.owed.held_bytes)
        self.assertLess(self.executed, 25)
        self.assertLess(most, 260_000)

    def test_what_passes_is_kept_as_well(self) -> None:
        """A relay keeps no more for who asks others through it; the others are asked on."""
        root, north, south = self.proxies()
        for node in (root, south):
            node.on_command(self.execute)
        good, owing = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        self.network.freeze(owing)
        most = self.ask(owing, north, SOUTH, 45)
        self.assertLess(most, 260_000)
        self.assertGreater(north.statistics.responses_dropped, 0)
        self.assertEqual(self.ended(good.command(SOUTH, b"x")), [bytes(ANSWER_BYTES)])
        self.assertEqual(self.closed(north), [])

    def test_words_on_messages(self) -> None:
        """So is what became of messages, which nobody acknowledges; it is dropped, and counted."""
        root, _, owing = self.started()
        self.network.freeze(owing)
        link = root.endpoints[owing.bus_id].control_link
        assert link is not None
        most = 0
        for number in range(1_500):
            root._parts.traffic.respond(
                None, owing.bus_id, ROOT, number + 1, 1, 1, Status.NO_ROUTE
            )
            most = max(most, link.owed.held_bytes)
        self.assertLess(most, 260_000)
        self.assertGreater(root.statistics.responses_dropped, 500)
        self.assertEqual(root._parts.traffic.courier.parked, 0)

    def test_words_on_forged_messages(self) -> None:
        """So are refusals of messages in somebody else's name, which go to whoever brings them."""
        self.patch(bounds, "OWED_BYTES_MAX", 8_000)
        root, good, owing = self.started()
        link = root.endpoints[owing.bus_id].control_link
        assert link is not None
        for number in range(40):
            forged = Data(
                source=good.bus_id, destination=ROOT, sequence=number + 1, messages=((0, b"x"),)
            )
            self.say(owing, root, forged)
            self.assertLess(link.owed.held_bytes, 4_000 + 3_000)
        self.assertGreater(root.statistics.refused[Status.SOURCE_REFUSED], 20)
        self.assertGreater(root.statistics.responses_dropped, 0)

    def test_who_owes_next_to_nothing_stays(self) -> None:
        """
        While others owe much, who has not acknowledged what is no answer is named and not cut off:
        it would be no help, and a node that is busy reads words late.
        """
        root, _, silent = self.started()
        others = part(root._parts.context.owed)
        while root._parts.context.owed.used_bytes < bounds.OWED_BYTES_MAX // 4:
            others.keep(frame())
        root.send(silent.bus_id, b"x")
        self.network.settle(limits.SLOW_SECONDS + 4)
        named = self.diaries[root].of("on_slow_endpoint")
        self.assertEqual([endpoint.bus_id for endpoint, _ in named], [silent.bus_id])
        self.assertEqual(self.diaries[root].of("on_close_connection"), [])
