"""Interest between nodes: when all know of it, and links that break and come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.subjects.interest import Wanted
from atbus.testing.channel import VirtualChannel
from atbus.testing.network import VirtualNetwork
from atbus.wire.head import peek
from atbus.wire.messages import Interest, InterestEntry, MessageType
from tests.node.garden import (
    LEFT,
    LEFT_LEAF,
    OTHER_LEAF,
    RIGHT,
    RIGHT_LEAF,
    TOP,
    GardenTests,
)

EVERYBODY = (TOP, LEFT, RIGHT, LEFT_LEAF, RIGHT_LEAF, OTHER_LEAF)


class EverywhereTests(GardenTests):
    """When the whole bus knows."""

    def test_from_then_on_nothing_is_missed(self) -> None:
        """Whoever publishes after it, wherever, is heard."""
        nodes = self.plant(*EVERYBODY)
        subscription = self.listen(nodes[3], "a")
        self.network.result_of(subscription.everywhere())
        for node in nodes:
            node.publish("a", b"x")
        self.settle()
        self.assertEqual(len(self.got[LEFT_LEAF]), len(nodes))

    def test_a_block_that_begins_then(self) -> None:
        """``async with`` may wait for it."""
        nodes = self.plant(*EVERYBODY)
        begun: list[str] = []

        async def read() -> bytes:
            async with nodes[3].subscribe("a", everywhere=True) as messages:
                begun.append("now")
                async for message in messages:
                    return message.payload
            return b""

        reading = Deferred.fromCoroutine(read())
        self.assertEqual(begun, [])
        self.settle()
        self.assertEqual(begun, ["now"])
        nodes[4].publish("a", b"x")
        self.assertEqual(self.network.result_of(reading), b"x")

    def test_a_neighbor_that_does_not_read(self) -> None:
        """It is told no more than it can take soon; the rest follows when it reads again."""
        self.patch(limits, "CONTROL_QUEUED_BYTES", 10_000)
        self.patch(limits, "INTEREST_ENTRIES_MAX", 10)
        top, left = self.plant(TOP, LEFT)
        link = left.endpoints[TOP].control_link
        assert link is not None
        channel = link.connection.channel
        assert isinstance(channel, VirtualChannel)
        channel.stall()
        for number in range(500):
            self.listen(left, f"{number}." + "x" * 200)
            self.settle(0.001)
        link.measure()
        self.assertTrue(5_000 < link.queued_bytes < 20_000, link.queued_bytes)
        channel.resume()
        self.settle()
        for number in range(500):
            top.publish(f"{number}." + "x" * 200, b"")
        self.settle()
        self.assertEqual(len(self.got[LEFT]), 500)

    def test_somebody_is_lost_meanwhile(self) -> None:
        """Who is gone is not waited for."""
        nodes = self.plant(*EVERYBODY)
        for channel in self.network.between(nodes[0], nodes[2]):
            channel.stall()
        waiting = self.listen(nodes[3], "a").everywhere()
        self.settle()
        self.assertNoResult(waiting)
        self.kill(nodes[2])
        self.settle()
        self.successResultOf(waiting)

    def test_alone_and_stopped(self) -> None:
        """A node that is alone is the whole bus; one that stops ends the waiting."""
        (top,) = self.plant(TOP)
        self.successResultOf(self.listen(top, "a").everywhere())
        _, right = self.plant(LEFT, RIGHT)
        for channel in self.network.between(top, right):
            channel.stall()
        subscription = self.listen(top, "b")
        waiting = subscription.everywhere()
        self.network.result_of(top.stop())
        error = self.failureResultOf(waiting, Undeliverable).value
        self.assertIs(error.status, Status.CLOSING)
        error = self.failureResultOf(subscription.everywhere(), Undeliverable).value
        self.assertIs(error.status, Status.NOT_STARTED)


class CutOffTests(GardenTests):
    """The whole bus is more than what a node reaches whose upstream is away."""

    def grow(self) -> tuple[Node, Node, list[str]]:
        """Start a leaf below a proxy; give both, and what the leaf says of its return."""
        top, left = self.plant(TOP, LEFT)
        said: list[str] = []
        left.events.on_resumed.observe(lambda: said.append("resumed"))
        return top, left, said

    def again(self) -> Node:
        """Start a node in the upstream's place."""
        [top] = self.plant(TOP)
        return top

    def test_the_upstream_is_away(self) -> None:
        """It is waited for, and then nothing is missed; what can be reached knows at once."""
        top, left, said = self.grow()
        self.network.result_of(top.stop())
        self.settle()
        subscription = self.listen(left, "a")
        self.successResultOf(subscription.within_reach())
        waiting = subscription.everywhere()
        self.settle(30)
        self.assertNoResult(waiting)
        top = self.again()
        self.network.result_of(waiting)
        top.publish("a", b"x")
        self.settle()
        self.assertEqual((self.got[LEFT], said), ([b"x"], ["resumed"]))

    def test_the_upstream_is_lost_meanwhile(self) -> None:
        """Who waits for the whole bus waits on; once it is back all are asked anew."""
        top, left, said = self.grow()
        (right,) = self.plant(RIGHT)
        for channel in self.network.between(top, right):
            channel.stall()
        waiting = self.listen(left, "a").everywhere()
        reached = self.listen(left, "b").within_reach()
        self.settle()
        self.assertNoResult(waiting)
        self.kill(top)
        self.settle(5)
        self.assertNoResult(waiting)
        self.successResultOf(reached)
        self.again()
        self.network.result_of(waiting)
        self.settle()
        self.assertEqual(said, ["resumed"])

    def test_said_when_it_is_confirmed(self) -> None:
        """That it has resumed is said when all know again, not when the upstream is back."""
        delay_seconds = 0.2
        self.begin(VirtualNetwork(delay_seconds=delay_seconds))
        top, left, said = self.grow()
        clock = self.network.clock
        added: list[float] = []
        resumed: list[float] = []
        left.events.on_endpoint_added.observe(lambda _: added.append(clock.seconds()))
        left.events.on_resumed.observe(lambda: resumed.append(clock.seconds()))
        self.listen(left, "a")
        self.settle()
        self.assertEqual(said, [])
        for _ in range(2):
            self.kill(top)
            self.settle(5)
            top = self.again()
            self.settle(60)
        # The question and its answer come after.
        waits = [after - before for before, after in zip(added, resumed, strict=True)]
        self.assertEqual([round(each / delay_seconds, 3) for each in waits], [2.0, 2.0])

    def test_not_said_of_an_upstream_that_is_lost_again(self) -> None:
        """Before all know again nothing is said, also when it is lost before they do."""
        self.begin(VirtualNetwork(delay_seconds=0.2))
        top, left, said = self.grow()
        self.settle()
        self.kill(top)
        self.settle(5)
        top = self.again()
        self.network.clock.run_until(lambda: TOP in left.endpoints, 60)
        self.kill(top)
        self.settle(5)
        self.assertEqual(said, [])
        self.again()
        self.settle(60)
        self.assertEqual(said, ["resumed"])

    def test_given_up(self) -> None:
        """Who waits no longer, and a node that stops meanwhile, leave nothing behind."""
        top, left, said = self.grow()
        self.network.result_of(top.stop())
        self.settle()
        subscription = self.listen(left, "a")
        subscription.everywhere().addErrback(lambda _: None).cancel()
        waiting = subscription.everywhere()
        self.network.result_of(left.stop())
        self.assertIs(self.failureResultOf(waiting, Undeliverable).value.status, Status.CLOSING)
        self.again()
        self.settle()
        self.assertEqual(said, [])

    def test_awaited(self) -> None:
        """A subscription with a callback may be awaited: it is known when that ends."""
        top, left, _ = self.grow()

        async def subscribe() -> None:
            subscription = await left.subscribe("a", self.publications.append, everywhere=True)
            self.assertFalse(subscription.closed)

        self.network.result_of(Deferred.fromCoroutine(subscribe()))
        top.publish("a", b"x")
        self.settle()
        self.assertEqual([each.payload for each in self.publications], [b"x"])


