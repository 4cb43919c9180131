"""What the origin of a message is told, by whom, and how often."""

from __future__ import annotations

from atbus import limits
from atbus.busid import format_bus_id
from atbus.errors import Status, Undeliverable
from atbus.node import bounds as node_bounds
from atbus.node.node import Node
from atbus.wire.messages import Data, DataResponse, Flags
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests
from tests.node.mesh import CROSS, EU1, EU2, MeshTests


class FailureTests(MailTests):
    """Messages that were given up on their way."""

    def test_unknown_targets(self) -> None:
        """
        A child may send to anybody; for a sibling that is not there and for an id that nobody has
        it hears of one failure each.

        Scenario: K11
        """
        root, child = self.pair()
        sibling, foreign = child.send(0x10FFF, b"?"), child.send(0x20000, b"?")
        self.network.settle()
        self.assertEqual(
            self.mail[child].news,
            [(0x10FFF, sibling, 1, "NO_ROUTE"), (0x20000, foreign, 1, "NO_ROUTE")],
        )
        self.assertEqual([fate.gave_up_at for fate in self.mail[child].fates], [ROOT, ROOT])
        self.assertEqual(len(self.responses_on_wire(root, child)), 2)
        self.assert_quiet(root, child)

    def test_a_dead_child_of_another_parent(self) -> None:
        """
        Five messages to a dead child of another proxy are five failures, in that proxy's name; no
        link on the way is blamed.

        Scenario: K12
        """
        nodes = list(self.proxies())
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        one.send(SOUTH + 1, b"alive")
        self.network.settle()
        self.kill(two)
        self.network.settle()
        sequences = []
        for _ in range(5):
            sequences.append(one.send(SOUTH + 1, b"dead"))
            self.network.settle()
        told = [(SOUTH + 1, sequence, 1, "NO_ROUTE") for sequence in sequences]
        self.assertEqual(self.mail[one].news, told)
        self.assertEqual({fate.gave_up_at for fate in self.mail[one].fates}, {SOUTH})
        self.assertEqual(list(one.endpoints), [NORTH])
        self.assertEqual([len(node.endpoints) for node in nodes], [2, 2, 1])
        for node in nodes:
            self.assertEqual(self.diaries[node].errors(), [])
        self.assert_quiet(*nodes, one)

    def test_one_response_for_a_run(self) -> None:
        """Messages that fail together are answered together, and counted one by one."""
        root, child = self.pair()
        sequences = self.send_all(child, 0x10FFF, [b"x"] * 50)
        self.network.settle()
        self.assertEqual(self.mail[child].news, [(0x10FFF, sequences[0], 50, "NO_ROUTE")])
        self.assertEqual(root.statistics.refused[Status.NO_ROUTE], 50)
        self.assertEqual(root.statistics.responses_sent, 1)

    def test_only_who_gives_up_answers(self) -> None:
        """Of all nodes on the way only the one that gave up has written a response of its own."""
        nodes = [*self.proxies(), self.leaf(NORTH + 1)]
        origin = nodes[3]
        origin.send(SOUTH + 9, b"nobody")
        self.network.settle()
        self.assertEqual([node.statistics.responses_sent for node in nodes], [0, 0, 1, 0])
        sources = {response.source for response in self.responses_on_wire(*nodes)}
        self.assertEqual(sources, {SOUTH})
        self.assertEqual(self.mail[origin].statuses(), ["NO_ROUTE"])

    def test_nobody_takes_messages(self) -> None:
        """A node without a receiver answers what it is sent by name, once for each message."""
        root, child = self.pair()
        root.receiver = None
        first = self.send_all(child, ROOT, [b"1", b"2", b"3"])[0]
        self.assertIs(self.ended(child.deliver(ROOT, b"4")), Status.NO_RESPONDERS)
        self.network.settle()
        self.assertEqual(
            self.mail[child].news,
            [(ROOT, first, 3, "NO_RESPONDERS"), (ROOT, first + 3, 1, "NO_RESPONDERS")],
        )
        self.assertEqual(root.statistics.refused[Status.NO_RESPONDERS], 4)


