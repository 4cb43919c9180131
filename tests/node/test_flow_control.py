"""One that does not take its messages, and all the others."""

from __future__ import annotations

import gc
import json
import weakref
from collections import Counter

from atbus import limits
from atbus.busid import format_bus_id
from atbus.node.node import Node
from atbus.wire.messages import Flow, FlowAction, FlowScope, MessageType
from tests.node.bus import ROOT_ADDRESS
from tests.node.flow_case import HARD, SMALL, FlowCase
from tests.node.mail import NORTH, ROOT, SOUTH, Receiving


class ChainTests(FlowCase):
    """From an origin over three hops to a destination."""

    def push(self, one: Node, target: int, size: int, seconds: float = 1.0) -> list[int]:
        """Send as much as is accepted for a while; the numbers of what was."""
        accepted = []
        number = 0
        end = self.network.clock.seconds() + seconds
        while self.network.clock.seconds() < end:
            number += 1
            if self.offer(one, target, self.number(number, size)):
                accepted.append(number)
            self.network.settle(0.001)
        return accepted

    def arrived(self, node: Node) -> list[int]:
        """Give the numbers of what a node has received, in order."""
        return [int.from_bytes(p[:4], "little") for p in self.mail[node].payloads]

    def test_the_pause_reaches_the_origin_and_nothing_is_lost(self) -> None:
        """
        Over three hops the word comes back to who sends; all that was accepted arrives, in order.

        Scenario: D19, D20
        """
        root, north, south, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        self.data_channel(south, two).stall()
        accepted = self.push(one, SOUTH + 1, 5_000)
        self.assertLess(len(accepted), 200)
        self.assertEqual(self.mail[one].fates, [])
        self.assertEqual(self.refused(one, SOUTH + 1), "BACKPRESSURE")
        for node in (one, north, root):
            self.assertEqual(node.statistics.pauses_received, 1)
        held = [node.endpoints[n].data_link for node, n in ((north, ROOT), (root, SOUTH))]
        self.assertTrue(all(link is not None and link.queued_bytes < HARD / 2 for link in held))
        self.data_channel(south, two).resume()
        self.network.settle(0.5)
        self.assertEqual(self.arrived(two), accepted)
        more = self.push(one, SOUTH + 1, 100)
        self.network.settle()
        self.assertGreaterEqual(len(more), 1000)
        self.assertEqual(self.mail[one].fates, [])
        self.assert_quiet(root, north, south, one, two)

    def test_what_waits_can_be_seen(self) -> None:
        """The list of links tells what waits, and which destinations are paused."""
        _, north, south, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        self.data_channel(south, two).stall()
        self.push(one, SOUTH + 1, 5_000)
        (line,) = self.ended(one.command(NORTH, b"atbus.links"), 1)
        rows = {(row["id"], row["role"]): row for row in json.loads(line)}
        row = rows[format_bus_id(ROOT), "data"]
        self.assertEqual((row["paused"], row["slow"]), (1, False))
        self.assertGreater(row["waiting"], 0)
        self.assertGreater(row["queued_bytes"], 5_000)
        (line,) = self.ended(one.command(SOUTH, b"atbus.links"), 1)
        rows = {(row["id"], row["role"]): row for row in json.loads(line)}
        self.assertTrue(rows[format_bus_id(SOUTH + 1), "data"]["slow"])
        self.data_channel(south, two).resume()
        self.assertEqual(north.statistics.pauses_sent, 1)

    def test_short_messages_are_counted_by_frames(self) -> None:
        """Frames of a few bytes are paused before they fill the window of the links behind."""
        root, north, south, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        self.network.freeze(two)
        accepted = self.push(one, SOUTH + 1, 4, seconds=4)
        self.assertTrue(1_000 < len(accepted) < limits.DESTINATION_FRAMES_SOFT + 100)
        link = one.endpoints[NORTH].data_link
        assert link is not None
        self.assertLess(len(link.outgoing), limits.UNACKNOWLEDGED_FRAMES_MAX / 4)
        self.network.thaw(two)
        self.network.settle(0.5)
        self.assertEqual(self.arrived(two), accepted)
        self.assertEqual(self.mail[one].fates, [])
        self.assert_quiet(root, north, south, one, two)

    def test_a_link_that_dies_forgets_what_was_paused_over_it(self) -> None:
        """The next one begins anew, and is told when it feeds what is still congested."""
        root, north, south, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        self.data_channel(south, two).stall()
        self.push(one, SOUTH + 1, 5_000)
        told = one.statistics.pauses_received
        self.network.cut(one, north)
        self.network.settle(3)
        self.assertTrue(self.offer(one, SOUTH + 1, self.number(5, 5_000)))
        self.network.settle(0.1)
        self.assertEqual(self.refused(one, SOUTH + 1), "BACKPRESSURE")
        self.assertEqual(one.statistics.pauses_received, told + 1)
        self.data_channel(south, two).resume()
        self.network.settle(1)
        one.send(SOUTH + 1, b"on")
        self.network.settle()
        self.assertEqual(self.mail[two].payloads[-1], b"on")
        self.assert_quiet(root, north, south, one, two)

    def test_a_new_control_connection_is_told_again(self) -> None:
        """What is paused stays so although the word for it was lost with its connection."""
        _, north, south, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        self.data_channel(south, two).stall()
        self.push(one, SOUTH + 1, 5_000)
        pressure = one._parts.pressure
        self.assertTrue(pressure.is_paused(NORTH, SOUTH + 1))
        pressure.control_lost(one.endpoints[NORTH])
        self.assertFalse(pressure.is_paused(NORTH, SOUTH + 1))
        north._parts.pressure.control_up(north.endpoints[NORTH + 1])
        self.network.settle(0.1)
        self.assertTrue(pressure.is_paused(NORTH, SOUTH + 1))
        self.data_channel(south, two).resume()
        self.network.settle()
        self.assertFalse(pressure.is_paused(NORTH, SOUTH + 1))

    def test_the_destination_goes_away(self) -> None:
        """When what was paused is gone, its senders are told so: by fates, and not to wait."""
        _, _, south, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        self.data_channel(south, two).stall()
        accepted = self.push(one, SOUTH + 1, 5_000)
        waiting = one.writable(SOUTH + 1)
        self.kill(two)
        self.network.settle(2)
        self.assertEqual(len(self.mail[one].statuses()), len(accepted))
        self.assertIsNone(self.ended(waiting))
        one.send(SOUTH + 1, b"x")
        self.network.settle(1)
        self.assertEqual(self.mail[one].statuses()[-1], "NO_ROUTE")

    def test_replies_are_not_paused(self) -> None:
        """A node that takes no messages still gets the answers to its questions."""
        _, _, _, (two,) = self.chain()
        one = self.leaf(NORTH + 1)
        one.on_request(lambda _source, question: b"re " + question)
        two.pause()
        self.push(one, SOUTH + 1, 10, seconds=0.05)
        self.assertEqual(self.refused(one, SOUTH + 1), "BACKPRESSURE")
        other = self.leaf(NORTH + 2)
        other.on_request(lambda _source, question: b"re " + question)
        self.assertEqual(self.ended(two.request(NORTH + 2, b"you")), b"re you")
        two.resume()
        self.network.settle()
        self.assertEqual(self.ended(two.request(NORTH + 1, b"you")), b"re you")


