"""What relays do with frames that are for others."""

from __future__ import annotations

import itertools
from typing import Any

from atbus import limits
from atbus.errors import Status
from atbus.node.current import Delivery
from atbus.node.node import Node
from atbus.wire import codec
from atbus.wire.head import peek
from atbus.wire.messages import (
    CommandRequest,
    Data,
    DataResponse,
    Extra,
    ExtraType,
    Flags,
    MessageType,
)
from tests.node.bus import ROOT_ADDRESS
from tests.node.mail import NORTH, NORTH_ADDRESS, ROOT, SOUTH, SOUTH_ADDRESS, MailTests
from tests.node.stranger import Stranger


class TreeTests(MailTests):
    """Ways through the tree."""

    def test_between_siblings(self) -> None:
        """
        Children of one node talk through it; without an address of the other they keep doing so.

        Scenario: K4
        """
        _, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        for turn in range(3):
            one.send(NORTH + 2, b"%d" % turn)
            self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"0", b"1", b"2"])
        self.assertEqual(north.statistics.forwarded_messages, 3)
        self.assertEqual((list(one.endpoints), list(two.endpoints)), ([NORTH], [NORTH]))

    def test_between_children_of_connected_proxies(self) -> None:
        """
        Over two relays that know each other, a message takes their connection; nobody else dials.

        Scenario: K5
        """
        north = self.node(NORTH, listen=[NORTH_ADDRESS], subnets=[(0, 8)])
        south = self.node(SOUTH, listen=[SOUTH_ADDRESS], subnets=[(0, 8)])
        self.network.start(north, south)
        self.network.result_of(north.connect(SOUTH_ADDRESS))
        one = self.leaf(NORTH + 1, listens=True)
        two = self.leaf(SOUTH + 1, listens=True)
        one.send(SOUTH + 1, b"there")
        two.send(NORTH + 1, b"and back")
        self.network.settle(5)
        self.assertEqual(self.mail[two].payloads, [b"there"])
        self.assertEqual(self.mail[one].payloads, [b"and back"])
        self.assertEqual((list(one.endpoints), list(two.endpoints)), ([NORTH], [SOUTH]))

    def test_everybody_with_everybody(self) -> None:
        """
        Each pair of a tree of three levels exchanges messages in both directions.

        Scenario: K26
        """
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(NORTH + 2), self.leaf(SOUTH + 1)]
        for one, other in itertools.product(nodes, nodes):
            one.send(other.bus_id, b"%x" % one.bus_id)
        self.network.settle()
        for node in nodes:
            expected = sorted(b"%x" % other.bus_id for other in nodes)
            self.assertEqual(sorted(self.mail[node].payloads), expected)
            self.assertEqual(self.mail[node].fates, [])
        self.assert_quiet(*nodes)

    def test_order_of_a_flow(self) -> None:
        """
        Messages of one flow stay in order over all relays, whatever else these pass on.

        Scenario: K22
        """
        self.proxies()
        senders = [self.leaf(NORTH + number) for number in (1, 2, 3)]
        target = self.leaf(SOUTH + 1)
        for number in range(50):
            for sender in senders[: number % 3 + 1]:
                sender.send(SOUTH + 1, b"%d" % number)
            if number % 4 == 0:
                self.network.settle(0.001)
        self.network.settle()
        for place, sender in enumerate(senders):
            expected = [b"%d" % number for number in range(50) if number % 3 >= place]
            self.assertEqual(self.mail[target].payloads_from(sender.bus_id), expected)

    def test_a_run_passes_whole(self) -> None:
        """A relay passes a run on as it is: the head's link fields change, and nothing else."""
        root, north, south = self.proxies()
        one, _ = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        for number in range(10):
            one.send(SOUTH + 1, b"%d" % number, number)
        self.network.settle()
        before = self.raw(one, north)
        after = self.raw(north, root)
        self.assertEqual((len(before), len(after)), (1, 1))
        self.assertEqual(after[0][48:], before[0][48:])
        first, second = list(peek(before[0])), list(peek(after[0]))
        self.assertEqual((first[3], second[3]), (16, 15))
        for link_field in (3, 9, 12):
            first[link_field] = second[link_field] = 0
        self.assertEqual(second, first)
        self.assertEqual(south.statistics.forwarded_messages, 10)
        self.assertEqual(south.statistics.forwarded_frames, 1)

    def raw(self, node: Node, other: Node) -> list[bytes]:
        """Give the DATA frames that one node has written to another."""
        sent = self.data_channel(node, other).sent
        return [frame for frame in sent if peek(frame)[1] == MessageType.DATA]

    def test_never_back_up(self) -> None:
        """
        A message from above for a child that is not there is answered, not sent up again.

        Scenario: K19
        """
        root, north, _ = self.proxies()
        sequence = root.send(NORTH + 1, b"nobody")
        self.network.settle()
        self.assertEqual(self.mail[root].news, [(NORTH + 1, sequence, 1, "NO_ROUTE")])
        self.assertEqual(self.mail[root].fates[0].gave_up_at, NORTH)
        self.assertEqual(self.raw(north, root), [])

    def test_no_upstream_is_obeyed_by_relays(self) -> None:
        """
        A message that may not use default routes is given up by the relay that has nothing else.

        Scenario: K28
        """
        root, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        # Its upstream is the only neighbor that it has: such a message does not even begin.
        self.assertEqual(self.refused(one, NORTH + 2, no_upstream=True), "NO_ROUTE")
        root.send(NORTH + 2, b"down", no_upstream=True)
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"down"])
        self.pretend_sent(one, SOUTH)
        for target in (NORTH + 2, SOUTH):
            run = Data(
                source=NORTH + 1,
                destination=target,
                sequence=target,
                epoch=one.epoch,
                flags=Flags.NO_UPSTREAM,
                messages=((0, b"by hand"),),
            )
            self.say(one, north, run)
        self.assertEqual(self.mail[two].payloads, [b"down", b"by hand"])
        self.assertEqual(self.mail[one].news, [(SOUTH, SOUTH, 1, "NO_ROUTE")])