class PeerTests(MeshTests):
    """Proxies that are peers, under one upstream."""

    def with_a_peers_child(self) -> tuple[Node, Node, Node, Node, Node]:
        """
        Start two peers under one upstream, each with a child, and cut the peers off each other.

        :returns: The upstream, the peers, the child of the first one and that of the other.
        """
        peers = {"peer_labels": {"region": "eu"}, "records": []}
        cross = self.mesh_node(CROSS, [], records=[])
        one, other = (self.mesh_node(bus_id, [], **peers) for bus_id in (EU1, EU2))
        leaf, gone = (self.mesh_node(bus_id, [], records=[]) for bus_id in (0x111, 0x112))
        self.network.start(cross, one, other, leaf, gone)
        self.network.settle(5)
        self.assertEqual(one.next_hop(0x112).id, EU2)
        self.network.split(one, other)
        return cross, one, other, leaf, gone

    def test_a_peers_child_is_gone(self) -> None:
        """
        What a peer sends up, because the child that it was for is gone, is refused there; the
        sender, and one below it, are told all the same, by the peer.

        Scenario: K29
        """
        cross, one, other, leaf, gone = self.with_a_peers_child()
        sequences = [node.send(0x112, b"x") for node in (one, leaf)]
        self.kill(gone)
        self.network.settle(2 * limits.CHILD_GRACE_SECONDS)
        self.network.heal(one, other)
        self.network.settle()
        for node, sequence in zip((one, leaf), sequences, strict=True):
            self.assertEqual(self.mail[node].news, [(0x112, sequence, 1, "SOURCE_REFUSED")])
            self.assertEqual(self.mail[node].fates[0].gave_up_at, CROSS)
        for node in (cross, one, other):
            self.assertEqual(node.statistics.responses_dropped, 0)
        self.assert_quiet(cross, one, other, leaf)

    def test_a_command_that_a_peer_may_not_bring(self) -> None:
        """
        The same with a command, when who refuses it knows no way to who asked: whoever has brought
        it tells him, and who refused it is named.
        """
        cross, one, other, leaf, gone = self.with_a_peers_child()
        asking = [node.command(0x112, b"x", timeout=100) for node in (one, leaf)]
        self.kill(gone)
        self.network.split(cross, one)
        self.network.settle(2 * limits.CHILD_GRACE_SECONDS)
        self.network.cut(cross, one)
        self.network.heal(one, other)
        self.network.settle()
        # Each node on the way says it in its own name to whom it got the command from.
        for waiting, told_by in zip(asking, (EU2, EU1), strict=True):
            error = self.failureResultOf(waiting, Undeliverable).value
            self.assertIs(error.status, Status.SOURCE_REFUSED)
            self.assertEqual(error.gave_up_at, told_by)
            self.assertIn(f"{format_bus_id(CROSS)} takes nothing of", error.detail)
        self.assertEqual(other.statistics.responses_dropped, 0)
        self.assertEqual(cross.statistics.responses_dropped, 0)
        self.network.heal(cross, one)
        self.assert_quiet(cross, one, other, leaf)


class SuccessTests(MailTests):
    """Messages whose delivery was asked for."""

    def test_exactly_one_answer(self) -> None:
        """
        A delivery that is to be confirmed is confirmed once, by the destination, with the sequence
        of the message: to a child, to a sibling, and across two proxies.

        Scenario: K14
        """
        _, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        three = self.leaf(SOUTH + 1)
        for sender, target in ((north, one), (one, two), (one, three)):
            with self.subTest(hex(target.bus_id)):
                fate = self.ended(sender.deliver(target.bus_id, b"content"))
                self.network.settle()
                self.assertEqual((fate.status, fate.count), (Status.OK, 1))
                self.assertEqual((fate.target, fate.gave_up_at), (target.bus_id, target.bus_id))
                letter = self.mail[target].letters[-1]
                self.assertEqual(letter.sequence, fate.first_sequence)
                self.assertEqual(letter.payload, b"content")
                self.assertEqual(self.mail[sender].fates, [fate])
                self.mail[sender].fates.clear()
        answered = [node.statistics.responses_sent for node in (one, two, three)]
        self.assertEqual(answered, [1, 1, 1])
        on_wire = self.responses_on_wire(north, one, two)
        self.assertEqual({answer.gave_up_at for answer in on_wire}, {0})
        self.assertEqual(north.statistics.responses_sent, 0)

    def test_success_is_silent(self) -> None:
        """
        Without being asked nobody answers that a message was delivered.

        Scenario: K15
        """
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        self.send_all(nodes[3], SOUTH + 1, [b"x"] * 10)
        self.network.settle()
        self.assertEqual(len(self.mail[nodes[4]].letters), 10)
        self.assertEqual(self.mail[nodes[3]].fates, [])
        self.assertEqual(self.responses_on_wire(*nodes), [])