class FiftyTests(FlowCase):
    """One destination of fifty is stuck."""

    turns = 400

    def rates(self, *, stuck: bool) -> Counter[int]:
        """Send to fifty destinations in turn for a while; what each has received."""
        _, _, south, targets = self.chain(50)
        one = self.leaf(NORTH + 1, **SMALL)
        if stuck:
            self.data_channel(south, targets[7]).stall()
        refused: Counter[int] = Counter()
        for number in range(self.turns):
            for target in targets:
                if not self.offer(one, target.bus_id, self.number(number, 600)):
                    refused[target.bus_id] += 1
            self.network.settle(0.001)
        self.network.settle(0.02)
        received = Counter({node.bus_id: len(self.mail[node].letters) for node in targets})
        self.assertEqual(set(refused), {targets[7].bus_id} if stuck else set())
        self.assertEqual(set(self.mail[one].statuses()), set())
        if stuck:
            self.data_channel(south, targets[7]).resume()
            self.network.settle()
            bus_id = targets[7].bus_id
            self.assertEqual(len(self.mail[targets[7]].letters), self.turns - refused[bus_id])
            del received[bus_id]
        return received

    def test_the_others_keep_their_rate(self) -> None:
        """
        Forty-nine get everything while one is stuck, and nothing for them is refused.

        Scenario: D20
        """
        received = self.rates(stuck=True)
        self.assertEqual(len(received), 49)
        self.assertGreaterEqual(min(received.values()), 0.9 * self.turns)

    def test_without_one_that_is_stuck(self) -> None:
        """The measure for the test above: nothing is refused to anybody."""
        self.assertEqual(set(self.rates(stuck=False).values()), {self.turns})