class HopTests(MailTests):
    """How far a message goes, and where it has been."""

    def chain(self, length: int) -> list[Node]:
        """Start nodes below each other; the first is the root."""
        nodes: list[Node] = []
        for place in range(length):
            address = f"ipv4://10.1.0.{place + 1}:1"
            upstream = {"upstream": f"ipv4://10.1.0.{place}:1"} if place else {}
            node = self.node(
                self.chain_id(place), listen=[address], subnets=[(0, 40 - 2 * place)], **upstream
            )
            self.network.start(node)
            nodes.append(node)
        self.network.settle()
        return nodes

    @staticmethod
    def chain_id(place: int) -> int:
        """Give ids that lie inside each other's ranges: a node's is a quarter of the one above."""
        return (1 << 40) + sum(1 << (40 - 2 * above) for above in range(1, place + 1))

    def test_the_hop_limit(self) -> None:
        """A message crosses 15 relays and no more; the sixteenth rejects it, in its own name."""
        nodes = self.chain(18)
        origin = nodes[17]
        far, too_far = nodes[1], nodes[0]
        origin.send(far.bus_id, b"15 relays")
        sequence = origin.send(too_far.bus_id, b"16 relays")
        self.network.settle(5)
        self.assertEqual(self.mail[far].payloads, [b"15 relays"])
        self.assertEqual(self.mail[too_far].payloads, [])
        self.assertEqual(self.mail[origin].news, [(too_far.bus_id, sequence, 1, "HOP_LIMIT")])
        self.assertEqual(self.mail[origin].fates[0].gave_up_at, far.bus_id)

    def test_a_hop_limit_of_its_own(self) -> None:
        """The sender may allow fewer relays than usual."""
        nodes = self.chain(4)
        origin, target = nodes[3], nodes[0]
        for hops in (1, 2, 3):
            origin.send(target.bus_id, b"%d" % hops, hop_limit=hops)
        self.network.settle()
        self.assertEqual(self.mail[target].payloads, [b"3"])
        self.assertEqual(self.mail[origin].statuses(), ["HOP_LIMIT", "HOP_LIMIT"])
        gave_up = [fate.gave_up_at for fate in self.mail[origin].fates]
        self.assertEqual(gave_up, [nodes[2].bus_id, nodes[1].bus_id])

    def test_commands_and_responses_have_a_hop_limit(self) -> None:
        """What is not data obeys the limit as well: a command gets no further than it may."""
        nodes = self.chain(18)
        far, too_far, origin = nodes[1], nodes[0], nodes[17]
        refusal = self.ended(origin.command(too_far.bus_id, b"atbus.ping"))
        self.assertIs(refusal, Status.HOP_LIMIT)
        self.assertEqual(len(self.ended(origin.command(far.bus_id, b"atbus.ping"))), 1)

    def delivered(self, node: Node) -> list[Delivery]:
        """Keep what a node knows of each message it is given from now on."""
        seen: list[Delivery] = []

        class Watching:
            def message_received(self, *_: Any) -> None:
                assert node.current is not None
                seen.append(node.current)

        node.receiver = Watching()  # type: ignore[assignment]  # enough of one
        return seen

    def test_the_path_of_a_traced_message(self) -> None:
        """
        A message that is traced arrives with its path: the sender, then each relay in order.

        Scenario: K17
        """
        self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        seen = self.delivered(two)
        one.send(SOUTH + 1, b"traced", trace=True)
        one.send(SOUTH + 1, b"plain")
        two.send(SOUTH + 1, b"self", trace=True)
        self.network.settle()
        by_path = {delivery.path: delivery for delivery in seen}
        path = (NORTH + 1, NORTH, ROOT, SOUTH)
        self.assertEqual(set(by_path), {path, (), (SOUTH + 1,)})
        self.assertEqual((by_path[path].hops, by_path[()].hops), (3, 3))
        self.assertEqual(by_path[(SOUTH + 1,)].hops, 0)
        self.assertEqual(by_path[path].neighbor, SOUTH)
        self.assertEqual(by_path[path].epoch, one.epoch)
        self.assertIsNone(two.current)

    def test_the_ways_of_a_tree(self) -> None:
        """
        Each pair of nodes of a tree talks over the shortest way that the tree has.

        Scenario: CC1, V11
        """
        root, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        far = self.leaf(SOUTH + 1)
        ways = [
            (one, north, (NORTH + 1,)),
            (north, one, (NORTH,)),
            (one, two, (NORTH + 1, NORTH)),
            (one, root, (NORTH + 1, NORTH)),
            (root, two, (ROOT, NORTH)),
            (one, far, (NORTH + 1, NORTH, ROOT, SOUTH)),
            (north, far, (NORTH, ROOT, SOUTH)),
        ]
        for source, target, path in ways:
            with self.subTest(f"{source.bus_id:x} to {target.bus_id:x}"):
                seen = self.delivered(target)
                source.send(target.bus_id, b"x", trace=True)
                self.network.settle()
                self.assertEqual([delivery.path for delivery in seen], [path])
                self.assertEqual((seen[0].source, seen[0].neighbor), (path[0], path[-1]))
                self.assertEqual(seen[0].hops, len(path) - 1)

    def test_tracing_never_costs_a_message(self) -> None:
        """A traced message that fills its frame arrives, with as much of its path as fits."""
        self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        seen = self.delivered(two)
        for size in range(65_400, 65_480, 8):
            one.send(SOUTH + 1, bytes(size), trace=True)
        self.network.settle()
        self.assertEqual(len(seen), 10)
        self.assertEqual(seen[0].path[0], NORTH + 1)