class WayTests(MailTests):
    """How responses travel."""

    def response(self, origin: Node, **options: object) -> DataResponse:
        """Make a failure of something that *origin* has sent."""
        values = {
            "source": SOUTH + 1,
            "destination": origin.bus_id,
            "target": SOUTH + 1,
            "first_sequence": 7,
            "status": Status.NO_ROUTE,
            "gave_up_at": SOUTH + 1,
            "origin_epoch": origin.epoch,
        }
        return DataResponse(**{**values, **options})  # type: ignore[arg-type]  # mixed values

    def test_responses_have_a_hop_limit(self) -> None:
        """A response gets no further than its hop limit says; nobody answers it."""
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        _, north, south, origin, end = nodes
        self.pretend_sent(origin, SOUTH + 1)
        self.say(end, south, self.response(origin, hop_limit=4), data=False)
        self.assertEqual(len(self.mail[origin].fates), 1)
        self.say(end, south, self.response(origin, hop_limit=3, first_sequence=8), data=False)
        self.assertEqual(len(self.mail[origin].fates), 1)
        self.assertEqual(north.statistics.responses_dropped, 1)
        self.assert_quiet(*nodes)

    def test_a_response_to_a_vanished_origin(self) -> None:
        """
        A response whose destination is gone waits a while where it cannot go on, then it is
        dropped and counted; it goes round in no circle.

        Scenario: K29
        """
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        root, north, south, origin, end = nodes
        self.kill(origin)
        self.network.settle()
        self.say(end, south, self.response(origin), data=False)
        self.assertEqual(north._parts.traffic.courier.parked, 1)
        self.network.settle(limits.PARKED_RESPONSE_SECONDS + 1)
        self.assertEqual(north.statistics.responses_dropped, 1)
        self.assertEqual(len(self.responses_on_wire(root, north, south)), 2)
        self.assert_quiet(root, north, south, end)

    def test_no_more_wait_than_may(self) -> None:
        """Of answers without a way back so many wait; the next one is dropped and counted."""
        self.patch(limits, "PARKED_RESPONSES_MAX", 2)
        root, north, south = self.proxies()
        origin, end = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        self.kill(origin)
        self.network.settle()
        for parked in (1, 2, 2):
            self.say(end, south, self.response(origin), data=False)
            self.network.settle(0.1)
            self.assertEqual(north._parts.traffic.courier.parked, parked)
        self.assertEqual(north.statistics.responses_dropped, 1)
        self.network.settle(limits.PARKED_RESPONSE_SECONDS + 1)
        self.assertEqual(north.statistics.responses_dropped, 3)
        self.assert_quiet(root, north, south, end)

    def test_no_more_bytes_wait_than_may(self) -> None:
        """Of long answers fewer wait; what is there has its room again when it has gone."""
        self.patch(node_bounds, "PARKED_BYTES", 1_000)
        root, north, south = self.proxies()
        origin, end = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        self.kill(origin)
        self.network.settle()
        for _ in range(2):
            for parked in (1, 2, 2):
                answer = self.response(origin, detail="x" * 250)
                self.say(end, south, answer, data=False)
                self.network.settle(0.1)
                self.assertEqual(north._parts.traffic.courier.parked, parked)
            self.network.settle(limits.PARKED_RESPONSE_SECONDS + 1)
        self.assertEqual(north.statistics.responses_dropped, 6)
        self.assert_quiet(root, north, south, end)

    def test_a_response_waits_for_its_origin(self) -> None:
        """A failure that has no way back is told when the origin is there again."""
        root, north, south = self.proxies(retry_initial_seconds=0.1)
        origin = self.leaf(NORTH + 1)
        self.network.split(south, root)
        sequence = origin.send(SOUTH + 9, b"nobody there")
        self.network.settle(0.2)
        self.network.split(north, origin)
        self.network.heal(south, root)
        self.network.settle(0.2)
        self.assertEqual(self.mail[origin].fates, [])
        self.network.heal(north, origin)
        self.network.settle()
        self.assertEqual(self.mail[origin].news, [(SOUTH + 9, sequence, 1, "NO_ROUTE")])
        self.assert_quiet(root, north, south, origin)

    def test_news_of_another_life_are_ignored(self) -> None:
        """A failure of a message that an earlier life of this id has sent is not told."""
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        _, _, south, origin, end = nodes
        self.pretend_sent(origin, SOUTH + 1)
        earlier = self.response(origin, origin_epoch=origin.epoch - 1)
        self.say(end, south, earlier, data=False)
        self.assertEqual(self.mail[origin].fates, [])

    def test_a_failure_is_told_once(self) -> None:
        """News that come a second time, from whomever and about whatever part, change nothing."""
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        _, _, south, origin, end = nodes
        self.pretend_sent(origin, SOUTH + 1)
        for first, count, source in ((5, 3, SOUTH + 1), (5, 3, SOUTH + 1), (6, 1, SOUTH + 1)):
            response = self.response(origin, first_sequence=first, count=count, source=source)
            self.say(end, south, response, data=False)
        wider = self.response(origin, first_sequence=3, count=6, status=Status.UNCERTAIN)
        self.say(end, south, wider, data=False)
        self.assertEqual(
            self.mail[origin].news,
            [
                (SOUTH + 1, 5, 3, "NO_ROUTE"),
                (SOUTH + 1, 3, 2, "UNCERTAIN"),
                (SOUTH + 1, 8, 1, "UNCERTAIN"),
            ],
        )
        self.assertEqual(origin.statistics.refused[Status.NO_ROUTE], 3)
        self.assertEqual(origin.statistics.uncertain_messages, 3)

    def test_news_about_what_was_not_sent(self) -> None:
        """News cannot be about messages that do not exist yet; the next ones have their own."""
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        _, _, south, origin, end = nodes
        first = origin.send(SOUTH + 1, b"1")
        waiting = origin.deliver(SOUTH + 1, b"2", timeout=2)
        self.network.freeze(end)
        self.network.settle(0.1)
        self.network.thaw(end)
        for begin in (first, first + 50):
            endless = self.response(origin, first_sequence=begin, count=2**32 - 1)
            self.say(end, south, endless, data=False)
        self.assertEqual(self.mail[origin].statuses().count("NO_ROUTE"), 1)
        self.assertIs(self.ended(waiting).status, Status.OK)
        self.network.stop(end)
        self.network.settle()
        sequence = origin.send(SOUTH + 1, b"3")
        self.network.settle()
        self.assertEqual(self.mail[origin].news[-1], (SOUTH + 1, sequence, 1, "NO_ROUTE"))

    def test_success_is_the_destinations_word(self) -> None:
        """That a message was delivered is believed from its destination and from nobody else."""
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        _, _, south, origin, end = nodes
        self.network.freeze(end)
        sequence = origin.send(SOUTH + 1, b"x")
        self.network.settle(0.1)
        for source in (SOUTH, SOUTH + 1):
            confirmed = self.response(
                origin, source=source, first_sequence=sequence, status=Status.OK, gave_up_at=0
            )
            self.say(south, nodes[0], confirmed, data=False)
            self.assertEqual(len(self.mail[origin].fates), int(source == SOUTH + 1))
        self.network.thaw(end)
        self.network.settle()

    def test_a_run_with_flags_is_answered_one_by_one(self) -> None:
        """In a run whose messages are to be confirmed each is, also when another node made it."""
        _, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        run = Data(
            source=NORTH + 1,
            destination=NORTH + 2,
            sequence=50,
            epoch=one.epoch,
            flags=Flags.ANSWER,
            messages=((0, b"a"), (0, b"b")),
        )
        self.pretend_sent(one, NORTH + 2)
        self.say(one, north, run)
        self.assertEqual(self.mail[two].payloads, [b"a", b"b"])
        self.assertEqual(self.mail[one].news, [(NORTH + 2, 50, 1, "OK"), (NORTH + 2, 51, 1, "OK")])