class SizeTests(GardenTests):
    """Groups that grow and shrink."""

    def test_members_that_come_and_go_are_told_now_and_then(self) -> None:
        """However many there are in a second, each link hears twice of it; the end is exact."""
        nodes = self.plant(*EVERYBODY)
        near = nodes[3]
        first = near.subscribe("jobs", lambda _: None, queue="workers")
        self.settle()
        before = sum(node.statistics.interest_sent for node in nodes)
        members = [first]
        for number in range(1_000):
            if number % 3 == 2:
                members.pop().unsubscribe()
            else:
                members.append(near.subscribe("jobs", lambda _: None, queue="workers"))
            self.settle(0.01)
        self.settle(4.0)
        spent = sum(node.statistics.interest_sent for node in nodes) - before
        # Five links, ten seconds, and what is told when all is quiet.
        self.assertTrue(spent <= 5 * (2 * 10 + 3), spent)
        for node in nodes:
            self.assertEqual(self.size_at(node), len(members))

    def size_at(self, node: Node) -> int:
        """Give how many members of the group a node knows of."""
        interests = node._parts.subjects.talk._interests
        wanted = Wanted("jobs", "workers")
        takers = [each for each in interests.match(("jobs",)) if each.wanted == wanted]
        return sum(map(interests.weight, takers))

    def test_the_first_and_the_last_are_told_at_once(self) -> None:
        """Whether there is a member at all is known as soon as it can be."""
        top, left, leaf = self.plant(TOP, LEFT, LEFT_LEAF)
        one, other = (self.listen(leaf, "jobs", "workers") for _ in range(2))
        self.settle(0.05)
        self.assertEqual(self.size_at(top), 2)
        one.unsubscribe()
        self.settle(0.05)
        self.assertEqual(self.size_at(top), 2)
        other.unsubscribe()
        self.settle(0.05)
        self.assertEqual(self.size_at(top), 0)
        self.assertEqual(left.statistics.interest_repairs, 0)


