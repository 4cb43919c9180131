"""Publications and interest between nodes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.wire import codec
from atbus.wire.messages import Publish
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

EVERYBODY = (TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF, OTHER_LEAF)


class SpreadTests(GardenTests):
    """From any node to any other."""

    def test_across_the_tree(self) -> None:
        """A publication comes to every subscriber, wherever he is, once, and to nobody else."""
        nodes = self.plant(*EVERYBODY)
        for node in nodes:
            self.listen(node, "news.*")
        self.settle()
        for number, node in enumerate(nodes):
            node.publish("news.x", b"%d" % number)
            node.publish("other.x", b"")
        self.settle()
        for node in nodes:
            self.assertEqual(sorted(self.got[node.bus_id]), [b"0", b"1", b"2", b"3", b"4", b"5"])

    def test_what_travels_with_it(self) -> None:
        """Subject, reply subject, headers, kind, source, number and hops arrive as they were."""
        _, _, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        top = self.nodes[0]
        self.listen(leaf, ">")
        self.settle()
        number = top.publish("a.b", b"x", -7, reply_to="r", headers={"K": "v"})
        self.settle()
        (publication,) = self.publications
        self.assertEqual((publication.subject, publication.payload), ("a.b", b"x"))
        self.assertEqual((publication.reply_to, publication.kind), ("r", -7))
        self.assertEqual(publication.headers, (("K", "v"),))
        self.assertEqual((publication.source, publication.sequence), (TOP, number))
        self.assertEqual((publication.hops, publication.origin), (1, None))

    def test_only_where_somebody_wants_it(self) -> None:
        """A branch without subscribers gets nothing, and each link carries it once, one way."""
        top, left, right, _, *others = self.plant(*EVERYBODY)
        for node in others:
            self.listen(node, "a")
        self.settle()
        idle = self.watch(top, left)
        busy = self.watch(top, right)
        right.publish("a", b"1")
        top.publish("a", b"2")
        self.settle()
        self.assertEqual((idle, [sender for sender, _ in busy]), ([], [TOP]))
        self.assertEqual(self.got[RIGHT_LEAF], [b"1", b"2"])

    def test_unsubscribed(self) -> None:
        """When the last of a branch has ended, nothing goes there any more."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        first, second = self.listen(leaf, "a"), self.listen(left, "a")
        self.settle()
        first.unsubscribe()
        self.settle()
        crossings = self.watch(left, leaf)
        top.publish("a", b"1")
        self.settle()
        second.unsubscribe()
        self.settle()
        top.publish("a", b"2")
        self.settle()
        self.assertEqual((self.got[LEFT], crossings), ([b"1"], []))

    def test_longer_than_a_frame(self) -> None:
        """A publication of a megabyte with long headers arrives whole, three hops away."""
        self.plant(TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF)
        near, far = self.nodes[3:]
        self.listen(far, "a")
        self.settle()
        payload = bytes(range(256)) * 3_900
        near.publish("a", payload, headers={"K": "v" * 10_000})
        near.publish("a", b"next")
        self.settle()
        first, second = self.publications
        self.assertEqual((first.payload, second.payload), (payload, b"next"))
        self.assertEqual(first.header("K"), "v" * 10_000)

    def test_links_with_short_frames(self) -> None:
        """A relay cuts what is longer than the next link takes."""
        _, _, leaf = self.plant(TOP, LEFT, LEFT_LEAF, frame_bytes_max=limits.FRAME_BYTES_MIN)
        far = self.node(RIGHT, upstream=address_of(TOP), subnets=[(0, 8)])
        self.network.start(far)
        self.settle()
        self.listen(far, "a")
        self.settle()
        leaf.publish("a", b"x" * 50_000)
        self.settle()
        self.assertEqual(self.got[RIGHT], [b"x" * 50_000])

    def test_in_the_order_of_publishing(self) -> None:
        """What one node publishes comes in order, also over several hops and turns."""
        self.plant(TOP, LEFT, LEFT_LEAF)
        top, _, leaf = self.nodes
        self.listen(leaf, "*")
        self.settle()
        for number in range(500):
            top.publish("abc"[number % 3], b"%d" % number)
            if number % 50 == 0:
                self.settle(0.001)
        self.settle()
        self.assertEqual(self.got[LEFT_LEAF], [b"%d" % number for number in range(500)])

    def test_a_way_too_long(self) -> None:
        """What has no hops left is given up, and counted."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF, hops=1)
        for node in (left, leaf):
            self.listen(node, "a")
        self.settle()
        top.publish("a", b"")
        self.settle()
        self.assertEqual((self.got[LEFT], self.got[LEFT_LEAF]), ([b""], []))
        self.assertEqual(left.statistics.publications_dropped, {Status.HOP_LIMIT: 1})

    def test_somebody_else_s_name(self) -> None:
        """A neighbor that publishes in the name of one it may not speak for is refused."""
        top, left, right = self.plant(TOP, LEFT, RIGHT)
        self.listen(top, "a")
        self.settle()
        forged = Publish(source=RIGHT, sequence=1, subject="a", messages=((0, b"x"),))
        link = left.endpoints[TOP].data_link
        channel = None if link is None else link.connection.channel
        assert channel is not None
        channel.send([codec.encode(forged, frame=1)])
        self.settle(limits.UNVERIFIED_SECONDS + 0.1)
        self.assertEqual(self.got[TOP], [])
        self.assertEqual(top.statistics.publications_dropped, {Status.SOURCE_REFUSED: 1})
        right.publish("a", b"mine")
        self.settle()
        self.assertEqual(self.got[TOP], [b"mine"])


class TriangleTests(GardenTests):
    """Two peers under one upstream."""

    def triangle(self) -> tuple[Node, Node, Node, Node, Node]:
        """Connect LEFT and RIGHT directly."""
        nodes = self.plant(TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF)
        top, left, right, near, far = nodes
        self.network.result_of(left.connect(address_of(RIGHT)))
        self.settle()
        return top, left, right, near, far

    def test_nobody_gets_it_twice(self) -> None:
        """Whoever publishes, each subscriber gets it once; and no link carries it twice."""
        nodes = self.triangle()
        top, left, right, near, far = nodes
        for node in nodes:
            self.listen(node, "a")
        self.settle()
        pairs = [(top, left), (top, right), (left, right), (left, near), (right, far)]
        crossings = [self.watch(*pair) for pair in pairs]
        for number, node in enumerate(nodes, start=1):
            node.publish("a", b"x")
            self.settle()
            self.assertEqual(
                {bus_id: len(got) for bus_id, got in self.got.items()},
                dict.fromkeys(self.got, number),
            )
            for each in crossings:
                self.assertLessEqual(len(each), 1)
                each.clear()
        for node in nodes:
            self.assertEqual(node.statistics.publications_repeated, 0)

    def test_one_member_in_the_triangle(self) -> None:
        """Of a group with members everywhere each publication has one, and all have their share."""
        nodes = self.triangle()
        for node in nodes:
            self.listen(node, "a", "g")
        # How many members there are is told now and then.
        self.settle(3.0)
        for number in range(300):
            nodes[number % 5].publish("a", b"%d" % number)
        self.settle()
        found = Counter(payload for got in self.got.values() for payload in got)
        self.assertEqual(found, Counter(b"%d" % number for number in range(300)))
        for got in self.got.values():
            self.assertGreater(len(got), 20)

    def test_the_short_side_is_cut(self) -> None:
        """Without the link between the peers everything takes the way over the upstream."""
        _, left, _, near, far = self.triangle()
        self.listen(far, "a")
        self.settle()
        near.publish("a", b"1")
        self.settle()
        self.network.result_of(left.disconnect(RIGHT))
        self.settle()
        near.publish("a", b"2")
        self.settle()
        self.assertEqual(self.got[RIGHT_LEAF], [b"1", b"2"])


class GroupTests(GardenTests):
    """Queue groups over several nodes."""

    def test_one_member_anywhere(self) -> None:
        """Each publication comes to one member of a group, and to every other group and plain."""
        nodes = self.plant(*EVERYBODY)
        for node in nodes[2:]:
            self.listen(node, "jobs.*", "workers")
        counts: Counter[bytes] = Counter()
        nodes[1].subscribe("jobs.>", lambda p: counts.update([p.payload]), queue="others")
        nodes[5].subscribe("jobs.x", lambda p: counts.update([p.payload]))
        self.settle()
        for number in range(400):
            nodes[number % 6].publish("jobs.x", b"%d" % number)
        self.settle()
        found = Counter(payload for got in self.got.values() for payload in got)
        self.assertEqual(found, Counter(b"%d" % number for number in range(400)))
        self.assertEqual(set(counts.values()), {2})
        for got in self.got.values():
            self.assertGreater(len(got), 40)

    def test_a_member_that_has_just_left(self) -> None:
        """A branch that finds nobody hands the publication back, and another one gets it."""
        top, _, right, leaf = self.plant(TOP, LEFT, RIGHT, LEFT_LEAF)
        gone = self.listen(leaf, "a", "g")
        stays = right.subscribe("a", lambda _: None, queue="g")
        self.settle()
        gone.unsubscribe()
        for _ in range(20):
            top.publish("a", b"x")
        self.settle()
        self.assertEqual((self.got[LEFT_LEAF], stays.taken), ([], 20))

    def test_the_last_member_has_left(self) -> None:
        """When there is no other one, who asked is told that nobody is there."""
        top, _, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        gone = self.listen(leaf, "a", "g")
        self.settle()
        gone.unsubscribe()
        error = self.failure_of(top.request_subject("a"), Undeliverable)
        self.assertIs(error.status, Status.NO_RESPONDERS)

    def test_members_that_do_not_want_it(self) -> None:
        """When no member here takes it, one elsewhere does."""
        top, left = self.plant(TOP, LEFT)
        here = top.subscribe("a", lambda _: None, queue="g", accepts=lambda _: False)
        self.listen(left, "a", "g")
        self.settle()
        for _ in range(10):
            top.publish("a", b"x")
        self.settle()
        self.assertEqual((here.taken, len(self.got[LEFT])), (0, 10))


class PolicyTests(GardenTests):
    """Which member of a group is chosen."""

    def counts(self, **options: Any) -> list[int]:
        """Publish at TOP, with a member here and at two downstreams; give what each has got."""
        top, left, right = self.plant(TOP, **options), self.plant(LEFT), self.plant(RIGHT)
        nodes = [*top, *left, *right]
        taken = [node.subscribe("a", lambda _: None, queue="g") for node in nodes]
        self.settle()
        for _ in range(300):
            nodes[0].publish("a", b"")
        self.settle()
        self.assertEqual(sum(each.taken for each in taken), 300)
        return [each.taken for each in taken]

    def test_uniform(self) -> None:
        """Unless something else is said each has its share."""
        self.assertTrue(all(60 < count < 140 for count in self.counts()))

    def test_local(self) -> None:
        """A member at the node itself gets everything."""
        self.assertEqual(self.counts(queue_policy="local"), [300, 0, 0])

    def test_the_nearest_zone(self) -> None:
        """What is published in a zone stays there while somebody is there, then goes elsewhere."""
        (top,) = self.plant(TOP, labels={"zone": "x"}, queue_policy="nearest")
        (left,) = self.plant(LEFT, labels={"zone": "y"})
        (right,) = self.plant(RIGHT, labels={"zone": "x"})
        far = left.subscribe("a", lambda _: None, queue="g")
        near = right.subscribe("a", lambda _: None, queue="g")
        self.settle()
        for _ in range(50):
            top.publish("a", b"")
        self.settle()
        near.unsubscribe()
        self.settle()
        top.publish("a", b"")
        self.settle()
        self.assertEqual((near.taken, far.taken), (50, 1))


class AskingTests(GardenTests):
    """Questions over several nodes."""

    def test_an_answer_from_far_away(self) -> None:
        """A question finds who listens, and its answer who asked, though he never subscribed."""
        nodes = self.plant(*EVERYBODY)
        asker, answerer = nodes[3], nodes[4]
        answerer.subscribe("now", lambda question: b"answer to " + question.payload)
        self.settle()
        answer = self.network.result_of(asker.request_subject("now", b"x"))
        self.assertEqual((answer.payload, answer.source), (b"answer to x", RIGHT_LEAF))

    def test_nobody_anywhere(self) -> None:
        """That nobody listens is known at once, without a frame."""
        leaf = self.plant(*EVERYBODY)[3]
        error = self.failureResultOf(leaf.request_subject("nobody"), Undeliverable).value
        self.assertIs(error.status, Status.NO_RESPONDERS)

    def test_nobody_any_more(self) -> None:
        """The last node that knows says so, long before the time is over."""
        nodes = self.plant(*EVERYBODY)
        gone = nodes[4].subscribe("q", lambda _: b"")
        self.settle()
        gone.unsubscribe()
        before = self.network.clock.seconds()
        error = self.failure_of(nodes[3].request_subject("q"), Undeliverable)
        self.assertIs(error.status, Status.NO_RESPONDERS)
        self.assertLess(self.network.clock.seconds() - before, 1)

    def test_told_that_nobody_got_it(self) -> None:
        """A program that publishes with a reply subject of its own can hear of it as well."""
        top, left = self.plant(TOP, LEFT)
        unheard: list[str] = []
        gone = left.subscribe("q", lambda _: None)
        self.settle()
        gone.unsubscribe()
        top.publish("q", b"", reply_to="my.inbox", unheard=lambda: unheard.append("q"))
        self.assertEqual(unheard, [])
        self.settle()
        self.assertEqual(unheard, ["q"])

    def test_all_answers(self) -> None:
        """A question to many brings one answer of each who listens."""
        nodes = self.plant(*EVERYBODY)
        for node in nodes:
            node.subscribe("who", lambda question: b"here is one for " + question.payload)
        self.settle()
        answers = self.network.result_of(nodes[3].request_many("who"))
        self.assertEqual({answer.source for answer in answers}, set(EVERYBODY))
        self.assertEqual(len(answers), len(EVERYBODY))

    def test_an_answer_before_its_interest(self) -> None:
        """An answer goes back the way of the question when the interest in it is still to come."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        leaf.subscribe("q", lambda _: b"answer")
        self.settle()
        # What top tells of its interest is held up.
        for channel in self.network.between(top, left)[:1]:
            channel.stall()
            self.network.clock.callLater(5, channel.resume)
        self.listen(top, "_INBOX.client.1")
        top.publish("q", b"", reply_to="_INBOX.client.1")
        self.settle()
        self.assertEqual(self.got[TOP], [b"answer"])