class ForgeryTests(MailTests):
    """Neighbors that speak for others."""

    def forged(self, source: int, target: int, **options: Any) -> Data:
        """Make a run in somebody's name."""
        return Data(
            source=source, destination=target, sequence=5, messages=((0, b"forged"),), **options
        )

    def test_a_child_speaks_for_its_own_range_only(self) -> None:
        """A child may send in the name of what is below it; other sources are refused, by name."""
        root, north, south = self.proxies()
        two = self.leaf(SOUTH + 1)
        self.say(north, root, self.forged(NORTH + 7, SOUTH + 1))
        self.assertEqual(self.mail[two].payloads, [b"forged"])
        for source in (SOUTH, SOUTH + 2, ROOT, 0x30000):
            with self.subTest(hex(source)):
                self.say(north, root, self.forged(source, SOUTH + 1))
        self.network.settle(limits.UNVERIFIED_SECONDS)
        self.assertEqual(self.mail[two].payloads, [b"forged"])
        self.assertEqual(root.statistics.refused[Status.SOURCE_REFUSED], 4)
        answers = self.frames(self.control_channel(root, north), MessageType.DATA_RESPONSE)
        self.assertEqual({answer.status for answer in answers}, {Status.SOURCE_REFUSED})
        self.assertEqual(self.mail[south].fates + self.mail[root].fates, [])
        self.assertEqual(sorted(root.endpoints), [NORTH, SOUTH])

    def test_an_upstream_does_not_speak_for_what_is_ours(self) -> None:
        """Nobody above a node sends in the name of the node itself or of what is below it."""
        root, north, _ = self.proxies()
        leaf = self.leaf(NORTH + 1)
        for source in (NORTH, NORTH + 1, NORTH + 2):
            with self.subTest(hex(source)):
                self.say(root, north, self.forged(source, NORTH + 1))
        self.say(root, north, self.forged(0x777777, NORTH + 1))
        self.assertEqual(self.mail[leaf].payloads, [b"forged"])
        self.assertEqual(north.statistics.refused[Status.SOURCE_REFUSED], 3)

    def test_forged_commands_are_not_executed(self) -> None:
        """A command in the name of somebody that the neighbor may not speak for is refused."""
        root, north, _ = self.proxies()
        executed: list[int] = []
        root.on_command(lambda source, words: executed.append(source))
        for source, expected in ((NORTH + 3, [NORTH + 3]), (SOUTH, []), (ROOT, [])):
            with self.subTest(hex(source)):
                executed.clear()
                request = CommandRequest(
                    source=source, destination=ROOT, sequence=1, arguments=(b"x",)
                )
                self.say(north, root, request, data=False)
                self.assertEqual(executed, expected)

    def test_forged_news_are_not_believed(self) -> None:
        """News in the name of somebody that the neighbor may not speak for change nothing."""
        root, north, _ = self.proxies()
        waiting = root.deliver(SOUTH + 1, b"nobody there yet", timeout=3)
        waiting.addErrback(lambda _: None)
        sequence = root.send(SOUTH, b"delivered")
        self.network.settle(0.1)
        fates = len(self.mail[root].fates)
        for source, believed in ((SOUTH, False), (ROOT, False), (NORTH + 1, True)):
            response = DataResponse(
                source=source,
                destination=ROOT,
                target=SOUTH,
                first_sequence=sequence,
                status=Status.NO_ROUTE,
                gave_up_at=source,
                origin_epoch=root.epoch,
            )
            self.say(north, root, response, data=False)
            self.assertEqual(len(self.mail[root].fates) > fates, believed, hex(source))

    def test_who_is_not_registered_does_not_speak(self) -> None:
        """
        Data on a connection that has not registered is dropped, and the connection is closed.

        Scenario: K20
        """
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network).dial(ROOT_ADDRESS)
        stranger.say(self.forged(0x10001, ROOT), frame=1)
        self.network.settle(1)
        self.assertEqual(self.mail[root].letters, [])
        self.assertIsNotNone(stranger.ended)

    def test_a_node_without_id_speaks_for_nobody(self) -> None:
        """Data from a temporary node is dropped: nobody could answer it."""
        root = self.root()
        temporary = self.node(0, upstream=ROOT_ADDRESS)
        self.network.start(root, temporary)
        self.say(temporary, root, self.forged(0, ROOT), data=False)
        self.say(temporary, root, self.forged(0x12345, ROOT), data=False)
        self.assertEqual(self.mail[root].payloads, [])

    def test_a_body_that_makes_no_sense_is_its_origins_fault(self) -> None:
        """A relay passes on what it need not understand; the destination answers, links stay."""
        root, north, south = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        whole = codec.encode(self.forged(NORTH + 1, SOUTH + 1))
        for _ in range(2):
            self.say_raw(one, north, whole[:48] + b"\xff" * (len(whole) - 48))
        one.send(SOUTH + 1, b"good")
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"good"])
        self.assertEqual(two.statistics.undecodable_frames, 2)
        for node in (root, north, south):
            self.assertEqual(node.statistics.undecodable_frames, 0)
        self.assertEqual(two.statistics.refused[Status.MALFORMED_FRAME], 2)

    def test_extras_that_must_be_understood(self) -> None:
        """Relays pass on an extra that they do not know; the destination refuses what it must."""
        _, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        for number in (0x7FFF, 0xFFFF, ExtraType.COMPRESSION):
            extra = Extra(number, b"?")
            flags = Flags.COMPRESSED if number == ExtraType.COMPRESSION else 0
            forged = self.forged(NORTH + 1, SOUTH + 1, extras=(extra,), flags=flags)
            self.say(one, north, forged)
        self.assertEqual(self.mail[two].payloads, [b"forged"])
        self.assertEqual(two.statistics.refused[Status.UNKNOWN_MANDATORY], 2)
