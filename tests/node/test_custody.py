"""Who answers for a message while it is on its way, and what is told when a link or a node dies."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.wire.messages import DataResponse, MessageType
from tests.node.bus import ROOT_ADDRESS
from tests.node.mail import NORTH, ROOT, SOUTH, Mailbox, MailTests, Receiving


class AcknowledgementTests(MailTests):
    """When a frame is acknowledged."""

    def test_a_relay_acknowledges_after_its_next_hop(self) -> None:
        """While the last link is stuck, nobody on the way says that the message has arrived."""
        root, north, south = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        stuck = self.data_channel(south, two)
        stuck.stall()
        one.send(SOUTH + 1, b"slow")
        self.network.settle(3)
        way = ((one, north), (north, root), (root, south), (south, two))
        for node, after in way:
            link = node.endpoints[after.bus_id].data_link
            assert link is not None
            self.assertEqual(len(link.outgoing), 1, f"{node.bus_id:x}")
        stuck.resume()
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"slow"])
        self.assert_quiet(one, north, root, south, two)

    def test_a_slow_frame_holds_back_nothing_but_itself(self) -> None:
        """What is behind a message that waits is passed on and acknowledged without it."""
        _, north, _ = self.proxies()
        one, two, three = (self.leaf(NORTH + number) for number in (1, 2, 3))
        self.data_channel(north, two).stall()
        one.send(NORTH + 2, b"stuck")
        one.send(NORTH + 3, b"free")
        self.network.settle()
        self.assertEqual(self.mail[three].payloads, [b"free"])
        link = one.endpoints[NORTH].data_link
        assert link is not None
        self.assertEqual(len(link.outgoing), 1)
        self.data_channel(north, two).resume()
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"stuck"])
        self.assert_quiet(one, two, three, north)

    def test_acknowledgements_come_soon(self) -> None:
        """A frame that nothing answers is acknowledged within a fraction of a second."""
        root, child = self.pair()
        link = child.endpoints[ROOT].data_link
        assert link is not None
        child.send(ROOT, b"x")
        self.network.settle(limits.ACK_DELAY_SECONDS / 2)
        self.assertEqual(len(link.outgoing), 1)
        self.network.settle(limits.ACK_DELAY_SECONDS / 2 + 0.01)
        self.assertEqual(len(link.outgoing), 0)
        acks = self.frames(self.data_channel(root, child), MessageType.LINK_ACK)
        self.assertEqual(len(acks), 1)

    def test_acknowledgements_ride_on_what_goes_back(self) -> None:
        """A frame that goes the other way in time says it, and nothing else is sent for it."""
        root, child = self.pair()
        link = child.endpoints[ROOT].data_link
        assert link is not None
        child.send(ROOT, b"x")
        self.network.settle(0.01)
        root.send(child.bus_id, b"y")
        self.network.settle(0.01)
        self.assertEqual(len(link.outgoing), 0)
        acks = self.frames(self.data_channel(root, child), MessageType.LINK_ACK)
        self.assertEqual(acks, [])

    def test_many_frames_are_acknowledged_at_once(self) -> None:
        """After a number of frames the word does not wait for its time."""
        root, child = self.pair()
        for _ in range(limits.ACK_FRAMES_MAX):
            child.send(ROOT, b"x")
            self.network.settle(0.001)
        self.network.settle(0.002)
        link = child.endpoints[ROOT].data_link
        assert link is not None
        self.assertEqual(len(link.outgoing), 0)
        acks = self.frames(self.data_channel(root, child), MessageType.LINK_ACK)
        self.assertEqual(len(acks), 1)

    def test_what_overtakes_a_stuck_frame_is_acknowledged(self) -> None:
        """One destination that is stuck does not keep the frames of the others uncertain."""
        _, north, _ = self.proxies(direct_notice=False)
        one, two, three = (self.leaf(NORTH + number) for number in (1, 2, 3))
        link = one.endpoints[NORTH].data_link
        assert link is not None
        self.network.freeze(two)
        one.send(NORTH + 2, b"stuck")
        for _ in range(100):
            self.network.settle(0.001)
            one.send(NORTH + 3, b"x")
        self.network.settle(0.2)
        self.assertEqual(len(link.outgoing), 1)
        self.assertEqual(len(self.mail[three].letters), 100)
        self.network.cut(one, north)
        self.network.settle(0.1)
        self.assertEqual(self.mail[one].news, [(NORTH + 2, *self.mail[one].news[0][1:])])
        self.assertEqual(self.mail[one].statuses(), ["UNCERTAIN"])
        self.network.thaw(two)
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"stuck"])

    def test_an_answer_shares_the_custody(self) -> None:
        """While the answer to a delivery is stuck, its sender still holds the message."""
        root, child = self.pair()
        self.control_channel(root, child).stall()
        waiting = child.deliver(ROOT, b"x")
        self.network.settle(0.5)
        link = child.endpoints[ROOT].data_link
        assert link is not None
        self.assertEqual(len(link.outgoing), 1)
        self.control_channel(root, child).resume()
        self.assertIs(self.ended(waiting).status, Status.OK)
        self.assert_quiet(root, child)


class DeathTests(MailTests):
    """Links and nodes that die."""

    def test_what_was_on_the_wire_is_uncertain(self) -> None:
        """
        When a link dies, what was written and not acknowledged is uncertain; what was never
        written is refused by name.

        Scenario: D18, I10
        """
        root, child = self.pair()
        self.network.freeze(root)
        first = self.send_all(child, ROOT, [b"1", b"2"])[0]
        self.network.settle(0.1)
        child.send(ROOT, b"3")
        # In the same turn, before anything of it is written.
        child.endpoints[ROOT].data[0].link.muted = True  # type: ignore[union-attr]  # it is there
        self.kill(root)
        self.network.settle()
        self.assertEqual(
            self.mail[child].news,
            [(ROOT, first, 2, "UNCERTAIN"), (ROOT, first + 2, 1, "NOT_CONNECTED")],
        )
        self.assertEqual(child.statistics.uncertain_messages, 2)

    def test_the_holder_reports_in_its_own_name(self) -> None:
        """A relay whose next hop dies reports what it had handed over, once, as uncertain."""
        root, north, south = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        self.network.freeze(two)
        first = self.send_all(one, SOUTH + 1, [b"x"] * 3)[0]
        self.network.settle(0.5)
        self.kill(two)
        self.network.settle()
        self.assertEqual(self.mail[one].news, [(SOUTH + 1, first, 3, "UNCERTAIN")])
        self.assertEqual(self.mail[one].fates[0].gave_up_at, SOUTH)
        self.assertEqual(south.statistics.uncertain_messages, 3)
        self.assert_quiet(root, north, south, one)

    def test_questions_end_with_their_link(self) -> None:
        """Whoever waits for an answer about a message hears at once that its link died."""
        root, child = self.pair()
        self.network.freeze(root)
        waiting: list[Deferred[Any]] = [
            child.deliver(ROOT, b"x"),
            child.request(ROOT, b"x"),
            child.command(ROOT, b"x"),
        ]
        self.network.settle(0.1)
        self.kill(root)
        self.network.settle(0.1)
        self.assertEqual([self.ended(each, 0) for each in waiting], [Status.UNCERTAIN] * 3)

    def test_news_that_lose_their_link_go_another_way(self) -> None:
        """An answer that was on a link when it died is told over the next one, once."""
        root, north, south = self.proxies(retry_initial_seconds=0.1)
        one = self.leaf(NORTH + 1)
        taken: Deferred[None] = Deferred()
        south.receiver = Receiving(lambda source, payload: taken)
        waiting = one.deliver(SOUTH, b"x")
        self.network.settle(0.5)
        self.control_channel(south, root).stall()
        taken.callback(None)
        self.network.settle(0.5)
        self.network.cut(south, root)
        self.assertIs(self.ended(waiting).status, Status.OK)
        self.assertEqual(self.mail[one].statuses(), ["OK"])
        self.assert_quiet(root, north, south, one)

    def test_what_comes_later_than_uncertain_is_not_told(self) -> None:
        """A message that was reported uncertain has had its word: a late one changes nothing."""
        root, north, south = self.proxies(retry_initial_seconds=0.1)
        one = self.leaf(NORTH + 1)
        # Far enough on its way that the answer is not back when the first link dies.
        self.data_channel(root, south).stall()
        sequence = one.send(SOUTH + 1, b"nobody")
        self.network.settle(0.2)
        self.network.cut(one, north)
        self.network.settle(0.2)
        self.assertEqual(self.mail[one].news, [(SOUTH + 1, sequence, 1, "UNCERTAIN")])
        self.data_channel(root, south).resume()
        self.network.settle(5)
        self.assertEqual(self.mail[one].news, [(SOUTH + 1, sequence, 1, "UNCERTAIN")])
        self.assert_quiet(root, north, south, one)

    def test_news_wait_for_an_origin_that_comes_back(self) -> None:
        """A relay keeps a failure for an origin that is gone, and tells it when it is back."""
        root, north, south = self.proxies(retry_initial_seconds=0.1)
        one = self.leaf(NORTH + 1)
        self.data_channel(root, south).stall()
        self.control_channel(north, one).stall()
        sequence = one.send(SOUTH + 1, b"nobody")
        self.network.settle(0.2)
        self.data_channel(root, south).resume()
        self.network.settle(0.2)
        self.assertEqual(self.mail[one].fates, [])
        self.network.cut(one, north)
        self.network.settle(5)
        self.assertEqual(len(self.mail[one].fates), 1)
        self.assertEqual(self.mail[one].fates[0].first_sequence, sequence)
        self.assert_quiet(root, north, south, one)

    def test_an_origin_that_raised_its_epoch(self) -> None:
        """Failures of what was sent before a registration raised the epoch are heard."""
        root, child = self.pair()
        sequence = child.send(ROOT, b"x")
        self.network.settle()
        before = child.epoch
        child._parts.context.registered_with(before + 7)
        self.assertEqual(child.epoch, before + 8)
        response = DataResponse(
            source=ROOT,
            destination=child.bus_id,
            target=ROOT,
            first_sequence=sequence,
            status=Status.UNCERTAIN,
            gave_up_at=ROOT,
            origin_epoch=before,
        )
        self.say(root, child, response, data=False)
        self.assertEqual(self.mail[child].news, [(ROOT, sequence, 1, "UNCERTAIN")])

    def test_a_connection_anew_is_no_new_life(self) -> None:
        """A node that reconnects keeps its epoch; one that comes back after a crash raises it."""
        root, child = self.pair(retry_initial_seconds=0.1)
        epoch = child.epoch
        for _ in range(3):
            self.network.cut(child, root)
            self.network.settle(2)
            self.assertEqual(child.state, "running")
        self.assertEqual(child.epoch, epoch)
        self.kill(child)
        self.network.settle(0.1)
        again = self.network.node(
            id=child.bus_id, upstream=ROOT_ADDRESS, epoch=epoch, allow_insecure=True
        )
        self.network.start(again)
        self.assertEqual(again.epoch, epoch + 1)
        self.network.stop(again)


class EveryMomentTests(MailTests):
    """A death at every moment of a message's way."""

    def fates_after(self, step: int, hurt: Callable[[list[Node]], None]) -> Counter[str]:
        """
        Send through three relays, hurt somebody after so many quarters of a hop, and judge.

        :returns: How many messages had which fate; delivered ones as ``delivered``.
        """
        root, north, south = self.proxies(retry_initial_seconds=0.05)
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        sequences = []
        for number in range(12):
            with contextlib.suppress(Undeliverable):
                sequences.append(one.send(SOUTH + 1, b"%d" % number))
                sequences.append(one.send(SOUTH + 1, bytes(70_000)))
            if number == 3:
                self.network.settle(step * 0.00025)
                hurt([one, north, root, south, two])
            self.network.settle(0.001)
        self.network.settle(12)
        fates = self.judge(sequences, self.mail[one], self.mail[two])
        living = [node for node in self.nodes if node not in self.dead]
        self.assert_quiet(*living)
        self.tearDown()
        self.setUp()
        return fates

    def judge(self, sequences: list[int], origin: Mailbox, target: Mailbox) -> Counter[str]:
        """Count the fates of messages; none may have two, and none may have none."""
        told = [(f.first_sequence + n, f.status) for f in origin.fates for n in range(f.count)]
        by_sequence = dict(told)
        self.assertEqual(len(told), len(by_sequence), "a message was told of twice")
        received = {letter.sequence for letter in target.letters}
        self.assertEqual(len(target.letters), len(received), "a message arrived twice")
        fates: Counter[str] = Counter()
        for sequence in sequences:
            status = by_sequence.get(sequence)
            if status is None:
                self.assertIn(sequence, received, "a message is lost without a word")
            elif status is not Status.UNCERTAIN:
                self.assertNotIn(sequence, received, f"{status.name}, but it arrived")
            fates["delivered" if status is None else status.name] += 1
        return fates

    def test_a_relay_is_killed(self) -> None:
        """Whenever a relay is killed, each message arrives or is told of, exactly once."""
        for place in (1, 2, 3):
            seen: Counter[str] = Counter()
            for step in range(0, 24, 2):
                seen += self.fates_after(step, partial(self.kill_one, place))
            self.assertTrue(seen["UNCERTAIN"], place)

    def kill_one(self, place: int, nodes: list[Node]) -> None:
        """Kill the node at a place of the way."""
        self.kill(nodes[place])

    def cut_one(self, place: int, nodes: list[Node]) -> None:
        """Cut the link behind a place of the way."""
        self.network.cut(nodes[place], nodes[place + 1])

    def test_the_destination_is_killed(self) -> None:
        """Whenever the destination is killed, each message had arrived or is told of."""
        for step in range(0, 24, 3):
            self.fates_after(step, partial(self.kill_one, 4))

    def test_a_link_is_cut(self) -> None:
        """Whenever a link breaks, each message arrives or is told of, exactly once."""
        for place in range(4):
            for step in range(0, 24, 3):
                self.fates_after(step, partial(self.cut_one, place))