class ReconnectTests(GardenTests):
    """Links that break and come back."""

    def test_everything_resumes(self) -> None:
        """After a reconnect each subscription works as before: nothing is a ghost, none is gone."""
        nodes = self.plant(*EVERYBODY)
        top, left, right, near, far, _ = nodes
        self.listen(far, "a")
        gone = near.subscribe("b", lambda _: None)
        self.settle()
        self.network.cut(top, left)
        self.network.cut(right, far)
        gone.unsubscribe()
        self.listen(near, "c")
        self.settle(30)
        near.publish("a", b"1")
        far.publish("c", b"2")
        self.settle()
        self.assertEqual((self.got[RIGHT_LEAF], self.got[LEFT_LEAF]), ([b"1"], [b"2"]))
        error = self.failureResultOf(far.request_subject("b"), Undeliverable).value
        self.assertIs(error.status, Status.NO_RESPONDERS)

    def test_told_anew_at_once(self) -> None:
        """With a new connection all is told anew, on both sides; no ping has to find a loss."""
        nodes = self.plant(*EVERYBODY)
        top, left = nodes[:2]
        near, far = nodes[3:5]
        gone = near.subscribe("b", lambda _: None)
        old = far.subscribe("c", lambda _: None)
        self.settle()
        for _ in range(3):
            self.network.cut(top, left)
            # What changes until both sides have noticed is on no connection.
            gone.unsubscribe()
            old.unsubscribe()
            gone = near.subscribe("b", lambda _: None, queue="q")
            old = far.subscribe("c", lambda _: None, queue="q")
            self.network.clock.run_until(lambda: left.endpoints[TOP].control_link is not None, 60)
            self.settle(1.0)
            for one, other in ((top, left), (left, top)):
                interests, others = (each._parts.subjects.talk._interests for each in (one, other))
                self.assertEqual(
                    interests.digest_of(other.bus_id), others.told_digest(one.bus_id)
                )
                self.assertEqual(one.statistics.interest_repairs, 0)
            self.assertIn(Wanted("b", "q"), top._parts.subjects.talk.wanted_by(LEFT))
            self.assertIn(Wanted("c", "q"), left._parts.subjects.talk.wanted_by(TOP))
            self.assertNotIn(Wanted("b"), top._parts.subjects.talk.wanted_by(LEFT))

    def test_a_node_that_comes_back(self) -> None:
        """A relay that was killed and comes back knows all there is to know."""
        nodes = self.plant(*EVERYBODY)
        near, far = nodes[3], nodes[4]
        self.listen(far, "a")
        self.listen(near, "b")
        self.settle()
        self.kill(nodes[1])
        self.settle(5)
        self.plant(LEFT)
        self.settle(40)
        near.publish("a", b"1")
        far.publish("b", b"2")
        self.settle()
        self.assertEqual((self.got[RIGHT_LEAF], self.got[LEFT_LEAF]), ([b"1"], [b"2"]))

    def test_what_was_lost_is_found(self) -> None:
        """
        A link that has lost a word of interest is told everything anew within one interval of
        pings, whenever in it that was: the pings of both sides and their answers bear the digest.
        """
        top, left = self.plant(TOP, LEFT)
        self.settle()
        talk = top._parts.subjects.talk
        lost = Interest(generation=1, entries=(InterestEntry(subject="ghost"),))
        clock, interval = self.network.clock, top.config.heartbeat_seconds
        longest = interval * (1 + limits.HEARTBEAT_JITTER) + 0.1
        for number in range(1, 21):
            self.settle(interval * number / 20)
            talk._interests.heard(LEFT, lost)
            talk._changed()
            self.assertNoResult(waiting := top.request_subject("ghost", timeout=0.001))
            self.failure_of(waiting, Undeliverable)
            began = clock.seconds()
            clock.run_until(lambda: len(talk._interests) == 0, longest)
            self.assertEqual(left.statistics.interest_repairs, number)
            self.assertTrue(clock.seconds() - began <= longest)
            error = self.failureResultOf(top.request_subject("ghost"), Undeliverable).value
            self.assertIs(error.status, Status.NO_RESPONDERS)

    def test_what_was_never_told_is_told(self) -> None:
        """
        A link on which a word of interest was lost is told everything anew within one interval of
        pings, whenever that was; until then nobody there hears what is published.
        """
        top, left = self.plant(TOP, LEFT)
        self.settle()
        clock, interval = self.network.clock, top.config.heartbeat_seconds
        longest = interval * (1 + limits.HEARTBEAT_JITTER) + 0.1
        known = top._parts.subjects.talk.wanted_by(LEFT)
        for number in range(1, 21):
            self.settle(interval * number / 20)
            subject = f"a.{number}"
            with self.deaf(top, left) as lost:
                self.listen(left, subject)
                self.settle(0.01)
            self.assertEqual(len(lost), 1)
            top.publish(subject, b"early")
            self.settle(0.01)
            began = clock.seconds()
            clock.run_until(partial(known.__contains__, Wanted(subject)), longest)
            self.assertTrue(clock.seconds() - began <= longest)
            self.assertEqual(left.statistics.interest_repairs, number)
            top.publish(subject, b"late")
            self.settle(0.01)
            self.assertEqual(self.got[LEFT], [b"late"] * number)

    @contextmanager
    def deaf(self, one: Node, other: Node) -> Iterator[list[bytes]]:
        """Lose every word of interest between two nodes, for a while, and give those lost."""
        lost: list[bytes] = []
        patches = [
            self.patch(channel, "send", partial(self._lose, channel.send, lost))
            for near in self.network.between(one, other)
            for channel in (near, near.other)
        ]
        yield lost
        for patch in patches:
            patch.restore()

    @staticmethod
    def _lose(send: Callable[..., Any], lost: list[bytes], frames: Iterable[bytes]) -> Any:
        kept: list[bytes] = []
        for frame in frames:
            (lost if peek(frame)[1] == MessageType.INTEREST else kept).append(frame)
        return send(kept)

    def test_quiet_links_are_not_repaired(self) -> None:
        """Where nothing is lost nothing is told anew, whatever comes and goes."""
        nodes = self.plant(*EVERYBODY)
        for number in range(40):
            subscription = self.listen(nodes[number % 6], f"a.{number}")
            if number % 3:
                subscription.unsubscribe()
            self.settle(2)
        self.assertEqual([node.statistics.interest_repairs for node in nodes], [0] * 6)
        self.assertEqual([node.statistics.interest_ignored for node in nodes], [0] * 6)

    def test_a_large_replay_does_not_hold_up_the_pings(self) -> None:
        """Many subscriptions are told by and by, and all of them arrive."""
        top, left = self.plant(TOP, LEFT)
        for number in range(20_000):
            left.subscribe(f"many.{number}.{'x' * 20}", lambda _: None)
        self.network.cut(top, left)
        self.settle(30)
        self.assertEqual(len(top._parts.subjects.talk._interests), 20_000)
        self.assertEqual(left.statistics.interest_repairs, 0)