class SlowTests(GardenTests):
    """Neighbors that do not take what they are sent."""

    def test_a_slow_neighbor_misses_and_the_others_do_not(self) -> None:
        """It is named and counted; others get everything, and messages to it are still accepted."""
        top, left, right = self.plant(TOP, LEFT, RIGHT)
        for node in (left, right):
            self.listen(node, "a")
        self.settle()
        stalled = self.network.between(top, left)
        for channel in stalled[1:]:
            channel.stall()
        payload = b"x" * 50_000
        for _ in range(600):
            top.publish("a", payload)
            self.settle(0.01)
        self.assertEqual(len(self.got[RIGHT]), 600)
        self.assertEqual(len(self.got[LEFT]), 0)
        dropped = top.statistics.publications_dropped
        self.assertEqual(set(dropped), {Status.BUFFER_LIMIT})
        self.assertGreater(dropped[Status.BUFFER_LIMIT], 100)
        slow = self.diaries[top].of("on_slow_endpoint")
        self.assertEqual(slow[0][0].bus_id, LEFT)
        self.assertGreater(top.send(LEFT, b"still"), 0)
        for channel in stalled[1:]:
            channel.resume()
        self.settle(10)
        top.publish("a", b"last")
        self.settle()
        self.assertEqual(self.got[LEFT][-1], b"last")
        self.assertEqual(len(self.got[LEFT]) + dropped[Status.BUFFER_LIMIT], 601)

    def test_a_publisher_that_awaits_its_turn(self) -> None:
        """It is as fast as the neighbors are, and nobody misses anything."""
        top, left = self.plant(TOP, LEFT)
        self.listen(left, "a")
        self.settle()
        count, payload = 3_000, b"x" * 10_000

        async def publish() -> None:
            for _ in range(count):
                await top.publishable()
                top.publish("a", payload)

        self.network.result_of(Deferred.fromCoroutine(publish()))
        self.settle()
        self.assertEqual(len(self.got[LEFT]), count)
        self.assertEqual(top.statistics.publications_dropped, {})

    def test_one_that_is_stuck_holds_nobody_back_for_long(self) -> None:
        """After a second the publisher goes on; a stop lets it go at once."""
        top, left = self.plant(TOP, LEFT)
        self.listen(left, "a")
        self.settle()
        for channel in self.network.between(top, left)[1:]:
            channel.stall()
        self.successResultOf(top.publishable())
        for _ in range(100):
            top.publish("a", b"x" * 50_000)
        held = top.publishable()
        self.settle(0.5)
        self.assertNoResult(held)
        self.settle(0.6)
        self.successResultOf(held)
        held = top.publishable()
        for channel in self.network.between(top, left)[1:]:
            channel.resume()
        self.network.result_of(top.stop())
        self.successResultOf(held)