class NeighborTests(FlowCase):
    """What two neighbors say to each other."""

    def say_flow(
        self, node: Node, other: Node, action: FlowAction, subject: int, **scope: FlowScope
    ) -> None:
        """Make a node say FLOW to another one."""
        word = Flow(
            source=node.bus_id,
            action=action,
            scope=scope.get("scope", FlowScope.DESTINATION),
            subject_id=subject,
        )
        self.say(node, other, word, data=False)

    def test_only_the_destination_is_paused(self) -> None:
        """A pause stops one destination; the others, and control, go on as before."""
        _, north, _ = self.proxies(direct_notice=False)
        one, two, three = (self.leaf(NORTH + n) for n in (1, 2, 3))
        self.say_flow(north, one, FlowAction.PAUSE, NORTH + 2)
        self.assertEqual(self.refused(one, NORTH + 2), "BACKPRESSURE")
        one.send(NORTH + 3, b"x")
        one.send(NORTH, b"y")
        self.assertEqual(len(self.ended(one.command(NORTH + 2, b"atbus.ping"))), 1)
        self.say_flow(north, one, FlowAction.RESUME, NORTH + 2)
        one.send(NORTH + 2, b"z")
        self.network.settle()
        self.assertEqual([len(self.mail[n].letters) for n in (north, two, three)], [1, 1, 1])

    def test_resume_without_pause(self) -> None:
        """Words that say nothing new change nothing."""
        _, north, _ = self.proxies()
        one = self.leaf(NORTH + 1)
        for action in (FlowAction.RESUME, FlowAction.PAUSE, FlowAction.PAUSE, FlowAction.RESUME):
            self.say_flow(north, one, action, NORTH + 2)
        self.assertEqual(one.statistics.pauses_received, 1)
        self.assertEqual(self.ended(one.writable(NORTH + 2)), None)

    def test_a_neighbor_that_takes_nothing(self) -> None:
        """A pause of all that passes a neighbor stops everything through it, until it resumes."""
        _, north, _ = self.proxies()
        one = self.leaf(NORTH + 1)
        self.say_flow(north, one, FlowAction.PAUSE, NORTH, scope=FlowScope.NEXT_HOP)
        for target in (NORTH, SOUTH, NORTH + 2):
            self.assertEqual(self.refused(one, target), "BACKPRESSURE")
        waiting = one.writable(NORTH)
        self.say_flow(north, one, FlowAction.RESUME, NORTH, scope=FlowScope.NEXT_HOP)
        self.assertIsNone(self.ended(waiting, 1))
        one.send(NORTH, b"x")
        self.network.settle()
        self.assertEqual(self.mail[north].payloads, [b"x"])

    def test_a_new_data_connection_knows_what_is_paused(self) -> None:
        """What a neighbor has paused stays so when only its data connection is another one."""
        _, north, _ = self.proxies()
        one = self.leaf(NORTH + 1)
        self.say_flow(north, one, FlowAction.PAUSE, SOUTH)
        self.data_channel(one, north).abort("cut")
        self.network.settle(2)
        self.assertEqual(self.refused(one, SOUTH), "BACKPRESSURE")
        link = one.endpoints[NORTH].data_link
        assert link is not None
        self.assertEqual(link.sluice.backlog.paused, {SOUTH})
        self.say_flow(north, one, FlowAction.PAUSE, NORTH, scope=FlowScope.NEXT_HOP)
        self.data_channel(one, north).abort("cut")
        self.network.settle(2)
        link = one.endpoints[NORTH].data_link
        assert link is not None
        self.assertTrue(link.sluice.backlog.shut)
        self.control_channel(one, north).abort("cut")
        self.network.settle(2)
        for target in (NORTH, SOUTH):
            one.send(target, b"x")

    def test_a_neighbor_that_does_not_obey(self) -> None:
        """
        Who goes on sending meets the hard limit: refused by name, and never silently.

        Scenario: D19
        """
        _, north, _ = self.proxies(direct_notice=False, **SMALL)
        one, two, three = (self.leaf(NORTH + n) for n in (1, 2, 3))
        # It does not understand the word.
        del one._parts.registrar.readers[MessageType.FLOW]
        self.data_channel(north, two).stall()
        sequences = []
        for number in range(300):
            sequences.append(one.send(NORTH + 2, self.number(number, 5_000)))
            one.send(NORTH + 3, b"x")
            self.network.settle(0.002)
        self.assertGreater(one.statistics.ignored_frames, 0)
        told = {fate.first_sequence for fate in self.mail[one].fates}
        self.assertEqual(set(self.mail[one].statuses()), {"BUFFER_LIMIT"})
        self.assertEqual(len(self.mail[three].letters), 300)
        link = north.endpoints[NORTH + 2].data_link
        assert link is not None
        self.assertLessEqual(link.queued_bytes, HARD)
        behind_max = HARD * limits.QUEUED_BEHIND_FACTOR
        self.assertLessEqual(link.sluice.uncounted_bytes, behind_max)
        self.data_channel(north, two).resume()
        self.network.settle()
        arrived = [letter.sequence for letter in self.mail[two].letters]
        self.assertEqual(arrived, [each for each in sequences if each not in told])

    def test_a_neighbor_that_does_not_obey_in_short_words(self) -> None:
        """
        However short they are, a destination that is stuck has so many frames open here: the next
        are refused by name.
        """
        self.patch(limits, "DESTINATION_FRAMES_SOFT", 100)
        _, north, _ = self.proxies(direct_notice=False)
        one, two = (self.leaf(NORTH + n) for n in (1, 2))
        del one._parts.registrar.readers[MessageType.FLOW]
        self.network.freeze(two)
        for number in range(300):
            one.send(NORTH + 2, self.number(number, 4))
            self.network.settle(0.002)
        most = 100 * limits.DESTINATION_FRAMES_HARD_FACTOR
        self.assertEqual(north._parts.pressure.passages[NORTH + 2].frames, most)
        self.assertEqual(self.mail[one].statuses(), ["BUFFER_LIMIT"] * (300 - most))

    def test_a_neighbor_that_has_gone(self) -> None:
        """Nothing of a neighbor is kept after its end, though something has passed to it."""
        # Nobody keeps a diary of these.
        usual = {"allow_insecure": True, "direct_notice": False}
        relay = self.network.node(id=ROOT, subnets=[(0, 16)], listen=[ROOT_ADDRESS], **usual)
        one, two = (
            self.network.node(id=ROOT + number, upstream=ROOT_ADDRESS, **usual) for number in (1, 2)
        )
        got: list[bytes] = []
        two.receiver = Receiving(lambda _, payload: got.append(payload))
        for node in (relay, one, two):
            self.network.start(node)
        one.send(ROOT + 2, b"hello")
        self.network.settle()
        self.assertEqual(got, [b"hello"])
        known = weakref.ref(relay.endpoints[ROOT + 2])
        self.network.stop(two)
        # What was to be done about it later has been done, too.
        self.network.settle(60.0)
        gc.collect()
        self.assertIsNone(known())
        self.network.stop(one, relay)

    def test_what_was_on_its_way_has_room(self) -> None:
        """
        What was sent before the word to pause was heard arrives, and takes no room from others.

        Scenario: D19
        """
        _, north, south, (two, three) = self.chain(2)
        one = self.leaf(NORTH + 1)
        self.data_channel(south, two).stall()
        self.control_channel(north, one).stall()
        for number in range(200):
            one.send(two.bus_id, self.number(number, 5_000))
            self.network.settle(0.002)
        link = north.endpoints[ROOT].data_link
        assert link is not None
        self.assertGreater(link.sluice.backlog.queued_bytes, HARD)
        for node in (north, one):
            node.send(three.bus_id, b"x")
        self.network.settle(0.01)
        self.assertEqual(len(self.mail[three].letters), 2)
        self.control_channel(north, one).resume()
        self.network.settle(0.01)
        self.assertEqual(self.refused(one, two.bus_id), "BACKPRESSURE")
        self.data_channel(south, two).resume()
        self.network.settle()
        numbers = [self.number(number, 5_000) for number in range(200)]
        self.assertEqual(self.mail[two].payloads, numbers)
        self.assertEqual(self.mail[one].statuses(), [])
        self.assertEqual(link.sluice.uncounted_bytes, 0)

    def test_two_relays_cannot_stall_each_other(self) -> None:
        """
        Relays that feed each other, both with somebody stuck behind them, serve all the others.

        Scenario: D20
        """
        root, north, south = self.proxies(direct_notice=False, **SMALL)
        norths = [self.leaf(NORTH + n, **SMALL) for n in range(1, 5)]
        souths = [self.leaf(SOUTH + n, **SMALL) for n in range(1, 5)]
        self.data_channel(north, norths[0]).stall()
        self.data_channel(south, souths[0]).stall()
        accepted: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        for number in range(400):
            for senders, targets in ((norths, souths), (souths, norths)):
                for sender in senders[1:]:
                    for target in (targets[0], targets[1 + number % 3]):
                        taken = self.offer(sender, target.bus_id, self.number(number, 2_000))
                        (accepted if taken else refused)[target.bus_id] += 1
            self.network.settle(0.001)
        self.network.settle(0.1)
        for node in (*norths[1:], *souths[1:]):
            self.assertEqual(len(self.mail[node].letters), accepted[node.bus_id])
            self.assertEqual(refused[node.bus_id], 0)
            self.assertEqual(self.mail[node].fates, [])
        for relay, leaf in ((north, norths[0]), (south, souths[0])):
            self.data_channel(relay, leaf).resume()
        self.network.settle()
        for node in (norths[0], souths[0]):
            self.assertEqual(len(self.mail[node].letters), accepted[node.bus_id])
        self.assert_quiet(root, north, south, *norths, *souths)
