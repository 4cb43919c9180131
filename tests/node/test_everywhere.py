"""What the whole bus does not know is not confirmed: who refused it, and what was lost."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from atbus.busid import format_bus_id
from atbus.errors import Status, SubscriptionRefused, Undeliverable
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.subjects import bounds
from atbus.subjects.barrier import Answer
from atbus.subjects.cost import cost_of
from atbus.subjects.interest import Wanted
from atbus.testing.network import VirtualNetwork
from atbus.wire.messages import Extra, ExtraType, Interest, InterestAck
from tests.node.bus import CHILD, BusTests
from tests.node.garden import (
    LEFT,
    LEFT_LEAF,
    OTHER_LEAF,
    RIGHT,
    RIGHT_LEAF,
    TOP,
    GardenTests,
    address_of,
)
from tests.node.mail import MailTests


def room_for(count: int) -> int:
    """Say how much memory so many subjects of one letter take."""
    return count * cost_of("a") + 1


def change(node: Node, **options: Any) -> None:
    """Change the configuration of a node that runs."""
    reconfigure(node, node.config.replace(**options))


def be_of_an_earlier_release(node: Node) -> None:
    """Let a node pass questions on, and answer them, as nodes did that could not refuse."""
    talk = node._parts.subjects.talk

    def asked(bus_id: int, question: Interest) -> None:
        talk._flush()
        answer = Answer(bus_id, question.barrier, 0, talk.digest_of(bus_id))
        talk._perform(talk._barriers.asked(answer, talk._interests.neighbors))

    talk._asked = asked  # type: ignore[method-assign]  # to be older


class RefusedTests(GardenTests):
    """Somebody has no memory for a subscription, or may not pass it on."""

    def refusal_of(self, waiting: Deferred[Any]) -> SubscriptionRefused:  # type: ignore[override]
        """Wait for a subscription to be refused."""
        return self.failure_of(waiting, SubscriptionRefused)

    def crowd(self, *, full: int, count: int = 2) -> list[Node]:
        """Start all nodes; one of them has memory for few subjects of each neighbor."""
        nodes = []
        for bus_id in (TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF, OTHER_LEAF):
            options = {"interest_bytes": room_for(count)} if bus_id == full else {}
            nodes += self.plant(bus_id, **options)
        return nodes

    def test_one_hop_to_three_hops_away(self) -> None:
        """Wherever it is refused, who asks hears which node it was, and why; the link goes on."""
        for full, teller in ((TOP, LEFT), (RIGHT, TOP), (RIGHT_LEAF, RIGHT), (LEFT, LEFT_LEAF)):
            nodes = self.crowd(full=full)
            leaf = nodes[3]
            for pattern in "ab":
                self.network.result_of(self.listen(leaf, pattern).everywhere())
            subscription = self.listen(leaf, "c")
            for waiting in (subscription.everywhere(), subscription.within_reach()):
                error = self.refusal_of(waiting)
                self.assertEqual((error.gave_up_at, error.status), (full, Status.BUFFER_LIMIT))
                self.assertEqual((error.pattern, error.queue), ("c", ""))
                self.assertIn(f"'c' refused at {full:#x}: BUFFER_LIMIT", str(error))
                self.assertIn(f"{format_bus_id(teller)} wants more subjects", error.detail)
            self.assertFalse(subscription.closed)
            self.end()
            self.setUp()

    def test_what_is_published_on_this_side(self) -> None:
        """The subscription goes on, and a group is refused as anything else is."""
        nodes = self.crowd(full=RIGHT_LEAF, count=1)
        top, right_leaf, leaf = nodes[0], nodes[4], nodes[3]
        self.network.result_of(self.listen(leaf, "a").everywhere())
        subscription = self.listen(leaf, "b", "workers")
        error = self.refusal_of(subscription.everywhere())
        self.assertEqual((error.gave_up_at, error.queue), (RIGHT_LEAF, "workers"))
        right_leaf.publish("b", b"from beyond")
        top.publish("b", b"from here")
        self.settle()
        self.assertEqual(self.got[LEFT_LEAF], [b"from here"])

    def test_somebody_else_fills_it(self) -> None:
        """What others were refused is no matter of a subscription that is known."""
        nodes = self.crowd(full=RIGHT_LEAF, count=3)
        for number in range(5):
            self.listen(nodes[5], f"{number}")
        self.settle()
        # There is still room for none, but this one is known.
        self.network.result_of(self.listen(nodes[3], "0").everywhere())
        self.assertEqual(self.refusal_of(self.listen(nodes[3], "4").everywhere()).pattern, "4")
        self.assertEqual(self.refusal_of(self.listen(nodes[3], "x").everywhere()).pattern, "x")

    def test_a_part_of_what_is_subscribed_in_one_turn(self) -> None:
        """Each of many is confirmed or refused for itself."""
        nodes = self.crowd(full=RIGHT_LEAF, count=3)
        ends = [self.listen(nodes[3], pattern).everywhere() for pattern in "abcdef"]
        self.settle()
        for waiting in ends[:3]:
            self.successResultOf(waiting)
        for waiting in ends[3:]:
            error = self.failureResultOf(waiting, SubscriptionRefused).value
            self.assertEqual(error.gave_up_at, RIGHT_LEAF)

    def test_a_block_and_an_await(self) -> None:
        """A block does not begin, and nothing is left of what could not be awaited."""
        nodes = self.crowd(full=RIGHT_LEAF, count=0)
        leaf = nodes[3]
        begun: list[str] = []

        async def read() -> None:
            async with leaf.subscribe("a", everywhere=True):
                begun.append("now")

        async def subscribe() -> None:
            await leaf.subscribe("b", lambda _: None, everywhere=True)

        for waiting in (read(), subscribe()):
            self.refusal_of(Deferred.fromCoroutine(waiting))
        self.assertEqual((begun, len(leaf._parts.subjects.subscribers)), ([], 0))
        self.settle()
        self.assertEqual(len(nodes[0]._parts.subjects.talk._interests), 0)

    def test_rights(self) -> None:
        """Who does not pass on all of it by its rights says so, with the rule."""
        rule = {"action": "deny", "ids": [hex(LEFT)], "subscribe": ["secret.>"]}
        nodes = self.crowd(full=0)
        change(nodes[0], rights=[rule])
        leaf = nodes[3]
        self.network.result_of(self.listen(leaf, "open").everywhere())
        for pattern in (">", "secret.a"):
            error = self.refusal_of(self.listen(leaf, pattern).everywhere())
            self.assertEqual((error.gave_up_at, error.status), (TOP, Status.NO_RIGHT))
            self.assertIn("rights[0] denies subscribe to", str(error))
        # It is passed on to others.
        self.network.result_of(self.listen(nodes[4], "secret.a").everywhere())

    def test_too_many_questions_at_once(self) -> None:
        """Who asks more than may be open is refused that, and may ask again."""
        self.patch(bounds, "QUESTIONS_MAX", 4)
        nodes = self.plant(TOP, LEFT, RIGHT)
        channels = self.network.between(nodes[0], nodes[2])
        for channel in channels:
            channel.stall()
        subscriptions = [self.listen(nodes[1], pattern) for pattern in "abc"]
        asked = [subscription.everywhere() for subscription in subscriptions]
        error = self.refusal_of(asked[2])
        self.assertEqual((error.gave_up_at, error.status), (TOP, Status.BACKPRESSURE))
        in_general = nodes[1]._parts.subjects.talk.everywhere()
        self.assertIs(self.failure_of(in_general, Undeliverable).status, Status.BACKPRESSURE)
        for channel in channels:
            channel.resume()
        self.settle()
        for waiting in (*asked[:2], subscriptions[2].everywhere()):
            self.network.result_of(waiting)

    def test_a_link_that_joins_later(self) -> None:
        """Who comes while it is asked is no part of that; asked again, it refuses."""
        nodes = self.plant(TOP, LEFT, RIGHT)
        channels = self.network.between(nodes[0], nodes[2])
        for channel in channels:
            channel.stall()
        subscription = self.listen(nodes[1], "a")
        waiting = subscription.everywhere()
        self.settle()
        self.assertNoResult(waiting)
        self.plant(LEFT_LEAF, interest_bytes=1)
        for channel in channels:
            channel.resume()
        self.network.result_of(waiting)
        self.assertEqual(self.refusal_of(subscription.everywhere()).gave_up_at, LEFT_LEAF)

    def test_a_replay_is_refused(self) -> None:
        """What a node refused of a replay it has refused, and what it kept it knows."""
        nodes = self.crowd(full=TOP)
        leaf = nodes[3]
        subscriptions = {pattern: self.listen(leaf, pattern) for pattern in "abc"}
        self.settle()
        self.network.cut(nodes[0], nodes[1])
        self.settle(10)
        ends = {}
        for pattern, subscription in subscriptions.items():
            try:
                self.network.result_of(subscription.everywhere())
                ends[pattern] = 0
            except SubscriptionRefused as error:
                ends[pattern] = error.gave_up_at
        self.assertEqual(sorted(ends.values()), [0, 0, TOP])

    def test_a_relay_of_an_earlier_release(self) -> None:
        """It does not hear of refusals, and confirms as it always did; nothing is told anew."""
        nodes = self.crowd(full=RIGHT_LEAF, count=1)
        be_of_an_earlier_release(nodes[2])
        for pattern in "abc":
            self.network.result_of(self.listen(nodes[3], pattern).everywhere())
        repairs = [node.statistics.interest_repairs for node in nodes]
        self.assertEqual(repairs[:2] + repairs[3:], [0] * 5)


class NonsenseTests(MailTests):
    """A neighbor that says what makes no sense."""

    def test_a_refusal_that_is_none(self) -> None:
        """It is counted and counts for nothing; the third one ends the link."""
        root, child = self.pair()
        nonsense = InterestAck(source=CHILD, barrier=1, extras=(Extra(ExtraType.REFUSED, b"x"),))
        for count in (1, 2, 3):
            self.assertEqual(self.ids(root), [CHILD])
            self.say(child, root, nonsense, data=False)
            self.network.settle(0.1)
            self.assertEqual(root.statistics.undecodable_frames, count)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "MALFORMED_FRAME")])


class CrossedTests(BusTests):
    """Two nodes dial each other while they subscribe: one connection replaces the other."""

    def test_no_question_is_lost(self) -> None:
        """Whatever connection a question, or its answer, is on: it is answered in the end."""
        for step in range(-40, 41, 5):
            self.begin(VirtualNetwork())
            nodes = [self.node(bus_id, listen=[address_of(bus_id)]) for bus_id in (LEFT, RIGHT)]
            self.network.start(*nodes)
            order = (0, 1) if step > 0 else (1, 0)
            for one in order:
                nodes[one].connect(address_of((RIGHT, LEFT)[one]))
                self.network.settle(abs(step) * 0.00025)
            asked = self.ask(nodes)
            self.network.settle(45)
            self.assertEqual([self.successResultOf(each) for each in asked], [None] * len(asked))
            self.end()

    def test_told_anew(self) -> None:
        """Whatever connection a word of interest is on: before the first ping both tables agree."""
        for step in range(-40, 41, 2):
            self.begin(VirtualNetwork())
            nodes = [self.node(bus_id, listen=[address_of(bus_id)]) for bus_id in (LEFT, RIGHT)]
            self.network.start(*nodes)
            for one in (0, 1) if step > 0 else (1, 0):
                nodes[one].connect(address_of((RIGHT, LEFT)[one]))
                self.network.settle(abs(step) * 0.00025)
            for number in range(40):
                for node in nodes:
                    node.subscribe(f"{node.bus_id}.{number}", lambda _: None)
                self.network.settle(0.0005)
            self.network.settle(2.0)
            near, far = (node._parts.subjects.talk._interests for node in nodes)
            for teller, other, bus_id in ((near, far, LEFT), (far, near, RIGHT)):
                [place] = teller.neighbors
                self.assertEqual(len(other.wanted_by(bus_id)), 40, step)
                self.assertEqual(other.digest_of(bus_id), teller.told_digest(place), step)
            self.assertEqual([node.statistics.interest_repairs for node in nodes], [0, 0])
            self.end()

    def ask(self, nodes: list[Node]) -> list[Deferred[None]]:
        """Subscribe, and ask, again and again from the moment on when the other side is known."""
        asked: list[Deferred[None]] = []
        for number in range(100):
            for node in nodes:
                if node.endpoints:
                    subscription = node.subscribe(f"{node.bus_id}.{number}", lambda _: None)
                    asked.append(subscription.everywhere())
            self.network.settle(0.0005)
        return asked


class RepairTests(GardenTests):
    """Tables that differ."""

    def forget(self, node: Node, bus_id: int, pattern: str) -> None:
        """Let a node lose what a neighbor has told."""
        talk = node._parts.subjects.talk
        talk._interests._hear(bus_id, talk._interests._neighbors[bus_id], Wanted(pattern), 0)
        talk._changed()
        talk.flush_soon()

    def test_found_with_the_next_confirmation(self) -> None:
        """What a neighbor has lost is told anew before anything else is confirmed."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        for pattern in "ab":
            self.network.result_of(self.listen(leaf, pattern).everywhere())
        self.forget(top, LEFT, "a")
        known = top._parts.subjects.talk.wanted_by(LEFT)
        waiting = self.listen(left, "c").everywhere().addCallback(lambda _: sorted(known))
        said = self.network.result_of(waiting, 1)
        self.assertEqual([wanted.pattern for wanted in said], ["a", "b", "c"])
        self.assertEqual(left.statistics.interest_repairs, 1)
        top.publish("a", b"x")
        self.settle()
        self.assertEqual(self.got[LEFT_LEAF], [b"x"])

    def test_found_with_its_own_confirmation(self) -> None:
        """The question brings what it is about, so that one is known when it is answered."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        subscription = self.listen(leaf, "a")
        self.settle()
        self.forget(top, LEFT, "a")
        self.network.result_of(subscription.everywhere(), 1)
        self.assertEqual(left.statistics.interest_repairs, 0)
        top.publish("a", b"x")
        self.settle()
        self.assertEqual(self.got[LEFT_LEAF], [b"x"])

    def test_refused_interest_is_not_told_for_ever(self) -> None:
        """Who has no memory for it is told everything anew ever more rarely, not at each ping."""
        [top] = self.plant(TOP, interest_bytes=room_for(2))
        [left] = self.plant(LEFT)
        for pattern in "abcdef":
            self.listen(left, pattern)
        hours = 4
        counts = []
        for _ in range(hours):
            self.settle(3600)
            counts.append(left.statistics.interest_repairs)
        seconds = (bounds.REPLAYS_PASSED_OVER_MAX + 2) * left.config.heartbeat_seconds / 2
        self.assertTrue(counts[0] <= 12, counts)
        self.assertTrue(counts[-1] - counts[0] <= (hours - 1) * (3600 / seconds + 1) * 1.3, counts)
        self.assertTrue(counts[-1] - counts[0] > 1, counts)
        # Who asks does not change that.
        for _ in range(100):
            self.failure_of(self.listen(left, "x").everywhere(), SubscriptionRefused)
            self.network.result_of(left._parts.subjects.talk.everywhere())
        self.assertEqual(left.statistics.interest_repairs, counts[-1])
        self.assertEqual(len(top._parts.subjects.talk.wanted_by(LEFT)), 2)

    def test_room_again(self) -> None:
        """When there is room, by another configuration or because less is wanted, all is told."""
        [top] = self.plant(TOP, interest_bytes=room_for(4))
        [left] = self.plant(LEFT)
        told = top._parts.subjects.talk.wanted_by
        subscriptions = [self.listen(left, pattern) for pattern in "abcdef"]
        self.settle(600)
        self.assertEqual(len(told(LEFT)), 4)
        for subscription in subscriptions[:3]:
            subscription.unsubscribe()
        self.settle(0.1)
        self.assertEqual(sorted(each.pattern for each in told(LEFT)), list("def"))
        for pattern in "ghijk":
            self.listen(left, pattern)
        self.settle(600)
        self.assertEqual(len(told(LEFT)), 4)
        change(top, interest_bytes=room_for(100))
        self.settle(0.1)
        self.assertEqual(len(told(LEFT)), 8)
        repairs = left.statistics.interest_repairs
        self.settle(600)
        self.assertEqual(left.statistics.interest_repairs, repairs)