class RightsTests(GardenTests):
    """Rights of the first nodes on the way."""

    def test_who_may_not_publish(self) -> None:
        """It is told here what it may not; what comes from a neighbor is dropped and counted."""
        rule = {"action": "deny", "ids": [hex(LEFT)], "publish": ["secret.>"]}
        _, left, right = self.plant(TOP, LEFT, RIGHT, rights=[rule])
        self.listen(right, ">")
        self.settle()
        error = self.assertRaises(Undeliverable, left.publish, "secret.a", b"")
        self.assertIs(error.status, Status.NO_RIGHT)
        error = self.assertRaises(Undeliverable, left.publish_many, "secret.a", [b""])
        self.assertIs(error.status, Status.NO_RIGHT)
        left.publish("open.a", b"1")
        self.settle()
        self.assertEqual(self.got[RIGHT], [b"1"])

    def test_who_may_not_have_it(self) -> None:
        """When only such a node wants a question, who asks is told at once that nobody is there."""
        rule = {"action": "deny", "ids": [hex(LEFT)], "subscribe": ["secret.>"]}
        top = self.plant(TOP, rights=[rule])[0]
        left = self.plant(LEFT)[0]
        self.listen(left, ">")
        self.listen(left, ">", "g")
        self.settle()
        error = self.failureResultOf(top.request_subject("secret.a"), Undeliverable).value
        self.assertIs(error.status, Status.NO_RESPONDERS)
        top.publish_many("secret.a", [b"1", b"2"])
        self.settle()
        self.assertEqual(self.got[LEFT], [])
        self.assertEqual(top.statistics.publications_dropped[Status.NO_RIGHT], 3)
